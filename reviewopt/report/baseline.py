"""A run beside an earlier one: which figures are worse, and could that be chance? Pure.

What counts as noise differs by figure. Shares of rows and the slowest requests are tested exactly (`chance`). What was
charged holds no chance for the same rows and prices. One run has one throughput, of which no test can be made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import msgspec

from reviewopt.paired import holm
from reviewopt.record import Run
from reviewopt.report import chance
from reviewopt.report.values import Comparison, Difference, Report, Unit

# One-sided, over all figures that are tested together.
LEVEL: Final = 0.05
# The same work took up to half as long again from hour to hour on the shared machine of the README's figures, and the
# same command 1.90 to 2.60 s within one hour (tests/benchmarks/speed.py). A CI runner is such a machine, and either run
# may have had the bad hour: less than half of the baseline's throughput is more than both together explain.
LEAST_THROUGHPUT: Final = 0.5
# Start-up alone takes .9 to 1.4 s there: of a shorter run it is too much of the whole.
LEAST_S: Final = 5.0
_P95: Final = 0.95
_FISHER: Final = "Fisher's exact test, one-sided"
_QUANTILE: Final = "exact quantile test (Johnson, Verrill and Moore 1987), one-sided"
_PLAIN: Final = "no test: what was charged holds no chance for the same rows and prices"
_BAND: Final = (
    f"no test: one run has no spread; worse below {100 * LEAST_THROUGHPUT:g} % of the baseline, from {LEAST_S:g} s on"
)
_BOUND: Final = "no test: a bound is held by --min-accuracy"


@dataclass(frozen=True, slots=True)
class _Share:
    """So many of `n` cases, of which `n_bad` went wrong."""

    n_bad: int
    n: int


def compare(
    before: Report, now: Report, seconds_before: Sequence[float] = (), seconds_now: Sequence[float] = ()
) -> Comparison:
    """Compare a run with its baseline.

    Args:
        before: the baseline.
        now: the run.
        seconds_before: of the baseline's requests, (n_before,).
        seconds_now: of the run's, (n_now,).
    """
    found = [
        _shares("accuracy", _right(before.run), _right(now.run), is_bad=False),
        *_certified(before.run, now.run),
        _shares("hit rate", _missed(before.run), _missed(now.run), is_bad=False),
        _shares("failures", _failed(before.run), _failed(now.run), is_bad=True),
        _cost(before, now),
        _throughput(before.run, now.run),
        _latency(before, now, seconds_before, seconds_now),
    ]
    return Comparison(
        run_id=before.run.run_id, state=before.state, differences=_adjusted(found), notes=tuple(_notes(before, now))
    )


def _right(run: Run) -> _Share | None:
    if run.accuracy is None or not run.accuracy.overall.n_rows:
        return None
    overall = run.accuracy.overall
    n_right = sum(row[at] for at, row in enumerate(overall.confusion))
    return _Share(overall.n_rows - n_right, overall.n_rows)


def _missed(run: Run) -> _Share | None:
    if not run.n_looked_up or run.hit_rate is None:
        return None
    return _Share(run.n_looked_up - round(run.hit_rate * run.n_looked_up), run.n_looked_up)


def _failed(run: Run) -> _Share | None:
    n_asking = run.n_rows - run.n_by_source["empty"]
    return _Share(run.n_by_source["failed"], n_asking) if n_asking else None


def _shares(name: str, before: _Share | None, now: _Share | None, *, is_bad: bool) -> Difference:
    """Compare two shares of rows; `is_bad`: the figure is the share of what went wrong, else of what did not."""

    def shown(one: _Share | None) -> float | None:
        return None if one is None else (one.n_bad if is_bad else one.n - one.n_bad) / one.n

    made = _difference(name, "share", shown(before), shown(now), _FISHER, is_bad=is_bad)
    if before is None or now is None:
        return made
    return msgspec.structs.replace(made, p_value=chance.fisher(before.n_bad, before.n, now.n_bad, now.n))


def _certified(before: Run, now: Run) -> Iterator[Difference]:
    """Name the bounds that are certified: of both runs, or of one that the other lacks."""
    lows = [None if run.certificate is None else run.certificate.accuracy_low for run in (before, now)]
    if lows != [None, None]:
        yield _difference("certified accuracy", "share", lows[0], lows[1], _BOUND, is_bad=False)


def _cost(before: Report, now: Report) -> Difference:
    """Compare what models were paid per 1,000 rows; what the machine costs is its time, which the throughput tells."""
    paid = [
        f"{Decimal(one.cost.models_usd) * 1000 / one.run.n_rows:.12f}" if one.run.n_rows else None
        for one in (before, now)
    ]
    made = _difference("models' cost per 1,000 reviews", "usd_per_1000", paid[0], paid[1], _PLAIN, is_bad=True)
    if paid[0] is None or paid[1] is None:
        return made
    is_worse = Decimal(paid[1]) > Decimal(paid[0])
    return msgspec.structs.replace(made, is_worse=is_worse, reason="what was charged holds no chance")


def _throughput(before: Run, now: Run) -> Difference:
    a, b = before.reviews_per_s, now.reviews_per_s
    made = _difference("throughput", "reviews_per_s", a, b, _BAND, is_bad=False)
    if a is None or b is None:
        return made
    if now.wall_s < LEAST_S:
        reason = f"not judged: the run took {now.wall_s:.2g} s, and under {LEAST_S:g} s start-up decides"
        return msgspec.structs.replace(made, is_worse=False, reason=reason)
    is_worse = b < LEAST_THROUGHPUT * a
    side = "below" if is_worse else "not below"
    reason = f"{side} {100 * LEAST_THROUGHPUT:g} % of the baseline's, which other work on a machine explains"
    return msgspec.structs.replace(made, is_worse=is_worse, reason=reason)


def _latency(before: Report, now: Report, seconds_before: Sequence[float], seconds_now: Sequence[float]) -> Difference:
    p95 = [None if one.latency is None else one.latency.p95_s for one in (before, now)]
    made = _difference("p95 latency", "s", p95[0], p95[1], _QUANTILE, is_bad=True)
    if p95[0] is None or p95[1] is None:
        return made
    return msgspec.structs.replace(made, p_value=chance.slower(seconds_before, seconds_now, _P95))


def _difference(
    name: str, unit: Unit, before: float | str | None, now: float | str | None, test: str, *, is_bad: bool
) -> Difference:
    """Set two figures beside each other; `is_bad`: the larger is the worse."""
    loss = None
    reason = "there is nothing to judge by"
    if before is None or now is None:
        reason = "was not measured in " + (
            "either run" if before == now else "the run" if now is None else "the baseline"
        )
    elif float(before) == float(now):
        loss = 0.0
    elif float(before):
        loss = (float(now) - float(before)) / float(before) * (1 if is_bad else -1)
    return Difference(
        name=name,
        unit=unit,
        baseline=before,
        run=now,
        loss=loss,
        test=test,
        p_value=None,
        p_adjusted=None,
        is_worse=None,
        reason=reason,
    )


def _adjusted(found: Sequence[Difference]) -> tuple[Difference, ...]:
    """Judge what was tested, all together."""
    tested = [one for one in found if one.p_value is not None]
    adjusted = dict(zip((one.name for one in tested), holm([one.p_value or 0.0 for one in tested]), strict=True))
    return tuple(_judged(one, adjusted[one.name]) if one.name in adjusted else one for one in found)


def _judged(one: Difference, p_adjusted: float) -> Difference:
    is_worse = p_adjusted <= LEVEL
    told = f"p = {p_adjusted:.2g} by Holm, level {LEVEL:g}"
    reason = f"no chance: {told}" if is_worse else f"could be chance: {told}"
    return msgspec.structs.replace(one, p_adjusted=p_adjusted, is_worse=is_worse, reason=reason)


def _notes(before: Report, now: Report) -> Iterator[str]:
    a, b = before.run, now.run
    yield from (f"of the baseline: {note}" for note in before.notes)
    for what, one, other in (
        ("task", a.task, b.task),
        ("labels", ", ".join(a.n_by_label), ", ".join(b.n_by_label)),
        ("model", a.model.name, b.model.name),
    ):
        if one != other:
            yield f"not the baseline's {what}: {one} then, {other} now"
    if None not in {a.input.fingerprint, b.input.fingerprint}:
        if a.input.fingerprint == b.input.fingerprint:
            yield (
                "both runs labelled the same table: what follows takes its rows as unpaired, which is cautious; row by "
                "row `reviewopt compare` tells more"
            )
        else:
            yield "the tables of the two runs are not the same: a worse figure can come from harder reviews"
