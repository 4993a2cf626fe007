from __future__ import annotations

import os
import pickle
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import diskcache
import pytest

from reviewopt.cache import disk
from reviewopt.errors import InputError


def never(message: str) -> None:
    raise AssertionError(message)


def make(folder: Path) -> Path:
    """Make a database of ours with one row in it; return its file."""
    with disk.open_cache(folder, never) as cache:
        cache["kept"] = b"value"
    return folder / disk.DATABASE


def change(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as sql, sql:
        for statement in statements:
            sql.execute(statement)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_stored_is_there_again(tmp_path: Path) -> None:
    make(tmp_path / "cache")
    with disk.open_cache(tmp_path / "cache", never) as cache:
        assert cache["kept"] == b"value"
        cache["text"] = "a\x00text"
        assert dict.fromkeys(cache) == {"kept": None, "text": None}
        assert cache.pop("text") == "a\x00text"


def test_all_settings_are_ours_whatever_the_database_says(tmp_path: Path) -> None:
    change(make(tmp_path), "UPDATE Settings SET value = 7 WHERE key IN ('cull_limit', 'sqlite_synchronous')")
    with disk.open_cache(tmp_path, never) as cache:
        assert {name: getattr(cache, name) for name in disk._SETTINGS} == disk._SETTINGS
        assert set(diskcache.DEFAULT_SETTINGS) == set(disk._SETTINGS)


def test_a_long_value_stays_in_its_row(tmp_path: Path) -> None:
    with disk.open_cache(tmp_path, never) as cache:
        cache["long"] = bytes(1 << 20)
        assert {path.name for path in tmp_path.iterdir()} == {"cache.db", "cache.db-wal", "cache.db-shm"}


@pytest.mark.parametrize("value", [1, 1.5, None, True, ["list"], bytearray(b"x"), object()])
def test_only_text_and_bytes_are_stored(tmp_path: Path, value: object) -> None:
    with disk.open_cache(tmp_path, never) as cache:
        with pytest.raises(TypeError):
            cache["key"] = value
        with pytest.raises(TypeError):
            cache[value] = "value"
        with (tmp_path / "cache.db").open("rb") as file, pytest.raises(TypeError):
            cache.set("key", file, read=True)


def test_every_mode_but_plain_is_refused() -> None:
    text_disk = disk.TextDisk("folder")
    for mode_, filename, value, read in ((4, None, b"", False), (2, "f", None, False), (1, "f", b"", False)):
        with pytest.raises(disk.ForeignError):
            text_disk.fetch(mode_, filename, value, read)
    with pytest.raises(disk.ForeignError):
        text_disk.fetch(1, None, b"", read=True)
    with pytest.raises(disk.ForeignError):
        text_disk.fetch(1, None, 1, read=False)
    for key, raw in ((pickle.dumps("x"), 0), ("x", 0), (b"x", 1), (1, 1)):
        with pytest.raises(disk.ForeignError):
            text_disk.get(key, raw)
    with pytest.raises(disk.ForeignError):
        text_disk.filename()


def test_the_folder_and_its_files_are_private(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        folder = tmp_path / "home" / "cache"
        with disk.open_cache(folder, never) as cache:
            cache["key"] = b"value"
            assert mode(folder) == mode(folder.parent) == 0o700
            assert {mode(path) for path in folder.iterdir()} == {0o600}
    finally:
        os.umask(umask)


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    database = make(tmp_path / "cache")
    with disk.open_cache(tmp_path / "cache", never) as first:
        first["more"] = b"value"
        tmp_path.joinpath("cache").chmod(0o755)
        for path in tmp_path.joinpath("cache").iterdir():
            path.chmod(0o644)
        with disk.open_cache(tmp_path / "cache", never):
            assert mode(database.parent) == 0o700
            assert {mode(path) for path in database.parent.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["a$HOME b", "${HOME}", "~", "~root", "$NOT_SET", "a%20b?c#d", "ü\n'\""])
def test_every_name_of_a_folder_is_taken_literally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    environment = dict(os.environ)
    make(Path(name))  # relative to tmp_path
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert (tmp_path / name / "cache.db").is_file()
    with closing(disk.connect(Path(name) / "cache.db", mode="ro")) as sql:
        assert sql.execute("SELECT value FROM Cache").fetchall() == [(b"value",)]
    assert dict(os.environ) == environment


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more (x)",
        "CREATE VIEW v AS SELECT 1",
        "CREATE INDEX Cache_more ON Cache (mode)",
        "CREATE TRIGGER Settings_more AFTER INSERT ON Cache BEGIN DELETE FROM Cache; END",
        "DROP TRIGGER Settings_size_update; CREATE TRIGGER Settings_size_update UPDATE ON Cache BEGIN SELECT 1; END",
        "DROP TABLE Cache; CREATE VIRTUAL TABLE Cache USING fts5(key, value)",
        "ALTER TABLE Cache ADD COLUMN more",
        "INSERT INTO Settings VALUES ('timeout', 0)",
        "INSERT INTO Settings VALUES ('_disk', 'x')",
        "INSERT INTO Settings VALUES ('sqlite_writable_schema', 1)",
        "INSERT INTO Settings VALUES (x'00', 1)",
        "UPDATE Settings SET value = 'wal; DROP TABLE Cache' WHERE key = 'sqlite_journal_mode'",
        "UPDATE Settings SET value = 'delete' WHERE key = 'sqlite_journal_mode'",
        "UPDATE Settings SET value = 'least-recently-used' WHERE key = 'eviction_policy'",
        "UPDATE Settings SET value = 0.5 WHERE key = 'sqlite_mmap_size'",
        "UPDATE Settings SET value = 'many' WHERE key = 'count'",
        "UPDATE Settings SET value = -1 WHERE key = 'count'",
        "INSERT INTO Cache (rowid, key, raw) VALUES (9223372036854775807, 'k', 1)",
    ],
)
def test_a_database_that_is_not_ours_is_set_aside(tmp_path: Path, statement: str) -> None:
    database = make(tmp_path)
    with closing(sqlite3.connect(database)) as sql:
        sql.executescript(statement)
    before = database.read_bytes()
    with pytest.raises(disk.ForeignError):
        disk.vet(database)
    warnings: list[str] = []
    with disk.open_cache(tmp_path, warnings.append) as cache:
        assert len(cache) == 0
        cache["new"] = b"value"
    (aside,) = tmp_path.glob("set-aside-*")
    assert (aside / "cache.db").read_bytes() == before
    assert mode(aside) == 0o700
    assert len(warnings) == 1
    assert str(aside) in warnings[0]
    with disk.open_cache(tmp_path, never) as cache:
        assert cache["new"] == b"value"


def test_what_is_no_database_is_set_aside_again_and_again(tmp_path: Path) -> None:
    warnings: list[str] = []
    for n in range(3):
        (tmp_path / "cache.db").write_bytes(b"no database at all" * 100)
        disk.open_cache(tmp_path, warnings.append).close()
        assert len(list(tmp_path.glob("set-aside-*"))) == len(warnings) == n + 1


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_plain_file_is_set_aside_unopened(tmp_path: Path, kind: str) -> None:
    victim = make(tmp_path / "other")
    before = victim.read_bytes()
    folder = tmp_path / "cache"
    folder.mkdir()
    match kind:
        case "link":
            (folder / "cache.db").symlink_to(victim)
        case "pipe":
            os.mkfifo(folder / "cache.db")
        case _:
            (folder / "cache.db").mkdir()
    warnings: list[str] = []
    with disk.open_cache(folder, warnings.append) as cache:
        cache["new"] = b"value"
    assert len(warnings) == 1
    assert victim.read_bytes() == before


def test_a_database_that_another_process_is_making_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "cache.db").touch()
    disk.vet(tmp_path / "cache.db")
    change(make(tmp_path / "whole"), "DROP TABLE Cache")  # with its triggers and indexes
    disk.vet(tmp_path / "whole" / "cache.db")
    with disk.open_cache(tmp_path / "whole", never) as cache:
        assert len(cache) == 1  # the counter; the rows are gone


def test_a_broken_database_is_set_aside_only_while_it_is_there(tmp_path: Path) -> None:
    make(tmp_path)
    mine, error = disk.identity(tmp_path), sqlite3.DatabaseError("database disk image is malformed")
    warnings: list[str] = []
    disk.open_cache(tmp_path, warnings.append, (mine, error)).close()
    assert len(warnings) == 1
    assert "malformed" in warnings[0]
    disk.open_cache(tmp_path, never, (mine, error)).close()  # another process has set it aside already


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--home"):
        disk.open_cache(tmp_path / "file" / "cache", never)


def test_each_obstacle_says_what_to_do() -> None:
    def error(code: int) -> sqlite3.OperationalError:
        made = sqlite3.OperationalError("no")
        made.sqlite_errorcode = code
        return made

    wanted: dict[int, Any] = {
        sqlite3.SQLITE_BUSY: "locked for 60 s",
        sqlite3.SQLITE_BUSY_SNAPSHOT: "locked for 60 s",
        sqlite3.SQLITE_FULL: "free some space",
        sqlite3.SQLITE_READONLY: "--home",
        sqlite3.SQLITE_CANTOPEN: "--home",
        sqlite3.SQLITE_IOERR_WRITE: "check it",
    }
    assert all(words in str(disk.obstacle(error(code))) for code, words in wanted.items())
    assert disk.obstacle(diskcache.Timeout()) == disk.obstacle(error(sqlite3.SQLITE_BUSY))
    assert disk.obstacle(error(sqlite3.SQLITE_CORRUPT)) is None
    assert disk.obstacle(disk.ForeignError()) is None
    assert disk.is_damage(error(sqlite3.SQLITE_CORRUPT_INDEX))
    assert not disk.is_damage(sqlite3.ProgrammingError("used on another thread"))
    assert not disk.is_damage(error(sqlite3.SQLITE_FULL))


def test_our_connections_never_lose_what_they_committed_and_trust_no_schema(tmp_path: Path) -> None:
    database = make(tmp_path)
    for wanted in ("ro", "rw"):
        with closing(disk.connect(database, mode="ro" if wanted == "ro" else "rw")) as sql:
            names = ("synchronous", "trusted_schema", "secure_delete")
            assert {name: sql.execute(f"PRAGMA {name}").fetchone()[0] for name in names} == dict(
                zip(names, (2, 0, 1), strict=True)
            )
            assert sql.execute("PRAGMA journal_mode").fetchone() == (b"wal",)
            if wanted == "ro":
                with pytest.raises(sqlite3.OperationalError, match="readonly"):
                    sql.execute("DELETE FROM Cache")
