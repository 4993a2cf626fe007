"""Reading the archive: what is damaged is left out with one warning, and a file that breaks is no error but a miss."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache import disk, entry, rows
from reviewopt.cache.rows import FOUND_SCHEMA, Damage, State

_FIND_BATCH_ROWS: Final = 50_000
# Above this share of the archive, reading all of it is cheaper than looking keys up. Measured at a million entries of
# 430 bytes: 14-16 us a key looked up, 8-10 us an entry read.
_SCAN_SHARE: Final = 0.5


class Reader:
    """A read-only connection to the archive of a folder, between `open` and `close`; it can be opened again.

    Of each kind of damage it warns once in its life, whatever database the folder has by then.
    """

    def __init__(self, folder: Path, on_warning: Callable[[str], None]) -> None:
        self._folder = folder
        self._on_warning = on_warning
        self._warned: set[str] = set()

    def open(self) -> None:
        """Connect to the database that the folder has now; a scan under way goes on in it."""
        self._sql = disk.connect(self._folder / disk.DATABASE, mode="ro")

    def close(self) -> None:
        """Give the file back."""
        self._sql.close()

    @property
    def state(self) -> State:
        """The state that the last commit of any process left, in one snapshot and in constant time."""
        for n_rows, last_rowid, n_ours, epoch in self._query(rows.STATE):
            n_entries = n_rows - n_ours if isinstance(n_rows, int) else 0
            return State(epoch=rows.epoch(epoch), n_entries=max(n_entries, 0), last_rowid=last_rowid or 0)
        return State(epoch=0, n_entries=0, last_rowid=0)

    def contexts(self) -> dict[str, str]:
        """Return the canonical JSON of each context by its digest; damaged ones are left out."""
        stored = {key: entry.unseal(key, value) for key, value in self._query(rows.CONTEXTS)}
        return {
            _digest(key): payload.decode("utf-8", "replace") for key, payload in stored.items() if payload is not None
        }

    def context_digests(self) -> frozenset[str]:
        """Return the digest of each context, of damaged ones too: their answers are as sound as their own rows."""
        return frozenset(_digest(key) for key, _ in self._query(rows.CONTEXTS))

    def scan(self, after_rowid: int, batch_rows: int, only: frozenset[bytes] | None = None) -> Iterator[pl.DataFrame]:
        """Yield the entries after `after_rowid`, where given those of the keys `only`, as `Archive.scan` promises."""
        n_damaged = 0
        while True:
            window = self._read(rows.WINDOW, (after_rowid, batch_rows), only)
            n_damaged += len(window.damaged)
            if len(window.frame):
                yield window.frame
            if window.n_rows < batch_rows or window.last_rowid <= after_rowid:
                break
            after_rowid = window.last_rowid
        if n_damaged:
            self._on_warning(_left_out(self._folder, n_damaged))

    def read(self, rowids: npt.NDArray[np.int64]) -> pl.DataFrame:
        """Return the entries of these rows, FOUND_SCHEMA by rowid; missing and damaged ones are left out."""
        return self._look_up(rows.OF_ROWIDS, rows.number_lists(np.unique(rowids)))

    def find(self, keys: pl.Series) -> pl.DataFrame:
        """Return the entries of these keys, FOUND_SCHEMA in the order of their rowids; keys without one are misses."""
        asked = keys.drop_nulls().unique()
        asked = asked.filter(asked.str.contains(r"^[0-9a-f]{32}\z"))
        if len(asked) > _SCAN_SHARE * self.state.n_entries:
            only = frozenset(asked.cast(pl.Binary))
            found = pl.concat([FOUND_SCHEMA.to_frame(), *self.scan(0, _FIND_BATCH_ROWS, only)], rechunk=True)
        else:
            found = self._look_up(rows.OF_KEYS, rows.key_lists(asked))
        # A damaged index can let a key in twice: the newer one is its answer.
        return found if found["key"].n_unique() == len(found) else found.unique("key", keep="last", maintain_order=True)

    def _look_up(self, sql: str, lists: Iterable[str]) -> pl.DataFrame:
        windows = [self._read(sql, (asked,)) for asked in lists]
        if n_damaged := sum(len(window.damaged) for window in windows):
            self._warn_once("rows", _left_out(self._folder, n_damaged))
        return pl.concat([FOUND_SCHEMA.to_frame(), *(window.frame for window in windows)]).sort("rowid")

    def damaged(self) -> Damage:
        """Check every row, and the file with SQLite's own check; takes seconds for a million entries."""
        rowids: list[int] = []
        keys: list[str | None] = []
        try:
            complaint = str(self._sql.execute("PRAGMA integrity_check(1)").fetchone()[0], "utf-8", "replace")
            cursor = self._sql.execute(rows.ALL)
            while fetched := cursor.fetchmany(rows.SLICE_ROWS):
                for rowid, key in rows.bad(fetched):
                    rowids.append(rowid)
                    keys.append(key)
        except sqlite3.DatabaseError as error:
            complaint = str(error)
        file = None if complaint == "ok" else complaint
        return Damage(rowids=np.array(rowids, np.int64), keys=pl.Series("key", keys, dtype=pl.String), file=file)

    def _read(self, sql: str, parameters: tuple[object, ...], only: frozenset[bytes] | None = None) -> _Window:
        """Read (rowid, key, value) and decode the rows of the keys `only`; a broken file ends it, with a warning."""
        frames, damaged, n_rows, last_rowid = [FOUND_SCHEMA.to_frame()], [], 0, 0
        try:
            cursor = self._sql.execute(sql, parameters)
            while fetched := cursor.fetchmany(rows.SLICE_ROWS):
                n_rows += len(fetched)
                last_rowid = max(last_rowid, fetched[-1][0])
                if only is not None:
                    fetched = [row for row in fetched if row[1] in only]
                rowids, keys, values = zip(*fetched, strict=True) if fetched else ((), (), ())
                frame, is_damaged = entry.decode(keys, values)
                at = np.array(rowids, np.int64)
                frames.append(frame.insert_column(0, pl.Series("rowid", at[~is_damaged])))
                damaged += at[is_damaged].tolist()
        except sqlite3.DatabaseError as error:
            self._warn_unreadable(error)
            n_rows = 0
        return _Window(pl.concat(frames), damaged, n_rows, last_rowid)

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self._sql.execute(sql).fetchall()
        except sqlite3.DatabaseError as error:
            self._warn_unreadable(error)
            return []

    def _warn_unreadable(self, error: sqlite3.DatabaseError) -> None:
        if isinstance(error, sqlite3.ProgrammingError):
            raise error
        self._warn_once(
            "file",
            f"the answer archive {self._folder / disk.DATABASE} cannot be read ({error}): what it holds is asked again;"
            " see reviewopt cache verify",
        )

    def _warn_once(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self._on_warning(message)


@dataclass(frozen=True, slots=True)
class _Window:
    """What one statement read: sound entries, the rowids of damaged ones, and where it ended."""

    frame: pl.DataFrame
    damaged: list[int]
    n_rows: int
    last_rowid: int


def _left_out(folder: Path, n_damaged: int) -> str:
    n_rows = "1 row is" if n_damaged == 1 else f"{n_damaged:,} rows are"
    return f"{n_rows} damaged in the answer archive {folder}: asked again, and named by reviewopt cache verify"


def _digest(key: bytes) -> str:
    return key.decode("utf-8", "replace")[len(rows.CONTEXT) :]
