"""`reviewopt certify` as a user calls it: what it prints, what it refuses, what it pays for, and how it ends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import polars as pl
import pytest
from conftest import Run
from endpoint import Endpoint
from endpoint_replies import label_of

from reviewopt.certificate import Certificate
from reviewopt.cli import certify
from reviewopt.config import packaged
from reviewopt.errors import InputError, UsageError

LABELS = ("negative", "neutral", "positive")
N = 300
TEXTS = [f"the old lamp on shelf {at} is red and slow" for at in range(N)]
TRUTH = [label_of(text, LABELS) for text in TEXTS]
COLUMN = ("--reference", "column:stars", "--target")
MODEL = ("--reference", "strong", "--target", ".8")


def write(path: Path, said: list[str], **columns: list[Any]) -> Path:
    pl.DataFrame({"text": TEXTS, "sentiment": said, "stars": TRUTH, **columns}).write_csv(path)
    return path


def off(n_wrong: int) -> list[str]:
    """Labels of which the first so many are not the truth."""
    return [LABELS[(LABELS.index(one) + 1) % 3] if at < n_wrong else one for at, one in enumerate(TRUTH)]


@pytest.fixture
def reviewopt(inside: Run) -> Run:
    """Most of these tests ask what is said and written."""
    return inside


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as running:
        yield running


@pytest.fixture
def table(tmp_path: Path, endpoint: Endpoint) -> Path:
    """Labels of which 15 in 300 are wrong, and settings of a model that knows the truth."""
    (tmp_path / "reviewopt.toml").write_text(
        f'[certificate]\nself_agreement = 20\n[models.strong]\nmodel = "strong-1"\nbase_url = "{endpoint.base_url}"\n'
        "simulated = true\nprice = { input_usd = 10, output_usd = 10 }\n"
    )
    return write(tmp_path / "in.csv", off(15))


def n_requests(endpoint: Endpoint) -> int:
    return endpoint.stats().n_requests


# --- a column ---------------------------------------------------------------------------------------------------------


def test_labels_that_are_good_enough_exit_0_with_the_promise_in_plain_words(reviewopt: Run, table: Path) -> None:
    before = table.read_bytes()
    done = reviewopt("certify", table, *COLUMN, ".9")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Certified: at least 95.0 % of the 300 rows with a text carry the label of column:s")
    assert "the labels of the column sentiment, as they are" in done.stdout
    assert table.read_bytes() == before
    (kept,) = table.parent.glob(".reviewopt/certificates/*.json")
    assert f"kept in {kept.relative_to(table.parent)}" in done.stdout
    assert msgspec.json.decode(kept.read_bytes(), type=Certificate).is_met


def test_labels_that_are_not_exit_1_and_the_certificate_is_written_all_the_same(reviewopt: Run, table: Path) -> None:
    done = reviewopt("certify", table, *COLUMN, ".97", "-o", "made.json")
    assert done.returncode == 1
    assert done.stdout.startswith("Not certified: that at least 97 %")
    assert "reviewopt: not certified at 97 %: 95.0 % is proven; 15 of all 300 labels" in done.stderr
    found = msgspec.json.decode(table.with_name("made.json").read_bytes(), type=Certificate)
    assert (found.is_met, found.n_errors, found.attempt) == (False, 15, 1)


def test_json_is_valid_and_is_what_the_file_says(reviewopt: Run, table: Path) -> None:
    done = reviewopt("certify", table, *COLUMN, ".9", "--json", "-o", "made.json", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    made = json.loads(done.stdout)
    jsonschema.validate(made, json.loads(packaged("configs", "certificate.schema.json").read_text()))
    assert json.loads(table.with_name("made.json").read_text()) == made
    assert set(made) == {field.name for field in msgspec.structs.fields(Certificate)}


def test_a_rivals_own_words_are_mapped(reviewopt: Run, table: Path) -> None:
    words = {"negative": "Bad", "neutral": "meh", "positive": "GOOD"}
    write(table, TRUTH, theirs=[words[one] for one in off(15)])
    options = ("--answer-column", "Theirs", "--label-map", "bad=negative, meh=neutral, good=positive")
    done = reviewopt("certify", table, *COLUMN, ".9", *options, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_errors"] == 15


def test_labels_that_are_stars_against_a_column_of_names(reviewopt: Run, table: Path) -> None:
    stars = {"negative": 1, "neutral": 3, "positive": 5}
    write(table, TRUTH, theirs=[stars[one] for one in off(15)])
    done = reviewopt("certify", table, *COLUMN, ".9", "--answer-column", "theirs", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_errors"] == 15


STARS: dict[str, Any] = {"reference": "column:stars", "target": 0.9}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 0.9}, "agreement with whom"),
        ({}, "what is to be certified"),
        ({"reference": "column:stars"}, "how much must be proven"),
        ({**STARS, "answer_column": "x"}, "columns: text, sentiment, stars; name one with --answer-column"),
        ({**STARS, "reference": "column:x"}, "name one with --reference column:NAME"),
        ({**STARS, "reference": "column:sentiment"}, "are the same column, sentiment"),
        ({**STARS, "reviewed": "in.csv"}, "it goes with --reference human"),
        ({**STARS, "dry_run": True}, "column:stars costs nothing"),
        ({**STARS, "output": Path("in.csv")}, "is no certificate: it is kept"),
        ({**STARS, "output": Path("x/made.json")}, "there is no folder x"),
        ({**STARS, "reference": "human"}, "nobody has answered"),
        ({**STARS, "tables": ["-"]}, "name a file"),
    ],
)
def test_what_cannot_be_meant_is_refused(table: Path, options: dict[str, Any], message: str) -> None:
    before = table.read_bytes()
    with pytest.raises((UsageError, InputError), match=re.escape(message)):
        certify.command(**{"tables": ["in.csv"], "quiet": True, **options})
    assert table.read_bytes() == before


def test_what_cannot_be_meant_exits_2(reviewopt: Run, table: Path) -> None:
    done = reviewopt("certify", table, "--reference", "column:stars")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "reviewopt: --reference column:stars: how much must be proven? Say it: --target .95\n"


# --- a model ----------------------------------------------------------------------------------------------------------


def test_a_model_is_asked_as_little_as_proves_it_and_a_second_run_asks_nothing(
    reviewopt: Run, table: Path, endpoint: Endpoint
) -> None:
    first = reviewopt("certify", table, *MODEL, "--json", "--yes")
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert 0 < found["n_audit"] < N
    assert "spent $" in first.stderr
    assert not list(table.parent.glob(".reviewopt/runs/*"))
    assert found["self_agreement"]["n"] == 20
    assert found["self_agreement"]["share"] == 1.0
    assert n_requests(endpoint) == found["n_reference_calls"] <= found["n_audit"] + 2 * 20
    again = reviewopt("certify", table, *MODEL, "--json")
    assert again.returncode == 0, again.stderr
    assert n_requests(endpoint) == found["n_reference_calls"]
    second = json.loads(again.stdout)
    assert second.pop("n_reference_calls") == 0
    assert second.items() <= found.items()


def test_a_dry_run_asks_nothing_counts_no_attempt_and_leaves_nothing(
    reviewopt: Run, table: Path, endpoint: Endpoint
) -> None:
    done = reviewopt("certify", table, *MODEL, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert 0 < made["n_asked"] <= N
    assert made["naive_requests"] == N
    assert n_requests(endpoint) == 0
    assert not list(table.parent.glob(".reviewopt/certificates/*"))


def test_a_plan_above_the_limit_needs_consent(reviewopt: Run, table: Path, endpoint: Endpoint) -> None:
    settings = table.with_name("reviewopt.toml")
    settings.write_text(settings.read_text() + "[budget]\nask_above_usd = 0.001\n")
    done = reviewopt("certify", table, *MODEL)
    assert done.returncode == 4
    assert "agree with --yes or set a bound with --budget" in done.stderr
    assert n_requests(endpoint) == 0


def test_a_budget_that_ends_proves_no_less_than_was_seen_and_the_rest_is_asked_later(
    reviewopt: Run, table: Path, endpoint: Endpoint
) -> None:
    done = reviewopt("certify", table, *MODEL, "--budget", ".1", "--json")
    assert done.returncode == 1, done.stderr
    cut = json.loads(done.stdout)
    assert "the budget or the time was spent" in cut["reason"]
    assert cut["n_errors"] <= 15
    asked = n_requests(endpoint)
    assert asked > 0
    rest = reviewopt("certify", table, *MODEL, "--yes", "--json")
    assert rest.returncode == 0, rest.stderr
    found = json.loads(rest.stdout)
    assert (found["attempt"], found["n_reference_calls"]) == (1, n_requests(endpoint) - asked)


def test_hopeless_labels_are_given_up_before_the_sample_is_paid_for(
    reviewopt: Run, table: Path, endpoint: Endpoint
) -> None:
    write(table, off(N))
    target = ("--reference", "strong", "--target", ".9")
    planned = json.loads(reviewopt("certify", table, *target, "--dry-run", "--json").stdout)
    assert n_requests(endpoint) == 0
    done = reviewopt("certify", table, *target, "--json", "--yes")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["n_errors"] == found["n_audit"] == 64  # the first that are asked at a time
    assert n_requests(endpoint) < planned["n_asked"]


def test_a_target_above_the_models_agreement_with_itself_is_refused(
    reviewopt: Run, table: Path, endpoint: Endpoint
) -> None:
    """The model is asked once, then changes its mind about everything; its first answers stay archived."""
    settings = table.with_name("reviewopt.toml")
    settings.write_text(settings.read_text().replace("self_agreement = 20", "self_agreement = 0"))
    first = reviewopt("certify", table, *MODEL, "--yes")
    assert first.returncode == 0, first.stderr
    settings.write_text(settings.read_text().replace("self_agreement = 0", "self_agreement = 20"))
    endpoint.change(gold=dict(zip(TEXTS, off(N), strict=True)))
    done = reviewopt("certify", table, *MODEL, "--yes")
    assert done.returncode == 2
    assert "gives the same answer twice to 0 of 20 reviews" in done.stderr


def test_a_sample_that_is_too_small_to_prove_anything_is_not_paid_for(
    reviewopt: Run, table: Path, endpoint: Endpoint
) -> None:
    settings = table.with_name("reviewopt.toml")
    settings.write_text(settings.read_text().replace("self_agreement = 20", "self_agreement = 20\naudit = 5"))
    done = reviewopt("certify", table, *MODEL, "--yes")
    assert done.returncode == 1
    assert "the sample has 5 rows, which would prove too little even if all of them were right" in done.stderr
    assert n_requests(endpoint) == 0
