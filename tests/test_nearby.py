"""Near copies: pairs are true, found, and of bounded number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near_texts import RNG, SCRIPTS, edited, series, text
from rapidfuzz import fuzz

from reviewopt.text import near_bands, nearby
from reviewopt.text.nearby import Pairs, find_pairs, verify
from reviewopt.text.sketch import LONG, Part, Sketches, sketch


def pairs_of(rows: list[str], threshold: float = 85, workers: int = 1) -> Pairs:
    form = series(rows)
    return find_pairs(form, sketch(form), threshold=threshold, workers=workers)


def as_set(pairs: Pairs) -> set[tuple[int, int]]:
    return set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))


def components(n_rows: int, pairs: Pairs) -> list[int]:
    root = list(range(n_rows))
    for left, right in sorted(as_set(pairs)):
        old, new = root[right], root[left]
        if old != new:
            root = [new if one == old else one for one in root]
    return root


def planted_recall(lengths: list[int], script: str = "latin") -> float:
    rows = [text(seed, length, script) for seed, length in enumerate(lengths)]
    copies = [edited(row, seed + 10_000) for seed, row in enumerate(rows)]
    found = as_set(pairs_of([*rows, *copies]))
    return sum((i, i + len(rows)) in found for i in range(len(rows))) / len(rows)


ROWS = st.lists(
    st.tuples(st.sampled_from(list(SCRIPTS)), st.integers(0, 3), st.integers(0, 130), st.integers(0, 3)).map(
        lambda made: (
            edited(text(made[1], made[2], made[0]), made[3]) if made[3] and made[2] else text(*made[1:3], made[0])
        )
    )
    | st.text(max_size=6),
    max_size=25,
    unique=True,
)


@given(ROWS, st.sampled_from([70.0, 77.5, 85.0, 92.0, 100.0]))
@settings(max_examples=80, deadline=None)
def test_pairs_are_true_distinct_and_in_order(rows: list[str], threshold: float) -> None:
    pairs = pairs_of(rows, threshold)
    both = list(zip(pairs.right.tolist(), pairs.left.tolist(), strict=True))
    assert both == sorted(set(both))
    assert (pairs.left < pairs.right).all()
    truth = [fuzz.ratio(rows[left], rows[right]) for right, left in both]
    assert all(ratio >= threshold for ratio in truth)
    assert pairs.ratio.tolist() == pytest.approx(truth, abs=1e-4)
    assert [str(side.dtype) for side in (pairs.left, pairs.right, pairs.ratio)] == ["int64", "int64", "float32"]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("lengths", [(12, 45), (45, 110), (110, 400), (400, 1500)], ids=str)
def test_near_copies_are_found_at_every_length_and_in_every_script(lengths: tuple[int, int], script: str) -> None:
    assert planted_recall(RNG(5).integers(*lengths, 60).tolist(), script) >= 0.98


def test_near_copies_across_the_border_of_the_regimes_are_found() -> None:
    rows = [text(seed, 47 + seed % 3) for seed in range(60)]
    longer = [row + text(seed + 500, 5) for seed, row in enumerate(rows)]
    found = as_set(pairs_of([*rows, *longer]))
    assert sum((i, i + 60) in found for i in range(60)) >= 59


@pytest.mark.parametrize("threshold", [70.0, 80.0, 85.0, 90.0, 95.0, 99.0])
def test_no_pair_that_the_index_could_find_is_lost_by_the_length_filter(threshold: float) -> None:
    ratio = threshold / 100
    for shorter in range(1, 400):
        longest = int(shorter * (2 - ratio) / ratio + 1e-6)
        if fuzz.ratio("a" * shorter, "a" * longest) >= threshold:
            lengths = np.array([shorter], np.int32), np.array([longest], np.int32)
            assert near_bands.alike_in_length(*lengths, near_bands.Filter.of(threshold).length_ratio)


def compared(rows: list[str]) -> set[tuple[int, int]]:
    made, passes = sketch(series(rows)), near_bands.Filter.of(85)
    found = [nearby._candidates(part, made.length, regime, passes) for regime, part in made.parts]
    right, left = nearby._unpacked(np.concatenate(found))
    assert (left < right).all()
    return set(zip(left.tolist(), right.tolist(), strict=True))


def test_texts_of_unlike_length_are_not_compared() -> None:
    whole = text(1, 300)
    assert compared([whole, whole[:200], whole[:290]]) == {(0, 2)}


def test_texts_that_share_a_band_and_little_else_are_not_compared() -> None:
    opening = text(1, 60)
    rows = [opening + text(seed, 200) for seed in range(2, 200)]
    slots = sketch(series(rows)).long.slots
    one, _ = nearby._colliding(near_bands.band_windows(sketch(series(rows)).long, LONG))
    assert len(one) > 5 * len(slots)
    assert len(compared(rows)) < len(slots)


@pytest.mark.parametrize("rows", [[], ["ok"], ["ok", "no"], ["", "a"], ["x" * 300], ["\0", "\0\0"]], ids=repr)
def test_few_and_tiny_texts_are_no_trouble(rows: list[str]) -> None:
    pairs = pairs_of(rows)
    assert all(fuzz.ratio(rows[left], rows[right]) >= 85 for left, right in as_set(pairs))


def test_tiny_texts_have_near_copies_too() -> None:
    assert as_set(pairs_of(["good product", "awful", "good products", "awful!"])) == {(0, 2), (1, 3)}


def test_equal_texts_are_near() -> None:
    assert pairs_of(["ok", text(1, 300), "ok", text(1, 300)]).ratio.tolist() == [100, 100]


def test_the_number_of_workers_does_not_change_the_pairs() -> None:
    rows = [edited(text(seed % 40, 100), seed) for seed in range(200)]
    one, four = pairs_of(rows), pairs_of(rows, workers=4)
    assert as_set(one) == as_set(four)
    assert one.ratio.tolist() == four.ratio.tolist()


def test_sketches_of_slices_find_what_sketches_of_the_whole_find() -> None:
    rows = [edited(text(seed % 40, 30 + seed), seed) for seed in range(200)]
    slices = [sketch(series(rows[first : first + 37])) for first in range(0, 200, 37)]
    pairs = find_pairs(series(rows), Sketches.concat(slices), threshold=85)
    assert as_set(pairs) == as_set(pairs_of(rows))


@pytest.mark.parametrize("threshold", [69.9, 100.1, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="from 70 to 100"):
        pairs_of(["ok"], threshold)


def test_a_sketch_for_each_text_is_needed() -> None:
    with pytest.raises(ValueError, match="2 texts and 1 sketches"):
        find_pairs(series(["a", "b"]), sketch(series(["a"])), threshold=85)


def test_more_texts_than_their_numbers_have_bits_are_refused() -> None:
    row = np.broadcast_to(np.int64(0), 2**24 + 1)
    part, passes = Part(row, np.empty((0, 64), np.uint8)), near_bands.Filter.of(85)
    with pytest.raises(ValueError, match="16,777,216 or fewer"):
        nearby._candidates(part, np.zeros(1, np.int32), LONG, passes)


@pytest.mark.parametrize(
    "opening", ["good product ", "i bought this for my brother and he uses it every day in the garden, serial "]
)
def test_boilerplate_is_one_component_with_few_pairs_a_text(opening: str) -> None:
    rows = [f"{opening}{number}" for number in range(3000)]  # 4.5 million near pairs
    pairs = pairs_of(rows)
    assert len(set(components(len(rows), pairs))) == 1
    assert np.bincount(pairs.right).max() <= 2 * nearby._BEST


def test_a_bucket_of_any_size_makes_few_pairs_and_joins_all_to_its_first() -> None:
    one, other = nearby._colliding(np.full((3, 2000), 7, np.uint64))
    assert len(one) <= 3 * 2000 * (nearby._NEIGHBOURS + 1)
    met = set(zip(one.tolist(), other.tolist(), strict=True))
    assert all((0, row) in met for row in range(1, 2000))
    assert all((row, row + 1) in met for row in range(1999))


def test_neighbours_in_a_large_bucket_are_those_that_agree_in_more() -> None:
    band, more = np.uint64(5), RNG(1).permutation(np.repeat(np.arange(500, dtype=np.uint64), 2))
    one, other = nearby._colliding((more << np.uint64(near_bands.KEY_BITS) | band)[None, :])
    met = {frozenset(pair) for pair in zip(one.tolist(), other.tolist(), strict=True)}
    twins = [frozenset(np.flatnonzero(more == number).tolist()) for number in range(500)]
    assert all(twin in met for twin in twins)


def test_longer_texts_are_compared_with_fewer() -> None:
    whole = text(1, 6000)
    pairs = pairs_of([whole[: 3000 + seed] + text(seed, 30) + whole[3000 + seed :] for seed in range(40)])
    assert np.bincount(pairs.right).max() == nearby._FEWEST
    assert len(set(components(40, pairs))) == 1


def test_verify_is_rapidfuzz_at_every_length_and_ratio() -> None:
    base = [text(seed, n) for seed, n in enumerate([5, 80, 390, 410, 600, 1500, 3000])]
    left = [row for row in base for _ in range(12)]
    right = [row[: len(row) - len(row) * cut // 40] + text(99, cut) for row in base for cut in range(12)]
    truth = np.array([fuzz.ratio(a, b) for a, b in zip(left, right, strict=True)])
    got = verify(series(left), series(right), threshold=85)
    assert got.dtype == np.float32
    assert {int(ratio) for ratio in truth} > {84, 87, 93, 98}
    assert got.tolist() == pytest.approx(np.where(truth >= 85, truth, 0).tolist(), abs=1e-4)


def test_verify_takes_more_pairs_than_it_holds_at_once() -> None:
    n_pairs = nearby._COMPARED_AT_ONCE + 3
    left, right = series(["same"] * n_pairs), series(["same", "other", *["same"] * (n_pairs - 3), "sane"])
    ratio = verify(left, right, threshold=70, workers=2)
    assert [ratio[1], ratio[-1], ratio[0], ratio[-2]] == [0, 75, 100, 100]
    assert len(ratio) == n_pairs
    assert verify(left[:0], right[:0], threshold=70).tolist() == []
