"""The archive under attack and under failure: nothing in it runs, nothing acknowledged is lost, no answer is wrong."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import diskcache
import numpy as np
import polars as pl
import pytest
from numbered import CONTEXTS, answer, entries, key, opened, quiet

from reviewopt.cache import disk


def answers(found: pl.DataFrame) -> dict[str, str]:
    return dict(found.select("key", "answer").iter_rows())


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def plant(folder: Path, marker: Path, victim: Path) -> None:
    """Add rows to a database as an attacker would: pickles as keys, values and files, and names of other files."""
    bomb = pickle.dumps(Bomb(marker))
    (folder / "bomb.val").write_bytes(bomb)
    outside = os.path.relpath(victim, folder)
    rows: list[tuple[object, int, int, str | None, object]] = [
        (bomb, 0, 1, None, "value"),
        (bomb, 1, 4, None, bomb),
        ("planted", 1, 4, None, bomb),
        ("planted file", 1, 4, "bomb.val", None),
        (key(1), 0, 4, None, bomb),
        (500_000_000_000_000, 1, 4, None, bomb),
        ("queue-500000000000000", 1, 4, None, bomb),
        ("meta:planted", 1, 4, "bomb.val", None),
        ("context:" + "f" * 16, 1, 4, None, bomb),
        *((f"outside {mode}", 1, mode, outside, None) for mode in range(1, 5)),
        *((key(100 + mode), 1, mode, outside, None) for mode in range(1, 5)),
        *((f"expired {mode}", 1, mode, outside, bomb) for mode in range(1, 5)),
    ]
    with closing(sqlite3.connect(folder / "cache.db")) as sql, sql:
        sql.executemany("INSERT INTO Cache (key, raw, mode, filename, value) VALUES (?, ?, ?, ?, ?)", rows)
        sql.execute("UPDATE Cache SET expire_time = 1, tag = 'tag' WHERE key LIKE 'expired%'")


PLANTED = ("planted", "planted file", "meta:planted", key(1), key(101), *(f"outside {n}" for n in range(1, 5)))
ON_A_KEY: dict[str, Callable[[diskcache.Cache, str], object]] = {
    "get": lambda cache, key: cache.get(key),
    "get item": lambda cache, key: cache[key],
    "read": lambda cache, key: cache.read(key),
    "set": lambda cache, key: cache.set(key, "new"),
    "add": lambda cache, key: cache.add(key, "new"),
    "touch": lambda cache, key: cache.touch(key),
    "contains": lambda cache, key: key in cache,
    "incr": lambda cache, key: cache.incr(key),
    "pop": lambda cache, key: cache.pop(key),
    "delete": lambda cache, key: cache.delete(key),
}
ON_ALL: dict[str, Callable[[diskcache.Cache], object]] = {
    "iterate": list,
    "reversed": lambda cache: list(reversed(cache)),
    "iterkeys": lambda cache: list(cache.iterkeys()),
    "iterkeys reversed": lambda cache: list(cache.iterkeys(reverse=True)),
    "peek": lambda cache: cache.peek(),
    "peek in a queue": lambda cache: cache.peek(prefix="queue"),
    "peek item": lambda cache: cache.peekitem(),
    "peek first item": lambda cache: cache.peekitem(last=False),
    "pull": lambda cache: cache.pull(),
    "pull from a queue": lambda cache: cache.pull(prefix="queue"),
    "push": lambda cache: cache.push("new"),
    "expire": lambda cache: cache.expire(),
    "evict": lambda cache: cache.evict("tag"),
    "cull": lambda cache: cache.cull(),
    "check": lambda cache: cache.check(),
    "clear": lambda cache: cache.clear(),
}


def operate(cache: diskcache.Cache, operation: str) -> None:
    """Do what an application could do; that it is refused is as good as that it finds nothing."""
    if operation in ON_ALL:
        with suppress(Exception):
            ON_ALL[operation](cache)
        return
    for planted in PLANTED:
        with suppress(Exception):
            ON_A_KEY[operation](cache, planted)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "outside" / "victim"
    path.parent.mkdir()
    path.write_text("somebody else's file")
    return path


@pytest.mark.filterwarnings("ignore::diskcache.UnknownFileWarning", "ignore::UserWarning")
@pytest.mark.parametrize("operation", [*ON_A_KEY, *ON_ALL])
def test_no_operation_of_diskcache_unpickles_reads_or_deletes_what_was_planted(
    tmp_path: Path, victim: Path, operation: str
) -> None:
    folder, marker = tmp_path / "cache", tmp_path / "marker"
    with opened(folder) as archive:
        archive.put(entries(1, 2), CONTEXTS)
    plant(folder, marker, victim)
    with closing(disk.open_cache(folder, quiet)) as cache:
        operate(cache, operation)
    assert not marker.exists()
    assert victim.read_text() == "somebody else's file"


@pytest.mark.parametrize("operation", ["get", "iterate", "peek in a queue", "pull", "pop"])
def test_the_stock_disk_runs_what_was_planted(tmp_path: Path, victim: Path, operation: str) -> None:
    """The test above has teeth. When this one fails, diskcache has closed CVE-2025-69872."""
    folder, marker = tmp_path / "stock", tmp_path / "marker"
    diskcache.Cache(str(folder)).close()
    plant(folder, marker, victim)
    with closing(diskcache.Cache(str(folder))) as cache:
        operate(cache, operation)
    assert marker.exists()
    assert operation != "pop" or not victim.exists()


def test_no_operation_of_the_archive_unpickles_reads_or_deletes_what_was_planted(tmp_path: Path, victim: Path) -> None:
    folder, marker = tmp_path / "cache", tmp_path / "marker"
    with opened(folder) as archive:
        rowids = archive.put(entries(*range(50)), CONTEXTS)
    plant(folder, marker, victim)
    with opened(folder) as archive:
        assert archive.contexts() == CONTEXTS
        assert sum(map(len, archive.scan())) == 50
        asked = entries(*range(200))["key"]
        assert len(archive.find(asked)) == 50
        assert answers(archive.find(asked[:5])) == {key(n): answer(n) for n in range(5)}
        assert len(archive.read(np.arange(200))) == 50
        assert len(archive.damaged().rowids) == 21
        archive.put(entries(101, 1), {"f" * 16: "{}"})  # over two planted rows
        assert answers(archive.find(entries(101, 102)["key"])) == {key(101): answer(101)}
        archive.delete(np.append(rowids[:2], archive.damaged().rowids))
        assert archive.damaged().rowids.tolist() == []
        archive.clear()
    assert not marker.exists()
    assert victim.read_text() == "somebody else's file"
    assert (folder / "bomb.val").exists()


def test_swapped_keys_and_swapped_values_are_misses(tmp_path: Path) -> None:
    warnings: list[str] = []
    with opened(tmp_path, warnings.append) as archive:
        one, two, three = archive.put(entries(1, 2, 3), CONTEXTS).tolist()
        with closing(sqlite3.connect(tmp_path / "cache.db")) as sql, sql:
            ((value,),) = sql.execute("SELECT value FROM Cache WHERE rowid = ?", (two,))
            sql.execute("UPDATE Cache SET value = ? WHERE rowid = ?", (value, one))
            sql.execute("DELETE FROM Cache WHERE rowid = ?", (two,))
            sql.execute("UPDATE Cache SET key = ? WHERE rowid = ?", (key(2), three))
        for found in (archive.find(entries(1, 2, 3)["key"]), archive.read(np.arange(10)), *archive.scan()):
            assert len(found) == 0
        assert archive.damaged().rowids.tolist() == [one, three]
    assert len(warnings) == 3  # two scans and a read


def never_wrong(folder: Path, asked: pl.Series, right: dict[str, str]) -> int:
    """Use an archive whatever its state; return how many answers it still has."""
    with opened(folder) as archive:
        looked_up = answers(archive.find(asked[:6]))
        found = answers(archive.find(asked))
        scanned: dict[str, str] = {}
        for frame in archive.scan():
            scanned |= answers(frame)
    for got in (found, scanned, looked_up):
        assert got.items() <= right.items()
    return len(found)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy an archive while it is open: half of it is in the file, half in the log beside it."""
    made, folder = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("sound")
    with opened(made) as archive:
        archive.put(entries(*range(30)), CONTEXTS)
        archive.put(entries(*range(30, 40), padding=100), CONTEXTS)
    with opened(made) as archive:
        archive.put(entries(*range(40, 60)), CONTEXTS)
        for name in ("cache.db", "cache.db-wal"):
            shutil.copyfile(made / name, folder / name)
    return folder


RIGHT = {key(n): answer(n) for n in range(60)}


def break_and_use(folder: Path, sound: Path, break_it: Callable[[Path], None]) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    break_it(folder)
    return never_wrong(folder, pl.Series(list(RIGHT)), RIGHT)


@pytest.mark.parametrize("seed", range(4))
def test_one_flipped_bit_never_gives_a_wrong_answer(tmp_path: Path, sound: Path, seed: int) -> None:
    rng = random.Random(seed)
    sizes = {name: (sound / name).stat().st_size for name in ("cache.db", "cache.db-wal")}
    n_left = []
    for _ in range(100):
        name = rng.choice(list(sizes))
        bit = rng.randrange(8 * sizes[name])

        def flip(folder: Path, name: str = name, bit: int = bit) -> None:
            content = bytearray((folder / name).read_bytes())
            content[bit // 8] ^= 1 << bit % 8
            (folder / name).write_bytes(content)

        n_left.append(break_and_use(tmp_path / "cache", sound, flip))
    assert np.median(n_left) >= 40  # most flips cost one answer or none, and at worst the log


def test_a_file_cut_short_never_gives_a_wrong_answer(tmp_path: Path, sound: Path) -> None:
    rng = random.Random(2)
    for _ in range(100):
        name = rng.choice(("cache.db", "cache.db-wal"))
        size = rng.randrange((sound / name).stat().st_size)

        def cut(folder: Path, name: str = name, size: int = size) -> None:
            os.truncate(folder / name, size)

        break_and_use(tmp_path / "cache", sound, cut)


def write(folder: Path, *arguments: int) -> subprocess.Popen[str]:
    """Start a process that puts batches and prints each number once its batch is acknowledged."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", WRITING, str(folder), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )


WRITING = """
import sys
from pathlib import Path
import numbered
folder, start, n_batches, n_rows = Path(sys.argv[1]), *map(int, sys.argv[2:])
with numbered.opened(folder) as archive:
    print("ready", flush=True)
    for first in range(start, start + n_batches * n_rows, n_rows):
        archive.put(numbered.entries(*range(first, first + n_rows)), numbered.CONTEXTS)
        print(first, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    rng = random.Random(3)
    acknowledged: list[int] = []
    rows = 40
    for attempt in range(10):
        n_rows = 2500 if attempt % 3 == 2 else rows  # the bulk way too
        with write(tmp_path, attempt * 1_000_000, 400, n_rows) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0, 0.4))
            process.kill()
            firsts = [int(line) for line in process.stdout.read().splitlines()]
        acknowledged += [number for first in firsts for number in range(first, first + n_rows)]
    assert len(acknowledged) > 10 * rows
    warnings: list[str] = []
    with opened(tmp_path, warnings.append) as archive:
        asked = pl.Series([key(number) for number in acknowledged])
        assert answers(archive.find(asked)) == {key(number): answer(number) for number in acknowledged}
        assert archive.state.n_entries == sum(map(len, archive.scan()))
        assert archive.damaged().file is None
    assert warnings == []


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    # The second half of what one writes is what the other one writes too, which replaces it.
    both = [write(tmp_path, 0, 30, 50), write(tmp_path, 750, 30, 50), write(tmp_path, 10_000, 3, 2500)]
    for process in both:
        with process:
            process.communicate(timeout=60)
        assert process.returncode == 0
    numbers = [*range(2250), *range(10_000, 17_500)]
    with opened(tmp_path, pytest.fail) as archive:
        assert archive.state.n_entries == len(numbers)
        assert answers(archive.find(pl.Series([key(n) for n in numbers]))) == {key(n): answer(n) for n in numbers}
        assert archive.damaged().file is None


def test_one_that_opens_waits_for_one_that_writes(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        archive.put(entries(1), CONTEXTS)
        archive._writer.execute("BEGIN IMMEDIATE")
        with write(tmp_path, 100, 1, 1) as process:
            time.sleep(1.5)
            assert process.poll() is None
            archive._writer.execute("ROLLBACK")
            assert process.communicate(timeout=60)[0] == "ready\n100\n"


@pytest.mark.parametrize("seed", range(4))
def test_what_was_deleted_is_in_none_of_the_files(tmp_path: Path, seed: int) -> None:
    """Long and short rows come and go, so that SQLite moves what is beside them; secure_delete alone fails this."""
    rng = random.Random(seed)
    rowids: dict[int, int] = {}
    with opened(tmp_path) as archive:
        for first in range(0, 600, 100):
            numbers = range(first, first + 100)
            lengths = [rng.choice((1, 3, 20, 200)) for _ in numbers]
            frame = pl.concat([entries(n, padding=length) for n, length in zip(numbers, lengths, strict=True)])
            frame = frame.with_columns(text=pl.format("secret-{}-{}", pl.int_range(first, first + 100), "text"))
            with_bound = archive.put(frame, CONTEXTS)
            rowids |= dict(zip(numbers, with_bound.tolist(), strict=True))
            gone = rng.sample(sorted(rowids), rng.choice((1, 30, 70)))
            assert archive.delete(np.array([rowids.pop(number) for number in gone])) == len(gone)
            files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
            assert not [number for number in gone if b"secret-%d-" % number in files]
        archive.clear()
        assert b"secret-" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_one_reader_that_holds_on_is_said_to_keep_what_was_deleted(tmp_path: Path) -> None:
    warnings: list[str] = []
    with opened(tmp_path, warnings.append) as archive:
        archive.put(entries(1, 2), CONTEXTS)
        archive._writer.execute("PRAGMA busy_timeout = 100")
        with closing(sqlite3.connect(tmp_path / "cache.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM Cache").fetchone()
            archive.delete(np.array([1, 2, 3]))
    assert len(warnings) == 1
    assert "stays in" in warnings[0]


def test_a_foreign_database_is_neither_changed_nor_used(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "cache.db")) as sql, sql:
        sql.execute("CREATE TABLE bookmarks (url)")
        sql.execute("INSERT INTO bookmarks VALUES ('https://example.org')")
    before = (tmp_path / "cache.db").read_bytes()
    warnings: list[str] = []
    with opened(tmp_path, warnings.append) as archive:
        archive.put(entries(1), CONTEXTS)
        assert archive.state.n_entries == 1
    (aside,) = tmp_path.glob("set-aside-*")
    assert (aside / "cache.db").read_bytes() == before
    assert len(warnings) == 1
    assert str(aside) in warnings[0]
