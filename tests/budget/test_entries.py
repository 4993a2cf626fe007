"""What reports read of the ledger."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from purses import NOW_S, purse, release, reserved, settlement, taken, wanted

from reviewopt import budget
from reviewopt.budget import (
    Asked,
    recomputed,
    totals,
)
from reviewopt.data import Usage


@pytest.fixture
def told(folder: Path) -> Path:
    """A ledger of two runs."""
    usage = Usage(input=300, cached=100, cache_write=50, output=40, reasoning=10)
    questions = [
        Asked(review_id="r1", key="aa", n_tokens=30, outcome="answered", tenant="x"),
        Asked(review_id="r\ud800", key="bb", n_tokens=10, outcome="wrong label", tenant="y"),
    ]
    with purse(folder, "a") as one:
        held = reserved(one, wanted("1", shares={"x": 30, "y": 10}, body_bytes=600), wanted("2", body_bytes=900))
        costs = one.settle([settlement(held[0], "0.4", usage=usage, questions=questions, request_id="req-1")])
        assert costs == [(Decimal("0.3"), Decimal("0.1"))]
        one.release([release(held[1])])
    with purse(folder, "b", clock=lambda: NOW_S + 60) as two:
        two.settle([settlement(taken(two, wanted(body_bytes=400)), "0.2", usage=usage, seconds=4.0)])
    return folder


def test_every_entry_can_be_read(told: Path) -> None:
    frame = budget.entries(told)
    assert frame["kind"].to_list() == ["reserve", "settle", "reserve", "release", "reserve", "settle"]
    assert frame["run_id"].to_list() == ["a"] * 4 + ["b"] * 2
    settled = frame.row(1, named=True)
    assert f"{settled.pop('at'):%Y-%m-%d %H:%M}" == "2027-01-15 08:00"
    assert settled == {
        "run_id": "a",
        "model": "m",
        "endpoint": "https://x.test/v1",
        "kind": "settle",
        "reservation": 1,
        "day": "2027-01-15",
        "usd": Decimal("0.4"),
        "shares": [{"tenant": "x", "usd": Decimal("0.3")}, {"tenant": "y", "usd": Decimal("0.1")}],
        "n_reviews": 2,
        "body_bytes": 600,
        "input_tokens": 300,
        "cached_tokens": 100,
        "cache_write_tokens": 50,
        "output_tokens": 40,
        "reasoning_tokens": 10,
        "seconds": 2.0,
        "outcome": "answered",
        "request_id": "req-1",
    }
    assert frame["usd"].to_list() == [Decimal(usd) for usd in ("1", "0.4", "2", "0", "1", "0.2")]
    assert budget.entries(told, "b").equals(frame[4:])


def test_what_was_asked_can_be_read_by_run_and_review(told: Path) -> None:
    frame = budget.asked_questions(told)
    assert frame.rows() == [
        ("a", "m", 1, "r1", "aa", 30, Decimal("0.3"), "answered"),
        ("a", "m", 1, "r?", "bb", 10, Decimal("0.1"), "wrong label"),
    ]
    assert budget.asked_questions(told, run_id="b").is_empty()
    assert budget.asked_questions(told, review_id="r1").equals(frame[:1])


def test_the_questions_and_the_shares_of_a_request_have_the_same_tenants(folder: Path) -> None:
    question = Asked(review_id="r1", key="aa", n_tokens=30, outcome="answered", tenant="x")
    with purse(folder) as one, pytest.raises(ValueError, match="different tenants"):
        one.settle([settlement(taken(one, wanted(shares={"x": 1, "y": 1})), questions=[question])])


def test_history_is_of_the_newest_answered_requests(told: Path) -> None:
    with purse(told) as one:
        one.settle([settlement(taken(one), None, outcome="no_reply")])
    assert budget.history(told, model="m", endpoint="https://x.test/v1", task="t") == budget.History(
        n_requests=2,
        n_reviews=4,
        mean_s=3.0,
        median_s=3.0,
        output_tokens_a_review=20.0,
        input_tokens_a_byte=0.6,
        usd_a_review=Decimal("0.15"),
    )
    assert budget.history(told, model="m", endpoint="https://y.test", task="t") is None


def test_history_of_a_task_takes_nothing_from_others(told: Path) -> None:
    usage = Usage(input=900, output=5000)
    with purse(told, task="other") as other:
        other.settle([settlement(taken(other, wanted(body_bytes=10)), "0.9", usage=usage)])
    at = {"model": "m", "endpoint": "https://x.test/v1"}
    one, two = (budget.history(told, **at, task=task) for task in ("t", "other"))
    assert one is not None
    assert two is not None
    assert (one.n_requests, one.output_tokens_a_review, one.usd_a_review) == (2, 20.0, Decimal("0.15"))
    assert (two.n_requests, two.output_tokens_a_review, two.usd_a_review) == (1, 2500.0, Decimal("0.45"))
    assert budget.history(told, **at, task="") is None


def test_history_forgets_what_is_older_than_a_thousand_requests(folder: Path) -> None:
    with purse(folder) as one:
        for usd, n_requests in (("0.9", 10), ("0.1", 1000)):
            held = reserved(one, *[wanted()] * n_requests)
            one.settle([settlement(each, usd, usage=Usage(input=1)) for each in held])
    found = budget.history(folder, model="m", endpoint="https://x.test/v1", task="t")
    assert found is not None
    assert (found.n_requests, found.usd_a_review) == (1000, Decimal("0.05"))
    assert found.input_tokens_a_byte is None


def test_where_nothing_was_spent_there_is_nothing_to_read(folder: Path) -> None:
    assert totals(folder) == recomputed(folder) == budget.spent_by_tenant(folder) == {}
    assert budget.entries(folder).is_empty()
    assert budget.history(folder, model="m", endpoint="e", task="t") is None
    assert not folder.exists()
