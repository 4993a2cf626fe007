"""What becomes of the answers of a paid model: the archive, or a line among the failures and never asked again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import polars as pl

from reviewopt.ask.again import Done
from reviewopt.ask.paying import Paying
from reviewopt.cache.asked import Keeper, Kept
from reviewopt.cache.tiers import Cache
from reviewopt.dedup.spread import Fresh
from reviewopt.job import Job, Paid
from reviewopt.record import Failure


class Keeping:
    """Keeps what one model answered, and writes down what it did not; `reasons` counts why."""

    def __init__(self, job: Job, paid: Paid, paying: Paying) -> None:
        self._recorder, self._refusals, self._retries = job.recorder, paid.refusals, paid.retries
        self._paying = paying
        self.reasons: Counter[str] = Counter()

    def refused(self, keys: pl.Series | None) -> dict[int, str]:
        """Return which questions never worked before and are left alone, with the reason."""
        if self._refusals is None or self._retries or keys is None:
            return {}
        return self._refusals.known(keys)

    def again(self, cache: Cache, keeper: Keeper, said: Fresh) -> None:
        """Archive answers, (n,), that were asked before."""
        rest = [""] * len(said.label) if said.rest is None else said.rest.to_list()
        values = zip(said.label.tolist(), said.confidence.tolist(), rest, said.cost_usd, strict=True)
        cache.store(
            keeper,
            [
                Kept(at=at, label=label, confidence=confidence, rest=more, cost_usd=usd)
                for at, (label, confidence, more, usd) in enumerate(values)
            ],
        )

    def keep(self, cache: Cache, keeper: Keeper | None, done: Sequence[Done]) -> None:
        """Archive what was answered, and write down what was not.

        Raises:
            InputError: the disk is full, or cannot be written.
        """
        answers = [
            Kept(
                at=one.question.at,
                label=one.answer.label,
                confidence=one.answer.confidence,
                rest=one.answer.rest,
                cost_usd=self._paying.cost_of(one.question.at),
            )
            for one in done
            if one.answer is not None
        ]
        if keeper is not None:
            cache.store(keeper, answers)
        if self._retries and self._refusals is not None:
            self._refusals.forget([one.question.key for one in done if one.answer is not None and one.question.key])
        failed = [one for one in done if one.answer is None]
        self.reasons.update(one.reason for one in failed)
        if failed:
            self._write_down(failed)

    def _write_down(self, failed: Sequence[Done]) -> None:
        self._recorder.keep_failures(
            [
                Failure(
                    review_id=one.question.review_id,
                    tenant=one.question.tenant,
                    reason=one.reason,
                    n_tries=one.n_tries,
                    is_of_text=one.is_of_text,
                )
                for one in failed
            ]
        )
        lasting = [one for one in failed if one.is_of_text and one.question.key]
        if self._refusals is not None and lasting:
            self._refusals.add(
                [one.question.key for one in lasting],
                [one.reason for one in lasting],
                [one.n_tries for one in lasting],
            )
