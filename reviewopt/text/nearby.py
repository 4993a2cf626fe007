"""Near copies: pairs of texts of which rapidfuzz says that their ratio is at least the threshold.

Sketches that agree in a whole band are candidates; their lengths and the share of slots in which they agree are looked
at next, and only what is left is compared letter by letter, so every pair that is reported is true. Lookups of new
texts among known ones are in `near_index.py`.

The work is bounded: within a band each text meets at most `_NEIGHBOURS` that follow it in its bucket and the bucket's
first, and of all bands together at most `_BEST` earlier texts of one regime are compared with it letter by letter. A
hundred thousand texts that differ in one character stay one component, joined text by text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.text.near_bands import (
    KEY_BITS,
    Filter,
    agreement,
    alike_in_length,
    band_windows,
    changes,
    followers,
    ranks,
)
from reviewopt.text.near_index import SimilarIndex
from reviewopt.text.sketch import I32, I64, U64, Part, Regime, Sketches

__all__ = ["Pairs", "SimilarIndex", "find_pairs", "verify"]

_NEIGHBOURS: Final = 10
_BEST: Final = 32  # of texts up to
_BEST_CHARACTERS: Final = 512
_FEWEST: Final = 4
_SORTED_AT_ONCE: Final = 1 << 20  # keys of several bands
_MET_AT_ONCE: Final = 1 << 22  # pairs that bands found; several bands find the same
_COMPARED_AT_ONCE: Final = 1 << 16
_TEXT_BITS: Final = 24  # of a text's number within its part
_MOST_TEXTS: Final = 1 << _TEXT_BITS
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_LOW_32: Final = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Verified pairs, distinct, sorted by `right` and then `left`.

    Attributes:
        left: int64 (n_pairs,), the earlier row of each pair.
        right: int64 (n_pairs,), the later row.
        ratio: float32 (n_pairs,), from the threshold to 100.
    """

    left: I64
    right: I64
    ratio: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.left)


def find_pairs(
    form: pl.Series, sketches: Sketches, *, threshold: float = 85.0, workers: int = 1, group: U64 | None = None
) -> Pairs:
    """Find near copies among distinct texts.

    Args:
        form: String (n_rows,), distinct normal forms.
        sketches: of the same rows.
        threshold: least ratio of a near copy, 70 to 100.
        workers: threads that compare texts.
        group: uint64 (n_rows,), or None; texts of two groups never meet, nor does one change what another finds.

    Raises:
        ValueError: the threshold is out of range, there are not as many sketches as texts, or more than 2^24 texts.
    """
    if len(form) != len(sketches):
        raise ValueError(f"{len(form)} texts and {len(sketches)} sketches; there must be one for each")
    passes = Filter.of(threshold)
    found = [_candidates(part, sketches.length, regime, passes, group) for regime, part in sketches.parts]
    right, left = _unpacked(_distinct(found))
    ratio = verify(form.gather(left), form.gather(right), threshold=threshold, workers=workers)
    near = ratio > 0
    return Pairs(left[near], right[near], ratio[near])


def verify(left: pl.Series, right: pl.Series, *, threshold: float, workers: int = 1) -> npt.NDArray[np.float32]:
    """The ratio of each pair, float32 (n_pairs,), 0 where it is below the threshold.

    Args:
        left: String (n_pairs,).
        right: String (n_pairs,).
        threshold: 0 to 100.
        workers: threads.
    """
    from rapidfuzz import fuzz, process

    ratio = np.zeros(len(left), np.float32)
    for first in range(0, len(left), _COMPARED_AT_ONCE):
        some = slice(first, first + _COMPARED_AT_ONCE)
        ratio[some] = process.cpdist(
            left[some].to_list(),
            right[some].to_list(),
            scorer=fuzz.ratio,
            score_cutoff=threshold,
            dtype=np.float32,
            workers=workers,
        )
    return ratio


def _candidates(part: Part, length: I32, regime: Regime, passes: Filter, group: U64 | None = None) -> U64:
    """Pairs of one regime that pass the filters, packed `right << 32 | left`, uint64 (n_candidates,)."""
    n_part = len(part.row)
    if n_part > _MOST_TEXTS:
        raise ValueError(f"{n_part:,} texts at once; give {_MOST_TEXTS:,} or fewer")
    if n_part < 2:
        return np.empty(0, np.uint64)
    lengths = length[part.row]
    windows = band_windows(part, regime)
    groups = None if group is None else group[part.row] * _MIX
    if groups is not None:
        windows ^= groups
    n_bands = max(1, _SORTED_AT_ONCE // n_part)
    kept, met = np.empty(0, np.uint64), [np.empty(0, np.uint64)]
    for first in range(0, regime.n_bands, n_bands):
        one, other = _colliding(windows[first : first + n_bands])
        alike = alike_in_length(lengths.take(one), lengths.take(other), passes.length_ratio)
        if groups is not None:
            alike &= groups[one] == groups[other]
        met.append(_packed(one[alike], other[alike]))
        if sum(map(len, met)) > _MET_AT_ONCE or first + n_bands >= regime.n_bands:
            agreeing = _agreeing(_distinct(met), part, lengths, regime, passes)
            kept, met = _best(_distinct([kept, agreeing]), lengths), []
    right, left = _unpacked(kept)
    return _packed(part.row[right], part.row[left & _MOST_TEXTS - 1])


def _agreeing(pairs: U64, part: Part, lengths: I32, regime: Regime, passes: Filter) -> U64:
    """Of packed pairs those that agree in enough slots, as `right << 32 | (255 - agreed) << 24 | left`."""
    right, left = _unpacked(pairs)
    agreed = agreement(part.slots, right, part.slots, left)
    enough = passes.passing(regime, agreed, lengths.take(right), lengths.take(left))
    scored: U64 = pairs[enough] | (255 - agreed[enough]).astype(np.uint64) << np.uint64(_TEXT_BITS)
    return scored


def _colliding(windows: U64) -> tuple[I64, I64]:
    """Pairs that share a bucket in some band, int64 (n_pairs,) each: places in the part, in no order.

    Within a bucket texts are sorted by what follows the band in their sketches, so that neighbours agree in more.
    """
    n_bands, n_part = windows.shape
    row_bits = np.uint64(max(1, (n_part - 1).bit_length()))
    more_bits = np.uint64(64 - KEY_BITS) - row_bits
    keys = windows << np.uint64(64 - KEY_BITS)
    keys |= (windows >> np.uint64(KEY_BITS) & (np.uint64(1) << more_bits) - np.uint64(1)) << row_bits
    keys |= np.arange(n_part, dtype=np.uint64)
    keys.sort(axis=1)
    place = (keys & (np.uint64(1) << row_bits) - np.uint64(1)).view(np.int64).ravel()
    follows = np.zeros((n_bands, n_part), np.bool_)  # by one of its bucket
    follows[:, :-1] = (keys[:, 1:] ^ keys[:, :-1]) < (np.uint64(1) << np.uint64(64 - KEY_BITS))
    at = np.flatnonzero(follows)
    if not len(at):
        return at, at
    edge = np.flatnonzero(np.diff(at, prepend=-2, append=at[-1] + 2) > 1)  # of the runs in `at`: one run, one bucket
    size = np.diff(edge)
    n_after = np.repeat(edge[1:], size) - np.arange(len(at))
    owner, number = followers(np.minimum(n_after, _NEIGHBOURS))
    one = at[owner]
    other = one + number
    large = np.flatnonzero(size > _NEIGHBOURS)
    n_members = size[large] + 1
    bucket, number = followers(n_members)
    member = place[at[edge[large]][bucket] + number - 1]
    smallest = np.minimum.reduceat(member, np.cumsum(n_members) - n_members) if len(large) else member
    return np.concatenate([place[one], smallest[bucket]]), np.concatenate([place[other], member])


def _best(scored: U64, lengths: I32) -> U64:
    """Of sorted scored pairs those of each right side that agree most, the earliest among equals.

    The time of a comparison grows with the square of the length, so a long text is compared with fewer.
    """
    right, _ = _unpacked(scored)
    number = ranks(right)
    best: U64 = scored[number < np.clip(_BEST * _BEST_CHARACTERS // np.maximum(lengths[right], 1), _FEWEST, _BEST)]
    return best


def _packed(one: I64, other: I64) -> U64:
    """Pairs as `larger << 32 | smaller`, uint64 (n_pairs,); a text paired with itself is left out."""
    two = one != other
    pairs: U64 = (np.maximum(one, other) << 32 | np.minimum(one, other)).view(np.uint64)[two]
    return pairs


def _unpacked(pairs: U64) -> tuple[I64, I64]:
    return (pairs >> np.uint64(32)).view(np.int64), (pairs & _LOW_32).view(np.int64)


def _distinct(some: list[U64]) -> U64:
    """Sorted and without repeats; numpy's own `unique` hashes integers, which took thirty times as long."""
    pairs = np.concatenate(some)
    pairs.sort()
    distinct: U64 = pairs[changes(pairs)]
    return distinct
