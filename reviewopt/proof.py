"""The proof of a run: sample and policy, then every row's label as the policy has it, the audit, the certificate.

The pipeline hands over rows as they are answered and gets them back as they are written. A run that proves nothing
gets them back as they were.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import certify
from reviewopt.audited import Auditing, Found, not_covered
from reviewopt.certificate import SCHEMA_VERSION, Certificate, Drift, Slice
from reviewopt.dedup.spread import NO_LABEL
from reviewopt.drift import Profile, Watcher, sentence
from reviewopt.job import Job, Reference
from reviewopt.ladder import Ladder
from reviewopt.load import Chunk
from reviewopt.proving import Frozen, Proving, risk_of
from reviewopt.referring import Rows
from reviewopt.slices import less_unproven
from reviewopt.staging import Staged

F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]
OnLine = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A chunk with its normal forms, and the answers to its rows; `question` int64 (n_rows,), -1 for an empty row."""

    chunk: Chunk
    form: pl.Series
    labelled: pl.DataFrame
    question: I64


class Proof:
    """Proves the labels of one run; of a run without a reference it proves nothing, and changes nothing."""

    def __init__(self, job: Job, ladder: Ladder) -> None:
        self._job, self._ladder, self._reference = job, ladder, job.reference
        self._proving = None if job.reference is None else Proving(job, job.reference, ladder)
        self._frozen: Frozen | None = None
        self._watcher: Watcher | None = None
        self._on_line: OnLine = lambda _: None
        self._drift: list[Drift] = []
        self._sample = pl.Series("row", [], dtype=pl.Int64)
        self._auditing: Auditing | None = None
        self._n_reference = self._n_unproven = self._n_rows = 0
        self._unproven_of: Counter[str] = Counter()

    def begin(self, on_line: OnLine) -> None:
        """Ask the reference about the sample, and freeze the policy; see `Proving.begin`."""
        if self._proving is None:
            return
        self._on_line = on_line
        self._frozen = self._proving.begin(on_line)
        self._watcher = self._watch(self._proving)

    def proven(
        self, rows: Iterator[Answered], again: Callable[[], Iterator[tuple[Chunk, pl.Series]]]
    ) -> Iterator[tuple[Chunk, pl.DataFrame]]:
        """Return each chunk with the labels that are written.

        Args:
            rows: the chunks as they are answered.
            again: reads the chunks once more, cut as they were, with their normal forms.
        """
        proving, frozen = self._proving, self._frozen
        if proving is None or frozen is None:
            yield from ((one.chunk, one.labelled) for one in rows)
            return
        sample = self._sample = pl.concat([proving.train["row"], proving.cal["row"]])
        if frozen.method != "audit":
            for one in rows:
                yield one.chunk, self._referred(proving, one, self._refused(one, frozen), sample)
            return
        auditing = self._auditing = Auditing(self._job, proving, frozen, self._on_line)
        with Staged(self._job.recorder.folder) as staged:
            for one in rows:
                labelled = self._answered(proving, one, self._refused(one, frozen))
                auditing.see(one.chunk.reviews, labelled)
                staged.add(labelled)
            if not proving.is_cut_short:  # of a run that goes on later nothing is tested yet, and no promise is counted
                proving.count(frozen, auditing.digest)
                auditing.audit()
            known = pl.concat([sample, auditing.asked["row"]])
            for (chunk, form), labelled in zip(again(), staged.frames(), strict=True):
                question = np.where((labelled["source"] == "empty").to_numpy(), -1, 0)
                one = Answered(chunk=chunk, form=form, labelled=labelled, question=question)
                yield chunk, self._referred(proving, one, auditing.escalated(chunk.reviews, labelled, question), known)

    # --- which rows go to the reference -------------------------------------------------------------------------------

    def _refused(self, one: Answered, frozen: Frozen) -> Flags:
        """Say which rows do not keep their answers, bool (n_rows,)."""
        risk = risk_of(one.labelled["confidence"].to_numpy(), unknown=frozen.unknown_risk)
        refused: Flags = risk >= self._cuts(one.chunk.reviews, frozen)
        return refused | self._drifts(one)

    def _cuts(self, reviews: pl.DataFrame, frozen: Frozen) -> F64 | float:
        """Return the risk below which rows keep their answers: one, or float64 (n_rows,)."""
        if not frozen.slice_cut:
            return frozen.cut
        name = reviews[self._job.config.certificate.per].fill_null("")
        cuts: F64 = name.replace_strict(frozen.slice_cut, default=frozen.cut, return_dtype=pl.Float64).to_numpy()
        return cuts

    def _answered(self, proving: Proving, one: Answered, refused: Flags) -> pl.DataFrame:
        """Give the refused rows the reference's own answers, before anything is audited."""
        if self._reference is None or not self._reference.can_answer:
            return one.labelled
        rows = Rows(reviews=one.chunk.reviews, form=one.form, labelled=one.labelled)
        return proving.referring.refer(rows, refused & (one.question >= 0))[0]

    def _referred(self, proving: Proving, one: Answered, refused: Flags, sample: pl.Series) -> pl.DataFrame:
        """Give the sample's rows and the refused ones the reference's own answers, and count them."""
        asks = one.question >= 0
        is_sampled = np.isin(one.chunk.reviews["row"].to_numpy(), sample.to_numpy()) & asks
        can_answer = self._reference is not None and self._reference.can_answer
        mask = asks & (is_sampled | refused) if can_answer else is_sampled
        rows = Rows(reviews=one.chunk.reviews, form=one.form, labelled=one.labelled)
        labelled, missing = proving.referring.refer(rows, mask)
        known = proving.is_known(one.chunk.reviews["row"].to_numpy(), labelled)
        missing &= ~(known | self._is_tested(proving, one, refused))
        if self._reference is not None and self._reference.kind == "column":  # its gaps are counted as wrong already
            missing &= one.chunk.reviews["label"].is_not_null().to_numpy()
        # Whatever was tested, another label counts as wrong: nobody knows what it hangs on.
        labelled, changed = proving.referring.outranked(
            Rows(reviews=one.chunk.reviews, form=one.form, labelled=labelled)
        )
        missing |= changed
        self._n_reference += int(labelled["referred"].sum())
        self._n_unproven += int(missing.sum())
        if per := self._job.config.certificate.per:
            self._unproven_of.update(one.chunk.reviews[per].fill_null("").filter(pl.Series(missing)).to_list())
        self._n_rows += int(asks.sum())
        return labelled

    def _is_tested(self, proving: Proving, one: Answered, refused: Flags) -> Flags:
        """Say which rows are among those whose labels a test allows errors for, bool (n_rows,).

        Of the sample, that are the rows that tested and keep their answers: one without the reference's is no further
        error.
        """
        tested = proving.cal if self._auditing is None else self._auditing.asked
        is_tested: Flags = np.isin(one.chunk.reviews["row"].to_numpy(), tested["row"].to_numpy()) & ~refused
        return is_tested

    # --- drift --------------------------------------------------------------------------------------------------------

    def _watch(self, proving: Proving) -> Watcher | None:
        """Watch the chunks for departures from the sample, where there is one that says what to expect."""
        said, settings = proving.profile, self._job.config
        if said is None or self._reference is None:
            return None
        of_sample = Profile(
            label=said.label,
            confidence=said.confidence,
            length=proving.cal["text"].str.len_bytes().fill_null(0).to_numpy().astype(np.int64),
            question=proving.cal["form"].hash(seed=1).to_numpy(),
        )
        n_rows = self._reference.drawn.n_rows + self._reference.drawn.n_empty
        return Watcher(
            of_sample,
            n_labels=len(self._job.labels),
            level=settings.certificate.drift_level,
            n_chunks=max(1, math.ceil(n_rows / settings.process.chunk_rows)),
        )

    def _drifts(self, one: Answered) -> Flags:
        """Say which rows are referred because their chunk is unlike the sample, bool (n_rows,); tell of each one."""
        none = np.zeros(len(one.question), np.bool_)
        if self._watcher is None:
            return none
        # TRAIN and CAL were asked more than their policy does, so they are answered in another way than the rest.
        known = np.isin(one.chunk.reviews["row"].to_numpy(), self._sample.to_numpy())
        asks = np.flatnonzero((one.question >= 0) & ~known)
        reviews, labelled = one.chunk.reviews[asks], one.labelled[asks]
        if not len(asks):
            return none
        profile = Profile(
            label=labelled["label"].to_physical().fill_null(NO_LABEL).to_numpy().astype(np.uint8),
            confidence=labelled["confidence"].to_numpy().astype(np.float32),
            length=reviews["text"].str.len_bytes().fill_null(0).to_numpy().astype(np.int64),
            question=one.question[asks],
        )
        found = self._watcher.see(profile, first_row=int(reviews["row"][0]), last_row=int(reviews["row"][-1]))
        for drift in found:
            self._on_line(sentence(drift))
        escalates = self._job.config.certificate.on_drift == "escalate" and bool(found)
        n_escalated = len(asks) if escalates else 0
        self._drift += [msgspec.structs.replace(drift, n_escalated=n_escalated) for drift in found]
        return one.question >= 0 if escalates else none

    # --- the certificate ----------------------------------------------------------------------------------------------

    def certificate(self) -> Certificate | None:
        """Return what was proven, once every row is written; None of a run that proves nothing."""
        reference, proving, frozen = self._reference, self._proving, self._frozen
        if reference is None or proving is None or frozen is None:
            return None
        settings, n_rows = self._job.config.certificate, reference.drawn.n_rows
        self._n_unproven += reference.n_gaps
        found, is_changed = self._found(frozen, proving), self._is_changed(reference)
        if is_changed:
            found = Found(low=None, seen=None, n_audited=found.n_audited, n_errors=found.n_errors)
        is_met, reason = self._verdict(found, frozen, n_rows)
        n_calls = 0
        if reference.paid is not None:
            n_calls = self._ladder.asking[reference.paid.source].pool.counts.n_asked
        return Certificate(
            schema_version=SCHEMA_VERSION,
            reference=reference.name,
            kind=reference.kind,
            target=settings.target,
            confidence=settings.confidence,
            is_met=is_met,
            reason=reason,
            method=frozen.method,
            accuracy_low=found.low,
            accuracy_seen=found.seen,
            n_rows=n_rows,
            n_empty=reference.drawn.n_empty,
            n_train=len(proving.train),
            n_cal=len(proving.cal),
            n_audit=found.n_audited,
            n_errors=found.n_errors,
            most_errors=frozen.most_errors,
            n_unproven=self._n_unproven,
            n_reference_rows=self._n_reference,
            n_reference_calls=n_calls,
            n_reference_saved=max(0, n_rows - self._n_reference - self._n_unproven),
            table=reference.fingerprint,
            seed=f"{reference.seed:016x}",
            attempt=frozen.attempt,
            delta=frozen.delta,
            policy_path=frozen.path,
            policy_hash=frozen.digest,
            policy=frozen.policy,
            audits=() if self._auditing is None else self._auditing.attempts,
            self_agreement=proving.self_agreement,
            per=settings.per,
            slices=tuple(
                less_unproven(one, self._unproven_of[one.name], settings.target)
                for one in (() if is_changed else self._slices(frozen, reference))
            ),
            drift=tuple(self._drift),
            does_not_cover=tuple(not_covered(self._job, reference)),
        )

    def _slices(self, frozen: Frozen, reference: Reference) -> tuple[Slice, ...]:
        """Return what is proven of each tenant or category, before rows without the reference's answer count."""
        if self._auditing is not None:
            return self._auditing.slices()
        if frozen.method != "all":
            return frozen.slices
        whole = (  # there is nothing to test, in the smallest slice either
            Slice(name=name, n_rows=n, n_sampled=0, n_errors=0, most_errors=None, accuracy_low=1.0, state="certified")
            for name, n in reference.drawn.n_of.items()
        )
        target = self._job.config.certificate.target
        return tuple(less_unproven(one, reference.n_gaps, target) for one in whole)  # each may have all of them

    def _found(self, frozen: Frozen, proving: Proving) -> Found:
        """Return the bound and the estimate."""
        n_rows = max(1, self._reference.drawn.n_rows if self._reference is not None else 1)
        if frozen.method == "all":
            return Found(low=1 - self._n_unproven / n_rows, seen=1.0, n_audited=0, n_errors=0)
        if self._auditing is not None:
            return self._auditing.found(n_rows, self._n_unproven)
        low = None if frozen.reason else max(0.0, 1 - (proving.budget + self._n_unproven) / n_rows)
        seen = 1 - frozen.n_errors / max(1, len(proving.cal))
        return Found(low=low, seen=seen, n_audited=0, n_errors=frozen.n_errors)

    def _is_changed(self, reference: Reference) -> bool:
        """Whether other rows were labelled than the sample was drawn from."""
        same = self._n_rows == reference.drawn.n_rows
        return not same or self._job.table.fingerprint() != reference.fingerprint

    def _verdict(self, found: Found, frozen: Frozen, n_rows: int) -> tuple[bool, str]:
        """Say whether the promise is met, and if not why."""
        reference = self._reference
        if reference is not None and self._is_changed(reference):
            return False, "the table changed while it was read: what was drawn is no sample of what was labelled"
        if frozen.reason:
            return False, frozen.reason
        target = self._job.config.certificate.target
        low = found.low
        budget = certify.error_budget(n_rows, target)
        if low is not None and round((1 - low) * n_rows) <= budget:
            return True, ""
        return False, self._why_not(0 if reference is None else reference.n_gaps)

    def _why_not(self, n_gaps: int) -> str:
        """Say why what the sample proves is less than the target, where `n_gaps` rows had no label from the start."""
        if self._n_unproven > n_gaps:
            n_outranked = 0 if self._proving is None else self._proving.referring.n_outranked
            if n_outranked:
                return (
                    f"{n_outranked:,} labels were changed to what people or labelled history say, and count as wrong; "
                    "a --home without these answers leaves the labels as they were tested"
                )
            return f"{self._n_unproven:,} rows should have had the reference's own answer, and it gave none"
        return "the sample does not prove it" if self._auditing is None else self._auditing.reason()
