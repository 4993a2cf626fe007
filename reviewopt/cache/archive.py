"""The third tier: every answer that was paid for or given by a person, on disk. The archive is the checkpoint.

An answer counts once `put` has returned: it is in the file, whatever happens next. What cannot be read again is a miss
and one warning, never an end of the run. One object is used on one thread; several processes may share a folder.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache import disk, entry
from reviewopt.errors import InputError

FOUND_SCHEMA: Final = pl.Schema({"rowid": pl.Int64(), **entry.ENTRY_SCHEMA})
_EPOCH: Final = "meta:epoch"
_CONTEXT: Final = "context:"
_SLICE_ROWS: Final = 8192  # what is encoded or decoded at a time: 4 MB of reviews stay near the processor
_BULK_ROWS: Final = 2000  # from here on, two changes of the schema are cheaper than a trigger a row
_FIND_BATCH_ROWS: Final = 50_000
_ASKED_ROWS: Final = 10_000
# Above this share of the archive, reading all of it is cheaper than looking keys up. Measured at a million entries of
# 430 bytes: 14-16 us a key looked up, 8-10 us an entry read.
_SCAN_SHARE: Final = 0.5
_VACUUM_SHARE: Final = 0.25
# A row of ours is plain text and bytes: raw = 1, mode = 1 and no file. Nothing else is ever read.
_INSERT: Final = (
    "INSERT INTO Cache (rowid, key, raw, store_time, access_time, mode, value) VALUES (?, ?, 1, ?, ?, 1, ?)"
)
_NEXT_ROWID: Final = "SELECT coalesce(max(rowid), 0) + 1 FROM Cache"
_STATE: Final = """
    SELECT (SELECT value FROM Settings WHERE key = 'count'), (SELECT max(rowid) FROM Cache),
        (SELECT count(*) FROM Cache WHERE raw = 1 AND (key = 'meta:epoch' OR (key > 'context:' AND key < 'context;'))),
        (SELECT value FROM Cache WHERE key = 'meta:epoch' AND raw = 1 AND mode = 1 AND filename IS NULL)"""
_CONTEXTS: Final = """
    SELECT key, value FROM Cache
    WHERE key > 'context:' AND key < 'context;' AND raw = 1 AND mode = 1 AND filename IS NULL"""
_ONE: Final = "SELECT value FROM Cache WHERE key = ? AND raw = 1 AND mode = 1 AND filename IS NULL"
_WINDOW: Final = """
    SELECT rowid, key, value FROM Cache
    WHERE rowid > ? AND raw = 1 AND mode = 1 AND filename IS NULL AND length(key) = 32 ORDER BY rowid LIMIT ?"""
_OF_ROWIDS: Final = """
    SELECT c.rowid, c.key, c.value FROM json_each(?) AS asked CROSS JOIN Cache AS c ON c.rowid = asked.value
    WHERE c.raw = 1 AND c.mode = 1 AND c.filename IS NULL AND length(c.key) = 32"""
_OF_KEYS: Final = """
    SELECT c.rowid, c.key, c.value FROM json_each(?) AS asked CROSS JOIN Cache AS c ON c.key = asked.value
    WHERE c.raw = 1 AND c.mode = 1 AND c.filename IS NULL"""
_ALL: Final = "SELECT rowid, key, value, raw = 1 AND mode = 1 AND filename IS NULL FROM Cache ORDER BY rowid"
_DELETE_KEYS: Final = "DELETE FROM Cache WHERE raw = 1 AND key IN (SELECT value FROM json_each(?))"
_DELETE_ROWIDS: Final = "DELETE FROM Cache WHERE rowid IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a reader needs to know to keep a copy: later rows are new; another epoch means "read again"."""

    epoch: int
    n_entries: int
    last_rowid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What a check of the whole archive found.

    `rowids` int64 (n_damaged,) can be deleted; `keys` (n_damaged,) is null where the key itself is not one of ours;
    `file` is SQLite's first complaint about the file, or None.
    """

    rowids: npt.NDArray[np.int64]
    keys: pl.Series
    file: str | None


class Archive:
    """The answers of one folder. A context manager; `open` makes it."""

    def __init__(self, folder: Path, *, compress_above_bytes: int, on_warning: Callable[[str], None]) -> None:
        self._folder = folder
        self._compress_above_bytes = compress_above_bytes
        self._on_warning = on_warning
        self._warned: set[str] = set()
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
                self._reader = disk.connect(self._folder / disk.DATABASE, mode="ro")
            except BaseException:
                self._writer.close()
                raise
        except BaseException:
            self._cache.close()
            raise

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
        for n_rows, last_rowid, n_ours, epoch in self._query(_STATE):
            n_entries = n_rows - n_ours if isinstance(n_rows, int) else 0
            return State(epoch=_epoch(epoch), n_entries=max(n_entries, 0), last_rowid=last_rowid or 0)
        return State(epoch=0, n_entries=0, last_rowid=0)

    @property
    def volume_bytes(self) -> int:
        """What the archive's file takes on disk."""
        return int(self._cache.volume())

    def contexts(self) -> dict[str, str]:
        """Return the canonical JSON of each context by its digest; damaged ones are left out."""
        found = {}
        for key, value in self._query(_CONTEXTS):
            payload = entry.unseal(key, value)
            if payload is not None:
                found[key.decode("utf-8", "replace")[len(_CONTEXT) :]] = payload.decode("utf-8", "replace")
        return found

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
        last = entries.with_row_index("at").select(pl.col("at").max().over("key")).to_series().to_numpy()
        kept = np.unique(last)
        distinct = entries if len(kept) == len(entries) else entries[kept]
        try:
            rowids = self._put(distinct, contexts)
        except sqlite3.DatabaseError as error:
            self._start_anew(error)
            rowids = self._put(distinct, contexts)
        return rowids[np.searchsorted(kept, last)]

    def _put(self, entries: pl.DataFrame, contexts: Mapping[str, str]) -> npt.NDArray[np.int64]:
        with self._transaction() as sql:
            self._put_contexts(contexts)
            if len(entries) < _BULK_ROWS:
                return self._insert_or_replace(entries)[0]
            with _without_triggers(sql):
                rowids, n_more = self._insert_or_replace(entries)
                sql.execute("UPDATE Settings SET value = value + ? WHERE key = 'count'", (n_more,))
                return rowids

    def _put_contexts(self, contexts: Mapping[str, str]) -> None:
        for digest, canonical in contexts.items():
            key, payload = f"{_CONTEXT}{digest}", canonical.encode()
            stored = self._writer.execute(_ONE, (key,)).fetchone()
            if stored is None or entry.unseal(key.encode(), stored[0]) != payload:
                self._put_row(key, payload)

    def _put_row(self, key: str, payload: bytes) -> int:
        """Insert or replace one row that is no entry; return how many rows there are more."""
        n_replaced = self._writer.execute("DELETE FROM Cache WHERE key = ? AND raw = 1", (key,)).rowcount
        rowid = self._writer.execute(_NEXT_ROWID).fetchone()[0]
        now = time.time()
        self._writer.execute(_INSERT, (rowid, key, now, now, entry.seal(key.encode(), payload)))
        return 1 - n_replaced

    def _insert_or_replace(self, entries: pl.DataFrame) -> tuple[npt.NDArray[np.int64], int]:
        """Insert entries of distinct keys; return their rowids, and how many rows there are more."""
        self._writer.execute("SAVEPOINT new")
        try:
            return self._insert(entries), len(entries)
        except sqlite3.IntegrityError:  # some keys are there already
            self._writer.execute("ROLLBACK TO new")
        n_more = len(entries) + self._put_row(_EPOCH, self._next_epoch())
        for keys in _key_lists(entries["key"]):
            n_more -= self._writer.execute(_DELETE_KEYS, (keys,)).rowcount
        return self._insert(entries), n_more

    def _insert(self, entries: pl.DataFrame) -> npt.NDArray[np.int64]:
        first = self._writer.execute(_NEXT_ROWID).fetchone()[0]
        rowid, now = first, time.time()
        for part in entries.iter_slices(_SLICE_ROWS):
            values = entry.encode(part, compress_above_bytes=self._compress_above_bytes)
            rowids = range(rowid, rowid + len(part))
            self._writer.executemany(_INSERT, zip(rowids, part["key"].to_list(), repeat(now), repeat(now), values))
            rowid += len(part)
        return np.arange(first, rowid, dtype=np.int64)

    def _next_epoch(self) -> bytes:
        """Return a higher epoch than any before: microseconds since 1970, so that it holds for a new database too."""
        stored = self._writer.execute(_ONE, (_EPOCH,)).fetchone()
        return b"%d" % max(_epoch(stored and stored[0]) + 1, time.time_ns() // 1000)

    def scan(self, after_rowid: int = 0, batch_rows: int = 50_000) -> Iterator[pl.DataFrame]:
        """Yield the entries after `after_rowid` in the order of their rowids, FOUND_SCHEMA, up to `batch_rows` a frame.

        Damaged rows are left out, with one warning a scan. Nothing stays locked between two frames.
        """
        yield from self._scan(after_rowid, batch_rows, None)

    def _scan(self, after_rowid: int, batch_rows: int, only: frozenset[bytes] | None) -> Iterator[pl.DataFrame]:
        n_damaged = 0
        while True:
            window = self._read(_WINDOW, (after_rowid, batch_rows), only)
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
        return self._look_up(_OF_ROWIDS, _number_lists(np.unique(rowids)))

    def find(self, keys: pl.Series) -> pl.DataFrame:
        """Return the entries of these keys, FOUND_SCHEMA in the order of their rowids; keys without one are misses."""
        asked = keys.drop_nulls().unique()
        asked = asked.filter(asked.str.contains(r"^[0-9a-f]{32}\z"))
        if len(asked) > _SCAN_SHARE * self.state.n_entries:
            only = frozenset(asked.cast(pl.Binary))
            found = pl.concat([FOUND_SCHEMA.to_frame(), *self._scan(0, _FIND_BATCH_ROWS, only)], rechunk=True)
        else:
            found = self._look_up(_OF_KEYS, _key_lists(asked))
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
            complaint = str(self._reader.execute("PRAGMA integrity_check(1)").fetchone()[0], "utf-8", "replace")
            cursor = self._reader.execute(_ALL)
            while rows := cursor.fetchmany(_SLICE_ROWS):
                for rowid, key in _bad_rows(rows):
                    rowids.append(rowid)
                    keys.append(key)
        except sqlite3.DatabaseError as error:
            complaint = str(error)
        file = None if complaint == "ok" else complaint
        return Damage(rowids=np.array(rowids, np.int64), keys=pl.Series("key", keys, dtype=pl.String), file=file)

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
            for asked in _number_lists(rowids):
                n_deleted += sql.execute(_DELETE_ROWIDS, (asked,)).rowcount
            if n_deleted:
                self._put_row(_EPOCH, self._next_epoch())
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
            self._put_row(_EPOCH, epoch)
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
        with self._transaction():
            self._put_row(_EPOCH, self._next_epoch())

    def _read(self, sql: str, parameters: tuple[object, ...], only: frozenset[bytes] | None = None) -> _Window:
        """Read (rowid, key, value) and decode the rows of the keys `only`; a broken file ends it, with a warning."""
        frames, damaged, n_rows, last_rowid = [FOUND_SCHEMA.to_frame()], [], 0, 0
        try:
            cursor = self._reader.execute(sql, parameters)
            while rows := cursor.fetchmany(_SLICE_ROWS):
                n_rows += len(rows)
                last_rowid = max(last_rowid, rows[-1][0])
                if only is not None:
                    rows = [row for row in rows if row[1] in only]
                rowids, keys, values = zip(*rows, strict=True) if rows else ((), (), ())
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
            return self._reader.execute(sql).fetchall()
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


def _epoch(stored: object) -> int:
    payload = entry.unseal(_EPOCH.encode(), stored)
    return int(payload) if payload and payload.isdigit() and len(payload) <= 18 else 0


def _bad_rows(rows: list[tuple[Any, ...]]) -> Iterator[tuple[int, str | None]]:
    """Yield rowid and key of the rows of (rowid, key, value, is plain) that no reader takes."""
    entries = [row for row in rows if row[3] and isinstance(row[1], bytes) and len(row[1]) == entry.KEY_LENGTH]
    _, is_damaged = entry.decode([row[1] for row in entries], [row[2] for row in entries])
    bad = {row[0] for row, damaged in zip(entries, is_damaged.tolist(), strict=True) if damaged}
    sound = {row[0] for row in entries} - bad
    for rowid, key, value, is_plain in rows:
        ours = isinstance(key, bytes) and key.startswith((_EPOCH.encode(), _CONTEXT.encode()))
        if rowid not in sound and not (is_plain and ours and entry.unseal(key, value) is not None):
            yield rowid, key.decode() if rowid in bad and entry.is_key(key) else None


def _key_lists(keys: pl.Series) -> Iterator[str]:
    """Give keys, which are hex, to SQLite as JSON; sorted, so that neighbours in the index come together."""
    for part in keys.sort().to_frame().iter_slices(_ASKED_ROWS):
        yield '["' + '","'.join(part.to_series().to_list()) + '"]'


def _number_lists(numbers: npt.NDArray[np.int64]) -> Iterator[str]:
    for start in range(0, len(numbers), _ASKED_ROWS):
        yield str(numbers[start : start + _ASKED_ROWS].tolist())


def _left_out(folder: Path, n_damaged: int) -> str:
    rows = "1 row is" if n_damaged == 1 else f"{n_damaged:,} rows are"
    return f"{rows} damaged in the answer archive {folder}: asked again, and named by reviewopt cache verify"
