"""Which GPU to take: a rule by complexity, corrected by what a month of so many reviews costs on each. Pure.

The rule knows no prices. Each GPU of known throughput is costed at the volume asked about, rented by the hour, and the
cheapest is taken: several of one where one is too slow, eight where it is let only so. Then the APIs are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from reviewopt.hosting import cost, fit
from reviewopt.hosting.facts import Facts, Gpu, Precision
from reviewopt.hosting.figures import Bill, Choice, GpuFigures, Speed, Urgency, Verdict, Workload
from reviewopt.pricelist import GpuPrice

_SIMPLE: Final = 0.3
_HARD: Final = 0.7
# Where it is urgent, a GPU this much slower than the fastest is as good: which of two is ahead by less depends on the
# lengths of the requests (an H100 and an H200 change places between the two that were published).
_AS_FAST: Final = 0.9
_KINDS: Final[dict[Urgency, tuple[tuple[str, ...], ...]]] = {
    "low": (("on-demand", "market", "spot"),),
    "normal": (("on-demand", "market"),),
    "high": (("on-demand",), ("market",)),
}


def by_rule(complexity: float) -> str:
    """Name the kind of GPU for reviews of this mean complexity, 0 to 1: T4 below .3, A100 below .7, else H100."""
    return "T4" if complexity < _SIMPLE else "A100" if complexity < _HARD else "H100"


def offers(gpu: str, prices: Sequence[GpuPrice], urgency: Urgency) -> list[GpuPrice]:
    """Return the offers that the urgency allows.

    low: also those that may be taken away (spot); normal: those that stay; high: of a large cloud, where there are any.
    """
    for kinds in _KINDS[urgency]:
        if found := [one for one in prices if one.gpu == gpu and one.kind in kinds]:
            return found
    return []


def within(found: Sequence[GpuPrice], workload: Workload) -> list[GpuPrice]:
    """Return the offers that are not above the budget."""
    most = workload.usd_per_hour_max
    return [one for one in found if most is None or Decimal(one.usd_per_hour) <= Decimal(most)]


def figures(gpu: Gpu, workload: Workload, facts: Facts, prices: Sequence[GpuPrice]) -> GpuFigures:
    """Work out what one GPU costs for a workload, and whether it can be rented."""
    allowed = offers(gpu.name, prices, workload.urgency)
    can_have, found = within(allowed, workload), fit.best(gpu, workload, facts)
    precision, speed = (None, None) if found is None else found
    utilisation, n = workload.worked, workload.n_monthly
    hour, month, kwh = None, None, None
    if speed is not None:
        reviews = Decimal(str(speed.reviews_a_second))
        kwh = cost.kwh_a_thousand(gpu, facts.assumptions, reviews)
        hours = [cost.bill(cost.rented(one, "hour", reviews, utilisation), n) for one in can_have]
        months = [cost.bill(cost.rented(one, "month", reviews, utilisation), n) for one in can_have]
        hour, month = (min(bills, key=_usd, default=None) for bills in (hours, months))
    cheapest = min(can_have or allowed, key=lambda one: Decimal(one.usd_per_hour), default=None)
    bought, missing = _bought(gpu, workload, facts, speed)
    return GpuFigures(
        gpu=gpu.name,
        memory_gb=gpu.memory_gb,
        bandwidth_gb_s=gpu.bandwidth_gb_s,
        board_w=gpu.board_w,
        peak=gpu.peak,
        runs=gpu.runs,
        note=gpu.note,
        source=gpu.source,
        as_of=gpu.as_of,
        precision=precision,
        needed_gb=None if precision is None else float(fit.needed_gb(workload, precision, facts.assumptions)),
        speed=speed,
        most_reviews_a_second=None if precision is None else fit.most_reviews_a_second(gpu, precision, workload),
        price=cheapest if hour is None else hour.way.price,
        hour=hour,
        month=month,
        bought=bought,
        bought_missing=missing,
        kwh_a_thousand=None if kwh is None else float(kwh),
        gco2_a_thousand=_gco2(kwh, workload),
        excluded=_excluded(gpu, workload, facts, allowed, can_have, precision),
    )


def _gco2(kwh: Decimal | None, workload: Workload) -> float | None:
    grid = workload.gco2_per_kwh
    return None if kwh is None or grid is None else float(kwh * Decimal(str(grid)))


def _bought(gpu: Gpu, workload: Workload, facts: Facts, speed: Speed | None) -> tuple[Bill | None, str]:
    """Return a month of buying it, or what is missing to tell."""
    if speed is None:
        return None, "no throughput of it was published for a model of this size"
    if gpu.capex is None:
        return None, f"no source says what the {gpu.name} is bought for"
    if workload.usd_per_kwh is None:
        return None, f"no source says what electricity costs in {workload.country}: --electricity-usd gives yours"
    reviews, utilisation = Decimal(str(speed.reviews_a_second)), workload.worked
    way = cost.bought(gpu, facts.assumptions, reviews, utilisation, Decimal(workload.usd_per_kwh))
    return (None, "") if way is None else (cost.bill(way, workload.n_monthly, gpu), "")


def _excluded(
    gpu: Gpu,
    workload: Workload,
    facts: Facts,
    allowed: Sequence[GpuPrice],
    can_have: Sequence[GpuPrice],
    precision: Precision | None,
) -> str:
    if precision is None:
        least = fit.needed_gb(workload, "int4", facts.assumptions)
        usable = gpu.memory_gb * Decimal(facts.assumptions.usable_memory_share.value)
        return f"{workload.model_b:g}e9 parameters take {least:.0f} GB even in 4 bits, {usable:.0f} are usable"
    if not allowed:
        return "no price for it has a source"
    if not can_have:
        least = min(Decimal(one.usd_per_hour) for one in allowed)
        return f"${least} an hour is above ${workload.usd_per_hour_max}"
    return ""


def choose(gpus: Sequence[GpuFigures], workload: Workload, api: tuple[str, Decimal] | None) -> Choice:
    """Choose a GPU to rent by the hour, compare it with the cheapest API, and say why in words.

    Args:
        gpus: what each would cost.
        workload: what is to be hosted.
        api: the cheapest API and what it costs a month, USD; None: there is none to compare with.
    """
    kind = by_rule(workload.complexity)
    rule = f"mean complexity {workload.complexity:.2f}: the rule says {kind} (T4 below .3, A100 below .7, else H100)"
    known = [one for one in gpus if not one.excluded and one.hour is not None]
    own = [one for one in gpus if one.gpu.split()[0] == kind]
    if not known:
        if all(one.excluded for one in gpus):
            return _choice("api", kind, None, api, (rule, *_out(own), "no GPU can be rented"))
        why = "no throughput was published for a model of this size on any GPU that can be rented: measure one"
        return _choice("unknown", kind, None, api, (rule, *_out(own), why))
    best = _best(known, workload)
    reasons = [rule, *_corrections(own, best, workload)]
    if workload.urgency == "high":
        reasons.append(f"urgent: the cheapest of those that are within {100 * (1 - _AS_FAST):.0f} % of the fastest")
    verdict: Verdict = "host" if api is None or _usd(best.hour) < api[1] else "api"
    if api is not None and verdict == "api":
        reasons += list(_may_cost_less(gpus, workload, api[1]))
    return _choice(verdict, kind, best, api, tuple(reasons))


def _best(known: Sequence[GpuFigures], workload: Workload) -> GpuFigures:
    if workload.urgency == "high":
        fastest = max(_speed(one) for one in known)
        known = [one for one in known if _speed(one) >= _AS_FAST * fastest]
    return min(known, key=lambda one: (_usd(one.hour), -_speed(one)))


def _corrections(own: Sequence[GpuFigures], best: GpuFigures, workload: Workload) -> Iterator[str]:
    """Say why the rule's GPU gave way."""
    if best in own:
        return
    yield from _out(own)
    for one in own:
        if not one.excluded and one.hour is not None:
            yield f"{one.gpu} would cost {_told(_usd(one.hour))} a month, {best.gpu} {_told(_usd(best.hour))}"
        elif not one.excluded:
            least = _at_peak(one, workload)
            peak = "" if least is None else f" (at the peak of its chip it would cost {_told(least)} a month)"
            yield f"no throughput of the {one.gpu} was published{peak}; {best.gpu} costs {_told(_usd(best.hour))}"


def _may_cost_less(gpus: Sequence[GpuFigures], workload: Workload, api_usd: Decimal) -> Iterator[str]:
    """Name the GPUs of unknown throughput that cost less than the API if they came near the peak of their chip."""
    may = []
    for one in gpus:
        least = None if one.excluded or one.hour is not None else _at_peak(one, workload)
        if least is not None and least < api_usd:
            may.append(f"{one.gpu} ({_told(least)})")
    if may:
        yield f"at the peak of its chip it could be less, but no throughput was published: {', '.join(may)}"


def _at_peak(one: GpuFigures, workload: Workload) -> Decimal | None:
    if one.most_reviews_a_second is None or one.price is None:
        return None
    most, utilisation = Decimal(str(one.most_reviews_a_second)), workload.worked
    return _usd(cost.bill(cost.rented(one.price, "hour", most, utilisation), workload.n_monthly))


def _choice(
    verdict: Verdict, kind: str, best: GpuFigures | None, api: tuple[str, Decimal] | None, reasons: tuple[str, ...]
) -> Choice:
    bill = None if best is None else best.hour
    return Choice(
        verdict=verdict,
        by_rule=kind,
        gpu=None if best is None else best.gpu,
        is_corrected=best is None or best.gpu.split()[0] != kind,
        usd=None if bill is None else bill.usd,
        api=None if api is None else api[0],
        api_usd=None if api is None else f"{api[1]:f}",
        reasons=reasons,
    )


def _out(gpus: Sequence[GpuFigures]) -> list[str]:
    return [f"{one.gpu} is out: {one.excluded}" for one in gpus if one.excluded]


def _usd(bill: Bill | None) -> Decimal:
    return Decimal("Infinity") if bill is None else Decimal(bill.usd)


def _speed(one: GpuFigures) -> float:
    return 0.0 if one.speed is None else one.speed.reviews_a_second


def _told(usd: Decimal) -> str:
    return f"${usd:,.0f}" if usd >= 100 else f"${usd:.2f}"
