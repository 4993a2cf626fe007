from __future__ import annotations

import itertools
from decimal import Decimal

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt.data import COST_DTYPE, SOURCES
from reviewopt.dedup.exact import Asked, ExactCopies, GrowingArray
from reviewopt.dedup.spread import Answers, Fresh

KEYS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 20), max_size=300)


def number_in_chunks(keys: list[int], cuts: list[int]) -> tuple[list[int], list[bool]]:
    copies, questions, firsts = ExactCopies(), [], []
    bounds = sorted({0, len(keys), *(cut for cut in cuts if cut <= len(keys))})
    for start, end in itertools.pairwise(bounds):
        question, new = copies.number(np.array(keys[start:end], np.uint64))
        first = np.zeros(end - start, bool)
        first[new] = True
        questions += question.tolist()
        firsts += first.tolist()
    return questions, firsts


@given(KEYS, st.lists(st.integers(0, 300), max_size=5))
def test_chunks_change_neither_numbers_nor_first_rows(keys: list[int], cuts: list[int]) -> None:
    order = list(dict.fromkeys(keys))
    questions, firsts = number_in_chunks(keys, cuts)
    assert questions == [order.index(key) for key in keys]
    assert firsts == [key not in keys[:at] for at, key in enumerate(keys)]


def test_keys_that_share_a_slot_stay_apart() -> None:
    colliding = (np.arange(50_000, dtype=np.uint64) * np.uint64(2**40)).astype(np.uint64)
    copies = ExactCopies()
    assert copies.number(colliding)[0].tolist() == list(range(50_000))
    assert copies.number(colliding[::-1])[0].tolist() == list(range(50_000))[::-1]


def test_the_table_grows_and_forgets_nothing() -> None:
    keys = np.random.default_rng(0).integers(0, 2**64, 400_000, dtype=np.uint64)
    copies = ExactCopies()
    for part in np.array_split(keys, 13):
        copies.number(part)
    question, new = copies.number(keys)
    assert len(new) == 0
    assert (question == np.arange(400_000)).all()


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 9), max_size=90_000 // 1000), max_size=5))
def test_a_growing_array_holds_what_was_appended(parts: list[list[int]]) -> None:
    array = GrowingArray(np.int64)
    for part in parts:
        array.append(np.array(part * 1000, np.int64))
    flat = [value for part in parts for value in part * 1000]
    assert array.take(np.arange(len(array))).tolist() == flat


def fresh(label: list[int], confidence: list[float], outside: list[bool], cost: str) -> Fresh:
    n = len(label)
    return Fresh(
        label=np.array(label, np.uint8),
        confidence=np.array(confidence, np.float32),
        outside=np.array(outside, np.bool_),
        source=np.full(n, SOURCES.index("local"), np.uint8),
        cost_usd=pl.Series([Decimal(cost)] * n, dtype=COST_DTYPE),
    )


def test_spread_gives_copies_the_answer_for_nothing_and_empty_rows_none() -> None:
    answers, new = Answers(("negative", "positive")), fresh([1, 0], [0.9, 0.6], [False, True], "0.000000000002")
    answers.add(new)
    asked = Asked(question=np.array([0, -1, 1, 0]), new_rows=np.array([0, 2]))
    frame = answers.spread(asked, new)
    assert frame["label"].to_list() == ["positive", None, "negative", "positive"]
    assert frame["source"].to_list() == ["local", "empty", "local", "exact"]
    assert frame["cost_usd"].to_list() == [Decimal("2e-12"), 0, Decimal("2e-12"), 0]
    assert frame["confidence"].is_null().to_list() == [False, True, False, False]
    assert frame["outside"].to_list() == [False, False, True, False]


def test_a_chunk_with_nothing_to_ask_spreads_before_any_answer() -> None:
    nothing = Asked(question=np.array([-1]), new_rows=np.array([], np.int64))
    empty = Answers(("a", "b")).spread(nothing, fresh([], [], [], "0"))
    assert empty["label"].to_list() == [None]
    assert empty["source"].to_list() == ["empty"]


def test_an_unknown_confidence_is_null() -> None:
    answers, new = Answers(("a", "b")), fresh([1], [float("nan")], [False], "0")
    answers.add(new)
    spread = answers.spread(Asked(question=np.array([0]), new_rows=np.array([0])), new)
    assert spread["confidence"].to_list() == [None]


def test_see_numbers_only_rows_that_ask() -> None:
    asked = ExactCopies().see(pl.Series(["a", None, "b", "a"]))
    assert asked.question.tolist() == [0, -1, 1, 0]
    assert asked.new_rows.tolist() == [0, 2]
