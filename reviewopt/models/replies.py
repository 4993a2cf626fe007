"""What every kind of endpoint's replies share: lost requests, errors by status, waits, tokens. Pure.

Nothing that an endpoint sends reaches a reason unless it is short, printable and holds neither key nor review.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from reviewopt.data import Outcome, Reply, Request, Usage
from reviewopt.models.http import Exchange
from reviewopt.models.reasons import CODE, Caller, told

# What reading a body that is not what it should be raises.
BAD_BODY: Final = (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError)
_MOST_TOKENS: Final = 1 << 31
_MOST_RETRY_AFTER_S: Final = 86_400.0
_NO_QUOTA_CODES: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_FILTER_CODES: Final = frozenset({"content_filter", "content_policy_violation"})
_TOO_LONG_CODES: Final = frozenset({"context_length_exceeded", "string_above_max_length", "request_too_large"})


def failed(exchange: Exchange, request: Request, caller: Caller) -> Reply | None:
    """Judge an exchange that brought no whole reply of status 200 to 299; None where it did."""
    status = exchange.status
    if exchange.problem == "forbidden":
        return Reply(outcome="hopeless", seconds=exchange.seconds, reason=f"{caller.endpoint}: {exchange.reason}")
    if exchange.problem == "unsent":
        return Reply(outcome="unavailable", seconds=exchange.seconds, reason=f"{caller.endpoint}: {exchange.reason}")
    # A status that says "not done" holds even where the rest of its reply was lost.
    if exchange.problem == "lost" and not 300 <= status < 600:
        return Reply(outcome="no_reply", seconds=exchange.seconds, is_charged=True, reason=exchange.reason)
    return None if 200 <= status < 300 else _read_error(exchange, request, caller)


def spoiled(exchange: Exchange, usage: Usage | None, reason: str, request_id: str | None) -> Reply:
    """Return what is made of a reply that was paid for, but holds nothing of what was asked for."""
    return Reply(
        outcome="spoiled",
        seconds=exchange.seconds,
        usage=usage,
        is_charged=True,
        reason=reason,
        request_id=request_id,
    )


def _read_error(exchange: Exchange, request: Request, caller: Caller) -> Reply:
    status, error = exchange.status, error_of(exchange.body)
    codes = {text(error.get("code")), text(error.get("type"))}
    outcome, reason = _judge(status, codes, caller)
    if not reason:
        reason = told(f"{caller.endpoint} answered HTTP {status}", error, request.questions, caller)
    usage = usage_of(mapping(_decoded(exchange.body)).get("usage")) if outcome == "refused" else None
    waits = outcome in {"rate_limited", "unavailable"}
    return Reply(
        outcome=outcome,
        seconds=exchange.seconds,
        usage=usage,
        is_charged=usage is not None,
        reason=reason,
        retry_after_s=retry_after_s(exchange.headers) if waits else None,
        request_id=request_id_of(exchange, None, caller),
    )


def _judge(status: int, codes: set[str], caller: Caller) -> tuple[Outcome, str]:
    """Return the outcome of an error, and a reason where the status alone says it."""
    at, said = caller.endpoint, f"(HTTP {status})"
    key = f"the key in {caller.key_variable}" if caller.key_variable else "a request without a key; set api_key_env"
    is_request_wrong = status in {400, 422}
    rules: tuple[tuple[object, Outcome, str], ...] = (
        (status in {401, 403} or "invalid_api_key" in codes, "hopeless", f"{at} refused {key} {said}"),
        (status == 402 or codes & _NO_QUOTA_CODES, "hopeless", f"{at}: no quota or credit left {said}"),
        (
            status == 404 or "model_not_found" in codes,
            "hopeless",
            f"{at} knows no model {caller.model}, or is no endpoint of its kind {said}; check model, kind and base_url",
        ),
        (300 <= status < 400, "hopeless", f"{at} redirects {said}; put the final address into base_url"),
        (status == 413 or codes & _TOO_LONG_CODES, "spoiled", f"the request is too long for the endpoint {said}"),
        (status == 429, "rate_limited", f"asked to wait {said}"),
        (status in {408, 409, 425} or not 200 <= status < 500, "unavailable", f"{at} answered HTTP {status}"),
        (codes & _FILTER_CODES, "refused", f"a content filter stopped the request {said}"),
        (is_request_wrong, "unsupported", ""),
    )
    return next(((outcome, reason) for holds, outcome, reason in rules if holds), ("hopeless", ""))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return how long the endpoint asks to wait: seconds, milliseconds or a date; None where it does not say."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            value = float(headers.get(name, "nan")) / unit
        except ValueError:
            continue
        if math.isfinite(value):
            return min(max(0.0, value), _MOST_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(headers.get("retry-after", ""))
        wait = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, wait), _MOST_RETRY_AFTER_S)


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except BAD_BODY:
        return None


def error_of(body: bytes) -> Mapping[str, Any]:
    """Find the error in a body: under `error`, in a list, under `detail` as pydantic writes it, or the body itself."""
    whole = _decoded(body)
    if isinstance(whole, list) and whole:
        whole = whole[0]
    found = mapping(whole)
    if "error" in found:
        return mapping(found["error"])
    if "detail" in found:
        detail = found["detail"]
        first = detail[0] if isinstance(detail, list) and detail else detail
        return {"message": first.get("msg")} if isinstance(first, dict) else mapping(first)
    return found


def mapping(value: object) -> Mapping[str, Any]:
    """Return an object as it is, a bare text as one that holds it as its message, and anything else as an empty one."""
    if isinstance(value, dict):
        return value
    return {"message": value} if isinstance(value, str) else {}


def text(value: object) -> str:
    """Return a text as it is, and anything else as an empty one."""
    return value if isinstance(value, str) else ""


def usage_of(value: object) -> Usage | None:
    """Read the tokens under either of the names that endpoints give them; None where a figure cannot be."""
    told = mapping(value)
    taken = mapping(told.get("prompt_tokens_details", told.get("input_tokens_details")))
    written = mapping(told.get("completion_tokens_details", told.get("output_tokens_details")))
    counts: list[Any] = [
        told.get("prompt_tokens", told.get("input_tokens")),
        told.get("completion_tokens", told.get("output_tokens")),
        taken.get("cached_tokens") or 0,
        taken.get("cache_write_tokens") or 0,
        written.get("reasoning_tokens") or 0,
    ]
    if any(type(count) is not int or not 0 <= count < _MOST_TOKENS for count in counts):
        return None
    n_input, n_output, cached, cache_write, reasoning = counts
    # Some endpoints count reasoning beside the output; the total tells.
    if reasoning > n_output or (reasoning and told.get("total_tokens") == n_input + n_output + reasoning):
        n_output += reasoning
    if not n_input or cached + cache_write > n_input:  # some endpoints write zeros where they did not count
        return None
    return Usage(
        input=n_input,
        cached=cached,
        cache_write=cache_write,
        output=n_output,
        reasoning=reasoning,
        says_cached=taken.get("cached_tokens") is not None,
    )


def request_id_of(exchange: Exchange, body_id: object, caller: Caller) -> str | None:
    """Return the name that the endpoint gave to a request, where it looks like one and holds no key."""
    for value in (exchange.headers.get("x-request-id"), body_id):
        if isinstance(value, str) and CODE.fullmatch(value) and not (caller.key and caller.key in value):
            return value
    return None
