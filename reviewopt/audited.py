"""The audit: labels are frozen, rows are drawn, the reference says what it would have answered, and evidence grows.

Where the labels as they stand do not pass, the reference answers the riskiest rows. Frozen labels are fixed functions
of their rows, and a row that goes to the reference changes no other: so the hypergeometric fixed sequence of
`certify.cut` holds for them as it does for a local model's. The first test has 6 / pi^2 of delta, the second the rest;
the second takes the whole sample, which the first has used up when it fails, so that its size is no choice.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import certify
from reviewopt.certificate import Attempt, Slice
from reviewopt.dedup.spread import NO_LABEL
from reviewopt.job import Job, Reference
from reviewopt.proving import CUT_SHORT, Frozen, Proving, risk_of
from reviewopt.slices import cut_slices, slice_of

# Audit rows that are asked at a time: a few requests on every thread, and little more than the test needs.
_AUDIT_ROWS: Final = 64
_LARGEST: Final = 1e300  # of an e-value as it is recorded: JSON has no infinity
_SETTLED: Final = -1.0  # the risk of a row that has the reference's answer already

F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is proven: at least `low` of the rows are right (None: nothing is proven); `seen` is an estimate."""

    low: float | None
    seen: float | None
    n_audited: int
    n_errors: int


class Auditing:
    """One audit of frozen labels."""

    def __init__(self, job: Job, proving: Proving, frozen: Frozen, on_line: Callable[[str], None]) -> None:
        self._job, self._proving, self._frozen, self._on_line = job, proving, frozen, on_line
        rows = proving.audit["row"].to_numpy()
        self._order = np.argsort(rows, kind="stable")
        self._rows = rows[self._order]
        self._label = np.full(len(rows), NO_LABEL, np.uint8)
        self._risk = np.ones(len(rows))
        self._wrong = np.zeros(0, np.bool_)
        self._floor = math.inf
        self._labels_digest, self._risks_digest = hashlib.sha256(), hashlib.sha256()
        self._slice_floor: dict[str, float] = {}
        self._slices: tuple[Slice, ...] = ()
        self._n_escalated = 0
        self._attempts: list[Attempt] = []

    @property
    def digest(self) -> bytes:
        """What names the frozen labels and their risks."""
        return self._labels_digest.digest() + self._risks_digest.digest()

    @property
    def asked(self) -> pl.DataFrame:
        """The rows that were audited."""
        return self._proving.audit[: len(self._wrong)]

    def risk(self, labelled: pl.DataFrame) -> F64:
        """Return the estimated chance that each label is wrong, float64 (n_rows,)."""
        risk = risk_of(labelled["confidence"].to_numpy(), unknown=self._frozen.unknown_risk)
        risk[labelled["label"].is_null().to_numpy()] = 1.0
        if "referred" in labelled.columns:
            risk[labelled["referred"].to_numpy()] = _SETTLED
        return risk

    def see(self, reviews: pl.DataFrame, labelled: pl.DataFrame) -> None:
        """Take note of a chunk's frozen labels, as far as its rows may be audited."""
        risk = self.risk(labelled)
        self._labels_digest.update(labelled["label"].to_physical().fill_null(NO_LABEL).to_numpy().tobytes())
        self._risks_digest.update(risk.tobytes())
        rows = reviews["row"].to_numpy()
        at = np.minimum(np.searchsorted(self._rows, rows), max(0, len(self._rows) - 1))
        here = np.flatnonzero(self._rows[at] == rows) if len(self._rows) else np.zeros(0, np.int64)
        places = self._order[at[here]]
        codes = labelled["label"].to_physical().fill_null(NO_LABEL).to_numpy()
        self._label[places], self._risk[places] = codes[here], risk[here]

    # --- the test -----------------------------------------------------------------------------------------------------

    def audit(self) -> float:
        """Ask the reference until the labels pass, or the sample ends; then leave the riskiest rows to it.

        Returns:
            The risk from which rows go to the reference; infinity where none needs to.
        """
        proving, delta = self._proving, self._frozen.delta
        if self._reference.can_answer:  # a second test may follow
            delta = certify.attempt_delta(delta, 1)
        first, rows = certify.Audit(self._n_audited_from, self._budget, delta), proving.audit
        with self._job.recorder.stage("prove"):
            while not first.passes and first.n < len(rows):
                part = slice(first.n, first.n + _AUDIT_ROWS)
                reference = proving.referring.labels_of(rows[part])
                wrong = (reference == NO_LABEL) | (reference != self._label[part])
                self._wrong = np.concatenate([self._wrong, wrong])
                first.add(wrong)
        self._attempts.append(attempt_of(first, delta))
        name = self._reference.name
        found = "that is proof enough" if first.passes else "that proves too little"
        self._on_line(f"AUDIT: {first.n_errors:,} of {first.n:,} labels are not {name}'s: {found}")
        if not first.passes and self._reference.can_answer:
            self._cut(self._frozen.delta - delta)
        return self._floor

    def _cut(self, delta: float) -> None:
        """Find the risk from which rows go to the reference, on the whole sample."""
        n = len(self._wrong)
        most = certify.most_errors(self._n_audited_from, self._budget, n, delta)
        self._floor = max(0.0, certify.cut(self._risk[:n], self._wrong, most))
        stays = self._risk[:n] < self._floor
        n_errors = int((self._wrong & stays).sum())
        self._attempts.append(
            Attempt(
                test="cut",
                delta=delta,
                n_audited=n,
                n_errors=n_errors,
                most_errors=most if most >= 0 else None,
                e_value=None,
                n_escalated=0,
                passes=True,
            )
        )
        if per := self._job.config.certificate.per:
            self._slice_floor, self._slices = cut_slices(
                self.asked[per].fill_null(""),
                self._risk[:n],
                self._wrong,
                n_of=self._reference.drawn.n_of,
                n_known=self._n_known(per),
                target=self._job.config.certificate.target,
                delta=delta,  # of each slice too, the first test has had the rest
                cut=self._floor,
                n_gaps=self._reference.n_gaps,
            )
        share = 100 * (1 - float(stays.mean())) if n else 100.0
        self._on_line(
            f"AUDIT: the riskiest {share:.1f} % of the rows go to {self._reference.name}; {n_errors:,} of at most "
            f"{max(most, 0):,} errors are left in the sample"
        )

    def escalated(self, reviews: pl.DataFrame, labelled: pl.DataFrame, question: I64) -> Flags:
        """Say which rows of a chunk go to the reference after all, bool (n_rows,), and count them."""
        risk = self.risk(labelled)
        floor: F64 | float = self._floor
        if self._slice_floor:
            name = reviews[self._job.config.certificate.per].fill_null("")
            floor = name.replace_strict(self._slice_floor, default=floor, return_dtype=pl.Float64).to_numpy()
        beyond: Flags = (risk >= floor) & (risk > _SETTLED) & (question >= 0)
        self._n_escalated += int(beyond.sum())
        return beyond

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The tests so far."""
        return tuple(
            msgspec.structs.replace(one, n_escalated=self._n_escalated) if one.test == "cut" else one
            for one in self._attempts
        )

    @property
    def _budget(self) -> int:
        return min(self._proving.budget, self._n_audited_from)

    @property
    def _n_audited_from(self) -> int:
        """The rows that AUDIT was drawn from: those with a text that are neither in TRAIN nor in CAL."""
        proving = self._proving
        reference = self._reference
        return reference.n_population - len(proving.train) - len(proving.cal)

    @property
    def _reference(self) -> Reference:
        if self._job.reference is None:
            raise ValueError("an audit needs a reference")
        return self._job.reference

    # --- what was found -----------------------------------------------------------------------------------------------

    def found(self, n_rows: int, n_unproven: int) -> Found:
        """Return the bound over all `n_rows`, of which `n_unproven` count as wrong, and the estimate."""
        if not self._attempts:
            return Found(low=None, seen=None, n_audited=0, n_errors=0)
        last, n_audited = self._attempts[-1], len(self._wrong)
        wrong = self._wrong & (self._risk[:n_audited] < self._floor)
        high = self._budget
        if last.test == "e-process":
            high = certify.errors_high(self._n_audited_from, wrong, last.delta)
        elif self._floor == 0.0:
            high = 0
        low = 1 - (high + n_unproven) / n_rows
        return Found(
            low=low if low > 0 else None,
            seen=1 - float(wrong.mean()) if n_audited else None,
            n_audited=n_audited,
            n_errors=int(wrong.sum()),
        )

    def _n_known(self, per: str) -> dict[str, int]:
        """Return how many rows of each tenant or category have the reference's answer from TRAIN and CAL."""
        known = pl.concat([self._proving.train[per], self._proving.cal[per]]).fill_null("").value_counts()
        return dict(known.rows())

    def reason(self) -> str:
        """Say why the labels did not pass."""
        if not self._attempts:
            return CUT_SHORT
        return reason_of(self._reference.name, self.attempts[-1], self._job.config.certificate.target)

    def slices(self) -> tuple[Slice, ...]:
        """Return what is proven of each tenant or category, each at an equal share of delta."""
        per, n_of = self._job.config.certificate.per, self._reference.drawn.n_of
        if not per or self._slices:
            return self._slices
        delta = self._attempts[0].delta if self._attempts else self._frozen.delta
        delta, n_known = delta / max(1, len(n_of)), self._n_known(per)
        name, wrong = self.asked[per].fill_null("").to_numpy(), self._wrong
        target = self._job.config.certificate.target
        return tuple(
            slice_of(
                one,
                n_rows=n_of[one],
                n_left=n_of[one] - n_known.get(one, 0),
                wrong=wrong[name == one],
                target=target,
                delta=delta,
                n_wrong=self._reference.n_gaps,
            )
            for one in n_of
        )


def attempt_of(tested: certify.Audit, delta: float) -> Attempt:
    """Return what is recorded of the first test."""
    return Attempt(
        test="e-process",
        delta=delta,
        n_audited=tested.n,
        n_errors=tested.n_errors,
        most_errors=None,
        e_value=min(tested.value, _LARGEST),
        n_escalated=0,
        passes=tested.passes,
    )


def reason_of(name: str, last: Attempt, target: float) -> str:
    """Say why labels did not pass their last audit against the reference of this name."""
    if not last.n_audited:
        return f"there is no row to audit: {name} has answered none of the sample"
    share = last.n_errors / last.n_audited
    more = (
        "more of its answers may prove it" if share < 1 - target else "a better model may reach it, or a lower target"
    )
    return f"{last.n_errors:,} of {last.n_audited:,} audited labels are not {name}'s ({100 * share:.1f} %); {more}"


def not_covered(job: Job, reference: Reference) -> Iterator[str]:
    """Say what a certificate does not promise."""
    whom = "the people who answered are" if reference.kind == "human" else f"{reference.name} itself is"
    yield f"whether {whom} right"
    yield "any other table, later rows, or this one after an edit"
    if reference.drawn.n_empty:
        yield f"the {reference.drawn.n_empty:,} rows without a text"
    if job.task.others:
        yield f"the fields after the first ({', '.join(field.name for field in job.task.others)})"
    if not job.config.certificate.per:
        yield "any single tenant, category or other part: it is a promise about the whole table"
    if job.config.process.local_model:
        yield "a local model that was trained on labels of this sample: that it was not is your statement, not tested"
    if job.config.certificate.missing_at_random:
        yield "a column whose gaps have to do with the texts: that they have not is your statement, not tested"
