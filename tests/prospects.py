"""Plans of a made-up table, and what is made of them, for the tests of `reviewopt plan`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from hosted import PRICES

from reviewopt import prospect
from reviewopt.hosting import facts
from reviewopt.prospect import Kind, PriceSource, Prospect, TableFacts, Variant, Wish
from reviewopt.record import Plan, Range, UsdRange
from reviewopt.route import STRATEGIES

FACTS = facts.read()
WISH = Wish(
    model_b=8.0,
    n_monthly=None,
    urgency="normal",
    usd_per_hour_max=None,
    utilisation=0.5,
    country="US",
    usd_per_kwh=None,
)
TABLE = TableFacts(n_rows=10_000, n_texts=9_990, mean_complexity=0.42)


def around(expected: float) -> Range:
    return Range(low=0.8 * expected, expected=expected, high=1.2 * expected)


def plan_of(
    *, n_asked: int = 9_900, n_requests: int = 396, tokens: tuple[float, float] = (180, 12), usd: str = "0.12"
) -> Plan:
    """A plan of packs of 25, each review `tokens` read and written."""
    return Plan(
        schema_version=3,
        n_rows=10_000,
        n_by_source={"exact": 90, "empty": 10},
        n_asked=n_asked,
        n_requests=n_requests,
        input_tokens=around(tokens[0] * n_asked),
        output_tokens=around(tokens[1] * n_asked),
        usd=UsdRange(low=f"{float(usd) * 0.8:.4f}", expected=usd, high=f"{float(usd) * 1.3:.4f}"),
        seconds=around(float(n_requests) / 4),
        naive_usd="0.28",
        naive_requests=9_990,
        basis="tokens counted with o200k_base",
        rungs=(),
        tunes=(),
        deadline_s=None,
        meets_deadline=None,
        proof=None,
    )


def _variant(kind: Kind, models: tuple[str, ...], plan: Plan, strategy: Any = None) -> Variant:
    return Variant(
        kind=kind, models=models, strategy=strategy, command=f"reviewopt process in.csv --models {','.join(models)}",
        prices=tuple(f"vendor:{name}, a list" for name in models), usd=plan.usd, seconds=plan.seconds, basis=plan.basis,
        plan=plan,
    )  # fmt: skip


def packs_of(name: str, plan: Plan) -> Variant:
    return _variant("packs", (name,), plan)


def variants_of() -> list[Variant]:
    """The local model, two models alone and in packs, and their ladder by each strategy."""
    free = UsdRange(low="0.0000018", expected="0.0000018", high="0.0000018")
    local = Variant(
        kind="local", models=(), strategy=None, command="reviewopt process in.csv", prices=(), usd=free,
        seconds=around(0.1), basis="[machine] of your settings", plan=None,
    )  # fmt: skip
    naive = plan_of(n_requests=9_900, tokens=(450, 12), usd="0.264")
    return [
        local,
        _variant("naive", ("cheap",), naive),
        packs_of("cheap", plan_of()),
        _variant("naive", ("strong",), naive),
        packs_of("strong", plan_of(tokens=(180, 24), usd="0.612")),
        *(_variant("ladder", ("cheap", "strong"), plan_of(n_asked=5_000), one) for one in STRATEGIES),
    ]


def made(
    *,
    variants: Sequence[Variant] | None = None,
    table: TableFacts = TABLE,
    wish: Wish = WISH,
    billed_otherwise: frozenset[str] = frozenset(),
    today: date = date(2026, 11, 22),
) -> Prospect:
    given = variants_of() if variants is None else variants
    source = PriceSource(url="https://example.com/models", as_of=None, doubt="a list tells no date of it")
    return prospect.make(
        ["in.csv"], table, given, wish, FACTS, PRICES, priced={name: source for one in given for name in one.prices},
        is_example=False, billed_otherwise=billed_otherwise, today=today,
    )  # fmt: skip
