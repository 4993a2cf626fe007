"""Ladders on odd tables: few reviews, none with a text, few labels, isolated tenants, answers that never came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fakes import PAID, FakePrediction, make_job
from test_asking import label_of, table_of, text_of
from test_ladder import (
    LADDER,
    PRICES,
    SURE,
    UNSURE,
    HalfSure,
    N,
    asked,
    cheap,
    ladder_of,
    number_of,
    run_ladder,
    strong,
    voter,
    wrong_label,
)

from reviewopt import load, pipeline
from reviewopt.config import load_task
from reviewopt.models.scripted import Scripted


@pytest.mark.parametrize(
    ("strategy", "n", "asks"),
    [("cost", 7, False), ("cost", 8, True), ("balanced", 17, False), ("balanced", 18, True), ("quality", 60, False)],
)
def test_cheaper_models_are_not_asked_a_sample_that_is_too_small_to_prove_them(
    tmp_path: Path, strategy: str, n: int, asks: bool
) -> None:
    low, top = cheap(), strong()
    run, out = run_ladder(tmp_path, [low, top], {"ladder.strategy": strategy}, n=n, n_sample=n)
    assert bool(asked(low)) is asks
    assert sorted(asked(top)) == sorted(out["text"])
    assert out["sentiment"].to_list() == [label_of(text) for text in out["text"]]
    assert ladder_of(run).reference == "strong"
    if not asks:
        assert [one.threshold for one in ladder_of(run).rungs] == [None, None, 0.0]


def test_a_sample_that_is_too_small_is_said(tmp_path: Path) -> None:
    lines: list[str] = []
    source, names = table_of(tmp_path, [text_of(0), text_of(1)]), {**PAID, "model": HalfSure()}
    with (
        load.open_table([str(source)], task=load_task("sentiment"), chunk_rows=1000) as table,
        make_job(table, tmp_path, settings=LADDER, ladder=[strong()], prices=PRICES, **names) as job,
    ):
        sample = pipeline.survey(job, lambda *_: None).sample
        pipeline.process(replace(job, sample=sample), lambda *_: None, lines.append)
    says = "a sample of 2 is too small to find out how sure is sure enough, so strong answers all"
    assert lines == [f"strategy cost: {says}"]


def test_a_table_without_any_text_asks_nothing(tmp_path: Path) -> None:
    low, top = cheap(), strong()
    source = table_of(tmp_path, ["", "  ", None])
    with (
        load.open_table([str(source)], task=load_task("sentiment"), chunk_rows=1000) as table,
        make_job(
            table, tmp_path, settings=LADDER, ladder=[low, top], prices=PRICES, **{**PAID, "model": HalfSure()}
        ) as job,
    ):
        counted = pipeline.survey(job, lambda *_: None)
        run = pipeline.process(replace(job, sample=counted.sample), lambda *_: None)
    assert (asked(low), asked(top)) == ([], [])
    assert run.n_by_source["empty"] == 3
    assert [one.n_answered for one in ladder_of(run).rungs] == [0, 0, 0]


@pytest.mark.parametrize(("n_labelled", "reference"), [(49, "strong"), (59, "strong"), (60, "column:label")])
def test_a_label_column_is_the_reference_only_where_half_of_the_sample_has_labels(
    tmp_path: Path, n_labelled: int, reference: str
) -> None:
    n = 120
    columns = {"label": [label_of(text_of(at)) if at < n_labelled else None for at in range(n)]}
    run, out = run_ladder(tmp_path, [strong()], n=n, n_sample=n, columns=columns)
    assert ladder_of(run).reference == reference
    assert out["sentiment"].to_list() == [label_of(text) for text in out["text"]]


def test_isolated_tenants_share_no_answer_of_any_rung(tmp_path: Path) -> None:
    low, top = cheap(), strong()
    texts = [text_of(at) for at in range(N)] * 2
    source = table_of(tmp_path, texts, tenant=["a"] * N + ["b"] * N)
    with (
        load.open_table([str(source)], task=load_task("sentiment"), chunk_rows=1000) as table,
        make_job(
            table,
            tmp_path,
            settings={**LADDER, "ladder.sample": 2 * N},
            ladder=[low, top],
            prices=PRICES,
            isolated=True,
            **{**PAID, "model": HalfSure()},
        ) as job,
    ):
        counted = pipeline.survey(job, lambda *_: None)
        run = pipeline.process(replace(job, sample=counted.sample), lambda *_: None)
    for model in (low, top):
        assert sorted(asked(model)) == sorted(texts), "the sample is the whole table, and each tenant's is asked"
    out = pl.read_parquet(tmp_path / "out.parquet")
    assert run.asked is not None
    local_usd = sum(Decimal(one.spent_usd) for one in ladder_of(run).rungs if one.name == "local")
    assert out["sentiment_cost_usd"].sum() == Decimal(run.asked.spent_usd) + local_usd


@pytest.mark.parametrize(("sure", "expected"), [(0.95, {"cheap": 0, "strong": 0}), (0.5, {"cheap": 0, "strong": N})])
def test_a_plan_of_one_rung_for_all_reaches_from_the_first_to_the_top(
    tmp_path: Path, sure: float, expected: dict[str, float]
) -> None:
    class Sure(HalfSure):
        def predict(self, form: pl.Series) -> FakePrediction:
            return replace(super().predict(form), confidence=np.full(len(form), sure, np.float32))

    source = table_of(tmp_path, [text_of(at) for at in range(N)])
    settings = {**LADDER, "ladder.strategy": "performance"}
    with (
        load.open_table([str(source)], task=load_task("sentiment"), chunk_rows=1000) as table,
        make_job(
            table, tmp_path, settings=settings, ladder=[cheap(), strong()], prices=PRICES, **{**PAID, "model": Sure()}
        ) as job,
    ):
        models = pipeline.survey(job, lambda *_: None).models
    assert {name: one.expected for name, one in models.items()} == expected
    assert {name: (one.low, one.high) for name, one in models.items()} == {"cheap": (0, N), "strong": (0, N)}


def test_what_a_sample_cost_is_in_the_cost_column_where_the_top_never_answered_it(tmp_path: Path) -> None:
    bad = Scripted(wrong_label, name="cheap", confidence=lambda _: SURE)
    top = strong(faults=lambda _, request: "refused: no" if number_of(request.questions[0].text) % 8 == 0 else None)
    run, out = run_ladder(tmp_path, [bad, top], {"pack.fixed": 1}, n=120, n_sample=60, with_local=False)
    assert run.asked is not None
    assert ladder_of(run).rungs[0].threshold is None, "cheap is left out, but its part of the sample was paid for"
    assert out["sentiment_cost_usd"].sum() == Decimal(run.asked.spent_usd)


def test_what_tuning_a_voter_cost_is_in_the_cost_column(tmp_path: Path) -> None:
    settings = {"pack.fixed": 0, "pack.tune": "on", "pack.sample": 60, "ladder.sample": 60}
    hesitant = Scripted(label_of, name="cheap", confidence=lambda text: UNSURE if number_of(text) % 8 == 1 else SURE)
    voters = [hesitant, voter("b", "negative"), voter("c", "negative")]
    run, out = run_ladder(tmp_path, [hesitant], settings, voters=voters, n=120, n_sample=60)
    assert run.asked is not None
    local_usd = sum(Decimal(one.spent_usd) for one in ladder_of(run).rungs if one.name == "local")
    assert out["sentiment_cost_usd"].sum() == Decimal(run.asked.spent_usd) + local_usd


FORGETFUL = [
    pytest.param({"cache.memory.max_entries": 5}, id="small-memory"),
    pytest.param({f"cache.{tier}.enabled": False for tier in ("memory", "similar", "archive")}, id="no-cache"),
]


@pytest.mark.parametrize("settings", FORGETFUL)
def test_a_sample_is_paid_once_whatever_the_cache_forgets(tmp_path: Path, settings: dict[str, Any]) -> None:
    low, top = cheap(), strong()
    run, out = run_ladder(tmp_path, [low, top], settings, n=120, n_sample=60)
    for model in (low, top):
        assert len(asked(model)) == len(set(asked(model)))
    assert run.asked is not None
    local_usd = sum(Decimal(one.spent_usd) for one in ladder_of(run).rungs if one.name == "local")
    assert out["sentiment_cost_usd"].sum() == Decimal(run.asked.spent_usd) + local_usd


@pytest.mark.parametrize(("strategy", "goes_back"), [("adaptive", True), ("balanced", False)])
def test_only_the_adaptive_strategy_climbs_before_a_chunk_is_answered_so_that_it_can_replan(
    tmp_path: Path, strategy: str, goes_back: bool
) -> None:
    n, asked_in_turn = 5000, list[str]()

    def says(name: str, answer: Callable[[str], str]) -> Callable[[str], str]:
        def script(text: str) -> str:
            asked_in_turn.append(name)
            return answer(text)

        return script

    low = Scripted(
        says("cheap", lambda text: wrong_label(text) if number_of(text) % 4 == 0 else label_of(text)),
        name="cheap",
        confidence=lambda text: UNSURE if number_of(text) % 4 == 0 else SURE,
    )
    top = Scripted(says("strong", label_of), name="strong", confidence=lambda _: SURE)
    settings = {"ladder.strategy": strategy, "pack.fixed": 50}
    _, out = run_ladder(tmp_path, [low, top], settings, n=n, n_sample=100, chunk_rows=n, with_local=False)
    assert out["sentiment"].to_list() == [label_of(text) for text in out["text"]]
    after_sample = asked_in_turn[200:]
    assert ("cheap" in after_sample[after_sample.index("strong") :]) == goes_back
