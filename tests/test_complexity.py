"""Complexity: within [0, 1], the same alone and in a batch, and more for each cue of a review that is hard to judge."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt.text import complexity

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def rated(*texts: str | None) -> list[float]:
    made = complexity.complexity(pl.Series(texts, dtype=pl.String))
    assert made.dtype == np.float32
    return [float(value) for value in made]


@given(st.lists(st.one_of(TEXT, st.none()), max_size=8))
def test_a_complexity_is_in_its_range_and_the_same_alone(texts: list[str | None]) -> None:
    together = rated(*texts)
    assert all(0 <= value <= 1 for value in together)
    assert together == [rated(text)[0] for text in texts]


def test_null_is_as_empty_and_the_simplest() -> None:
    assert rated(None) == rated("")
    assert rated("")[0] < rated("good")[0] < 0.1


@given(TEXT.map(str.lower))
def test_case_does_not_count(text: str) -> None:
    title = text.title()
    if title.lower() == text and len(title.encode()) == len(text.encode()):
        assert rated(title) == rated(text)


PLAIN = "The case arrived on a Monday and the lid is blue"


@pytest.mark.parametrize(
    ("cue", "more"),
    [
        ("contrasts", "The case arrived on a Monday but the lid is blue"),
        ("negations", "The case arrived on a Monday, the lid isn't blue"),
        ("has_question", "The case arrived on a Monday and the lid is blu?"),
        ("is_mixed", "The good case came on a Monday and lid is broken"),
        ("words", PLAIN + " and the box was made of thin brown cardboard"),
        ("other_script_share", "ящик прибыл в понедельник"),
    ],
)
def test_each_cue_makes_a_review_more_complex(cue: str, more: str) -> None:
    assert rated(more)[0] > rated(PLAIN)[0]
    values = complexity.features(pl.Series([PLAIN, more])).get_column(cue).cast(pl.Float64).to_list()
    assert values[1] > values[0]


@pytest.mark.parametrize(
    ("text", "contrasts", "negations"),
    [
        ("But why. However, ok", 2, 0),
        ("button buttery nothingness Norway note", 0, 0),
        ("I don't, I can’t, never", 0, 3),
        ("Schön, aber nicht gut", 1, 1),
        ("joli mais pas solide", 1, 1),
        ("bonito pero no funciona, mañana más", 1, 1),
        ("bello però non funziona", 1, 1),
        ("bonito, mas não funciona", 1, 1),
        ("mooi, maar niet goed", 1, 1),
        ("красиво, но не работает", 1, 1),
        ("很漂亮，但是不好用", 1, 1),
        ("きれいでも使えない", 1, 1),
    ],
)
def test_cues_are_whole_words_in_every_listed_language(text: str, contrasts: int, negations: int) -> None:
    found = complexity.features(pl.Series([text]))
    assert (found["contrasts"].item(), found["negations"].item()) == (contrasts, negations)


@pytest.mark.parametrize("question", ["Why?", "为什么？", "لماذا؟"])
def test_a_question_is_one_in_every_script(question: str) -> None:
    assert complexity.features(pl.Series([question]))["has_question"].item()


def test_mixed_is_praise_and_complaint_together() -> None:
    rows = ["good and great", "bad and broken", "good but broken", "gut, aber kaputt", "好看，但是坏了"]
    assert complexity.features(pl.Series(rows))["is_mixed"].to_list() == [False, False, True, True, True]


def test_a_short_praise_is_simple_and_a_long_weighing_review_is_complex() -> None:
    weighing = (
        "I wanted to love this blender. The motor is great and the jug is beautiful, but the lid does not close. "
        "However, support was excellent, although nothing was repaired. Would I buy it again? Not at this price."
    )
    simple, complex_ = rated("Great product, love it!", weighing)
    assert simple < 0.2
    assert complex_ > 0.6
