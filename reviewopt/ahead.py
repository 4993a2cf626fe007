"""Asking the highest priorities of the whole table first, before the pass that writes every row.

A table is read in windows, so a high priority in the last one would wait for all others. Where a priority column is
named and a deadline or a budget may end the run, the bands above the lowest are asked in passes of their own. Their
answers are kept here until the last pass takes them: about 30 bytes a question, more where a task has several fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.data import COST_DTYPE, SOURCES
from reviewopt.dedup.spread import NO_LABEL, Fresh

# A hit of the cache may be one of a similar text.
_OF_ANOTHER: Final = tuple(SOURCES.index(name) for name in ("near", "l1", "l2", "l3"))
_SEED: Final = 20_261_121
_SCHEMA: Final = {
    "hash": pl.UInt64(),
    "label": pl.UInt8(),
    "confidence": pl.Float32(),
    "outside": pl.Boolean(),
    "source": pl.UInt8(),
    "cost_usd": COST_DTYPE,
    "rest": pl.String(),
    "note": pl.String(),
}

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What was answered before, of a batch of new questions: their `places`, int64 (n_before,), and the answers.

    `spent` are the places of those that stayed unanswered, and `spent_usd` what they have cost.
    """

    places: I64
    answers: Fresh
    spent: I64
    spent_usd: pl.Series

    @property
    def is_of_another(self) -> npt.NDArray[np.bool_]:
        """Say which are the answer to another text, bool (n_before,), so that no other may take them."""
        taken: npt.NDArray[np.bool_] = np.isin(self.answers.source, _OF_ANOTHER)
        return taken


class Ahead:
    """Answers to questions that were asked before the last pass, by a hash of the question."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._kept = pl.DataFrame(schema=_SCHEMA)

    def add(self, form: pl.Series, tenant: pl.Series | None, fresh: Fresh) -> None:
        """Keep answers to questions, (n,): normal forms, their tenants where these are isolated."""
        n = len(form)
        none = pl.repeat(None, n, dtype=pl.String, eager=True)
        self._parts.append(
            pl.DataFrame(
                {
                    "hash": _hashes(form, tenant),
                    "label": fresh.label,
                    "confidence": fresh.confidence,
                    "outside": fresh.outside,
                    "source": fresh.source,
                    "cost_usd": fresh.cost_usd,
                    "rest": none if fresh.rest is None else fresh.rest,
                    "note": none if fresh.note is None else fresh.note,
                },
                schema=_SCHEMA,
            )
        )

    def take(self, form: pl.Series, tenant: pl.Series | None) -> Before | None:
        """Return what is kept of a batch of questions, (n,), each of which is met once; None where nothing is."""
        if self._parts:
            self._kept = pl.concat([self._kept, *self._parts]).sort("hash")
            self._parts.clear()
        if not self._kept.height:
            return None
        known, wanted = self._kept["hash"].to_numpy(), _hashes(form, tenant)
        place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        found = np.flatnonzero(known[place] == wanted)
        rows = self._kept[place[found]]
        has_label = rows["label"].to_numpy() != NO_LABEL
        answered, spent = rows.filter(has_label), rows.filter(~has_label)
        has_rest = answered["rest"].count() > 0
        return Before(
            places=found[has_label],
            answers=Fresh(
                label=answered["label"].to_numpy(),
                confidence=answered["confidence"].to_numpy(),
                outside=answered["outside"].to_numpy(),
                source=answered["source"].to_numpy(),
                cost_usd=answered["cost_usd"],
                rest=answered["rest"] if has_rest else None,
                note=answered["note"],
            ),
            spent=found[~has_label],
            spent_usd=spent["cost_usd"],
        )


def _hashes(form: pl.Series, tenant: pl.Series | None) -> npt.NDArray[np.uint64]:
    return (form if tenant is None else pl.DataFrame([form, tenant]).to_struct()).hash(seed=_SEED).to_numpy()
