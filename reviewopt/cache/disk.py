"""The archive's database: diskcache's file, opened so that nothing in it can run code, name a file or change a setting.

Why diskcache stays although CVE-2025-69872 is open (as of 2026-11-21, 5.6.3 is the newest release and has no fix): the
hole is in its serialisers, which can be replaced. Stock `Disk` unpickles any key or value whose row says that it is a
pickle, and `JSONDisk` does so too in `peek` and `pull`; both open and delete any file that a row names. `TextDisk`
below stores `str` and `bytes` in the row itself and refuses everything else. `tests/faults/test_archive_faults.py`
plants such rows and runs every operation of diskcache over them: nothing is unpickled, read or deleted.

The file itself is not trusted either. diskcache makes each row of the Settings table an attribute and a PRAGMA, and
SQLite runs the triggers that it finds, so `vet` compares the schema and the settings with what we write before
diskcache sees them. A database that fails is set aside, never deleted: it may hold answers that were paid for.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import diskcache
from diskcache.core import MODE_RAW, UNKNOWN

from reviewopt.errors import InputError

DATABASE: Final = "cache.db"
WAIT_S: Final = 60
_FILES: Final = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal")
_PAGES_KIB: Final = 128 << 10  # an index of a million keys is 45 MB, and new keys fall anywhere in it
# No row or window of rows may be larger; the longest text that is taken is far shorter.
MAX_ROW_BYTES: Final = 256 << 20

# All of diskcache's settings. What a database says about itself never decides.
_SETTINGS: Final[dict[str, int | str]] = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "none",
    "size_limit": 1 << 40,
    "cull_limit": 0,
    "sqlite_auto_vacuum": 0,
    "sqlite_cache_size": -_PAGES_KIB,
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 0,  # a file that is cut short under a memory map kills the process, and the map gains nothing
    "sqlite_synchronous": 1,  # of diskcache's own connection, which writes nothing but these settings
    "disk_min_file_size": 1 << 62,
    "disk_pickle_protocol": 0,
}
_COUNTERS: Final = ("count", "size", "hits", "misses")
# The schema as diskcache 5.6.3 writes it: (type, name) and the start of its statement's SHA-256.
_SCHEMA: Final = {
    ("table", "Settings"): "7dc3acaeb6bbc0a0",
    ("index", "sqlite_autoindex_Settings_1"): "e3b0c44298fc1c14",
    ("table", "Cache"): "b1e287d8264b4cfb",
    ("index", "Cache_key_raw"): "4f0a5302019317d0",
    ("index", "Cache_expire_time"): "4a273a1da0f568b2",
    ("trigger", "Settings_count_insert"): "0d6ef5b954e42033",
    ("trigger", "Settings_count_delete"): "2eb9bf040815f4bc",
    ("trigger", "Settings_size_insert"): "404b74ec6db5c3f1",
    ("trigger", "Settings_size_update"): "18eb18f5d803b490",
    ("trigger", "Settings_size_delete"): "613ef63fc328c3a9",
}
_MAX_ROWID: Final = 1 << 53
_FOLDER_VARIABLE: Final = "_ANSWER_ARCHIVE_FOLDER"
Identity = tuple[int, int]


class ForeignError(ValueError):
    """Something in the database that we never write."""


class TextDisk(diskcache.Disk):
    """Stores `str` keys and `str` or `bytes` values in the row itself; refuses everything else, in both directions."""

    def __init__(self, directory: str, min_file_size: int = 0, pickle_protocol: int = 0) -> None:  # noqa: ARG002
        super().__init__(directory, 1 << 62, 0)

    def put(self, key: Any) -> tuple[str, bool]:
        """Return the key as it is stored."""
        if type(key) is not str:
            raise TypeError(f"a key is a str, not a {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: int) -> str:
        """Return a stored key."""
        if raw != 1 or type(key) is not str:
            raise ForeignError("a key that is a pickle or not text")
        return key

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> tuple[int, int, None, str | bytes]:  # noqa: ARG002
        """Return size, mode, file name and value of a row."""
        if read or type(value) not in {str, bytes}:
            raise TypeError(f"a value is str or bytes, not a {type(value).__name__}")
        return 0, MODE_RAW, None, value

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> str | bytes:
        """Return a stored value."""
        if mode != MODE_RAW or filename is not None or read or type(value) not in {str, bytes}:
            raise ForeignError("a row that is a pickle or a file")
        stored: str | bytes = value
        return stored

    def filename(self, key: Any = UNKNOWN, value: Any = UNKNOWN) -> tuple[str, str]:  # noqa: ARG002
        """Refuse: no value goes to a file."""
        raise ForeignError("a value for a file")

    def remove(self, file_path: str) -> None:
        """Do nothing: a row that names a file was planted, and the file is somebody else's."""


def vet(database: Path) -> None:
    """Compare a database with what we write, without changing it; a part of it will do: another process makes the rest.

    Raises:
        ForeignError: it holds something else.
        sqlite3.Error: it cannot be read.
    """
    if not stat.S_ISREG(database.lstat().st_mode):
        raise ForeignError("it is not a plain file")
    with closing(connect(database, mode="ro")) as sql:
        sql.text_factory = lambda stored: stored.decode("utf-8", "replace")
        objects = sql.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        for kind, name, table, statement in objects:
            digest = hashlib.sha256((statement or "").encode()).hexdigest()[:16]
            if _SCHEMA.get((kind, name)) != digest or table not in {"Cache", "Settings"}:
                raise ForeignError("its tables are not ours")
        names = {name for _, name, *_ in objects}
        if "Settings" in names:
            for key, value in sql.execute("SELECT key, value FROM Settings"):
                if not _is_setting(key, value):
                    raise ForeignError("its settings are not ours")
        if "Cache" in names and (sql.execute("SELECT max(rowid) FROM Cache").fetchone()[0] or 0) > _MAX_ROWID:
            raise ForeignError("its rows are not ours")


def _is_setting(key: object, value: object) -> bool:
    """Say whether a row of Settings is harmless: a number under a known name, or the very text that we write."""
    if key in _COUNTERS:
        return type(value) is int and value >= 0
    ours = _SETTINGS.get(key) if isinstance(key, str) else None
    return type(value) is type(ours) and (value == ours or isinstance(value, int))


def connect(database: Path, *, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    """Open a connection of our own, for bulk work; text comes back as bytes, so that no flipped bit breaks a read."""
    sql = sqlite3.connect(f"{database.absolute().as_uri()}?mode={mode}", uri=True, timeout=WAIT_S, isolation_level=None)
    try:
        sql.text_factory = bytes
        sql.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ROW_BYTES)
        for pragma in (
            "trusted_schema = OFF",
            "cell_size_check = ON",
            f"cache_size = {-_PAGES_KIB if mode == 'rw' else -_PAGES_KIB // 8}",
            "mmap_size = 0",
            "synchronous = FULL",  # an answer survives a power cut; measured no dearer than NORMAL in bulk
            "secure_delete = ON",
            "wal_autocheckpoint = 16384",  # 64 MB: the pages of the index are copied once for many transactions
        ):
            sql.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        sql.close()
        raise
    return sql


def open_cache(
    folder: Path, on_warning: Callable[[str], None], broken: tuple[Identity, Exception] | None = None
) -> diskcache.Cache:
    """Open or make the database of a folder; one that is damaged or foreign is set aside first.

    Args:
        folder: made, and made private, where needed.
        on_warning: is told what was set aside.
        broken: the database that turned out to be damaged in use, and how; it too is set aside if it is still there.

    Raises:
        InputError: the folder or the database cannot be used, or another process keeps it locked.
    """
    try:
        for path in (*reversed(folder.absolute().parents), folder):
            if not path.is_dir():
                path.mkdir(mode=0o700, exist_ok=True)
        with _alone(folder):
            _make_private(folder)
            try:
                if broken is not None and broken[0] == identity(folder):
                    raise broken[1]
                vet(folder / DATABASE)
                return _open(folder)
            except (ForeignError, sqlite3.DatabaseError) as error:
                if (why := obstacle(error)) is not None:
                    raise InputError(f"the answer archive {folder}: {why}") from error
                on_warning(set_aside(folder, error))
            _make_private(folder)
            return _open(folder)
    except OSError as error:
        raise InputError(
            f"the answer archive {folder} cannot be used: {error.strerror}; name another place with --home"
        ) from error
    except (sqlite3.Error, diskcache.Timeout) as error:
        raise InputError(f"the answer archive {folder}: {obstacle(error) or error}") from error


def identity(folder: Path) -> Identity:
    """Tell the database of a folder from another one of the same name."""
    status = (folder / DATABASE).lstat()
    return status.st_dev, status.st_ino


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time open, make or set aside a database."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_private(folder: Path) -> None:
    """Make the folder 0700 and the database 0600; SQLite gives the files beside it the same mode."""
    if stat.S_IMODE(folder.stat().st_mode) != 0o700:
        folder.chmod(0o700)
    with suppress(FileExistsError):
        os.close(os.open(folder / DATABASE, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    for path in (folder / name for name in _FILES):
        with suppress(FileNotFoundError):
            if stat.S_ISREG(mode := path.lstat().st_mode) and stat.S_IMODE(mode) != 0o600:
                path.chmod(0o600)


def _open(folder: Path) -> diskcache.Cache:
    with _unexpanded(folder.absolute()) as name:
        return diskcache.Cache(name, timeout=WAIT_S, disk=TextDisk, **_SETTINGS)


@contextmanager
def _unexpanded(folder: Path) -> Iterator[str]:
    """Give the name under which diskcache opens exactly this folder.

    It expands `~` at the start of a name, which an absolute one does not have, and variables anywhere, but not in their
    values: so a folder with a `$` in its name goes in as a variable's value.
    """
    if "$" not in str(folder):
        yield str(folder)
        return
    os.environ[_FOLDER_VARIABLE] = str(folder)
    try:
        yield f"${_FOLDER_VARIABLE}"
    finally:
        del os.environ[_FOLDER_VARIABLE]


def set_aside(folder: Path, error: Exception) -> str:
    """Move the database into a folder of its own beside it; return the warning that says so."""
    stem = f"set-aside-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    for attempt in range(100):
        aside = folder / (f"{stem}-{attempt}" if attempt else stem)
        with suppress(FileExistsError):
            aside.mkdir(mode=0o700)
            break
    for name in _FILES:
        with suppress(FileNotFoundError):
            (folder / name).rename(aside / name)
    return (
        f"the answer archive {folder / DATABASE} is damaged or not ours ({error}); it was moved to {aside},"
        " and a new one was begun"
    )


def obstacle(error: Exception) -> str | None:
    """Say what stands in the way of a sound database and what to do about it; None when it is the database itself."""
    if isinstance(error, diskcache.Timeout):
        code = sqlite3.SQLITE_BUSY
    else:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return {
        sqlite3.SQLITE_BUSY: f"another process has kept it locked for {WAIT_S} s; let it end, or name another --home",
        sqlite3.SQLITE_LOCKED: f"another process has kept it locked for {WAIT_S} s; let it end, or name another --home",
        sqlite3.SQLITE_FULL: "the disk is full; free some space and run again: nothing that was kept is lost",
        sqlite3.SQLITE_READONLY: "it may not be written; give yourself the right to, or name another --home",
        sqlite3.SQLITE_PERM: "it may not be opened; give yourself the right to, or name another --home",
        sqlite3.SQLITE_CANTOPEN: "it may not be opened; give yourself the right to, or name another --home",
        sqlite3.SQLITE_IOERR: f"the disk does not answer ({error}); check it, or name another --home",
        sqlite3.SQLITE_NOMEM: "there is no memory left; close something and run again",
    }.get(code)


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Say whether an error means that the file itself is broken."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}
