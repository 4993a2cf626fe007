"""From new questions to answers: near copies, what the tiers of the cache know, and the model for the rest."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache.tiers import Batch
from reviewopt.data import COST_DTYPE, SOURCES
from reviewopt.dedup import near as near_copies
from reviewopt.dedup.exact import Asked
from reviewopt.dedup.near import Near
from reviewopt.dedup.spread import Fresh
from reviewopt.job import Job
from reviewopt.text.sketch import Sketches, sketch

# What a worker takes at a time: small enough to share a chunk among cores, large enough to hide the call.
_SLICE_ROWS: Final = 4096
# What is paid for is archived as soon as so many answers are there: a kill loses no more of what is in hand.
_PAID_ROWS: Final = 256
_NEAR: Final = SOURCES.index("near")
_FIRST_TIER: Final = SOURCES.index("l1")

I64 = npt.NDArray[np.int64]
T = TypeVar("T")


class Answering:
    """Answers the questions that each chunk asks first; a context manager over its threads."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._pool = ThreadPoolExecutor(job.threads, thread_name_prefix="worker")
        self._source = job.sources.index(job.answerer.source)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def answer(self, reviews: pl.DataFrame, form: pl.Series, asked: Asked) -> tuple[Fresh, I64]:
        """Answer the new questions of a chunk.

        Args:
            reviews: the chunk, as REVIEW_COLUMNS.
            form: String (n_rows,), its normal forms.
            asked: what its rows ask.

        Returns:
            The answers, and for each new question the one that its group began with, int64 (n_new,).
        """
        rows, form = asked.new_rows, form.gather(asked.new_rows)
        tenant = reviews["tenant"].gather(rows) if self._job.isolated else None
        with self._job.recorder.stage("near"):
            sketches, near = self._related(form, tenant)
        batch = Batch(form=form, sketches=sketches, tenant=tenant)
        fresh = self._answered(batch, near, reviews.select("tenant", "review_id")[rows])
        return fresh, asked.question[rows][near.first]

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

    def _answered(self, batch: Batch, near: Near, kept: pl.DataFrame) -> Fresh:
        """Answer a batch of new questions: from the cache, as a near copy, or by the model."""
        with self._job.recorder.stage("cache"):
            found = self._job.cache.look_up(batch)
        missed = found.tier == 0
        source = np.where(missed, self._source, _FIRST_TIER + found.tier - 1).astype(np.uint8)
        # A near copy takes its leader's answer, unless that is the answer to another text itself.
        follows = missed & (near.leader >= 0) & ~found.similar[near.leader]
        source[follows] = _NEAR
        open_ = np.flatnonzero(missed & ~follows)
        answered = self._asked(batch, open_, kept)
        label, confidence = np.maximum(found.label, 0).astype(np.uint8), found.confidence.copy()
        outside = np.zeros(len(label), np.bool_)
        for values, of_model in (
            (label, answered.label),
            (confidence, answered.confidence),
            (outside, answered.outside),
        ):
            values[open_] = of_model
            values[follows] = values[near.leader[follows]]
        cost = pl.repeat(0, len(label), dtype=COST_DTYPE, eager=True).scatter(open_, answered.cost_usd)
        return Fresh(label=label, confidence=confidence, outside=outside, source=source, cost_usd=cost)

    def _asked(self, batch: Batch, open_: I64, kept: pl.DataFrame) -> Fresh:
        """Ask the model the questions at the positions `open_`; what was paid for is archived slice by slice."""
        model, n_slice = self._job.answerer, _PAID_ROWS if self._job.answerer.is_paid else _SLICE_ROWS
        slices = [open_[start : start + n_slice] for start in range(0, len(open_), n_slice)]
        cost = pl.repeat(model.price_usd, len(open_), dtype=COST_DTYPE, eager=True)
        label, confidence = np.zeros(len(open_), np.uint8), np.zeros(len(open_), np.float32)
        outside, done = np.zeros(len(open_), np.bool_), 0
        with self._job.recorder.stage("ask" if model.is_paid else "local"):
            predictions = self._pool.map(lambda at: model.model.predict(batch.form.gather(at)), slices)
            for at, said in zip(slices, predictions, strict=True):
                here = slice(done, done := done + len(at))
                label[here], outside[here] = said.label, said.outside
                confidence[here] = np.clip(said.confidence, 0, 1)
                if model.is_paid:
                    self._store(batch, at, label[here], confidence[here], kept)
        source = np.full(len(open_), self._source, np.uint8)
        return Fresh(label=label, confidence=confidence, outside=outside, source=source, cost_usd=cost)

    def _store(
        self,
        batch: Batch,
        at: I64,
        label: npt.NDArray[np.uint8],
        confidence: npt.NDArray[np.float32],
        kept: pl.DataFrame,
    ) -> None:
        tenant = None if batch.tenant is None else batch.tenant.gather(at)
        price = pl.lit(self._job.answerer.price_usd, COST_DTYPE).alias("cost_usd")
        asked = Batch(form=batch.form.gather(at), sketches=None, tenant=tenant)
        self._job.cache.store(asked, label, confidence, kept[at].with_columns(price))


def _in_slices(pool: ThreadPoolExecutor, function: Callable[[pl.Series], T], column: pl.Series) -> list[T]:
    """Apply a pure function to slices of a column on the pool's threads; results in order, at least one."""
    starts = range(0, max(len(column), 1), _SLICE_ROWS)
    return list(pool.map(lambda start: function(column.slice(start, _SLICE_ROWS)), starts))
