"""`[gates]`: what can be written, and what cannot be meant."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt import config
from reviewopt.errors import UsageError
from reviewopt.report import Limits
from reviewopt.report.limits import FLAGS, limits


def set_to(**gates: Any) -> Limits:
    merged, settings = config.load({f"gates.{name}": value for name, value in gates.items()}, environment={})
    return limits(merged.gates, settings)


def test_nothing_is_held_against_a_run_unless_it_is_set() -> None:
    assert set_to() == Limits()


@pytest.mark.parametrize("value", [0.95, ".95", "95%", "95 %", " 0.95 ", "95.0%"])
def test_shares_are_written_as_a_fraction_or_in_percent(value: float | str) -> None:
    assert set_to(min_accuracy=value, min_hit_rate=value, max_regression=value) == Limits(
        min_accuracy=0.95, min_hit_rate=0.95, max_regression=0.95
    )


def test_every_limit_can_be_written() -> None:
    assert set_to(
        max_cost_usd="2.50", max_cost_per_1k_usd=0.1, min_throughput="1e3", max_p95_latency_s=2, max_failures="20"
    ) == Limits(
        max_cost_usd=Decimal("2.50"),
        max_cost_per_1k_usd=Decimal("0.1"),
        min_throughput=1000,
        max_p95_latency_s=2,
        max_failures=20,
    )
    assert set_to(max_failures="1%") == Limits(max_failures_share=0.01)


def test_no_failure_no_cost_and_no_regression_are_limits_of_0() -> None:
    assert set_to(max_failures=0, max_cost_usd="0", max_regression="0%", max_cost_per_1k_usd=0) == Limits(
        max_failures=0, max_cost_usd=Decimal(0), max_regression=0, max_cost_per_1k_usd=Decimal(0)
    )


def test_in_a_file_a_minimum_of_0_is_off_and_flags_beat_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gates.toml"
    file.write_text('[gates]\nmin_accuracy = 0\nmin_hit_rate = 0.5\nmin_throughput = 0\nmax_failures = "2%"\n')
    merged, settings = config.load({"gates.max_failures": "3"}, file=file, environment={})
    assert limits(merged.gates, settings) == Limits(min_hit_rate=0.5, max_failures=3)


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("min_accuracy", "95", "write 0.95 or 95%"),
        ("min_accuracy", "0", "above 0"),
        ("min_accuracy", "101%", "up to 1"),
        ("min_hit_rate", "half", "up to 1"),
        ("min_hit_rate", "nan", "up to 1"),
        ("max_regression", "5", "write 0.05 or 5%"),
        ("max_regression", "-5%", "0 to 1"),
        ("max_cost_usd", "$5", "an amount of USD"),
        ("max_cost_usd", "-1", "an amount of USD"),
        ("max_cost_usd", "inf", "an amount of USD"),
        ("max_cost_per_1k_usd", "nan", "an amount of USD"),
        ("min_throughput", "-1", "above 0"),
        ("max_p95_latency_s", "2s", "write 2"),
        ("max_p95_latency_s", "0", "above 0"),
        ("max_failures", ".01", "write 1%"),
        ("max_failures", "1.5", "20 or 1%"),
        ("max_failures", "-1", "20 or 1%"),
        ("max_failures", "200%", "0 to 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(name: str, value: str, advice: str) -> None:
    with pytest.raises(UsageError) as error:
        set_to(**{name: value})
    assert advice in str(error.value)
    assert str(error.value).startswith(f"{FLAGS[name]} {value}: ")


def test_a_wrong_value_of_a_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gates.toml"
    file.write_text("[gates]\nmin_accuracy = 95\n")
    merged, settings = config.load({}, file=file, environment={})
    with pytest.raises(UsageError, match=r"gates.toml: gates.min_accuracy = 95: .*; write 0.95 or 95%"):
        limits(merged.gates, settings)


@given(name=st.sampled_from(sorted(FLAGS)), value=st.text("0123456789.%-+einfa_ $s", max_size=8) | st.floats())
def test_anything_that_is_written_is_a_limit_nothing_or_an_error_of_usage(name: str, value: float | str) -> None:
    merged, settings = config.load({}, environment={})
    try:
        made = limits(type(merged.gates)(**{**dict.fromkeys(FLAGS, ""), name: value}), settings)
    except UsageError:
        return
    is_off = str(value).strip() == "" or (name.startswith("min_") and value in {0, "0"})
    assert (made == Limits()) is is_off
