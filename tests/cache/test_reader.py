from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import archived
import numpy as np
import pytest

from reviewopt.cache import disk
from reviewopt.cache.reader import Reader

TEXTS = ["one", "two", "three", "four", "five", "six"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with archived.opened(tmp_path) as archive:
        archived.put(archive, TEXTS)
    return tmp_path / "cache"


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def reader(folder: Path, warnings: list[str]) -> Iterator[Reader]:
    reader = Reader(folder, warnings.append)
    reader.open()
    with closing(reader):
        yield reader


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / disk.DATABASE)) as sql, sql:
        sql.execute(statement)


def reopen(reader: Reader) -> None:
    reader.close()
    reader.open()


def test_it_cannot_write(reader: Reader) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._sql.execute("DELETE FROM Cache")


def test_a_folder_without_a_database_is_not_given_one(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        Reader(tmp_path, pytest.fail).open()
    assert not list(tmp_path.iterdir())


def test_a_scan_under_way_goes_on_in_the_database_opened_again(reader: Reader, warnings: list[str]) -> None:
    texts = []
    for frame in reader.scan(0, 2):
        texts += frame["text"].to_list()
        reopen(reader)
    assert texts == TEXTS
    assert warnings == []


def test_damaged_rows_are_one_warning_whatever_is_opened(folder: Path, reader: Reader, warnings: list[str]) -> None:
    change(folder, "UPDATE Cache SET value = x'00' WHERE rowid = (SELECT max(rowid) FROM Cache)")
    for _ in range(2):
        assert reader.read(np.arange(20))["text"].to_list() == TEXTS[:-1]
        reopen(reader)
    assert [line.split(" damaged")[0] for line in warnings] == ["1 row is"]


def test_a_broken_table_is_one_warning_whatever_is_opened(folder: Path, reader: Reader, warnings: list[str]) -> None:
    change(folder, "DROP TABLE Cache")
    for _ in range(2):
        assert reader.state.n_entries == len(reader.contexts()) == len(list(reader.scan(0, 10))) == 0
        reopen(reader)
    assert len(warnings) == 1
    assert "cannot be read" in warnings[0]


def test_a_scan_for_some_keys_gives_those(reader: Reader) -> None:
    keys = archived.entries(["five", "two", "seven"])["key"]
    (found,) = reader.scan(0, 10, frozenset(key.encode() for key in keys))
    assert found["text"].to_list() == ["two", "five"]
    assert found["rowid"].is_sorted()
