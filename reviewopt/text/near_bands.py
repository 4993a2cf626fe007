"""What pairs and lookups of near copies share: band keys, and the two filters that cost less than reading the texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from reviewopt.text.sketch import BAND_SLOTS, I32, I64, U8, U64, Part, Regime

LOWEST_THRESHOLD: Final = 70.0
HIGHEST_THRESHOLD: Final = 100.0
KEY_BITS: Final = 8 * BAND_SLOTS

# One edit of a very short text changes a larger share of its n-grams.
_TINY: Final = 25  # characters
_TINY_AGREEMENT: Final = 0.30
_CHUNK: Final = 8192  # pairs compared at once: their sketches stay in the second-level cache
_ONES: Final = np.uint64(0x0101010101010101)
_TOP_BYTE: Final = np.uint64(56)


@dataclass(frozen=True, slots=True)
class Filter:
    """What a pair must satisfy before its texts are read.

    Attributes:
        length_ratio: of the shorter text to the longer one, at least; no pair of the threshold's ratio has less.
        strictness: 1 at a threshold of 85; factor of the share of slots that must agree.
    """

    length_ratio: float
    strictness: float

    @staticmethod
    def of(threshold: float) -> Filter:
        """The filter for a ratio of at least `threshold`, 70 to 100.

        Raises:
            ValueError: the threshold is outside that range.
        """
        if not LOWEST_THRESHOLD <= threshold <= HIGHEST_THRESHOLD:
            raise ValueError(f"threshold {threshold:g}; it must be from {LOWEST_THRESHOLD:g} to {HIGHEST_THRESHOLD:g}")
        ratio = threshold / 100
        # ratio = 2 * common / (shorter + longer) and common <= shorter; a little less, for the rounding of floats
        return Filter(ratio / (2 - ratio) - 1e-9, (ratio - 0.5) / 0.35)

    def passing(self, regime: Regime, agreed: U8, left: I32, right: I32) -> npt.NDArray[np.bool_]:
        """Whether pairs agree in enough slots, bool (n_pairs,).

        Args:
            regime: that of the sketches.
            agreed: uint8 (n_pairs,), slots in which they agree.
            left: int32 (n_pairs,), characters of one text.
            right: int32 (n_pairs,), characters of the other.
        """
        least = regime.n_slots * self.strictness
        tiny = np.minimum(left, right) < _TINY
        return agreed >= np.where(tiny, _TINY_AGREEMENT * least, regime.agreement * least)


def band_windows(part: Part, regime: Regime) -> U64:
    """Eight bytes from the start of each band on, uint64 (n_bands, n_part); the first `BAND_SLOTS` are the band's own.

    The bytes after the last slot are zero.
    """
    n_part = len(part.slots)
    padded = np.zeros((n_part, regime.n_slots + 8), np.uint8)
    padded[:, : regime.n_slots] = part.slots
    windows = np.ndarray(
        (regime.n_bands, n_part), "<u8", padded.data, strides=(BAND_SLOTS, regime.n_slots + 8)
    )  # a view that no index leaves: a band begins at most n_slots - 3 bytes into its row
    return np.ascontiguousarray(windows, np.uint64)


def agreement(left: U8, left_row: I64, right: U8, right_row: I64) -> U8:
    """In how many slots each pair agrees, uint8 (n_pairs,).

    Args:
        left: uint8 (n_left, n_slots).
        left_row: int64 (n_pairs,).
        right: uint8 (n_right, n_slots).
        right_row: int64 (n_pairs,).
    """
    agreed = np.empty(len(left_row), np.uint8)
    for first in range(0, len(left_row), _CHUNK):
        some = slice(first, first + _CHUNK)
        equal = (left.take(left_row[some], axis=0) == right.take(right_row[some], axis=0)).view(np.uint64)
        lanes = equal[:, 0].copy()
        for column in range(1, equal.shape[1]):
            lanes += equal[:, column]  # eight counts in one number: none exceeds n_slots / 8
        agreed[some] = lanes * _ONES >> _TOP_BYTE
    return agreed


def alike_in_length(left: I32, right: I32, least: float) -> npt.NDArray[np.bool_]:
    """Whether the shorter of each pair has at least the share `least` of the longer one's characters."""
    return np.minimum(left, right) >= least * np.maximum(left, right)


def followers(n_each: I64) -> tuple[I64, I64]:
    """Expand counts: for each of `n_each[i]` followers its i, and its number from 1 on, int64 (sum of n_each,) each."""
    owner = np.repeat(np.arange(len(n_each)), n_each)
    number = np.arange(1, len(owner) + 1) - (np.cumsum(n_each) - n_each)[owner]
    return owner, number


def changes(values: U64 | I64) -> npt.NDArray[np.bool_]:
    """Whether each value differs from the one before it, bool (n_values,); the first does."""
    differs = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=differs[1:])
    return differs


def ranks(values: I64) -> I64:
    """How many equal values stand before each in a sorted array, int64 (n_values,)."""
    first = np.flatnonzero(changes(values))
    n_each = np.diff(np.append(first, len(values)))
    return np.arange(len(values)) - np.repeat(first, n_each)
