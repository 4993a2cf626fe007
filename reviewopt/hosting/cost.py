"""What a GPU costs, rented or bought: formulas over sourced figures. All money is `Decimal` USD. Pure.

A rented hour is paid whether it is used or not, so its price is divided by the utilisation. What a bought GPU costs an
hour is worked out per *useful* hour, which holds the utilisation already: dividing again would count it twice. The two
have functions of their own, and only the rented one takes a utilisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from reviewopt.hosting.facts import Assumptions, Gpu

# As clouds count them: 8,760 hours a year over twelve.
HOURS_A_MONTH: Final = 730
_HOURS_A_YEAR: Final = 8_760
_SECONDS_AN_HOUR: Final = 3_600
_PLACES: Final = Decimal("1e-6")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """What a useful hour of a bought GPU costs, in parts that add up, and what it costs a month when it stands still.

    `idle_usd_a_month` is what is paid for it whatever it does: hardware and operations, no energy.
    """

    hardware_usd: Decimal
    energy_usd: Decimal
    operations_usd: Decimal
    idle_usd_a_month: Decimal

    @property
    def usd_a_useful_hour(self) -> Decimal:
        """All parts together."""
        return self.hardware_usd + self.energy_usd + self.operations_usd


def rented_usd_a_thousand(usd_per_hour: Decimal, reviews_a_second: Decimal, utilisation: Decimal) -> Decimal:
    """Return the USD per 1,000 reviews on a rented GPU that works `utilisation` (0 to 1) of the hours paid.

    USD/h / 3,600 / (reviews/s) x 1,000 / utilisation.
    """
    return usd_per_hour / _SECONDS_AN_HOUR / reviews_a_second * 1000 / utilisation


def owned_usd_a_thousand(owned: Owned, reviews_a_second: Decimal) -> Decimal:
    """Return the USD per 1,000 reviews on a bought GPU: its useful hour knows already how often it is useful."""
    return owned.usd_a_useful_hour / _SECONDS_AN_HOUR / reviews_a_second * 1000


def owned(
    capex_usd: Decimal, gpu: Gpu, assumptions: Assumptions, *, usd_per_kwh: Decimal, utilisation: Decimal
) -> Owned:
    """Work out what a bought GPU costs a useful hour.

    capex x (1 - residual) x overhead / (years x 8,760 x utilisation) + kW x load x PUE x USD/kWh + operations, which
    are paid in idle hours too. An idle GPU is taken to draw nothing.
    """
    given = {name: Decimal(getattr(assumptions, name).value) for name in assumptions.__struct_fields__}
    a_year = capex_usd * (1 - given["residual_share"]) * given["server_overhead"] / given["years"]
    operations = given["operations_usd_per_hour"]
    return Owned(
        hardware_usd=(a_year / (_HOURS_A_YEAR * utilisation)).quantize(_PLACES),
        energy_usd=(_kilowatts(gpu, assumptions) * usd_per_kwh).quantize(_PLACES),
        operations_usd=(operations / utilisation).quantize(_PLACES),
        idle_usd_a_month=(a_year / 12 + operations * HOURS_A_MONTH).quantize(_PLACES),
    )


def kwh_a_thousand(gpu: Gpu, assumptions: Assumptions, reviews_a_second: Decimal) -> Decimal:
    """Return the energy of 1,000 reviews, kWh, cooling and losses of the site (PUE) included."""
    return _kilowatts(gpu, assumptions) / _SECONDS_AN_HOUR / reviews_a_second * 1000


def _kilowatts(gpu: Gpu, assumptions: Assumptions) -> Decimal:
    """Return what a working GPU and its share of the site take: board x load x PUE. The server's rest is left out."""
    return Decimal(gpu.board_w) / 1000 * Decimal(assumptions.load.value) * Decimal(assumptions.pue.value)


def capacity_a_month(reviews_a_second: Decimal, utilisation: Decimal) -> int:
    """Return the reviews that one GPU gets through in 730 hours at this utilisation."""
    return int(reviews_a_second * utilisation * _SECONDS_AN_HOUR * HOURS_A_MONTH)


def break_even(
    api_usd: Decimal, fixed_usd_a_month: Decimal, *, own_usd: Decimal = Decimal(0), capacity: int | None
) -> int | None:
    """Return the smallest number of reviews a month from which a GPU costs less than an API.

    The GPU costs `fixed_usd_a_month` and `own_usd` a review, the API `api_usd` a review. Exact: at one review less the
    API costs as much or less.

    Returns:
        None where the API stays cheaper however many there are, or where that is more than the `capacity` of one GPU.
    """
    saved = Fraction(api_usd) - Fraction(own_usd)
    if saved <= 0:
        return None
    n = math.floor(Fraction(fixed_usd_a_month) / saved) + 1
    return None if capacity is not None and n > capacity else n


def used_hours_to_own(owned_: Owned, usd_per_hour: Decimal) -> int | None:
    """Return the useful hours a month from which buying costs less than renting by the hour; None: never in 730."""
    return break_even(usd_per_hour, owned_.idle_usd_a_month, own_usd=owned_.energy_usd, capacity=HOURS_A_MONTH)


def saved_share(dear_usd: Decimal, cheap_usd: Decimal) -> float:
    """Return what the cheaper of two prices saves, as a share of the dearer; negative where it is none."""
    return float(1 - cheap_usd / dear_usd)
