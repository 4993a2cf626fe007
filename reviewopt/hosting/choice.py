"""Which GPU to take: a rule by complexity, corrected by what a review costs, by memory, urgency and budget. Pure.

The rule knows no prices. It gives way where the GPU that it names cannot be had, and to the cheapest of those whose
throughput was published: where that costs less than the rule's, or where the rule's has no published throughput and
would have to come closer to the peak of its chip than any GPU is known to.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from reviewopt.hosting import cost, fit
from reviewopt.hosting.facts import Facts, Gpu
from reviewopt.hosting.figures import Choice, GpuFigures, Urgency, Workload
from reviewopt.pricelist import GpuPrice

_SIMPLE: Final = 0.3
_HARD: Final = 0.7
_MEASURE: Final = "no throughput of it was published, so measure it first"
_KINDS: Final[dict[Urgency, tuple[tuple[str, ...], ...]]] = {
    "low": (("on-demand", "market", "spot"),),
    "normal": (("on-demand", "market"),),
    "high": (("on-demand",), ("market",)),
}


def by_rule(complexity: float) -> str:
    """Name the kind of GPU for reviews of this mean complexity, 0 to 1: T4 below .3, A100 below .7, else H100."""
    return "T4" if complexity < _SIMPLE else "A100" if complexity < _HARD else "H100"


def price_of(gpu: str, prices: Sequence[GpuPrice], urgency: Urgency) -> GpuPrice | None:
    """Return the cheapest price that the urgency allows; None where no price is known.

    low: also one where the GPU may be taken away (spot); normal: one that stays; high: a large cloud's on demand, where
    it is offered.
    """
    for kinds in _KINDS[urgency]:
        found = [one for one in prices if one.gpu == gpu and one.kind in kinds]
        if found:
            return min(found, key=lambda one: Decimal(one.usd_per_hour))
    return None


def figures(gpu: Gpu, workload: Workload, facts: Facts, prices: Sequence[GpuPrice]) -> GpuFigures:
    """Work out what one GPU costs for a workload, and whether it can be taken."""
    price, found = price_of(gpu.name, prices, workload.urgency), fit.best(gpu, workload, facts)
    precision, speed = found if found is not None else (None, None)
    reviews, usd, kwh, gco2 = None, None, None, None
    utilisation = Decimal(str(workload.utilisation))
    if speed is not None:
        reviews = Decimal(str(speed.reviews_a_second))
        kwh = cost.kwh_a_thousand(gpu, facts.assumptions, reviews)
        grid = workload.gco2_per_kwh
        gco2 = None if grid is None else float(kwh * Decimal(str(grid)))
    if price is not None and reviews is not None:
        usd = cost.rented_usd_a_thousand(Decimal(price.usd_per_hour), reviews, utilisation)
    return GpuFigures(
        gpu=gpu.name,
        memory_gb=gpu.memory_gb,
        bandwidth_gb_s=gpu.bandwidth_gb_s,
        board_w=gpu.board_w,
        peak=gpu.peak,
        runs=gpu.runs,
        source=gpu.source,
        as_of=gpu.as_of,
        precision=precision,
        needed_gb=None if precision is None else float(fit.needed_gb(workload, precision, facts.assumptions)),
        price=price,
        speed=speed,
        usd_a_thousand=None if usd is None else f"{usd:.9f}",
        is_at_least=speed is not None and speed.basis == "bound",
        capacity_a_month=None if reviews is None else cost.capacity_a_month(reviews, utilisation),
        kwh_a_thousand=None if kwh is None else float(kwh),
        gco2_a_thousand=gco2,
        excluded=_excluded(gpu, workload, facts, price, fits=found is not None),
    )


def _excluded(gpu: Gpu, workload: Workload, facts: Facts, price: GpuPrice | None, *, fits: bool) -> str:
    if not fits:
        least = fit.needed_gb(workload, "int4", facts.assumptions)
        usable = gpu.memory_gb * Decimal(facts.assumptions.usable_memory_share.value)
        return f"{workload.model_b:g}e9 parameters take {least:.0f} GB even in 4 bits, {usable:.0f} are usable"
    if price is None:
        return "no price for it has a source"
    most = workload.usd_per_hour_max
    if most is not None and Decimal(price.usd_per_hour) > Decimal(most):
        return f"${price.usd_per_hour} an hour is above ${most}"
    return ""


def choose(gpus: Sequence[GpuFigures], workload: Workload, best_share: float) -> Choice:
    """Choose a GPU, and say why in words.

    Args:
        gpus: what each would cost.
        workload: what is to be hosted.
        best_share: the most of its peak that any GPU is known to reach, 0 to 1.
    """
    kind = by_rule(workload.complexity)
    rule = f"mean complexity {workload.complexity:.2f}: the rule says {kind} (T4 below .3, A100 below .7, else H100)"
    able, named = [one for one in gpus if not one.excluded], [one for one in gpus if one.gpu.split()[0] == kind]
    if not able:
        return Choice(by_rule=kind, gpu=None, is_corrected=True, reasons=(rule, *_whys(gpus)))
    known = [one for one in able if one.usd_a_thousand is not None and not one.is_at_least]
    own = [one for one in able if one in named]
    if workload.urgency == "high" and known:
        fastest = max(known, key=lambda one: one.speed.reviews_a_second if one.speed else 0.0)
        why = f"urgent: {fastest.gpu} is the fastest of those whose throughput is known ({_speed(fastest)})"
        return _made(kind, fastest, rule, why)
    if not own:
        taken = min(known or able, key=_usd)
        return _made(kind, taken, rule, *_whys(named), f"{taken.gpu} is the cheapest of the others ({_cost(taken)})")
    first = min([one for one in own if one in known] or own, key=_usd)
    if not known:
        least = min(able, key=_usd)
        other = "" if least is first else f"; at the same share of its peak {least.gpu} would cost {_cost(least)}"
        return _made(kind, first, rule, f"{first.gpu} would cost {_cost(first)}{other}: {_MEASURE}")
    return _corrected(kind, rule, first, min(known, key=_usd), best_share)


def _corrected(kind: str, rule: str, first: GpuFigures, cheapest: GpuFigures, best_share: float) -> Choice:
    """Take the cheapest of known cost in the place of the rule's, unless that is it, or may be cheaper still."""
    if first is cheapest:
        return _made(kind, first, rule, f"{first.gpu} is the cheapest of those whose cost is known ({_cost(first)})")
    why = f"{first.gpu} would cost {_cost(first)}, {cheapest.gpu} {_cost(cheapest)}"
    if not first.is_at_least:
        return _made(kind, cheapest, rule, why)
    share = float(_usd(first) / _usd(cheapest))
    if share > 1:
        return _made(kind, cheapest, rule, f"{why}, and that bound is the peak of its chip")
    even = f"it is cheaper only above {100 * share:.0f} % of its peak"
    if share > best_share:
        return _made(
            kind, cheapest, rule, f"{why}: {even}, and the best published of any reaches {100 * best_share:.0f} %"
        )
    return _made(
        kind, first, rule, f"{why}: {even}, which {100 * best_share:.0f} % published of another allow; {_MEASURE}"
    )


def _made(kind: str, taken: GpuFigures, *reasons: str) -> Choice:
    return Choice(by_rule=kind, gpu=taken.gpu, is_corrected=taken.gpu.split()[0] != kind, reasons=reasons)


def _whys(gpus: Sequence[GpuFigures]) -> list[str]:
    return [f"{one.gpu} is out: {one.excluded}" for one in gpus if one.excluded]


def _usd(one: GpuFigures) -> Decimal:
    return Decimal("Infinity") if one.usd_a_thousand is None else Decimal(one.usd_a_thousand)


def _cost(one: GpuFigures) -> str:
    if one.usd_a_thousand is None:
        return "an unknown amount"
    return f"{'at least' if one.is_at_least else 'about'} ${Decimal(one.usd_a_thousand):.3g} a 1,000"


def _speed(one: GpuFigures) -> str:
    return "unknown" if one.speed is None else f"{one.speed.reviews_a_second:,.0f} reviews/s"
