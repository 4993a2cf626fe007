"""The list of prices for a terminal. Nothing is cut: what is too long for its column goes on in the next line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Final, TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reviewopt import pricelist
from reviewopt.pricelist import Age, GpuPrice, ListedModel, Listing, ServicePrice
from reviewopt.render.parts import plain, table

_Ages: TypeAlias = dict[tuple[str, str], Age]

_DOUBT: Final = "?"
_STALE: Final = "yellow"
_HEAD_CHARS: Final = 13
_NOTES: Final[dict[str, Callable[[ServicePrice], str]]] = {
    "free": lambda one: one.free_note,
    "limits": lambda one: one.limits_note,
    "not verified": lambda one: "; ".join(one.unverified),
    "lifecycle": lambda one: one.legacy,
}


def show_prices(console: Console, listed: Listing) -> None:
    """Print services, GPUs and models with their ages and sources, the warnings last."""
    ages: _Ages = {(age.kind, age.name): age for age in listed.ages}
    for _, group in groupby(listed.prices.services, key=lambda one: one.provider):
        services = list(group)
        console.print(_services(services, ages))
        console.print(_notes(services))
        _sources(console, [one.source for one in services], "source")
    console.print(_gpus(listed.prices.gpus, ages))
    _sources(console, [one.source for one in listed.prices.gpus])
    console.print(_models(listed.prices.models, ages))
    _sources(console, [one.source for one in listed.prices.models.values()])
    console.print()
    for line in _last_lines(listed):
        console.print(line, highlight=False, soft_wrap=True)


def _services(services: Sequence[ServicePrice], ages: _Ages) -> Table:
    made = table(services[0].provider, "unit", "least", "USD per 1,000 units of a month", "age")
    made.columns[3].justify = "left"
    made.columns[3].no_wrap = False
    for one in services:
        measure = "s" if one.measured_in == "seconds" else "char"
        made.add_row(
            plain(one.sku),
            f"{one.unit:,} {measure}",
            f"{one.minimum_units:,}",
            plain(_tiers(one)),
            _age(ages["service", one.key]),
        )
    return made


def _tiers(service: ServicePrice) -> str:
    """Write the tiers by the units of a month: `0.10 to 10M, 0.05`."""
    parts = [
        _amount(1000 * Decimal(tier.usd)) + (f" to {_short(tier.up_to_units)}" if tier.up_to_units else "")
        for tier in service.tiers
    ]
    return ", ".join(parts)


def _amount(usd: Decimal) -> str:
    """Return an amount to the cent, or with as many places as it has."""
    places = -int(usd.normalize().as_tuple().exponent)
    return f"{usd:.{max(places, 2)}f}"


def _short(n_units: int) -> str:
    for size, letter in ((10**6, "M"), (10**3, "k")):
        if n_units >= size:
            return f"{Decimal(n_units) / size:f}{letter}"
    return f"{n_units}"


def _notes(services: Sequence[ServicePrice]) -> Table:
    """Return what the table has no room for, each thing once with the services that it is true of."""
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True, min_width=_HEAD_CHARS - 1)
    made.add_column(overflow="fold")
    for head, told in _NOTES.items():
        by_note: dict[str, list[str]] = {}
        for one in services:
            if note := told(one):
                by_note.setdefault(note, []).append(one.sku)
        for note, skus in by_note.items():
            whose = "" if len(skus) == len(services) else f" ({', '.join(skus)})"
            made.add_row(plain(head), plain(note + whose))
    return made


def _gpus(gpus: Sequence[GpuPrice], ages: _Ages) -> Table:
    numbers = _numbered([one.source for one in gpus])
    made = table("GPU", "offer", "USD an hour", "age", "source")
    made.columns[1].justify = "left"
    made.columns[1].no_wrap = False
    before = ""
    for one in gpus:
        is_range = one.low_usd is not None and one.low_usd != one.high_usd
        usd = f"{one.low_usd}-{one.high_usd}" if is_range else one.usd_per_hour
        made.add_row(
            plain("" if one.gpu == before else one.gpu),
            plain(one.offer),
            _doubted(usd, one.unverified),
            _age(ages["gpu", f"{one.gpu}, {one.offer}"]),
            f"{numbers[one.source]}",
        )
        before = one.gpu
    return made


def _models(models: dict[str, ListedModel], ages: _Ages) -> Table:
    numbers = _numbered([one.source for one in models.values()])
    made = table("model (USD a million tokens)", "input", "cached", "output", "age", "source")
    for name, one in models.items():
        made.add_row(
            plain(name),
            _doubted(one.input_usd, one.unverified),
            one.cached_usd or "-",
            one.output_usd,
            _age(ages["model", name]),
            f"{numbers[one.source]}",
        )
    return made


def _doubted(usd: str, is_unverified: bool) -> Text:
    return plain(f"{usd} {_DOUBT if is_unverified else ' '}")


def _age(age: Age) -> Text:
    return Text(f"{age.age_days} d", style=_STALE if age.is_stale else "")


def _numbered(sources: Sequence[str]) -> dict[str, int]:
    return {source: at for at, source in enumerate(dict.fromkeys(sources), 1)}


def _sources(console: Console, sources: Sequence[str], head: str = "") -> None:
    """Print addresses, each on a line of its own that no width breaks, so that it can be copied."""
    for source, number in _numbered(sources).items():
        console.print(
            plain(f"{head or number:<{_HEAD_CHARS if head else 1}} {source}"), highlight=False, soft_wrap=True
        )


def _last_lines(listed: Listing) -> Iterator[Text]:
    others = listed.others
    when = "it tells no date" if others.as_of is None else f"of {others.as_of}"
    models = f"{others.n_models:,} of {others.n_providers} providers"
    yield plain(f"other models: {others.package} {others.version}, {models}; {when}")
    yield plain(f"{_DOUBT} not verified: somebody else's word for what the source says")
    stale = [age for age in listed.ages if age.is_stale]
    for age in stale:
        yield Text(f"{pricelist.told(age)}; compare it with its source", _STALE)
    if not stale:
        oldest = max((age.age_days for age in listed.ages), default=0)
        yield Text(
            f"{len(listed.ages)} prices, none older than {listed.most_age_days} days; the oldest is {oldest}", "bold"
        )
    yield plain("next: reviewopt benchmark TABLE --vs aws")
