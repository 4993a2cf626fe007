"""Several endpoints of one model, through the command: outages cost no answer, and keys stay where they belong."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from endpoint import Endpoint
from endpoint_replies import canonical
from paid import LONG, PACK, THREADS, Ran, ended, not_right, prepare, run, start, texts_of, write_settings
from test_paid_secrets import found_in

KEYS = {"A_KEY": "sk-canary-of-a-0f8fad5b", "B_KEY": "sk-canary-of-b-d9cb4f12"}
SILENT_PORT = 9  # nothing listens there


def both(first: Endpoint, second: Endpoint, **model: Any) -> dict[str, Any]:
    """Settings of a model with these two endpoints, each with its key where it has one."""
    endpoints = [{"base_url": one.base_url, "region": name} for one, name in ((first, "near"), (second, "far"))]
    return {"base_url": "", "endpoints": endpoints, **model}


def answers(*endpoints: Endpoint, billed: bool = False) -> dict[str, int]:
    """How often each text was answered, by all endpoints together."""
    counts: dict[str, int] = {}
    for endpoint in endpoints:
        for text, n in endpoint.ledger(billed=billed).items():
            counts[text] = counts.get(text, 0) + n
    return counts


def health(ran: Ran) -> Sequence[Mapping[str, Any]]:
    """What the run's record says of the endpoints."""
    found = ran.record["asked"]["traffic"]["endpoints"]
    assert isinstance(found, list)
    return found


@contextlib.contextmanager
def going_down_by_turns(flapping: Endpoint, other: Endpoint, n_requests: int) -> Iterator[list[int]]:
    """Stop an endpoint when the two met so many requests, start it again after as many more, and so on.

    Yields the number of outages so far.
    """
    n_outages, done = [0], threading.Event()

    def met() -> int:
        return flapping.stats().n_requests + other.stats().n_requests

    def waited(until: int) -> bool:
        while not done.wait(0.002):
            if met() >= until:
                return True
        return False

    def play() -> None:
        at = 0
        while waited(at := at + n_requests):
            flapping.__exit__(None, None, None)
            n_outages[0] += 1
            waited(at := met() + n_requests)
            flapping.__enter__()
            at = met()

    thread = threading.Thread(target=play)
    flapping.__enter__()
    thread.start()
    try:
        yield n_outages
    finally:
        done.set()
        thread.join()
        flapping.__exit__(None, None, None)


@pytest.mark.parametrize("balance", ["priority", "latency", "load"])
@pytest.mark.parametrize("which", [0, 1] if LONG else [0])
def test_an_endpoint_that_is_down_half_the_time_costs_no_answer(tmp_path: Path, balance: str, which: int) -> None:
    texts = texts_of(10_000 if LONG else 1_000)
    flapping, steady = Endpoint(latency_ms=5), Endpoint(latency_ms=5)
    with steady, going_down_by_turns(flapping, steady, len(texts) // PACK // 10) as n_outages:
        order = (flapping, steady) if which == 0 else (steady, flapping)
        prepare(tmp_path, steady, texts, model=both(*order, balance=balance), settings={"ask.deadline_s": 5})
        ran = ended(tmp_path, start(tmp_path))
        n_met = [one.stats().n_requests for one in order]
    wrong = not_right(tmp_path)
    assert len(wrong) <= len(texts) // 1000 * LONG, ran.stderr
    assert ran.exit_code == (3 if wrong else 0), ran.stderr
    assert n_outages[0] >= 4
    assert [one["n_requests"] >= n for one, n in zip(health(ran), n_met, strict=True)] == [True, True]
    # At most what was under way when the endpoint went down was charged there and is asked again.
    again = sum(n - 1 for n in answers(flapping, steady, billed=True).values())
    assert again <= n_outages[0] * THREADS * PACK
    assert set(answers(flapping, steady)) >= set(map(canonical, texts)) - set(map(canonical, wrong))


@pytest.mark.parametrize("fault", ["503", "500", "429", "quota", "no_model", "bad_key"])
def test_one_endpoint_that_passes_nothing_is_not_noticed_in_the_answers(tmp_path: Path, fault: str) -> None:
    texts = texts_of(200)
    with Endpoint(script=lambda *_: fault, retry_after_s=30) as first, Endpoint() as second:
        prepare(tmp_path, first, texts, model=both(first, second))
        ran = run(tmp_path)
    assert ran.exit_code == 0, ran.stderr
    assert not_right(tmp_path) == []
    assert set(second.ledger(billed=True).values()) == {1}
    assert first.stats().n_requests <= 2 * THREADS + 5
    assert ran.record["asked"]["outcomes"] == {"answered": len(texts) // PACK}


def test_an_endpoint_where_nothing_listens_costs_no_answer_and_no_time_of_the_pools(tmp_path: Path) -> None:
    texts = texts_of(200)
    with Endpoint() as endpoint:
        silent = {"base_url": f"http://127.0.0.1:{SILENT_PORT}/v1"}
        model = {"base_url": "", "endpoints": [silent, {"base_url": endpoint.base_url}]}
        prepare(tmp_path, endpoint, texts, model=model, settings={"ask.cooldown_s": 600})
        ran = run(tmp_path)
    assert ran.exit_code == 0, ran.stderr
    assert not_right(tmp_path) == []
    assert ran.record["asked"]["waited_s"] == 0
    first, second = health(ran)
    assert (first["is_up"], first["n_cooldowns"], second["is_up"], second["n_failed"]) == (False, 1, True, 0)


def test_connections_that_break_at_one_endpoint_do_not_slow_down_the_other(tmp_path: Path) -> None:
    texts = texts_of(400)
    with Endpoint(script=lambda *_: "drop") as first, Endpoint() as second:
        settings = {"ask.threads": 16, "ask.cooldown_s": 600}
        prepare(tmp_path, first, texts, model=both(first, second), settings=settings)
        ran = run(tmp_path)
    assert ran.exit_code == 0, ran.stderr
    assert not_right(tmp_path) == []
    assert ran.record["asked"]["waited_s"] == 0
    assert health(ran)[0]["n_cooldowns"] == 1


def test_where_all_endpoints_are_down_the_run_ends_with_a_clear_error_and_keeps_what_it_has(tmp_path: Path) -> None:
    first, second = Endpoint(), Endpoint()
    with first, second:
        prepare(tmp_path, first, texts_of(50), model=both(first, second))
    ran = run(tmp_path)
    assert ran.exit_code == 3, ran.stderr
    assert "keeps failing" in ran.stderr
    assert "no connection" in ran.stderr
    with first, second:
        assert run(tmp_path).exit_code == 0
    assert not_right(tmp_path) == []


def test_where_no_endpoint_takes_its_key_the_run_ends_at_once(tmp_path: Path) -> None:
    with Endpoint(api_key="other") as first, Endpoint(api_key="other") as second:
        prepare(tmp_path, first, texts_of(50), model={**both(first, second), "api_key_env": "A_KEY"})
        ran = run(tmp_path, environment=KEYS)
    assert ran.exit_code == 3, ran.stderr
    assert "refused the key in A_KEY" in ran.stderr
    assert first.stats().n_requests + second.stats().n_requests <= 2 * THREADS


class Keyed(Endpoint):
    """An endpoint that remembers every key it was sent."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.keys: set[str] = set()

    def _fate(self, now: Any, headers: Mapping[str, str], body: bytes, chat: Any) -> tuple[str, float | None]:
        self.keys.add(headers.get("authorization", ""))
        return super()._fate(now, headers, body, chat)


@pytest.mark.parametrize("fault", [None, "500", "429", "drop", "redirect", "bad_key"])
def test_a_key_goes_to_its_own_endpoint_and_is_found_nowhere(tmp_path: Path, fault: str | None) -> None:
    texts = texts_of(100)
    with Keyed(script=lambda *_: fault, api_key=KEYS["A_KEY"]) as first, Keyed(api_key=KEYS["B_KEY"]) as second:
        model = both(first, second, balance="load", api_key_env="A_KEY")
        model["endpoints"][1] |= {"api_key_env": "B_KEY"}
        silent = f"http://127.0.0.1:{SILENT_PORT}/v1?secret=sk-canary-in-a-query"
        model["endpoints"].append({"base_url": silent, "api_key_env": ""})
        prepare(tmp_path, first, texts, model=model)
        ran = run(tmp_path, environment=KEYS)
    assert ran.exit_code == 0, ran.stderr
    assert not_right(tmp_path) == []
    assert (first.keys, second.keys) == ({f"Bearer {KEYS['A_KEY']}"}, {f"Bearer {KEYS['B_KEY']}"})
    assert [found_in(tmp_path, ran, key) for key in KEYS.values()] == [[], []]
    (tmp_path / "reviewopt.toml").unlink()
    assert found_in(tmp_path, ran, "sk-canary-in-a-query") == []


def test_a_missing_key_of_any_endpoint_is_named_before_anything_is_sent_and_a_plan_needs_none(tmp_path: Path) -> None:
    with Endpoint() as first, Endpoint() as second:
        model = both(first, second)
        model["endpoints"][1] |= {"api_key_env": "B_KEY"}
        prepare(tmp_path, first, texts_of(10), model=model)
        ran, plan = run(tmp_path), run(tmp_path, "--dry-run")
    assert ran.exit_code == 3, ran.stderr
    assert "set the variable B_KEY" in ran.stderr
    assert plan.exit_code == 0, plan.stderr
    assert first.stats().n_requests + second.stats().n_requests == 0


def test_answers_are_kept_for_the_primary_endpoint_whoever_gave_them(tmp_path: Path) -> None:
    texts = texts_of(100)
    with Endpoint() as first, Endpoint() as second:
        prepare(tmp_path, first, texts, model=both(first, second, balance="load"))
        assert run(tmp_path).exit_code == 0
        assert min(one.stats().n_requests for one in (first, second)) > 0
        n_met = first.stats().n_requests + second.stats().n_requests
        write_settings(tmp_path, {"base_url": first.base_url}, {})
        assert run(tmp_path).exit_code == 0
        assert first.stats().n_requests + second.stats().n_requests == n_met
    assert pl.read_parquet(tmp_path / "out.parquet")["sentiment"].null_count() == 0


def test_the_settings_are_shown_without_what_may_be_secret_and_misspelt_ones_are_refused(tmp_path: Path) -> None:
    with Endpoint() as first, Endpoint() as second:
        model = both(first, second)
        model["endpoints"][1] |= {"base_url": f"{second.base_url}?token=sk-canary"}
        prepare(tmp_path, first, texts_of(10), model=model)
        shown = run(tmp_path, "--show-config")
        model["endpoints"][1] = {"base_url": second.base_url, "regoin": "far"}
        write_settings(tmp_path, model, {})
        misspelt = run(tmp_path)
    assert shown.exit_code == 0, shown.stderr
    assert "sk-canary" not in shown.stdout
    assert "models.fake.endpoints.2.base_url" in shown.stdout
    assert f"{second.base_url}?..." in shown.stdout
    assert misspelt.exit_code == 2
    assert "models.fake.endpoints.2.regoin; did you mean region?" in misspelt.stderr
