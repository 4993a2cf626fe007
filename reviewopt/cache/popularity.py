"""How often each entry was hit and when last: what tier 2 holds, and what a bounded archive gives up.

Kept beside the archive as one sorted array; losing it loses only the order in which entries are dear.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reviewopt.cache.sidecar import locked, read_sealed, write_sealed

FILE: Final = "popularity"
_USE: Final = np.dtype([("key", "<u8"), ("key_end", "<u8"), ("n_hits", "<u4"), ("used_s", "<u4")])
Uses = np.ndarray[tuple[int], np.dtype[Any]]


class Popularity:
    """Uses by key: those on disk, and those of this process, which `store` adds to them."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._path = cache / FILE
        self._stored: Uses | None = None  # read when first wanted: a run that asks for exact hits alone never does
        self._new: list[Uses] = []

    def add(self, words: npt.NDArray[np.uint64], now_s: int) -> None:
        """Count one hit for each key, uint64 (n, 2)."""
        part = np.empty(len(words), _USE)
        part["key"], part["key_end"], part["n_hits"], part["used_s"] = words[:, 0], words[:, 1], 1, now_s
        self._new.append(part)

    def all(self) -> Uses:
        """Return every use, sorted by key, each key once."""
        if self._stored is None:
            self._stored = self._read()
        self._new = [_summed(self._new)] if self._new else []
        return _summed([self._stored, *self._new]) if self._new else self._stored

    def top(self, n: int) -> npt.NDArray[np.uint64]:
        """Return the keys of the n entries with the most hits, the last used first among equals; uint64 (n, 2)."""
        uses = self.all()
        best = np.lexsort((-uses["used_s"].astype(np.int64), -uses["n_hits"].astype(np.int64)))[:n]
        return np.stack([uses["key"][best], uses["key_end"][best]], axis=1)

    def of(self, words: npt.NDArray[np.uint64]) -> Uses:
        """Return the uses of the keys, uint64 (n, 2); zeros for those never hit."""
        uses = self.all()
        found = np.zeros(len(words), _USE)
        if not len(uses):
            return found
        at = np.minimum(np.searchsorted(uses["key"], words[:, 0]), len(uses) - 1)
        same = uses["key"][at] == words[:, 0]
        found[same] = uses[at[same]]
        return found

    def store(self) -> None:
        """Add this process's uses to those on disk; a full disk loses them, and nothing else."""
        if not self._new:
            return
        with suppress(OSError), locked(self._cache):
            write_sealed(self._path, _summed([self._read(), *self._new]).tobytes())
            self._stored, self._new = None, []

    def _read(self) -> Uses:
        try:
            return np.frombuffer(read_sealed(self._path), _USE)
        except (OSError, ValueError):
            return np.empty(0, _USE)


def _summed(parts: list[Uses]) -> Uses:
    """Make one use a key, sorted by key. Two keys that share their first 64 bits would count as one."""
    uses = np.concatenate(parts)
    uses = uses[np.argsort(uses["key"], kind="stable")]
    if not len(uses):
        return uses
    first = np.flatnonzero(np.diff(uses["key"], prepend=~uses["key"][:1]))
    summed = uses[first]
    summed["n_hits"] = np.minimum(np.add.reduceat(uses["n_hits"].astype(np.int64), first), 2**32 - 1)
    summed["used_s"] = np.maximum.reduceat(uses["used_s"], first)
    return summed
