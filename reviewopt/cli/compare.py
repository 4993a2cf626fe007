"""`reviewopt compare`: two outputs of the same reviews beside each other."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from reviewopt import compare, config
from reviewopt.cli import opening, opening_compare
from reviewopt.cli.opening_compare import Choices
from reviewopt.cli.output import Format, FormatOption, JsonOption, QuietOption, console
from reviewopt.load.labels import label_map as mapping_of
from reviewopt.render import compare as render

_COLUMN = "COLUMN"


def command(
    a: Annotated[str, typer.Argument(metavar="A", help="A table that has labels already.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The same reviews, labelled otherwise.", show_default=False)],
    label_column: Annotated[
        str | None,
        typer.Option(
            metavar=_COLUMN, help="The truth: labels or stars, of A or else of B; `none`. Else found by name."
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option("--rows", metavar="N", min=0, help="How many of the rows to show where they differ most.")
    ] = 10,
    answer_column: Annotated[
        str | None,
        typer.Option(metavar=_COLUMN, help="The labels to compare (default: named as the task's field: sentiment)."),
    ] = None,
    answer_column_b: Annotated[
        str | None, typer.Option(metavar=_COLUMN, help="The same in B, where they are named otherwise there.")
    ] = None,
    label_map: Annotated[
        str | None, typer.Option(metavar="MAP", help="What labels in other words mean: 'bad=negative, 4-5=positive'.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="A packaged task (sentiment) or a .toml file.")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(metavar=_COLUMN, help="What rows are matched by; `none`: by their order.")
    ] = None,
    text_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The text; else found by name.")] = None,
    tenant_column: Annotated[
        str | None, typer.Option(metavar=_COLUMN, help="The brand, client or store, of A.")
    ] = None,
    category_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The category, of A.")] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings; else reviewopt.toml.")
    ] = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Compare the labels of two outputs of the same reviews: accuracy, agreement, cost, and where they differ most.

    \b
    reviewopt compare ours.parquet theirs.parquet --label-column rating
    reviewopt compare ours.parquet theirs.csv --answer-column-b prediction --label-map 'bad=negative'
    reviewopt compare before.parquet after.parquet --json
    """
    flags = {
        "process.task": task,
        "columns.id": id_column,
        "columns.text": text_column,
        "columns.tenant": tenant_column,
        "columns.category": category_column,
        "columns.label": label_column,
        "columns.label_map": label_map,
    }
    merged, _ = config.load(flags, file=config_file)
    task_ = config.load_task(merged.process.task)
    mapping = mapping_of(task_, merged.columns.label_map or None)
    notes = opening.Notes(console(stderr=True, quiet=quiet))
    choices = Choices(a=a, b=b, answer_column=answer_column, answer_column_b=answer_column_b)
    with ExitStack() as opened:
        side_a, side_b = opening_compare.open_tables(opened, choices, merged, task_, notes)
        rows_a = compare.read(side_a, mapping, task_)
        rows_b = compare.read(side_b, mapping, task_, has_examples=False)
    made = compare.compare(rows_a, rows_b, task_, n_shown=rows)
    if as_json or format_ is Format.JSON:
        print(compare.to_json(made))
    elif not quiet:
        render.show_comparison(console(), made)
