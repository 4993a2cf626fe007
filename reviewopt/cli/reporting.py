"""Where `reviewopt report -o` may write, and how."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from reviewopt.errors import InputError, UsageError

_HEAD_BYTES: Final = 4096
# A table's first line ends with the run; the other formats say themselves what they are.
_TABLE: Final = re.compile(rb"[^\n]* run \d{8}-\d{6}-\d{6}\s*\n")
_STARTS: Final = (
    b"<!-- reviewopt report -->\n",
    b'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="reviewopt ',
)


class _AnyReport(msgspec.Struct):
    """What a report of any version holds."""

    schema_version: int
    state: str
    run: msgspec.Raw


def check_output(path: Path, *, force: bool, records: Sequence[Path]) -> None:
    """Check that nothing but an earlier report would be lost.

    Raises:
        UsageError: the file is something else, or a record that is read, or there is no such folder.
    """
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}; make it first or name another file with -o")
    if not path.exists():
        return
    if any(path.samefile(one) for one in records):
        raise UsageError(f"{path} is the record of a run, and is kept; name another file with -o")
    if path.is_dir() or not (force or _is_report(path)):
        raise UsageError(f"{path} exists and is no report: it is kept; name another file with -o, or give --force")


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(_HEAD_BYTES)
        if start.startswith(_STARTS) or _TABLE.match(start):
            return True
        msgspec.json.decode(path.read_bytes() if start.startswith(b"{") else b"", type=_AnyReport)
    except (OSError, msgspec.DecodeError):
        return False
    return True


def write_report(path: Path, content: str) -> None:
    """Replace a file, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content.encode("utf-8", "replace"))
        partial.replace(path)
    except OSError as error:
        raise InputError(f"cannot write the report to {path}: {error}") from error
