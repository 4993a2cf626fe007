"""A rival's bill for these reviews: a cloud service by its price list, a model by the plan of asking it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from msgspec import structs

from reviewopt import pricelist, services
from reviewopt.benchmark.record import POLICIES, Live, Monthly, Rival
from reviewopt.benchmark.spec import Spec
from reviewopt.benchmark.volume import Curve, Flat, Tiered, money
from reviewopt.pricelist import ServicePrice
from reviewopt.record import Plan
from reviewopt.services import Sizes

_NO_BOUND: Final = 1 << 62
_EVERY_ROW: Final = POLICIES[-1]  # the meaning of "mixed" by which every row counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """A rival with its bill, and what it would cost at other volumes."""

    rival: Rival
    curve: Curve


def of_service(spec: Spec, service: ServicePrice, sizes: Sizes, monthly: int, *, today: date) -> Billed:
    """Price a cloud service on documents of these sizes, and on a month of `monthly` reviews like these.

    A price that is too old on the day `today` says so.

    Raises:
        UsageError: the service does not bill characters.
    """
    units = services.n_units(service, sizes)
    bill = services.bill(service, units)
    curve = Tiered(service, units, sizes.n_rows)
    least = f", at least {service.minimum_units}" if service.minimum_units > 1 else ""
    has_free = service.free_kind != "none"
    rival = Rival(
        name=spec.name,
        kind="service",
        what=spec.what,
        billing=f"units of {service.unit:,} characters, each document rounded up{least}",
        n_units=units,
        usd=f"{bill.list_usd:f}",
        usd_range=None,
        usd_per_1000=per_1000(bill.list_usd, sizes.n_rows),
        after_free_usd=f"{bill.after_free_usd:f}" if has_free else None,
        free=service.free_note,
        monthly=curve.monthly(monthly),
        seconds=services.seconds(service, sizes.n_rows),
        limit=service.limits_note,
        accuracy=None,
        source=service.source,
        as_of=f"{service.as_of}",
        unverified=service.unverified,
        remark="; ".join(filter(None, [service.legacy, _too_long(service, sizes), _too_old(service, today)])),
        live=None,
    )
    return Billed(rival=rival, curve=curve)


def _too_old(service: ServicePrice, today: date) -> str:
    age = pricelist.age_days(service.as_of, today)
    return f"its price is {age} days old: look it up" if age > pricelist.MOST_AGE_DAYS else ""


def _too_long(service: ServicePrice, sizes: Sizes) -> str:
    """Say how many documents the service does not take as they are; a character has a byte at least."""
    most = min(service.most_characters or _NO_BOUND, service.most_bytes or _NO_BOUND)
    n = int(sizes.counts[sizes.chars > most].sum())
    unit = "characters" if service.most_characters else "bytes"
    least = "" if service.most_characters else "at least "
    return (
        f"{least}{n:,} of them are longer than the {most:,} {unit} that it takes, and would have to be cut" if n else ""
    )


def of_model(spec: Spec, plan: Plan, n_reviews: int, monthly: int, price: str) -> Billed:
    """Price a model by the plan of asking it for these reviews; `price` names its price and source."""
    expected, is_later = Decimal(plan.usd.expected), spec.form in {"batch", "flex"}
    curve = Flat(expected, n_reviews)
    rival = Rival(
        name=spec.name,
        kind="model",
        what=spec.what,
        billing=f"{plan.n_requests:,} requests, {round(plan.input_tokens.expected):,} tokens in, "
        f"{round(plan.output_tokens.expected):,} out: {plan.basis}",
        n_units=None,
        usd=plan.usd.expected,
        usd_range=plan.usd,
        usd_per_1000=per_1000(expected, n_reviews),
        after_free_usd=None,
        free="",
        monthly=_month_of(curve, monthly),
        seconds=None if is_later else plan.seconds.expected,
        limit="" if is_later else "the time is the plan's estimate",
        accuracy=None,
        source=price,
        as_of=None,
        unverified=(),
        remark="",
        live=None,
    )
    return Billed(rival=rival, curve=curve)


def with_live(billed: Billed, live: Live) -> Billed:
    """Take in what the rival really answered: its accuracy is that of the sample, "mixed" counted as neutral."""
    measured = next(iter(live.paired.values()))[_EVERY_ROW]
    accuracy = measured.accuracy_b if measured.n_labelled else None
    return Billed(rival=structs.replace(billed.rival, accuracy=accuracy, live=live), curve=billed.curve)


def _month_of(curve: Flat, n_reviews: int) -> Monthly:
    """Price a month, below what was measured too: as if each review cost the same."""
    return Monthly(n_reviews=n_reviews, usd=money(curve.at(n_reviews)), after_free_usd=None, parts=())


def per_1000(usd: Decimal, n_reviews: int) -> str:
    """Return USD per 1,000 reviews, with twelve places."""
    return money(usd * 1000 / n_reviews if n_reviews else Decimal(0))
