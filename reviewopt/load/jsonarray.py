"""A JSON array of objects, streamed as JSON lines: a million rows never lie in memory as one document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from reviewopt.errors import InputError
from reviewopt.load.source import shown

_MAX_ELEMENT_BYTES: Final = 256 << 20
_SPACE: Final = b" \t\r\n"

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.intp]


def is_array(blocks: Iterator[bytes], name: str) -> bool:
    """Whether the text is a JSON array rather than JSON lines.

    Raises:
        InputError: It is neither.
    """
    for block in blocks:
        head = block.lstrip(_SPACE)
        if not head:
            continue
        if head[:1] not in (b"[", b"{"):
            raise InputError(
                f"{name}: starts with '{shown(head[:20].decode('utf-8', 'replace'))}'; "
                "JSON is read as one object a line, or as an array of objects"
            )
        if head[:1] == b"{" and not head.split(b"\n", 1)[0].rstrip().endswith(b"}") and b"\n" in head:
            raise InputError(
                f"{name}: one JSON object over several lines, not a table; write one object a line, "
                "or an array of objects (jq '.data' takes a list out of an object)"
            )
        return head[:1] == b"["
    raise InputError(f"{name}: the file is empty; a table needs at least one row")


def as_lines(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The elements of the array, one a line.

    Raises:
        InputError: An element is not an object, or the array does not end.
    """
    data, opened, closed, n_elements = b"", False, False, 0
    for block in blocks:
        data += block
        if not opened:
            data = data.lstrip(_SPACE)
            opened, data = bool(data), data[1:]
        if closed and data.strip(_SPACE):
            raise InputError(f"{name}: text follows the end of the array; keep one array a file")
        lines, used, n = _elements(data, name, n_elements)
        n_elements += n
        if lines:
            yield lines
        data = data[used:]
        rest = data.lstrip(_SPACE + b",") if n_elements else data.lstrip(_SPACE)
        if rest[:1] == b"]":
            closed, data = True, rest[1:]
        elif rest and rest[:1] != b"{":
            raise InputError(
                f"{name}, element {n_elements + 1:,}: '{shown(rest[:40].decode(errors='replace'))}' is not an object; "
                "each element of the array is a row with named columns"
            )
        elif len(data) > _MAX_ELEMENT_BYTES:
            raise InputError(f"{name}, element {n_elements + 1:,}: longer than 256 MB, or never closed")
    if not closed:
        raise InputError(f"{name}, after element {n_elements:,}: the array is cut short; copy the file again")
    if data.strip(_SPACE):
        raise InputError(f"{name}: text follows the end of the array; keep one array a file")


def _elements(data: bytes, name: str, n_before: int) -> tuple[bytes, int, int]:
    """Whole objects at the start of `data` as lines, the bytes they took, and their number."""
    buffer = np.frombuffer(data, np.uint8)
    # `[` and `]` differ from `{` and `}` in one bit, those two from each other in two: one test finds all four.
    at = np.flatnonzero((((buffer | 32) - np.uint8(ord("{"))) & 0xFD) == 0)
    quotes = _quotes(buffer)
    at = at[np.searchsorted(quotes, at) % 2 == 0]
    step = np.where(buffer[at] & 2, 1, -1)  # opening brackets have the bit of 2
    depth = np.cumsum(step)
    below = np.flatnonzero(depth < 0)
    if len(below):  # the bracket that closes the array
        at, step, depth = at[: below[0]], step[: below[0]], depth[: below[0]]
    ends = at[depth == 0]
    if not len(ends):
        return b"", 0, 0
    starts = at[(depth == 1) & (step == 1)][: len(ends)]
    used = int(ends[-1]) + 1
    _refuse_raw_breaks(buffer[:used], quotes, ends, name, n_before)
    text = np.frombuffer(data[:used].replace(b"\n", b" ").replace(b"\r", b" "), np.uint8).copy()
    between = _between(starts, ends)
    _check_between(text, between, starts, name, n_before)
    text[between] = ord(" ")
    text[ends[:-1] + 1] = ord("\n")  # there was a comma or white space
    return text.tobytes() + b"\n", used, len(ends)


def _quotes(buffer: Bytes) -> Offsets:
    """Where strings open and close: quotes that do not follow an odd number of backslashes."""
    quotes = np.flatnonzero(buffer == ord('"'))
    slashes = np.flatnonzero(buffer == ord("\\"))
    if not len(slashes):
        return quotes
    last = np.append(np.diff(slashes) > 1, True)
    run_ends = slashes[last]
    n_in_run = np.diff(np.append(-1, np.flatnonzero(last)))
    odd_ends = run_ends[n_in_run % 2 == 1]
    before = np.minimum(np.searchsorted(odd_ends, quotes - 1), max(0, len(odd_ends) - 1))
    return quotes[odd_ends[before] != quotes - 1] if len(odd_ends) else quotes


def _refuse_raw_breaks(buffer: Bytes, quotes: Offsets, ends: Offsets, name: str, n_before: int) -> None:
    breaks = np.flatnonzero((buffer == ord("\n")) | (buffer == ord("\r")))
    inside = breaks[np.searchsorted(quotes, breaks) % 2 == 1]
    if len(inside):
        n = n_before + 1 + int(np.searchsorted(ends, inside[0]))
        raise InputError(f"{name}, element {n:,}: not valid JSON (a line break within a string); write it as \\n")


def _between(starts: Offsets, ends: Offsets) -> Offsets:
    """Offsets of all bytes before and between the elements."""
    begins = np.append(0, ends[:-1] + 1)
    lengths = starts - begins
    return np.repeat(begins - np.append(0, np.cumsum(lengths)[:-1]), lengths) + np.arange(lengths.sum())


def _check_between(text: Bytes, between: Offsets, starts: Offsets, name: str, n_before: int) -> None:
    """Before each element but the first there is one comma, and else white space only."""
    gaps = text[between]
    commas = between[gaps == ord(",")]
    n_commas = np.bincount(np.searchsorted(starts, commas), minlength=len(starts))
    n_commas[0] += n_before == 0
    other = between[~np.isin(gaps, np.frombuffer(b", \t", np.uint8))]
    wrong = [np.flatnonzero(n_commas != 1), np.searchsorted(starts, other), np.flatnonzero(text[starts] != ord("{"))]
    bad = [int(found[0]) for found in wrong if len(found)]
    if bad:
        raise InputError(
            f"{name}, element {n_before + 1 + min(bad):,}: not an object, or not separated by one comma; "
            "each element of the array is a row with named columns"
        )
