"""Tables before they have a form: for a terminal as wide as it is, or as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console

from reviewopt.render.parts import plain, table

_GAP: Final = 3  # between two columns
_SPECIAL: Final = (
    ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\\", "\\\\"), ("|", "\\|"), ("*", "\\*"), ("_", "\\_"),
    ("`", "\\`"), ("[", "\\["), ("]", "\\]"), ("~", "\\~"),
)  # fmt: skip
_MENTION: Final = re.compile(r"@(?=\w)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table before it has a form: the first row is the head, the first column has names."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def show(console: Console, whole: Sheet) -> None:
    """Print a table, cut into as many as fit side by side into the console."""
    for sheet in fitting(whole, console.width):
        shown = table(*sheet.head)
        for row in sheet.rows:
            shown.add_row(*map(plain, row))
        console.print(shown)


def markdown(sheet: Sheet) -> str:
    """Return a table as Markdown."""
    rule = tuple("---" if not at else "--:" for at in range(len(sheet.head)))
    rows = ((escaped(cell) for cell in row) for row in (sheet.head, *sheet.rows))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join((lines[0], f"| {' | '.join(rule)} |", *lines[1:]))


def fitting(sheet: Sheet, width: int) -> Iterator[Sheet]:
    """Cut a table into as many as fit side by side into so many columns of a terminal, each with the names."""
    widths = [max(len(row[at]) for row in (sheet.head, *sheet.rows)) + _GAP for at in range(len(sheet.head))]
    taken = [0]
    for at in range(1, len(widths)):
        if len(taken) > 1 and sum(widths[one] for one in taken) + widths[at] > width:
            yield _columns(sheet, taken)
            taken = [0]
        taken.append(at)
    yield _columns(sheet, taken)


def _columns(sheet: Sheet, places: Sequence[int]) -> Sheet:
    return Sheet(
        head=tuple(sheet.head[at] for at in places),
        rows=tuple(tuple(row[at] for at in places) for row in sheet.rows),
    )


def escaped(text: str) -> str:
    """Return text on one line that Markdown and HTML take as it stands: no link, no image, nobody is mentioned."""
    line = plain(text).plain
    for one, other in _SPECIAL:
        line = line.replace(one, other)
    return _MENTION.sub("&#64;", line)
