"""Bytes of a text file in blocks: decompressed, and UTF-8 whatever Unicode encoding the file has."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Literal, cast

import numpy as np

from reviewopt.errors import InputError
from reviewopt.load.source import reason

# 16 MB blocks into polars' readers: fast, and 145 MB at the peak for a table of any length.
BLOCK_BYTES: Final = 16 << 20

# How files that are no text start, and what to do with one that has a text file's ending.
_BINARY: Final = (
    (b"PAR1", "a parquet file", "rename it to end in .parquet"),
    (b"ARROW1", "an Arrow file", "rename it to end in .arrow"),
    (b"\x1f\x8b", "gzip data", "add .gz to its name"),
    (b"\x28\xb5\x2f\xfd", "zstd data", "add .zst to its name"),
    (b"PK\x03\x04", "a zip or Excel file", "unpack it, or save the sheet as CSV"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"%PDF", "a PDF", "export the table as CSV"),
)

Compression = Literal["gzip", "zstd"]

# UTF-32 first: its little-endian mark begins with the one of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def n_of(data: bytes, byte: bytes) -> int:
    """How often one byte occurs: ten times as fast as bytes.count where it is frequent."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord(byte)))


def encoding_of(head: bytes) -> str:
    """The Unicode encoding of a text that starts with `head`: by its byte order mark, or by where the NULs are.

    Anything else counts as UTF-8; the readers find the line of a byte that is not.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    n_pairs = len(head) // 2
    if n_pairs >= 2:
        even = head[0 : 2 * n_pairs : 2].count(0) / n_pairs
        odd = head[1 : 2 * n_pairs : 2].count(0) / n_pairs
        # Latin text in UTF-16 has a NUL in nearly every pair, on one side only; UTF-8 has next to none.
        if odd > 0.3 and even < 0.05:
            return "utf-16-le"
        if even > 0.3 and odd < 0.05:
            return "utf-16-be"
    return "utf-8"


def text_blocks(path: Path, name: str, compression: Compression | None, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The file's text as UTF-8, without a byte order mark, in blocks of about `size` bytes.

    UTF-8 passes through unchecked: the reader that parses it knows the line of a bad byte.

    Raises:
        InputError: The file cannot be read, its compression is damaged, or its UTF-16 or UTF-32 is.
    """
    decoder: codecs.IncrementalDecoder | None = None
    n_bytes = 0
    for block in _raw_blocks(path, name, compression, size):
        if n_bytes == 0:
            _refuse_other_formats(block, name)
        encoding = encoding_of(block[:65536]) if n_bytes == 0 else "utf-8"
        if encoding not in ("utf-8", "utf-8-sig"):
            decoder = codecs.getincrementaldecoder(encoding)()
        if decoder is not None:
            yield _transcoded(decoder, block, name, n_bytes)
        else:
            yield block[len(codecs.BOM_UTF8) :] if encoding == "utf-8-sig" else block
        n_bytes += len(block)
    if decoder is not None:
        _transcoded(decoder, b"", name, n_bytes, final=True)


def _refuse_other_formats(head: bytes, name: str) -> None:
    for mark, what, advice in _BINARY:
        if head.startswith(mark):
            raise InputError(f"{name}: this is {what}, not text; {advice}")


def _transcoded(decoder: codecs.IncrementalDecoder, block: bytes, name: str, at: int, final: bool = False) -> bytes:
    try:
        return decoder.decode(block, final).encode()
    except UnicodeError as error:
        raise InputError(
            f"{name}: its {decoder.__class__.__module__.removeprefix('encodings.').replace('_', '-')} text is damaged "
            f"after byte {at:,} ({reason(error)}); save it again as UTF-8"
        ) from error


def _raw_blocks(path: Path, name: str, compression: Compression | None, size: int) -> Iterator[bytes]:
    n_bytes = 0
    try:
        with _opened(path, compression) as file:
            while block := file.read(size):
                yield block
                n_bytes += len(block)
    except (OSError, EOFError, zlib.error) as error:
        if compression is None:
            raise InputError(f"{name}: {reason(error)}; check the path and its permissions") from error
        raise InputError(
            f"{name}: the {compression} data is damaged or cut short after {n_bytes:,} bytes of text "
            f"({reason(error)}); copy or pack the file again"
        ) from error


def _opened(path: Path, compression: Compression | None) -> BinaryIO:
    if compression == "gzip":
        return cast("BinaryIO", gzip.open(path, "rb"))
    if compression == "zstd":
        # Neither Python 3.11 nor polars hands out the bytes of a zstd stream; pyarrow comes with datasets.
        import pyarrow as pa  # type: ignore[import-untyped]  # it carries no types

        return cast("BinaryIO", pa.input_stream(str(path), compression="zstd"))
    return path.open("rb")
