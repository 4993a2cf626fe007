"""A reply of the endpoint for tests that comes piece by piece."""

from __future__ import annotations

import json
from typing import Any

from endpoint_replies import Chat, Told, usage


def streamed(told: Told, chat: Chat, n_chars: int = 7) -> list[bytes]:
    """The events of a reply that comes in pieces; they end where it breaks off."""
    content, refusal = told.message["content"] or "", told.message["refusal"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *([{"refusal": refusal}] if refusal else [])]
    scores: list[Any] = [None] * len(deltas)
    if told.logprobs is not None and "".join(one["token"] for one in told.logprobs["content"]) == content:
        pieces = [one["token"] for one in told.logprobs["content"]]
        scores += [{"content": [one]} for one in told.logprobs["content"]]
    else:
        pieces = [content[at : at + n_chars] for at in range(0, len(content), n_chars)]
        scores += [None] * len(pieces)
    deltas += [{"content": piece} for piece in pieces]
    choices = [
        {"index": 0, "delta": delta, "logprobs": score, "finish_reason": None}
        for delta, score in zip(deltas, scores, strict=True)
    ]
    frame = {"id": "chatcmpl-test", "object": "chat.completion.chunk", "model": "test"}
    events = [json.dumps({**frame, "choices": [choice]}) for choice in choices]
    if told.finish_reason is not None:
        last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": told.finish_reason}
        events.append(json.dumps({**frame, "choices": [last]}))
        if chat.wants_usage:
            events.append(json.dumps({**frame, "choices": [], "usage": usage(told, chat)}))
        events.append("[DONE]")
    return [f"data: {event}\n\n".encode() for event in events]
