"""reviewopt.text.lexicon: the word lists as arrays, and what is refused in their files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt.config import packaged
from reviewopt.errors import InputError
from reviewopt.text import grams, lexicon

LEXICON = lexicon.load()
SMALL = """language = "xx"
name = "Example"
sources = ["none"]
negations = ["no"]
intensifiers = ["very"]
numbers = ["one"]
antonyms = ["good fine | bad", "on | off"]
unmarked = ["on"]
prefixes = ["un"]
suffixes = ["less"]
negating = ["n't"]
plain = ["under"]
spellings = ["good gud"]
fillers = ["the"]
common = ["box untie"]
shared = ["bad"]
"""
OTHERS = 'language = "und"\nname = "others"\nsources = ["none"]\ncommon = ["hai undim"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "xx.toml").write_text(SMALL, encoding="utf-8")
    (tmp_path / "und.toml").write_text(OTHERS, encoding="utf-8")
    return tmp_path


def hashes(*words: str) -> grams.U64:
    return grams.words(grams.join(pl.Series(words, dtype=pl.String))).hashes


def kinds_of(folder: Path, *words: str) -> list[int]:
    loaded = lexicon.load(folder)
    return [int(kind) for kind in loaded.kinds[0, loaded.find(hashes(*words))]]


def test_each_list_says_what_its_words_are(folder: Path) -> None:
    words = ("good", "bad", "off", "one", "no", "very", "the", "under", "box", "hai", "zqx")
    assert kinds_of(folder, *words) == [
        *[lexicon.COUNTED] * 4,
        lexicon.NEGATION,
        lexicon.INTENSIFIER,
        lexicon.FILLER,
        lexicon.PLAIN,
        *[0] * 3,
    ]


def test_the_unmarked_side_of_a_pair_does_not_count(folder: Path) -> None:
    assert kinds_of(folder, "on", "off") == [0, lexicon.COUNTED]


def test_an_affix_counts_in_common_words_and_in_those_of_other_languages_but_not_in_plain_ones(folder: Path) -> None:
    assert kinds_of(folder, "untie", "undim", "under") == [lexicon.COUNTED, lexicon.COUNTED, lexicon.PLAIN]


def test_another_spelling_is_what_the_usual_one_is(folder: Path) -> None:
    loaded = lexicon.load(folder)
    gud, good = loaded.find(hashes("gud", "good"))
    assert loaded.kinds[0, gud] == lexicon.COUNTED
    assert loaded.spelled[0, [gud, good]].tolist() == [int(hashes("good")[0]), 0]


def test_a_shared_word_is_known_but_tells_nothing(folder: Path) -> None:
    loaded = lexicon.load(folder)
    bad, good, hai = loaded.find(hashes("bad", "good", "hai"))
    assert loaded.speaks[[bad, good, hai]].tolist() == [0, 1, 2]
    assert loaded.knows[[bad, good, hai]].tolist() == [1, 1, 2]


@pytest.mark.parametrize(
    ("word", "fits"),
    [("unfit", True), ("unit", False), ("fit", False), ("fitless", True), ("unless", True), ("lessen", False)],
)
def test_an_affix_needs_a_stem(folder: Path, word: str, fits: bool) -> None:
    buffer = grams.join(pl.Series([word]))
    start, end = buffer.start[:-1], buffer.start[1:] - grams.PAD
    affixes = [each for each in lexicon.load(folder).affixes if each.kind == lexicon.COUNTED]
    assert any(bool(each.fits(buffer.windows, start, end)[0]) for each in affixes) == fits


def test_nt_needs_a_stem_of_one_letter() -> None:
    column = LEXICON.find(hashes("don't", "isn't", "goooodn't"))
    assert LEXICON.kinds[LEXICON.languages.index("en"), column].tolist() == [lexicon.NEGATION] * 2 + [0]
    assert any(each.kind == lexicon.NEGATION and each.at_end for each in LEXICON.affixes)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40))
def test_a_hash_is_found_where_it_is_and_nowhere_else(numbers: list[int]) -> None:
    asked = np.concatenate([np.array(numbers, np.uint64), LEXICON.words[:-1:97], LEXICON.words[-1:]])
    at = LEXICON.find(asked)
    listed = np.isin(asked, LEXICON.words[:-1])
    assert (LEXICON.words[at[listed]] == asked[listed]).all()
    assert (at[~listed] == len(LEXICON.words) - 1).all()


def test_what_was_not_found_or_not_told_is_nothing() -> None:
    assert not LEXICON.kinds[-1].any()
    assert not LEXICON.kinds[:, -1].any()
    assert not LEXICON.spelled[:, -1].any()
    assert LEXICON.speaks[-1] == LEXICON.knows[-1] == 0


@pytest.mark.parametrize("line", range(1, SMALL.count("\n")))
def test_the_digest_changes_with_every_list(folder: Path, line: int) -> None:
    before = lexicon.load(folder).digest
    lines = SMALL.splitlines()
    lines[line] = (
        lines[line].replace('"]', ' zqx"]') if "[" in lines[line] else lines[line].replace('"Ex', '"Another ex')
    )
    (folder / "xx.toml").write_text("\n".join(lines), encoding="utf-8")
    assert lexicon.load(folder).digest != before


def test_the_digest_does_not_change_with_comments_or_by_itself(folder: Path) -> None:
    before = lexicon.load(folder).digest
    (folder / "xx.toml").write_text(f"# a comment\n{SMALL}", encoding="utf-8")
    assert lexicon.load(folder).digest == before
    assert LEXICON.digest == lexicon.load().digest < 2**64


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"no"', '"no', "no valid word lists"),
        ('name = "Example"', "", "name"),
        ("negations", "negation", "negation"),
        ('["no"]', '"no"', "negations"),
        ('["no"]', '[""]', "nothing in negations"),
        ('antonyms = ["good fine | bad", "on | off"]', "", "nothing in antonyms"),
        ('"xx"', '"yy"', "yy"),
        ('"no"', '"No"', "No"),
        ('"no"', '"no-one"', "no-one"),
        ('"no"', '"\'no"', "'no"),
        ('"bad"]', '"ba-d"]', "ba-d"),
        ('"un"', '"unbelievab"', "unbelievab"),
    ],
)
def test_a_damaged_list_is_an_input_error_that_names_the_file(folder: Path, old: str, new: str, says: str) -> None:
    (folder / "xx.toml").write_text(SMALL.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=f"xx.toml.*{re.escape(says)}"):
        lexicon.load(folder)


def test_bytes_that_are_no_text_are_an_input_error(folder: Path) -> None:
    (folder / "xx.toml").write_bytes(SMALL.encode() + b"\xff")
    with pytest.raises(InputError, match=r"xx\.toml"):
        lexicon.load(folder)


@pytest.mark.parametrize("missing", ["xx.toml", "und.toml"])
def test_both_a_language_and_the_unlisted_words_are_needed(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(InputError, match="install the package again"):
        lexicon.load(folder)


@pytest.mark.parametrize("path", sorted(packaged("configs", "languages").glob("*.toml")), ids=lambda path: path.stem)
def test_the_packaged_lists_are_long_enough_and_name_their_sources(path: Path) -> None:
    lists = lexicon._read(path)
    least = {"en": (600, 600), "und": (0, 500)}.get(path.stem, (150, 120))
    assert lists.sources
    assert len(set(lexicon._words(lists.antonyms))) >= least[0]
    assert len(set(lexicon._words(lists.common))) >= least[1]
    assert all(text.strip() and not text.startswith("|") for text in (*lists.antonyms, *lists.common))


def test_the_packaged_languages() -> None:
    assert LEXICON.languages == ("de", "en", "es", "fr", "it", "nl", "pt")
