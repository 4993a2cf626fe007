"""Parquet and Arrow files: slices of a lazy scan, so that memory holds one slice."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from reviewopt.errors import InputError
from reviewopt.load.fingerprint import file_digest
from reviewopt.load.source import CHUNK_BYTES, HEAD_ROWS, Source, first, reading

# Few enough that they fit into memory at a megabyte each.
_PROBE_ROWS: Final = 64
_GROWTH: Final = 8

_ADVICE: Final = "the file is damaged or not what its ending says; copy or write it again"


def open_parquet(path: Path, name: str) -> Source:
    """A parquet file as a Source.

    Raises:
        InputError: The footer cannot be read.
    """
    return _opened(path, name, pl.scan_parquet(path, glob=False, hive_partitioning=False))


def open_arrow(path: Path, name: str) -> Source:
    """An Arrow or Feather (version 2) file as a Source.

    Raises:
        InputError: The footer cannot be read.
    """
    return _opened(path, name, pl.scan_ipc(path, glob=False, hive_partitioning=False))


def is_arrow_stream(path: Path, name: str) -> bool:
    """Whether an Arrow file has the stream format, which has no footer to scan by (`datasets` writes it).

    Raises:
        InputError: It cannot be read, or is Feather version 1.
    """
    with reading(name, "check the path and its permissions"), path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"FEA1"):
        raise InputError(f"{name}: Feather version 1 is not read; write it again as version 2 or parquet")
    # The stream format starts each message with a mark of its own.
    return head.startswith(b"\xff\xff\xff\xff")


def _opened(path: Path, name: str, scan: pl.LazyFrame) -> Source:
    with reading(name, _ADVICE):
        schema = scan.collect_schema()
        n_rows = scan.select(pl.len()).collect().item()
        # Whatever the first rows weigh, on average a row is at least as heavy as it is on disk.
        most = max(1, CHUNK_BYTES * n_rows // max(1, path.stat().st_size))
    return Source(
        name=name,
        schema=schema,
        n_rows=n_rows,
        head=lambda: first(_frames(scan, name, n_rows, min(HEAD_ROWS, most)), schema),
        frames=lambda chunk_rows: _frames(scan, name, n_rows, min(chunk_rows, most)),
        digest=partial(file_digest, path),
    )


def _frames(scan: pl.LazyFrame, name: str, n_rows: int, chunk_rows: int) -> Iterator[pl.DataFrame]:
    start, height = 0, chunk_rows
    if n_rows > _PROBE_ROWS:
        with reading(name, _ADVICE):
            height = _fitting(scan.slice(0, _PROBE_ROWS).collect(), chunk_rows)
    while start < n_rows:
        with reading(f"{name}, after row {start:,}", _ADVICE):
            frame = scan.slice(start, height).collect()
            if not frame.height:
                raise OSError(f"{n_rows:,} rows are promised and no more come")
        start += frame.height
        yield frame
        # Sizes may jump, so grow step by step.
        height = min(_fitting(frame, chunk_rows), frame.height * _GROWTH)


def _fitting(frame: pl.DataFrame, chunk_rows: int) -> int:
    """How many rows fit into the byte budget at the size just seen, at most `chunk_rows`."""
    return max(1, min(chunk_rows, int(CHUNK_BYTES / max(1.0, frame.estimated_size() / frame.height))))
