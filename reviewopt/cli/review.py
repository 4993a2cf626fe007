"""`reviewopt review`: answer a sample of a table yourself, as the reference of a certificate."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from reviewopt import certify, config, draws, human, runs, sheet
from reviewopt.cache import shelf
from reviewopt.cache.archive import Archive
from reviewopt.cache.people import People
from reviewopt.cli import opening
from reviewopt.cli.output import Format, FormatOption, HomeOption, JsonOption, QuietOption, console
from reviewopt.draws import Drawn
from reviewopt.errors import EXIT_INTERRUPTED, InputError, UsageError
from reviewopt.load import Table
from reviewopt.load import labels as labels_of
from reviewopt.render import cache as reading
from reviewopt.render import review as render
from reviewopt.reviewing import Review
from reviewopt.runs import Home
from reviewopt.settings import Config
from reviewopt.task import Task

if TYPE_CHECKING:
    from rich.console import Console

_COLUMN: Final = "COLUMN"
_REFERENCE: Final = "human"
_N_SAMPLE: Final = 300  # about what proves .95 where .98 is true (one exact test with 90 % power needs 311)
_TARGET: Final = 0.95


def command(
    tables: Annotated[
        list[str], typer.Argument(metavar="TABLE", help="Tables to answer a sample of.", show_default=False)
    ],
    sample: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help=f"Rows to answer; else certificate.audit, else {_N_SAMPLE}."),
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE.csv", help="Write the sample for somebody's spreadsheet.")
    ] = None,
    import_: Annotated[
        Path | None, typer.Option("--import", metavar="FILE.csv", help="Read the answers of an exported file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing export.")] = False,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="A packaged task (sentiment) or a .toml file.")
    ] = None,
    text_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The text; else found by name.")] = None,
    title_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The title, or `none`.")] = None,
    id_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The review's id.")] = None,
    tenant_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The brand, client or store.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Of the first N rows only.")] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings; else reviewopt.toml.")
    ] = None,
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Answer a sample of a table yourself, as the reference of a certificate.

    A key answers; u takes the last answer back, s skips, q quits. Every answer is kept at once: run it again to go on.

    \b
    reviewopt review reviews.csv --sample 300
    reviewopt review reviews.csv --export sample.csv     for a colleague with a spreadsheet
    reviewopt review reviews.csv --import sample.csv
    reviewopt process reviews.csv --reference human --target .95
    """
    flags = {
        "process.task": task,
        "process.limit": limit,
        "columns.text": text_column,
        "columns.title": title_column,
        "columns.id": id_column,
        "columns.tenant": tenant_column,
    }
    _check(tables, export, import_)
    merged, _ = config.load(flags, file=config_file)
    task_, place = config.load_task(merged.process.task), runs.home_folder(home)
    err = console(stderr=True, quiet=quiet)
    notes = opening.Notes(err)
    n = sample or merged.certificate.audit or _N_SAMPLE
    signal.signal(signal.SIGINT, signal.default_int_handler)  # polars takes Ctrl-C for itself
    with ExitStack() as opened:
        table = opened.enter_context(opening.table(merged, tables, task_))
        for note in table.notes:
            notes.add(note)
        drawn = _drawn(table, task_, max(n, sheet.n_rows(import_) if import_ else 0), err, quiet=quiet)
        columns = (table.columns.text, table.columns.title)
        path = human.place(place.path, table=table.fingerprint(), task=task_.name, labels=task_.labels, columns=columns)
        answers = opened.enter_context(human.Answers(path, task_.labels, on_warning=notes.add))
        people = None if export else _people(opened, place, merged, task_, table, notes)
        review = Review(drawn.frame, answers, people)
        if export:
            sheet.store(export, drawn.frame, answers.given, task_, inputs=tuple(tables), force=force)
        elif import_:
            n_new = review.take(sheet.read(import_, drawn.frame, task_))
            notes.add(f"{n_new:,} answers of {import_} are new or changed")
        else:
            _walk(review, task_)
    chosen: dict[str, object] = {
        "task": task,
        "text-column": text_column,
        "title-column": title_column,
        "id-column": id_column,
    }
    chosen |= {"tenant-column": tenant_column, "limit": limit, "config": config_file, "home": home}
    made = review.result(_following(tables, chosen, export, merged.certificate.target or _TARGET))
    if as_json or format_ is Format.JSON:
        print(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())
    elif not quiet:
        render.show_reviewed(console(), made)


def _check(tables: Sequence[str], export: Path | None, import_: Path | None) -> None:
    if export and import_:
        raise UsageError("--export writes the sample and --import reads answers; give one of them")
    if opening.STDIN in tables and not (export or import_):
        raise UsageError("the answers come from standard input, so the table cannot; name a file")


def _drawn(table: Table, task: Task, n: int, err: Console, *, quiet: bool) -> Drawn:
    """Draw the sample of the certificate whose reference are people.

    Raises:
        InputError: the table cannot be read, or no row of it has a text.
    """
    seed = certify.seed(table.fingerprint(), task.name, *task.labels, _REFERENCE)
    with reading.CountDisplay(err, "reading", quiet=quiet) as progress:
        drawn = draws.draw(table, seed, n, on_rows=lambda n_rows: progress(n_rows, table.n_rows))
    if not drawn.n_rows:
        raise InputError(f"{', '.join(table.inputs)}: no row has a text; name its column with --text-column")
    return drawn


def _people(
    opened: ExitStack, place: Home, merged: Config, task: Task, table: Table, notes: opening.Notes
) -> People | None:
    """Open the archive, where later runs find what people say; None where they would not look for it there."""
    if task.others:
        notes.add(f"the task {task.name} has several fields: your answers to {task.field.name} are kept for the "
                  "certificate alone")  # fmt: skip
        return None
    if not merged.cache.archive.enabled:
        return None
    archive = opened.enter_context(
        Archive.open(
            place.path / shelf.FOLDER,
            compress_above_bytes=merged.cache.archive.compress_above_bytes,
            on_warning=notes.add,
        )
    )
    return People(archive, task, isolated=opening.is_isolated(merged, table))


def _walk(review: Review, task: Task) -> None:
    names = labels_of.label_map(task, None).names
    try:
        with render.open_keys(task.labels) as keys:
            render.walk(console(stderr=True), review, names, keys, instructions=task.instructions)
    except KeyboardInterrupt:
        console(stderr=True).print("interrupted; every answer is kept: run it again to go on")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _following(tables: Sequence[str], chosen: Mapping[str, object], export: Path | None, target: float) -> str:
    """Return the command that comes next, with the same table and settings."""
    options = [word for name, value in chosen.items() if value is not None for word in (f"--{name}", str(value))]
    if export:
        return shlex.join(["reviewopt", "review", *tables, *options, "--import", str(export)])
    target_ = f"{target:g}".removeprefix("0")
    return shlex.join(["reviewopt", "process", *tables, *options, "--reference", _REFERENCE, "--target", target_])
