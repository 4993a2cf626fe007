"""Two entries -> each figure side by side. Pure."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from decimal import Decimal

from reviewopt.accuracy import Estimate
from reviewopt.past.values import SCHEMA_VERSION, Change, Comparison, Entry


def compare(a: Entry, b: Entry) -> Comparison:
    """Set two runs side by side."""
    is_known = a.fingerprint is not None and b.fingerprint is not None
    return Comparison(
        schema_version=SCHEMA_VERSION,
        a=a,
        b=b,
        change=Change(
            n_rows=b.n_rows - a.n_rows,
            n_failed=b.n_failed - a.n_failed,
            usd=f"{Decimal(b.usd) - Decimal(a.usd):f}",
            usd_per_1000=_less_usd(b.usd_per_1000, a.usd_per_1000),
            hit_rate=_less(b.hit_rate, a.hit_rate),
            reuse_rate=_less(b.reuse_rate, a.reuse_rate),
            accuracy=difference(b.accuracy, a.accuracy),
            accuracy_low=_less(b.accuracy_low, a.accuracy_low),
            seconds=b.seconds - a.seconds,
            reviews_per_s=_less(b.reviews_per_s, a.reviews_per_s),
        ),
        is_same_table=a.fingerprint == b.fingerprint if is_known else None,
        notes=tuple(_notes(a, b)),
    )


def difference(one: Estimate | None, other: Estimate | None) -> Estimate | None:
    """Return one share less another with its 95 % interval, the two taken as independent.

    Newcombe's method 10 (Statistics in Medicine 17:873, 1998): each share's Wilson limits, squared and added.
    """
    if one is None or other is None:
        return None
    if one.value is None or one.low is None or one.high is None:
        return None
    if other.value is None or other.low is None or other.high is None:
        return None
    value = one.value - other.value
    below = math.hypot(one.value - one.low, other.high - other.value)
    above = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value=value, low=max(-1.0, value - below), high=min(1.0, value + above))


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _less_usd(one: str | None, other: str | None) -> str | None:
    return None if one is None or other is None else f"{Decimal(one) - Decimal(other):f}"


def _notes(a: Entry, b: Entry) -> Iterator[str]:
    """Yield what the figures cannot tell, and what can."""
    if a.run_id == b.run_id:
        yield "A and B are the same run"
    if a.task != b.task:
        yield f"the runs are of different tasks, {a.task} and {b.task}: their accuracies are not of the same thing"
    for letter, one in (("A", a), ("B", b)):
        if one.state != "done":
            yield f"{letter} is {one.state}: its figures are of the {one.n_rows:,} rows that it had come to"
        if one.is_simulated:
            yield f"{letter} is simulated: no real model answered"
    if a.accuracy_low is not None and b.accuracy_low is not None and a.reference != b.reference:
        yield f"what is proven is against different references, {a.reference} and {b.reference}"
    is_labelled = a.state == b.state == "done" and "-" not in (a.output, b.output)
    if is_labelled and a.task == b.task and a.output != b.output:
        yield f"row by row, and sharper: reviewopt compare {shlex.quote(a.output)} {shlex.quote(b.output)}"
