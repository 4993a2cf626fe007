"""Tier 3 as a whole: the archive, the two indexes beside it, and how popular each entry is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache.archive import Archive
from reviewopt.cache.index import ExactIndex, Hits
from reviewopt.cache.keys import Keys
from reviewopt.cache.popularity import Popularity
from reviewopt.cache.similar import Judge, Matches, Queries, SimilarArchive
from reviewopt.config import ArchiveSettings
from reviewopt.text.sharing import Sharing

FOLDER = "cache"


def exists(home: Path) -> bool:
    """Say whether a home holds an archive."""
    return (home / FOLDER / "cache.db").exists()


class Shelf:
    """A context manager: on exit the indexes and the counts of hits are written, and what is over the bound goes."""

    def __init__(
        self, home: Path, settings: ArchiveSettings, *, sharing: Sharing | None, on_warning: Callable[[str], None]
    ) -> None:
        """Open the archive of a home, or begin one; with `sharing` the index of similar texts is kept too."""
        folder = home / FOLDER
        self._settings = settings
        self.archive = Archive.open(folder, compress_above_bytes=settings.compress_above_bytes, on_warning=on_warning)
        self._index = ExactIndex(folder, self.archive)
        self._similar = SimilarArchive(folder, self.archive, sharing) if sharing and settings.similar else None
        self.popularity = Popularity(folder)
        self.contexts: frozenset[str] = frozenset()

    def __enter__(self) -> Self:
        self.archive.__enter__()
        self.refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.popularity.store()
            if error is None:  # a run that was interrupted leaves the indexes to the next one
                self.refresh()
                self._index.store()
                if self._similar is not None:
                    self._similar.store()
                self._evict()
        finally:
            self.archive.__exit__(kind, error, trace)

    def refresh(self) -> None:
        """See what was committed since, by any process."""
        self._index.refresh()
        if self._similar is not None:
            self._similar.refresh()
        self.contexts = frozenset(self.archive.contexts())

    def look_up(self, words: npt.NDArray[np.uint64], labels: Mapping[str, int]) -> Hits:
        """Find exact keys, uint64 (n, 2), among what was committed before the last `refresh`."""
        return self._index.look_up(words, labels)

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
        """Delete what is over the bound, the least wanted first; a tenth more, so that not every run deletes."""
        most = self._settings.max_entries
        if not most or self.archive.state.n_entries <= most:
            return
        rows = pl.concat(frame.select("rowid", "key", "created_s") for frame in self.archive.scan())
        uses = self.popularity.of(Keys.of([bytes.fromhex(key) for key in rows["key"]]).words)
        used_s = np.maximum(uses["used_s"].astype(np.int64), rows["created_s"].to_numpy())
        n_hits, rowid = uses["n_hits"].astype(np.int64), rows["rowid"].to_numpy()
        order = {
            "lru": np.lexsort((rowid, used_s)),
            "lfu": np.lexsort((rowid, used_s, n_hits)),
            "fifo": np.lexsort((rowid, rows["created_s"].to_numpy())),
        }[self._settings.eviction]
        self.archive.delete(rowid[order[: len(rowid) - int(0.9 * most)]], erase=False)
