"""Figures and ids kept one a question on disk, so that memory does not grow with the table.

Both write to a temporary file without a name, map it to read it, and give the pages back after each use: they stay in
the system's cache as long as there is room, and never count as this process's memory for longer than one chunk.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.errors import InputError

_FIRST_BYTES = 1 << 16


class Spool:
    """A growing array of one dtype in a temporary file; a context manager that drops it.

    Raises:
        InputError: the folder takes no file, or the disk is full.
    """

    def __init__(self, dtype: npt.DTypeLike, folder: Path) -> None:
        self._dtype = np.dtype(dtype)
        self._folder = folder
        self._room = self._n = 0
        with ExitStack() as opened, _disk_errors(folder):
            self._file = opened.enter_context(tempfile.TemporaryFile(dir=folder))
            self._map = self._mapped(_FIRST_BYTES)
            opened.pop_all()

    def __len__(self) -> int:
        return self._n

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A method that was interrupted leaves its view of the map in the traceback: the map goes when that goes.
        with self._file, suppress(BufferError):
            self._map.close()

    def append(self, values: npt.NDArray[Any]) -> None:
        """Add `values` (n_new,) at the end.

        Raises:
            InputError: the disk is full.
        """
        end = self._n + len(values)
        if end * self._dtype.itemsize > self._room:
            self._map.close()
            with _disk_errors(self._folder):
                self._map = self._mapped(max(end * self._dtype.itemsize, 2 * self._room))
        self._view()[self._n : end] = values
        self._n = end
        self._let_go()

    def take(self, at: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the values at the positions `at`, in its shape."""
        taken: npt.NDArray[Any] = self._view()[at]
        self._let_go()
        return taken

    def add(self, at: npt.NDArray[np.int64], amounts: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Add to the values at the distinct positions `at`, (n,) each, and return the sums."""
        view = self._view()
        view[at] += amounts.astype(self._dtype)
        sums: npt.NDArray[Any] = view[at]
        self._let_go()
        return sums

    def _view(self) -> npt.NDArray[Any]:
        return np.frombuffer(self._map, self._dtype)

    def _mapped(self, n_bytes: int) -> mmap.mmap:
        room = -(-n_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        _reserve(self._file.fileno(), self._room, room)
        self._room = room
        return mmap.mmap(self._file.fileno(), room)

    def _let_go(self) -> None:
        self._map.madvise(mmap.MADV_DONTNEED)  # of a shared map: the pages stay in the file


def _reserve(file: int, start: int, end: int) -> None:
    """Take the disk's space from byte `start` to `end`: a full disk kills who writes to a map of space not taken."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, start, end - start)
        return
    while start < end:  # macOS
        start += os.pwrite(file, bytes(min(end - start, _FIRST_BYTES)), start)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot keep the groups of reviews in {folder}: {error}; free some space or name another place with --home"
        ) from error


class TextSpool:
    """A growing array of strings; a context manager that drops it.

    Raises:
        InputError: the folder takes no file, or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        with ExitStack() as opened:
            self._bytes = opened.enter_context(Spool(np.uint8, folder))
            self._start = opened.enter_context(Spool(np.int64, folder))
            self._start.append(np.zeros(1, np.int64))
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def append(self, texts: pl.Series) -> None:
        """Add `texts`, String (n_new,) without nulls, at the end.

        Raises:
            InputError: the disk is full.
        """
        joined = np.frombuffer(texts.str.join("").item().encode() if len(texts) else b"", np.uint8)
        ends = np.cumsum(texts.str.len_bytes().to_numpy().astype(np.int64))
        self._start.append(ends + len(self._bytes))
        self._bytes.append(joined)

    def take(self, at: npt.NDArray[np.int64]) -> pl.Series:
        """Return the strings at the positions `at`, String (n,)."""
        import pyarrow as pa  # type: ignore[import-untyped]  # it carries no types

        start, end = self._start.take(at), self._start.take(at + 1)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(end - start)])
        within = np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], end - start)
        data = self._bytes.take(np.repeat(start, end - start) + within)
        arrow = pa.LargeStringArray.from_buffers(len(at), pa.py_buffer(offsets), pa.py_buffer(data))
        taken = pl.from_arrow(arrow)
        if not isinstance(taken, pl.Series):
            raise TypeError("arrow strings are a Series")
        return taken.cast(pl.String)
