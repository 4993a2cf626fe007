"""Labelled history into the archive: the answer to a text that comes back is then known before anything is asked.

A history is read twice. The first reading counts, for each distinct text, how often it was given which label; the
second takes the texts that were chosen. So what is held is a few dozen bytes a distinct text, never the texts. It knows
the label of a task's first field alone: for a task of several fields that is no answer yet (`tiers.py`).

`n_most` keeps only those most likely to come back, ranked by (runs or files that the text occurred in + hits on it that
the cache has counted), then by rows, then by which came last. How much that gains over a random choice is measured:
`tests/benchmarks/results/predict.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import polars as pl

from reviewopt.cache.archive import Archive
from reviewopt.cache.entry import KEY_LENGTH, head
from reviewopt.cache.history import History, LeftOut, OnProgress, Reader
from reviewopt.cache.popularity import Popularity
from reviewopt.cache.recurrence import Hits, Tally
from reviewopt.data import COST_DTYPE, Frozen
from reviewopt.errors import InputError
from reviewopt.task import Task

SCHEMA_VERSION: Final = 1
_ENTRIES_A_TRANSACTION: Final = 10_000
_MOST_SOURCES: Final = 10


class Warmed(Frozen, frozen=True, kw_only=True):
    """What warming did.

    `n_texts` distinct texts had a label, `n_conflicts` of them different ones, of which `n_ties` had no most frequent
    label and were left out. `n_predicted` of the others were wanted, null for all. `n_kept` are in the archive now:
    `n_new` were not there before, `n_changed` had another label. `n_by_source` says whose labels the kept are.
    """

    schema_version: int
    task: str
    n_tables: int
    n_rows: int
    rows_left_out: LeftOut
    n_texts: int
    n_conflicts: int
    n_ties: int
    n_predicted: int | None
    n_kept: int
    n_new: int
    n_changed: int
    n_by_source: dict[str, int]


def warm(
    archive: Archive,
    histories: Sequence[History],
    task: Task,
    *,
    n_most: int | None,
    popularity: Popularity,
    now_s: int,
    on_progress: OnProgress,
) -> Warmed:
    """Archive what `histories`, oldest first, say of their texts.

    Raises:
        InputError: a history cannot be read, changes while it is read, or the disk is full.
    """
    reader = Reader(histories, task)
    tally = Tally(ranked=n_most is not None)
    hits = Hits(archive.contexts(), popularity, task) if n_most is not None else None
    for part in reader.rows(on_progress):
        n_hits = None if hits is None else hits.of(part.rows["form"], part.rows["tenant"], isolated=part.isolated)
        tally.add(part.rows, n_hits, occasion=part.occasion)
    left_out = reader.left_out()
    verdict = tally.verdict()
    chosen = verdict.chosen if n_most is None else tally.most_likely(verdict.chosen, n_most)
    kept = _Kept(archive, task, now_s)
    for rows in _picked(Reader(histories, task), chosen.sort("at"), on_progress):
        kept.add(rows)
    kept.flush()
    return Warmed(
        schema_version=SCHEMA_VERSION,
        task=task.name,
        n_tables=reader.n_occasions,
        n_rows=reader.n_rows,
        rows_left_out=left_out,
        n_texts=verdict.n_texts,
        n_conflicts=verdict.n_conflicts,
        n_ties=verdict.n_ties,
        n_predicted=n_most,
        n_kept=kept.n_kept,
        n_new=kept.n_new,
        n_changed=kept.n_changed,
        n_by_source=_most(kept.n_by_source),
    )


def _most(counts: dict[str, int]) -> dict[str, int]:
    """Return the largest counts, and the others' sum as `other`: a foreign table can name any number of sources."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    n_others = sum(n for _, n in ordered[_MOST_SOURCES:])
    return dict(ordered[:_MOST_SOURCES]) | ({"other": n_others} if n_others else {})


def _picked(reader: Reader, chosen: pl.DataFrame, on_progress: OnProgress) -> Iterator[pl.DataFrame]:
    """Read the chosen rows again, as entries but for what all share.

    Raises:
        InputError: another text stands in the place of a chosen one.
    """
    at = chosen["at"].to_numpy()
    for part in reader.rows(on_progress):
        rows = part.rows
        first, last = np.searchsorted(at, [rows["at"][0], rows["at"][-1] + 1])
        wanted = chosen[int(first) : int(last)]
        found = rows.join(wanted, on="at", how="semi")
        same = (
            found["key"].to_list() == wanted["key"].to_list() and found["label"].to_list() == wanted["label"].to_list()
        )
        if not same:
            raise InputError("a table changed while it was read; run again once nothing writes to it")
        if found.height:
            side = part.contexts.given("warm")
            digest = pl.Series("context", side.digest).gather(found["context"])
            json = pl.Series("json", side.json).gather(found["context"])
            words = found.select("key", "key_end").to_numpy().astype(">u8")
            names = np.frombuffer(words.tobytes().hex().encode(), f"S{KEY_LENGTH}").astype(str)
            yield found.with_columns(digest, json, hex=pl.Series(names, dtype=pl.String))


class _Kept:
    """Entries on their way into the archive, in transactions of ten thousand."""

    def __init__(self, archive: Archive, task: Task, now_s: int) -> None:
        self._archive = archive
        self._now_s = now_s
        self._task = task
        self._waiting: list[pl.DataFrame] = []
        self.n_kept = self.n_new = self.n_changed = 0
        self.n_by_source: dict[str, int] = {}

    def add(self, rows: pl.DataFrame) -> None:
        """Take more; full transactions are committed."""
        self._waiting.append(rows)
        while sum(part.height for part in self._waiting) >= _ENTRIES_A_TRANSACTION:
            waiting = pl.concat(self._waiting)
            self._put(waiting[:_ENTRIES_A_TRANSACTION])
            self._waiting = [waiting[_ENTRIES_A_TRANSACTION:]]

    def flush(self) -> None:
        """Commit the rest."""
        if self._waiting:
            self._put(pl.concat(self._waiting))
            self._waiting = []

    def _put(self, rows: pl.DataFrame) -> None:
        found = self._archive.find(rows["hex"])
        known = found.select("key", head(found["answer"]).alias("held"))
        rows = rows.drop("key").rename({"hex": "key", "form": "text", "label": "answer"})
        rows = rows.join(known, on="key", how="left", maintain_order="left")
        self.n_kept += rows.height
        self.n_new += rows["held"].null_count()
        for source, n in rows["source"].value_counts().iter_rows():
            self.n_by_source[source] = self.n_by_source.get(source, 0) + n
        fresh = rows.filter(pl.col("held").ne_missing(pl.col("answer")))  # an entry that says the same stays as it is
        self.n_changed += fresh["held"].count()
        if fresh.height:
            entries = fresh.with_columns(
                cost_usd=pl.lit(0, COST_DTYPE), created_s=pl.lit(self._now_s, pl.Int64)
            ).select("key", "context", "answer", "confidence", "cost_usd", "created_s", "tenant", "review_id", "text")
            contexts = fresh.select("context", "json").unique()
            self._archive.put(entries, dict(contexts.iter_rows()))
