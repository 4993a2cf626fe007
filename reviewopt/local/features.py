"""What the local classifier looks at: the buckets of a batch's words, pairs, titles and endings.

Training and prediction both read this module, so that they cannot drift apart. A feature is a hash cut to a bucket of
one table (Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009): the first `2**word_bits`
buckets are kept for single words, so that "has the model seen this word" is not blurred by collisions with pairs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.text import grams

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

_NEGATORS: Final = (
    "not no never nor cannot without hardly nothing ain't aren't can't couldn't didn't doesn't don't hadn't hasn't "
    "haven't isn't shouldn't wasn't weren't won't wouldn't cant couldnt didnt doesnt dont isnt wasnt wont wouldnt"
)
_REACH: Final = 3  # words after a negator that are marked (after Das and Chen, "Yahoo! for Amazon", 2001, who mark all)
_TITLE, _NEGATED = 1, 2


@dataclass(frozen=True, slots=True)
class Plan:
    """Which features there are, and how many buckets.

    Attributes:
        fields: of `pairs`, `title`, `negated`, besides the words, which are always there.
        word_bits: log2 of the buckets for words.
        pair_bits: log2 of the buckets for everything else.
    """

    fields: tuple[str, ...]
    word_bits: int
    pair_bits: int

    @property
    def n_buckets(self) -> int:
        """All buckets, words first."""
        return (1 << self.word_bits) + (1 << self.pair_bits)


@dataclass(frozen=True, slots=True)
class Segment:
    """Features of one kind: row i has `bucket[first[i]:end[i]]`.

    Attributes:
        bucket: int64 (n_features,), below `Plan.n_buckets`; may hold features that belong to no row.
        first: int64 (n_rows,).
        end: int64 (n_rows,), never below `first`.
    """

    bucket: I64
    first: I64
    end: I64


def segments(buffer: grams.Buffer, plan: Plan) -> list[Segment]:
    """Find the features of a batch; the first segment is the words."""
    words = grams.words(buffer)
    first, last = words.first[:-1], words.first[1:]
    pairs = grams.pairs(words.hashes[:-1], words.hashes[1:])
    bucket = _cut(words.hashes, plan.word_bits)
    found = [_distinct(bucket, first, last, plan.word_bits)]
    if "pairs" in plan.fields:
        found.append(_run(pairs, first, last - 1, plan))
    if "title" in plan.fields:
        found += _in_field(words.hashes, pairs, first, words.title, _TITLE, plan)
    if "negated" in plan.fields:
        found.append(_after_negators(words.hashes, bucket, last, plan))
    return found


def counts(found: list[Segment]) -> I64:
    """Features of each row, int64 (n_rows,)."""
    each: list[I64] = [segment.end - segment.first for segment in found]
    total: I64 = np.sum(each, axis=0, dtype=np.int64)
    return total


def indices(first: I64, end: I64) -> I64:
    """All `first[i], ..., end[i] - 1` one after the other, int64 (sum(end - first),)."""
    length = end - first
    offset: I64 = first - np.cumsum(length) + length
    index: I64 = np.repeat(offset, length)
    index += np.arange(len(index))
    return index


def _run(hashes: U64, first: I64, end: I64, plan: Plan) -> Segment:
    """Features that begin at each word of a row but its last one; none in a row of one word."""
    first = np.minimum(first, len(hashes))
    return Segment(_pair_bucket(hashes, plan), first, np.maximum(end, first))


def _in_field(words: U64, pairs: U64, first: I64, end: I64, number: int, plan: Plan) -> list[Segment]:
    """The words and pairs of one part of each row, as features of their own."""
    return [
        _picked(words, first, end, lambda hashes: _pair_bucket(grams.field(hashes, number), plan)),
        _picked(
            pairs, first, np.maximum(end - 1, first), lambda hashes: _pair_bucket(grams.field(hashes, number), plan)
        ),
    ]


def _distinct(bucket: I64, first: I64, end: I64, bits: int) -> Segment:
    """Each bucket of a row once: presence measured better than counts (as in Pang and others, EMNLP 2002)."""
    rows = np.arange(len(first)) << bits
    kind = np.uint32 if len(first) << bits <= 1 << 32 else np.uint64  # half as wide sorts twice as fast
    row: npt.NDArray[np.unsignedinteger[Any]] = rows.astype(kind)
    cell = np.repeat(row, end - first)
    cell |= bucket.astype(kind)
    cell.sort()
    new = np.ones(len(cell), np.bool_)
    np.not_equal(cell[1:], cell[:-1], out=new[1:])
    cell = cell.take(np.flatnonzero(new), mode="clip")
    edge = np.append(np.searchsorted(cell, row), len(cell))
    return Segment((cell & kind((1 << bits) - 1)).astype(np.int64), edge[:-1], edge[1:])


def _after_negators(hashes: U64, bucket: I64, last: I64, plan: Plan) -> Segment:
    """The words within reach of a negator, once for each negator that reaches them."""
    negator = np.flatnonzero(_is_negator(plan.word_bits).take(bucket, mode="clip"))
    row = np.repeat(np.searchsorted(last, negator, side="right"), _REACH)
    at = (negator[:, None] + np.arange(1, _REACH + 1)).ravel()
    inside = at < last[row]
    stop = np.searchsorted(row[inside], np.arange(len(last)), side="right")
    first = np.concatenate([[0], stop[:-1]]) if len(stop) else stop
    return Segment(_pair_bucket(grams.field(hashes[at[inside]], _NEGATED), plan), first, stop)


@functools.cache
def _is_negator(word_bits: int) -> npt.NDArray[np.bool_]:
    """Whether a bucket for words is a negator's, bool (2**word_bits,)."""
    table = np.zeros(1 << word_bits, np.bool_)
    table[_cut(grams.words(grams.join(pl.Series([_NEGATORS]))).hashes, word_bits)] = True
    return table


def _picked(hashes: U64, first: I64, end: I64, bucket: Callable[[U64], I64]) -> Segment:
    stop = np.cumsum(end - first)
    return Segment(bucket(hashes.take(indices(first, end), mode="clip")), stop - (end - first), stop)


def _pair_bucket(hashes: U64, plan: Plan) -> I64:
    bucket = _cut(hashes, plan.pair_bits)
    bucket += 1 << plan.word_bits
    return bucket


def _cut(hashes: U64, bits: int) -> I64:
    return (hashes >> np.uint64(64 - bits)).view(np.int64)
