from __future__ import annotations

import json

import archived
import numpy as np
import polars as pl
import pytest

from reviewopt.cache import entry, rows


@pytest.mark.parametrize(("payload", "epoch"), [(b"7", 7), (b"9" * 18, 10**18 - 1), (b"9" * 19, 0), (b"-1", 0)])
def test_an_epoch_is_a_sealed_number_that_fits(payload: bytes, epoch: int) -> None:
    assert rows.epoch(entry.seal(rows.EPOCH.encode(), payload)) == epoch


@pytest.mark.parametrize("stored", [None, b"", b"7", "7", 7, entry.seal(b"context:7", b"7")])
def test_what_is_not_sealed_as_an_epoch_is_none(stored: object) -> None:
    assert rows.epoch(stored) == 0


def test_a_row_is_bad_that_no_reader_takes() -> None:
    made = archived.entries(["one", "two"])
    one, two = (key.encode() for key in made["key"])
    first, second = entry.encode(made, compress_above_bytes=1000)
    context = b"context:ff"
    given = [
        (1, one, first, 1),
        (2, two, first, 1),
        (3, two, second, 0),
        (4, context, entry.seal(context, b"{}"), 1),
        (5, context, entry.seal(context, b"{}"), 0),
        (6, context, b"{}", 1),
        (7, b"stray", b"", 1),
        (8, 5, None, 1),
        (9, b"\xff" * entry.KEY_LENGTH, second, 1),
    ]
    assert list(rows.bad(given)) == [(2, two.decode()), *((rowid, None) for rowid in (3, 5, 6, 7, 8, 9))]


@pytest.mark.parametrize("n", [0, 1, 10_000, 25_001])
def test_every_key_and_number_is_asked_once(n: int) -> None:
    keys = pl.Series("key", [f"{number:032x}" for number in reversed(range(n))], dtype=pl.String)
    asked = [json.loads(part) for part in rows.key_lists(keys)]
    assert [key for part in asked for key in part] == sorted(keys)
    numbers = np.arange(n, dtype=np.int64)[::-1]
    asked = [json.loads(part) for part in rows.number_lists(numbers)]
    assert [number for part in asked for number in part] == numbers.tolist()
    assert all(0 < len(part) <= 10_000 for part in asked)
