"""What a GPU costs, rented or bought: formulas over sourced figures. All money is `Decimal` USD. Pure.

One model for all ways: what is paid comes in steps. Rented by the hour a step is an hour, rented by the month 730 of
them, bought a month of hardware and site. A step manages so many reviews at the utilisation, and the utilisation is
nowhere else: neither rent nor hardware is divided by it a second time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from reviewopt.hosting.facts import Assumptions, Gpu
from reviewopt.hosting.figures import Bill, How, Way
from reviewopt.pricelist import GpuPrice

# As clouds count them: 8,760 hours a year over twelve.
HOURS_A_MONTH: Final = 730
_SECONDS_AN_HOUR: Final = 3_600
_CENTS: Final = Decimal("1e-6")
# A review's energy is a millionth of a dollar: more places, for they are multiplied by many reviews.
_PLACES: Final = Decimal("1e-15")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """What a bought GPU costs a month whatever it does, USD: hardware and its place. Energy is paid by the review."""

    hardware_usd: Decimal
    site_usd: Decimal


def rented(price: GpuPrice, how: How, reviews_a_second: Decimal, utilisation: Decimal) -> Way:
    """Return the steps of an offer: whole hours, or whole months, of as many GPUs as are let together."""
    hours = 1 if how == "hour" else HOURS_A_MONTH
    usd = Decimal(price.usd_per_hour) * price.n_gpus_least * hours
    return Way(
        how=how,
        gpu=price.gpu,
        price=price,
        n_gpus_a_step=price.n_gpus_least,
        step_reviews=hours * manages_an_hour(price.n_gpus_least, reviews_a_second, utilisation),
        step_usd=f"{usd.quantize(_CENTS):f}",
        hardware_usd=None,
        site_usd=None,
        own_usd_a_review="0",
    )


def bought(
    gpu: Gpu, assumptions: Assumptions, reviews_a_second: Decimal, utilisation: Decimal, usd_per_kwh: Decimal
) -> Way | None:
    """Return the steps of buying: a month of as many GPUs as are sold together; None where its price has no source."""
    if gpu.capex is None:
        return None
    n_gpus = gpu.capex.n_gpus_least
    month = owned(gpu.capex.mean_usd, gpu, assumptions)
    hardware, site = ((n_gpus * usd).quantize(_CENTS) for usd in (month.hardware_usd, month.site_usd))
    energy = kwh_a_thousand(gpu, assumptions, reviews_a_second) / 1000 * usd_per_kwh
    return Way(
        how="bought",
        gpu=gpu.name,
        price=None,
        n_gpus_a_step=n_gpus,
        step_reviews=HOURS_A_MONTH * manages_an_hour(n_gpus, reviews_a_second, utilisation),
        step_usd=f"{hardware + site:f}",
        hardware_usd=f"{hardware:f}",
        site_usd=f"{site:f}",
        own_usd_a_review=f"{energy.quantize(_PLACES):f}",
    )


def owned(capex_usd: Decimal, gpu: Gpu, assumptions: Assumptions) -> Owned:
    """Work out what a bought GPU costs a month.

    capex x (1 - residual) x overhead / (years x 12), and kW x USD a kW and month for its place in somebody's rooms.
    """
    overhead, residual, years, site = (
        Decimal(one.value)
        for one in (
            assumptions.server_overhead,
            assumptions.residual_share,
            assumptions.years,
            assumptions.site_usd_per_kw_month,
        )
    )
    return Owned(
        hardware_usd=capex_usd * (1 - residual) * overhead / years / 12, site_usd=_kilowatts(gpu, assumptions) * site
    )


def bill(way: Way, n_reviews: int, gpu: Gpu | None = None) -> Bill:
    """Return what so many reviews a month cost. `gpu` gives what is bought its range of prices.

    The parts are rounded once each, to 1e-6 USD, and their sum is the whole.
    """
    n_steps = -(-n_reviews // way.step_reviews)
    hours = n_steps if way.how == "hour" else n_steps * HOURS_A_MONTH
    fixed = n_steps * Decimal(way.step_usd)
    energy = (n_reviews * Decimal(way.own_usd_a_review)).quantize(_CENTS)
    low, high = fixed + energy, fixed + energy
    if gpu is not None and gpu.capex is not None and way.hardware_usd is not None:
        hardware = n_steps * Decimal(way.hardware_usd)
        low, high = (
            (low + hardware * (Decimal(end) / gpu.capex.mean_usd - 1)).quantize(_CENTS)
            for end in (gpu.capex.low_usd, gpu.capex.high_usd)
        )
    is_bought = way.how == "bought"
    return Bill(
        way=way,
        n_steps=n_steps,
        n_gpus=-(-hours // HOURS_A_MONTH) * way.n_gpus_a_step,
        usd=f"{fixed + energy:f}",
        low_usd=f"{low:f}",
        high_usd=f"{high:f}",
        hardware_usd=None if way.hardware_usd is None else f"{n_steps * Decimal(way.hardware_usd):f}",
        energy_usd=f"{energy:f}" if is_bought else None,
        site_usd=None if way.site_usd is None else f"{n_steps * Decimal(way.site_usd):f}",
    )


def pays_from(way: Way, api_usd_a_thousand: Decimal) -> int | None:
    """Return the smallest number of reviews a month from which a way costs less than an API, at that and any larger.

    Exact. With k steps paid already the next pays from more than (k + 1) steps / saved a review on; that lies within
    the step, and so within every later one, from the first k on for which the step before covers what is left of one.

    Returns:
        None where it costs as much or more at any number.
    """
    saved = Fraction(api_usd_a_thousand) / 1000 - Fraction(way.own_usd_a_review)
    step = Fraction(way.step_usd)
    surplus = way.step_reviews * saved - step
    if surplus <= 0:
        return None
    # The k-th step's first review, k x step_reviews + 1, has to pay for k + 1 steps.
    k = max(0, math.floor((step - saved) / surplus) + 1)
    return max(1, math.floor(k * step / saved) + 1)


def used_hours_to_own(own: Owned, kwh_usd_an_hour: Decimal, usd_per_hour: Decimal) -> int | None:
    """Return the hours a month from which buying costs less than renting by the hour; None: never in 730.

    `kwh_usd_an_hour` is the energy of a paid hour.
    """
    saved = Fraction(usd_per_hour) - Fraction(kwh_usd_an_hour)
    if saved <= 0:
        return None
    hours = math.floor(Fraction(own.hardware_usd + own.site_usd) / saved) + 1
    return hours if hours <= HOURS_A_MONTH else None


def kwh_a_thousand(gpu: Gpu, assumptions: Assumptions, reviews_a_second: Decimal) -> Decimal:
    """Return the energy of 1,000 reviews, kWh: of the GPU, its share of the server, and the site's losses (PUE)."""
    return kwh_an_hour(gpu, assumptions) / _SECONDS_AN_HOUR / reviews_a_second * 1000


def kwh_an_hour(gpu: Gpu, assumptions: Assumptions) -> Decimal:
    """Return what an hour of work takes: kW x load x PUE."""
    return _kilowatts(gpu, assumptions) * Decimal(assumptions.load.value) * Decimal(assumptions.pue.value)


def _kilowatts(gpu: Gpu, assumptions: Assumptions) -> Decimal:
    """Return what a GPU and its share of the server take at most."""
    return Decimal(gpu.board_w) / 1000 * Decimal(assumptions.server_power.value)


def manages_an_hour(n_gpus: int, reviews_a_second: Decimal, utilisation: Decimal) -> int:
    """Return the whole reviews that so many GPUs get through in an hour at the utilisation; one at least."""
    return max(1, int(n_gpus * _SECONDS_AN_HOUR * reviews_a_second * utilisation))


def saved_share(dear_usd: Decimal, cheap_usd: Decimal) -> float:
    """Return what the cheaper of two prices saves, as a share of the dearer; negative where it is none."""
    return float(1 - cheap_usd / dear_usd)
