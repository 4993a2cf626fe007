"""Near copies among the questions that a chunk asks first: whose answer could be shared, and which group they are in.

Every pair is verified (`text/nearby.py`). Two relations come from the pairs:

- a group: all that hang together (union-find); it is reported, and never decides an answer;
- a leader: the first question, in the order of the table, that is near and alike (equal signatures) and follows none
  itself. Only a leader's answer is shared, and only directly: nothing drifts along a chain of small changes.

Where answers are shared, chunks are windows that depend on the rows alone (`pipeline.py`), so that two chunk sizes give
the same labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.text.nearby import Pairs, find_pairs
from reviewopt.text.sketch import Sketches

I64 = npt.NDArray[np.int64]


class Alike(Protocol):
    """Says of pairs of texts whether they may share an answer."""

    def __call__(self, left: pl.Series, right: pl.Series) -> npt.NDArray[np.bool_]:
        """Compare two String (n_pairs,); bool (n_pairs,)."""


@dataclass(frozen=True, slots=True)
class Near:
    """For each of n texts, int64 (n,).

    `first` is the first text of its group, itself where alone; `leader` the text whose answer it may take, -1 for none.
    """

    first: I64
    leader: I64


def find(
    form: pl.Series,
    sketches: Sketches,
    *,
    threshold: float,
    workers: int,
    alike: Alike | None,
    tenant: npt.NDArray[np.uint64] | None = None,
) -> Near:
    """Relate the distinct texts of a chunk to one another.

    Args:
        form: String (n,), normal forms.
        sketches: of the same texts.
        threshold: the least rapidfuzz ratio of a near copy, 70 to 100.
        workers: threads that compare texts.
        alike: left out where no answer will be shared; then nobody has a leader.
        tenant: uint64 (n,), where tenants are isolated: texts of two are never compared.
    """
    pairs = find_pairs(form, sketches, threshold=threshold, workers=workers, group=tenant)
    leader = np.full(len(form), -1, np.int64)
    if alike is not None and len(pairs):
        may = alike(form.gather(pairs.left), form.gather(pairs.right))
        leader = _leaders(len(form), Pairs(pairs.left[may], pairs.right[may], pairs.ratio[may]))
    return Near(_first_of_group(len(form), pairs.left, pairs.right), leader)


def _first_of_group(n: int, left: I64, right: I64) -> I64:
    """Union-find with path halving, all pairs at once: the least member of each one's group, int64 (n,)."""
    parent = np.arange(n)
    while True:
        least = np.minimum(parent[left], parent[right])
        before = parent.copy()
        np.minimum.at(parent, before[left], least)
        np.minimum.at(parent, before[right], least)
        while not np.array_equal(parent, shorter := parent[parent]):
            parent = shorter
        if np.array_equal(parent, before):
            return parent


def _leaders(n: int, pairs: Pairs) -> I64:
    """Return the most similar leader of each text, int64 (n,), -1 for none; the earliest among equals."""
    leads = [True] * n
    for left, right in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True):  # by right: each left is decided
        if leads[left]:
            leads[right] = False
    is_leader = np.array(leads, np.bool_)
    followed = is_leader[pairs.left]
    left, right, ratio = pairs.left[followed], pairs.right[followed], pairs.ratio[followed]
    best = np.lexsort((left, -ratio, right))
    followers, first = np.unique(right[best], return_index=True)
    leader = np.full(n, -1, np.int64)
    leader[followers] = left[best][first]
    return leader
