"""What the replies of every kind of endpoint share."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from reviewopt.data import Request, Usage
from reviewopt.models import replies
from reviewopt.models.http import Exchange
from reviewopt.models.reasons import Caller

CALLER = Caller(endpoint="https://h.example/v1", model="m", key_variable="MY_KEY", key="sk-canary-0123456789")
REQUEST = Request(questions=(), ids=(), body=b"", most_output_tokens=0)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "150", "retry-after": "1"}, 0.15),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "x", "retry-after": "3"}, 3.0),
        ({}, None),
        ({"retry-after": format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True)}, 0.0),
        ({"retry-after": "1e300"}, 86_400.0),
    ],
)
def test_the_wait_is_read_in_every_form(headers: dict[str, str], wait_s: float | None) -> None:
    assert replies.retry_after_s(headers) == wait_s


def test_a_date_is_read_as_the_time_until_then() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    wait_s = replies.retry_after_s({"retry-after": then})
    assert wait_s is not None
    assert 30 < wait_s <= 60


@pytest.mark.parametrize("status", [200, 201, 299])
def test_a_whole_reply_is_left_to_its_own_kind(status: int) -> None:
    assert replies.failed(Exchange(seconds=0.0, status=status, headers={}), REQUEST, CALLER) is None


@pytest.mark.parametrize("status", [100, 199, 300, 404, 500, 999])
def test_anything_else_is_judged_for_every_kind(status: int) -> None:
    reply = replies.failed(Exchange(seconds=0.0, status=status, headers={}), REQUEST, CALLER)
    assert reply is not None
    assert reply.reason


def test_an_unknown_path_or_model_names_the_settings_to_look_at() -> None:
    reply = replies.failed(Exchange(seconds=0.0, status=404, headers={}), REQUEST, CALLER)
    assert reply is not None
    assert all(setting in reply.reason for setting in ("model", "kind", "base_url"))


@pytest.mark.parametrize(
    "told",
    [
        {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
        {"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}},
    ],
)
def test_tokens_are_read_under_both_names(told: dict[str, Any]) -> None:
    assert replies.usage_of(told) == Usage(input=9, cached=4, output=2)
    body = json.dumps({"error": {"code": "content_filter"}, "usage": told}).encode()
    refused = replies.failed(Exchange(seconds=0.0, status=400, headers={}, body=body), REQUEST, CALLER)
    assert refused is not None
    assert (refused.outcome, refused.is_charged, refused.usage) == ("refused", True, Usage(input=9, cached=4, output=2))


@pytest.mark.parametrize("name", ["req_7", "chatcmpl-1"])
def test_a_request_is_named_by_what_looks_like_a_name_alone(name: str) -> None:
    def found(header: str, body_id: object) -> str | None:
        exchange = Exchange(seconds=0.0, headers={"x-request-id": header})
        return replies.request_id_of(exchange, body_id, CALLER)

    assert found(name, "other") == name
    assert found("a b", name) == found(f"x-{CALLER.key}", name) == name
    assert found("", 7) is None


def test_no_input_at_all_is_a_count_that_was_not_made() -> None:
    assert replies.usage_of({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}) is None
