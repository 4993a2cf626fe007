"""`reviewopt train`: make a local model from a labelled table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from reviewopt import config, pipeline
from reviewopt.cli import opening
from reviewopt.cli.output import Format, FormatOption, JsonOption, console
from reviewopt.errors import InputError, UsageError
from reviewopt.local import train
from reviewopt.render import terminal

_COLUMN = "COLUMN"


def command(
    tables: Annotated[
        list[str], typer.Argument(metavar="TABLE", help="Tables with a label column.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="MODEL", help="The model's file; its card goes beside it.")
    ],
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="A packaged task (sentiment) or a .toml file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing model.")] = False,
    languages: Annotated[
        str, typer.Option(metavar="LIST", help="Languages of the table, as en,de; reported with the model.")
    ] = "",
    seed: Annotated[int, typer.Option(metavar="N", help="Of the split that the figures are measured on.")] = 0,
    text_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The text; else found by name.")] = None,
    title_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The title, or `none`.")] = None,
    label_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The labels; else found by name.")] = None,
    label_map: Annotated[
        str | None,
        typer.Option(metavar="MAP", help="What values of the label column mean: '1-4=negative, 5-10=positive'."),
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings; else reviewopt.toml.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Make a local model from a labelled table of your own: any task, 2 to 255 labels.

    \b
    reviewopt train labelled.csv -o mine.npz
    reviewopt train tickets.parquet --task topics.toml -o topics.npz
    reviewopt process new.parquet --task topics.toml --local-model topics.npz
    """
    flags = {
        "process.task": task,
        "columns.text": text_column,
        "columns.title": title_column,
        "columns.label": label_column,
        "columns.label_map": label_map,
    }
    merged, _ = config.load(flags, file=config_file)
    card_path = _check_place(output, tables, force=force)
    notes = console(stderr=True, quiet=quiet)
    task_ = config.load_task(merged.process.task)
    with opening.table(merged, tables, task_) as table, notes.status("reading and training"):
        for note in table.notes:
            notes.print(Text(note), soft_wrap=True)
        if table.columns.label is None:
            raise InputError(f"{', '.join(tables)}: no label column was found; name it with --label-column")
        reviews = pipeline.examples(table)
        trained = train.fit(
            reviews,
            task_.labels,
            task=task_.name,
            seed=seed,
            name=output.stem,
            languages=tuple(name for name in languages.replace(" ", "").split(",") if name),
        )
    trained.model.save(output)
    card_path.write_text(json.dumps(trained.card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if as_json or format_ is Format.JSON:
        print(json.dumps(trained.card, indent=2))
    elif not quiet:
        terminal.show_card(console(), trained.card, output)


def _check_place(output: Path, tables: Sequence[str], *, force: bool) -> Path:
    card = output.with_suffix(".card.json")
    for path in (output, card):
        if path.exists() and any(Path(table).exists() and path.samefile(table) for table in tables):
            raise UsageError(f"{path} is the table that is read; name another file with -o")
    if not output.parent.is_dir():
        raise InputError(f"{output}: there is no folder {output.parent}; make it first")
    for path in (output, card):
        if path.exists() and not force:
            raise UsageError(f"{path} exists and is kept; replace it with --force or name another file with -o")
    return card
