"""Purses on a ledger of a test's own, and what stands in it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from reviewopt.budget import (
    Purse,
    Refusal,
    Release,
    Reservation,
    Settlement,
    Wanted,
    recomputed,
    totals,
)

DAY_S = 86_400
NOW_S = 1_800_000_000.0  # 2027-01-15
UNIT = Decimal("1e-12")


def purse(folder: Path, run_id: str = "a", **options: Any) -> Purse:
    merged = {"task": "t", "clock": lambda: NOW_S, **options}
    return Purse(folder, run_id=run_id, model="m", endpoint="https://x.test/v1", **merged)


def wanted(most_usd: str | Decimal = "1", **others: Any) -> Wanted:
    return Wanted(most_usd=Decimal(most_usd), n_reviews=2, **others)


def reserved(open_purse: Purse, *wants: Wanted) -> list[Reservation]:
    """Reserve what must fit."""
    results = open_purse.reserve(wants or [wanted()])
    assert all(isinstance(one, Reservation) for one in results)
    return [one for one in results if isinstance(one, Reservation)]


def taken(open_purse: Purse, want: Wanted | None = None) -> Reservation:
    """Reserve for one request, which must fit."""
    return reserved(open_purse, want or wanted())[0]


def refused(open_purse: Purse, want: Wanted) -> Refusal:
    (one,) = open_purse.reserve([want])
    assert isinstance(one, Refusal)
    return one


def settlement(reservation: Reservation, usd: str | Decimal | None = "0.5", **others: Any) -> Settlement:
    amount = None if usd is None else Decimal(usd)
    return Settlement(**{"reservation": reservation, "usd": amount, "outcome": "answered", "seconds": 2.0} | others)


def release(reservation: Reservation) -> Release:
    return Release(reservation=reservation, outcome="rate_limited", seconds=0.1)


def counted(folder: Path) -> dict[str, Decimal]:
    """The totals, which must be what the entries add up to."""
    stored, derived = totals(folder), recomputed(folder)
    assert {scope: usd for scope, usd in stored.items() if usd} == {scope: usd for scope, usd in derived.items() if usd}
    return stored
