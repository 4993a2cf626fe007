"""Near copies among the questions that are asked first: whose answer could be shared, and which group they are in.

They are looked for within a chunk; where answers are shared, within windows of `WINDOW_ROWS` consecutive rows of the
table instead, whatever the size of the chunks, so that two chunk sizes give the same labels. Every pair is verified
(`text/nearby.py`). Two relations come from the pairs:

- a group: all that hang together (union-find); it is reported, and never decides an answer;
- a leader: the first question, in the order of the table, that is near and alike (equal signatures) and follows none
  itself. Only a leader's answer is shared, and only directly: nothing drifts along a chain of small changes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.text.nearby import Pairs, find_pairs
from reviewopt.text.sketch import Sketches

WINDOW_ROWS: Final = 32768

I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Alike(Protocol):
    """Says of pairs of texts whether they may share an answer."""

    def __call__(self, left: pl.Series, right: pl.Series) -> Flags:
        """Compare two String (n_pairs,); bool (n_pairs,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """The questions that a chunk asks first, (n_new,) each: number, row of the table, form, sketch, and tenant.

    `tenant` is int64, equal where answers may be shared.
    """

    question: I64
    row: I64
    form: pl.Series
    sketches: Sketches
    tenant: I64

    def part(self, start: int, end: int) -> New:
        """The questions from `start` to `end`."""
        return New(
            question=self.question[start:end],
            row=self.row[start:end],
            form=self.form.slice(start, end - start),
            sketches=self.sketches.take(np.arange(start, end)),
            tenant=self.tenant[start:end],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """For each new question, int64 (n_new,).

    `root` is its group's first question, itself where alone; `leader` the question it may take the answer of, -1: none.
    """

    root: I64
    leader: I64


@dataclass(frozen=True, slots=True)
class _Window:
    """The questions of a window that came with earlier chunks, and the pairs among them as positions."""

    number: int
    new: New | None
    left: I64
    right: I64
    leads: Flags


class NearCopies:
    """Finds near copies chunk by chunk; where answers are shared, holds at most one window of questions."""

    def __init__(self, *, threshold: float, workers: int, alike: Alike | None, window_rows: int = WINDOW_ROWS) -> None:
        """Leave `alike` out where no answer will be shared."""
        self._threshold = threshold
        self._workers = workers
        self._alike = alike
        self._window_rows = window_rows
        self._window = _empty(-1)

    def find(self, new: New) -> Near:
        """Relate the new questions of a chunk to one another and to earlier ones of the same window."""
        if not len(new.row):
            return Near(root=new.question, leader=new.question)
        if self._alike is None:
            self._window = _empty(-1)
            return self._find_in(-1, new)
        number = new.row // self._window_rows
        cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(number)]
        parts = [self._find_in(int(number[start]), new.part(start, end)) for start, end in itertools.pairwise(cuts)]
        return Near(
            root=np.concatenate([part.root for part in parts]), leader=np.concatenate([part.leader for part in parts])
        )

    def _find_in(self, number: int, new: New) -> Near:
        window = self._window if self._window.number == number else _empty(number)
        n_before = 0 if window.new is None else len(window.new.row)
        everything = new if window.new is None else _joined(window.new, new)
        pairs = self._pairs(everything, n_before)
        left, right = np.concatenate([window.left, pairs.left]), np.concatenate([window.right, pairs.right])
        root = _first_of_group(len(everything.row), left, right)[n_before:]
        leads, leader = self._leaders(everything, pairs, window.leads)
        self._window = _Window(number, everything, left, right, leads)
        follows = leader[n_before:]
        return Near(
            root=everything.question[root],
            leader=np.where(follows >= 0, everything.question[np.maximum(follows, 0)], -1),
        )

    def _pairs(self, new: New, n_before: int) -> Pairs:
        """Return the pairs of one tenant whose later question is new."""
        pairs = find_pairs(new.form, new.sketches, threshold=self._threshold, workers=self._workers)
        kept = (pairs.right >= n_before) & (new.tenant[pairs.left] == new.tenant[pairs.right])
        return Pairs(pairs.left[kept], pairs.right[kept], pairs.ratio[kept])

    def _leaders(self, new: New, pairs: Pairs, leads_before: Flags) -> tuple[Flags, I64]:
        n = len(new.row)
        leads = np.concatenate([leads_before, np.ones(n - len(leads_before), np.bool_)])
        leader = np.full(n, -1, np.int64)
        if self._alike is None or not len(pairs.left):
            return leads, leader
        alike = self._alike(new.form.gather(pairs.left), new.form.gather(pairs.right))
        left, right, ratio = pairs.left[alike], pairs.right[alike], pairs.ratio[alike]
        leads = _greedy_leaders(leads, len(leads_before), left, right)
        followed = leads[left] & ~leads[right]
        left, right, ratio = left[followed], right[followed], ratio[followed]
        best = np.lexsort((left, -ratio, right))
        first = np.unique(right[best], return_index=True)[1]
        leader[right[best][first]] = left[best][first]
        return leads, leader


def _empty(number: int) -> _Window:
    none = np.empty(0, np.int64)
    return _Window(number, None, none, none, np.empty(0, np.bool_))


def _joined(before: New, new: New) -> New:
    return New(
        question=np.concatenate([before.question, new.question]),
        row=np.concatenate([before.row, new.row]),
        form=pl.concat([before.form, new.form]),
        sketches=Sketches.concat([before.sketches, new.sketches]),
        tenant=np.concatenate([before.tenant, new.tenant]),
    )


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


def _greedy_leaders(leads: Flags, n_decided: int, left: I64, right: I64) -> Flags:
    """Decide who leads, bool (n,): in order, whoever has no earlier leader among its near and alike ones.

    The first `n_decided` are decided. Each round decides all whose earlier ones are decided, the first at least.
    """
    decided = np.zeros(len(leads), np.bool_)
    decided[:n_decided] = True
    decided[np.setdiff1d(np.arange(n_decided, len(leads)), right)] = True
    while len(left):
        led = right[decided[left] & leads[left]]
        leads[led] = False
        decided[led] = True
        waits = right[~decided[left]]
        ready = np.setdiff1d(right, waits)
        decided[ready] = True
        still = ~decided[right]
        left, right = left[still], right[still]
    return leads
