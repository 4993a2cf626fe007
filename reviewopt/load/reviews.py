"""Rows of any table -> frames of exactly REVIEW_SCHEMA."""

from __future__ import annotations

from typing import Final

import polars as pl
from polars.exceptions import PanicException, PolarsError

from reviewopt.data import REVIEW_COLUMNS
from reviewopt.errors import InputError
from reviewopt.load.columns import Columns
from reviewopt.load.labels import LabelMap, labelled
from reviewopt.load.source import reason, shown
from reviewopt.task import Task

_DTYPES: Final = {"row": pl.Int64(), "priority": pl.Float64()}
REVIEW_SCHEMA: Final = pl.Schema({column: _DTYPES.get(column, pl.String()) for column in REVIEW_COLUMNS})


def to_reviews(
    table: pl.DataFrame, labels: pl.Series | None, columns: Columns, mapping: LabelMap, task: Task,
    *, first_row: int, first_row_of_source: int, name: str,
) -> pl.DataFrame:  # fmt: skip
    """The rows as reviews; height and order are kept, nothing is dropped.

    Args:
        table: Rows of the input.
        labels: The values that play the label, by name where the input has names for its numbers.
        columns: Which column plays which role.
        mapping: What the label column's values mean.
        task: The task whose labels are meant.
        first_row: Number of the first row over all inputs.
        first_row_of_source: Number of the first row within this input, for messages.
        name: The input, for messages.

    Returns:
        REVIEW_SCHEMA, (n_rows, 8).

    Raises:
        InputError: A label that the mapping does not cover, a priority that is no number, or bytes in a text column
            that are not UTF-8.
    """
    row = pl.int_range(first_row, first_row + table.height, dtype=pl.Int64, eager=True).alias("row")
    ids = row.cast(pl.String)
    if columns.id is not None:
        # A row without an id still needs a name in the output.
        ids = as_text(table.get_column(columns.id), name).fill_null(ids)
    parts = {
        "row": row,
        "review_id": ids,
        "title": _optional(table, columns.title, name),
        "text": as_text(table.get_column(columns.text), name),
        "tenant": _optional(table, columns.tenant, name).replace("", None),
        "category": _optional(table, columns.category, name).replace("", None),
        "label": _optional(table, None, name),
        "priority": _priority(table, columns.priority, first_row_of_source, name),
    }
    if labels is not None:
        parts["label"] = labelled(labels, mapping, task, first_row_of_source, name)
    return pl.DataFrame([parts[column].alias(column) for column in REVIEW_COLUMNS], schema=REVIEW_SCHEMA)


def _optional(table: pl.DataFrame, column: str | None, name: str) -> pl.Series:
    if column is None:
        return pl.Series("", [None], dtype=pl.String).new_from_index(0, table.height)
    return as_text(table.get_column(column), name)


def _priority(table: pl.DataFrame, column: str | None, first_row: int, name: str) -> pl.Series:
    """The column as Float64, numbers written as text too; null where a row has none.

    Raises:
        InputError: A value that is no number: which of two words comes first is not for us to guess.
    """
    if column is None:
        return pl.Series("", [None], dtype=pl.Float64).new_from_index(0, table.height)
    values = table.get_column(column)
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        text = as_text(values, name).str.strip_chars().replace("", None)
        values = text.cast(pl.Float64, strict=False)
        if len(wrong := (values.is_null() & text.is_not_null()).arg_true()):
            at = wrong[0]
            raise InputError(
                f"{name}, row {first_row + at:,} (from 0): column '{shown(column, 40)}' holds '{shown(text[at], 40)}'; "
                "a priority is a number, the highest first; write words as numbers, or name another column with "
                "--priority-column"
            )
    return values.cast(pl.Float64).fill_nan(None)


def as_text(values: pl.Series, name: str) -> pl.Series:
    """The values as String; whole floats lose their `.0`, so that an id 7 that met a null stays `7`, and NaN is null.

    Raises:
        InputError: Bytes that are not UTF-8.
    """
    try:
        text = values.cast(pl.String)
    except (PolarsError, PanicException) as error:
        raise InputError(
            f"{name}: column '{shown(values.name, 40)}' cannot be read as text ({reason(error)}); save it as strings"
        ) from error
    if values.dtype.is_float():
        text = text.set(values.is_nan().fill_null(False), None)
        whole = values.cast(pl.Int64, strict=False)
        same = (whole.cast(values.dtype) == values).fill_null(False)
        text = whole.cast(pl.String).zip_with(same, text)
    return text
