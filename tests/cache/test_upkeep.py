"""Checking the archive, throwing it away, and what it says of itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from archived import all_of, context, entries, opened, put, silent

from reviewopt import cli, config
from reviewopt.cache import shelf, stats, upkeep
from reviewopt.cache.archive import Archive
from reviewopt.cache.keys import canonical, digest
from reviewopt.runs import Home

HOME = Path("home")


def test_a_sound_archive_passes() -> None:
    with opened(HOME) as archive:
        put(archive, ["good", "bad"])
        put(archive, ["good"], context("model"))
        made = upkeep.verify(archive, repair=True, on_progress=silent)
        assert (made.n_rows, made.n_damaged, made.n_deleted, made.is_sound) == (3, 0, 0, True)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"key": "0" * 32}, "its key is not that of its context and text"),
        ({"answer": "great"}, "its answer is none of its context's labels"),
        ({"context": "f" * 16}, "its context is missing or damaged"),
    ],
)
def test_a_row_with_a_right_checksum_is_not_believed(columns: dict[str, Any], reason: str) -> None:
    with opened(HOME) as archive:
        sound = put(archive, ["good"])
        archive.put(entries(["planted"], **columns), {})
        made = upkeep.verify(archive, repair=False, on_progress=silent)
        assert (made.n_rows, made.n_damaged, made.is_sound) == (2, 1, False)
        assert [one.reason for one in made.first] == [reason]
        assert archive.state.n_entries == 2
        assert upkeep.verify(archive, repair=True, on_progress=silent).n_deleted == 1
        assert all_of(archive).equals(sound)
        assert upkeep.verify(archive, repair=False, on_progress=silent).is_sound


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('positive\t{"quality":4}', None),
        ("positive", None),
        ('great\t{"quality":4}', "its answer is none of its context's labels"),
        ('positive\t{"price":4}', "its answer is not to the fields of its context"),
        ('positive\t{"quality":', "its answer is not to the fields of its context"),
    ],
)
def test_an_answer_to_several_fields_is_checked_as_a_whole(answer: str, reason: str | None) -> None:
    with opened(HOME) as archive:
        put(archive, ["good"])
        put(archive, ["good"], context("model", others=("quality",)), answer=answer)
        made = upkeep.verify(archive, repair=True, on_progress=silent)
        assert [one.reason for one in made.first] == ([] if reason is None else [reason])
        assert archive.state.n_entries == 1 + (reason is None)


def test_a_tab_is_no_label_of_a_task_of_one_field() -> None:
    with opened(HOME) as archive:
        put(archive, ["good"], answer='positive\t{"quality":4}')
        (one,) = upkeep.verify(archive, repair=False, on_progress=silent).first
        assert one.reason == "its answer is none of its context's labels"


def test_a_context_that_is_not_what_its_name_says_is_not_used() -> None:
    json = canonical(context())
    assert upkeep.known_contexts({digest(json): json}) == {digest(json): context()}
    assert upkeep.known_contexts({"0" * 16: json}) == {}
    loose = json.replace(",", ", ")
    assert upkeep.known_contexts({digest(loose): loose}) == {}
    assert upkeep.known_contexts({digest("{}"): "{}"}) == {}


def damage(texts: list[str]) -> None:
    """Flip a byte of the stored values of these texts."""
    with closing(sqlite3.connect(HOME / "cache" / "cache.db")) as sql:
        for key in entries(texts)["key"]:
            (value,) = sql.execute("SELECT value FROM Cache WHERE key = ?", (key,)).fetchone()
            sql.execute("UPDATE Cache SET value = ? WHERE key = ?", (value[:-1] + bytes([value[-1] ^ 1]), key))
        sql.commit()


def test_ten_damaged_rows_are_named_and_all_are_deleted() -> None:
    texts = [f"text {number}" for number in range(15)]
    with opened(HOME) as archive:
        put(archive, texts)
    damage(texts[:12])
    warnings: list[str] = []
    with Archive.open(HOME / "cache", compress_above_bytes=1024, on_warning=warnings.append) as archive:
        made = upkeep.verify(archive, repair=False, on_progress=silent)
        assert (made.n_rows, made.n_damaged, len(made.first)) == (15, 12, 10)
        assert {one.key for one in made.first} <= set(entries(texts[:12])["key"])
        assert upkeep.verify(archive, repair=True, on_progress=silent).n_deleted == 12
        assert upkeep.verify(archive, repair=False, on_progress=silent).n_rows == 3


def test_holdings_are_counted_exactly_and_clear_leaves_nothing() -> None:
    with opened(HOME) as archive:
        put(archive, ["a secret text", "another"], cost_usd=["0.000000000001", "2"])
        held = upkeep.holdings(archive)
        assert (held.n_entries, held.cost_usd) == (2, "2.000000000001")
        for name in ("index", "similar"):
            (HOME / "cache" / name).mkdir()
        (HOME / "cache" / "popularity").write_bytes(b"")
        epoch = archive.state.epoch
        upkeep.clear(archive, HOME / "cache")
        assert archive.state.epoch > epoch
        assert upkeep.holdings(archive).n_entries == 0
    assert {path.name for path in (HOME / "cache").iterdir()} <= {"cache.db", "cache.db-wal", "cache.db-shm", "lock"}
    assert not any(b"secret" in path.read_bytes() for path in (HOME / "cache").iterdir())


def test_no_archive_holds_nothing() -> None:
    assert upkeep.holdings(None).n_entries == 0


def measured(archive: Archive | None) -> stats.Stats:
    merged, _ = config.load({}, environment={})
    return stats.measure(Home(HOME), HOME / shelf.FOLDER, archive, merged.cache, now_s=2_000_000)


def test_stats_of_no_home_invent_nothing_and_make_nothing() -> None:
    made = measured(None)
    assert (made.has_archive, made.hit_rate, made.n_looked_up) == (False, None, 0)
    assert [tier.n_entries for tier in made.tiers] == [None, None, None]
    assert not HOME.exists()


def test_stats_count_entries_by_context_and_sum_what_runs_found(capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame({"text": ["good", "good", "bad", "new"]}).write_parquet("in.parquet")
    with opened(HOME) as archive:
        put(archive, ["good"], context("human"), created_s=1_500_000)
        put(archive, ["bad"], created_s=1_000_000)
        put(archive, ["good"], context("model"))
    for output in ("a.parquet", "b.parquet"):
        assert cli.run(["process", "in.parquet", "-o", output, "--home", str(HOME), "-q"]) == 0
    (HOME / "runs" / "20200101-000000-000000").mkdir()
    (HOME / "runs" / "20200101-000000-000000" / "run.json").write_text('{"schema_version": 0}')
    with opened(HOME) as archive:
        made = measured(archive)
    assert (made.n_runs, made.n_runs_unread, made.n_looked_up, made.hit_rate) == (2, 1, 6, 4 / 6)
    assert [tier.n_hits for tier in made.tiers] == [0, 0, 4]
    archived = made.tiers[2]
    assert (archived.n_entries, archived.oldest_s, archived.newest_s) == (3, 1_000_000, 1_500_000)
    assert archived.n_bytes == sum(made.bytes_by_file.values()) > 0
    assert made.n_by_source == {"human": 1, "warm": 1, "model": 1}
    assert (made.n_by_task, made.n_by_model) == ({"sentiment": 3}, {"gpt-x": 1})
    assert made.cost_usd == "0.750000000000"
    assert float(archived.saved_usd) > 0
    assert capsys.readouterr().out == ""
