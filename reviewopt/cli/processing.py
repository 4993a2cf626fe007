"""What `reviewopt process` does once its options are read: open, plan, ask for consent, run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import typer

from reviewopt import pipeline, write
from reviewopt.cli import opening, opening_paid
from reviewopt.cli.output import console
from reviewopt.cli.stopping import Stopping
from reviewopt.config import Setting
from reviewopt.dedup.spread import answer_schema
from reviewopt.errors import BudgetError, ModelError
from reviewopt.job import Job, Local, NearMode, Paid, price_of_a_local_answer, source_names
from reviewopt.load import Table
from reviewopt.record import Plan, Run
from reviewopt.render import asking
from reviewopt.render.progress import ProgressDisplay
from reviewopt.runs import Home, Recorder
from reviewopt.settings import Config
from reviewopt.task import Task
from reviewopt.text.sharing import Sharing


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the command line says besides the settings."""

    tables: tuple[str, ...]
    output: Path | None
    force: bool
    home: Home
    stdin_format: str | None
    naive: bool
    dry_run: bool
    yes: bool
    retry_failures: bool
    quiet: bool


def run(choices: Choices, config: Config, settings: tuple[Setting, ...], task: Task) -> Run | Plan:
    """Label the tables, or only plan it.

    Raises:
        ReviewoptError: as the errors' tree says; what was answered until then is kept.
    """
    err = console(stderr=True, quiet=choices.quiet)
    notes = opening.Notes(err)
    with ExitStack() as opened:
        table = opened.enter_context(opening.table(config, choices.tables, task, stdin_format=choices.stdin_format))
        for note in table.notes:
            notes.add(note)
        recorder = opened.enter_context(_recorder(choices))
        progress = ProgressDisplay(err, quiet=choices.quiet)
        stopping = Stopping(progress.stopping)
        job = _open_job(opened, choices, config, settings, task, table, recorder, progress, stopping, notes)
        if isinstance(job.answerer, Paid):
            with progress.showing("planning"):
                made = opening_paid.planned(job, choices.home, progress)
            if choices.dry_run:
                return made
            recorder.fold_stages("plan")
            asking.show_plan(err, made)
            opening_paid.consent(made, config, yes=choices.yes, ask=lambda text: typer.confirm(text, err=True))
            job = replace(job, plan=made)
            opened.enter_context(stopping)
        with progress.showing("labelling"):
            return pipeline.process(job, progress)


def check_complete(run: Run, *, allow_failures: bool) -> None:
    """Raise where reviews stayed unanswered; the output is written all the same.

    Raises:
        BudgetError: because of a budget.
        ModelError: because of the endpoint or of themselves, unless that is allowed.
    """
    n_failed = run.n_by_source["failed"]
    keeps = any(setting.name == "cache.archive.enabled" and setting.value for setting in run.config)
    if run.asked is not None and run.asked.n_over_budget:
        raise BudgetError(
            f"a budget is spent: {n_failed:,} reviews stayed unanswered, the others are in {run.output}; raise it and "
            f"run the same command with --force: {'only what is missing' if keeps else 'everything'} is asked"
        )
    if n_failed and not allow_failures:
        raise ModelError(
            f"{n_failed:,} reviews stayed unanswered, the others are in {run.output}; the note column says why, "
            "--retry-failures asks again, --allow-failures makes this no error"
        )


@contextmanager
def _recorder(choices: Choices) -> Iterator[Recorder]:
    """Give the run its folder; a plan leaves none."""
    if not choices.dry_run:
        yield choices.home.new_run()
        return
    with tempfile.TemporaryDirectory(prefix="reviewopt-plan-") as folder:
        recorder = Home(Path(folder)).new_run()
        try:
            yield recorder
        finally:
            recorder.close()


def _open_job(
    opened: ExitStack,
    choices: Choices,
    config: Config,
    settings: tuple[Setting, ...],
    task: Task,
    table: Table,
    recorder: Recorder,
    progress: ProgressDisplay,
    stopping: Stopping,
    notes: opening.Notes,
) -> Job:
    sharing, is_isolated = Sharing(), opening.is_isolated(config, table)
    home, threads = choices.home, config.process.threads or 2
    if config.ask.model:
        paid = opening_paid.paid(
            opened, config, task, home, recorder,
            sends=not choices.dry_run, retries=choices.retry_failures, is_stopping=stopping,
            on_asked=progress.asked, on_warning=notes.add,
        )  # fmt: skip
        cache = opening_paid.cache(
            opened, config, home, task, paid.model, sharing,
            isolated=is_isolated, sends=not choices.dry_run, workers=threads, on_warning=notes.add,
        )  # fmt: skip
        answerer: Local | Paid = paid
        near: NearMode = config.dedup.near or "share"
    else:
        model, record = opening.local_model(config.process.local_model, task)
        answerer = Local(predictor=model, record=record, price_usd=price_of_a_local_answer(config))
        cache = opening.cache(opened, config, home, task, model.labels, isolated=is_isolated, on_warning=notes.add)
        near = config.dedup.near or "report"
    names, schema = _columns(table, task, answerer, notes)
    path = choices.output or write.default_output(choices.tables)
    if choices.dry_run:
        path = Path(write.STDOUT)
    return Job(
        table=table,
        task=task,
        answerer=answerer,
        cache=cache,
        near=near,
        sharing=sharing,
        isolated=is_isolated,
        output=write.open_output(path, schema, inputs=table.names, force=choices.force),
        names=names,
        recorder=recorder,
        config=config,
        settings=settings,
        notes=notes.lines,
        is_naive=choices.naive,
    )


def _columns(
    table: Table, task: Task, answerer: Local | Paid, notes: opening.Notes
) -> tuple[dict[str, str], pl.Schema]:
    """Name the output's columns, and give them their types."""
    has_notes = isinstance(answerer, Paid)
    others = [field.name for field in task.others]
    names = write.answer_names(task.field.name, list(table.schema), others, has_notes=has_notes)
    if names["label"] != task.field.name:
        wished = {*write.answer_names(task.field.name, [], others, has_notes=has_notes).values()}
        taken = ", ".join(sorted(set(table.schema) & wished))
        notes.add(f"the table has {taken}: the answers are in {', '.join(names.values())}")
    labels = answerer.predictor.labels if isinstance(answerer, Local) else task.labels
    dtypes = answer_schema(labels, source_names(answerer.source), task.others, has_notes=has_notes)
    return names, pl.Schema({**table.schema, **{names[key]: dtype for key, dtype in dtypes.items()}})
