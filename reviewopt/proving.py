"""What a promise takes before the first row is labelled: the sample's labels, a fitted local model, a frozen policy.

The sample comes in three slices of one permutation of the rows. TRAIN fits the local model and says whether packs pay;
CAL certifies where only the local model and the reference answer, and else chooses the policy; AUDIT then certifies
(`audited`). The statistics are in `certify`, with their sources.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import certify, choosing, route
from reviewopt.attempts import Promise
from reviewopt.cache.asked import Batch
from reviewopt.certificate import Method, SelfAgreement, Slice
from reviewopt.choosing import Audited, Choice, Said
from reviewopt.dedup.spread import NO_LABEL
from reviewopt.errors import InputError
from reviewopt.job import Job, Local, Paid, Reference
from reviewopt.ladder import Ladder
from reviewopt.local import warm
from reviewopt.referring import Referring, n_again, self_agreement
from reviewopt.route import Policy
from reviewopt.slices import cut_slices

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
U8 = npt.NDArray[np.uint8]


@dataclass(slots=True, kw_only=True)
class Frozen:
    """The policy in force and how it is tested; nothing of it changes once labelling has begun.

    `cut`: rows of lower risk keep their answer, where the reference can answer the rest; `slice_cut` has a lower one
    for the slices that need it. `unknown_risk` is that of an answer without a confidence. `delta` is this promise's
    share of the error that is allowed. `n_errors` of CAL differ of the `most_errors` that may.
    """

    method: Method
    path: tuple[str, ...]
    digest: str
    policy: str
    cut: float
    unknown_risk: float
    attempt: int
    delta: float
    n_errors: int = 0
    most_errors: int | None = None
    reason: str = ""
    slice_cut: dict[str, float] = field(default_factory=dict)
    slices: tuple[Slice, ...] = ()


CUT_SHORT: Final = "the run ended before every row had its answer, so nothing was tested: run the same command again"


class Proving:
    """Prepares the proof of one run."""

    def __init__(self, job: Job, reference: Reference, ladder: Ladder) -> None:
        self._job, self._reference, self._ladder = job, reference, ladder
        self.referring = Referring(job, reference, ladder)
        frame, n_train, n_cal = reference.drawn.frame, reference.n_train, reference.n_cal
        self.train, self.cal = frame[:n_train], frame[n_train : n_train + n_cal]
        self.audit = frame[n_train + n_cal : n_train + n_cal + reference.n_audit]
        self.self_agreement: SelfAgreement | None = None
        self.profile: Said | None = None  # what the sample's rows would be answered, for the watch on drift
        self._digest = ""
        self._settings = job.config.certificate
        self._known: dict[int, int] = {}  # the reference's labels, by row, of what no test is about

    def is_known(self, row: I64, labelled: pl.DataFrame) -> Flags:
        """Say which rows of the sample have the label that the reference gave them, whoever answered, bool (n,)."""
        rows = np.fromiter(self._known, np.int64, len(self._known))
        order = np.argsort(rows)
        rows, codes = rows[order], np.fromiter(self._known.values(), np.uint8, len(rows))[order]
        at = np.minimum(np.searchsorted(rows, row), max(0, len(rows) - 1))
        if not len(rows):
            return np.zeros(len(row), np.bool_)
        code = np.where(rows[at] == row, codes[at], NO_LABEL)
        same: Flags = (code == labelled["label"].to_physical().fill_null(NO_LABEL).to_numpy()) & (code != NO_LABEL)
        return same

    @property
    def budget(self) -> int:
        """How many of the rows that the sample was drawn from may be wrong."""
        whole = certify.error_budget(self._reference.drawn.n_rows, self._settings.target)
        n_unanswered = sum(code == NO_LABEL for code in self._known.values())
        return max(0, whole - self._reference.n_gaps - n_unanswered)

    @property
    def is_cut_short(self) -> bool:
        """Whether a budget or the deadline has left questions without the answers that are due to them."""
        pools = [asking.pool for asking in self._ladder.asking.values()]
        return any(pool.is_late or pool.counts.n_over_budget for pool in pools)

    @property
    def delta(self) -> float:
        """The error that is allowed to all promises on this table and reference together."""
        return float(1 - Fraction(str(self._settings.confidence)))

    def begin(self, on_line: Callable[[str], None]) -> Frozen:
        """Ask the reference about the sample, and freeze the policy.

        Raises:
            UsageError: the target is above the reference's agreement with itself.
            ModelError: no request can pass; what was answered is archived.
            KeyboardInterrupt: the run is to end.
        """
        with self._job.recorder.stage("prove"):
            known = self._labels_of_train(on_line)
            self._fit(known, on_line)
            n_sampled, n_rows = len(self.train) + len(self.cal), self._reference.n_population
            if self._reference.can_answer and n_sampled >= n_rows:
                on_line(f"the sample takes all {n_rows:,} rows: each has the reference's own answer")
                return self._of_the_reference_alone()
            if all(isinstance(rung, Paid) and rung.is_reference for rung in self._job.rungs):
                return self._of_the_reference_alone()
            if not self._reference.can_answer or self._has_packs(known, on_line):
                return self._chosen(on_line)
            if not isinstance(self._job.rungs[0], Local):  # packs alone, which do not pay
                self._leave_to_the_reference()
                return self._of_the_reference_alone()
            return self._certified(on_line)

    # --- TRAIN --------------------------------------------------------------------------------------------------------

    def _labels_of_train(self, on_line: Callable[[str], None]) -> U8:
        """Ask the reference about TRAIN, and a model about its first rows twice."""
        reference, settings = self._reference, self._settings
        known = self.referring.labels_of(self.train)
        self._known = dict(zip(self.train["row"].to_list(), known.tolist(), strict=True))
        if reference.paid is None or reference.again is None or not settings.self_agreement:
            return known
        rows = reference.drawn.frame[: n_again(reference, settings.self_agreement)]
        first = known[: len(rows)] if len(rows) <= len(known) else self.referring.labels_of(rows)
        second = self.referring.second_labels_of(rows, reference.again)
        found = self_agreement(reference, first, second, settings.target)
        if not found.n:
            on_line(f"{reference.name} has answered no review twice: its agreement with itself is not measured")
            return known
        self.self_agreement = found
        on_line(
            f"{reference.name} asked twice: the same answer to {found.n_equal:,} of {found.n:,} reviews "
            f"({100 * found.low:.1f} to {100 * found.high:.1f} %)"
        )
        return known

    def _fit(self, known: U8, on_line: Callable[[str], None]) -> None:
        """Fit the local model to TRAIN, or switch it off where that fails and there is no other."""
        learned = self._reference.learned
        if learned is None:
            return
        self._digest = "" if learned.base is None else warm.digest(learned.base)
        answered = np.flatnonzero(known != NO_LABEL)
        labels = pl.Series([self._job.labels[code] for code in known[answered].tolist()], dtype=pl.String)
        if not len(answered):
            return
        try:
            found = warm.fit(
                self.train["form"].gather(answered),
                labels,
                self._job.labels,
                task=self._job.task.name,
                base=learned.base,
                seed=self._reference.seed % 2**31,
            )
        except InputError as error:
            if learned.base is None:
                on_line(f"the local model is switched off: {error}")
            return
        learned.use(found.model)
        self._digest = found.digest
        kind = "the local model, fitted further" if found.is_warm else "a local model, fitted"
        on_line(
            f"{kind} on {len(answered):,} reviews: {100 * found.agreement:.1f} % agree with {self._reference.name} "
            "(on reviews that it did not see)"
        )

    def _has_packs(self, known: U8, on_line: Callable[[str], None]) -> bool:
        """Say whether anything but the local model answers beside the reference: packs that pay, or named models.

        Only an AUDIT can certify that. Decided on TRAIN.
        """
        job, paid = self._job, [one for one in self._job.rungs if isinstance(one, Paid)]
        if job.near == "share" or job.voters:
            return True
        if not paid:
            return False
        if [one.source for one in paid] != [self._reference.name]:
            return True  # the user named models between
        said = choosing.said_by(self._ladder, paid[0], self._batch(self.train), self.train)
        both = known != NO_LABEL
        wrong = int((said.label != known)[both].sum())
        # What the local model says of CAL's texts; their labels nobody has looked at.
        local = choosing.said_by(self._ladder, job.rungs[0], self._batch(self.cal), self.cal)
        single, packed = choosing.prices(self._ladder, self._reference, paid[0], self.train)
        alone_usd, packs_usd = choosing.compared(
            1 - risk_of(local.confidence, unknown=1.0) if isinstance(job.rungs[0], Local) else np.zeros(len(self.cal)),
            (wrong + 1) / (int(both.sum()) + 2),
            single_usd=single,
            packed_usd=packed,
            n_rows=self._reference.drawn.n_rows,
            target=self._settings.target,
            audit=self._audit_to_pass(),
        )
        pays = packs_usd < alone_usd
        what = f"{paid[0].source} in packs: {wrong:,} of {int(both.sum()):,} answers differ from its single ones"
        if math.isinf(packs_usd):
            on_line(f"{what}, too many to prove anything with: not used")
        else:
            usd = f"labelling would cost about ${packs_usd:,.2f} with packs, ${alone_usd:,.2f} without"
            on_line(f"{what}; {usd}: {'used' if pays else 'not used'}")
        return pays

    def _audit_to_pass(self) -> Audited:
        """Return what an audit of this promise will be, as far as is known before it."""
        n_from = self._reference.n_population - len(self.train) - len(self.cal)
        n, delta, most = min(len(self.audit), n_from), self.delta, None
        if self._reference.can_answer:
            delta = certify.attempt_delta(self.delta, 1)
            most = certify.most_errors(n_from, min(self.budget, n_from), n, self.delta - delta)
        return Audited(
            n=n,
            n_from=n_from,
            target=self._settings.target,
            delta=delta,
            most_share=None if most is None else max(0, most) / max(1, n),
        )

    def _batch(self, drawn: pl.DataFrame) -> Batch:
        return Batch(form=drawn["form"], sketches=None, tenant=drawn["tenant"] if self._job.isolated else None)

    # --- CAL certifies ------------------------------------------------------------------------------------------------

    def _certified(self, on_line: Callable[[str], None]) -> Frozen:
        """Find with CAL how far the local model's answers are accepted; the rest has the reference's own."""
        job, n_left = self._job, self._reference.n_population - len(self.train)
        self._leave_to(0)
        (local, *_) = job.rungs
        said = choosing.said_by(self._ladder, local, self._batch(self.cal), self.cal)
        self.profile = said
        risk = risk_of(said.confidence, unknown=1.0)
        path = (
            choosing.ALL,
            f"answers of the local model, from the most confident on, as far as CAL allows (model {self._digest[:16]})",
        )
        frozen = self._promised("cal", path, unknown_risk=1.0)
        if not self._is_worth_it(said, on_line):
            frozen.method, frozen.policy, frozen.cut = "all", path[0], -math.inf
            return frozen
        if self.is_cut_short:  # the same command will fit another model, to all of TRAIN: that is the one to test
            frozen.method, frozen.policy, frozen.cut, frozen.reason = "all", path[0], -math.inf, CUT_SHORT
            return frozen
        self.count(frozen, hashlib.sha256(said.label.tobytes() + said.confidence.tobytes()).digest())
        reference = self.referring.labels_of(self.cal)
        wrong = (reference == NO_LABEL) | (said.label != reference)
        most = certify.most_errors(n_left, min(self.budget, n_left), len(self.cal), frozen.delta)
        if most < 0:
            on_line(f"CAL: {len(self.cal):,} rows are too few to prove anything: {choosing.ALL}")
            frozen.method, frozen.policy, frozen.cut = "all", path[0], -math.inf
            return frozen
        frozen.cut = certify.cut(risk, wrong, most)
        accepted = risk < frozen.cut
        frozen.most_errors = most
        frozen.n_errors = int((wrong & accepted).sum())
        frozen.policy = _named(frozen.cut, float(accepted.mean()) if len(accepted) else 0.0)
        self._cut_slices(frozen, risk, wrong)
        on_line(f"CAL: {frozen.n_errors:,} of at most {most:,} errors seen in {len(self.cal):,} rows; {frozen.policy}")
        return frozen

    def _is_worth_it(self, said: Said, on_line: Callable[[str], None]) -> bool:
        """Say whether the local model's answers may save more rows than CAL takes; their confidence tells, no label."""
        n_rows = self._reference.drawn.n_rows
        learned = self._reference.learned
        if learned is not None and not learned.is_known:
            return False
        if len(self.cal) + len(self.train) >= n_rows:
            on_line(f"the sample takes all {n_rows:,} rows: each has the reference's own answer")
            return False
        wrong = np.sort(risk_of(said.confidence, unknown=0.0))
        share = float((np.cumsum(wrong) <= (1 - self._settings.target) * len(wrong)).mean()) if len(wrong) else 0.0
        if share * n_rows >= len(self.cal):
            return True
        on_line(
            f"the local model is switched off: about {100 * share:.1f} % of its answers could be accepted, and the "
            f"sample that proves them takes {100 * len(self.cal) / n_rows:.1f} % of the rows"
        )
        return False

    def _cut_slices(self, frozen: Frozen, risk: F64, wrong: Flags) -> None:
        """Give each tenant or category a cut of its own, where it is lower than that of the whole table."""
        per = self._settings.per
        if not per:
            return
        known = dict(self.train[per].fill_null("").value_counts().rows())
        frozen.slice_cut, frozen.slices = cut_slices(
            self.cal[per].fill_null(""),
            risk,
            wrong,
            n_of=self._reference.drawn.n_of,
            n_known=known,
            target=self._settings.target,
            delta=frozen.delta,
            cut=frozen.cut,
            n_gaps=self._reference.n_gaps,
        )

    # --- CAL chooses, AUDIT certifies ---------------------------------------------------------------------------------

    def _chosen(self, on_line: Callable[[str], None]) -> Frozen:
        """Choose on CAL how sure each rung must be, and how many of the least sure rows go to the reference."""
        job, reference = self._job, self._reference
        labels = self.referring.labels_of(self.cal)
        self._known |= dict(zip(self.cal["row"].to_list(), labels.tolist(), strict=True))
        said = [choosing.said_by(self._ladder, rung, self._batch(self.cal), self.cal) for rung in job.rungs]
        if not len(self.cal):
            return self._kept_as_it_is()
        choice = choosing.choose(
            said,
            labels,
            usd=choosing.prices_of(self._ladder, reference, self.cal),
            n_rows=reference.drawn.n_rows,
            audit=self._audit_to_pass(),
            can_answer=reference.can_answer,
        )
        self._adopt(choice)
        # How sure the final answers are hangs on thresholds that CAL chose: of other rows it is not quite the same.
        unknown = np.full(len(self.cal), np.nan, np.float32)
        self.profile = Said(label=choice.final.label, confidence=unknown)
        frozen = self._promised("audit", choice.path, unknown_risk=choice.unknown_risk)
        frozen.policy, frozen.cut = choice.name, choice.cut
        if choice.cut == -math.inf:
            self._leave_to_the_reference()
            frozen.method, self.profile = "all", None
            on_line(f"no policy is likely to reach {self._settings.target:g}: {choice.name}")
            return frozen
        on_line(
            f"policy chosen on {len(self.cal):,} rows: {choice.name}; about {100 * choice.error:.1f} % of the labels "
            f"would differ from {reference.name}'s (an estimate; AUDIT certifies)"
        )
        return frozen

    def _kept_as_it_is(self) -> Frozen:
        """Leave everything to the last rung: there is one policy alone, and so nothing to choose."""
        self._leave_to(len(self._job.rungs) - 1)
        name = f"every answer of {self._job.rungs[-1].source} is kept"
        frozen = self._promised("audit", (name,), unknown_risk=0.5)
        frozen.policy = name
        return frozen

    def _of_the_reference_alone(self) -> Frozen:
        """Leave everything to the reference: nothing else can answer."""
        frozen = self._promised("all", (choosing.ALL,), unknown_risk=1.0)
        frozen.policy, frozen.cut = frozen.path[0], -math.inf
        return frozen

    def _adopt(self, choice: Choice) -> None:
        """Put the chosen thresholds in force."""
        ladder = self._ladder
        ladder.tally.reference = self._reference.name
        used = tuple(value is not None for value in choice.thresholds)
        entry = (used.index(True),) * len(route.LEVELS)
        ladder.policy = Policy(entry=entry, thresholds=choice.thresholds, used=used)
        ladder.tally.thresholds = choice.figures

    def _leave_to_the_reference(self) -> None:
        """Let nobody be paid for answers of which none is kept; the local model's cost nothing."""
        self._leave_to(0 if isinstance(self._job.rungs[0], Local) else -1)

    def _leave_to(self, at: int) -> None:
        """Let one rung answer everything; none at -1."""
        n = len(self._job.rungs)
        self._ladder.tally.reference = self._reference.name
        self._ladder.policy = Policy(
            entry=(at,) * len(route.LEVELS),
            thresholds=tuple(0.0 if one == at else None for one in range(n)),
            used=tuple(one == at for one in range(n)),
        )

    def _promised(self, method: Method, path: tuple[str, ...], *, unknown_risk: float) -> Frozen:
        """Freeze the policy path. The promise is counted by `count`, where there is something to test."""
        reference = self._reference
        sizes = (reference.drawn.n_rows, len(self.train), len(self.cal))
        # Another model, or other labels of a column, may go by the name of the same reference.
        whom = self._job.config.columns.label_map if reference.paid is None else reference.paid.digest
        # What a model said and nothing keeps, it may say otherwise the next time: that is another look.
        keeps = reference.paid is None or self._job.config.cache.archive.enabled
        told = (path, self._digest, sizes, f"{reference.seed:016x}", whom, "" if keeps else self._job.recorder.run_id)
        return Frozen(
            method=method,
            path=path,
            digest=hashlib.sha256(msgspec.json.encode(told)).hexdigest(),
            policy="",
            cut=math.inf,
            unknown_risk=unknown_risk,
            attempt=1,
            delta=certify.target_delta(self.delta, 1),
        )

    def count(self, frozen: Frozen, tested: bytes) -> None:
        """Count the promise before the rows that test it are looked at.

        The same policy and the same labels are the same promise, however often the command runs; whatever else is
        tested on this table and reference is a further one, at a smaller delta.

        Args:
            frozen: the policy; its attempt and delta are set.
            tested: a digest of the labels that are tested, and of how risky each is.
        """
        settings, reference = self._settings, self._reference
        # An audit may be looked at after any row; the cut that may follow it is of a fixed number.
        n_audit = len(self.audit) if frozen.method == "audit" and reference.can_answer else 0
        frozen.digest = hashlib.sha256(msgspec.json.encode((frozen.digest, n_audit)) + tested).hexdigest()
        promise = Promise(
            target=settings.target, confidence=settings.confidence, per=settings.per, policy=frozen.digest
        )
        frozen.attempt = reference.attempts.number(promise)
        frozen.delta = certify.target_delta(self.delta, frozen.attempt)


def risk_of(confidence: npt.NDArray[np.floating], *, unknown: float) -> F64:
    """Return the estimated chance that answers are wrong, float64 (n,); `unknown` where no confidence is known."""
    risk = 1 - confidence.astype(np.float64)
    return np.where(np.isnan(risk), unknown, risk)


def _named(cut: float, share: float) -> str:
    if cut == math.inf:
        return "every answer of the local model is accepted"
    if cut <= 0:
        return "no answer of the local model is accepted"
    return f"answers of the local model from a confidence above {1 - cut:.3f} are accepted ({100 * share:.1f} %)"
