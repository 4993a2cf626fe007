"""From new questions to answers: near copies, what the tiers of the cache know, and the model for the rest."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache.tiers import Batch
from reviewopt.data import COST_DTYPE, SOURCES
from reviewopt.dedup.exact import Asked
from reviewopt.dedup.near import Near, NearCopies, New
from reviewopt.dedup.spread import Answers, Fresh
from reviewopt.job import Job
from reviewopt.text.sketch import Sketches, sketch

# What a worker takes at a time: small enough to share a chunk among cores, large enough to hide the call.
_SLICE_ROWS: Final = 4096
_NEAR: Final = SOURCES.index("near")
_FIRST_TIER: Final = SOURCES.index("l1")

I64 = npt.NDArray[np.int64]
T = TypeVar("T")


class Answering:
    """Answers the questions that each chunk asks first; a context manager over its threads."""

    def __init__(self, job: Job, answers: Answers) -> None:
        """Answers go into `answers`, from where near copies in later chunks take theirs."""
        self._job = job
        self._answers = answers
        self._pool = ThreadPoolExecutor(job.threads, thread_name_prefix="worker")
        self._source = job.sources.index(job.asked.source)
        self._near = NearCopies(
            threshold=job.config.dedup.threshold,
            workers=job.threads,
            alike=job.sharing if job.near == "share" else None,
        )

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
        job, stage = self._job, self._job.recorder.stage
        rows, form = asked.new_rows, form.gather(asked.new_rows)
        tenant = reviews["tenant"].gather(rows) if job.isolated else None
        sketches = None
        near = Near(root=asked.question[rows], leader=np.full(len(rows), -1, np.int64))
        with stage("near"):
            if job.near != "off":
                sketches = Sketches.concat(_in_slices(self._pool, sketch, form))
                near = self._near.find(
                    New(
                        question=asked.question[rows],
                        row=reviews["row"].gather(rows).to_numpy(),
                        form=form,
                        sketches=sketches,
                        tenant=_code(tenant, len(rows)),
                    )
                )
        batch = Batch(form=form, sketches=sketches, tenant=tenant)
        fresh = self._answered(batch, near, reviews.select("tenant", "review_id")[rows], asked.question[rows])
        return fresh, near.root

    def _answered(self, batch: Batch, near: Near, kept: pl.DataFrame, question: I64) -> Fresh:
        """Answer a batch of new questions: from the cache, as a near copy, or by the model."""
        with self._job.recorder.stage("cache"):
            found = self._job.cache.look_up(batch)
        n = len(batch.form)
        label, confidence = np.maximum(found.label, 0).astype(np.uint8), found.confidence
        outside = np.zeros(n, np.bool_)
        source = np.where(found.tier > 0, _FIRST_TIER + found.tier - 1, self._source).astype(np.uint8)
        cost = pl.repeat(0, n, dtype=COST_DTYPE, eager=True)
        follows = self._followers(near, found.tier, found.similar, question)
        open_ = np.flatnonzero((found.tier == 0) & ~follows)
        answered = self._asked(batch, open_, kept)
        label[open_], confidence[open_], outside[open_] = answered.label, answered.confidence, answered.outside
        cost = cost.scatter(open_, answered.cost_usd)
        fresh = Fresh(
            label=label, confidence=confidence, outside=outside, source=source, cost_usd=cost, derived=found.similar
        )
        self._answers.add(fresh)
        copies = np.flatnonzero(follows)
        if len(copies):
            source[copies] = _NEAR
            self._answers.copy(near.leader[copies], question[copies])
        return fresh

    def _followers(
        self, near: Near, tier: npt.NDArray[np.uint8], similar: npt.NDArray[np.bool_], question: I64
    ) -> npt.NDArray[np.bool_]:
        """Return who takes its leader's answer, bool (n,): whoever has none yet, of a leader whose own answer it is."""
        follows: npt.NDArray[np.bool_] = (near.leader >= 0) & (tier == 0)
        at = np.flatnonzero(follows)
        if len(at):
            leader = near.leader[at]
            within = leader - question[0]
            earlier = within < 0
            derived = np.where(
                earlier, self._answers.derived(np.where(earlier, leader, 0)), similar[np.maximum(within, 0)]
            )
            follows[at[derived]] = False
        return follows

    def _asked(self, batch: Batch, open_: I64, kept: pl.DataFrame) -> Fresh:
        """Ask the model, and archive what was paid for before it counts."""
        model = self._job.asked
        form = batch.form.gather(open_)
        with self._job.recorder.stage("ask" if model.is_paid else "local"):
            parts = _in_slices(self._pool, model.model.predict, form)
        label = np.concatenate([part.label for part in parts]).astype(np.uint8)
        confidence = np.concatenate([part.confidence for part in parts]).astype(np.float32)
        cost = pl.repeat(model.price_usd, len(open_), dtype=COST_DTYPE, eager=True).alias("cost_usd")
        if model.is_paid:
            tenant = None if batch.tenant is None else batch.tenant.gather(open_)
            with self._job.recorder.stage("store"):
                self._job.cache.store(
                    Batch(form=form, sketches=None, tenant=tenant),
                    label,
                    confidence,
                    kept[open_].with_columns(cost),
                )
        return Fresh(
            label=label,
            confidence=confidence,
            outside=np.concatenate([part.outside for part in parts]),
            source=np.full(len(open_), self._source, np.uint8),
            cost_usd=cost,
            derived=np.zeros(len(open_), np.bool_),
        )


def _in_slices(pool: ThreadPoolExecutor, function: Callable[..., T], *columns: pl.Series) -> list[T]:
    """Apply a pure function to slices of the columns on the pool's threads; results in order, at least one."""
    starts = range(0, max(len(columns[0]), 1), _SLICE_ROWS)
    return list(pool.map(lambda start: function(*(column.slice(start, _SLICE_ROWS) for column in columns)), starts))


def _code(tenant: pl.Series | None, n: int) -> I64:
    """Return a number for each tenant, equal for equal ones within a run; int64 (n,)."""
    if tenant is None:
        return np.zeros(n, np.int64)
    codes: npt.NDArray[Any] = tenant.hash(seed=1).to_numpy()
    return codes.view(np.int64)
