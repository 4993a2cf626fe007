"""The ledger's file: private, append-only, and never silently replaced."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from purses import counted, purse, reserved, settlement, taken, wanted

from reviewopt import budget
from reviewopt.budget import (
    Asked,
    Purse,
    Reservation,
    recomputed,
    totals,
)
from reviewopt.budget.totals import Totals
from reviewopt.budget.values import units_of
from reviewopt.errors import InputError


def test_the_ledger_is_private(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o755)
    with purse(folder) as one:
        reserved(one)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_ledger_that_was_opened_to_others_is_closed_again(folder: Path) -> None:
    spend_once(folder)
    folder.chmod(0o755)
    (folder / "spend.db").chmod(0o644)
    spend_once(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "spend.db").stat().st_mode & 0o777 == 0o600


def test_a_ledger_that_another_process_keeps_locked_is_an_input_error(folder: Path) -> None:
    with purse(folder) as one, closing(sqlite3.connect(folder / "spend.db", isolation_level=None)) as other:
        (held,) = reserved(one)
        other.execute("BEGIN IMMEDIATE")
        one._sql.execute("PRAGMA busy_timeout = 1").fetchall()
        with pytest.raises(InputError, match="another process has kept it locked"):
            one.settle([settlement(held)])
        other.execute("ROLLBACK")
        one.settle([settlement(held)])
    assert counted(folder)["run:a"] == Decimal("0.5")


@pytest.mark.parametrize("table", ["openings", "reserved", "ended", "questions"])
@pytest.mark.parametrize("change", ["UPDATE {} SET rowid = 99", "DELETE FROM {}"])
def test_entries_can_only_be_added(folder: Path, table: str, change: str) -> None:
    with purse(folder) as one:
        asked = Asked(review_id="r1", key="00", n_tokens=3, outcome="answered")
        one.settle([settlement(taken(one), questions=[asked])])
    with (
        closing(sqlite3.connect(folder / "spend.db")) as sql,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        sql.execute(change.format(table))


def test_a_reservation_cannot_end_twice_in_the_file_itself(folder: Path) -> None:
    with purse(folder) as one:
        (held,) = reserved(one)
        parts = one._held[held.id]
        one.settle([settlement(held)])
        one._held[held.id] = parts
        with pytest.raises(sqlite3.IntegrityError):
            one.settle([settlement(held)])
        with pytest.raises(sqlite3.IntegrityError):
            one._sql.execute(
                "INSERT INTO ended (reservation, at, kind, units, shares, seconds, outcome)"
                " VALUES (?, 0, 'settle', 0, '{}', 0, '')",
                (held.id,),
            )


def test_a_full_disk_is_told_and_loses_and_invents_nothing(folder: Path) -> None:
    with purse(folder, run_usd=Decimal(500)) as one:
        held = reserved(one, *[wanted("0.01")] * 50)
        (n_pages,) = one._sql.execute("PRAGMA page_count").fetchone()
        one._sql.execute(f"PRAGMA max_page_count = {n_pages}")
        with pytest.raises(InputError, match="the disk is full"):
            fill(one, held)
        questions = [Asked(review_id="r" * 1000, key="00", n_tokens=3, outcome="answered")] * 100
        with pytest.raises(InputError, match="the disk is full"):
            one.settle([settlement(reservation, "0.005", questions=questions) for reservation in held])
        assert one.held_usd == len(held) * Decimal("0.01") == counted(folder)["run:a"]
        one._sql.execute(f"PRAGMA max_page_count = {n_pages * 1000}")
        one.settle([settlement(reservation, "0.005", questions=questions) for reservation in held])
        assert one.spent_usd == len(held) * Decimal("0.005") == counted(folder)["run:a"]


def test_an_interruption_between_a_commit_and_its_note_brings_back_no_older_total(folder: Path) -> None:
    with purse(folder) as one:
        reserved(one)
        known = Totals(one._sql)
        known.follow()
        assert known.of("run:a") == units_of(Decimal(1))
        known.write({"run:a": units_of(Decimal(3))})  # and `keep` is never reached
        known.follow()
        assert known.of("run:a") == units_of(Decimal(3))


def fill(open_purse: Purse, held: list[Reservation]) -> None:
    for _ in range(100):
        held += reserved(open_purse, *[wanted("0.01")] * 20)


def overwrite(folder: Path) -> None:
    (folder / "spend.db").write_bytes(b"not a database, but long enough to be one" * 100)


def empty(folder: Path) -> None:
    (folder / "spend.db").write_bytes(b"")


def cut(folder: Path) -> None:
    database = folder / "spend.db"
    database.write_bytes(database.read_bytes()[:6000])


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "spend.db")) as sql, sql:
        sql.execute(statement)


def link(folder: Path) -> None:
    (folder / "spend.db").rename(folder / "elsewhere.db")
    (folder / "spend.db").symlink_to(folder / "elsewhere.db")


def lose(folder: Path) -> None:
    (folder / "spend.db").unlink()
    (folder / "spend.db-wal").write_bytes(b"log")


@pytest.mark.parametrize(
    "damage",
    [
        overwrite,
        empty,
        cut,
        link,
        lose,
        lambda folder: change(folder, "UPDATE totals SET units = 0"),
        lambda folder: change(folder, "DROP TRIGGER ended_delete"),
        lambda folder: change(folder, "CREATE TRIGGER more AFTER INSERT ON reserved BEGIN SELECT 1; END"),
        lambda folder: change(folder, "ALTER TABLE questions ADD COLUMN more TEXT"),
    ],
    ids=[
        "overwritten",
        "empty",
        "cut",
        "a link",
        "lost",
        "a total",
        "a trigger less",
        "one more",
        "a column",
    ],
)
def test_a_damaged_ledger_is_an_error_and_never_a_new_one(folder: Path, damage: Callable[[Path], None]) -> None:
    with purse(folder) as one:
        reserved(one)
    damage(folder)
    with pytest.raises(InputError, match=r"spend\.db: it is damaged or not ours.*begin a new ledger at 0 USD"):
        spend_once(folder)


def spend_once(folder: Path) -> None:
    with purse(folder) as one:
        reserved(one)


@pytest.mark.parametrize("read", [totals, recomputed, budget.entries, budget.asked_questions, budget.spent_by_tenant])
def test_a_damaged_ledger_is_not_read(folder: Path, read: Callable[[Path], object]) -> None:
    spend_once(folder)
    overwrite(folder)
    with pytest.raises(InputError, match="damaged"):
        read(folder)


def test_a_process_that_was_killed_while_it_made_the_ledger_is_no_obstacle(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("spend.db.partial", "spend.db.partial-wal", "spend.db.partial-shm"):
        (folder / name).write_bytes(b"half")
    spend_once(folder)
    assert counted(folder)["run:a"] == Decimal(1)


def test_a_ledger_that_is_taken_away_stops_the_spending(folder: Path) -> None:
    with purse(folder) as one:
        reserved(one)
        folder.rename(folder.with_name("moved"))
        with pytest.raises(InputError, match="moved or removed while in use"):
            one.reserve([wanted()])
        spend_once(folder)
        with pytest.raises(InputError, match="moved or removed while in use"):
            one.reserve([wanted()])


def test_a_folder_that_cannot_be_made_is_an_input_error(folder: Path) -> None:
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("a file")
    with pytest.raises(InputError, match="name another place with --home"):
        purse(folder)
