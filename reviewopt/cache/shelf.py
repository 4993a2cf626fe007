"""Tier 3 as a whole: the archive, the two indexes beside it, and how popular each entry is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache.archive import FOUND_SCHEMA, Archive
from reviewopt.cache.index import ExactIndex, Hits, answers_of, key_words
from reviewopt.cache.keys import is_of_a_model
from reviewopt.cache.popularity import Popularity
from reviewopt.cache.similar import Judge, Matches, Queries, SimilarArchive
from reviewopt.errors import InputError
from reviewopt.settings import ArchiveSettings
from reviewopt.text.sharing import Sharing

FOLDER = "cache"
_READ_ROWS = 10_000  # whole answers come with their texts


def exists(home: Path) -> bool:
    """Say whether a home holds an archive.

    Raises:
        InputError: the home cannot be read.
    """
    try:
        return (home / FOLDER / "cache.db").exists()
    except OSError as error:
        raise InputError(f"cannot read {home / FOLDER}: {error}; name another place with --home") from error


class Shelf:
    """A context manager: on exit the indexes and the counts of hits are written, and what is over the bound goes."""

    def __init__(
        self, home: Path, settings: ArchiveSettings, *, sharing: Sharing | None, on_warning: Callable[[str], None]
    ) -> None:
        """Open the archive of a home, or begin one; with `sharing` the index of similar texts is kept too."""
        folder = home / FOLDER
        self._settings = settings
        self._on_warning = on_warning
        self.archive = Archive.open(folder, compress_above_bytes=settings.compress_above_bytes, on_warning=on_warning)
        self._index = ExactIndex(folder, self.archive)
        self._similar = SimilarArchive(folder, self.archive, sharing) if sharing and settings.similar else None
        self.popularity = Popularity(folder)
        self.contexts: frozenset[str] = frozenset()

    def __enter__(self) -> Self:
        try:
            self.refresh()
        except BaseException:
            self.archive.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.popularity.store()
            if error is None:  # a run that was interrupted leaves the rest to the next one
                self._evict()
                self.refresh()
                self._index.store()
                if self._similar is not None:
                    self._similar.store()
        except InputError as obstacle:  # the run is done; what is left undone here costs only time
            self._on_warning(str(obstacle))
        finally:
            self.archive.__exit__(kind, error, trace)

    def refresh(self) -> None:
        """See what was committed since, by any process."""
        self._index.refresh()
        if self._similar is not None:
            self._similar.refresh()
        self.contexts = self.archive.context_digests()

    def look_up(self, words: npt.NDArray[np.uint64], labels: Mapping[str, int]) -> Hits:
        """Find exact keys, uint64 (n, 2), among what was committed before the last `refresh`."""
        return self._index.look_up(words, labels)

    def answers(self, words: npt.NDArray[np.uint64], rowid: npt.NDArray[np.int64]) -> pl.Series:
        """Return the whole answers of hits, String (n,), as `answers_of` does; damaged rows are null too."""
        parts = [
            answers_of(self.archive.read(rowid[start:end]), words[start:end], rowid[start:end])
            for start, end in ((start, start + _READ_ROWS) for start in range(0, max(len(rowid), 1), _READ_ROWS))
        ]
        return pl.concat(parts)

    def match(self, queries: Queries, judge: Judge) -> Matches | None:
        """Find similar texts among what was committed before the last `refresh`; None where that is switched off."""
        return None if self._similar is None else self._similar.match(queries, judge)

    def most_popular(self, n: int) -> pl.DataFrame:
        """Return the n entries with the most hits, the last used first; then, where they are fewer, the newest."""
        rowid = self._index.rowids(self.popularity.top(n))
        if len(rowid) < n:
            last = self.archive.state.last_rowid
            newest = np.arange(max(1, last - 2 * n), last + 1)
            rowid = np.concatenate([rowid, np.setdiff1d(newest, rowid)[::-1][: n - len(rowid)]])
        return self.archive.read(np.sort(rowid))

    def _evict(self) -> None:
        """Delete what is over the bound, a tenth more so that not every run deletes.

        The least wanted go first; what people and labelled history said only after every model's answer.
        """
        most = self._settings.max_entries
        if not most or self.archive.state.n_entries <= most:
            return
        columns = ["rowid", "key", "context", "created_s"]
        rows = pl.concat(
            [FOUND_SCHEMA.to_frame().select(columns), *(frame.select(columns) for frame in self.archive.scan())]
        )
        models = [digest for digest, context in self.archive.contexts().items() if is_of_a_model(context)]
        given = (~rows["context"].is_in(models)).to_numpy()
        uses = self.popularity.of(key_words(rows))
        rowid, created_s = rows["rowid"].to_numpy(), rows["created_s"].to_numpy()
        used_s = np.maximum(uses["used_s"].astype(np.int64), created_s)
        wanted = {"lru": used_s, "lfu": uses["n_hits"].astype(np.int64), "fifo": created_s}[self._settings.eviction]
        order = np.lexsort((rowid, used_s if self._settings.eviction == "lfu" else created_s, wanted, given))
        n_over = len(rowid) - max(1, int(0.9 * most))
        self.archive.delete(rowid[order[: max(0, n_over)]], erase=False)
