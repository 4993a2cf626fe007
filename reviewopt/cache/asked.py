"""What is asked of the tiers, and what they say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache.entry import Entry
from reviewopt.cache.keys import Keys
from reviewopt.text.sketch import Sketches


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Questions, (n,) each: normal forms, their sketches if there are any, their tenants where these are isolated."""

    form: pl.Series
    sketches: Sketches | None
    tenant: pl.Series | None

    def at(self, places: npt.NDArray[np.int64]) -> Batch:
        """Return the questions at distinct `places`, in that order."""
        return Batch(
            form=self.form.gather(places),
            sketches=None if self.sketches is None else self.sketches.take(places),
            tenant=None if self.tenant is None else self.tenant.gather(places),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the tiers know of a batch, (n,) each.

    `label` int16 indexes the labels, -1 for a miss; `confidence` float32, NaN where none is known; `tier` uint8, 0 for
    a miss, else 1 to 3; `similar` bool: the answer to another, similar text; `given` bool: a person or labelled history
    said it. `rest` String is the answers to the other
    fields as JSON, the empty string for a miss; None for a task of one field.
    """

    label: npt.NDArray[np.int16]
    confidence: npt.NDArray[np.float32]
    tier: npt.NDArray[np.uint8]
    similar: npt.NDArray[np.bool_]
    given: npt.NDArray[np.bool_]
    rest: pl.Series | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """One look-up: what is asked, in which contexts, what was found so far, and whether hits count as used.

    `code` int64 (n,) numbers the contexts; `rest` Object (n,) is the answers to the other fields, empty for misses.
    """

    batch: Batch
    code: npt.NDArray[np.int64]
    found: Found
    rest: npt.NDArray[np.object_]
    is_use: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer to keep: to the question at `at` of a batch; `rest` is the empty string for a task of one field."""

    at: int
    label: int
    confidence: float
    rest: str
    cost_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """What the archive keeps of each question of a batch beside its answer, (n,) each."""

    keys: Keys
    contexts: list[str]
    json: dict[str, str]
    form: list[str]
    tenant: list[str | None]
    review_id: list[str | None]

    def entry(self, kept: Kept, answer: str, created_s: int) -> Entry:
        """Return the entry that keeps an answer."""
        return Entry(
            key=self.keys.raw[kept.at].hex(),
            context=self.contexts[kept.at],
            answer=answer,
            confidence=None if math.isnan(kept.confidence) else kept.confidence,
            cost=int(kept.cost_usd.scaleb(12)),
            created_s=created_s,
            tenant=self.tenant[kept.at],
            review_id=self.review_id[kept.at],
            text=self.form[kept.at],
        )
