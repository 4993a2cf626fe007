"""What a request costs: dated prices with their source. All money is `Decimal` USD.

A price is the user's own, or from `configs/prices.toml`, or from genai-prices, in this order; where none of them knows
the model, the run does not begin. Requests are priced one by one, because a model's rate can depend on how long one
request is: tokens that were summed first would be priced wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, Final

from reviewopt import pricelist, services
from reviewopt.data import Usage
from reviewopt.errors import UsageError
from reviewopt.pricelist import ListedModel, ServicePrice
from reviewopt.settings import ModelSettings, OwnPrice

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

# Kinds of models that are cloud services, which bill units of characters, and the entry in the price list of each.
SERVICES: Final = {
    "aws-comprehend": "aws:sentiment",
    "google-language": "google:sentiment",
    "azure-language": "azure:sentiment",
}
_DECISIONS: Final = "decisions"
# How names of prices begin whose vendors are taken to cache prompts by themselves from 1,024 tokens on: those known for
# it, and those for whose cached tokens the user gives a price.
_PADDED: Final = ("openai:", "azure:", "own price")
# A prompt is padded only where that saves so much of what its beginning costs: the first request always pays in full.
_CLEARLY: Final = 0.2
# How genai-prices is asked for a tier. What it does not know it ignores: a misspelt tier has the standard price there.
_TIERS: Final[dict[str, dict[str, str]]] = {
    "standard": {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
}
# A dollar has 1e12 of the units in which money is kept and 1e18 of those in which a token's rate is.
_RATES_A_UNIT: Final = 10**6
_PLACES: Final = 12


@dataclass(frozen=True, slots=True)
class Rate:
    """What a token costs, 1e-18 USD: `(above, rate)` by the length of the whole input, ascending, from -1.

    As vendors bill: an input longer than `above` tokens pays the rate for all its tokens, not only for those beyond.
    """

    steps: tuple[tuple[int, int], ...]

    def at(self, n_input_tokens: int) -> int:
        """Return the rate of a request with this much input."""
        rate = self.steps[0][1]
        for above, dearer in self.steps:
            if n_input_tokens > above:
                rate = dearer
        return rate

    def most(self, n_input_tokens: int) -> int:
        """Return the highest rate of any request with at most this much input."""
        return max(rate for above, rate in self.steps if above < max(n_input_tokens, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of a model; `name` says whose, from where and of when, for people."""

    name: str
    input: Rate
    cached: Rate
    cache_write: Rate
    output: Rate
    reasoning: Rate
    request: int = 0

    def cost(self, usage: Usage) -> Decimal:
        """Return what one request costs, to 1e-12 USD, half up. Never give it the tokens of several requests.

        Counts come from the endpoint, after the money is spent, so contradictory ones raise nothing: they are read in
        the dearer way (more cached tokens than input: all of them were input).
        """
        cached, written, reasoning = max(usage.cached, 0), max(usage.cache_write, 0), max(usage.reasoning, 0)
        total = max(usage.input, cached + written)
        rates = (
            self.request
            + (total - cached - written) * self.input.at(total)
            + cached * self.cached.at(total)
            + written * self.cache_write.at(total)
            + max(usage.output - reasoning, 0) * self.output.at(total)
            + reasoning * self.reasoning.at(total)
        )
        return _usd((rates + _RATES_A_UNIT // 2) // _RATES_A_UNIT)

    def saved_by_cache(self, usage: Usage) -> Decimal:
        """Return what one request's cached tokens would have cost as plain input beyond what they cost, to 1e-12 USD.

        Negative where a price list asks more for them. Contradictory counts save nothing, as they are not paid so.
        """
        if usage.cached < 0 or usage.cached > usage.input:
            return _usd(0)
        less = usage.cached * (self.input.at(usage.input) - self.cached.at(usage.input))
        return _usd((less + _RATES_A_UNIT // 2) // _RATES_A_UNIT)

    def pays_to_pad(self, n_tokens: int, n_padded_tokens: int) -> bool:
        """Whether so many tokens of a prompt's beginning cost clearly more than the padded ones read from the cache.

        Never where the vendor asks more for writing into its cache, as it is not filled by itself then, or is not known
        to cache from 1,024 tokens on: some take less, and padding would only cost there.
        """
        if self.cache_write.at(n_padded_tokens) > self.input.at(n_padded_tokens) or not self.name.startswith(_PADDED):
            return False
        cached, plain = n_padded_tokens * self.cached.at(n_padded_tokens), n_tokens * self.input.at(n_tokens)
        return plain > 0 and cached <= (1 - _CLEARLY) * plain  # what is free only takes longer for being padded

    def most(self, n_input_tokens: int, n_output_tokens: int) -> Decimal:
        """Return what a request can cost at most, to 1e-12 USD, rounded up.

        The bound holds for any request of at most so many tokens: each at the dearest rate that such a length can have.
        """
        inward = max(rate.most(n_input_tokens) for rate in (self.input, self.cached, self.cache_write))
        outward = max(rate.most(n_input_tokens) for rate in (self.output, self.reasoning))
        rates = self.request + n_input_tokens * inward + n_output_tokens * outward
        return _usd(-(-rates // _RATES_A_UNIT))


def find(settings: ModelSettings, name: str, *, at: datetime | None = None) -> Price:
    """Find the price of the model that is called `name` in the settings.

    `price` in its settings is a price of the user's own, or PROVIDER:MODEL; without it the model is looked up by its
    own name at the provider of its primary address, or at the one that the name points to.

    A price that depends on the hour or begins on a day (DeepSeek's, batch prices) is the one at `at`, by default now:
    it is found once, when the run begins, and holds to its end.

    An own price is taken as the price of the `processing` that stands beside it. A cloud service's is that of its first
    tier, without what is free, for each unit of its own in the place of a token.

    Raises:
        UsageError: nobody knows the price, or that of its `processing`; it says which setting to add.
    """
    if isinstance(settings.price, OwnPrice):
        return _flat(settings.price, f"own price of {name}")
    if settings.kind in SERVICES:
        service = services.find(settings.price or SERVICES[settings.kind], pricelist.read().services)
        if settings.processing != "standard":
            raise UsageError(_no_tier(settings, name, service.key))
        return _of_service(service)
    listed = pricelist.read().models
    for reference in _references(settings, listed):
        if reference in listed:
            if settings.processing != "standard":
                raise UsageError(_no_tier(settings, name, reference))
            return _of_list(reference, listed[reference])
    if found := _resolved(settings):
        provider, model = found
        at = at or datetime.now(UTC)
        if not _has_tier(model, at, settings.processing):
            raise UsageError(_no_tier(settings, name, f"{provider.id}:{model.id}"))
        is_chat = settings.kind != _DECISIONS
        if price := _of_snapshot(provider, model, at, is_chat=is_chat, processing=settings.processing):
            return price
    raise UsageError(_unknown(settings, name))


def _usd(units: int) -> Decimal:
    return Decimal(units).scaleb(-_PLACES)


def _rate(usd_a_million: Decimal) -> int:
    """Return a rate in 1e-18 USD a token; one with more places than that is rounded up."""
    return int(usd_a_million.scaleb(_PLACES).to_integral_value(ROUND_CEILING))


def _flat(price: OwnPrice | ListedModel, name: str) -> Price:
    """Make a price without tiers; what is not given costs what input costs."""

    def rate(usd: float | str | None) -> Rate:
        return Rate(((-1, _rate(Decimal(str(price.input_usd if usd is None else usd)))),))

    output = rate(price.output_usd)
    return Price(
        name=name,
        input=rate(price.input_usd),
        cached=rate(price.cached_usd),
        cache_write=rate(price.cache_write_usd),
        output=output,
        reasoning=output,
    )


def _of_list(reference: str, listed: ListedModel) -> Price:
    doubt = ", unverified" if listed.unverified else ""
    return _flat(listed, f"{reference}, {listed.source} of {listed.as_of}{doubt}")


def _of_service(service: ServicePrice) -> Price:
    doubt = f", unverified: {', '.join(service.unverified)}" if service.unverified else ""
    unit, nothing = Rate(((-1, int(Decimal(service.tiers[0].usd).scaleb(18))),)), Rate(((-1, 0),))
    return Price(
        name=f"{service.key}, {service.source} of {service.as_of}{doubt}",
        input=unit,
        cached=unit,
        cache_write=unit,
        output=nothing,
        reasoning=nothing,
    )


def _references(settings: ModelSettings, listed: Mapping[str, ListedModel]) -> Iterator[str]:
    """Yield the names under which the packaged list may know the model."""
    if settings.price:
        yield str(settings.price)
    elif provider := _provider_of(settings.primary_url):
        yield f"{provider}:{settings.model}"
    else:
        yield from (reference for reference in listed if reference.partition(":")[2] == settings.model)


def _provider_of(base_url: str) -> str | None:
    """Name the provider whose address this is, as genai-prices knows them."""
    from genai_prices import data_snapshot

    try:
        return data_snapshot.get_snapshot().find_provider(None, None, base_url).id
    except LookupError:
        return None


def _resolved(settings: ModelSettings) -> tuple[Provider, ModelInfo] | None:
    """Find a model in genai-prices."""
    from genai_prices import data_snapshot

    model: str = settings.model
    provider: str | None
    if settings.price:
        head, colon, tail = str(settings.price).partition(":")
        provider, model = (head, tail) if colon else (None, head)
    else:
        provider = _provider_of(settings.primary_url)
    # The provider's typed decisions are listed apart from its chat, at a price of their own.
    apart = [f"{provider}-{_DECISIONS}"] if provider and settings.kind == _DECISIONS else []
    for listed in (*apart, provider):
        try:
            return data_snapshot.get_snapshot().find_provider_model(model, None, listed, None)
        except LookupError:
            continue
    return None


def _has_tier(model: ModelInfo, at: datetime, processing: str) -> bool:
    """Whether a tier has a price of its own then; one that equals the standard price is genai-prices' "not known"."""
    tier = _TIERS[processing]
    return not tier or _listed_rates(model, at, tier) != _listed_rates(model, at, {})


def _listed_rates(model: ModelInfo, at: datetime, tier: dict[str, str]) -> dict[str, Any]:
    return {key: value for key, value in vars(model.get_prices(at, tier)).items() if value is not None}


def _of_snapshot(
    provider: Provider, model: ModelInfo, at: datetime, *, is_chat: bool, processing: str = "standard"
) -> Price | None:
    """Turn a price of genai-prices into ours; None where it is zero or half missing, which there means "not known"."""
    from genai_prices import __version__

    tier = _TIERS[processing]
    prices = _listed_rates(model, at, tier)
    nothing = Rate(((-1, 0),))

    def rate(key: str, otherwise: Rate) -> Rate:
        return _tiered(prices[key]) if key in prices else otherwise

    of_input = rate("input_mtok", nothing)
    output = rate("output_mtok", nothing)
    if not of_input.steps[0][1] or (is_chat and not output.steps[0][1]):
        return None
    return Price(
        name=f"{provider.id}:{model.id}, genai-prices {__version__}" + (f", {processing}" if tier else ""),
        input=of_input,
        cached=rate("cache_read_mtok", of_input),
        cache_write=rate("cache_write_mtok", of_input),
        output=output,
        reasoning=rate("output_reasoning_mtok", output),
        request=_rate(prices["requests_kcount"]) * 1000 if "requests_kcount" in prices else 0,
    )


def _tiered(price: Any) -> Rate:
    """Turn a Decimal or a TieredPrices into a rate."""
    if isinstance(price, Decimal):
        return Rate(((-1, _rate(price)),))
    return Rate(((-1, _rate(price.base)), *((tier.start, _rate(tier.price)) for tier in price.tiers)))


def _no_tier(settings: ModelSettings, name: str, reference: str) -> str:
    return (
        f"{name}: no {settings.processing} price of {reference} is known that differs from its standard price, which is"
        ' not taken for it; set processing = "standard" in [models.NAME], or give the price yourself there:'
        " price = {input_usd = ..., output_usd = ...}, USD a million tokens"
    )


def _unknown(settings: ModelSettings, name: str) -> str:
    asked = f"its setting price = {str(settings.price)!r}" if settings.price else f"the name {settings.model!r}"
    setting = "price = {input_usd = ..., output_usd = ...}"
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):
        where = f"add to [models.{name}]: {setting}"
    else:
        where = f"describe the model as [models.NAME] in reviewopt.toml, with {setting}, and ask for --model NAME"
    return (
        f"{name}: no price is known for {asked}, so no budget could be kept; {where}, USD a million tokens"
        ' (0 for a server of your own), or price = "PROVIDER:MODEL" of a model that costs the same'
    )
