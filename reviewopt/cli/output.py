"""What the commands share: the options on output, and the two consoles."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console


_WIDE: Final = 120


class Format(StrEnum):
    """How a command prints its result."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="Print tables for people or JSON for programs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="DIR", help="Where runs are kept; else REVIEWOPT_HOME, else .reviewopt of the current folder."
    ),
]


def console(*, stderr: bool = False, quiet: bool = False, file: IO[str] | None = None) -> Console:
    """Return a console; off a terminal it is wide enough for every table."""
    from rich.console import Console

    made = Console(stderr=stderr, quiet=quiet, file=file)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _WIDE
    return made
