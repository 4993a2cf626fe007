"""The signature of a review: the negations, numbers, antonyms and intensifiers in it, in their order.

Between `normal.py` and every place that lets near copies share an answer (dedup and the similar tiers): two texts share
nothing unless their signatures are equal. A difference that says nothing costs one question; an equality that hides a
"not" costs a wrong label, so every doubt makes signatures differ.

What counts, in reading order, title first:
- a negation, bound to the next two words that are no fillers, and an intensifier, bound to the next one: "the case is
  not sturdy, the phone is" is not "the case is sturdy, the phone is not", though no list knows "sturdy";
- every listed antonym, and every word with a prefix or suffix that negates ("unfit", "useless"), as itself;
- every word with a digit, with the sign or point that touches it; listed number words; $, % and *;
- question marks, emoticons, and every symbol and emoji (a thumb, a heart, a star), as itself;
- a word with a letter three times in a row ("sooo"), and a word that tells another language, as itself.
Other words count for nothing, so that fillers, names and typos in nouns leave a signature as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from reviewopt.text import grams, language
from reviewopt.text.grams import I64, U64, Buffer, Words
from reviewopt.text.language import I8, NONE, Bools
from reviewopt.text.lexicon import COUNTED, FILLER, INTENSIFIER, NEGATION, U8, Lexicon
from reviewopt.text.lexicon import load as load_lexicon

__all__ = ["VERSION", "Lexicon", "Signatures", "alike", "load_lexicon", "sign"]

VERSION: Final = 1

_STEM: Final = 5  # bytes of a bound word of no list that count: its ending and most typos do not
_WIDE: Final = 0xE2  # first byte of a symbol or emoji, which is a word by itself
_SKIN: Final = (0xF0, 0x9F, 0x8F, 0xBB)  # skin tones, which are modifiers
_SELECTORS: Final = 0xEF  # variation selectors
_QUESTION: Final = np.uint64(0x3F3F3F3F3F3F3F3F)
_NEGATED, _INTENSE, _NUMBER, _GLYPH = range(1, 5)  # fields of their own, so that no token is another's


@dataclass(frozen=True, slots=True)
class Signatures:
    """The signatures of a batch; the same on every machine for one `VERSION` and `Lexicon.digest`.

    Attributes:
        value: uint64 (n_rows,); 0 where no language is told.
        language: int8 (n_rows,); index into `Lexicon.languages`, -1 where none is told.
    """

    value: U64
    language: I8


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is known of each word of a batch, (n_words,) each but for `stop`.

    Attributes:
        stop: int64 (n_stops,); every byte that can end a word.
        digits: bool; has a digit.
        letters: bool; has letters and no digit.
        language: int8; of its row.
        column: int64; of the lexicon.
    """

    buffer: Buffer
    words: Words
    stop: I64
    digits: Bools
    letters: Bools
    language: I8
    column: I64

    def ends(self, start: I64) -> I64:
        """First byte after the words that begin there with a letter or a digit, int64 (n,)."""
        return self.stop[np.searchsorted(self.stop, start)]


def sign(form: pl.Series, lexicon: Lexicon) -> Signatures:
    """Give each review its signature; a row's does not depend on the rows beside it.

    Args:
        form: String (n_rows,), the normal form; null counts as empty.
        lexicon: from `load_lexicon`.
    """
    batch, told = _read(_without_edge_apostrophes(grams.join(form)), lexicon)
    start, data = batch.words.start, batch.buffer.data
    kind = _kinds(batch, lexicon)
    tokens = batch.words.hashes.copy()
    usual = lexicon.spelled[batch.language, batch.column]
    np.copyto(tokens, usual, where=usual != 0)
    _bind(batch, kind, tokens)
    numbers = np.flatnonzero(batch.digits)
    tokens[numbers] = _numbers(batch, numbers)
    questions = _holding(batch.words, np.flatnonzero(data == ord("?")))
    tokens[questions] = _QUESTION
    counted = np.flatnonzero((kind & (COUNTED | NEGATION | INTENSIFIER) != 0) | questions)
    value = _chained(batch.buffer, start[counted], tokens[counted])
    value[told == NONE] = 0
    return Signatures(value, told)


def alike(left: Signatures, right: Signatures) -> Bools:
    """Say of each pair of rows whether they may share an answer, bool (n_rows,): told, one language, equal values."""
    may: Bools = (left.language != NONE) & (left.language == right.language)
    may &= left.value == right.value
    return may


def _without_edge_apostrophes(buffer: Buffer) -> Buffer:
    """Blank what is no letter of its word: apostrophes at an edge, and the marks that people write for them inside.

    A grave accent parts "don" and "t"; so do an acute (NFKC makes it a space and U+0301) and a modifier (U+02BC) then.
    """
    data = np.array(buffer.data)
    apostrophe = np.flatnonzero(data == ord("'"))
    outside = ~_in_words()
    after_symbol = (data[apostrophe - 3] >= _WIDE) | (data[apostrophe - 4] >= _SKIN[0])
    edge = outside[data[apostrophe - 1]] | outside[data[apostrophe + 1]] | after_symbol
    data[apostrophe[edge]] = ord(" ")
    for first, second in (b"\xcc\x81", b"\xca\xbc"):
        at = np.flatnonzero(buffer.data == first)
        at = at[buffer.data[at + 1] == second]
        data[at] = data[at + 1] = ord(" ")
    return Buffer(data, np.ndarray((len(data) - 7,), "<u8", data, strides=(1,)), buffer.start)


def _read(buffer: Buffer, lexicon: Lexicon) -> tuple[_Batch, I8]:
    """The words of a batch, and the language of each row, int8 (n_rows,)."""
    words = grams.words(buffer)
    column = lexicon.find(words.hashes)
    opening = buffer.data[words.start]
    digits = _holding(words, np.flatnonzero(_is_digit(buffer.data)))
    letters = ~digits & (opening < _WIDE) & (opening != ord("!")) & (opening != ord("?"))
    out, unlisted = language.outside(buffer), len(lexicon.languages)
    told = language.tell(lexicon.speaks[column], lexicon.knows[column], letters, words, out, unlisted)
    table = ~_in_words()
    table[ord("'")] = False
    stop = np.flatnonzero(table[buffer.data])
    return _Batch(buffer, words, stop, digits, letters, np.repeat(told, np.diff(words.first)), column), told


def _in_words() -> Bools:
    table = np.zeros(256, np.bool_)
    table[[*b"0123456789abcdefghijklmnopqrstuvwxyz"]] = True
    table[0x80:_WIDE] = True  # of letters beyond ASCII
    return table


def _is_digit(data: U8) -> Bools:
    return (data >= ord("0")) & (data <= ord("9"))


def _among(data: U8, some: bytes) -> Bools:
    table = np.zeros(256, np.bool_)
    table[[*some]] = True
    return table[data]


def _holding(words: Words, position: I64) -> Bools:
    """Which words hold one of these bytes, all of them inside words; bool (n_words,)."""
    holds = np.zeros(len(words.start), np.bool_)
    holds[np.searchsorted(words.start, position, side="right") - 1] = True
    return holds


def _kinds(batch: _Batch, lexicon: Lexicon) -> U8:
    """What each word is, uint8 (n_words,): by the lists, a prefix or a suffix, or as a number, a symbol, a "sooo"."""
    kind = lexicon.kinds[batch.language, batch.column]
    known = lexicon.knows[batch.column] >> np.maximum(batch.language, 0).astype(np.uint16) & 1
    kind[(known == 0) & (lexicon.speaks[batch.column] != 0)] |= COUNTED
    unlisted = np.flatnonzero((batch.column == len(lexicon.words) - 1) & batch.letters & (batch.language != NONE))
    start = batch.words.start[unlisted]
    end = batch.ends(start)
    of = batch.language[unlisted]
    present = np.bincount(of, minlength=len(lexicon.languages))
    for affixes in lexicon.affixes:
        if present[affixes.language]:
            fits = affixes.fits(batch.buffer.windows, start, end) & (of == affixes.language)
            kind[unlisted[fits]] |= affixes.kind
    kind[batch.digits | _symbols(batch.buffer, batch.words) | _stretched(batch.buffer, batch.words)] |= COUNTED
    return kind


def _symbols(buffer: Buffer, words: Words) -> Bools:
    """Which words are a symbol or an emoji that says something, bool (n_words,)."""
    symbol: Bools = buffer.data[words.start] >= _WIDE
    at = np.flatnonzero(symbol)
    byte = [buffer.data[words.start[at] + offset] for offset in range(4)]
    skin = (byte[0] == _SKIN[0]) & (byte[1] == _SKIN[1]) & (byte[2] == _SKIN[2]) & (byte[3] >= _SKIN[3])
    symbol[at] = ~skin & (byte[0] != _SELECTORS)
    return symbol


def _stretched(buffer: Buffer, words: Words) -> Bools:
    """Which words hold a letter three times in a row, bool (n_words,)."""
    data = buffer.data
    twice = np.flatnonzero(data[:-1] == data[1:])
    letter = (data[twice] >= ord("a")) & (data[twice] <= ord("z"))
    twice = twice[letter]
    return _holding(words, twice[data[twice + 2] == data[twice]])


def _bind(batch: _Batch, kind: U8, tokens: U64) -> None:
    """Bind the tokens of intensifiers to the next word that is no filler, and those of negations to the next two."""
    content = np.flatnonzero(batch.letters & (kind & FILLER == 0))
    content = np.append(content, len(tokens))
    alone = tokens.copy()
    for bit, field, reach in ((INTENSIFIER, _INTENSE, 1), (NEGATION, _NEGATED, 2)):
        binds = np.flatnonzero(kind & bit)
        first = batch.words.first
        last = first[np.searchsorted(first, binds, side="right")]
        bound = grams.field(tokens[binds], field)
        after = np.searchsorted(content, binds, side="right")
        for step in range(reach):
            word = content.take(after + step, mode="clip")
            inside = np.flatnonzero(word < last)
            stem = np.zeros(len(binds), np.uint64)
            stem[inside] = np.where(kind[word[inside]] != 0, alone[word[inside]], _stems(batch, word[inside]))
            bound = grams.pairs(bound, stem)
        tokens[binds] = bound


def _stems(batch: _Batch, some: I64) -> U64:
    """The first bytes of words, uint64 (n,)."""
    start = batch.words.start[some]
    length = np.minimum(batch.ends(start) - start, _STEM)
    keep = np.array([(1 << 8 * n) - 1 for n in range(_STEM + 1)], np.uint64)
    stem: U64 = batch.buffer.windows[start] & keep[length]
    return stem


def _numbers(batch: _Batch, some: I64) -> U64:
    """Tokens of words with a digit, uint64 (n,): with the sign or point that touches them."""
    data, start = batch.buffer.data, batch.words.start[some]
    end = batch.ends(start)
    before, after = data[start - 1], data[end]
    before = np.where(_among(before, b"-+#<>~=^./\x93\x94"), before, 0)  # the last two end dashes
    joins = _among(after, b".,:/-") & _is_digit(data[end + 1])
    after = np.where(joins | (after == ord("+")), after, 0)
    touching: U64 = before.astype(np.uint64) << np.uint64(8) | after
    return grams.pairs(grams.field(batch.words.hashes[some], _NUMBER), touching)


def _glyphs(buffer: Buffer) -> tuple[I64, U64]:
    """Position and token of each glyph that is no word: $, %, *, and the mouths of emoticons."""
    data = buffer.data
    single = np.flatnonzero((data == ord("$")) | (data == ord("%")) | (data == ord("*")))
    eyes = np.flatnonzero((data == ord(":")) | (data == ord(";")) | (data == ord("=")))
    mouth = eyes + 1 + _among(data[eyes + 1], b"-^'")
    drawn = _among(data[mouth], b"()[]{}|/\\@<>")
    letter = _among(data[mouth], b"dpcx3o") & ~_in_words()[data[mouth + 1]]
    forward = drawn | letter
    backward = _among(data[eyes - 1], b"()[]")
    position = np.concatenate([single, eyes[forward], eyes[backward]])
    shape = np.concatenate([data[single], data[mouth[forward]], data[eyes[backward] - 1] ^ np.uint8(0x80)])
    return position, grams.field(shape.astype(np.uint64), _GLYPH)


def _chained(buffer: Buffer, position: I64, tokens: U64) -> U64:
    """One value a row of the tokens in their order, uint64 (n_rows,)."""
    glyph, glyph_token = _glyphs(buffer)
    if len(glyph):
        position, tokens = np.concatenate([position, glyph]), np.concatenate([tokens, glyph_token])
        order = np.argsort(position, kind="stable")
        position, tokens = position[order], tokens[order]
    first = np.searchsorted(position, buffer.start)
    count = np.diff(first)
    rank = np.arange(len(position)) - np.repeat(first[:-1], count)
    placed = grams.pairs(tokens, rank.astype(np.uint64))
    total = np.zeros(len(placed) + 1, np.uint64)
    np.cumsum(placed, out=total[1:])
    return grams.pairs(total[first[1:]] - total[first[:-1]], count.astype(np.uint64))
