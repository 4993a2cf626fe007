"""A run of ours as one side of the comparison: what it cost, from its record, and whether that can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from reviewopt.benchmark.record import Own, Proven
from reviewopt.benchmark.rivals import per_1000
from reviewopt.benchmark.volume import Curve, Flat
from reviewopt.certificate import Certificate
from reviewopt.record import Run

PLAIN: Final = "reviewopt"
CERTIFIED: Final = "reviewopt certified"
NOT_CERTIFIED: Final = "reviewopt not certified"
_TIERS: Final = ("l1", "l2", "l3")
_NEVER: Final = 1 << 62  # a volume that nobody has
_LOCAL: Final = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A run with its cost, and what it would cost at other volumes of at least `least` reviews."""

    own: Own
    curve: Curve
    least: int = 1


def name_of(run: Run) -> str:
    """Return what a run of ours is called beside others."""
    if run.certificate is None:
        return PLAIN
    return CERTIFIED if run.certificate.is_met else NOT_CERTIFIED


def of_run(run: Run, *, name: str, monthly: int, label_usd: Decimal | None = None) -> Measured:
    """Price a run of ours: its models as charged, the machine for the whole time, and labels that people gave.

    What cannot be compared says why: answers that earlier runs paid for, reviews without an answer, labels of people
    without a price, a machine without one. A certified run is not priced for fewer reviews than it had: its sample
    would be as large for half of them.

    Args:
        run: the record of a run that is done.
        name: what it is called.
        monthly: reviews a month.
        label_usd: what a label by a person costs; None: not known.
    """
    n_reviews = run.n_rows - run.n_by_source["empty"]
    n_labels = _labels_of_people(run)
    paid = dict(_parts(run, n_labels, label_usd))
    usd = sum(paid.values(), Decimal(0))
    obstacle = "; ".join(_obstacles(run, usd, n_labels, label_usd)) or None
    least = max(1, n_reviews) if run.certificate is not None else 1
    if obstacle is not None:
        least = _NEVER
    curve = Flat(usd, n_reviews, least)
    own = Own(
        name=name,
        run_id=run.run_id,
        what=_what(run),
        usd=f"{usd:f}",
        parts={who: f"{one:f}" for who, one in paid.items() if one},
        not_comparable=obstacle,
        labels_of_people=n_labels,
        usd_per_1000=per_1000(usd, n_reviews),
        monthly=curve.monthly(monthly),
        seconds=run.wall_s,
        reviews_per_s=run.reviews_per_s,
        accuracy=None if run.accuracy is None else run.accuracy.overall.accuracy,
        proven=None if run.certificate is None else _proven(run.certificate),
        is_simulated=run.asked is not None and run.asked.is_simulated,
        remarks=tuple(_remarks(run, n_labels)),
    )
    return Measured(own=own, curve=curve, least=least)


def _parts(run: Run, n_labels: int, label_usd: Decimal | None) -> Iterator[tuple[str, Decimal]]:
    """Yield who was paid, and how much; together they are the bill."""
    yield "this machine", Decimal(run.cost.machine_usd)
    yield "labels of people", n_labels * (label_usd or Decimal(0))
    if run.asked is None:
        return
    models = Decimal(run.asked.spent_usd)
    if run.ladder is None:
        yield run.model.name, models
        return
    rungs = {one.name: Decimal(one.spent_usd) for one in run.ladder.rungs if one.name != _LOCAL}
    yield from rungs.items()
    yield "the reference" if run.certificate is not None else "others", models - sum(rungs.values(), Decimal(0))


def _obstacles(run: Run, usd: Decimal, n_labels: int, label_usd: Decimal | None) -> Iterator[str]:
    """Say why the cost of a run is not that of labelling these reviews for the first time."""
    n_reused = sum(run.n_by_source[tier] for tier in _TIERS) if run.asked is not None else 0
    if n_reused:
        yield f"{n_reused:,} answers were paid for by earlier runs"
    certificate = run.certificate
    if certificate is not None and certificate.kind == "model":
        n_missing = certificate.n_reference_rows - certificate.n_reference_calls
        if n_missing > 0:
            yield f"{n_missing:,} labels of the reference were paid for by earlier runs, or are copies"
    if n_labels and label_usd is None:
        yield f"{n_labels:,} labels are people's, and what one costs is not known (--label-usd)"
    if n_failed := run.n_by_source["failed"]:
        yield f"{n_failed:,} reviews stayed unanswered"
    if not usd:
        yield "the machine has no price ([machine] usd_per_hour)"


def _what(run: Run) -> str:
    """Name who answered, from cheap to dear."""
    rungs = ["local model"]
    if run.ladder is not None:
        rungs = ["local model" if one.name == _LOCAL else one.name for one in run.ladder.rungs]
    elif run.model.is_paid:
        rungs = [run.model.name]
    if run.certificate is not None and run.certificate.reference not in rungs:
        rungs.append(run.certificate.reference)
    return " > ".join(rungs)


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
    """Count the labels that people or labelled history gave, of which no bill tells."""
    certificate = run.certificate
    n_reference = 0 if certificate is None or certificate.kind == "model" else certificate.n_reference_rows
    return n_reference + run.n_given


def _remarks(run: Run, n_labels: int) -> Iterator[str]:
    if run.asked is not None and run.asked.is_simulated:
        yield "simulated: no real model answered, its price is that of the model it stands for"
    if n_labels:
        yield f"{n_labels:,} labels are people's"
    if run.accuracy is not None and run.certificate is not None and run.certificate.kind == "column":
        yield "the labels of the column that it is certified by count as right in its accuracy"
