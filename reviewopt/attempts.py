"""How many promises were tested on one table and reference: each further one gets less of the error that is allowed.

A file a table and reference, `HOME/certificates/DIGEST.jsonl`, that only grows. It holds figures and digests alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec

from reviewopt.data import Frozen
from reviewopt.errors import InputError

FOLDER: Final = "certificates"


class Promise(Frozen, frozen=True, kw_only=True):
    """What was to be proven, by which policies."""

    target: float
    confidence: float
    per: str
    policy: str


class Attempts:
    """The promises on one table, task and reference so far."""

    def __init__(self, home: Path, *parts: str) -> None:
        """`parts` name the table, the task and the reference."""
        name = hashlib.sha256(b"".join(f"{len(part.encode())}:".encode() + part.encode() for part in parts)).hexdigest()
        self._path = home / FOLDER / f"{name[:16]}.jsonl"

    def check(self) -> None:
        """Read what was counted so far: before anything is paid for.

        Raises:
            InputError: the file cannot be read, or is damaged.
        """
        try:
            whole = self._path.read_bytes() if self._path.exists() else b""
        except OSError as error:
            raise InputError(f"cannot read the promises of this table in {self._path}: {error}") from error
        self._decoded(whole[: whole.rfind(b"\n") + 1])

    def number(self, promise: Promise) -> int:
        """Return which promise this is, from 1, and note it where it is a new one.

        The same promise by the same policies is one attempt, however often it is run: nothing new is looked at.

        Raises:
            InputError: the file cannot be read or written, or is damaged; then nobody knows how many there were.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600), "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                whole = file.read()
                kept = whole[: whole.rfind(b"\n") + 1]  # a line that a kill cut short was tested by nobody
                known = self._decoded(kept)
                if promise not in known:
                    known.append(promise)
                    file.truncate(len(kept))
                    file.write(msgspec.json.encode(promise) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"cannot keep the promises of this table in {self._path}: {error}") from error
        return known.index(promise) + 1

    def _decoded(self, whole: bytes) -> list[Promise]:
        try:
            return [msgspec.json.decode(line, type=Promise) for line in whole.splitlines() if line.strip()]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"{self._path} is damaged ({error}): it counts the promises that were tested on this table, and none "
                "is tested on a guess; restore the file, or give the table a home of its own with --home"
            ) from error
