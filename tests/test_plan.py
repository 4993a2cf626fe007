"""Plans: what a run will really ask, for nothing, and who has to agree."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fakes import PAID, make_job, settings_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_asking import APART, asked, paid, scripted, table_of, text_of, with_text

from reviewopt import budget, load, pipeline, plan
from reviewopt.cli.planning import consent
from reviewopt.config import load_task
from reviewopt.errors import BudgetError
from reviewopt.job import Job
from reviewopt.models.protocol import Limits
from reviewopt.models.scripted import Scripted
from reviewopt.plan import Known
from reviewopt.prices import Price, Rate
from reviewopt.record import Plan, Run
from reviewopt.surveyed import Surveyed
from reviewopt.text.sharing import Sharing

SAID = """the kettle was broken and I do not like it at all however my mother said that although expensive 5 stars
quality! great? terrible service, never again; wonderful battery"""
# USD a token, in 1e-18: as a small model costs.
PRICE = Price(
    name="by tokens",
    input=Rate(((-1, 100_000_000_000),)),
    cached=Rate(((-1, 100_000_000_000),)),
    cache_write=Rate(((-1, 100_000_000_000),)),
    output=Rate(((-1, 400_000_000_000),)),
    reasoning=Rate(((-1, 400_000_000_000),)),
)


def texts_of(n: int, seed: int) -> list[str]:
    chance, words = random.Random(seed), SAID.split()
    sizes = [2, 3, 8, 30, 90, 200]
    return [" ".join(chance.choice(words) for _ in range(chance.choice(sizes))) + f" {at}" for at in range(n)]


@contextmanager
def job_of(source: Path, folder: Path, model: Scripted, *, chunk_rows: int = 1000, **options: Any) -> Iterator[Job]:
    """A job whose requests are priced by the token."""
    made_of = {**APART, "pack.fixed": 0, **options.pop("settings", {})}
    with (
        load.open_table([str(source)], task=load_task("sentiment"), chunk_rows=chunk_rows) as table,
        make_job(table, folder, scripted=model, settings=made_of, price=PRICE, **{**PAID, **options}) as job,
    ):
        yield job


def surveyed(job: Job) -> Surveyed:
    return pipeline.survey(replace(job, sharing=Sharing()), lambda *_: None)


def planned(job: Job, folder: Path) -> tuple[Surveyed, Plan]:
    (paid,) = job.paid
    counted, model = surveyed(job), paid.model
    known = budget.history(folder / "home" / "spend", model=model.model, endpoint=model.endpoint, task="")
    return counted, plan.make(counted, [Known(paid=paid, history=known)], threads=job.config.ask.threads)


def planned_and_run(source: Path, folder: Path, model: Scripted, **options: Any) -> tuple[Surveyed, Plan, Run]:
    with job_of(source, folder, model, **options) as job:
        counted, made = planned(job, folder)
        return counted, made, pipeline.process(job, lambda *_: None)


# What a survey counts


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.none() | st.sampled_from(["", " "]) | st.integers(0, 30).map(text_of), min_size=1, max_size=60),
    chunk_rows=st.integers(3, 70),
    fixed=st.sampled_from([1, 7, 25]),
)
def test_a_survey_counts_what_the_run_then_asks(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str | None], chunk_rows: int, fixed: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    source, model = table_of(folder, texts), scripted()
    settings_ = {"pack.fixed": fixed}
    counted, made, run = planned_and_run(source, folder, model, chunk_rows=chunk_rows, settings=settings_)
    assert counted.n_asked == made.n_asked == asked(run).n_asked
    assert counted.n_requests == made.n_requests == len(model.requests)
    assert {name: n for name, n in counted.n_by_source.items() if n} == {
        name: n for name, n in run.n_by_source.items() if n
    }
    assert counted.n_rows == len(texts)
    assert counted.n_asking_rows == made.naive_requests == sum(1 for text in texts if text and text.strip())


@pytest.mark.parametrize("seed", [1, 2])
def test_a_survey_sees_what_the_archive_and_the_copies_save(tmp_path: Path, seed: int) -> None:
    texts = texts_of(150, seed)
    paid(table_of(tmp_path, texts[:60]), tmp_path, scripted(script=lambda _: "neutral"), {"pack.fixed": 0})
    source = table_of(tmp_path, [*texts, *texts[50:100], None])
    counted, _, run = planned_and_run(source, tmp_path, scripted(script=lambda _: "neutral"))
    assert counted.n_asked == asked(run).n_asked == 90
    assert counted.n_by_source == run.n_by_source


@pytest.mark.parametrize(("context_tokens", "most_output_tokens"), [(128_000, 8192), (800, 400)])
def test_a_survey_counts_the_requests_of_packs_by_complexity_and_tokens(
    tmp_path: Path, context_tokens: int, most_output_tokens: int
) -> None:
    limits = Limits(context_tokens=context_tokens, most_output_tokens=most_output_tokens)
    wrong = []
    for seed in range(2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        model = scripted(script=lambda _: "neutral", limits=limits)
        counted, _, _ = planned_and_run(table_of(folder, texts_of(240, seed)), folder, model, chunk_rows=60)
        wrong.append(counted.n_requests - len(model.requests))
    assert wrong == [0, 0]


def test_a_survey_counts_what_never_worked_before_as_failed(tmp_path: Path) -> None:
    source = table_of(tmp_path, [text_of(at) for at in range(8)])
    faults = with_text(text_of(3), "refused: a filter")
    paid(source, tmp_path, scripted(faults))
    counted, made, run = planned_and_run(source, tmp_path, scripted(faults))
    assert counted.n_asked == asked(run).n_asked == 0
    assert made.n_by_source["failed"] == run.n_by_source["failed"] == 1


def test_a_retry_is_planned_as_it_is_run(tmp_path: Path) -> None:
    source = table_of(tmp_path, [text_of(at) for at in range(8)])
    paid(source, tmp_path, scripted(with_text(text_of(3), "refused: a filter")))
    counted, _, run = planned_and_run(source, tmp_path, scripted(), retries=True)
    assert counted.n_asked == asked(run).n_asked == 1


def files_of(folder: Path) -> dict[str, str]:
    """What lies in the archive and the ledger; the locks and what sqlite keeps beside its files are not theirs."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in ("cache", "spend")
        for path in sorted((folder / "home" / name).rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


def test_a_survey_changes_nothing_and_sends_nothing(tmp_path: Path) -> None:
    texts = texts_of(120, 0)
    paid(table_of(tmp_path, texts[:50]), tmp_path, scripted(script=lambda _: "neutral"), {"pack.fixed": 0})
    source, model = table_of(tmp_path, texts), scripted(script=lambda _: "neutral")
    with job_of(source, tmp_path, model) as job:
        before, counts = files_of(tmp_path), (job.cache.n_looked_up, job.cache.n_given, job.cache.n_hits.tolist())
        one, other = surveyed(job), surveyed(job)
        assert one.sample.equals(other.sample)
        one.sample = other.sample
        assert vars(one) == vars(other)
        assert (job.cache.n_looked_up, job.cache.n_given, job.cache.n_hits.tolist()) == counts
        assert files_of(tmp_path) == before
        assert before
    assert model.requests == []
    assert not (tmp_path / "out.parquet.partial").exists()


def test_a_run_after_a_survey_is_the_run_without_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    texts = texts_of(60, 4) + texts_of(60, 4)[:20]
    outputs = []
    for has_plan in (True, False):
        folder = tmp_path_factory.mktemp("run")
        for part in (texts[:30], texts):
            with job_of(table_of(folder, part), folder, scripted(script=lambda _: "neutral")) as job:
                if has_plan:
                    surveyed(job)
                run = pipeline.process(job, lambda *_: None)
        out = pl.read_parquet(folder / "out.parquet")
        outputs.append((out, run.n_by_source, run.n_looked_up, run.hit_rate, run.groups, asked(run).spent_usd))
    assert outputs[0][0].equals(outputs[1][0])
    assert outputs[0][1:] == outputs[1][1:]


# What it will cost


def usd_of(made: Plan) -> tuple[Decimal, Decimal, Decimal]:
    low, expected, high = (Decimal(str(one)) for one in (made.usd.low, made.usd.expected, made.usd.high))
    return low, expected, high


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("fixed", [0, 10])
def test_the_range_holds_what_the_run_then_costs_at_first_and_with_history(
    tmp_path: Path, seed: int, fixed: int
) -> None:
    texts = texts_of(400, seed)
    for part, basis in ((texts[:200], "o200k_base"), (texts, "as in the last")):
        model = scripted(script=lambda _: "neutral")
        settings_ = {"pack.fixed": fixed}
        _, made, run = planned_and_run(table_of(tmp_path, part), tmp_path, model, settings=settings_)
        low, expected, high = usd_of(made)
        assert 0 < low <= expected <= high
        assert low <= Decimal(asked(run).spent_usd) <= high
        assert basis in made.basis
    assert low > Decimal("0.85") * expected  # what was counted narrows the range


def test_a_plan_without_questions_costs_nothing(tmp_path: Path) -> None:
    source = table_of(tmp_path, ["a word 1", None])
    planned_and_run(source, tmp_path, scripted())
    counted, made, run = planned_and_run(source, tmp_path, scripted())
    assert (counted.n_asked, made.n_requests, made.seconds.high) == (0, 0, 0)
    assert not any(usd_of(made))
    assert asked(run).n_requests == 0


def test_the_naive_price_of_a_plan_is_that_of_a_request_for_each_row(tmp_path: Path) -> None:
    texts = texts_of(30, 3) * 3
    _, made, run = planned_and_run(table_of(tmp_path, texts), tmp_path, scripted(script=lambda _: "neutral"))
    assert made.naive_requests == 90
    assert Decimal(made.naive_usd) == pytest.approx(Decimal(run.cost.naive_usd), rel=Decimal("0.02"))
    assert Decimal(made.naive_usd) > 2 * usd_of(made)[2]


def test_every_range_is_in_order_and_a_cap_on_requests_bounds_the_time_from_below(tmp_path: Path) -> None:
    limits = Limits(context_tokens=128_000, most_output_tokens=8192, rpm=60)
    source = table_of(tmp_path, texts_of(120, 0))
    with job_of(source, tmp_path, scripted(limits=limits), settings={"pack.fixed": 2}) as job:
        made = planned(job, tmp_path)[1]
    for one in (made.input_tokens, made.output_tokens, made.seconds):
        assert 0 < one.low <= one.expected <= one.high
    assert made.seconds.low >= made.n_requests == 60


# Who agrees


def plan_of(tmp_path: Path, usd: str) -> Plan:
    """A plan that is expected to cost so much."""
    source = table_of(tmp_path, ["one 1"])
    with job_of(source, tmp_path, scripted()) as job:
        made = planned(job, tmp_path)[1]
    of_type = type(made.usd.low)
    return Plan(**{
        **{name: getattr(made, name) for name in made.__struct_fields__},
        "usd": type(made.usd)(low=of_type("0"), expected=of_type(usd), high=of_type("100")),
    })  # fmt: skip


class Terminal:
    """What stands for a terminal."""

    @staticmethod
    def isatty() -> bool:
        return True


def never(_: str) -> bool:
    raise AssertionError("nobody is to be asked")


@pytest.mark.parametrize(
    ("usd", "flags", "yes"),
    [
        ("0.99", {}, False),
        ("1.00", {}, False),
        ("50", {}, True),
        ("50", {"budget.usd": 0.5}, False),
        ("50", {"budget.ask_above_usd": 50}, False),
    ],
)
def test_a_small_plan_a_budget_or_a_yes_is_consent(
    tmp_path: Path, usd: str, flags: dict[str, float], yes: bool
) -> None:
    consent(plan_of(tmp_path, usd), settings_of(dict(flags)), yes=yes, ask=never)


@pytest.mark.parametrize("flags", [{}, {"budget.per_day_usd": 0.5}, {"budget.ask_above_usd": 0}])
def test_off_a_terminal_a_dear_plan_is_refused(tmp_path: Path, flags: dict[str, float]) -> None:
    with pytest.raises(BudgetError, match=r"about \$50\.00 .*nothing was asked; agree with --yes or set a bound"):
        consent(plan_of(tmp_path, "50"), settings_of(dict(flags)), yes=False, ask=never)


@pytest.mark.parametrize("says", [True, False])
def test_at_a_terminal_a_dear_plan_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, says: bool
) -> None:
    made, told = plan_of(tmp_path, "50"), []

    def answer(text: str) -> bool:
        told.append(text)
        return says

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stderr", Terminal())
    if says:
        consent(made, settings_of(), yes=False, ask=answer)
    else:
        with pytest.raises(BudgetError, match="nothing was asked"):
            consent(made, settings_of(), yes=False, ask=answer)
    assert len(told) == 1
    assert "$50.00" in told[0]
