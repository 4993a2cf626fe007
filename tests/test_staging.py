"""Labels that wait for their proof come back as they were, and leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from reviewopt.errors import InputError
from reviewopt.staging import Staged


def frame(first: int, n: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "label": pl.Series(["negative", None, "positive"] * n, dtype=pl.Enum(["negative", "positive"])).head(n),
            "confidence": pl.Series([float("nan"), None, 0.5] * n, dtype=pl.Float32).head(n),
            "cost_usd": pl.Series(["0.000000000001"] * n).cast(pl.Decimal(38, 18)),
            "row": pl.Series(range(first, first + n), dtype=pl.Int64),
        }
    )


def test_every_chunk_comes_back_as_it_was_and_in_order(tmp_path: Path) -> None:
    chunks = [frame(0, 4), frame(4, 0), frame(4, 1), *(frame(at, 2) for at in range(5, 30, 2))]
    with Staged(tmp_path) as staged:
        for one in chunks:
            staged.add(one)
        back = list(staged.frames())
    assert len(back) == len(chunks)
    for one, two in zip(chunks, back, strict=True):
        assert one.schema == two.schema
        assert one.equals(two)


def test_chunks_can_be_read_twice(tmp_path: Path) -> None:
    with Staged(tmp_path) as staged:
        staged.add(frame(0, 3))
        assert [one["row"].to_list() for one in staged.frames()] == [one["row"].to_list() for one in staged.frames()]


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    with Staged(tmp_path) as staged:
        staged.add(frame(0, 3))
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_behind_by_an_error_either(tmp_path: Path) -> None:
    def fail() -> None:
        with Staged(tmp_path) as staged:
            staged.add(frame(0, 3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(tmp_path.iterdir())


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    with Staged(tmp_path):
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_disk_that_takes_nothing_is_told_of(tmp_path: Path) -> None:
    with Staged(tmp_path) as staged:
        (folder,) = tmp_path.iterdir()
        folder.rmdir()
        with pytest.raises(InputError, match="until they are proven"):
            staged.add(frame(0, 3))
