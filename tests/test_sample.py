"""The packaged sample is what its script makes, and holds what its README says is planted."""

from __future__ import annotations

import runpy
import unicodedata
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names that `data/make_sample.py` defines."""
    return runpy.run_path(str(DATA / "make_sample.py"))


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    """The committed file."""
    return pl.read_parquet(DATA / "sample_reviews.parquet")


def folded(table: pl.DataFrame) -> list[str]:
    """Title and text without case, width and spacing, of the rows that have any."""
    joined = (f"{title or ''} {text or ''}" for title, text in table.select("title", "review_text").iter_rows())
    forms = (" ".join(unicodedata.normalize("NFKC", one).casefold().split()) for one in joined)
    return [form for form in forms if form]


def test_the_committed_file_is_what_the_script_makes(script: dict[str, Any], table: pl.DataFrame) -> None:
    made, planted = script["sample"]()
    assert_frame_equal(made, table)
    assert sum(planted.values()) == table.height == 400


def test_the_planted_kinds_are_those_of_the_readme(script: dict[str, Any]) -> None:
    _, planted = script["sample"]()
    assert planted == {
        "arabic": 2,
        "chinese": 2,
        "composed": 285,
        "contradiction": 8,
        "copy_restyled": 12,
        "copy_verbatim": 36,
        "emoji": 3,
        "empty": 6,
        "formula": 2,
        "french": 3,
        "german": 3,
        "html": 1,
        "injection": 1,
        "japanese": 2,
        "long": 1,
        "mixed": 6,
        "near_negated": 2,
        "near_number": 4,
        "near_word": 6,
        "quoted": 1,
        "sarcasm": 5,
        "spanish": 3,
        "unrated": 6,
    }


def test_exactly_the_planted_rows_are_copies(table: pl.DataFrame) -> None:
    forms = folded(table)
    assert len(forms) == table.height - 5
    assert len(forms) - len(set(forms)) == 48
    verbatim = table.filter(pl.col("review_text").str.strip_chars() != "").select("title", "review_text")
    assert verbatim.height - verbatim.n_unique() >= 36


def test_the_difficult_values_are_in_the_table(table: pl.DataFrame) -> None:
    text = pl.col("review_text")
    difficult = {
        "no text": text.fill_null("").str.strip_chars() == "",
        "formula": text.str.contains(r"^[=+]"),
        "entity": text.str.contains("&lt;", literal=True),
        "injection": text.str.starts_with("Ignore all previous instructions"),
        "very long": text.str.len_chars() > 2000,
        "line break": text.str.contains('"just one more chapter"', literal=True) & text.str.contains("\n"),
        "id that is a number": pl.col("review_id") == "007",
        "no stars": pl.col("rating").is_null(),
    }
    counts = table.select(condition.sum().alias(name) for name, condition in difficult.items()).row(0, named=True)
    assert counts == {
        "no text": 6,
        "formula": 2,
        "entity": 1,
        "injection": 1,
        "very long": 1,
        "line break": 1,
        "id that is a number": 1,
        "no stars": 6,
    }
    assert table["review_id"].is_unique().all()


def test_the_stars_are_spread_as_in_a_shop(table: pl.DataFrame) -> None:
    shares = {stars: (table["rating"] == stars).sum() / table.height for stars in range(1, 6)}
    assert shares == pytest.approx({5: 0.60, 4: 0.17, 3: 0.07, 2: 0.06, 1: 0.10}, abs=0.02)


def test_the_readme_says_that_the_sample_is_synthetic() -> None:
    assert "**synthetic**" in (DATA / "README.md").read_text(encoding="utf-8")
    assert (DATA / "sample_reviews.parquet").stat().st_size < 120_000
