"""`reviewopt cache warm`: put labelled history into the archive, so that texts which come back need no model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
import polars as pl
import typer

from reviewopt import config, runs, write
from reviewopt.cache import warm
from reviewopt.cache.history import History
from reviewopt.cache.shelf import Shelf
from reviewopt.cli import opening
from reviewopt.cli.output import Format, FormatOption, HomeOption, JsonOption, QuietOption, console
from reviewopt.data import ROLES
from reviewopt.errors import InputError, UsageError
from reviewopt.load import Table
from reviewopt.record import Run
from reviewopt.render import cache as render
from reviewopt.runs import Home
from reviewopt.settings import Config
from reviewopt.task import Task

_COLUMN: Final = "COLUMN"
_OFF: Final = "none"
_ANSWER: Final = ("label", "confidence", "source", "cost_usd")
_MOST_RUNS: Final = 8  # that label their own output again, each with a longer prefix


def command(
    tables: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TABLE]...", show_default=False, help="Labelled tables, or outputs of `process`."),
    ] = None,
    predict: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Only the N texts most likely to come back; without TABLE, of past runs' outputs."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="A packaged task (sentiment) or a .toml file.")
    ] = None,
    text_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The text; else found by name.")] = None,
    title_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The title, or `none`.")] = None,
    id_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The review's id.")] = None,
    label_column: Annotated[
        str | None,
        typer.Option(metavar=_COLUMN, help="The labels; else the answers of an earlier run, else found by name."),
    ] = None,
    tenant_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The brand, client or store.")] = None,
    label_map: Annotated[
        str | None,
        typer.Option(metavar="MAP", help="What values of the label column mean: '1-4=negative, 5-10=positive'."),
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings; else reviewopt.toml.")
    ] = None,
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Keep the labels of a history.

    A text that comes back then needs no model. One with different labels takes the most frequent one, and none where
    two are equally frequent. --predict ranks
    texts by the runs (or files) that they occurred in plus the hits that the cache has counted on them, then by rows,
    then by which came last.

    \b
    reviewopt cache warm labelled.csv
    reviewopt cache warm yesterday.labelled.parquet --predict 5000
    reviewopt cache warm --predict 5000              from the outputs of past runs
    """
    flags = {
        "process.task": task,
        "columns.text": text_column,
        "columns.title": title_column,
        "columns.id": id_column,
        "columns.label": label_column,
        "columns.tenant": tenant_column,
        "columns.label_map": label_map,
    }
    merged, _ = config.load(flags, file=config_file)
    if not tables and predict is None:
        raise UsageError("name a labelled table, or --predict N for the outputs of past runs")
    if not merged.cache.archive.enabled:
        raise UsageError("cache.archive.enabled is false: what is kept would never be read")
    task_, place = config.load_task(merged.process.task), runs.home_folder(home)
    if task_.others:
        raise UsageError(f"the task {task_.name} has several fields; labels of one column cannot warm it")
    err = console(stderr=True, quiet=quiet)
    notes = opening.Notes(err)
    with ExitStack() as opened:
        if tables:
            histories = [_named(opened, merged, tables, task_, notes)]
        else:
            histories = list(_past(opened, merged, place, task_, notes))
        shelf = opened.enter_context(open_shelf(place, merged, notes))
        progress = opened.enter_context(render.CountDisplay(err, "reading", quiet=quiet))
        made = warm.warm(
            shelf.archive,
            histories,
            task_,
            n_most=predict,
            popularity=shelf.popularity,
            now_s=int(time.time()),
            on_progress=progress,
        )
    if as_json or format_ is Format.JSON:
        print(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())
    elif not quiet:
        render.show_warmed(console(), made)


@contextmanager
def open_shelf(home: Home, merged: Config, notes: opening.Notes) -> Iterator[Shelf]:
    """Open the archive of a home, and make one where there is none.

    Raises:
        InputError: it cannot be made or used.
    """
    try:
        home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot keep answers in {home.path}: {error}; name another place with --home") from error
    with Shelf(home.path, merged.cache.archive, sharing=None, on_warning=notes.add) as shelf:
        yield shelf


def _named(opened: ExitStack, merged: Config, tables: Sequence[str], task: Task, notes: opening.Notes) -> History:
    """Open the tables that the user named."""
    table = opened.enter_context(opening.table(merged, tables, task))
    for note in table.notes:
        notes.add(note)
    answers = None if merged.columns.label not in {"", _OFF} else _answers(table.schema, task)
    if answers is not None:
        notes.add(f"the labels are the answers of an earlier run in '{answers['label']}' (--label-column chooses)")
    elif table.columns.label is None:
        raise InputError(f"{', '.join(tables)}: no label column was found; name it with --label-column")
    return _history(table, answers, isolated=opening.is_isolated(merged, table))


def _past(opened: ExitStack, merged: Config, home: Home, task: Task, notes: opening.Notes) -> Iterator[History]:
    """Open the outputs of past runs that still exist, oldest first.

    Raises:
        InputError: there is none.
    """
    outputs: dict[Path, Run] = {}
    n_gone = n_opened = 0
    for run_id in home.run_ids():
        try:
            run = runs.read(home.find(run_id))
        except InputError:
            continue  # of another version, which says not where its columns are
        if run.status != "done" or run.task != task.name or run.output == write.STDOUT:
            continue
        path = Path(run.output).resolve()  # a relative name is looked for here, where the runs were too
        outputs.pop(path, None)  # a later run wrote over it
        if path.is_file():
            outputs[path] = run
        else:
            n_gone += 1
    for path, run in outputs.items():
        try:
            table = opened.enter_context(opening.table(_as_read(merged, run), [str(path)], task))
        except InputError as error:
            notes.add(f"left out: {error}")
            continue
        answers = _answers(table.schema, task)
        if answers is None:
            notes.add(f"left out: {path} has no answers to the task {task.name} any more")
            continue
        n_opened += 1
        yield _history(table, answers, isolated=run.scope == "isolated")
    if not n_opened:
        raise InputError(f"no past run of {home.path} left an output for the task {task.name}; name a table")
    gone = "1 other output is gone" if n_gone == 1 else f"{n_gone:,} other outputs are gone"
    notes.add(f"read: the outputs of {n_opened:,} past runs" + (f"; {gone}" if n_gone else ""))


def _as_read(merged: Config, run: Run) -> Config:
    """Return the settings with which a run's output is read like its input, its label column aside."""
    names = {role: run.input.columns.get(role) or _OFF for role in ROLES} | {"label": _OFF, "label_map": ""}
    return msgspec.structs.replace(
        merged,
        columns=msgspec.convert(names, type(merged.columns)),
        process=msgspec.structs.replace(merged.process, limit=0),
    )


def _history(table: Table, answers: dict[str, str] | None, *, isolated: bool) -> History:
    return History(
        chunks=table.chunks,
        answers=answers,
        file_column=list(table.schema)[-1] if len(table.names) > 1 else None,
        isolated=isolated,
    )


def _answers(schema: pl.Schema, task: Task) -> dict[str, str] | None:
    """Return the columns of the last run that answered the task in a table, None where none did."""
    last, taken = None, list[str]()
    for _ in range(_MOST_RUNS):
        names = write.answer_names(task.field.name, taken)
        if {names[key] for key in _ANSWER} <= set(schema):
            last = names
        taken += names.values()
    return last
