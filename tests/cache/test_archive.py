from __future__ import annotations

import hashlib
import random
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt.cache import archive as archive_module
from reviewopt.cache import disk
from reviewopt.cache.archive import Archive, State
from reviewopt.cache.entry import ENTRY_SCHEMA, seal
from reviewopt.errors import InputError

CONTEXT = "00000000000000ff"
CONTEXTS = {CONTEXT: '{"task":"sentiment"}'}


def key(n: int) -> str:
    return hashlib.sha256(b"%d" % n).hexdigest()[:32]


def entries(*numbers: int, answer: str = "positive", text: str = "text of ") -> pl.DataFrame:
    """One entry a number, that differ in everything."""
    n = len(numbers)
    return pl.DataFrame(
        {
            "key": [key(number) for number in numbers],
            "context": [CONTEXT] * n,
            "answer": [answer] * n,
            "confidence": [number % 7 / 7 for number in numbers],
            "cost_usd": [Decimal(number) / 10**9 for number in numbers],
            "created_s": [1_795_000_000 + number for number in numbers],
            "tenant": [None if number % 2 else "acme" for number in numbers],
            "review_id": [f"r{number}" for number in numbers],
            "text": [f"{text}{number}" for number in numbers],
        },
        schema=ENTRY_SCHEMA,
    )


def never(message: str) -> None:
    raise AssertionError(message)


def opened(folder: Path, warnings: list[str] | None = None) -> Archive:
    return Archive.open(folder, compress_above_bytes=200, on_warning=never if warnings is None else warnings.append)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Archive]:
    with opened(tmp_path / "cache") as archive:
        yield archive


def everything(archive: Archive) -> pl.DataFrame:
    return pl.concat([archive_module.FOUND_SCHEMA.to_frame(), *archive.scan()])


def without_rowid(found: pl.DataFrame) -> pl.DataFrame:
    return found.drop("rowid").sort("key")


def change(archive: Archive, statement: str, *parameters: object) -> None:
    """Change the database behind the archive's back."""
    with closing(sqlite3.connect(archive._folder / disk.DATABASE)) as sql, sql:
        sql.execute(statement, parameters)


def test_an_empty_archive_has_nothing(kept: Archive) -> None:
    state = kept.state
    assert (state.n_entries, state.last_rowid) == (0, 0)
    assert state.epoch > 0  # no sidecar of another database describes it
    assert kept.contexts() == {}
    assert list(kept.scan()) == []
    assert kept.find(pl.Series([key(1)])).schema == archive_module.FOUND_SCHEMA
    assert len(kept.read(np.array([1, 2]))) == 0
    assert len(kept.put(entries(), {})) == 0
    assert kept.delete(np.array([1])) == 0
    assert kept.damaged().file is None


def test_what_was_put_is_there_after_opening_again(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        rowids = archive.put(entries(1, 2, 3), CONTEXTS)
        assert np.diff(rowids).tolist() == [1, 1]
    with opened(tmp_path) as archive:
        found = archive.find(entries(3, 1, 9)["key"])
        assert found["rowid"].to_list() == rowids[[0, 2]].tolist()
        assert found.drop("rowid").equals(entries(1, 3))
        assert archive.contexts() == CONTEXTS
        assert archive.state.n_entries == 3
        assert archive.state.last_rowid == rowids[-1]


POOL = st.lists(st.integers(0, 12), max_size=8)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(POOL, st.sampled_from(["negative", "positive"])), max_size=5), POOL)
def test_hits_and_misses_are_what_was_asked_and_the_last_put_wins(
    puts: list[tuple[list[int], str]], asked: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as archive:
        model: dict[int, str] = {}
        n_replaced, born = 0, archive.state.epoch
        for numbers, answer in puts:
            before = archive.state
            rowids = archive.put(entries(*numbers, answer=answer), CONTEXTS)
            again = archive.read(rowids)
            assert dict(zip(numbers, rowids.tolist(), strict=True)) == {
                number: again.filter(key=key(number))["rowid"].item() for number in numbers
            }
            replaces = bool(model.keys() & set(numbers))
            n_replaced += replaces
            assert (archive.state.epoch != before.epoch) == replaces
            model |= dict.fromkeys(numbers, answer)
        expected = {key(number): model[number] for number in set(asked) & model.keys()}
        found = archive.find(entries(*asked)["key"])
        assert dict(found.select("key", "answer").iter_rows()) == expected
        assert len(found) == len(expected)
        assert archive.state.n_entries == len(everything(archive)) == len(model)
        assert (archive.state.epoch == born) == (n_replaced == 0)


def test_of_equal_keys_in_one_frame_the_last_wins(kept: Archive) -> None:
    both = pl.concat([entries(1, 2, answer="negative"), entries(1, answer="positive")])
    born = kept.state.epoch
    rowids = kept.put(both, CONTEXTS)
    assert rowids[0] == rowids[2] != rowids[1]
    assert kept.find(both["key"])["answer"].to_list() == ["negative", "positive"]
    assert kept.state.epoch == born


def test_a_large_put_keeps_the_counter_and_the_triggers(kept: Archive) -> None:
    n = archive_module._BULK_ROWS + 10
    kept.put(entries(*range(n)), CONTEXTS)
    kept.put(entries(n, n + 1), CONTEXTS)
    assert kept.state.n_entries == n + 2
    first = kept.state
    kept.put(entries(*range(5, n + 7), answer="negative"), CONTEXTS)
    assert kept.state.n_entries == n + 7
    assert kept.state.epoch > first.epoch
    assert kept.find(entries(4, 5, n + 6)["key"])["answer"].to_list() == ["positive", "negative", "negative"]
    kept.delete(kept.find(entries(1, 2)["key"])["rowid"].to_numpy())
    assert kept.state.n_entries == n + 5
    disk.vet(kept._folder / disk.DATABASE)
    with disk.open_cache(kept._folder, never) as cache:
        assert len(cache) == n + 5 + 2  # and a context, and the epoch
        cache.check()


def test_a_large_put_that_fails_leaves_everything_as_it_was(kept: Archive) -> None:
    kept.put(entries(1), CONTEXTS)
    pages = kept._writer.execute("PRAGMA page_count").fetchone()[0]
    kept._writer.execute(f"PRAGMA max_page_count = {pages + 20}")  # a disk that fills up
    with pytest.raises(InputError, match="free some space"):
        kept.put(entries(*range(archive_module._BULK_ROWS)), {"0" * 16: "{}"})
    assert kept.state.n_entries == 1
    assert kept.contexts() == CONTEXTS
    disk.vet(kept._folder / disk.DATABASE)
    kept._writer.execute("PRAGMA max_page_count = 1000000")
    kept.put(entries(*range(archive_module._BULK_ROWS)), CONTEXTS)
    assert kept.state.n_entries == archive_module._BULK_ROWS


def test_a_database_that_stays_locked_says_so(kept: Archive) -> None:
    kept.put(entries(1), CONTEXTS)
    kept._writer.execute("PRAGMA busy_timeout = 50")
    with closing(sqlite3.connect(kept._folder / disk.DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match="locked"):
            kept.put(entries(2), CONTEXTS)
        with pytest.raises(InputError, match="locked"):
            kept.delete(np.array([1, 2]))
        assert len(kept.find(entries(1)["key"])) == 1
    assert kept.state.n_entries == 1


def test_a_bad_entry_stores_nothing(kept: Archive) -> None:
    with pytest.raises(ValueError, match="confidence"):
        kept.put(entries(1, 2).with_columns(confidence=pl.lit(2, pl.Float32)), CONTEXTS)
    assert kept.state.last_rowid == 0


@pytest.mark.parametrize("batch_rows", [1, 3, 50_000])
def test_a_scan_gives_every_entry_once_in_order(kept: Archive, batch_rows: int) -> None:
    kept.put(entries(*range(7)), CONTEXTS)
    kept.put(entries(3, answer="negative"), CONTEXTS)
    frames = list(kept.scan(batch_rows=batch_rows))
    assert all(0 < len(frame) <= batch_rows for frame in frames)
    found = pl.concat(frames)
    assert found.schema == archive_module.FOUND_SCHEMA
    assert found["rowid"].is_sorted()
    wanted = pl.concat([entries(0, 1, 2, 4, 5, 6), entries(3, answer="negative")])
    assert found.drop("rowid").equals(wanted)
    after = int(found["rowid"][3])
    assert pl.concat(kept.scan(after, batch_rows)).equals(found[4:])


def test_a_scan_sees_nothing_locked_between_its_frames(kept: Archive) -> None:
    kept.put(entries(*range(6)), CONTEXTS)
    n = 0
    for frame in kept.scan(batch_rows=2):
        n += len(frame)
        if n == 2:
            kept.put(entries(100), CONTEXTS)
            kept.delete(frame["rowid"].to_numpy())
    assert n == 7


@pytest.mark.parametrize("n_asked", [5, 499, 501, 1000])
def test_both_ways_to_find_agree(kept: Archive, n_asked: int) -> None:
    kept.put(entries(*range(1000)), CONTEXTS)
    numbers = [*range(0, 2 * n_asked, 2)]
    asked = pl.concat([entries(*numbers)["key"], pl.Series(["", "no key", key(0) + "\n", None, key(0)])])
    found = kept.find(asked)
    assert found["rowid"].is_sorted()
    assert without_rowid(found).equals(entries(*[number for number in numbers if number < 1000]).sort("key"))


def test_read_gives_the_rows_that_there_are(kept: Archive) -> None:
    rowids = kept.put(entries(*range(20)), CONTEXTS)
    found = kept.read(np.array([rowids[7], 10**9, rowids[3], rowids[7], -1, 0], np.int64))
    assert found.drop("rowid").equals(entries(3, 7))
    assert found["rowid"].to_list() == rowids[[3, 7]].tolist()


def test_the_volume_is_that_of_the_file(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        archive.put(entries(*range(300)), CONTEXTS)
        volume_bytes = archive.volume_bytes
    assert volume_bytes == (tmp_path / disk.DATABASE).stat().st_size


def test_long_texts_are_smaller_in_the_file(tmp_path: Path) -> None:
    sizes = []
    for name, bound in (("plain", 1 << 30), ("packed", 100)):
        with Archive.open(tmp_path / name, compress_above_bytes=bound, on_warning=never) as archive:
            long = entries(*range(200), text="the same words " * 100)
            archive.put(long, CONTEXTS)
            assert without_rowid(everything(archive)).equals(long.sort("key"))
        sizes.append((tmp_path / name / disk.DATABASE).stat().st_size)
    assert sizes[1] < sizes[0] / 3


def test_what_another_one_commits_is_seen_at_once(tmp_path: Path) -> None:
    with opened(tmp_path) as reader, opened(tmp_path) as writer:
        writer.put(entries(1), CONTEXTS)
        assert reader.state.n_entries == 1
        assert reader.contexts() == CONTEXTS
        assert len(reader.find(entries(1)["key"])) == 1
        before = reader.state
        writer.put(entries(2), CONTEXTS)
        assert reader.state.epoch == before.epoch
        assert pl.concat(reader.scan(before.last_rowid)).drop("rowid").equals(entries(2))
        writer.put(entries(1, answer="negative"), CONTEXTS)
        assert reader.state.epoch > before.epoch


def test_deleting_counts_starts_an_epoch_and_keeps_the_rest(kept: Archive) -> None:
    rowids = kept.put(entries(*range(10)), CONTEXTS)
    before = kept.state
    assert kept.delete(np.append(rowids[:4], [10**9, rowids[0]])) == 4
    assert kept.state.n_entries == 6
    assert kept.state.epoch > before.epoch
    assert without_rowid(everything(kept)).equals(entries(*range(4, 10)).sort("key"))
    assert kept.contexts() == CONTEXTS
    after = kept.state
    assert kept.delete(rowids[:4]) == 0
    assert kept.state == after


def test_an_archive_that_is_moved_while_in_use_is_followed_by_a_new_one(tmp_path: Path) -> None:
    warnings: list[str] = []
    with Archive.open(tmp_path / "moving", compress_above_bytes=1024, on_warning=warnings.append) as archive:
        archive.put(entries(1), CONTEXTS)
        born = archive.state.epoch
        (tmp_path / "moving").rename(tmp_path / "moved")
        archive.put(entries(2), CONTEXTS)
        assert archive.state.epoch > born
        assert everything(archive)["key"].to_list() == [key(2)]
    assert len(warnings) == 1


def test_no_epoch_comes_twice(kept: Archive) -> None:
    epochs = [kept.state.epoch]
    for number in range(4):
        (rowid,) = kept.put(entries(number), CONTEXTS)
        kept.delete(np.array([rowid]), erase=False)
        epochs.append(kept.state.epoch)
        change(kept, "UPDATE Cache SET value = x'00' WHERE key = 'meta:epoch' AND ?", number == 2)
    kept.clear()
    epochs.append(kept.state.epoch)
    assert len(set(epochs)) == len(epochs)


def test_deleting_every_row_starts_an_epoch_all_the_same(kept: Archive) -> None:
    kept.put(entries(1), CONTEXTS)
    kept.put(entries(1), CONTEXTS)
    before = kept.state
    kept.delete(np.arange(100))
    assert kept.state.epoch > before.epoch
    assert kept.state.n_entries == 0


def test_clearing_leaves_nothing_but_an_epoch(kept: Archive) -> None:
    kept.put(entries(*range(50)), CONTEXTS)
    before = kept.state
    kept.clear()
    assert kept.state.epoch > before.epoch
    assert kept.state.n_entries == 0
    assert kept.contexts() == {}
    assert list(kept.scan()) == []
    disk.vet(kept._folder / disk.DATABASE)
    kept.put(entries(1), CONTEXTS)
    assert kept.state.n_entries == 1


def test_a_damaged_epoch_can_be_repaired(kept: Archive) -> None:
    kept.put(entries(1), CONTEXTS)
    kept.put(entries(1), CONTEXTS)
    before = kept.state
    change(kept, "UPDATE Cache SET value = x'00' WHERE key = 'meta:epoch'")
    assert kept.delete(kept.damaged().rowids) == 1
    assert len(kept.damaged().rowids) == 0
    assert kept.state.epoch > before.epoch
    assert kept.state.n_entries == 1


@pytest.mark.parametrize("payload", [b"", b"x", b"-1", b"9" * 5000, b"9" * 19, b"1_0", "٣".encode()])
def test_a_forged_epoch_is_none(kept: Archive, payload: bytes) -> None:
    sealed = seal(b"meta:epoch", payload)
    change(kept, "UPDATE Cache SET value = ? WHERE key = 'meta:epoch'", sealed)
    kept.put(entries(1), CONTEXTS)
    assert kept.state == State(epoch=0, n_entries=1, last_rowid=2)


def test_a_forged_context_breaks_nothing(kept: Archive) -> None:
    name = b"context:\xff"
    change(
        kept, "INSERT INTO Cache (key, raw, mode, value) VALUES (CAST(? AS TEXT), 1, 1, ?)", name, seal(name, b"\xff")
    )
    assert kept.contexts() == {"\ufffd": "\ufffd"}


def test_contexts_are_checked_and_repaired(kept: Archive) -> None:
    kept.put(entries(1), {**CONTEXTS, "0" * 16: '{"task":"\u2028é"}'})
    assert kept.contexts()["0" * 16] == '{"task":"\u2028é"}'
    change(
        kept, "UPDATE Cache SET value = replace(value, 'sentiment', 'Sentiment') WHERE key = ?", f"context:{CONTEXT}"
    )
    assert set(kept.contexts()) == {"0" * 16}
    assert kept.damaged().rowids.tolist() == [1]
    kept.put(entries(2), CONTEXTS)
    assert set(kept.contexts()) == {"0" * 16, CONTEXT}
    assert len(kept.damaged().rowids) == 0


def test_damage_is_one_warning_and_a_miss_and_can_be_deleted(tmp_path: Path) -> None:
    warnings: list[str] = []
    with opened(tmp_path, warnings) as archive:
        rowids = archive.put(entries(*range(400)), CONTEXTS)
        for number in (3, 200):
            change(archive, "UPDATE Cache SET value = x'0102' || substr(value, 3) WHERE rowid = ?", int(rowids[number]))
        change(archive, "INSERT INTO Cache (key, raw, mode, value) VALUES ('stray', 1, 1, 'x')")
        assert len(everything(archive)) == 398
        assert [warning.split(" damaged")[0] for warning in warnings] == ["2 rows are"]
        for _ in range(3):
            assert archive.find(entries(3, 4)["key"]).drop("rowid").equals(entries(4))
            assert archive.read(rowids[2:5]).drop("rowid").equals(entries(2, 4))
        assert len(warnings) == 2
        damage = archive.damaged()
        assert damage.file is None
        assert damage.keys.to_list() == [key(3), key(200), None]
        assert archive.delete(damage.rowids) == 3
        assert len(archive.damaged().rowids) == 0
        archive.put(entries(3), CONTEXTS)
        assert archive.state.n_entries == 399


@pytest.mark.parametrize("assignment", ["mode = 4", "mode = 2", "filename = 'x'", "raw = 0", "raw = 2"])
@pytest.mark.parametrize("n_asked", [1, 20])
def test_a_sound_value_in_a_row_of_another_kind_is_a_miss(kept: Archive, assignment: str, n_asked: int) -> None:
    rowids = kept.put(entries(*range(20)), CONTEXTS)
    change(kept, f"UPDATE Cache SET {assignment} WHERE rowid = ?", int(rowids[0]))  # noqa: S608
    assert key(0) not in kept.find(entries(*range(n_asked))["key"])["key"]
    assert len(kept.read(rowids)) == len(everything(kept)) == 19
    assert kept.damaged().rowids.tolist() == [rowids[0]]


def test_an_error_that_is_no_damage_sets_nothing_aside(kept: Archive) -> None:
    kept.put(entries(1), CONTEXTS)
    kept._writer.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 5000)
    with pytest.raises(sqlite3.DataError):
        kept.put(pl.concat([entries(2), entries(3, text=random.Random(0).randbytes(9000).hex())]), CONTEXTS)
    assert kept.state.n_entries == 1
    kept.put(entries(4), CONTEXTS)
    assert kept.state.n_entries == 2
    assert not list(kept._folder.glob("set-aside-*"))


def test_a_key_that_a_broken_index_let_in_twice_has_its_newer_answer(kept: Archive) -> None:
    kept.put(entries(1, answer="negative"), CONTEXTS)
    change(kept, "DROP INDEX Cache_key_raw")
    kept.put(entries(1, answer="positive"), CONTEXTS)
    assert len(everything(kept)) == 2
    assert kept.find(entries(1)["key"])["answer"].to_list() == ["positive"]
    kept.put(entries(*range(10, 20)), CONTEXTS)
    assert kept.find(entries(1)["key"])["answer"].to_list() == ["positive"]


def scribble(archive: Archive) -> None:
    """Overwrite everything but the first page of the file, as a broken disk does."""
    archive._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database = archive._folder / disk.DATABASE
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (database.stat().st_size - 4096))


def test_a_file_that_breaks_in_use_is_one_warning_and_the_next_answers_are_kept(tmp_path: Path) -> None:
    warnings: list[str] = []
    with opened(tmp_path, warnings) as archive:
        archive.put(entries(*range(500)), CONTEXTS)
        epoch = archive.state.epoch
        scribble(archive)
    with opened(tmp_path, warnings) as archive:  # what it checks at the start is on the pages that were broken
        aside = list(tmp_path.glob("set-aside-*"))
        assert len(aside) == len(warnings) == 1
        archive.put(entries(*range(500)), CONTEXTS)
        archive.close()
    with opened(tmp_path, warnings) as archive:
        archive._reader._sql.execute("PRAGMA cache_size = 0")
        archive._writer.execute("PRAGMA cache_size = 0")
        scribble(archive)
        change_counter(tmp_path)
        warnings.clear()
        for _ in range(2):
            assert len(archive.find(entries(1)["key"])) == 0
            assert len(archive.read(np.arange(5))) == 0
            assert list(archive.scan()) == []
            assert archive.contexts() == {}
        assert archive.state == State(epoch=0, n_entries=0, last_rowid=0)
        assert len(warnings) == 1
        assert archive.damaged().file is not None
        for take_away in (archive.clear, lambda: archive.delete(np.array([1, 2]))):
            with pytest.raises(InputError, match="is damaged"):
                take_away()
        rowids = archive.put(entries(7), CONTEXTS)
        assert len(warnings) == 2
        assert archive.read(rowids).drop("rowid").equals(entries(7))
        assert archive.state.epoch > epoch
    with opened(tmp_path) as archive:
        assert archive.state.n_entries == 1


def change_counter(folder: Path) -> None:
    """Let connections that are open read the file again."""
    with (folder / disk.DATABASE).open("r+b") as file:
        file.seek(24)
        file.write(b"\xff\xff\xff\xf0")


def test_it_is_used_on_the_thread_that_made_it(kept: Archive) -> None:
    errors: list[BaseException] = []

    def use() -> None:
        for operation in (lambda: kept.put(entries(1), CONTEXTS), lambda: kept.find(entries(1)["key"])):
            try:
                operation()
            except sqlite3.ProgrammingError as error:
                errors.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert len(errors) == 2  # a bug of ours is shown, and no reason to set answers aside
    assert not list(kept._folder.glob("set-aside-*"))
