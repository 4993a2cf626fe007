"""Where one side begins to cost less than the other, and what a month of reviews costs: laws over all price lists."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sides import billed, service

from reviewopt.benchmark.volume import VOLUMES, Flat, Tiered, money, scale, turns_at
from reviewopt.pricelist import ServicePrice

CENTS = st.integers(1, 1000).map(lambda n: Decimal(n) / 1000)


@st.composite
def price_lists(draw: st.DrawFn) -> ServicePrice:
    ends = sorted(draw(st.sets(st.integers(1, 60), max_size=3)))
    falling = sorted(draw(st.lists(CENTS, min_size=len(ends) + 1, max_size=len(ends) + 1)), reverse=True)
    tiers = zip([*ends, None], falling, strict=True)
    return service(tuple((end, f"{usd:f}") for end, usd in tiers))


@settings(max_examples=100)
@given(price_lists(), st.integers(1, 30), st.integers(1, 30), CENTS, st.integers(1, 40), st.integers(1, 60))
def test_the_volume_at_which_it_turns_is_the_first_one_and_it_never_turns_back(
    offered: ServicePrice, n_units: int, n: int, usd: Decimal, n_ours: int, least: int
) -> None:
    own, rival = Flat(usd, n_ours), Tiered(offered, n_units, n)
    is_less = [rival.at(volume) < own.at(volume) for volume in range(least, 300)]
    found = turns_at(own, rival, least=least)
    if found is None:
        assert not any(is_less)
    elif found < 300:
        assert is_less.index(True) == found - least
        assert all(is_less[found - least :])
    else:
        assert not any(is_less)
        assert rival.at(found) < own.at(found)
        assert not rival.at(found - 1) < own.at(found - 1)


@settings(max_examples=60)
@given(price_lists(), st.integers(1, 30), st.integers(1, 30), st.integers(0, 900))
def test_a_month_never_costs_less_for_more_reviews_and_its_tiers_add_up(
    offered: ServicePrice, n_units: int, n: int, volume: int
) -> None:
    curve = Tiered(offered, n_units, n)
    month, more = curve.monthly(volume), curve.monthly(volume + 1)
    assert Decimal(more.usd) >= Decimal(month.usd) == sum(Decimal(usd) for _, _, usd in month.parts)
    assert sum(units for units, _, _ in month.parts) == -(-n_units * volume // n)
    assert Fraction(month.usd) >= curve.at(volume), "units are rounded up"


def test_a_rival_that_is_dearer_in_its_last_tier_too_is_never_cheaper() -> None:
    aws = billed("aws")
    assert turns_at(Flat(Decimal("0.05"), 10_000), aws.curve) is None


def test_a_run_that_is_dearer_than_the_last_tier_alone_is_beaten_from_one_volume_on() -> None:
    aws = billed("aws")  # 5 units a review: $.0005, from two million on $.00025, from ten million on $.000125
    own = Flat(Decimal(4), 10_000)  # $.0004 a review
    found = turns_at(own, aws.curve)
    assert found == 3_333_334  # 1000 + (n - 2e6) x .00025 < n x .0004
    assert aws.curve.at(found) < own.at(found)


def test_a_certified_run_has_no_price_below_what_was_measured() -> None:
    rows = scale({"certified": Flat(Decimal(2), 10_000, 10_000), "aws": billed("aws").curve})
    priced = {row.n_reviews: row.usd["certified"] for row in rows if not row.whose}
    assert [n for n, usd in priced.items() if usd is None] == [1_000, 5_000]
    assert priced[100_000] == "20.000000000000"
    assert tuple(priced) == VOLUMES
    assert len([row for row in rows if row.whose]) == 3


@pytest.mark.parametrize(("usd", "told"), [(Fraction(1, 3), "0.333333333334"), (Decimal(5), "5.000000000000")])
def test_money_is_rounded_up_at_the_twelfth_place(usd: Fraction | Decimal, told: str) -> None:
    assert money(usd) == told
