"""What goes into the ledger and comes back; money as whole units of 1e-12 USD, and how it is shared out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import Final

from reviewopt.data import Outcome, Usage

_PLACES: Final = 12
# One request never costs this; an endpoint's count that says so is wrong, and sums of it must fit 64 bits.
MOST_UNITS: Final = 1_000 * 10**_PLACES


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A request that is about to be sent.

    `shares` holds the tokens (or any weight) of each tenant in it, "" for rows without one; `most_usd` is the worst
    case; `body_bytes` lets `history` say how many tokens a byte makes.
    """

    most_usd: Decimal
    n_reviews: int
    shares: Mapping[str, int] = field(default_factory=lambda: {"": 1})
    body_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Money set aside for one request, in units; it stays charged until it is settled or released, once."""

    id: int
    day: str
    units: int
    shares: Mapping[str, int]
    wanted: Wanted

    @property
    def usd(self) -> Decimal:
        """What was set aside."""
        return usd_of(self.units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request that may not be sent, because `budget` ("run", "day" or "tenant NAME") has no room for it.

    `charged_usd` is what that budget has been charged, without what this purse has in flight. `is_final`: the request
    would not fit if all of that came back either; otherwise it may fit once some of it is settled.
    """

    budget: str
    budget_usd: Decimal
    charged_usd: Decimal
    wanted_usd: Decimal
    is_final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question of a settled request: its `key` in hex, its tokens, and how it ended."""

    review_id: str
    key: str
    n_tokens: int
    outcome: str
    tenant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A request that was charged, or may have been; `usd` None: nobody knows, so its worst case stays charged."""

    reservation: Reservation
    usd: Decimal | None
    outcome: Outcome
    seconds: float
    usage: Usage | None = None
    request_id: str | None = None
    questions: Sequence[Asked] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A request that was surely not charged: refused before it was read, or never connected."""

    reservation: Reservation
    outcome: Outcome
    seconds: float
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a budget has been charged so far; what this purse has in flight is not in it, all else is."""

    budget: str
    spent_usd: Decimal
    budget_usd: Decimal


def units_of(usd: Decimal) -> int:
    """Turn USD into units, rounded up.

    Raises:
        ValueError: no amount of money.
    """
    if not usd.is_finite() or usd < 0:
        raise ValueError(f"{usd} USD is no amount that can be charged")
    return int(usd.scaleb(_PLACES).to_integral_value(ROUND_CEILING))


def bound_of(usd: Decimal | None) -> int | None:
    """Turn a budget into units, rounded down; None and infinity are no bound.

    Raises:
        ValueError: no amount of money.
    """
    if usd is None or usd == Decimal("Infinity"):
        return None
    if not usd.is_finite() or usd < 0:
        raise ValueError(f"{usd} USD is no budget")
    return int(usd.scaleb(_PLACES))


def usd_of(units: int) -> Decimal:
    """Turn units into USD, exactly."""
    return Decimal(units).scaleb(-_PLACES)


def split(units: int, weights: Sequence[int]) -> list[int]:
    """Share units out by weight, (n_weights,); the parts add up to exactly `units`.

    By largest remainder, so a part is its exact share rounded up or down. Hence, where the weights are the parts of a
    reservation and `units` is at most their sum, no part is more than what was reserved for it.
    """
    if len(weights) == 1:
        return [units]
    total = sum(weights)
    if not total:
        weights, total = [1] * len(weights), len(weights)
    parts = [units * weight // total for weight in weights]
    if left := units - sum(parts):
        by_remainder = sorted(range(len(weights)), key=lambda at: -(units * weights[at] % total))
        for at in by_remainder[:left]:
            parts[at] += 1
    return parts


def split_by_tenant(units: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Share units out over tenants."""
    return dict(zip(weights, split(units, list(weights.values())), strict=True))


def question_units(shares: Mapping[str, int], questions: Sequence[Asked]) -> list[int]:
    """Share each tenant's units out over its questions by their tokens, (n_questions,) in their order.

    Raises:
        ValueError: a tenant that pays has no question, or one that asks has no share.
    """
    if len(shares) == 1:
        (whole,) = shares.values()
        return split(whole, [question.n_tokens for question in questions])
    places: dict[str, list[int]] = {}
    for at, question in enumerate(questions):
        places.setdefault(question.tenant, []).append(at)
    if places.keys() != shares.keys():
        raise ValueError("the questions of a request and its shares have different tenants")
    parts = [0] * len(questions)
    for tenant, ats in places.items():
        for at, part in zip(ats, split(shares[tenant], [questions[at].n_tokens for at in ats]), strict=True):
            parts[at] = part
    return parts


def worst_case(wanted: Wanted) -> dict[str, int]:
    """Share a worst case out over its tenants, in units.

    Raises:
        ValueError: no amount of money, or no tenants.
    """
    units = units_of(wanted.most_usd)
    if units > MOST_UNITS or min(wanted.shares.values(), default=-1) < 0:
        raise ValueError(f"a request of {wanted.most_usd} USD over the shares {dict(wanted.shares)} cannot be meant")
    return split_by_tenant(units, wanted.shares)


def label(scope: str) -> str:
    """Name a budget for people: run, day or tenant NAME."""
    kind, _, name = scope.partition(":")
    return f"tenant {name}" if kind == "tenant" else kind
