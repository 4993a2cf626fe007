"""What cloud services ask: units of single documents, tiers of a month, and what is free."""

from __future__ import annotations

from decimal import Decimal
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt import pricelist, services
from reviewopt.errors import UsageError
from reviewopt.pricelist import ServicePrice
from reviewopt.services import Sizes

LENGTHS = st.lists(st.integers(1, 6_000), max_size=40)
VOLUMES = st.integers(0, 120_000_000)


@cache
def listed() -> tuple[ServicePrice, ...]:
    return pricelist.read().services


def service(name: str) -> ServicePrice:
    return services.find(name, listed())


KEYS = [one.key for one in listed()]
BY_LENGTH = [one.key for one in listed() if one.measured_in == "characters"]


def bill_of(name: str, lengths: list[int]) -> services.Bill:
    return services.bill(service(name), services.n_units(service(name), Sizes.of(lengths)))


# The vendors' own examples, and the one that every plan begins with


def test_aws_prices_its_own_example() -> None:
    bill = bill_of("aws", [550] * 10_000)
    assert (bill.n_units, bill.list_usd) == (60_000, Decimal("6.00"))


def test_google_counts_its_own_example() -> None:
    assert services.n_units(service("google"), Sizes.of([800, 1_500, 600])) == 4


@pytest.mark.parametrize(
    ("name", "n_units", "list_usd", "after_free_usd"),
    [("aws", 50_000, "5.00", "0"), ("google", 10_000, "10.00", "5.00"), ("azure", 10_000, "10.00", "10.00")],
)
def test_ten_thousand_reviews_of_430_characters(name: str, n_units: int, list_usd: str, after_free_usd: str) -> None:
    bill = bill_of(name, [430] * 10_000)
    assert bill.n_units == n_units
    assert (bill.list_usd, bill.after_free_usd) == (Decimal(list_usd), Decimal(after_free_usd))


@pytest.mark.parametrize(("sigma", "units_a_review"), [(0.6, 4.975), (0.9, 5.258), (1.2, 5.54)])
def test_the_spread_of_lengths_decides_and_not_their_mean(sigma: float, units_a_review: float) -> None:
    drawn = np.random.default_rng(7).lognormal(np.log(430) - sigma**2 / 2, sigma, 200_000)
    sizes = Sizes.of(np.maximum(np.ceil(drawn), 1))
    found = services.n_units(service("aws"), sizes) / sizes.n_rows
    units = np.maximum(np.ceil(drawn / 100), 3)
    assert found == pytest.approx(units.mean())
    assert found == pytest.approx(units_a_review, abs=5 * units.std() / np.sqrt(len(drawn)) + 0.005)


# Units


@given(LENGTHS, st.sampled_from(BY_LENGTH))
def test_units_are_the_sum_of_what_each_document_is_rounded_up_to(lengths: list[int], name: str) -> None:
    one = service(name)
    assert services.n_units(one, Sizes.of(lengths)) == sum(
        max(one.minimum_units, -(-length // one.unit)) for length in lengths
    )


@given(st.lists(LENGTHS, max_size=5))
def test_sizes_add_up_however_the_table_is_cut(chunks: list[list[int]]) -> None:
    whole = Sizes.of([length for chunk in chunks for length in chunk])
    parts = [Sizes.of(chunk) for chunk in chunks]
    left = Sizes.of([])
    for part in parts:
        left += part
    right = Sizes.of([])
    for part in reversed(parts):
        right = part + right
    for made in (left, right):
        assert made.n_rows == whole.n_rows
        assert made.chars.tolist() == whole.chars.tolist()
        assert made.counts.tolist() == whole.counts.tolist()


def test_what_is_sent_is_title_line_break_and_text() -> None:
    title = pl.Series(["Top", None, "", "Only a title", "Null", "é"], dtype=pl.String)
    text = pl.Series(["good one", "good one", "good one", " \n\t", None, "naïve 🙂"], dtype=pl.String)
    sizes = services.sizes(title, text)
    assert (sizes.n_rows, sizes.chars.tolist(), sizes.counts.tolist()) == (4, [8, 9, 12], [2, 1, 1])


def test_an_empty_table_costs_nothing() -> None:
    empty = pl.Series([], dtype=pl.String)
    sizes = services.sizes(empty, empty)
    for name in BY_LENGTH:
        bill = services.bill(service(name), services.n_units(service(name), sizes))
        assert (sizes.n_rows, bill.n_units, bill.parts) == (0, 0, ())
        assert bill.list_usd == bill.after_free_usd == 0


def test_what_is_billed_by_the_second_is_not_priced_by_length() -> None:
    with pytest.raises(UsageError, match="billed by the second"):
        services.n_units(service("aws:custom_endpoint"), Sizes.of([430]))
    assert services.bill(service("aws:custom_endpoint"), 3600).list_usd == Decimal("1.80")


# Tiers


@given(VOLUMES, st.sampled_from(KEYS))
def test_parts_add_up_to_the_bill(n_units: int, name: str) -> None:
    bill = services.bill(service(name), n_units)
    assert sum(part.n_units for part in bill.parts) == bill.n_units == n_units
    assert sum(part.usd for part in bill.parts) == bill.list_usd
    assert all(part.usd == part.n_units * part.usd_a_unit for part in bill.parts)
    assert 0 <= bill.after_free_usd <= bill.list_usd


@given(VOLUMES, st.integers(1, 10**6), st.sampled_from(KEYS))
def test_more_units_never_cost_less(n_units: int, more: int, name: str) -> None:
    few, many = services.bill(service(name), n_units), services.bill(service(name), n_units + more)
    assert few.list_usd < many.list_usd
    assert few.after_free_usd <= many.after_free_usd


@given(st.integers(1, 6_000), st.integers(0, 3_000), st.sampled_from(BY_LENGTH))
def test_a_longer_text_never_costs_less(chars: int, more: int, name: str) -> None:
    assert bill_of(name, [chars]).list_usd <= bill_of(name, [chars + more]).list_usd


@pytest.mark.parametrize("name", KEYS)
def test_a_tier_ends_with_its_last_unit(name: str) -> None:
    one = service(name)
    for before, after in zip(one.tiers, one.tiers[1:], strict=False):
        edge = before.up_to_units or 0
        at = {n: services.bill(one, n).list_usd for n in (edge - 1, edge, edge + 1)}
        assert at[edge] - at[edge - 1] == Decimal(before.usd)
        assert at[edge + 1] - at[edge] == Decimal(after.usd)


def test_free_units_that_are_deducted_are_the_first_of_the_month() -> None:
    google = service("google")
    assert services.bill(google, 5_000).after_free_usd == 0
    assert services.bill(google, 5_001).after_free_usd == Decimal("0.001")
    # the second tier still begins at a million, the free units counted
    assert services.bill(google, 1_000_001).after_free_usd == 995 + Decimal("0.0005")


def test_a_free_plan_that_ends_costs_all_or_nothing() -> None:
    azure = service("azure")
    assert services.bill(azure, 5_000).after_free_usd == 0
    assert services.bill(azure, 5_001).after_free_usd == services.bill(azure, 5_001).list_usd == Decimal("5.001")


# Names and limits


def test_a_provider_alone_means_its_sentiment() -> None:
    assert service("aws") is service("aws:sentiment")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("asw", "did you mean aws?"), ("aws:sentimant", "did you mean aws:sentiment?"), ("zzz", "there are: aws:sentim")],
)
def test_an_unknown_service_suggests_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=rf"no price is known of the service {name}; {hint}".replace("?", r"\?")):
        service(name)


def test_documents_take_as_long_as_the_limit_says() -> None:
    assert services.seconds(service("aws"), 10_000) == 40.0
    assert services.seconds(service("google"), 10_000) == 1_000.0
    assert services.seconds(service("azure"), 10_000) == pytest.approx(60, rel=1e-3)
    assert services.seconds(service("aws:custom_endpoint"), 10_000) is None


def test_a_limit_a_day_makes_the_rest_wait_for_the_next_one() -> None:
    google = services.find("google", pricelist.read().services)
    assert google.docs_a_day == 800_000
    waits = {n: services.seconds(google, n) for n in (0, 10, 800_000, 800_001, 1_600_001)}
    assert waits == {0: 0.0, 10: 1.0, 800_000: 80_000.0, 800_001: 86_400.1, 1_600_001: 172_800.1}
