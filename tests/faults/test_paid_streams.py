"""Replies that come piece by piece: of one that breaks off, only what had not come is asked and paid for again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from endpoint import Endpoint
from paid import LONG, PACK, is_each_answered_once, not_right, paid_again, prepare, run, texts_of

# A stream breaks off after two thirds of its content, so that so many of a pack's answers stood complete at least.
KEPT = PACK // 2


def every_fourth() -> Callable[[int, Sequence[str]], str | None]:
    """Let every fourth full pack break off, not the first one, which shows that the endpoint knows the form."""
    full = itertools.count()
    return lambda _, texts: "drop_mid" if len(texts) == PACK and next(full) % 4 == 1 else None


@pytest.mark.parametrize("reply", ["schema", "json", "lines"])
def test_of_a_stream_that_breaks_off_only_the_unfinished_reviews_are_asked_again(tmp_path: Path, reply: str) -> None:
    texts = texts_of(4000 if LONG else 400)
    with Endpoint(script=every_fourth()) as endpoint:
        prepare(tmp_path, endpoint, texts, model={"reply": reply})
        done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert not_right(tmp_path) == []
    assert is_each_answered_once(endpoint, texts)
    n_cut, asked = endpoint.stats().faults["drop_mid"], done.record["asked"]
    assert n_cut >= len(texts) // PACK // 5
    assert asked["outcomes"] == {"answered": asked["n_requests"]}
    assert asked["n_kept_of_cut"] >= KEPT * n_cut
    assert asked["n_asked_again"] == paid_again(endpoint) == n_cut * PACK - asked["n_kept_of_cut"]


def test_without_streams_a_reply_that_breaks_off_is_lost_as_a_whole(tmp_path: Path) -> None:
    texts = texts_of(200)
    with Endpoint(script=every_fourth()) as endpoint:
        prepare(tmp_path, endpoint, texts, model={"stream": False})
        done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    stats = endpoint.stats()
    assert stats.n_streamed == done.record["asked"]["n_kept_of_cut"] == 0
    assert paid_again(endpoint) == stats.faults["drop_mid"] * PACK > 0


def test_what_a_broken_stream_cost_stays_reserved_at_its_worst_case_and_in_the_budget(tmp_path: Path) -> None:
    texts = texts_of(100)
    with Endpoint(script=every_fourth(), price_in_usd=0.1, price_out_usd=0.4) as endpoint:
        prepare(tmp_path, endpoint, texts)
        done = run(tmp_path, "--budget", "1")
    asked = done.record["asked"]
    assert done.exit_code == 0, done.stderr
    assert endpoint.stats().faults["drop_mid"] > 0
    assert Decimal(asked["no_reply_usd"]) > 0
    assert endpoint.stats().billed_usd < Decimal(asked["spent_usd"]) < 1


@pytest.mark.parametrize("reply", ["schema", "lines"])
def test_streams_and_mixed_faults_lose_nothing(tmp_path: Path, reply: str) -> None:
    texts = texts_of(5000 if LONG else 500)
    faults = {"drop_mid": 0.15, "429": 0.05, "truncated": 0.05, "missing_ids": 0.05, "error_200": 0.02, "drop": 0.02}
    with Endpoint(faults=faults, retry_after_s=0.01) as endpoint:
        prepare(tmp_path, endpoint, texts, model={"reply": reply})
        done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert not_right(tmp_path) == []
    assert is_each_answered_once(endpoint, texts)
    assert done.record["asked"]["n_kept_of_cut"] > 0


@pytest.mark.parametrize(
    ("settings", "n_streamed"), [({"faults": {"unsupported_stream": 1.0}}, 1), ({"streams": False}, 0)]
)
def test_an_endpoint_without_streams_is_asked_without_them_and_a_later_run_knows_it(
    tmp_path: Path, settings: dict[str, object], n_streamed: int
) -> None:
    texts = texts_of(60)
    with Endpoint(**settings) as endpoint:
        prepare(tmp_path, endpoint, texts[:30])
        assert run(tmp_path).exit_code == 0
        prepare(tmp_path, endpoint, texts[30:])
        done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert not_right(tmp_path) == []
    assert is_each_answered_once(endpoint, texts)
    assert endpoint.stats().n_streamed == n_streamed
    assert endpoint.stats().n_requests == len(texts) // PACK + n_streamed
