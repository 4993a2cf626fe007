"""Settings that are more than a type: how long a run may ask."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt import config
from reviewopt.errors import UsageError
from reviewopt.settings import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("  ", None),
        ("90s", 90),
        ("10m", 600),
        ("10 min", 600),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h 30m 5s", 5405),
        ("1.5H", 5400),
        ("0.5s", 0.5),
    ],
)
def test_a_length_of_time_is_read_as_people_write_it(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["10", "0s", "0h0m", "-5m", "5 parsecs", "30m1h", "1.2.3s", ".s", "inf", "1e3s", "h"])
def test_what_is_no_length_of_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"deadline {text!r}") + ".* 90s, 10m, 2h or 1h30m"):
        parse_duration(text)


@given(text=st.text("0123456789.hms ", max_size=12) | st.text(max_size=8))
def test_any_text_is_a_time_above_zero_nothing_or_a_usage_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except UsageError:
        return
    assert seconds is None if not text.strip() else seconds is not None and seconds > 0


def test_a_wrong_deadline_is_refused_when_the_settings_are_read() -> None:
    with pytest.raises(UsageError, match="deadline 'soon'"):
        config.load({"ask.deadline": "soon"}, environment={})
