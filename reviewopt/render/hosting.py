"""What hosting a model would cost, on which GPU and from which volume, as tables and lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from rich.console import Console

from reviewopt.hosting.facts import PRECISIONS, Precision
from reviewopt.hosting.figures import Bill, Choice, GpuFigures, Hosting, Pays, SourceLine
from reviewopt.prospect import AssumptionUsed
from reviewopt.render.fitting import count, is_narrow, n_of, print_lines, tight, whole
from reviewopt.render.parts import plain, table, usd

_NONE: Final = "-"
_RUNS: Final = {"compute": "yes", "weights": "w", "no": _NONE}
# How figures that were chosen are called.
_CHOSEN: Final = {
    "requests_in_flight": "requests in flight at least",
    "server_overhead": "price of a server over that of its GPUs",
    "residual_share": "share of the price that is left then",
    "years": "years of use",
    "load": "share of full power while it works",
}


def show_hosting(
    console: Console,
    made: Hosting,
    letters: Mapping[str, str],
    sources: Sequence[SourceLine],
    assumptions: Sequence[AssumptionUsed],
) -> None:
    """Print from which volume a GPU pays, what each costs and which one to take, a month of it, spot, and energy."""
    tags = _Tags(sources)
    _show_break_even(console, made, letters)
    _show_costs(console, made, tags)
    print_lines(console, _choice(made, letters))
    _show_chips(console, made, tags)
    print_lines(console, _legend(made, tags))
    _show_month(console, made)
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

    def about(self, kind: str, of: str | None = None) -> str:
        """Return the tags of all sources of a kind, and of one thing, in square brackets."""
        return " ".join(
            f"[{one.tag}]"
            for one in self._sources
            if any(about.kind == kind and of in (None, about.of) for about in one.about)
        )


# --- from which volume it pays ---------------------------------------------------------------------------------------


def _show_break_even(console: Console, made: Hosting, letters: Mapping[str, str]) -> None:
    work = made.workload
    title = f"A model of {work.model_b:g}e9 parameters pays from so many reviews a month on"
    shown = table("instead of", "USD a 1,000", "by the hour", "whole months", "bought", title=title)
    for one in made.break_even:
        name = f"{letters.get(one.api, one.api)}: packs"
        shown.add_row(
            plain(name), usd(one.api_usd_a_thousand), *(_pays(each) for each in (one.hour, one.month, one.bought))
        )
    console.print()
    console.print(tight(console, shown))
    print_lines(console, _about_paying(made))


def _pays(one: Pays) -> str:
    if one.way is None or one.from_reviews is None:
        return one.state
    return f"{count(one.from_reviews)}: {one.way.gpu}"


def _about_paying(made: Hosting) -> Iterator[str]:
    yield (
        "by the hour: rented for the whole hours that the reviews take; whole months: rented for 730 hours each, used "
        "or not; bought: hardware, a place for it and energy; never: it costs as much or more at any number; "
        f"GPUs work {100 * made.workload.utilisation:.0f} % of their hours, and several are taken where one is too "
        "slow; reviewopt compare says whether the hosted model labels as well"
    )
    missing: dict[str, dict[str, None]] = {}
    for one in made.break_even:
        for name, pays in (("by the hour", one.hour), ("whole months", one.month), ("bought", one.bought)):
            if pays.state == "unknown":
                missing.setdefault(pays.why, {})[name] = None
    yield from (f"unknown ({', '.join(names)}): {why}" for why, names in missing.items())


# --- which GPU -------------------------------------------------------------------------------------------------------


def _show_costs(console: Console, made: Hosting, tags: _Tags) -> None:
    title = f"{n_of(made.workload.n_monthly, 'review')} a month cost"
    columns = ("USD/h", "reviews/s", "by the hour (h)", "whole months (GPUs)", "bought (GPUs)")
    more = () if is_narrow(console) else ("from",)
    shown = table("GPU", *columns, *more, title=title)
    for one in made.gpus:
        mark = "> " if one.gpu == made.choice.gpu else "  "
        prices = dict.fromkeys(bill.way.price for bill in (one.hour, one.month) if bill is not None)
        pages = [(part.source, part.as_of) for part in (*(prices or (one.price,)), one.speed) if part is not None]
        purchase = "" if one.bought is None else tags.about("purchase", one.gpu)
        where = [plain(f"{tags.of(*pages)} {purchase}".strip())] if more else []
        shown.add_row(plain(mark + one.gpu), *_costs(one), *where)
    console.print()
    console.print(tight(console, shown))


def _costs(one: GpuFigures) -> list[str]:
    price, speed = one.price, one.speed
    each = "" if price is None or price.n_gpus_least == 1 else f"{price.n_gpus_least} x "
    about = "" if speed is None or speed.basis == "published" else "~"
    return [
        _NONE if price is None else f"{each}{usd(price.usd_per_hour)}",
        _NONE if speed is None else f"{about}{speed.reviews_a_second:,.0f}",
        _NONE if one.hour is None else f"{about}{whole(one.hour.usd)} ({one.hour.n_steps:,})",
        *(_NONE if bill is None else f"{about}{whole(bill.usd)} ({bill.n_gpus:,})" for bill in (one.month, one.bought)),
    ]


def _choice(made: Hosting, letters: Mapping[str, str]) -> Iterator[str]:
    yield "-: no throughput of it was published, or no price to buy it for; ~: see below"
    bill = next((one.hour for one in made.gpus if one.gpu == made.choice.gpu), None)
    yield _verdict(made.choice, bill, letters)
    yield "; ".join(made.choice.reasons)
    told = "; ".join(made.choice.reasons)
    yield from (why for one in made.gpus if one.excluded and (why := f"{one.gpu} is out: {one.excluded}") not in told)


def _verdict(made: Choice, bill: Bill | None, letters: Mapping[str, str]) -> str:
    api = (
        ""
        if made.api is None
        else f"{letters.get(made.api, made.api)} in packs ({made.api}) {whole(made.api_usd or '0')}"
    )
    if bill is None:
        what = "take: nobody can say" if made.verdict == "unknown" else "take none"
        return f"{what}{f'; {api} a month' if api else ''}"
    hours = f"{bill.n_steps:,} h" + (f" of {bill.way.n_gpus_a_step}" if bill.way.n_gpus_a_step > 1 else "")
    several = f", {bill.n_gpus} at a time" if bill.n_gpus > bill.way.n_gpus_a_step else ""
    hosted = f"{made.gpu}, rented by the hour ({hours}{several}), {whole(bill.usd)}"
    if made.verdict == "api":
        return f"take none: the API costs less: {api} a month, {hosted}"
    return f"take {hosted} a month{f'; {api}' if api else ''}"


def _show_chips(console: Console, made: Hosting, tags: _Tags) -> None:
    shown = table("GPU", "GB", *(one.upper() for one in PRECISIONS), "from")
    for one in made.gpus:
        mark = "> " if one.gpu == made.choice.gpu else "  "
        cells = [f"{one.memory_gb}", *(_support(one, precision) for precision in PRECISIONS)]
        shown.add_row(plain(mark + one.gpu), *(plain(cell) for cell in (*cells, tags.of((one.source, one.as_of)))))
    console.print()
    console.print(tight(console, shown))


def _support(one: GpuFigures, precision: Precision) -> str:
    how = _RUNS[one.runs[precision]]
    if precision == "int4" and how == "yes":
        how = "FP4"
    return f"[{how}]" if precision == one.precision else how


def _legend(made: Hosting, tags: _Tags) -> Iterator[str]:
    work = made.workload
    yield (
        f"yes: computes in it; w: only weights in it {tags.about('precisions')}; [yes]: used here; -: no, or nothing "
        f"published; a review is {work.input_tokens:,.0f} + {work.output_tokens:,.0f} tokens"
    )
    for one in made.gpus:
        if one.speed is not None and one.speed.basis != "published":
            yield f"~ {one.gpu}: {one.speed.formula}"
    notes = [f"{one.gpu}: {one.note}" for one in made.gpus if one.note]
    if notes:
        yield "; ".join(notes)


# --- what it costs to run ---------------------------------------------------------------------------------------------


def _show_month(console: Console, made: Hosting) -> None:
    taken = next((one for one in made.gpus if one.gpu == made.choice.gpu), None)
    if taken is None:
        return
    n = made.workload.n_monthly
    parts = () if is_narrow(console) else ("rent or hardware", "energy", "site")
    shown = table(
        "", *parts, "all (from-to)", "USD a 1,000",
        title=f"{n_of(n, 'review')} a month on the {taken.gpu}",
    )  # fmt: skip
    for name, bill in (("by the hour", taken.hour), ("whole months", taken.month), ("bought", taken.bought)):
        if bill is not None:
            shown.add_row(name, *_month(bill, n)[0 if parts else 3 :])
    console.print()
    console.print(tight(console, shown))


def _month(bill: Bill, n_reviews: int) -> list[str]:
    span = "" if bill.low_usd == bill.high_usd else f" ({whole(bill.low_usd)[1:]}-{whole(bill.high_usd)[1:]})"
    first = bill.usd if bill.hardware_usd is None else bill.hardware_usd
    others = ["in it" if part is None else whole(part) for part in (bill.energy_usd, bill.site_usd)]
    return [whole(first), *others, f"{whole(bill.usd)}{span}", usd(f"{Decimal(bill.usd) / n_reviews * 1000:f}")]


def _running(made: Hosting, tags: _Tags, known: Mapping[str, AssumptionUsed]) -> Iterator[str]:
    taken = next((one for one in made.gpus if one.gpu == made.choice.gpu), None)
    if taken is not None:
        yield from _buying(made, taken, tags)
        yield _spot(made, taken, tags)
        yield from _energy(made, taken, tags, known)
    chosen = (f"{_CHOSEN.get(one.name, one.name)} {one.value}" for one in known.values() if one.chosen)
    yield f"chosen, not measured: {', '.join(chosen)}; people are left out"


def _buying(made: Hosting, taken: GpuFigures, tags: _Tags) -> Iterator[str]:
    if taken.bought is None or made.capex is None:
        yield f"bought: {taken.bought_missing}"
        return
    capex = made.capex
    note = f", {capex.note}" if capex.note else ""
    hours = (
        f"from {made.bought_from_hours} paid hours a month on" if made.bought_from_hours else "at no number of hours"
    )
    yield (
        f"bought for {whole(capex.low_usd)} to {whole(capex.high_usd)} each{note} {tags.about('purchase', taken.gpu)}; "
        f"one that is put to use costs less than by the hour {hours}"
    )


def _spot(made: Hosting, taken: GpuFigures, tags: _Tags) -> str:
    found = made.spot
    if found is None:
        is_spot = taken.price is not None and taken.price.kind == "spot"
        return "spot: reckoned with; it may be taken away at any time" if is_spot else (
            f"spot: no price of the {taken.gpu} has a source"
        )  # fmt: skip
    spot, price = found.spot, found.taken
    span = "" if spot.low_usd is None else f" ({usd(spot.low_usd)[1:]}-{usd(spot.high_usd or '0')[1:]})"
    least = "" if spot.n_gpus_least == 1 else f", {spot.n_gpus_least} at least"
    less = "less" if found.saved_share > 0 else "more"
    return (
        f"spot: {usd(spot.usd_per_hour)}{span} an hour{least} {tags.of((spot.source, spot.as_of))}, "
        f"{100 * abs(found.saved_share):.0f} % {less} than the {usd(price.usd_per_hour)} reckoned with; it may be "
        "taken away at any time (--urgency low)"
    )


def _energy(made: Hosting, taken: GpuFigures, tags: _Tags, known: Mapping[str, AssumptionUsed]) -> Iterator[str]:
    if taken.kwh_a_thousand is None:
        return
    work = made.workload
    of_grid = f"no source says what electricity emits in {work.country}"
    grams = ""
    if taken.gco2_a_thousand is not None:
        grams = f" and {taken.gco2_a_thousand:.2g} gCO2"
        of_grid = f"{work.gco2_per_kwh:g} gCO2 a kWh in {work.country} {tags.about('gCO2 a kWh')}"
    price = (
        f"{usd(work.usd_per_kwh)} a kWh {tags.about('USD a kWh')}".rstrip() if work.usd_per_kwh else "no price of a kWh"
    )
    power, pue, site = (known[name] for name in ("server_power", "pue", "site_usd_per_kw_month"))
    yield (
        f"energy: {1000 * taken.kwh_a_thousand:.2g} Wh{grams} a 1,000, at the board's {taken.board_w:,} W x "
        f"{power.value} for its server {tags.about('assumption', 'server_power')} x {pue.value} for the site (PUE) "
        f"{tags.about('assumption', 'pue')}; {of_grid}; {price}; a place ${site.value} a kW and month "
        f"{tags.about('assumption', 'site_usd_per_kw_month')}"
    )
