"""The bytes of a batch, read once: one joined buffer, its 8-byte windows, and word hashes with row boundaries.

Third step of the story: `normal.py` makes the form, this module turns a batch of forms into numbers, and the local
classifier (words and pairs of words) and the near-copy sketch (byte windows) read the same `Buffer`.

Hashes are multiply-xor-shift mixes of 64 bits (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014); only their top bits are used, which the last multiplication mixes best. They are part of
every stored model: changing a constant here makes each saved model useless, so `VERSION` must change with it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

VERSION: Final = 1
PAD: Final = 8  # as wide as a window, so that no window reaches into the next row

_MIX_1: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_2: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_MIX_3: Final = np.uint64(0xD6E8FEB86659FD93)
_HALF: Final = np.uint64(32)
_OTHER, _WORD, _MARK, _THREE, _FOUR = range(5)  # three and four are the bytes of a character
_PUNCTUATION: Final = b"\xe2\x80"
_TITLE_END: Final = ord("\n")
_CURLY: Final = "’".encode()

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Buffer:
    """All rows of a batch in one run of bytes, each followed by `PAD` zero bytes.

    Attributes:
        data: uint8 (n_bytes,); begins and ends with `PAD` zero bytes.
        windows: uint64 (n_bytes - 7,), little endian: window i is `data[i:i + 8]`; a view, no copy.
        start: int64 (n_rows + 1,); row i is `data[start[i]:start[i + 1] - PAD]`.
    """

    data: npt.NDArray[np.uint8]
    windows: U64
    start: I64


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a batch in reading order.

    Attributes:
        hashes: uint64 (n_words,).
        start: int64 (n_words,); byte of the buffer at which each word begins.
        first: int64 (n_rows + 1,); row i owns the words `first[i]:first[i + 1]`.
        title: int64 (n_rows,); row i's title is the words `first[i]:title[i]`; `first[i]` where there is no title.
    """

    hashes: U64
    start: I64
    first: I64
    title: I64


def join(form: pl.Series) -> Buffer:
    """Put the rows of a batch into one buffer; null counts as empty and a curly apostrophe as a straight one.

    Args:
        form: String (n_rows,), the normal form.
    """
    rows = form.fill_null("") if form.null_count() else form
    joined = _concatenated(rows)
    start = np.empty(len(rows) + 1, np.int64)
    start[0] = PAD
    np.cumsum(rows.str.len_bytes().to_numpy().astype(np.int64) + PAD, out=start[1:])
    start[1:] += PAD
    curly = _curly_apostrophes(np.frombuffer(joined, np.uint8))
    if len(curly):
        start -= (len(_CURLY) - 1) * np.searchsorted(curly, start)
        begin = [0, *(curly + len(_CURLY)).tolist()]
        joined = b"'".join(joined[a:b] for a, b in zip(begin, [*curly.tolist(), len(joined)], strict=True))
    data = np.frombuffer(joined, np.uint8)
    return Buffer(data, np.ndarray((len(joined) - 7,), "<u8", joined, strides=(1,)), start)


def words(buffer: Buffer) -> Words:
    """Find and hash the words: runs of letters, digits, apostrophes and non-ASCII bytes.

    Runs of `!` and `?` are words too, and so is each character from U+2000 on (ideographs, kana, Hangul, emoji; but not
    general punctuation), so that pairs of words are pairs of characters in scripts that write no spaces. A word of more
    than 16 bytes is known by its first 8, its last 8 and its length.
    """
    start, end = _spans(buffer.data)
    first = np.searchsorted(start, buffer.start)
    title = _title_ends(buffer, start, first)
    return Words(_word_hashes(buffer.windows, start, end), start, first, title)


def pairs(left: U64, right: U64) -> U64:
    """Hash ordered pairs of hashes, uint64 (n,) each; the order counts."""
    mixed = left * np.uint64(3) ^ right * _MIX_2
    mixed ^= mixed >> _HALF
    mixed *= _MIX_3
    return mixed


def field(hashes: U64, number: int) -> U64:
    """Move hashes to a field of their own (title, ending, ...), so that a word there is another feature."""
    return hashes * (_MIX_2 + np.uint64(2 * number))  # an odd factor keeps distinct hashes distinct


def _curly_apostrophes(data: npt.NDArray[np.uint8]) -> I64:
    at = np.flatnonzero(data == _CURLY[0])  # rare bytes: ten times as fast as bytes.replace
    curly: I64 = at[(data[at + 1] == _CURLY[1]) & (data[at + 2] == _CURLY[2])]
    return curly


def _concatenated(rows: pl.Series) -> bytes:
    pad = "\0" * PAD
    if not len(rows):
        return bytes(2 * PAD)
    body: bytes = rows.str.join(pad).cast(pl.Binary).item()
    return b"".join((bytes(PAD), body, bytes(2 * PAD)))


@functools.cache
def _kinds() -> bytes:
    table = bytearray(256)
    for byte in (*range(0x30, 0x3A), *range(0x61, 0x7B), 0x27, *range(0x80, 0x100)):
        table[byte] = _WORD
    for byte in range(0xE2, 0xF0):
        table[byte] = _THREE
    for byte in range(0xF0, 0xF8):
        table[byte] = _FOUR
    table[ord("!")] = table[ord("?")] = _MARK
    return bytes(table)


def _spans(data: npt.NDArray[np.uint8]) -> tuple[I64, I64]:
    """First byte and end of each word, int64 (n_words,) each; the buffer begins and ends outside words."""
    kind = np.frombuffer(bytearray(data.tobytes().translate(_kinds())), np.uint8)
    wide = np.flatnonzero(kind >= _THREE)
    length = kind[wide].astype(np.int64)
    kind[wide] = _WORD
    no_word = wide[(data[wide] == _PUNCTUATION[0]) & (data[wide + 1] == _PUNCTUATION[1])]
    for offset in range(len(_PUNCTUATION) + 1):
        kind[no_word + offset] = _OTHER
    change = kind[1:] != kind[:-1]
    change[wide - 1] = True  # a character that is a word: cut before and after it
    change[wide + length - 1] = True
    edge = np.flatnonzero(change) + 1
    word = np.flatnonzero(kind.take(edge, mode="clip") != _OTHER)
    return edge.take(word, mode="clip"), edge[1:].take(word, mode="clip")


def _word_hashes(windows: U64, start: I64, end: I64) -> U64:
    length = end - start
    keep = np.array([0, *((1 << (8 * k)) - 1 for k in range(1, 9))], np.uint64)
    hashes: U64 = windows[start]
    hashes &= keep.take(length, mode="clip")
    hashes *= _MIX_1
    long = np.flatnonzero(length > 8)
    tail = windows[end[long] - 8] ^ length[long].astype(np.uint64)
    hashes[long] ^= tail * _MIX_2
    hashes ^= hashes >> _HALF
    hashes *= _MIX_3
    return hashes


def _title_ends(buffer: Buffer, start: I64, first: I64) -> I64:
    """Index of the word after the title, int64 (n_rows,); the first line end of a row closes its title."""
    title = first[:-1].copy()
    line = np.flatnonzero(buffer.data == _TITLE_END)[::-1]  # of several in a row, the first is written last
    title[np.searchsorted(buffer.start, line, side="right") - 1] = np.searchsorted(start, line)
    return title
