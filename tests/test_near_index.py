"""The index of sketches: near copies of queries are found, in their own group only, by a bounded number of looks."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near_texts import edited, series, text

from reviewopt.text import near_index
from reviewopt.text.nearby import SimilarIndex
from reviewopt.text.sketch import sketch


def index_of(rows: list[str], groups: list[int] | None = None) -> SimilarIndex:
    return SimilarIndex.build(sketch(series(rows)), np.array(groups or [0] * len(rows), np.uint64))


def candidates(index: SimilarIndex, rows: list[str], groups: list[int] | None = None) -> set[tuple[int, int]]:
    query, entry = index.candidates(sketch(series(rows)), np.array(groups or [0] * len(rows), np.uint64))
    assert [str(query.dtype), str(entry.dtype)] == ["int64", "int64"]
    found = list(zip(query.tolist(), entry.tolist(), strict=True))
    assert found == sorted(set(found))
    return set(found)


@pytest.mark.parametrize("length", [20, 48, 60, 150, 700])
def test_an_index_finds_the_near_copies_of_queries_and_little_else(length: int) -> None:
    entries = [text(seed, length) for seed in range(300)]
    found = candidates(index_of(entries), [edited(entry, seed) for seed, entry in enumerate(entries)])
    assert sum((i, i) in found for i in range(300)) >= 294
    assert len(found) < 600


GROUPED = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0, 1, 2**63, 2**64 - 1])), max_size=12)


@given(GROUPED, GROUPED)
@settings(max_examples=60, deadline=None)
def test_entries_of_other_groups_are_never_found(known: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    index = index_of([text(seed, 90) for seed, _ in known], [group for _, group in known])
    found = candidates(index, [text(seed, 90) for seed, _ in asked], [group for _, group in asked])
    assert found == {(q, e) for q, query in enumerate(asked) for e, entry in enumerate(known) if query == entry}


def test_entries_of_other_groups_do_not_crowd_out_ones_own() -> None:
    n_groups = 40 * near_index._A_BAND
    index = index_of([text(1, 90)] * n_groups, list(range(n_groups)))
    assert candidates(index, [text(1, 90)], [n_groups - 1]) == {(0, n_groups - 1)}


def test_the_group_is_compared_even_where_the_hashes_agree() -> None:
    arrays = index_of([text(1, 90)], [7]).arrays()
    arrays["group"] = np.array([8], np.uint64)
    assert not candidates(SimilarIndex.from_arrays(arrays), [text(1, 90)], [7])


def test_an_index_from_its_arrays_is_the_same_even_when_they_are_read_only_files(tmp_path: Path) -> None:
    entries = [text(seed, 20 + 3 * seed) for seed in range(80)]
    index = index_of(entries, [seed % 3 for seed in range(80)])
    mapped = {}
    for name, array in index.arrays().items():
        np.save(tmp_path / f"{name}.npy", array)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    again = SimilarIndex.from_arrays(mapped)
    assert isinstance(again.keys[0], np.memmap)
    assert not again.keys[0].flags.writeable
    asked, groups = [edited(entry, 1) for entry in entries], [seed % 3 for seed in range(80)]
    assert candidates(again, asked, groups) == candidates(index, asked, groups)
    assert len(again) == 80
    for name, array in again.arrays().items():
        assert np.array_equal(array, index.arrays()[name])


def test_an_index_of_another_version_or_with_a_missing_array_is_refused() -> None:
    arrays = index_of(["ok"]).arrays()
    with pytest.raises(ValueError, match="of sketch version 99"):
        SimilarIndex.from_arrays(arrays | {"version": np.array([99])})
    del arrays["short_keys"]
    with pytest.raises(ValueError, match="missing from the index: short_keys"):
        SimilarIndex.from_arrays(arrays)


def test_a_query_has_a_bounded_number_of_candidates_those_that_agree_best() -> None:
    best = text(1, 200)
    entries = [edited(best, seed) for seed in range(60)]
    found = candidates(index_of([*entries[:20], best, *entries[20:]]), [best])
    assert len(found) == near_index._A_QUERY
    assert (0, 20) in found


def test_a_large_bucket_costs_a_query_a_bounded_number_of_looks() -> None:
    index = index_of([text(1, 90)] * 5000)
    made = sketch(series([text(1, 90)]))
    hashes = near_index._hashes(made.long, made.parts[0][0], np.zeros(1, np.uint64))
    query, _ = near_index._matches(index.keys[0], 5000, hashes)
    assert len(query) == len(hashes) * near_index._A_BAND


def test_unlike_lengths_are_no_candidates() -> None:
    whole = text(1, 400)
    assert candidates(index_of([whole, whole[:280]]), [whole]) == {(0, 0)}


@pytest.mark.parametrize(
    ("known", "asked"), [([], ["ok"]), (["ok"], []), ([], []), (["x" * 300], ["ok"]), ([""], [""])]
)
def test_empty_indexes_and_queries_are_no_trouble(known: list[str], asked: list[str]) -> None:
    assert len(candidates(index_of(known), asked)) <= 1


def test_groups_are_needed_for_entries_and_queries() -> None:
    made = sketch(series(["a", "b"]))
    with pytest.raises(ValueError, match="2 sketches and 1 groups"):
        SimilarIndex.build(made, np.zeros(1, np.uint64))
    with pytest.raises(ValueError, match="2 sketches and 1 groups"):
        index_of(["a"]).candidates(made, np.zeros(1, np.uint64))
