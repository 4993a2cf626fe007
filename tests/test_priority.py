"""Priorities: the highest first, nothing lost, and equal ones in no order of their own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt import pack
from reviewopt.priority import MOST_LEVELS, bands, highest_first, in_order, raised

LEVELS = st.sampled_from([math.nan, -math.inf, -1.0, 0.0, 0.5, 2.0, math.inf])
PRIORITIES = st.lists(LEVELS | st.floats(-100, 100), max_size=60).map(np.array)


def known(priority: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(priority), -np.inf, priority)


def packed(priority: np.ndarray, tenant: np.ndarray | None, size: int) -> list[list[int]]:
    """The packs in which reviews of these priorities go out."""
    order = highest_first(pack.shuffled(len(priority), 1), priority)
    bounds = pack.Bounds(fixed=size, most_input_tokens=10**6, most_output_tokens=10**6, output_tokens_a_review=1)
    ones = np.ones(len(priority))
    made = pack.packs(order, ones.astype(np.int64), ones, tenant, bounds)
    return [one.tolist() for one in in_order(made, order)]


# The order within a batch


@given(priority=PRIORITIES, seed=st.integers(0, 5))
def test_the_order_holds_each_position_once_and_never_rises(priority: np.ndarray, seed: int) -> None:
    order = highest_first(pack.shuffled(len(priority), seed), priority)
    assert sorted(order.tolist()) == list(range(len(priority)))
    assert (known(priority)[order][1:] <= known(priority)[order][:-1]).all()


@given(priority=PRIORITIES, seed=st.integers(0, 5))
def test_equal_priorities_keep_the_order_they_were_shuffled_into(priority: np.ndarray, seed: int) -> None:
    shuffled = pack.shuffled(len(priority), seed)
    order = highest_first(shuffled, priority)
    for level in set(known(priority).tolist()):
        is_level = known(priority) == level
        assert order[is_level[order]].tolist() == shuffled[is_level[shuffled]].tolist()


def test_without_priorities_the_order_is_the_shuffled_one() -> None:
    shuffled = pack.shuffled(50, 3)
    assert highest_first(shuffled, np.full(50, np.nan)).tolist() == shuffled.tolist()


@given(priority=PRIORITIES.filter(len), size=st.integers(1, 8), n_tenants=st.integers(1, 4), seed=st.integers(0, 9))
def test_no_pack_goes_out_behind_one_whose_best_is_lower(
    priority: np.ndarray, size: int, n_tenants: int, seed: int
) -> None:
    tenant = np.random.default_rng(seed).integers(0, n_tenants, len(priority))
    made = packed(priority, tenant, size)
    assert sorted(at for one in made for at in one) == list(range(len(priority)))
    assert all(len({tenant[at] for at in one}) == 1 for one in made)
    best = [known(priority)[one].max() for one in made]
    assert best == sorted(best, reverse=True)


def test_a_level_that_does_not_fill_its_last_pack_shares_it_with_the_next() -> None:
    priority = np.array([1.0] * 7 + [2.0] * 7)
    made = packed(priority, None, 5)
    assert [sorted(priority[one].tolist(), reverse=True) for one in made] == [
        [2.0] * 5,
        [2.0, 2.0, 1.0, 1.0, 1.0],
        [1.0] * 4,
    ]


# What answers many


@given(priority=PRIORITIES, data=st.data())
def test_each_is_as_urgent_as_the_most_urgent_of_its_group(priority: np.ndarray, data: st.DataObject) -> None:
    group = np.array(data.draw(st.lists(st.integers(-1, 4), min_size=len(priority), max_size=len(priority))), np.int64)
    made = raised(priority, group)
    for at, of in enumerate(group.tolist()):
        expected = known(priority)[group == of].max() if of >= 0 else known(priority)[at]
        assert known(made)[at] == expected


def test_groups_may_have_any_number() -> None:
    made = raised(np.array([1.0, 2.0, np.nan]), np.array([10**15, 10**15, 7]))
    assert made[:2].tolist() == [2.0, 2.0]
    assert np.isnan(made[2])


def test_a_group_of_nothing_stays_without_a_priority() -> None:
    assert np.isnan(raised(np.array([np.nan, np.nan, 1.0]), np.array([0, 0, 1]))).tolist() == [True, True, False]


# Parts of a table


@given(chunks=st.lists(PRIORITIES, max_size=5))
def test_a_higher_priority_is_never_in_a_later_band_and_equal_ones_are_in_one(chunks: list[np.ndarray]) -> None:
    values = np.concatenate([np.empty(0), *chunks])
    made = bands(chunks)
    band = made.of(values)
    assert ((band >= 0) & (band < len(made))).all()
    assert len(made) < 2 * MOST_LEVELS
    order = np.argsort(-known(values), kind="stable")
    assert (np.diff(band[order]) >= 0).all()
    for level in np.unique(known(values)):
        assert len(set(band[known(values) == level].tolist())) == 1


@pytest.mark.parametrize("n_levels", [1, 2, MOST_LEVELS])
def test_few_values_are_a_band_each_however_rare(n_levels: int) -> None:
    values = np.zeros(1000)
    values[: n_levels - 1] = np.arange(1, n_levels)
    made = bands([values[:300], values[300:]])
    assert len(made) == n_levels
    assert made.of(np.arange(n_levels - 1, -1, -1.0)).tolist() == list(range(n_levels))


def test_rows_without_a_priority_are_a_level_below_all_numbers() -> None:
    made = bands([np.array([1.0, np.nan, -5.0])])
    assert made.of(np.array([1.0, -5.0, np.nan])).tolist() == [0, 1, 2]


def test_many_values_are_parted_into_equal_shares_of_the_rows() -> None:
    chunks = [np.random.default_rng(seed).random(50_000) for seed in range(4)]
    made = bands(chunks)
    assert len(made) == MOST_LEVELS
    shares = np.bincount(made.of(np.concatenate(chunks))) / 200_000
    assert shares == pytest.approx([1 / MOST_LEVELS] * MOST_LEVELS, abs=0.01)


@pytest.mark.parametrize("frequent", [0.0, 1000.0])
def test_a_value_of_most_rows_is_parted_from_those_above_and_below_it(frequent: float) -> None:
    values = np.full(10_000, frequent)
    values[:900] = np.arange(1.0, 901.0)
    made = bands([values])
    of_frequent = int(made.of(np.array([frequent]))[0])
    others = made.of(values[:900])
    assert of_frequent not in set(others.tolist())


def test_the_sample_stays_small_and_is_of_the_whole_table() -> None:
    n = 40
    made = bands(np.full(50_000, 0.0) + at + np.linspace(0, 0.5, 50_000) for at in range(n))
    assert made.of(np.array([n - 0.9, 0.1])).tolist() == [0, len(made) - 1]
    assert len(made) == MOST_LEVELS
    assert made.floors[0] == pytest.approx(0.8 * n, abs=1)
