"""How a cloud service tells what it found and what went wrong, whatever its SDK calls it.

What an SDK says that went wrong reaches nobody as it is: only codes and the names of its errors do, as its texts may
hold a key or a part of a review.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reviewopt.data import Outcome
from reviewopt.errors import ModelError
from reviewopt.models.reasons import CODE


@dataclass(frozen=True, slots=True)
class Found:
    """What a service says of a document; `confidence` is NaN where it tells none."""

    label: str
    confidence: float = math.nan


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A document that a service answers with an error of its own; `code` is the service's word for it."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A request that brought no results at all; `is_charged`: it may have been billed."""

    outcome: Outcome
    reason: str
    retry_after_s: float | None = None
    is_charged: bool = False


class Service(Protocol):
    """One service of one vendor; `detect` is called from many threads at once."""

    def detect(self, texts: Sequence[str], deadline_s: float) -> Sequence[Found | Unanswered] | Fault:
        """Ask once about these documents, in their order, for about `deadline_s` seconds; nothing is raised."""

    def close(self) -> None:
        """Give up idle connections."""


def missing(name: str, extra: str) -> ModelError:
    """Return the error that says how to install a service's SDK."""
    return ModelError(f"{name} needs the service's own library: pip install 'reviewopt[{extra}]'")


def by_status(status: int, code: str, *, who: str, keys: str, place: str, retry_after_s: float | None = None) -> Fault:
    """Judge a reply that says with its status that there are no results; nothing of it was billed.

    Args:
        status: of HTTP.
        code: the service's word for what was wrong; left out where it does not look like one.
        who: the service.
        keys: what to do where it refuses the credentials.
        place: what to check where it knows no such address.
        retry_after_s: how long it asks to wait.
    """
    told = f"HTTP {status}, {code}" if CODE.fullmatch(code) else f"HTTP {status}"
    if status == 429:
        return Fault(outcome="rate_limited", reason=f"asked to wait ({told})", retry_after_s=retry_after_s)
    if status in {401, 403}:
        return Fault(outcome="hopeless", reason=f"{who} refused the credentials ({told}): {keys}")
    if status == 404 or 300 <= status < 400:
        return Fault(outcome="hopeless", reason=f"{who} is not there ({told}): {place}")
    if status in {408, 409, 425} or not 200 <= status < 500:
        return Fault(outcome="unavailable", reason=f"{who} answered {told}", retry_after_s=retry_after_s)
    return Fault(outcome="spoiled", reason=f"{who} refused the request ({told})")


def unreadable(who: str, error: Exception) -> Fault:
    """Return what is made of a reply that came, so that it is billed, but cannot be read."""
    return Fault(outcome="spoiled", reason=f"{who}: a reply that cannot be read ({named(error)})", is_charged=True)


def named(error: BaseException) -> str:
    """Name an error of an SDK without what it says."""
    return type(error).__name__
