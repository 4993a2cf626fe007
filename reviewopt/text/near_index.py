"""An index of many sketches, to look a few texts up in without comparing them with all: `cache`'s similar tiers.

All bands of a regime stand in one sorted array, hashed together with the number of the band and the entry's group, so
that a lookup is one binary search a band. The index is plain arrays: they may be memory maps of files that are never
read whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from reviewopt.text import sketch as sketching
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
from reviewopt.text.sketch import I32, I64, U64, Part, Regime, Sketches

_A_BAND: Final = 32  # entries looked at in one bucket
_A_QUERY: Final = 16  # candidates returned
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_NAMES: Final = ("long", "short")
_ARRAYS: Final = (
    "version",
    "length",
    "group",
    *(f"{name}_{what}" for name in _NAMES for what in ("row", "slots", "keys")),
)

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


@dataclass(frozen=True, slots=True)
class SimilarIndex:
    """Sketches of entries, found by band. Entries of different groups never meet.

    Attributes:
        length: int32 (n_entries,), characters.
        group: uint64 (n_entries,).
        parts: the entries of each regime, long and short.
        keys: uint64 (n_part * n_bands,) for each regime, sorted; hashes whose low bits are a place in the part.
    """

    length: I32
    group: U64
    parts: tuple[Part, Part]
    keys: tuple[U64, U64]

    def __len__(self) -> int:
        return len(self.length)

    @staticmethod
    def build(sketches: Sketches, group: U64) -> SimilarIndex:
        """Index entries by their sketches.

        Args:
            sketches: of n_entries texts.
            group: uint64 (n_entries,); only entries of a query's own group are found.

        Raises:
            ValueError: there are not as many groups as sketches.
        """
        _check_groups(sketches, group)
        keys = []
        for regime, part in sketches.parts:
            hashes = _hashes(part, regime, group[part.row])
            low = _low_bits(len(part.row))
            hashes &= ~low
            hashes |= np.arange(len(part.row), dtype=np.uint64)
            flat = hashes.ravel()
            flat.sort()
            keys.append(flat)
        return SimilarIndex(sketches.length, group, (sketches.long, sketches.short), (keys[0], keys[1]))

    def arrays(self) -> Arrays:
        """The index as plain arrays, from which `from_arrays` makes it again."""
        named: Arrays = {"version": np.array([sketching.VERSION]), "length": self.length, "group": self.group}
        for name, part, keys in zip(_NAMES, self.parts, self.keys, strict=True):
            named |= {f"{name}_row": part.row, f"{name}_slots": part.slots, f"{name}_keys": keys}
        return named

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray[Any, np.dtype[Any]]]) -> SimilarIndex:
        """The index that `arrays` was made of; none of the arrays but the version is read here.

        Raises:
            ValueError: an array is missing, or the sketches are of another version.
        """
        expected = [
            "version",
            "length",
            "group",
            *(f"{name}_{what}" for name in _NAMES for what in ("row", "slots", "keys")),
        ]
        missing = [name for name in expected if name not in arrays]
        if missing:
            raise ValueError(f"arrays missing from the index: {', '.join(missing)}; build it again")
        version = int(arrays["version"][0])
        if version != sketching.VERSION:
            raise ValueError(f"index of sketch version {version}, needed: {sketching.VERSION}; build it again")
        long, short = (Part(arrays[f"{name}_row"], arrays[f"{name}_slots"]) for name in _NAMES)
        return SimilarIndex(
            arrays["length"], arrays["group"], (long, short), (arrays["long_keys"], arrays["short_keys"])
        )

    def candidates(self, sketches: Sketches, group: U64, *, threshold: float = 85.0) -> tuple[I64, I64]:
        """Entries that may be near copies of queries; the caller compares the texts (`nearby.verify`).

        At most 16 a query and regime, those whose sketches agree best, of at most 32 in a bucket.

        Args:
            sketches: of n_queries texts.
            group: uint64 (n_queries,).
            threshold: least ratio of a near copy, 70 to 100.

        Returns:
            query: int64 (n_candidates,), ascending.
            entry: int64 (n_candidates,), ascending within a query; no pair twice.

        Raises:
            ValueError: there are not as many groups as sketches, or the threshold is out of range.
        """
        _check_groups(sketches, group)
        passes = Filter.of(threshold)
        found = [
            self._found(number, regime, part, (sketches.length, group), passes)
            for number, (regime, part) in enumerate(sketches.parts)
        ]
        query, entry = (np.concatenate(side) for side in zip(*found, strict=True))
        return _sorted_distinct(query, entry)

    def _found(
        self, number: int, regime: Regime, asked: Part, about: tuple[I32, U64], passes: Filter
    ) -> tuple[I64, I64]:
        """Candidates of one regime: queries and entries."""
        known, (length, group) = self.parts[number], about
        if not len(asked.row) or not len(known.row):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        query, place = _matches(self.keys[number], len(known.row), _hashes(asked, regime, group[asked.row]))
        query, place = _sorted_distinct(query, place)
        row, entry = asked.row[query], known.row[place]
        lengths, entry_lengths = length[row], self.length[entry]
        passing = alike_in_length(lengths, entry_lengths, passes.length_ratio)
        passing &= group[row] == self.group[entry]
        query, place = query[passing], place[passing]
        agreed = agreement(asked.slots, query, known.slots, place)
        enough = np.flatnonzero(passes.passing(regime, agreed, lengths[passing], entry_lengths[passing]))
        order = enough[np.lexsort((-agreed[enough].astype(np.int16), query[enough]))]
        order = order[ranks(query[order]) < _A_QUERY]
        return asked.row[query[order]], known.row[place[order]].astype(np.int64)


def _check_groups(sketches: Sketches, group: U64) -> None:
    if len(sketches) != len(group):
        raise ValueError(f"{len(sketches)} sketches and {len(group)} groups; there must be one for each")


def _low_bits(n_part: int) -> np.uint64:
    return np.uint64((1 << max(1, (n_part - 1).bit_length())) - 1)


def _hashes(part: Part, regime: Regime, group: U64) -> U64:
    """Of each band, its number and the group, uint64 (n_bands, n_part)."""
    hashes = band_windows(part, regime) << np.uint64(64 - KEY_BITS)
    hashes |= np.arange(1, regime.n_bands + 1, dtype=np.uint64)[:, None]
    hashes ^= group * _MIX_1
    for factor in (_MIX_1, _MIX_2):
        hashes ^= hashes >> np.uint64(31)
        hashes *= factor
    hashes ^= hashes >> np.uint64(31)
    return hashes


def _matches(keys: U64, n_part: int, hashes: U64) -> tuple[I64, I64]:
    """Queries and places that share a key, int64 (n_matches,) each; repeats where they share several."""
    low = _low_bits(n_part)
    order = np.argsort(hashes, axis=None)  # neighbours in the array stay in the cache
    wanted = hashes.ravel()[order] & ~low
    first = np.searchsorted(keys, wanted)
    hit = np.flatnonzero((keys.take(first, mode="clip") & ~low) == wanted)
    first = first[hit]
    n_each = np.minimum(np.searchsorted(keys, wanted[hit] | low, side="right") - first, _A_BAND)
    owner, number = followers(n_each)
    place = (keys[first[owner] + number - 1] & low).view(np.int64)
    return order[hit[owner]] % hashes.shape[1], place


def _sorted_distinct(query: I64, entry: I64) -> tuple[I64, I64]:
    pairs = query << 32 | entry
    pairs.sort()
    pairs = pairs[changes(pairs)]
    return pairs >> 32, pairs & 0xFFFFFFFF
