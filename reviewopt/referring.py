"""What the reference says: of the sample's rows, and of rows whose own answer is not accepted."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import certify
from reviewopt.asking import KEPT_COLUMNS
from reviewopt.cache.asked import Batch
from reviewopt.cache.tiers import Cache
from reviewopt.certificate import SelfAgreement
from reviewopt.data import COST_DTYPE
from reviewopt.dedup.spread import NO_LABEL, Fresh, other_key
from reviewopt.errors import UsageError
from reviewopt.job import REFERENCE, Job, Paid, Reference
from reviewopt.ladder import Ladder, known_answers

_HUMAN: Final = "human"
_FEWEST_AGAIN: Final = 20  # reviews that a model is asked twice, at least
AGAIN: Final = "again"  # what second answers are bought as: nobody looks them up

Flags = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of a chunk as they stand: `reviews` REVIEW_COLUMNS, `form` their normal forms, `labelled` their answers."""

    reviews: pl.DataFrame
    form: pl.Series
    labelled: pl.DataFrame


class Referring:
    """Asks the reference; what a model was asked is archived, so nothing is paid twice."""

    def __init__(self, job: Job, reference: Reference, ladder: Ladder) -> None:
        self._job, self._reference, self._ladder = job, reference, ladder
        self._code = {name: at for at, name in enumerate(job.labels)}
        self.n_outranked = 0  # rows whose label people or labelled history changed after the test

    def labels_of(self, drawn: pl.DataFrame) -> U8:
        """Return the reference's label of each drawn row, uint8 (n,); NO_LABEL where it has none.

        A model's is its own answer to that review alone in a request: never a copy's of another text, a similar hit, a
        packed answer, or what a person said.
        """
        if self._reference.kind == "column":
            return self._coded(drawn["label"])
        if self._reference.kind == _HUMAN:
            said = [self._reference.human.get(row) for row in drawn["row"].to_list()]
            return self._coded(pl.Series(said, dtype=pl.String))
        paid = self._paid
        batch, place = distinct(self._batch(drawn, drawn["form"]))
        answers = self._ladder.known_or_said_by(paid, batch, drawn.select(KEPT_COLUMNS)[place.first])
        self._ladder.bought.buy(paid.source, batch, answers)
        label: U8 = answers.label[place.of]
        return label

    def second_labels_of(self, drawn: pl.DataFrame, again: Cache) -> U8:
        """Ask the model about drawn rows a second time, uint8 (n,); such answers are kept apart from its first."""
        asking = self._ladder.asking[self._paid.source]
        batch, place = distinct(self._batch(drawn, drawn["form"]))
        found = again.look_up(batch, count=False)
        label = np.where(found.tier > 0, found.label, NO_LABEL).astype(np.uint8)
        missing = np.flatnonzero(found.tier == 0)
        if len(missing):
            before, asking.cache = asking.cache, again
            try:
                with self._job.recorder.stage("ask"):
                    kept = drawn.select(KEPT_COLUMNS)[place.first[missing]]
                    said = asking.answer(batch.at(missing), kept)
            finally:
                asking.cache = before
            label[missing] = said.label
            self._ladder.bought.buy(AGAIN, batch.at(missing), said)
        whole: U8 = label[place.of]
        return whole

    def refer(self, rows: Rows, mask: Flags) -> tuple[pl.DataFrame, Flags]:
        """Give the rows of `mask`, bool (n_rows,), the reference's own answers.

        Returns:
            All rows' answers, with `referred` saying which are the reference's; and of which rows of the mask it has
            none, bool (n_rows,): these keep theirs.
        """
        missing = np.zeros(len(mask), np.bool_)
        at = np.flatnonzero(mask)
        if "referred" not in rows.labelled.columns:
            rows = replace(rows, labelled=rows.labelled.with_columns(referred=pl.lit(False)))
        if not len(at):
            return rows.labelled, missing
        if self._reference.kind == "model":
            labelled, without = self._asked(rows, at)
        else:
            reviews = rows.reviews[at]
            label = self.labels_of(reviews)
            without = np.flatnonzero(label == NO_LABEL)
            labelled = self._put(rows.labelled, np.delete(at, without), np.delete(label, without))
        missing[at[without]] = True
        return labelled, missing

    def outranked(self, rows: Rows) -> tuple[pl.DataFrame, Flags]:
        """Put what people and labelled history said in the place of labels that were tested, or are the reference's.

        Returns:
            All rows' answers, and whose label is another one now, bool (n_rows,).
        """
        changed = np.zeros(rows.labelled.height, np.bool_)
        asks = rows.form.is_not_null().arg_true().to_numpy().astype(np.int64)
        if self._reference.outranking is None or not len(asks):
            return rows.labelled, changed
        found = self._reference.outranking.look_up(self._batch(rows.reviews[asks], rows.form.gather(asks)))
        given = np.flatnonzero(found.given & (found.tier > 0))
        if not len(given):
            return rows.labelled, changed
        at, said = asks[given], known_answers(found, given)
        before = rows.labelled["label"].to_physical().fill_null(NO_LABEL).to_numpy()[at]
        changed[at[before != said.label]] = True
        labelled = self._put(rows.labelled, at, said.label, said.confidence, source=said.source)
        self.n_outranked += int(changed.sum())
        return self._with_rest(labelled, at, said, np.arange(len(at))), changed

    def _batch(self, reviews: pl.DataFrame, form: pl.Series) -> Batch:
        return Batch(form=form, sketches=None, tenant=reviews["tenant"] if self._job.isolated else None)

    @property
    def _paid(self) -> Paid:
        if self._reference.paid is None:
            raise ValueError(f"{self._reference.name} is no model that can be asked")
        return self._reference.paid

    def _coded(self, label: pl.Series) -> U8:
        """Turn label names into codes, uint8 (n,)."""
        codes: U8 = (
            label.cast(pl.String)
            .replace_strict(self._code, default=NO_LABEL, return_dtype=pl.UInt8)
            .fill_null(NO_LABEL)
            .to_numpy()
        )
        return codes

    def _asked(self, rows: Rows, at: I64) -> tuple[pl.DataFrame, I64]:
        """Ask the model about the rows `at`, each question once; the first row of each is charged."""
        reviews, form = rows.reviews[at], rows.form.gather(at)
        batch, place = distinct(self._batch(reviews, form))
        said = self._ladder.known_or_said_by(self._paid, batch, reviews.select(KEPT_COLUMNS)[place.first])
        has = said.label[place.of] != NO_LABEL
        cost = pl.repeat(0, len(at), dtype=COST_DTYPE, eager=True).scatter(place.first, said.cost_usd)
        usd = rows.labelled["cost_usd"].gather(at) + cost
        labelled = rows.labelled.with_columns(
            rows.labelled["cost_usd"].scatter(at, usd.cast(COST_DTYPE)).alias("cost_usd")
        )
        whole = self._put(labelled, at[has], said.label[place.of][has], said.confidence[place.of][has])
        return self._with_rest(whole, at[has], said, place.of[has]), np.flatnonzero(~has)

    def _put(
        self,
        labelled: pl.DataFrame,
        at: I64,
        label: U8,
        confidence: npt.NDArray[np.float32] | None = None,
        *,
        source: U8 | None = None,
    ) -> pl.DataFrame:
        """Give the rows `at` some places other answers: the reference's, or those of a `source`."""
        codes = labelled["source"].dtype
        if source is not None:
            sources = pl.Series(source).cat.to(codes)
        else:
            name = _HUMAN if self._reference.kind == _HUMAN else REFERENCE
            sources = pl.Series([name] * len(at), dtype=codes)
            if self._reference.kind == "model":  # a copy costs nothing, whoever answered what it is a copy of
                before = labelled["source"].gather(at)
                sources = sources.zip_with(before != "exact", before)
        new = {
            "referred": pl.Series(np.full(len(at), source is None)),
            "label": pl.Series(label, dtype=pl.UInt8).cat.to(labelled["label"].dtype),
            "source": sources,
            "confidence": pl.Series(np.full(len(at), np.nan) if confidence is None else confidence, dtype=pl.Float32),
            "outside": pl.Series(np.zeros(len(at), np.bool_)),
        }
        new["confidence"] = new["confidence"].fill_nan(None)
        if "note" in labelled.columns:
            new["note"] = pl.Series([None] * len(at), dtype=pl.String)
        return labelled.with_columns(labelled[name].scatter(at, values).alias(name) for name, values in new.items())

    def _with_rest(self, labelled: pl.DataFrame, at: I64, said: Fresh, of: I64) -> pl.DataFrame:
        """Put the answers to the task's other fields in their columns."""
        if said.rest is None or not len(at):
            return labelled
        names = [field.name for field in self._job.task.others]
        dtypes = {name: labelled[other_key(name)].dtype for name in names}
        read = pl.Struct({name: pl.String() if isinstance(one, pl.Enum) else one for name, one in dtypes.items()})
        rest = said.rest.gather(of).str.json_decode(read).struct.unnest().cast(dtypes)  # type: ignore[arg-type]
        return labelled.with_columns(
            labelled[other_key(name)].scatter(at, rest[name]).alias(other_key(name)) for name in names
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """`of` int64 (n_rows,): the question of each row; `first` int64 (n_questions,): the first row of each."""

    of: I64
    first: I64


def distinct(rows: Batch) -> tuple[Batch, Places]:
    """Return the distinct questions of rows, each once, and where they stand."""
    names = pl.DataFrame({"form": rows.form})
    if rows.tenant is not None:
        names = names.with_columns(rows.tenant.alias("tenant"))
    of = names.select(pl.struct(pl.all()).rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()
    _, first = np.unique(of, return_index=True)
    return rows.at(first), Places(of=of, first=first)


def n_again(reference: Reference, most: int) -> int:
    """Return how many reviews of the sample a model is asked twice.

    Of a small table a twentieth: to ask 200 rows of 1,000 twice would cost a fifth of the naive bill.
    """
    return min(most, max(_FEWEST_AGAIN, reference.drawn.n_rows // 20), len(reference.drawn.frame))


def self_agreement(reference: Reference, first: U8, second: U8, target: float) -> SelfAgreement:
    """Count how often a model gives the same answer twice.

    Args:
        reference: the model.
        first: its answers, uint8 (n,).
        second: its answers to the same reviews when it was asked again.
        target: what is to be proven against it.

    Raises:
        UsageError: the target is above the interval of its agreement with itself: nothing could be proven.
    """
    both = (first != NO_LABEL) & (second != NO_LABEL)
    n, n_equal = int(both.sum()), int((first[both] == second[both]).sum())
    low, high = certify.clopper_pearson(n_equal, n) if n else (0.0, 1.0)
    if n and target > high:
        raise UsageError(
            f"{reference.name} gives the same answer twice to {n_equal:,} of {n:,} reviews ({100 * low:.1f} to "
            f"{100 * high:.1f} % at 95 % confidence): no target above that can be proven against it, and {target:g} "
            f"is; choose --target {math.floor(100 * low) / 100:g} or lower, or another reference"
        )
    return SelfAgreement(n=n, n_equal=n_equal, share=n_equal / n if n else 0.0, low=low, high=high)
