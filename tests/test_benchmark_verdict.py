"""Who wins on what: said only where both accuracies are known, and never of a price alone."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from sides import PROVEN, REVIEWS, asked, billed, measured

from reviewopt import benchmark
from reviewopt.benchmark.own import Measured
from reviewopt.benchmark.record import Benchmark
from reviewopt.benchmark.rivals import Billed


def compared(own: Measured, *rivals: Billed) -> Benchmark:
    return benchmark.make(REVIEWS, [own], rivals)


def test_nobody_wins_where_the_rival_was_not_asked() -> None:
    made = compared(measured(), billed("aws"), billed("azure"))
    assert {(one.cost, one.time, one.accuracy) for one in made.verdicts} == {("cheaper", "faster", "not known")}
    [line] = made.summary
    assert line == (
        "reviewopt costs less than aws (99.00 %) and azure (99.50 %), at every monthly volume; nobody wins, as their "
        "accuracy is not measured (--live asks them about a sample)"
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome", "told"),
    [
        (60, 20, "wins", "reviewopt wins against aws on cost (99.00 % less, at every monthly volume), time and"),
        (20, 60, "loses", "and time; aws wins against reviewopt on accuracy (p = 8.6e-06, exact McNemar)"),
        (30, 28, "no difference shown", "and time; no difference in accuracy is shown (p = 0.9, exact McNemar)"),
    ],
)  # fmt: skip
def test_an_accuracy_is_judged_by_the_exact_test_on_the_rows_that_both_answered(
    ours: int, theirs: int, outcome: str, told: str
) -> None:
    own = measured()
    made = compared(own, asked(billed("aws"), own, only_ours=ours, only_theirs=theirs))
    [verdict], [line] = made.verdicts, made.summary
    assert (verdict.cost, verdict.time, verdict.accuracy) == ("wins", "wins", outcome)
    assert told in line
    assert line.startswith("reviewopt wins against aws on cost")


def test_the_volume_at_which_a_dear_run_loses_its_lead_is_in_the_last_line() -> None:
    made = compared(measured("4"), billed("aws"))
    [verdict] = made.verdicts
    assert verdict.turns_at == 3_333_334
    assert "up to 3,333,333 reviews a month" in made.summary[-1]


def test_a_run_that_costs_more_is_told_so() -> None:
    made = compared(measured("8"), billed("aws"))
    assert made.verdicts[0].cost == "dearer"
    assert made.summary[-1].startswith("reviewopt costs more than aws; nobody wins")
    own = measured("8")
    lost = compared(own, asked(billed("aws"), own, only_ours=20, only_theirs=60))
    assert lost.verdicts[0].cost == "loses"
    assert "aws wins against reviewopt on cost (the other costs more) and accuracy" in lost.summary[-1]


def test_a_saving_has_its_formula_and_a_reason_only_below_80_percent() -> None:
    large = compared(measured("0.05"), billed("aws")).savings[0]
    assert large.share == pytest.approx(0.99)
    assert (large.formula, large.reason) == ("1 - 0.05 / 5", None)
    small = measured("1.5", proven=PROVEN, parts={"the reference": "1.4", "this machine": "0.1"})
    [saving] = compared(small, billed("aws")).savings
    assert saving.share == pytest.approx(0.7)
    assert saving.reason is not None
    assert saving.reason.startswith(
        "1.5 USD, of which 93 % for the reference; 2,400 rows have the reference's own label"
    )


def test_a_free_tier_is_shown_apart_and_nothing_is_compared_with_it() -> None:
    made = compared(measured(), billed("google"))
    [rival], [saving] = made.rivals, made.savings
    assert Decimal(rival.usd) == 10
    assert Decimal(rival.after_free_usd or 0) == 5
    assert Decimal(saving.rival_usd) == 10


def test_certified_runs_are_told_before_the_plain_one_and_labels_of_people_are_no_saving() -> None:
    certified = measured("0.08", proven=PROVEN, labels_of_people=2_400)
    made = benchmark.make(REVIEWS, [measured(), certified], [billed("aws")])
    first, last = made.summary
    assert first.startswith("reviewopt certified (without a price for 2,400 labels of people) costs less than aws")
    assert "from 10,000 reviews a month on" in first
    assert last.startswith("reviewopt costs less than aws")
    assert "2,400 labels of ours are people's, not priced" in made.savings[1].basis


def test_a_sample_without_labels_leaves_the_accuracy_unknown() -> None:
    own = measured()
    rival = asked(billed("aws"), own, only_ours=60, only_theirs=20)
    assert rival.rival.live is not None
    unlabelled = {
        policy: msgspec.structs.replace(one, p_value=None, n_labelled=0)
        for policy, one in rival.rival.live.paired["reviewopt"].items()
    }
    live = msgspec.structs.replace(rival.rival.live, paired={"reviewopt": unlabelled})
    made = compared(own, Billed(rival=msgspec.structs.replace(rival.rival, live=live), curve=rival.curve))
    assert made.verdicts[0].accuracy == "not known"
    assert "nobody wins, as the sample has no labels" in made.summary[-1]


def test_a_bill_of_many_small_parts_names_the_largest() -> None:
    own = measured("5.5", parts={f"rung {at}": "0.5" for at in range(11)})
    [saving] = compared(own, billed("aws")).savings
    assert saving.reason == "5.5 USD, of which 9 % for rung 9"


def test_equal_costs_are_told_beside_a_known_accuracy() -> None:
    own = measured("5")
    made = compared(own, asked(billed("aws"), own, only_ours=60, only_theirs=20))
    assert "; the cost is the same" in made.summary[-1]
