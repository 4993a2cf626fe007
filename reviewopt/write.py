"""Answers back to every row: the labelled table, in any format, complete or not there at all.

A table is written to a temporary file beside its place and renamed when the last row is in it.
"""

from __future__ import annotations

import fcntl
import io
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Protocol, Self

import polars as pl
from polars.exceptions import PanicException, PolarsError
from polars.io.plugins import register_io_source

from reviewopt.errors import InputError, UsageError

STDOUT: Final = "-"
OUTPUT_SUFFIXES: Final = (".parquet", ".csv", ".jsonl")
_ENDINGS: Final = r"(\.(parquet|pq|arrow|feather|ipc|csv|tsv|tab|jsonl|ndjson|json))?(\.(gz|gzip|zst|zstd))?$"
# What a format cannot hold, besides nested columns in CSV.
_UNWRITABLE: Final = {
    ".parquet": (pl.Object,),
    ".csv": (pl.Object, pl.Binary, pl.Duration, pl.List, pl.Array, pl.Struct),
    ".jsonl": (pl.Object, pl.Binary),
}
_PREFIX: Final = "reviewopt_"
_GROUP_KEYS: Final = ("duplicate_of", "cluster")  # columns that are not named after the field
# A spreadsheet runs a cell that begins so (OWASP, CSV injection). A plain number may keep its sign.
_FORMULA: Final = r"^[=+\-@\t\r]"
_NUMBER: Final = r"^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$"
# Level 1 writes 90,000 reviews in half the time of the default level, for a sixth more bytes.
_ZSTD_LEVEL: Final = 1


class Sink(Protocol):
    """Where frames of one schema go, in order."""

    def append(self, frame: pl.DataFrame) -> None:
        """Write the rows of `frame`."""

    def close(self, *, complete: bool) -> None:
        """End the table, or drop what was begun."""


def answer_names(
    field: str, taken: list[str], others: Sequence[str] = (), *, has_notes: bool = False
) -> dict[str, str]:
    """Name the answer columns of `field` so that they meet no column of the input, nor one another.

    Args:
        field: the task's first field.
        taken: the columns of the input.
        others: the fields after the first; their columns have their names, with a prefix where another answer has it.
        has_notes: whether rows may have a note.

    Returns:
        Names for the keys of `dedup.spread.answer_schema`, in its order: `label`, `confidence`, `source`, `cost_usd`,
        `duplicate_of`, `cluster`, `other:NAME` for each of the others, and `note`.
    """
    prefix, apart = "", _PREFIX if field in _GROUP_KEYS else ""
    while True:
        names = {"label": f"{prefix}{field}"}
        names |= {key: f"{prefix}{field}_{key}" for key in ("confidence", "source", "cost_usd")}
        names |= {key: f"{prefix}{apart}{key}" for key in _GROUP_KEYS}
        note = {"note": f"{prefix}{field}_note"} if has_notes else {}
        for other in others:
            name = f"{prefix}{other}"
            while name in {*names.values(), *note.values()}:
                name = f"{_PREFIX}{name}"
            names[f"other:{other}"] = name
        names |= note
        if not set(names.values()) & set(taken):
            return names
        prefix += _PREFIX


def default_output(inputs: Sequence[str]) -> Path:
    """Return `NAME.labelled.parquet` in the current folder for the one table NAME, as the user typed it."""
    if len(inputs) != 1 or inputs[0] == STDOUT or "*" in inputs[0]:
        return Path("reviews.labelled.parquet")
    if inputs[0].startswith("hf://"):
        parts = inputs[0].removeprefix("hf://").split(":")[0].split("/")
        return Path(f"{parts[min(1, len(parts) - 1)]}.labelled.parquet")
    stem = re.sub(_ENDINGS, "", Path(inputs[0]).resolve().name, flags=re.IGNORECASE)
    return Path(f"{stem or 'reviews'}.labelled.parquet")


class Output:
    """The labelled table while it grows; a context manager that drops it unless it was committed."""

    def __init__(
        self, path: Path, open_sink: Callable[[], Sink], partial: Path | None = None, *, force: bool = False
    ) -> None:
        self.path = path
        self._open_sink = open_sink
        self._partial = partial
        self._force = force
        self._lock: int | None = None
        self._sink: Sink | None = None

    def __enter__(self) -> Self:
        with _disk_errors(self.path):
            self._lock = None if self._partial is None else _claim(self._partial, self.path)
            self._sink = self._open_sink()
        return self

    def append(self, frame: pl.DataFrame) -> None:
        """Write the next rows."""
        if self._sink is None:
            raise ValueError("the table is closed")
        with _disk_errors(self.path):
            self._sink.append(frame)

    def commit(self) -> None:
        """End the table and give it its name.

        Raises:
            InputError: the disk is full, or a file of that name came into being meanwhile; that one is kept, and the
                table too, under the name that the message says.
        """
        self._close(complete=True)
        if self._partial is not None:
            partial, self._partial = self._partial, None
            with _disk_errors(self.path):
                _publish(partial, self.path, force=self._force)

    def _close(self, *, complete: bool) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            with _disk_errors(self.path):
                sink.close(complete=complete)

    def __exit__(self, *_: object) -> None:
        try:
            self._close(complete=False)
        finally:
            if self._lock is not None:
                if self._partial is not None:
                    self._partial.unlink(missing_ok=True)
                os.close(self._lock)


def _claim(partial: Path, path: Path) -> int:
    """Lock the file that the table grows in; what a killed run left there is written over.

    Raises:
        UsageError: another run writes the same table.
    """
    while True:
        lock = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if partial.exists() and os.fstat(lock).st_ino == partial.stat().st_ino:
                return lock
        except BlockingIOError:
            os.close(lock)
            raise UsageError(f"another run is writing {path}; wait for it, or name another file with -o") from None
        os.close(lock)  # the other run ended between the two lines above


def _publish(partial: Path, path: Path, *, force: bool) -> None:
    if not force:
        try:
            os.link(partial, path)  # unlike a rename, never over a file
        except FileExistsError:
            raise InputError(f"{path} came into being meanwhile and is kept; the labelled table is {partial}") from None
        except OSError:
            pass  # a file system without links
        else:
            partial.unlink()
            return
    partial.replace(path)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system or polars says of a file into an error that names it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, PolarsError, PanicException) as error:
        raise InputError(
            f"cannot write {path}: {error}; nothing was kept. Free some space or choose another place with -o"
        ) from error


def open_output(path: Path, schema: pl.Schema, *, inputs: tuple[str, ...], force: bool) -> Output:
    """Choose where the labelled table goes; it is begun when the `Output` is entered.

    Args:
        path: where it goes; the ending decides the format. `-` is JSON lines on standard output.
        schema: of every frame that will come.
        inputs: the tables that are read, never to be overwritten.
        force: replace an existing file.

    Raises:
        UsageError: the file exists, is an input, or has an ending that cannot be written.
        InputError: the folder cannot be written, or the format cannot hold a column.
    """
    _check_storable(path, ".jsonl" if str(path) == STDOUT else path.suffix, schema)
    if str(path) == STDOUT:
        return Output(path, lambda: _JsonLines(sys.stdout.buffer))
    _check_place(path, inputs, force)
    partial = path.with_name(f".{path.name}.partial")
    return Output(path, lambda: _open_sink(path.suffix, partial, schema), partial, force=force)


def _open_sink(suffix: str, partial: Path, schema: pl.Schema) -> Sink:
    if suffix == ".parquet":
        return _Parquet(partial, schema)
    return (_Csv if suffix == ".csv" else _JsonLines)(partial.open("wb"))


def _check_place(path: Path, inputs: tuple[str, ...], force: bool) -> None:
    if path.suffix not in OUTPUT_SUFFIXES:
        raise UsageError(f"{path}: cannot write '{path.suffix}'; name a file that ends in {', '.join(OUTPUT_SUFFIXES)}")
    if any(Path(name).exists() and path.exists() and path.samefile(name) for name in inputs):
        raise UsageError(f"{path} is the table that is read; name another file with -o")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it with -o")
    if path.exists() and not force:
        raise UsageError(f"{path} exists and is kept; replace it with --force or name another file with -o")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it first or name another file with -o")


def _check_storable(path: Path, suffix: str, schema: pl.Schema) -> None:
    kinds = _UNWRITABLE.get(suffix, ())
    names = [name for name, dtype in schema.items() if isinstance(dtype, kinds)]
    if names:
        better = ".parquet" if suffix != ".csv" else ".parquet or .jsonl"
        raise InputError(f"{path}: {suffix[1:]} cannot hold {', '.join(names)}; name a {better} file with -o")


class _JsonLines:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def append(self, frame: pl.DataFrame) -> None:
        lines = io.BytesIO()  # polars would turn a broken pipe into an error of its own
        frame.write_ndjson(lines)
        self._file.write(lines.getbuffer())

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 - a part of a text file is dropped by its name
        self._file.flush()
        if self._file is not sys.stdout.buffer:
            self._file.close()


class _Csv:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._has_header = False

    def append(self, frame: pl.DataFrame) -> None:
        texts = [name for name, dtype in frame.schema.items() if dtype in {pl.String, pl.Categorical, pl.Enum}]
        safe = frame.with_columns(_escape_formulas(pl.col(name).cast(pl.String)).alias(name) for name in texts)
        if not self._has_header:
            safe = safe.rename(dict(zip(safe.columns, _escaped_header(safe.columns), strict=True)))
        safe.write_csv(self._file, include_header=not self._has_header)
        self._has_header = True

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 - a part of a text file is dropped by its name
        self._file.close()


def _escape_formulas(cell: pl.Expr) -> pl.Expr:
    """Put an apostrophe before a cell that a spreadsheet would run."""
    runs = cell.str.contains(_FORMULA) & ~cell.str.contains(_NUMBER)
    return pl.when(runs).then(pl.concat_str(pl.lit("'"), cell)).otherwise(cell)


def _escaped_header(names: list[str]) -> list[str]:
    escaped: list[str] = []
    for name in pl.DataFrame({"name": names}).select(_escape_formulas(pl.col("name"))).to_series():
        while name in escaped:
            name = f"'{name}"  # noqa: PLW2901 - two columns may differ in the apostrophe alone
        escaped.append(name)
    return escaped


class _Parquet:
    """polars pulls a table out of a source; this lets the pipeline push instead, and encodes on a thread of its own."""

    def __init__(self, path: Path, schema: pl.Schema) -> None:
        self._frames: queue.Queue[pl.DataFrame | None] = queue.Queue(maxsize=1)
        self._error: BaseException | None = None
        self._complete = True
        self._ended = False
        frames = register_io_source(self._pull(), schema=schema, validate_schema=True)
        self._thread = threading.Thread(target=self._write, args=(frames, path), name="parquet writer")
        self._thread.start()

    def _pull(self) -> Callable[[list[str] | None, pl.Expr | None, int | None, int | None], Iterator[pl.DataFrame]]:
        def source(*_: object) -> Iterator[pl.DataFrame]:
            while (frame := self._frames.get()) is not None:
                yield frame
            self._ended = True
            if not self._complete:
                raise InterruptedError("the table was given up")

        return source

    def _write(self, frames: pl.LazyFrame, path: Path) -> None:
        try:
            frames.sink_parquet(path, compression="zstd", compression_level=_ZSTD_LEVEL)
        except BaseException as error:  # noqa: BLE001 - carried to the calling thread, which raises it
            self._error = error
            while not self._ended:  # whoever waits to append must not wait for ever
                self._ended = self._frames.get() is None

    def append(self, frame: pl.DataFrame) -> None:
        if self._error is not None:
            raise self._error
        self._frames.put(frame)

    def close(self, *, complete: bool) -> None:
        self._complete = complete
        self._frames.put(None)
        self._thread.join()
        if complete and self._error is not None:
            raise self._error
