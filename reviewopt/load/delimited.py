"""CSV and TSV: every cell a string, every row accounted for.

polars reads blocks of whole records that were proven well formed; any other block goes through the standard library's
strict reader, which reads what can be read and knows the line of what cannot. (polars alone pads short rows, reads
UTF-16 as garbage and a file of lone CRs as 0 rows, all without an error.)
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PanicException, PolarsError

from reviewopt.errors import InputError
from reviewopt.load import records, swallowed
from reviewopt.load.fingerprint import file_digest
from reviewopt.load.source import HEAD_BYTES, HEAD_ROWS, Source, first, reason, shown, sliced
from reviewopt.load.stream import BLOCK_BYTES, Compression, n_of, text_blocks

_DELIMITERS: Final = (",", ";", "\t", "|")
_SNIFF_BYTES: Final = 65536
_SNIFF_RECORDS: Final = 20


@dataclass(frozen=True, slots=True)
class Header:
    """The first record: distinct column names, the delimiter, and where the data begin."""

    names: tuple[str, ...]
    delimiter: str
    n_bytes: int
    n_lines: int
    notes: tuple[str, ...] = ()


def open_delimited(
    path: Path, name: str, *, compression: Compression | None, delimiter: str | None, block_bytes: int = BLOCK_BYTES
) -> Source:
    """A CSV file as a Source, all columns String; `delimiter` None sniffs it.

    Raises:
        InputError: The header cannot be read, or the file is empty.
    """
    stream = partial(text_blocks, path, name, compression)
    header = _header(stream(min(HEAD_BYTES, block_bytes)), name, delimiter)
    schema = pl.Schema(dict.fromkeys(header.names, pl.String))
    return Source(
        name=name,
        schema=schema,
        head=lambda: first(_frames(stream(HEAD_BYTES), name, header, HEAD_ROWS), schema),
        frames=lambda chunk_rows: _frames(stream(block_bytes), name, header, chunk_rows),
        digest=partial(file_digest, path),
        notes=header.notes,
    )


def _header(blocks: Iterator[bytes], name: str, delimiter: str | None) -> Header:
    head = b""
    # The header is nearly always in the first block; a longer one is read on to its end.
    for block in blocks:
        head += block
        if records.whole(head) or len(head) > records.MAX_RECORD_BYTES:
            break
    if not head.strip():
        raise InputError(f"{name}: the file is empty; a table needs a header and at least one row")
    delimiter = delimiter or _sniffed(head)
    n_blank = len(head) - len(head.lstrip(b"\r\n"))
    lines = records.Lines(iter([head[n_blank:]]), 1)
    row = next(records.strict_rows(lines, name, delimiter), None)
    if not row:
        raise InputError(f"{name}: no header was found; the first line must name the columns")
    names, notes = _distinct(row, name)
    n_lines = lines.next_line - 1 + head[:n_blank].count(b"\n")
    return Header(names, delimiter, n_blank + lines.n_bytes, n_lines, notes)


def _sniffed(head: bytes) -> str:
    """The delimiter under which the first records agree best on a number of fields above one; else a comma."""
    text = head[:_SNIFF_BYTES].decode("utf-8", "replace").lstrip("\r\n")
    lines = text.splitlines(keepends=True)
    if len(head) > _SNIFF_BYTES:
        lines = lines[:-1] or lines
    best, best_score = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        widths = _widths(lines, delimiter)
        if widths and widths[0] > 1:
            score = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
            if score > best_score:
                best, best_score = delimiter, score
    return best


def _widths(lines: list[str], delimiter: str) -> list[int]:
    widths: list[int] = []
    try:
        for row in csv.reader(lines, delimiter=delimiter):
            if row:
                widths.append(len(row))
            if len(widths) > _SNIFF_RECORDS:
                break
    except csv.Error:
        pass  # only the sample ends here; the strict reader reports what is wrong with the file
    return widths


def _distinct(row: list[str], name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Distinct, non-empty names, and a note for each that had to be made up."""
    names: list[str] = []
    notes: list[str] = []
    for i, given in enumerate(row, start=1):
        column = given if given.strip() else f"column_{i}"
        n = 2
        while column in names or (column != given and column in row):
            column, n = f"{given if given.strip() else f'column_{i}'}_{n}", n + 1
        if column != given:
            what = f"is a second '{shown(given)}'" if given.strip() else "has no name"
            notes.append(f"{name}: column {i} {what}; read as '{shown(column)}'")
        names.append(column)
    return tuple(names), tuple(notes)


def _frames(blocks: Iterator[bytes], name: str, header: Header, chunk_rows: int) -> Iterator[pl.DataFrame]:
    blocks = _skipped(blocks, header.n_bytes)
    line, data = header.n_lines + 1, b""
    for block, final in records.with_last(blocks):
        data += block
        while data:
            cut = len(data) if final else records.whole(data)
            if not cut and len(data) < BLOCK_BYTES:
                break
            whole = data[:cut]
            frame = _parsed(whole, name, header, line) if cut else None
            if frame is not None:
                line += n_of(whole, b"\n")
                data = data[cut:]
                yield from sliced(frame, chunk_rows)
                continue
            lines = records.Lines(records.chained(data, blocks if not final else None), line)
            for rows in records.checked_rows(lines, name, header.delimiter, len(header.names), max(cut, 1)):
                frame = _from_rows(rows, header.names, name)
                swallowed.refuse(frame, data, name, header.delimiter, line)
                yield from sliced(frame, chunk_rows)
            line, data = lines.next_line, lines.rest()


def _skipped(blocks: Iterator[bytes], n_bytes: int) -> Iterator[bytes]:
    for block in blocks:
        if n_bytes < len(block):
            yield block[n_bytes:]
        n_bytes = max(0, n_bytes - len(block))


def _parsed(data: bytes, name: str, header: Header, line: int) -> pl.DataFrame | None:
    """The block as polars reads it, or None where it is not proven that polars reads it right."""
    n_rows = records.n_regular_rows(data, header.delimiter.encode(), len(header.names))
    if n_rows is None:
        return None
    try:
        frame = pl.read_csv(
            io.BytesIO(data),
            has_header=False,
            schema=dict.fromkeys(header.names, pl.String),
            separator=header.delimiter,
            infer_schema=False,
            empty_string_is_null=False,
        )
    except (PolarsError, PanicException):
        return None
    if frame.height != n_rows:
        return None
    swallowed.refuse(frame, data, name, header.delimiter, line)
    return frame


def _from_rows(rows: list[list[str]], names: tuple[str, ...], name: str) -> pl.DataFrame:
    try:
        return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    except (PolarsError, PanicException, ValueError) as error:
        raise InputError(
            f"{name}: its rows cannot be kept as text ({reason(error)}); save the table as UTF-8"
        ) from error
