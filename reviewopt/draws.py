"""The sample of a table: rows in the order of a seeded permutation, drawn before anything is known of their answers.

Beside `load`: the table comes in chunks, and of each only the rows that belong to the sample so far are kept. The
permutation is that of `certify.chances`, a hash of the row's number, so the first n rows of a larger sample are the
sample of n, however the table was cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import certify
from reviewopt.data import REVIEW_COLUMNS
from reviewopt.text import normal
from reviewopt.text.prompt_copy import blank

if TYPE_CHECKING:
    from reviewopt.load import Table

DRAWN_SCHEMA: Final = pl.Schema(
    {
        **dict.fromkeys(REVIEW_COLUMNS, pl.String()),
        "row": pl.Int64(),
        "priority": pl.Float64(),
        "form": pl.String(),
        "chance": pl.UInt64(),
    }
)
# No letter or digit becomes white space in the normal form, so a text that holds one is not empty.
_CHARACTER: Final = r"[\p{L}\p{N}]"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sample, and what was counted on the way.

    Attributes:
        frame: DRAWN_SCHEMA, (n_drawn, 10): the reviews with their normal form, by rising `chance`.
        n_rows: rows of the table that have a text, from which the sample was drawn.
        n_empty: rows without one.
        n_labelled: rows with a text and a label of their own.
        n_of: rows with a text of each tenant or category, where these were counted; an empty name has those of none.
    """

    frame: pl.DataFrame
    n_rows: int
    n_empty: int
    n_labelled: int
    n_of: dict[str, int] = field(default_factory=dict)


def draw(
    table: Table,
    seed: int,
    n: int,
    *,
    as_sent: bool = False,
    per: str = "",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Drawn:
    """Draw the n rows with a text whose chances are the smallest: all of them where there are fewer.

    Memory is that of the sample and of one chunk.

    Args:
        table: read once, from its first row.
        seed: of the permutation, `certify.seed`.
        n: rows to draw.
        as_sent: whether a text of which nothing is left in a prompt (markup alone) counts as none.
        per: `tenant` or `category`, whose rows are counted; empty: neither.
        on_rows: told how many rows have been read.

    Raises:
        InputError: a row cannot be read or labelled.
    """
    frame = DRAWN_SCHEMA.to_frame()
    n_read = n_rows = n_labelled = 0
    n_of: Counter[str] = Counter()
    for chunk in table.chunks():
        reviews = chunk.reviews
        has_text = _has_text(reviews["text"], as_sent=as_sent)
        n_read += reviews.height
        n_rows += int(has_text.sum())
        n_labelled += int((has_text & reviews["label"].is_not_null().to_numpy()).sum())
        chance = certify.chances(reviews["row"].to_numpy(), seed)
        wanted = has_text if frame.height < n else has_text & (chance <= _largest(frame))
        frame = _smallest(frame, _copied(reviews, chance, np.flatnonzero(wanted), n), n)
        if per:
            n_of.update(dict(reviews.filter(has_text)[per].fill_null("").value_counts().rows()))
        on_rows(n_read)
    return Drawn(frame, n_rows, n_read - n_rows, n_labelled, dict(n_of.most_common()))


def _has_text(text: pl.Series, *, as_sent: bool) -> npt.NDArray[np.bool_]:
    """Say which rows have a normal form, bool (n,), without making it for those that surely have one."""
    has_text: npt.NDArray[np.bool_] = text.str.contains(_CHARACTER).fill_null(value=False).to_numpy().copy()
    doubtful = np.flatnonzero(~has_text)
    few = text.gather(doubtful)
    titles = pl.repeat(None, len(few), dtype=pl.String, eager=True)
    has_text[doubtful] = normal.normalise(titles, few).is_not_null().to_numpy()
    if as_sent:
        has_text[blank(text).to_numpy()] = False
    return has_text


def _largest(frame: pl.DataFrame) -> np.uint64:
    return np.uint64(frame["chance"][-1]) if frame.height else np.uint64(0)


def _copied(reviews: pl.DataFrame, chance: npt.NDArray[np.uint64], rows: npt.NDArray[np.int64], n: int) -> pl.DataFrame:
    """Return at most n of these rows as DRAWN_SCHEMA, in memory of their own: polars would hold on to their chunk."""
    rows = rows[np.argsort(chance[rows], kind="stable")[:n]]
    picked = reviews.select(REVIEW_COLUMNS)[rows].with_columns(pl.Series("chance", chance[rows]))
    picked = picked.with_columns(normal.normalise(picked["title"], picked["text"]).alias("form"))
    return pl.DataFrame(picked.select(DRAWN_SCHEMA.names()).to_dict(as_series=False), schema=DRAWN_SCHEMA)


def _smallest(kept: pl.DataFrame, more: pl.DataFrame, n: int) -> pl.DataFrame:
    return pl.concat([kept, more]).sort("chance", "row").head(n) if more.height else kept
