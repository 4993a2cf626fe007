"""Questions that never get an answer: refused, filtered, or with no valid reply after every try. Not asked again.

Kept beside the archive by the key that the answer would have, so whatever decides an answer decides this too. A file of
lines that only grows: `crc32 JSON`, each written at once by one process at a time. A line that is torn or damaged is no
line; what is lost is asked again.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from reviewopt.cache.sidecar import locked
from reviewopt.data import Frozen
from reviewopt.errors import InputError

FILE: Final = "refusals"
_SCHEMA: Final = pl.Schema({"key": pl.String(), "reason": pl.String()})


class _Line(Frozen, frozen=True, kw_only=True):
    """One more refusal; without a reason, what is known of the key is forgotten."""

    key: str
    reason: str | None
    n_tries: int
    created_s: int


class Refusals:
    """What is known of the questions that never get an answer, as it was on disk at the last `refresh`."""

    def __init__(
        self,
        folder: Path,
        *,
        on_warning: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read those of the archive in `folder`, which is made when the first is added.

        Raises:
            InputError: the folder cannot be read.
        """
        self._folder = folder
        self._path = folder / FILE
        self._on_warning = on_warning
        self._clock = clock
        self._has_warned = False
        self._held: dict[str, _Line] = {}  # one a key: its last reason, and all tries since it was last forgotten
        self._frame: pl.DataFrame | None = None  # of what is held, once it is looked up
        self.refresh()

    def __len__(self) -> int:
        return len(self._held)

    def refresh(self) -> None:
        """See what was added since, by any process.

        Raises:
            InputError: the file cannot be read.
        """
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise InputError(f"cannot read {self._path}: {error}; name another place with --home") from error
        read = [_unsealed(line) for line in lines if line]
        sound = [line for line in read if line is not None]
        if len(sound) < len(read):
            self._warn(f"{len(read) - len(sound):,} of {len(read):,} lines of {self._path} are damaged: asked again")
        self._held = {}
        self._take(sound)

    def known(self, keys: pl.Series) -> dict[int, str]:
        """Return the reason of each refused key by its position in `keys`, String (n,), ascending."""
        asked = pl.DataFrame({"at": pl.int_range(len(keys), eager=True), "key": keys})
        if self._frame is None:
            rows = [(line.key, line.reason) for line in self._held.values()]
            self._frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
        found = asked.join(self._frame, on="key", how="inner", maintain_order="left")
        return dict(found.select("at", "reason").iter_rows())

    def add(self, keys: Sequence[str], reasons: Sequence[str], n_tries: Sequence[int]) -> None:
        """Remember questions that got no answer; a full disk forgets them with the process, and says so.

        Args:
            keys: (n,), as `Keys.hex` spells them.
            reasons: (n,), for people, without any text of a review.
            n_tries: (n,), how often each was asked this time; added to what is known.
        """
        now_s = int(self._clock())
        rows = zip(keys, reasons, n_tries, strict=True)
        self._append([_Line(key=key, reason=why, n_tries=n, created_s=now_s) for key, why, n in rows])

    def forget(self, keys: Sequence[str]) -> None:
        """Forget what is known of the keys, (n,), so that they are asked again."""
        self._append([_Line(key=key, reason=None, n_tries=0, created_s=0) for key in keys])

    def clear(self) -> None:
        """Forget everything."""
        if self._folder.is_dir():
            with locked(self._folder):
                self._path.unlink(missing_ok=True)
        self._held, self._frame = {}, None

    def _take(self, lines: Iterable[_Line]) -> None:
        """Add lines to what is held; what it costs does not grow with that."""
        self._frame = None
        for line in lines:
            if line.reason is None:
                self._held.pop(line.key, None)
            else:
                before = self._held.get(line.key)
                n_tries = line.n_tries + (before.n_tries if before else 0)
                self._held[line.key] = msgspec.structs.replace(line, n_tries=n_tries)

    def _append(self, lines: list[_Line]) -> None:
        if not lines:
            return
        self._take(lines)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(self._folder):
                self._write(b"".join(map(_sealed, lines)))
        except OSError as error:
            self._warn(f"cannot write {self._path}: {error}; what no model answers is asked again in the next run")

    def _write(self, data: bytes) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                data = data if file.read(1) == b"\n" else b"\n" + data  # a process died in the middle of a line
            while data:
                data = data[file.write(data) :]

    def _warn(self, message: str) -> None:
        if self._on_warning is not None and not self._has_warned:
            self._has_warned = True
            self._on_warning(message)


def _sealed(line: _Line) -> bytes:
    payload = msgspec.json.encode(line)
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def _unsealed(line: bytes) -> _Line | None:
    """Return what a line says, None for a torn or damaged one."""
    crc, _, payload = line.partition(b" ")
    if crc != b"%08x" % zlib.crc32(payload):
        return None
    try:
        return msgspec.json.decode(payload, type=_Line)
    except msgspec.DecodeError:
        return None
