"""One answer as the archive stores it: a frame of entries to sealed bytes and back, never a Python object a field.

A stored value is `payload + crc32(key + payload)`. The checksum covers the key, so a value that is found under another
key (one flipped bit in an index is enough) is damage, not an answer. A payload is a fixed header, then the strings:

    HEADER | answer | tenant | review_id | text

The four strings are stored by their lengths, so they may hold any Unicode, and are compressed together when the payload
is long. The answer to a task of several fields is `LABEL tab JSON`: the label of the first field, and the answers to
the others (its rest); no label holds a tab, and JSON escapes them. No stored byte is believed: what does not pass every
check on the way in is damaged, and a miss.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import compress
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import ComputeError

from reviewopt.data import COST_DTYPE

ENTRY_SCHEMA: Final = pl.Schema(
    {
        "key": pl.String(),  # 32 hex digits: 128 bits of a SHA-256 over everything that decides the answer
        "context": pl.String(),  # 16 hex digits: the digest of everything in the key but the text
        "answer": pl.String(),
        "confidence": pl.Float32(),  # 0-1, or null
        "cost_usd": COST_DTYPE,
        "created_s": pl.Int64(),  # Unix time
        "tenant": pl.String(),  # may be null
        "review_id": pl.String(),  # may be null
        "text": pl.String(),  # the normal form
    }
)
KEY_LENGTH: Final = 32
_TAB: Final = "\t"
_STRINGS: Final = ("answer", "tenant", "review_id", "text")
_VERSION: Final = 1
_COMPRESSED, _HAS_CONFIDENCE, _HAS_TENANT, _HAS_REVIEW_ID = 1, 2, 4, 8
_HEADER: Final = np.dtype(
    [
        ("version", "u1"),
        ("flags", "u1"),
        ("confidence", "<f4"),
        ("created_s", "<i8"),
        ("cost", "<i8"),  # in units of 1e-12 USD
        ("context", ">u8"),
        ("lengths", "<u4", (4,)),  # of the strings, in bytes, before compression
    ]
)
_SIZE: Final = _HEADER.itemsize
# The same header around its big-endian context, for one entry.
_HEAD_BEGINS: Final = struct.Struct("<BBfqq")
_HEAD_ENDS: Final = struct.Struct("<4I")
_CRC_SIZE: Final = 4
# crc32(message + crc32(message)) is this constant for every message: one call checks a whole value.
_SEALED: Final = 0x2144DF1C
# Longer strings are not compressed, and compressed ones that claim to be longer are a bomb.
_MAX_INFLATED_BYTES: Final = 8 << 20
_MAX_COST: Final = 10**18
_MAX_CREATED_S: Final = 253_402_300_800  # the year 10,000
_UNIT: Final = pl.lit("0.000000000001").cast(COST_DTYPE)
_IS_HEX: Final = np.isin(np.arange(256), np.frombuffer(b"0123456789abcdef", np.uint8))


def joined(label: pl.Series, rest: pl.Series) -> pl.Series:
    """Return the whole answers, String (n,), of labels and the answers to the other fields, String (n,) each."""
    return label.cast(pl.String) + _TAB + rest


def head(answer: pl.Series) -> pl.Series:
    """Return the labels of answers, String (n,): all of an answer where it has no rest."""
    if not answer.str.contains(_TAB, literal=True).any():
        return answer
    return answer.str.splitn(_TAB, 2).struct.field("field_0").alias(answer.name)


def rest(answer: pl.Series) -> pl.Series:
    """Return the answers to the other fields, String (n,): the empty string where an answer is a label alone."""
    return answer.str.splitn(_TAB, 2).struct.field("field_1").fill_null("").alias("rest")


class Entry(NamedTuple):
    """One entry, as `ENTRY_SCHEMA` has it, for the few that a reply brings; the cost in units of 1e-12 USD."""

    key: str
    context: str
    answer: str
    confidence: float | None
    cost: int
    created_s: int
    tenant: str | None
    review_id: str | None
    text: str


def seal(key: bytes, payload: bytes) -> bytes:
    """Return the value that stores `payload` under `key` and under no other."""
    return payload + zlib.crc32(payload, zlib.crc32(key)).to_bytes(_CRC_SIZE, "little")


def unseal(key: object, value: object) -> bytes | None:
    """Return the payload of a value that was stored under `key`, or None when it is damaged."""
    if not isinstance(key, bytes) or not isinstance(value, bytes) or len(value) < _CRC_SIZE:
        return None
    return value[:-_CRC_SIZE] if zlib.crc32(value, zlib.crc32(key)) == _SEALED else None


def check(entries: pl.DataFrame) -> pl.DataFrame:
    """Return the entries in the order of ENTRY_SCHEMA.

    Raises:
        ValueError: a value that `decode` would not take back.
    """
    entries = entries.select(ENTRY_SCHEMA.names())
    if entries.schema != ENTRY_SCHEMA:
        raise ValueError(f"not a frame of entries: {entries.schema}")
    wrong = {
        "key": ~pl.col("key").str.contains(r"^[0-9a-f]{32}\z"),
        "context": ~pl.col("context").str.contains(r"^[0-9a-f]{16}\z"),
        "answer": pl.lit(value=False),
        "cost_usd": ~pl.col("cost_usd").is_between(0, 1_000_000, closed="left"),
        "created_s": ~pl.col("created_s").is_between(0, _MAX_CREATED_S, closed="left"),
        "text": pl.lit(value=False),
    }
    tests = [(pl.col(name).is_null() | test).any().alias(name) for name, test in wrong.items()]
    tests.append((~pl.col("confidence").is_between(0, 1)).any().alias("confidence"))
    if bad := [name for name, found in entries.select(tests).row(0, named=True).items() if found]:
        raise ValueError(f"entries with a bad value in: {', '.join(bad)}")
    return entries


def encode(entries: pl.DataFrame, *, compress_above_bytes: int) -> list[bytes]:
    """Return the value to store for each entry of a checked frame, (n_entries,).

    Args:
        entries: as `check` returns them; a few thousand at a time keep the memory small.
        compress_above_bytes: strings that are longer together are compressed.
    """
    header = np.zeros(len(entries), _HEADER)
    header["version"] = _VERSION
    header["confidence"] = entries["confidence"].fill_null(0).to_numpy()
    header["created_s"] = entries["created_s"].to_numpy()
    header["cost"] = entries["cost_usd"].to_physical().cast(pl.Int64).to_numpy()
    header["context"] = entries["context"].str.to_integer(base=16, dtype=pl.UInt64).to_numpy()
    for at, name in enumerate(_STRINGS):
        header["lengths"][:, at] = entries[name].str.len_bytes().fill_null(0).to_numpy()
    for flag, name in ((_HAS_CONFIDENCE, "confidence"), (_HAS_TENANT, "tenant"), (_HAS_REVIEW_ID, "review_id")):
        header["flags"] |= entries[name].is_not_null().to_numpy().astype(np.uint8) * np.uint8(flag)
    strings = entries.select(pl.concat_str(_STRINGS, ignore_nulls=True).cast(pl.Binary)).to_series().to_list()
    size = header["lengths"].sum(1, dtype=np.int64)
    for at in np.flatnonzero((size > compress_above_bytes) & (size <= _MAX_INFLATED_BYTES)).tolist():
        strings[at] = zlib.compress(strings[at])
        header["flags"][at] |= _COMPRESSED
    heads = header.tobytes()
    keys = entries["key"].cast(pl.Binary).to_list()
    starts = range(0, len(heads), _SIZE)
    return [seal(key, heads[at : at + _SIZE] + tail) for key, at, tail in zip(keys, starts, strings, strict=True)]


def encode_one(entry: Entry, *, compress_above_bytes: int) -> bytes:
    """Return the value to store for one entry, the same as `encode` makes: frames cost more than a few entries do.

    Raises:
        ValueError: a value that `decode` would not take back.
    """
    key, flags = entry.key.encode(), 0
    if not is_key(key) or not 0 <= entry.cost < _MAX_COST or not 0 <= entry.created_s < _MAX_CREATED_S:
        raise ValueError("an entry with a bad value")
    if entry.confidence is not None:
        flags |= _HAS_CONFIDENCE
        if not 0 <= entry.confidence <= 1:
            raise ValueError("an entry with a bad confidence")
    flags |= _HAS_TENANT if entry.tenant is not None else 0
    flags |= _HAS_REVIEW_ID if entry.review_id is not None else 0
    strings = [one.encode() for one in (entry.answer, entry.tenant or "", entry.review_id or "", entry.text)]
    lengths, tail = [len(one) for one in strings], b"".join(strings)
    if compress_above_bytes < len(tail) <= _MAX_INFLATED_BYTES:
        tail, flags = zlib.compress(tail), flags | _COMPRESSED
    head = _HEAD_BEGINS.pack(_VERSION, flags, entry.confidence or 0.0, entry.created_s, entry.cost)
    return seal(key, head + bytes.fromhex(entry.context) + _HEAD_ENDS.pack(*lengths) + tail)


def decode(keys: Sequence[object], values: Sequence[object]) -> tuple[pl.DataFrame, npt.NDArray[np.bool_]]:
    """Return the sound entries of stored rows.

    Args:
        keys: (n_rows,), as bytes; anything else is damaged.
        values: (n_rows,), as bytes; anything else is damaged.

    Returns:
        A frame of ENTRY_SCHEMA, (n_sound,), in the order of the rows; and which rows are damaged, (n_rows,).
    """
    if not set(map(type, keys)) | set(map(type, values)) <= {bytes}:
        keys = [key if type(key) is bytes else b"" for key in keys]
        values = [value if type(value) is bytes else b"" for value in values]
    all_keys, all_values = cast("Sequence[bytes]", keys), cast("Sequence[bytes]", values)
    sound = np.fromiter(map(len, all_keys), np.int64, len(keys)) == KEY_LENGTH
    sound &= np.fromiter(map(len, all_values), np.int64, len(values)) >= _SIZE + _CRC_SIZE
    sound &= np.fromiter(map(zlib.crc32, all_values, map(zlib.crc32, all_keys)), np.uint32, len(keys)) == _SEALED
    frame, fine = _decode_sealed(_kept(all_keys, sound), _kept(all_values, sound))
    sound[sound] = fine
    return frame, ~sound


def is_key(key: bytes) -> bool:
    """Say whether these bytes could be a key of an entry."""
    return len(key) == KEY_LENGTH and set(key) <= set(b"0123456789abcdef")


def _kept(rows: Sequence[bytes], keep: npt.NDArray[np.bool_]) -> Sequence[bytes]:
    return rows if keep.all() else list(compress(rows, keep.tolist()))


def _decode_sealed(keys: Sequence[bytes], values: Sequence[bytes]) -> tuple[pl.DataFrame, npt.NDArray[np.bool_]]:
    """Decode rows whose checksums are right, which a forger can also make: every field is checked still."""
    header = np.frombuffer(b"".join([value[:_SIZE] for value in values]), _HEADER)
    fine = _plausible(header) & _IS_HEX[np.frombuffer(b"".join(keys), np.uint8)].reshape(-1, KEY_LENGTH).all(1)
    size = header["lengths"].sum(1, dtype=np.int64)
    compressed = (header["flags"] & _COMPRESSED) != 0
    plain_size = np.fromiter(map(len, values), np.int64, len(values)) - (_SIZE + _CRC_SIZE)
    fine &= np.where(compressed, size <= _MAX_INFLATED_BYTES, size == plain_size)
    if (fine & compressed).any():
        values = list(values)
        for at in np.flatnonzero(fine & compressed).tolist():
            inflated = _inflate(values[at][_SIZE:-_CRC_SIZE], int(size[at]))
            values[at] = values[at][:_SIZE] + (inflated or b"")
            fine[at] = inflated is not None
    keys, values, header = _kept(keys, fine), _kept(values, fine), header[fine]
    try:
        return _frame(keys, values, header), fine
    except ComputeError:  # not UTF-8, somewhere
        utf8 = np.array(list(map(_is_utf8, values, header["lengths"])), np.bool_)
        fine[fine] = utf8
        return _frame(_kept(keys, utf8), _kept(values, utf8), header[utf8]), fine


def _plausible(header: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    has_confidence = (header["flags"] & _HAS_CONFIDENCE) != 0
    confidence = header["confidence"]
    plausible: npt.NDArray[np.bool_] = (
        (header["version"] == _VERSION)
        & (header["flags"] < 2 * _HAS_REVIEW_ID)
        & np.where(has_confidence, (confidence >= 0) & (confidence <= 1), confidence == 0)
        & (header["cost"] >= 0)
        & (header["cost"] < _MAX_COST)
        & (header["created_s"] >= 0)
        & (header["created_s"] < _MAX_CREATED_S)
        & (((header["flags"] & _HAS_TENANT) != 0) | (header["lengths"][:, 1] == 0))
        & (((header["flags"] & _HAS_REVIEW_ID) != 0) | (header["lengths"][:, 2] == 0))
    )
    return plausible


def _inflate(compressed: bytes, size: int) -> bytes | None:
    """Return exactly `size` bytes, or None; never more than one byte beyond them is made."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(compressed, size + 1)
    except zlib.error:
        return None
    return inflated if stream.eof and len(inflated) == size and not stream.unused_data else None


def _is_utf8(value: bytes, lengths: npt.NDArray[np.uint32]) -> bool:
    ends = np.cumsum(lengths, dtype=np.int64) + _SIZE
    try:
        for start, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
            value[start:end].decode()
    except UnicodeDecodeError:
        return False
    return True


def _frame(keys: Sequence[bytes], values: Sequence[bytes], header: npt.NDArray[Any]) -> pl.DataFrame:
    """Cut checked values into columns.

    Raises:
        ComputeError: a string is not UTF-8.
    """
    contexts, context = np.unique(header["context"].astype(np.uint64), return_inverse=True)
    names = pl.Series([f"{number:016x}" for number in contexts.tolist()], dtype=pl.String)
    lengths = header["lengths"].astype(np.int64)
    starts = np.cumsum(lengths, axis=1) - lengths + _SIZE
    columns: dict[str, Any] = {f"at_{name}": starts[:, at] for at, name in enumerate(_STRINGS)}
    columns |= {f"n_{name}": lengths[:, at] for at, name in enumerate(_STRINGS)}
    columns |= {name: np.ascontiguousarray(header[name]) for name in ("flags", "confidence", "cost", "created_s")}
    columns["key"] = pl.Series(keys, dtype=pl.Binary)
    columns["value"] = pl.Series(values, dtype=pl.Binary)
    columns["context"] = names.gather(pl.Series(context.ravel(), dtype=pl.UInt32))
    string = {name: pl.col("value").bin.slice(f"at_{name}", f"n_{name}").cast(pl.String) for name in _STRINGS}
    return pl.DataFrame(columns).select(
        pl.col("key").cast(pl.String),
        "context",
        string["answer"].alias("answer"),
        pl.when(_has(_HAS_CONFIDENCE)).then("confidence"),
        (pl.col("cost").cast(pl.Decimal(38, 0)) * _UNIT).cast(COST_DTYPE).alias("cost_usd"),
        "created_s",
        pl.when(_has(_HAS_TENANT)).then(string["tenant"]).alias("tenant"),
        pl.when(_has(_HAS_REVIEW_ID)).then(string["review_id"]).alias("review_id"),
        string["text"].alias("text"),
    )


def _has(flag: int) -> pl.Expr:
    return (pl.col("flags") & flag) != 0
