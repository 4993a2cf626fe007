"""The answers to the fields after the first, out of the archive: none is used that the task does not allow.

What is stored passed a check once, but a file of answers that was imported is foreign, and a damaged answer that got
through would end a run whose rows are paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec import Meta

from reviewopt.cache.entry import head
from reviewopt.task import Field, Score, Text

_Values = dict[str, str | int]


class Others:
    """The fields after the first of one task."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        """Know the types and the bounds of `fields`; the length of a free text is not among them."""
        names = {f"field_{at}": field.name for at, field in enumerate(fields)}  # a name may be a word of Python
        typed = [(key, _type(field)) for key, field in zip(names, fields, strict=True)]
        form = msgspec.defstruct("Rest", typed, rename=names, forbid_unknown_fields=True)
        self._decode = msgspec.json.Decoder(form).decode
        self._encode = msgspec.json.Encoder().encode

    def sound(self, rest: pl.Series) -> pl.Series:
        """Return the answers that the task allows, spelled as it spells them, String (n,); null for the others.

        Args:
            rest: String (n,), as `entry.rest` gives it. No library checks a column of JSON strictly, so this loops.
        """
        return pl.Series("rest", [None if one is None else self._sound(one) for one in rest], pl.String)

    def _sound(self, rest: str) -> str | None:
        try:
            return self._encode(self._decode(rest)).decode()
        except msgspec.DecodeError:
            return None


def _type(field: Field) -> Any:
    if isinstance(field, Text):
        return str
    if isinstance(field, Score):
        return Annotated[int, Meta(ge=field.low, le=field.high)]
    return Literal[field.labels]


def labels_of(answer: pl.Series, of_row: npt.NDArray[np.int64], others: Sequence[tuple[str, ...]]) -> pl.Series:
    """Return the labels of whole answers, String (n,): the head where the context has `others`, else all of it.

    `of_row` (n,) is the context of each as an index into `others`.
    """
    return head(answer).zip_with(_has_several(of_row, others), answer)


def wrong(rest: pl.Series, of_row: npt.NDArray[np.int64], others: Sequence[tuple[str, ...]]) -> pl.Series:
    """Say of answers whether they do not answer just the fields that their context names, Boolean (n,).

    An answer that is a label alone is never wrong: of a task of several fields people and history may know no more.

    Args:
        rest: String (n,), as `entry.rest` gives it.
        of_row: (n,), the context of each as an index into `others`.
        others: the names that each context has.
    """
    decode, names = msgspec.json.Decoder(_Values).decode, [set(one) for one in others]
    at = ((rest != "") & _has_several(of_row, others)).arg_true()
    pairs = zip(rest.gather(at), of_row[at.to_numpy()].tolist(), strict=True)
    found = pl.Series([not _names(decode, one, names[code]) for one, code in pairs], dtype=pl.Boolean)
    return pl.repeat(value=False, n=len(rest), dtype=pl.Boolean, eager=True).scatter(at, found)


def _has_several(of_row: npt.NDArray[np.int64], others: Sequence[tuple[str, ...]]) -> pl.Series:
    return pl.Series([bool(one) for one in others], dtype=pl.Boolean).gather(of_row)


def _names(decode: Callable[[str], _Values], rest: str, names: set[str]) -> bool:
    try:
        return set(decode(rest)) == names
    except msgspec.DecodeError:
        return False
