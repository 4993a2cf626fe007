"""Which rows of an exported file can be meant. Nothing of them is believed: keys are made anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache.entry import ENTRY_SCHEMA
from reviewopt.cache.entry import rest as rest_of
from reviewopt.cache.exported import CONTEXT_COLUMNS, printable
from reviewopt.cache.keys import Context, canonical, digest, make_keys
from reviewopt.cache.others import labels_of, wrong
from reviewopt.text import normal

_LATEST_S: Final = 253_402_300_800  # the year 10,000
_MAX_COST_USD: Final = 1_000_000


@dataclass(slots=True)
class Refused:
    """Counts rows, those that were refused, and why the first of them was."""

    n_rows: int = 0
    n_refused: int = 0
    first_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Sound:
    """Sound entries, ENTRY_SCHEMA, and the canonical JSON of their contexts by digest."""

    entries: pl.DataFrame
    contexts: dict[str, str]


def sound(rows: pl.DataFrame, counts: Refused) -> Sound:
    """Refuse the rows that cannot be meant, and key the others."""
    contexts, of_row, why = _contexts(rows)
    at = np.maximum(of_row, 0)
    json = [canonical(context) for context in contexts]
    names = [digest(one) for one in json]
    text = rows["text"].fill_null("")
    keys = make_keys(json, at, text).hex() if json else pl.repeat(None, rows.height, dtype=pl.String, eager=True)
    allowed = pl.Series([context.labels for context in contexts] or [[""]], dtype=pl.List(pl.String)).gather(at)
    others, answer = [context.others for context in contexts] or [()], rows["answer"].fill_null("")
    made = rows.with_columns(
        label=labels_of(answer, at, others),
        odd=wrong(rest_of(answer), at, others),
        context=pl.Series(names or [""], dtype=pl.String).gather(at),
        made=keys,
        allowed=allowed,
        no_context=why,
        form=_normal_form(text),
    )
    made = made.with_columns(reason=_reason())
    bad = made["reason"].is_not_null()
    counts.n_rows += rows.height
    n_bad = int(bad.sum())
    if n_bad and counts.first_reason is None:
        place = bad.arg_max() or 0
        counts.first_reason = f"row {counts.n_rows - rows.height + place + 1:,}: {made['reason'][place]}"
    counts.n_refused += n_bad
    good = made.filter(~bad).drop("key", "tenant").rename({"made": "key", "first_tenant": "tenant"})
    return Sound(good.select(ENTRY_SCHEMA.names()), dict(zip(names, json, strict=True)))


def _reason() -> pl.Expr:
    """Say why a row is refused, null where it is sound."""
    confidence = pl.col("confidence")
    checks = {
        "no_context": None,
        "the text is missing or empty": pl.col("text").fill_null("").str.len_bytes() > 0,
        "the text is not in its normal form": pl.col("form") == pl.col("text"),
        "the answer is none of the labels": pl.col("label").is_in(pl.col("allowed")).fill_null(value=False),
        "the answer is not to the fields of its context": ~pl.col("odd"),
        "the confidence is not between 0 and 1": confidence.is_null() | confidence.is_between(0, 1),
        "the cost is not a number of USD": pl.col("cost_usd")
        .is_between(0, _MAX_COST_USD, closed="left")
        .fill_null(value=False),
        "the time is not Unix seconds": pl.col("created_s")
        .is_between(0, _LATEST_S, closed="left")
        .fill_null(value=False),
        "its key is not that of its context and text": pl.col("key").is_null() | (pl.col("key") == pl.col("made")),
    }
    failed = [
        pl.when(pl.col("wrong").is_not_null()).then("wrong"),
        *(
            pl.col(name) if sound is None else pl.when(~sound.fill_null(value=False)).then(pl.lit(name))
            for name, sound in checks.items()
        ),
    ]
    return pl.coalesce(failed)


def _normal_form(text: pl.Series) -> pl.Series:
    """Normalise the title and the text of normal forms once more: a normal form stays as it is."""
    first, rest = pl.col("part").struct.field("field_0"), pl.col("part").struct.field("field_1")
    parts = pl.DataFrame({"part": text.str.splitn("\n", 2)}).select(
        title=pl.when(rest.is_not_null()).then(first), body=rest.fill_null(first)
    )
    return normal.normalise(parts["title"], parts["body"])


def _contexts(rows: pl.DataFrame) -> tuple[list[Context], npt.NDArray[np.int64], pl.Series]:
    """Return the sound contexts of rows, which of them each row has (-1: none), and why it has none."""
    names = CONTEXT_COLUMNS.names()
    distinct = rows.select(names).unique(maintain_order=True)
    contexts: list[Context] = []
    code: list[int] = []
    why: list[str | None] = []
    for row in distinct.iter_rows(named=True):
        made, reason = _context(row)
        code.append(len(contexts) if made is not None else -1)
        why.append(reason)
        if made is not None:
            contexts.append(made)
    known = distinct.with_columns(code=pl.Series(code, dtype=pl.Int64), why=pl.Series(why, dtype=pl.String))
    found = rows.select(names).join(known, on=names, how="left", nulls_equal=True, maintain_order="left")
    return contexts, found["code"].to_numpy(), found["why"]


def _context(row: dict[str, Any]) -> tuple[Context | None, str | None]:
    """Make a context of one row's columns, or say why it is none."""
    try:
        settings = None if row["settings"] is None else msgspec.json.decode(row["settings"], type=dict[str, str])
        made = msgspec.convert({**row, "settings": settings}, Context, strict=True)
    except msgspec.DecodeError as error:
        return None, f"its context: {printable(str(error))}"
    of_model = (made.model, made.settings, made.prompt, made.packed)
    reason = None
    if made.normaliser != normal.NORMALISER_VERSION:
        reason = f"its normaliser is {made.normaliser}, and this reviewopt has {normal.NORMALISER_VERSION}"
    elif made.scope not in {"shared", "isolated"} or (made.scope == "shared" and made.tenant is not None):
        reason = f"the scope {made.scope[:20]!r} is neither shared by all nor isolated"
    elif not 2 <= len(set(made.labels)) == len(made.labels) <= 255:
        reason = "its labels are not 2 to 255 different ones"
    elif len(set(made.others)) < len(made.others):
        reason = "two of its fields have one name"
    elif any((one is None) == (made.source == "model") for one in of_model):
        reason = "model, settings, prompt and packed belong to the answers of a model, all of them"
    return (made, None) if reason is None else (None, reason)
