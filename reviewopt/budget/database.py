"""The spend ledger's file: SQLite, append-only, private, and never silently replaced.

Entries are only ever added: triggers refuse anything else. The totals that budgets are kept by change in the same
transaction as the entry that changes them, and `entries.recomputed` derives them again.

What has been committed survives the end of the process at any instant (kill -9). It may not survive a loss of power:
`synchronous = NORMAL` does not wait for the disk at each commit, so the last entries before it can be gone, and with
them reservations of requests that were sent. Waiting would cost more than the requests' own work.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from reviewopt.errors import InputError

FOLDER: Final = "spend"  # of a home
DATABASE: Final = "spend.db"
WAIT_S: Final = 60
_FILES: Final = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm")
_OBJECTS: Final = "SELECT name, sql FROM sqlite_master ORDER BY name"
_APPENDED: Final = ("openings", "reserved", "ended", "questions")
_UNITS: Final = "units INTEGER NOT NULL CHECK (typeof(units) = 'integer' AND units >= 0)"
_SCHEMA: Final = (
    """CREATE TABLE openings (
        id INTEGER PRIMARY KEY, at REAL NOT NULL, run TEXT NOT NULL, model TEXT NOT NULL, endpoint TEXT NOT NULL,
        task TEXT NOT NULL)""",
    f"""CREATE TABLE reserved (
        id INTEGER PRIMARY KEY, at REAL NOT NULL, opening INTEGER NOT NULL, day TEXT NOT NULL, {_UNITS},
        shares TEXT NOT NULL, n_reviews INTEGER NOT NULL, body_bytes INTEGER NOT NULL)""",
    # The key itself says that a reservation ends once.
    f"""CREATE TABLE ended (
        reservation INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, {_UNITS}, shares TEXT NOT NULL,
        seconds REAL NOT NULL, outcome TEXT NOT NULL, request_id TEXT, input INTEGER, cached INTEGER,
        cache_write INTEGER, output INTEGER, reasoning INTEGER)""",
    """CREATE TABLE questions (
        reservation INTEGER NOT NULL, review_id TEXT NOT NULL, key TEXT NOT NULL, n_tokens INTEGER NOT NULL,
        units INTEGER NOT NULL, outcome TEXT NOT NULL)""",
    # A request's whole story in a row; what has not ended has nulls.
    """CREATE VIEW requests AS
        SELECT r.id AS reservation, r.at AS reserved_at, o.run, o.model, o.endpoint, o.task, r.day,
            r.units AS reserved_units, r.shares AS reserved_shares, r.n_reviews, r.body_bytes,
            e.at AS ended_at, e.kind, e.units, e.shares, e.seconds, e.outcome, e.request_id,
            e.input, e.cached, e.cache_write, e.output, e.reasoning
        FROM reserved r JOIN openings o ON o.id = r.opening LEFT JOIN ended e ON e.reservation = r.id""",
    f"CREATE TABLE totals (scope TEXT PRIMARY KEY, {_UNITS}, seal INTEGER NOT NULL) WITHOUT ROWID",
    *(
        f"CREATE TRIGGER {table}_{action.lower()} BEFORE {action} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'the spend ledger is append-only'); END"
        for table in _APPENDED
        for action in ("UPDATE", "DELETE")
    ),
)


class DamageError(ValueError):
    """Something in the file that we never write."""


def open_ledger(folder: Path) -> sqlite3.Connection:
    """Open or make the ledger of a folder, private to the user.

    Raises:
        InputError: it is damaged or not ours, or the folder cannot be used.
    """
    with explained(folder):
        for path in (*reversed(folder.absolute().parents), folder):
            if not path.is_dir():
                path.mkdir(mode=0o700, exist_ok=True)
        with _alone(folder):
            if stat.S_IMODE(folder.stat().st_mode) != 0o700:
                folder.chmod(0o700)
            if not os.path.lexists(folder / DATABASE):
                _make(folder)
            return _open(folder)


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the ledger to read one state of it; None where nothing was ever spent.

    Raises:
        InputError: it is damaged or not ours.
    """
    if not os.path.lexists(folder / DATABASE):
        yield None
        return
    with explained(folder), closing(_open(folder)) as sql:
        sql.execute("PRAGMA query_only = ON")
        sql.execute("BEGIN")
        yield sql


@contextmanager
def transaction(sql: sqlite3.Connection, folder: Path) -> Iterator[None]:
    """Commit what is done inside, all or nothing; other processes wait for it, and it for them.

    Raises:
        InputError: the disk is full or may not be written, the ledger is damaged, or somebody keeps it locked.
    """
    try:
        sql.execute("BEGIN IMMEDIATE")
        yield
        sql.execute("COMMIT")
    except BaseException:
        with explained(folder):
            if sql.in_transaction:
                sql.execute("ROLLBACK")
            raise


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what the file and its folder can do to us into an InputError that says what to do."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        raise
    except (sqlite3.DatabaseError, DamageError) as error:
        raise InputError(f"the spend ledger {folder / DATABASE}: {_what_to_do(error)}") from error
    except OSError as error:
        raise InputError(
            f"the spend ledger {folder / DATABASE} cannot be used: {error.strerror}; name another place with --home"
        ) from error


def _what_to_do(error: Exception) -> str:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    busy = f"another process has kept it locked for {WAIT_S} s; let it end and run again"
    return {
        sqlite3.SQLITE_BUSY: busy,
        sqlite3.SQLITE_LOCKED: busy,
        sqlite3.SQLITE_FULL: "the disk is full; free some space and run again: nothing that was kept is lost",
        sqlite3.SQLITE_READONLY: "it may not be written; give yourself the right to, or name another --home",
        sqlite3.SQLITE_PERM: "it may not be opened; give yourself the right to, or name another --home",
        sqlite3.SQLITE_CANTOPEN: "it may not be opened; give yourself the right to, or name another --home",
        sqlite3.SQLITE_IOERR: f"the disk does not answer ({error}); check it for errors and for free space",
        sqlite3.SQLITE_NOMEM: "there is no memory left; close something and run again",
    }.get(
        code,
        f"it is damaged or not ours ({error}), so nobody can tell what was spent, and nothing is sent; put a copy from"
        " a backup in its place, or move it and the files beside it away to begin a new ledger at 0 USD",
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time make the ledger."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(folder: Path) -> None:
    """Make an empty ledger, whole or not at all: an empty file is then never a new ledger, but a damaged one."""
    if any(os.path.lexists(folder / name) for name in _FILES):
        raise DamageError(f"{DATABASE} is gone, but not the files beside it")
    partial = folder / f"{DATABASE}.partial"
    partial.unlink(missing_ok=True)  # of a process that was killed here; SQLite drops the log of an empty file itself
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(partial, isolation_level=None)) as sql:
        sql.execute("PRAGMA journal_mode = WAL")
        for statement in _SCHEMA:
            sql.execute(statement)
    partial.rename(folder / DATABASE)


def _open(folder: Path) -> sqlite3.Connection:
    database = folder / DATABASE
    if not stat.S_ISREG(database.lstat().st_mode):
        raise DamageError("it is not a plain file")
    sql = sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True, timeout=WAIT_S, isolation_level=None)
    try:
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0", "synchronous = NORMAL"):
            sql.execute(f"PRAGMA {pragma}").fetchall()
        _check_schema(sql)
        for path in (folder / name for name in _FILES):
            if path.exists() and stat.S_IMODE(path.lstat().st_mode) != 0o600:
                path.chmod(0o600)
    except BaseException:
        sql.close()
        raise
    return sql


def _check_schema(sql: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(":memory:")) as ours:
        for statement in _SCHEMA:
            ours.execute(statement)
        if ours.execute(_OBJECTS).fetchall() != sql.execute(_OBJECTS).fetchall():
            raise DamageError("its tables are not those of this version")
