"""The certificate's statistics: exact against counting in whole numbers, and a draw that is one."""

from __future__ import annotations

import functools
import itertools
import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, chi2, kstest, spearmanr

from reviewopt.certify import (
    Audit,
    attempt_delta,
    audit_size,
    cal_size,
    chances,
    clopper_pearson,
    cut,
    error_budget,
    errors_high,
    last_passing,
    most_errors,
    seed,
    target_delta,
)
from reviewopt.certify.audit import log_factors
from reviewopt.certify.exact import Flags

DELTAS = st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.5, 0.9, 0.05 * 6 / math.pi**2])
SMALL = 12
FLAGS = st.lists(st.booleans(), max_size=60).map(lambda flags: np.array(flags, dtype=bool))


def chance_of_at_most(n_rows: int, n_wrong: int, n: int, count: int) -> Fraction:
    """P(Hypergeom <= count), by counting samples."""
    ways = sum(math.comb(n_wrong, k) * math.comb(n_rows - n_wrong, n - k) for k in range(min(count, n) + 1))
    return Fraction(ways, math.comb(n_rows, n))


def counted(n_rows: int, budget: int, n: int, delta: float) -> int:
    """`most_errors` by its definition."""
    if budget >= n_rows:
        return n
    passing = [c for c in range(n + 1) if chance_of_at_most(n_rows, budget + 1, n, c) <= Fraction(delta)]
    return max(passing, default=-1)


def audited(n_rows: int, budget: int, wrong: Flags, delta: float = 0.05) -> Audit:
    audit = Audit(n_rows, budget, delta)
    audit.add(wrong)
    return audit


def orders(n_rows: int, n_wrong: int) -> list[Flags]:
    """Every order in which the wrong rows of a table can come, all equally likely."""
    places = itertools.combinations(range(n_rows), n_wrong)
    return [np.isin(np.arange(n_rows), place) for place in places]


# --- the budget ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_rows", "target", "expected"),
    [(10, 0.9, 1), (100, 0.95, 5), (1000, 0.999, 1), (19, 0.95, 0), (7, 1, 0), (7, 0, 7)],
)
def test_the_budget_is_that_of_the_decimal_target(n_rows: int, target: float, expected: int) -> None:
    assert error_budget(n_rows, target) == expected


@given(st.integers(0, 10**7), st.integers(0, 10**4))
def test_the_budget_is_the_floor_in_whole_numbers(n_rows: int, per_10000: int) -> None:
    assert error_budget(n_rows, per_10000 / 10**4) == n_rows * (10**4 - per_10000) // 10**4


@pytest.mark.parametrize(("n_rows", "target"), [(-1, 0.5), (5, 1.1), (5, -0.1), (5, math.nan)])
def test_a_target_that_is_no_share_is_refused(n_rows: int, target: float) -> None:
    with pytest.raises(ValueError, match="share"):
        error_budget(n_rows, target)


# --- the fixed sequence ----------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.integers(0, 40), st.integers(0, 42), st.integers(0, 40), DELTAS)
def test_the_most_errors_are_those_of_counting_samples(n_rows: int, budget: int, n: int, delta: float) -> None:
    n = min(n, n_rows)
    assert most_errors(n_rows, budget, n, delta) == counted(n_rows, budget, n, delta)


@pytest.mark.parametrize("half", [1, 3, 5, 51, 199, 1001])
def test_a_probability_of_exactly_delta_counts_as_within(half: int) -> None:
    # Half of the rows drawn, an odd half of them wrong: the count is symmetric, so below its middle lies exactly .5.
    middle = half // 2
    assert chance_of_at_most(2 * half, half, half, middle) == Fraction(1, 2)
    assert most_errors(2 * half, half - 1, half, 0.5) == middle
    assert most_errors(2 * half, half - 1, half, math.nextafter(0.5, 0)) == middle - 1


@pytest.mark.parametrize(("n_rows", "budget", "n"), [(2000, 99, 300), (5000, 249, 1000), (20_000, 999, 2000)])
def test_large_tables_agree_with_whole_numbers_too(n_rows: int, budget: int, n: int) -> None:
    most = most_errors(n_rows, budget, n, 0.05)
    assert chance_of_at_most(n_rows, budget + 1, n, most) <= Fraction(0.05)
    assert chance_of_at_most(n_rows, budget + 1, n, most + 1) > Fraction(0.05)


@given(st.integers(1, 3000), st.integers(0, 200), st.integers(0, 2999), DELTAS)
def test_more_rows_budget_or_risk_never_allow_fewer_errors(n_rows: int, budget: int, n: int, delta: float) -> None:
    n = min(n, n_rows - 1)
    most = most_errors(n_rows, budget, n, delta)
    assert -1 <= most <= n
    assert most_errors(n_rows, budget, n + 1, delta) >= most
    assert most_errors(n_rows, budget + 1, n, delta) >= most
    assert most_errors(n_rows, budget, n, min(0.99, delta * 1.1)) >= most


@given(st.integers(1, 5000), st.integers(0, 5000), DELTAS)
def test_a_whole_table_may_show_its_whole_budget(n_rows: int, budget: int, delta: float) -> None:
    assert most_errors(n_rows, budget, n_rows, delta) == min(budget, n_rows)


@pytest.mark.parametrize(
    ("n_rows", "budget", "n", "delta"),
    [(10, 1, 11, 0.05), (10, -1, 5, 0.05), (10, 1, 5, 0.0), (10, 1, 5, 1.0), (10, 1, -1, 0.05)],
)
def test_impossible_samples_are_refused(n_rows: int, budget: int, n: int, delta: float) -> None:
    with pytest.raises(ValueError, match="needed"):
        most_errors(n_rows, budget, n, delta)


@pytest.mark.parametrize("n_wrong", [3, 4, 6, 12])
def test_no_cut_of_any_sample_accepts_too_many_errors_more_often_than_delta(n_wrong: int) -> None:
    # All samples of 6 of 12 rows; the wrong rows are the safest ones or spread: whole numbers, no simulation.
    budget, n, delta = 2, 6, 0.25
    most = most_errors(SMALL, budget, n, delta)
    risk = np.arange(SMALL, dtype=np.float64)
    for wrong in (risk < n_wrong, np.isin(risk, np.linspace(0, SMALL - 1, n_wrong).round()), risk >= SMALL - n_wrong):
        broken = 0
        for rows in itertools.combinations(range(SMALL), n):
            sample = np.array(rows)
            accepted = risk < cut(risk[sample], wrong[sample], most)
            broken += int(wrong[accepted].sum()) > budget
        assert Fraction(broken, math.comb(SMALL, n)) <= Fraction(delta)
        if n_wrong == budget + 1:  # the worst case: the bound is met, not only kept
            assert Fraction(broken, math.comb(SMALL, n)) == chance_of_at_most(SMALL, n_wrong, n, most)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40), st.integers(-1, 10))
def test_a_cut_lets_in_at_most_so_many_wrong_rows_and_as_many_as_it_can(
    rows: list[tuple[int, bool]], most: int
) -> None:
    risk = np.array([risk for risk, _ in rows], dtype=np.float64)
    wrong = np.array([flag for _, flag in rows], dtype=bool)
    found = cut(risk, wrong, most)
    assert int(wrong[risk < found].sum()) <= max(0, most)
    if math.isfinite(found):
        assert int(wrong[risk <= found].sum()) > most
    else:
        assert found == (-math.inf if most < 0 else math.inf)
        assert most < 0 or int(wrong.sum()) <= most


def test_rows_of_one_risk_are_accepted_all_or_none() -> None:
    risk = np.array([0.1, 0.2, 0.2, 0.2, 0.3])
    wrong = np.array([False, True, True, False, False])
    assert [cut(risk, wrong, most) for most in (0, 1, 2)] == [0.2, 0.2, math.inf]


def test_a_wrong_row_without_a_risk_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        cut(np.array([0.1, math.nan]), np.array([False, True]), 0)


def test_a_policy_behind_a_failing_one_is_not_considered() -> None:
    counts = [0, 2, 1, 3, 0]
    wrong = np.arange(5) < np.array(counts)[:, None]
    assert [last_passing(wrong, most) for most in (-1, 0, 1, 2, 3)] == [-1, 0, 0, 2, 4]
    assert last_passing(np.zeros((0, 5), dtype=bool), 3) == -1


# --- the audit -------------------------------------------------------------------------------------------------------


@given(st.integers(1, 999))
def test_each_alternative_expects_no_gain_under_the_null(per_1000: int) -> None:
    mean = np.array([per_1000 / 1000])
    wrong, right = (np.exp(log_factors(mean, np.array([flag]))) for flag in (True, False))
    assert (mean * wrong + (1 - mean) * right).ravel() == pytest.approx(np.ones(25), abs=1e-12)


@pytest.mark.parametrize("budget", [0, 1, 2, 4, 8, 11])
def test_the_evidence_obeys_ville_exactly_for_every_number_of_errors(budget: int) -> None:
    # All orders of 12 rows: P(the largest E reaches v) <= 1 / v for every v, so for every delta at once.
    for n_wrong in range(budget + 1, SMALL + 1):
        tops = np.sort([audited(SMALL, budget, wrong).value for wrong in orders(SMALL, n_wrong)])
        at_least = np.arange(len(tops), 0, -1) / len(tops)
        assert (at_least * tops <= 1 + 1e-9).all()


@pytest.mark.parametrize(("budget", "delta"), [(0, 0.1), (1, 0.25), (3, 0.5), (5, 0.9)])
def test_too_many_errors_pass_at_any_look_with_a_chance_of_at_most_delta(budget: int, delta: float) -> None:
    n_rows = 9
    for n_wrong in range(budget + 1, n_rows + 1):
        passed = 0
        for wrong in orders(n_rows, n_wrong):
            audit, ever = Audit(n_rows, budget, delta), False
            for place in range(n_rows):
                audit.add(wrong[place : place + 1])
                ever |= audit.passes
            passed += ever
            assert not audit.passes  # by now all of them were seen
        assert Fraction(passed, math.comb(n_rows, n_wrong)) <= Fraction(delta)


@given(FLAGS, st.integers(0, 70), st.integers(0, 20), st.lists(st.integers(0, 60), max_size=5))
def test_rows_added_in_pieces_are_rows_added_at_once(wrong: Flags, more: int, budget: int, at: list[int]) -> None:
    whole, pieces = audited(len(wrong) + more, budget, wrong), Audit(len(wrong) + more, budget, 0.05)
    for part in np.split(wrong, sorted(min(place, len(wrong)) for place in at)):
        pieces.add(part)
    assert (pieces.n, pieces.n_errors, pieces.value, pieces.passes) == (
        whole.n,
        whole.n_errors,
        whole.value,
        whole.passes,
    )


def test_many_rows_at_once_are_many_rows_in_pieces() -> None:
    wrong = np.random.default_rng(0).random(40_000) < 0.049
    whole, pieces = audited(50_000, 2500, wrong), Audit(50_000, 2500, 0.05)
    for part in np.split(wrong, [1, 5000, 20_000, 39_999]):
        pieces.add(part)
    assert whole.value == pieces.value > 1
    assert whole.n_errors == int(wrong.sum())


@given(FLAGS, st.integers(0, 60))
def test_when_all_rows_are_seen_the_count_decides(wrong: Flags, budget: int) -> None:
    audit = audited(len(wrong), budget, wrong)
    assert audit.passes == (int(wrong.sum()) <= budget)
    if audit.passes:
        assert audit.value == math.inf


def test_what_was_proven_does_not_survive_too_many_errors() -> None:
    audit = audited(1000, 50, np.zeros(300, dtype=bool))
    assert audit.passes
    audit.add(np.ones(51, dtype=bool))
    assert not audit.passes
    assert audit.value >= 20


def test_evidence_that_was_reached_counts_although_it_falls_again() -> None:
    audit = audited(1000, 50, np.zeros(90, dtype=bool))
    top = audit.value
    audit.add(np.ones(20, dtype=bool))
    assert audit.passes
    assert audit.value == top >= 20


def test_a_budget_of_all_rows_needs_no_row() -> None:
    assert Audit(5, 5, 0.05).passes
    assert Audit(0, 0, 0.05).passes
    assert not Audit(5, 4, 0.05).passes


def test_an_audit_refuses_more_rows_than_there_are() -> None:
    with pytest.raises(ValueError, match="6 rows for an audit of 5"):
        audited(5, 1, np.zeros(6, dtype=bool))


@pytest.mark.parametrize(("n_rows", "budget", "delta"), [(-1, 0, 0.1), (5, -1, 0.1), (5, 1, 0.0), (5, 1, 1.0)])
def test_an_impossible_audit_is_refused(n_rows: int, budget: int, delta: float) -> None:
    with pytest.raises(ValueError, match="needed"):
        Audit(n_rows, budget, delta)


@given(FLAGS, st.integers(0, 500), DELTAS)
def test_the_upper_bound_is_the_least_budget_that_passes(wrong: Flags, more: int, delta: float) -> None:
    n_rows = len(wrong) + more
    high = errors_high(n_rows, wrong, delta)
    passing = [b for b in range(n_rows + 1) if audited(n_rows, b, wrong, delta).passes] if n_rows < 100 else [high]
    assert high == passing[0]
    assert passing == list(range(high, n_rows + 1)) or n_rows >= 100
    assert int(wrong.sum()) <= high <= n_rows
    assert errors_high(n_rows, wrong, min(0.99, 1.1 * delta)) <= high


@pytest.mark.parametrize("delta", [0.1, 0.5])
def test_the_upper_bound_is_too_low_with_a_chance_of_at_most_delta(delta: float) -> None:
    high_after = functools.cache(lambda seen: errors_high(SMALL, np.array(seen), delta))  # most orders begin alike
    for n_wrong in range(SMALL + 1):
        highs = [high_after(tuple(wrong[:8].tolist())) for wrong in orders(SMALL, n_wrong)]
        assert Fraction(sum(high < n_wrong for high in highs), len(highs)) <= Fraction(delta)


# --- the risk shared out ---------------------------------------------------------------------------------------------


@given(st.floats(0.001, 0.5))
def test_attempts_and_targets_share_out_delta_and_no_more(delta: float) -> None:
    for share in (attempt_delta, target_delta):
        parts = [share(delta, j) for j in range(1, 5001)]
        assert parts == sorted(parts, reverse=True)
        assert 0.999 * delta < sum(parts) <= delta
    assert target_delta(delta, 1) == pytest.approx(0.9 * delta)


@pytest.mark.parametrize("share", [attempt_delta, target_delta])
def test_there_is_no_attempt_before_the_first(share: object) -> None:
    assert callable(share)
    with pytest.raises(ValueError, match="the first"):
        share(0.05, 0)


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_the_sample_of_a_cut_is_the_one_that_costs_least() -> None:
    n_rows, a, g = 100_000, 0.05, 0.2
    z = NormalDist().inv_cdf(0.95)
    n = cal_size(n_rows, 1 - a, 0.05, error_at_cut=g)

    def cost(n: int) -> float:
        return n + n_rows * z * math.sqrt(a * (1 - a) / n) / g

    assert n == min(range(100, 10_000), key=cost)
    assert 1400 <= n <= 2100


@given(
    st.integers(1, 10**6),
    st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999, 1.0]),
    st.sampled_from([0.01, 0.05, 0.5]),
    st.floats(0, 1),
)
def test_a_sample_can_always_pass_and_is_never_more_than_the_table(
    n_rows: int, target: float, delta: float, g: float
) -> None:
    n = cal_size(n_rows, target, delta, error_at_cut=g)
    assert 0 <= n <= n_rows
    assert most_errors(n_rows, error_budget(n_rows, target), n, delta) >= 0


def test_a_steeper_cut_needs_a_smaller_sample() -> None:
    sizes = [cal_size(100_000, 0.95, 0.05, error_at_cut=g) for g in (0, 0.05, 0.1, 0.3, 1)]
    assert sizes[0] == sizes[1] > sizes[2] > sizes[3] > sizes[4]


@pytest.mark.parametrize("error", [0.0, 0.01, 0.02, 0.03])
def test_an_audit_of_the_planned_size_passes_as_often_as_planned(error: float) -> None:
    n_rows, rng = 20_000, np.random.default_rng(5)
    n = audit_size(n_rows, 0.95, error, 0.05)
    table = np.arange(n_rows) < error * n_rows
    n_passed = sum(audited(n_rows, 1000, rng.permutation(table)[:n]).passes for _ in range(200))
    assert n_passed >= binom.ppf(0.001, 200, 0.9)


def test_an_audit_grows_with_what_is_asked_of_it() -> None:
    by_error = [audit_size(50_000, 0.95, error, 0.05) for error in (0, 0.01, 0.02, 0.03, 0.04, 0.05)]
    assert by_error == sorted(by_error)
    assert by_error[0] < 100
    assert audit_size(50_000, 0.95, 0.02, 0.01) > by_error[2]
    assert audit_size(50_000, 0.95, 0.02, 0.05, power=0.5) < by_error[2]
    assert audit_size(50_000, 0.95, 0.051, 0.05) == 50_000
    assert audit_size(5000, 0.95, 0.051, 0.95, power=0.01) == 5000  # an audit that passes by chance is none to plan for


# --- an interval -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from([0.9, 0.95, 0.999]))
def test_the_interval_is_that_of_two_binomial_tests(n_right: int, n_wrong: int, confidence: float) -> None:
    n, tail = n_right + n_wrong, (1 - confidence) / 2
    low, high = clopper_pearson(n_right, n, confidence)
    assert 0 <= low <= (n_right / n if n else 0.5) <= high <= 1
    if n_right:
        assert binom.sf(n_right - 1, n, low) == pytest.approx(tail, rel=1e-6)
        assert low == pytest.approx(beta.ppf(tail, n_right, n_wrong + 1))
    if n_wrong:
        assert binom.cdf(n_right, n, high) == pytest.approx(tail, rel=1e-6)
    assert (low == 0) == (n_right == 0)
    assert (high == 1) == (n_wrong == 0)


@pytest.mark.parametrize(("n_right", "n", "confidence"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_an_impossible_share_is_refused(n_right: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="needed"):
        clopper_pearson(n_right, n, confidence)


# --- the draw --------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_other_parts_give_another_seed(one: list[str], other: list[str]) -> None:
    assert (seed(*one) == seed(*other)) == (one == other)
    assert 0 <= seed(*one) < 2**64


def test_a_seed_is_the_same_everywhere() -> None:
    assert seed("a", "bc") != seed("ab", "c")
    assert seed("table", "sentiment") == 6270895056165609371
    assert chances(np.arange(3), 7).tolist() == [4741721368810373648, 357967506381480531, 8883281606947488058]


def test_rows_never_share_a_chance_and_keep_it_wherever_they_stand() -> None:
    rows = np.arange(200_000)
    drawn = chances(rows, 11)
    assert drawn.dtype == np.uint64
    assert len(np.unique(drawn)) == len(rows)
    assert (chances(rows[::-1][:500], 11) == drawn[::-1][:500]).all()


SEEDS = [0, 1, 2, 3, 2**32, 2**63, 0x9E3779B97F4A7C15, 0x3C6EF372FE94F82A, 2**64 - 1, seed("x"), seed("y")]


def test_chances_are_uniform_and_the_orders_of_seeds_are_unrelated() -> None:
    n = 20_000
    shares = np.array([chances(np.arange(n), one) / 2**64 for one in SEEDS])
    for one in shares:
        assert kstest(one, "uniform").pvalue > 1e-5
        assert abs(spearmanr(one[:-1], one[1:]).statistic) * math.sqrt(n) < 5  # no trend from row to row
    for one, other in itertools.combinations(shares, 2):
        assert abs(spearmanr(one, other).statistic) * math.sqrt(n) < 5
        for shift in (1, 2, 3):  # nor is one the other, some rows on
            assert abs(spearmanr(one[shift:], other[:-shift]).statistic) * math.sqrt(n) < 5


def test_each_row_and_each_pair_is_drawn_as_often_as_by_chance() -> None:
    n, k, n_seeds = 40, 10, 4000
    drawn = np.array([chances(np.arange(n), one) for one in range(n_seeds)])
    sampled = np.zeros((n_seeds, n))
    np.put_along_axis(sampled, np.argsort(drawn, axis=1)[:, :k], 1, axis=1)
    together = sampled.T @ sampled
    p, pair = k / n, k * (k - 1) / (n * (n - 1))
    rows = ((together.diagonal() - n_seeds * p) ** 2).sum() / (n_seeds * p * (1 - p)) * (n - 1) / n
    assert 1e-5 < chi2.sf(rows, n - 1) < 1 - 1e-5
    pairs = together[np.triu_indices(n, 1)]
    assert np.abs(pairs - n_seeds * pair).max() < 5 * math.sqrt(n_seeds * pair * (1 - pair))


def test_a_tie_that_whole_numbers_would_take_hours_to_decide_is_taken_on_the_safe_side() -> None:
    """Half of the rows are wrong and an odd number is drawn: at most half of these are wrong with a chance of 1/2."""
    assert most_errors(1_000, 499, 99, 0.5) == 49
    assert most_errors(1_000_000, 499_999, 99, 0.5) == 48
