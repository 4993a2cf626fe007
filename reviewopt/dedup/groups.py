"""Which rows say the same: the group of every row, how large each group is, and the ten largest.

A group is named by its first row. What is known of a question beyond its answer lies on disk (`spool.py`).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.data import Group, GroupCounts
from reviewopt.dedup.exact import Asked
from reviewopt.dedup.spool import Spool, TextSpool

N_LARGEST: Final = 10
_EXAMPLE_CHARS: Final = 200
GROUP_SCHEMA: Final = {"duplicate_of": pl.String(), "cluster": pl.Int64()}


@dataclass(slots=True)
class _Large:
    n_rows: int
    n_questions: int
    review_id: str
    example: str


class Groups:
    """Names the group of each row; a context manager that drops its temporary files.

    Raises:
        InputError: the folder takes no file, or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        with ExitStack() as opened:
            # Of each question, the question that its group began with.
            self._root = opened.enter_context(Spool(np.uint32, folder))
            self._first_row = opened.enter_context(Spool(np.int64, folder))
            self._id = opened.enter_context(TextSpool(folder))
            # Of each group, at its root.
            self._n_rows = opened.enter_context(Spool(np.uint32, folder))
            self._n_questions = opened.enter_context(Spool(np.uint32, folder))
            self._opened = opened.pop_all()
        self._large: dict[int, _Large] = {}
        self._n_groups = self._n_near = self._n_in_groups = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def name(self, asked: Asked, root: npt.NDArray[np.int64], reviews: pl.DataFrame) -> pl.DataFrame:
        """Name the group of every row of a chunk.

        Args:
            asked: what the rows ask.
            root: int64 (n_new,), for each new question the question that its group began with, itself where alone.
            reviews: `row`, `review_id` and `text` of the chunk.

        Returns:
            `duplicate_of` String (n_rows,), the id of the group's first review, null for that review itself;
            `cluster` Int64 (n_rows,), the row of that review, counted from 0. Both null where there is nothing to ask.
            Where inputs have ids in common `duplicate_of` may fit several reviews; `cluster` is always one.

        Raises:
            InputError: the disk is full.
        """
        new = reviews.select("row", "review_id")[asked.new_rows]
        self._root.append(root)
        self._first_row.append(new["row"].to_numpy())
        self._id.append(new["review_id"])
        self._n_rows.append(np.zeros(len(root), np.uint32))
        self._n_questions.append(np.zeros(len(root), np.uint32))
        at = np.flatnonzero(asked.question >= 0)
        roots = self._root.take(asked.question[at]).astype(np.int64)
        self._count(roots, root, at, reviews["text"])
        cluster = self._first_row.take(roots)
        later = np.flatnonzero(cluster != reviews["row"].to_numpy()[at])
        names = pl.Series("duplicate_of", [None], pl.String).new_from_index(0, reviews.height)
        rows = pl.Series("cluster", [None], pl.Int64).new_from_index(0, reviews.height)
        return pl.DataFrame(
            [names.scatter(at[later], self._id.take(roots[later])), rows.scatter(at, pl.Series(cluster))],
        )

    def counts(self) -> GroupCounts:
        """Return what was counted so far."""
        ordered = sorted(self._large.values(), key=lambda group: -group.n_rows)
        largest = tuple(
            Group(n_rows=one.n_rows, n_questions=one.n_questions, review_id=one.review_id, example=one.example)
            for one in ordered
        )
        return GroupCounts(n_groups=self._n_groups, n_near=self._n_near, n_rows=self._n_in_groups, largest=largest)

    def _count(
        self,
        roots: npt.NDArray[np.int64],
        new_roots: npt.NDArray[np.int64],
        at: npt.NDArray[np.int64],
        text: pl.Series,
    ) -> None:
        met, first, n = np.unique(roots, return_index=True, return_counts=True)
        after = self._n_rows.add(met, n).astype(np.int64)
        began, n_new = np.unique(new_roots, return_counts=True)
        questions = self._n_questions.add(began, n_new).astype(np.int64)
        grouped = after > 1
        was_grouped = after - n > 1
        self._n_groups += int((grouped & ~was_grouped).sum())
        self._n_in_groups += int(after[grouped].sum() - (after - n)[was_grouped].sum())
        self._n_near += int(((questions > 1) & (questions - n_new <= 1)).sum())
        self._keep_largest(met, after, at[first], text)

    def _keep_largest(
        self, met: npt.NDArray[np.int64], n: npt.NDArray[np.int64], at: npt.NDArray[np.int64], text: pl.Series
    ) -> None:
        largest = np.lexsort((met, -n))[:N_LARGEST]
        largest = largest[n[largest] > 1]
        ids = self._id.take(met[largest])
        questions = self._n_questions.take(met[largest])
        for place, review_id, n_questions in zip(largest.tolist(), ids, questions.tolist(), strict=True):
            root = int(met[place])
            held = self._large.get(root)
            example = held.example if held else str(text[int(at[place])])[:_EXAMPLE_CHARS]
            self._large[root] = _Large(int(n[place]), n_questions, review_id, example)
        kept = sorted(self._large, key=lambda root: (-self._large[root].n_rows, root))[:N_LARGEST]
        self._large = {root: self._large[root] for root in kept}
