"""load: the priority of each review, from a column that the user names."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from test_load import opened, read, written

from reviewopt.errors import InputError
from reviewopt.load import ColumnChoice


def priorities(frame: pl.DataFrame, name: str = "r.parquet") -> list[float | None]:
    _, reviews = read(written(frame, name), choice=ColumnChoice(priority="urgency"))
    return reviews["priority"].to_list()


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([3, -1, None], id="whole"),
        pytest.param([3.0, -1.0, math.nan], id="floats"),
        pytest.param([Decimal(3), Decimal(-1), None], id="decimals"),
        pytest.param(["3", " -1.0 ", ""], id="text"),
    ],
)
def test_a_priority_is_a_number_however_it_is_written_and_null_where_there_is_none(values: list[Any]) -> None:
    assert priorities(pl.DataFrame({"text": ["a", "b", "c"], "urgency": values})) == [3.0, -1.0, None]


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl"])
def test_priorities_of_a_text_file_are_numbers(name: str) -> None:
    assert priorities(pl.DataFrame({"text": ["a", "b"], "urgency": ["2.5", "10"]}), name) == [2.5, 10.0]


def test_a_yes_or_no_is_a_priority_and_a_column_of_nothing_is_none() -> None:
    assert priorities(pl.DataFrame({"text": ["a", "b"], "urgency": [True, False]})) == [1.0, 0.0]
    assert priorities(pl.DataFrame({"text": ["a", "b"], "urgency": [None, None]})) == [None, None]


def test_a_priority_in_words_is_refused_with_an_example_and_its_row() -> None:
    frame = pl.DataFrame({"text": ["a"] * 5, "urgency": ["1", "2", "", "high", "low"]})
    for chunk_rows in (2, 50):
        with pytest.raises(InputError, match=r"r\.csv, row 3 \(from 0\): column 'urgency' holds 'high'; a priority is"):
            read(written(frame, "r.csv"), choice=ColumnChoice(priority="urgency"), chunk_rows=chunk_rows)


def test_a_priority_that_cannot_be_a_number_is_refused_at_once() -> None:
    frame = pl.DataFrame({"text": ["a"], "urgency": [[1]]})
    with pytest.raises(InputError, match=r"'urgency' is List.*, not numbers; choose another with --priority-column"):
        opened(written(frame), choice=ColumnChoice(priority="urgency"))


def test_a_priority_is_never_found_by_name() -> None:
    table, reviews = read(written(pl.DataFrame({"text": ["a"], "priority": [1]})))
    assert table["priority"].to_list() == [1]
    assert reviews["priority"].to_list() == [None]


def test_a_column_may_be_the_priority_beside_another_role() -> None:
    frame = pl.DataFrame({"text": ["a", "b"], "rating": [5, 1]})
    with opened(written(frame), choice=ColumnChoice(priority="rating")) as table:
        assert (table.columns.label, table.columns.priority) == ("rating", "rating")
        assert table.notes[0].endswith("priority=rating")
