"""What the sample was asked in this run: no hit of the cache, found again whatever the cache forgets, paid once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
        self._held: dict[str, dict[str, tuple[int, float, str]]] = {}

    def buy(self, source: str, batch: Batch, said: Fresh) -> None:
        """Note what a model was asked and what that cost; what it had answered in earlier runs is no purchase."""
        for name, usd in zip(_names(batch), said.cost_usd, strict=True):
            self._usd[name] = self._usd.get(name, Decimal(0)) + usd
        mine = np.flatnonzero(said.source == self._code.get(source, -1))
        self.hold(source, batch.at(mine), said.at(mine))

    def hold(self, source: str, batch: Batch, said: Fresh) -> None:
        """Let these be the model's answers to a batch of the sample's questions."""
        rest = [""] * len(said.label) if said.rest is None else said.rest.to_list()
        answers = zip(said.label.tolist(), said.confidence.tolist(), rest, strict=True)
        self._held.setdefault(source, {}).update(zip(_names(batch), answers, strict=True))

    def add_to(self, found: Found, source: str, batch: Batch) -> None:
        """Put what was bought of a model into a look-up, which sees of this run only what memory still holds."""
        held = self._held.get(source, {})
        for at, name in _met(batch, held):
            if not found.given[at]:
                found.label[at], found.confidence[at], rest = held[name]
                found.tier[at], found.similar[at] = 1, False
                if found.rest is not None:
                    found.rest.scatter(at, rest)

    def told(self, answers: Fresh, batch: Batch, source: str, given: npt.NDArray[np.bool_]) -> tuple[Fresh, int]:
        """Give the answers that were bought of a model its name and their cost.

        Args:
            answers: what a look-up found of the model, (n,).
            batch: the questions.
            source: the model.
            given: bool (n,), what a person or labelled history said.

        Returns:
            The answers, and how many of them were bought.
        """
        met = [(at, name) for at, name in _met(batch, self._held.get(source, {})) if not given[at]]
        if not met:
            return answers, 0
        places, code = np.array([at for at, _ in met], np.int64), answers.source.copy()
        code[places] = self._code[source]
        usd = (answers.cost_usd.gather(places) + self._charged(met)).cast(COST_DTYPE)
        return replace(answers, source=code, cost_usd=answers.cost_usd.scatter(places, usd)), len(met)

    def rest_usd(self, batch: Batch) -> tuple[I64, pl.Series]:
        """Return the questions, int64 (n_left,), that have cost what no answer was charged, and that in USD."""
        met = _met(batch, self._usd)
        return np.array([at for at, _ in met], np.int64), self._charged(met)

    def _charged(self, met: Sequence[tuple[int, str]]) -> pl.Series:
        """Take what questions have cost from what is still to be charged, (n_met,)."""
        return pl.Series("cost_usd", [self._usd.pop(name, Decimal(0)) for _, name in met], COST_DTYPE)


def _met(batch: Batch, known: Collection[str]) -> list[tuple[int, str]]:
    """Return the places of a batch whose questions are among the few that are known, with their names."""
    if not known:
        return []
    names = _names(batch)
    places = names.is_in(list(known)).arg_true()
    return list(zip(places.to_list(), names.gather(places).to_list(), strict=True))


def _names(batch: Batch) -> pl.Series:
    """Name each question of a batch, String (n,): its normal form, and its tenant where tenants share nothing."""
    if batch.tenant is None:
        return batch.form
    return pl.select(pl.concat_str(batch.tenant.fill_null(""), batch.form, separator="\n")).to_series()
