"""What labelling a table would cost with each strategy, and on hardware of one's own: plans and hosting side by side.

Nothing is planned here: the plans are those of `process --dry-run`, unchanged. Pure, apart from one pass over a table.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, Literal

import polars as pl

from reviewopt.data import Frozen, schema_of
from reviewopt.hosting import sources, weigh
from reviewopt.hosting.facts import Facts
from reviewopt.hosting.figures import Api, Hosting, SourceLine, Urgency, Workload
from reviewopt.hosting.sources import Found
from reviewopt.load import Table
from reviewopt.pricelist import GpuPrice
from reviewopt.record import Plan, Range, UsdRange
from reviewopt.settings import Strategy
from reviewopt.text.complexity import complexity

SCHEMA_VERSION: Final = 1
NOTHING_ASKED: Final = "nothing is left to ask, so there is nothing to host"

Kind = Literal["local", "naive", "packs", "ladder"]


class Variant(Frozen, frozen=True, kw_only=True):
    """One way to label the table: the local model alone, a model one review a request or in packs, or a ladder.

    `models` are in the order in which they were named, `prices` says whose prices were used. `command` does it; `plan`
    is what its `--dry-run` prints, null for the local model alone, which asks nothing: `basis` says what its figures
    stand on.
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


class PriceSource(Frozen, frozen=True, kw_only=True):
    """Where a model's price is from; `url` null: a price of the user's own; `as_of` null: the source tells no day."""

    url: str | None
    as_of: date | None
    doubt: str


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

    `hosting` is null where nothing can be said of it: `hosting_missing` says why. `next_command` is that of the
    cheapest variant that asks something, null where none does; `notes` are what is amiss.
    """

    schema_version: int
    tables: tuple[str, ...]
    table: TableFacts
    models: tuple[str, ...]
    is_example: bool
    variants: tuple[Variant, ...]
    notes: tuple[str, ...]
    next_command: str | None
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
    priced: Mapping[str, PriceSource],
    is_example: bool,
    billed_otherwise: frozenset[str],
    today: date,
) -> Prospect:
    """Put plans and hosting side by side.

    `variants` are in the order in which they are shown; `priced` says where the prices of models are from, by what the
    variants call them; `is_example`, whether nobody named the models; `billed_otherwise` are models that do not bill
    tokens, so that their plans count something else; what is too old by `today` says so.
    """
    packs = [one for one in variants if one.kind == "packs"]
    hosting, missing = _hosting(packs, table, wish, facts, prices, billed_otherwise)
    return Prospect(
        schema_version=SCHEMA_VERSION,
        tables=tuple(tables),
        table=table,
        models=tuple(one.models[0] for one in packs),
        is_example=is_example,
        variants=tuple(variants),
        notes=tuple(_notes(packs)),
        next_command=_next_command(variants),
        hosting=hosting,
        hosting_missing=missing,
        assumptions=tuple(_assumptions(facts)),
        sources=tuple(sources.tagged(_sources(variants, priced, hosting, facts), today)),
    )


def _hosting(
    packs: Sequence[Variant],
    table: TableFacts,
    wish: Wish,
    facts: Facts,
    prices: Sequence[GpuPrice],
    billed_otherwise: frozenset[str],
) -> tuple[Hosting | None, str]:
    """Weigh hosting against the models in packs, or say why nothing can be said of it."""
    workload, missing = _workload(packs, table, wish, facts, billed_otherwise)
    return (None if workload is None else weigh.weigh(workload, list(_apis(packs)), facts, prices)), missing


def _notes(packs: Sequence[Variant]) -> Iterator[str]:
    """Say which models are not named from cheap to dear, as their ladder expects."""
    costs = [(one.models[0], Decimal(one.usd.expected)) for one in packs]
    for (before, dear), (after, cheap) in itertools.pairwise(costs):
        if cheap < dear:
            yield f"{before} is named before {after} and costs more: name models from cheap to dear, as a ladder climbs"


def _next_command(variants: Sequence[Variant]) -> str | None:
    asking = [one for one in variants if one.plan is not None and one.plan.n_asked]
    cheapest = min(asking, key=lambda one: Decimal(one.usd.expected), default=None)
    return None if cheapest is None else f"{cheapest.command} --dry-run"


def _apis(packs: Iterable[Variant]) -> Iterator[Api]:
    """Price 1,000 reviews that are asked, in packs, for each model."""
    for one in packs:
        if one.plan is not None and one.plan.n_asked:
            a_thousand = Decimal(one.plan.usd.expected) / one.plan.n_asked * 1000
            yield Api(name=one.models[0], usd_a_thousand=f"{a_thousand:.9f}")


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
        n_monthly=plan.n_asked if wish.n_monthly is None else wish.n_monthly,
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


def _sources(
    variants: Sequence[Variant], priced: Mapping[str, PriceSource], hosting: Hosting | None, facts: Facts
) -> Iterator[Found]:
    """Name the source of every figure, in the order in which they are shown; a source may come twice."""
    for name in dict.fromkeys(price for one in variants for price in one.prices):
        known = priced[name]
        yield sources.found("price", name, known.url, known.as_of, (known.doubt,))
    if hosting is not None:
        yield from sources.of_hosting(hosting, facts)


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of what `plan --json` prints; `configs/prospect.schema.json` is its committed form."""
    return schema_of(Prospect)
