"""The rows of two tables -> those that are the same review in both, beside each other. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from reviewopt.compare.rows import Rows
from reviewopt.errors import InputError

# Of the rows with the same id. Chosen, not measured: between two exports of one table a few reviews are edited, and
# where more than a few differ the ids are those of other reviews.
_MOST_OTHER_TEXTS: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The rows that two tables have in common.

    Attributes:
        frame: A's columns in A's order, of B `row_b`, `b`, `confidence_b` and `is_mixed_b`, and `truth`, which judges
            both; `a`, `confidence_a` and `is_mixed_a` are A's. Rows whose texts differ are not there.
        by: what they were matched by.
        n_matched: rows with a partner, those with other texts among them.
        n_truths: rows of the frame whose truth both tables know.
        n_other_truths: of these, rows where they know different ones.
    """

    frame: pl.DataFrame
    by: Literal["id", "order"]
    n_matched: int
    n_truths: int
    n_other_truths: int


def matched(a: Rows, b: Rows) -> Matched:
    """Return the rows that both have, in A's order; the truth is A's, or B's where A's table has none.

    Raises:
        InputError: nothing says which rows are the same, or too many of them have other texts.
    """
    by: Literal["id", "order"] = "order" if a.id_problem or b.id_problem else "id"
    if by == "order":
        _check_order(a, b)
    pairs = _paired(a, b, by)
    differs = pairs["text_hash"] != pairs["text_hash_b"]
    if differs.sum() > _MOST_OTHER_TEXTS * pairs.height:
        raise InputError(_other_texts(a, b, pairs, differs))
    frame = pairs.filter(~differs) if differs.any() else pairs
    both = (frame["truth_a"].is_not_null() & frame["truth_b"].is_not_null()).sum()
    side = "truth_a" if a.of.table.columns.label is not None else "truth_b"
    return Matched(
        frame=frame.with_columns(pl.col(side).alias("truth")).drop("truth_a", "truth_b", "text_hash_b"),
        by=by,
        n_matched=pairs.height,
        n_truths=int(both),
        n_other_truths=int((frame["truth_a"] != frame["truth_b"]).sum()),
    )


def _paired(a: Rows, b: Rows, by: str) -> pl.DataFrame:
    """Return A's rows with B's beside them.

    Raises:
        InputError: no id is in both.
    """
    both = ("truth", "confidence", "is_mixed")
    left = a.frame.rename({"answer": "a", **{name: f"{name}_a" for name in both}})
    right = b.frame.select("review_id", "row", "text_hash", pl.col("answer").alias("b"), *both).rename(
        {name: f"{name}_b" for name in ("row", "text_hash", *both)}
    )
    if by == "order" or left["review_id"].equals(right["review_id"]):
        return left.hstack(right.drop("review_id").get_columns())
    pairs = left.join(right, on="review_id", how="inner", maintain_order="left")
    if not pairs.height:
        raise InputError(
            f"no id of {a.of.name} is in {b.of.name}: they have no row in common; name the columns of the ids "
            "with --id-column, or none where both have the same rows in the same order"
        )
    return pairs


def _other_texts(a: Rows, b: Rows, pairs: pl.DataFrame, differs: pl.Series) -> str:
    """Say that rows with the same ids are other reviews, and which is the first."""
    n_other = int(differs.sum())
    first = pairs.row(differs.arg_max() or 0, named=True)
    return (
        f"{a.of.name} and {b.of.name}: {n_other:,} of the {pairs.height:,} rows with the same id have another text "
        f"in B (the first is row {first['row']:,} of A and row {first['row_b']:,} of B, from 0), and at most "
        f"{100 * _MOST_OTHER_TEXTS:g} % may: these are other reviews, or other columns of them; name the text that is "
        "the same with --text-column, ids that belong to the reviews with --id-column, or none to match the rows as "
        "they stand"
    )


def _check_order(a: Rows, b: Rows) -> None:
    """Check that the rows are the same ones as they stand.

    Raises:
        InputError: they are not.
    """
    why = "; ".join(f"{rows.of.name}: {rows.id_problem}" for rows in (a, b) if rows.id_problem)
    advice = f"so that they cannot be matched as they stand, nor by id ({why}); compare outputs of the same table"
    if a.frame.height != b.frame.height:
        raise InputError(
            f"{a.of.name} has {a.frame.height:,} rows and {b.of.name} {b.frame.height:,}, {advice}, or name ids that "
            "both have with --id-column"
        )
    differs = a.frame["text_hash"] != b.frame["text_hash"]
    if differs.any():
        raise InputError(
            f"{a.of.name} and {b.of.name}: {differs.sum():,} of {a.frame.height:,} rows have not the same text in both "
            f"(the first is row {differs.arg_max():,}, from 0), {advice}, name ids that both have with --id-column, or "
            "the same text with --text-column"
        )


def why_not_ids(a: Rows, b: Rows, by: str) -> list[str]:
    """Say why the ids were not used, where there are some."""
    if by == "id":
        return []
    return [
        f"matched row by row, not by id: {rows.of.name}: {rows.id_problem}"
        for rows in (a, b)
        if rows.id_problem and rows.of.table.columns.id is not None
    ]
