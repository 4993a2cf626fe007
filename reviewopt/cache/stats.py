"""What the cache holds, and what it has given back so far."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from reviewopt import runs
from reviewopt.cache import popularity, refusals
from reviewopt.cache.archive import Archive
from reviewopt.cache.upkeep import known_contexts
from reviewopt.data import Frozen
from reviewopt.errors import InputError
from reviewopt.runs import Home
from reviewopt.settings import CacheSettings

SCHEMA_VERSION: Final = 1
_TIERS: Final = ("l1", "l2", "l3")


class Tier(Frozen, frozen=True, kw_only=True):
    """One tier. What is not known is null: a tier in memory is gone with its process.

    `max_entries` is null where the tier has no bound. `n_bytes` is on disk, with what stands beside the archive.
    `hit_rate` is hits / questions looked up in any tier. `saved_usd` is a decimal string.
    """

    name: str
    is_enabled: bool
    n_entries: int | None
    max_entries: int | None
    n_bytes: int
    n_hits: int
    hit_rate: float | None
    saved_usd: str
    oldest_s: int | None
    newest_s: int | None


class Stats(Frozen, frozen=True, kw_only=True):
    """The cache of a home. Hits, look-ups and savings are sums over the records of its runs.

    `n_runs_unread` records are of another version or damaged, and not in the sums. Times are Unix seconds, `cost_usd`
    is what the answers of the archive cost to obtain. The counts are of entries of the archive.
    """

    schema_version: int
    has_archive: bool
    now_s: int
    n_runs: int
    n_runs_unread: int
    n_looked_up: int
    hit_rate: float | None
    cost_usd: str
    tiers: tuple[Tier, ...]
    n_by_source: dict[str, int]
    n_by_task: dict[str, int]
    n_by_model: dict[str, int]
    bytes_by_file: dict[str, int]


def measure(home: Home, folder: Path, archive: Archive | None, settings: CacheSettings, *, now_s: int) -> Stats:
    """Read the archive once, its files' sizes, and the run records."""
    past = _Past(home)
    held = _Held(archive)
    files = _sizes(folder)
    tiers = [
        Tier(
            name=name,
            is_enabled=is_enabled,
            n_entries=held.n_entries if name == "l3" else None,
            max_entries=most or None,
            n_bytes=sum(files.values()) if name == "l3" else 0,
            n_hits=past.n_hits[name],
            hit_rate=past.rate(past.n_hits[name]),
            saved_usd=f"{past.saved_usd[name]:f}",
            oldest_s=held.oldest_s if name == "l3" else None,
            newest_s=held.newest_s if name == "l3" else None,
        )
        for name, is_enabled, most in (
            ("l1", settings.memory.enabled, settings.memory.max_entries),
            ("l2", settings.similar.enabled, settings.similar.max_entries),
            ("l3", settings.archive.enabled, settings.archive.max_entries),
        )
    ]
    return Stats(
        schema_version=SCHEMA_VERSION,
        has_archive=archive is not None,
        now_s=now_s,
        n_runs=past.n_runs,
        n_runs_unread=past.n_unread,
        n_looked_up=past.n_looked_up,
        hit_rate=past.rate(sum(past.n_hits.values())),
        cost_usd=f"{held.cost_usd:f}",
        tiers=tuple(tiers),
        n_by_source=held.n_by("source"),
        n_by_task=held.n_by("task"),
        n_by_model=held.n_by("model"),
        bytes_by_file=files,
    )


class _Past:
    """What the run records of a home sum up to."""

    def __init__(self, home: Home) -> None:
        self.n_runs = self.n_unread = self.n_looked_up = 0
        self.n_hits = dict.fromkeys(_TIERS, 0)
        self.saved_usd = dict.fromkeys(_TIERS, Decimal(0))
        for run_id in home.run_ids():
            try:
                run = runs.read(home.find(run_id))
            except InputError:
                self.n_unread += 1
                continue
            self.n_runs += 1
            self.n_looked_up += run.n_looked_up
            for name in _TIERS:
                self.n_hits[name] += run.n_by_source.get(name, 0)
                self.saved_usd[name] += Decimal(run.cost.saved_usd.get(name, "0"))

    def rate(self, n_hits: int) -> float | None:
        """Return hits as a share of the questions looked up."""
        return n_hits / self.n_looked_up if self.n_looked_up else None


class _Held:
    """What an archive holds, or nothing."""

    def __init__(self, archive: Archive | None) -> None:
        self.n_entries = None if archive is None else archive.state.n_entries
        self.cost_usd = Decimal(0)
        self.oldest_s: int | None = None
        self.newest_s: int | None = None
        self._contexts = {} if archive is None else known_contexts(archive.contexts())
        self._n_in: Counter[str] = Counter()
        for frame in () if archive is None else archive.scan():
            self._n_in.update(dict(frame["context"].value_counts().iter_rows()))
            self.cost_usd += Decimal(frame["cost_usd"].sum())
            oldest, newest = frame.select(pl.col("created_s").min(), pl.col("created_s").max().alias("newest")).row(0)
            self.oldest_s = oldest if self.oldest_s is None else min(self.oldest_s, oldest)
            self.newest_s = newest if self.newest_s is None else max(self.newest_s, newest)

    def n_by(self, name: str) -> dict[str, int]:
        """Count entries by a field of their context, most first; those of a damaged context are `unknown`."""
        counts: Counter[str] = Counter()
        for digest, n in self._n_in.items():
            context = self._contexts.get(digest)
            value = "unknown" if context is None else msgspec.structs.asdict(context)[name]
            if value is not None:
                counts[value] += n
        return dict(counts.most_common())


def _sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of the archive, of each index beside it, of the counts of hits, and of refusals."""
    patterns = {
        "answers": "cache.db*",
        "index": "index/**/*",
        "similar": "similar/**/*",
        "popularity": popularity.FILE,
        "refusals": refusals.FILE,
    }
    return {
        name: sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())
        for name, pattern in patterns.items()
    }
