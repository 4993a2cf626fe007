"""reviewopt.text.grams: one buffer, its windows, words with row boundaries."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt.text import grams

ROWS = st.lists(st.none() | st.text(max_size=60), max_size=8)


def series(rows: list[str | None]) -> pl.Series:
    return pl.Series(rows, dtype=pl.String)


def hashes_of(rows: list[str | None]) -> list[list[int]]:
    words = grams.words(grams.join(series(rows)))
    return [words.hashes[a:b].tolist() for a, b in zip(words.first[:-1], words.first[1:], strict=True)]


def spelled(text: str) -> list[str]:
    """The words of one row, read back from the bytes by their starts."""
    buffer = grams.join(series([text]))
    starts = grams.words(buffer).start.tolist()
    ends = [*starts, len(buffer.data)][1:]
    return [buffer.data[a:b].tobytes().decode().strip(" \0\n.,“”—…") for a, b in zip(starts, ends, strict=True)]


@given(ROWS)
def test_every_row_keeps_its_bytes_and_is_padded(rows: list[str | None]) -> None:
    buffer = grams.join(series(rows))
    for i, row in enumerate(rows):
        begin, end = buffer.start[i], buffer.start[i + 1] - grams.PAD
        assert buffer.data[begin:end].tobytes().decode() == (row or "").replace("’", "'")
        assert not buffer.data[end : end + grams.PAD].any()


@given(ROWS)
def test_windows_are_the_eight_bytes_from_each_position(rows: list[str | None]) -> None:
    buffer = grams.join(series(rows))
    assert len(buffer.windows) == len(buffer.data) - 7
    for i in range(0, len(buffer.windows), 7):
        assert int(buffer.windows[i]) == int.from_bytes(buffer.data[i : i + 8].tobytes(), "little")


@given(ROWS, st.integers(0, 8))
def test_words_of_a_row_do_not_depend_on_its_neighbours(rows: list[str | None], cut: int) -> None:
    assert hashes_of(rows) == hashes_of(rows[:cut]) + hashes_of(rows[cut:])
    assert hashes_of(rows) == hashes_of(rows[::-1])[::-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("good, not great!! why?", ["good", "not", "great", "!!", "why", "?"]),
        ("it’s “fine”—ok…", ["it's", "fine", "ok"]),
        ("很好abc手机", ["很", "好", "abc", "手", "机"]),
        ("love😀😀it♥", ["love", "😀", "😀", "it", "♥"]),
        ("naïve café", ["naïve", "café"]),
        ("", []),
        ("\0\0", []),
        ("...", []),
    ],
)
def test_what_a_word_is(text: str, words: list[str]) -> None:
    assert spelled(text) == words


def test_a_curly_apostrophe_hashes_like_a_straight_one() -> None:
    assert hashes_of(["don’t buy", "it’s"]) == hashes_of(["don't buy", "it's"])


def test_long_words_differ_by_their_ends_and_length() -> None:
    stem = "internationalisation"
    rows: list[str | None] = [stem, stem + "s", "x" + stem[1:], stem + stem]
    assert len({tuple(row) for row in hashes_of(rows)}) == 4


@given(
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=30),
    st.text("abc !", max_size=30),
)
def test_the_title_is_the_words_before_the_line_end(title: str, text: str) -> None:
    words = grams.words(grams.join(series(["other", f"{title}\n{text}", text])))
    assert words.title[1] - words.first[1] == len(hashes_of([title])[0])
    assert words.title[0] == words.first[0]
    assert words.title[2] == words.first[2]


def test_pairs_know_their_order_and_fields_their_number() -> None:
    a, b = np.array([1 << 40], np.uint64), np.array([3 << 20], np.uint64)
    made = [grams.pairs(a, b), grams.pairs(b, a), grams.field(a, 1), grams.field(a, 2), a]
    assert len({int(value[0]) for value in made}) == len(made)


def test_hashes_are_part_of_stored_models_and_never_change() -> None:
    assert grams.VERSION == 1
    assert hashes_of(["good internationalisation !"]) == [PINNED]


PINNED = [8198944833776933100, 10292230438946354113, 5417130254261480148]
