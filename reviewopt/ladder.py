"""The rungs: every open question enters at one of them, and climbs until an answer is sure enough.

One model alone is a ladder of one rung, whose answers all stay. What is still uncertain at the top goes to a vote,
where there are voters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import route, voting
from reviewopt.asking import Asking
from reviewopt.bought import Bought
from reviewopt.cache.asked import Batch, Found
from reviewopt.data import COST_DTYPE, SOURCES
from reviewopt.dedup.spread import NO_LABEL, Draft, Fresh
from reviewopt.job import Job, Local, Paid
from reviewopt.laddered import Tally
from reviewopt.priority import highest_first
from reviewopt.route import Policy, Rung
from reviewopt.text.complexity import complexity
from reviewopt.voting import Said

# What a worker takes at a time: small enough to share a chunk among cores, large enough to hide the call.
_SLICE_ROWS: Final = 4096
_UNSURE: Final = "unsure, and a better model gave no answer: "
_NO_REASON: Final = "no reason given"
# Questions after which the adaptive strategy looks at its policy again: a share is then known to within 2 %.
_REPLAN_EVERY: Final = 2048
_FIRST_TIER: Final = SOURCES.index("l1")

Flags = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
T = TypeVar("T")


class Ladder:
    """Answers open questions by the rungs of a job; its owner closes the pools of `asking`."""

    def __init__(self, job: Job, pool: ThreadPoolExecutor) -> None:
        """`pool` has the threads that the local model's answers are made on."""
        self.job, self._pool = job, pool
        self.asking = {paid.source: Asking(job, paid) for paid in job.paid}
        n_rungs = len(job.rungs)
        # Before anything is known of the rungs, the last one answers all.
        self.policy = Policy(
            entry=(n_rungs - 1,) * len(route.LEVELS),
            thresholds=(*(None for _ in job.rungs[1:]), 0.0),
            used=(*(False for _ in job.rungs[1:]), True),
        )
        self.tally = Tally(job)
        self.notes: tuple[str, ...] = ()
        self._sampled: Sequence[Rung] = ()
        self.bought = Bought(job.sources)

    def level(self, reviews: pl.DataFrame, rows: I64) -> U8:
        """Say how complex some rows are, uint8 (n,), as codes of `route.LEVELS`; all 0 where nothing depends on it."""
        if len(self.job.rungs) == 1:
            return np.zeros(len(rows), np.uint8)
        text = pl.concat_str("title", "text", separator="\n", ignore_nulls=True)
        return route.levels(complexity(reviews.select(text).to_series().gather(rows)))

    # --- the policy ------------------------------------------------------------------------------------------------

    def adopt(self, rungs: Sequence[Rung]) -> None:
        """Make the policy from what every rung answered to the sample."""
        strategy = self.job.config.ladder.strategy
        self._sampled = rungs
        decision = route.decide(strategy, rungs)
        self.policy, self.notes = decision.policy, decision.notes
        self.tally.thresholds, self.tally.tolerance = decision.thresholds, route.STRATEGIES[strategy].tolerance

    def _replan(self) -> None:
        """Mend the policy by what the run has seen so far, where its strategy does."""
        strategy = self.job.config.ladder.strategy
        if not self._sampled:
            return
        rungs = []
        for at, sampled in enumerate(self._sampled):
            tally = self.tally.rungs[at]
            rungs.append(
                replace(
                    sampled,
                    usd_per_answer=self._usd_an_answer(at) or sampled.usd_per_answer,
                    s_per_answer=tally.seconds / tally.n_answered if tally.n_answered else sampled.s_per_answer,
                    climbed_confidence=tally.pair_confidence,
                    climbed_agrees=tally.pair_agrees,
                )
            )
        decision = route.replan(strategy, self.policy, rungs)
        self.policy, self.tally.thresholds = decision.policy, decision.thresholds
        self.tally.replans += decision.notes

    def _usd_an_answer(self, at: int) -> float | None:
        """Return what a rung's answers cost in this run, each; None where it was not asked."""
        rung = self.job.rungs[at]
        if isinstance(rung, Local):
            return float(rung.price_usd)
        asking = self.asking[rung.source]
        return float(asking.paying.spent_usd) / asking.pool.counts.n_asked if asking.pool.counts.n_asked else None

    # --- what is known ---------------------------------------------------------------------------------------------

    def look_up(self, batch: Batch, level: U8, *, count: bool) -> tuple[Found, I64]:
        """Look up what the archive knows that would stay: of the top rung first, then of those below it.

        Returns:
            What is known, and the rung of each answer, int64 (n,).
        """
        rungs = self.job.rungs
        found, of = self._find(rungs[-1], batch, count=count), np.full(len(batch.form), len(rungs) - 1, np.int64)
        if not self.job.is_ladder:
            return found, of
        known = found.given
        if isinstance(rungs[-1], Paid):
            known = known | self._stays(len(rungs) - 1, level, found)
        _forget(found, np.flatnonzero(~known))
        for at in range(len(rungs) - 2, -1, -1):
            rung, missing = rungs[at], np.flatnonzero(found.tier == 0)
            if not isinstance(rung, Paid) or not len(missing):
                continue
            below = self._find(rung, batch.at(missing), count=count)
            stays = np.flatnonzero(self._stays(at, level[missing], below))
            _put(found, missing[stays], below, stays)
            of[missing[stays]] = at
        return found, of

    def _find(self, rung: Local | Paid, batch: Batch, *, count: bool) -> Found:
        """Look up what is known of a rung's answers; what the sample bought of it too."""
        if isinstance(rung, Local):
            return self.job.cache.look_up(batch, count=count)
        found = self.asking[rung.source].cache.look_up(batch, count=count)
        self.bought.add_to(found, rung.source, batch)
        return found

    def _stays(self, at: int, level: U8, found: Found) -> Flags:
        """Say which answers of a rung the archive has that are sure enough."""
        stays: Flags = (found.tier > 0) & (self._entry(level) <= at) & self._is_sure(at, found.confidence)
        return stays

    def _entry(self, level: U8) -> I64:
        """Return the rung at which questions of these levels enter, int64 (n,)."""
        return np.array(self.policy.entry, np.int64)[level]

    def _is_sure(self, at: int, confidence: npt.NDArray[np.float32]) -> Flags:
        """Say which answers of the rung `at` stay; where there is a vote, none that it would be asked about."""
        sure: Flags = route.accepts(self.policy.thresholds[at], confidence)
        if self.job.voters:
            sure &= confidence >= self.job.config.ladder.unsure_below
        return sure

    # --- what is asked ---------------------------------------------------------------------------------------------

    def answer(self, batch: Batch, kept: pl.DataFrame, level: U8) -> Fresh:
        """Answer every question of a batch.

        Args:
            batch: the open questions, (n,).
            kept: KEPT_COLUMNS of each.
            level: how complex they are, uint8 (n,).

        Raises:
            ModelError: no request can pass; what was answered is archived.
            KeyboardInterrupt: the run is to end, and what was under way is archived.
        """
        job, n = self.job, len(batch.form)
        if not job.is_ladder and not self.policy.used[0]:  # who is asked instead is asked later
            return Draft(n, has_rest=bool(job.task.others)).fresh(has_notes=True)
        if not job.is_ladder:
            return self.said_by(job.rungs[0], batch, kept)
        if not route.STRATEGIES[job.config.ladder.strategy].replans:
            return self._climbed(batch, kept, level)
        whole, order = Draft(n, has_rest=bool(job.task.others)), np.arange(n)
        if kept["priority"].count():
            order = highest_first(order, kept["priority"].to_numpy())
        for start in range(0, n, _REPLAN_EVERY):
            here = order[start : start + _REPLAN_EVERY]
            whole.take(here, self._climbed(batch.at(here), kept[here], level[here]))
            self._replan()
        return whole.fresh(has_notes=True)

    def _climbed(self, batch: Batch, kept: pl.DataFrame, level: U8) -> Fresh:
        """Answer a batch, rung by rung, by the policy in force."""
        job, n = self.job, len(batch.form)
        draft, open_ = Draft(n, has_rest=bool(job.task.others)), np.ones(n, np.bool_)
        label = np.full((n, len(job.rungs)), NO_LABEL, np.uint8)
        confidence = np.full((n, len(job.rungs)), np.nan, np.float32)
        asked = np.zeros((n, len(job.rungs)), np.bool_)
        rest: dict[int, pl.Series] = {}
        said_so_far = Said(rungs=job.rungs, label=label, confidence=confidence, asked=asked, rest=rest)
        for at, rung in enumerate(job.rungs):
            here = np.flatnonzero(open_ & (self._entry(level) <= at))
            if not len(here) or not self.policy.used[at]:
                continue
            started = time.perf_counter()
            said = self.known_or_said_by(rung, batch.at(here), kept[here])
            label[here, at], confidence[here, at], asked[here, at] = said.label, said.confidence, True
            if said.rest is not None and job.voters:
                rest[at] = pl.repeat("", n, dtype=pl.String, eager=True).scatter(here, said.rest)
            stays = self._take(draft, here, said) & self._is_sure(at, said.confidence)
            open_[here[stays]] = False
            seconds = time.perf_counter() - started
            self.tally.answered(at, said, stays, is_last=at == len(job.rungs) - 1, seconds=seconds)
        if job.voters:
            result, usd = voting.decide(
                draft, np.flatnonzero(open_), batch, kept, said_so_far, job.voters, self.known_or_said_by
            )
            self.tally.voted(result, usd)
        self._fall_back(draft, batch, kept)
        self.tally.n_fallen_back += int(draft.note.str.starts_with(_UNSURE).sum())
        self.tally.learn(label, confidence)
        return draft.fresh(has_notes=True)

    def _fall_back(self, draft: Draft, batch: Batch, kept: pl.DataFrame) -> None:
        """Give what stayed unanswered an answer that costs nothing, known or local, with a note."""
        for at in range(len(self.job.rungs) - 1, -1, -1):
            rung, left = self.job.rungs[at], np.flatnonzero(draft.label == NO_LABEL)
            if not len(left):
                return
            why = _UNSURE + draft.note.gather(left).fill_null(_NO_REASON)
            if isinstance(rung, Local):
                said, has = self.said_by(rung, batch.at(left), kept[left]), np.arange(len(left))
                self.tally.fell_back(at, len(left))
            else:
                found = self._find(rung, batch.at(left), count=False)
                has = np.flatnonzero(found.tier > 0)
                said = self.known(found, has, batch.at(left), rung)
            draft.take(left[has], said)
            draft.note = draft.note.scatter(left[has], why.gather(has))

    @staticmethod
    def _take(draft: Draft, here: I64, said: Fresh) -> Flags:
        """Take what a rung answers; where it has no answer, that of the rung below remains. Says where it has one."""
        has: Flags = said.label != NO_LABEL
        before = draft.label[here] != NO_LABEL
        lost = np.flatnonzero(~has & before)
        reason = pl.repeat(None, len(here), dtype=pl.String, eager=True) if said.note is None else said.note
        draft.note = draft.note.scatter(here[lost], _UNSURE + reason.gather(lost).fill_null(_NO_REASON))
        draft.pay(here[lost], said.cost_usd.gather(lost))
        takes = np.flatnonzero(has | ~before)
        draft.take(here[takes], said.at(takes))
        return has

    def known_or_said_by(self, rung: Local | Paid, batch: Batch, kept: pl.DataFrame) -> Fresh:
        """Answer a batch by one rung alone, from its archived answers first."""
        if isinstance(rung, Local):
            return self.said_by(rung, batch, kept)
        found = self._find(rung, batch, count=False)
        draft = Draft(len(batch.form), has_rest=bool(self.job.task.others))
        known, missing = np.flatnonzero(found.tier > 0), np.flatnonzero(found.tier == 0)
        draft.take(known, self.known(found, known, batch, rung))
        if len(missing):
            draft.take(missing, self.said_by(rung, batch.at(missing), kept[missing]))
        return draft.fresh(has_notes=True)

    def said_by(self, rung: Local | Paid, batch: Batch, kept: pl.DataFrame) -> Fresh:
        """Answer a batch by one rung alone; a paid one is asked."""
        if isinstance(rung, Paid):
            with self.job.recorder.stage("ask"):
                return self.asking[rung.source].answer(batch, kept)
        with self.job.recorder.stage("local"):
            return self._labelled(batch.form, rung)

    def known(self, found: Found, places: I64, batch: Batch, rung: Local | Paid) -> Fresh:
        """Return what a look-up of a rung found at `places`; what the sample bought of it says so."""
        answers, n_bought = self.bought.told(
            known_answers(found, places), batch.at(places), rung.source, found.given[places]
        )
        self.tally.sampled(rung.source, n_bought)
        return answers

    def _labelled(self, form: pl.Series, local: Local) -> Fresh:
        said = in_slices(self._pool, local.predictor.predict, form) if len(form) else []
        n, none = len(form), np.zeros(0)
        label = np.concatenate([none, *(one.label for one in said)]).astype(np.uint8)
        names = local.predictor.labels
        if names != self.job.labels:
            label = np.array([self.job.labels.index(name) for name in names], np.uint8)[label]
        return Fresh(
            label=label,
            confidence=np.clip(np.concatenate([none, *(one.confidence for one in said)]), 0, 1).astype(np.float32),
            outside=np.concatenate([none, *(one.outside for one in said)]).astype(np.bool_),
            source=np.full(n, self.job.sources.index(local.source), np.uint8),
            cost_usd=pl.repeat(local.price_usd, n, dtype=COST_DTYPE, eager=True),
        )


def _forget(found: Found, places: I64) -> None:
    found.tier[places], found.label[places], found.similar[places] = 0, -1, False
    found.confidence[places] = np.nan


def _put(found: Found, places: I64, of: Found, at: I64) -> None:
    """Take over the answers `of` another look-up, those `at` its places."""
    found.tier[places], found.label[places], found.similar[places] = of.tier[at], of.label[at], of.similar[at]
    found.confidence[places], found.given[places] = of.confidence[at], of.given[at]
    if found.rest is not None and of.rest is not None:
        found.rest.scatter(places, of.rest.gather(at))


def known_answers(found: Found, places: I64) -> Fresh:
    """Return what a look-up found at `places`, as answers that cost nothing."""
    n = len(places)
    return Fresh(
        label=found.label[places].astype(np.uint8),
        confidence=found.confidence[places],
        outside=np.zeros(n, np.bool_),
        source=(_FIRST_TIER + found.tier[places] - 1).astype(np.uint8),
        cost_usd=pl.repeat(0, n, dtype=COST_DTYPE, eager=True),
        rest=None if found.rest is None else found.rest.gather(places),
    )


def in_slices(pool: ThreadPoolExecutor, function: Callable[[pl.Series], T], column: pl.Series) -> list[T]:
    """Apply a pure function to slices of a column on the pool's threads; results in order, at least one."""
    starts = range(0, max(len(column), 1), _SLICE_ROWS)
    return list(pool.map(lambda start: function(column.slice(start, _SLICE_ROWS)), starts))
