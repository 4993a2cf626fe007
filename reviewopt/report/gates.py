"""A report and limits -> gates. Pure, and closed where something is missing: what is not known meets no limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from reviewopt.report.values import Difference, Gate, Report, Unit

_NOISE: Final = 1e-12  # of binary fractions; two shares of rows are further apart
_ENDED: Final = {
    "running": "still runs",
    "killed": "was killed",
    "interrupted": "was interrupted",
    "failed": "failed",
    "done": "is done",
}
_CALLED: Final = {
    "min_accuracy": "accuracy",
    "max_cost_usd": "cost",
    "max_cost_per_1k_usd": "cost per 1,000 reviews",
    "min_hit_rate": "hit rate",
    "min_throughput": "throughput",
    "max_failures": "failures",
    "max_p95_latency_s": "p95 latency",
    "max_regression": "regression",
}
Figure = float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run is held against; null: not at all. Failures are bounded as a count or as a share."""

    min_accuracy: float | None = None
    max_cost_usd: Decimal | None = None
    max_cost_per_1k_usd: Decimal | None = None
    min_hit_rate: float | None = None
    min_throughput: float | None = None
    max_failures: int | None = None
    max_failures_share: float | None = None
    max_p95_latency_s: float | None = None
    max_regression: float | None = None


def held(report: Report, limits: Limits) -> tuple[Gate, ...]:
    """Hold a report against each limit that is set, in the order of the settings."""
    return tuple(_gates(report, limits))


def called(gate: Gate) -> str:
    """Name a gate for people: `accuracy`, `regression of p95 latency`."""
    name = _CALLED[gate.name]
    return name if gate.of is None else f"{name} of {gate.of}"


def breaches(gates: Sequence[Gate]) -> str | None:
    """Name every gate that is not met, with both figures; None where all are."""
    open_ = [f"the {called(gate)} gate is not met: {gate.why}" for gate in gates if not gate.is_met]
    if len(open_) < 2:
        return "".join(open_) or None
    return "\n  ".join((f"{len(open_)} gates are not met:", *open_))


def accuracy_breach(report: Report, least: float) -> str | None:
    """Say why a run is not proven to be right in a share of at least `least`, with both figures; null where it is."""
    gate = _accuracy(report, least)
    return None if gate.is_met else gate.why


def _gates(report: Report, limits: Limits) -> Iterator[Gate]:
    run = report.run
    n_asking = run.n_rows - run.n_by_source["empty"]
    n_failed = run.n_by_source["failed"]
    if limits.min_accuracy is not None:
        yield _accuracy(report, limits.min_accuracy)
    if limits.max_cost_usd is not None:
        yield _cost(report, "max_cost_usd", "usd", limits.max_cost_usd, report.cost.total_usd)
    if limits.max_cost_per_1k_usd is not None:
        each = report.cost.per_1000_usd
        yield _cost(report, "max_cost_per_1k_usd", "usd_per_1000", limits.max_cost_per_1k_usd, each)
    if limits.min_hit_rate is not None:
        missing = "no question was looked up in the cache"
        yield _bound(report, "min_hit_rate", "share", limits.min_hit_rate, run.hit_rate, missing)
    if limits.min_throughput is not None:
        yield _bound(
            report, "min_throughput", "reviews_per_s", limits.min_throughput, run.reviews_per_s, "it has no reviews"
        )
    if limits.max_failures is not None:
        yield _bound(report, "max_failures", "reviews", limits.max_failures, n_failed, "")
    if limits.max_failures_share is not None:
        share = n_failed / n_asking if n_asking else None
        yield _bound(
            report, "max_failures", "share", limits.max_failures_share, share, "it has no review with something to ask"
        )
    if limits.max_p95_latency_s is not None:
        p95_s = None if report.latency is None else report.latency.p95_s
        missing = report.notes[0] if report.notes else "no request was made"
        yield _bound(report, "max_p95_latency_s", "s", limits.max_p95_latency_s, p95_s, missing)
    if limits.max_regression is not None:
        yield from _regressions(report, limits.max_regression)


def _accuracy(report: Report, least: float) -> Gate:
    """Hold what is proven against `least`.

    What counts is a lower bound: the certificate's, where the run made one, whatever it was asked to prove; else the
    lower end of the 95 % interval against the table's own labels. Where there is neither, nothing is proven.
    """
    certificate, accuracy = report.run.certificate, report.run.accuracy
    low: float | None = None
    if report.state != "done":
        why = f"the run {_ENDED[report.state]}, so that nothing is proven"
    elif certificate is not None:
        low = certificate.accuracy_low
        why = f"the certificate proves nothing: {certificate.reason}"
        if low is not None:
            why = f"{_floored(low)} is certified, at {certificate.confidence!r} confidence"
    elif accuracy is not None and accuracy.overall.accuracy.low is not None:
        low = accuracy.overall.accuracy.low
        why = f"{_floored(low)} is the lower end of the 95 % interval"
    else:
        why = (
            "no accuracy was measured: label the table with --reference and --target, "
            "or name its labels with --label-column"
        )
    is_met = low is not None and low >= least - _NOISE
    return Gate(
        name="min_accuracy",
        of=None,
        unit="share",
        limit=least,
        figure=low,
        is_met=is_met,
        why=f"at least {least!r} is required, and {why}",
    )


def _floored(low: float) -> float:
    """Return a bound with four places, never more than was proven."""
    return math.floor((low + _NOISE) * 10_000) / 10_000


def _cost(report: Report, name: str, unit: Unit, most: Decimal, spent: str | None) -> Gate:
    required = f"at most {most:f} USD is allowed"
    if report.state != "done":
        return _missing(report, name, unit, f"{most:f}", required, "")
    if report.ledger == "damaged" or spent is None:
        what = report.notes[0] if spent is not None else "the run has no reviews"
        return _missing(report, name, unit, f"{most:f}", required, what)
    is_met = Decimal(spent) <= most
    told = _apart(Decimal(spent), most)
    why = f"{required}, and it is {told} USD"
    return Gate(name=name, of=None, unit=unit, limit=f"{most:f}", figure=spent, is_met=is_met, why=why)


def _bound(report: Report, name: str, unit: Unit, limit: float, figure: float | None, missing: str) -> Gate:
    """Hold a figure against the least or the most that it may be, as the gate's name says."""
    is_least = name.startswith("min_")
    words = _SHOWN[unit]
    required = f"at least {words(limit)} is required" if is_least else f"at most {words(limit)} is allowed"
    if report.state != "done" or figure is None:
        return _missing(report, name, unit, limit, required, missing)
    is_met = figure >= limit - _NOISE if is_least else figure <= limit + _NOISE
    told = words(limit) if abs(figure - limit) <= _NOISE else _told(figure, limit, unit)
    why = f"{required}, and it is {told}"
    return Gate(name=name, of=None, unit=unit, limit=limit, figure=figure, is_met=is_met, why=why)


def _missing(
    report: Report, name: str, unit: Unit, limit: float | str, required: str, what: str, of: str | None = None
) -> Gate:
    if report.state != "done":
        what = f"the run {_ENDED[report.state]}"
    why = f"{required}, and the figure is missing: {what}"
    return Gate(name=name, of=of, unit=unit, limit=limit, figure=None, is_met=False, why=why)


def _regressions(report: Report, most: float) -> Iterator[Gate]:
    """Hold the comparison with the baseline against the most that a figure may be worse."""
    required = f"at most {_percent(most)} worse than the baseline is allowed"
    against = report.baseline
    if report.state != "done" or against is None or against.state != "done":
        what = "there is no baseline; name a run with --baseline"
        if against is not None:
            what = f"the baseline {against.run_id} {_ENDED[against.state]}"
        yield _missing(report, "max_regression", "relative", most, required, what)
        return
    compared = [one for one in against.differences if one.baseline is not None]
    if not compared:
        what = f"the baseline {against.run_id} has no figure to compare with"
        yield _missing(report, "max_regression", "relative", most, required, what)
    for one in compared:
        if one.run is None:
            what = f"{one.name} was {beside(one)[0]} and {one.reason}"
            yield _missing(report, "max_regression", "relative", most, required, what, one.name)
        elif one.is_worse is not None:
            yield _regression(one, most, required)


def _regression(one: Difference, most: float, required: str) -> Gate:
    is_met = not one.is_worse or (one.loss is not None and one.loss <= most + _NOISE)
    before, now = beside(one)
    reason = "" if one.loss is not None and one.loss <= 0 else f" ({one.reason})"
    return Gate(
        name="max_regression",
        of=one.name,
        unit="relative",
        limit=most,
        figure=one.loss,
        is_met=is_met,
        why=f"{required}, and {one.name} went from {before} to {now}{reason}",
    )


def beside(one: Difference) -> tuple[str, str]:
    """Return both figures of a difference with so many digits that they differ where they do."""
    words = _SHOWN[one.unit]
    if one.baseline is None or one.run is None:
        return _word(one.baseline, words), _word(one.run, words)
    before, now = float(one.baseline), float(one.run)
    return _told(before, now, one.unit), _told(now, before, one.unit)


def _word(figure: Figure, words: Callable[[float], str]) -> str:
    return "not measured" if figure is None else words(float(figure))


def _told(figure: float, other: float, unit: Unit) -> str:
    """Round a figure, but never onto or over the one that it is held against."""
    words = _SHOWN[unit]
    if unit in {"share", "relative"}:
        return words(float(_apart(Decimal(repr(100 * figure)), Decimal(repr(100 * other)))) / 100)
    return words(float(_apart(Decimal(repr(float(figure))), Decimal(repr(float(other))))))


def _apart(figure: Decimal, limit: Decimal) -> str:
    """Return a figure with four digits, or as many as keep it on its side of the limit."""
    for digits in range(4, 30):
        text = f"{Decimal(f'{figure:.{digits - 1}e}'):f}"
        if (Decimal(text) > limit) == (figure > limit) and (Decimal(text) < limit) == (figure < limit):
            return text
    return f"{figure:f}"


def _percent(share: float) -> str:
    return f"{100 * share:.12g} %"


_SHOWN: Final[dict[Unit, Callable[[float], str]]] = {
    "share": _percent,
    "relative": _percent,
    "usd": lambda usd: f"{usd:.12g} USD",
    "usd_per_1000": lambda usd: f"{usd:.12g} USD",
    "reviews": lambda n: f"{n:,.12g}",
    "reviews_per_s": lambda speed: f"{speed:,.12g} reviews/s",
    "s": lambda seconds: f"{seconds:.12g} s",
}
