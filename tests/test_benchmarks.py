"""The table that speed is measured on holds what its maker says is planted in it."""

from __future__ import annotations

import runpy
import unicodedata
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

N_REVIEWS = 2_000
PROGRAM = Path(__file__).parent / "benchmarks" / "make_million.py"


@pytest.fixture(scope="module")
def program() -> dict[str, Any]:
    return runpy.run_path(str(PROGRAM))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two invented tables with different columns, one of them with blank and one-word texts."""
    folder = tmp_path_factory.mktemp("sources")
    stars = [5, 1, 3, None]
    full = {"id": ["a", "b", "c", "d"], "title": ["Fine", None, "So-so", "No"], "rating": stars, "brand": ["X"] * 4}
    full["text"] = ["The lamp is bright and cheap", "It broke\nafter a day", "Straße, großartig!", "  "]
    short = {"id": ["1", "2"], "text": ["good", "not what I ordered"], "rating": [5.0, 1.0]}
    paths = [folder / "full.parquet", folder / "short.parquet"]
    for table, path in zip((full, short), paths, strict=True):
        pl.DataFrame(table, strict=False).write_parquet(path)
    return paths


@pytest.fixture(scope="module")
def made(program: dict[str, Any], sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A made table and what its maker says about it."""
    output = tmp_path_factory.mktemp("made") / "made.parquet"
    planted = program["make_table"](sources, N_REVIEWS, output, seed=3)
    return pl.read_parquet(output), planted


def folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def test_every_row_is_a_review_with_an_id_of_its_own(program: dict[str, Any], made: Any) -> None:
    table, planted = made
    assert table.schema == program["SCHEMA"]
    assert table.height == planted["n_reviews"] == N_REVIEWS
    assert table["id"].is_unique().all()
    assert (table["text"].str.strip_chars() != "").all()


def test_texts_are_distinct_apart_from_the_planted_copies(made: Any) -> None:
    table, planted = made
    n_copies = planted["exact_copies"] + planted["restyled_copies"]
    assert table["text"].map_elements(folded, pl.String).n_unique() == N_REVIEWS - n_copies
    assert planted["distinct_texts"] == N_REVIEWS - n_copies
    assert table["text"].n_unique() >= N_REVIEWS - n_copies


def test_the_shares_of_planted_copies_are_the_promised_ones(made: Any) -> None:
    _, planted = made
    shares = {kind: planted[f"{kind}_copies"] / N_REVIEWS for kind in ("exact", "restyled", "near")}
    assert shares == pytest.approx({"exact": 0.10, "restyled": 0.05, "near": 0.10}, abs=0.02)


def test_a_copy_has_the_title_and_the_stars_of_an_earlier_row(made: Any) -> None:
    table, planted = made
    key = table.with_columns(key=pl.col("text").map_elements(folded, pl.String))
    groups = key.group_by("key").agg(pl.col("title").n_unique(), pl.col("rating").n_unique(), pl.len())
    copied = groups.filter(pl.col("len") > 1)
    assert (copied["len"] - 1).sum() == planted["exact_copies"] + planted["restyled_copies"]
    assert (copied["title"] == 1).all()
    assert (copied["rating"] == 1).all()


def test_a_seed_gives_the_same_table_and_another_seed_another(
    program: dict[str, Any], sources: list[Path], made: Any, tmp_path: Path
) -> None:
    table, planted = made
    assert program["make_table"](sources, N_REVIEWS, tmp_path / "again.parquet", seed=3) == planted
    assert_frame_equal(pl.read_parquet(tmp_path / "again.parquet"), table)
    program["make_table"](sources, N_REVIEWS, tmp_path / "other.parquet", seed=4)
    assert not pl.read_parquet(tmp_path / "other.parquet").equals(table)


def test_more_reviews_than_distinct_texts_are_refused(
    program: dict[str, Any], sources: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="between 1 and 16,777,216"):
        program["make_table"](sources, 2**24 + 1, tmp_path / "never.parquet")
