"""Tables, lines and figures that fit a narrow terminal, where cells are broken and never cut."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from reviewopt.render.parts import plain, usd

# Wider than any table, to measure how wide one is.
_UNBOUND: Final = 10_000
# A terminal that is narrower has fewer columns, so that no figure is broken.
_NARROW: Final = 72
_TIGHT: Final = (0, 1, 0, 0)


def is_narrow(console: Console) -> bool:
    """Whether there is room only for the columns that matter most."""
    return console.width < _NARROW


def tight(console: Console, shown: Table) -> Table:
    """Draw a table closer together where it is wider than the terminal, and let cells break: nothing is ever cut."""
    unbound = console.options.update(width=_UNBOUND)
    if Measurement.get(console, unbound, shown).maximum > console.width:
        shown.padding = _TIGHT
        for column in shown.columns:
            column.no_wrap, column.overflow = False, "fold"
    return shown


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """Print lines as they stand; the terminal breaks them."""
    for line in lines:
        console.print(plain(line), highlight=False, soft_wrap=True)


def count(n: float) -> str:
    """Return a count with as many digits as it needs."""
    return f"{n:,.0f}" if n < 1e5 else f"{n / 1e6:,.1f} M" if n < 1e9 else f"{n / 1e9:,.1f} B"


def n_of(n: int, thing: str) -> str:
    """Return a count of things: `1 review`, `2 reviews`."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def whole(amount: str | Decimal) -> str:
    """Return an amount in whole USD from 100 on, to the cent below."""
    value = Decimal(amount)
    return f"${value:,.0f}" if value >= 100 else usd(f"{value:f}")
