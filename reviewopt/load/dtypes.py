"""Two types of one column -> the type that holds both."""

from __future__ import annotations

import polars as pl
from polars._typing import PolarsDataType


def json_merged(a: pl.DataType, b: pl.DataType) -> pl.DataType:
    """The type for a JSON column that was `a` in some rows and `b` in others; String where nothing else holds both."""
    merged = merged_or_none(a, b)
    return pl.String() if merged is None else merged


def merged_or_none(a: pl.DataType, b: pl.DataType) -> pl.DataType | None:
    """The type that holds every value of both, or None if only text or nothing does.

    Struct fields are united; integers and floats meet in Float64; a scalar and text meet in String.
    """
    if a == b or isinstance(b, pl.Null):
        return a
    if isinstance(a, pl.Null):
        return b
    if a.is_nested() or b.is_nested():
        return _nested(a, b)
    return _numeric(a, b) if a.is_numeric() and b.is_numeric() else pl.String()


def _nested(a: pl.DataType, b: pl.DataType) -> pl.DataType | None:
    if isinstance(a, pl.List) and isinstance(b, pl.List):
        inner = merged_or_none(_made(a.inner), _made(b.inner))
        return None if inner is None else pl.List(inner)
    if not (isinstance(a, pl.Struct) and isinstance(b, pl.Struct)):
        return None
    fields = {field.name: _made(field.dtype) for field in a.fields}
    for field in b.fields:
        dtype = _made(field.dtype)
        both = merged_or_none(fields[field.name], dtype) if field.name in fields else dtype
        if both is None:
            return None
        fields[field.name] = both
    return pl.Struct(fields)


def _numeric(a: pl.DataType, b: pl.DataType) -> pl.DataType:
    if a.is_integer() and b.is_integer():
        both = pl.concat(
            [pl.Series([], dtype=a).to_frame("x"), pl.Series([], dtype=b).to_frame("x")], how="vertical_relaxed"
        )
        # UInt64 and Int64 would meet in Float64, which rounds large ids.
        return pl.String() if both.schema["x"].is_float() else both.schema["x"]
    return pl.Float64()


def storable(dtype: pl.DataType) -> pl.DataType:
    """The type as every output format can hold it: no Null, no 128-bit numbers."""
    if isinstance(dtype, (pl.Null, pl.Int128, pl.UInt128)):
        return pl.String()
    if isinstance(dtype, pl.List):
        return pl.List(storable(_made(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: storable(_made(field.dtype)) for field in dtype.fields})
    return dtype


def _made(dtype: PolarsDataType) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype
