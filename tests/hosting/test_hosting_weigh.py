"""Hosting weighed against APIs: what pays first, a month rented and bought, spot."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hosted import PRICES, price_of, workload_of

from reviewopt.hosting import facts, weigh
from reviewopt.hosting.figures import Api, Hosting, Tco

FACTS = facts.read()
CHEAP, DEAR = Api(name="cheap", usd_a_review="0.0000123"), Api(name="dear", usd_a_review="0.00006")


@dataclass(frozen=True)
class Found:
    hosting: Hosting

    @property
    def tco(self) -> Tco:
        assert self.hosting.tco is not None
        return self.hosting.tco


def weighed(apis: tuple[Api, ...] = (CHEAP, DEAR), prices: Any = PRICES, **changed: Any) -> Found:
    return Found(weigh.weigh(workload_of(**changed), apis, FACTS, prices))


def test_the_gpu_that_pays_first_is_named_with_what_it_manages() -> None:
    cheap, dear = weighed().hosting.break_even
    assert dear.rented is not None
    assert dear.rented.gpu == "L40S"  # the cheapest month of a known speed that manages so many
    assert dear.rented.from_reviews == int(Decimal("1.09") * 730 / Decimal("0.00006")) + 1
    assert dear.rented.from_reviews <= dear.rented.capacity_a_month
    assert cheap.rented is not None
    assert cheap.rented.gpu == "H100"  # for the cheap API more are needed than one L40S manages


def test_a_dearer_api_is_beaten_at_a_smaller_volume() -> None:
    cheap, dear = weighed().hosting.break_even
    assert dear.rented is not None
    assert cheap.rented is not None
    assert dear.bought is not None
    assert dear.bought.from_reviews < dear.rented.from_reviews < cheap.rented.from_reviews


def test_an_api_that_no_gpu_can_beat_says_so() -> None:
    (found,) = weighed((Api(name="free", usd_a_review="0.000000001"),)).hosting.break_even
    assert (found.rented, found.bought, found.pays_at_n_monthly) == (None, None, False)


def test_whether_it_pays_at_the_volume_asked_about() -> None:
    (_, few), (_, many) = (weighed(n_monthly=n).hosting.break_even for n in (10_000, 20_000_000))
    assert (few.pays_at_n_monthly, many.pays_at_n_monthly) == (False, True)
    (_, too_many) = weighed(n_monthly=10**9).hosting.break_even  # more than the GPUs that pay first manage
    assert not too_many.pays_at_n_monthly


def test_bounds_count_only_where_nothing_was_published_and_are_marked() -> None:
    (found,) = weighed((DEAR,), model_b=1.0).hosting.break_even
    assert found.rented is not None
    assert found.rented.is_at_most
    known, _ = weighed().hosting.break_even
    assert known.rented is not None
    assert not known.rented.is_at_most


def test_the_parts_of_a_bought_month_add_up_to_it_within_its_range() -> None:
    tco = weighed().tco
    parts = [Decimal(one or 0) for one in (tco.hardware_usd, tco.energy_usd, tco.operations_usd)]
    assert sum(parts) == Decimal(tco.bought_usd or 0)
    assert Decimal(tco.bought_low_usd or 0) < Decimal(tco.bought_usd or 0) < Decimal(tco.bought_high_usd or 0)
    assert Decimal(tco.rented_usd) == Decimal("3.99") * 730
    assert tco.useful_hours == pytest.approx(365)


def test_what_no_source_tells_is_not_printed_but_named() -> None:
    dark = weighed(usd_per_kwh=None, country="FR").tco
    assert (dark.bought_usd, dark.energy_usd) == (None, None)
    assert "no source says what electricity costs in FR" in dark.missing
    only_t4 = weighed(prices=(price_of("T4", "0.5"),), complexity=0.1).tco
    assert only_t4.bought_usd is None
    assert "what the T4 is bought for" in only_t4.missing


def test_spot_is_compared_with_on_demand_of_the_same_gpu() -> None:
    spot = weighed().hosting.spot
    assert spot is not None
    assert (spot.spot.usd_per_hour, spot.on_demand.usd_per_hour) == ("3.2", "6.88")
    assert spot.saved_share == pytest.approx(1 - 3.2 / 6.88)
    assert weighed(prices=(price_of("H100", "6.88"),)).hosting.spot is None


def test_where_no_gpu_can_be_taken_nothing_more_is_said() -> None:
    found = weighed(usd_per_hour_max="0.01").hosting
    assert (found.choice.gpu, found.tco, found.spot) == (None, None, None)
    assert all(one.rented is None and one.bought is None for one in found.break_even)
