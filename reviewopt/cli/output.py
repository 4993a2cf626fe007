"""What the commands share: the options on output, and the two consoles."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console


class Format(StrEnum):
    """How a command prints its result."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="Print tables for people or JSON for programs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="DIR", help="Where runs are kept; else REVIEWOPT_HOME, else .reviewopt of the current folder."
    ),
]


def stdout() -> Console:
    """Return the console for results."""
    from rich.console import Console

    return Console()
