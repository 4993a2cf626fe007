"""What people say of a table's sample: one line an answer, in `HOME/review/`, kept as soon as it is given.

The file holds rows and labels, never a text. It is named after all that an answer hangs on: the table's content, the
task and its labels, and the columns that were shown. It is only ever appended to: a later line about a row replaces the
earlier one, and an undo takes the row back.

    {"row": 17, "label": "positive"}
    {"row": 4, "label": null}           skipped
    {"row": 17, "undo": true}
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Final, Self

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec import UNSET, Meta, UnsetType

from reviewopt.data import Frozen
from reviewopt.errors import InputError, UsageError

FOLDER: Final = "review"
SKIPPED: Final = -1
_NAME_CHARS: Final = 16

I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]


class _Line(Frozen, frozen=True, kw_only=True):
    """One line: an answer, a skipped row (`label` null), or an answer that is taken back."""

    row: Annotated[int, Meta(ge=0)]
    label: str | UnsetType | None = UNSET
    undo: bool | UnsetType = UNSET


def place(home: Path, *, table: str, task: str, labels: Sequence[str], columns: Sequence[str | None]) -> Path:
    """Return the file of the answers to a task about a table.

    Args:
        home: the folder of the user's state.
        table: its fingerprint.
        task: the task's name.
        labels: those of its first field.
        columns: of the text and of the title, which are what a person is shown.
    """
    parts = msgspec.json.encode((table, task, labels, columns))
    return home / FOLDER / f"{hashlib.sha256(parts).hexdigest()[:_NAME_CHARS]}.jsonl"


def read(
    path: Path, labels: Sequence[str], *, on_warning: Callable[[str], None] = lambda _: None
) -> dict[int, str | None]:
    """Return the answers by row, null where it was skipped, in the order in which they were given.

    A last line that was cut (the process was killed while it wrote) is ignored, with a warning. No file: no answers.

    Raises:
        InputError: the file cannot be read, or another line is damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"cannot read the answers in {path}: {error}") from error
    return _answers(content, path, labels, on_warning)


def answered_prefix(drawn: pl.DataFrame, given: Mapping[int, str | None], labels: Sequence[str]) -> tuple[I64, I16]:
    """Return the longest start of the sample in which every row was answered or skipped: only a start is uniform.

    Args:
        drawn: the sample in its order, with a column `row`.
        given: answers by row, null where skipped.
        labels: label names in the order of their codes.

    Returns:
        Rows, int64 (n,), and codes of their labels, int16 (n,), -1 where skipped.
    """
    code = {None: SKIPPED} | {label: at for at, label in enumerate(labels)}
    rows: I64 = drawn["row"].to_numpy()
    known = np.fromiter((row in given for row in rows.tolist()), np.bool_, len(rows))
    n = len(rows) if known.all() else int(known.argmin())
    return rows[:n], np.array([code[given[row]] for row in rows[:n].tolist()], np.int16)


class Answers:
    """The answers of people to one table and task, open to be added to. A context manager; one at a time.

    Attributes:
        path: the file.
        labels: what an answer may be.
        given: the answers by row, null where skipped, in the order in which they were given.
    """

    def __init__(
        self, path: Path, labels: Sequence[str], *, on_warning: Callable[[str], None] = lambda _: None
    ) -> None:
        self.path: Final = path
        self.labels: Final = tuple(labels)
        self.given: dict[int, str | None] = {}
        self._on_warning = on_warning
        self._file = -1
        self._n_bytes = 0

    def __enter__(self) -> Self:
        """Read what was answered so far.

        Raises:
            InputError: the file cannot be used, or a line of it is damaged.
            UsageError: another process has it open.
        """
        try:
            for folder in (self.path.parent.parent, self.path.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._resume()
        except BlockingIOError:
            self._close()
            raise UsageError(f"this table is being reviewed by another process ({self.path}); wait for it") from None
        except OSError as error:
            self._close()
            raise InputError(f"cannot keep answers in {self.path}: {error}; name another place with --home") from error
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def append(self, rows: Iterable[tuple[int, str | None]]) -> None:
        """Keep answers, null for a skipped row; they are on the disk when this returns.

        Raises:
            InputError: they cannot be written; then none of them is kept.
            ValueError: a label that the task does not have.
        """
        lines = [_Line(row=row, label=label) for row, label in rows]
        if any(line.label not in {None, *self.labels} for line in lines):
            raise ValueError("a label that the task does not have")
        self._write(lines)

    def undo(self) -> int | None:
        """Take the last answer back, and return its row; None where there is none.

        Raises:
            InputError: that cannot be written; then the answer stays.
        """
        row = next(reversed(self.given), None)
        if row is not None:
            self._write([_Line(row=row, undo=True)])
        return row

    def _resume(self) -> None:
        content = self.path.read_bytes()
        self.given = _answers(content, self.path, self.labels, self._on_warning)
        self._n_bytes = content.rfind(b"\n") + 1
        os.ftruncate(self._file, self._n_bytes)  # the next line must not be joined to one that was cut

    def _write(self, lines: Sequence[_Line]) -> None:
        content = memoryview(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        n_written = 0
        try:
            while n_written < len(content):
                n_written += os.write(self._file, content[n_written:])
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._n_bytes)
            raise InputError(f"cannot keep answers in {self.path}: {error}") from error
        self._n_bytes += n_written
        for line in lines:
            _take(line, self.given)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _answers(
    content: bytes, path: Path, labels: Sequence[str], on_warning: Callable[[str], None]
) -> dict[int, str | None]:
    *lines, cut = content.split(b"\n")
    if cut:
        on_warning(f"the last line of {path} was cut, as by a kill: that answer is not counted")
    given: dict[int, str | None] = {}
    decoder = msgspec.json.Decoder(_Line)
    for number, text in enumerate(lines, 1):
        try:
            line = decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(_damaged(path, number, str(error))) from error
        if why := _problem(line, given, labels):
            raise InputError(_damaged(path, number, why))
        _take(line, given)
    return given


def _problem(line: _Line, given: Mapping[int, str | None], labels: Sequence[str]) -> str:
    if (line.label is UNSET) == (line.undo is UNSET) or line.undo is False:
        return "it is neither an answer nor an undo"
    if line.undo is True:
        return "" if line.row in given else f"it takes row {line.row:,} back, which has no answer"
    return "" if line.label is None or line.label in labels else "its label is none of the task's"


def _take(line: _Line, given: dict[int, str | None]) -> None:
    given.pop(line.row, None)  # a later answer is a new one, in its place in the order too
    if not isinstance(line.label, UnsetType):
        given[line.row] = line.label


def _damaged(path: Path, number: int, why: str) -> str:
    return f"{path}, line {number:,}: damaged ({why}); mend or delete that line: all others can be kept"
