"""Sketches: what they promise about rows, regimes, lengths and stability."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt.text import grams
from reviewopt.text import sketch as sketching
from reviewopt.text.near_bands import agreement
from reviewopt.text.sketch import LONG, SHORT, Part, Sketches, sketch

DIGEST = "1eeab7084502ba98d25a025f79e872b5a2fae0ed0d818944df826f3b36068323"
ALPHABET = "abc e’é好\n\0😀"
TEXTS = st.lists(
    st.text(ALPHABET, max_size=90) | st.integers(0, 400).map(lambda n: "never again " * (n // 12)), max_size=12
)


def series(rows: list[str] | list[str | None]) -> pl.Series:
    return pl.Series(rows, dtype=pl.String)


def words(seed: int, n_words: int) -> str:
    return " ".join(f"{number:x}" for number in np.random.default_rng(seed).integers(2**20, 2**28, n_words).tolist())


def same(one: Sketches, other: Sketches) -> bool:
    return one.length.tolist() == other.length.tolist() and all(
        a.row.tolist() == b.row.tolist() and np.array_equal(a.slots, b.slots)
        for (_, a), (_, b) in zip(one.parts, other.parts, strict=True)
    )


def long_agreement(one: str, other: str) -> float:
    slots = sketch(series([one, other])).long.slots
    return float(agreement(slots, np.array([0]), slots, np.array([1]))[0]) / LONG.n_slots


@given(TEXTS, st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_a_row_alone_has_the_sketch_that_it_has_in_any_batch(rows: list[str], n_slice: int) -> None:
    whole = sketch(series(rows))
    parts = [sketch(series(rows[first : first + n_slice])) for first in range(0, len(rows), n_slice)]
    assert same(Sketches.concat(parts), whole)


def test_batches_of_many_blocks_have_the_sketches_of_their_rows() -> None:
    texts = [words(seed, 20 + 7 * seed % 300) for seed in range(300)]
    assert sum(map(len, texts)) > 3 * sketching._BLOCK_BYTES
    assert same(sketch(series(texts)), Sketches.concat([sketch(series([text])) for text in texts]))


def test_threads_give_the_same_sketches_as_one() -> None:
    rows = series([words(seed, 60) for seed in range(2000)])
    slices = [rows[first : first + 250] for first in range(0, 2000, 250)]
    with ThreadPoolExecutor(8) as threads:
        assert same(Sketches.concat(list(threads.map(sketch, slices))), sketch(rows))


def test_a_buffer_made_before_gives_the_same_sketches() -> None:
    rows = series(["don’t buy", "好" * 40, words(1, 50)])
    assert same(sketch(rows, grams.join(rows)), sketch(rows))


def test_sketches_are_the_same_on_every_machine_and_in_every_version() -> None:
    made = sketch(
        series(["ok", "très bien, merci", "好い商品です", *(words(seed, 3 + 20 * seed) for seed in range(20))])
    )
    content = b"".join(part.row.astype("<i8").tobytes() + part.slots.tobytes() for _, part in made.parts)
    assert sketching.VERSION == 1, "sketches on disk are of another version: state the new digest"
    assert hashlib.sha256(content).hexdigest() == DIGEST


@pytest.mark.parametrize(
    ("n_bytes", "regimes"), [(0, "short"), (49, "short"), (50, "both"), (67, "both"), (68, "long"), (5000, "long")]
)
def test_texts_near_the_border_have_both_sketches(n_bytes: int, regimes: str) -> None:
    made = sketch(series(["x" * n_bytes]))
    assert (len(made.long.row), len(made.short.row)) == {"short": (0, 1), "both": (1, 1), "long": (1, 0)}[regimes]


def test_no_pair_at_the_default_threshold_falls_between_the_regimes() -> None:
    longest_partner = (LONG.shortest - 1) * (2 - 0.85) / 0.85
    assert SHORT.longest >= np.floor(longest_partner)


def test_lengths_are_characters() -> None:
    assert sketch(series(["", "don’t", "naïve", "好い", "😀!", None])).length.tolist() == [0, 5, 5, 2, 2, 0]


def test_every_slot_of_a_text_is_filled_and_of_an_empty_one_none() -> None:
    made = sketch(series(["", "a", "ok", "abc", "y" * 55, words(2, 400), None]))
    assert made.short.slots.all(axis=1).tolist() == [False, True, True, True, True, False]
    assert made.long.slots.all()
    assert not made.short.slots[[0, 5]].any()


def test_no_rows_make_empty_sketches() -> None:
    for empty in (sketch(series([])), Sketches.concat([]), Sketches.concat([sketch(series([]))])):
        assert len(empty) == 0
        assert empty.long.slots.shape == (0, LONG.n_slots)
        assert empty.short.slots.shape == (0, SHORT.n_slots)
        assert empty.length.dtype == np.int32


def test_a_row_takes_at_most_192_bytes() -> None:
    rows = sketch(series(["ok", "z" * 60, "y" * 300]))
    for row in range(3):
        one = rows.take(np.array([row]))
        assert sum(part.slots.nbytes for _, part in one.parts) <= 192


def test_taken_rows_keep_their_sketches_in_the_order_asked_for() -> None:
    texts = ["ok", words(1, 50), "z" * 60, words(2, 9), "好"]
    order = [3, 0, 2, 1]
    assert same(sketch(series(texts)).take(np.array(order)), sketch(series([texts[row] for row in order])))
    assert same(sketch(series(texts)).take(np.empty(0, np.int64)), sketch(series([])))


@pytest.mark.parametrize("n_words", [20, 60, 200, 1500])
def test_agreement_is_about_the_share_of_common_n_grams(n_words: int) -> None:
    texts = [words(seed, n_words) for seed in range(12)]
    shorter = [long_agreement(text, text[: int(0.75 * len(text))]) for text in texts]  # sampled at another rate
    assert np.mean(shorter) == pytest.approx(0.7, abs=0.1)
    assert max(long_agreement(texts[0], other) for other in texts[1:]) < 0.35
    assert long_agreement(texts[0], texts[0]) == 1


def test_a_long_text_is_sampled_in_all_its_places() -> None:
    text = words(9, 4000)
    half = len(text) // 2
    for changed in (text[:half] + words(10, 2000), words(10, 2000) + text[half:]):
        assert 0.15 < long_agreement(text, changed) < 0.6


def test_short_sketches_draw_every_set_of_slots_anew() -> None:
    slots = sketch(series(["a very short text of forty letters, no more"])).short.slots
    sets = slots.reshape(SHORT.n_draws, -1)
    assert len({one.tobytes() for one in sets}) == SHORT.n_draws


def test_parts_are_of_the_documented_types() -> None:
    for _, part in sketch(series(["ok", "y" * 300])).parts:
        assert isinstance(part, Part)
        assert [str(part.row.dtype), str(part.slots.dtype)] == ["int64", "uint8"]
