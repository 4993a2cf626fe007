"""Packs: nothing is lost or doubled, every bound holds, tenants stay apart, and what is left over is spread."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt import pack
from reviewopt.pack import I64, Bounds

WIDE = {"most_input_tokens": 10**9, "most_output_tokens": 10**9, "output_tokens_a_review": 5.0}


def bounds(**values: Any) -> Bounds:
    return Bounds(**{**WIDE, **values})


def cut(n: int, limits: Bounds, weight: float = 1.0, n_tokens: int = 10) -> list[int]:
    made = pack.packs(np.arange(n), np.full(n, n_tokens), np.full(n, weight), None, limits)
    return [len(each) for each in made]


@st.composite
def batches(draw: st.DrawFn) -> tuple[I64, I64, pack.F64, I64 | None, Bounds]:
    n, seed = draw(st.integers(0, 120)), draw(st.integers(0, 10**6))
    chance = np.random.default_rng(seed)
    limits = Bounds(
        size=draw(st.integers(10, 60)),
        fixed=draw(st.sampled_from([0, 0, 1, 7, 25, 500])),
        most=draw(st.integers(1, 80)),
        least=draw(st.integers(1, 20)),
        sizes=draw(st.sampled_from([(), (), (4, 8, 12, 16, 20, 40), (30,)])),
        most_input_tokens=draw(st.integers(1, 3000)),
        most_output_tokens=draw(st.integers(1, 600)),
        output_tokens_a_review=draw(st.sampled_from([0.0, 1.5, 7.0])),
    )
    n_tokens = chance.integers(0, draw(st.sampled_from([2, 50, 4000])), n)
    tenant = chance.integers(-1, 4, n) if draw(st.booleans()) else None
    order = pack.shuffled(n, seed)[: draw(st.integers(0, n))]
    return order, n_tokens, pack.load(chance.random(n), limits), tenant, limits


@given(batches())
@settings(deadline=None)
def test_packing_loses_and_doubles_nothing(batch: tuple[I64, I64, pack.F64, I64 | None, Bounds]) -> None:
    packed = list(pack.packs(*batch))
    assert all(len(each) for each in packed)
    assert sorted(itertools.chain.from_iterable(each.tolist() for each in packed)) == sorted(batch[0].tolist())


@given(batches())
@settings(deadline=None)
def test_every_pack_of_more_than_one_is_within_every_bound(
    batch: tuple[I64, I64, pack.F64, I64 | None, Bounds],
) -> None:
    _, n_tokens, weight, tenant, limits = batch
    for each in pack.packs(*batch):
        assert tenant is None or len(set(tenant[each].tolist())) == 1
        if len(each) > 1:
            assert len(each) <= min(limits.most, limits.fixed or limits.most)
            assert n_tokens[each].sum() <= limits.most_input_tokens
            assert len(each) * limits.output_tokens_a_review <= limits.most_output_tokens + 1e-6
            assert limits.fixed or weight[each].sum() <= limits.size + 1e-5


@given(batches())
@settings(deadline=None)
def test_a_tenants_reviews_keep_their_order_and_come_together(
    batch: tuple[I64, I64, pack.F64, I64 | None, Bounds],
) -> None:
    order, _, _, tenant, _ = batch
    flat = [position for each in pack.packs(*batch) for position in each.tolist()]
    if tenant is None:
        assert flat == order.tolist()
        return
    codes = tenant[flat].tolist()
    assert len([code for code, _ in itertools.groupby(codes)]) == len(set(codes))
    for code in set(codes):
        assert [at for at in flat if tenant[at] == code] == [at for at in order.tolist() if tenant[at] == code]


@given(batches())
@settings(deadline=None)
def test_two_neighbouring_packs_of_a_tenant_would_not_fit_into_one(
    batch: tuple[I64, I64, pack.F64, I64 | None, Bounds],
) -> None:
    _, n_tokens, weight, tenant, limits = batch
    for one, two in itertools.pairwise(pack.packs(*batch)):
        both = np.concatenate((one, two))
        assert (
            len(both) > limits.most_reviews
            or n_tokens[both].sum() > limits.most_input_tokens
            or (not limits.fixed and (weight[both].sum() > limits.size or limits.sizes))
            or (tenant is not None and tenant[one[0]] != tenant[two[0]])
        )


@pytest.mark.parametrize(
    ("n", "sizes"), [(0, []), (1, [1]), (25, [25]), (26, [13, 13]), (27, [14, 13]), (50, [25, 25]), (51, [25, 13, 13])]
)
def test_reviews_of_middling_complexity_make_packs_of_the_size_and_share_the_rest(n: int, sizes: list[int]) -> None:
    assert cut(n, bounds()) == sizes


@given(st.integers(1, 3000), st.integers(10, 500))
@settings(deadline=None)
def test_equal_reviews_make_as_few_packs_as_can_be_and_none_of_a_few(n: int, size: int) -> None:
    sizes = cut(n, bounds(size=size))
    assert len(sizes) == math.ceil(n / size)
    assert sizes[:-2] == [size] * len(sizes[:-2])
    assert max(sizes[-2:]) - min(sizes[-2:]) <= 1 or len(sizes) == 1


def test_simple_reviews_make_packs_of_twice_the_size_and_complex_ones_of_the_least() -> None:
    simple, middle, complex_ = pack.load(np.array([0.0, 0.5, 1.0]), bounds())
    assert (simple, middle, complex_) == (0.5, 1.0, 2.5)
    assert cut(1000, bounds(), simple) == [50] * 20
    assert cut(1000, bounds(), complex_) == [10] * 100
    assert cut(70, bounds(least=7), 25 / 7) == [7] * 10  # whose sums are not exact
    assert cut(1000, bounds(size=400, most=500), simple) == [500] * 2
    assert set(cut(1000, bounds(size=10), float(pack.load(np.array([1.0]), bounds(size=10))[0]))) == {10}


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.integers(10, 500))
def test_a_more_complex_review_never_weighs_less(complexity: list[float], size: int) -> None:
    weight = pack.load(np.sort(np.array(complexity)), bounds(size=size))
    assert (np.diff(weight) >= 0).all()
    assert weight.min() >= 0.5
    assert weight.max() <= max(1.0, size / 10)


def test_a_fixed_size_is_kept_but_for_the_rest_and_the_limits_of_tokens() -> None:
    assert cut(60, bounds(fixed=25), weight=2.5) == [25, 25, 10]
    assert cut(3, bounds(fixed=1)) == [1, 1, 1]
    assert cut(60, bounds(fixed=25, most_input_tokens=200)) == [20, 20, 20]
    assert cut(60, bounds(fixed=25, most_output_tokens=100)) == [20, 20, 20]


def test_a_review_that_exceeds_the_tokens_alone_makes_a_pack_of_one() -> None:
    made = pack.packs(np.arange(5), np.array([5, 5, 900, 5, 5]), np.ones(5), None, bounds(most_input_tokens=100))
    assert [each.tolist() for each in made] == [[0, 1], [2], [3, 4]]


def test_the_last_two_packs_stay_within_their_tokens_where_they_share() -> None:
    n_tokens = np.array([70, 10, 10, 5, 50, 50])
    made = pack.packs(np.arange(6), n_tokens, np.ones(6), None, bounds(most_input_tokens=100))
    assert [each.tolist() for each in made] == [[0, 1, 2, 3], [4, 5]]


def test_a_reply_too_short_for_one_answer_still_makes_packs_of_one() -> None:
    assert cut(3, bounds(most_output_tokens=2)) == [1, 1, 1]


def test_packs_come_in_the_sizes_that_are_given_but_for_the_rest_of_a_tenant() -> None:
    sizes = tuple(range(4, 501, 4))
    assert cut(200, bounds(sizes=sizes)) == [24] * 7 + [16, 16]
    assert cut(100, bounds(sizes=(30,))) == [25] * 4  # none is small enough
    weight = pack.load(np.random.default_rng(1).random(5_000), bounds())
    made = [len(each) for each in pack.packs(np.arange(5_000), np.full(5_000, 9), weight, None, bounds(sizes=sizes))]
    assert set(made[:-2]) <= set(sizes)
    assert cut(60, bounds(sizes=sizes, fixed=25)) == [25, 25, 10]


def test_many_tenants_do_not_make_many_small_packs() -> None:
    order = pack.shuffled(10_000, 1)
    tenant = np.arange(10_000) % 40
    sizes = [len(each) for each in pack.packs(order, np.full(10_000, 9), np.ones(10_000), tenant, bounds())]
    assert sizes == [25] * 400


def test_packs_are_made_as_they_are_taken() -> None:
    made = pack.packs(np.arange(10**6), np.full(10**6, 9), np.ones(10**6), None, bounds())
    assert iter(made) is made
    assert len(next(made)) == 25


def test_a_shuffle_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert sorted(pack.shuffled(1000, 3).tolist()) == list(range(1000))
    assert pack.shuffled(1000, 3).tolist() == pack.shuffled(1000, 3).tolist()
    assert pack.shuffled(1000, 3).tolist() != pack.shuffled(1000, 4).tolist()
    assert pack.shuffled(1000, 3).tolist() != list(range(1000))
