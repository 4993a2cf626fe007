"""What a GPU costs: laws that hold for any price, speed and utilisation."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt.hosting import cost, facts
from reviewopt.hosting.cost import Owned

FACTS = facts.read()
H100 = FACTS.gpu("H100")

usd = st.decimals("0.01", "50", places=4)
speeds = st.decimals("0.1", "5000", places=3)
shares = st.decimals("0.01", "1", places=2)
api_usd = st.decimals("0.000001", "0.01", places=9)


def owned(utilisation: str = "0.5", usd_per_kwh: str = "0.08", capex: str = "30000") -> Owned:
    return cost.owned(
        Decimal(capex), H100, FACTS.assumptions, usd_per_kwh=Decimal(usd_per_kwh), utilisation=Decimal(utilisation)
    )


def test_a_thousand_reviews_on_a_rented_gpu() -> None:
    # $3.60 an hour is $0.001 a second; at 10 reviews a second and half the hours worked, 1,000 take 200 paid seconds.
    assert cost.rented_usd_a_thousand(Decimal("3.6"), Decimal(10), Decimal("0.5")) == Decimal("0.2")


@settings(max_examples=40)
@given(usd, usd, speeds, shares, shares)
def test_a_review_costs_more_where_the_gpu_does_and_less_where_it_is_used_more(
    cheap: Decimal, dear: Decimal, speed: Decimal, seldom: Decimal, often: Decimal
) -> None:
    cheap, dear = sorted((cheap, dear))
    seldom, often = sorted((seldom, often))
    at = cost.rented_usd_a_thousand
    assert at(cheap, speed, often) <= at(dear, speed, often)
    assert at(cheap, speed, often) <= at(cheap, speed, seldom)
    assert at(cheap, 2 * speed, often) < at(cheap, speed, often)


def test_a_bought_gpu_pays_its_hardware_in_useful_hours_and_its_energy_once() -> None:
    # (30,000 x 1.5) / (4 x 8,760 x .5) and .7 kW x 1.54 x $0.08.
    half, full = owned("0.5"), owned("1")
    assert half.hardware_usd == Decimal("2.568493")
    assert half.energy_usd == full.energy_usd == Decimal("0.086240")
    assert abs(half.hardware_usd - 2 * full.hardware_usd) <= Decimal("0.000001")


def test_the_utilisation_of_a_bought_gpu_is_not_divided_by_twice() -> None:
    # At half the hours worked a review costs the doubled hardware and the same energy: never four times as much.
    speed = Decimal(100)
    half, full = (cost.owned_usd_a_thousand(owned(share), speed) for share in ("0.5", "1"))
    right = (2 * owned("1").hardware_usd + owned("1").energy_usd) / 3600 / speed * 1000
    assert half == pytest.approx(right, rel=Decimal("1e-6"))
    assert half < 2 * full
    twice = cost.rented_usd_a_thousand(owned("0.5").usd_a_useful_hour, speed, Decimal("0.5"))
    assert twice > Decimal("1.9") * half


@settings(max_examples=40)
@given(shares, st.decimals("0", "1", places=3), st.decimals("1000", "60000", places=0))
def test_the_parts_of_a_useful_hour_add_up(utilisation: Decimal, kwh: Decimal, capex: Decimal) -> None:
    found = owned(f"{utilisation}", f"{kwh}", f"{capex}")
    assert found.hardware_usd + found.energy_usd + found.operations_usd == found.usd_a_useful_hour
    # The hardware of a month is that of its useful hours, to what rounding an hour leaves.
    assert found.hardware_usd * 730 * utilisation == pytest.approx(found.idle_usd_a_month, abs=Decimal("0.001"))


@settings(max_examples=40)
@given(api_usd, st.decimals("1", "9000", places=2), st.decimals("0", "0.01", places=9))
def test_the_break_even_is_the_first_volume_at_which_the_gpu_costs_less(
    api: Decimal, month: Decimal, own: Decimal
) -> None:
    n = cost.break_even(api, month, own_usd=own, capacity=None)
    if n is None:
        assert api <= own
        return
    assert month + n * own < n * api
    assert month + (n - 1) * own >= (n - 1) * api


def test_the_break_even_is_exact_where_it_is_hit_exactly() -> None:
    # 1,000 at $0.001 cost exactly the dollar of the GPU: the API is as cheap, so the 1,001st makes it pay.
    assert cost.break_even(Decimal("0.001"), Decimal(1), capacity=None) == 1001


def test_more_than_one_gpu_manages_is_no_break_even() -> None:
    assert cost.break_even(Decimal("0.001"), Decimal(1), capacity=1001) == 1001
    assert cost.break_even(Decimal("0.001"), Decimal(1), capacity=1000) is None


@settings(max_examples=40)
@given(speeds, shares, shares)
def test_capacity_grows_with_utilisation(speed: Decimal, seldom: Decimal, often: Decimal) -> None:
    seldom, often = sorted((seldom, often))
    assert cost.capacity_a_month(speed, seldom) <= cost.capacity_a_month(speed, often)
    assert cost.capacity_a_month(speed, Decimal(1)) == int(speed * 3600 * 730)


def test_energy_holds_the_sites_losses() -> None:
    # 700 W x 1.54 for the ten seconds that 1,000 reviews take.
    assert cost.kwh_a_thousand(H100, FACTS.assumptions, Decimal(100)) == pytest.approx(
        Decimal("0.7") * Decimal("1.54") * 10 / 3600, rel=Decimal("1e-12")
    )


def test_buying_beats_renting_by_the_hour_only_from_some_hours_on() -> None:
    hours = cost.used_hours_to_own(owned(), Decimal("3.99"))
    assert hours is not None
    idle, energy = owned().idle_usd_a_month, owned().energy_usd
    assert idle + hours * energy < hours * Decimal("3.99")
    assert idle + (hours - 1) * energy >= (hours - 1) * Decimal("3.99")
    assert cost.used_hours_to_own(owned(), Decimal("0.5")) is None


def test_what_spot_saves() -> None:
    assert cost.saved_share(Decimal("6.88"), Decimal("3.44")) == pytest.approx(0.5)
    assert cost.saved_share(Decimal(1), Decimal(2)) == pytest.approx(-1)
