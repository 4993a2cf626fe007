"""Figures of runs as people read them: rounded, with what was not measured said so."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from rich.console import Console

from reviewopt.accuracy import Estimate
from reviewopt.render.parts import UNKNOWN, percent, plain, usd

NOTHING: Final = "-"


def say(console: Console, line: str, *, style: str | None = None) -> None:
    """Print a line in which foreign text may stand."""
    console.print(plain(line), style=style, highlight=False, soft_wrap=True)


def number(value: float) -> str:
    """Write a number, 0 or more, with three digits that count."""
    for least, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= least * 0.9995:
            scaled = value / least
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{letter}"
    return f"{value:.0f}" if value >= 9.95 or value == int(value) else f"{value:.2g}"


def change(value: float | None, unit: str = "") -> str:
    """Write a difference of numbers with its sign."""
    if value is None:
        return NOTHING
    return f"{'-' if value < 0 else '+' if value else ''}{number(abs(value))}{unit}"


def usd_change(amount: str | None) -> str:
    """Write a difference of amounts with its sign."""
    if amount is None:
        return NOTHING
    return usd(amount) if Decimal(amount) <= 0 else f"+{usd(amount)}"


def points(share: float | None) -> str:
    """Write a difference of shares in points."""
    return NOTHING if share is None else f"{100 * share:+.1f}"


def amount(given: str | None, missing: str = UNKNOWN) -> str:
    """Write an amount that may not be known."""
    return missing if given is None else usd(given)


def rate(share: float | None, missing: str = UNKNOWN) -> str:
    """Write a share that may not be known."""
    return missing if share is None else percent(share)


def estimate(found: Estimate | None, missing: str = UNKNOWN) -> str:
    """Write a share in percent with its interval."""
    if found is None or found.value is None or found.low is None or found.high is None:
        return missing
    value, low, high = (f"{100 * one:.1f}".replace("100.0", "100") for one in (found.value, found.low, found.high))
    return f"{value} ({low}-{high})"


def estimate_change(found: Estimate | None) -> str:
    """Write a difference in points with its interval; its ends may be negative, so that no dash joins them."""
    if found is None or found.value is None or found.low is None or found.high is None:
        return NOTHING
    value, low, high = (f"{100 * one:+.1f}" for one in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def proven(share: float) -> str:
    """Write what is proven in percent, never more of it than that."""
    return f"{int(share * 10_000 + 1e-8) / 100:.2f}"


def duration(seconds: float) -> str:
    """Write how long a run took."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 3600 else f"{seconds / 3600:.3g} h"


def size(n_bytes: int) -> str:
    """Write a size on disk."""
    if n_bytes < 1000:
        return f"{n_bytes} bytes"
    return f"{n_bytes / 1e3:,.1f} kB" if n_bytes < 1e6 else f"{n_bytes / 1e6:,.1f} MB"
