"""What a report is held against: every figure, closed where one is missing, with both figures where it is a breach."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import found, run_of

from reviewopt.report import Gate, Limits, Report, State, breaches, making

LOOSE = Limits(
    min_accuracy=0.5,
    max_cost_usd=Decimal(100),
    max_cost_per_1k_usd=Decimal(100),
    min_hit_rate=0.1,
    min_throughput=1,
    max_failures=10,
    max_failures_share=0.5,
    max_p95_latency_s=10,
    max_regression=0.5,
)
BEFORE = found(run_of(run_id="20260101-000000-000000"))


def held(limits: Limits, read: making.Read, before: making.Read | None = BEFORE) -> tuple[Gate, ...]:
    return making.of_read(read, baseline=before, limits=limits).gates


def one(limits: Limits, read: making.Read, before: making.Read | None = BEFORE) -> Gate:
    [gate] = held(limits, read, before)
    return gate


def only(name: str) -> Limits:
    return Limits(**{name: getattr(LOOSE, name)})


def test_a_good_run_meets_every_gate_and_each_has_its_figure() -> None:
    gates = held(LOOSE, found(run_of()))
    assert {gate.name for gate in gates} >= {one.name for one in fields(Limits)} - {"max_failures_share"}
    assert all(gate.is_met and gate.figure is not None for gate in gates)
    assert breaches(gates) is None
    assert held(Limits(), found(run_of())) == ()


@pytest.mark.parametrize("name", [one.name for one in fields(Limits)])
@pytest.mark.parametrize("state", ["running", "killed", "failed", "interrupted"])
def test_a_run_that_is_not_done_meets_no_gate(name: str, state: State) -> None:
    for gate in held(only(name), found(run_of(), state=state)):
        assert not gate.is_met
        assert gate.figure is None
        assert "required" in gate.why or "allowed" in gate.why
        assert "the run " in gate.why


@pytest.mark.parametrize(
    ("name", "read", "words"),
    [
        ("min_accuracy", found(run_of(n_right=None)), "no accuracy was measured"),
        ("max_cost_usd", found(run_of(), None, damage="the spend ledger is damaged"), "ledger is damaged"),
        ("max_cost_per_1k_usd", found(run_of(n_rows=0, n_hits=0)), "the run has no reviews"),
        ("max_cost_per_1k_usd", found(run_of(), None, damage="the spend ledger is damaged"), "ledger is damaged"),
        ("min_hit_rate", found(run_of(n_hits=0, n_looked_up=0)), "no question was looked up"),
        ("min_throughput", found(run_of(n_rows=0, n_hits=0)), "it has no reviews"),
        ("max_failures_share", found(run_of(n_rows=0, n_hits=0)), "no review with something to ask"),
        ("max_p95_latency_s", found(run_of(spent_usd=None), None), "no request was made"),
        ("max_p95_latency_s", found(run_of(), None), "the record lies in no home with a spend ledger"),
        ("max_p95_latency_s", found(run_of(), None, damage="the spend ledger is damaged"), "ledger is damaged"),
    ],
)
def test_a_missing_figure_is_a_breach(name: str, read: making.Read, words: str) -> None:
    gate = one(only(name), read)
    assert (gate.is_met, gate.figure) == (False, None)
    assert words in gate.why
    assert "limit" not in gate.why
    assert str(gate.limit).rstrip("0").rstrip(".") in gate.why or f"{100 * float(gate.limit):g} %" in gate.why


@pytest.mark.parametrize(
    ("limits", "read", "required", "figure"),
    [
        (Limits(min_accuracy=0.95), found(run_of(n_right=900)), "at least 0.95 is required", "0.8798 is the lower end"),
        (Limits(max_cost_usd=Decimal("0.5")), found(run_of()), "at most 0.5 USD is allowed", "it is 1.000 USD"),
        (Limits(max_cost_per_1k_usd=Decimal(1)), found(run_of(n_rows=900)), "at most 1 USD is allowed", "1.111 USD"),
        (Limits(min_hit_rate=0.7), found(run_of(n_hits=699)), "at least 70 % is required", "it is 69.9 %"),
        (Limits(min_throughput=51), found(run_of()), "at least 51 reviews/s is required", "it is 50 reviews/s"),
        (Limits(max_failures=2), found(run_of(n_failed=3)), "at most 2 is allowed", "it is 3"),
        (Limits(max_failures_share=0.01), found(run_of(n_failed=11)), "at most 1 % is allowed", "it is 1.1 %"),
        (Limits(max_p95_latency_s=2), found(run_of(), [1.0] * 18 + [2.5] * 2), "at most 2 s is allowed", "2.5 s"),
    ],
)
def test_a_breach_names_both_figures(limits: Limits, read: making.Read, required: str, figure: str) -> None:
    gate = one(limits, read)
    assert not gate.is_met
    assert gate.figure is not None
    assert gate.why.startswith(required)
    assert figure in gate.why
    assert gate.why in str(breaches([gate]))


def test_a_limit_that_is_just_reached_is_met() -> None:
    read = found(run_of(n_failed=10))
    exact = Limits(
        max_cost_usd=Decimal(making.of_read(read).cost.total_usd),
        min_hit_rate=0.6,
        min_throughput=50,
        max_failures=10,
        max_failures_share=0.01,
        max_p95_latency_s=1,
    )
    assert all(gate.is_met for gate in held(exact, read))


def test_a_breach_is_never_rounded_onto_its_limit() -> None:
    gate = one(Limits(max_cost_usd=Decimal(1)), found(run_of(spent_usd="1.0000000001")))
    assert not gate.is_met
    assert "it is 1.000" in gate.why
    assert "it is 1.000 USD" not in gate.why
    gate = one(Limits(max_p95_latency_s=2), found(run_of(), [2.0000001] * 20))
    assert "it is 2.0000001 s" in gate.why
    gate = one(Limits(min_hit_rate=0.5), found(run_of(n_rows=10**7, n_hits=4_999_999, n_looked_up=10**7)))
    assert "it is 49.99999 %" in gate.why


def test_the_cost_that_is_held_is_of_models_and_machine() -> None:
    read = found(run_of(spent_usd="0.9"))
    machine = Decimal(read.run.cost.machine_usd)
    gate = one(Limits(max_cost_usd=Decimal(1)), read)
    assert Decimal(str(gate.figure)) == Decimal("0.9") + machine
    assert machine > 0


def test_several_breaches_are_all_named() -> None:
    gates = held(Limits(min_hit_rate=0.9, max_failures=0, min_throughput=1), found(run_of(n_failed=3)))
    told = breaches(gates)
    assert told is not None
    assert told.splitlines()[0] == "2 gates are not met:"
    assert [line.strip().split(" gate")[0] for line in told.splitlines()[1:]] == ["the hit rate", "the failures"]


def test_without_a_baseline_no_regression_can_be_ruled_out() -> None:
    gate = one(Limits(max_regression=0.05), found(run_of()), None)
    assert not gate.is_met
    assert gate.why == (
        "at most 5 % worse than the baseline is allowed, and the figure is missing: there is no baseline; name a run "
        "with --baseline"
    )


def test_a_baseline_that_is_not_done_is_none() -> None:
    gate = one(Limits(max_regression=0.05), found(run_of()), replace(BEFORE, state="killed"))
    assert not gate.is_met
    assert "the baseline 20260101-000000-000000 was killed" in gate.why


@pytest.mark.parametrize(
    ("read", "of"),
    [
        (found(run_of(n_right=None)), "accuracy"),
        (found(run_of(n_hits=0, n_looked_up=0)), "hit rate"),
        (found(run_of(), None), "p95 latency"),
        (found(run_of(n_rows=0, n_hits=0)), "throughput"),
    ],
)
def test_a_figure_that_only_the_baseline_has_is_a_breach_and_one_that_only_the_run_has_is_not(
    read: making.Read, of: str
) -> None:
    gates = {gate.of: gate for gate in held(Limits(max_regression=1.0), read)}
    assert not gates[of].is_met
    assert gates[of].figure is None
    assert f"{of} was " in gates[of].why
    swapped = held(Limits(max_regression=0.0), BEFORE, read)
    assert of not in {gate.of for gate in swapped}


def reads() -> st.SearchStrategy[making.Read]:
    """Runs of any quality; figures can be missing."""
    runs = st.builds(
        run_of,
        n_rows=st.sampled_from([0, 1000, 1500]),
        n_failed=st.integers(0, 100),
        n_hits=st.integers(0, 800),
        n_looked_up=st.sampled_from([0, 800]),
        n_right=st.none() | st.integers(0, 1000),
        spent_usd=st.none() | st.sampled_from(["0", "0.3", "2"]),
        wall_s=st.floats(0.1, 100),
    )
    seconds = st.none() | st.lists(st.floats(0, 20), max_size=30)
    states: st.SearchStrategy[State] = st.sampled_from(["done", "done", "done", "killed"])
    return st.builds(found, runs, seconds, state=states, damage=st.sampled_from(["", "", "damaged"]))


LOOSER = {"min_accuracy": -1, "min_hit_rate": -1, "min_throughput": -1}
VALUES: dict[str, Any] = {
    "min_accuracy": st.floats(0, 1),
    "max_cost_usd": st.decimals(0, 5),
    "max_cost_per_1k_usd": st.decimals(0, 5),
    "min_hit_rate": st.floats(0, 1),
    "min_throughput": st.floats(0.1, 1e4),
    "max_failures": st.integers(0, 200),
    "max_failures_share": st.floats(0, 1),
    "max_p95_latency_s": st.floats(0.1, 30),
    "max_regression": st.floats(0, 1),
}


@settings(max_examples=60)
@given(read=reads(), before=st.none() | reads(), name=st.sampled_from(sorted(VALUES)), data=st.data())
def test_loosening_a_limit_never_makes_a_breach(
    read: making.Read, before: making.Read | None, name: str, data: st.DataObject
) -> None:
    a, b = sorted(data.draw(st.tuples(VALUES[name], VALUES[name])))
    tight, loose = (b, a) if name in LOOSER else (a, b)
    strict, lax = (held(Limits(**{name: limit}), read, before) for limit in (tight, loose))
    assert [gate.of for gate in strict] == [gate.of for gate in lax]
    for at_first, then in zip(strict, lax, strict=True):
        assert then.is_met or not at_first.is_met


@settings(max_examples=60)
@given(read=reads(), before=st.none() | reads(), data=st.data())
def test_every_breach_says_the_limit_and_the_figure_or_that_it_is_missing(
    read: making.Read, before: making.Read | None, data: st.DataObject
) -> None:
    limits = Limits(**{name: data.draw(values) for name, values in VALUES.items()})
    for gate in held(limits, read, before):
        if gate.figure is None and gate.of is None:
            assert not gate.is_met
        if not gate.is_met:
            assert ("is required, and " in gate.why) or ("is allowed, and " in gate.why)
    made: Report = making.of_read(read, baseline=before, limits=limits)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Report) == made
