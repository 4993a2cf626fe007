"""Endpoints that are slow, limited or out of reach, and budgets: what a run does then, and what it never spends."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from endpoint import Endpoint, Stats
from paid import (
    LONG,
    PRICES,
    THREADS,
    ended,
    failures,
    is_each_answered_once,
    kill_after,
    not_right,
    paid_again,
    prepare,
    rows,
    run,
    start,
    texts_of,
)

# As vendors limit: a bucket that holds a second of the rate.
RATE = {"rpm": 6000.0, "burst": 100.0, "latency_ms": 200.0}
CROWD = {"max_concurrency": 24, "latency_ms": 50.0}
EACH_THREADS = 32


def asked_under(limit: Mapping[str, float], n_processes: int, texts: Sequence[str], folder: Path) -> Stats:
    """Have several runs at once ask one text a request, and return what the endpoint met; nothing may be lost."""
    with Endpoint(**limit, retry_after_s=0.1) as endpoint:
        running = []
        for n in range(n_processes):
            settings = {"ask.threads": EACH_THREADS, "pack.fixed": 1}
            prepare(folder / str(n), endpoint, texts[n::n_processes], settings=settings)
            running.append(start(folder / str(n)))
        for n, one in enumerate(running):
            with one:
                done = ended(folder / str(n), one)
            assert done.exit_code == 0, done.stderr
            assert not_right(folder / str(n)) == []
    assert is_each_answered_once(endpoint, texts)
    return endpoint.stats()


PAIRS = [(1, CROWD), (2, CROWD), (1, RATE), (2, RATE)]


@pytest.mark.parametrize(("n_processes", "limit"), PAIRS if LONG else PAIRS[3:])
def test_under_a_limit_nothing_is_lost_and_it_is_found_out_within_few_round_trips(
    tmp_path: Path, n_processes: int, limit: dict[str, float]
) -> None:
    texts = texts_of(3000 if LONG else 300)
    stats = asked_under(limit, n_processes, texts, tmp_path)
    found_out = 3 * EACH_THREADS * n_processes
    assert stats.statuses.get(429, 0) <= found_out + (0.05 * len(texts) if LONG else 0)
    if LONG and limit is RATE:
        assert len(texts) / stats.span_s >= 0.95 * RATE["rpm"] / 60


@pytest.mark.skipif(not LONG, reason="takes minutes; REVIEWOPT_FAULTS_LONG=1 runs it")
@pytest.mark.parametrize(
    ("n_processes", "limit", "most_share"),
    [
        (1, CROWD, 0.02),
        (2, CROWD, 0.03),
        (1, RATE, 0.02),
        (2, RATE, 0.03),
    ],
)
def test_under_a_limit_little_is_refused(
    tmp_path: Path, n_processes: int, limit: dict[str, float], most_share: float
) -> None:
    texts = texts_of(3000)
    stats = asked_under(limit, n_processes, texts, tmp_path)
    assert stats.statuses.get(429, 0) <= most_share * len(texts)


@pytest.mark.parametrize("fault", ["hang", "trickle"])
def test_a_reply_that_never_ends_is_given_up_at_the_deadline(tmp_path: Path, fault: str) -> None:
    texts, deadline_s, met = texts_of(20), 1 if LONG else 0.4, []

    def script(n: int, _: Sequence[str]) -> str | None:
        met.append(time.monotonic())
        return fault if n else None

    with Endpoint(script=script, hang_s=30) as endpoint:
        settings = {"ask.deadline_s": deadline_s, "ask.most_attempts": 2, "ask.threads": 1}
        prepare(tmp_path, endpoint, texts, settings=settings)
        done = run(tmp_path)
    assert done.exit_code == 3, done.stderr
    assert len(not_right(tmp_path)) == 10
    assert all("deadline" in one for one in rows(tmp_path)["sentiment_note"].drop_nulls())
    if LONG:
        assert (
            1 <= met[2] - met[1] <= 2.5
        )  # the deadline, its tolerance of a second, and the pause before it is sent again


def test_a_late_reply_is_asked_again(tmp_path: Path) -> None:
    texts = texts_of(60)
    with Endpoint(script=lambda n, _: {2: "hang", 3: "trickle"}.get(n), hang_s=30) as endpoint:
        prepare(tmp_path, endpoint, texts, settings={"ask.deadline_s": 0.5})
        done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert not_right(tmp_path) == []
    assert is_each_answered_once(endpoint, texts)


@pytest.mark.parametrize(("fault", "first"), [("bad_key", 0), ("no_model", 0), ("quota", 0), ("quota", 12)])
def test_where_there_is_no_hope_the_run_stops_and_says_why(tmp_path: Path, fault: str, first: int) -> None:
    texts = texts_of(300)
    with Endpoint(latency_ms=20, script=lambda n, _: fault if n >= first else None) as endpoint:
        prepare(tmp_path, endpoint, texts)
        done = run(tmp_path)
        assert done.exit_code == 3, done.stderr
        assert endpoint.stats().faults[fault] <= THREADS
        said = {"bad_key": "key", "no_model": "model", "quota": "quota"}
        assert said[fault] in done.stderr.lower()
        assert "Traceback" not in done.stderr
        if first:
            endpoint.change(script=None)
            assert run(tmp_path).exit_code == 0
            assert not_right(tmp_path) == []
            assert is_each_answered_once(endpoint, texts)


def test_a_budget_is_never_overshot_whatever_happens_to_the_requests(tmp_path: Path) -> None:
    texts = texts_of(6000 if LONG else 600)
    faults = {"drop": 0.05, "drop_mid": 0.05, "malformed": 0.05, "429": 0.1, "empty": 0.05}
    budget = Decimal("0.03" if LONG else "0.003")
    with Endpoint(**PRICES, faults=faults, retry_after_s=0.01, latency_ms=5) as endpoint:
        prepare(tmp_path, endpoint, texts)
        done = run(tmp_path, "--budget", str(budget))
        assert done.exit_code == 4, done.stderr
        billed_usd = endpoint.stats().billed_usd
        assert billed_usd <= Decimal(done.record["asked"]["spent_usd"]) <= budget
        assert billed_usd >= budget / 4  # a bound that stops the run long before is none
        left = rows(tmp_path).filter(pl.col("sentiment").is_null())
        assert 0 < len(left) < len(texts)
        assert set(left["sentiment_source"]) == {"failed"}
        assert "budget" in " ".join(left["sentiment_note"].unique().drop_nulls())
        assert {one["review_id"] for one in failures(tmp_path)} == set(left["id"])
        assert run(tmp_path, "--budget", "1").exit_code == 0
    assert not_right(tmp_path) == []


@pytest.mark.parametrize("apart", [True, False])
def test_a_budget_of_a_day_holds_over_runs_and_processes(tmp_path: Path, apart: bool) -> None:
    per_day_usd = Decimal("0.002")
    settings = {"budget.per_day_usd": float(per_day_usd)}
    with Endpoint(**PRICES, latency_ms=5, faults={"drop": 0.1}) as endpoint:
        for n in range(2):
            prepare(tmp_path, endpoint, texts_of(400, first=1000 * n), settings=settings)
            (tmp_path / "in.parquet").rename(tmp_path / f"{n}.parquet")
        if apart:
            exit_codes = [run(tmp_path, table=f"{n}.parquet", output=f"{n}.out.parquet").exit_code for n in range(2)]
        else:
            running = [start(tmp_path, table=f"{n}.parquet", output=f"{n}.out.parquet") for n in range(2)]
            exit_codes = []
            for one in running:
                with one:
                    exit_codes.append(ended(tmp_path, one).exit_code)
    assert exit_codes == [4, 4]
    assert per_day_usd / 4 <= endpoint.stats().billed_usd <= per_day_usd


def test_a_tenant_out_of_budget_leaves_only_its_own_rows_unanswered(tmp_path: Path) -> None:
    texts = texts_of(300)
    tenants = [("poor", "rich")[n % 2] for n in range(len(texts))]
    with Endpoint(**PRICES) as endpoint:
        settings = {"tenants.poor.budget_usd": 0.0008, "columns.tenant": "shop", "cache.scope": "isolated"}
        prepare(tmp_path, endpoint, texts, settings=settings, shop=tenants)
        done = run(tmp_path)
    assert done.exit_code == 4, done.stderr
    out = rows(tmp_path)
    poor, rich = (out.filter(pl.col("shop") == name) for name in ("poor", "rich"))
    assert rich["sentiment"].null_count() == 0
    assert 0 < poor["sentiment"].null_count() < len(poor)
    assert poor["sentiment_cost_usd"].sum() <= Decimal("0.0008")
    assert paid_again(endpoint) == 0


def test_what_a_killed_run_may_have_spent_counts_in_the_next(tmp_path: Path) -> None:
    per_day_usd = Decimal("0.004")
    with Endpoint(**PRICES, latency_ms=30) as endpoint:
        prepare(tmp_path, endpoint, texts_of(600), settings={"budget.per_day_usd": float(per_day_usd)})
        for _ in range(2 if LONG else 1):
            with start(tmp_path) as running:
                kill_after(endpoint, 2 * THREADS, running, signal.SIGKILL)
        done = run(tmp_path)
    assert done.exit_code == 4, done.stderr
    assert per_day_usd / 4 <= endpoint.stats().billed_usd <= per_day_usd
