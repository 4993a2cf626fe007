"""Near copies: who is in a group with whom, and whose answer is shared."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import fuzz

from reviewopt.dedup.near import Near, NearCopies, New
from reviewopt.text.sharing import Sharing
from reviewopt.text.sketch import sketch

SAYING = "i bought this kettle for my mother in spring and she uses it each day for the tea"
WORDS = st.lists(st.sampled_from(["pot", "lid", "box", "can", "tin", "jar", "cup", "mug"]), min_size=3, max_size=9)


def always(left: pl.Series, right: pl.Series) -> npt.NDArray[np.bool_]:
    return np.ones(min(len(left), len(right)), np.bool_)


def find(
    texts: list[str], cuts: list[int] | None = None, *, share: bool = True, tenants: list[int] | None = None
) -> Near:
    copies = NearCopies(threshold=85, workers=1, alike=always if share else None, window_rows=8)
    parts = []
    bounds = sorted({0, len(texts), *(cut for cut in cuts or [] if cut < len(texts))})
    for start, end in itertools.pairwise(bounds):
        form = pl.Series(texts[start:end], dtype=pl.String)
        number = np.arange(start, end)
        tenant = np.array((tenants or [0] * len(texts))[start:end], np.int64)
        parts.append(copies.find(New(question=number, row=number, form=form, sketches=sketch(form), tenant=tenant)))
    return Near(root=np.concatenate([one.root for one in parts]), leader=np.concatenate([one.leader for one in parts]))


def test_a_near_copy_is_in_the_group_of_the_first_and_may_take_its_answer() -> None:
    near = find([SAYING, "something else altogether, said by another", SAYING + " indeed"])
    assert near.root.tolist() == [0, 1, 0]
    assert near.leader.tolist() == [-1, -1, 0]


def test_a_chain_is_one_group_but_nobody_takes_an_answer_from_afar() -> None:
    chain = ["x" * 9 * n + SAYING[9 * n :] for n in range(5)]
    near = find(chain)
    assert fuzz.ratio(chain[0], chain[4]) < 85
    assert set(near.root.tolist()) == {0}
    for follower, leader in enumerate(near.leader.tolist()):
        assert leader < 0 or fuzz.ratio(chain[follower], chain[leader]) >= 85


def test_a_follower_takes_the_most_similar_leader() -> None:
    first, second = SAYING + "a" * 30, SAYING + "b" * 30
    assert fuzz.ratio(first, second) < 85
    near = find([first, second, SAYING + "b" * 28 + "cc"])
    assert near.leader.tolist() == [-1, -1, 1]


def test_without_a_rule_for_sharing_groups_are_found_and_nobody_follows() -> None:
    near = find([SAYING, SAYING + " indeed"], share=False)
    assert near.root.tolist() == [0, 0]
    assert near.leader.tolist() == [-1, -1]


def test_unequal_signatures_share_nothing_but_are_in_one_group() -> None:
    copies = NearCopies(threshold=85, workers=1, alike=Sharing())
    form = pl.Series(["this kettle is good and i use it each day", "this kettle is not good and i use it each day"])
    number = np.arange(2)
    near = copies.find(New(question=number, row=number, form=form, sketches=sketch(form), tenant=np.zeros(2, np.int64)))
    assert near.root.tolist() == [0, 0]
    assert near.leader.tolist() == [-1, -1]


def test_two_tenants_are_never_in_one_group() -> None:
    near = find([SAYING, SAYING + " indeed", SAYING + " indeed!"], tenants=[1, 2, 2])
    assert near.root.tolist() == [0, 1, 1]
    assert near.leader.tolist() == [-1, -1, 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS.map(" ".join), min_size=1, max_size=24, unique=True), st.lists(st.integers(1, 23), max_size=6))
def test_chunk_sizes_change_no_leader(texts: list[str], cuts: list[int]) -> None:
    assert find(texts, cuts).leader.tolist() == find(texts).leader.tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS.map(" ".join), min_size=1, max_size=24, unique=True))
def test_leaders_lead_and_followers_are_near_them(texts: list[str]) -> None:
    near = find(texts)
    for follower, leader in enumerate(near.leader.tolist()):
        if leader >= 0:
            assert leader < follower
            assert near.leader[leader] < 0
            assert follower // 8 == leader // 8
            assert near.root[follower] == near.root[leader]
            assert fuzz.ratio(texts[follower], texts[leader]) >= 85
    assert (near.root <= np.arange(len(texts))).all()
    assert (near.root[near.root] == near.root).all()


@pytest.mark.parametrize("texts", [[], ["ok"]])
def test_few_texts_are_no_trouble(texts: list[str]) -> None:
    copies = NearCopies(threshold=85, workers=1, alike=always)
    form, number = pl.Series(texts, dtype=pl.String), np.arange(len(texts))
    near = copies.find(
        New(question=number, row=number, form=form, sketches=sketch(form), tenant=np.zeros(len(texts), np.int64))
    )
    assert near.root.tolist() == number.tolist()
    assert near.leader.tolist() == [-1] * len(texts)
