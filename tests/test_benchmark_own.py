"""A run of ours as one side of a comparison: what a first run would have paid, and never less than was paid."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
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
    assert own.parts == {"this machine": run.cost.machine_usd, run.model.name: run.asked.spent_usd}
    assert Decimal(own.usd) == sum(map(Decimal, own.parts.values()))
    assert own.monthly is not None
    assert Decimal(own.monthly.usd) == pytest.approx(Decimal(own.usd) * 100)
    assert (own.what, own.not_comparable) == (run.model.name, None)
    assert [line.partition(":")[0] for line in own.remarks] == ["simulated"]


def test_answers_that_earlier_runs_paid_for_are_no_saving(tmp_path: Path) -> None:
    labelled(tmp_path, Scripted(label_of, name="gpt"))
    again = benchmark.of_run(labelled(tmp_path, Scripted(label_of, name="gpt")), name="reviewopt", monthly=1)
    assert again.own.not_comparable == "40 answers were paid for by earlier runs"
    assert again.own.monthly is None
    assert again.curve.monthly(10_000_000) is None, "and it has no price at other volumes"


def test_reviews_without_an_answer_and_a_machine_without_a_price_cannot_be_compared(tmp_path: Path) -> None:
    run = labelled(tmp_path, Scripted(label_of, name="gpt"))
    failed = msgspec.structs.replace(run, n_by_source={**run.n_by_source, "failed": 3})
    assert benchmark.of_run(failed, name="reviewopt", monthly=1).own.not_comparable == "3 reviews stayed unanswered"
    cost = msgspec.structs.replace(run.cost, machine_usd="0.000000000000")
    free = msgspec.structs.replace(run, cost=cost, asked=None)
    assert "the machine has no price" in (benchmark.of_run(free, name="reviewopt", monthly=1).own.not_comparable or "")


def test_labels_of_people_count_with_their_price_or_forbid_the_comparison(tmp_path: Path) -> None:
    run = msgspec.structs.replace(labelled(tmp_path, Scripted(label_of, name="gpt")), n_given=5)
    free = benchmark.of_run(run, name="reviewopt", monthly=1).own
    assert free.not_comparable == "5 labels are people's, and what one costs is not known (--label-usd)"
    paid = benchmark.of_run(run, name="reviewopt", monthly=1, label_usd=Decimal("0.1")).own
    assert paid.not_comparable is None
    assert Decimal(paid.parts["labels of people"]) == Decimal("0.5")
    assert Decimal(paid.usd) == Decimal(free.usd) + Decimal("0.5")


def test_the_parts_of_a_ladder_name_every_rung_and_add_up(tmp_path: Path) -> None:
    run = labelled(tmp_path, cheap(), strong())
    own = benchmark.of_run(run, name="reviewopt", monthly=1).own
    assert own.what == "local model > cheap > strong"
    assert {"strong", "this machine"} == set(own.parts), "without a sample all climb"
    assert sum(map(Decimal, own.parts.values())) == Decimal(own.usd)
