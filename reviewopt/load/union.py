"""Several inputs -> one schema: columns meet by name, and each frame is brought to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl
from polars.exceptions import PanicException, PolarsError

from reviewopt.errors import InputError
from reviewopt.load.dtypes import merged_or_none, rounded
from reviewopt.load.source import Source, reason, shown

SOURCE_FILE: Final = "source_file"
_RENAMED: Final = "reviewopt_source_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Union:
    """The common schema, and the column that says where a row came from (None for a single input)."""

    schema: pl.Schema
    source_column: str | None
    notes: tuple[str, ...]


def united(sources: Sequence[Source]) -> Union:
    """The schema of all sources together; one source keeps its own.

    Raises:
        InputError: A column is nested in one input and something else in another.
    """
    if len(sources) == 1:
        return Union(schema=sources[0].schema, source_column=None, notes=())
    dtypes: dict[str, pl.DataType] = {}
    notes: list[str] = []
    for source in sources:
        for column, dtype in source.schema.items():
            merged = merged_or_none(dtypes[column], dtype) if column in dtypes else dtype
            if merged is None:
                raise InputError(
                    f"{source.name}: column '{shown(column, 40)}' is {shown(dtype, 40)} here and "
                    f"{shown(dtypes[column], 40)} in an input before it; make them agree, or label the files one by one"
                )
            dtypes[column] = merged
    notes += _missing(sources, dtypes) + _changed(sources, dtypes)
    source_column = _RENAMED if SOURCE_FILE in dtypes else SOURCE_FILE
    if source_column == _RENAMED:
        notes.append(f"the input has a column '{SOURCE_FILE}' of its own; the file of a row is in '{_RENAMED}'")
    if source_column in dtypes:
        raise InputError(f"the inputs already have the columns '{SOURCE_FILE}' and '{_RENAMED}'; rename one of them")
    schema = pl.Schema(dtypes | {source_column: pl.String()})
    return Union(schema=schema, source_column=source_column, notes=tuple(notes))


def _missing(sources: Sequence[Source], dtypes: dict[str, pl.DataType]) -> list[str]:
    notes = []
    for column in dtypes:
        without = [source.name for source in sources if column not in source.schema]
        if without:
            others = f" and {len(without) - 1} more" if len(without) > 1 else ""
            notes.append(f"column '{shown(column, 40)}' is missing in {shown(without[0])}{others}; filled with null")
    return notes


def _changed(sources: Sequence[Source], dtypes: dict[str, pl.DataType]) -> list[str]:
    notes = []
    for column, dtype in dtypes.items():
        kinds = {str(source.schema[column]): None for source in sources if column in source.schema}
        if len(kinds) > 1:
            notes.append(f"column '{shown(column, 40)}' is {' and '.join(kinds)}; read as {shown(dtype, 40)}")
    return notes


def aligned(frame: pl.DataFrame, source: Source, union: Union) -> pl.DataFrame:
    """The frame with the columns of the common schema, in its order.

    Raises:
        InputError: A value cannot be kept in the common type.
    """
    if union.source_column is None:
        return frame
    columns = []
    for column, dtype in union.schema.items():
        if column == union.source_column:
            columns.append(pl.Series(column, [source.name], dtype=pl.String).new_from_index(0, frame.height))
        elif column in frame.columns:
            columns.append(_cast(frame.get_column(column), dtype, source.name))
        else:
            columns.append(pl.Series(column, [None], dtype=dtype).new_from_index(0, frame.height))
    return pl.DataFrame(columns)


def _cast(values: pl.Series, dtype: pl.DataType, name: str) -> pl.Series:
    if values.dtype == dtype:
        return values
    try:
        cast = values.cast(dtype)
        if rounded(values, cast):
            raise InputError(
                f"{name}: column '{shown(values.name, 40)}' holds whole numbers too large for a decimal column; "
                "save the column as strings in all inputs"
            )
    except (PolarsError, PanicException) as error:
        raise InputError(
            f"{name}: column '{shown(values.name, 40)}' cannot become {shown(dtype, 40)} ({reason(error)}); "
            "make the inputs agree, or label them one by one"
        ) from error
    return cast
