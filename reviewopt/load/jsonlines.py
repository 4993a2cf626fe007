"""JSON lines: one pass that settles the schema and finds bad lines before money is spent, then blocks into frames."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import msgspec
import numpy as np
import polars as pl
from polars.exceptions import PanicException, PolarsError

from reviewopt.errors import InputError
from reviewopt.load import jsonarray
from reviewopt.load.dtypes import exact, floats_as_text, json_merged, storable
from reviewopt.load.fingerprint import file_digest
from reviewopt.load.source import HEAD_BYTES, HEAD_ROWS, Source, first, reason, shown, sliced
from reviewopt.load.stream import BLOCK_BYTES, Compression, n_of, text_blocks

_MAX_LINE_BYTES: Final = 256 << 20

# An escaped surrogate pair, or half of one, or any other escape. No UTF-8 text can hold a half; polars reads it as NUL.
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)


def open_json(path: Path, name: str, *, compression: Compression | None, block_bytes: int = BLOCK_BYTES) -> Source:
    """A JSON lines file, or a JSON array of objects, as a Source.

    Raises:
        InputError: The file is empty, is JSON of another shape, or has a line that is not an object.
    """
    stream = partial(text_blocks, path, name, compression)
    array = jsonarray.is_array(stream(min(HEAD_BYTES, block_bytes)), name)

    def blocks(size: int = block_bytes) -> Iterator[tuple[bytes, int]]:
        text = jsonarray.as_lines(stream(size), name) if array else stream(size)
        return _whole_lines(text, name)

    unit = "element" if array else "line"
    schema, n_rows, n_lone = _surveyed(blocks, name, unit)
    notes = (f"{name}: {n_lone:,} broken surrogate escapes were read as U+FFFD",) if n_lone else ()
    return Source(
        name=name,
        schema=schema,
        n_rows=n_rows,
        head=lambda: first(_frames(blocks(HEAD_BYTES), name, unit, schema, HEAD_ROWS), schema),
        frames=lambda chunk_rows: _frames(blocks(), name, unit, schema, chunk_rows),
        digest=partial(file_digest, path),
        notes=notes,
    )


def _whole_lines(blocks: Iterator[bytes], name: str) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines, each with the number of its first line."""
    rest, line = b"", 1
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if not end:
            rest += block
            if len(rest) > _MAX_LINE_BYTES:
                raise InputError(f"{name}, line {line:,}: longer than 256 MB; write one object a line (jq -c .)")
            continue
        whole = b"".join((rest, memoryview(block)[:end]))
        yield whole, line
        line += n_of(whole, b"\n")
        rest = block[end:]
    if rest.strip():
        yield rest, line


def _surveyed(blocks: Callable[[], Iterator[tuple[bytes, int]]], name: str, unit: str) -> tuple[pl.Schema, int, int]:
    """The schema of all rows, their number, and the number of broken surrogate escapes."""
    dtypes: dict[str, pl.DataType] = {}
    schema = pl.Schema()
    n_rows = n_lone = 0
    has_long = False
    for data, line in blocks():
        text, n = _without_lone_surrogates(data)
        n_lone += n
        try:
            found = pl.scan_ndjson(io.BytesIO(text), infer_schema_length=None).collect_schema()
            for column, dtype in found.items():
                dtypes[column] = json_merged(dtypes[column], dtype) if column in dtypes else dtype
            schema = pl.Schema({column: storable(dtype) for column, dtype in dtypes.items()})
        except (PolarsError, PanicException, OSError, RecursionError) as error:
            _refuse(text, name, unit, line, error)
        n_rows += _n_objects(data)
        has_long = has_long or _may_hold_long_numbers(data)
    if not n_rows:
        raise InputError(f"{name}: the file is empty; a table needs at least one row")
    return _exact(schema, blocks, name, unit) if has_long else schema, n_rows, n_lone


def _exact(schema: pl.Schema, blocks: Callable[[], Iterator[tuple[bytes, int]]], name: str, unit: str) -> pl.Schema:
    """The schema with String for floats that would round a whole number: an id must stay as it is."""
    dtypes = {column: dtype for column, dtype in schema.items() if floats_as_text(dtype) != dtype}
    if not dtypes:
        return schema
    for data, line in blocks():
        if _may_hold_long_numbers(data):
            texts = pl.Schema({column: floats_as_text(dtype) for column, dtype in dtypes.items()})
            frame = _read(_without_lone_surrogates(data)[0], name, unit, line, texts)
            dtypes = {column: exact(frame.get_column(column), dtype) for column, dtype in dtypes.items()}
    return pl.Schema({**schema, **dtypes})


def _may_hold_long_numbers(data: bytes) -> bool:
    """Whether there may be 16 digits in a row, as many as 2^53 has."""
    # Of 16 digits, every other one makes 8 in a row; half the bytes are half the work.
    digits = np.frombuffer(data, np.uint8)[::2] - np.uint8(ord("0")) < 10
    for n in (1, 2, 4):
        digits = digits[:-n] & digits[n:]
    return bool(digits.any())


def _n_objects(data: bytes) -> int:
    """The number of lines that are not blank."""
    buffer = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(buffer == ord("\n"))
    if not len(ends) or ends[-1] != len(data) - 1:
        ends = np.append(ends, len(data))
    starts = np.append(0, ends[:-1] + 1)
    # A line that starts as an object does is not blank; only the few others are looked at one by one.
    odd = np.flatnonzero(buffer[np.minimum(starts, len(data) - 1)] != ord("{"))
    return len(ends) - sum(not data[starts[i] : ends[i]].strip() for i in odd)


def _frames(
    blocks: Iterator[tuple[bytes, int]], name: str, unit: str, schema: pl.Schema, chunk_rows: int
) -> Iterator[pl.DataFrame]:
    for data, line in blocks:
        frame = _read(_without_lone_surrogates(data)[0], name, unit, line, schema)
        expected = _n_objects(data)
        if frame.height != expected:
            raise InputError(f"{name}, from {unit} {line:,}: {expected:,} lines gave {frame.height:,} rows")
        yield from sliced(frame, chunk_rows)


def _read(text: bytes, name: str, unit: str, line: int, schema: pl.Schema) -> pl.DataFrame:
    try:
        return pl.read_ndjson(io.BytesIO(text), schema=schema)
    except (PolarsError, PanicException, OSError) as error:
        _refuse(text, name, unit, line, error)


def _without_lone_surrogates(data: bytes) -> tuple[bytes, int]:
    if not _may_hold_lone_surrogates(data):
        return data, 0
    n = 0

    def replaced(match: re.Match[bytes]) -> bytes:
        nonlocal n
        if match.group(1) is None:
            return match.group()
        n += 1
        return b"\\ufffd"

    return _ESCAPE.sub(replaced, data), n


def _may_hold_lone_surrogates(data: bytes) -> bool:
    """Whether a high half is not followed by a low one, or a low one not preceded; the pattern is too slow to ask."""
    buffer = np.frombuffer(data, np.uint8)
    slashes = np.flatnonzero(buffer[:-3] == ord("\\"))
    at = slashes[(buffer[slashes + 1] == ord("u")) & ((buffer[slashes + 2] | 32) == ord("d"))]
    digit = buffer[at + 3] | 32
    is_low = (digit >= ord("c")) & (digit <= ord("f"))
    high, low = at[~is_low & ((digit == ord("8")) | (digit == ord("9")) | (digit >= ord("a")))], at[is_low]
    return not np.array_equal(high + 6, low)


def _refuse(data: bytes, name: str, unit: str, first_line: int, error: BaseException) -> NoReturn:
    """Finds the line that polars could not read.

    Raises:
        InputError: Always.
    """
    advice = "mend this line" if unit == "line" else "mend this element"
    kinds: dict[str, str] = {}
    for n, line in enumerate(data.split(b"\n"), start=first_line):
        if not line.strip():
            continue
        try:
            value = msgspec.json.decode(line)
            changed = _other_kind("", value, kinds)
        except RecursionError as bad:
            raise InputError(f"{name}, {unit} {n:,}: nested too deeply; leave such columns out") from bad
        except (msgspec.DecodeError, UnicodeDecodeError) as bad:
            if n == 1 and unit == "line":
                advice = "a .json file is an array of objects or one object a line; try: jq -c '.[]'"
            raise InputError(f"{name}, {unit} {n:,}: not valid JSON ({reason(bad)}); {advice}") from error
        if not isinstance(value, dict):
            raise InputError(
                f"{name}, {unit} {n:,}: '{shown(line.decode(errors='replace'), 40)}' is not an object; "
                "each row is an object with named columns"
            ) from error
        if changed is not None:
            place, kind, before = changed
            raise InputError(
                f"{name}, {unit} {n:,}: '{shown(place[1:], 40)}' is {kind} here and {before} in a {unit} before it; "
                "make them agree, or leave the key out"
            ) from error
    raise InputError(f"{name}, from {unit} {first_line:,}: {reason(error)}; {advice}") from error


def _other_kind(place: str, value: object, kinds: dict[str, str]) -> tuple[str, str, str] | None:
    """The first place at or below `place` whose kind is not the one in `kinds`, with both; new places are added."""
    # Text meets every other kind in text.
    if value is None or isinstance(value, str):
        return None
    kinds_of = {dict: "an object", list: "an array", bool: "true or false"}
    kind = next((word for of, word in kinds_of.items() if isinstance(value, of)), "a number")
    before = kinds.setdefault(place, kind)
    if kind != before:
        return place, kind, before
    inner: list[tuple[str, object]] = []
    if isinstance(value, dict):
        inner = [(f"{place}.{key}", part) for key, part in value.items()]
    elif isinstance(value, list):
        inner = [(f"{place}[]", part) for part in value]
    return next((found for key, part in inner if (found := _other_kind(key, part, kinds))), None)
