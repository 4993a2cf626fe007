"""Runs that end before their work does: what was paid for is kept, and what is paid again is bounded."""

from __future__ import annotations

import random
import resource
import signal
from pathlib import Path

import pytest
from endpoint import Endpoint
from paid import (
    LONG,
    PACK,
    THREADS,
    ended,
    is_each_answered_once,
    kill_after,
    not_right,
    paid_again,
    prepare,
    run,
    start,
    texts_of,
    until,
    write_settings,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("seed", range(4 if LONG else 1))
def test_kills_lose_nothing_and_pay_again_at_most_for_what_was_under_way(tmp_path: Path, seed: int) -> None:
    n_kills, texts = (20, texts_of(3000)) if LONG else (1, texts_of(300))
    draw = random.Random(seed)
    with Endpoint(latency_ms=20) as endpoint:
        prepare(tmp_path, endpoint, texts)
        for _ in range(n_kills):
            with start(tmp_path) as running:
                kill_after(endpoint, draw.randint(1, len(texts) // PACK // n_kills - 1), running, signal.SIGKILL)
            assert running.returncode == -signal.SIGKILL
        n_before = endpoint.stats().n_requests
        done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert not_right(tmp_path) == []
    assert paid_again(endpoint) <= n_kills * THREADS * PACK
    assert n_before < len(texts) // PACK + n_kills * THREADS
    assert len(endpoint.ledger()) == len(texts)


@pytest.mark.parametrize("how", SIGNALS if LONG else SIGNALS[1:])
def test_a_signal_lets_what_is_under_way_come_in(tmp_path: Path, how: signal.Signals) -> None:
    texts = texts_of(300)
    with Endpoint(latency_ms=50) as endpoint:
        prepare(tmp_path, endpoint, texts)
        with start(tmp_path) as running:
            kill_after(endpoint, 10, running, how)
            stopped = ended(tmp_path, running)
        assert stopped.exit_code == 130, stopped.stderr
        assert stopped.record["status"] == "interrupted"
        assert "Traceback" not in stopped.stderr
        assert 10 * PACK <= len(endpoint.ledger()) <= (10 + 2 * THREADS) * PACK
        assert endpoint.ledger().keys() == endpoint.ledger(billed=True).keys()
        done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert not_right(tmp_path) == []
    assert is_each_answered_once(endpoint, texts)
    assert paid_again(endpoint) == 0


@pytest.mark.parametrize("how", SIGNALS if LONG else SIGNALS[:1])
def test_a_second_signal_stops_at_once(tmp_path: Path, how: signal.Signals) -> None:
    with Endpoint(script=lambda n, _: "hang" if n else None) as endpoint:  # one reply settles the form of the requests
        prepare(tmp_path, endpoint, texts_of(100), settings={"ask.deadline_s": 3600})
        with start(tmp_path) as running:
            until(lambda: endpoint.stats().n_requests == 1 + THREADS)
            running.send_signal(how)
            assert running.stderr is not None
            assert any("stopping" in line for line in running.stderr)  # reads on until the first signal has arrived
            running.send_signal(how)
            stopped = ended(tmp_path, running, within_s=30)
    assert stopped.exit_code == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert stopped.record["status"] == "interrupted"


def test_a_full_disk_ends_the_run_clearly_and_costs_only_what_was_under_way(tmp_path: Path) -> None:
    first, texts = texts_of(PACK), [f"{text} {'very ' * 100}" for text in texts_of(600, first=PACK)]
    settings = {"cache.archive.compress_above_bytes": 1_000_000}
    with Endpoint() as endpoint:
        prepare(tmp_path, endpoint, first, settings=settings)
        assert run(tmp_path).exit_code == 0  # has written all that every run needs
        prepare(tmp_path, endpoint, texts, settings=settings)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (200_000, hard)
        )  # no file may grow beyond: as a full disk, to the tool
        try:
            running = start(tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with running:
            stopped = ended(tmp_path, running)
        assert stopped.exit_code in {2, 3}, stopped.stderr
        assert "Traceback" not in stopped.stderr
        assert PACK < len(endpoint.ledger()) < len(texts)
        done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert not_right(tmp_path) == []
    assert paid_again(endpoint) <= 2 * THREADS * PACK


def test_an_output_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    with Endpoint() as endpoint:
        prepare(tmp_path, endpoint, texts_of(20))
        (tmp_path / "file").touch()
        done = run(tmp_path, output="file/out.parquet")
    assert done.exit_code == 2, done.stderr
    assert "file" in done.stderr
    assert endpoint.stats().n_requests == 0


def test_two_runs_at_once_on_one_home_lose_nothing(tmp_path: Path) -> None:
    texts = texts_of(300)
    with Endpoint(latency_ms=20) as endpoint:
        prepare(tmp_path, endpoint, texts)
        both = [start(tmp_path, output=f"{name}.parquet") for name in "ab"]
        ran = []
        for running in both:
            with running:
                ran.append(ended(tmp_path, running))
        assert {one.exit_code for one in ran} == {0}, [one.stderr for one in ran]
        n_before = endpoint.stats().n_requests
        write_settings(tmp_path, {"base_url": endpoint.base_url}, {})
        assert run(tmp_path).exit_code == 0
    assert endpoint.stats().n_requests == n_before
    assert [not_right(tmp_path, f"{name}.parquet") for name in "ab"] == [[], []]
    assert paid_again(endpoint) <= len(texts)
