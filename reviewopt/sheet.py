"""The sample of a table as a spreadsheet: out for somebody to answer it, and back in, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from reviewopt import write
from reviewopt.errors import InputError, UsageError
from reviewopt.load import labels as labels_of
from reviewopt.load.records import Lines, strict_rows
from reviewopt.load.source import shown
from reviewopt.load.stream import text_blocks
from reviewopt.task import Task
from reviewopt.text import normal

COLUMNS: Final = ("row", "review_id", "title", "text", "label")
SUFFIX: Final = ".csv"
_NEEDED: Final = ("row", "title", "text", "label")
_SKIP: Final = "skip"
_DELIMITERS: Final = (",", ";", "\t")  # in which spreadsheets save, after the language of the machine
# What `write` puts an apostrophe before, so that no spreadsheet runs it.
_ESCAPED: Final = r"^'([=+\-@\t\r])"

Answer = tuple[int, str | None]


def store(
    path: Path,
    drawn: pl.DataFrame,
    given: Mapping[int, str | None],
    task: Task,
    *,
    inputs: tuple[str, ...],
    force: bool,
) -> None:
    """Write the sample in its order with the answers so far, as COLUMNS: an empty label is no answer.

    Raises:
        UsageError: the file exists, is an input, or has another ending than .csv.
        InputError: it cannot be written.
    """
    _check_suffix(path)
    skip = _skip_word(task)
    said = [(given[row] or skip) if row in given else None for row in drawn["row"].to_list()]
    frame = drawn.select(COLUMNS[:-1]).with_columns(pl.Series("label", said, dtype=pl.String))
    with write.open_output(path, frame.schema, inputs=inputs, force=force) as output:
        output.append(frame)
        output.commit()


def read(path: Path, drawn: pl.DataFrame, task: Task) -> list[Answer]:
    """Read answers back: row and label, null where `skip` stands, in the order of the file.

    A row counts where its text and title are those of the sample, but for case and white space. Labels may be written
    as names or aliases of the task.

    Raises:
        InputError: a line is of another table, holds no label of the task, or cannot be read; the message names it.
    """
    _check_suffix(path)
    lines, rows, cells = _read(path)
    _check_rows(path, lines, rows, drawn)
    found = pl.DataFrame({"row": rows, **cells}, schema_overrides={"row": pl.Int64}).join(
        drawn.select("row", pl.col("title").alias("own_title"), pl.col("text").alias("own_text")),
        on="row",
        how="left",
        maintain_order="left",
    )
    same = _is_same(found["title"], found["own_title"]) & _is_same(found["text"], found["own_text"])
    if not same.all():
        at = same.arg_min() or 0
        raise InputError(
            f"{path}, line {lines[at]:,}: row {rows[at]:,} has another text there than in this table, so nothing was "
            "taken; was it exported from another table, or saved in an encoding that is not UTF-8?"
        )
    return list(_answers(path, lines, rows, cells["label"], task))


def n_rows(path: Path) -> int:
    """Return how many rows a sheet has.

    Raises:
        InputError: it cannot be read.
    """
    _check_suffix(path)
    return len(_read(path)[1])


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"{path}: a sheet is a {SUFFIX} file")


def _skip_word(task: Task) -> str:
    """Return what marks a skipped row: nothing where the word is a label."""
    return "" if _SKIP in labels_of.label_map(task, None).names else _SKIP


def _read(path: Path) -> tuple[list[int], list[int], dict[str, list[str]]]:
    """Return the line and the row of each record, and its title, text and label."""
    numbers: list[int] = []
    rows: list[int] = []
    cells: dict[str, list[str]] = {"title": [], "text": [], "label": []}
    for number, record in _records(path):
        written = record["row"].strip()
        if not (written.isascii() and written.isdigit() and len(written) < 19):
            raise InputError(f"{path}, line {number:,}: '{shown(written, 40)}' is no row; leave that column as it was")
        numbers.append(number)
        rows.append(int(written))
        for name, values in cells.items():
            values.append(record[name])
    return numbers, rows, cells


def _records(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line on which a record begins, and its cells; empty records are none."""
    name = str(path)
    lines = Lines(text_blocks(path, name, None), 1)
    records = strict_rows(lines, name, _delimiter(path))
    header = [cell.strip().lower() for cell in next(records, [])]
    if missing := [column for column in _NEEDED if column not in header]:
        raise InputError(
            f"{path}: its first line has no column {', '.join(missing)}; answer a file that "
            "`reviewopt review TABLE --export FILE` has written"
        )
    number = lines.next_line
    for cells in records:
        if any(cell.strip() for cell in cells):
            if len(cells) != len(header):
                raise InputError(f"{path}, line {number:,}: {len(cells)} cells, but the first line has {len(header)}")
            yield number, dict(zip(header, cells, strict=True))
        number = lines.next_line


def _delimiter(path: Path) -> str:
    first = next(Lines(text_blocks(path, str(path), None), 1), "")
    return max(_DELIMITERS, key=first.count)


def _check_rows(path: Path, lines: Sequence[int], rows: Sequence[int], drawn: pl.DataFrame) -> None:
    known, seen = set(drawn["row"].to_list()), dict[int, int]()
    for line, row in zip(lines, rows, strict=True):
        if row in seen:
            raise InputError(f"{path}, line {line:,}: row {row:,} stands in line {seen[row]:,} too; keep one of them")
        seen[row] = line
        if row not in known:
            raise InputError(
                f"{path}, line {line:,}: row {row:,} is not among the first {len(known):,} of this table's sample; "
                "if it was exported from this table, say --sample N as then"
            )


def _is_same(cells: pl.Series, own: pl.Series) -> pl.Series:
    """Say which cells hold the field itself or its escaped form, Boolean (n,)."""
    form = normal.normalise_field(own)
    plain = normal.normalise_field(cells.str.replace(_ESCAPED, "${1}"))
    return (normal.normalise_field(cells) == form) | (plain == form)


def _answers(
    path: Path, lines: Sequence[int], rows: Sequence[int], cells: Sequence[str], task: Task
) -> Iterator[Answer]:
    names, skip = labels_of.label_map(task, None).names, _skip_word(task)
    for line, row, cell in zip(lines, rows, cells, strict=True):
        said = cell.strip().lower()
        label = names.get(said) or names.get(said.removeprefix("'"))
        if not said:
            continue
        if label is None and said != skip:
            raise InputError(
                f"{path}, line {line:,}: '{shown(cell, 40)}' is no label, so nothing was taken; say "
                f"{', '.join(task.labels)}{f', or {skip}' if skip else ''}, or leave it empty"
            )
        yield row, label
