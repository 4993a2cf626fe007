"""Two answers to the same rows: published intervals, the exact test, and what must hold when they change places."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from reviewopt.accuracy import Estimate
from reviewopt.paired import Paired, counts, difference, mcnemar, of_counts, paired

LABELS = st.sampled_from(["negative", "neutral", "positive", None])
ROWS = st.lists(st.tuples(LABELS, LABELS, LABELS), max_size=40)
CELLS = st.tuples(*[st.integers(0, 300)] * 4)


def columns(rows: list[tuple[str | None, str | None, str | None]]) -> tuple[pl.Series, pl.Series, pl.Series]:
    a, b, truth = (pl.Series(name, [row[at] for row in rows], pl.String) for at, name in enumerate("xyz"))
    return a, b, truth


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_p_value_is_that_of_a_binomial_test(n_only_a: int, n_only_b: int) -> None:
    n = n_only_a + n_only_b
    expected = binomtest(n_only_a, n, 0.5).pvalue if n else 1.0
    assert mcnemar(n_only_a, n_only_b) == pytest.approx(expected, abs=1e-12)
    assert mcnemar(n_only_a, n_only_b) == mcnemar(n_only_b, n_only_a)


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17:2635), table III, method 10.
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((20, 12, 2, 16), 0.0562, 0.3292),
        ((18, 12, 2, 18), 0.0562, 0.3290),
        ((36, 14, 0, 0), 0.1528, 0.4167),
        ((35, 14, 0, 1), 0.1461, 0.4175),
        ((18, 14, 0, 18), 0.1441, 0.3963),
        ((2, 97, 1, 0), 0.8721, 0.9854),
        ((0, 29, 1, 0), 0.6666, 0.9882),
        ((0, 30, 0, 0), 0.8395, 1.0),
        ((54, 0, 0, 0), -0.0664, 0.0664),
        ((53, 0, 0, 1), -0.0729, 0.0729),
        ((30, 0, 0, 24), -0.0358, 0.0358),
        # Cavo et al. 2012, in Fagerland, Lydersen and Laake 2014 (Statistics in Medicine 33:2850).
        ((59, 6, 16, 80), -0.1186, -0.0046),
    ],
)
def test_the_interval_is_the_published_one(cells: tuple[int, int, int, int], low: float, high: float) -> None:
    found = difference(*cells[:3], sum(cells))
    assert found.value == pytest.approx((cells[1] - cells[2]) / sum(cells))
    assert found.low == pytest.approx(low, abs=6e-5)
    assert found.high == pytest.approx(high, abs=6e-5)


@given(CELLS)
def test_the_interval_holds_its_value_and_lies_in_its_range(cells: tuple[int, int, int, int]) -> None:
    found = difference(*cells[:3], sum(cells))
    if not sum(cells):
        assert found == Estimate(value=None, low=None, high=None)
        return
    ends = (-1.0, found.low, found.value, found.high, 1.0)
    assert all(one is not None and other is not None and one <= other for one, other in pairwise(ends))


@pytest.mark.parametrize("n", [1, 2, 3, 10, 99_991, 10_000_000])
def test_an_interval_may_end_at_the_range_and_never_leaves_it(n: int) -> None:
    for n_only in (n, n - 1, n // 2):
        assert (difference(0, n_only, 0, n).high or 0) <= 1
        assert (difference(0, 0, n_only, n).low or 0) >= -1
    assert difference(0, n, 0, n).high == 1


def test_a_million_pairs_are_no_matter() -> None:
    found = difference(700_000, 120_000, 100_000, 1_000_000)
    assert found.value == pytest.approx(0.02)
    assert found.low == pytest.approx(0.019082, abs=1e-5)  # 1.96 standard errors: at this size all methods agree
    assert mcnemar(120_000, 100_000) < 1e-100


def mirrored(found: Paired) -> Paired:
    gap = found.difference
    back = gap if gap.value is None else Estimate(value=-gap.value, low=-(gap.high or 0), high=-(gap.low or 0))
    return msgspec.structs.replace(
        found,
        accuracy_a=found.accuracy_b,
        accuracy_b=found.accuracy_a,
        n_only_a_right=found.n_only_b_right,
        n_only_b_right=found.n_only_a_right,
        difference=back,
    )


@settings(max_examples=40)
@given(ROWS)
def test_who_is_called_a_is_no_matter(rows: list[tuple[str | None, str | None, str | None]]) -> None:
    a, b, truth = columns(rows)
    assert paired(b, a, truth) == mirrored(paired(a, b, truth))


@settings(max_examples=40)
@given(ROWS)
def test_rows_are_counted_as_one_by_one(rows: list[tuple[str | None, str | None, str | None]]) -> None:
    both = [row for row in rows if row[0] and row[1]]
    known = [row for row in both if row[2]]
    found = paired(*columns(rows))
    assert (found.n, found.n_labelled) == (len(both), len(known))
    assert found.n_agree == sum(a == b for a, b, _ in both)
    assert found.n_only_a_right == sum(a == truth != b for a, b, truth in known)
    assert found.n_only_b_right == sum(b == truth != a for a, b, truth in known)
    right = sum(a == truth for a, _, truth in known)
    assert found.accuracy_a.value == (right / len(known) if known else None)
    assert found.p_value == (mcnemar(found.n_only_a_right, found.n_only_b_right) if known else None)


@settings(max_examples=40)
@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=20))
def test_an_answer_agrees_with_itself(rows: list[tuple[str | None, str | None]]) -> None:
    a, _, truth = columns([(one, one, other) for one, other in rows])
    found = paired(a, a, truth)
    assert found.n_agree == found.n
    assert found.p_value in {1.0, None}
    assert found.difference.value in {0.0, None}
    assert found.accuracy_a == found.accuracy_b


def test_without_a_truth_nothing_is_said_of_accuracy() -> None:
    a, b, _ = columns([("good", "good", None), ("bad", "good", None), (None, "bad", None)])
    found = paired(a, b, None)
    assert (found.n, found.n_agree, found.n_labelled, found.p_value) == (2, 1, 0, None)
    nothing = Estimate(value=None, low=None, high=None)
    assert (found.accuracy_a, found.accuracy_b, found.difference) == (nothing, nothing, nothing)


def test_groups_of_rows_are_counted_at_once() -> None:
    rows = pl.DataFrame({"of": list("uuv"), "a": ["x", "x", "y"], "b": ["x", "y", "y"], "truth": ["x", "y", None]})
    found = rows.group_by("of", maintain_order=True).agg(counts()).rows()
    assert found == [("u", 2, 1, 2, 1, 2, 1), ("v", 1, 1, 0, 0, 0, 0)]
    assert of_counts(*found[0][1:]) == paired(*(rows[:2][name] for name in ("a", "b", "truth")))
