"""What `reviewopt benchmark --live` does: draw a sample, say its price, really ask the rivals, read what they said."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import polars as pl
import typer

from reviewopt import benchmark
from reviewopt.benchmark import Billed, Spec
from reviewopt.benchmark.live import live
from reviewopt.benchmark.sample import Sample, draw, labels_of
from reviewopt.benchmark.spec import NO_ADDRESS
from reviewopt.cli import opening, processing
from reviewopt.cli.opening_rivals import Choices, Settings, as_process, asked_alone, is_naive, settings_of
from reviewopt.cli.output import console
from reviewopt.errors import BudgetError, ModelError, UsageError
from reviewopt.load import Table
from reviewopt.models import cloud
from reviewopt.models.kinds import open_model, parse_spec
from reviewopt.record import Run
from reviewopt.render.parts import plain, usd
from reviewopt.task import Task

# The sample's own columns, whatever the table calls them; and what would make a rival's answers another's.
_COLUMNS: Final = {
    "columns.text": "text",
    "columns.title": "title",
    "columns.id": "row",
    "columns.category": "none",
    "columns.priority": "none",
    "columns.label_map": "",
    "process.limit": 0,
    "cache.similar.enabled": False,
    "dedup.near": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """The sample, and each rival with the settings by which it is asked about it, and the task that it answers."""

    sample: Sample
    asked: tuple[tuple[Spec, Settings, Task], ...]


def check(specs: Sequence[Spec]) -> None:
    """Refuse a rival that cannot be asked, before anything is.

    Raises:
        UsageError: its price is one of answers that come hours later, or the service has no such feature here.
    """
    for spec in specs:
        if spec.form in {"batch", "flex"}:
            raise UsageError(f"--live: {spec.name} is a price list's alone; ask naive:{spec.model} instead")
        if spec.settings is not None and spec.settings.base_url == NO_ADDRESS:
            raise UsageError(f"--live: where {spec.model} answers is not known; describe it in [models.NAME]")
        if spec.service is not None and spec.service.sku != "sentiment":
            raise UsageError(
                f"--live asks for sentiment alone; leave out {spec.name}, or write {spec.service.provider}"
            )


def prepare(
    choices: Choices, flags: Mapping[str, Any], specs: Sequence[Spec], table: Table, *, task: Task, folder: Path
) -> Questions:
    """Draw the sample, and go on where somebody agrees to what asking every rival about it costs.

    Raises:
        BudgetError: nobody agreed to the price, or it is above the budget.
        ModelError: a rival cannot be asked: its SDK, key or region is missing.
        UsageError: there is no price for a rival, or no such model.
    """
    sample = draw(table, choices.n_live, folder)
    config = settings_of(choices, flags).config
    told = {
        **flags,
        **_COLUMNS,
        "columns.label": "none" if sample.truth is None else "label",
        "columns.tenant": "none" if table.columns.tenant is None else "tenant",
        "cache.scope": "isolated" if opening.is_isolated(config, table) else "shared",
    }
    asked = tuple((spec, *_settings(spec, choices, told, task)) for spec in specs)
    for _, settings, its_task in asked:
        _open_once(settings, its_task, choices)
    _consent(choices, sample, asked)
    return Questions(sample=sample, asked=asked)


def ask(
    choices: Choices, questions: Questions, billed: Sequence[Billed], own: Mapping[str, Run], labels: Sequence[str]
) -> tuple[list[Billed], list[str]]:
    """Ask every rival about the sample, and compare row by row with our runs, which are there by name.

    Returns:
        The rivals, and a line about each that could not be asked to the end; what was answered is archived.

    Raises:
        InputError: the output of one of our runs is not there to be compared.
    """
    sample = questions.sample
    ours = {name: labels_of(run, sample) for name, run in own.items()}
    found: list[Billed] = []
    failed: list[str] = []
    for (spec, settings, task), bill in zip(questions.asked, billed, strict=True):
        output = sample.path.with_name(f"live-{len(found)}.parquet")
        told = as_process(choices, sample.path, output=output, is_of_rival=True, yes=True, quiet=choices.quiet)
        try:
            run = processing.labelled(told, settings.config, settings.origins, task)
        except (ModelError, BudgetError) as error:
            failed.append(f"{spec.name}: {error}")
            found.append(bill)
            continue
        if run.n_by_source["failed"]:
            failed.append(f"{spec.name}: {run.n_by_source['failed']:,} of {run.n_rows:,} reviews stayed unanswered")
        theirs = pl.read_parquet(output, columns=[run.output_columns["label"]]).to_series().cast(pl.String)
        said = live(run, labels=labels, ours=ours, theirs=theirs, truth=sample.truth)
        found.append(benchmark.with_live(bill, said))
    return found, failed


def _settings(spec: Spec, choices: Choices, flags: Mapping[str, Any], task: Task) -> tuple[Settings, Task]:
    """Return by which settings a rival is asked, and what."""
    if spec.service is None:
        settings = asked_alone(spec, choices, flags, {"pack.fixed": 1} if is_naive(spec) else {})
        return settings, task
    told = replace(spec, settings=cloud.settings_of(spec.service.provider, language=choices.language))
    return asked_alone(told, choices, flags, {}), cloud.task()


def _open_once(settings: Settings, task: Task, choices: Choices) -> None:
    """See that a rival could be asked, before our own side costs anything; nothing is sent.

    Raises:
        ModelError: its SDK, its key or its region is missing.
    """
    name, found = parse_spec(settings.config.ask.model, settings.config.models, os.environ)
    memory = choices.home.path / "models.json"
    open_model(name, found, task, threads=1, memory=memory, environment=os.environ).close()


def _consent(choices: Choices, sample: Sample, asked: Sequence[tuple[Spec, Settings, Task]]) -> None:
    """Say what asking costs, and start only where somebody agrees.

    Raises:
        BudgetError: nobody does, or a rival costs more than a run may.
    """
    err = console(stderr=True, quiet=choices.quiet)
    total = Decimal(0)
    for spec, settings, task in asked:
        planned = processing.planned(
            as_process(choices, sample.path, is_of_rival=True), settings.config, settings.origins, task
        )
        most, budget = Decimal(planned.usd.high), settings.config.budget.usd
        total += most
        err.print(plain(f"live: {len(sample.rows):,} reviews at {spec.name}, up to {usd(f'{most:f}')}"))
        if math.isfinite(budget) and most > Decimal(str(budget)):
            raise BudgetError(
                f"{spec.name} may cost {usd(f'{most:f}')}, above the budget of {usd(str(budget))}: nothing was asked; "
                "raise it, or ask about fewer reviews with --live-sample"
            )
    if choices.yes:
        return
    question = f"really ask {', '.join(spec.name for spec, _, _ in asked)}, for up to {usd(f'{total:f}')}?"
    if sys.stdin.isatty() and sys.stderr.isatty() and typer.confirm(question, err=True):
        return
    raise BudgetError(f"--live costs up to {usd(f'{total:f}')}: nothing was asked; agree with --yes")
