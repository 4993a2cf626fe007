"""Two types of one column -> the type that holds both."""

from __future__ import annotations

from typing import Final

import polars as pl
from polars._typing import PolarsDataType

_DECIMAL_DIGITS: Final = 38
# Up to here Float64 holds every whole number (IEEE 754: 53 bits of significand).
_FLOAT_WHOLE: Final = 2**53


def json_merged(a: pl.DataType, b: pl.DataType) -> pl.DataType:
    """The type for a JSON column that was `a` in some rows and `b` in others; String where nothing else holds both."""
    merged = merged_or_none(a, b)
    return pl.String() if merged is None else merged


def merged_or_none(a: pl.DataType, b: pl.DataType) -> pl.DataType | None:
    """The type that holds every value of both, or None if only text or nothing does.

    Struct fields are united; integers and floats meet in Float64, where the reader must look for `rounded` values;
    numbers that no common type holds in full, and a scalar and text, meet in String.
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
        # UInt64 and Int64 meet in 128 bits, which other programs cannot read.
        return pl.String() if both.schema["x"] in (pl.Int128, pl.UInt128) else both.schema["x"]
    if a.is_decimal() or b.is_decimal():
        return _decimal(a, b)
    return pl.Float64()


def _decimal(a: pl.DataType, b: pl.DataType) -> pl.DataType:
    sizes = [_digits(dtype) for dtype in (a, b)]
    if None in sizes:
        return pl.String()
    whole, scale = (max(size[i] for size in sizes if size) for i in (0, 1))
    return pl.Decimal(whole + scale, scale) if whole + scale <= _DECIMAL_DIGITS else pl.String()


def _digits(dtype: pl.DataType) -> tuple[int, int] | None:
    """The most digits before and after the point; None for a float."""
    if isinstance(dtype, pl.Decimal):
        return dtype.precision - dtype.scale, dtype.scale
    n_bits = 8 * pl.Series([0], dtype=dtype).estimated_size()
    return (len(str(2**n_bits)), 0) if dtype.is_integer() else None


def rounded(values: pl.Series, cast: pl.Series) -> bool:
    """Whether the cast of whole numbers to floats, at any depth, changed one: beyond 2^53 floats have gaps."""
    return _meets_float(values.dtype, cast.dtype) and not cast.cast(values.dtype, strict=False).equals(values)


def _meets_float(a: PolarsDataType, b: PolarsDataType) -> bool:
    if isinstance(a, pl.List) and isinstance(b, pl.List):
        return _meets_float(a.inner, b.inner)
    if isinstance(a, pl.Struct) and isinstance(b, pl.Struct):
        inner = {field.name: field.dtype for field in b.fields}
        return any(field.name in inner and _meets_float(field.dtype, inner[field.name]) for field in a.fields)
    return a.is_integer() and b.is_float()


def floats_as_text(dtype: pl.DataType) -> pl.DataType:
    """The type with String for each float, at any depth."""
    if isinstance(dtype, pl.List):
        return pl.List(floats_as_text(_made(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: floats_as_text(_made(field.dtype)) for field in dtype.fields})
    return pl.String() if dtype.is_float() else dtype


def exact(texts: pl.Series, dtype: pl.DataType) -> pl.DataType:
    """`dtype` with String for each float that would round a whole number among `texts`.

    Args:
        texts: The values, of the type `floats_as_text(dtype)`.
        dtype: The type that the values would get.
    """
    if isinstance(dtype, pl.List):
        return pl.List(exact(texts.explode(), _made(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({f.name: exact(texts.struct.field(f.name), _made(f.dtype)) for f in dtype.fields})
    if not dtype.is_float():
        return dtype
    whole = texts.filter(texts.str.contains(r"^-?\d{16,}$").fill_null(False))
    # What 128 bits do not hold is null, and large.
    large = (whole.cast(pl.Int128, strict=False).abs() > _FLOAT_WHOLE).fill_null(True)
    return pl.String() if large.any() else dtype


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
