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
        "reviewopt costs less at list price than aws (99.0 %) and azure (99.5 %), at every monthly volume; nobody "
        "wins, as their accuracy is not measured (--live asks them about a sample)"
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome", "told"),
    [
        (60, 20, "wins", "wins against aws on cost (99.0 % less at list price, at every monthly volume), time and"),
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


def test_certified_runs_are_told_before_the_plain_one_whose_verdict_is_the_last_line() -> None:
    made = benchmark.make(REVIEWS, [measured(), measured("0.08", proven=PROVEN)], [billed("aws")])
    first, last = made.summary
    assert first.startswith(
        "reviewopt certified costs less at list price than aws (98.4 %), from 10,000 reviews a month"
    )
    assert last.startswith("reviewopt costs less at list price than aws")


def test_a_run_whose_cost_is_not_that_of_a_first_one_saves_nothing_and_is_ahead_of_nobody() -> None:
    own = measured("0.01", not_comparable="40 answers were paid for by earlier runs")
    made = compared(own, asked(billed("aws"), own, only_ours=60, only_theirs=20))
    [saving], [verdict] = made.savings, made.verdicts
    assert (saving.share, saving.reason) == (None, "40 answers were paid for by earlier runs")
    assert (verdict.cost, verdict.time, verdict.turns_at) == ("not known", "not known", None)
    assert made.summary == ("reviewopt is not compared with aws; 40 answers were paid for by earlier runs",)


def test_a_time_is_judged_against_a_documented_limit_and_never_against_a_guess() -> None:
    own = measured()
    guessed = Billed(rival=msgspec.structs.replace(billed("aws").rival, kind="model"), curve=billed("aws").curve)
    assert compared(own, billed("aws")).verdicts[0].time == "faster"
    assert compared(own, guessed).verdicts[0].time == "not known"


def test_too_small_a_sample_leaves_the_accuracy_unknown() -> None:
    own = measured()
    rival = asked(billed("aws"), own, only_ours=3, only_theirs=1, n=99)
    verdict = compared(own, rival).verdicts[0]
    assert (verdict.cost, verdict.accuracy) == ("cheaper", "not known")
    assert verdict.why == "99 labelled reviews that both answered are too few (100 at least)"
    assert compared(own, asked(billed("aws"), own, only_ours=3, only_theirs=1, n=100)).verdicts[0].cost == "wins"


def test_nobody_is_more_accurate_where_that_hangs_on_what_mixed_counts_as() -> None:
    own = measured()
    rival = asked(billed("aws"), own, only_ours=60, only_theirs=20).rival
    even = asked(billed("aws"), own, only_ours=30, only_theirs=28).rival
    assert rival.live is not None
    assert even.live is not None
    both = {"dropped": even.live.paired["reviewopt"]["dropped"], "neutral": rival.live.paired["reviewopt"]["neutral"]}
    live = msgspec.structs.replace(rival.live, paired={"reviewopt": both})
    made = compared(own, Billed(rival=msgspec.structs.replace(rival, live=live), curve=billed("aws").curve))
    assert made.verdicts[0].accuracy == "no difference shown"
    assert made.verdicts[0].why == "p = 0.9 or 8.6e-06, by what mixed counts as"


def test_whoever_is_simulated_is_called_so() -> None:
    own = measured(is_simulated=True)
    rival = asked(billed("aws"), own, only_ours=60, only_theirs=20).rival
    assert rival.live is not None
    live = msgspec.structs.replace(rival.live, is_simulated=True)
    made = compared(own, Billed(rival=msgspec.structs.replace(rival, live=live), curve=billed("aws").curve))
    assert made.summary[-1].startswith("reviewopt (simulated) wins against aws (simulated) on cost")


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
    assert "nobody wins, as no review that both answered has a label (--label-column)" in made.summary[-1]


def test_a_bill_of_many_small_parts_names_the_largest() -> None:
    own = measured("5.5", parts={f"rung {at}": "0.5" for at in range(11)})
    [saving] = compared(own, billed("aws")).savings
    assert saving.reason == "5.5 USD, of which 9 % for rung 9"


def test_equal_costs_are_told_beside_a_known_accuracy() -> None:
    own = measured("5")
    made = compared(own, asked(billed("aws"), own, only_ours=60, only_theirs=20))
    assert "; the cost is the same" in made.summary[-1]


def test_a_run_that_holds_the_truth_itself_is_not_tested_against_it() -> None:
    own = measured("0.05", proven=PROVEN, labels_of_people=2_400)
    verdict = compared(own, asked(billed("aws"), own, only_ours=60, only_theirs=2)).verdicts[0]
    assert (verdict.cost, verdict.accuracy) == ("cheaper", "not known")
    assert verdict.why == "labels of ours are the truth itself, and no test of it"


def test_a_rival_that_answered_nothing_is_told_so() -> None:
    own = measured()
    rival = asked(billed("aws"), own, only_ours=60, only_theirs=20).rival
    assert rival.live is not None
    live = msgspec.structs.replace(rival.live, n_answered=0)
    verdict = compared(
        own, Billed(rival=msgspec.structs.replace(rival, live=live), curve=billed("aws").curve)
    ).verdicts[0]
    assert (verdict.accuracy, verdict.why) == ("not known", "it answered none of the sample")
