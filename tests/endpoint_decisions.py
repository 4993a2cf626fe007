"""Typed decisions of the endpoint for tests: questions about reviews, answered by text alone, and how they are spoiled.

A question's name is the review's id, or ID.FIELD. The probability of what is answered is the `sureness` of the text,
and the other values share the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from endpoint_replies import Chat, Told, choose, completion, reviews_in, sureness, tell

_MOST_QUESTIONS = 400
_KEEPS_ALL = ("", "extra_ids", "trickle")
_KEEPS_SOME = ("refusal", "missing_ids", "dup_ids", "wrong_label", "nan", "huge_int")
_BODIES = {"malformed": "answers: {", "fenced": "```json\n{}\n```", "deep": '{"answers": ' + "[" * 100_000}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a request asks: its reviews as id and text, and its questions."""

    reviews: tuple[tuple[str, str], ...]
    questions: tuple[Mapping[str, Any], ...]
    input_tokens: int
    response_format: str = "decisions"
    n_logprobs: int | None = None
    streams: bool = False
    cache_key: str | None = None

    @classmethod
    def read(cls, body: bytes, labels: Sequence[str]) -> Decision | None:  # noqa: ARG003 - as a chat is read
        """Read a request's body; None where it is none that the service would take."""
        try:
            asked = json.loads(body)
            given, questions = asked["input"], asked["questions"]
            asked["model"]
            reviews = reviews_in(given)
            named = {id_ for id_, _ in reviews}
            if not 0 < len(questions) <= _MOST_QUESTIONS or not all(_is_right(one, named) for one in questions):
                return None
            return cls(
                reviews=reviews,
                questions=tuple(questions),
                input_tokens=len((given + json.dumps(questions)).encode("utf-8", "surrogatepass")) // 4,
            )
        except (ValueError, TypeError, LookupError):
            return None


Asked = Chat | Decision
# By path, how a request is read.
READERS: dict[str, Callable[[bytes, Sequence[str]], Asked | None]] = {
    "/v1/chat/completions": Chat.read,
    "/v1/decisions": Decision.read,
}


def answered(asked: Asked, gold: Mapping[str, str], fault: str) -> Told:
    """Answer a request of either kind."""
    return tell(asked, gold, fault) if isinstance(asked, Chat) else decide(asked, gold, fault)


def written(told: Told, asked: Asked) -> bytes:
    """The body of a reply of either kind."""
    return completion(told, asked) if isinstance(asked, Chat) else decided(told, asked)


def answer_to(text: str, field: str, values: Sequence[Any], gold: Mapping[str, str] | None = None) -> Any:
    """The value that a text gets for a field, the empty name for the first one."""
    return choose(values, text, field, gold or {})


def decide(decision: Decision, gold: Mapping[str, str], fault: str) -> Told:
    """Answer a request, with the fault where it is one of the content: it spoils the first fifth of the reviews."""
    texts = dict(decision.reviews)
    spoiled = [id_ for id_, _ in decision.reviews[: -(-len(texts) // 5)]]
    first = str(decision.questions[0]["name"]).partition(".")[2]
    answers: list[dict[str, Any]] = []
    for question in decision.questions:
        id_ = _id(question)
        is_spoilt = id_ in spoiled or fault == "content_filter"
        answer = _answer(question, texts[id_], gold, first)
        answers += _spoilt(answer, fault) if is_spoilt else [answer]
    if fault == "extra_ids":
        answers.append({**answers[0], "name": "zz99"})
    kept = texts if fault in _KEEPS_ALL else {id_: text for id_, text in texts.items() if id_ not in spoiled}
    return Told(
        message={"answers": [] if fault == "empty" else answers, "raw": _BODIES.get(fault)},
        finish_reason=fault,
        logprobs=None,
        output_tokens=0,
        answered=tuple(kept.values()) if fault in (*_KEEPS_ALL, *_KEEPS_SOME) else (),
    )


def decided(told: Told, decision: Decision) -> bytes:
    """The body of a reply."""
    if told.message["raw"] is not None:
        return str(told.message["raw"]).encode()
    n = decision.input_tokens
    usage = {
        "input_tokens": n,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": n,
    }
    body = json.dumps({"answers": told.message["answers"], "model": "test", "usage": usage}).encode()
    return body[: len(body) // 2] if told.finish_reason == "truncated" else body


def _id(question: Mapping[str, Any]) -> str:
    return str(question["name"]).partition(".")[0]


def _is_right(question: Mapping[str, Any], ids: AbstractSet[str]) -> bool:
    n_values = len(_values(question))
    return (
        question["type"] in {"choice", "score", "predicate"}
        and _id(question) in ids
        and bool(question["instructions"])
        and 2 <= n_values <= (255 if question["type"] == "choice" else 10)
    )


def _values(question: Mapping[str, Any]) -> list[Any]:
    if question["type"] == "choice":
        return [choice["value"] for choice in question["choices"]]
    return [level["label"] for level in question["levels"]] if question["type"] == "score" else ["no", "yes"]


def _answer(question: Mapping[str, Any], text: str, gold: Mapping[str, str], first: str) -> dict[str, Any]:
    """Answer a question; the field called `first` has the value that a chat would give it."""
    kind, name, values = question["type"], question["name"], _values(question)
    field = name.partition(".")[2]
    value = answer_to(text, "" if field == first else field, values, gold)
    sure = sureness(text)
    answer: dict[str, Any] = {"type": kind, "name": name}
    shares = [sure if one == value else (1 - sure) / (len(values) - 1) for one in values]
    if kind == "predicate":
        return {**answer, "probability": shares[1]}
    if kind == "choice":
        listed = [{"value": one, "probability": share} for one, share in zip(values, shares, strict=True)]
        return {**answer, "choice": value, "confidence": sure, "probabilities": listed}
    levels = [
        {"label": one, "value": at, "probability": share}
        for at, (one, share) in enumerate(zip(values, shares, strict=True))
    ]
    expected = sum(at * share for at, share in enumerate(shares))
    return {**answer, "score": expected, "confidence": sure, "probabilities": levels}


def _spoilt(answer: dict[str, Any], fault: str) -> list[dict[str, Any]]:
    kind, name = answer["type"], answer["name"]
    match fault:
        case "refusal" | "content_filter":
            return [{"type": "refusal", "name": name}]
        case "missing_ids":
            return []
        case "dup_ids":
            return [answer, {**answer, "type": "choice", "choice": "banana"}]
        case "wrong_label" | "nan" | "huge_int":
            wrong: Any = {"wrong_label": "banana", "nan": float("nan"), "huge_int": int("9" * 4000)}[fault]
            return [
                {"type": kind, "name": name, {"choice": "choice", "score": "score"}.get(kind, "probability"): wrong}
            ]
    return [answer]
