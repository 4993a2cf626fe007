"""`reviewopt report`: print what a run did, cost and found."""

from __future__ import annotations

from typing import Annotated

import typer

from reviewopt import report, runs
from reviewopt.cli.output import Format, FormatOption, HomeOption, JsonOption, console
from reviewopt.errors import GateError, UsageError


def command(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run's ID, folder or file; without it the latest.")
    ] = None,
    min_accuracy: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Exit 1 unless at least this share is proven to be right: .95. Judged by the lower bound.",
        ),
    ] = None,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Print what a run did, cost and found.

    \b
    reviewopt report                      the latest run, as tables
    reviewopt report --json               the same for a program
    reviewopt report --min-accuracy .95   a gate for CI: exit 1 unless so much is proven
    """
    if min_accuracy is not None and not 0 < min_accuracy <= 1:
        raise UsageError(_no_share(min_accuracy))
    made = report.make(runs.home_folder(home).find(run))
    if as_json or format_ is Format.JSON:
        print(report.to_json(made))
    else:
        from reviewopt.render import terminal

        terminal.show_report(console(), made)
    breach = None if min_accuracy is None else report.accuracy_breach(made, min_accuracy)
    if breach is not None:
        raise GateError(f"the accuracy gate is not met: {breach}")


def _no_share(value: float) -> str:
    hint = f"; write {value / 100:g}" if 1 < value <= 100 else ""
    return f"--min-accuracy {value:g}: a share above 0 and up to 1 is needed{hint}"
