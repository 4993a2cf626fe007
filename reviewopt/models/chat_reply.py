"""From what came over the wire to a `Reply`: every status, every kind of damage has its outcome. Pure.

Nothing that an endpoint sends reaches a reason unless it is short, printable and holds neither key nor review.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from reviewopt.data import Outcome, Reply, Request, Usage
from reviewopt.models.chat_content import read_confidence, read_values
from reviewopt.models.http import Exchange
from reviewopt.models.reasons import CODE, Caller, told
from reviewopt.task import Task

_MOST_TOKENS: Final = 1 << 31
_MOST_RETRY_AFTER_S: Final = 86_400.0
_NO_QUOTA_CODES: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_FILTER_CODES: Final = frozenset({"content_filter", "content_policy_violation"})
_TOO_LONG_CODES: Final = frozenset({"context_length_exceeded", "string_above_max_length", "request_too_large"})
_BAD_BODY: Final = (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError)


class _Message(msgspec.Struct):
    content: Any = None
    refusal: Any = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    finish_reason: Any = None
    logprobs: msgspec.Raw = msgspec.Raw(b"null")


class _Body(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    id: Any = None
    error: Any = None


class _Token(msgspec.Struct):
    token: str
    logprob: float


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


def read(exchange: Exchange, request: Request, task: Task, caller: Caller) -> Reply:
    """Judge an exchange; never raises."""
    status = exchange.status
    if exchange.problem == "forbidden":
        return Reply(outcome="hopeless", seconds=exchange.seconds, reason=f"{caller.endpoint}: {exchange.reason}")
    if exchange.problem == "unsent":
        return Reply(outcome="unavailable", seconds=exchange.seconds, reason=f"{caller.endpoint}: {exchange.reason}")
    # A status that says "not done" holds even where the rest of its reply was lost.
    if exchange.problem == "lost" and not 300 <= status < 600:
        return Reply(outcome="no_reply", seconds=exchange.seconds, is_charged=True, reason=exchange.reason)
    if 200 <= status < 300:
        return _read_success(exchange, request, task, caller)
    return _read_error(exchange, request, caller)


def unsupported_words(body: bytes) -> str:
    """Return what an error says about parameters, lower case, the named parameter first."""
    error = _error_of(body)
    return f"{_text(error.get('param'))} {body[:4000].decode(errors='replace')}".lower()


def _read_success(exchange: Exchange, request: Request, task: Task, caller: Caller) -> Reply:
    try:
        body = msgspec.json.decode(exchange.body, type=_Body)
    except _BAD_BODY:
        request_id, reason = _request_id(exchange, None, caller), exchange.reason or "the reply is not JSON of a chat"
        return _spoiled(exchange, None, reason, request_id)
    usage = _usage(body.usage)
    request_id = _request_id(exchange, body.id, caller)
    choice = body.choices[0] if body.choices else None
    if choice is None or choice.message is None:
        reason = "the reply holds no answer"
        if body.error is not None:
            reason = told("an error instead of a reply", _mapping(body.error), request.questions, caller)
        return _spoiled(exchange, usage, reason, request_id)
    if choice.finish_reason == "content_filter" or _text(choice.message.refusal):
        what = "a content filter stopped the reply" if choice.finish_reason == "content_filter" else "the model refused"
        return Reply(
            outcome="refused",
            seconds=exchange.seconds,
            usage=usage,
            is_charged=True,
            reason=what,
            request_id=request_id,
        )
    content = _content(choice.message.content)
    is_cut = choice.finish_reason == "length"
    values = read_values(content, request.ids, task, is_cut=is_cut)
    if not values:
        return _spoiled(exchange, usage, _no_values(content, is_cut=is_cut), request_id)
    return Reply(
        outcome="answered",
        seconds=exchange.seconds,
        values=values,
        confidence=_confidence(choice.logprobs, content, {review_id for review_id, _ in values}, task),
        usage=usage,
        is_charged=True,
        reason="the reply was cut at its limit" if is_cut else "",
        request_id=request_id,
    )


def _spoiled(exchange: Exchange, usage: Usage | None, reason: str, request_id: str | None) -> Reply:
    return Reply(
        outcome="spoiled",
        seconds=exchange.seconds,
        usage=usage,
        is_charged=True,
        reason=reason,
        request_id=request_id,
    )


def _no_values(content: str, *, is_cut: bool) -> str:
    if is_cut:
        return "the reply was cut at its limit before the first answer"
    return "the reply's answers cannot be read" if content.strip() else "the reply is empty"


def _read_error(exchange: Exchange, request: Request, caller: Caller) -> Reply:
    status, error = exchange.status, _error_of(exchange.body)
    codes = {_text(error.get("code")), _text(error.get("type"))}
    outcome, reason = _judge(status, codes, caller)
    if not reason:
        reason = told(f"{caller.endpoint} answered HTTP {status}", error, request.questions, caller)
    usage = _usage(_mapping(_decoded(exchange.body)).get("usage")) if outcome == "refused" else None
    waits = outcome in {"rate_limited", "unavailable"}
    return Reply(
        outcome=outcome,
        seconds=exchange.seconds,
        usage=usage,
        is_charged=usage is not None,
        reason=reason,
        retry_after_s=retry_after_s(exchange.headers) if waits else None,
        request_id=_request_id(exchange, None, caller),
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
            f"{at} knows no model {caller.model}, or is no chat endpoint {said}; check model and base_url",
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
    except _BAD_BODY:
        return None


def _error_of(body: bytes) -> Mapping[str, Any]:
    """Find the error in a body: under `error`, in a list, under `detail` as pydantic writes it, or the body itself."""
    whole = _decoded(body)
    if isinstance(whole, list) and whole:
        whole = whole[0]
    found = _mapping(whole)
    if "error" in found:
        return _mapping(found["error"])
    if "detail" in found:
        detail = found["detail"]
        first = detail[0] if isinstance(detail, list) and detail else detail
        return {"message": first.get("msg")} if isinstance(first, dict) else _mapping(first)
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    return {"message": value} if isinstance(value, str) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _content(content: object) -> str:
    """Return the text of a message, which may come in parts."""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return _text(content)


def _confidence(raw: msgspec.Raw, content: str, ids: Collection[str], task: Task) -> dict[str, float]:
    try:
        tokens = (msgspec.json.decode(raw, type=_Logprobs | None) or _Logprobs()).content or []
    except _BAD_BODY:
        return {}
    if not tokens:
        return {}
    return read_confidence(content, [token.token for token in tokens], [token.logprob for token in tokens], ids, task)


def _usage(value: object) -> Usage | None:
    """Read the tokens; None where a figure cannot be."""
    told = _mapping(value)
    taken, written = _mapping(told.get("prompt_tokens_details")), _mapping(told.get("completion_tokens_details"))
    counts: list[Any] = [
        told.get("prompt_tokens"),
        told.get("completion_tokens"),
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
    if cached + cache_write > n_input:
        return None
    return Usage(input=n_input, cached=cached, cache_write=cache_write, output=n_output, reasoning=reasoning)


def _request_id(exchange: Exchange, body_id: object, caller: Caller) -> str | None:
    for value in (exchange.headers.get("x-request-id"), body_id):
        if isinstance(value, str) and CODE.fullmatch(value) and not (caller.key and caller.key in value):
            return value
    return None
