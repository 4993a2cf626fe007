"""The open questions of a chunk -> packs -> the pool -> the archive, and what all that would cost."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import pack, priority
from reviewopt.ask.again import Done
from reviewopt.ask.paying import Paying
from reviewopt.ask.pool import Pool
from reviewopt.cache.asked import Batch
from reviewopt.data import COST_DTYPE, SOURCES, Question
from reviewopt.dedup.spread import NO_LABEL, Fresh
from reviewopt.errors import ModelError
from reviewopt.hardware import Guard, Watch
from reviewopt.job import Job, Paid
from reviewopt.keeping import Keeping
from reviewopt.pricing import Naive, form_of, measured, text_room
from reviewopt.record import AskRecord, HardwareUse, Tokens
from reviewopt.settings import parse_duration
from reviewopt.text.complexity import complexity
from reviewopt.text.prompt_copy import prompt_copy

_FAILED: Final = SOURCES.index("failed")
_SHORTENED: Final = "shortened"
_SEED: Final = 20_261_121
_MOST_REASONS: Final = 20

# What is kept of a review that is asked.
KEPT_COLUMNS: Final = ("tenant", "review_id", "title", "text", "priority")

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The prompt's copies of n open questions: `text`, `n_tokens` (n,), and which were shortened, bool (n,).

    `priority` is null where no question has one.
    """

    text: pl.Series
    n_tokens: I64
    shortened: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float64]
    tenant: I64 | None
    priority: npt.NDArray[np.float64] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the open questions of a chunk would be asked in: requests, and what these hold together.

    Where characters are billed, `n_input_tokens` counts units of them, here and wherever tokens are said below.

    `n_refused` never worked before and are left alone.
    """

    n_questions: int
    n_refused: int
    n_requests: int
    n_input_tokens: int
    n_output_tokens: float
    n_body_bytes: int


class Asking:
    """Asks one paid model over the threads of `pool`, which its owner closes."""

    def __init__(self, job: Job, paid: Paid) -> None:
        self._job, self._paid = job, paid
        self.cache = paid.cache
        self.tuning = paid.tuning
        self._source = job.sources.index(paid.source)
        self.paying = Paying(paid.price, paid.purse)
        self._guard = Guard(paid.gpus) if paid.gpus is not None and paid.model.place == "process" else None
        self._watch = Watch(paid.gpus) if paid.gpus is not None else None
        lasts_s = parse_duration(job.config.ask.deadline)
        self.pool = Pool(
            paid.model,
            job.task,
            self.paying,
            job.config.ask,
            is_stopping=paid.is_stopping,
            ends_s=None if lasts_s is None else time.monotonic() + lasts_s,
            room=None if self._guard is None else self._guard.room,
        )
        self.n_shortened = 0
        self._keeping = Keeping(job, paid, self.paying)
        self._n_chunks = 0
        self.form = form_of(paid.model, paid.encoding)
        self._most_review_tokens = min(job.config.prompt.most_review_tokens, text_room(paid.model))
        self.naive = Naive(paid.model, paid.price, self.form, most_review_tokens=self._most_review_tokens)
        size = job.config.pack.size if self.tuning is None else self.tuning.size
        self.use_packs_of(1 if paid.is_reference else size)

    @property
    def most_reviews(self) -> int:
        """The reviews that a request has room for at most."""
        return self._pack_bounds(self._job.config.pack.size).most_reviews

    def use_packs_of(self, size: int) -> None:
        """Put so many reviews of middling complexity into a request from now on.

        1: each alone; such answers are kept apart from packed ones.
        """
        self.cache = self._paid.singly if size == 1 and self._paid.singly is not None else self._paid.cache
        self._bounds = self._pack_bounds(size)

    # --- what is asked ---------------------------------------------------------------------------------------------

    def answer(self, batch: Batch, kept: pl.DataFrame) -> Fresh:
        """Ask every question of a batch; each answer is in the archive before it counts.

        Args:
            batch: the open questions, (n,).
            kept: KEPT_COLUMNS of each.

        Raises:
            ModelError: no request can pass; what was answered is archived.
            KeyboardInterrupt: the run is to end, and what was under way is archived.
        """
        n = len(batch.form)
        label, confidence = np.full(n, NO_LABEL, np.uint8), np.full(n, np.nan, np.float32)
        rest: list[str] = [""] * n
        note: list[str | None] = [None] * n
        cost = [Decimal(0)] * n
        keeper = self.cache.keeper(batch, kept)
        keys = None if keeper is None else keeper.keys.hex()
        refused = self._keeping.refused(keys)
        for at, reason in refused.items():
            note[at] = f"left alone, it never worked in an earlier run: {reason}"
        self._keeping.reasons.update(note[at] or "" for at in refused)
        open_ = np.setdiff1d(np.arange(n), np.fromiter(refused, np.int64, len(refused)))
        prepared = self._unsent(open_) if self.pool.is_late else self._prepare(batch, open_, kept)
        for at in open_[prepared.shortened].tolist():
            note[at] = _SHORTENED
        self.n_shortened += int(prepared.shortened.sum())
        n_done = 0
        for done in self._asked(self._packs(prepared, open_, kept, keys)):
            self._keeping.keep(self.cache, keeper, done)
            if self._watch is not None:
                self._watch.look()
            for one in done:
                at = one.question.at
                cost[at] = self.paying.cost_of(at)
                if one.answer is None:
                    note[at] = one.reason
                else:
                    label[at], confidence[at], rest[at] = one.answer.label, one.answer.confidence, one.answer.rest
            self.paying.forget([one.question.at for one in done])
            n_done += len(done)
            self._paid.on_asked(n_done, len(open_), self.paying.spent_usd)
        return Fresh(
            label=label,
            confidence=confidence,
            outside=np.zeros(n, np.bool_),
            source=np.where(label == NO_LABEL, _FAILED, self._source).astype(np.uint8),
            cost_usd=pl.Series("cost_usd", cost, COST_DTYPE),
            rest=pl.Series("rest", rest, pl.String) if self._job.task.others else None,
            note=pl.Series("note", note, pl.String),
        )

    def _asked(self, packs: Iterator[tuple[Question, ...]]) -> Iterator[list[Done]]:
        """Ask, and say what becomes of the answers where it ends before its time."""
        keeps = self._job.config.cache.archive.enabled
        after = (
            "What was answered is kept: run the same command again to go on"
            if keeps
            else "Without the archive (--no-cache, --naive) nothing that was answered is kept"
        )
        try:
            yield from self.pool.ask(packs)
        except (ModelError, KeyboardInterrupt) as error:
            raise type(error)(f"{error}. {after}" if str(error) else after) from error

    def survey(self, batch: Batch, kept: pl.DataFrame, *, skips_refused: bool = True) -> Survey:
        """Count what `answer` would ask, for nothing."""
        refused = self._keeping.refused(self._keys(batch)) if skips_refused else {}
        open_ = np.setdiff1d(np.arange(len(batch.form)), np.fromiter(refused, np.int64, len(refused)))
        prepared = self._prepare(batch, open_, kept)
        n_requests = sum(1 for _ in self._positions(prepared))
        return Survey(
            n_questions=len(open_),
            n_refused=len(refused),
            n_requests=n_requests,
            n_input_tokens=int(prepared.n_tokens.sum())
            + len(open_) * self.form.tokens_a_review
            + n_requests * self.form.tokens,
            n_output_tokens=len(open_) * self._paid.model.output_tokens_a_review,
            n_body_bytes=int(prepared.text.str.len_bytes().sum())
            + len(open_) * self.form.bytes_a_review
            + n_requests * self.form.bytes,
        )

    def _keys(self, batch: Batch) -> pl.Series | None:
        keys = self.cache.keys(batch)
        return None if keys is None else keys.hex()

    def _prepare(self, batch: Batch, at: I64, kept: pl.DataFrame) -> Prepared:
        """Make the prompt's copies of the questions at `at`."""
        rows = kept[at]
        text = prompt_copy(rows["title"], rows["text"], redact=self._job.config.prompt.redact)
        text, n_tokens, shortened = measured(
            text, self._paid.model.limits, most_tokens=self._most_review_tokens, encoding=self._paid.encoding
        )
        self.naive.learn(int(text.str.len_bytes().sum()), int(n_tokens.sum()))
        tenant = None
        if batch.tenant is not None:
            tenant = batch.tenant.gather(at).fill_null("").rank("dense").to_numpy().astype(np.int64)
        return Prepared(
            text=text,
            n_tokens=n_tokens,
            shortened=shortened,
            weight=pack.load(complexity(text), self._bounds),
            tenant=tenant,
            priority=rows["priority"].to_numpy() if rows["priority"].count() else None,
        )

    @staticmethod
    def _unsent(at: I64) -> Prepared:
        """Stand for the questions at `at` where nothing is sent any more: copies for prompts would be made in vain."""
        n = len(at)
        return Prepared(
            text=pl.repeat("", n, dtype=pl.String, eager=True),
            n_tokens=np.zeros(n, np.int64),
            shortened=np.zeros(n, np.bool_),
            weight=np.ones(n),
            tenant=None,
            priority=None,
        )

    def _positions(self, prepared: Prepared) -> Iterator[I64]:
        order = pack.shuffled(len(prepared.text), _SEED + self._n_chunks)
        self._n_chunks += 1
        n_tokens = prepared.n_tokens + self.form.tokens_a_review
        if prepared.priority is None:
            return pack.packs(order, n_tokens, prepared.weight, prepared.tenant, self._bounds)
        order = priority.highest_first(order, prepared.priority)
        return priority.in_order(pack.packs(order, n_tokens, prepared.weight, prepared.tenant, self._bounds), order)

    def _packs(
        self, prepared: Prepared, open_: I64, kept: pl.DataFrame, keys: pl.Series | None
    ) -> Iterator[tuple[Question, ...]]:
        """Make the packs one by one, as they can be sent."""
        text, n_tokens = prepared.text.to_list(), prepared.n_tokens.tolist()
        tenant, review_id = kept["tenant"].to_list(), kept["review_id"].to_list()
        key = [""] * len(tenant) if keys is None else keys.to_list()
        place = open_.tolist()
        for positions in self._positions(prepared):
            yield tuple(
                Question(
                    at=(at := place[one]),
                    text=text[one],
                    n_tokens=n_tokens[one],
                    tenant=tenant[at],
                    review_id=review_id[at],
                    key=key[at],
                )
                for one in positions.tolist()
            )

    def _pack_bounds(self, size: int) -> pack.Bounds:
        limits = self._paid.model.limits
        fixed = 1 if self._job.is_naive or size == 1 else self._job.config.pack.fixed
        if limits.billed_characters:  # documents of a service do not disturb each other: as many as it takes
            fixed = fixed or limits.most_questions
        return pack.Bounds(
            size=size,
            fixed=fixed,
            most=limits.most_questions,
            sizes=limits.pack_sizes,
            most_input_tokens=text_room(self._paid.model),
            most_output_tokens=limits.most_output_tokens,
            output_tokens_a_review=self._paid.model.output_tokens_a_review,
        )

    # --- what is kept and recorded ---------------------------------------------------------------------------------

    def keep(self, batch: Batch, kept: pl.DataFrame, said: Fresh) -> None:
        """Archive answers that were asked before as those to the requests that are sent now."""
        keeper = self.cache.keeper(batch, kept)
        if keeper is not None:
            self._keeping.again(self.cache, keeper, said)

    def _hardware(self) -> HardwareUse | None:
        """Return what the GPUs of this machine did; None for a model that computes elsewhere."""
        paid, guard = self._paid, self._guard
        if paid.model.place == "remote":
            return None
        return HardwareUse(
            place=paid.model.place,
            driver=None if paid.gpus is None else paid.gpus.driver,
            reason=paid.no_gpus,
            gpus=() if self._watch is None else tuple(self._watch.use()),
            n_halved=0 if guard is None else guard.n_halved,
            waited_s=0.0 if guard is None else guard.waited_s,
        )

    def record(self) -> AskRecord:
        """Return what asking took so far."""
        counts, paid, usage = self.pool.counts, self._paid, self.paying.usage
        n_requests = sum(counts.outcomes.values())
        n_packs = sum(counts.pack_sizes.values())
        budget = self._job.config.budget.usd
        return AskRecord(
            endpoint=paid.model.endpoint,
            is_simulated=paid.model.is_simulated,
            price=paid.price.name,
            n_requests=n_requests,
            outcomes=dict(sorted(counts.outcomes.items())),
            n_asked=counts.n_asked,
            n_asked_again=counts.n_asked_again,
            mean_pack_size=counts.n_asked / n_packs if n_packs else None,
            n_shortened=self.n_shortened,
            n_over_budget=counts.n_over_budget,
            n_over_deadline=counts.n_over_deadline,
            failures=dict(self._keeping.reasons.most_common(_MOST_REASONS)),
            tokens=Tokens(
                input=usage.input,
                cached=usage.cached,
                cache_write=usage.cache_write,
                output=usage.output,
                reasoning=usage.reasoning,
            ),
            spent_usd=f"{self.paying.spent_usd:f}",
            no_reply_usd=f"{self.paying.no_reply_usd:f}",
            budget_usd=f"{Decimal(str(budget)):f}" if math.isfinite(budget) else None,
            reply_s=counts.reply_s / n_requests if n_requests else None,
            waited_s=self.pool.pace.waited_s,
            most_in_flight=self.pool.pace.most_in_flight,
            n_kept_of_cut=counts.n_kept_of_cut,
            cache_saved_usd=None if self.paying.cache_saved_usd is None else f"{self.paying.cache_saved_usd:f}",
            traffic=paid.model.traffic(),
            packs=self.tuning,
            hardware=self._hardware(),
            alerts=tuple(paid.alerts()),
        )
