"""How right the labels are, where the table brings labels of its own. Pure.

Rows are counted into cells (group, label, answer, confidence bin) as chunks pass; every figure comes from the cells,
so memory grows with the groups and not with the rows. Only rows with a label and an answer count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.data import Frozen

# Two-sided 95 %.
_Z: Final = 1.959963984540054
# Fifteen bins of equal width: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 2.
N_BINS: Final = 15
# Chunks whose cells are kept apart before they are merged: it bounds the memory, not the figures.
_MOST_PARTS: Final = 32
MOST_GROUPS: Final = 1000
_KEYS: Final = ("kind", "group", "label", "answer", "bin")


class Estimate(Frozen, frozen=True, kw_only=True):
    """A share with its 95 % interval; all null where there was nothing to count."""

    value: float | None
    low: float | None
    high: float | None


class ClassScore(Frozen, frozen=True, kw_only=True):
    """One label: `n_rows` rows carry it in the table."""

    label: str
    n_rows: int
    n_answered: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


class Score(Frozen, frozen=True, kw_only=True):
    """The figures of one group of rows; `kind` is all, category or tenant."""

    kind: str
    group: str
    n_rows: int
    accuracy: Estimate
    macro_f1: Estimate
    calibration_error: float | None
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]


class Accuracy(Frozen, frozen=True, kw_only=True):
    """Agreement of the answers with the table's own labels.

    `confusion[i][j]` counts rows of label i that were answered as j. `groups` are the largest of each kind, as many as
    `MOST_GROUPS`; `n_groups_left_out` are the others. The intervals take rows as independent, copies too.
    """

    labels: tuple[str, ...]
    overall: Score
    groups: tuple[Score, ...]
    n_groups_left_out: int


def _limits(estimate: Estimate) -> tuple[float, float, float]:
    """Return value, low and high of an estimate that was counted."""
    return (estimate.value or 0.0, estimate.low or 0.0, estimate.high or 0.0)


def wilson(n_right: float, n: float) -> Estimate:
    """Return the share `n_right / n` with its Wilson score interval (Wilson 1927, JASA 22:209)."""
    if n <= 0:
        return Estimate(value=None, low=None, high=None)
    share = n_right / n
    centre = share + _Z * _Z / (2 * n)
    spread = _Z * math.sqrt(share * (1 - share) / n + _Z * _Z / (4 * n * n))
    scale = 1 + _Z * _Z / n
    return Estimate(value=share, low=max(0.0, (centre - spread) / scale), high=min(1.0, (centre + spread) / scale))


def f1_interval(n_both: float, n_either: float) -> Estimate:
    """Return F1 with its Wilson interval.

    F1 = 2J / (1 + J) rises with the Jaccard index J = both / either, which is a plain share of the `n_either` rows that
    carry the label or got it: its Wilson limits carry over (a monotone map keeps an interval's coverage).
    """
    jaccard = wilson(n_both, n_either)
    if jaccard.value is None or jaccard.low is None or jaccard.high is None:
        return jaccard
    value, low, high = (2 * j / (1 + j) for j in (jaccard.value, jaccard.low, jaccard.high))
    return Estimate(value=value, low=low, high=high)


def macro_f1(confusion: npt.NDArray[np.int64]) -> Estimate:
    """Return the mean F1 of the classes that occur, with the wider of two intervals on each side.

    One takes the classes as independent and recovers the mean's limits from those of each F1 (Zou and Donner 2008,
    Statistics in Medicine 27:1693), which holds for rare classes. The other is Wilson's interval at the number of rows
    for which a plain share would vary as much as the delta method says (Takahashi et al. 2022, Applied Intelligence
    52:4961), which knows the correlations between classes. Neither alone covers at its level in both cases.

    Args:
        confusion: (n_labels, n_labels), rows of label i that were answered as j.
    """
    n = int(confusion.sum())
    if n == 0:
        return wilson(0, 0)
    met = confusion.sum(0) + confusion.sum(1) > 0
    cells = confusion[np.ix_(met, met)]
    right, either = np.diag(cells), cells.sum(0) + cells.sum(1)
    limits = np.array([_limits(f1_interval(b, e - b)) for b, e in zip(right.tolist(), either.tolist(), strict=True)])
    value = float(limits[:, 0].mean())
    below, above = (np.sqrt(((limits[:, 1:] - limits[:, :1]) ** 2).sum(axis=0)) / len(limits)).tolist()
    n_effective = _n_effective(cells / n, value, n)
    delta = wilson(value * n_effective, n_effective)
    low, high = min(value - below, delta.low or 0.0), max(value + above, delta.high or 1.0)
    return Estimate(value=value, low=max(0.0, low), high=min(1.0, high))


def _n_effective(cells: npt.NDArray[np.float64], value: float, n: int) -> float:
    """Return the rows, at most `n`, for which a plain share of `value` varies as macro-F1 over `cells` does."""
    right, either = np.diag(cells), cells.sum(0) + cells.sum(1)
    share = right / either**2
    slope = (np.diag(2 / either) - 2 * share[:, None] - 2 * share[None, :]) / len(cells)
    variance = float((cells * slope**2).sum() - (cells * slope).sum() ** 2) / n
    spread = value * (1 - value)
    return min(float(n), spread / variance) if variance > 0 and spread / n > 1e-12 else float(n)


class Tally:
    """Counts rows into cells, chunk by chunk."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)
        self._cells: list[pl.DataFrame] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Count the rows of a chunk.

        Args:
            rows: `label` (String) and `answer` (Enum of the labels), null where there is none: not counted;
                `confidence` (Float32), null where none is known; `category` and `tenant` (String).
        """
        if rows["label"].null_count() == rows.height:
            return
        counted = rows.lazy().filter(pl.col("label").is_not_null() & pl.col("answer").is_not_null())
        cell = counted.group_by(
            pl.col("label").cast(pl.Enum(self._labels)),
            "answer",
            (pl.col("confidence") * N_BINS).floor().clip(0, N_BINS - 1).cast(pl.UInt8).fill_null(N_BINS).alias("bin"),
            "category",
            "tenant",
        )
        self._cells.append(
            cell.agg(pl.len().cast(pl.Int64).alias("n"), pl.col("confidence").cast(pl.Float64).sum()).collect()
        )
        if len(self._cells) > _MOST_PARTS:
            self._cells = [self._sum(pl.concat(self._cells), "label", "answer", "bin", "category", "tenant")]

    def score(self) -> Accuracy | None:
        """Return the figures, the largest groups first; None where no row had both a label and an answer."""
        if not self._cells or not (cells := pl.concat(self._cells)).height:
            return None
        kinds = (("all", pl.lit("")), ("category", pl.col("category")), ("tenant", pl.col("tenant")))
        grouped = pl.concat(
            [
                self._sum(cells.with_columns(kind=pl.lit(kind), group=group).drop_nulls("group"), *_KEYS)
                for kind, group in kinds
            ]
        )
        largest_first = grouped.with_columns(size=pl.col("n").sum().over("kind", "group")).sort(
            "kind", "size", "group", descending=[False, True, False]
        )
        groups = largest_first.select(pl.struct("kind", "group").rle().struct.unnest()).unnest("value")
        groups = groups.with_columns(end=pl.col("len").cum_sum(), place=pl.int_range(pl.len()).over("kind"))
        kept = groups.filter(pl.col("place") < MOST_GROUPS)
        columns = [
            largest_first[name].to_physical().to_numpy() for name in ("label", "answer", "bin", "n", "confidence")
        ]
        scores = [
            _score(kind, group, [column[end - length : end] for column in columns], self._labels)
            for kind, group, length, end in kept.select("kind", "group", "len", "end").rows()
        ]
        return Accuracy(
            labels=self._labels,
            overall=scores[0],
            groups=tuple(scores[1:]),
            n_groups_left_out=groups.height - kept.height,
        )

    @staticmethod
    def _sum(cells: pl.DataFrame, *keys: str) -> pl.DataFrame:
        return cells.group_by(keys).agg(pl.col("n").sum(), pl.col("confidence").sum())


def _score(kind: str, group: str, cells: Sequence[npt.NDArray[Any]], labels: tuple[str, ...]) -> Score:
    """Make the figures of one group from its cells: label, answer, bin, n and sum of confidence, (n_cells,) each."""
    label, answer, at, n, confidence = cells
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (label, answer), n)
    n_rows = int(n.sum())
    # Expected calibration error: |confidence - accuracy| of each bin, weighted by its rows. The bin after the last is
    # that of the rows without a confidence.
    gaps = np.bincount(at, confidence - np.where(label == answer, n, 0), N_BINS + 1)[:N_BINS]
    n_sure = int(n[at < N_BINS].sum())
    return Score(
        kind=kind,
        group=group,
        n_rows=n_rows,
        accuracy=wilson(int(np.trace(confusion)), n_rows),
        macro_f1=macro_f1(confusion),
        calibration_error=float(np.abs(gaps).sum() / n_sure) if n_sure else None,
        classes=tuple(_class_score(name, confusion, at) for at, name in enumerate(labels)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def _class_score(label: str, confusion: npt.NDArray[np.int64], at: int) -> ClassScore:
    n_label, n_answer, n_both = int(confusion[at].sum()), int(confusion[:, at].sum()), int(confusion[at, at])
    return ClassScore(
        label=label,
        n_rows=n_label,
        n_answered=n_answer,
        precision=wilson(n_both, n_answer),
        recall=wilson(n_both, n_label),
        f1=f1_interval(n_both, n_label + n_answer - n_both),
    )
