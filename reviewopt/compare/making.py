"""Two labelled tables of the same reviews -> their rows side by side -> how they compare. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

import numpy as np
import polars as pl

from reviewopt.accuracy import MOST_GROUPS
from reviewopt.compare.rows import Rows
from reviewopt.compare.values import (
    LEVEL,
    SCHEMA_VERSION,
    Comparison,
    Difference,
    GroupFigures,
    Side,
    Truth,
)
from reviewopt.errors import InputError
from reviewopt.paired import Paired, counts, of_counts
from reviewopt.task import Task

_KINDS: Final[tuple[Literal["category", "tenant"], ...]] = ("category", "tenant")


def compare(a: Rows, b: Rows, task: Task, *, n_shown: int = 10) -> Comparison:
    """Compare two outputs of the same reviews.

    Rows are matched by their ids where both tables have them, else as they stand, where the texts are the same ones.
    The truth is that of A's table, or of B's where A's has none.

    Args:
        a: the rows of one.
        b: the rows of the other.
        task: whose labels both give.
        n_shown: the most rows to name of those where they differ.

    Raises:
        InputError: the tables have not the same rows, or no row has a label in both.
    """
    matched, by = _matched(a, b)
    truth = _truth(a, b)
    overall = of_counts(*matched.select(counts()).row(0))
    if not overall.n:
        raise InputError(
            f"no row has a label both in {a.of.column} of {a.of.name} and in {b.of.column} of {b.of.name}; "
            "name other columns with --answer-column and --answer-column-b"
        )
    groups, n_left_out = _groups(matched)
    differing = matched.filter(pl.col("a") != pl.col("b"))
    per_1000 = _per_1000(a), _per_1000(b)
    is_same = matched.height == a.frame.height == b.frame.height
    return Comparison(
        schema_version=SCHEMA_VERSION,
        task=task.name,
        labels=task.labels,
        a=_side(a),
        b=_side(b),
        matched_by=by,
        n_matched=matched.height,
        n_only_a=a.frame.height - matched.height,
        n_only_b=b.frame.height - matched.height,
        n_other_texts=int((matched["text_hash"] != matched["text_hash_b"]).sum()),
        n_copies=matched.height - matched["copy_hash"].n_unique(),
        truth=truth,
        overall=overall,
        better=_better(overall),
        groups=groups,
        n_groups_left_out=n_left_out,
        confusion=_confusion(matched, len(task.labels)),
        usd_difference=_less(a.usd, b.usd) if is_same else None,
        usd_difference_per_1000=_less(*per_1000),
        n_differ=differing.height,
        differences=_surest(differing, n_shown),
        notes=(*_why_not_ids(a, b, by), *a.notes, *b.notes),
    )


def _matched(a: Rows, b: Rows) -> tuple[pl.DataFrame, Literal["id", "order"]]:
    """Return the rows that both have, in A's order, and what they were matched by.

    Raises:
        InputError: nothing says which rows are the same.
    """
    left = a.frame.rename({"answer": "a", "truth": "truth_a", "confidence": "confidence_a"})
    right = b.frame.select(
        pl.col("review_id"),
        pl.col("row").alias("row_b"),
        pl.col("text_hash").alias("text_hash_b"),
        pl.col("answer").alias("b"),
        pl.col("truth").alias("truth_b"),
        pl.col("confidence").alias("confidence_b"),
    )
    by: Literal["id", "order"] = "order" if a.id_problem or b.id_problem else "id"
    if by == "order":
        _check_order(a, b)
    is_aligned = by == "order" or left["review_id"].equals(right["review_id"])
    if is_aligned:
        matched = left.hstack(right.drop("review_id").get_columns())
    else:
        matched = left.join(right, on="review_id", how="inner", maintain_order="left")
        if not matched.height:
            raise InputError(
                f"no id of {a.of.name} is in {b.of.name}: they have no row in common; name the columns of the ids "
                "with --id-column, or none where both have the same rows in the same order"
            )
    if by == "id" and not (matched["text_hash"] == matched["text_hash_b"]).any():
        raise InputError(
            f"{a.of.name} and {b.of.name} have ids in common ({matched.height:,}) and no text: they are other reviews "
            "under the same ids; name other columns with --id-column, or with --text-column"
        )
    side = "truth_a" if a.of.table.columns.label is not None else "truth_b"
    return matched.with_columns(pl.col(side).alias("truth")).drop("truth_a", "truth_b"), by


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


def _why_not_ids(a: Rows, b: Rows, by: str) -> list[str]:
    """Say why the ids were not used, where there are some."""
    if by == "id":
        return []
    return [
        f"matched row by row, not by id: {rows.of.name}: {rows.id_problem}"
        for rows in (a, b)
        if rows.id_problem and rows.of.table.columns.id is not None
    ]


def _truth(a: Rows, b: Rows) -> Truth | None:
    if a.of.table.columns.label is not None:
        return Truth(column=a.of.table.columns.label, side="a")
    if b.of.table.columns.label is not None:
        return Truth(column=b.of.table.columns.label, side="b")
    return None


def _better(found: Paired) -> Literal["a", "b"] | None:
    """Name the one that is shown to be right more often."""
    if found.p_value is None or found.p_value >= LEVEL:
        return None
    return "a" if found.n_only_a_right > found.n_only_b_right else "b"


def _groups(matched: pl.DataFrame) -> tuple[tuple[GroupFigures, ...], int]:
    """Return the figures of the largest groups of each kind, and how many others there are."""
    found, n_left_out = [], 0
    for kind in _KINDS:
        rows = matched.lazy().drop_nulls(kind).group_by(kind).agg(counts()).filter(pl.col("n") > 0)
        largest = rows.sort("n", kind, descending=[True, False]).collect()
        n_left_out += max(0, largest.height - MOST_GROUPS)
        found += [
            GroupFigures(kind=kind, group=group, figures=of_counts(*cells))
            for group, *cells in largest.head(MOST_GROUPS).rows()
        ]
    return tuple(found), n_left_out


def _confusion(matched: pl.DataFrame, n_labels: int) -> tuple[tuple[int, ...], ...]:
    both = matched.filter(pl.col("a").is_not_null() & pl.col("b").is_not_null())
    cells = both.group_by("a", "b").agg(pl.len().alias("n"))
    confusion = np.zeros((n_labels, n_labels), np.int64)
    confusion[cells["a"].to_physical().to_numpy(), cells["b"].to_physical().to_numpy()] = cells["n"].to_numpy()
    return tuple(tuple(row) for row in confusion.tolist())


def _surest(differing: pl.DataFrame, n_shown: int) -> tuple[Difference, ...]:
    """Return the rows where both are surest of different labels, each text with the same two labels once."""
    lower = pl.min_horizontal("confidence_a", "confidence_b").alias("lower")  # of those that are known
    ranked = (
        differing.lazy()
        .with_columns(lower)
        .sort("lower", "row", descending=[True, False], nulls_last=True)
        .group_by("copy_hash", "a", "b", maintain_order=True)
        .agg(pl.all().first(), pl.len().alias("n_alike"))
        .head(n_shown)
        .collect()
    )
    return tuple(
        Difference(
            row_a=one["row"],
            row_b=one["row_b"],
            review_id=one["review_id"],
            text=one["example"],
            label_a=one["a"],
            label_b=one["b"],
            confidence_a=one["confidence_a"],
            confidence_b=one["confidence_b"],
            truth=one["truth"],
            n_alike=one["n_alike"],
        )
        for one in ranked.to_dicts()
    )


def _side(rows: Rows) -> Side:
    per_1000 = _per_1000(rows)
    return Side(
        inputs=rows.of.table.inputs,
        column=rows.of.column,
        n_rows=rows.frame.height,
        n_answered=rows.frame.height - rows.frame["answer"].null_count(),
        usd=None if rows.usd is None else f"{rows.usd:f}",
        usd_per_1000=None if per_1000 is None else f"{per_1000:f}",
        n_by_source=rows.n_by_source,
    )


def _per_1000(rows: Rows) -> Decimal | None:
    return None if rows.usd is None else (1000 * rows.usd / rows.frame.height).quantize(Decimal("1e-12"))


def _less(a: Decimal | None, b: Decimal | None) -> str | None:
    return None if a is None or b is None else f"{a - b:f}"
