"""What labelling a table would cost with each strategy, as a table and lines for a terminal, with every source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from rich.console import Console

from reviewopt.hosting.figures import SourceLine
from reviewopt.prospect import Prospect, Variant
from reviewopt.render import hosting
from reviewopt.render.fitting import count, is_narrow, n_of, print_lines, tight
from reviewopt.render.parts import plain, table

_KINDS: Final = {"local": "local model alone", "naive": "one a request", "packs": "packs", "ladder": "ladder"}
# What a source says of a thing.
_SAYS: Final = {
    "price": "price of",
    "hour": "an hour of",
    "throughput": "throughput of",
    "chip": "peaks and memory of",
    "precisions": "how vLLM runs",
    "purchase": "purchase of",
    "USD a kWh": "USD a kWh in",
    "gCO2 a kWh": "gCO2 a kWh in",
    "assumption": "",
}
_ASSUMED: Final = {
    "server_power": "power of a server",
    "site_usd_per_kw_month": "a place for a server",
    "pue": "PUE, the mean of a survey of sites",
}
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def show_prospect(console: Console, made: Prospect) -> None:
    """Print the variants, from which volume hosting pays, the hardware, and where each figure is from."""
    letters = dict(zip(made.models, _LETTERS, strict=False))
    print_lines(console, _head(made, letters))
    _show_variants(console, made.variants, letters)
    print_lines(console, _notes(made, letters))
    if made.hosting is None:
        print_lines(console, [f"hosting: {made.hosting_missing}"])
    else:
        hosting.show_hosting(console, made.hosting, letters, made.sources, made.assumptions)
    print_lines(console, _sources(made))


def _head(made: Prospect, letters: Mapping[str, str]) -> Iterator[str]:
    known = made.table
    complexity = "" if known.mean_complexity is None else f", mean complexity {known.mean_complexity:.2f} of 0 to 1"
    texts = "" if known.n_texts == known.n_rows else f", {known.n_texts:,} with a text"
    yield f"{', '.join(made.tables)}: {n_of(known.n_rows, 'review')}{texts}{complexity}"
    tags = {about.of: one.tag for one in made.sources for about in one.about if about.kind == "price"}
    price = {one.models[0]: tags[one.prices[0]] for one in made.variants if one.kind == "packs"}
    named = ", ".join(f"{letters.get(name, name)} = {name} [{price[name]}]" for name in made.models)
    yield named + (" (an example: name yours with --models)" if made.is_example else "")


def _show_variants(console: Console, variants: Iterable[Variant], letters: Mapping[str, str]) -> None:
    more = () if is_narrow(console) else ("requests", "tokens")
    shown = table("labelled by", "asked", *more, "USD (from-to)", "time")
    for one in variants:
        asked, requests, tokens = "0", "0", "0"
        if one.plan is not None:
            asked, requests = f"{one.plan.n_asked:,}", f"{one.plan.n_requests:,}"
            tokens = count(one.plan.input_tokens.expected + one.plan.output_tokens.expected)
        counts = (requests, tokens) if more else ()
        shown.add_row(plain(_name(one, letters)), asked, *counts, _range(one), _time(one.seconds.expected))
    console.print(tight(console, shown))


def _name(one: Variant, letters: Mapping[str, str]) -> str:
    if one.kind == "local":
        return "local model alone"
    if one.kind == "ladder":
        return f"ladder: {one.strategy}"
    return f"{letters.get(one.models[0], one.models[0])}: {'one a request' if one.kind == 'naive' else 'packs'}"


def _range(one: Variant) -> str:
    low, expected, high = (_short(part) for part in (one.usd.low, one.usd.expected, one.usd.high))
    return f"${expected}" if low == high else f"${expected} ({low}-{high})"


def _short(amount: str) -> str:
    """Return USD with two digits that count: a plan is no more exact than that; --json has all."""
    value = Decimal(amount)
    return f"{value:,.0f}" if value >= 10 else f"{Decimal(f'{value:.2g}'):f}"


def _notes(made: Prospect, letters: Mapping[str, str]) -> Iterator[str]:
    kinds = {one.kind for one in made.variants}
    if "ladder" in kinds:
        rungs = [*(["the local model"] if "local" in kinds else []), *(letters.get(one, one) for one in made.models)]
        yield f"ladder: {', then '.join(rungs)}; what one is not sure of climbs, and the strategy says how sure is sure"
    by_basis: dict[str, dict[str, None]] = {}
    for one in made.variants:
        by_basis.setdefault(one.basis, {})[_KINDS[one.kind]] = None
    for basis, names in by_basis.items():
        yield basis if len(by_basis) == 1 else f"{', '.join(names)}: {basis}"
    yield from made.notes


def _sources(made: Prospect) -> Iterator[str]:
    yield ""
    for one in made.sources:
        day = "" if one.as_of is None else f", as of {one.as_of}"
        doubt = f" (unverified: {one.unverified})" if one.unverified else ""
        yield f"[{one.tag}] {_about(one)}{day}{doubt}{'' if one.url is None else f': {one.url}'}"
    if made.next_command is not None:
        yield f"next: {made.next_command}"


def _about(line: SourceLine) -> str:
    kinds: dict[str, list[str]] = {}
    for one in line.about:
        kinds.setdefault(one.kind, []).append(_ASSUMED.get(one.of, one.of))
    return "; ".join(f"{_SAYS[kind]} {_listed(of)}".strip() for kind, of in kinds.items())


def _listed(of: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(of[:-1]), of[-1])))


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s" if seconds >= 1 else "<1 s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
