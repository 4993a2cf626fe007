"""A ladder of several models on the command line: what it says, what it refuses, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from conftest import Run
from endpoint import Endpoint
from endpoint_replies import label_of

from reviewopt.record import LadderRecord, RungRecord

N = 60
LABELS = ("negative", "neutral", "positive")
TEXTS = [f"the old lamp on shelf {at} is red and slow" for at in range(N)]
WORDS = ("great", "awful", "fine", "broken", "lovely", "late", "blue", "cheap", "loud", "slow")
BOTH = ("--models", "cheap,strong")
# A short sample, and nothing shared between texts that are alike: what is asked is known.
SETTINGS = """
[dedup]
near = "off"
[cache.similar]
enabled = false
[cache.archive]
similar = false
[ladder]
sample = 30
[pack]
fixed = 10
"""
TOPICS = """
name = "topics"
instructions = "What is the review about?"
[[fields]]
type = "choice"
name = "topic"
labels = ["colour", "price", "speed"]
"""


@pytest.fixture
def reviewopt(inside: Run) -> Run:
    """These tests ask what is said and written, not how a process ends."""
    return inside


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as running:
        yield running


@pytest.fixture
def table(tmp_path: Path, endpoint: Endpoint) -> Path:
    """Reviews without labels, and settings of two models on one endpoint."""
    path = tmp_path / "in.parquet"
    pl.DataFrame({"id": [f"id{at}" for at in range(N)], "text": TEXTS}).write_parquet(path)
    write_settings(tmp_path, endpoint)
    return path


def write_settings(folder: Path, endpoint: Endpoint, more: str = "") -> None:
    models = "".join(
        f'[models.{name}]\nmodel = "{name}-1"\nbase_url = "{endpoint.base_url}"\nsimulated = true\n'
        f"price = {{ input_usd = {usd}, output_usd = {usd} }}\n"
        for name, usd in (("cheap", 0.1), ("strong", 10))
    )
    (folder / "reviewopt.toml").write_text(f"{SETTINGS}{more}{models}")


def n_requests(endpoint: Endpoint) -> int:
    return endpoint.stats().n_requests


# --- what it says -----------------------------------------------------------------------------------------------------


def test_two_models_on_one_endpoint_label_all_and_say_that_nothing_is_certified(reviewopt: Run, table: Path) -> None:
    done = reviewopt("process", table, "-o", "out.parquet", *BOTH, "--yes")
    assert done.returncode == 0, done.stderr
    out = pl.read_parquet(table.with_name("out.parquet"))
    assert out["sentiment"].to_list() == [label_of(text, LABELS) for text in TEXTS]
    assert "not certified" in done.stderr
    assert "not certified" in done.stdout
    assert "stays from" in done.stdout
    assert "against strong" in done.stderr


def test_json_has_every_key_of_the_ladder(reviewopt: Run, table: Path) -> None:
    done = reviewopt("process", table, "-o", "out.parquet", *BOTH, "--strategy", "quality", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    ladder: dict[str, Any] = json.loads(done.stdout)["run"]["ladder"]
    assert set(ladder) == {field.name for field in msgspec.structs.fields(LadderRecord)}
    assert [rung["name"] for rung in ladder["rungs"]] == ["local", "cheap", "strong"]
    for rung in ladder["rungs"]:
        assert set(rung) == {field.name for field in msgspec.structs.fields(RungRecord)}
    assert (ladder["strategy"], ladder["reference"], ladder["is_certified"]) == ("quality", "strong", False)
    assert sum(ladder["n_by_level"].values()) == N


def test_a_run_of_one_model_has_no_ladder(reviewopt: Run, table: Path) -> None:
    done = reviewopt("process", table, "-o", "out.parquet", "--model", "cheap", "--yes", "--json")
    assert json.loads(done.stdout)["run"]["ladder"] is None


def test_a_task_that_the_local_model_cannot_answer_begins_at_the_first_paid_model(reviewopt: Run, table: Path) -> None:
    table.with_name("topics.toml").write_text(TOPICS)
    done = reviewopt("process", table, "-o", "out.parquet", *BOTH, "--task", "topics.toml", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert "the local model cannot answer the task topics: the ladder begins with cheap" in done.stderr
    assert [rung["name"] for rung in json.loads(done.stdout)["run"]["ladder"]["rungs"]] == ["cheap", "strong"]
    assert pl.read_parquet(table.with_name("out.parquet"))["topic"].null_count() == 0


def test_local_false_leaves_the_local_model_out(reviewopt: Run, table: Path, endpoint: Endpoint) -> None:
    write_settings(table.parent, endpoint)
    settings = (table.with_name("reviewopt.toml")).read_text().replace("[ladder]", "[ladder]\nlocal = false")
    table.with_name("reviewopt.toml").write_text(settings)
    done = reviewopt("process", table, "-o", "out.parquet", *BOTH, "--yes", "--json")
    assert [rung["name"] for rung in json.loads(done.stdout)["run"]["ladder"]["rungs"]] == ["cheap", "strong"]


def test_a_dry_run_prints_a_row_a_rung_and_asks_nothing(reviewopt: Run, table: Path, endpoint: Endpoint) -> None:
    done = reviewopt("process", table, *BOTH, "--dry-run")
    assert done.returncode == 0, done.stderr
    first_words = [line.split()[0] for line in done.stdout.splitlines() if line.split()]
    assert (first_words.count("cheap"), first_words.count("strong")) == (1, 1)
    assert "how many answers climb is a guess" in done.stdout
    assert n_requests(endpoint) == 0
    assert not table.with_name("out.parquet").exists()
    made = json.loads(reviewopt("process", table, *BOTH, "--dry-run", "--json").stdout)
    assert [rung["name"] for rung in made["rungs"]] == ["cheap", "strong"]


# --- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        pytest.param((*BOTH, "--model", "cheap"), "name one of the two", id="model-and-models"),
        pytest.param(("--model", "cheap", "--strategy", "cost"), "--strategy is about a ladder", id="strategy-alone"),
        pytest.param((*BOTH, "--naive"), "--naive asks one model", id="naive"),
        pytest.param(("--models", "cheap,stong"), "strong", id="unknown"),
        pytest.param(("--models", "cheap,cheap"), "name each model once", id="twice"),
        pytest.param(("--models", "cheap,,strong"), "name each model once", id="empty"),
        pytest.param((*BOTH, "--ensemble", "cheap"), "--ensemble needs two models", id="one-voter"),
        pytest.param((*BOTH, "--strategy", "best"), "'cost', 'quality'", id="no-such-strategy"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    reviewopt: Run, table: Path, endpoint: Endpoint, flags: tuple[str, ...], says: str
) -> None:
    done = reviewopt("process", table, "-o", "out.parquet", *flags, "--yes")
    assert done.returncode == 2, done.stderr
    assert says in " ".join(done.stderr.split())
    assert n_requests(endpoint) == 0


# --- how it ends ------------------------------------------------------------------------------------------------------


def test_a_second_run_asks_nothing_and_says_the_same(reviewopt: Run, table: Path, endpoint: Endpoint) -> None:
    reviewopt("process", table, "-o", "first.parquet", *BOTH, "--yes")
    n_before = n_requests(endpoint)
    done = reviewopt("process", table, "-o", "again.parquet", *BOTH, "--yes")
    assert done.returncode == 0, done.stderr
    assert n_requests(endpoint) == n_before
    first, again = (pl.read_parquet(table.with_name(f"{name}.parquet"))["sentiment"] for name in ("first", "again"))
    assert first.equals(again)


def test_an_ensemble_says_who_voted_and_how_often_they_disagreed(reviewopt: Run, table: Path) -> None:
    flags = ("--models", "cheap", "--ensemble", "cheap,strong")
    done = reviewopt("process", table, "-o", "out.parquet", *flags, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    vote = json.loads(done.stdout)["run"]["ladder"]["ensemble"]
    assert vote["members"] == ["cheap", "strong"]
    assert (vote["n_disagreed"], vote["n_tied"]) == (0, 0), "both say the same of every text"
    assert "vote of cheap, strong" in reviewopt("process", table, "-o", "again.parquet", *flags, "--yes").stdout


def test_a_spent_budget_keeps_the_answers_of_cheaper_models_and_exits_4(
    reviewopt: Run, tmp_path: Path, endpoint: Endpoint
) -> None:
    texts = [f"this is a {WORDS[at % 10]} and {WORDS[at // 10 % 10]} lamp, number {at}" for at in range(150)]
    table = tmp_path / "in.parquet"
    pl.DataFrame({"text": texts}).write_parquet(table)
    reviewopt("process", table, "-o", "local.parquet")
    local = pl.read_parquet(tmp_path / "local.parquet")
    unsure = local["sentiment_confidence"] < local["sentiment_confidence"].median()
    said = local["sentiment"].cast(pl.String).to_list()
    endpoint.change(  # the local model is right where it is sure, and wrong where it is not
        gold={
            text: LABELS[(LABELS.index(label) + 1) % 3] if is_unsure else label
            for text, label, is_unsure in zip(texts, said, unsure, strict=True)
        }
    )
    write_settings(tmp_path, endpoint, "[ask]\nthreads = 1\n")
    flags = ("--models", "strong", "--strategy", "cost", "--yes", "--json")
    whole = reviewopt("process", table, "-o", "whole.parquet", *flags, "--home", "free")
    assert whole.returncode == 0, whole.stderr
    spent_usd = float(json.loads(whole.stdout)["run"]["asked"]["spent_usd"])
    done = reviewopt("process", table, "-o", "out.parquet", *flags, "--home", "poor", "--budget", f"{0.7 * spent_usd}")
    assert done.returncode == 4, done.stderr
    assert "texts have the answer of a cheaper model" in " ".join(done.stderr.split())
    run, out = json.loads(done.stdout)["run"], pl.read_parquet(tmp_path / "out.parquet")
    assert out["sentiment"].null_count() == run["n_by_source"]["failed"] == 0
    kept = out.filter(pl.col("sentiment_note").is_not_null())
    assert kept.height == run["ladder"]["n_fallen_back"] > 0
    assert set(kept["sentiment_source"].to_list()) == {"local"}
    assert kept["sentiment_note"].str.starts_with("unsure, and a better model gave no answer: the budget").all()
    again = reviewopt("process", table, "-o", "again.parquet", *flags, "--home", "poor")
    assert again.returncode == 0, again.stderr
    answers = [pl.read_parquet(tmp_path / f"{name}.parquet")["sentiment"].to_list() for name in ("whole", "again")]
    assert answers[0] == answers[1]
