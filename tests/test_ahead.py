"""High priorities are asked first over the whole table, and count as asked in the run that asked them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fakes import PAID, make_job
from test_asking import APART, label_of, table_of, text_of
from test_ladder import HalfSure, asked, cheap, strong

from reviewopt import load, pipeline
from reviewopt.config import load_task
from reviewopt.load import ColumnChoice
from reviewopt.models.scripted import Scripted
from reviewopt.record import Run

N, URGENT = 120, 20  # the last rows are the urgent ones


def labelled(folder: Path, *models: Scripted, settings: dict[str, Any] | None = None) -> tuple[Run, pl.DataFrame]:
    """Label a table whose last rows have the highest priority, in chunks of 25 rows."""
    priority = [1] * (N - URGENT) + [9] * URGENT
    source = table_of(folder, [text_of(at % 110) for at in range(N)], urgency=priority)
    made = {
        **APART,
        "pack.fixed": 5,
        "process.chunk_rows": 25,
        "ask.threads": 1,
        "ask.deadline": "1h",
        **(settings or {}),
    }
    options: dict[str, Any] = {"ladder": models} if len(models) > 1 else {"scripted": models[0]}
    choice = ColumnChoice(priority="urgency")
    with (
        load.open_table([str(source)], task=load_task("sentiment"), chunk_rows=25, choice=choice) as table,
        make_job(table, folder, settings=made, model=HalfSure(), **{**PAID, **options}) as job,
    ):
        drawn = pipeline.survey(job, lambda *_: None).sample if len(models) > 1 else None
        run = pipeline.process(replace(job, sample=drawn), lambda *_: None)
    return run, pl.read_parquet(folder / "out.parquet")


def test_the_highest_priorities_of_the_last_chunk_are_asked_first(tmp_path: Path) -> None:
    model = Scripted(label_of, name="gpt")
    _, out = labelled(tmp_path, model)
    urgent = out.filter(pl.col("urgency") == 9)["text"].unique().to_list()
    assert sorted(asked(model)[: len(urgent)]) == sorted(urgent)
    assert sorted(asked(model)) == sorted(out["text"].unique().to_list()), "each text once"


def test_what_was_asked_ahead_is_no_hit_of_the_cache_and_has_its_cost(tmp_path: Path) -> None:
    run, out = labelled(tmp_path, Scripted(label_of, name="gpt"))
    assert [run.n_by_source[tier] for tier in ("l1", "l2", "l3")] == [0, 0, 0]
    assert run.n_by_source["gpt"] == 110
    assert run.asked is not None
    assert out["sentiment_cost_usd"].sum() == Decimal(run.asked.spent_usd)


def test_labels_do_not_depend_on_the_priorities(tmp_path: Path) -> None:
    _, out = labelled(tmp_path, Scripted(label_of, name="gpt"))
    assert out["sentiment"].to_list() == [label_of(text) for text in out["text"]]


def test_a_ladder_asks_ahead_too_and_pays_once(tmp_path: Path) -> None:
    run, out = labelled(tmp_path, cheap(), strong(), settings={"ladder.strategy": "cost", "ladder.sample": 40})
    assert run.asked is not None
    assert run.ladder is not None
    local_usd = sum(
        (Decimal("0.000000000185") * n for n in [out.filter(pl.col("sentiment_source") == "local").height]), Decimal(0)
    )
    paid_usd = out.filter(pl.col("sentiment_source") != "local")["sentiment_cost_usd"].sum()
    assert float(paid_usd) == pytest.approx(float(run.asked.spent_usd), abs=float(local_usd) + 1e-6)
    assert [run.n_by_source[tier] for tier in ("l1", "l2", "l3")] == [0, 0, 0]


def test_without_an_archive_nothing_is_asked_ahead(tmp_path: Path) -> None:
    model = Scripted(label_of, name="gpt")
    off = {f"cache.{tier}.enabled": False for tier in ("memory", "similar", "archive")}
    _, out = labelled(tmp_path, model, settings=off)
    assert sorted(asked(model)) == sorted(out["text"].unique().to_list())
