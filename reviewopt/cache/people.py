"""What a person says, one review at a time, into the archive: it is looked up before anything else that is kept."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from reviewopt.cache.archive import Archive
from reviewopt.cache.entry import head
from reviewopt.cache.keys import Contexts, make_keys
from reviewopt.data import COST_DTYPE
from reviewopt.task import Task


class People:
    """The answers of people to a task of one field, in an open archive.

    Rows are given as `form`, `tenant`, `review_id` and `label`, String (n,) each.
    """

    def __init__(self, archive: Archive, task: Task, *, isolated: bool) -> None:
        self._archive: Final = archive
        self._contexts = Contexts(task, None, scope="isolated" if isolated else "shared")
        self._isolated = isolated

    def keep(self, rows: pl.DataFrame, *, now_s: int) -> int:
        """Archive labels, of copies the last one; return how many were not there before, or otherwise.

        Raises:
            InputError: the disk is full or may not be written.
        """
        keyed = self._keyed(rows).unique("key", keep="last", maintain_order=True)
        held = self._archive.find(keyed["key"])
        known = held.select("key", head(held["answer"]).alias("held"))
        fresh = keyed.join(known, on="key", how="left").filter(pl.col("held").ne_missing(pl.col("label")))
        if fresh.height:
            side = self._contexts.given("human")
            entries = fresh.rename({"label": "answer", "form": "text"}).with_columns(
                confidence=pl.lit(None, pl.Float32),
                cost_usd=pl.lit(0, COST_DTYPE),
                created_s=pl.lit(now_s, pl.Int64),
            )
            self._archive.put(entries, dict(zip(side.digest, side.json, strict=True)))
        return fresh.height

    def take_back(self, rows: pl.DataFrame) -> int:
        """Delete what people said of these texts, whose bytes may stay in the file; return how many answers there were.

        Raises:
            InputError: the disk is full or may not be written.
        """
        held = self._archive.find(self._keyed(rows)["key"])
        return self._archive.delete(held["rowid"].to_numpy(), erase=False) if held.height else 0

    def _keyed(self, rows: pl.DataFrame) -> pl.DataFrame:
        code = self._contexts.codes(rows["tenant"] if self._isolated else None, rows.height)
        side = self._contexts.given("human")
        digests = pl.Series(side.digest, dtype=pl.String).gather(code.astype(np.uint32))
        return rows.with_columns(make_keys(side.json, code, rows["form"]).hex().alias("key"), digests.alias("context"))
