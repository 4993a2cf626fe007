"""Two labelled tables of the same reviews -> their rows side by side -> how they compare. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

import numpy as np
import polars as pl

from reviewopt.accuracy import MOST_GROUPS
from reviewopt.compare import matching
from reviewopt.compare.matching import Matched
from reviewopt.compare.rows import Rows
from reviewopt.compare.values import (
    LEVEL,
    SCHEMA_VERSION,
    Comparison,
    Difference,
    GroupFigures,
    Mixed,
    Side,
    Truth,
)
from reviewopt.errors import InputError
from reviewopt.paired import Paired, counts, holm, of_counts
from reviewopt.task import Task

_KINDS: Final[tuple[Literal["category", "tenant"], ...]] = ("category", "tenant")


def compare(a: Rows, b: Rows, task: Task, *, n_shown: int = 10) -> Comparison:
    """Compare two outputs of the same reviews.

    Rows are matched by their ids where both tables have them, else as they stand, where the texts are the same ones.
    The truth is that of A's table, or of B's where A's has none. Rows that have other texts in the two tables are in no
    figure.

    Args:
        a: the rows of one.
        b: the rows of the other.
        task: whose labels both give.
        n_shown: the most rows to name of those where they differ.

    Raises:
        InputError: the tables have not the same rows, or no row has a label in both.
    """
    found = matching.matched(a, b)
    overall = _figures(found.frame)
    if not overall.n:
        raise InputError(
            f"no row has a label both in {a.of.column} of {a.of.name} and in {b.of.column} of {b.of.name}; "
            "name other columns with --answer-column and --answer-column-b"
        )
    return _compared(a, b, task, found, overall, n_shown)


def _compared(a: Rows, b: Rows, task: Task, found: Matched, overall: Paired, n_shown: int) -> Comparison:
    rows = found.frame
    groups, n_left_out = _groups(rows)
    differing = rows.filter(pl.col("a") != pl.col("b"))
    mixed = _mixed(rows)
    usd = _usd_differences(a, b, is_same=rows.height == a.frame.height == b.frame.height)
    return Comparison(
        schema_version=SCHEMA_VERSION,
        task=task.name,
        labels=task.labels,
        a=_side(a),
        b=_side(b),
        matched_by=found.by,
        n_matched=found.n_matched,
        n_only_a=a.frame.height - found.n_matched,
        n_only_b=b.frame.height - found.n_matched,
        n_other_texts=found.n_matched - rows.height,
        n_copies=rows.height - rows["copy_hash"].n_unique(),
        truth=_truth(a, b, found),
        overall=overall,
        mixed=mixed,
        better=_better(overall, mixed),
        groups=groups,
        n_groups_left_out=n_left_out,
        confusion=_confusion(rows, len(task.labels)),
        usd_difference=usd[0],
        usd_difference_per_1000=usd[1],
        n_differ=differing.height,
        differences=_surest(differing, n_shown),
        notes=(*matching.why_not_ids(a, b, found.by), *a.notes, *b.notes),
    )


def _figures(rows: pl.DataFrame) -> Paired:
    return of_counts(*rows.select(counts()).row(0))


def _truth(a: Rows, b: Rows, found: Matched) -> Truth | None:
    sides: tuple[tuple[Literal["a", "b"], Rows], ...] = (("a", a), ("b", b))
    for side, rows in sides:
        column = rows.of.table.columns.label
        if column is not None:
            return Truth(column=column, side=side, n_in_both=found.n_truths, n_differ=found.n_other_truths)
    return None


def _mixed(rows: pl.DataFrame) -> Mixed | None:
    """Return the figures without the rows that either calls mixed; None where no row that both answered is."""
    both = rows.filter(pl.col("a").is_not_null() & pl.col("b").is_not_null())
    said = both.filter(pl.col("is_mixed_a") | pl.col("is_mixed_b"))
    if not said.height:
        return None
    meant = pl.concat([said.filter(f"is_mixed_{side}")[side].rename("label") for side in "ab"])
    return Mixed(
        label=meant[0],
        n_a=int(said["is_mixed_a"].sum()),
        n_b=int(said["is_mixed_b"].sum()),
        dropped=_figures(both.filter(~(pl.col("is_mixed_a") | pl.col("is_mixed_b")))),
    )


def _better(overall: Paired, mixed: Mixed | None) -> Literal["a", "b"] | None:
    """Name the one that is shown to be right more often, whatever mixed counts as."""
    named = {_shown_by(found) for found in (overall, *(() if mixed is None else (mixed.dropped,)))}
    return named.pop() if len(named) == 1 else None


def _shown_by(found: Paired) -> Literal["a", "b"] | None:
    if found.p_value is None or found.p_value >= LEVEL:
        return None
    return "a" if found.n_only_a_right > found.n_only_b_right else "b"


def _groups(rows: pl.DataFrame) -> tuple[tuple[GroupFigures, ...], int]:
    """Return the figures of the largest groups of each kind, and how many others there are."""
    largest: list[tuple[Literal["category", "tenant"], str, Paired]] = []
    n_left_out = 0
    for kind in _KINDS:
        cells = rows.lazy().drop_nulls(kind).group_by(kind).agg(counts()).filter(pl.col("n") > 0)
        ranked = cells.sort("n", kind, descending=[True, False]).collect()
        n_left_out += max(0, ranked.height - MOST_GROUPS)
        largest += [(kind, group, of_counts(*numbers)) for group, *numbers in ranked.head(MOST_GROUPS).rows()]
    known = iter(holm([found.p_value for _, _, found in largest if found.p_value is not None]))
    adjusted = [None if found.p_value is None else next(known) for _, _, found in largest]
    groups = [
        GroupFigures(kind=kind, group=group, figures=found, p_adjusted=p_adjusted)
        for (kind, group, found), p_adjusted in zip(largest, adjusted, strict=True)
    ]
    return tuple(groups), n_left_out


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
        n_mapped=rows.n_mapped,
        mapped=rows.mapped,
        usd=None if rows.usd is None or rows.n_without_cost else f"{rows.usd:f}",
        usd_per_1000=None if per_1000 is None else f"{per_1000:f}",
        n_with_cost=rows.n_with_cost,
        n_without_cost=rows.n_without_cost,
        n_by_source=rows.n_by_source,
    )


def _per_1000(rows: Rows) -> Decimal | None:
    """Return the cost of 1,000 of the rows that have one."""
    return None if rows.usd is None else (1000 * rows.usd / rows.n_with_cost).quantize(Decimal("1e-12"))


def _usd_differences(a: Rows, b: Rows, *, is_same: bool) -> tuple[str | None, str | None]:
    """Return what A cost less B, and the same of 1,000 rows; null where a label's cost is not known."""
    per_a, per_b = _per_1000(a), _per_1000(b)
    if a.usd is None or b.usd is None or per_a is None or per_b is None or a.n_without_cost or b.n_without_cost:
        return None, None
    return f"{a.usd - b.usd:f}" if is_same else None, f"{per_a - per_b:f}"
