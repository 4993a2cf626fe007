"""Where a model's price is from, as far as the lists of prices tell."""

from __future__ import annotations

from datetime import date

from reviewopt import pricelist, prices
from reviewopt.cli import price_sources
from reviewopt.models.kinds import parse_spec


def named(spec: str) -> str:
    """The name of a model's price, as a plan has it."""
    called, settings = parse_spec(spec, {}, {})
    return prices.find(settings, called).name


def test_a_price_of_genai_prices_has_the_vendors_page_and_the_word_that_no_date_is_told() -> None:
    found = price_sources.find(named("openai:gpt-5-nano"))
    assert found.url == "https://developers.openai.com/api/docs/pricing"
    assert found.as_of is None  # its comment has days of other tiers: they are quoted
    assert "tells no date of it" in found.doubt
    assert 'its comment: "Flex/priority/fast rates verified on 20' in found.doubt
    assert "http" not in found.doubt


def test_a_price_of_our_own_list_has_its_page_and_day() -> None:
    listed = pricelist.read().models["typesafe:jev"]
    found = price_sources.find(f"typesafe:jev, {listed.source} of {listed.as_of}")
    assert (found.url, found.as_of, found.doubt) == (listed.source, listed.as_of, "")
    assert price_sources.find("google:gemini-decision-1, a page").doubt == "somebody's word"


def test_a_price_of_a_cloud_service_has_what_of_it_is_unverified() -> None:
    found = price_sources.find("aws:sentiment, a page")
    assert found.url is not None
    assert isinstance(found.as_of, date)
    assert "tiers 2 and 3" in found.doubt


def test_a_price_of_the_users_own_has_no_page() -> None:
    assert price_sources.find("own price of cheap") == price_sources.find("own price of x: y")
    assert price_sources.find("own price of cheap").url is None
