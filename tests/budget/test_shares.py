"""Sharing out: the parts add up to the unit."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from purses import UNIT

from reviewopt.budget import (
    Asked,
)
from reviewopt.budget.values import question_units, split, units_of, usd_of


@settings(deadline=None)
@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**6), min_size=1, max_size=30))
def test_parts_add_up_and_are_the_exact_share_up_to_one_unit(units: int, weights: list[int]) -> None:
    parts = split(units, weights)
    assert sum(parts) == units
    if total := sum(weights):
        assert all(abs(part * total - units * weight) < total for part, weight in zip(parts, weights, strict=True))


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20), st.data())
def test_no_tenant_is_charged_more_than_was_reserved_for_it(held: list[int], data: st.DataObject) -> None:
    charged = data.draw(st.integers(0, sum(held)))
    if sum(held):
        assert all(part <= most for part, most in zip(split(charged, held), held, strict=True))


@settings(deadline=None)
@given(
    st.integers(0, 10**12), st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 500)), min_size=1, max_size=40)
)
def test_the_questions_of_a_tenant_cost_what_the_tenant_is_charged(units: int, asked: list[tuple[str, int]]) -> None:
    questions = [Asked(review_id="r", key="00", n_tokens=n, outcome="answered", tenant=tenant) for tenant, n in asked]
    weights: dict[str, int] = {}
    for tenant, n in asked:
        weights[tenant] = weights.get(tenant, 0) + n
    shares = dict(zip(weights, split(units, list(weights.values())), strict=True))
    parts = question_units(shares, questions)
    for tenant, share in shares.items():
        assert sum(part for part, one in zip(parts, questions, strict=True) if one.tenant == tenant) == share


@settings(deadline=None)
@given(st.decimals(min_value=0, max_value=1000, places=12))
def test_money_goes_into_units_and_back(usd: Decimal) -> None:
    assert usd_of(units_of(usd)) == usd
    assert usd_of(units_of(usd + UNIT / 3)) == usd + UNIT
