"""Requests go out compressed only where an endpoint says so, and as long as it takes them."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt.models.packing import LEAST_BYTES, Packing

BODY = b'{"model": "m"}' * 200
SAYS = {"accept-encoding": "gzip, deflate"}


def told(*statuses: int, says: str = "gzip") -> Packing:
    """What is known once an endpoint said that it takes gzip, and compressed requests then ended so."""
    packing = Packing(on=True)
    packing.learn(200, {"accept-encoding": says}, was_packed=False)
    for status in statuses:
        packing.learn(status, {}, was_packed=True)
    return packing


@given(st.binary(min_size=LEAST_BYTES, max_size=5_000))
def test_a_packed_body_is_gzip_of_it_and_always_the_same_bytes(body: bytes) -> None:
    packed = told().packed(body)
    assert packed is not None
    assert gzip.decompress(packed) == body
    assert told().packed(body) == packed


def test_nothing_is_packed_before_the_endpoint_says_so_or_where_the_settings_say_no() -> None:
    assert Packing(on=True).packed(BODY) is None
    off = Packing(on=False)
    off.learn(200, SAYS, was_packed=False)
    assert off.packed(BODY) is None


def test_a_small_body_goes_as_it_is() -> None:
    assert told().packed(BODY[: LEAST_BYTES - 1]) is None
    assert told().packed(BODY[:LEAST_BYTES]) is not None


@pytest.mark.parametrize(
    ("says", "packs"),
    [
        ("gzip", True), ("GZIP", True), ("br, gzip;q=0.5", True), (" gzip ; q=1", True), ("identity", False),
        ("", False), ("gzip;q=0", False), ("gzip; q=0.0", False), ("x-gzipped", False), ("*", False),
    ],
)  # fmt: skip
def test_what_an_endpoint_says_is_read_as_the_standard_has_it(says: str, *, packs: bool) -> None:
    assert (told(says=says).packed(BODY) is not None) is packs


def test_an_error_says_nothing() -> None:
    packing = Packing(on=True)
    packing.learn(400, SAYS, was_packed=False)
    assert packing.packed(BODY) is None


@pytest.mark.parametrize(
    ("statuses", "is_off"),
    [((415,), True), ((400,), True), ((200, 415), True), ((200, 400), False), ((429, 400), True), ((500,), False)],
)
def test_a_refusal_turns_it_off_for_good_but_not_a_bad_request_that_was_understood(
    statuses: tuple[int, ...], *, is_off: bool
) -> None:
    packing = told(*statuses)
    assert packing.is_refused(statuses[-1]) is is_off
    packing.learn(200, SAYS, was_packed=False)
    assert (packing.packed(BODY) is None) is is_off
