"""A labelled table -> one small frame of what is compared, and what its labels cost. Texts become hashes and examples.

The frame of a million reviews takes 200 MB, three quarters of it the first characters of the texts; without these 50.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import polars as pl

from reviewopt.compare.values import Word
from reviewopt.errors import InputError
from reviewopt.load import Table
from reviewopt.load.labels import LabelMap, cleaned, labelled
from reviewopt.load.source import shown
from reviewopt.task import Task

_EXAMPLE_CHARS: Final = 200
_MOST_SOURCES: Final = 30
_MOST_WORDS: Final = 30
# What two cloud services answer of a review that is both, and no label of most tasks means.
_MIXED: Final = "mixed"
# Wide enough to add up 10^12 rows of any cost that the column can hold.
_SUM_DTYPE: Final = pl.Decimal(38, 12)
_MOST_USD: Final = 1_000_000  # of one label: above it a column is something else
_NO_NUMBER: Final = -1  # neither a confidence nor a cost
# A CSV of ours escapes what a spreadsheet would run (`write`): the text is the same for that.
_ESCAPED: Final = r"^'([=+\-@\t\r])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A labelled table that was opened.

    Attributes:
        table: whose label column is the truth, where it has one.
        column: has the labels that are compared.
        answers: the same table with these as its label column; None where they are words, which `table` has too.
        id_is_chosen: whether the user named the column of the ids.
        checked: the column that has the name of the other table's truth, to see whether both know the same; None where
            there is none.
    """

    table: Table
    column: str
    answers: Table | None
    id_is_chosen: bool
    checked: str | None = None

    @property
    def name(self) -> str:
        """The inputs, for messages."""
        return ", ".join(self.table.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What is compared of one table.

    Attributes:
        of: the table.
        frame: `row` (Int64), `review_id` (String), `text_hash` and `copy_hash` (UInt64: of the text, and of title and
            text), `example` (String), `answer` and `truth` (Enum of the labels, null for none), `is_mixed` (Boolean:
            the table calls it mixed, and the answer is what that counts as), `confidence` (Float64, null where none is
            known), `tenant` and `category` (String); (n_rows, 11), in the table's order.
        id_problem: why rows cannot be told by their ids; empty where each row has one of its own.
        n_mapped: answers that the table has in words or numbers of its own.
        mapped: the most frequent of these.
        usd: what the labels cost that say so; None where none does.
        n_with_cost: rows that say what their label cost.
        n_without_cost: rows with an answer that do not.
        n_by_source: rows by where their label came from, the most frequent first; None where it does not say.
        notes: what was left out, and why.
    """

    of: Labelled
    frame: pl.DataFrame
    id_problem: str
    n_mapped: int
    mapped: tuple[Word, ...]
    usd: Decimal | None
    n_with_cost: int
    n_without_cost: int
    n_by_source: dict[str, int] | None
    notes: tuple[str, ...]


def read(of: Labelled, mapping: LabelMap, task: Task, *, has_examples: bool = True) -> Rows:
    """Read a table once.

    Args:
        of: the table.
        mapping: what the values of its label columns mean.
        task: whose labels are meant.
        has_examples: whether `copy_hash` and `example` are made; one of the two tables is enough.

    Raises:
        InputError: a row cannot be read, a label is none of the task's, or an id is missing or is there twice although
            its column was chosen.
    """
    notes: list[str] = []
    frame, n_without_id = _frame(of, mapping, task, notes, has_examples=has_examples)
    problem = _problem_of_ids(of, frame, n_without_id)
    if problem and of.id_is_chosen:
        raise InputError(f"{of.name}: {problem}; name another column with --id-column, or none to go by the rows")
    frame = _checked(frame, of, notes)
    n_with_cost = frame.height - frame["usd"].null_count()
    return Rows(
        of=of,
        frame=frame.drop("usd", "source", "word"),
        id_problem=problem,
        n_mapped=frame.height - frame["word"].null_count(),
        mapped=_mapped(frame),
        usd=Decimal(frame["usd"].sum()) if n_with_cost else None,
        n_with_cost=n_with_cost,
        n_without_cost=frame.select((pl.col("answer").is_not_null() & pl.col("usd").is_null()).sum()).item(),
        n_by_source=_n_by_source(frame["source"]),
        notes=tuple(notes),
    )


def _frame(
    of: Labelled, mapping: LabelMap, task: Task, notes: list[str], *, has_examples: bool
) -> tuple[pl.DataFrame, int]:
    """Return the rows with all that is needed of them, and how many have no id."""
    dtype = pl.Enum(task.labels)
    parts, n_without_id, first = [], 0, 0
    for table, reviews, answer in _chunks(of, mapping, task):
        said = reviews.select("row", "review_id", "tenant", "category")
        truth = _other_truth(of, table, mapping, task, first, notes) if of.checked else reviews["label"]
        labels = [truth.cast(dtype).alias("truth"), answer.cast(dtype).alias("answer")]
        beside = [*_words(table[of.column], answer), *_beside(table, of.column)]
        parts.append(said.hstack([*labels, *_texts(reviews, has_examples), *beside]))
        if of.table.columns.id is not None:
            n_without_id += table[of.table.columns.id].null_count()
        first += table.height
    frame = pl.concat(parts)
    if notes:  # a truth of which a part could be read is none
        frame = frame.with_columns(pl.lit(None, dtype=dtype).alias("truth"))
    return frame, n_without_id


def _other_truth(
    of: Labelled, table: pl.DataFrame, mapping: LabelMap, task: Task, first_row: int, notes: list[str]
) -> pl.Series:
    """Return the truth that this table knows, which judges nobody: where it cannot be read that is a note."""
    name = of.checked or ""
    if not notes:
        try:
            return labelled(table[name], mapping, task, first_row, of.name)
        except InputError as error:
            notes.append(f"not checked whether both tables know the same truth: {error}")
    return _nothing(name, pl.String(), table.height)


def _words(values: pl.Series, answer: pl.Series) -> list[pl.Series]:
    """Return what stands in the place of labels where it is not their name, and whether it is `mixed`."""
    said = cleaned(values)
    is_name = (said == answer.str.to_lowercase()).fill_null(value=True)
    word = said.set(is_name, None).alias("word")
    return [word, (word == _MIXED).fill_null(value=False).alias("is_mixed")]


def _mapped(frame: pl.DataFrame) -> tuple[Word, ...]:
    counted = frame.lazy().drop_nulls("word").group_by("word", "answer").agg(pl.len().alias("n"))
    ranked = counted.sort("n", "word", descending=[True, False]).head(_MOST_WORDS).collect()
    return tuple(Word(word=word, label=label, n=n) for word, label, n in ranked.rows())


def _chunks(of: Labelled, mapping: LabelMap, task: Task) -> Iterator[tuple[pl.DataFrame, pl.DataFrame, pl.Series]]:
    """Yield rows as they stand, as reviews, and the labels that are compared, as names."""
    if of.answers is not None:
        for chunk, other in zip(of.table.chunks(), of.answers.chunks(), strict=True):
            yield chunk.table, chunk.reviews, other.reviews["label"]
        return
    first = 0
    for chunk in of.table.chunks():
        yield chunk.table, chunk.reviews, labelled(chunk.table[of.column], mapping, task, first, of.name)
        first += chunk.table.height


def _texts(reviews: pl.DataFrame, has_examples: bool) -> list[pl.Series]:
    """Return what stands for the texts: two hashes, and an example."""
    text = _comparable(reviews["text"])
    of_text = text.hash().alias("text_hash")
    if not has_examples:
        return [of_text, _nothing("copy_hash", pl.UInt64(), len(text)), _nothing("example", pl.String(), len(text))]
    both = pl.DataFrame([_comparable(reviews["title"]).alias("title"), text.alias("text")])
    example = pl.concat_str(pl.col("title", "text").str.slice(0, _EXAMPLE_CHARS), separator="\n")
    return [
        of_text,
        both.hash_rows().alias("copy_hash"),
        both.select(example.str.strip_chars().str.slice(0, _EXAMPLE_CHARS).alias("example")).to_series(),
    ]


def _comparable(text: pl.Series) -> pl.Series:
    """Return texts without what a way through a CSV changes."""
    text = text.fill_null("").str.strip_chars()
    return text.str.replace(_ESCAPED, "$1") if text.str.starts_with("'").any() else text


def _beside(table: pl.DataFrame, column: str) -> list[pl.Series]:
    """Return confidence, cost and source of the rows, where they have columns named as ours; `_NO_NUMBER` for words."""

    def numbers(name: str, dtype: pl.DataType) -> pl.Series:
        if name not in table.columns or table[name].dtype.is_nested():
            return _nothing(name, dtype, table.height)
        values = table[name].fill_nan(None) if table[name].dtype.is_float() else table[name]
        if not (values.dtype.is_numeric() or values.dtype == pl.String):
            values = values.cast(pl.String, strict=False)
        found = values.cast(dtype, strict=False)
        return found.set(found.is_null() & values.is_not_null(), _NO_NUMBER)

    source = f"{column}_source"
    has_source = source in table.columns and not table[source].dtype.is_nested()
    sources = table[source].cast(pl.String, strict=False) if has_source else _nothing(source, pl.String(), table.height)
    return [
        numbers(f"{column}_confidence", pl.Float64()).alias("confidence"),
        numbers(f"{column}_cost_usd", _SUM_DTYPE).alias("usd"),
        sources.alias("source"),
    ]


def _nothing(name: str, dtype: pl.DataType, n_rows: int) -> pl.Series:
    return pl.Series(name, [None], dtype=dtype).new_from_index(0, n_rows)


def _problem_of_ids(of: Labelled, frame: pl.DataFrame, n_without_id: int) -> str:
    """Say why rows cannot be told by their ids; empty where they can."""
    column = of.table.columns.id
    if column is None:
        return "it has no column of ids"
    if n_without_id:
        return f"{shown(column, 40)} is missing in {n_without_id:,} of {frame.height:,} rows"
    n_twice = frame.height - frame["review_id"].n_unique()
    return f"{shown(column, 40)} is that of an earlier row in {n_twice:,} of {frame.height:,} rows" if n_twice else ""


def _checked(frame: pl.DataFrame, of: Labelled, notes: list[str]) -> pl.DataFrame:
    """Leave columns out that are not what their names say: a measurement that failed is none."""
    rules = {
        "confidence": (pl.col("confidence").is_between(0, 1), "confidence", "numbers from 0 to 1"),
        "usd": (pl.col("usd").is_between(0, _MOST_USD), "cost_usd", "amounts"),
    }
    for name, (rule, suffix, needed) in rules.items():
        if not frame.select(rule.fill_null(value=True).all()).item():
            notes.append(f"{of.column}_{suffix} of {of.name} is not used: it holds other things than {needed}")
            frame = frame.with_columns(pl.lit(None, dtype=frame[name].dtype).alias(name))
    if frame["source"].n_unique() > _MOST_SOURCES:
        notes.append(f"{of.column}_source of {of.name} is not used: it holds too many names")
        frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias("source"))
    return frame


def _n_by_source(source: pl.Series) -> dict[str, int] | None:
    counts = source.drop_nulls().value_counts(name="n").sort("n", "source", descending=[True, False])
    return dict(counts.rows()) or None
