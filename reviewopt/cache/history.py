"""Labelled history, row by row: whose label each row carries, and the key under which it would be archived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import polars as pl

from reviewopt.cache.keys import Contexts, make_keys
from reviewopt.data import Frozen
from reviewopt.task import Task
from reviewopt.text import normal

# Rows of a former output whose answer is another row's, or none.
NOT_OWN: Final = ("empty", "exact", "near", "l1", "l2", "l3", "failed")

OnProgress = Callable[[int, int | None], None]


class Chunk(Protocol):
    """Consecutive rows: the table as it is, and the same rows as reviews."""

    @property
    def table(self) -> pl.DataFrame:
        """Every column of the input."""

    @property
    def reviews(self) -> pl.DataFrame:
        """The same rows as REVIEW_COLUMNS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Labelled reviews.

    Attributes:
        chunks: all rows in order, from the first one at each call.
        answers: the columns of a former output, by `label`, `confidence` and `source`; None reads the reviews' labels.
        file_column: the column that names a row's file, where there are several.
        isolated: whether tenants share nothing.
    """

    chunks: Callable[[], Iterator[Chunk]]
    answers: Mapping[str, str] | None
    file_column: str | None
    isolated: bool


class LeftOut(Frozen, frozen=True, kw_only=True):
    """Rows that gave no label: no text; no label; a copy's or derived answer; a label that the task does not have."""

    empty: int
    unlabelled: int
    copies: int
    foreign: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows of one file that have a text.

    Attributes:
        rows: `at` (the row over all histories), `form`, `label` (null where it is not the row's own), `confidence`,
            `source`, `tenant`, `review_id`, `key` and `key_end` (the halves of the key), `context` (its number).
        contexts: whose numbers these are.
        isolated: whether tenants share nothing.
        occasion: the number of the file.
    """

    rows: pl.DataFrame
    contexts: Contexts
    isolated: bool
    occasion: int


class Reader:
    """One reading of the histories; counts what it leaves out."""

    def __init__(self, histories: Sequence[History], task: Task) -> None:
        self._histories = histories
        self._task = task
        self._contexts = {
            isolated: Contexts(task, None, scope="isolated" if isolated else "shared") for isolated in (False, True)
        }
        self._left_out = dict.fromkeys(LeftOut.__struct_fields__, 0)
        self._occasions: dict[tuple[int, str | None], int] = {}
        self.n_rows = 0

    @property
    def n_occasions(self) -> int:
        """Files that were met."""
        return len(self._occasions)

    def left_out(self) -> LeftOut:
        """Return how many rows gave no label."""
        return LeftOut(**self._left_out)

    def rows(self, on_progress: OnProgress) -> Iterator[Part]:
        """Read every row with a text, in order: `at` counts all rows; those of one file come together."""
        for number, history in enumerate(self._histories):
            for chunk in history.chunks():
                made = self._labelled(history, chunk)
                self.n_rows += chunk.reviews.height
                for file, rows in _by_file(made):
                    occasion = self._occasions.setdefault((number, file), len(self._occasions))
                    contexts = self._contexts[history.isolated]
                    keyed = _keyed(rows, contexts, isolated=history.isolated)
                    yield Part(rows=keyed, contexts=contexts, isolated=history.isolated, occasion=occasion)
                on_progress(self.n_rows, None)

    def _labelled(self, history: History, chunk: Chunk) -> pl.DataFrame:
        reviews, table = chunk.reviews, chunk.table
        n = reviews.height
        form = normal.normalise(reviews["title"], reviews["text"]).alias("form")
        if history.answers is None:
            label, source = reviews["label"], pl.repeat("label", n, eager=True)
            confidence = pl.repeat(None, n, dtype=pl.Float32, eager=True)
        else:
            label, source = (table[history.answers[key]].cast(pl.String) for key in ("label", "source"))
            confidence = table[history.answers["confidence"]].cast(pl.Float32, strict=False)
        file = pl.repeat(None, n, dtype=pl.String, eager=True)
        rows = pl.DataFrame(
            [
                pl.int_range(self.n_rows, self.n_rows + n, dtype=pl.Int64, eager=True).alias("at"),
                form,
                label.alias("label"),
                confidence.alias("confidence"),
                source.fill_null("unknown").alias("source"),
                reviews["tenant"],
                reviews["review_id"],
                (file if history.file_column is None else table[history.file_column]).alias("file"),
            ]
        ).filter(pl.col("form").is_not_null())
        self._left_out["empty"] += n - rows.height
        return self._without_others(rows)

    def _without_others(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Make null the labels that are not this row's own, or not of the task, and count them."""
        copy = pl.col("source").is_in(NOT_OWN)
        unlabelled = ~copy & pl.col("label").is_null()
        foreign = ~copy & ~pl.col("label").is_in(self._task.labels)
        for name, test in (("copies", copy), ("unlabelled", unlabelled), ("foreign", foreign)):
            self._left_out[name] += int(rows.select(test.fill_null(value=False).sum()).item())
        own = ~copy & pl.col("label").is_in(self._task.labels)
        sure = pl.col("confidence").is_between(0, 1)  # a null or NaN confidence is none
        return rows.with_columns(pl.when(own).then("label"), pl.when(sure).then("confidence"))


def _by_file(rows: pl.DataFrame) -> Iterator[tuple[str | None, pl.DataFrame]]:
    if not rows.height:
        return
    changes = rows["file"].ne_missing(rows["file"].shift(1)).to_numpy().copy()
    changes[0] = True
    starts = np.flatnonzero(changes).tolist()
    for start, end in zip(starts, [*starts[1:], rows.height], strict=True):
        yield rows["file"][start], rows[start:end].drop("file")


def _keyed(rows: pl.DataFrame, contexts: Contexts, *, isolated: bool) -> pl.DataFrame:
    code = contexts.codes(rows["tenant"] if isolated else None, rows.height)
    keys = make_keys(contexts.given("warm").json, code, rows["form"])
    return rows.with_columns(
        pl.Series("context", code),
        pl.Series("key", keys.words[:, 0]),
        pl.Series("key_end", keys.words[:, 1]),
    )
