"""Which GPU is taken: the rule, and what corrects it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hosted import PRICES, price_of, workload_of

from reviewopt.hosting import choice, facts, fit
from reviewopt.hosting.figures import Choice
from reviewopt.pricelist import GpuPrice

FACTS = facts.read()


def chosen(prices: Sequence[GpuPrice] = PRICES, **changed: Any) -> Choice:
    work = workload_of(**changed)
    gpus = [choice.figures(gpu, work, FACTS, prices) for gpu in FACTS.gpus]
    return choice.choose(gpus, work, fit.best_share(FACTS))


@pytest.mark.parametrize(
    ("complexity", "gpu"),
    [(0.0, "T4"), (0.299, "T4"), (0.3, "A100"), (0.699, "A100"), (0.7, "H100"), (1.0, "H100")],
)
def test_the_rule_by_complexity(complexity: float, gpu: str) -> None:
    assert choice.by_rule(complexity) == gpu
    assert chosen(complexity=complexity).by_rule == gpu


def test_a_gpu_that_costs_more_a_review_gives_way_to_a_cheaper_one() -> None:
    found = chosen()
    assert (found.by_rule, found.gpu, found.is_corrected) == ("A100", "H100", True)
    assert "A100 80GB would cost about $0.0217" in found.reasons[1]


def test_the_rule_stands_where_its_gpu_is_the_cheapest_known() -> None:
    cheap = [*PRICES, price_of("A100 80GB", "0.3", "market", offer="a friend")]
    found = chosen(cheap)
    assert (found.gpu, found.is_corrected) == ("A100 80GB", False)


def test_a_gpu_without_a_published_throughput_gives_way_where_it_would_have_to_beat_every_known_chip() -> None:
    found = chosen(complexity=0.1)  # at its peak the T4 costs $0.0069, the H100 $0.0073
    assert (found.by_rule, found.gpu) == ("T4", "H100")
    assert "only above 95 % of its peak" in found.reasons[1]


def test_a_gpu_without_a_published_throughput_stays_where_it_may_be_cheaper_and_says_that_nobody_measured_it() -> None:
    found = chosen([*PRICES, price_of("T4", "0.1", offer="a friend")], complexity=0.1)
    assert (found.gpu, found.is_corrected) == ("T4", False)
    assert "measure it first" in found.reasons[1]


def test_where_no_throughput_is_known_the_rule_stands() -> None:
    found = chosen(complexity=0.1, model_b=1.0)
    assert (found.gpu, found.is_corrected) == ("T4", False)
    assert "at the same share of its peak" in found.reasons[1]


def test_a_model_that_does_not_fit_the_rules_gpu_goes_to_one_that_it_fits() -> None:
    found = chosen(complexity=0.1, model_b=70.0)
    assert found.gpu == "H200"
    assert any("T4 is out: 70e9 parameters take" in why for why in found.reasons)


def test_what_is_above_the_budget_is_out() -> None:
    found = chosen(complexity=0.9, usd_per_hour_max="2")
    assert found.gpu == "L40S"
    assert any("$3.99 an hour is above $2" in why for why in found.reasons)
    assert chosen(usd_per_hour_max="0.1").gpu is None


def test_where_it_is_urgent_the_fastest_known_gpu_of_a_large_cloud_is_taken() -> None:
    found = chosen(urgency="high")
    assert found.gpu == "H200"
    assert "the fastest" in found.reasons[1]


@pytest.mark.parametrize(("urgency", "usd"), [("low", "3.2"), ("normal", "3.99"), ("high", "6.88")])
def test_only_where_it_is_not_urgent_a_price_counts_that_may_be_taken_away(urgency: Any, usd: str) -> None:
    found = choice.price_of("H100", PRICES, urgency)
    assert found is not None
    assert found.usd_per_hour == usd


def test_a_gpu_without_a_price_is_out() -> None:
    one = choice.figures(FACTS.gpu("B200"), workload_of(), FACTS, PRICES)
    assert (one.price, one.usd_a_thousand, one.excluded) == (None, None, "no price for it has a source")


def test_a_cost_by_a_bound_says_at_least() -> None:
    t4, h100 = (choice.figures(FACTS.gpu(name), workload_of(), FACTS, PRICES) for name in ("T4", "H100"))
    assert (t4.is_at_least, h100.is_at_least) == (True, False)


def test_emissions_are_those_of_the_country_and_unknown_without_a_figure() -> None:
    dirty, clean, unknown = (
        choice.figures(FACTS.gpu("H100"), workload_of(gco2_per_kwh=grams), FACTS, PRICES)
        for grams in (400.0, 100.0, None)
    )
    assert dirty.gco2_a_thousand == pytest.approx(4 * (clean.gco2_a_thousand or 0))
    assert unknown.gco2_a_thousand is None
    assert unknown.kwh_a_thousand == dirty.kwh_a_thousand
