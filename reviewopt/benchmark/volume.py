"""What reviews like these cost at other volumes, and where one side begins to cost less than the other. Exact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext
from fractions import Fraction
from typing import Final, Protocol

from reviewopt import services
from reviewopt.benchmark.record import Monthly, ScaleRow
from reviewopt.pricelist import ServicePrice

VOLUMES: Final = (1_000, 5_000, 10_000, 100_000, 1_000_000, 10_000_000)
# Reviews a month that three sizes of company might have: examples to read one's own by, from nobody's statistics.
COMPANIES: Final = (("a small shop", 2_000), ("a mid-sized seller", 50_000), ("a marketplace", 3_000_000))
_YOURS: Final = "your month"
_PLACES: Final = Decimal("1e-12")


@dataclass(frozen=True, slots=True)
class Flat:
    """A price that grows with the reviews: `usd` for `n` of them, and nothing known below `least` of them."""

    usd: Decimal
    n: int
    least: int = 1

    def monthly(self, n_reviews: int) -> Monthly | None:
        """Price a month; None below what was measured."""
        if n_reviews < self.least:
            return None
        return Monthly(n_reviews=n_reviews, usd=money(self.at(n_reviews)), after_free_usd=None, parts=())

    def at(self, n_reviews: int) -> Fraction:
        """Return the USD of so many reviews."""
        return Fraction(self.usd) * n_reviews / self.n if self.n else Fraction(0)

    def edges(self) -> Sequence[Fraction]:
        """Return the volumes at which the price of one more review changes: none."""
        return ()


@dataclass(frozen=True, slots=True)
class Tiered:
    """What a cloud service asks: `n_units` for `n` reviews, and marginal tiers over the month's units."""

    service: ServicePrice
    n_units: int
    n: int

    def monthly(self, n_reviews: int) -> Monthly:
        """Price a month of reviews as long as these; units are rounded up."""
        billed = services.bill(self.service, -(-self.n_units * n_reviews // self.n) if self.n else 0)
        return Monthly(
            n_reviews=n_reviews,
            usd=f"{billed.list_usd:f}",
            after_free_usd=None if self.service.free_kind == "none" else f"{billed.after_free_usd:f}",
            parts=tuple((one.n_units, f"{one.usd_a_unit:f}", f"{one.usd:f}") for one in billed.parts),
        )

    def at(self, n_reviews: int) -> Fraction:
        """Return the list price of so many reviews, without rounding units up."""
        return self._of_units(Fraction(self.n_units * n_reviews, max(1, self.n)))

    def edges(self) -> Sequence[Fraction]:
        """Return the volumes of reviews at which the next tier begins."""
        ends = [tier.up_to_units for tier in self.service.tiers if tier.up_to_units is not None]
        return [Fraction(end * self.n, self.n_units) for end in ends] if self.n_units else []

    def _of_units(self, units: Fraction) -> Fraction:
        total, begun = Fraction(0), Fraction(0)
        for tier in self.service.tiers:
            end = units if tier.up_to_units is None else min(units, Fraction(tier.up_to_units))
            if end > begun:
                total += (end - begun) * Fraction(tier.usd)
                begun = end
        return total


class Curve(Protocol):
    """What reviews cost by their number."""

    def monthly(self, n_reviews: int) -> Monthly | None:
        """Price a month; None where that is not known."""

    def at(self, n_reviews: int) -> Fraction:
        """Return the USD of so many reviews."""

    def edges(self) -> Sequence[Fraction]:
        """Return the volumes at which the price of one more review changes, ascending."""


def turns_at(own: Curve, rival: Curve, *, least: int = 1) -> int | None:
    """Return the smallest volume of at least `least` reviews from which the rival costs less; None: there is none.

    Ours grows straight with the volume, and a rival's price a review never rises with it (the price list is checked for
    that): past the point where it costs less it stays so. Between two edges both are straight lines, so the point is
    exact.
    """

    def is_less(n: int) -> bool:
        return rival.at(n) < own.at(n)

    if is_less(least):
        return least
    below = least
    for edge in rival.edges():
        above = int(edge) + 1
        if above > below and is_less(above):
            return _between(is_less, below, above)
        below = max(below, above)
    slope_own, slope = own.at(below + 1) - own.at(below), rival.at(below + 1) - rival.at(below)
    if slope >= slope_own:
        return None
    # Past the last edge: the gap closes by the difference of the slopes with each review.
    gap = rival.at(below) - own.at(below)
    return below + int(gap / (slope_own - slope)) + 1


def _between(is_less: Callable[[int], bool], below: int, above: int) -> int:
    """Return the first volume for which it holds: it does not at `below`, and does at `above`."""
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if is_less(middle) else (middle, above)
    return above


def scale(curves: Mapping[str, Curve], monthly: int | None = None) -> tuple[ScaleRow, ...]:
    """Price six volumes, three companies and the user's own month, everybody by name."""
    rows = [(n, "") for n in VOLUMES] + [(n, company) for company, n in COMPANIES]
    if monthly is not None:
        rows.append((monthly, _YOURS))
    made = []
    for n, whose in rows:
        months = {name: curve.monthly(n) for name, curve in curves.items()}
        usd = {name: None if month is None else month.usd for name, month in months.items()}
        made.append(ScaleRow(n_reviews=n, whose=whose, usd=usd))
    return tuple(made)


def money(usd: Fraction | Decimal) -> str:
    """Write USD with twelve places, rounded up."""
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(usd.numerator) / Decimal(usd.denominator) if isinstance(usd, Fraction) else usd
        return f"{exact.quantize(_PLACES, rounding=ROUND_CEILING):f}"
