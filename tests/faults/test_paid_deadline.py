"""A run that may only ask so long: what it leaves, and that a later run asks nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import polars as pl
import pytest
from endpoint import Endpoint
from paid import failures, is_each_answered_once, not_right, paid_again, prepare, rows, run, texts_of

LEFT = "the deadline was reached"


def test_what_a_deadline_leaves_is_said_row_by_row_and_a_later_run_asks_only_that(tmp_path: Path) -> None:
    texts = texts_of(1000)
    urgency = [None if at % 9 == 8 else at % 9 for at in range(len(texts))]
    with Endpoint(latency_ms=200.0) as endpoint:
        prepare(tmp_path, endpoint, texts, settings={"pack.fixed": 5}, urgency=urgency)
        done = run(tmp_path, "--deadline", "2s", "--priority-column", "urgency")
        assert done.exit_code == 3, done.stderr
        out = rows(tmp_path)
        is_left = pl.col("sentiment").is_null()
        answered, left = out.filter(~is_left), out.filter(is_left)
        assert answered.height == sum(endpoint.ledger().values()) == len(endpoint.ledger()) > 0
        assert left["sentiment_source"].unique().to_list() == ["failed"]
        assert left["sentiment_note"].unique().to_list() == [LEFT]
        assert not_right(tmp_path) == left["text"].to_list()
        asked = done.record["asked"]
        assert asked["n_over_deadline"] == asked["failures"][LEFT] == left.height == len(failures(tmp_path))
        # What was asked are the highest priorities, none counting as the lowest.
        assert min(answered["urgency"].fill_null(-1).to_list()) >= max(left["urgency"].fill_null(-1).to_list())

        endpoint.change(latency_ms=0.0)
        again = run(tmp_path)
        assert again.exit_code == 0, again.stderr
        assert again.record["asked"]["n_over_deadline"] == 0
        assert again.record["asked"]["n_asked"] == left.height
    assert not_right(tmp_path) == []
    assert is_each_answered_once(endpoint, texts)
    assert paid_again(endpoint) == 0


def test_chunks_and_copies_after_the_deadline_have_their_note_too(tmp_path: Path) -> None:
    texts = texts_of(300) * 2
    with Endpoint(latency_ms=100.0) as endpoint:
        prepare(tmp_path, endpoint, texts, settings={"pack.fixed": 2, "process.chunk_rows": 50})
        done = run(tmp_path, "--deadline", "1s", "--allow-failures")
        assert done.exit_code == 0, done.stderr
        left = rows(tmp_path).filter(pl.col("sentiment").is_null())
        assert left["sentiment_note"].unique().to_list() == [LEFT]
        assert rows(tmp_path)["text"].to_list() == texts
        n_left = left["text"].n_unique()
        assert done.record["asked"]["n_over_deadline"] == n_left == left.height / 2
        assert len(endpoint.ledger()) == 300 - n_left
        endpoint.change(latency_ms=0.0)
        assert run(tmp_path).record["asked"]["n_asked"] == n_left
    assert is_each_answered_once(endpoint, texts)


def test_a_deadline_that_is_met_changes_nothing(tmp_path: Path) -> None:
    texts = texts_of(40)
    with Endpoint() as endpoint:
        prepare(tmp_path, endpoint, texts)
        done = run(tmp_path, "--deadline", "10m")
    assert done.exit_code == 0, done.stderr
    assert done.record["asked"]["n_over_deadline"] == 0
    assert is_each_answered_once(endpoint, texts)


@pytest.mark.parametrize("n_tenants", [1, 3])
def test_reviews_go_out_by_priority_however_the_table_is_sorted(tmp_path: Path, n_tenants: int) -> None:
    texts = texts_of(120)
    urgency = [at // 30 for at in range(len(texts))]  # the lowest stand first in the table
    tenant = [f"shop {at % n_tenants}" for at in range(len(texts))]
    of_text = dict(zip(texts, zip(urgency, tenant, strict=True), strict=True))
    sent: list[list[int]] = []

    def note(_: int, reviews: Sequence[str]) -> None:
        assert len({of_text[text][1] for text in reviews}) == 1
        sent.append([of_text[text][0] for text in reviews])

    with Endpoint(script=note) as endpoint:
        settings = {"ask.threads": 1, "pack.fixed": 7}
        prepare(tmp_path, endpoint, texts, settings=settings, urgency=urgency, shop=tenant)
        done = run(tmp_path, "--priority-column", "urgency", "--tenant-column", "shop")
    assert done.exit_code == 0, done.stderr
    assert done.record["input"]["columns"]["priority"] == "urgency"
    assert [max(one) for one in sent] == sorted((max(one) for one in sent), reverse=True)
    assert sorted(level for one in sent for level in one) == urgency


def test_a_wrong_deadline_or_a_priority_in_words_sends_nothing(tmp_path: Path) -> None:
    with Endpoint() as endpoint:
        prepare(tmp_path, endpoint, texts_of(30), urgency=["1"] * 29 + ["high"])
        done = run(tmp_path, "--deadline", "soon")
        assert (done.exit_code, "90s, 10m, 2h or 1h30m" in done.stderr) == (2, True)
        done = run(tmp_path, "--priority-column", "urgency")
        assert (done.exit_code, "row 29 (from 0): column 'urgency' holds 'high'" in done.stderr) == (2, True)
        done = run(tmp_path, "--priority-column", "urgencey")
        assert (done.exit_code, "did you mean 'urgency'?" in done.stderr) == (2, True)
    assert endpoint.stats().n_requests == 0


def test_a_deadline_without_a_model_is_a_usage_error(
    tmp_path: Path, inside: Callable[..., CompletedProcess[str]]
) -> None:
    pl.DataFrame({"text": ["good"]}).write_parquet(tmp_path / "in.parquet")
    done = inside("process", "in.parquet", "--deadline", "10m")
    assert (done.returncode, "name it with --model" in done.stderr) == (2, True)
