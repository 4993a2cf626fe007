"""From what came over the wire to a chat's `Reply`: every kind of damage has its outcome. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from reviewopt.data import Reply, Request
from reviewopt.models import events, replies
from reviewopt.models.chat_content import read_confidence, read_values
from reviewopt.models.http import Exchange
from reviewopt.models.reasons import Caller, told
from reviewopt.task import Task


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


# Made once, before any thread reads: threads that decode into a new type at the same time crash (msgspec 0.22).
_BODY: Final = msgspec.json.Decoder(_Body)
_LOGPROBS: Final = msgspec.json.Decoder(events.Logprobs | None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What a reply says, whether it came whole or in pieces; `content` is None where it holds no answer at all."""

    content: str | None
    refusal: str
    finish_reason: object
    tokens: Sequence[events.Token]
    usage: object
    id: object
    error: object
    is_broken: bool = False


def read(exchange: Exchange, request: Request, task: Task, caller: Caller) -> Reply:
    """Judge an exchange; never raises."""
    failed = replies.failed(exchange, request, caller)
    if failed is None:
        return _read_success(exchange, request, task, caller)
    if failed.outcome == "no_reply" and 200 <= exchange.status < 300 and _is_stream(exchange):
        begun = _read_success(exchange, request, task, caller)
        if begun.outcome in {"answered", "refused"}:
            return begun
    return failed


def unsupported_words(body: bytes) -> str:
    """Return what an error says about parameters, lower case, the named parameter first."""
    error = replies.error_of(body)
    return f"{replies.text(error.get('param'))} {body[:4000].decode(errors='replace')}".lower()


def _is_stream(exchange: Exchange) -> bool:
    return events.is_stream(exchange.headers.get("content-type") or "", exchange.body)


def _read_success(exchange: Exchange, request: Request, task: Task, caller: Caller) -> Reply:
    said = _streamed(exchange) if _is_stream(exchange) else _plain(exchange)
    if said is None:
        request_id = replies.request_id_of(exchange, None, caller)
        return replies.spoiled(exchange, None, exchange.reason or "the reply is not JSON of a chat", request_id)
    usage = replies.usage_of(said.usage)
    request_id = replies.request_id_of(exchange, said.id, caller)
    is_filtered = said.finish_reason == "content_filter"
    if is_filtered or said.refusal:
        return Reply(
            outcome="refused",
            seconds=exchange.seconds,
            usage=usage,
            is_charged=True,
            reason="a content filter stopped the reply" if is_filtered else "the model refused",
            request_id=request_id,
        )
    is_cut = said.is_broken or said.finish_reason == "length"
    values = () if said.content is None else read_values(said.content, request.ids, task, is_cut=is_cut)
    if not values:
        why = exchange.reason or _no_values(said, request, caller)
        # A cut that neither a length nor a chunk gave away.
        if said.is_broken and said.error is None and exchange.problem is None:
            return Reply(outcome="no_reply", seconds=exchange.seconds, usage=usage, is_charged=True, reason=why)
        return replies.spoiled(exchange, usage, why, request_id)
    return Reply(
        outcome="answered",
        seconds=exchange.seconds,
        values=values,
        confidence=_confidence(said, {review_id for review_id, _ in values}, task),
        usage=usage,
        is_charged=True,
        is_cut=is_cut or exchange.problem == "lost",
        reason=exchange.reason or _cut(said, request, caller),
        request_id=request_id,
    )


def _plain(exchange: Exchange) -> _Said | None:
    """Read a reply that came whole; None where it is none."""
    try:
        body = _BODY.decode(exchange.body)
    except replies.BAD_BODY:
        return None
    choice = (body.choices[0] if body.choices else None) or _Choice()
    message = choice.message
    return _Said(
        content=None if message is None else events.text_of(message.content),
        refusal="" if message is None else replies.text(message.refusal),
        finish_reason=choice.finish_reason,
        tokens=_tokens(choice.logprobs),
        usage=body.usage,
        id=body.id,
        error=body.error,
    )


def _streamed(exchange: Exchange) -> _Said:
    """Read a reply that came in pieces, as far as it came."""
    found = events.read(exchange.body)
    return _Said(
        content=found.content if found.is_begun else None,
        refusal=found.refusal,
        finish_reason=found.finish_reason,
        tokens=found.tokens,
        usage=found.usage,
        id=found.id,
        error=found.error,
        is_broken=not found.is_whole,
    )


def _cut(said: _Said, request: Request, caller: Caller) -> str:
    """Say why a reply is cut; empty where it is not."""
    if said.finish_reason == "length":
        return "the reply was cut at its limit"
    if said.is_broken and said.error is not None:
        return told("an error ended the reply", replies.mapping(said.error), request.questions, caller)
    return "the reply broke off" if said.is_broken else ""


def _no_values(said: _Said, request: Request, caller: Caller) -> str:
    """Say why a reply holds no answer that counts."""
    if said.error is not None:
        return told("an error instead of a reply", replies.mapping(said.error), request.questions, caller)
    if why := _cut(said, request, caller):
        return f"{why} before the first answer"
    if said.content is None:
        return "the reply holds no answer"
    return "the reply's answers cannot be read" if said.content.strip() else "the reply is empty"


def _tokens(raw: msgspec.Raw) -> Sequence[events.Token]:
    try:
        return (_LOGPROBS.decode(raw) or events.Logprobs()).content or ()
    except replies.BAD_BODY:
        return ()


def _confidence(said: _Said, ids: Collection[str], task: Task) -> dict[str, float]:
    if not said.tokens:
        return {}
    tokens, log_probabilities = [one.token for one in said.tokens], [one.logprob for one in said.tokens]
    return read_confidence(said.content or "", tokens, log_probabilities, ids, task)
