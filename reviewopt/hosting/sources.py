"""Where each figure is from, in the order in which they are shown, with what of it could not be checked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from reviewopt.hosting.facts import Facts
from reviewopt.hosting.figures import GpuFigures, Hosting, Source, SourceLine
from reviewopt.pricelist import MOST_AGE_DAYS, GpuPrice, age_days


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Of what a page says something, and of which GPU, country or offer; with what of it could not be checked."""

    about: Source
    url: str | None
    as_of: date | None
    unverified: tuple[str, ...] = ()


def found(kind: str, of: str, url: str | None, as_of: date | None, unverified: Iterable[str] = ()) -> Found:
    """Say that a page tells a figure; empty doubts are none."""
    return Found(about=Source(kind=kind, of=of), url=url, as_of=as_of, unverified=tuple(filter(None, unverified)))


def of_hosting(hosting: Hosting, facts: Facts) -> Iterator[Found]:
    """Name the source of every figure about hosting."""
    for one in hosting.gpus:
        yield from _of_gpu(one)
    for gpu in facts.gpus:
        yield found("chip", gpu.name, gpu.source, gpu.as_of, gpu.unverified)
    for support in facts.support:
        yield found("precisions", support.note, support.source, support.as_of, support.unverified)
    yield from _of_running(hosting, facts)


def _of_gpu(one: GpuFigures) -> Iterator[Found]:
    """Name the sources of the price and the throughput that are shown of a GPU."""
    for price in dict.fromkeys(bill.way.price for bill in (one.hour, one.month) if bill is not None):
        if price is not None:
            yield _of_price(price)
    if one.hour is None and one.price is not None:
        yield _of_price(one.price)
    if one.speed is not None:
        yield found("throughput", one.gpu, one.speed.source, one.speed.as_of, one.speed.unverified)


def _of_price(price: GpuPrice) -> Found:
    doubts = ("moves by the hour" if price.kind == "spot" else "", "somebody's word" if price.unverified else "")
    return found("hour", f"{price.gpu} ({price.offer})", price.source, price.as_of, doubts)


def _of_running(hosting: Hosting, facts: Facts) -> Iterator[Found]:
    """Name the sources of what it takes to run a GPU of one's own."""
    work, known = hosting.workload, facts.assumptions
    for one in hosting.break_even:
        for pays in (one.hour, one.month):
            if pays.way is not None and pays.way.price is not None:
                yield _of_price(pays.way.price)
    for gpu in facts.gpus:
        if gpu.capex is not None and any(one.gpu == gpu.name and one.bought is not None for one in hosting.gpus):
            yield found("purchase", gpu.name, gpu.capex.source, gpu.capex.as_of, gpu.capex.unverified)
    electricity = facts.electricity.get(work.country)
    if electricity is not None and work.usd_per_kwh == electricity.usd_per_kwh:
        of = f"{work.country}, {electricity.year}"
        yield found("USD a kWh", of, electricity.source, electricity.as_of)
    for name in ("server_power", "site_usd_per_kw_month", "pue"):
        one = getattr(known, name)
        yield found("assumption", name, one.source, one.as_of)
    if work.country in facts.grids.gco2_per_kwh:
        doubts = ("somebody's word",) if work.country in facts.grids.unverified else ()
        of = f"{work.country}, {facts.grids.year}"
        yield found("gCO2 a kWh", of, facts.grids.source, facts.grids.as_of, doubts)
    if hosting.spot is not None:
        yield _of_price(hosting.spot.spot)


def _doubts(said: Iterable[Found], n_about: int) -> Iterator[str]:
    """Say each doubt once, and of what it is where that is not all that the page is named for."""
    whose: dict[str, dict[str, None]] = {}
    for one in said:
        for doubt in one.unverified:
            whose.setdefault(doubt, {})[one.about.of] = None
    for doubt, of in whose.items():
        yield doubt if len(of) == n_about else f"{' and '.join(of)}: {doubt}"


def tagged(named: Iterable[Found], today: date) -> Iterator[SourceLine]:
    """Give each source a tag, 1 and up: what one page says on one day is listed together."""
    pages: dict[tuple[str, date | None], list[Found]] = {}
    for one in named:
        pages.setdefault((one.url or one.about.of, one.as_of), []).append(one)
    for at, said in enumerate(pages.values(), 1):
        as_of, about = said[0].as_of, tuple(dict.fromkeys(one.about for one in said))
        doubts = list(_doubts(said, len(about)))
        if as_of is not None and (age := age_days(as_of, today)) > MOST_AGE_DAYS:
            doubts.append(f"{age} days old")
        yield SourceLine(
            tag=f"{at}",
            about=about,
            url=said[0].url,
            as_of=as_of,
            unverified="; ".join(doubts),
        )
