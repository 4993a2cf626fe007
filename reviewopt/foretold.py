"""What a promise will take before anything is asked: rows of the sample, and of what the local model is not sure of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from reviewopt import referring
from reviewopt.asking import KEPT_COLUMNS, Survey
from reviewopt.cache.asked import Batch
from reviewopt.job import Local, Paid, Reference
from reviewopt.ladder import Ladder
from reviewopt.reach import Reach
from reviewopt.record import ProofPlan, Range

# How much of the error that is allowed the accepted answers will use, as their own confidence has it: at best, expected
# and at worst; chosen.
_USED: Final = (1.0, 0.7, 0.4)
# What goes to the reference where nothing is known of a local model yet: anything from the sample to all.
_UNKNOWN: Final = (0.1, 0.5, 1.0)
# Rows whose tokens stand for all.
_COUNTED_ROWS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """What each paid model would be asked, from cheap to dear, and how that divides the rows."""

    reached: tuple[Reach, ...]
    plan: ProofPlan


def foretell(ladder: Ladder, reference: Reference, *, n_questions: int) -> Foretold:
    """Work out what each paid model would be asked.

    Args:
        ladder: the rungs, none of which has been asked.
        reference: with the sample, whose texts are known and whose labels are not.
        n_questions: distinct texts of the table.
    """
    drawn, job = reference.drawn, ladder.job
    n_rows = max(1, drawn.n_rows)
    distinct = n_questions / n_rows
    rest = _rest(ladder, reference)
    n_again = 0
    if reference.again is not None:
        n_again = referring.n_again(reference, job.config.certificate.self_agreement)
    sample = [reference.n_train + reference.n_cal + part * reference.n_audit + n_again for part in (0, 0.5, 1.0)]
    between = [one for one in job.rungs if isinstance(one, Paid)]
    reached = []
    left = [share * n_rows * distinct for share in rest]
    for one in between:
        n_train = min(reference.n_train + reference.n_cal, n_rows)
        low, expected, high = (min(n_questions, n_train + part) for part in (0.0, left[1], n_questions))
        reached.append(_reach(ladder, one, reference, n_questions, (low, expected, high)))
    if reference.paid is not None:
        # Where packs answer between, the rest goes there, and to the reference only if packs do not pay.
        more = [0.0, 0.0, left[2]] if between else left
        counts = [min(n_questions + n_again, one + rest_) for one, rest_ in zip(sample, more, strict=True)]
        reached.append(_reach(ladder, reference.paid, reference, n_questions, (counts[0], counts[1], counts[2])))
    taken = [min(1.0, (one + share * n_rows) / n_rows) for one, share in zip(sample, rest, strict=True)]
    plan = ProofPlan(
        reference=reference.name,
        target=job.config.certificate.target,
        confidence=job.config.certificate.confidence,
        n_train=reference.n_train,
        n_cal=reference.n_cal,
        n_audit=reference.n_audit,
        n_again=n_again,
        beyond_local_share=Range(low=taken[0], expected=taken[1], high=taken[2]),
    )
    return Foretold(reached=tuple(reached), plan=plan)


def _rest(ladder: Ladder, reference: Reference) -> tuple[float, float, float]:
    """Return the share of rows whose local answer is not accepted, if its confidence tells the truth."""
    (first, *_) = ladder.job.rungs
    learned, frame = reference.learned, reference.drawn.frame
    if learned is None or not isinstance(first, Local):
        return 1.0, 1.0, 1.0
    if not learned.is_known or not frame.height:
        return _UNKNOWN
    wrong = np.sort(1 - learned.predict(frame["form"]).confidence.astype(np.float64))
    allowed = 1 - ladder.job.config.certificate.target
    shares = [1 - float((np.cumsum(wrong) <= part * allowed * len(wrong)).mean()) for part in _USED]
    return shares[0], shares[1], shares[2]


def _reach(
    ladder: Ladder, paid: Paid, reference: Reference, n_questions: int, counts: tuple[float, float, float]
) -> Reach:
    """Say what a model would be asked, with the tokens of a few rows standing for all."""
    rows = reference.drawn.frame[:_COUNTED_ROWS]
    tenant = rows["tenant"] if ladder.job.isolated else None
    counted = ladder.asking[paid.source].survey(
        Batch(form=rows["form"], sketches=None, tenant=tenant), rows.select(KEPT_COLUMNS), skips_refused=False
    )
    more = n_questions / max(1, counted.n_questions)
    low, expected, high = counts
    return Reach(
        source=paid.source,
        low=low,
        expected=expected,
        high=high,
        stays=expected,
        survey=Survey(
            n_questions=n_questions,
            n_refused=0,
            n_requests=round(more * counted.n_requests),
            n_input_tokens=round(more * counted.n_input_tokens),
            n_output_tokens=more * counted.n_output_tokens,
            n_body_bytes=round(more * counted.n_body_bytes),
        ),
    )
