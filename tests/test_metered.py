"""Whole runs with a cloud service: units instead of tokens, from the plan over the budget to each row's cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fake_cloud import FakeService, cloud_of, last_word
from fakes import make_job, process, vocabulary
from test_asking import APART, asked, failures, newest, table_of

from reviewopt import load, pipeline, plan, pricelist, prices, services
from reviewopt.budget import History, totals
from reviewopt.errors import ModelError
from reviewopt.job import Job
from reviewopt.models import cloud
from reviewopt.models.cloud_service import Fault
from reviewopt.plan import Known
from reviewopt.pricing import measured
from reviewopt.record import Plan, Run
from reviewopt.tokens import open_encoding

UNIT_USD = Decimal("0.0001")
# Requests are full where the settings do not say otherwise.
FULL: dict[str, Any] = {**APART, "pack.fixed": 0}


def texts_of(n: int) -> list[str]:
    """Texts of 2 to 18 units, each with its label at the end."""
    return [f"{'word ' * (at * 37 % 350)}number {at} {cloud.LABELS[at % 4]}" for at in range(n)]


def label_of(text: str) -> str:
    return text.rsplit(maxsplit=1)[-1]


def options(service: FakeService, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    chosen = cloud.settings_of("aws")
    return {
        "scripted": cloud_of(service), "task": cloud.task(), "source": "aws", "price": prices.find(chosen, "aws"),
        "settings": {**FULL, **(settings or {})},
    }  # fmt: skip


def run(source: Path, folder: Path, service: FakeService, **settings: Any) -> tuple[Run, pl.DataFrame]:
    return process(source, folder, **options(service, settings))


@contextmanager
def job_of(source: Path, folder: Path, service: FakeService, **settings: Any) -> Iterator[Job]:
    with (
        load.open_table([str(source)], task=cloud.task(), chunk_rows=1000) as table,
        make_job(table, folder, **options(service, settings)) as job,
    ):
        yield job


def planned(job: Job, history: History | None = None) -> Plan:
    models = [Known(paid=paid, history=history) for paid in job.paid]
    return plan.make(pipeline.survey(job, lambda *_: None), models, threads=4)


def timed(mean_s: float) -> History:
    """Earlier requests whose tokens would say something else than the texts do."""
    return History(
        n_requests=9, n_reviews=200, mean_s=mean_s, median_s=mean_s, output_tokens_a_review=3.0,
        input_tokens_a_byte=7.0, usd_a_review=Decimal(1),
    )  # fmt: skip


def listed_usd(texts: list[str]) -> Decimal:
    """What the price list asks at its first tier, worked out apart from the run."""
    service = services.find("aws", pricelist.read().services)
    text = pl.Series(texts)
    sizes = services.sizes(pl.repeat(None, len(texts), dtype=pl.String, eager=True), text)
    bill = services.bill(service, services.n_units(service, sizes))
    assert len(bill.parts) == 1
    return bill.list_usd


# What is asked


def test_every_row_has_its_answer_and_mixed_is_one(tmp_path: Path) -> None:
    texts = texts_of(60)
    service = FakeService(last_word)
    done, out = run(table_of(tmp_path, [*texts, None, texts[0]]), tmp_path, service)
    assert out["sentiment"].cast(pl.String).to_list() == [*map(label_of, texts), None, label_of(texts[0])]
    assert out["sentiment_source"].to_list() == ["aws"] * 60 + ["empty", "exact"]
    assert out["sentiment_confidence"][:60].to_list() == [0.875] * 60
    assert sorted(map(len, service.asked)) == [10, 25, 25]  # as many as it takes, however complex they are
    assert asked(done).is_simulated is False
    assert asked(done).endpoint == "Amazon Comprehend"


def test_a_size_that_the_settings_fix_is_kept(tmp_path: Path) -> None:
    service = FakeService(last_word)
    run(table_of(tmp_path, texts_of(9)), tmp_path, service, **{"pack.fixed": 4})
    assert sorted(map(len, service.asked)) == [1, 4, 4]


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    source = table_of(tmp_path, texts_of(30))
    first = FakeService(last_word)
    run(source, tmp_path, first)
    service = FakeService(last_word)
    done, out = run(source, tmp_path, service)
    assert (len(first.asked), service.asked) == (2, [])
    assert Decimal(done.cost.naive_usd) == listed_usd(texts_of(30))  # known although no text was counted
    assert out["sentiment"].cast(pl.String).to_list() == list(map(label_of, texts_of(30)))
    assert Decimal(asked(done).spent_usd) == 0


def test_a_service_that_asks_to_wait_is_asked_again_and_not_paid_twice(tmp_path: Path) -> None:
    texts = texts_of(30)
    wait = Fault(outcome="rate_limited", reason="asked to wait", retry_after_s=0.01)
    gone = Fault(outcome="unavailable", reason="HTTP 503")
    done, out = run(table_of(tmp_path, texts), tmp_path, FakeService(last_word, {1: wait, 2: gone}))
    assert out["sentiment"].null_count() == 0
    assert asked(done).outcomes == {"answered": 2, "rate_limited": 1, "unavailable": 1}
    assert Decimal(asked(done).spent_usd) == listed_usd(texts)


def test_a_document_with_an_error_is_asked_again_alone_and_fails_with_its_reason(tmp_path: Path) -> None:
    texts = [*texts_of(24), "what a strange thing"]
    service = FakeService(last_word)
    done, out = run(table_of(tmp_path, texts), tmp_path, service)
    assert out["sentiment"][:24].null_count() == 0
    assert out["sentiment"][24] is None
    assert service.asked[1:] == [["what a strange thing"]]
    (failure,) = failures(tmp_path)
    assert "TEXT_TOO_ODD" in failure["reason"]
    assert Decimal(asked(done).spent_usd) == listed_usd(texts) + 3 * UNIT_USD  # it counts as billed both times


def test_wrong_credentials_end_a_run_at_once(tmp_path: Path) -> None:
    refused = Fault(outcome="hopeless", reason="refused the credentials: run `aws configure`")
    service = FakeService(last_word, dict.fromkeys(range(1, 99), refused))
    with pytest.raises(ModelError, match="aws at Amazon Comprehend: refused the credentials: run `aws configure`"):
        run(table_of(tmp_path, texts_of(200)), tmp_path, service, **{"ask.threads": 1})
    assert len(service.asked) == 1


def test_a_longer_document_is_cut_at_the_end_of_a_character_and_counts_as_cut(tmp_path: Path) -> None:
    long = "x" + "\u20ac" * 1700  # 5,101 bytes of three a sign
    service = FakeService(lambda _: last_word("mixed"))
    done, out = run(table_of(tmp_path, [long, "short"]), tmp_path, service)
    (sent,) = service.asked
    kept = max(sent, key=len)
    assert kept == "x" + "\u20ac" * 1666
    assert len(kept.encode()) == 4999
    assert asked(done).n_shortened == 1
    assert out["sentiment_note"].to_list() == ["shortened", None]
    assert asked(done).tokens.input == 17 + 3  # of its characters, those that were sent


def test_azure_cuts_at_characters_whatever_they_take() -> None:
    limits = cloud_of(provider="azure").limits
    text = pl.Series(["\u20ac" * 5121, "\u20ac" * 5120, "x"])
    kept, n_units, is_cut = measured(text, limits, most_tokens=9, encoding=open_encoding(vocabulary()))
    assert kept.str.len_chars().to_list() == [5120, 5120, 1]
    assert (n_units.tolist(), is_cut.tolist()) == ([6, 6, 1], [True, False, False])


def test_a_long_document_is_not_cut_at_tokens(tmp_path: Path) -> None:
    texts = ["word " * 900 + "mixed"]
    service = FakeService(last_word)
    done, _ = run(table_of(tmp_path, texts), tmp_path, service, **{"prompt.most_review_tokens": 50})
    assert (service.asked, asked(done).n_shortened) == ([texts], 0)


# What it costs


def test_the_plan_is_the_price_lists_bill_and_what_the_run_then_costs(tmp_path: Path) -> None:
    texts = texts_of(60)
    source, service = table_of(tmp_path, texts), FakeService(last_word)
    with job_of(source, tmp_path, service) as job:
        made = planned(job)
    assert service.asked == []
    usd = listed_usd(texts)
    assert Decimal(made.usd.low) == Decimal(made.usd.expected) == Decimal(made.usd.high) == usd
    assert made.input_tokens.low == made.input_tokens.high == usd / UNIT_USD
    assert (made.n_requests, made.n_asked) == (3, 60)
    assert Decimal(made.naive_usd) == usd  # a service has no price for a document in company
    assert made.basis == "units counted as the service bills them; the time is a guess"
    done, _ = run(source, tmp_path, service)
    assert Decimal(asked(done).spent_usd) == usd == totals(tmp_path / "home" / "spend")[f"run:{newest(tmp_path)}"]
    assert Decimal(done.cost.naive_usd) == usd
    assert asked(done).tokens.input == usd / UNIT_USD


def test_a_title_is_sent_and_priced_with_its_text(tmp_path: Path) -> None:
    texts, titles = texts_of(12), ["so " * 40 if at % 3 else None for at in range(12)]
    source, service = table_of(tmp_path, texts, title=titles), services.find("aws", pricelist.read().services)
    units = services.n_units(service, services.sizes(pl.Series(titles).str.strip_chars(), pl.Series(texts)))
    with job_of(source, tmp_path, FakeService(last_word)) as job:
        made = planned(job)
    assert Decimal(made.usd.expected) == units * UNIT_USD == Decimal(made.naive_usd)


def test_earlier_requests_change_the_plans_seconds_and_not_its_price(tmp_path: Path) -> None:
    texts = texts_of(60)
    with job_of(table_of(tmp_path, texts), tmp_path, FakeService(last_word)) as job:
        made, known = planned(job), planned(job, timed(0.5))
    assert known.usd == made.usd
    assert known.seconds != made.seconds
    assert known.basis == "units counted as the service bills them; seconds as in the last 9 requests"


def test_the_documented_rate_bounds_the_time(tmp_path: Path) -> None:
    texts = [f"number {at} mixed" for at in range(500)]
    with job_of(table_of(tmp_path, texts), tmp_path, FakeService(last_word)) as job:
        made = planned(job, timed(0.001))
    assert made.seconds.low == pytest.approx(2.0)  # 20 requests at 10 a second


def test_each_row_costs_its_own_units(tmp_path: Path) -> None:
    texts = texts_of(40)
    _, out = run(table_of(tmp_path, texts), tmp_path, FakeService(last_word))
    expected = [max(3, -(-len(text) // 100)) * UNIT_USD for text in texts]
    assert out["sentiment_cost_usd"].to_list() == expected


def test_a_budget_of_exactly_the_price_is_enough_and_one_unit_less_is_kept(tmp_path: Path) -> None:
    texts = texts_of(60)
    source, usd = table_of(tmp_path, texts), listed_usd(texts)
    for budget, n_left in ((usd, 0), (usd - UNIT_USD, None)):
        folder = tmp_path / f"{budget}"
        folder.mkdir()
        done, out = run(source, folder, FakeService(last_word), **{"budget.usd": float(budget)})
        assert Decimal(asked(done).spent_usd) <= budget
        assert out["sentiment"].null_count() == asked(done).n_over_budget
        assert (asked(done).n_over_budget == 0) == (n_left == 0)
