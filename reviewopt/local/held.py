"""Held-out reviews: how they are told apart from the others, and the figures that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.accuracy import N_BINS, Estimate, macro_f1, wilson

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Scores of reviews that the weights did not see.

    Attributes:
        scores: float32 (n_rows, n_labels), centred.
        label: int64 (n_rows,).
        weight: float64 (n_rows,), what each counts in choosing the rules.
        group: int64 (n_rows,), table that each comes from.
        known: float32 (n_rows,), share of known words.
        n_known: int64 (n_rows,), known words.
    """

    scores: F32
    label: I64
    weight: F64
    group: I64
    known: F32
    n_known: I64


def picked(held: Held, rows: I64) -> Held:
    """Some of the reviews, or some of them several times; `rows` int64 (n,)."""
    return Held(
        held.scores[rows],
        held.label[rows],
        held.weight[rows],
        held.group[rows],
        held.known[rows],
        held.n_known[rows],
    )


def parts(form: pl.Series, n_parts: int, seed: int) -> I64:
    """Draw a part below `n_parts` for each review by its letters and digits without the title, int64 (n_rows,).

    Copies that differ in title, case, spaces or punctuation fall into one part, so no part can be learned by heart from
    another one.
    """
    text = form.str.replace(r"(?s)^[^\n]*\n", "")
    bare = text.str.replace_all(r"[^\p{L}\p{N}]+", "")
    keys = pl.select(pl.when(bare != "").then(bare).otherwise(form)).to_series()
    salt = seed.to_bytes(8, "little", signed=True)
    digests = (blake2b(key.encode(), digest_size=8, salt=salt).digest() for key in keys)
    return np.fromiter((int.from_bytes(d, "little") % n_parts for d in digests), np.int64, len(keys))


def share(n_right: float, n: float) -> dict[str, Any]:
    """A share as the card writes it: value, n and the Wilson 95 % interval."""
    estimate = wilson(n_right, n)
    return {
        "value": _rounded(estimate.value),
        "n": int(n),
        "low": _rounded(estimate.low),
        "high": _rounded(estimate.high),
    }


def figures(label: I64, chosen: I64, confidence: F32, labels: Sequence[str]) -> dict[str, Any]:
    """Every figure of labelled reviews, for the card.

    Args:
        label: int64 (n_rows,), the true label.
        chosen: int64 (n_rows,), the model's.
        confidence: float32 (n_rows,).
        labels: names in order of the indices.
    """
    table = np.bincount(label * len(labels) + chosen, minlength=len(labels) ** 2).reshape(len(labels), len(labels))
    right = label == chosen
    return {
        "n": len(label),
        "accuracy": share(right.sum(), len(label)),
        "macro_f1": _estimated(macro_f1(table)),
        "recall": {name: share(table[i, i], table[i].sum()) for i, name in enumerate(labels)},
        "precision": {name: share(table[i, i], table[:, i].sum()) for i, name in enumerate(labels)},
        "calibration_error": calibration_error(right, confidence),
        "at_confidence": {str(at): _above(right, confidence, at) for at in (0.9, 0.95, 0.98)},
        "confusion": table.tolist(),
    }


def calibration_error(right: npt.NDArray[np.bool_], confidence: F32) -> float | None:
    """Mean distance between confidence and accuracy over 15 bins of equal width, weighted by their rows (ECE)."""
    if not len(right):
        return None
    place = np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)
    gap = np.bincount(place, right.astype(np.float64) - confidence, N_BINS)
    return round(float(np.abs(gap).sum() / len(right)), 5)


def _above(right: npt.NDArray[np.bool_], confidence: F32, at: float) -> dict[str, Any]:
    sure = confidence >= at
    return {
        "share_of_rows": round(float(sure.mean()), 4) if len(right) else None,
        "accuracy": share(right[sure].sum(), sure.sum()),
    }


def _estimated(estimate: Estimate) -> dict[str, Any]:
    return {"value": _rounded(estimate.value), "low": _rounded(estimate.low), "high": _rounded(estimate.high)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 5)
