"""Levels, strategies, thresholds that are not naive, and policies that drop what does not pay."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt import route
from reviewopt.route import LEVELS, STRATEGIES, Decision, Policy, Rung, accepts, decide, replan, threshold
from reviewopt.settings import Strategy

NAN = float("nan")
CLIMBING: tuple[Strategy, ...] = ("cost", "balanced", "quality", "adaptive")


def sure(*values: float) -> npt.NDArray[np.float32]:
    return np.array(values, np.float32)


def flags(*values: int) -> npt.NDArray[np.bool_]:
    return np.array(values, np.bool_)


def calibrated(n: int, seed: int, floor: float = 0.5) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Confidences from `floor` to 1 that are right as often as they say."""
    chance = np.random.default_rng(seed)
    confidence = (floor + (1 - floor) * chance.beta(4, 1, n)).astype(np.float32)
    return confidence, chance.random(n) < confidence


# --- levels and strategies -------------------------------------------------------------------------------------------


def test_a_review_at_a_bound_has_the_level_above() -> None:
    complexity = sure(0, 0.2499, 0.25, 0.4999, 0.5, 0.7999, 0.8, 1)
    assert route.levels(complexity.astype(np.float64)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    found = route.levels(np.array([0.25, 0.5, 0.8]))
    assert found.tolist() == [1, 2, 3]
    assert found.dtype == np.uint8
    assert route.levels(sure()).tolist() == []


@pytest.mark.parametrize(
    ("strategy", "of_two", "of_three", "of_five"),
    [
        ("cost", [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),
        ("balanced", [0, 0, 0, 1], [0, 0, 1, 2], [0, 0, 1, 4]),
        ("quality", [0, 1, 1, 1], [0, 1, 1, 2], [0, 1, 1, 4]),
        ("performance", [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),
        ("adaptive", [0, 0, 0, 1], [0, 0, 1, 2], [0, 0, 1, 4]),
    ],
)
def test_each_strategy_lets_the_levels_enter(
    strategy: Strategy, of_two: list[int], of_three: list[int], of_five: list[int]
) -> None:
    def entries(n_rungs: int) -> list[int]:
        return [STRATEGIES[strategy].entry(level, n_rungs) for level in range(len(LEVELS))]

    assert entries(1) == [0, 0, 0, 0]
    assert (entries(2), entries(3), entries(5)) == (of_two, of_three, of_five)


def test_what_is_dearer_tolerates_less() -> None:
    tolerance = {name: rules.tolerance for name, rules in STRATEGIES.items()}
    assert tolerance == {"cost": 0.1, "balanced": 0.05, "quality": 0.01, "performance": 0.1, "adaptive": 0.05}
    assert [name for name, rules in STRATEGIES.items() if not rules.climbs] == ["performance"]
    assert [name for name, rules in STRATEGIES.items() if rules.replans] == ["adaptive"]
    assert {name: rules.threads_factor for name, rules in STRATEGIES.items() if rules.threads_factor != 1} == {
        "performance": 2
    }


# --- thresholds ------------------------------------------------------------------------------------------------------


@st.composite
def pairs(draw: st.DrawFn) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], float]:
    values = st.one_of(st.just(NAN), st.just(0.0), st.sampled_from([0.5, 0.75, 1.0]), st.floats(0, 1, width=32))
    drawn = draw(st.lists(st.tuples(values, st.booleans()), max_size=60))
    repeat = draw(st.sampled_from([1, 5]))
    confidence = np.repeat(sure(*(one for one, _ in drawn)), repeat)
    return (
        confidence,
        np.repeat(flags(*(one for _, one in drawn)), repeat),
        draw(st.sampled_from([0, 0.01, 0.1, 0.5, 1])),
    )


@given(pairs())
@settings(deadline=None)
def test_the_smoothed_disagreement_of_what_stays_is_within_the_tolerance(
    case: tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], float],
) -> None:
    confidence, agrees, tolerance = case
    found = threshold(confidence, agrees, tolerance)
    stays = accepts(found.value, confidence)
    n, n_differ = int(stays.sum()), int((~agrees[stays]).sum())
    assert found.n == len(confidence)
    if found.value is not None:
        assert (n_differ + 1) / (n + 2) <= tolerance + 1e-12
    if not len(confidence):
        assert (found.value, found.agreement, found.stayed_share, found.stayed_agreement) == (None,) * 4
        return
    assert found.agreement == pytest.approx(agrees.mean())
    assert found.stayed_share == pytest.approx(stays.mean())
    assert found.stayed_agreement == (pytest.approx(1 - n_differ / n) if n else None)


@given(pairs(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_pairs_does_not_count(
    case: tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], float], chance: Any
) -> None:
    confidence, agrees, tolerance = case
    order = list(range(len(confidence)))
    chance.shuffle(order)
    assert (
        threshold(confidence, agrees, tolerance).value == threshold(confidence[order], agrees[order], tolerance).value
    )


@given(pairs(), st.integers(1, 4))
@settings(deadline=None)
def test_a_weight_is_as_many_pairs(
    case: tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], float], weight: int
) -> None:
    confidence, agrees, tolerance = case
    weighed = threshold(confidence, agrees, tolerance, weight=np.full(len(agrees), float(weight)))
    repeated = threshold(np.repeat(confidence, weight), np.repeat(agrees, weight), tolerance)
    assert weighed.value == repeated.value
    assert weighed.stayed_share == (None if repeated.stayed_share is None else pytest.approx(repeated.stayed_share))


def test_more_is_tolerated_more_stays() -> None:
    confidence, agrees = calibrated(2000, 1)
    shares = [
        threshold(confidence, agrees, tolerance).stayed_share or 0.0 for tolerance in (0.01, 0.02, 0.05, 0.1, 0.2)
    ]
    assert shares == sorted(shares)
    assert 0 < shares[1] < shares[2] < 1 == shares[-1]


def test_where_the_whole_rung_is_good_enough_answers_of_unknown_confidence_stay_too() -> None:
    confidence = np.full(100, NAN, np.float32)
    agrees = np.arange(100) >= 4  # 4 differ: smoothed 4.9 %
    assert threshold(confidence, agrees, 0.05).value == 0.0
    assert accepts(0.0, confidence).all()
    assert threshold(confidence, np.arange(100) >= 5, 0.05).value is None


def test_where_it_is_not_only_those_of_known_confidence_stay() -> None:
    confidence = np.concatenate((np.full(50, 0.9), np.full(50, NAN))).astype(np.float32)
    agrees = np.arange(100) < 60
    found = threshold(confidence, agrees, 0.05)
    assert found.value == pytest.approx(0.9)
    assert accepts(found.value, confidence).tolist() == (np.arange(100) < 50).tolist()
    assert (found.stayed_share, found.stayed_agreement, found.agreement) == (0.5, 1.0, 0.6)


def test_a_confidence_of_zero_does_not_let_the_unknown_in() -> None:
    confidence = np.concatenate((np.zeros(60), np.full(60, NAN))).astype(np.float32)
    assert threshold(confidence, np.arange(120) < 60, 0.05).value is None


def test_none_stays_where_none_is_good_enough() -> None:
    confidence = np.linspace(0.5, 1, 200).astype(np.float32)
    found = threshold(confidence, np.arange(200) % 2 == 0, 0.05)
    assert (found.value, found.stayed_share, found.stayed_agreement) == (None, 0.0, None)
    assert not accepts(None, confidence).any()


def test_equal_confidences_stay_or_climb_together() -> None:
    confidence = sure(*[0.95] * 100, *[0.9] * 100)
    agrees = np.concatenate((np.ones(150), np.zeros(50))).astype(np.bool_)
    found = threshold(confidence, agrees, 0.1)
    assert found.value == pytest.approx(0.95)
    assert found.stayed_share == 0.5


def test_a_few_answers_without_an_error_prove_little() -> None:
    assert threshold(sure(*[0.99] * 15), np.ones(15, np.bool_), 0.05).value is None
    assert threshold(sure(*[0.99] * 18), np.ones(18, np.bool_), 0.05).value == 0.0


def test_a_lucky_streak_inside_a_pool_moves_nothing() -> None:
    """Confidences that say nothing: the error at the top pools with all below, whatever streak follows it."""
    agrees = np.ones(200, np.bool_)
    agrees[:10] = False  # the surest are wrong
    agrees[150:] = np.arange(50) % 2 == 1
    confidence = np.linspace(1, 0.5, 200).astype(np.float32)
    plain = np.cumsum(~agrees) / np.arange(1, 201)
    assert plain.min() < 0.07
    assert plain[149] == pytest.approx(10 / 150)
    assert threshold(confidence, agrees, 0.08).value == pytest.approx(float(confidence[149]))
    streaky = agrees.copy()
    streaky[150:] = np.arange(50) >= 12  # after twelve wrong, a streak of right ones, up to the end
    assert threshold(confidence, streaky, 0.1).value == pytest.approx(float(confidence[149]))


def test_the_estimate_errs_less_often_than_the_plain_share() -> None:
    """As the docstring promises it, with fewer samples: at .05, above it in .38 of them against .59."""
    population, _ = calibrated(20_000, 0)
    above = np.zeros(2)
    for seed in range(200):
        confidence, agrees = calibrated(200, 1000 + seed)
        falling = np.argsort(-confidence)
        plain = np.cumsum(~agrees[falling]) / np.arange(1, 201)
        lucky = np.flatnonzero(plain <= 0.05)
        values = (
            threshold(confidence, agrees, 0.05).value,
            float(confidence[falling][lucky[-1]]) if len(lucky) else None,
        )
        for at, value in enumerate(values):
            stays = population[accepts(value, population)]
            above[at] += len(stays) > 0 and 1 - stays.mean() > 0.05
    assert above[0] < 0.5 * 200
    assert above[0] < above[1] - 20


def test_what_climbing_would_not_better_stays_but_is_not_called_right() -> None:
    """A column that nobody meets: a rung that is wrong only where the top is wrong too keeps its answers."""
    confidence = np.full(200, 0.9, np.float32)
    agrees = np.arange(200) < 160
    assert threshold(confidence, agrees, 0.05).value is None
    found = threshold(confidence, agrees, 0.05, suffices=np.arange(200) < 195)
    assert (found.value, found.agreement, found.stayed_agreement) == (0.0, 0.8, 0.8)


# --- policies --------------------------------------------------------------------------------------------------------


def rung(name: str, right: float, *, usd: float | None = None, s: float | None = None, **values: Any) -> Rung:
    """A rung whose surest answers are right: of 400 a share `right`, those of the highest confidence."""
    confidence = np.linspace(1, 0.5, 400).astype(np.float32)
    agrees = np.arange(400) < round(right * 400)
    return Rung(name=name, confidence=confidence, agrees=agrees, usd_per_answer=usd, s_per_answer=s, **values)


def ladder(*prices: float | None) -> list[Rung]:
    low, middle, top = prices
    return [rung("low", 0.6, usd=low), rung("middle", 0.8, usd=middle), rung("top", 1, usd=top)]


def checked(decision: Decision, n_rungs: int) -> Policy:
    policy = decision.policy
    assert len(policy.thresholds) == len(policy.used) == len(decision.thresholds) == n_rungs
    assert len(policy.entry) == len(LEVELS)
    assert all(policy.used[at] for at in policy.entry)
    for at, (value, is_used) in enumerate(zip(policy.thresholds, policy.used, strict=True)):
        assert (value is not None) == is_used, at
        above = policy.above(at)
        assert above is None or (above > at and policy.used[above] and not any(policy.used[at + 1 : above]))
    (*_, last) = (at for at in range(n_rungs) if policy.used[at])
    assert policy.thresholds[last] == 0.0
    assert policy.above(last) is None
    return policy


@pytest.mark.parametrize("strategy", list(STRATEGIES))
@pytest.mark.parametrize("n_rungs", [1, 2, 3, 5])
@pytest.mark.parametrize("right", [0, 0.9, 1])
def test_every_policy_of_every_strategy_is_sound(strategy: Strategy, n_rungs: int, right: float) -> None:
    rungs = [rung(str(at), right, usd=10.0**at, s=1.0 + at) for at in range(n_rungs - 1)]
    policy = checked(decide(strategy, [*rungs, rung("top", 1, usd=10.0**n_rungs, s=9)]), n_rungs)
    assert policy.used[-1] or not STRATEGIES[strategy].climbs


def test_a_ladder_that_pays_is_used_whole() -> None:
    decision = decide("balanced", ladder(0.0001, 0.001, 0.01))
    policy = checked(decision, 3)
    assert (policy.entry, policy.used, decision.notes) == ((0, 0, 1, 2), (True, True, True), ())
    assert [policy.above(at) for at in range(3)] == [1, 2, None]
    low, middle, top = decision.thresholds
    assert policy.thresholds == (low.value, middle.value, 0.0)
    assert (low.agreement, middle.agreement, top.agreement) == (0.6, 0.8, 1.0)
    assert low.stayed_share == 0.6
    assert top.stayed_share == 1.0


def test_a_rung_of_which_no_answer_stays_is_left_out_with_a_reason() -> None:
    rungs = [rung("low", 0, usd=0.0001), rung("middle", 0.8, usd=0.001), rung("top", 1, usd=0.01)]
    decision = decide("balanced", rungs)
    policy = checked(decision, 3)
    assert (policy.used, policy.entry) == ((False, True, True), (1, 1, 1, 2))
    assert len(decision.notes) == 1
    assert "low is left out" in decision.notes[0]


def test_a_rung_that_costs_as_much_as_it_saves_is_left_out() -> None:
    # The middle keeps .8 of its answers.
    assert checked(decide("balanced", ladder(0.0001, 0.0079, 0.01)), 3).used == (True, True, True)
    decision = decide("balanced", ladder(0.0001, 0.0081, 0.01))
    assert checked(decision, 3).used == (True, False, True)
    assert decision.policy.above(0) == 2
    assert "middle is left out" in decision.notes[0]
    assert decision.thresholds[1].value is not None  # its figures are told all the same


def test_what_the_next_rung_costs_is_what_is_expected_from_there_on() -> None:
    """The low rung keeps .6: at .0015 it pays against the top alone, but not against the middle and the top."""
    found = decide("balanced", ladder(0.0015, 0.0003, 0.01))
    kept = found.thresholds[1].stayed_share or 0
    from_middle = 0.0003 + (1 - kept) * 0.01
    assert (found.thresholds[0].stayed_share or 0) * from_middle < 0.0015
    assert checked(found, 3).used == (False, True, True)
    assert checked(decide("balanced", ladder(0.0013, 0.0003, 0.01)), 3).used == (True, True, True)
    assert checked(decide("balanced", [ladder(0.0015, None, 0.01)[at] for at in (0, 2)]), 2).used == (True, True)


@pytest.mark.parametrize("prices", [(None, None, None), (0.5, None, 0.1), (0.5, 0.5, None), (0, 0, 0)])
def test_without_a_price_to_compare_every_rung_stays(prices: tuple[float | None, float | None, float | None]) -> None:
    used = checked(decide("cost", ladder(*prices)), 3).used
    assert used == ((False, True, True) if prices == (0.5, None, 0.1) else (True, True, True))


@pytest.mark.parametrize(
    ("low", "middle", "expected"),
    [
        ((0.95, 1.0), (0.95, 2.0), 0),
        ((0.95, 2.0), (0.95, 1.0), 1),
        ((0.8, 1.0), (0.95, 2.0), 1),
        ((0.8, 1.0), (0.8, 1.0), 2),
    ],
)
def test_performance_takes_the_fastest_rung_that_is_good_enough_alone(
    low: tuple[float, float], middle: tuple[float, float], expected: int
) -> None:
    rungs = [rung("low", low[0], s=low[1]), rung("middle", middle[0], s=middle[1]), rung("top", 1, s=3)]
    decision = decide("performance", rungs)
    policy = checked(decision, 3)
    assert policy.entry == (expected,) * 4
    assert policy.used == tuple(at == expected for at in range(3))
    assert rungs[expected].name in decision.notes[0]


def test_performance_takes_no_rung_whose_seconds_nobody_measured_before_one_whose_are() -> None:
    assert decide("performance", [rung("low", 1), rung("top", 1, s=5)]).policy.entry == (1,) * 4
    assert decide("performance", [rung("low", 1), rung("top", 1)]).policy.entry == (0,) * 4


def test_the_tolerance_is_the_strategys() -> None:
    confidence, agrees = calibrated(2000, 1, floor=0)
    rungs = [Rung(name="low", confidence=confidence, agrees=agrees), rung("top", 1)]
    for strategy in CLIMBING:
        value = decide(strategy, rungs).policy.thresholds[0]
        assert value == threshold(confidence, agrees, STRATEGIES[strategy].tolerance).value
    assert len({decide(strategy, rungs).policy.thresholds[0] for strategy in CLIMBING}) == 3


def of_a_column(*, has_suffices: bool) -> list[Rung]:
    """A column that the top meets on all but the unsure fifth, and the rung on all but every eighth besides."""
    confidence = np.linspace(1, 0.5, 400).astype(np.float32)
    top_agrees = np.arange(400) < 320
    agrees = top_agrees & (np.arange(400) % 8 != 0)
    suffices = agrees | ~top_agrees if has_suffices else None
    low = Rung(name="low", confidence=confidence, agrees=agrees, suffices=suffices)
    return [low, Rung(name="top", confidence=confidence, agrees=top_agrees)]


def test_a_column_that_the_top_does_not_meet_does_not_send_all_to_the_top() -> None:
    _, top = of_a_column(has_suffices=False)
    assert top.agrees.mean() == 0.8
    assert decide("balanced", [top, top]).policy.thresholds == (0.0, 0.0)


def test_where_the_top_is_wrong_only_on_what_is_unsure_review_by_review_tells_more() -> None:
    """Every eighth sure answer is wrong where the top is right: more than 5 %, whatever the top's own share is."""
    assert decide("balanced", of_a_column(has_suffices=True)).policy.used == (False, True)
    assert decide("balanced", of_a_column(has_suffices=False)).policy.used == (True, True)
    _, top = of_a_column(has_suffices=True)
    same = Rung(name="low", confidence=top.confidence, agrees=top.agrees, suffices=np.ones(400, np.bool_))
    assert decide("quality", [same, top]).policy.thresholds == (0.0, 0.0)
    low = decide("cost", [of_a_column(has_suffices=True)[0], rung("top", 1)]).thresholds[0]
    assert low.agreement == 0.7  # told as it is, not as it suffices


# --- replanning ------------------------------------------------------------------------------------------------------


def climbing_rung(n_climbed: int, agreeing: float, *, below: float, usd: float | None = None) -> Rung:
    """A calibrated rung of which `n_climbed` answers below a threshold climbed, a share `agreeing` for nothing."""
    confidence, agrees = calibrated(200, 8)
    chance = np.random.default_rng(3)
    climbed = chance.choice(confidence[confidence < below], n_climbed)
    return Rung(
        name="low",
        confidence=confidence,
        agrees=agrees,
        usd_per_answer=usd,
        climbed_confidence=climbed,
        climbed_agrees=chance.random(n_climbed) < agreeing,
    )


def begun(usd: float | None = None) -> tuple[Policy, float]:
    policy = decide("adaptive", [climbing_rung(0, 1, below=2, usd=usd), rung("top", 1, usd=1)]).policy
    assert policy.thresholds[0] is not None
    return policy, policy.thresholds[0]


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "adaptive"])
def test_only_the_adaptive_strategy_replans(strategy: Strategy) -> None:
    policy, value = begun()
    decision = replan(strategy, policy, [climbing_rung(2000, 1, below=value), rung("top", 1)])
    assert (decision.policy, decision.notes) == (policy, ())


def test_nothing_new_changes_nothing() -> None:
    policy, _ = begun(usd=0.01)
    decision = replan("adaptive", policy, [climbing_rung(0, 1, below=2, usd=0.01), rung("top", 1, usd=1)])
    assert (decision.policy, decision.notes) == (policy, ())


@pytest.mark.parametrize(("moved", "is_kept"), [(0.004, True), (-0.004, True), (0.006, False)])
def test_a_threshold_that_hardly_moves_is_left_alone(moved: float, is_kept: bool) -> None:
    policy, value = begun()
    near = replace(policy, thresholds=(value + moved, 0.0))
    decision = replan("adaptive", near, [climbing_rung(0, 1, below=2), rung("top", 1)])
    assert decision.policy == (near if is_kept else policy)
    assert len(decision.notes) == (0 if is_kept else 1)


def test_climbed_answers_that_always_agree_lower_the_threshold_with_a_sentence() -> None:
    policy, value = begun()
    decision = replan("adaptive", policy, [climbing_rung(2000, 1, below=value), rung("top", 1)])
    lower = checked(decision, 2).thresholds[0]
    assert lower is not None
    assert lower < value - 0.02
    assert len(decision.notes) == 1
    assert "low" in decision.notes[0]
    assert f"{value:.3f}" in decision.notes[0]


def test_climbed_answers_do_not_count_for_more_than_their_share_of_the_sample() -> None:
    """2,000 climbed answers, half of them wrong, say nothing of the sure ones: these stay as before."""
    policy, value = begun()
    decision = replan("adaptive", policy, [climbing_rung(2000, 0.5, below=value), rung("top", 1)])
    assert decision.policy.thresholds[0] == pytest.approx(value, abs=0.02)
    share = decision.thresholds[0].stayed_share
    before = threshold(*calibrated(200, 8), 0.05).stayed_share
    assert share == pytest.approx(before, abs=0.05)


def test_many_climbed_answers_bring_the_threshold_near_the_true_one() -> None:
    """Of calibrated answers: from 20 samples, the thresholds after a replan scatter less about the true one."""
    population, _ = calibrated(100_000, 0)
    falling = np.sort(population)[::-1]
    true = float(falling[np.flatnonzero(np.cumsum(1 - falling) / np.arange(1, len(falling) + 1) <= 0.05)[-1]])
    far: list[tuple[float, float]] = []
    for seed in range(20):
        confidence, agrees = calibrated(200, seed)
        top = rung("top", 1)
        policy = decide("adaptive", [Rung(name="low", confidence=confidence, agrees=agrees), top]).policy
        value = policy.thresholds[0]
        if value is None or value <= true:
            continue  # what a threshold that is too low lets stay does not climb, and tells nothing
        seen, right = calibrated(5000, 10_000 + seed)
        climbs = seen < value
        low = Rung(
            name="low",
            confidence=confidence,
            agrees=agrees,
            climbed_confidence=seen[climbs],
            climbed_agrees=right[climbs],
        )
        after = replan("adaptive", policy, [low, top]).policy.thresholds[0]
        assert after is not None
        far.append((abs(value - true), abs(after - true)))
    assert len(far) >= 8
    before, after_all = np.mean(far, axis=0)
    assert after_all <= before


def test_a_rung_that_turns_out_dear_is_left_out_and_does_not_come_back() -> None:
    policy, _ = begun(usd=0.01)
    dear = [climbing_rung(0, 1, below=2, usd=0.9), rung("top", 1, usd=1)]
    decision = replan("adaptive", policy, dear)
    assert checked(decision, 2).used == (False, True)
    assert decision.policy.entry == (1, 1, 1, 1)
    assert ["left out" in note for note in decision.notes] == [True]
    cheap = [climbing_rung(0, 1, below=2, usd=0.01), rung("top", 1, usd=1)]
    again = replan("adaptive", decision.policy, cheap)
    assert again.policy == decision.policy
    assert again.notes == ()


def test_a_rung_that_was_out_already_is_not_told_again() -> None:
    rungs = [rung("low", 0, usd=0.1), rung("top", 1, usd=1)]
    first = decide("adaptive", rungs)
    assert len(first.notes) == 1
    assert replan("adaptive", first.policy, rungs).notes == ()


def test_answers_of_unknown_confidence_can_climb_too() -> None:
    unknown = np.full(100, NAN, np.float32)
    low = Rung(
        name="low",
        confidence=unknown,
        agrees=np.arange(100) < 90,
        climbed_confidence=unknown,
        climbed_agrees=np.ones(100, np.bool_),
    )
    decision = replan("adaptive", decide("adaptive", [low, rung("top", 1)]).policy, [low, rung("top", 1)])
    found = decision.thresholds[0]
    assert (found.n, found.value) == (200, None)
    assert found.agreement == pytest.approx(0.95)


def test_levels_enter_what_is_left() -> None:
    for used in itertools.product([0, 1], repeat=3):
        rungs = [rung(str(at), 0.7 if keeps else 0) for at, keeps in enumerate(used)]
        policy = checked(decide("balanced", [*rungs, rung("top", 1)]), 4)
        places = [at for at, keeps in enumerate([*used, 1]) if keeps]
        assert policy.entry == tuple(places[STRATEGIES["balanced"].entry(at, len(places))] for at in range(4))
