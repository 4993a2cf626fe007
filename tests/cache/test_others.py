"""Which answers to the fields after the first are believed."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt.cache import entry
from reviewopt.cache.others import Others, labels_of, wrong
from reviewopt.task import Choice, Predicate, Score, Text, rest_json

OTHERS = Others(
    (
        Score(name="quality", low=1, high=5),
        Predicate(name="class"),
        Text(name="insights"),
        Choice(name="colour", labels=("red", "blue")),
    )
)
GOOD: dict[str, Any] = {"quality": 4, "class": "yes", "insights": 'fast\tand "cheap"\n😀', "colour": "red"}


def sound(*rest: str | None) -> list[str | None]:
    return OTHERS.sound(pl.Series(rest, dtype=pl.String)).to_list()


def test_what_the_task_allows_is_given_back_as_it_was_stored() -> None:
    assert sound(rest_json(GOOD)) == [rest_json(GOOD)]


def test_another_spelling_is_made_the_tasks_own() -> None:
    turned = rest_json(dict(reversed(GOOD.items())))
    doubled = rest_json(GOOD).replace('{"quality":4', '{ "quality":5,"quality":4')
    assert sound(turned, doubled) == [rest_json(GOOD)] * 2


@pytest.mark.parametrize(
    "change",
    [{"quality": 6}, {"quality": 0}, {"quality": "4"}, {"quality": 4.5}, {"quality": True}, {"class": "maybe"},
     {"class": 1}, {"insights": None}, {"insights": ["a"]}, {"colour": "Red"}, {"more": 1}],
    ids=str,
)  # fmt: skip
def test_what_the_task_does_not_allow_is_not_believed(change: dict[str, Any]) -> None:
    assert sound(rest_json({**GOOD, **change}), rest_json(GOOD)) == [None, rest_json(GOOD)]


@pytest.mark.parametrize("rest", [None, "", "null", "[]", "{}", '{"quality":4', "x", rest_json({"quality": 4})])
def test_what_is_not_whole_is_not_believed(rest: str | None) -> None:
    assert sound(rest) == [None]


LABELS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
RESTS = st.dictionaries(LABELS, st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-9, 9), max_size=3)


@given(st.lists(st.tuples(LABELS, RESTS), max_size=8))
def test_a_label_and_a_rest_come_apart_as_they_were_joined(pairs: list[tuple[str, dict[str, str | int]]]) -> None:
    label = pl.Series([one for one, _ in pairs], dtype=pl.String)
    rest = pl.Series([rest_json(other) for _, other in pairs], dtype=pl.String)
    whole = entry.joined(label, rest)
    assert entry.head(whole).to_list() == label.to_list()
    assert entry.rest(whole).to_list() == rest.to_list()


def test_a_label_alone_is_its_own_head_and_has_no_rest() -> None:
    answers = pl.Series(["good", "", None, 'bad\t{"a":1}'], dtype=pl.String)
    assert entry.head(answers).to_list() == ["good", "", None, "bad"]
    assert entry.rest(answers).to_list() == ["", "", "", '{"a":1}']
    assert entry.head(answers[:1]).to_list() == ["good"]


def test_an_answer_must_be_to_the_fields_that_its_context_names() -> None:
    others = [(), ("a", "b")]
    rest = ["", '{"a":1}', "", '{"b":"x","a":1}', '{"a":1}', '{"a":1,"b":2,"c":3}', '{"a":1,"b":null}', "{", "[]"]
    of_row = np.array([0, 0, *[1] * 7])
    assert wrong(pl.Series(rest), of_row, others).to_list() == [False] * 4 + [True] * 5


def test_only_a_context_of_several_fields_cuts_its_labels() -> None:
    answer = pl.Series(["a\tb", "a\tb", "c"])
    assert labels_of(answer, np.array([0, 1, 1]), [(), ("x",)]).to_list() == ["a\tb", "a", "c"]
