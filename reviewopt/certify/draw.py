"""The draw: a permutation of rows that follows from the table, so nobody can draw until lucky."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

# SplitMix64 with its published constants: Steele, Lea & Flood, Fast splittable pseudorandom number generators, OOPSLA
# 2014, with the finaliser of Vigna's splitmix64.c (2015), Stafford's variant 13.
_STEP = 0x9E3779B97F4A7C15
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_MASK = (1 << 64) - 1


def seed(*parts: str) -> int:
    """Return 64 bits that follow from all parts and from where one ends: SHA-256 over each, its bytes counted first."""
    digest = hashlib.sha256()
    for part in parts:
        coded = part.encode("utf-8", "surrogatepass")
        digest.update(len(coded).to_bytes(8, "little"))
        digest.update(coded)
    return int.from_bytes(digest.digest()[:8], "little")


def _mixed(values: U64) -> U64:
    """Return the SplitMix64 finaliser of each value, a bijection of 64 bits."""
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


def chances(rows: I64, seed: int) -> U64:
    """Return a keyed hash of row numbers, (n,) to (n,): its rising order is the permutation, its smallest k a sample.

    Two keys follow from the seed; one is added before a finaliser and one between two. With a single key the orders of
    two seeds would be shifts of one another. Different rows never collide: each step is a bijection.
    """
    keys = _mixed((np.arange(1, 3, dtype=np.uint64) * np.uint64(_STEP)) ^ np.uint64(seed & _MASK))
    spread = rows.astype(np.int64).view(np.uint64) * np.uint64(_STEP)
    return _mixed(_mixed(spread + keys[0]) + keys[1])
