"""The certificate of a table that is labelled already, whoever made them: nothing is labelled or changed.

The labels are frozen (`freezing`), rows are drawn, the reference says what it would have answered, and evidence grows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import certify
from reviewopt.attempts import Promise
from reviewopt.audited import Found, attempt_of, not_covered, reason_of
from reviewopt.certificate import SCHEMA_VERSION, Attempt, Certificate, SelfAgreement, Slice
from reviewopt.dedup.spread import NO_LABEL
from reviewopt.freezing import Labels, allowed, is_counted
from reviewopt.job import Job, Reference
from reviewopt.ladder import Ladder
from reviewopt.referring import Referring, self_agreement
from reviewopt.slices import slice_of

# Rows that a model is asked at a time: a few requests on every thread, and little more than the test needs.
_AUDIT_ROWS: Final = 64
_CERTAIN: Final = 1e300  # evidence without bound; JSON has no infinity
_WITHOUT_KNOWING: Final = (
    "labels that were made by somebody who knew people's answers: that nobody did is your statement, not tested"
)

Flags = npt.NDArray[np.bool_]
U8 = npt.NDArray[np.uint8]


class Certifying:
    """The audit of one table's labels."""

    def __init__(
        self, job: Job, reference: Reference, ladder: Ladder, labels: Labels, on_line: Callable[[str], None]
    ) -> None:
        self._job, self._reference, self._ladder, self._labels = job, reference, ladder, labels
        self._on_line = on_line
        self._settings = job.config.certificate
        self._is_counted = is_counted(reference.kind, self._settings, labels)
        self._referring = Referring(job, reference, ladder)
        self._wrong = np.zeros(0, np.bool_)
        self._is_cut = False  # a budget, or the deadline, ended it

    def certificate(
        self, promise: Promise, *, attempt: int, column: str, is_reviewed_elsewhere: bool = False
    ) -> Certificate:
        """Ask the reference about the sample, and say what it proves.

        Args:
            promise: what is promised, counted as the `attempt`-th.
            attempt: from 1.
            column: that has the labels.
            is_reviewed_elsewhere: people answered another file of the same texts, which had no labels to freeze.

        Raises:
            UsageError: the target is above the reference's agreement with itself.
            ModelError: no request can pass; what was answered is archived.
            KeyboardInterrupt: it is to end.
        """
        labels, reference, settings = self._labels, self._reference, self._settings
        delta = allowed(settings, attempt)
        repeated = self._self_agreement() if self._is_worth_it(delta) else None
        audit = self._counted(delta) if self._is_counted else attempt_of(self._audit(delta), delta)
        found, n_calls = self._found(delta), 0
        is_met = audit.passes and found.low is not None and round((1 - found.low) * labels.n_texts) <= self._budget
        if reference.paid is not None:
            n_calls = self._ladder.asking[reference.paid.source].pool.counts.n_asked
        policy = f"the labels of the column {column}, as they are"
        if labels.n_unanswered:
            policy += f" ({labels.n_unanswered:,} rows without one count as wrong)"
        if self._is_counted:
            policy += "; all rows were compared, so that nothing is left to chance"
        return Certificate(
            schema_version=SCHEMA_VERSION,
            reference=reference.name,
            kind=reference.kind,
            target=settings.target,
            confidence=settings.confidence,
            is_met=is_met,
            reason="" if is_met else self._reason(audit),
            method="audit",
            accuracy_low=found.low,
            accuracy_seen=found.seen,
            n_rows=labels.n_texts,
            n_empty=len(labels.answer) - labels.n_texts,
            n_train=0,
            n_cal=0,
            n_audit=found.n_audited,
            n_errors=found.n_errors,
            most_errors=None,
            n_unproven=labels.n_gaps,
            n_reference_rows=0,
            n_reference_calls=n_calls,
            n_reference_saved=labels.n_texts - found.n_audited,
            table=reference.fingerprint,
            seed=f"{reference.seed:016x}",
            attempt=attempt,
            delta=delta,
            policy_path=(policy,),
            policy_hash=promise.policy,
            policy=policy,
            audits=(audit,),
            self_agreement=repeated,
            per=settings.per,
            slices=self._slices(delta),
            drift=(),
            does_not_cover=(*not_covered(self._job, reference), *[_WITHOUT_KNOWING] * is_reviewed_elsewhere),
        )

    def _self_agreement(self) -> SelfAgreement | None:
        """Ask a model about the first rows twice, and refuse what it cannot agree with itself on."""
        reference, settings = self._reference, self._settings
        rows = reference.drawn.frame[: settings.self_agreement]
        if reference.paid is None or reference.again is None or not len(rows):
            return None
        with self._job.recorder.stage("prove"):
            first = self._referring.labels_of(rows)
            second = self._referring.second_labels_of(rows, reference.again)
        found = self_agreement(reference, first, second, settings.target)
        self._on_line(
            f"{reference.name} asked twice: the same answer to {found.n_equal:,} of {found.n:,} reviews "
            f"({100 * found.low:.1f} to {100 * found.high:.1f} %)"
        )
        return found

    def _counted(self, delta: float) -> Attempt:
        """Compare all rows with the reference's column."""
        labels = self._labels
        self._on_line(f"{labels.n_differ:,} of {labels.n_left:,} labels are not {self._reference.name}'s")
        is_met = labels.n_differ + labels.n_wrong <= self._budget
        return Attempt(
            test="e-process",
            delta=delta,
            n_audited=labels.n_left,
            n_errors=labels.n_differ,
            most_errors=None,
            e_value=_CERTAIN if is_met else 0.0,
            n_escalated=0,
            passes=is_met,
        )

    @property
    def _budget(self) -> int:
        """How many of the rows may be wrong."""
        return certify.error_budget(self._labels.n_texts, self._settings.target)

    def _test(self, delta: float) -> certify.Audit:
        n_left = self._labels.n_left
        return certify.Audit(n_left, min(max(0, self._budget - self._labels.n_wrong), n_left), delta)

    def _audit(self, delta: float) -> certify.Audit:
        """Test the sample: all at once what costs nothing, else until it passes, or no longer can."""
        frame, test = self._reference.drawn.frame, self._test(delta)
        step = len(frame) if self._reference.paid is None else _AUDIT_ROWS
        with self._job.recorder.stage("prove"):
            while test.n < len(frame) and not test.passes and self._is_worth_it(delta):
                wrong = self._wrong_of(frame[test.n : test.n + step])
                self._wrong = np.concatenate([self._wrong, wrong])
                test.add(wrong)
        self._on_line(
            f"AUDIT: {test.n_errors:,} of {test.n:,} labels are not {self._reference.name}'s: that "
            + ("is proof enough" if test.passes else "proves too little")
        )
        return test

    def _is_worth_it(self, delta: float) -> bool:
        """Whether it would pass if all rows to come were right: else a model would be paid in vain."""
        if self._reference.paid is None or self._is_cut:
            return not self._is_cut
        best = self._test(delta)
        n_to_come = len(self._reference.drawn.frame) - len(self._wrong)
        best.add(np.concatenate([self._wrong, np.zeros(n_to_come, np.bool_)]))
        return best.passes and self._labels.n_wrong <= self._budget

    def _wrong_of(self, drawn: pl.DataFrame) -> Flags:
        """Say which drawn rows are wrong, bool (n,); a row that the reference does not answer is.

        A model whose budget or time ends leaves the rest of its rows out: an audit may end after any row.
        """
        truth = self._referring.labels_of(drawn)
        answer = self._labels.answer[drawn["row"].to_numpy()]
        wrong: Flags = (truth == NO_LABEL) | (truth != answer)
        if self._reference.paid is None:
            return wrong
        counts = self._ladder.asking[self._reference.paid.source].pool.counts
        if not (counts.n_over_budget or counts.n_over_deadline):
            return wrong
        self._is_cut = True
        return wrong[: int(np.argmax(np.append(truth, NO_LABEL) == NO_LABEL))]

    # --- what was found -----------------------------------------------------------------------------------------------

    def _found(self, delta: float) -> Found:
        """Return the bound over all rows with a text, and the estimate; the bound is never above that.

        Evidence is as strong as it ever was, so after a lucky start it can allow for more than the whole sample shows.
        """
        labels, n_audited = self._labels, len(self._wrong)
        if self._is_counted:
            share = 1 - (labels.n_differ + labels.n_wrong) / labels.n_texts
            return Found(low=share, seen=share, n_audited=labels.n_left, n_errors=labels.n_differ)
        high = certify.errors_high(labels.n_left, self._wrong, delta)
        share = float(self._wrong.mean()) if n_audited else 0.0
        seen = 1 - (share * labels.n_left + labels.n_wrong) / labels.n_texts
        low = min(seen, 1 - (high + labels.n_wrong) / labels.n_texts)
        return Found(
            low=low if low > 0 else None,
            seen=seen if n_audited else None,
            n_audited=n_audited,
            n_errors=int(self._wrong.sum()),
        )

    def _reason(self, audit: Attempt) -> str:
        """Say why the labels did not pass."""
        name, labels = self._reference.name, self._labels
        if labels.n_wrong > self._budget:
            return f"{labels.n_wrong:,} rows have no label to compare, and no more than {self._budget:,} may be wrong"
        if self._is_counted:
            share = audit.n_errors / audit.n_audited
            return f"{audit.n_errors:,} of all {audit.n_audited:,} labels are not {name}'s ({100 * share:.1f} %)"
        n_drawn = len(self._reference.drawn.frame)
        if self._is_cut:
            return (
                f"the budget or the time was spent after {audit.n_audited:,} of {n_drawn:,} drawn rows; raise it and "
                "run the same command: only what is missing is asked"
            )
        if not audit.n_audited:
            return (
                f"the sample has {n_drawn:,} rows, which would prove too little even if "
                f"all of them were right: {name} was not asked; set certificate.audit to 0 or higher"
            )
        return reason_of(name, audit, self._settings.target)

    def _slices(self, delta: float) -> tuple[Slice, ...]:
        """Return what is proven of each tenant or category, each at an equal share of delta."""
        per, labels, drawn = self._settings.per, self._labels, self._reference.drawn
        if not per:
            return ()
        if self._is_counted:
            return tuple(self._counted_slice(one, n_rows) for one, n_rows in labels.n_of.items())
        name = drawn.frame[per][: len(self._wrong)].fill_null("").to_numpy()
        return tuple(
            slice_of(
                one,
                n_rows=n_rows,
                n_left=n_rows - labels.n_wrong_of.get(one, 0),
                n_wrong=labels.n_wrong_of.get(one, 0),
                wrong=self._wrong[name == one],
                target=self._settings.target,
                delta=delta / len(drawn.n_of),
            )
            for one, n_rows in drawn.n_of.items()
        )

    def _counted_slice(self, name: str, n_rows: int) -> Slice:
        """Return how a tenant or category stands whose rows were all compared."""
        labels = self._labels
        n_untested, n_differ = labels.n_wrong_of.get(name, 0), labels.n_differ_of.get(name, 0)
        is_met = n_untested + n_differ <= certify.error_budget(n_rows, self._settings.target)
        return Slice(
            name=name,
            n_rows=n_rows,
            n_sampled=n_rows - n_untested,
            n_errors=n_differ,
            most_errors=None,
            accuracy_low=1 - (n_untested + n_differ) / n_rows,
            state="certified" if is_met else "not met",
        )
