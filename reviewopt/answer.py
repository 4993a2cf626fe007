"""From new questions to answers: near copies, what the tiers of the cache know, and the model for the rest."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import calibrating, priority, reach
from reviewopt.ahead import Before
from reviewopt.asking import KEPT_COLUMNS, Survey
from reviewopt.cache.tiers import Batch, Found
from reviewopt.data import SOURCES
from reviewopt.dedup import near as near_copies
from reviewopt.dedup.exact import Asked
from reviewopt.dedup.near import Near
from reviewopt.dedup.spread import NO_LABEL, Draft, Fresh
from reviewopt.job import Job, Paid
from reviewopt.ladder import Ladder, in_slices
from reviewopt.laddered import together
from reviewopt.reach import Reach
from reviewopt.record import AskRecord, LadderRecord
from reviewopt.text.sketch import Sketches, sketch

_NEAR: Final = SOURCES.index("near")
_FIRST_TIER: Final = SOURCES.index("l1")

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """A batch of n new questions, sorted by who answers them.

    `level` is how complex they are, `follows` are near copies of questions that the models or the cache answer, `open_`
    the positions that only a model can answer; `source` is what each will say; `rung` is whose answer is known.
    """

    batch: Batch
    found: Found
    near: Near
    level: U8
    source: npt.NDArray[np.uint8]
    follows: npt.NDArray[np.bool_]
    open_: I64
    rung: I64


class Answering:
    """Answers the questions that each chunk asks first; a context manager over its threads."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._pool = ThreadPoolExecutor(job.threads, thread_name_prefix="worker")
        self._source = job.sources.index(job.rungs[-1].source)
        self.ladder = Ladder(job, self._pool)
        self.n_looked_up = 0
        # What the savings are measured by: one request a row to the reference, the top rung, or the last voter where
        # none is paid.
        reference = [] if job.reference is None else [job.reference.paid]
        paid = [one for one in (*job.voters, *job.rungs, *reference) if isinstance(one, Paid)]
        self.naive = self.ladder.asking[paid[-1].source].naive if paid else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        for asking in self.ladder.asking.values():
            asking.pool.__exit__(kind, error, trace)

    def begin(self, on_line: Callable[[str], None]) -> None:
        """Find out, by asking a sample, how sure is sure enough and how large packs may be; `on_line` is told."""
        calibrating.begin(self.ladder, self._job, on_line)

    @property
    def is_late(self) -> bool:
        """Whether the deadline was reached."""
        return any(asking.pool.is_late for asking in self.ladder.asking.values())

    def asked(self) -> AskRecord | None:
        """Return what asking took so far, of all models together."""
        return together([asking.record() for asking in self.ladder.asking.values()])

    def record(self) -> LadderRecord | None:
        """Return how several models shared the questions; None for one model."""
        return self.ladder.tally.record(self.ladder.policy, self.ladder.asking)

    def answer(
        self, reviews: pl.DataFrame, form: pl.Series, asked: Asked, before: Before | None = None
    ) -> tuple[Fresh, I64]:
        """Answer the new questions of a chunk.

        Args:
            reviews: the chunk, as REVIEW_COLUMNS.
            form: String (n_rows,), its normal forms.
            asked: what its rows ask.
            before: what was answered of them before.

        Returns:
            The answers, and for each new question the one that its group began with, int64 (n_new,).
        """
        reviews = self._raised(reviews, asked)
        sorted_ = self._sort(reviews, form, asked, count=True, before=before)
        fresh = self._answered(sorted_, reviews, asked.new_rows, before)
        return fresh, asked.question[asked.new_rows][sorted_.near.first]

    def survey(self, reviews: pl.DataFrame, form: pl.Series, asked: Asked) -> tuple[dict[str, int], list[Reach]]:
        """Say for nothing who would answer the new questions of a chunk, by source, and what each rung is asked."""
        sorted_ = self._sort(reviews, form, asked, count=False)
        counts = np.bincount(sorted_.source, minlength=len(self._job.sources))
        kept = reviews.select(KEPT_COLUMNS)[asked.new_rows[sorted_.open_]]
        reached = reach.survey(self.ladder, sorted_.batch.at(sorted_.open_), kept, sorted_.level[sorted_.open_])
        n_by_source = dict(zip(self._job.sources, counts.tolist(), strict=True))
        top = self._job.rungs[-1].source
        for one in reached:  # what stays below the top, and what the top never could answer, is not the top's
            below = round(one.stays) if one.source != top else 0
            refused = one.survey.n_refused if one.survey is not None and one.source == top else 0
            n_by_source[one.source] += below
            n_by_source["failed"] += refused
            n_by_source[top] -= below + refused
        return n_by_source, reached

    def _raised(self, reviews: pl.DataFrame, asked: Asked) -> pl.DataFrame:
        """Give all rows of a question the highest priority of them."""
        if self._job.table.columns.priority is None:
            return reviews
        raised = priority.raised(reviews["priority"].to_numpy(), asked.question)
        return reviews.with_columns(priority=pl.Series(raised).fill_nan(None))

    def sampling(self, sample: pl.DataFrame) -> dict[str, Survey]:
        """Return what each paid rung would be asked of the sample; nothing where nothing is calibrated."""
        if len(self._job.rungs) == 1:
            return {}
        rows, surveys = sample.head(self._job.config.ladder.sample), {}
        batch = Batch(form=rows["form"], sketches=None, tenant=rows["tenant"] if self._job.isolated else None)
        for rung in self._job.rungs:
            if isinstance(rung, Paid):
                asking = self.ladder.asking[rung.source]
                unknown = np.flatnonzero(asking.cache.look_up(batch, count=False).tier == 0)
                surveys[rung.source] = asking.survey(batch.at(unknown), rows.select(KEPT_COLUMNS)[unknown])
        return surveys

    def text_bytes(self, reviews: pl.DataFrame, asked: Asked) -> int:
        """Return the bytes of text of the rows that ask something, or their units, as far as they would be sent."""
        if self.naive is None:
            return 0
        asks = asked.question >= 0
        return int(self.naive.sizes(reviews)[asks].sum())

    def _sort(
        self, reviews: pl.DataFrame, form: pl.Series, asked: Asked, *, count: bool, before: Before | None = None
    ) -> Sorted:
        """Find out who answers the new questions of a chunk; with `count`, look-ups are counted as uses."""
        rows, form = asked.new_rows, form.gather(asked.new_rows)
        tenant = reviews["tenant"].gather(rows) if self._job.isolated else None
        with self._job.recorder.stage("near"):
            sketches, near = self._related(form, tenant)
        batch = Batch(form=form, sketches=sketches, tenant=tenant)
        with self._job.recorder.stage("cache"):
            level = self.ladder.level(reviews, rows)
            found, rung = self.ladder.look_up(batch, level, count=count)
        is_new = np.ones(len(rows), np.bool_)
        if before is not None:  # as good as known
            found.tier[before.places], found.similar[before.places] = 1, before.is_of_another
            is_new[before.places] = is_new[before.spent] = False
        if count:
            self.n_looked_up += int(is_new.sum())
            self.ladder.tally.see(level[is_new])
        missed = found.tier == 0
        source = np.where(missed, self._source, _FIRST_TIER + found.tier - 1).astype(np.uint8)
        # A near copy takes its leader's answer, unless that is the answer to another text itself.
        follows = missed & (near.leader >= 0) & ~found.similar[near.leader]
        source[follows] = _NEAR
        open_ = np.flatnonzero(missed & ~follows)
        return Sorted(
            batch=batch, found=found, near=near, level=level, source=source, follows=follows, open_=open_, rung=rung
        )

    def _related(self, form: pl.Series, tenant: pl.Series | None) -> tuple[Sketches | None, Near]:
        """Find near copies among the new questions."""
        job = self._job
        if job.near == "off":
            return None, Near(np.arange(len(form)), np.full(len(form), -1, np.int64))
        sketches = Sketches.concat(in_slices(self._pool, sketch, form))
        return sketches, near_copies.find(
            form,
            sketches,
            threshold=job.config.dedup.threshold,
            workers=job.threads,
            alike=job.sharing if job.near == "share" else None,
            tenant=None if tenant is None else tenant.hash(seed=1).to_numpy(),
        )

    def _answered(self, sorted_: Sorted, reviews: pl.DataFrame, rows: I64, before: Before | None) -> Fresh:
        """Answer a batch of new questions: from the cache, as a near copy, or by the model."""
        found, follows, leader = sorted_.found, sorted_.follows, sorted_.near.leader
        n = len(follows)
        draft = Draft(n, has_rest=bool(self._job.task.others))
        is_known = found.tier > 0
        if before is not None:
            is_known[before.places] = False
        for at, rung in enumerate(self._job.rungs):
            here = np.flatnonzero(is_known & (sorted_.rung == at))
            draft.take(here, self.ladder.known(found, here, sorted_.batch, rung))
        if before is not None:
            draft.take(before.places, before.answers)
            draft.pay(before.spent, before.spent_usd)
        draft.source[follows] = _NEAR
        open_ = sorted_.open_
        draft.take(open_, self._asked(sorted_, open_, reviews, rows))
        orphans = np.flatnonzero(follows & (draft.label[leader] == NO_LABEL))
        if len(orphans):  # what is wrong with a text need not be wrong with one that is like it
            follows = follows & (draft.label[leader] != NO_LABEL)
            draft.take(orphans, self._asked(sorted_, orphans, reviews, rows))
        led = np.flatnonzero(follows)
        for values in (draft.label, draft.confidence, draft.outside):
            values[led] = values[leader[led]]
        draft.rest = None if draft.rest is None else draft.rest.scatter(led, draft.rest.gather(leader[led]))
        draft.note = draft.note.scatter(led, draft.note.gather(leader[led]))
        draft.pay(*self.ladder.bought.rest_usd(sorted_.batch))
        return draft.fresh(has_notes=bool(self._job.paid))

    def _asked(self, sorted_: Sorted, at: I64, reviews: pl.DataFrame, rows: I64) -> Fresh:
        """Answer the questions `at` some places of a batch, which stands in `rows` of the chunk, by the rungs."""
        reviews = reviews.select(KEPT_COLUMNS)
        kept = reviews[rows[at]] if self._job.paid else reviews.clear()
        batch = sorted_.batch if self._job.is_ladder else replace(sorted_.batch, sketches=None)
        return self.ladder.answer(batch.at(at), kept, sorted_.level[at])
