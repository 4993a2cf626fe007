"""CSV records as bytes: where they end, whether a block of them is well formed, and the strict reader for the rest."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Final

import numpy as np

from reviewopt.errors import InputError
from reviewopt.load.source import reason
from reviewopt.load.stream import n_of

# A record may not be longer: an unclosed quote would otherwise take the rest of the table into one cell.
MAX_RECORD_BYTES: Final = 64 << 20

_QUOTE, _LF, _CR = 34, 10, 13
_ROWS_A_FRAME: Final = 10_000


def whole(data: bytes) -> int:
    """The number of bytes up to the end of the last whole record in `data`, which starts with a record; 0 if none."""
    end = data.rfind(b"\n")
    # A line end is usually near the end of the data, so the few bytes after it are subtracted.
    n_quotes = n_of(data, b'"') - data.count(b'"', end + 1)
    while end >= 0 and n_quotes % 2:
        # This line end is inside quotes: go back before the quote that opened them.
        earlier = data.rfind(b"\n", 0, data.rfind(b'"', 0, end))
        n_quotes -= data.count(b'"', earlier + 1, end + 1)
        end = earlier
    return end + 1


def n_regular_rows(data: bytes, delimiter: bytes, n_columns: int) -> int | None:
    """The number of records in a block if every reader must agree on it, else None.

    That is: each quote opens a field, closes one or is doubled inside one; no lone CR is outside quotes; no record has
    too few fields (polars itself refuses one with too many).
    """
    outside = data
    if b'"' in data:
        if not _quotes_are_regular(data, delimiter):
            return None
        outside = b"".join(data.split(b'"')[::2])
    if b"\r" in outside and outside.count(b"\r") != outside.count(b"\r\n"):
        return None
    n_rows = n_of(outside, b"\n") + (not data.endswith(b"\n"))
    return n_rows if n_of(outside, delimiter) == n_rows * (n_columns - 1) else None


def _quotes_are_regular(data: bytes, delimiter: bytes) -> bool:
    buffer = np.frombuffer(data, np.uint8)
    at = np.flatnonzero(buffer == _QUOTE)
    if len(at) % 2:
        return False
    opens, closes = at[0::2], at[1::2]
    doubled = opens[1:] == closes[:-1] + 1
    before = np.where(opens > 0, buffer[opens - 1], _LF)
    after = np.where(closes + 1 < len(buffer), buffer[np.minimum(closes + 1, len(buffer) - 1)], _LF)
    good_open = (before == ord(delimiter)) | (before == _LF)
    good_close = (after == ord(delimiter)) | (after == _LF) | (after == _CR)
    good_open[1:] |= doubled
    good_close[:-1] |= doubled
    return bool(good_open.all() and good_close.all())


class Lines:
    """Lines of a stream of blocks as text, that remembers what it handed out."""

    def __init__(self, blocks: Iterator[bytes], first_line: int) -> None:
        self._blocks = blocks
        self._pending: list[bytes] = []  # in reverse
        self._tail = b""
        self.next_line = first_line
        self.n_bytes = 0
        self.bad: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while not self._pending:
            self._fill()
        line = self._pending.pop()
        self.n_bytes += len(line)
        self.next_line += 1
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            self.bad = (self.next_line - 1, line[error.start])
            raise

    def _fill(self) -> None:
        block = next(self._blocks, None)
        if block is None:
            if not self._tail:
                raise StopIteration
            self._pending, self._tail = [self._tail], b""
            return
        # bytes.splitlines knows CR, LF and CRLF only, as the csv module does.
        lines = (self._tail + block).splitlines(keepends=True)
        # The last line may go on, and a CR at its end may be half of a CRLF.
        self._tail = b"" if not lines or lines[-1].endswith(b"\n") else lines.pop()
        self._pending = lines[::-1]

    def rest(self) -> bytes:
        """What was read from the blocks and not handed out."""
        return b"".join(reversed(self._pending)) + self._tail


def strict_rows(lines: Lines, name: str, delimiter: str) -> Iterator[list[str]]:
    """Records by the standard library's strict reader.

    Raises:
        InputError: With the line at which the bad record starts.
    """
    csv.field_size_limit(MAX_RECORD_BYTES)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = lines.next_line
        try:
            row = next(reader, None)
        except UnicodeDecodeError as error:
            line, byte = lines.bad or (start, 0)
            raise InputError(
                f"{name}, line {line:,}: byte 0x{byte:02x} is not UTF-8; convert the file first, "
                "for example: iconv -f WINDOWS-1252 -t UTF-8"
            ) from error
        except csv.Error as error:
            raise InputError(f"{name}, line {start:,}: {_quote_fault(error)}") from error
        if row is None:
            return
        yield row


def _quote_fault(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end" in text or "field limit" in text:
        return "a quoted field opens in this record and is never closed; close the quote, or double it inside a field"
    if "expected after" in text:
        return f"text follows a closing quote ({reason(error)}); double the quotes inside a field"
    return f"the record cannot be read ({reason(error)}); mend this line"


def checked_rows(lines: Lines, name: str, delimiter: str, n_columns: int, n_bytes: int) -> Iterator[list[list[str]]]:
    """Records in lists, until at least `n_bytes` were used; blank lines between records are no rows.

    Raises:
        InputError: A record is malformed, or does not have `n_columns` fields.
    """
    rows: list[list[str]] = []
    start = lines.next_line
    for fields in strict_rows(lines, name, delimiter):
        row = [""] if not fields and n_columns == 1 else fields
        if row and len(row) != n_columns:
            raise InputError(
                f"{name}, line {start:,}: {len(row)} fields, but the header has {n_columns}; "
                "quote fields that hold the delimiter, or mend this line"
            )
        if row:
            rows.append(row)
        start = lines.next_line
        if len(rows) >= _ROWS_A_FRAME:
            yield rows
            rows = []
        if lines.n_bytes >= n_bytes:
            break
    if rows:
        yield rows


def with_last(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each block, and then an empty one marked as the last."""
    for block in blocks:
        yield block, False
    yield b"", True


def chained(data: bytes, blocks: Iterator[bytes] | None) -> Iterator[bytes]:
    """`data`, then the blocks."""
    yield data
    if blocks is not None:
        yield from blocks
