"""`reviewopt doctor`: what could keep a run from going well on this machine."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from reviewopt import doctor, runs
from reviewopt.cli.output import Format, FormatOption, HomeOption, JsonOption, console
from reviewopt.errors import GateError


def command(
    endpoints: Annotated[
        bool,
        typer.Option(
            "--endpoints", help="Ask each configured endpoint for its list of models, over the network; free of charge."
        ),
    ] = False,
    home: HomeOption = None,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Check versions, settings, keys, the archive, the ledger, the disk and the GPU; exit 1 if a check fails.

    Nothing is changed, no review is sent, and no key is printed.

    \b
    reviewopt doctor                 offline
    reviewopt doctor --endpoints     also over the network: is each endpoint there, and does it take the key
    reviewopt doctor --json          the same for a program
    """
    place = runs.home_folder(home).path
    made = doctor.diagnose(place, asks_endpoints=endpoints, environment=os.environ, today=datetime.now(UTC).date())
    if as_json or format_ is Format.JSON:
        print(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())
    else:
        from reviewopt.render import doctor as render

        render.show_diagnosis(console(), made)
    if made.n_fail:
        failed = ", ".join(dict.fromkeys(check.name for check in made.checks if check.status == "fail"))
        raise GateError(f"{made.n_fail} of {len(made.checks)} checks failed: {failed}")
