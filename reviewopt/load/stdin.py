"""Standard input, spooled to a private temporary file, because a table is read more than once."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO, Final

from reviewopt.errors import InputError, UsageError
from reviewopt.load.places import Format, Place
from reviewopt.load.source import shown
from reviewopt.load.stream import Compression, encoding_of

NAME: Final = "standard input"

_FORMATS: Final[dict[str, Format]] = {"csv": "csv", "tsv": "tsv", "json": "json", "jsonl": "json", "ndjson": "json"}
_MARKS: Final[tuple[tuple[bytes, Compression], ...]] = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))


def check_format(given: str) -> None:
    """Refuses a format that standard input cannot have.

    Raises:
        UsageError: It cannot.
    """
    if given not in _FORMATS:
        raise UsageError(f"standard input cannot be read as '{shown(given)}'; known: {', '.join(_FORMATS)}")


def spool(stream: BinaryIO, given_format: str | None) -> Place:
    """Copies the stream to a new file that only the user can read (mode 0600); the caller deletes it.

    Args:
        stream: Standard input.
        given_format: One that `check_format` lets pass; None looks at the first bytes.

    Raises:
        InputError: The stream is empty or holds a parquet file.
    """
    handle, spooled = tempfile.mkstemp(prefix="reviewopt-stdin-")
    path = Path(spooled)
    try:
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
        return _place(path, given_format)
    except BaseException:
        path.unlink()
        raise


def _place(path: Path, given_format: str | None) -> Place:
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise InputError(f"{NAME}: nothing came in; pipe a csv or jsonl table into it")
    if head.startswith((b"PAR1", b"ARROW1")):
        raise InputError(f"{NAME}: this is a parquet or arrow file; give its path instead of -")
    compression = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if given_format is None and compression is not None:
        raise InputError(f"{NAME}: the input is {compression} data; unpack it before the pipe, or name its format")
    # A cut within a character at the end does not matter here.
    start = head.decode(encoding_of(head), "ignore").lstrip()[:1]
    found = _FORMATS[given_format] if given_format else "json" if start in ("{", "[") else "csv"
    return Place(name=NAME, path=path, format=found, compression=compression)
