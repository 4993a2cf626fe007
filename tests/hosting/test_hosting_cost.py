"""What a GPU costs: laws that hold for any price, speed and utilisation."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hosted import price_of
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt.hosting import cost, facts
from reviewopt.hosting.cost import Owned
from reviewopt.hosting.figures import Way

FACTS = facts.read()
H100 = FACTS.gpu("H100")

speeds = st.decimals("0.1", "5000", places=3)
shares = st.decimals("0.01", "1", places=2)
api_usd = st.decimals("0.001", "10", places=9)
volumes = st.integers(1, 10**11)


def bought(utilisation: str = "0.5", usd_per_kwh: str = "0.08", speed: str = "100") -> Way:
    way = cost.bought(H100, FACTS.assumptions, Decimal(speed), Decimal(utilisation), Decimal(usd_per_kwh))
    assert way is not None
    return way


def way_of(step_usd: str, step_reviews: int, own_usd: str = "0") -> Way:
    return Way(
        how="month", gpu="a GPU", price=None, n_gpus_a_step=1, step_reviews=step_reviews, step_usd=step_usd,
        hardware_usd=None, site_usd=None, own_usd_a_review=own_usd,
    )  # fmt: skip


def test_an_hour_is_paid_whole_and_works_the_utilisation_of_it() -> None:
    # At 10 reviews a second and half the hour worked, an hour manages 18,000.
    way = cost.rented(price_of("H100", "3.6"), "hour", Decimal(10), Decimal("0.5"))
    assert (way.step_usd, way.step_reviews) == ("3.600000", 18_000)
    for n, hours in ((1, 1), (18_000, 1), (18_001, 2)):
        bill = cost.bill(way, n)
        assert (bill.n_steps, Decimal(bill.usd)) == (hours, hours * Decimal("3.6"))


def test_a_month_is_730_hours_and_more_gpus_where_one_is_too_slow() -> None:
    way = cost.rented(price_of("H100", "2"), "month", Decimal(10), Decimal("0.5"))
    one, two = cost.bill(way, 730 * 18_000), cost.bill(way, 730 * 18_000 + 1)
    assert (one.usd, one.n_gpus) == ("1460.000000", 1)
    assert (two.usd, two.n_gpus) == ("2920.000000", 2)


def test_what_is_let_by_eight_is_paid_and_works_by_eight() -> None:
    hour, month = (
        cost.rented(price_of("H100", "2", n_gpus_least=8), how, Decimal(10), Decimal("0.5"))
        for how in ("hour", "month")
    )
    assert (hour.step_usd, hour.step_reviews) == ("16.000000", 8 * 18_000)
    assert (month.step_usd, cost.bill(month, 1).n_gpus) == ("11680.000000", 8)
    many = cost.bill(hour, 731 * 8 * 18_000)  # more hours than a month has: two machines
    assert (many.n_steps, many.n_gpus) == (731, 16)


@settings(max_examples=40)
@given(speeds, shares, shares, volumes)
def test_a_gpu_that_works_more_of_its_hours_never_costs_more(
    speed: Decimal, seldom: Decimal, often: Decimal, n: int
) -> None:
    seldom, often = sorted((seldom, often))
    price = price_of("H100", "3.99")
    for how in ("hour", "month"):
        bills = [cost.bill(cost.rented(price, how, speed, share), n) for share in (often, seldom)]
        assert Decimal(bills[0].usd) <= Decimal(bills[1].usd)


@settings(max_examples=40)
@given(speeds, shares, volumes)
def test_renting_by_the_hour_never_costs_more_than_by_the_month(speed: Decimal, share: Decimal, n: int) -> None:
    price = price_of("H100", "3.99")
    hour, month = (cost.bill(cost.rented(price, how, speed, share), n) for how in ("hour", "month"))
    assert Decimal(hour.usd) <= Decimal(month.usd)


def test_a_month_of_a_bought_gpu_is_hardware_its_place_and_the_energy_of_its_work() -> None:
    # 32,500 x 1.5 / 48 months and .7 kW x 1.82 x $200, four to a board; .7 x 1.82 x 1.54 kWh in 3,600 x 100 reviews.
    way = bought()
    assert way.n_gpus_a_step == 4
    assert way.hardware_usd == "4062.500000"
    assert way.site_usd == "1019.200000"
    assert way.step_usd == "5081.700000"
    energy = Decimal("0.7") * Decimal("1.82") * Decimal("1.54") * Decimal("0.08") / 360_000
    assert Decimal(way.own_usd_a_review) == pytest.approx(energy, abs=Decimal("1e-15"))


def test_the_utilisation_of_a_bought_gpu_is_counted_once() -> None:
    # At half the hours worked a full GPU's review costs the doubled hardware and the same energy: never four times.
    half, full = bought("0.5"), bought("1")
    assert (half.step_usd, half.own_usd_a_review) == (full.step_usd, full.own_usd_a_review)
    assert full.step_reviews == 2 * half.step_reviews


@settings(max_examples=40)
@given(st.sampled_from(["0.1", "0.5", "1"]), st.decimals("0", "1", places=3), volumes)
def test_the_parts_of_a_bought_month_add_up_exactly_and_are_rounded_once(util: str, kwh: Decimal, n: int) -> None:
    way = bought(util, f"{kwh}")
    bill = cost.bill(way, n, H100)
    parts = [Decimal(one or "nan") for one in (bill.hardware_usd, bill.energy_usd, bill.site_usd)]
    assert sum(parts) == Decimal(bill.usd)
    assert parts[0] == bill.n_steps * Decimal("4062.5")
    assert Decimal(bill.low_usd) == Decimal(bill.usd) - parts[0] * Decimal(7500) / 32_500
    assert Decimal(bill.high_usd) - Decimal(bill.usd) == Decimal(bill.usd) - Decimal(bill.low_usd)


def test_what_no_source_prices_is_not_bought() -> None:
    l4 = FACTS.gpu("L4")
    assert cost.bought(l4, FACTS.assumptions, Decimal(1), Decimal(1), Decimal("0.1")) is None


@settings(max_examples=60)
@given(api_usd, st.decimals("0.01", "9000", places=2), st.integers(1, 10**6), st.decimals("0", "0.005", places=9))
def test_from_the_break_even_on_it_always_costs_less_and_just_before_it_does_not(
    api: Decimal, step: Decimal, reviews: int, own: Decimal
) -> None:
    way = way_of(f"{step}", reviews, f"{own}")

    def is_less(n: int) -> bool:
        return -(-n // reviews) * step + n * own < n * api / 1000

    n = cost.pays_from(way, api)
    if n is None:
        assert step >= reviews * (api / 1000 - own)  # not even where every step is full
        return
    # A step's first review is the worst of it, and every later step is better than the one before.
    assert all(is_less(at) for at in (n, n + 1, *((-(-n // reviews) + more) * reviews + 1 for more in range(3))))
    assert n == 1 or not is_less(n - 1)


def test_the_break_even_is_exact_where_it_is_hit_exactly() -> None:
    # 1,000 at $1 the 1,000 cost exactly the dollar of the GPU: the API is as cheap, so the 1,001st makes it pay.
    assert cost.pays_from(way_of("1", 10**9), Decimal(1)) == 1001
    # With 1,500 to a step 1,001 pay, but 1,501 cost a second dollar: for good only from 2,001 on.
    assert cost.pays_from(way_of("1", 1500), Decimal(1)) == 2001
    assert cost.pays_from(way_of("1", 1000), Decimal(1)) is None


def test_energy_holds_the_server_and_the_sites_losses() -> None:
    # 700 W x 1.82 x 1.54 for the ten seconds that 1,000 reviews take.
    assert cost.kwh_a_thousand(H100, FACTS.assumptions, Decimal(100)) == pytest.approx(
        Decimal("0.7") * Decimal("1.82") * Decimal("1.54") * 10 / 3600, rel=Decimal("1e-12")
    )


def test_buying_beats_renting_by_the_hour_only_from_some_hours_on() -> None:
    own = Owned(hardware_usd=Decimal(1000), site_usd=Decimal(200))
    assert cost.used_hours_to_own(own, Decimal("0.1"), Decimal("4.1")) == 301
    assert cost.used_hours_to_own(own, Decimal("0.1"), Decimal(1)) is None  # more than a month has
    assert cost.used_hours_to_own(own, Decimal("0.1"), Decimal("0.1")) is None


def test_what_spot_saves() -> None:
    assert cost.saved_share(Decimal("6.88"), Decimal("3.44")) == pytest.approx(0.5)
    assert cost.saved_share(Decimal(1), Decimal(2)) == pytest.approx(-1)
