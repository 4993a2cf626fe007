"""The promise is broken no more often than delta allows; short: benchmarks/certificate_coverage.py is the long form."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
import populations as made
import pytest
from scipy.stats import binom, hypergeom

from reviewopt.certify import Audit, error_budget, most_errors

N_ROWS, N_TRIALS, N_TABLES = 2000, 200, 10
TARGET, DELTA = 0.95, 0.05
BUDGET = error_budget(N_ROWS, TARGET)
N_TRAIN, N_CAL, N_AUDIT = 100, 400, 400
MOST_BROKEN = int(binom.ppf(0.999, N_TRIALS, DELTA))

RANKED = [
    (made.calibrated, "random"),
    (made.calibrated, "sorted"),
    (made.overconfident, "blocky"),
    (made.step, "random"),
    (made.tied, "sorted"),
    (made.all_right, "blocky"),
    (made.all_wrong, "sorted"),
]
PATHS: dict[str, Callable[[int, made.Rng], made.Path]] = {
    "negated": partial(made.path, negated=0.04),
    "stale": partial(made.path, stale=0.3),
    "not monotone": partial(made.path, negated=0.01, middle=0.04),
    "one too many": made.one_too_many,
}


Table = TypeVar("Table", made.Ranked, made.Path)


def n_broken(
    make: Callable[[int, made.Rng], Table], promise: Callable[[Table, made.I64], made.Outcome], order: str, name: str
) -> int:
    """How many of the promises on draws from tables of one kind were broken, sampled rows not yet put right."""
    broken = 0
    for place in range(N_TABLES):
        rng = np.random.default_rng([place, *name.encode()])
        table = make(N_ROWS, rng).ordered(order, rng)
        for trial in range(N_TRIALS // N_TABLES):
            outcome = promise(table, made.drawn(N_ROWS, name, order, str(place), str(trial)))
            assert outcome.n_wrong <= outcome.n_wrong_before
            broken += outcome.n_wrong_before > BUDGET
    return broken


@pytest.mark.parametrize(("make", "order"), RANKED)
def test_a_cut_keeps_the_promise(make: Callable[[int, made.Rng], made.Ranked], order: str) -> None:
    def promise(table: made.Ranked, rows: made.I64) -> made.Outcome:
        return made.by_cut(table, rows, BUDGET, DELTA, N_TRAIN, N_CAL)

    assert n_broken(make, promise, order, make.__name__) <= MOST_BROKEN


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(("procedure", "order"), [("policies", "sorted"), ("audit", "blocky")])
def test_whole_policies_and_audits_keep_the_promise(name: str, procedure: str, order: str) -> None:
    def promise(table: made.Path, rows: made.I64) -> made.Outcome:
        if procedure == "policies":
            return made.by_policy(table, rows, BUDGET, DELTA, N_CAL)
        return made.by_audit(table, rows, BUDGET, DELTA, N_AUDIT)

    assert n_broken(PATHS[name], promise, order, name) <= MOST_BROKEN


def test_a_point_estimate_breaks_the_promise() -> None:
    def promise(table: made.Ranked, rows: made.I64) -> made.Outcome:
        return made.by_estimate(table, rows, BUDGET, N_CAL)

    assert n_broken(made.calibrated, promise, "random", "calibrated") > MOST_BROKEN


def test_an_audit_of_the_rows_that_were_asked_breaks_the_promise() -> None:
    def promise(table: made.Path, rows: made.I64) -> made.Outcome:
        return made.by_audit_of_firsts(table, rows, BUDGET, DELTA, N_AUDIT)

    assert n_broken(PATHS["negated"], promise, "random", "negated") > MOST_BROKEN


def test_a_table_smaller_than_the_sample_is_the_references_own() -> None:
    rng = np.random.default_rng(0)
    rows, budget = made.drawn(300, "small"), error_budget(300, TARGET)
    ranked, hanging = made.calibrated(300, rng), made.path(300, rng, negated=0.04)
    for outcome in (
        made.by_cut(ranked, rows, budget, DELTA, 50, 1000),
        made.by_audit(hanging, rows, budget, DELTA, 1000),
    ):
        assert (outcome.n_wrong, outcome.n_reference) == (0, 300)
        assert outcome.n_wrong_before <= budget


@pytest.mark.parametrize(("n_rows", "n"), [(1000, 300), (20_000, 1000), (100_000, 2000), (1_000_000, 10_000)])
def test_the_worst_case_passes_with_a_chance_of_at_most_delta_and_one_more_error_would_not(n_rows: int, n: int) -> None:
    budget = error_budget(n_rows, TARGET)
    most = most_errors(n_rows, budget, n, DELTA)
    assert hypergeom.cdf(most, n_rows, budget + 1, n) <= DELTA < hypergeom.cdf(most + 1, n_rows, budget + 1, n)


def test_good_labels_are_certified() -> None:
    # Coverage alone would also hold for a test that never passes.
    audit = Audit(N_ROWS, BUDGET, DELTA)
    audit.add(np.zeros(100, dtype=bool))
    assert audit.passes
    rows = made.drawn(N_ROWS, "good")
    table = made.all_right(N_ROWS, np.random.default_rng(0))
    assert made.by_cut(table, rows, BUDGET, DELTA, N_TRAIN, N_CAL).n_reference == N_TRAIN + N_CAL
