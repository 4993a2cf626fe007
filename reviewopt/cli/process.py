"""`reviewopt process`: label a table of reviews."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import polars as pl
import typer
from rich.text import Text

from reviewopt import config, pipeline, report, runs, write
from reviewopt.cli import opening
from reviewopt.cli.output import Format, FormatOption, HomeOption, JsonOption, console
from reviewopt.config import Config, Setting
from reviewopt.dedup.spread import answer_schema
from reviewopt.errors import UsageError
from reviewopt.job import Answerer, Job, price_of_a_local_answer
from reviewopt.load import Table
from reviewopt.render import terminal
from reviewopt.render.progress import ProgressDisplay
from reviewopt.runs import Run
from reviewopt.task import Task
from reviewopt.text.sharing import Sharing

_COLUMN = "COLUMN"
_COLUMNS_PANEL = "name it, or `none`; without the option it is found by name"


class NearChoice(StrEnum):
    """What to do with near copies."""

    OFF = "off"
    REPORT = "report"
    SHARE = "share"


def command(
    tables: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TABLE",
            show_default=False,
            help="Parquet, CSV, TSV, JSON (lines), Arrow; a folder, a glob, hf://owner/name, or - for standard input.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="A .parquet, .csv or .jsonl file, or - for JSON lines on standard output.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="A packaged task (sentiment) or a .toml file.")
    ] = None,
    local_model: Annotated[str | None, typer.Option(metavar="MODEL", help="A model made by `reviewopt train`.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N rows.")] = None,
    text_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help=f"The text: {_COLUMNS_PANEL}.")] = None,
    title_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The title.")] = None,
    id_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The review's id.")] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar=_COLUMN, help="Labels or stars, to measure accuracy.")
    ] = None,
    tenant_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The brand, client or store.")] = None,
    category_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The category.")] = None,
    near: Annotated[
        NearChoice | None,
        typer.Option(help="Near copies: leave them, report them, or let them share one answer (default: report)."),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Use no answers of earlier runs, and keep none.")
    ] = False,
    label_map: Annotated[
        str | None,
        typer.Option(metavar="MAP", help="What values of the label column mean: '1-4=negative, 5-10=positive'."),
    ] = None,
    stdin_format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="csv or jsonl; without it told by the content.")
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings; else reviewopt.toml.")
    ] = None,
    home: HomeOption = None,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print every setting with its origin and exit.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Label a table of reviews.

    \b
    reviewopt process reviews.parquet
    reviewopt process shop/*.csv -o labelled.csv --text-column comment
    zcat reviews.jsonl.gz | reviewopt process - -o - > labelled.jsonl
    """
    flags = {
        "process.task": task,
        "process.local_model": local_model,
        "process.limit": limit,
        "dedup.near": None if near is None else near.value,
        "cache.memory.enabled": False if no_cache else None,
        "cache.similar.enabled": False if no_cache else None,
        "cache.archive.enabled": False if no_cache else None,
        "columns.text": text_column,
        "columns.title": title_column,
        "columns.id": id_column,
        "columns.label": label_column,
        "columns.tenant": tenant_column,
        "columns.category": category_column,
        "columns.label_map": label_map,
    }
    merged, settings = config.load(flags, file=config_file)
    settings = (*settings, runs.home_setting(home))
    as_json = as_json or format_ is Format.JSON
    if show_config:
        _show_settings(settings, as_json=as_json)
        return
    if not tables:
        raise UsageError("name a table: reviewopt process reviews.parquet (reviewopt process --help shows more)")
    err = console(stderr=True, quiet=quiet)
    task_ = config.load_task(merged.process.task)
    with ExitStack() as opened:
        table = opened.enter_context(opening.table(merged, tables, task_, stdin_format=stdin_format))
        notes = opening.Notes(err)
        job = _open_job(opened, merged, settings, tables, table, task_, output, notes, force=force, home=home)
        with ProgressDisplay(err, quiet=quiet) as progress:
            run = pipeline.process(job, progress)
    to_stderr = str(job.output.path) == write.STDOUT
    _show(run, to_stderr=to_stderr, quiet=quiet, as_json=as_json)


def _open_job(
    opened: ExitStack,
    merged: Config,
    settings: tuple[Setting, ...],
    tables: Sequence[str],
    table: Table,
    task: Task,
    output: Path | None,
    notes: opening.Notes,
    *,
    force: bool,
    home: Path | None,
) -> Job:
    model, record = opening.local_model(merged.process.local_model, task)
    path = output or write.default_output(tables)
    names = write.answer_names(task.field.name, list(table.schema))
    schema = pl.Schema({**table.schema, **{names[key]: dtype for key, dtype in answer_schema(model.labels).items()}})
    for note in table.notes:
        notes.add(note)
    if names["label"] != task.field.name:
        taken = set(table.schema) & set(write.answer_names(task.field.name, []).values())
        notes.add(f"the table has {', '.join(sorted(taken))}: the answers are in {', '.join(names.values())}")
    sharing, is_isolated = Sharing(), opening.is_isolated(merged, table)
    made = write.open_output(path, schema, inputs=table.names, force=force)
    place = runs.home_folder(home)
    return Job(
        table=table,
        task=task,
        answerer=Answerer(
            model=model, record=record, source="local", is_paid=False, price_usd=price_of_a_local_answer(merged)
        ),
        cache=opening.cache(opened, merged, place, task, model.labels, isolated=is_isolated, on_warning=notes.add),
        near=merged.dedup.near or "report",
        sharing=sharing,
        isolated=is_isolated,
        output=made,
        names=names,
        recorder=place.new_run(),
        config=merged,
        settings=settings,
        notes=notes.lines,
    )


def _show_settings(settings: Sequence[Setting], *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(settings), indent=2).decode())
    else:
        terminal.show_settings(console(), settings)


def _show(run: Run, *, to_stderr: bool, quiet: bool, as_json: bool) -> None:
    made = report.Report(schema_version=report.SCHEMA_VERSION, state="done", run=run)
    if as_json:
        print(report.to_json(made), file=sys.stderr if to_stderr else sys.stdout)
    elif not quiet:
        shown = console(stderr=to_stderr)
        terminal.show_report(shown, made)
        hint = "next: reviewopt report --json, for a program; reviewopt train --help, for a model of your own"
        shown.print(Text(hint), soft_wrap=True)
