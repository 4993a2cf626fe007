"""One input, whatever its format: a schema and a way to stream frames. Every format module makes one of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import polars as pl
from polars.exceptions import PanicException, PolarsError

from reviewopt.errors import InputError

# A chunk holds at most about this much, so that rows of a megabyte each do not need 50 GB.
CHUNK_BYTES: Final = 64 << 20

# How much of an input is looked at to choose the label column: rows, and bytes of a text file.
HEAD_ROWS: Final = 10_000
HEAD_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One input that can be streamed any number of times.

    Attributes:
        name: The input as the user knows it (the path as given, or as matched by a glob or folder).
        schema: Schema of every frame.
        head: The first rows, or some of them, to look at their content; empty if there are none.
        frames: Streams the rows in order, in frames of at most the given number of rows. Raises InputError.
        digest: A digest of the content; equal content gives an equal digest. None where only the rows can be digested.
        n_rows: Number of rows where it is known without reading them.
        class_names: The names behind the whole numbers of a column, by column.
        notes: Lines for the user.
    """

    name: str
    schema: pl.Schema
    head: Callable[[], pl.DataFrame]
    frames: Callable[[int], Iterator[pl.DataFrame]]
    digest: Callable[[], bytes] | None
    n_rows: int | None = None
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def shown(value: object, limit: int = 80) -> str:
    """Foreign text, fit for a terminal: control characters escaped, at most `limit` characters."""
    text = str(value)
    cut = text[:limit]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in cut)
    return safe + ("..." if len(text) > limit else "")


def reason(error: BaseException) -> str:
    """The first line of an error, short and fit for a terminal."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return shown(lines[0], 160)


@contextmanager
def reading(where: str, advice: str) -> Iterator[None]:
    """Turns whatever a reader throws into one InputError that names the file.

    Raises:
        InputError: For any polars error, polars panic (a BaseException) or operating system error.
    """
    try:
        yield
    except (PolarsError, PanicException, OSError, ValueError, RecursionError) as error:
        raise InputError(f"{where}: {reason(error)}; {advice}") from error


def first(frames: Iterator[pl.DataFrame], schema: pl.Schema) -> pl.DataFrame:
    """The first frame, or an empty one."""
    return next(frames, pl.DataFrame(schema=schema))


def sliced(frame: pl.DataFrame, chunk_rows: int) -> Iterator[pl.DataFrame]:
    """Slices of at most `chunk_rows` rows; no copy is made."""
    for start in range(0, frame.height, chunk_rows):
        yield frame.slice(start, chunk_rows)
