"""What tables and figures look like in a terminal."""

from __future__ import annotations

from decimal import Decimal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

UNKNOWN = "not measured"
_WORDS = {"value", "from", "example", ""}  # columns that hold no figures


def table(first: str, *columns: str, title: str | None = None) -> Table:
    """Return a table with names at the left of the first column and figures at the right of the others."""
    made = Table(box=SIMPLE_HEAD, title=plain(title) if title else None, title_justify="left", pad_edge=False)
    made.add_column(plain(first), no_wrap=True)
    for name in columns:
        made.add_column(plain(name), justify="left" if name in _WORDS else "right", no_wrap=True)
    return made


def plain(text: str) -> Text:
    """Return text as it stands, on one line: no markup, and nothing that a terminal would act on."""
    return Text("".join(one if one.isprintable() else " " if one.isspace() else "?" for one in text))


def percent(share: float) -> str:
    """Return a share of 0 to 1 in percent."""
    return f"{100 * share:.1f} %"


def usd(amount: str) -> str:
    """Return an amount with as many digits as it needs to be told from nothing."""
    value = Decimal(amount)
    if value < 0:
        return f"-{usd(f'{-value:f}')}"
    if value >= 1 or not value:
        return f"${value:,.2f}"
    return f"${value:.3g}" if value >= Decimal("0.001") else f"${value:.2g}"
