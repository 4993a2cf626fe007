"""Puts it together: the GPUs for a workload, the one to take, and from how many reviews each way of having one pays.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from reviewopt.hosting import choice, cost
from reviewopt.hosting.facts import Facts
from reviewopt.hosting.figures import Api, BreakEven, GpuFigures, Hosting, How, Pays, Spot, Way, Workload
from reviewopt.pricelist import GpuPrice

HOWS: Final[tuple[How, ...]] = ("hour", "month", "bought")
_CENTS: Final = Decimal("1e-6")


def weigh(workload: Workload, apis: Sequence[Api], facts: Facts, prices: Sequence[GpuPrice]) -> Hosting:
    """Weigh hosting a model against asking these APIs.

    Args:
        workload: what is to be hosted.
        apis: what it would stand in for.
        facts: of GPUs.
        prices: of GPUs an hour.
    """
    gpus = tuple(choice.figures(gpu, workload, facts, prices) for gpu in facts.gpus)
    costs = [(one.name, _api_usd(one, workload.n_monthly)) for one in apis]
    made = choice.choose(gpus, workload, min(costs, key=lambda one: one[1], default=None))
    taken = next((one for one in gpus if one.gpu == made.gpu), None)
    capex = None if taken is None or taken.bought is None else facts.gpu(taken.gpu).capex
    return Hosting(
        workload=workload,
        gpus=gpus,
        choice=made,
        break_even=tuple(_break_even(one, gpus, workload, facts, prices) for one in apis),
        capex=capex,
        bought_from_hours=None if taken is None else _bought_from_hours(taken, workload, facts),
        spot=None if taken is None or taken.price is None else _spot(taken.price, prices),
    )


def _api_usd(api: Api, n_reviews: int) -> Decimal:
    return (n_reviews * Decimal(api.usd_a_thousand) / 1000).quantize(_CENTS)


def _break_even(
    api: Api, gpus: Sequence[GpuFigures], workload: Workload, facts: Facts, prices: Sequence[GpuPrice]
) -> BreakEven:
    usd = _api_usd(api, workload.n_monthly)
    hour, month, bought = (_pays(api, how, gpus, workload, facts, prices) for how in HOWS)
    cheaper = [
        how
        for how in HOWS
        if any(bill is not None and Decimal(bill.usd) < usd for bill in (getattr(one, how) for one in gpus))
    ]
    return BreakEven(
        api=api.name,
        api_usd_a_thousand=api.usd_a_thousand,
        usd=f"{usd:f}",
        hour=hour,
        month=month,
        bought=bought,
        pays=tuple(cheaper),
    )


def _pays(
    api: Api, how: How, gpus: Sequence[GpuFigures], workload: Workload, facts: Facts, prices: Sequence[GpuPrice]
) -> Pays:
    """Find the way that pays first; where none of those known does, say whether one that is not known could."""
    usd = Decimal(api.usd_a_thousand)
    found = [(n, way) for one in gpus for way in _ways(one, how, workload, prices) if (n := cost.pays_from(way, usd))]
    if found:
        n, way = min(found, key=lambda one: one[0])
        return Pays(state="pays", from_reviews=n, way=way, why="")
    whys = dict.fromkeys(_unknown(how, gpus, workload, facts, prices, usd))
    return Pays(state="unknown" if whys else "never", from_reviews=None, way=None, why="; ".join(whys))


def _ways(one: GpuFigures, how: How, workload: Workload, prices: Sequence[GpuPrice]) -> Iterator[Way]:
    """Go through the offers of a GPU of known speed, or what it is bought for."""
    if how == "bought":
        if one.bought is not None:
            yield one.bought.way
    elif one.speed is not None:
        speed, utilisation = Decimal(str(one.speed.reviews_a_second)), workload.worked
        for price in choice.within(choice.offers(one.gpu, prices, workload.urgency), workload):
            yield cost.rented(price, how, speed, utilisation)


def _unknown(
    how: How,
    gpus: Sequence[GpuFigures],
    workload: Workload,
    facts: Facts,
    prices: Sequence[GpuPrice],
    usd_a_thousand: Decimal,
) -> Iterator[str]:
    """Say what would have to be known of those that could pay, at the peak of their chip or if they cost nothing."""
    if how != "bought" and all(one.excluded for one in gpus):
        yield "no GPU can be rented"
    unmeasured: list[str] = []
    for one in gpus:
        if one.precision is None or one.most_reviews_a_second is None:
            continue
        most = Decimal(str(one.most_reviews_a_second if one.speed is None else one.speed.reviews_a_second))
        if how == "bought":
            kwh = cost.kwh_a_thousand(facts.gpu(one.gpu), facts.assumptions, most)
            if one.bought is None and kwh * Decimal(workload.usd_per_kwh or 0) < usd_a_thousand:
                if one.speed is None:
                    unmeasured.append(one.gpu)
                else:
                    yield one.bought_missing
        elif one.speed is None:
            utilisation = workload.worked
            could = choice.within(choice.offers(one.gpu, prices, workload.urgency), workload)
            if any(cost.pays_from(cost.rented(price, how, most, utilisation), usd_a_thousand) for price in could):
                unmeasured.append(one.gpu)
    if unmeasured:
        yield f"no throughput was published of {', '.join(unmeasured)}"


def _bought_from_hours(taken: GpuFigures, workload: Workload, facts: Facts) -> int | None:
    gpu = facts.gpu(taken.gpu)
    if gpu.capex is None or taken.price is None or workload.usd_per_kwh is None:
        return None
    energy = cost.kwh_an_hour(gpu, facts.assumptions) * Decimal(workload.usd_per_kwh)
    return cost.used_hours_to_own(
        cost.owned(gpu.capex.mean_usd, gpu, facts.assumptions),
        energy * workload.worked,
        Decimal(taken.price.usd_per_hour),
    )


def _spot(taken: GpuPrice, prices: Sequence[GpuPrice]) -> Spot | None:
    """Compare the cheapest spot price with the one that is reckoned with; None where it is one, or has no source."""
    found = [one for one in prices if one.gpu == taken.gpu and one.kind == "spot"]
    if taken.kind == "spot" or not found:
        return None
    spot = min(found, key=lambda one: Decimal(one.usd_per_hour))
    saved = cost.saved_share(Decimal(taken.usd_per_hour), Decimal(spot.usd_per_hour))
    return Spot(gpu=taken.gpu, taken=taken, spot=spot, saved_share=saved)
