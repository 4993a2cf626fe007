"""A run of ours as one side of the comparison: what it cost, from its record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from reviewopt.benchmark.record import Own, Proven
from reviewopt.benchmark.rivals import month_of, per_1000
from reviewopt.benchmark.volume import Curve, Flat
from reviewopt.certificate import Certificate
from reviewopt.record import Run

_TIERS: Final = ("l1", "l2", "l3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A run with its cost, and what it would cost at other volumes of at least `least` reviews."""

    own: Own
    curve: Curve
    least: int = 1


def of_run(run: Run, *, name: str, monthly: int, bought_usd: Decimal | None = None) -> Measured:
    """Price a run of ours.

    Answers that were in the archive cost nothing in this run, but would cost something in a first one: they count with
    what they would cost one by one, or with `bought_usd`, what the run that bought them all cost, where that is less.
    The machine is priced for the whole time of the run. A certified run is not priced for fewer reviews than it had:
    its sample would be as large for half of them.
    """
    n_reviews = run.n_rows - run.n_by_source["empty"]
    is_paid = run.asked is not None
    n_reused = sum(run.n_by_source[tier] for tier in _TIERS) if is_paid else 0
    models = Decimal(run.asked.spent_usd) if run.asked is not None else Decimal(0)
    reused = sum((Decimal(run.cost.saved_usd[tier]) for tier in _TIERS), Decimal(0)) if n_reused else Decimal(0)
    if bought_usd is not None and n_reused:
        reused = min(reused, bought_usd) if reused else bought_usd
    machine = Decimal(run.cost.machine_usd)
    usd = models + reused + machine
    least = max(1, n_reviews) if run.certificate is not None else 1
    curve = Flat(usd, n_reviews, least)
    own = Own(
        name=name,
        run_id=run.run_id,
        what=_what(run),
        usd=f"{usd:f}",
        models_usd=f"{models:f}",
        reused_usd=f"{reused:f}",
        machine_usd=f"{machine:f}",
        parts={who: f"{paid:f}" for who, paid in _parts(run, models, reused, machine) if paid},
        n_reused=n_reused,
        labels_of_people=_labels_of_people(run),
        usd_per_1000=per_1000(usd, n_reviews),
        monthly=month_of(curve, monthly),
        seconds=run.wall_s,
        reviews_per_s=run.reviews_per_s,
        accuracy=None if run.accuracy is None else run.accuracy.overall.accuracy,
        proven=None if run.certificate is None else _proven(run.certificate),
        is_simulated=run.asked is not None and run.asked.is_simulated,
        remarks=tuple(_remarks(run, n_reused)),
    )
    return Measured(own=own, curve=curve, least=least)


def _parts(run: Run, models: Decimal, reused: Decimal, machine: Decimal) -> Iterator[tuple[str, Decimal]]:
    """Yield who was paid, and how much; together they are the bill."""
    yield "this machine", machine
    yield "answers that earlier runs bought", reused
    if run.ladder is None:
        yield run.model.name, models
        return
    rungs = {one.name: Decimal(one.spent_usd) for one in run.ladder.rungs}
    yield from rungs.items()
    yield "the reference" if run.certificate is not None else "others", models - sum(rungs.values(), Decimal(0))


def _what(run: Run) -> str:
    """Name who answered, from cheap to dear."""
    if run.ladder is not None:
        rungs = [one.name for one in run.ladder.rungs]
        who = " > ".join("local model" if one == "local" else one for one in rungs)
        if run.certificate is not None and run.certificate.reference not in rungs:
            who = f"{who} > {run.certificate.reference}"
        return who
    who = run.model.name if run.model.is_paid else "local model"
    return who if run.certificate is None else f"{who} > {run.certificate.reference}"


def _proven(certificate: Certificate) -> Proven:
    return Proven(
        reference=certificate.reference,
        target=certificate.target,
        confidence=certificate.confidence,
        accuracy_low=certificate.accuracy_low,
        is_met=certificate.is_met,
        reason=certificate.reason,
        n_reference_rows=certificate.n_reference_rows,
    )


def _labels_of_people(run: Run) -> int:
    if run.certificate is None or run.certificate.kind == "model":
        return 0
    return run.certificate.n_reference_rows


def _remarks(run: Run, n_reused: int) -> Iterator[str]:
    if run.asked is not None and run.asked.is_simulated:
        yield "simulated: no real model answered, its price is that of the model it stands for"
    if n_reused:
        yield f"{n_reused:,} answers came from the archive: counted with what they would cost at most in a first run"
    if run.certificate is not None and (n := _labels_of_people(run)):
        yield f"{n:,} labels are those of {run.certificate.reference} itself: no price is put on them"
    if run.accuracy is not None and run.certificate is not None and run.certificate.kind == "column":
        yield "the labels of the column that it is certified by count as right in its accuracy"
    if run.n_given:
        yield f"{run.n_given:,} answers are those of people or labelled history: no price is put on them"
    if n_failed := run.n_by_source["failed"]:
        yield f"{n_failed:,} reviews stayed unanswered, and cost less for that"
