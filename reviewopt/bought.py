"""What the sample was asked in this run: no hit of the cache, found again whatever the cache forgets, paid once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache.asked import Batch, Found
from reviewopt.data import COST_DTYPE
from reviewopt.dedup.spread import Fresh

I64 = npt.NDArray[np.int64]


class Bought:
    """Answers to the sample's questions by model, and what each question has cost and no row was charged yet."""

    def __init__(self, sources: Sequence[str]) -> None:
        """`sources` are the run's, in the order of their codes."""
        self._code = {name: at for at, name in enumerate(sources)}
        self._usd: dict[str, Decimal] = {}
        self._held: dict[tuple[str, str], tuple[int, float, str]] = {}

    def buy(self, source: str, batch: Batch, said: Fresh) -> None:
        """Note what a model was asked and what that cost; what it had answered in earlier runs is no purchase."""
        for key, usd in zip(_names(batch), said.cost_usd, strict=True):
            self._usd[key] = self._usd.get(key, Decimal(0)) + usd
        mine = np.flatnonzero(said.source == self._code[source])
        self.hold(source, batch.at(mine), said.at(mine))

    def hold(self, source: str, batch: Batch, said: Fresh) -> None:
        """Let these be the model's answers to a batch of the sample's questions."""
        rest = [""] * len(said.label) if said.rest is None else said.rest.to_list()
        answers = zip(said.label.tolist(), said.confidence.tolist(), rest, strict=True)
        self._held |= {(key, source): held for key, held in zip(_names(batch), answers, strict=True)}

    def add_to(self, found: Found, source: str, batch: Batch) -> None:
        """Put what was bought of a model into a look-up, which sees of this run only what memory still holds."""
        if not self._held:
            return
        names = _names(batch)
        for at in np.flatnonzero((found.tier == 0) | ~found.given).tolist():
            held = self._held.get((names[at], source))
            if held is not None:
                found.label[at], found.confidence[at], rest = held
                found.tier[at], found.similar[at] = 1, False
                if found.rest is not None:
                    found.rest.scatter(at, rest)

    def claim(self, answers: Fresh, batch: Batch, sources: Sequence[str], given: npt.NDArray[np.bool_]) -> list[str]:
        """Name the model of each answer that was bought, the last of `sources` first; the empty string for others."""
        if not self._held:
            return [""] * len(answers.label)
        return [
            "" if is_given else next((one for one in reversed(sources) if (key, one) in self._held), "")
            for key, is_given in zip(_names(batch), given.tolist(), strict=True)
        ]

    def told(self, answers: Fresh, batch: Batch, sources: Sequence[str]) -> Fresh:
        """Return the answers with the model and the cost of each that has one in `sources`."""
        code, usd = answers.source.copy(), list(answers.cost_usd)
        for at, (key, source) in enumerate(zip(_names(batch), sources, strict=True)):
            if source:
                code[at], usd[at] = self._code[source], usd[at] + self._usd.pop(key, Decimal(0))
        return replace(answers, source=code, cost_usd=pl.Series("cost_usd", usd, COST_DTYPE))

    def rest_usd(self, batch: Batch) -> pl.Series | None:
        """Return what the questions have cost and no answer was charged; None where nothing is left of the sample."""
        if not self._usd:
            return None
        return pl.Series("cost_usd", [self._usd.pop(key, Decimal(0)) for key in _names(batch)], COST_DTYPE)


def _names(batch: Batch) -> list[str]:
    """Name each question of a batch: its normal form, and its tenant where tenants share nothing."""
    if batch.tenant is None:
        return batch.form.to_list()
    return [f"{tenant}\n{form}" for tenant, form in zip(batch.tenant, batch.form, strict=True)]
