"""What `reviewopt benchmark --live` does: draw a sample, say its price, really ask the rivals, read what they said."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import polars as pl
import typer

from reviewopt import benchmark, certify, draws, services
from reviewopt.benchmark import Billed, Reviews, Spec
from reviewopt.benchmark.live import live
from reviewopt.cli import processing
from reviewopt.cli.opening_rivals import Choices, Settings, as_process, asked_alone, is_naive
from reviewopt.cli.output import console
from reviewopt.errors import BudgetError, InputError, UsageError
from reviewopt.load import Table
from reviewopt.models import cloud
from reviewopt.models.kinds import open_model, parse_spec
from reviewopt.record import Plan, Run
from reviewopt.render.parts import plain, usd
from reviewopt.task import Task

_READERS: Final[Mapping[str, Callable[[Path], pl.LazyFrame]]] = {
    ".parquet": pl.scan_parquet,
    ".csv": pl.scan_csv,
    ".jsonl": pl.scan_ndjson,
}
# The sample's own columns, whatever the table calls them; and what would make a rival's answers another's.
_SAMPLE: Final = {
    "columns.text": "text",
    "columns.title": "title",
    "columns.id": "row",
    "columns.label": "label",
    "columns.tenant": "none",
    "columns.category": "none",
    "columns.priority": "none",
    "columns.label_map": "",
    "process.limit": 0,
    "cache.similar.enabled": False,
    "cache.scope": "shared",
    "dedup.near": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Rows of the table that the rivals are asked about, as a table of their own at `path`.

    `rows` are their numbers in the whole table, (n_sampled,), ascending; `truth` is what the table says of them, String
    (n_sampled,), null where it says nothing; None where it says nothing of any.
    """

    path: Path
    rows: pl.Series
    truth: pl.Series | None


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
        if spec.service is not None and spec.service.sku != "sentiment":
            raise UsageError(
                f"--live asks for sentiment alone; leave out {spec.name}, or write {spec.service.provider}"
            )


def prepare(
    choices: Choices,
    flags: Mapping[str, Any],
    specs: Sequence[Spec],
    table: Table,
    reviews: Reviews,
    *,
    task: Task,
    folder: Path,
) -> Questions:
    """Draw the sample, and go on where somebody agrees to what asking every rival about it costs.

    The sample is seeded by the table's content: the same table gives the same rows.

    Raises:
        BudgetError: nobody agreed to the price.
        UsageError: there is no price for a rival, or no such model.
    """
    sample = _draw(choices, table, reviews, folder)
    told = {**flags, **_SAMPLE}
    if sample.truth is None:
        told["columns.label"] = "none"
    asked = tuple((spec, *_settings(spec, choices, told, task)) for spec in specs)
    for _, settings, its_task in asked:
        _open_once(settings, its_task, choices)
    _consent(choices, sample, asked)
    return Questions(sample=sample, asked=asked)


def ask(choices: Choices, questions: Questions, billed: Sequence[Billed], own: Mapping[str, Run]) -> list[Billed]:
    """Ask every rival about the sample, and compare row by row with our runs, which are there by name.

    Raises:
        InputError: the output of one of these is not there to be compared.
        ModelError: a rival cannot be asked; what was answered is archived.
        BudgetError: a budget is spent.
    """
    sample = questions.sample
    ours = {name: _labels(run, sample) for name, run in own.items()}
    found: list[Billed] = []
    for (_, settings, task), bill in zip(questions.asked, billed, strict=True):
        output = sample.path.with_name(f"live-{len(found)}.parquet")
        told = as_process(
            choices, tables=(str(sample.path),), output=output, with_given=False, yes=True, quiet=choices.quiet
        )
        run = processing.run(told, settings.config, settings.origins, task)
        if not isinstance(run, Run):
            raise TypeError("a run leaves its record")
        processing.check_complete(run, allow_failures=True)
        theirs = pl.read_parquet(output, columns=[run.output_columns["label"]]).to_series().cast(pl.String)
        said = live(run, ours=ours, theirs=theirs, truth=sample.truth)
        found.append(benchmark.with_live(bill, said))
    return found


def _draw(choices: Choices, table: Table, reviews: Reviews, folder: Path) -> Sample:
    seed = certify.seed("benchmark", reviews.fingerprint)
    drawn = draws.draw(table, seed, choices.n_live).frame.sort("row")
    path = folder / "sample.parquet"
    drawn.select(pl.col("row").cast(pl.String), "title", "text", "label").write_parquet(path)
    label = drawn["label"]
    return Sample(path=path, rows=drawn["row"], truth=None if label.null_count() == len(label) else label)


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
        BudgetError: nobody does.
    """
    err = console(stderr=True, quiet=choices.quiet)
    total = Decimal(0)
    for spec, settings, task in asked:
        most = _price(spec, settings, task, choices, sample)
        total += most
        err.print(plain(f"live: {len(sample.rows):,} reviews at {spec.name}, up to about {usd(f'{most:f}')}"))
    if choices.yes:
        return
    question = f"really ask {len(asked)} rivals, for about {usd(f'{total:f}')}?"
    if sys.stdin.isatty() and sys.stderr.isatty() and typer.confirm(question, err=True):
        return
    raise BudgetError(f"--live costs about {usd(f'{total:f}')}: nothing was asked; agree with --yes")


def _price(spec: Spec, settings: Settings, task: Task, choices: Choices, sample: Sample) -> Decimal:
    """Return what asking a rival costs: exactly for a service, at most for a model, free tiers aside."""
    if spec.service is not None:
        rows = pl.read_parquet(sample.path)
        units = services.n_units(spec.service, services.sizes(rows["title"], rows["text"]))
        return services.bill(spec.service, units).list_usd
    plan = processing.run(
        as_process(choices, tables=(str(sample.path),), is_dry=True, with_given=False),
        settings.config,
        settings.origins,
        task,
    )
    if not isinstance(plan, Plan):
        raise TypeError("a dry run is a plan")
    return Decimal(plan.usd.high)


def _labels(run: Run, sample: Sample) -> pl.Series:
    """Read what a run of ours said of the sample's rows, String (n_sampled,).

    Raises:
        InputError: its output is not there any more, or is not that run's.
    """
    path, column = Path(run.output), run.output_columns["label"]
    reader = _READERS.get(path.suffix)
    again = "label the table again, and name that run"
    if reader is None or not path.is_file():
        raise InputError(f"{run.output}: the output of the run {run.run_id} is not there to be compared; {again}")
    try:
        labels = reader(path).select(pl.col(column).cast(pl.String)).collect().to_series()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{run.output}: the output of the run {run.run_id} cannot be read: {error}; {again}"
        ) from error
    if len(labels) != run.n_rows:
        raise InputError(f"{run.output}: {len(labels):,} rows, and the run {run.run_id} wrote {run.n_rows:,}; {again}")
    return labels.gather(sample.rows)
