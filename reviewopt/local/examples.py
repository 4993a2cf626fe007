"""Labelled reviews made ready for training: checked, sampled to what memory allows, distinct, balanced, split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.errors import InputError
from reviewopt.local.held import parts
from reviewopt.local.modelfile import MAX_LABELS

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

MIN_ROWS: Final = 50
MIN_ROWS_A_LABEL: Final = 5
MAX_ROWS: Final = 1_000_000
MAX_TEXT_BYTES: Final = 400_000_000
_SMALL: Final = 5_000  # rows up to which calibration uses five folds instead of one part held out


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Distinct labelled reviews.

    Attributes:
        form: String (n_rows,).
        label: int64 (n_rows,).
        weight: float32 (n_rows,), in training.
        held_weight: float64 (n_rows,), in calibration.
        group: int64 (n_rows,).
        part: int64 (n_rows,), the fold that holds the row out.
        n_folds: folds that are held out in turn.
    """

    form: pl.Series
    label: I64
    weight: F32
    held_weight: F64
    group: I64
    part: I64
    n_folds: int


def usable(reviews: pl.DataFrame, labels: Sequence[str], *, min_rows_a_label: int = MIN_ROWS_A_LABEL) -> pl.DataFrame:
    """Keep the rows with a form and a label.

    Raises:
        InputError: unknown labels, one label only, or too few labelled reviews.
    """
    if not 2 <= len(labels) <= MAX_LABELS or len(set(labels)) != len(labels):  # a choice needs two
        raise InputError(f"labels: {len(labels)}; a local model needs 2 to {MAX_LABELS} distinct ones")
    kept = reviews.filter(pl.col("form").fill_null("") != "", pl.col("label").is_not_null())
    met = kept["label"].value_counts(sort=True)
    unknown = met.filter(~pl.col("label").is_in(list(labels)))["label"].head(5).to_list()
    if unknown:
        raise InputError(f"labels: the table holds {', '.join(map(repr, unknown))}; the task has {', '.join(labels)}")
    if len(met) < 2:  # a choice needs two
        raise InputError(f"labels: the table holds {len(met)} of {len(labels)} labels; training needs at least two")
    if len(kept) < MIN_ROWS:
        raise InputError(f"labelled reviews: {len(kept)}; training needs at least {MIN_ROWS}")
    scarce = met.filter(pl.col("count") < min_rows_a_label)
    if len(scarce):
        label, count = scarce.row(0)
        raise InputError(f"label {label!r}: {count} reviews; each label in use needs at least {min_rows_a_label}")
    return kept


def sampled(usable: pl.DataFrame, seed: int, *, max_rows: int = MAX_ROWS) -> pl.DataFrame:
    """Draw a seeded sample where there is more than memory should hold."""
    n_bytes = int(usable["form"].str.len_bytes().cast(pl.UInt64).sum())
    n_rows = min(len(usable), max_rows, int(len(usable) * MAX_TEXT_BYTES / max(n_bytes, 1)))
    if n_rows >= len(usable):
        return usable
    picked = np.random.default_rng(seed).choice(len(usable), n_rows, replace=False)
    return usable[np.sort(picked)]


def examples(sampled: pl.DataFrame, labels: Sequence[str], seed: int, balance: float) -> Examples:
    """Exact copies with one label count as one review."""
    defaults = {"weight": pl.lit(1.0, pl.Float32), "held_weight": pl.lit(1.0, pl.Float64), "group": pl.lit("all")}
    full = sampled.with_columns(value.alias(key) for key, value in defaults.items() if key not in sampled.columns)
    distinct = full.group_by("group", "form", "label", maintain_order=True).agg(pl.first("weight", "held_weight"))
    label = distinct["label"].replace_strict(list(labels), range(len(labels)), return_dtype=pl.Int64).to_numpy()
    groups = distinct["group"].unique(maintain_order=True)
    group = distinct["group"].replace_strict(groups, range(len(groups)), return_dtype=pl.Int64).to_numpy()
    weight = _balanced(label, group, distinct["weight"].to_numpy().astype(np.float64), len(labels), balance)
    n_folds, n_parts = (5, 5) if len(distinct) <= _SMALL else (1, 10)
    part = parts(distinct["form"], n_parts, seed)
    return Examples(distinct["form"], label, weight, distinct["held_weight"].to_numpy(), group, part, n_folds)


def _balanced(label: I64, group: I64, weight: F64, n_labels: int, power: float) -> F32:
    """Give rare labels of a table more weight; the table's total stays."""
    cell = group * n_labels + label
    n_groups = int(group.max()) + 1
    mass = np.bincount(cell, weight, n_groups * n_labels).reshape(n_groups, n_labels)
    total = mass.sum(axis=1, keepdims=True)
    fair = total / np.maximum((mass > 0).sum(axis=1, keepdims=True), 1)
    factor = np.where(mass > 0, (fair / np.maximum(mass, 1e-12)) ** power, 0)
    factor *= total / np.maximum((factor * mass).sum(axis=1, keepdims=True), 1e-12)
    balanced: F32 = (weight * factor.reshape(-1)[cell]).astype(np.float32)
    return balanced
