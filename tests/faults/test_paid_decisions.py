"""Typed decisions as a user meets them: labels with probabilities, refusals, several fields, and input alone paid."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from endpoint import Endpoint
from endpoint_decisions import answer_to
from endpoint_replies import sureness
from paid import LONG, PACK, failures, is_each_answered_once, not_right, paid_again, prepare, rows, run, texts_of

MODEL: Final[Mapping[str, Any]] = {"kind": "decisions", "price": {"input_usd": 0.1, "output_usd": 0}}
PRICES = {"price_in_usd": 0.1, "price_out_usd": 0.0}
# No refusals: a review that is refused in company and alone is one that never passes.
MIXED = {
    "429": 0.1,
    "500": 0.05,
    "malformed": 0.05,
    "missing_ids": 0.05,
    "dup_ids": 0.05,
    "drop": 0.02,
}
KINDS = (
    "html", "error_200", "malformed", "truncated", "fenced", "deep", "missing_ids", "extra_ids", "dup_ids",
    "wrong_label", "nan", "huge_int", "refusal", "content_filter", "empty", "gzip_bomb", "500", "503", "429", "drop",
    "drop_mid", "trickle",
)  # fmt: skip
THREE = """
name = "three"
instructions = "Judge what the review says."
[[fields]]
type = "choice"
name = "sentiment"
labels = ["negative", "neutral", "positive"]
[[fields]]
type = "score"
name = "quality"
low = 1
high = 5
[[fields]]
type = "predicate"
name = "buys_again"
"""


def test_every_review_gets_its_label_and_probability_and_only_input_is_paid(tmp_path: Path) -> None:
    texts = texts_of(300)
    with Endpoint(**PRICES) as endpoint:
        prepare(tmp_path, endpoint, texts, model=MODEL)
        done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert endpoint.stats().paths == {"/v1/decisions": len(texts) // PACK}
    assert not_right(tmp_path) == []
    assert is_each_answered_once(endpoint, texts)
    labelled = rows(tmp_path)
    assert labelled["sentiment_source"].unique().to_list() == ["fake"]
    assert labelled["sentiment_confidence"].to_list() == pytest.approx([sureness(text) for text in texts])
    asked = done.record["asked"]
    assert (asked["tokens"]["input"], asked["tokens"]["output"]) == (endpoint.stats().input_tokens, 0)
    assert Decimal(asked["spent_usd"]) == endpoint.stats().billed_usd > 0


def test_mixed_faults_lose_nothing_and_what_came_is_not_paid_again(tmp_path: Path) -> None:
    texts = texts_of(10_000 if LONG else 1000)
    surely = {10 * at: fault for at, fault in enumerate(MIXED, 1)}  # a rare one may not be drawn among so few requests
    with Endpoint(faults=MIXED, script=lambda n, _: surely.get(n), retry_after_s=0.01) as endpoint:
        prepare(tmp_path, endpoint, texts, model=MODEL)
        done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert not_right(tmp_path) == []
    assert is_each_answered_once(endpoint, texts)
    assert set(endpoint.stats().faults) == set(MIXED)


def test_a_bad_reply_of_each_kind_is_asked_again_and_nothing_crashes(tmp_path: Path) -> None:
    texts = texts_of(600)
    with Endpoint(
        script=lambda n, _: KINDS[n // 2] if n % 2 and n // 2 < len(KINDS) else None, trickle_pause_s=0.0
    ) as endpoint:
        prepare(tmp_path, endpoint, texts, model=MODEL, settings={"ask.threads": 1})
        done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert not_right(tmp_path) == []
    assert set(endpoint.stats().faults) == set(KINDS)
    assert is_each_answered_once(endpoint, texts)


def test_a_review_that_is_always_refused_says_so_and_the_others_are_kept(tmp_path: Path) -> None:
    texts = [*texts_of(60), "a cursed thing"]
    with Endpoint(poison="cursed") as endpoint:
        prepare(tmp_path, endpoint, texts, model=MODEL)
        done = run(tmp_path)
        again = run(tmp_path)
    assert (done.exit_code, again.exit_code) == (3, 3)
    assert not_right(tmp_path) == ["a cursed thing"]
    assert is_each_answered_once(endpoint, texts[:-1])
    note = rows(tmp_path, "out.parquet").filter(pl.col("text") == "a cursed thing")["sentiment_note"][0]
    assert "the model refused" in note
    assert done.record["asked"]["failures"] == {"the model refused": 1}
    assert again.record["asked"]["n_requests"] == 0
    assert paid_again(endpoint) <= 2 * PACK * PACK.bit_length()


def test_a_refused_review_is_written_down_as_its_own_fault(tmp_path: Path) -> None:
    with Endpoint(poison="cursed") as endpoint:
        prepare(tmp_path, endpoint, [*texts_of(20), "a cursed thing"], model=MODEL)
        run(tmp_path)
    (failed,) = failures(tmp_path)
    assert (failed["review_id"], failed["reason"], failed["is_of_text"]) == ("id20", "the model refused", True)


def test_several_fields_are_asked_together_and_come_as_columns(tmp_path: Path) -> None:
    texts = texts_of(200)
    faults = {1: "refusal", 3: "missing_ids", 5: "wrong_label"}
    with Endpoint(script=lambda n, asked: faults.get(n % 7) if len(asked) > 1 else None) as endpoint:
        prepare(tmp_path, endpoint, texts, model=MODEL)
        (tmp_path / "three.toml").write_text(THREE)
        done = run(tmp_path, "--task", "three.toml")
    assert done.exit_code == 0, done.stderr
    assert is_each_answered_once(endpoint, texts)
    labelled = rows(tmp_path)
    assert not_right(tmp_path) == []
    assert labelled["quality"].to_list() == [int(answer_to(text, "quality", list("12345"))) for text in texts]
    assert labelled["buys_again"].to_list() == [answer_to(text, "buys_again", ["no", "yes"]) for text in texts]


def test_a_field_that_cannot_be_asked_ends_the_run_before_any_money(tmp_path: Path) -> None:
    with Endpoint() as endpoint:
        prepare(tmp_path, endpoint, texts_of(20), model=MODEL)
        done = run(tmp_path, "--task", "review")
        assert (done.exit_code, endpoint.stats().n_requests) == (3, 0)
        assert "fake cannot answer key_insights of the task review" in " ".join(done.stderr.split())
        long = THREE.replace("high = 5", "high = 11")
        (tmp_path / "long.toml").write_text(long)
        done = run(tmp_path, "--task", "long.toml")
        assert (done.exit_code, endpoint.stats().n_requests) == (3, 0)
        assert "cannot answer quality" in " ".join(done.stderr.split())


def test_an_endpoint_that_knows_no_typed_decisions_is_left_after_a_few_free_requests(tmp_path: Path) -> None:
    with Endpoint() as endpoint:
        prepare(tmp_path, endpoint, texts_of(400), model={**MODEL, "base_url": f"{endpoint.base_url}/other"})
        done = run(tmp_path)
    assert done.exit_code == 3
    assert "check model, kind and base_url" in " ".join(done.stderr.split())
    assert endpoint.ledger(billed=True) == {}
    assert set(endpoint.stats().statuses) == {404}


def test_an_edited_run_asks_what_is_new_alone(tmp_path: Path) -> None:
    texts = texts_of(100)
    with Endpoint() as endpoint:
        prepare(tmp_path, endpoint, texts, model=MODEL)
        run(tmp_path)
        pl.DataFrame({"id": [f"id{at}" for at in range(101)], "text": [*texts, "one more thing"]}).write_parquet(
            tmp_path / "in.parquet"
        )
        again = run(tmp_path)
    assert again.record["asked"]["n_asked"] == 1
    assert is_each_answered_once(endpoint, [*texts, "one more thing"])
    assert json.dumps(again.record["asked"]["tokens"]["output"]) == "0"
