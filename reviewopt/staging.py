"""Labels that wait on disk until they are proven: one file a chunk, in the run's folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import polars as pl

from reviewopt.errors import InputError

_FOLDER: Final = "staged"


class Staged:
    """The labels of each chunk in order; a context manager that leaves nothing behind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FOLDER
        self._n = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o700)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, labelled: pl.DataFrame) -> None:
        """Take the labels of the next chunk.

        Raises:
            InputError: the disk is full, or cannot be written.
        """
        try:
            labelled.write_ipc(self._path(self._n))
        except (OSError, pl.exceptions.ComputeError) as error:
            raise InputError(f"cannot keep labels in {self._folder} until they are proven: {error}") from error
        self._n += 1

    def frames(self) -> Iterator[pl.DataFrame]:
        """Give back the labels of each chunk, in order."""
        for number in range(self._n):
            yield pl.read_ipc(self._path(number))

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06}.arrow"
