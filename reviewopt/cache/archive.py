"""The third tier: every answer that was paid for or given by a person, on disk. The archive is the checkpoint.

An answer counts once `put` has returned: it is in the file, whatever happens next. What cannot be read again is a miss
and one warning, never an end of the run. One object is used on one thread; several processes may share a folder.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache import disk, entry, rows
from reviewopt.cache.entry import Entry
from reviewopt.cache.reader import Reader
from reviewopt.cache.rows import FOUND_SCHEMA, Damage, State
from reviewopt.errors import InputError

__all__ = ["FOUND_SCHEMA", "Archive", "Damage", "State"]

_BULK_ROWS: Final = 2000  # from here on, two changes of the schema are cheaper than a trigger a row
_VACUUM_SHARE: Final = 0.25

I64 = npt.NDArray[np.int64]
Part = tuple[Sequence[str], Sequence[bytes]]  # keys of entries, and their stored values


class Archive:
    """The answers of one folder. A context manager; `open` makes it."""

    def __init__(self, folder: Path, *, compress_above_bytes: int, on_warning: Callable[[str], None]) -> None:
        self._folder = folder
        self._compress_above_bytes = compress_above_bytes
        self._on_warning = on_warning
        self._reader = Reader(folder, on_warning)
        self._connect()

    @classmethod
    def open(cls, folder: Path, *, compress_above_bytes: int, on_warning: Callable[[str], None]) -> Self:
        """Open or make the archive of a folder; a damaged or foreign one is set aside, with a warning.

        Raises:
            InputError: the folder cannot be used, or another process keeps the archive locked.
        """
        return cls(folder, compress_above_bytes=compress_above_bytes, on_warning=on_warning)

    def _connect(self, broken: tuple[disk.Identity, Exception] | None = None) -> None:
        self._cache = disk.open_cache(self._folder, self._on_warning, broken)
        try:
            self._identity = disk.identity(self._folder)
            self._writer = disk.connect(self._folder / disk.DATABASE, mode="rw")
            try:
                self._reader.open()
            except BaseException:
                self._writer.close()
                raise
        except BaseException:
            self._cache.close()
            raise
        if not self.state.epoch:
            with suppress(sqlite3.DatabaseError), self._transaction():  # a broken file is told of when it is read
                self._put_epoch(self._next_epoch())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._reader.close()
        self._writer.close()
        self._cache.close()

    @property
    def state(self) -> State:
        """The state that the last commit of any process left, in one snapshot and in constant time."""
        return self._reader.state

    @property
    def volume_bytes(self) -> int:
        """What the archive's file takes on disk."""
        return int(self._cache.volume())

    def contexts(self) -> dict[str, str]:
        """Return the canonical JSON of each context by its digest; damaged ones are left out."""
        return self._reader.contexts()

    def context_digests(self) -> frozenset[str]:
        """Return the digest of each context in which there may be an answer, damaged ones too."""
        return self._reader.context_digests()

    def put(self, entries: pl.DataFrame, contexts: Mapping[str, str]) -> npt.NDArray[np.int64]:
        """Store entries in one transaction; they are on the disk when this returns.

        A key that is there already is replaced, which starts a new epoch; of equal keys in the frame the last one wins.

        Args:
            entries: ENTRY_SCHEMA, (n_entries,).
            contexts: the canonical JSON of each context by its digest.

        Returns:
            The rowid of each entry, (n_entries,); equal keys have the same.

        Raises:
            InputError: the disk is full or may not be written, or another process keeps the archive locked.
            ValueError: a frame that holds what no entry may hold.
        """
        entries = entry.check(entries)
        self._follow()
        last = entries.with_row_index("at").select(pl.col("at").max().over("key")).to_series().to_numpy()
        kept = np.unique(last)
        distinct = entries if len(kept) == len(entries) else entries[kept]

        def parts() -> Iterator[Part]:
            for part in distinct.iter_slices(rows.SLICE_ROWS):
                yield part["key"].to_list(), entry.encode(part, compress_above_bytes=self._compress_above_bytes)

        return self._put_again(len(distinct), parts, contexts)[np.searchsorted(kept, last)]

    def put_few(self, entries: Sequence[Entry], contexts: Mapping[str, str]) -> None:
        """Store what a reply brings, as `put` does, without the fixed cost of frames.

        Raises:
            InputError: as `put`.
            ValueError: an entry that holds what none may hold.
        """
        distinct = {one.key: one for one in entries}
        values = [entry.encode_one(one, compress_above_bytes=self._compress_above_bytes) for one in distinct.values()]
        self._follow()
        self._put_again(len(distinct), lambda: iter([(list(distinct), values)]), contexts)

    def _put_again(self, n: int, parts: Callable[[], Iterator[Part]], contexts: Mapping[str, str]) -> I64:
        """Put entries of distinct keys; where the database turns out to be damaged, into a new one."""
        try:
            return self._put(n, parts, contexts)
        except sqlite3.DatabaseError as error:
            self._start_anew(error)
            return self._put(n, parts, contexts)

    def _follow(self) -> None:
        """Go on in the database that the folder has now, where the one that was opened was moved or removed."""
        with suppress(FileNotFoundError):
            if disk.identity(self._folder) == self._identity:
                return
        self._on_warning(f"the answer archive {self._folder} was moved or removed while in use: a new one is begun")
        self.close()
        self._connect()

    def _put(self, n: int, parts: Callable[[], Iterator[Part]], contexts: Mapping[str, str]) -> I64:
        with self._transaction() as sql:
            self._put_contexts(contexts)
            if n < _BULK_ROWS:
                return self._insert_or_replace(n, parts)[0]
            with _without_triggers(sql):
                rowids, n_more = self._insert_or_replace(n, parts)
                sql.execute("UPDATE Settings SET value = value + ? WHERE key = 'count'", (n_more,))
                return rowids

    def _put_contexts(self, contexts: Mapping[str, str]) -> None:
        for digest, canonical in contexts.items():
            key, payload = f"{rows.CONTEXT}{digest}", canonical.encode()
            stored = self._writer.execute(rows.ONE, (key,)).fetchone()
            if stored is None or entry.unseal(key.encode(), stored[0]) != payload:
                self._put_row(key, payload)

    def _put_epoch(self, payload: bytes) -> int:
        """Begin an epoch, in a row before all others; return how many rows there are more."""
        return self._put_row(rows.EPOCH, payload, rowid=0)

    def _put_row(self, key: str, payload: bytes, rowid: int | None = None) -> int:
        """Insert or replace one row that is no entry; return how many rows there are more."""
        n_replaced = self._writer.execute("DELETE FROM Cache WHERE key = ? AND raw = 1", (key,)).rowcount
        if rowid is None:
            rowid = self._writer.execute(rows.NEXT_ROWID).fetchone()[0]
        now = time.time()
        self._writer.execute(rows.INSERT, (rowid, key, now, now, entry.seal(key.encode(), payload)))
        return 1 - n_replaced

    def _insert_or_replace(self, n: int, parts: Callable[[], Iterator[Part]]) -> tuple[I64, int]:
        """Insert n entries of distinct keys; return their rowids, and how many rows there are more."""
        self._writer.execute("SAVEPOINT new")
        try:
            return self._insert(parts()), n
        except sqlite3.IntegrityError:  # some keys are there already
            self._writer.execute("ROLLBACK TO new")
        n_more = n + self._put_epoch(self._next_epoch())
        for keys, _ in parts():
            for asked in rows.key_lists(pl.Series(keys, dtype=pl.String)):
                n_more -= self._writer.execute(rows.DELETE_KEYS, (asked,)).rowcount
        return self._insert(parts()), n_more

    def _insert(self, parts: Iterator[Part]) -> I64:
        first = self._writer.execute(rows.NEXT_ROWID).fetchone()[0]
        rowid, now = first, time.time()
        for keys, values in parts:
            rowids = range(rowid, rowid + len(keys))
            self._writer.executemany(rows.INSERT, zip(rowids, keys, repeat(now), repeat(now), values))
            rowid += len(keys)
        return np.arange(first, rowid, dtype=np.int64)

    def _next_epoch(self) -> bytes:
        """Return a higher epoch than any before: microseconds since 1970, so that it holds for a new database too."""
        stored = self._writer.execute(rows.ONE, (rows.EPOCH,)).fetchone()
        return b"%d" % max(rows.epoch(stored and stored[0]) + 1, time.time_ns() // 1000)

    def scan(self, after_rowid: int = 0, batch_rows: int = 50_000) -> Iterator[pl.DataFrame]:
        """Yield the entries after `after_rowid` in the order of their rowids, FOUND_SCHEMA, up to `batch_rows` a frame.

        Damaged rows are left out, with one warning a scan. Nothing stays locked between two frames.
        """
        return self._reader.scan(after_rowid, batch_rows)

    def read(self, rowids: npt.NDArray[np.int64]) -> pl.DataFrame:
        """Return the entries of these rows, FOUND_SCHEMA by rowid; missing and damaged ones are left out."""
        return self._reader.read(rowids)

    def find(self, keys: pl.Series) -> pl.DataFrame:
        """Return the entries of these keys, FOUND_SCHEMA in the order of their rowids; keys without one are misses."""
        return self._reader.find(keys)

    def damaged(self) -> Damage:
        """Check every row, and the file with SQLite's own check; takes seconds for a million entries."""
        return self._reader.damaged()

    def delete(self, rowids: npt.NDArray[np.int64], *, erase: bool = True) -> int:
        """Delete rows and start a new epoch; return how many there were.

        Args:
            rowids: (n_rows,).
            erase: leave no byte of them in any file of the archive, which rewrites the file (8 s a million entries);
                False is for entries that only make room.

        Raises:
            InputError: the disk is full or may not be written, or another process keeps the archive locked.
        """
        n_deleted = 0
        with self._undamaged(), self._transaction() as sql:
            for asked in rows.number_lists(rowids):
                n_deleted += sql.execute(rows.DELETE_ROWIDS, (asked,)).rowcount
            if n_deleted:
                self._put_epoch(self._next_epoch())
        if n_deleted:
            self._vacuum(always=erase)
        return n_deleted

    def clear(self) -> None:
        """Delete everything and leave no byte of it in any file of the archive.

        Raises:
            InputError: the disk is full or may not be written, or another process keeps the archive locked.
        """
        with self._undamaged(), self._transaction() as sql:
            epoch = self._next_epoch()
            with _without_triggers(sql):
                sql.execute("DELETE FROM Cache")
                sql.execute("UPDATE Settings SET value = 0 WHERE key IN ('count', 'size')")
            self._put_epoch(epoch)
        self._vacuum(always=True)

    def _vacuum(self, *, always: bool) -> None:
        """Rewrite the file: SQLite's secure_delete leaves copies of cells that were once moved between pages."""
        with self._explained():
            free, pages = (
                self._writer.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count")
            )
            if not always and free < _VACUUM_SHARE * pages:
                return
            self._writer.execute("VACUUM")
            busy = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy and always:
            self._on_warning(
                f"what was deleted stays in {self._folder / disk.DATABASE}-wal until the process that reads it ends"
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what is done inside, all or nothing; wait for other writers."""
        with self._explained():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if (why := disk.obstacle(error)) is None:
                raise
            raise InputError(f"the answer archive {self._folder}: {why}") from error

    @contextmanager
    def _undamaged(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if not disk.is_damage(error):
                raise
            raise InputError(
                f"the answer archive {self._folder / disk.DATABASE} is damaged ({error}); move or delete that file"
            ) from error

    def _start_anew(self, error: sqlite3.DatabaseError) -> None:
        """Set a database aside that cannot take answers any more; those that it holds are not needed by this run."""
        if not disk.is_damage(error):
            raise error
        self.close()
        self._connect((self._identity, error))


@contextmanager
def _without_triggers(sql: sqlite3.Connection) -> Iterator[None]:
    """Take diskcache's triggers away for the rest of a transaction, in which the caller keeps its counters right.

    They cost more than the rows (6.5 of 18 us); a transaction that does not end leaves them as they were.
    """
    triggers = sql.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        sql.execute(f"DROP TRIGGER {name.decode()}")
    yield
    for _, statement in triggers:
        sql.execute(statement.decode())
