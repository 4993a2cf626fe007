"""Which policy a certified run follows, chosen on CAL by what the rungs answer there and what they cost.

An estimate chooses here; what certifies is the audit of the labels that the policy then gives. So nothing here needs
to be exact, and nothing here may look at AUDIT.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import certify, route
from reviewopt.asking import KEPT_COLUMNS
from reviewopt.cache.asked import Batch
from reviewopt.data import Usage
from reviewopt.dedup.spread import NO_LABEL
from reviewopt.job import Local, Paid, Reference
from reviewopt.ladder import Ladder
from reviewopt.referring import distinct
from reviewopt.route import Threshold

# Disagreement that a rung's staying answers may have: from what nothing reaches to what all does.
_TOLERANCES: Final = (0.0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 1.0)
# Shares of the rows, the riskiest, that go to the reference whatever the rungs say.
_REFERRED: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
# A label of a column costs nothing; to prefer the policy that needs fewer, each is weighed with this much, in USD.
_LABEL_WEIGHT_USD: Final = 1e-6
_USED: Final = 0.7  # of the allowed errors, what the rows accepted under CAL's test use; chosen
ALL: Final = "every row has the reference's own answer"
_MARGIN: Final = 0.9  # of the errors that an audit's second test allows, what a policy may be expected to make; chosen
_N_MIXES: Final = 20  # of local and packed answers that are compared
_UNKNOWN_RISK: Final = 0.5  # where no answer of the sample was without a confidence

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Answers to n rows of the sample: codes of labels, NO_LABEL for none, and float32 confidences, NaN if unknown."""

    label: U8
    confidence: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A policy: `thresholds` of the rungs, and the `cut`: rows of higher risk go to the reference.

    `error` is the estimated share of labels that are not the reference's, `final` what CAL's rows would be answered,
    `path` the policies that were weighed, from the safest to the most aggressive; `figures` are of each rung's answers.
    """

    thresholds: tuple[float | None, ...]
    figures: tuple[Threshold, ...]
    cut: float
    unknown_risk: float
    error: float
    usd: float
    name: str
    path: tuple[str, ...]
    final: Said


def said_by(ladder: Ladder, rung: Local | Paid, batch: Batch, drawn: pl.DataFrame) -> Said:
    """Return what one rung answers to drawn rows; a paid one is asked what it has not answered before, once a text."""
    questions, place = distinct(batch)
    answers = ladder.known_or_said_by(rung, questions, drawn.select(KEPT_COLUMNS)[place.first])
    if isinstance(rung, Paid):
        ladder.bought.buy(rung.source, questions, answers)
    return Said(label=answers.label[place.of], confidence=answers.confidence[place.of])


def prices(ladder: Ladder, reference: Reference, paid: Paid, drawn: pl.DataFrame) -> tuple[float, float]:
    """Return what a review costs with the reference, and in the packs of another model, in USD."""
    usd = prices_of(ladder, reference, drawn)
    return usd[-1], _usd_a_review(ladder, paid, drawn)


def prices_of(ladder: Ladder, reference: Reference, drawn: pl.DataFrame) -> tuple[float, ...]:
    """Return what a review costs in USD with each rung, and last with the reference (a column's: its weight)."""
    rungs = ladder.job.rungs
    usd = [float(one.price_usd) if isinstance(one, Local) else _usd_a_review(ladder, one, drawn) for one in rungs]
    last = _LABEL_WEIGHT_USD if reference.paid is None else _usd_a_review(ladder, reference.paid, drawn)
    return (*usd, max(last, _LABEL_WEIGHT_USD))


def _usd_a_review(ladder: Ladder, paid: Paid, drawn: pl.DataFrame) -> float:
    tenant = drawn["tenant"] if ladder.job.isolated else None
    batch = Batch(form=drawn["form"], sketches=None, tenant=tenant)
    found = ladder.asking[paid.source].survey(batch, drawn.select(KEPT_COLUMNS), skips_refused=False)
    n = max(1, found.n_requests)
    mean = Usage(input=round(found.n_input_tokens / n), output=round(found.n_output_tokens / n))
    return float(found.n_requests * paid.price.cost(mean)) / max(1, found.n_questions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """The audit that labels will have to pass: `n` rows at most, drawn from `n_from`.

    `delta` is that of the first test; `most_share` is the share of the n rows that may be wrong in the second one,
    which leaves the riskiest rows to the reference; None where that cannot answer.
    """

    n: int
    n_from: int
    target: float
    delta: float
    most_share: float | None

    def n_rows(self, error: float) -> float:
        """Return how many rows the audit is likely to take where a share `error` is wrong; infinity if it will fail."""
        enough = math.inf
        if error < 1 - self.target:
            enough = certify.audit_size(self.n_from, self.target, error, self.delta)
        if enough <= self.n:
            return enough
        passes = self.most_share is not None and error <= _MARGIN * self.most_share
        return self.n if passes else math.inf


def compared(
    confidence: F64,
    packed_error: float,
    *,
    single_usd: float,
    packed_usd: float,
    n_rows: int,
    target: float,
    audit: Audited,
) -> tuple[float, float]:
    """Return what labelling would cost in USD without packs, which CAL certifies, and with them, under an audit.

    Worked out from the local model's own confidence, so that no label is looked at. Without packs, answers are accepted
    until they use `_USED` of the errors allowed, and the rest is asked singly. With packs, the rest is asked in packs
    instead, as far as is cheapest with the audit that its errors take; infinity where no such mix could pass.

    Args:
        confidence: of the local model's answers to rows of the sample, float64 (n,).
        packed_error: the estimated share of packed answers that differ from single ones.
        single_usd: of a review asked singly.
        packed_usd: of a review in a pack.
        n_rows: of the table, with a text.
        target: the share of labels that must be the reference's.
        audit: of the labels with packs among them.
    """
    n, allowed = max(1, len(confidence)), 1 - target
    errors = np.concatenate([[0.0], np.cumsum(np.sort(1 - confidence))]) / n  # by rows accepted
    accepted = np.arange(len(errors)) / n
    alone = float(accepted[errors <= _USED * allowed].max())
    alone_usd = n_rows * (1 - alone) * single_usd
    packs_usd = math.inf
    for at in np.unique(np.linspace(0, len(errors) - 1, _N_MIXES).astype(np.int64)).tolist():
        error = float(errors[at] + (1 - accepted[at]) * packed_error)
        labelling = n_rows * (1 - float(accepted[at])) * packed_usd
        if labelling < packs_usd:
            packs_usd = min(packs_usd, labelling + audit.n_rows(error) * single_usd)
    return alone_usd, packs_usd


def choose(
    said: Sequence[Said],
    reference: U8,
    *,
    usd: Sequence[float],
    n_rows: int,
    audit: Audited,
    can_answer: bool,
) -> Choice:
    """Choose the cheapest policy whose labels AUDIT is likely to certify.

    Weighed are the rungs' thresholds at one tolerance for all (`route.threshold`), and shares of the riskiest rows that
    go to the reference. The price of a policy is that of labelling n_rows, and of the audit that its estimated error
    takes. Where none is likely to pass, all goes to the reference; where that cannot answer, the most accurate is
    taken.

    Args:
        said: what each rung answers to CAL, from cheap to dear, (n,) each.
        reference: the reference's labels, uint8 (n,); NO_LABEL counts as a difference.
        usd: of an answer of each rung, and last of the reference.
        n_rows: of the table, with a text.
        audit: what the labels will have to pass.
        can_answer: whether the reference can answer rows.
    """
    candidates = list(_candidates(said, reference, usd, can_answer=can_answer))
    path = tuple(dict.fromkeys(one.name for one in candidates))
    best, least = None, math.inf
    n_audit: dict[float, float] = {}
    for one in sorted(candidates, key=lambda one: one.usd):
        if n_rows * one.usd >= least:
            break
        if one.error not in n_audit:
            n_audit[one.error] = audit.n_rows(one.error)
        total = n_rows * one.usd + n_audit[one.error] * usd[-1]
        if total < least:
            best, least = one, total
    if best is not None:
        return _with(best, cut=best.cut, name=best.name if best.cut > -math.inf else ALL, error=best.error, path=path)
    best = min(candidates, key=lambda one: one.error)
    cut, name = (-math.inf, ALL) if can_answer else (best.cut, best.name)
    return _with(best, cut=cut, name=name, error=0.0 if can_answer else best.error, path=path)


def _with(choice: Choice, *, cut: float, name: str, error: float, path: tuple[str, ...]) -> Choice:
    return Choice(
        thresholds=choice.thresholds,
        figures=choice.figures,
        cut=cut,
        unknown_risk=choice.unknown_risk,
        error=error,
        usd=choice.usd,
        name=name,
        path=path,
        final=choice.final,
    )


def _candidates(said: Sequence[Said], reference: U8, usd: Sequence[float], *, can_answer: bool) -> Iterator[Choice]:
    """Yield every policy that is weighed, from the safest to the most aggressive."""
    n = len(reference)
    agrees = [(one.label == reference) & (reference != NO_LABEL) for one in said]
    for tolerance in _TOLERANCES if len(said) > 1 else _TOLERANCES[-1:]:
        figures = [
            route.threshold(one.confidence, right, tolerance) for one, right in zip(said[:-1], agrees, strict=False)
        ]
        top = route.threshold(said[-1].confidence, agrees[-1], 1.0)
        thresholds = (*(one.value for one in figures), 0.0)
        label, confidence = np.full(n, NO_LABEL, np.uint8), np.full(n, np.nan, np.float32)
        open_, cost = np.ones(n, np.bool_), 0.0
        for one, value, price in zip(said, thresholds, usd, strict=False):
            if value is None:
                continue
            here = np.flatnonzero(open_)
            label[here], confidence[here] = one.label[here], one.confidence[here]
            cost += price * len(here) / max(1, n)
            open_[here[route.accepts(value, one.confidence[here])]] = False
        wrong = (label != reference) | (reference == NO_LABEL)
        unknown = np.isnan(confidence)
        unknown_risk = float((wrong[unknown].sum() + 1) / (unknown.sum() + 2)) if unknown.any() else _UNKNOWN_RISK
        risk = np.where(unknown, unknown_risk, 1 - confidence.astype(np.float64))
        for referred in _REFERRED if can_answer else _REFERRED[:1]:
            cut = float(np.quantile(risk, 1 - referred)) if referred and n else math.inf
            stays = risk < cut
            cut = cut if stays.any() else -math.inf
            yield Choice(
                thresholds=thresholds,
                figures=(*figures, top),
                cut=cut,
                unknown_risk=unknown_risk,
                error=float((wrong & stays).sum() + 1) / (n + 2),
                usd=cost + usd[-1] * float((~stays).mean() if n else 1.0),
                name=f"tolerance {tolerance:g} at every rung, the riskiest {100 * referred:g} % to the reference",
                path=(),
                final=Said(label=label, confidence=confidence),
            )
