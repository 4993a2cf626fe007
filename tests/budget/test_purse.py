"""A purse: what fits, what is refused, and what stays charged."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from purses import DAY_S, NOW_S, UNIT, counted, purse, refused, release, reserved, settlement, taken, wanted

from reviewopt import budget
from reviewopt.budget import (
    Refusal,
    Reservation,
    Spent,
)
from reviewopt.budget.values import MOST_UNITS, usd_of
from reviewopt.data import Usage


def test_a_budget_takes_what_fits_and_refuses_the_rest(folder: Path) -> None:
    with purse(folder, run_usd=Decimal("2.5")) as one:
        results = one.reserve([wanted("1"), wanted("1"), wanted("1"), wanted("0.5"), wanted(UNIT)])
        assert [type(result) for result in results] == [Reservation, Reservation, Refusal, Reservation, Refusal]
        assert one.held_usd == Decimal("2.5")
        assert one.spent_usd == 0
    assert counted(folder)["run:a"] == Decimal("2.5")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"run_usd": Decimal(1)}, "run"),
        ({"per_day_usd": Decimal(1)}, "day"),
        ({"tenants": {"acme": Decimal(1)}}, "tenant acme"),
    ],
)
def test_each_budget_refuses_in_its_own_name(folder: Path, options: dict[str, Any], name: str) -> None:
    with purse(folder, **options) as one:
        refusal = refused(one, wanted("1.5", shares={"acme": 1}))
    assert refusal == Refusal(
        budget=name,
        budget_usd=Decimal(1),
        charged_usd=Decimal(0),
        wanted_usd=Decimal("1.5"),
        is_final=True,
    )
    assert counted(folder) == {}


def test_a_refusal_is_final_when_nothing_that_comes_back_would_help(folder: Path) -> None:
    with purse(folder, run_usd=Decimal(2)) as one:
        (first,) = reserved(one, wanted("1.5"))
        assert not refused(one, wanted("1")).is_final
        assert refused(one, wanted("2.1")).is_final
        one.settle([settlement(first, "1.5")])
        assert refused(one, wanted("1")) == Refusal(
            budget="run", budget_usd=Decimal(2), charged_usd=Decimal("1.5"), wanted_usd=Decimal(1), is_final=True
        )


def test_a_final_refusal_is_told_before_one_that_may_pass(folder: Path) -> None:
    with purse(folder, run_usd=Decimal(2), tenants={"acme": Decimal("0.5")}) as one:
        reserved(one, wanted("1.5"))
        assert refused(one, wanted("1", shares={"acme": 1})).budget == "tenant acme"


def test_a_request_of_several_tenants_fits_only_where_all_have_room(folder: Path) -> None:
    with purse(folder, tenants={"a": Decimal(1), "b": Decimal("0.4")}) as one:
        assert refused(one, wanted("1", shares={"a": 1, "b": 1})).budget == "tenant b"
        reserved(one, wanted("1", shares={"a": 3, "b": 1}), wanted("9", shares={"c": 1}))
    assert budget.spent_by_tenant(folder) == {"a": Decimal("0.75"), "b": Decimal("0.25"), "c": Decimal(9)}


def test_no_budget_and_an_infinite_one_bound_nothing(folder: Path) -> None:
    with purse(folder, run_usd=Decimal("Infinity"), per_day_usd=None, tenants={"": Decimal("Infinity")}) as one:
        reserved(one, wanted("999"), wanted("999"))


def test_a_budget_of_zero_lets_only_what_is_free_pass(folder: Path) -> None:
    with purse(folder, run_usd=Decimal(0)) as one:
        one.settle([settlement(taken(one, wanted("0")), "0")])
        assert refused(one, wanted(UNIT)).is_final


@pytest.mark.parametrize("usd", ["-1", "NaN", "Infinity", "1000.01"])
def test_a_worst_case_that_is_no_money_is_refused_before_anything_is_written(folder: Path, usd: str) -> None:
    with purse(folder) as one, pytest.raises(ValueError, match="USD"):
        one.reserve([wanted("1"), wanted(usd)])
    assert counted(folder) == {}


@pytest.mark.parametrize("shares", [{}, {"a": -1, "b": 2}])
def test_a_request_needs_tenants_with_a_share(folder: Path, shares: dict[str, int]) -> None:
    with purse(folder) as one, pytest.raises(ValueError, match="cannot be meant"):
        one.reserve([wanted(shares=shares)])


@pytest.mark.parametrize("usd", ["-1", "NaN"])
def test_a_budget_that_is_no_money_is_an_error(folder: Path, usd: str) -> None:
    with pytest.raises(ValueError, match="no budget"):
        purse(folder, run_usd=Decimal(usd))


def test_a_settlement_frees_what_was_not_needed(folder: Path) -> None:
    with purse(folder, run_usd=Decimal(2)) as one:
        one.settle([settlement(taken(one, wanted("2")), "0.25")])
        assert one.spent_usd == Decimal("0.25")
        assert one.held_usd == 0
        reserved(one, wanted("1.75"))
    assert counted(folder)["run:a"] == Decimal(2)


def test_a_release_takes_everything_back(folder: Path) -> None:
    with purse(folder, run_usd=Decimal(1)) as one:
        one.release([release(taken(one))])
        reserved(one)
    assert counted(folder)["run:a"] == Decimal(1)


def test_a_request_of_unknown_charge_stays_charged_at_its_worst_case(folder: Path) -> None:
    with purse(folder, run_usd=Decimal(1)) as one:
        one.settle([settlement(taken(one), None, outcome="no_reply")])
        assert one.spent_usd == 1
        assert one.held_usd == 0
        assert refused(one, wanted(UNIT)).is_final


def test_what_nobody_ends_stays_charged_in_the_next_run_and_other_processes(folder: Path) -> None:
    with purse(folder, "first", tenants={"acme": Decimal(1)}) as one:
        reserved(one, wanted("0.75", shares={"acme": 1}))
    with purse(folder, "second", tenants={"acme": Decimal(1)}) as two:
        assert refused(two, wanted("0.5", shares={"acme": 1})).is_final
        reserved(two, wanted("0.25", shares={"acme": 1}))
    assert counted(folder)["tenant:acme"] == Decimal(1)


def test_a_runs_budget_is_its_own_and_a_days_is_of_all_runs(folder: Path) -> None:
    bounds = {"run_usd": Decimal(1), "per_day_usd": Decimal("1.5")}
    with purse(folder, "a", **bounds) as one, purse(folder, "b", **bounds) as two:
        reserved(one)
        assert refused(two, wanted()).budget == "day"
        reserved(two, wanted("0.5"))


def test_purses_of_one_run_share_its_budget(folder: Path) -> None:
    with purse(folder, run_usd=Decimal(1)) as one, purse(folder, run_usd=Decimal(1)) as two:
        reserved(one)
        assert refused(two, wanted(UNIT)).budget == "run"
        assert two.spent_usd == Decimal(1)


def test_a_day_is_that_of_the_reservation_in_utc(folder: Path) -> None:
    now = [NOW_S]
    with purse(folder, per_day_usd=Decimal(1), clock=lambda: now[0]) as one:
        (late,) = reserved(one)
        assert refused(one, wanted()).budget == "day"
        now[0] += DAY_S
        reserved(one)
        one.settle([settlement(late, "0.25")])
        assert refused(one, wanted("0.5")).budget == "day"
    days = {scope: usd for scope, usd in counted(folder).items() if scope.startswith("day:")}
    assert days == {"day:2027-01-15": Decimal("0.25"), "day:2027-01-16": Decimal(1)}


def test_a_charge_above_its_reservation_is_recorded_counted_and_told_once(folder: Path) -> None:
    warnings: list[str] = []
    with purse(folder, run_usd=Decimal(2), on_warning=warnings.append) as one:
        first, second = reserved(one, wanted("1"), wanted("1"))
        one.settle([settlement(first, "3")])
        one.settle([settlement(second, "1.5")])
        assert one.spent_usd == Decimal("4.5")
        assert one.n_over_reserved == 2
        assert refused(one, wanted("0")).is_final
    assert len(warnings) == 1
    assert counted(folder)["run:a"] == Decimal("4.5")


def test_an_absurd_charge_and_count_are_cut_and_lose_nothing(folder: Path) -> None:
    with purse(folder) as one:
        usage = Usage(input=10**4300, cached=-1)
        one.settle([settlement(taken(one), Decimal("1e40"), usage=usage, request_id="\ud800" * 10_000)])
        assert one.spent_usd == usd_of(MOST_UNITS)
    (_, row) = budget.entries(folder).iter_rows(named=True)
    assert (row["input_tokens"], row["cached_tokens"]) == (1 << 53, 0)
    assert row["request_id"] == "?" * 200


def test_a_reservation_ends_once_and_in_its_own_purse(folder: Path) -> None:
    with purse(folder) as one, purse(folder, "b") as two:
        (held,) = reserved(one)
        for wrong in ([settlement(held), settlement(held)], [settlement(replace(held, id=held.id + 1))]):
            with pytest.raises(ValueError, match="ends once"):
                one.settle(wrong)
        with pytest.raises(ValueError, match="ends once"):
            two.settle([settlement(held)])
        one.settle([settlement(held)])
        with pytest.raises(ValueError, match="ends once"):
            one.settle([settlement(held)])
        with pytest.raises(ValueError, match="ends once"):
            one.release([release(held)])
    assert counted(folder)["run:a"] == Decimal("0.5")


def test_the_bounded_budgets_are_told_after_a_settlement_without_what_is_in_flight(folder: Path) -> None:
    told: list[Spent] = []
    with purse(folder, run_usd=Decimal(8), tenants={"acme": Decimal(4)}, on_spent=told.append) as one:
        first, _ = reserved(one, wanted("2", shares={"acme": 1}), wanted("2", shares={"other": 1}))
        assert told == []
        one.settle([settlement(first, "1")])
    assert told == [
        Spent(budget="run", spent_usd=Decimal(1), budget_usd=Decimal(8)),
        Spent(budget="tenant acme", spent_usd=Decimal(1), budget_usd=Decimal(4)),
    ]


def test_what_a_dead_run_left_charged_is_told_as_spent(folder: Path) -> None:
    told: list[Spent] = []
    with purse(folder, tenants={"": Decimal(4)}) as dead:
        reserved(dead)
    with purse(folder, "b", tenants={"": Decimal(4)}, on_spent=told.append) as one:
        one.settle([settlement(taken(one), "0.5")])
    assert [spent.spent_usd for spent in told] == [Decimal("1.5")]


def test_nothing_wanted_or_settled_writes_nothing(folder: Path) -> None:
    with purse(folder) as one:
        assert one.reserve([]) == []
        assert one.settle([]) == []
        one.release([])
    assert budget.entries(folder).is_empty()


def test_a_tenant_is_never_charged_more_than_was_reserved_for_it(folder: Path) -> None:
    shares = {"a": 1, "b": 3, "c": 3}
    with purse(folder, tenants={"a": Decimal(0)}) as one:
        held = taken(one, wanted(4 * UNIT, shares=shares))
        assert held.shares == {"a": 0, "b": 2, "c": 2}
        one.settle([settlement(held, 3 * UNIT)])  # by the tokens alone, each would have one unit
    assert counted(folder).get("tenant:a", Decimal(0)) == 0


def test_a_charge_for_what_was_thought_free_is_shared_by_tokens(folder: Path) -> None:
    with purse(folder) as one:
        one.settle([settlement(taken(one, wanted("0", shares={"a": 3, "b": 1})), "4")])
    assert budget.spent_by_tenant(folder) == {"a": Decimal(3), "b": Decimal(1)}


def test_what_a_run_spent_is_told_as_the_ledger_has_it_now(folder: Path) -> None:
    with purse(folder) as one, purse(folder) as two:
        assert two.spent_usd == 0
        reserved(one)
        assert two.spent_usd == 1


def test_a_count_below_zero_is_kept_as_zero(folder: Path) -> None:
    with purse(folder) as one:
        one.settle([settlement(taken(one), usage=Usage(input=5, cached=-1))])
    assert budget.entries(folder)["cached_tokens"].to_list() == [None, 0]
