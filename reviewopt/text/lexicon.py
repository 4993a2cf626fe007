"""The word lists of all languages (configs/languages), as arrays to look the words of a batch up in.

Stands before `language.py`, which tells a review's language by them, and `signature.py`, which reads it with them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.config import packaged
from reviewopt.data import Frozen
from reviewopt.errors import InputError
from reviewopt.text import grams
from reviewopt.text.grams import I64, U64
from reviewopt.text.normal import normalise_field

UNLISTED: Final = "und"  # BCP 47: undetermined

# What a word is in one language, as bits of `Lexicon.kinds`.
COUNTED: Final = 1
NEGATION: Final = 2
INTENSIFIER: Final = 4
FILLER: Final = 8
PLAIN: Final = 16

_STEM_BYTES: Final = 3  # beside a prefix or suffix, so that "unit" and "inch" have none; "n't" also ends "don't"
_NEEDED: Final = ("sources", "negations", "intensifiers", "numbers", "antonyms", "fillers", "common")

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
Texts = tuple[str, ...]


class WordLists(Frozen, frozen=True, kw_only=True):
    """The lists of one language (a file of configs/languages); each string holds words between spaces, in normal form.

    `antonyms` are groups of opposites, sides parted by "|"; of a pair of very frequent words one side can be
    `unmarked`: it does not count, as the other does. `prefixes`, `suffixes` and `negating` (suffixes) make any longer
    word count, but for the `plain` ones. Each of `spellings` is a word and other ways to write it, which count as it
    does. `fillers` are skipped where a negation is bound to the next words. `common` words only tell the language;
    `shared` words stand in another list and do not tell it.
    """

    language: str
    name: str
    sources: Texts
    common: Texts
    negations: Texts = ()
    intensifiers: Texts = ()
    numbers: Texts = ()
    antonyms: Texts = ()
    unmarked: Texts = ()
    prefixes: Texts = ()
    suffixes: Texts = ()
    negating: Texts = ()
    plain: Texts = ()
    spellings: Texts = ()
    fillers: Texts = ()
    shared: Texts = ()


@dataclass(frozen=True, slots=True)
class Affixes:
    """Prefixes or suffixes of one length that make any longer word of one language count.

    Attributes:
        language: index into `Lexicon.languages`.
        kind: what they make of the word.
        at_end: suffixes.
        n_bytes: their length.
        values: uint64 (n,), sorted: their bytes as the lower part of a window.
    """

    language: int
    kind: int
    at_end: bool
    n_bytes: int
    values: U64

    def fits(self, windows: U64, start: I64, end: I64) -> npt.NDArray[np.bool_]:
        """Which words have one, bool (n,), by their first bytes and their ends, int64 (n,) each."""
        mask = np.uint64((1 << 8 * self.n_bytes) - 1)
        part = windows[end - self.n_bytes if self.at_end else start] & mask
        has: npt.NDArray[np.bool_] = self.values.take(np.searchsorted(self.values, part), mode="clip") == part
        has &= end - start >= self.n_bytes + (1 if self.kind == NEGATION else _STEM_BYTES)
        return has


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The word lists of all languages.

    Attributes:
        languages: BCP 47 tags in order; `UNLISTED` is not among them.
        digest: 64 bits of all lists; another one means that signatures stored with it are stale.
        words: uint64 (n_words + 1,), sorted hashes of every listed word, and the highest number as a sentinel.
        bucket: int64 (65536,); where in `words` the hashes with these upper 16 bits begin.
        depth: most hashes in one bucket.
        kinds: uint8 (n_languages + 1, n_words + 1); what a word is in a language. The last row is a language that was
            not told, the last column a word that no list holds: both 0.
        spelled: uint64, the same shape; the hash of the usual spelling of a word, 0 where it is its own.
        knows: uint16 (n_words + 1,); bit b is set where language b lists the word; the last bit is `UNLISTED`.
        speaks: uint16 (n_words + 1,); bit b is set where the word tells language b: it lists it, and not as `shared`.
        affixes: of all languages, for words of no list.
    """

    languages: tuple[str, ...]
    digest: int
    words: U64
    bucket: I64
    depth: int
    kinds: U8
    spelled: U64
    knows: U16
    speaks: U16
    affixes: tuple[Affixes, ...]

    def find(self, hashes: U64) -> I64:
        """Columns of the arrays for hashes of words, int64 (n,)."""
        at: I64 = self.bucket[hashes >> np.uint64(48)]
        for _ in range(self.depth):
            at += self.words[at] < hashes
        at[self.words[at] != hashes] = len(self.words) - 1
        return at


def load(folder: Path | None = None) -> Lexicon:
    """Read the word lists of all languages; the packaged ones without a folder.

    Raises:
        InputError: a list cannot be read, is empty, or holds something that is not one word in normal form.
    """
    folder = packaged("configs", "languages") if folder is None else folder
    lists = sorted((_read(path) for path in folder.glob("*.toml")), key=lambda each: each.language)
    unlisted = [each for each in lists if each.language == UNLISTED]
    if not unlisted or not 2 <= len(lists) <= 16:
        raise InputError(f"{folder}: needs the lists of {UNLISTED} and 1 to 15 languages; install the package again")
    return _lexicon([*(each for each in lists if each.language != UNLISTED), *unlisted])


def _read(path: Path) -> WordLists:
    try:
        lists = msgspec.toml.decode(path.read_bytes(), type=WordLists)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: no valid word lists: {error}; configs/languages/en.toml shows the form") from error
    empty = [name for name in _NEEDED if lists.language != UNLISTED and not _words(getattr(lists, name))]
    if empty:
        raise InputError(f"{path}: no valid word lists: nothing in {', '.join(empty)}")
    if lists.language != path.stem:
        raise InputError(f"{path}: no valid word lists: they say {lists.language}, the file's name says {path.stem}")
    spelled = sorted({*_flags(lists), *_words((*lists.shared, *lists.unmarked))})
    normal = normalise_field(pl.Series(spelled, dtype=pl.String)).to_list()
    n_words = np.diff(grams.words(grams.join(pl.Series(spelled, dtype=pl.String))).first)
    checked = zip(spelled, normal, n_words, strict=True)
    wrong = [word for word, folded, n in checked if word != folded or n != 1 or word.strip("'") != word]
    wrong += [part for part in _words((*lists.prefixes, *lists.suffixes, *lists.negating)) if len(part.encode()) > 8]
    if wrong:
        raise InputError(
            f"{path}: not one word in normal form, or an affix of more than 8 bytes: {', '.join(wrong[:5])}"
        )
    return lists


def _words(texts: Texts) -> list[str]:
    return [word for text in texts for word in text.split() if word != "|"]


def _flags(lists: WordLists) -> dict[str, int]:
    """What each word of a language is, by its spelling."""
    unmarked = set(_words(lists.unmarked))
    flags = dict.fromkeys(_words(lists.common), 0)
    kinds = (
        (0, [word for word in _words(lists.antonyms) if word in unmarked]),
        (COUNTED, [*_words(lists.numbers), *(word for word in _words(lists.antonyms) if word not in unmarked)]),
        (NEGATION, _words(lists.negations)),
        (INTENSIFIER, _words(lists.intensifiers)),
        (FILLER, _words(lists.fillers)),
        (PLAIN, _words(lists.plain)),
    )
    for kind, words in kinds:
        for word in words:
            flags[word] = flags.get(word, 0) | kind
    for usual, *others in filter(None, map(str.split, lists.spellings)):
        for word in (usual, *others):
            flags[word] = flags.get(word, 0) | flags.get(usual, 0)
    return flags


def _lexicon(lists: list[WordLists]) -> Lexicon:
    """Build the arrays; the last of the lists is `UNLISTED`'s."""
    flags = [_flags(each) for each in lists]
    spelled = sorted(set().union(*flags))
    hashes = _hashes(spelled)
    order = np.argsort(hashes)
    hashes, spelled = np.append(hashes[order], ~np.uint64(0)), [spelled[i] for i in order]
    edges = np.append(np.arange(1 << 16, dtype=np.uint64) << np.uint64(48), hashes[-1])
    bucket = np.searchsorted(hashes, edges)
    affixes = tuple(affix for number, each in enumerate(lists[:-1]) for affix in _affixes(number, each))
    column = {word: at for at, word in enumerate(spelled)}
    buffer = grams.join(pl.Series(spelled, dtype=pl.String))
    kinds = np.zeros((len(lists), len(hashes)), np.uint8)
    usual = np.zeros((len(lists), len(hashes)), np.uint64)
    knows, speaks = np.zeros((2, len(hashes)), np.uint16)
    for number, (each, flagged) in enumerate(zip(lists, flags, strict=True)):
        listed = np.array([column[word] for word in flagged], np.int64)
        knows[listed] |= 1 << number
        speaks[[column[word] for word in flagged.keys() - set(_words(each.shared))]] |= 1 << number
        if each.language != UNLISTED:
            kinds[number, listed] = list(flagged.values())
            _add_affixes(kinds[number, :-1], number, buffer, affixes)
            _spell(usual[number], each, column)
    tags = tuple(each.language for each in lists[:-1])
    depth = int(np.diff(bucket).max())
    return Lexicon(tags, _digest(lists), hashes, bucket[:-1], depth, kinds, usual, knows, speaks, affixes)


def _hashes(words: list[str]) -> U64:
    return grams.words(grams.join(pl.Series(words, dtype=pl.String))).hashes


def _add_affixes(kinds: U8, number: int, buffer: grams.Buffer, affixes: tuple[Affixes, ...]) -> None:
    """Add what affixes of one language make of the words that are nothing in it yet, of whichever language they are."""
    start, end = buffer.start[:-1], buffer.start[1:] - grams.PAD
    nothing = kinds == 0
    for affix in affixes:
        if affix.language == number:
            kinds[nothing & affix.fits(buffer.windows, start, end)] |= affix.kind


def _spell(usual: U64, lists: WordLists, column: dict[str, int]) -> None:
    """Set the hash of the usual spelling of each word that has another; the others stay 0."""
    spelling = {other: text.split()[0] for text in lists.spellings for other in text.split()[1:]}
    if spelling:
        usual[[column[word] for word in spelling]] = _hashes(list(spelling.values()))


def _affixes(number: int, lists: WordLists) -> list[Affixes]:
    kinds = ((COUNTED, False, lists.prefixes), (COUNTED, True, lists.suffixes), (NEGATION, True, lists.negating))
    values: dict[tuple[int, bool, int], set[int]] = {}
    for kind, at_end, texts in kinds:
        for part in (word.encode() for word in _words(texts)):
            values.setdefault((kind, at_end, len(part)), set()).add(int.from_bytes(part, "little"))
    return [Affixes(number, *which, np.array(sorted(some), np.uint64)) for which, some in values.items()]


def _digest(lists: list[WordLists]) -> int:
    content = msgspec.json.encode([grams.VERSION, *lists])
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
