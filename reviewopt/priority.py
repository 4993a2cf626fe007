"""Which reviews are asked first: the highest priorities, in a batch and over the whole table. Pure.

Where a run ends before its table does, by a deadline or a budget, what was asked first is what has answers. A priority
is float64; NaN is none, which counts as the lowest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

# Values that are told apart exactly; of more, each part of the table holds about so great a share of the rows.
MOST_LEVELS: Final = 5
# Rows whose priorities are looked at to part the table: a part's share is then off by about .2 % (1 / 2 sqrt(n)).
_SAMPLE: Final = 65_536
_SEED: Final = 20_261_122

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bands:
    """Parts of a table, the highest priorities first: a row is in the first band whose floor it reaches.

    `floors` descend; the last is minus infinity, so that each row is in one.
    """

    floors: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.floors)

    def of(self, priority: F64) -> I64:
        """Return each row's band, int64 (n,), 0 the highest; equal priorities are in one band."""
        return np.searchsorted(-np.array(self.floors), -_known(priority)).astype(np.int64)


def bands(chunks: Iterable[F64]) -> Bands:
    """Part a table by the priorities of its rows, (n,) a chunk, in memory that does not grow with it.

    Up to `MOST_LEVELS` values are a band each. Of more, a band ends where it would hold more than its share of the rows
    (by a sample), so that a value that is frequent is parted from those above it; there are fewer than twice as many.
    """
    draw = np.random.default_rng(_SEED)
    levels, sample, key = np.empty(0), np.empty(0), np.empty(0)
    for chunk in chunks:
        values = _known(chunk)
        if len(levels) <= MOST_LEVELS:
            levels = np.unique(np.concatenate([levels, values]))[-MOST_LEVELS - 1 :]
        sample, key = np.concatenate([sample, values]), np.concatenate([key, draw.random(len(values))])
        if len(key) > _SAMPLE:  # those with the highest keys are a uniform sample of all
            kept = np.argpartition(key, -_SAMPLE)[-_SAMPLE:]
            sample, key = sample[kept], key[kept]
    floors = levels[::-1].tolist() if len(levels) <= MOST_LEVELS else _floors(sample)
    return Bands((*floors[:-1], -np.inf))


def _floors(sample: F64) -> list[float]:
    """Return the lowest value of each band, descending."""
    values, counts = np.unique(sample, return_counts=True)
    share = -(-len(sample) // MOST_LEVELS)
    floors: list[float] = []
    n_held, lowest = 0, 0.0
    for value, n in zip(values[::-1].tolist(), counts[::-1].tolist(), strict=True):
        if n_held and n_held + n > share:
            floors.append(lowest)
            n_held = 0
        n_held, lowest = n_held + n, value
    return [*floors, lowest]


def raised(priority: F64, group: I64) -> F64:
    """Return the highest priority of each one's group, float64 (n,): what answers many is as urgent as any of them.

    Args:
        priority: float64 (n,).
        group: int64 (n,); a negative one is in no group.
    """
    names, code = np.unique(group, return_inverse=True)
    best = np.full(len(names), np.nan)
    np.fmax.at(best, code, priority)
    return np.where(group < 0, priority, best[code])


def highest_first(order: I64, priority: F64) -> I64:
    """Return the positions of `order` by descending priority; equal ones stay as they were, shuffled if they were.

    Args:
        order: int64 (n_asked,): positions in `priority`.
        priority: float64 (n,).
    """
    return order[np.argsort(-_known(priority)[order], kind="stable")]


def in_order(packs: Iterable[I64], order: I64) -> Iterator[I64]:
    """Yield packs by where their first position stands in `order`: those of one tenant do not wait for another's."""
    rank = np.empty(int(order.max(initial=-1)) + 1, np.int64)
    rank[order] = np.arange(len(order))
    yield from sorted(packs, key=lambda pack: int(rank[pack[0]]))


def _known(priority: F64) -> F64:
    return np.where(np.isnan(priority), -np.inf, priority)
