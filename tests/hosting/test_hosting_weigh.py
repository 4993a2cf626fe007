"""Hosting weighed against APIs: from which volume each way pays, what nobody knows, spot."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hosted import PRICES, price_of, workload_of

from reviewopt.hosting import cost, facts, weigh
from reviewopt.hosting.figures import Api, BreakEven, Hosting, How

FACTS = facts.read()
CHEAP, DEAR = Api(name="cheap", usd_a_thousand="0.012300000"), Api(name="dear", usd_a_thousand="0.060000000")


def weighed(apis: tuple[Api, ...] = (CHEAP, DEAR), prices: Any = PRICES, **changed: Any) -> Hosting:
    return weigh.weigh(workload_of(**changed), apis, FACTS, prices)


def ways_that_pay(n: int, api: Api = CHEAP) -> tuple[How, ...]:
    (found,) = weighed((api,), n_monthly=n).break_even
    return found.pays


@pytest.mark.parametrize("api", [CHEAP, DEAR])
def test_at_the_break_even_a_way_pays_and_one_review_before_that_way_does_not(api: Api) -> None:
    (found,) = weighed((api,)).break_even
    for pays in (found.hour, found.month, found.bought):
        assert pays.way is not None
        assert pays.from_reviews is not None
        rate = Decimal(found.api_usd_a_thousand) / 1000
        for n, is_less in ((pays.from_reviews, True), (pays.from_reviews - 1, False)):
            assert (Decimal(cost.bill(pays.way, n).usd) < n * rate) == is_less  # by the rate that is printed


def test_by_the_hour_it_pays_from_less_than_by_the_month_and_each_names_its_gpu() -> None:
    cheap, dear = weighed().break_even
    for one in (cheap, dear):
        assert one.hour.from_reviews is not None
        assert one.month.from_reviews is not None
        assert one.hour.from_reviews < one.month.from_reviews
    assert cheap.hour.way is not None
    assert cheap.hour.way.gpu == "H100"
    assert (dear.hour.from_reviews or 0) < (cheap.hour.from_reviews or 0)


def test_at_any_larger_volume_hosting_pays_too_with_several_gpus() -> None:
    for n in (100_000_000, 10**10):  # the second is the work of many H100s
        assert "hour" in ways_that_pay(n)
        made = weighed((CHEAP,), n_monthly=n).choice
        assert made.verdict == "host"
    h100 = next(one for one in weighed(n_monthly=10**10).gpus if one.gpu == "H100")
    assert h100.month is not None
    assert h100.month.n_gpus > 20
    assert "month" in ways_that_pay(10**10)
    assert "month" not in ways_that_pay(10**8)  # 730 hours for the work of 180


def test_at_a_small_volume_nothing_pays_and_the_choice_says_so() -> None:
    made = weighed(n_monthly=100)
    assert all(one.pays == () for one in made.break_even)
    assert made.choice.verdict == "api"
    assert made.choice.api == "cheap"
    assert Decimal(made.choice.api_usd or 0) == Decimal("0.00123")


@pytest.mark.parametrize("n", [100, 300_000, 20_000_000, 10**8, 10**10])
def test_the_choice_and_the_break_even_never_contradict_each_other(n: int) -> None:
    made = weighed(n_monthly=n)
    cheapest = min(made.break_even, key=lambda one: Decimal(one.usd))
    assert (made.choice.verdict == "host") == ("hour" in cheapest.pays)
    assert made.choice.api == cheapest.api
    if cheapest.hour.from_reviews is not None and n >= cheapest.hour.from_reviews:
        assert made.choice.verdict == "host"


def states(found: BreakEven) -> tuple[str, str, str]:
    return found.hour.state, found.month.state, found.bought.state


def test_never_is_said_only_where_it_is_known() -> None:
    (free,) = weighed((Api(name="free", usd_a_thousand="0.000000001"),)).break_even
    assert states(free) == ("never", "never", "never")  # for its energy alone
    (low,) = weighed((Api(name="low", usd_a_thousand="0.005000000"),)).break_even
    assert low.hour.state == "unknown"  # below all known; at their peak others could
    assert low.hour.why == "no throughput was published of L40S"  # the others cost more even at their peak


def test_without_a_price_of_electricity_buying_is_unknown_not_never() -> None:
    cheap, _ = weighed(usd_per_kwh=None, country="FR").break_even
    assert states(cheap) == ("pays", "pays", "unknown")
    assert "no source says what electricity costs in FR" in cheap.bought.why
    own, _ = weighed(usd_per_kwh="0.18", country="FR").break_even
    assert own.bought.state == "pays"


def test_a_budget_for_rent_strikes_nothing_that_is_bought() -> None:
    cheap, _ = weighed(usd_per_hour_max="0.01").break_even
    assert states(cheap) == ("unknown", "unknown", "pays")
    assert cheap.hour.why == "no GPU can be rented"


def test_without_a_published_throughput_nothing_is_known() -> None:
    (found,) = weighed((DEAR,), model_b=1.0).break_even
    assert states(found) == ("unknown", "unknown", "unknown")
    assert "no throughput was published of T4" in found.hour.why


def test_offers_of_eight_pay_as_eight() -> None:
    eight = price_of("H100", "3.99", n_gpus_least=8)
    (one,), (all_of_it,) = (weighed((DEAR,), prices=(price,)).break_even for price in (price_of("H100", "3.99"), eight))
    assert all_of_it.hour.way is not None
    assert all_of_it.hour.way.n_gpus_a_step == 8
    assert (all_of_it.hour.from_reviews or 0) > 7 * (one.hour.from_reviews or 0)


def test_spot_is_compared_with_the_price_that_is_reckoned_with() -> None:
    spot = weighed(n_monthly=20_000_000).spot
    assert spot is not None
    assert (spot.spot.usd_per_hour, spot.taken.usd_per_hour) == ("3.2", "3.99")
    assert spot.saved_share == pytest.approx(1 - 3.2 / 3.99)
    assert weighed(n_monthly=20_000_000, urgency="low").spot is None
    assert weighed(prices=(price_of("H100", "6.88"),)).spot is None


def test_where_no_gpu_can_be_taken_no_month_of_one_is_told() -> None:
    found = weighed(usd_per_hour_max="0.01")
    assert (found.choice.gpu, found.capex, found.bought_from_hours, found.spot) == (None, None, None, None)


def test_what_the_taken_gpu_is_bought_for_and_when_that_pays_is_told() -> None:
    found = weighed(n_monthly=20_000_000)
    assert found.capex is not None
    assert found.bought_from_hours is not None
    assert 300 < found.bought_from_hours < 400  # (1,016 + 255) / 3.91
