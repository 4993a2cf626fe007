"""The language of each review, told from lists of common words; none where the lists do not say it clearly.

Stands before `signature.py`, which reads a review with the lists of its own language (`lexicon.py`) and shares no
answer where there is none. So the rule is strict: to leave a review without a language costs a question, to read it
with the lists of another language can cost a wrong label.

The rule, for a row of n words with a letter in them:
- a letter outside the Latin script, or an invisible character inside a word, and the row has no language;
- a word tells every language in whose lists it stands, unless it is listed as shared ("super"); the language with the
  most words is the row's, and two with the same number are none;
- at least `KNOWN_SHARE` of the n words tell it;
- at most `STRANGER_SHARE` of the n words tell others and stand in none of its lists (two languages in one row).
`lexicon.UNLISTED` holds the common words of languages that have no lists. A row that it wins has none.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import numpy.typing as npt

from reviewopt.text.grams import I64, Buffer, Words

NONE: Final = -1

# Chosen on 20,000 distinct reviews each of an Indian shop (very short) and of Amazon, and on 1,000 sentences of news in
# each of 75 languages (the test data of github.com/pemistahl/lingua-py, Apache 2.0). Told as English: 99.1 % and 99.9 %
# of the reviews. Told right: 72 % of the sentences in the listed languages, wrong: .03 %. Told as a listed one: .1 % of
# the sentences in others, most of them English sentences in fact; but 4 % for Catalan and 7 % for Afrikaans. With .4
# four times as many, with .6 a third of them, and 1.3 points fewer of the short reviews. A share of strangers of .1
# costs .9 points of the short reviews and .3 of the others; .3 reads more of what is in two languages.
KNOWN_SHARE: Final = 0.5
STRANGER_SHARE: Final = 0.2

# Letters of other scripts, and private use, by Unicode's blocks: 64 characters a step, as the first two of three bytes
# of UTF-8 tell apart. Symbols and emoji are no letters.
_FOREIGN: Final = (
    (0x0370, 0x1CFF),  # Greek to Vedic
    (0x1F00, 0x1FFF),  # Greek extended
    (0x2C00, 0x2C3F),  # Glagolitic
    (0x2C80, 0x2DFF),  # Coptic to Cyrillic extended
    (0x2E80, 0xFDFF),  # CJK, Hangul, private use, Arabic forms
    (0xFE40, 0xFEFF),  # Arabic forms
    (0x10000, 0x1EFFF),
    (0x20000, 0x10FFFF),
)
# Soft hyphen, zero-width space, non-joiner and joiner, word joiner: with one inside, "not" is a word of no list.
_INVISIBLE: Final = tuple(c.encode() for c in "\u00ad\u200b\u200c\u200d\u2060")

Bools = npt.NDArray[np.bool_]
I8 = npt.NDArray[np.int8]
U16 = npt.NDArray[np.uint16]


def tell(speaks: U16, knows: U16, lettered: Bools, words: Words, out: Bools, unlisted: int) -> I8:
    """Tell the language of each row, int8 (n_rows,): the number of its bit in `speaks`, or `NONE`.

    Args:
        speaks: (n_words,); bit b is set where the word tells language b.
        knows: (n_words,); bit b is set where language b lists the word, telling or not.
        lettered: (n_words,); the word has a letter.
        words: of the batch.
        out: (n_rows,); rows that have no language whatever their words.
        unlisted: the bit of `lexicon.UNLISTED`.
    """
    n_letters = _per_row(lettered, words.first)
    n_bits = max(int(speaks.max(initial=0)).bit_length(), 1)
    hits = np.stack([_per_row((speaks >> bit) & 1, words.first) for bit in range(n_bits)])
    best = hits.argmax(axis=0)
    most = hits.max(axis=0)
    of_row = np.repeat(np.uint16(1) << best.astype(np.uint16), np.diff(words.first))
    strangers = _per_row((speaks != 0) & (knows & of_row == 0), words.first)
    told = (most > 0) & (best != unlisted) & ((hits == most).sum(axis=0) == 1) & ~out
    told &= (most >= KNOWN_SHARE * n_letters) & (strangers <= STRANGER_SHARE * n_letters)
    return np.where(told, best, NONE).astype(np.int8)


def outside(buffer: Buffer) -> Bools:
    """Say which rows hold a letter outside the Latin script, or an invisible character in a word; bool (n_rows,)."""
    lead = np.flatnonzero(buffer.data >= 0xC2)
    pair = buffer.data[lead].astype(np.uint16) << 8 | buffer.data[lead + 1]
    at = lead[_foreign_pairs()[pair]]
    hidden = [_inside_word(buffer, lead, mark) for mark in _INVISIBLE]
    rows = np.zeros(len(buffer.start) - 1, np.bool_)
    rows[np.searchsorted(buffer.start, np.concatenate([at, *hidden]), side="right") - 1] = True
    return rows


def _per_row(of_word: npt.NDArray[np.generic], first: I64) -> npt.NDArray[np.int32]:
    total = np.zeros(len(of_word) + 1, np.int32)
    np.cumsum(of_word, out=total[1:])
    return total[first[1:]] - total[first[:-1]]


def _inside_word(buffer: Buffer, lead: I64, mark: bytes) -> I64:
    at = lead
    for offset, byte in enumerate(mark):
        at = at[buffer.data[at + offset] == byte]
    before, after = buffer.data[at - 1], buffer.data[at + len(mark)]
    return at[(before >= ord("a")) & (before <= ord("z")) & (after >= ord("a")) & (after <= ord("z"))]


@functools.cache
def _foreign_pairs() -> Bools:
    """Which first two bytes of a character are a letter of another script; bool (65536,)."""
    table = np.zeros(1 << 16, np.bool_)
    for first, last in _FOREIGN:
        for point in range(first, last + 1, 1 if first < 0x800 else 64):
            if not 0xD800 <= point <= 0xDFFF:  # surrogates are no characters
                lead, second = chr(point).encode()[:2]
                table[lead << 8 | second] = True
    return table
