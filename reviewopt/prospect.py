"""What labelling a table would cost with each strategy, and on hardware of one's own: plans and hosting side by side.

Nothing is planned here: the plans are those of `process --dry-run`, unchanged. Pure, apart from one pass over a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal

import polars as pl

from reviewopt.data import Frozen
from reviewopt.hosting import weigh
from reviewopt.hosting.facts import Facts
from reviewopt.hosting.figures import Api, Hosting, SourceLine, Urgency, Workload
from reviewopt.load import Table
from reviewopt.pricelist import MOST_AGE_DAYS, GpuPrice, age_days
from reviewopt.record import Plan, Range, UsdRange
from reviewopt.settings import Strategy
from reviewopt.text.complexity import complexity

SCHEMA_VERSION: Final = 1
NOTHING_ASKED: Final = "nothing is left to ask, so there is nothing to host"

Kind = Literal["local", "naive", "packs", "ladder"]


class Variant(Frozen, frozen=True, kw_only=True):
    """One way to label the table: the local model alone, a model one review a request or in packs, or a ladder.

    `models` are from cheap to dear, `prices` says whose prices were used. `command` does it; `plan` is what its
    `--dry-run` prints, null for the local model alone, which asks nothing: `basis` says what its figures stand on.
    """

    kind: Kind
    models: tuple[str, ...]
    strategy: Strategy | None
    command: str
    prices: tuple[str, ...]
    usd: UsdRange
    seconds: Range
    basis: str
    plan: Plan | None


class TableFacts(Frozen, frozen=True, kw_only=True):
    """Rows, those with a text, and how complex these are on average, 0 to 1; null where none has a text."""

    n_rows: int
    n_texts: int
    mean_complexity: float | None


class AssumptionUsed(Frozen, frozen=True, kw_only=True):
    """A figure that the reckoning stands on; `chosen`: no measurement stands behind it."""

    name: str
    value: str
    note: str
    source: str | None
    as_of: date | None
    chosen: bool


class Prospect(Frozen, frozen=True, kw_only=True):
    """All of it; every key is always there. `is_example`: nobody named the models.

    `hosting` is null where nothing can be said of it: `hosting_missing` says why.
    """

    schema_version: int
    tables: tuple[str, ...]
    table: TableFacts
    models: tuple[str, ...]
    is_example: bool
    variants: tuple[Variant, ...]
    hosting: Hosting | None
    hosting_missing: str
    assumptions: tuple[AssumptionUsed, ...]
    sources: tuple[SourceLine, ...]


class Wish(Frozen, frozen=True, kw_only=True):
    """What the user says of hosting; `usd_per_kwh` null: that of the country, where a source has it."""

    model_b: float
    n_monthly: int | None
    urgency: Urgency
    usd_per_hour_max: str | None
    utilisation: float
    country: str
    usd_per_kwh: str | None


def table_facts(table: Table, on_rows: Callable[[int], None]) -> TableFacts:
    """Go over a table once, and say how complex its reviews are; `on_rows` is told how many were read."""
    n_rows = n_texts = 0
    total = 0.0
    for chunk in table.chunks():
        text = pl.concat_str("title", "text", separator="\n", ignore_nulls=True)
        kept = chunk.reviews.filter(pl.col("text").str.strip_chars().str.len_bytes() > 0).select(text).to_series()
        n_rows, n_texts = n_rows + chunk.reviews.height, n_texts + len(kept)
        total += float(complexity(kept).sum()) if len(kept) else 0.0
        on_rows(n_rows)
    return TableFacts(n_rows=n_rows, n_texts=n_texts, mean_complexity=total / n_texts if n_texts else None)


def make(
    tables: Sequence[str],
    table: TableFacts,
    variants: Sequence[Variant],
    wish: Wish,
    facts: Facts,
    prices: Sequence[GpuPrice],
    *,
    is_example: bool,
    billed_otherwise: frozenset[str],
    today: date,
) -> Prospect:
    """Put plans and hosting side by side.

    Args:
        tables: as the user named them.
        table: what is known of them.
        variants: the ways to label them, in the order in which they are shown.
        wish: what is said of hosting.
        facts: of GPUs.
        prices: of GPUs an hour.
        is_example: whether nobody named the models.
        billed_otherwise: models that do not bill tokens, so that their plans count something else.
        today: what is too old by then says so.
    """
    packs = [one for one in variants if one.kind == "packs"]
    workload, missing = _workload(packs, table, wish, facts, billed_otherwise)
    hosting = None
    if workload is not None:
        hosting = weigh.weigh(workload, list(_apis(packs)), facts, prices)
    return Prospect(
        schema_version=SCHEMA_VERSION,
        tables=tuple(tables),
        table=table,
        models=tuple(one.models[0] for one in packs),
        is_example=is_example,
        variants=tuple(variants),
        hosting=hosting,
        hosting_missing=missing,
        assumptions=tuple(_assumptions(facts)),
        sources=tuple(_tagged(_sources(variants, hosting, facts), today)),
    )


def _apis(packs: Iterable[Variant]) -> Iterator[Api]:
    """Price a review that is asked, in packs, for each model."""
    for one in packs:
        if one.plan is not None and one.plan.n_asked:
            yield Api(name=one.models[0], usd_a_review=f"{Decimal(one.plan.usd.expected) / one.plan.n_asked:.15f}")


def _workload(
    packs: Sequence[Variant], table: TableFacts, wish: Wish, facts: Facts, billed_otherwise: frozenset[str]
) -> tuple[Workload | None, str]:
    """Take the tokens of a review from the first model's packs, or say why there are none."""
    plans = [one.plan for one in packs if one.plan is not None and one.models[0] not in billed_otherwise]
    if not plans:
        return None, "no model that bills tokens is named, so nothing is known of the tokens of a review"
    plan = next((one for one in plans if one.n_asked and one.n_requests), None)
    if plan is None or table.mean_complexity is None:
        return None, NOTHING_ASKED
    usd_per_kwh = wish.usd_per_kwh
    if usd_per_kwh is None and wish.country in facts.electricity:
        usd_per_kwh = facts.electricity[wish.country].usd_per_kwh
    inward, outward = plan.input_tokens.expected, plan.output_tokens.expected
    return Workload(
        model_b=wish.model_b,
        input_tokens=inward / plan.n_asked,
        output_tokens=outward / plan.n_asked,
        request_tokens=(inward + outward) / plan.n_requests,
        n_monthly=table.n_rows if wish.n_monthly is None else wish.n_monthly,
        complexity=table.mean_complexity,
        urgency=wish.urgency,
        usd_per_hour_max=wish.usd_per_hour_max,
        utilisation=wish.utilisation,
        country=wish.country,
        usd_per_kwh=usd_per_kwh,
        gco2_per_kwh=facts.grids.gco2_per_kwh.get(wish.country),
    ), ""


def _assumptions(facts: Facts) -> Iterator[AssumptionUsed]:
    for name in facts.assumptions.__struct_fields__:
        one = getattr(facts.assumptions, name)
        yield AssumptionUsed(
            name=name, value=one.value, note=one.note, source=one.source, as_of=one.as_of, chosen=one.chosen
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Of what a page says something, and of which GPU, country or offer; with what of it could not be checked."""

    kind: str
    of: str
    url: str | None
    as_of: date | None
    unverified: tuple[str, ...] = ()


def _sources(variants: Sequence[Variant], hosting: Hosting | None, facts: Facts) -> Iterator[_Found]:
    """Name the source of every figure, in the order in which they are shown; a source may come twice."""
    for name in dict.fromkeys(price for one in variants for price in one.prices):
        yield _Found(kind="price of", of=name, url=None, as_of=None)
    if hosting is None:
        return
    for one in hosting.gpus:
        if one.price is not None:
            yield _of_price(one.price)
        if one.speed is not None and one.speed.basis != "bound":
            doubts = next(known.unverified for known in facts.throughputs if known.source == one.speed.source)
            yield _Found(
                kind="throughput of", of=one.gpu, url=one.speed.source, as_of=one.speed.as_of, unverified=doubts
            )
    for gpu in facts.gpus:
        yield _Found(
            kind="peaks and memory of", of=gpu.name, url=gpu.source, as_of=gpu.as_of, unverified=gpu.unverified
        )
    support = facts.support
    yield _Found(
        kind="precisions", of=support.note, url=support.source, as_of=support.as_of, unverified=support.unverified
    )
    yield from _of_running(hosting, facts)


def _of_price(price: GpuPrice) -> _Found:
    doubts = ("moves by the hour",) if price.unverified else ()
    return _Found(
        kind="an hour of", of=f"{price.gpu} ({price.offer})", url=price.source, as_of=price.as_of, unverified=doubts
    )


def _of_running(hosting: Hosting, facts: Facts) -> Iterator[_Found]:
    country, pays = hosting.workload.country, [one.bought for one in hosting.break_even if one.bought is not None]
    for name in dict.fromkeys([*(one.gpu for one in pays), *([] if hosting.tco is None else [hosting.tco.gpu])]):
        capex = facts.gpu(name).capex
        if capex is not None:
            yield _Found(kind="purchase of", of=name, url=capex.source, as_of=capex.as_of, unverified=capex.unverified)
    electricity = facts.electricity.get(country)
    if electricity is not None and hosting.workload.usd_per_kwh == electricity.usd_per_kwh:
        yield _Found(kind="USD a kWh in", of=f"{country}, {electricity.year}", url=electricity.source,
                     as_of=electricity.as_of)  # fmt: skip
    pue, grids = facts.assumptions.pue, facts.grids
    yield _Found(kind="PUE", of="(mean of a survey of sites)", url=pue.source, as_of=pue.as_of)
    if country in grids.gco2_per_kwh:
        doubts = (f"{country}",) if country in grids.unverified else ()
        yield _Found(
            kind="gCO2 a kWh in", of=f"{country}, {grids.year}", url=grids.source, as_of=grids.as_of, unverified=doubts
        )
    if hosting.spot is not None:
        yield _of_price(hosting.spot.on_demand)
        yield _of_price(hosting.spot.spot)


def _tagged(found: Iterable[_Found], today: date) -> Iterator[SourceLine]:
    """Give each source a tag, 1 and up: what one page says on one day is listed together."""
    pages: dict[tuple[str, date | None], list[_Found]] = {}
    for one in found:
        pages.setdefault((one.url or one.of, one.as_of), []).append(one)
    for at, (first, *rest) in enumerate(pages.values(), 1):
        kinds: dict[str, dict[str, None]] = {}
        for one in (first, *rest):
            kinds.setdefault(one.kind, {})[one.of] = None
        doubts = [doubt for one in (first, *rest) for doubt in one.unverified]
        if first.as_of is not None and (age := age_days(first.as_of, today)) > MOST_AGE_DAYS:
            doubts.append(f"read {age} days ago")
        yield SourceLine(
            tag=f"{at}",
            what="; ".join(f"{kind} {', '.join(of)}" for kind, of in kinds.items()),
            url=first.url,
            as_of=first.as_of,
            unverified="; ".join(dict.fromkeys(doubts)),
        )
