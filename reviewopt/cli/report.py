"""`reviewopt report`: print what a run did, cost and found."""

from __future__ import annotations

from typing import Annotated

import typer

from reviewopt import report, runs
from reviewopt.cli.output import Format, FormatOption, HomeOption, JsonOption, console


def command(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run's ID, folder or file; without it the latest.")
    ] = None,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Print what a run did, cost and found.

    \b
    reviewopt report                 the latest run, as tables
    reviewopt report --json          the same for a program
    """
    made = report.make(runs.home_folder(home).find(run))
    if as_json or format_ is Format.JSON:
        print(report.to_json(made))
        return
    from reviewopt.render import terminal

    terminal.show_report(console(), made)
