"""A column of label names or of stars -> label names of the task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from reviewopt.errors import InputError, UsageError
from reviewopt.load.source import shown
from reviewopt.task import Task

EXAMPLE: Final = "--label-map '1-4=negative, 5-6=neutral, 7-10=positive'"

_NUMBER: Final = r"[-+]?\d+(?:\.\d+)?"
_RANGE: Final = re.compile(rf"({_NUMBER})(?:\s*-\s*({_NUMBER}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMap:
    """What a value of a label column means.

    Attributes:
        ranges: (low, high, label), inclusive.
        names: Names, lower case and stripped -> label.
    """

    ranges: tuple[tuple[float, float, str], ...]
    names: Mapping[str, str]

    def __str__(self) -> str:
        return ", ".join(f"{_spelt(low, high)}={label}" for low, high, label in self.ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelColumn:
    """The chosen label column, and whether its values are numbers to map or names."""

    column: str
    numeric: bool


def _spelt(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def label_map(task: Task, given: str | None) -> LabelMap:
    """The task's own mapping, with the user's in its place where one is given (names are added to the task's).

    Raises:
        UsageError: The mapping cannot be read, overlaps, or names a label that the task does not have.
    """
    names = {alias.strip().lower(): label for label, aliases in task.aliases.items() for alias in aliases}
    names |= {label.strip().lower(): label for label in task.labels}
    ranges, _ = _parsed(task.label_map, task) if task.label_map.strip() else ((), {})
    if given is not None:
        own_ranges, own_names = _parsed(given, task)
        ranges, names = own_ranges or ranges, names | own_names
    return LabelMap(ranges=ranges, names=names)


def _parsed(text: str, task: Task) -> tuple[tuple[tuple[float, float, str], ...], dict[str, str]]:
    ranges: list[tuple[float, float, str]] = []
    names: dict[str, str] = {}
    known = {label.casefold(): label for label in task.labels}
    for part in text.split(","):
        left, equals, right = (piece.strip() for piece in part.rpartition("="))
        if not (left and equals and right):
            raise UsageError(
                f"label map '{shown(text)}': '{shown(part.strip())}' is not VALUE=LABEL; example: {EXAMPLE}"
            )
        label = known.get(right.casefold())
        if label is None:
            raise UsageError(
                f"label map: '{shown(right)}' is no label of this task ({', '.join(task.labels)}); example: {EXAMPLE}"
            )
        match = _RANGE.fullmatch(left)
        if match is None:
            names[left.lower()] = label
            continue
        low, high = float(match[1]), float(match[2] or match[1])
        if low > high:
            raise UsageError(f"label map: '{shown(left)}' runs backwards; example: {EXAMPLE}")
        if any(low <= other_high and other_low <= high for other_low, other_high, _ in ranges):
            raise UsageError(f"label map: '{shown(left)}' overlaps another range; example: {EXAMPLE}")
        ranges.append((low, high, label))
    return tuple(ranges), names


def choose(
    head: pl.DataFrame, candidates: tuple[str, ...], is_chosen: bool, mapping: LabelMap, task: Task, name: str
) -> tuple[LabelColumn | None, tuple[str, ...]]:
    """The label column among the candidates, by the content of the first rows; names win over numbers.

    Returns:
        The column or None, and notes for the user.

    Raises:
        InputError: The user chose a column whose values are no labels.
    """
    names: list[str] = []
    numbers: list[str] = []
    notes: list[str] = []
    for column in candidates:
        values = cleaned(head.get_column(column)).drop_nulls()
        known = values.is_in(list(mapping.names))
        if _is_numeric(head.get_column(column), values, known):
            numbers.append(column)
        elif is_chosen and len(values) and not known.any():
            raise InputError(_no_labels(name, column, values, task))
        elif is_chosen or int(known.sum()) * 2 > len(values):
            # Mostly labels: the rest is reported where it is read, rather than left out.
            names.append(column)
        else:
            why = f"its values ({_samples(values)}) are no labels" if len(values) else "it is empty in the first rows"
            notes.append(f"'{shown(column, 40)}' is not used as the label: {why}")
    if numbers and not mapping.ranges and is_chosen:
        column = shown(numbers[0], 40)
        raise InputError(f"{name}: column '{column}' holds numbers, and the task maps none; try {EXAMPLE}")
    if numbers and not mapping.ranges:
        notes.append(f"'{shown(numbers[0], 40)}' is not used as the label: the task maps no numbers; try {EXAMPLE}")
        numbers = []
    columns = names + numbers
    if len(columns) > 1:
        others = ", ".join(shown(column, 40) for column in columns[1:4])
        notes.append(f"label is read from '{shown(columns[0], 40)}', not {others} (--label-column chooses)")
    return (LabelColumn(column=columns[0], numeric=not names) if columns else None), tuple(notes)


def _is_numeric(column: pl.Series, values: pl.Series, known: pl.Series) -> bool:
    if known.any():
        return False  # some tasks have numbers as names
    if column.dtype.is_numeric():
        return True
    return bool(len(values)) and values.cast(pl.Float64, strict=False).null_count() == 0


def cleaned(values: pl.Series) -> pl.Series:
    """The values as lower-case, stripped strings; empty ones and NaN are null."""
    if values.dtype.is_float():
        values = values.fill_nan(None)
    text = values.cast(pl.String).str.strip_chars().str.to_lowercase()
    return text.set(text == "", None)


def _samples(values: pl.Series, n: int = 6) -> str:
    distinct = values.unique(maintain_order=True)
    more = ", ..." if len(distinct) > n else ""
    return ", ".join(shown(value, 30) for value in distinct.head(n).to_list()) + more


def _no_labels(name: str, column: str, values: pl.Series, task: Task) -> str:
    return (
        f"{name}: column '{shown(column, 40)}' holds {_samples(values)}; labels: {', '.join(task.labels)}; "
        f"say what they mean, for example --label-map '{shown(values[0], 30)}={task.labels[0]}', or --label-column none"
    )


def named(values: pl.Series, names: tuple[str, ...]) -> pl.Series:
    """The names behind whole numbers, as String; -1 is no label, as `datasets` has it."""
    return values.cast(pl.String).replace({"-1": None} | {str(i): name for i, name in enumerate(names)})


def labelled(values: pl.Series, mapping: LabelMap, task: Task, first_row: int, name: str) -> pl.Series:
    """Label names for the values of a label column; null stays null.

    Args:
        values: The column, any number or string type, (n_rows,).
        mapping: What the values mean.
        task: The task whose labels are meant.
        first_row: Number of the first row within its file, for the message.
        name: The input, for the message.

    Returns:
        String, (n_rows,).

    Raises:
        InputError: A value that the mapping does not cover.
    """
    if values.dtype.is_numeric() and not any(_RANGE.fullmatch(known) for known in mapping.names):
        numbers = values.cast(pl.Float64)
        labels, missing = _from_numbers(numbers.fill_nan(None), mapping), numbers.is_not_null() & ~numbers.is_nan()
    else:
        text = cleaned(values)
        labels = text.replace_strict(dict(mapping.names), default=None, return_dtype=pl.String)
        missing = text.is_not_null()
        if (labels.is_null() & missing).any():
            labels = labels.fill_null(_from_numbers(text.cast(pl.Float64, strict=False).fill_nan(None), mapping))
    missing = missing & labels.is_null()
    if missing.any():
        at = missing.arg_max() or 0
        raise InputError(_uncovered(values, at, first_row, mapping, task, name))
    return labels.rename("label")


def _from_numbers(numbers: pl.Series, mapping: LabelMap) -> pl.Series:
    if not mapping.ranges:
        return pl.Series("label", [None], dtype=pl.String).new_from_index(0, len(numbers))
    x = pl.col("x")
    expr: pl.Expr = pl.lit(None, dtype=pl.String)
    for low, high, label in mapping.ranges:
        expr = pl.when(x.is_between(low, high)).then(pl.lit(label)).otherwise(expr)
    return numbers.to_frame("x").select(expr.alias("label")).to_series()


def _uncovered(values: pl.Series, at: int, first_row: int, mapping: LabelMap, task: Task, name: str) -> str:
    value, column = shown(values[at], 30), shown(values.name, 40)
    where = f"{name}, row {first_row + at:,} (from 0): column '{column}' holds {value}"
    if cleaned(values[at : at + 1]).cast(pl.Float64, strict=False).is_null().all():
        return (
            f"{where}; labels: {', '.join(task.labels)}; say what it means, "
            f"for example --label-map '{value}={task.labels[0]}', or --label-column none"
        )
    return (
        f"{where}, which is outside the mapping {mapping}; "
        f"say what the numbers mean, for example {EXAMPLE}, or --label-column none"
    )
