"""Near copies: who is in a group with whom, and whose answer is shared."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import fuzz

from reviewopt.dedup import near
from reviewopt.dedup.near import Near
from reviewopt.text.sharing import Sharing
from reviewopt.text.sketch import sketch

SAYING = "i bought this kettle for my mother in spring and she uses it each day for the tea"
WORDS = st.lists(st.sampled_from(["pot", "lid", "box", "can", "tin", "jar", "cup", "mug"]), min_size=3, max_size=9)


def always(left: pl.Series, right: pl.Series) -> npt.NDArray[np.bool_]:
    return np.ones(min(len(left), len(right)), np.bool_)


def find(texts: list[str], *, share: bool = True, tenants: list[int] | None = None) -> Near:
    form = pl.Series(texts, dtype=pl.String)
    tenant = None if tenants is None else np.array(tenants, np.uint64)
    alike = always if share else None
    return near.find(form, sketch(form), threshold=85, workers=1, alike=alike, tenant=tenant)


def test_a_near_copy_is_in_the_group_of_the_first_and_may_take_its_answer() -> None:
    found = find([SAYING, "something else altogether, said by another", SAYING + " indeed"])
    assert found.first.tolist() == [0, 1, 0]
    assert found.leader.tolist() == [-1, -1, 0]


def test_a_chain_is_one_group_but_nobody_takes_an_answer_from_afar() -> None:
    chain = ["x" * 9 * n + SAYING[9 * n :] for n in range(5)]
    found = find(chain)
    assert fuzz.ratio(chain[0], chain[4]) < 85
    assert set(found.first.tolist()) == {0}
    for follower, leader in enumerate(found.leader.tolist()):
        assert leader < 0 or fuzz.ratio(chain[follower], chain[leader]) >= 85


def test_a_follower_takes_the_most_similar_leader() -> None:
    first, second = SAYING + "a" * 30, SAYING + "b" * 30
    assert fuzz.ratio(first, second) < 85
    found = find([first, second, SAYING + "b" * 28 + "cc"])
    assert found.leader.tolist() == [-1, -1, 1]


def test_without_a_rule_for_sharing_groups_are_found_and_nobody_follows() -> None:
    found = find([SAYING, SAYING + " indeed"], share=False)
    assert found.first.tolist() == [0, 0]
    assert found.leader.tolist() == [-1, -1]


def test_unequal_signatures_share_nothing_but_are_in_one_group() -> None:
    form = pl.Series(["this kettle is good and i use it each day", "this kettle is not good and i use it each day"])
    found = near.find(form, sketch(form), threshold=85, workers=1, alike=Sharing())
    assert found.first.tolist() == [0, 0]
    assert found.leader.tolist() == [-1, -1]


def test_two_tenants_are_never_in_one_group() -> None:
    found = find([SAYING, SAYING + " indeed", SAYING + " indeed!"], tenants=[1, 2, 2])
    assert found.first.tolist() == [0, 1, 1]
    assert found.leader.tolist() == [-1, -1, 1]


def test_what_another_tenant_writes_changes_nothing() -> None:
    mine = [f"{SAYING} {word}" for word in ["pot", "lid", "box", "can", "tin", "jar", "cup", "mug"]]
    others = [f"{SAYING} {at} {at * 7919 % 10_007}" for at in range(600)]
    alone = find(mine, tenants=[1] * len(mine))
    beside = find(others + mine, tenants=[2] * len(others) + [1] * len(mine))
    assert (beside.first[len(others) :] - len(others)).tolist() == alone.first.tolist()
    leader = beside.leader[len(others) :]
    assert np.where(leader < 0, -1, leader - len(others)).tolist() == alone.leader.tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS.map(" ".join), min_size=1, max_size=24, unique=True))
def test_leaders_lead_and_followers_are_near_them(texts: list[str]) -> None:
    found = find(texts)
    for follower, leader in enumerate(found.leader.tolist()):
        if leader >= 0:
            assert leader < follower
            assert found.leader[leader] < 0
            assert found.first[follower] == found.first[leader]
            assert fuzz.ratio(texts[follower], texts[leader]) >= 85
    assert (found.first <= np.arange(len(texts))).all()
    assert (found.first[found.first] == found.first).all()


@pytest.mark.parametrize("texts", [[], ["ok"]])
def test_few_texts_are_no_trouble(texts: list[str]) -> None:
    found = find(texts)
    assert found.first.tolist() == list(range(len(texts)))
    assert found.leader.tolist() == [-1] * len(texts)
