"""What hosting a model would cost, on which GPU and from which volume, as tables and lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from rich.console import Console
from rich.table import Table

from reviewopt.hosting.facts import PRECISIONS, Precision
from reviewopt.hosting.figures import GpuFigures, Hosting, Pays, SourceLine, Spot, Tco
from reviewopt.prospect import AssumptionUsed
from reviewopt.render.parts import plain, table, usd

_NONE: Final = "-"
# What the columns of both tables of GPUs take side by side.
_WIDE: Final = 112
_TIGHT: Final = (0, 1, 0, 0)
_RUNS: Final = {"compute": "yes", "weights": "w", "no": _NONE}


def show_hosting(
    console: Console,
    made: Hosting,
    letters: Mapping[str, str],
    sources: Sequence[SourceLine],
    assumptions: Sequence[AssumptionUsed],
) -> None:
    """Print from which volume a GPU pays, which one to take and why, a month of it, spot, and energy."""
    tags = _Tags(sources)
    _show_break_even(console, made, letters, tags)
    if console.width >= _WIDE:
        _show_gpus(console, made, tags, chips=True, costs=True)
    else:
        _show_gpus(console, made, tags, chips=True, costs=False)
        _show_gpus(console, made, tags, chips=False, costs=True)
    print_lines(console, _choice(made, tags))
    if made.tco is not None:
        _show_tco(console, made.tco, made, tags)
    print_lines(console, _running(made, tags, {one.name: one for one in assumptions}))


class _Tags:
    """The tags of sources, by page and day, and by what they are about."""

    def __init__(self, sources: Sequence[SourceLine]) -> None:
        self._pages = {(one.url, one.as_of): one.tag for one in sources}
        self._sources = sources

    def of(self, *pages: tuple[str, date]) -> str:
        """Return the tags of some pages, in square brackets."""
        found = dict.fromkeys(self._pages.get(page, "") for page in pages)
        return " ".join(f"[{tag}]" for tag in found if tag)

    def about(self, what: str) -> str:
        """Return the tags of all sources that speak of something, in square brackets."""
        return " ".join(f"[{one.tag}]" for one in self._sources if what in one.what)


def tight(console: Console, shown: Table) -> Table:
    """Draw the columns of a table closer together where the terminal is narrow."""
    if console.width < _WIDE:
        shown.padding = _TIGHT
    return shown


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """Print lines as they stand; the terminal breaks them."""
    for line in lines:
        console.print(plain(line), highlight=False, soft_wrap=True)


def count(n: float) -> str:
    """Return a count with as many digits as it needs."""
    return f"{n:,.0f}" if n < 1e5 else f"{n / 1e6:,.1f} M" if n < 1e9 else f"{n / 1e9:,.1f} B"


# --- from which volume it pays ---------------------------------------------------------------------------------------


def _show_break_even(console: Console, made: Hosting, letters: Mapping[str, str], tags: _Tags) -> None:
    work = made.workload
    title = f"A model of {work.model_b:g}e9 parameters on one GPU pays from so many reviews a month"
    shown = table("instead of", "USD a 1,000", "rented: GPU, USD a month", "bought: GPU, USD a month", title=title)
    tight(console, shown)
    for one in made.break_even:
        name = f"{letters.get(one.api, one.api)}: packs"
        shown.add_row(plain(name), usd(one.api_usd_a_thousand), _pays(one.rented), _pays(one.bought))
    console.print()
    console.print(shown)
    paying = [letters.get(one.api, one.api) for one in made.break_even if one.pays_at_n_monthly]
    cheaper = f"hosting costs less than {' and '.join(paying)}" if paying else "the APIs cost less"
    line = (
        f"at {work.n_monthly:,} a month {cheaper}; never: more than one GPU manages, or dearer for its energy alone; "
        f"purchase prices {tags.about('purchase of')}; "
        "reviewopt compare says whether the hosted model labels as well"
    )
    print_lines(console, [line])


def _pays(one: Pays | None) -> str:
    if one is None:
        return "never"
    least = ">" if one.is_at_most else ""
    return f"{least}{count(one.from_reviews)}: {one.gpu}, ${Decimal(one.usd_a_month):,.0f}"


# --- which GPU -------------------------------------------------------------------------------------------------------


def _show_gpus(console: Console, made: Hosting, tags: _Tags, *, chips: bool, costs: bool) -> None:
    columns = ["GB", *(one.upper() for one in PRECISIONS)] if chips else []
    columns += ["USD/h", "reviews/s", "USD a 1,000", "gCO2 a 1,000"] if costs else []
    shown = table("GPU", *columns, "from")
    shown.padding = _TIGHT
    for one in made.gpus:
        mark = "> " if one.gpu == made.choice.gpu else "  "
        cells = [f"{one.memory_gb}", *(_support(one, precision) for precision in PRECISIONS)] if chips else []
        cells += _costs(one) if costs else []
        pages = [(one.source, one.as_of)] if chips else []
        pages += [(part.source, part.as_of) for part in (one.price, one.speed) if part is not None] if costs else []
        shown.add_row(plain(mark + one.gpu), *(plain(cell) for cell in (*cells, tags.of(*pages))))
    console.print(shown)


def _support(one: GpuFigures, precision: Precision) -> str:
    how = _RUNS[one.runs[precision]]
    return f"[{how}]" if precision == one.precision else how


def _costs(one: GpuFigures) -> list[str]:
    basis = "published" if one.speed is None else one.speed.basis
    most, least = {"bound": ("<", ">"), "scaled": ("~", "~"), "published": ("", "")}[basis]
    gco2 = one.gco2_a_thousand
    return [
        _NONE if one.price is None else usd(one.price.usd_per_hour),
        _NONE if one.speed is None else f"{most}{one.speed.reviews_a_second:,.0f}",
        _NONE if one.usd_a_thousand is None else f"{least}{usd(one.usd_a_thousand)}",
        _NONE if gco2 is None else f"{least}{gco2:.2g}",
    ]


def _choice(made: Hosting, tags: _Tags) -> Iterator[str]:
    work = made.workload
    yield f"take {made.choice.gpu or 'none of them'}: {'; '.join(made.choice.reasons)}"
    yield from (f"{one.gpu} is out: {one.excluded}" for one in made.gpus if one.excluded)
    yield (
        f"yes: computes in it; w: only weights in it {tags.about('precisions')}; [yes]: used here; < >: at most and at "
        "least, by the chip's peak, as no throughput was published; ~: scaled from a model of another size; a review "
        f"is {work.input_tokens:,.0f} + {work.output_tokens:,.0f} tokens, and GPUs work {100 * work.utilisation:.0f} % "
        "of their hours"
    )


# --- what it costs to run ---------------------------------------------------------------------------------------------


def _show_tco(console: Console, tco: Tco, made: Hosting, tags: _Tags) -> None:
    title = f"A month of the {tco.gpu}, {tco.useful_hours:,.0f} of 730 hours worked"
    shown = table("", "rent or hardware", "energy", "operations", "all (from-to)", "USD a 1,000", title=title)
    taken = next(one for one in made.gpus if one.gpu == tco.gpu)
    rented = _whole(tco.rented_usd)
    shown.add_row("rented", f"${rented}", "in it", _NONE, f"${rented}", _costs(taken)[2])
    if tco.bought_usd is not None:
        parts = [f"${_whole(one)}" for one in (tco.hardware_usd, tco.energy_usd, tco.operations_usd)]
        low, all_of_it, high = (_whole(one) for one in (tco.bought_low_usd, tco.bought_usd, tco.bought_high_usd))
        rate = _NONE if tco.bought_usd_a_thousand is None else usd(tco.bought_usd_a_thousand)
        shown.add_row("bought", *parts, f"${all_of_it} ({low}-{high})", rate)
    console.print()
    console.print(tight(console, shown))
    print_lines(console, _buying(tco, tags))


def _whole(amount: str | None) -> str:
    return f"{Decimal(amount or 0):,.0f}"


def _buying(tco: Tco, tags: _Tags) -> Iterator[str]:
    if tco.missing:
        yield f"bought: {tco.missing}"
    if tco.capex is None or tco.missing:
        return
    note = f", {tco.capex.note}" if tco.capex.note else ""
    hours = (
        "never costs less"
        if tco.bought_from_hours is None
        else f"costs less from {tco.bought_from_hours} hours a month"
    )
    yield (
        f"bought for ${_whole(tco.capex.low_usd)} to ${_whole(tco.capex.high_usd)}{note} "
        f"{tags.of((tco.capex.source, tco.capex.as_of))}; buying {hours} than renting by the hour"
    )


def _running(made: Hosting, tags: _Tags, known: Mapping[str, AssumptionUsed]) -> Iterator[str]:
    work = made.workload
    taken = next((one for one in made.gpus if one.gpu == made.choice.gpu), None)
    if made.spot is not None:
        yield _spot(made.spot, tags)
    if taken is not None and taken.kwh_a_thousand is not None and taken.gco2_a_thousand is not None:
        least = "at least " if taken.is_at_least else ""
        yield (
            f"energy: {least}{1000 * taken.kwh_a_thousand:.2g} Wh and {taken.gco2_a_thousand:.2g} gCO2 a 1,000, at the "
            f"board's {taken.board_w:,} W, a PUE of {known['pue'].value} {tags.about('PUE')}, {work.gco2_per_kwh:g} "
            f"gCO2 a kWh in {work.country} {tags.about('gCO2')}; {_electricity(work.usd_per_kwh, tags)}"
        )
    value = {name: Decimal(one.value) for name, one in known.items()}
    yield (
        f"chosen, not measured: server and network {100 * (value['server_overhead'] - 1):.0f} % of the GPU's price, "
        f"{value['years']} years, then {100 * value['residual_share']:.0f} % of it left, "
        f"${value['operations_usd_per_hour']} an hour for people, room for {value['requests_in_flight']} requests"
    )


def _electricity(usd_per_kwh: str | None, tags: _Tags) -> str:
    return (
        "no price of a kWh" if usd_per_kwh is None else f"{usd(usd_per_kwh)} a kWh {tags.about('USD a kWh')}".rstrip()
    )


def _spot(spot: Spot, tags: _Tags) -> str:
    of_spot, of_demand = (tags.of((one.source, one.as_of)) for one in (spot.spot, spot.on_demand))
    return (
        f"spot: {usd(spot.spot.usd_per_hour)} an hour {of_spot}, on demand {usd(spot.on_demand.usd_per_hour)} "
        f"{of_demand}: {100 * spot.saved_share:.0f} % less, but it may be taken away at any time (--urgency low)"
    )
