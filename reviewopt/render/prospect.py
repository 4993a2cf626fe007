"""What labelling a table would cost with each strategy, as a table and lines for a terminal, with every source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from rich.console import Console

from reviewopt.prospect import Prospect, Variant
from reviewopt.render import hosting
from reviewopt.render.hosting import count, print_lines, tight
from reviewopt.render.parts import plain, table

# What is named as the next command where it was planned.
_NEXT: Final = ("ladder", "packs", "naive")
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
    yield f"{', '.join(made.tables)}: {known.n_rows:,} reviews{texts}{complexity}"
    tags = {one.what: one.tag for one in made.sources if one.url is None}
    price = {one.models[0]: tags.get(f"price of {one.prices[0]}", "") for one in made.variants if one.kind == "packs"}
    named = ", ".join(f"{letters.get(name, name)} = {name} [{price[name]}]" for name in made.models)
    yield named + (" (an example: name yours with --models)" if made.is_example else "")


def _show_variants(console: Console, variants: Iterable[Variant], letters: Mapping[str, str]) -> None:
    shown = tight(console, table("labelled by", "asked", "requests", "tokens", "USD (from-to)", "time"))
    for one in variants:
        asked, requests, tokens = "0", "0", "0"
        if one.plan is not None:
            asked, requests = f"{one.plan.n_asked:,}", f"{one.plan.n_requests:,}"
            tokens = count(one.plan.input_tokens.expected + one.plan.output_tokens.expected)
        shown.add_row(plain(_name(one, letters)), asked, requests, tokens, _range(one), _time(one.seconds.expected))
    console.print(shown)


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
    paid = [one for one in made.variants if one.plan is not None]
    if paid:
        yield f"{paid[-1].basis}; local: {made.variants[0].basis}" if "local" in kinds else paid[-1].basis


def _sources(made: Prospect) -> Iterator[str]:
    yield ""
    for one in made.sources:
        day = "" if one.as_of is None else f", read {one.as_of}"
        doubt = f" (unverified: {one.unverified})" if one.unverified else ""
        yield f"[{one.tag}] {one.what}{day}{doubt}{'' if one.url is None else f': {one.url}'}"
    paid = sorted((one for one in made.variants if one.plan is not None), key=lambda one: _NEXT.index(one.kind))
    if paid:
        yield f"next: {paid[0].command} --dry-run"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s" if seconds >= 1 else "<1 s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
