"""A promise on the command line: what it asks for, what it refuses, what it writes, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import Run
from endpoint import Endpoint
from endpoint_replies import label_of

N = 400
GOOD = ("great", "excellent", "wonderful", "perfect", "love it")
BAD = ("terrible", "awful", "broken", "waste of money", "returned it")
COLUMN = ("--reference", "column:rating", "--target", ".9")


def reviews(n: int = N, *, wrong: float = 0.04) -> pl.DataFrame:
    """Reviews that the packaged model reads well, a few of them with stars that say the opposite."""
    rng = np.random.default_rng(0)
    good = rng.random(n) < 0.6
    words = [(GOOD if one else BAD)[at % 5] for at, one in enumerate(good.tolist())]
    stars = np.where(good ^ (rng.random(n) < wrong), 5, 1)
    text = [f"This lamp number {at} is {word}, really {word}." for at, word in enumerate(words)]
    category = ["tools" if at % 2 else "books" for at in range(n)]
    return pl.DataFrame({"id": [f"r{at}" for at in range(n)], "text": text, "rating": stars, "category": category})


@pytest.fixture
def reviewopt(inside: Run) -> Run:
    """Most of these tests ask what is said and written."""
    return inside


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in.parquet"
    reviews().write_parquet(path)
    return path


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as running:
        yield running


@pytest.fixture
def model(tmp_path: Path, endpoint: Endpoint) -> Endpoint:
    (tmp_path / "reviewopt.toml").write_text(
        f'[models.strong]\nmodel = "strong-1"\nbase_url = "{endpoint.base_url}"\nsimulated = true\n'
        "price = { input_usd = 10, output_usd = 10 }\n[certificate]\nself_agreement = 20\ntrain = 20\ncal = 60\n"
        "[pack]\nfixed = 1\n"
    )
    return endpoint


def run_of(done: Any) -> dict[str, Any]:
    run: dict[str, Any] = json.loads(done.stdout)["run"]
    return run


# --- what it proves ---------------------------------------------------------------------------------------------------


def test_a_column_is_proven_and_the_certificate_lies_in_the_runs_folder(reviewopt: Run, table: Path) -> None:
    done = reviewopt("process", table, "-o", "out.parquet", *COLUMN, "--json")
    assert done.returncode == 0, done.stderr
    run = run_of(done)
    found = run["certificate"]
    assert found["is_met"]
    assert found["accuracy_low"] >= 0.9
    (kept,) = (table.parent / ".reviewopt" / "runs").glob("*/certificate.json")
    assert json.loads(kept.read_text()) == found
    out = pl.read_parquet(table.parent / "out.parquet")
    names = out["rating"].replace_strict({1: "negative", 5: "positive"}, return_dtype=pl.String)
    assert (out["sentiment"].cast(pl.String) == names).sum() >= 0.9 * N
    assert found["n_reference_rows"] == (out["sentiment_source"] == "reference").sum()


def test_the_planned_sample_is_large_enough_to_prove_something(reviewopt: Run, tmp_path: Path) -> None:
    """Tested at .9 delta: a sample planned for all of delta would be a few rows short on small tables."""
    reviews(300).write_parquet(tmp_path / "in.parquet")
    done = reviewopt("process", "in.parquet", "-o", "out.parquet", *COLUMN[:2], "--target", ".95", "--json")
    assert done.returncode == 0, done.stderr
    found = run_of(done)["certificate"]
    assert (found["method"], found["most_errors"]) == ("cal", 0)


def test_where_every_row_has_the_references_answer_each_part_is_certified(reviewopt: Run, tmp_path: Path) -> None:
    reviews(5).write_parquet(tmp_path / "in.parquet")
    done = reviewopt("process", "in.parquet", "-o", "out.parquet", *COLUMN, "--per", "category", "--json")
    assert done.returncode == 0, done.stderr
    parts = run_of(done)["certificate"]["slices"]
    assert {one["name"]: one["n_rows"] for one in parts} == {"books": 3, "tools": 2}
    assert {(one["state"], one["accuracy_low"]) for one in parts} == {("certified", 1.0)}


def test_a_sample_too_small_to_test_anything_leaves_every_row_to_the_reference(reviewopt: Run, table: Path) -> None:
    (table.parent / "reviewopt.toml").write_text("[certificate]\ntrain = 5\ncal = 10\n")
    done = reviewopt("process", table, "-o", "out.parquet", *COLUMN, "--json")
    assert done.returncode == 0, done.stderr
    found = run_of(done)["certificate"]
    assert (found["method"], found["n_reference_rows"], found["accuracy_low"]) == ("all", N, 1.0)


def test_a_row_of_the_reference_is_explained_by_its_column(reviewopt: Run, table: Path) -> None:
    assert reviewopt("process", table, "-o", "out.parquet", *COLUMN).returncode == 0
    row = pl.read_parquet(table.parent / "out.parquet").filter(pl.col("sentiment_source") == "reference").row(0)
    assert "the label of column:rating" in reviewopt("explain", row[0]).stdout


def test_the_table_says_it_in_plain_words(reviewopt: Run, table: Path) -> None:
    done = reviewopt("process", table, "-o", "out.parquet", *COLUMN)
    assert done.returncode == 0
    assert "column:rating" in done.stdout
    assert "ertified" in done.stdout


def test_standard_input_is_spooled_and_proven_as_a_file_is(reviewopt: Run, table: Path) -> None:
    lines = pl.read_parquet(table).write_ndjson()
    done = reviewopt("process", "-", "-o", "out.parquet", *COLUMN, "--json", stdin=lines)
    assert done.returncode == 0, done.stderr
    assert run_of(done)["certificate"]["is_met"]


def test_a_model_is_asked_one_review_a_request_and_a_second_run_asks_nothing(
    reviewopt: Run, table: Path, model: Endpoint
) -> None:
    flags = ("--reference", "strong", "--target", ".8", "--yes", "--json", "--label-column", "none")
    first = reviewopt("process", table, "-o", "out.parquet", *flags)
    assert first.returncode == 0, first.stderr
    found = run_of(first)["certificate"]
    assert found["kind"] == "model"
    assert found["self_agreement"]["n"] == 20
    out = pl.read_parquet(table.parent / "out.parquet")
    truth = [label_of(text, ("negative", "neutral", "positive")) for text in out["text"]]
    same = np.array([a == b for a, b in zip(out["sentiment"].cast(pl.String), truth, strict=True)])
    assert same.mean() >= 0.8
    n_before = model.stats().n_requests
    assert set(model.stats().reviews_per_request) == {1}
    second = reviewopt("process", table, "-o", "out.parquet", "--force", *flags)
    assert second.returncode == 0, second.stderr
    assert model.stats().n_requests == n_before
    assert run_of(second)["certificate"]["accuracy_low"] == found["accuracy_low"]


def test_a_dry_run_names_the_sample_and_asks_nothing(reviewopt: Run, table: Path, model: Endpoint) -> None:
    done = reviewopt("process", table, "--reference", "strong", "--target", ".9", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["proof"]["n_cal"] == 60
    assert float(plan["usd"]["low"]) <= float(plan["usd"]["expected"]) <= float(plan["usd"]["high"])
    assert model.stats().n_requests == 0


# --- what is not met --------------------------------------------------------------------------------------------------


def test_people_who_answered_little_prove_little_and_that_exits_1_with_the_output_written(
    reviewopt: Run, table: Path
) -> None:
    sheet = table.parent / "sheet.csv"
    assert reviewopt("review", table, "--sample", "20", "--export", sheet).returncode == 0
    answered = pl.read_csv(sheet).with_columns(
        label=pl.when(pl.col("text").str.contains("great|excellent|wonderful|perfect|love"))
        .then(pl.lit("positive"))
        .otherwise(pl.lit("negative"))
    )
    answered.write_csv(sheet)
    assert reviewopt("review", table, "--sample", "20", "--import", sheet).returncode == 0
    done = reviewopt("process", table, "-o", "out.parquet", "--reference", "human", "--target", ".95")
    assert done.returncode == 1
    assert "not certified" in done.stderr
    assert pl.read_parquet(table.parent / "out.parquet").height == N


def test_the_answers_of_people_do_not_answer_the_rows_that_audit_them(reviewopt: Run, table: Path) -> None:
    """People who contradict every label: were their archived answers used, the audit would see no error."""
    sheet = table.parent / "sheet.csv"
    assert reviewopt("review", table, "--sample", "60", "--export", sheet).returncode == 0
    pl.read_csv(sheet).with_columns(label=pl.lit("neutral")).write_csv(sheet)
    assert reviewopt("review", table, "--sample", "60", "--import", sheet).returncode == 0
    done = reviewopt("process", table, "-o", "out.parquet", "--reference", "human", "--target", ".6", "--json")
    assert done.returncode == 1
    found = run_of(done)["certificate"]
    assert found["n_errors"] >= 50
    out = pl.read_parquet(table.parent / "out.parquet")
    assert (out["sentiment_source"] == "human").sum() == 60


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--target", ".9"), "--reference"),
        (("--reference", "column:rating"), "--target"),
        (("--reference", "column:", "--target", ".9"), "which column"),
        (("--reference", "column:nothing", "--target", ".9"), "nothing"),
        ((*COLUMN, "--label-column", "category"), "two columns"),
        ((*COLUMN, "--strategy", "cost"), "--strategy"),
        ((*COLUMN, "--naive"), "--naive"),
        ((*COLUMN, "--per", "tenant"), "tenant"),
        (("--reference", "human", "--target", ".9"), "reviewopt review"),
        (("--reference", "nobody", "--target", ".9"), "nobody"),
        (("--reference", "column:rating", "--target", "95"), "target"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(
    reviewopt: Run, table: Path, flags: tuple[str, ...], says: str
) -> None:
    done = reviewopt("process", table, "-o", "out.parquet", *flags)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert not (table.parent / "out.parquet").exists()


def test_a_column_with_gaps_is_no_uniform_sample_unless_the_user_says_so(reviewopt: Run, tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    whole = reviews()
    whole.with_columns(pl.when(pl.int_range(N) % 3 > 0).then("rating")).write_parquet(path)
    refused = reviewopt("process", path, "-o", "out.parquet", *COLUMN)
    assert refused.returncode == 2
    assert "--missing-at-random" in refused.stderr
    done = reviewopt("process", path, "-o", "out.parquet", *COLUMN, "--missing-at-random", "--json")
    assert done.returncode in {0, 1}, done.stderr
    found = run_of(done)["certificate"]
    assert found["method"] == "audit"
    assert any("gaps" in one for one in found["does_not_cover"])


def test_rows_cannot_be_escalated_to_people(reviewopt: Run, table: Path) -> None:
    sheet = table.parent / "sheet.csv"
    assert reviewopt("review", table, "--sample", "5", "--export", sheet).returncode == 0
    pl.read_csv(sheet).with_columns(label=pl.lit("positive")).write_csv(sheet)
    assert reviewopt("review", table, "--sample", "5", "--import", sheet).returncode == 0
    done = reviewopt("process", table, "--reference", "human", "--target", ".9", "--on-drift", "escalate")
    assert done.returncode == 2
    assert "--on-drift escalate" in done.stderr


def test_another_spelling_of_the_column_draws_no_other_sample(reviewopt: Run, table: Path) -> None:
    """Nobody draws until lucky: rating, Rating and r_a_t_i_n_g are one column, and one promise."""
    certificates = []
    for name in ("rating", "Rating", "r_a_t_i_n_g"):
        done = reviewopt("process", table, "-o", "out.parquet", "--force", "--reference", f"column:{name}",
                         "--target", ".9", "--json")  # fmt: skip
        assert done.returncode == 0, done.stderr
        certificates.append(run_of(done)["certificate"])
    assert len({one["seed"] for one in certificates}) == 1
    assert {one["attempt"] for one in certificates} == {1}
