"""A run of ours as one side of a comparison: what a first run would have paid, and never less than was paid."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes import PAID, make_job
from test_asking import APART, label_of, table_of, text_of
from test_ladder import HalfSure, cheap, strong

from reviewopt import benchmark, load, pipeline
from reviewopt.config import load_task
from reviewopt.models.scripted import Scripted
from reviewopt.record import Run


def labelled(folder: Path, *models: Scripted, n: int = 40) -> Run:
    """Label some texts, each of which costs money, in a home that remembers."""
    source = table_of(folder, [text_of(at) for at in range(n)])
    options: dict[str, Any] = {"ladder": models} if len(models) > 1 else {"scripted": models[0]}
    with (
        load.open_table([str(source)], task=load_task("sentiment"), chunk_rows=25) as table,
        make_job(table, folder, settings={**APART, "pack.fixed": 5}, model=HalfSure(), **{**PAID, **options}) as job,
    ):
        return pipeline.process(job, lambda *_: None)


def test_a_first_run_costs_what_it_paid_and_the_machine(tmp_path: Path) -> None:
    run = labelled(tmp_path, Scripted(label_of, name="gpt"))
    own = benchmark.of_run(run, name="reviewopt", monthly=4_000).own
    assert run.asked is not None
    assert Decimal(own.models_usd) == Decimal(run.asked.spent_usd) > 0
    assert Decimal(own.usd) == Decimal(own.models_usd) + Decimal(own.machine_usd)
    assert sum(map(Decimal, own.parts.values())) == Decimal(own.usd)
    assert Decimal(own.monthly.usd) == pytest.approx(Decimal(own.usd) * 100)
    assert own.what == run.model.name
    assert own.n_reused == 0
    assert [line.partition(":")[0] for line in own.remarks] == ["simulated"]


def test_answers_of_earlier_runs_are_no_saving_they_count_as_a_first_run_would_pay(tmp_path: Path) -> None:
    first = labelled(tmp_path, Scripted(label_of, name="gpt"))
    again = labelled(tmp_path, Scripted(label_of, name="gpt"))
    paid = Decimal(benchmark.of_run(first, name="reviewopt", monthly=1).own.usd)
    own = benchmark.of_run(again, name="reviewopt", monthly=1).own
    assert Decimal(own.models_usd) == 0
    assert own.n_reused == 40
    assert Decimal(own.usd) >= paid - Decimal(own.machine_usd), "one by one costs no less than in packs"
    assert "40 answers came from the archive: counted with what they would cost at most in a first run" in own.remarks
    bought = benchmark.of_run(again, name="reviewopt", monthly=1, bought_usd=Decimal("0.001")).own
    assert Decimal(bought.reused_usd) == Decimal("0.001"), "what the run that bought them cost bounds it"
    assert sum(map(Decimal, bought.parts.values())) == Decimal(bought.usd)


def test_the_parts_of_a_ladder_name_every_rung_and_add_up(tmp_path: Path) -> None:
    run = labelled(tmp_path, cheap(), strong())
    own = benchmark.of_run(run, name="reviewopt", monthly=1).own
    assert own.what == "local model > cheap > strong"
    assert {"strong", "this machine"} == set(own.parts), "without a sample all climb"
    assert sum(map(Decimal, own.parts.values())) == Decimal(own.usd)
