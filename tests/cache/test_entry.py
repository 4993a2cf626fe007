from __future__ import annotations

import tracemalloc
import zlib
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt.cache import entry

KEY = "0123456789abcdef0123456789abcdef"
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.binary(min_size=16, max_size=16).map(bytes.hex),
            "context": st.binary(min_size=8, max_size=8).map(bytes.hex),
            "answer": TEXTS,
            "confidence": st.none() | st.floats(0, 1, width=32),
            "cost_usd": st.decimals(0, Decimal("999999.999999999999"), places=12),
            "created_s": st.integers(0, 253_402_300_799),
            "tenant": st.none() | TEXTS,
            "review_id": st.none() | TEXTS,
            "text": TEXTS,
        }
    ),
    max_size=20,
)


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    """Entries of these values, with good ones where none is given."""
    good = {
        "key": KEY,
        "context": "00000000000000ff",
        "answer": "positive",
        "confidence": 0.5,
        "cost_usd": Decimal("0.000012345678"),
        "created_s": 1_795_000_000,
        "tenant": "acme",
        "review_id": "r1",
        "text": "works well",
    }
    return pl.DataFrame([{**good, **row} for row in rows], schema=entry.ENTRY_SCHEMA)


def encoded(entries: pl.DataFrame, *, compress_above_bytes: int = 1024) -> tuple[list[bytes], list[bytes]]:
    values = entry.encode(entry.check(entries), compress_above_bytes=compress_above_bytes)
    return [key.encode() for key in entries["key"]], values


def is_damaged(value: object, key: object = KEY.encode()) -> bool:
    decoded, damaged = entry.decode([key], [value])
    assert len(decoded) == (not damaged[0])
    return bool(damaged[0])


@given(ENTRIES, st.sampled_from([0, 30, 1 << 30]))
def test_what_is_encoded_is_decoded(rows: list[dict[str, Any]], compress_above_bytes: int) -> None:
    entries = pl.DataFrame(rows, schema=entry.ENTRY_SCHEMA)
    decoded, damaged = entry.decode(*encoded(entries, compress_above_bytes=compress_above_bytes))
    assert not damaged.any()
    assert decoded.schema == entry.ENTRY_SCHEMA
    assert decoded.equals(entries)


def test_null_and_empty_strings_stay_apart() -> None:
    entries = frame({"tenant": "", "review_id": None}, {"tenant": None, "review_id": "", "confidence": None})
    decoded, _ = entry.decode(*encoded(entries))
    assert decoded.equals(entries)


@pytest.mark.parametrize("compress_above_bytes", [0, 1024])
def test_one_changed_bit_anywhere_is_damage(compress_above_bytes: int) -> None:
    _, (value,) = encoded(frame({}), compress_above_bytes=compress_above_bytes)
    for bit in range(8 * len(value)):
        changed = bytearray(value)
        changed[bit // 8] ^= 1 << bit % 8
        assert is_damaged(bytes(changed))
    assert all(is_damaged(value[:length]) for length in range(len(value)))
    assert not is_damaged(value)


def test_a_value_of_another_key_is_damage() -> None:
    keys, values = encoded(frame({}, {"key": KEY[::-1], "answer": "negative"}))
    decoded, damaged = entry.decode(keys[::-1], values)
    assert damaged.tolist() == [True, True]
    assert len(decoded) == 0


@pytest.mark.parametrize("value", [None, 1, 1.5, "text", b"", b"short", bytes(200)])
def test_what_is_not_a_sealed_value_is_damage(value: object) -> None:
    assert is_damaged(value)


@pytest.mark.parametrize("key", [None, 7, KEY, b"", KEY[1:].encode(), KEY.upper().encode(), b"g" * 32])
def test_what_is_not_a_key_is_damage(key: object) -> None:
    _, (value,) = encoded(frame({}))
    sealed = entry.seal(key, value[:-4]) if isinstance(key, bytes) else value
    assert is_damaged(sealed, key)


def test_damage_leaves_its_neighbours_alone() -> None:
    entries = frame(*({"key": f"{i:032x}", "answer": str(i)} for i in range(6)))
    keys, values = encoded(entries)
    rows: list[object] = [*values]
    rows[1], rows[3], rows[4] = None, values[2], entry.seal(keys[4], values[4][:-5] + b"\xff")
    decoded, damaged = entry.decode(keys, rows)
    assert damaged.tolist() == [False, True, False, True, True, False]
    assert decoded.equals(entries[[0, 2, 5]])


@pytest.mark.parametrize(
    ("field", "forged"),
    [
        ("version", 0),
        ("version", 2),
        ("flags", 0x1E),
        ("flags", 0x0E & ~2),  # a confidence, but not said to be there
        ("flags", 0x0E & ~4),
        ("flags", 0x0E & ~8),
        ("flags", 0x0F),  # compressed, but it is not
        ("confidence", np.nan),
        ("confidence", np.inf),
        ("confidence", 1.01),
        ("confidence", -0.01),
        ("cost", -1),
        ("cost", 10**18),
        ("created_s", -1),
        ("created_s", 253_402_300_800),
        ("lengths", (8, 4, 2, 11)),
        ("lengths", (8, 4, 2, 9)),
        ("lengths", (2**32 - 1,) * 4),
    ],
)
def test_a_forged_field_under_a_right_checksum_is_damage(field: str, forged: Any) -> None:
    _, (value,) = encoded(frame({}))
    header = np.frombuffer(value[: entry._SIZE], entry._HEADER).copy()
    assert header["flags"][0] == 0x0E
    header[field] = forged
    assert is_damaged(entry.seal(KEY.encode(), header.tobytes() + value[entry._SIZE : -4]))


def test_strings_that_are_not_utf8_are_damage() -> None:
    for broken in (b"works w\xffll", b"works \xed\xa0\x80l"):  # a stray byte, a surrogate
        _, (value,) = encoded(frame({}))
        assert is_damaged(entry.seal(KEY.encode(), value[:-14] + broken))
    _, (value,) = encoded(frame({"review_id": "é", "text": "é"}))
    assert not is_damaged(value)
    header = np.frombuffer(value[: entry._SIZE], entry._HEADER).copy()
    header["lengths"] = (8, 4, 1, 3)  # cuts a character in two
    assert is_damaged(entry.seal(KEY.encode(), header.tobytes() + value[entry._SIZE : -4]))


def forged_stream(stream: bytes, n_text: int) -> bytes:
    _, (value,) = encoded(frame({}), compress_above_bytes=0)
    header = np.frombuffer(value[: entry._SIZE], entry._HEADER).copy()
    header["lengths"][0, 3] = n_text
    return entry.seal(KEY.encode(), header.tobytes() + stream)


def test_a_bomb_is_damage_and_is_never_inflated() -> None:
    bomb = zlib.compress(b"positiveacmer1" + bytes(200 << 20), 9)
    tracemalloc.start()
    try:
        assert is_damaged(forged_stream(bomb, 10))  # claims less than it holds
        assert is_damaged(forged_stream(bomb, 200 << 20))  # tells the truth
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_stream_must_hold_exactly_what_it_claims() -> None:
    stream = zlib.compress(b"positiveacmer1" + b"x" * 10)
    assert not is_damaged(forged_stream(stream, 10))
    assert is_damaged(forged_stream(stream, 9))
    assert is_damaged(forged_stream(stream, 11))
    assert is_damaged(forged_stream(stream + b"x", 10))
    assert is_damaged(forged_stream(stream[:-5], 10))
    assert is_damaged(forged_stream(b"not a stream", 10))


def test_only_long_entries_are_compressed() -> None:
    short, long = frame({"text": "x" * 86}), frame({"text": "x" * 87})  # with the other strings: 100 and 101 bytes
    _, (plain,) = encoded(short, compress_above_bytes=100)
    _, (packed,) = encoded(long, compress_above_bytes=100)
    assert len(plain) > 100 > len(packed)


def test_a_text_beyond_the_bound_of_inflation_is_stored_as_it_is() -> None:
    entries = frame({"text": "x" * (9 << 20)})
    keys, values = encoded(entries, compress_above_bytes=100)
    assert len(values[0]) > 9 << 20
    decoded, damaged = entry.decode(keys, values)
    assert not damaged.any()
    assert decoded.equals(entries)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", None),
        ("key", KEY.upper()),
        ("key", KEY + "\n"),
        ("context", "ff"),
        ("context", None),
        ("answer", None),
        ("confidence", 1.5),
        ("confidence", float("nan")),
        ("cost_usd", Decimal(-1)),
        ("cost_usd", None),
        ("created_s", -1),
        ("created_s", None),
        ("text", None),
    ],
)
def test_no_entry_goes_in_that_would_not_come_out(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        entry.check(frame({}, {field: value}))


def test_a_frame_of_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="not a frame of entries"):
        entry.check(frame({}).with_columns(pl.col("confidence").cast(pl.Float64)))


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_a_seal_opens_under_its_own_key_only(key: bytes, other: bytes, payload: bytes) -> None:
    sealed = entry.seal(key, payload)
    assert entry.unseal(key, sealed) == payload
    assert entry.unseal(other, sealed) == (payload if other == key else None)
    assert entry.unseal(None, sealed) is entry.unseal(key, None) is None


def one_of(row: dict[str, Any]) -> entry.Entry:
    return entry.Entry(**{**{k: v for k, v in row.items() if k != "cost_usd"}, "cost": int(row["cost_usd"].scaleb(12))})


@given(ENTRIES, st.sampled_from([0, 30, 1 << 30]))
def test_one_entry_is_stored_as_it_is_among_many(rows: list[dict[str, Any]], compress_above_bytes: int) -> None:
    _, values = encoded(pl.DataFrame(rows, schema=entry.ENTRY_SCHEMA), compress_above_bytes=compress_above_bytes)
    assert [entry.encode_one(one_of(row), compress_above_bytes=compress_above_bytes) for row in rows] == values


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": KEY[1:]},
        {"key": KEY.upper()},
        {"cost": -1},
        {"cost": 10**18},
        {"created_s": -1},
        {"created_s": 253_402_300_800},
        {"confidence": 1.5},
        {"confidence": float("nan")},
    ],
)
def test_one_entry_that_could_not_be_read_back_is_refused(wrong: dict[str, Any]) -> None:
    good = one_of(frame({}).row(0, named=True))
    with pytest.raises(ValueError, match="an entry with a bad"):
        entry.encode_one(good._replace(**wrong), compress_above_bytes=1024)
