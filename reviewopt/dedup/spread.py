"""Answers to questions, spread back to the rows that asked them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.data import COST_DTYPE, SOURCES
from reviewopt.dedup.exact import Asked, GrowingArray
from reviewopt.dedup.groups import GROUP_SCHEMA

_EMPTY: Final = SOURCES.index("empty")
_EXACT: Final = SOURCES.index("exact")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """The answers to the questions that a chunk asks first, (n_new,) each, in the order of the questions.

    `label` indexes the labels; `confidence` is NaN where none is known; `outside`: in no language of the model;
    `source` indexes the sources; `cost_usd` is a Series of Decimal(18, 12).
    """

    label: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    outside: npt.NDArray[np.bool_]
    source: npt.NDArray[np.uint8]
    cost_usd: pl.Series


def answer_schema(labels: tuple[str, ...], sources: tuple[str, ...] = SOURCES) -> dict[str, pl.DataType]:
    """Return what every row is given, in this order; `Answers.spread` adds `outside` for the counts."""
    return {
        "label": pl.Enum(labels),
        "confidence": pl.Float32(),
        "source": pl.Enum(sources),
        "cost_usd": COST_DTYPE,
        **GROUP_SCHEMA,
    }


class Answers:
    """One answer a question, 6 bytes each, given in the order in which the questions were first asked."""

    def __init__(self, labels: tuple[str, ...], sources: tuple[str, ...] = SOURCES) -> None:
        self._labels = labels
        self._sources = sources
        self._label = GrowingArray(np.uint8)
        self._confidence = GrowingArray(np.float32)
        self._outside = GrowingArray(np.bool_)

    def add(self, fresh: Fresh) -> None:
        """Take the answers of the next questions."""
        self._label.append(fresh.label)
        self._confidence.append(fresh.confidence)
        self._outside.append(fresh.outside)

    def spread(self, asked: Asked, fresh: Fresh) -> pl.DataFrame:
        """Give every row of a chunk its answer.

        Returns:
            `label` Enum, null for an empty row; `confidence` Float32, null where none is known; `source` Enum: `empty`,
            `exact` for a copy, else as in `fresh`; `cost_usd` Decimal, 0 for a copy; `outside` Boolean.
        """
        empty = asked.question < 0
        source = np.where(empty, _EMPTY, _EXACT).astype(np.uint8)
        source[asked.new_rows] = fresh.source
        at = np.maximum(asked.question, 0)
        taken = {"label": self._label, "confidence": self._confidence, "outside": self._outside}
        known = pl.DataFrame(
            {"empty": empty, "source": source}
            | {name: values.take(at) if len(values) else np.zeros(len(at)) for name, values in taken.items()}
        )
        cost = pl.repeat(0, len(empty), dtype=COST_DTYPE, eager=True)
        asks = ~pl.col("empty")
        return known.select(
            pl.when(asks).then("label").cast(pl.UInt8).cat.to(pl.Enum(self._labels)).alias("label"),
            pl.when(asks).then("confidence").cast(pl.Float32).fill_nan(None).alias("confidence"),
            pl.col("source").cat.to(pl.Enum(self._sources)),
            cost.scatter(asked.new_rows, fresh.cost_usd).alias("cost_usd"),
            pl.col("outside").cast(pl.Boolean) & asks,
        )
