"""Puts it together: the GPUs for a workload, the one to take, from how many reviews it pays, a month of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from reviewopt.hosting import choice, cost, fit
from reviewopt.hosting.cost import HOURS_A_MONTH, Owned
from reviewopt.hosting.facts import Facts, Gpu
from reviewopt.hosting.figures import Api, BreakEven, GpuFigures, Hosting, Pays, Spot, Tco, Workload
from reviewopt.pricelist import GpuPrice


def weigh(workload: Workload, apis: Sequence[Api], facts: Facts, prices: Sequence[GpuPrice]) -> Hosting:
    """Weigh hosting a model against asking these APIs.

    Args:
        workload: what is to be hosted.
        apis: what it would stand in for.
        facts: of GPUs.
        prices: of GPUs an hour.
    """
    gpus = tuple(choice.figures(gpu, workload, facts, prices) for gpu in facts.gpus)
    made = choice.choose(gpus, workload, fit.best_share(facts))
    pays = tuple(_break_even(one, gpus, workload, facts) for one in apis)
    taken = next((one for one in gpus if one.gpu == made.gpu), None)
    if taken is None or taken.price is None:
        return Hosting(workload=workload, gpus=gpus, choice=made, break_even=pays, tco=None, spot=None)
    return Hosting(
        workload=workload,
        gpus=gpus,
        choice=made,
        break_even=pays,
        tco=_tco(facts.gpu(taken.gpu), taken, taken.price, workload, facts),
        spot=_spot(taken.gpu, prices),
    )


def _owned(gpu: Gpu, workload: Workload, facts: Facts, capex_usd: Decimal | None = None) -> Owned | None:
    """Work out what owning costs; None where its price or the electricity's has no source."""
    if gpu.capex is None or workload.usd_per_kwh is None:
        return None
    return cost.owned(
        gpu.capex.mean_usd if capex_usd is None else capex_usd,
        gpu,
        facts.assumptions,
        usd_per_kwh=Decimal(workload.usd_per_kwh),
        utilisation=Decimal(str(workload.utilisation)),
    )


def _break_even(api: Api, gpus: Sequence[GpuFigures], workload: Workload, facts: Facts) -> BreakEven:
    """Find what pays first: among GPUs of known speed, or among all that can be taken where none is known."""
    able = [one for one in gpus if not one.excluded and one.speed is not None]
    able = [one for one in able if not one.is_at_least] or able
    rented = [_rented(api, one) for one in able]
    bought = [_bought(api, one, _owned(facts.gpu(one.gpu), workload, facts)) for one in able]
    first = [min(filter(None, each), key=lambda one: one.from_reviews, default=None) for each in (rented, bought)]
    return BreakEven(
        api=api.name,
        api_usd_a_thousand=f"{Decimal(api.usd_a_review) * 1000:.9f}",
        rented=first[0],
        bought=first[1],
        pays_at_n_monthly=any(
            one is not None and one.from_reviews <= workload.n_monthly <= one.capacity_a_month for one in first
        ),
    )


def _rented(api: Api, one: GpuFigures) -> Pays | None:
    if one.price is None:
        return None
    month = Decimal(one.price.usd_per_hour) * HOURS_A_MONTH
    return _pays(one, one.price.offer, month, Decimal(api.usd_a_review), Decimal(0))


def _bought(api: Api, one: GpuFigures, owned: Owned | None) -> Pays | None:
    if owned is None or one.speed is None:
        return None
    energy = owned.energy_usd / 3600 / Decimal(str(one.speed.reviews_a_second))
    return _pays(one, "bought", owned.idle_usd_a_month, Decimal(api.usd_a_review), energy)


def _pays(one: GpuFigures, offer: str, usd_a_month: Decimal, api_usd: Decimal, own_usd: Decimal) -> Pays | None:
    if one.capacity_a_month is None:
        return None
    n = cost.break_even(api_usd, usd_a_month, own_usd=own_usd, capacity=one.capacity_a_month)
    if n is None:
        return None
    return Pays(
        gpu=one.gpu,
        offer=offer,
        usd_a_month=f"{usd_a_month:.2f}",
        from_reviews=n,
        capacity_a_month=one.capacity_a_month,
        is_at_most=one.is_at_least,
    )


def _tco(gpu: Gpu, taken: GpuFigures, price: GpuPrice, workload: Workload, facts: Facts) -> Tco:
    """Work out a month of the GPU at the utilisation, rented and bought."""
    hours = HOURS_A_MONTH * Decimal(str(workload.utilisation))
    ends, owned = None, _owned(gpu, workload, facts)
    if owned is not None and gpu.capex is not None:
        ends = [_owned(gpu, workload, facts, Decimal(usd)) for usd in (gpu.capex.low_usd, gpu.capex.high_usd)]
    low, high = (None, None) if ends is None else (_month(one, hours) for one in ends)
    a_thousand = None
    if owned is not None and taken.speed is not None and not taken.is_at_least:
        a_thousand = cost.owned_usd_a_thousand(owned, Decimal(str(taken.speed.reviews_a_second)))
    missing = "" if gpu.capex is not None else f"no source says what the {gpu.name} is bought for"
    if workload.usd_per_kwh is None:
        missing = f"no source says what electricity costs in {workload.country}: --electricity-usd gives yours"

    def part(usd: Decimal | None) -> str | None:
        return None if usd is None else f"{usd * hours:.6f}"

    return Tco(
        gpu=gpu.name,
        useful_hours=float(hours),
        rented_usd=f"{Decimal(price.usd_per_hour) * HOURS_A_MONTH:.6f}",
        capex=gpu.capex,
        bought_usd=_month(owned, hours),
        bought_low_usd=low,
        bought_high_usd=high,
        hardware_usd=part(None if owned is None else owned.hardware_usd),
        energy_usd=part(None if owned is None else owned.energy_usd),
        operations_usd=part(None if owned is None else owned.operations_usd),
        usd_a_useful_hour=None if owned is None else f"{owned.usd_a_useful_hour:f}",
        bought_usd_a_thousand=None if a_thousand is None else f"{a_thousand:.9f}",
        bought_from_hours=None if owned is None else cost.used_hours_to_own(owned, Decimal(price.usd_per_hour)),
        missing=missing,
    )


def _month(owned: Owned | None, useful_hours: Decimal) -> str | None:
    """Return a month of a bought GPU: the sum of its parts, each to six places."""
    if owned is None:
        return None
    parts = (owned.hardware_usd, owned.energy_usd, owned.operations_usd)
    return f"{sum((Decimal(f'{part * useful_hours:.6f}') for part in parts), Decimal(0)):f}"


def _spot(gpu: str, prices: Sequence[GpuPrice]) -> Spot | None:
    """Compare the cheapest spot price with the cheapest on demand; None where one of them has no source."""
    found = {
        kind: min(
            (one for one in prices if one.gpu == gpu and one.kind == kind),
            key=lambda one: Decimal(one.usd_per_hour),
            default=None,
        )
        for kind in ("on-demand", "spot")
    }
    on_demand, spot = found["on-demand"], found["spot"]
    if on_demand is None or spot is None:
        return None
    saved = cost.saved_share(Decimal(on_demand.usd_per_hour), Decimal(spot.usd_per_hour))
    return Spot(gpu=gpu, on_demand=on_demand, spot=spot, saved_share=saved)
