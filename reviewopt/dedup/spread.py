"""Answers to questions, spread back to the rows that asked them.

A question has a label (the first field of the task), the answers to the task's other fields as JSON (`rest`), or is
left unanswered; a note says why, or what was done to its text.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.data import COST_DTYPE, SOURCES
from reviewopt.dedup.exact import Asked, GrowingArray
from reviewopt.dedup.groups import GROUP_SCHEMA
from reviewopt.dedup.spool import TextSpool
from reviewopt.task import MOST_LABELS, Field, Score, Text

NO_LABEL: Final = MOST_LABELS  # the code of a question that stays unanswered: labels have the codes below it
_EMPTY: Final = SOURCES.index("empty")
_EXACT: Final = SOURCES.index("exact")
_FAILED: Final = SOURCES.index("failed")
# What is read of the other fields at a time: the places of their bytes take eight times as much as they.
_REST_ROWS: Final = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """The answers to the questions that a chunk asks first, (n_new,) each, in the order of the questions.

    `label` indexes the labels, `NO_LABEL` where a question stays unanswered; `confidence` is NaN where none is known;
    `outside`: in no language of the model; `source` indexes the sources; `cost_usd` is a Series of Decimal(18, 12).
    `rest` String is what `rest_json` makes of the other fields, the empty string where unanswered; None for a task of
    one field. `note` String is null where there is nothing to say; None where no question has one.
    """

    label: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    outside: npt.NDArray[np.bool_]
    source: npt.NDArray[np.uint8]
    cost_usd: pl.Series
    rest: pl.Series | None = None
    note: pl.Series | None = None

    def at(self, places: npt.NDArray[np.int64]) -> Fresh:
        """Return the answers at distinct `places`, in that order."""
        return Fresh(
            label=self.label[places],
            confidence=self.confidence[places],
            outside=self.outside[places],
            source=self.source[places],
            cost_usd=self.cost_usd.gather(places),
            rest=None if self.rest is None else self.rest.gather(places),
            note=None if self.note is None else self.note.gather(places),
        )


class Draft:
    """Answers to n questions in the making: none is answered at first, and nothing is paid."""

    def __init__(self, n: int, *, has_rest: bool) -> None:
        self.label = np.full(n, NO_LABEL, np.uint8)
        self.confidence = np.full(n, np.nan, np.float32)
        self.outside = np.zeros(n, np.bool_)
        self.source = np.full(n, _FAILED, np.uint8)
        self.cost_usd = pl.repeat(0, n, dtype=COST_DTYPE, eager=True)
        self.rest = pl.repeat("", n, dtype=pl.String, eager=True) if has_rest else None
        self.note = pl.repeat(None, n, dtype=pl.String, eager=True)

    def take(self, places: npt.NDArray[np.int64], said: Fresh) -> None:
        """Put answers in the place of those before; what they cost is added."""
        self.label[places], self.confidence[places] = said.label, said.confidence
        self.outside[places], self.source[places] = said.outside, said.source
        self.pay(places, said.cost_usd)
        if self.rest is not None and said.rest is not None:
            self.rest = self.rest.scatter(places, said.rest)
        if said.note is not None:
            self.note = self.note.scatter(places, said.note)

    def pay(self, places: npt.NDArray[np.int64], usd: pl.Series) -> None:
        """Add to what questions cost, USD (n_places,)."""
        self.cost_usd = self.cost_usd.scatter(places, (self.cost_usd.gather(places) + usd).cast(COST_DTYPE))

    def fresh(self, *, has_notes: bool) -> Fresh:
        """Return the answers as they stand."""
        return Fresh(
            label=self.label,
            confidence=self.confidence,
            outside=self.outside,
            source=self.source,
            cost_usd=self.cost_usd,
            rest=self.rest,
            note=self.note if has_notes else None,
        )


def answer_schema(
    labels: tuple[str, ...],
    sources: tuple[str, ...] = SOURCES,
    others: tuple[Field, ...] = (),
    *,
    has_notes: bool = False,
) -> dict[str, pl.DataType]:
    """Return what every row is given, in this order; `Answers.spread` adds `outside` for the counts.

    The fields after the first are `other:NAME`, in their order; then comes `note`, if there are notes.
    """
    return {
        "label": pl.Enum(labels),
        "confidence": pl.Float32(),
        "source": pl.Enum(sources),
        "cost_usd": COST_DTYPE,
        **GROUP_SCHEMA,
        **{other_key(field.name): _dtype(field) for field in others},
        **({"note": pl.String()} if has_notes else {}),
    }


def other_key(name: str) -> str:
    """Return the key of a field after the first; no other key of a schema has a colon."""
    return f"other:{name}"


def _dtype(field: Field) -> pl.DataType:
    if isinstance(field, Text):
        return pl.String()
    if isinstance(field, Score):
        fits = field.low >= -(2**15) and field.high < 2**15
        return pl.Int16() if fits else pl.Int64()
    return pl.Enum(field.labels)


class Answers:
    """One answer a question, 6 bytes each, given in the order in which the questions were first asked.

    The answers to the other fields lie on disk, so it is a context manager that drops their file. A question with a
    note takes 12 bytes more; equal notes are held once.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        sources: tuple[str, ...] = SOURCES,
        others: tuple[Field, ...] = (),
        folder: Path | None = None,
        *,
        has_notes: bool = False,
    ) -> None:
        """Begin without answers; `folder` takes the file of the `others`, the fields after the first.

        Raises:
            InputError: the folder takes no file, or the disk is full.
            ValueError: there are other fields and no folder.
        """
        self._labels = labels
        self._sources = sources
        self._label = GrowingArray(np.uint8)
        self._confidence = GrowingArray(np.float32)
        self._outside = GrowingArray(np.bool_)
        self._notes = _Notes() if has_notes else None
        self._opened = ExitStack()
        self._rest: _Rest | None = None
        if others:
            if folder is None:
                raise ValueError("the answers to several fields need a folder")
            self._rest = _Rest(others, self._opened.enter_context(TextSpool(folder)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def add(self, fresh: Fresh) -> None:
        """Take the answers of the next questions.

        Raises:
            InputError: the disk is full.
        """
        if self._notes is not None and fresh.note is not None:
            self._notes.add(len(self._label), fresh.note)
        self._label.append(fresh.label)
        self._confidence.append(fresh.confidence)
        self._outside.append(fresh.outside)
        if self._rest is not None:
            self._rest.add(fresh)

    def spread(self, asked: Asked, fresh: Fresh) -> pl.DataFrame:
        """Give every row of a chunk its answer.

        Returns:
            `label` Enum, null for an empty row and an unanswered one; `confidence` Float32, null where none is known;
            `source` Enum: `empty`, `failed` where unanswered, for copies too, `exact` for a copy, else as in `fresh`;
            `cost_usd` Decimal, 0 for a copy; `outside` Boolean; the other fields as `answer_schema` says, null where
            there is no label; `note` String, where there are notes: a question's, for its copies too.
        """
        empty = asked.question < 0
        at = np.maximum(asked.question, 0)
        taken = {"label": self._label, "confidence": self._confidence, "outside": self._outside}
        values = {name: one.take(at) if len(one) else np.zeros(len(at)) for name, one in taken.items()}
        failed = ~empty & (values["label"] == NO_LABEL)
        source = np.where(empty, _EMPTY, _EXACT).astype(np.uint8)
        source[asked.new_rows] = fresh.source
        source[failed] = _FAILED
        cost = pl.repeat(0, len(empty), dtype=COST_DTYPE, eager=True)
        asks, answered = ~pl.col("empty"), ~pl.col("empty") & ~pl.col("failed")
        spread = pl.DataFrame({"empty": empty, "failed": failed, "source": source} | values).select(
            pl.when(answered).then("label").cast(pl.UInt8).cat.to(pl.Enum(self._labels)).alias("label"),
            pl.when(answered).then("confidence").cast(pl.Float32).fill_nan(None).alias("confidence"),
            pl.col("source").cat.to(pl.Enum(self._sources)),
            cost.scatter(asked.new_rows, fresh.cost_usd).alias("cost_usd"),
            pl.col("outside").cast(pl.Boolean) & asks,
        )
        if self._rest is not None:
            spread = spread.hstack(self._rest.spread(asked.question))
        if self._notes is not None:
            spread = spread.hstack([self._notes.spread(asked.question)])
        return spread


class _Rest:
    """The answers to the fields after the first, one JSON text a question."""

    def __init__(self, fields: tuple[Field, ...], spool: TextSpool) -> None:
        self._spool = spool
        self._dtype = {field.name: _dtype(field) for field in fields}
        read = {name: pl.String() if isinstance(dtype, pl.Enum) else dtype for name, dtype in self._dtype.items()}
        self._json = pl.Struct(read)

    def add(self, fresh: Fresh) -> None:
        if fresh.rest is None or len(fresh.rest) != len(fresh.label):
            raise ValueError("a task of several fields needs the rest of every answer")
        unanswered = pl.Series(fresh.label == NO_LABEL)
        self._spool.append(pl.select(pl.when(~unanswered).then(fresh.rest).otherwise(pl.lit(""))).to_series())

    def spread(self, question: npt.NDArray[np.int64]) -> pl.DataFrame:
        """Return a column a field, (n_rows,); null where there is no question or no answer."""
        asked = np.unique(question)
        asked = asked[asked >= 0]
        parts = [self._columns(asked[start : start + _REST_ROWS]) for start in range(0, len(asked) or 1, _REST_ROWS)]
        at = pl.Series(np.searchsorted(asked, question), dtype=pl.UInt32).set(pl.Series(question < 0), None)
        return pl.concat(parts).select(pl.all().gather(at).name.map(other_key))

    def _columns(self, asked: npt.NDArray[np.int64]) -> pl.DataFrame:
        """Return the answers to these questions, a column a field."""
        rest = self._spool.take(asked).replace("", None)  # polars drops an empty text from a column of JSON
        return rest.str.json_decode(self._json).struct.unnest().cast(self._dtype)  # type: ignore[arg-type]


class _Notes:
    """The notes of the few questions that have one."""

    def __init__(self) -> None:
        self._question = GrowingArray(np.int64)  # ascending, as the questions come
        self._code = GrowingArray(np.uint32)
        self._codes: dict[str, int] = {}

    def add(self, first: int, note: pl.Series) -> None:
        """Take the notes, String (n_new,), of the questions from number `first` on."""
        noted = note.is_not_null().arg_true().to_numpy()
        codes = [self._codes.setdefault(one, len(self._codes)) for one in note.drop_nulls()]
        self._question.append(noted.astype(np.int64) + first)
        self._code.append(np.array(codes, np.uint32))

    def spread(self, question: npt.NDArray[np.int64]) -> pl.Series:
        """Return the note of each row's question, String (n_rows,)."""
        note = pl.repeat(None, len(question), dtype=pl.String, eager=True).alias("note")
        n = len(self._question)
        if not n:
            return note
        known = self._question.take(np.arange(n))
        at = np.minimum(np.searchsorted(known, question), n - 1)
        noted = np.flatnonzero(known[at] == question)
        texts = pl.Series(list(self._codes), dtype=pl.String)
        return note.scatter(noted, texts.gather(self._code.take(at[noted])))
