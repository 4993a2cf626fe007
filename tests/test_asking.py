"""Paid runs from the table to the output: what is asked, archived, remembered, and what it costs in the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fakes import PAID, make_job, process
from purses import counted

from reviewopt import load, pipeline
from reviewopt.budget import asked_questions, entries
from reviewopt.config import load_task
from reviewopt.data import Reply, Request, Usage
from reviewopt.errors import InputError, ModelError
from reviewopt.job import OnAsked
from reviewopt.models.scripted import Fault, Scripted
from reviewopt.record import AskRecord, Run

REQUEST_USD = Decimal("0.001")
# Nothing is shared between texts that are alike: what is asked is what the tests say.
APART: dict[str, Any] = {
    "dedup.near": "off",
    "cache.similar.enabled": False,
    "cache.archive.similar": False,
    "ask.threads": 4,
    "ask.cooldown_s": 0.01,
}
NAIVE: dict[str, Any] = {**APART, **{f"cache.{tier}.enabled": False for tier in ("memory", "similar", "archive")}}


def text_of(at: int) -> str:
    return f"{'abcdefghijklmnopqrstuvwxyz'[at % 26] * 9} {at}"


def label_of(text: str) -> str:
    return ("negative", "neutral", "positive")[int(text.rpartition(" ")[2]) % 3]


def table_of(folder: Path, texts: Sequence[str | None], **columns: Sequence[Any]) -> Path:
    path = folder / "in.parquet"
    frame = {"id": [f"id{at}" for at in range(len(texts))], "text": texts, **columns}
    pl.DataFrame(frame, schema_overrides={"text": pl.String}).write_parquet(path)
    return path


def scripted(faults: Any = None, script: Any = label_of, **options: Any) -> Scripted:
    return Scripted(script, name="gpt", faults=faults, **options)


def paid(
    source: Path, folder: Path, model: Scripted, settings: dict[str, Any] | None = None, **options: Any
) -> tuple[Run, pl.DataFrame]:
    return process(source, folder, scripted=model, settings={**APART, "pack.fixed": 5, **(settings or {})},
                   **{**PAID, **options})  # fmt: skip


def asked(run: Run) -> AskRecord:
    assert run.asked is not None
    return run.asked


def texts_of(model: Scripted) -> list[str]:
    return [question.text for request in model.requests for question in request.questions]


def failures(folder: Path) -> list[dict[str, Any]]:
    """The lines of the newest run's failures.jsonl."""
    path = max((folder / "home" / "runs").iterdir()) / "failures.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def newest(folder: Path) -> str:
    return max((folder / "home" / "runs").iterdir()).name


def with_text(text: str, fault: Fault) -> Callable[[int, Request], Fault | None]:
    """A fault of every request that holds this text."""
    return lambda _, request: fault if any(one.text == text for one in request.questions) else None


# What is asked


def test_each_text_is_asked_once_and_every_row_has_its_answer(tmp_path: Path) -> None:
    texts = [text_of(at % 23) for at in range(60)] + [None, "  "]
    model = scripted()
    run, out = paid(table_of(tmp_path, texts), tmp_path, model, chunk_rows=17)
    assert Counter(texts_of(model)) == Counter({text_of(at): 1 for at in range(23)})
    labels = out["sentiment"].cast(pl.String).to_list()
    assert labels == [label_of(text) if text and text.strip() else None for text in texts]
    assert run.n_by_source["gpt"] == asked(run).n_asked == 23
    assert (run.n_by_source["exact"], run.n_by_source["empty"]) == (37, 2)


@pytest.mark.parametrize("texts", [[None], ["", "  ", None, "\n\t"]])
def test_a_table_without_a_text_sends_nothing(tmp_path: Path, texts: list[str | None]) -> None:
    model = scripted()
    run, out = paid(table_of(tmp_path, texts), tmp_path, model)
    assert model.requests == []
    assert out.height == run.n_rows == len(texts) == run.n_by_source["empty"]
    assert out["sentiment"].null_count() == len(texts)
    assert asked(run).n_requests == Decimal(asked(run).spent_usd) == Decimal(run.cost.naive_usd) == 0


def test_a_table_without_a_row_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    model = scripted()
    with pytest.raises(InputError, match="no rows"):
        paid(table_of(tmp_path, []), tmp_path, model)
    assert model.requests == []


def test_a_text_of_nothing_but_markup_or_invisible_characters_is_empty_and_sends_nothing(tmp_path: Path) -> None:
    texts = ["<br>", "&nbsp;", "\u200b", "<p></p>\n<br/>", "<!-- a word -->", "&#8203; \ufeff"]
    model = scripted(script=lambda _: "neutral")
    run, out = paid(table_of(tmp_path, texts), tmp_path, model)
    assert model.requests == []
    assert out["sentiment_source"].to_list() == ["empty"] * len(texts)
    assert run.n_by_source["empty"] == len(texts)
    assert Decimal(run.cost.naive_usd) == 0


def test_a_sign_between_markup_is_a_text(tmp_path: Path) -> None:
    texts = ["<b>!</b>", "<3", "&lt;br&gt; 5", "<p>\U0001f600</p>"]
    model = scripted(script=lambda _: "neutral")
    _, out = paid(table_of(tmp_path, texts), tmp_path, model)
    assert sorted(texts_of(model)) == sorted(["!", "<3", "5", "\U0001f600"])
    assert out["sentiment"].null_count() == 0


def test_the_naive_form_asks_every_row_once_copies_too(tmp_path: Path) -> None:
    texts = [text_of(at % 3) for at in range(10)] + [None]
    model = scripted()
    run, out = paid(table_of(tmp_path, texts), tmp_path, model, {**NAIVE, "pack.fixed": 1}, is_naive=True, chunk_rows=4)
    assert [len(request.questions) for request in model.requests] == [1] * 10
    assert sorted(texts_of(model)) == sorted(text for text in texts if text)
    assert run.n_by_source["gpt"] == run.n_questions == 10
    assert out["sentiment_cost_usd"].to_list() == [REQUEST_USD] * 10 + [0]
    assert Decimal(run.cost.naive_usd) == Decimal(run.cost.answers_usd) == 10 * REQUEST_USD
    assert {name: Decimal(usd) for name, usd in run.cost.saved_usd.items() if Decimal(usd)} == {}


def test_the_naive_form_asks_one_review_a_request_whatever_the_pack_size(tmp_path: Path) -> None:
    model = scripted()
    paid(
        table_of(tmp_path, [text_of(at) for at in range(6)]), tmp_path, model, {**NAIVE, "pack.fixed": 5}, is_naive=True
    )
    assert [len(request.questions) for request in model.requests] == [1] * 6


def test_isolated_tenants_never_share_a_request(tmp_path: Path) -> None:
    texts, tenants = [text_of(at) for at in range(40)], [("a", "b", None, "")[at % 4] for at in range(40)]
    model = scripted()
    _, out = paid(table_of(tmp_path, texts, tenant=tenants), tmp_path, model, isolated=True)
    assert all(len({one.tenant or "" for one in request.questions}) == 1 for request in model.requests)
    assert out["sentiment"].null_count() == 0
    assert max(len(request.questions) for request in model.requests) == 5


def test_tenants_that_share_may_share_a_request_and_each_pays_its_part(tmp_path: Path) -> None:
    texts, tenants = [text_of(at) for at in range(40)], [("a", "b")[at % 2] for at in range(40)]
    model = scripted()
    _, out = paid(table_of(tmp_path, texts, tenant=tenants), tmp_path, model)
    assert any(len({one.tenant for one in request.questions}) == 2 for request in model.requests)
    by_tenant = dict(out.group_by("tenant").agg(pl.col("sentiment_cost_usd").sum()).iter_rows())
    charged = counted(tmp_path / "home" / "spend")
    assert {name: charged[f"tenant:{name}"] for name in ("a", "b")} == by_tenant


def test_a_review_that_is_too_long_is_shortened_and_its_row_says_so(tmp_path: Path) -> None:
    long = "the kettle is fine " * 200
    model = scripted(script=lambda _: "neutral")
    run, out = paid(table_of(tmp_path, ["short 1", long, long]), tmp_path, model, {"prompt.most_review_tokens": 60})
    assert out["sentiment_note"].to_list() == [None, "shortened", "shortened"]
    assert asked(run).n_shortened == 1
    assert max(map(len, texts_of(model))) < len(long) / 5


def test_what_is_redacted_is_not_sent(tmp_path: Path) -> None:
    model = scripted(script=lambda _: "neutral")
    paid(table_of(tmp_path, ["write to me@shop.example or 1"]), tmp_path, model, {"prompt.redact": True})
    assert "shop.example" not in texts_of(model)[0]


def test_progress_ends_when_all_open_questions_are_done(tmp_path: Path) -> None:
    told: list[tuple[int, int, Decimal]] = []
    run, _ = asked_with(tmp_path, scripted(), lambda *values: told.append(values), n=23)
    assert [n_open for _, n_open, _ in told] == [23] * len(told)
    done = [n_done for n_done, _, _ in told]
    assert done == sorted(done)
    assert done[-1] == 23
    assert told[-1][2] == Decimal(asked(run).spent_usd)


def asked_with(folder: Path, model: Scripted, on_asked: OnAsked, n: int) -> tuple[Run, Path]:
    """Label n texts, telling `on_asked`."""
    source = table_of(folder, [text_of(at) for at in range(n)])
    with (
        load.open_table([str(source)], task=load_task("sentiment"), chunk_rows=1000) as table,
        make_job(table, folder, scripted=model, settings={**APART, "pack.fixed": 5}, **PAID) as job,
    ):
        (only,) = job.paid
        run = pipeline.process(replace(job, rungs=(replace(only, on_asked=on_asked),)), lambda *_: None)
    return run, source


# What is kept


class DiedError(Exception):
    """What ends a test's run in its middle."""


@pytest.mark.parametrize("n_yields", [1, 3])
def test_an_answer_is_archived_before_it_counts(tmp_path: Path, n_yields: int) -> None:
    told: list[int] = []

    def die(n_done: int, n_open: int, spent_usd: Decimal) -> None:  # noqa: ARG001 - as OnAsked
        told.append(n_done)
        if len(told) == n_yields:
            raise DiedError

    with pytest.raises(DiedError):
        asked_with(tmp_path, scripted(latency_s=0.002), die, n=50)
    model = scripted()
    run, out = paid(tmp_path / "in.parquet", tmp_path, model)
    assert len(texts_of(model)) == 50 - told[-1]
    assert run.n_by_source["gpt"] == 50 - told[-1]
    assert out["sentiment"].cast(pl.String).to_list() == [label_of(text_of(at)) for at in range(50)]


def test_where_there_is_no_hope_what_was_answered_is_in_the_archive(tmp_path: Path) -> None:
    source = table_of(tmp_path, [text_of(at) for at in range(100)])
    with pytest.raises(ModelError, match="no quota"):
        paid(source, tmp_path, scripted(lambda number, _: "hopeless: no quota" if number > 6 else None))
    assert not (tmp_path / "out.parquet").exists()
    model = scripted()
    run, _ = paid(source, tmp_path, model)
    assert len(texts_of(model)) == 100 - 6 * 5
    assert run.n_by_source["l2"] + run.n_by_source["l3"] == 30


def test_a_stopped_run_keeps_all_that_it_paid_for(tmp_path: Path) -> None:
    source = table_of(tmp_path, [text_of(at) for at in range(200)])
    first = scripted(latency_s=0.001)
    with pytest.raises(KeyboardInterrupt):
        paid(source, tmp_path, first, is_stopping=lambda: len(first.requests) >= 8)
    second = scripted()
    paid(source, tmp_path, second)
    assert 0 < len(texts_of(first)) < 200
    assert Counter(texts_of(first) + texts_of(second)) == Counter(text_of(at) for at in range(200))


# What never works


def test_a_refused_text_is_left_alone_by_later_runs_until_they_retry(tmp_path: Path) -> None:
    source = table_of(tmp_path, [text_of(at) for at in range(12)] + [text_of(7)])
    left_alone = "left alone, it never worked in an earlier run: a content filter"
    for retries, n_asked, reason in (
        (False, 12, "a content filter"), (False, 0, left_alone), (True, 1, "a content filter"), (False, 0, left_alone)
    ):  # fmt: skip
        model = scripted(with_text(text_of(7), "refused: a content filter"))
        run, out = paid(source, tmp_path, model, retries=retries)
        assert len(set(texts_of(model))) == n_asked, retries
        assert out["sentiment"].is_null().arg_true().to_list() == [7, 12]
        assert out["sentiment_note"].to_list() == [None] * 7 + [reason] + [None] * 4 + [reason]
        assert out["sentiment_source"].to_list()[7::5] == ["failed", "failed"]
        assert run.n_by_source["failed"] == 2
    model = scripted()
    _, out = paid(source, tmp_path, model, retries=True)
    assert (texts_of(model), out["sentiment"].null_count()) == ([text_of(7)], 0)
    assert paid(source, tmp_path, scripted())[1]["sentiment"].null_count() == 0


def test_what_the_endpoint_failed_is_asked_again_by_the_next_run(tmp_path: Path) -> None:
    source = table_of(tmp_path, [text_of(at) for at in range(6)])
    faults = with_text(text_of(2), "unavailable: HTTP 500")
    settings = {"pack.fixed": 1, "ask.most_attempts": 2}
    _, out = paid(source, tmp_path, scripted(faults), settings)
    assert out["sentiment_note"].drop_nulls().to_list() == ["the endpoint failed 2 times: HTTP 500"]
    model = scripted()
    assert paid(source, tmp_path, model, settings)[1]["sentiment"].null_count() == 0
    assert texts_of(model) == [text_of(2)]


@pytest.mark.parametrize(("n_good", "size"), [(0, 5), (0, 1), (1, 5)])
def test_what_an_endpoint_that_answered_nothing_any_more_left_over_is_asked_by_the_next_run(
    tmp_path: Path, n_good: int, size: int
) -> None:
    source = table_of(tmp_path, [text_of(at) for at in range(10)])
    broken = scripted(lambda number, _: "spoiled: the reply is not JSON of a chat" if number > n_good else None)
    with suppress(ModelError):  # it may end the run, but need not
        paid(source, tmp_path, broken, {"pack.fixed": size})
    _, out = paid(source, tmp_path, scripted(), {"pack.fixed": size})
    assert out["sentiment"].null_count() == 0


def test_each_failure_is_written_down_with_its_reason_and_its_tries(tmp_path: Path) -> None:
    source = table_of(tmp_path, [text_of(at) for at in range(8)], tenant=["a", "b"] * 4)
    run, _ = paid(source, tmp_path, scripted(with_text(text_of(3), "refused: a filter")))
    (line,) = failures(tmp_path)
    assert line == {"review_id": "id3", "tenant": "b", "reason": "a filter", "n_tries": 2, "is_of_text": True}
    assert asked(run).failures == {"a filter": 1}


def test_reviews_without_a_budget_are_written_down_and_are_asked_when_there_is_one(tmp_path: Path) -> None:
    source = table_of(tmp_path, [text_of(at) for at in range(20)])
    run, out = paid(source, tmp_path, scripted(), {"budget.usd": 0.0025})
    assert (asked(run).n_over_budget, run.n_by_source["failed"], out["sentiment"].null_count()) == (10, 10, 10)
    assert [(line["reason"], line["is_of_text"], line["n_tries"]) for line in failures(tmp_path)] == [
        ("the budget of the run is spent", False, 0)
    ] * 10
    assert (Decimal(asked(run).spent_usd), asked(run).budget_usd) == (2 * REQUEST_USD, "0.0025")
    model = scripted()
    assert paid(source, tmp_path, model)[1]["sentiment"].null_count() == 0
    assert len(texts_of(model)) == 10


def test_a_text_that_never_worked_while_others_did_is_left_alone_by_the_next_run(tmp_path: Path) -> None:
    source = table_of(tmp_path, [text_of(at) for at in range(24)])
    bad = with_text(text_of(4), "spoiled: not JSON")
    paid(source, tmp_path, scripted(bad, latency_s=0.005), {"pack.fixed": 1})
    (line,) = failures(tmp_path)
    assert (line["reason"], line["is_of_text"]) == ("not JSON", True)
    model = scripted()
    _, out = paid(source, tmp_path, model)
    assert (model.requests, out["sentiment_source"].to_list().count("failed")) == ([], 1)


@pytest.mark.parametrize("is_second", [False, True])
def test_the_record_has_a_reason_for_every_question_that_failed(tmp_path: Path, *, is_second: bool) -> None:
    source = table_of(tmp_path, [text_of(at) for at in range(8)])
    for _ in range(2 if is_second else 1):
        run, _ = paid(source, tmp_path, scripted(with_text(text_of(3), "refused: a filter")))
    assert sum(asked(run).failures.values()) == run.n_by_source["failed"] == 1


# What it costs


MIXED: dict[int, Fault] = {
    1: "spoiled", 2: "rate_limited", 3: "no_reply", 4: "unavailable", 6: "refused", 7: "unsupported", 9: "answered",
    10: Reply(outcome="answered", seconds=0.0, values=(("r01", "neutral"), ("r99", "x")), usage=Usage(input=9),
              is_charged=True),
    11: Reply(outcome="spoiled", seconds=0.0, is_charged=True),
    12: Reply(outcome="refused", seconds=0.0),
}  # fmt: skip


@pytest.mark.parametrize("chunk_rows", [7, 1000])
def test_the_cost_column_adds_up_to_what_the_ledger_charged_the_run(tmp_path: Path, chunk_rows: int) -> None:
    texts = [text_of(at % 45) for at in range(70)]
    source = table_of(tmp_path, texts, tenant=[("a", "b", None)[at % 3] for at in range(70)])
    model = scripted(MIXED)
    run, out = paid(source, tmp_path, model, chunk_rows=chunk_rows)
    spend = tmp_path / "home" / "spend"
    charged = counted(spend)[f"run:{newest(tmp_path)}"]
    assert out["sentiment_cost_usd"].sum() == charged == Decimal(asked(run).spent_usd)
    assert Decimal(run.cost.answers_usd) == charged
    ended = entries(spend, newest(tmp_path)).filter(pl.col("kind") == "settle")
    assert ended["usd"].sum() == charged == asked_questions(spend)["usd"].sum()
    assert out.filter(pl.col("sentiment_source") == "exact")["sentiment_cost_usd"].sum() == 0
    saved = sum(map(Decimal, run.cost.saved_usd.values()))
    assert saved + Decimal(run.cost.answers_usd) == Decimal(run.cost.naive_usd)


def test_what_a_failed_question_was_charged_is_neither_saved_nor_lost(tmp_path: Path) -> None:
    charged = Reply(outcome="spoiled", seconds=0.0, is_charged=True)
    model = scripted(with_text(text_of(3), charged))
    run, out = paid(table_of(tmp_path, [text_of(at % 8) for at in range(12)]), tmp_path, model)
    assert out.filter(pl.col("sentiment_source") == "failed")["sentiment_cost_usd"].sum() > 0
    saved = sum(map(Decimal, run.cost.saved_usd.values()))
    assert saved + Decimal(run.cost.answers_usd) == Decimal(run.cost.naive_usd)


def test_the_record_counts_what_was_sent(tmp_path: Path) -> None:
    model = scripted({2: "rate_limited", 3: "spoiled", 4: "no_reply"})
    run, _ = paid(table_of(tmp_path, [text_of(at) for at in range(40)]), tmp_path, model)
    record = asked(run)
    assert record.n_requests == len(model.requests) == sum(record.outcomes.values())
    assert record.n_asked == len(texts_of(model))
    assert record.outcomes["answered"] == len(model.requests) - 3
    assert Decimal(record.no_reply_usd) == REQUEST_USD
    assert record.is_simulated
    assert 1 <= record.most_in_flight <= 4
    assert record.mean_pack_size == pytest.approx(record.n_asked / record.n_requests)


# Several fields


def several(text: str) -> object:
    at = int(text.rpartition(" ")[2])
    return {
        "sentiment": label_of(text),
        "product_quality": at % 5 + 1,
        "purchase_recommendation": at % 2 == 0,
        "key_insights": [f"point {at}", " second\npoint ", "third"][: at % 4],
    }


def test_a_task_of_several_fields_fills_its_columns_for_copies_and_from_the_archive_too(tmp_path: Path) -> None:
    texts = [text_of(at % 11) for at in range(14)] + [None, "zzzzzzzzz 99"]
    source, task = table_of(tmp_path, texts), load_task("review")
    faults = with_text("zzzzzzzzz 99", "refused: a filter")
    first = paid(source, tmp_path, scripted(faults, several), task=task, chunk_rows=6)[1]
    model = scripted(faults, several)
    run, second = paid(source, tmp_path, model, task=task)
    columns = ["sentiment", "product_quality", "purchase_recommendation", "key_insights"]
    assert (model.requests, run.n_by_source["failed"]) == ([], 1)
    assert first.select(columns).equals(second.select(columns))
    assert first["product_quality"].to_list() == [at % 11 % 5 + 1 for at in range(14)] + [None, None]
    assert first["purchase_recommendation"].to_list()[:3] == ["yes", "no", "yes"]
    assert first["key_insights"].to_list()[:4] == [
        "",
        "point 1",
        "point 2; second point",
        "point 3; second point; third",
    ]
    assert first.tail(2).select(columns).null_count().row(0) == (2, 2, 2, 2)
    assert first["sentiment_source"].to_list()[11:] == ["exact", "exact", "exact", "empty", "failed"]


def test_an_answer_that_lacks_a_field_is_asked_again_and_never_kept_in_part(tmp_path: Path) -> None:
    def partly(text: str) -> object:
        value = several(text)
        assert isinstance(value, dict)
        return {name: one for name, one in value.items() if name != "product_quality"} if text == text_of(2) else value

    source = table_of(tmp_path, [text_of(at) for at in range(5)])
    model = scripted(script=partly)
    _, out = paid(source, tmp_path, model, {"ask.most_tries": 3}, task=load_task("review"))
    assert out["sentiment"].is_null().to_list() == [False, False, True, False, False]
    assert out["sentiment_note"].to_list()[2] == "no valid answer for product_quality"
    assert Counter(texts_of(model))[text_of(2)] == 1 + 3


SAYING = "this kettle works well and my mother uses it each day for the tea"


def test_a_near_copy_of_a_refused_text_is_asked_by_itself(tmp_path: Path) -> None:
    texts = [SAYING, SAYING.replace("tea", "teas"), "a lamp", "the chair", "no shoes"]
    model = scripted(with_text(SAYING, "refused"), lambda _: "positive")
    run, out = paid(table_of(tmp_path, texts), tmp_path, model, {"dedup.near": "share"})
    assert out["sentiment_source"].to_list()[:2] == ["failed", "gpt"]
    assert run.n_by_source["failed"] == 1


def test_a_near_copy_shares_the_answer_of_a_text_that_got_one(tmp_path: Path) -> None:
    model = scripted(script=lambda _: "positive")
    _, out = paid(table_of(tmp_path, [SAYING, SAYING.replace("tea", "teas")]), tmp_path, model, {"dedup.near": "share"})
    assert out["sentiment_source"].to_list() == ["gpt", "near"]
    assert texts_of(model) == [SAYING]


def test_what_stayed_unanswered_saved_nothing(tmp_path: Path) -> None:
    run, _ = paid(table_of(tmp_path, [text_of(at) for at in range(10)]), tmp_path, scripted(), {"budget.usd": 0})
    assert {Decimal(usd) for usd in run.cost.saved_usd.values()} == {Decimal(0)}
    assert Decimal(run.cost.naive_usd) == 0


def test_the_naive_form_saves_nothing_by_definition(tmp_path: Path) -> None:
    run, _ = process(table_of(tmp_path, [text_of(0)] * 3), tmp_path, scripted=scripted(), is_naive=True, **PAID)
    assert Decimal(run.cost.saved_usd["packs"]) == 0


@pytest.mark.parametrize(("keeps", "words"), [(True, "is kept: run the same"), (False, "nothing that was answered")])
def test_where_a_run_ends_it_says_what_is_kept(tmp_path: Path, *, keeps: bool, words: str) -> None:
    texts = [text_of(at) for at in range(30)]
    model = scripted({5: "hopeless: no quota"})
    with pytest.raises(ModelError, match=words):
        paid(table_of(tmp_path, texts), tmp_path, model, {"pack.fixed": 2, "cache.archive.enabled": keeps})
