"""A stray quote that opens a field and meets another one rows later makes legal CSV of several rows: refuse that."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from reviewopt.errors import InputError
from reviewopt.load.stream import n_of

_MAX_SUSPECTS: Final = 100
_NUMBER: Final = r"^\s*[-+]?[0-9.]+\s*$"


def refuse(frame: pl.DataFrame, data: bytes, name: str, delimiter: str, line: int) -> None:
    """Looks for a cell whose lines are rows: the right number of fields, and a value that its columns know.

    Args:
        frame: String columns, a block of parsed records.
        data: The bytes of that block, to find the line in.
        name: The input, for the message.
        delimiter: The file's delimiter.
        line: The line on which the block starts.

    Raises:
        InputError: A cell holds rows.
    """
    n_columns = frame.width
    if n_columns < 2 or n_of(data, b"\n") == frame.height:
        return
    for i, column in enumerate(frame.columns):
        pattern = _pattern(delimiter, i, n_columns)
        values = frame.get_column(column)
        hits = values.str.contains("\n", literal=True)
        if not hits.any():
            continue
        cells = values.filter(hits)
        suspects = cells.filter(cells.str.contains(pattern)).head(_MAX_SUSPECTS)
        for cell in suspects.to_list():
            if _cells_are_known(cell, i, frame, delimiter):
                at = data.find(cell.encode())
                where = f"line {line + data.count(bytes([10]), 0, at):,}" if at >= 0 else f"after line {line:,}"
                n_lines = cell.count("\n") + 1
                raise InputError(
                    f"{name}, {where}: a quote opens a field of {n_lines} lines that look like rows of their "
                    "own; remove the quote or double it, or save the table as parquet if the field is meant so"
                )


def _pattern(delimiter: str, i: int, n_columns: int) -> str:
    """What a cell of column `i` looks like if it begins in one row and ends in a later one, whole rows between."""
    cell = f"[^{re.escape(delimiter)}\n]*"
    sep = re.escape(delimiter)
    first = cell + f"(?:{sep}{cell}){{{n_columns - 1 - i}}}"
    between = cell + f"(?:{sep}{cell}){{{n_columns - 1}}}"
    last = cell + f"(?:{sep}{cell}){{{i}}}"
    return f"^{first}(?:\n{between})*\n{last}$"


def _cells_are_known(cell: str, i: int, frame: pl.DataFrame, delimiter: str) -> bool:
    """Whether each line of the cell has a value that its column holds in other rows, or a number among numbers."""
    lines = [line.rstrip("\r").split(delimiter) for line in cell.split("\n")]
    placed = [(list(range(i, frame.width)), lines[0])]
    placed += [(list(range(frame.width)), line) for line in lines[1:-1]]
    placed += [(list(range(i + 1)), lines[-1])]
    # The cell's own column proves nothing; a line that has no other one says neither yes nor no.
    others = [[(k, v) for k, v in zip(at, line, strict=True) if k != i] for at, line in placed]
    return all(any(_is_known(frame, k, v) for k, v in pairs) for pairs in others if pairs)


def _is_known(frame: pl.DataFrame, column: int, value: str) -> bool:
    others = frame.to_series(column)
    if not value.strip():
        return False
    if re.search(_NUMBER, value):
        share = others.head(1000).str.contains(_NUMBER).mean()
        return isinstance(share, float) and share > 0.9
    return len(value) <= 40 and bool((others == value).sum() >= 2)
