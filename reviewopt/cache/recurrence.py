"""How often a text occurred and was hit: which label it has, and how likely it is to come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache.keys import Context, make_keys
from reviewopt.cache.popularity import Popularity
from reviewopt.task import Task

_KEY: Final = ("key", "key_end")
# Counts of chunks are summed once so many rows of them wait.
_WAITING_ROWS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The texts with a label: `chosen` has `key`, `key_end`, `label` and `at`, the first row that says so."""

    chosen: pl.DataFrame
    n_texts: int
    n_conflicts: int
    n_ties: int


class Tally:
    """Counts labels a text and, where they are to be ranked, occasions, hits and rows; about 50 bytes a text each."""

    def __init__(self, *, ranked: bool) -> None:
        self._ranked = ranked
        self._votes = _Sums((*_KEY, "label"), {"n": pl.col("n").sum(), "at": pl.col("at").min()})
        rows, last = pl.col("n_rows").sum(), pl.col("last").max()
        hits = pl.col("n_hits").max()
        self._here = _Sums(_KEY, {"n_rows": rows, "last": last, "n_hits": hits})
        self._uses = _Sums(
            _KEY, {"n_rows": rows, "last": last, "n_hits": hits, "n_occasions": pl.col("n_occasions").sum()}
        )
        self._occasion = -1

    def add(self, rows: pl.DataFrame, n_hits: npt.NDArray[np.int64] | None, *, occasion: int) -> None:
        """Count rows of one file: `key`, `key_end`, `at`, and `label`, null where a row says nothing of its own.

        `n_hits` int64 (n_rows,) are the hits on each row's text; rows of one `occasion` come together.
        """
        labelled = rows.filter(pl.col("label").is_not_null())
        self._votes.add(labelled.group_by(*_KEY, "label").agg(n=pl.len().cast(pl.Int64), at=pl.col("at").min()))
        if not self._ranked:
            return
        if occasion != self._occasion:
            self._end_occasion()
            self._occasion = occasion
        hits = pl.Series("n_hits", np.zeros(rows.height, np.int64) if n_hits is None else n_hits)
        used = rows.select(*_KEY, "at").with_columns(hits)
        self._here.add(
            used.group_by(*_KEY).agg(
                n_rows=pl.len().cast(pl.Int64), last=pl.col("at").max(), n_hits=pl.col("n_hits").max()
            )
        )

    def verdict(self) -> Verdict:
        """Decide each text's label: the most frequent one; none where two are equally frequent."""
        votes = self._votes.sum()
        best = votes.with_columns(most=pl.col("n").max().over(_KEY), n_labels=pl.len().over(_KEY))
        best = best.filter(pl.col("n") == pl.col("most")).with_columns(n_best=pl.len().over(_KEY))
        chosen = best.filter(pl.col("n_best") == 1)
        ties = best.filter(pl.col("n_best") > 1).unique(_KEY)
        n_settled = int((chosen["n_labels"] > 1).sum())
        return Verdict(
            chosen=chosen.select(*_KEY, "label", "at"),
            n_texts=chosen.height + ties.height,
            n_conflicts=n_settled + ties.height,
            n_ties=ties.height,
        )

    def most_likely(self, chosen: pl.DataFrame, n: int) -> pl.DataFrame:
        """Return the `n` chosen texts most likely to come back, as the module `warm` says."""
        self._end_occasion()
        ranked = chosen.join(self._uses.sum(), on=_KEY, how="left").with_columns(
            met=pl.col("n_occasions") + pl.col("n_hits")
        )
        return ranked.sort("met", "n_rows", "last", descending=True).head(n).select(chosen.columns)

    def _end_occasion(self) -> None:
        here = self._here.sum()
        if here.height:
            self._uses.add(here.with_columns(n_occasions=pl.lit(1, pl.Int64)))
        self._here.clear()


class _Sums:
    """Frames that are summed by their keys now and then, so that only the sums are held."""

    def __init__(self, keys: tuple[str, ...], sums: Mapping[str, pl.Expr]) -> None:
        self._keys = keys
        self._sums = sums
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        dtypes = {"label": pl.String()}
        schema = {name: dtypes.get(name, pl.UInt64()) for name in self._keys} | dict.fromkeys(self._sums, pl.Int64())
        self._summed = pl.DataFrame(schema=schema)
        self._waiting: list[pl.DataFrame] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Take more."""
        self._waiting.append(frame.select(self._summed.columns))
        if sum(part.height for part in self._waiting) > max(_WAITING_ROWS, self._summed.height // 2):
            self.sum()

    def sum(self) -> pl.DataFrame:
        """Return the sums so far."""
        if self._waiting:
            self._summed = pl.concat([self._summed, *self._waiting]).group_by(self._keys).agg(**self._sums)
            self._waiting = []
        return self._summed


class Hits:
    """How often the cache was hit for a text, whoever had answered it."""

    def __init__(self, contexts: Mapping[str, str], popularity: Popularity, task: Task) -> None:
        """Know the archive's `contexts`, canonical JSON by digest; those of another task or its like do not count."""
        uses = popularity.all()
        self._key, self._n = np.ascontiguousarray(uses["key"]), uses["n_hits"].astype(np.int64)
        names = tuple(field.name for field in task.others)
        made = [(json, msgspec.json.decode(json, type=Context)) for json in contexts.values()]
        self._contexts = [
            (json, context)
            for json, context in made
            if (context.task, context.labels, context.others) == (task.name, task.labels, names)
        ]

    def of(self, form: pl.Series, tenant: pl.Series, *, isolated: bool) -> npt.NDArray[np.int64]:
        """Return the hits on each text, String (n,), of each tenant, String (n,), int64 (n,)."""
        n_hits = np.zeros(len(form), np.int64)
        if not len(self._key):
            return n_hits
        for json, context in self._contexts:
            if (context.scope == "isolated") != isolated:
                continue
            its = np.arange(len(form))
            if isolated:
                its = np.flatnonzero(tenant.eq_missing(pl.Series([context.tenant], dtype=pl.String)).to_numpy())
            words = make_keys([json], np.zeros(len(its), np.int64), form.gather(its)).words
            at = np.minimum(np.searchsorted(self._key, words[:, 0]), len(self._key) - 1)
            n_hits[its] += np.where(self._key[at] == words[:, 0], self._n[at], 0)
        return n_hits
