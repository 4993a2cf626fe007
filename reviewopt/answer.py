"""From new questions to answers: near copies, what the tiers of the cache know, and the model for the rest."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.asking import KEPT_COLUMNS, Asking, Survey, text_bytes
from reviewopt.cache.tiers import Batch, Found
from reviewopt.data import COST_DTYPE, SOURCES
from reviewopt.dedup import near as near_copies
from reviewopt.dedup.exact import Asked
from reviewopt.dedup.near import Near
from reviewopt.dedup.spread import NO_LABEL, Fresh
from reviewopt.job import Job, Local, Paid
from reviewopt.text.sketch import Sketches, sketch

# What a worker takes at a time: small enough to share a chunk among cores, large enough to hide the call.
_SLICE_ROWS: Final = 4096
_NEAR: Final = SOURCES.index("near")
_FIRST_TIER: Final = SOURCES.index("l1")
_FAILED: Final = SOURCES.index("failed")

I64 = npt.NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """A batch of n new questions, sorted by who answers them.

    `follows` are near copies of questions that the model or the cache answers, `open_` the positions that only the
    model can answer; `source` is what each will say.
    """

    batch: Batch
    found: Found
    near: Near
    source: npt.NDArray[np.uint8]
    follows: npt.NDArray[np.bool_]
    open_: I64


class Answering:
    """Answers the questions that each chunk asks first; a context manager over its threads."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._pool = ThreadPoolExecutor(job.threads, thread_name_prefix="worker")
        self._source = job.sources.index(job.answerer.source)
        self.asking = Asking(job, job.answerer) if isinstance(job.answerer, Paid) else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        if self.asking is not None:
            self.asking.pool.__exit__(kind, error, trace)

    def answer(self, reviews: pl.DataFrame, form: pl.Series, asked: Asked) -> tuple[Fresh, I64]:
        """Answer the new questions of a chunk.

        Args:
            reviews: the chunk, as REVIEW_COLUMNS.
            form: String (n_rows,), its normal forms.
            asked: what its rows ask.

        Returns:
            The answers, and for each new question the one that its group began with, int64 (n_new,).
        """
        sorted_ = self._sort(reviews, form, asked, count=True)
        fresh = self._answered(sorted_, reviews, asked.new_rows)
        return fresh, asked.question[asked.new_rows][sorted_.near.first]

    def survey(self, reviews: pl.DataFrame, form: pl.Series, asked: Asked) -> tuple[dict[str, int], Survey]:
        """Say for nothing who would answer the new questions of a chunk, by source, and what would be asked."""
        if self.asking is None:
            raise TypeError("only a paid model is surveyed")
        sorted_ = self._sort(reviews, form, asked, count=False)
        counts = np.bincount(sorted_.source, minlength=len(self._job.sources))
        kept = reviews.select(KEPT_COLUMNS)[asked.new_rows[sorted_.open_]]
        survey = self.asking.survey(_at(sorted_.batch, sorted_.open_), kept)
        counts[self._source] -= survey.n_refused
        counts[_FAILED] += survey.n_refused
        return dict(zip(self._job.sources, counts.tolist(), strict=True)), survey

    def text_bytes(self, reviews: pl.DataFrame, asked: Asked) -> int:
        """Return the bytes of text of the rows that ask something, as far as they would be sent."""
        if self.asking is None:
            raise TypeError("only a paid model is surveyed")
        asks = asked.question >= 0
        return int(text_bytes(reviews, most=self.asking.naive.most_bytes)[asks].sum())

    def _sort(self, reviews: pl.DataFrame, form: pl.Series, asked: Asked, *, count: bool) -> Sorted:
        """Find out who answers the new questions of a chunk; with `count`, look-ups are counted as uses."""
        rows, form = asked.new_rows, form.gather(asked.new_rows)
        tenant = reviews["tenant"].gather(rows) if self._job.isolated else None
        with self._job.recorder.stage("near"):
            sketches, near = self._related(form, tenant)
        batch = Batch(form=form, sketches=sketches, tenant=tenant)
        with self._job.recorder.stage("cache"):
            found = self._job.cache.look_up(batch, count=count)
        missed = found.tier == 0
        source = np.where(missed, self._source, _FIRST_TIER + found.tier - 1).astype(np.uint8)
        # A near copy takes its leader's answer, unless that is the answer to another text itself.
        follows = missed & (near.leader >= 0) & ~found.similar[near.leader]
        source[follows] = _NEAR
        open_ = np.flatnonzero(missed & ~follows)
        return Sorted(batch=batch, found=found, near=near, source=source, follows=follows, open_=open_)

    def _related(self, form: pl.Series, tenant: pl.Series | None) -> tuple[Sketches | None, Near]:
        """Find near copies among the new questions."""
        job = self._job
        if job.near == "off":
            return None, Near(np.arange(len(form)), np.full(len(form), -1, np.int64))
        sketches = Sketches.concat(_in_slices(self._pool, sketch, form))
        return sketches, near_copies.find(
            form,
            sketches,
            threshold=job.config.dedup.threshold,
            workers=job.threads,
            alike=job.sharing if job.near == "share" else None,
            tenant=None if tenant is None else tenant.hash(seed=1).to_numpy(),
        )

    def _answered(self, sorted_: Sorted, reviews: pl.DataFrame, rows: I64) -> Fresh:
        """Answer a batch of new questions: from the cache, as a near copy, or by the model."""
        found, follows, leader = sorted_.found, sorted_.follows, sorted_.near.leader
        n = len(follows)
        label, confidence = np.maximum(found.label, 0).astype(np.uint8), found.confidence.copy()
        outside, source = np.zeros(n, np.bool_), sorted_.source
        cost = pl.repeat(0, n, dtype=COST_DTYPE, eager=True)
        rest, note = found.rest, pl.repeat(None, n, dtype=pl.String, eager=True)

        def take(at: I64, said: Fresh) -> None:
            nonlocal cost, rest, note
            label[at], confidence[at], outside[at], source[at] = said.label, said.confidence, said.outside, said.source
            cost = cost.scatter(at, said.cost_usd)
            rest = rest if rest is None or said.rest is None else rest.scatter(at, said.rest)
            note = note if said.note is None else note.scatter(at, said.note)

        take(sorted_.open_, self._asked(_at(sorted_.batch, sorted_.open_), reviews, rows[sorted_.open_]))
        orphans = np.flatnonzero(follows & (label[leader] == NO_LABEL))
        if len(orphans):  # what is wrong with a text need not be wrong with one that is like it
            follows = follows & (label[leader] != NO_LABEL)
            take(orphans, self._asked(_at(sorted_.batch, orphans), reviews, rows[orphans]))
        led = np.flatnonzero(follows)
        for values in (label, confidence, outside):
            values[led] = values[leader[led]]
        rest = None if rest is None else rest.scatter(led, rest.gather(leader[led]))
        note = note.scatter(led, note.gather(leader[led]))
        has_notes = self.asking is not None
        return Fresh(
            label=label,
            confidence=confidence,
            outside=outside,
            source=source,
            cost_usd=cost,
            rest=rest,
            note=note if has_notes else None,
        )

    def _asked(self, batch: Batch, reviews: pl.DataFrame, rows: I64) -> Fresh:
        """Answer a batch, which stands in `rows` of the chunk, by the model."""
        if self.asking is not None:
            with self._job.recorder.stage("ask"):
                return self.asking.answer(batch, reviews.select(KEPT_COLUMNS)[rows])
        if not isinstance(self._job.answerer, Local):
            raise TypeError("a paid model is asked by Asking")
        with self._job.recorder.stage("local"):
            return self._labelled(batch.form, self._job.answerer)

    def _labelled(self, form: pl.Series, local: Local) -> Fresh:
        said = _in_slices(self._pool, local.predictor.predict, form) if len(form) else []
        n, none = len(form), np.zeros(0)
        return Fresh(
            label=np.concatenate([none, *(one.label for one in said)]).astype(np.uint8),
            confidence=np.clip(np.concatenate([none, *(one.confidence for one in said)]), 0, 1).astype(np.float32),
            outside=np.concatenate([none, *(one.outside for one in said)]).astype(np.bool_),
            source=np.full(n, self._source, np.uint8),
            cost_usd=pl.repeat(local.price_usd, n, dtype=COST_DTYPE, eager=True),
        )


def _at(batch: Batch, at: I64) -> Batch:
    """Return the questions at the positions `at`, without sketches."""
    tenant = None if batch.tenant is None else batch.tenant.gather(at)
    return Batch(form=batch.form.gather(at), sketches=None, tenant=tenant)


def _in_slices(pool: ThreadPoolExecutor, function: Callable[[pl.Series], T], column: pl.Series) -> list[T]:
    """Apply a pure function to slices of a column on the pool's threads; results in order, at least one."""
    starts = range(0, max(len(column), 1), _SLICE_ROWS)
    return list(pool.map(lambda start: function(column.slice(start, _SLICE_ROWS)), starts))
