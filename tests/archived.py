"""Answers for tests of the archive: contexts, entries whose keys fit them, and an archive to put them into."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from reviewopt.cache.archive import Archive
from reviewopt.cache.entry import ENTRY_SCHEMA
from reviewopt.cache.keys import Context, canonical, digest, make_keys
from reviewopt.data import COST_DTYPE

LABELS = ("negative", "neutral", "positive")


def context(source: str = "warm", **changes: Any) -> Context:
    """Return a context; that of a model has all that a model's needs."""
    of_model: dict[str, Any] = dict.fromkeys(("model", "settings", "prompt", "packed"))
    if source == "model":
        of_model = {"model": "gpt-x", "settings": {"effort": "low"}, "prompt": "v1:abc", "packed": False}
    fields = {"source": source, "scope": "shared", "tenant": None, "task": "sentiment", "labels": LABELS}
    return Context(**{**fields, "normaliser": 1, **of_model, **changes})


def entries(texts: Sequence[str], of: Context | None = None, **columns: Any) -> pl.DataFrame:
    """Return an entry for each text, ENTRY_SCHEMA; `columns` are values for all, or lists of one a text."""
    json = canonical(of or context())
    form = pl.Series("text", texts, dtype=pl.String)
    made = {
        "key": make_keys([json], np.zeros(len(form), np.int64), form).hex(),
        "context": digest(json),
        "answer": "positive",
        "confidence": 0.5,
        "cost_usd": "0.25",
        "created_s": 1_000_000,
        "tenant": None,
        "review_id": None,
        "text": form,
    } | columns
    frame = pl.DataFrame({"text": form}).with_columns(
        **{
            name: pl.Series(value, dtype=pl.String if name == "cost_usd" else ENTRY_SCHEMA[name])
            if isinstance(value, list | pl.Series)
            else pl.lit(value, pl.String if name == "cost_usd" else ENTRY_SCHEMA[name])
            for name, value in made.items()
        }
    )
    return frame.with_columns(pl.col("cost_usd").cast(COST_DTYPE)).select(ENTRY_SCHEMA.names())


def opened(home: Path) -> Archive:
    """Open the archive of a home; a warning fails the test."""

    def fail(line: str) -> None:
        raise AssertionError(line)

    return Archive.open(home / "cache", compress_above_bytes=1024, on_warning=fail)


def put(archive: Archive, texts: Sequence[str], of: Context | None = None, **columns: Any) -> pl.DataFrame:
    """Archive an answer to each text, and return them."""
    made = entries(texts, of, **columns)
    json = canonical(of or context())
    archive.put(made, {digest(json): json})
    return made


def all_of(archive: Archive) -> pl.DataFrame:
    """Return every entry, by key, without the rows where they stand."""
    frames = [frame.drop("rowid") for frame in archive.scan()]
    return pl.concat([ENTRY_SCHEMA.to_frame(), *frames]).sort("key")


def silent(_done: int, _total: int | None) -> None:
    """Show no progress."""
