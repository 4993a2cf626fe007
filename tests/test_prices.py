"""Prices: whose they are, what a request costs, and what it can cost at most."""

from __future__ import annotations

import dataclasses
import sys
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import data_snapshot
from genai_prices.types import ModelInfo, Provider, TieredPrices, TimeOfDateConstraint
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt import pricelist, prices
from reviewopt.data import Usage
from reviewopt.errors import UsageError
from reviewopt.settings import EndpointSettings, ModelSettings, OwnPrice

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TOKENS = st.integers(0, 2_000_000)
PARTS = {
    "input_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "output_mtok",
    "output_reasoning_mtok",
    "requests_kcount",
}


def settings_of(model: str = "gpt-5-mini", base_url: str = "https://api.openai.com/v1", **others: Any) -> ModelSettings:
    return ModelSettings(model=model, base_url=base_url, **others)


def find(model: str = "gpt-5-mini", base_url: str = "https://api.openai.com/v1", **others: Any) -> prices.Price:
    return prices.find(settings_of(model, base_url, **others), "small", at=NOON)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Counts that agree with each other."""
    cached, cache_write, plain = draw(TOKENS), draw(TOKENS), draw(TOKENS)
    reasoning, visible = draw(TOKENS), draw(TOKENS)
    return Usage(
        input=cached + cache_write + plain,
        cached=cached,
        cache_write=cache_write,
        output=reasoning + visible,
        reasoning=reasoning,
    )


@cache
def priced_models() -> list[tuple[Provider, ModelInfo]]:
    """Every model that is asked in tokens and has a price, at any provider."""
    pairs = [(provider, model) for provider in data_snapshot.get_snapshot().providers for model in provider.models]
    return [pair for pair in pairs if prices._of_snapshot(*pair, NOON, is_chat=True)]


@cache
def tiered_models() -> list[tuple[Provider, ModelInfo]]:
    return [
        (provider, model)
        for provider, model in priced_models()
        if any(isinstance(price, TieredPrices) for price in vars(model.get_prices(NOON)).values())
    ]


def theirs(provider: Provider, model: ModelInfo, usage: Usage) -> Decimal:
    """What genai-prices itself says."""
    asked = TheirUsage(
        input_tokens=usage.input,
        cache_read_tokens=usage.cached,
        cache_write_tokens=usage.cache_write,
        output_tokens=usage.output,
        output_reasoning_tokens=usage.reasoning,
    )
    return model.calc_price(asked, provider, genai_request_timestamp=NOON).total_price.quantize(Decimal("1e-12"))


@settings(deadline=None)
@given(st.data(), usages())
def test_a_cost_is_what_genai_prices_says(data: st.DataObject, usage: Usage) -> None:
    provider, model = data.draw(st.sampled_from(priced_models()))
    price = prices._of_snapshot(provider, model, NOON, is_chat=True)
    assert price is not None
    assert price.cost(usage) == theirs(provider, model, usage)


@settings(deadline=None)
@given(st.data(), usages())
def test_the_cost_of_a_model_with_tiers_is_what_genai_prices_says(data: st.DataObject, usage: Usage) -> None:
    provider, model = data.draw(st.sampled_from(tiered_models()))
    price = prices._of_snapshot(provider, model, NOON, is_chat=True)
    assert price is not None
    assert price.cost(usage) == theirs(provider, model, usage)


def test_every_part_of_a_price_that_a_text_model_has_is_known_here() -> None:
    for _, model in priced_models():
        parts = {part for part, price in vars(model.get_prices(NOON)).items() if price is not None} - PARTS
        assert not {part for part in parts if part.startswith(("input_text", "output_text", "input_mchars"))}, model.id


@settings(deadline=None)
@given(st.data(), usages(), TOKENS, TOKENS)
def test_no_request_costs_more_than_the_most(data: st.DataObject, usage: Usage, more: int, longer: int) -> None:
    provider, model = data.draw(st.sampled_from(tiered_models()) | st.sampled_from(priced_models()))
    price = prices._of_snapshot(provider, model, NOON, is_chat=True)
    assert price is not None
    assert price.cost(usage) <= price.most(usage.input + more, usage.output + longer)


def test_a_fee_for_each_request_and_dear_reasoning_are_in_the_cost_and_in_the_most() -> None:
    usage = Usage(input=10, output=30, reasoning=20)
    special = [
        (provider, model)
        for provider, model in priced_models()
        if {"requests_kcount", "output_reasoning_mtok"} & vars(model.get_prices(NOON)).keys()
    ]
    assert special
    for provider, model in special:
        price = prices._of_snapshot(provider, model, NOON, is_chat=True)
        assert price is not None
        assert theirs(provider, model, usage) == price.cost(usage) <= price.most(10, 30)
    dear = dataclasses.replace(find("gpt-5-nano"), reasoning=prices.Rate(((-1, 10**15),)))
    assert dear.cost(Usage(output=9, reasoning=9)) <= dear.most(0, 9)


def test_the_most_is_rounded_up_and_a_cost_to_the_nearest() -> None:
    price = prices._flat(OwnPrice(input_usd=0.0000004, output_usd=0.0000006), "own")
    assert price.cost(Usage(input=1)) == 0
    assert price.cost(Usage(output=1)) == Decimal("1e-12")
    assert price.most(1, 0) == Decimal("1e-12")


def test_a_tier_begins_beyond_its_length_and_counts_for_all_tokens() -> None:
    price = find("gpt-6-luna")
    assert price.cost(Usage(input=272_000)) == Decimal("0.0272")
    assert price.cost(Usage(input=272_001)) == Decimal("0.0544002")
    assert price.most(272_000, 0) == Decimal("0.034")  # all of it written to the cache
    assert price.most(272_001, 0) == Decimal("0.06800025")


def test_requests_are_priced_one_by_one() -> None:
    price = find("gpt-6-luna")
    assert 1000 * price.cost(Usage(input=471)) < price.cost(Usage(input=471_000))


def test_each_kind_of_token_has_its_own_price() -> None:
    own = OwnPrice(input_usd=1.0, output_usd=8.0, cached_usd=0.1, cache_write_usd=1.25)
    price = find(price=own)
    usage = Usage(input=1_000, cached=100, cache_write=200, output=50, reasoning=20)
    assert price.cost(usage) == Decimal("0.00136")  # 700 x 1 + 100 x .1 + 200 x 1.25 + 50 x 8, a million tokens
    assert price.name == "own price of small"


def test_counts_that_contradict_each_other_are_read_in_the_dearer_way() -> None:
    price = find(price=OwnPrice(input_usd=1.0, output_usd=8.0, cached_usd=0.1))
    assert price.cost(Usage(input=10, cached=100)) == price.cost(Usage(input=100, cached=100))
    assert price.cost(Usage(input=10, cached=-5, output=-1)) == price.cost(Usage(input=10))
    assert price.cost(Usage(output=5, reasoning=9)) == price.cost(Usage(output=9, reasoning=9))


def test_an_absurd_count_is_priced_and_raises_nothing() -> None:
    assert find().cost(Usage(input=10**60)) > 10**40


def test_what_an_own_price_leaves_out_costs_what_input_costs() -> None:
    price = find(price=OwnPrice(input_usd=1.0, output_usd=2.0))
    assert price.cached == price.cache_write == price.input


def test_an_own_price_may_be_zero() -> None:
    price = find("mine", "http://127.0.0.1:8000/v1", price=OwnPrice(input_usd=0.0, output_usd=0.0))
    assert price.cost(Usage(input=10**6, output=10**6)) == price.most(10**6, 10**6) == 0


def test_an_own_price_imports_nothing() -> None:
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "genai_prices"}
    try:
        find(price=OwnPrice(input_usd=1.0, output_usd=2.0))
        assert "genai_prices" not in sys.modules
    finally:
        sys.modules.update(hidden)


@pytest.mark.parametrize(
    ("model", "base_url", "price", "source"),
    [
        ("gpt-5-mini", "https://api.openai.com/v1", "", "openai:gpt-5-mini, genai-prices"),
        ("openai/gpt-5-mini", "https://openrouter.ai/api/v1", "", "openrouter:openai/gpt-5-mini, genai-prices"),
        ("gpt-5-mini", "http://127.0.0.1:8000/v1", "", "openai:gpt-5-mini, genai-prices"),
        ("mine", "http://127.0.0.1:8000/v1", "anthropic:claude-haiku-4-5", "anthropic:claude-haiku-4-5, genai-prices"),
        ("mine", "http://127.0.0.1:8000/v1", "gpt-5-nano", "openai:gpt-5-nano, genai-prices"),
    ],
)
def test_a_price_is_found_by_reference_address_or_name_and_says_its_source(
    model: str, base_url: str, price: str, source: str
) -> None:
    assert find(model, base_url, price=price).name.startswith(source)


def test_the_prices_of_the_facts_are_what_is_found() -> None:
    million = Usage(input=10**5, output=10**5)
    assert find("gpt-5-nano").cost(million) == Decimal("0.045")
    assert find("claude-haiku-4-5", "https://api.anthropic.com/v1").cost(million) == Decimal("0.6")


def test_typed_decisions_have_a_price_of_their_own() -> None:
    chat, decisions = find("gpt-6-luna"), find("gpt-6-luna", kind="decisions")
    assert chat.cost(Usage(output=1000)) > decisions.cost(Usage(output=1000)) == 0
    assert decisions.name.startswith("openai-decisions:gpt-6-luna")


@pytest.mark.parametrize(
    ("model", "base_url", "price"),
    [
        ("jev", "https://api.typesafe.ai/v1", ""),
        ("jev", "http://127.0.0.1:8000/v1", ""),
        ("mine", "http://127.0.0.1:8000/v1", "typesafe:jev"),
    ],
)
def test_the_packaged_list_is_looked_up_first(model: str, base_url: str, price: str) -> None:
    found = find(model, base_url, price=price, kind="decisions")
    assert found.cost(Usage(input=10**6)) == Decimal("0.042")
    assert found.name == "typesafe:jev, https://docs.typesafe.ai/models of 2026-11-21"


def test_a_listed_price_that_could_not_be_checked_says_so() -> None:
    listed = pricelist.read().models
    assert {name for name, entry in listed.items() if entry.unverified} == {"google:gemini-decision-1"}
    assert find(price="google:gemini-decision-1").name.endswith("of 2026-11-21, unverified")
    assert all(entry.source.startswith("https://") for entry in listed.values())


def test_the_listed_price_of_another_provider_is_not_taken() -> None:
    with pytest.raises(UsageError, match="no price is known"):
        find("jev", "https://api.openai.com/v1", kind="decisions")


@pytest.mark.parametrize("price", ["", "openai:gpt-5-whatever", "nobody:gpt-5-mini"])
def test_an_unknown_price_is_an_error_that_names_the_setting(price: str) -> None:
    with pytest.raises(UsageError, match=r"add to \[models\.small\]: price = \{input_usd = \.\.\., output_usd"):
        find("gpt-5-whatever", price=price)


def test_an_unknown_price_of_a_model_without_settings_asks_for_them() -> None:
    with pytest.raises(UsageError, match=r"describe the model as \[models\.NAME\] in reviewopt\.toml"):
        prices.find(settings_of("gpt-5-whatever"), "openai:gpt-5-whatever", at=NOON)


def test_a_zero_or_missing_price_means_that_it_is_not_known() -> None:
    pairs = [(provider, model) for provider in data_snapshot.get_snapshot().providers for model in provider.models]
    provider, free = next(
        pair for pair in pairs if not any(vars(pair[1].get_prices(NOON)).values()) and pair[0].id == "openrouter"
    )
    assert prices._of_snapshot(provider, free, NOON, is_chat=True) is None
    assert prices._of_snapshot(provider, free, NOON, is_chat=False) is None
    with pytest.raises(UsageError, match="no price is known"):
        find("gpt-6-luna", price="openai-decisions:gpt-6-luna")  # a chat whose output has no price


def test_a_model_of_several_endpoints_has_the_price_of_the_first() -> None:
    endpoints = tuple(EndpointSettings(base_url=f"https://{host}/v1") for host in ("api.openai.com", "h.example"))
    assert find(base_url="", endpoints=endpoints) == find(base_url="https://api.openai.com/v1")


def test_a_price_that_depends_on_the_hour_is_the_one_at_the_start() -> None:
    model = data_snapshot.get_snapshot().find_provider_model("deepseek-chat", None, "deepseek", None)[1]
    assert isinstance(model.prices, list)
    constraint = model.prices[-1].constraint
    assert isinstance(constraint, TimeOfDateConstraint)
    settings = settings_of("deepseek-chat", "https://api.deepseek.com/v1")
    day = prices.find(settings, "small", at=NOON)
    night = prices.find(settings, "small", at=datetime.combine(NOON, time(20), UTC))
    assert day.cost(Usage(input=1000)) == 2 * night.cost(Usage(input=1000))


@given(usages())
@settings(deadline=None)
def test_what_the_cache_saved_is_what_plain_input_would_have_cost_more(usage: Usage) -> None:
    price = find()
    plain = dataclasses.replace(usage, cached=0)
    assert abs(price.saved_by_cache(usage) - (price.cost(plain) - price.cost(usage))) <= Decimal("1e-12")
    assert price.saved_by_cache(plain) == 0


def test_contradictory_counts_save_nothing() -> None:
    price = find()
    assert price.saved_by_cache(Usage(input=10, cached=20)) == price.saved_by_cache(Usage(input=10, cached=-1)) == 0


# A vendor's cheaper tiers


@pytest.mark.parametrize(
    ("model", "base_url", "processing", "usd"),
    [
        ("gpt-4o", "https://api.openai.com/v1", "batch", "0.625"),
        ("gpt-5-mini", "https://api.openai.com/v1", "batch", "0.1125"),
        ("gpt-5-mini", "https://api.openai.com/v1", "flex", "0.1125"),
        ("gpt-6-luna", "https://api.openai.com/v1", "batch", "0.03"),
        ("claude-haiku-4-5", "https://api.anthropic.com/v1", "batch", "0.3"),
        ("gemini-2.5-flash-lite", "https://generativelanguage.googleapis.com/v1beta/openai", "batch", "0.025"),
    ],
)
def test_a_tier_has_the_price_of_the_facts_and_says_its_name(
    model: str, base_url: str, processing: str, usd: str
) -> None:
    found = find(model, base_url, processing=processing)
    assert found.cost(Usage(input=10**5, output=10**5)) == Decimal(usd)
    assert found.name.endswith(f", {processing}")
    assert found.cost(Usage(input=9)) < find(model, base_url).cost(Usage(input=9))


@pytest.mark.parametrize(
    ("model", "base_url", "processing", "others"),
    [
        ("gpt-4o", "https://api.openai.com/v1", "flex", {}),  # no such tier
        ("gpt-3.5-turbo-1106", "https://api.openai.com/v1", "batch", {}),  # listed, at the standard price
        ("deepseek-chat", "https://api.deepseek.com/v1", "batch", {}),
        ("jev", "https://api.typesafe.ai/v1", "batch", {"kind": "decisions"}),  # of the packaged list
        ("gpt-6-luna", "https://api.openai.com/v1", "batch", {"kind": "decisions"}),
    ],
)
def test_a_standard_price_is_never_taken_for_a_tier(
    model: str, base_url: str, processing: str, others: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=rf'no {processing} price of .* is known .* set processing = "standard"'):
        find(model, base_url, processing=processing, **others)


def test_a_tier_that_has_not_begun_has_no_price() -> None:
    batch = settings_of(processing="batch")
    with pytest.raises(UsageError, match="no batch price"):
        prices.find(batch, "small", at=datetime(2026, 10, 1, tzinfo=UTC))
    assert prices.find(batch, "small", at=datetime(2026, 10, 15, tzinfo=UTC))


def test_genai_prices_still_answers_an_unknown_tier_with_the_standard_price() -> None:
    model = data_snapshot.get_snapshot().find_provider_model("gpt-5-mini", None, "openai", None)[1]
    assert model.get_prices(NOON, {"processing": "flex"}) == model.get_prices(NOON)  # which is why each is compared


def test_an_own_price_is_that_of_the_tier_beside_it() -> None:
    own = OwnPrice(input_usd=1.0, output_usd=2.0)
    assert find(price=own, processing="batch") == find(price=own)


@given(usages(), st.sampled_from(["batch", "flex"]))
@settings(max_examples=20, deadline=None)
def test_a_cheaper_tier_never_costs_more(usage: Usage, processing: str) -> None:
    assert find(processing=processing).cost(usage) <= find().cost(usage)
