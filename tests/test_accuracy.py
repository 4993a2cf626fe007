from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score, precision_score, recall_score

from reviewopt.accuracy import MOST_GROUPS, Accuracy, Tally, f1_interval, macro_f1, wilson

LABELS = ("negative", "neutral", "positive")
ROWS = st.lists(
    st.tuples(
        st.sampled_from((*LABELS, None)), st.sampled_from(LABELS), st.floats(0, 1, width=32), st.sampled_from("ab")
    ),
    min_size=1,
    max_size=60,
)


def frame(rows: list[tuple[str | None, str, float, str]]) -> pl.DataFrame:
    columns: dict[str, pl.DataType] = {
        "label": pl.String(),
        "answer": pl.Enum(LABELS),
        "confidence": pl.Float32(),
        "category": pl.String(),
    }
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(tenant=pl.lit(None, pl.String))


def score(*chunks: pl.DataFrame) -> Accuracy | None:
    tally = Tally(LABELS)
    for chunk in chunks:
        tally.add(chunk)
    return tally.score()


@given(ROWS)
def test_figures_agree_with_scikit_learn(rows: list[tuple[str | None, str, float, str]]) -> None:
    made = score(frame(rows))
    truth, answer = [row[0] for row in rows if row[0]], [row[1] for row in rows if row[0]]
    if made is None:
        assert not truth
        return
    assert msgspec.json.decode(msgspec.json.encode(made), type=Accuracy) == made
    used = sorted(set(truth) | set(answer))
    assert made.overall.accuracy.value == pytest.approx(np.mean(np.array(truth) == np.array(answer)))
    assert made.overall.macro_f1.value == pytest.approx(
        f1_score(truth, answer, average="macro", labels=used, zero_division=0)
    )
    for at, label in enumerate(LABELS):
        one = made.overall.classes[at]
        if one.n_rows:
            assert one.recall.value == pytest.approx(recall_score(truth, answer, labels=[label], average=None)[0])
        if one.n_answered:
            assert one.precision.value == pytest.approx(precision_score(truth, answer, labels=[label], average=None)[0])


@given(ROWS, st.integers(0, 60))
def test_chunks_do_not_change_the_figures(rows: list[tuple[str | None, str, float, str]], cut: int) -> None:
    whole, parts = score(frame(rows)), score(frame(rows[:cut]), frame(rows[cut:]))
    if whole is None:
        assert parts is None
        return
    assert parts is not None
    assert parts.overall.confusion == whole.overall.confusion
    assert [(group.group, group.n_rows) for group in parts.groups] == [
        (group.group, group.n_rows) for group in whole.groups
    ]
    assert parts.overall.calibration_error == pytest.approx(whole.overall.calibration_error)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_limits_are_scipys(n_right: int, n: int) -> None:
    n_right = min(n_right, n)
    made, expected = wilson(n_right, n), binomtest(n_right, n).proportion_ci(0.95, method="wilson")
    assert made.low == pytest.approx(expected.low, abs=1e-9)
    assert made.high == pytest.approx(expected.high, abs=1e-9)


def test_nothing_counted_is_not_zero() -> None:
    assert wilson(0, 0).value is None
    assert f1_interval(0, 0).low is None
    assert macro_f1(np.zeros((3, 3), np.int64)).value is None
    assert score(frame([(None, "positive", 0.5, "a")])) is None


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    rows: list[tuple[str | None, str, float, str]] = [("positive", "positive", 0.9, "a")] * 6
    rows += [("negative", "positive", 0.9, "a")] * 4
    made = score(frame(rows))
    assert made is not None
    assert made.overall.calibration_error == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize(
    "cells",
    [[[26, 1, 2], [2, 1, 2], [3, 2, 61]], [[40, 10, 0], [5, 30, 5], [0, 2, 8]], [[45, 1, 2], [1, 1, 0], [2, 0, 48]]],
)
@pytest.mark.parametrize("n", [200, 2000])
def test_macro_f1_interval_covers_at_its_level(cells: list[list[int]], n: int) -> None:
    shares = np.array(cells) / np.sum(cells)
    truth = np.mean(2 * np.diag(shares) / (shares.sum(0) + shares.sum(1)))
    tables = np.random.default_rng(0).multinomial(n, shares.ravel(), size=1000).reshape(-1, 3, 3)
    tables = tables[((tables.sum(1) + tables.sum(2)) > 0).all(1)]  # a class that never occurred is not in the mean
    intervals = [macro_f1(table) for table in tables]
    covered = sum(
        made.low is not None and made.high is not None and made.low <= truth <= made.high for made in intervals
    )
    assert covered / len(tables) >= 0.93  # at a nominal .95 of about 1,000: three standard errors


@given(st.lists(st.integers(0, 60), min_size=2, max_size=5))
def test_macro_f1_of_a_perfect_table_is_one_and_has_limits(diagonal: list[int]) -> None:
    made = macro_f1(np.diag(diagonal))
    if sum(diagonal):
        assert made.value == pytest.approx(1)
        assert made.low is not None
        assert made.high is not None
        assert 0 < made.low < 1 <= made.high + 1e-12


def test_only_the_largest_groups_are_scored_and_the_others_are_counted() -> None:
    names = [f"shop {at}" for at in range(MOST_GROUPS + 7)]
    rows = frame([("positive", "positive", 0.5, name) for name in [*names, "shop 1006"]])
    made = score(rows)
    assert made is not None
    assert (len(made.groups), made.n_groups_left_out, made.groups[0].group) == (MOST_GROUPS, 7, "shop 1006")
