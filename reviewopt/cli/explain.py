"""`reviewopt explain`: say of one review where its answer came from."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from reviewopt import config, explain, runs
from reviewopt.cache import shelf
from reviewopt.cache.archive import Archive
from reviewopt.cli import opening
from reviewopt.cli.output import Format, FormatOption, HomeOption, JsonOption, console


def command(
    review_id: Annotated[
        str,
        typer.Argument(
            metavar="REVIEW_ID", help="As the id column says it; without one the row, from 0.", show_default=False
        ),
    ],
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="A run's ID, folder or file; without it the latest.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where the labelled table is now, if it was moved."),
    ] = None,
    home: HomeOption = None,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Say where the answer to a review came from, and what it cost.

    \b
    reviewopt explain 4711                            in the latest run
    reviewopt explain 4711 --run 20261121-163612-123456
    reviewopt explain 4711 --output moved.parquet --json
    """
    named = runs.home_folder(home)
    record = named.find(run)
    place = explain.home_of(record, named)
    with ExitStack() as opened:
        archive = None
        if shelf.exists(place.path):
            above = config.load({})[0].cache.archive.compress_above_bytes
            archive = opened.enter_context(
                Archive.open(
                    place.path / shelf.FOLDER,
                    compress_above_bytes=above,
                    on_warning=opening.Notes(console(stderr=True)).add,
                )
            )
        made = explain.explain(record, review_id, home=place, archive=archive, output=output)
    if as_json or format_ is Format.JSON:
        print(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())
        return
    from reviewopt.render import explain as render

    render.show_explanation(console(), made)
