"""Sketches: what a text is compared by before it is compared letter by letter.

A sketch is a row of bytes that agree between two texts about as often as their n-grams do (one-permutation MinHash: Li,
Owen and Zhang, NeurIPS 2012): the n-grams of a text fall into slots, each slot keeps its smallest, and empty slots
borrow from others (Shrivastava and Li, ICML 2014). Short texts have too few n-grams for one set of slots, so they
use byte trigrams and several sets. Texts near the border have both sketches, so that no pair falls between the two.

Long texts are sampled: the order in which a slot keeps its smallest begins with a one-byte hash that is cheap to
compute for every position, and only the positions where it is low are looked at again. Two texts of unequal length are
sampled at unequal rates and still keep the same n-grams. Measured in `tests/benchmarks/results/near.json`.

Sketches are stored on disk: every constant here is part of the format, and `VERSION` changes with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.text import grams

VERSION: Final = 1
BAND_SLOTS: Final = 3  # slots that must all agree before two texts are compared further


@dataclass(frozen=True, slots=True)
class Regime:
    """How the texts of one range of lengths are sketched.

    Attributes:
        gram_bytes: bytes of an n-gram.
        n_slots: bytes of a sketch, a multiple of 8.
        n_draws: sets of slots, each with a hash of its own; all have `n_slots / n_draws` slots, a power of two.
        shortest: bytes of the shortest text.
        longest: bytes of the longest text.
        agreement: share of the slots that near copies at a ratio of 85 agree in, at least, with few exceptions.
    """

    gram_bytes: int
    n_slots: int
    n_draws: int
    shortest: int
    longest: int
    agreement: float

    @property
    def n_bands(self) -> int:
        """Groups of `BAND_SLOTS` slots in a sketch."""
        return self.n_slots // BAND_SLOTS


# At a ratio of 85 the shorter of two texts has at least .739 of the length of the longer one: 50 / .739 = 67.
LONG: Final = Regime(gram_bytes=5, n_slots=64, n_draws=1, shortest=50, longest=2**62, agreement=0.34)
SHORT: Final = Regime(gram_bytes=3, n_slots=128, n_draws=8, shortest=0, longest=67, agreement=0.38)

_SAMPLE_GRAMS: Final = 128  # of a long text: recall .985 with 64, .990 with 128 and with all (results/near.json)
_BLOCK_BYTES: Final = 1 << 17  # a block's temporaries stay in the second-level cache
_FIRST_BYTE: Final = -64  # as a signed number, any other byte of a character is lower
_EMPTY: Final = 0
_NO_GRAM: Final = np.uint32(0xFFFFFFFF)
_CHEAP: Final = np.uint8(37)
_MIX_1: Final = 0x9E3779B97F4A7C15
_MIX_2: Final = np.uint64(0xD6E8FEB86659FD93)
_STEP: Final = 0xD1342543DE82EF95
_HALF: Final = np.uint64(32)

I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """The sketches of those rows that fall into one regime.

    Attributes:
        row: int64 (n_part,), ascending; which row each sketch belongs to.
        slots: uint8 (n_part, n_slots).
    """

    row: I64
    slots: U8


@dataclass(frozen=True, slots=True)
class Sketches:
    """The sketches of a batch of texts; a row is in one part, or near the border of the regimes in both.

    Attributes:
        length: int32 (n_rows,), characters.
        long: the rows of `LONG`.
        short: the rows of `SHORT`.
    """

    length: I32
    long: Part
    short: Part

    def __len__(self) -> int:
        return len(self.length)

    @property
    def parts(self) -> tuple[tuple[Regime, Part], tuple[Regime, Part]]:
        """Each regime with its part."""
        return (LONG, self.long), (SHORT, self.short)

    @staticmethod
    def concat(sketches: Sequence[Sketches]) -> Sketches:
        """The sketches of consecutive slices as those of the whole."""
        if not sketches:
            return sketch(pl.Series(dtype=pl.String))
        first = np.cumsum([0, *map(len, sketches)])[:-1].tolist()
        return Sketches(
            np.concatenate([one.length for one in sketches]),
            _joined([one.long for one in sketches], first),
            _joined([one.short for one in sketches], first),
        )

    def take(self, rows: I64) -> Sketches:
        """The sketches of some rows, int64 (n_taken,) of distinct row numbers, in that order."""
        return Sketches(self.length[rows], _taken(self.long, rows), _taken(self.short, rows))


def sketch(form: pl.Series, buffer: grams.Buffer | None = None) -> Sketches:
    """Sketch each text; a text's sketch depends on nothing but its own bytes, on any machine.

    Made for slices of some thousand rows, from several threads at once; `Sketches.concat` joins the results.

    Args:
        form: String (n_rows,), the normal form; null counts as empty.
        buffer: `grams.join(form)`, where the caller has made it already.
    """
    buffer = buffer or grams.join(form)
    n_bytes = np.diff(buffer.start) - grams.PAD
    inner = np.flatnonzero(buffer.data.view(np.int8) < _FIRST_BYTE)
    characters = n_bytes - np.diff(np.searchsorted(inner, buffer.start))
    return Sketches(characters.astype(np.int32), _long_part(buffer, n_bytes), _short_part(buffer, n_bytes))


def _long_part(buffer: grams.Buffer, n_bytes: I64) -> Part:
    row = _rows_of(LONG, n_bytes)
    smallest = np.full((len(row), LONG.n_slots), _NO_GRAM)
    for first, end in _blocks(n_bytes) if len(row) else ():
        part = slice(*np.searchsorted(row, (first, end)).tolist())
        _keep_long(buffer, n_bytes, row[part], (first, end), smallest[part])
    return Part(row, _filled(smallest, LONG))


def _short_part(buffer: grams.Buffer, n_bytes: I64) -> Part:
    row = _rows_of(SHORT, n_bytes)
    smallest = np.full((len(row), SHORT.n_slots), _NO_GRAM)
    for first, end in _blocks(n_bytes[row]):
        part = row[first:end]
        _keep_short(buffer, buffer.start[part], n_bytes[part], smallest[first:end])
    return Part(row, _filled(smallest, SHORT))


def _rows_of(regime: Regime, n_bytes: I64) -> I64:
    return np.flatnonzero((n_bytes >= regime.shortest) & (n_bytes <= regime.longest))


def _blocks(n_bytes: I64) -> Iterator[tuple[int, int]]:
    """Cut rows into runs of about `_BLOCK_BYTES`: first row and end of each."""
    block = np.cumsum(n_bytes) // _BLOCK_BYTES
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(block)]
    return ((first, end) for first, end in itertools.pairwise(edges) if first < end)


def _keep_long(buffer: grams.Buffer, n_bytes: I64, row: I64, block: tuple[int, int], smallest: U32) -> None:
    """Lower the slots `smallest` (n_row, n_slots) of the long rows `row` of a block by their sampled n-grams."""
    first, end = block
    edges = buffer.start[first : end + 1]
    cheap = _cheap_hashes(buffer.data[edges[0] : edges[-1] + LONG.gram_bytes], LONG.gram_bytes)[: edges[-1] - edges[0]]
    limit = np.zeros((end - first, 2), np.uint8)  # of a row and of its padding
    limit[row - first, 0] = np.clip(256 * _SAMPLE_GRAMS // n_bytes[row], 1, 255)
    n_places = np.full((end - first, 2), grams.PAD)
    n_places[:, 0] = n_bytes[first:end]
    place = np.flatnonzero(cheap < np.repeat(limit.ravel(), n_places.ravel()))
    n_kept = np.diff(np.searchsorted(place, edges - edges[0]))[row - first]
    order = cheap.take(place, mode="clip").astype(np.uint32) << np.uint32(24)
    mixed = _mixed(buffer.windows[edges[0] : edges[-1]].take(place, mode="clip"), LONG, 0)
    order |= (mixed >> np.uint64(16)).astype(np.uint32) & np.uint32(0xFFFFFF)
    _lower(smallest, np.repeat(np.arange(0, smallest.size, LONG.n_slots), n_kept), mixed, LONG, order)


def _keep_short(buffer: grams.Buffer, start: I64, n_bytes: I64, smallest: U32) -> None:
    """Lower the slots `smallest` (n_row, n_slots) of short rows by all their n-grams."""
    place = np.repeat(start - np.cumsum(n_bytes) + n_bytes, n_bytes)
    place += np.arange(len(place))
    base = np.repeat(np.arange(0, smallest.size, SHORT.n_slots), n_bytes)
    window = buffer.windows[place]  # take would copy all windows first, because they are not aligned
    for draw in range(SHORT.n_draws):
        mixed = _mixed(window, SHORT, draw)
        _lower(smallest, base, mixed, SHORT, (mixed >> np.uint64(16)).astype(np.uint32))
        base += SHORT.n_slots // SHORT.n_draws


def _cheap_hashes(data: U8, gram_bytes: int) -> U8:
    """One byte for each n-gram, uint8 (n_data - gram_bytes + 1,): polynomials modulo 256, 32 at once in a register."""
    n_grams = len(data) - gram_bytes + 1
    cheap = data[:n_grams] * _CHEAP
    for offset in range(1, gram_bytes):
        cheap += data[offset : n_grams + offset]
        cheap *= _CHEAP
    return cheap


def _mixed(window: U64, regime: Regime, draw: int) -> U64:
    """Hash the first bytes of each window; the product loses the others at its upper end."""
    factor = (_MIX_1 + draw * _STEP) << (64 - 8 * regime.gram_bytes)
    mixed: U64 = window * np.uint64(factor % 2**64)
    mixed ^= mixed >> _HALF
    mixed *= _MIX_2
    return mixed


def _lower(smallest: U32, base: I64, mixed: U64, regime: Regime, order: U32) -> None:
    n_bits = (regime.n_slots // regime.n_draws).bit_length() - 1
    slot = (mixed >> np.uint64(64 - n_bits)).view(np.int64)
    slot += base
    np.minimum.at(smallest.reshape(-1), slot, order)


def _filled(smallest: U32, regime: Regime) -> U8:
    """The last byte of each slot's smallest hash, 1 to 255; empty slots take a slot's of the same text, changed."""
    slots = smallest.astype(np.uint8)
    np.maximum(slots, 1, out=slots)
    flat = slots.reshape(-1)
    empty = np.flatnonzero(smallest.reshape(-1) == _NO_GRAM)
    flat[empty] = _EMPTY
    n_slots = regime.n_slots // regime.n_draws
    distance = n_slots // 2
    while len(empty) and distance:
        column = empty & (n_slots - 1)
        lent = flat.take(empty - column + (column + distance & n_slots - 1))
        changed = lent * np.uint8(2 * distance + 1) + np.uint8(distance)
        flat[empty] = np.where(lent == _EMPTY, _EMPTY, np.maximum(changed, 1))
        empty = empty[lent == _EMPTY]
        distance //= 2
    return slots


def _joined(parts: list[Part], first: list[int]) -> Part:
    rows = [part.row + before for part, before in zip(parts, first, strict=True)]
    return Part(np.concatenate(rows), np.concatenate([part.slots for part in parts]))


def _taken(part: Part, rows: I64) -> Part:
    place = np.searchsorted(part.row, rows)
    here = np.flatnonzero(part.row.take(place, mode="clip") == rows) if len(part.row) else np.empty(0, np.int64)
    return Part(here, part.slots[place[here]])
