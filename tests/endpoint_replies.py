"""What the endpoint for tests says: a request's reviews, their answers by text alone, and how they are spoiled."""

from __future__ import annotations

import html
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

# The reply arrives, and is charged, but its content is not what was asked for.
_SPOILED = (
    "malformed",
    "truncated",
    "fenced",
    "missing_ids",
    "extra_ids",
    "dup_ids",
    "wrong_label",
    "refusal",
    "empty",
)
_ODD = ("content_filter", "nan", "huge_int", "deep")
CONTENT_FAULTS = (*_SPOILED, *_ODD)
_KEEPS_ALL = ("", "fenced", "extra_ids", "trickle")
_KEEPS_SOME = ("missing_ids", "dup_ids", "wrong_label", "nan", "huge_int")
_HUGE_INT = "9" * 4301  # int() reads at most 4,300 digits
_PLACEHOLDER = "PLACEHOLDER"
_REVIEW = re.compile(r'<review id="([^"]+)">(.*?)</review>', re.DOTALL)
_LABELS = re.compile(r"^\s*labels: *(.+)$", re.MULTILINE)


class Answer(NamedTuple):
    """A review's id in the request, what is said about it, and its text."""

    id: str
    value: Any
    text: str


class Token(NamedTuple):
    """A piece of the content; `text` is that of the review that it answers, None where the piece is no label."""

    token: str
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Chat:
    """What a request asks for; `reviews` are id and text; `n_logprobs` is None where none are wanted.

    `streams`: the reply is to come in pieces, with its usage at the end where the request `wants_usage`.
    """

    reviews: tuple[tuple[str, str], ...]
    labels: tuple[str, ...]
    response_format: str
    schema: Mapping[str, Any]
    n_logprobs: int | None
    most_output_tokens: int | None
    input_tokens: int
    streams: bool
    wants_usage: bool
    cache_key: str | None

    @classmethod
    def read(cls, body: bytes, labels: Sequence[str]) -> Chat | None:
        """Read a request's body; None where it is none."""
        try:
            asked = json.loads(body)
            messages = [(message["role"], message["content"]) for message in asked["messages"]]
            asked["model"]
            user = [content for role, content in messages if role == "user"][-1]
        except (ValueError, TypeError, LookupError):
            return None
        form = asked.get("response_format") or {"type": "text"}
        schema = form.get("json_schema", {}).get("schema", {})
        named = _LABELS.search("\n".join(content for role, content in messages if role in {"system", "developer"}))
        prompt = "".join(content for _, content in messages) + (json.dumps(schema) if schema else "")
        return cls(
            reviews=reviews_in(user),
            labels=_labels(schema) or (tuple(map(str.strip, named[1].split(","))) if named else tuple(labels)),
            response_format=form["type"],
            schema=schema,
            n_logprobs=asked.get("top_logprobs", 0) if asked.get("logprobs") else None,
            most_output_tokens=asked.get("max_completion_tokens") or asked.get("max_tokens"),
            input_tokens=len(prompt.encode("utf-8", "surrogatepass")) // 4,
            streams=bool(asked.get("stream")),
            wants_usage=bool((asked.get("stream_options") or {}).get("include_usage")),
            cache_key=asked.get("prompt_cache_key"),
        )


@dataclass(frozen=True, kw_only=True)
class Told:
    """A reply: the message, how it ended (None: it broke off), its tokens, and the texts that it answers rightly."""

    message: Mapping[str, Any]
    finish_reason: str | None
    logprobs: Mapping[str, Any] | None
    output_tokens: int
    answered: tuple[str, ...]


def canonical(text: str) -> str:
    """A text as answers and ledger know it: in one case, with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def label_of(text: str, labels: Sequence[str], gold: Mapping[str, str] | None = None) -> str:
    """The label that a text gets."""
    return str(choose(labels, text, "", gold or {}))


def tell(chat: Chat, gold: Mapping[str, str], fault: str) -> Told:
    """Answer a request, with the fault where it is one of the content."""
    properties = chat.schema.get("properties", {})
    answers = [
        Answer(id_, _fill(properties.get(id_, {"enum": chat.labels}), chat.schema, text, gold), text)
        for id_, text in chat.reviews
        if not properties or id_ in properties
    ]
    write = _lines if chat.response_format == "text" else _json
    tokens = list(write(_spoil(answers, chat, fault)))
    whole = _joined(tokens)
    content, finish_reason, refusal = _said(whole, fault)
    most_tokens = chat.most_output_tokens or math.inf
    n_tokens = -(-len((content or refusal or "").encode("utf-8", "replace")) // 4)
    if n_tokens > most_tokens and content == whole:
        content, finish_reason = whole[: 4 * int(most_tokens)], "length"
    if chat.streams and fault == "drop_mid":
        content, finish_reason = whole[: len(whole) * 2 // 3], None
    if content != whole:
        tokens = [Token(content)] if content else []
    kept = answers if fault in _KEEPS_ALL else answers[_n_spoiled(answers) :] if fault in _KEEPS_SOME else []
    if finish_reason in {"length", None}:  # what stands complete in a cut reply is an answer
        n = len(content or "")
        kept = [answer for at, answer in enumerate(answers, 1) if len(_joined(write(answers[:at]))) <= n]
    return Told(
        message={"role": "assistant", "content": content, "refusal": refusal},
        finish_reason=finish_reason,
        logprobs=None if chat.n_logprobs is None else {"content": _logprobs(tokens, chat)},
        output_tokens=int(min(n_tokens, most_tokens)),
        answered=tuple(answer.text for answer in kept),
    )


def completion(told: Told, chat: Chat) -> bytes:
    """The body of a reply."""
    choice = {"index": 0, "message": told.message, "logprobs": told.logprobs, "finish_reason": told.finish_reason}
    return json.dumps(
        {
            "id": "chatcmpl-test",
            "object": "chat.completion",
            "model": "test",
            "choices": [choice],
            "usage": usage(told, chat),
        }
    ).encode()


def usage(told: Told, chat: Chat) -> dict[str, int]:
    """The tokens of a reply."""
    counts = {"prompt_tokens": chat.input_tokens, "completion_tokens": told.output_tokens}
    return counts | {"total_tokens": sum(counts.values())}


def reviews_in(prompt: str) -> tuple[tuple[str, str], ...]:
    """Id and text of every review in a prompt."""
    return tuple((id_, html.unescape(text)) for id_, text in _REVIEW.findall(prompt))


def choose(choices: Sequence[Any], text: str, field: str, gold: Mapping[str, str]) -> Any:
    """One of the choices by the text's hash and the field's name; without one by what `gold` says first."""
    key = canonical(text)
    for choice in choices:
        if not field and str(choice) == gold.get(key, gold.get(text)):
            return choice
    drawn = sha256(f"{field}{key}".encode("utf-8", "surrogatepass")).digest()
    return choices[int.from_bytes(drawn[:8], "big") % len(choices)]


def _labels(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels of a schema's first field, none where it has none."""
    part = schema
    while "properties" in part:
        part = _resolved(next(iter(part["properties"].values()), {}), schema)
    return tuple(map(str, _choices(part)))


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        found: Any = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        schema = found
    return schema


def _choices(schema: Mapping[str, Any]) -> list[Any]:
    if "const" in schema:
        return [schema["const"]]
    if schema.get("type") == "boolean":
        return [False, True]
    if schema.get("type") in {"integer", "number"} and "enum" not in schema:
        return list(range(schema.get("minimum", 1), schema.get("maximum", 5) + 1))
    return list(schema.get("enum", ()))


def _fill(
    schema: Mapping[str, Any], root: Mapping[str, Any], text: str, gold: Mapping[str, str], field: str = ""
) -> Any:
    """Say of a text what its schema asks for; the first field of an object is the one that `gold` and hash decide."""
    schema = _resolved(schema, root)
    if choices := _choices(schema):
        return choose(choices, text, field, gold)
    if "properties" in schema:
        parts = schema["properties"].items()
        return {name: _fill(part, root, text, gold, name if n else field) for n, (name, part) in enumerate(parts)}
    if schema.get("type") == "array":
        return [_fill(schema["items"], root, text, gold, field)] * schema.get("minItems", 1)
    return f"says: {canonical(text)[:40]}"[: schema.get("maxLength", 100)].encode("utf-8", "replace").decode()


def _n_spoiled(answers: Sequence[Answer]) -> int:
    return -(-len(answers) // 5)


def _spoil(answers: list[Answer], chat: Chat, fault: str) -> list[Answer]:
    """Spoil the first fifth of the answers, or add to them, as the fault says."""
    n = _n_spoiled(answers)
    first, rest = answers[:n], answers[n:]
    match fault:
        case "missing_ids":
            return rest
        case "extra_ids":
            return [*answers, *(answer._replace(id="zz99") for answer in first)]
        case "dup_ids":
            return [*answers, *(answer._replace(value=_other(answer.value, chat)) for answer in first)]
        case "wrong_label" | "nan" | "huge_int":
            wrong = "banana" if fault == "wrong_label" else _PLACEHOLDER
            return [*(answer._replace(value=_with_first(answer.value, wrong)) for answer in first), *rest]
    return answers


def _with_first(value: Any, first: Any) -> Any:
    return {**value, next(iter(value)): first} if isinstance(value, dict) else first


def _other(value: Any, chat: Chat) -> Any:
    """Another answer than this one that a task could allow."""
    first = next(iter(value.values())) if isinstance(value, dict) else value
    return _with_first(value, first % 5 + 1 if isinstance(first, int) else next(x for x in chat.labels if x != first))


def _said(whole: str, fault: str) -> tuple[str | None, str | None, str | None]:
    """Content, how it ended, and the refusal."""
    number = "NaN" if fault == "nan" else _HUGE_INT
    said: dict[str, tuple[str | None, str | None, str | None]] = {
        "malformed": (whole.replace(":", " is ") + " I hope this helps!}", "stop", None),
        "truncated": (whole[: len(whole) * 2 // 3], "length", None),
        "fenced": (f"```json\n{whole}\n```", "stop", None),
        "refusal": (None, "stop", "I cannot help with that."),
        "empty": ("", "stop", None),
        "content_filter": ("", "content_filter", None),
        "deep": ("[" * 100_000, "stop", None),
    }
    right = whole.replace(f'"{_PLACEHOLDER}"', number).replace(_PLACEHOLDER, number)
    return said.get(fault, (right, "stop", None))


def _joined(tokens: Iterable[Token]) -> str:
    return "".join(token for token, _ in tokens)


def _json(answers: Sequence[Answer]) -> Iterator[Token]:
    yield Token("{")
    for n, (id_, value, text) in enumerate(answers):
        yield Token(f'{"," if n else ""}"{id_}":')
        yield from _value(value, text)
    yield Token("}")


def _value(value: Any, text: str | None) -> Iterator[Token]:
    """A value as JSON in which its first string or number is one token."""
    if isinstance(value, dict):
        for n, (name, part) in enumerate(value.items()):
            yield Token(f'{"," if n else "{"}"{name}":')
            yield from _value(part, None if n else text)
        yield Token("}")
    elif isinstance(value, str):
        yield from (Token('"'), Token(json.dumps(value, ensure_ascii=False)[1:-1], text), Token('"'))
    else:
        yield Token(json.dumps(value), text)


def _lines(answers: Sequence[Answer]) -> Iterator[Token]:
    for id_, value, text in answers:
        yield from (Token(f"{id_}:"), Token(str(value), text), Token("\n"))


def _logprobs(tokens: Sequence[Token], chat: Chat) -> list[dict[str, Any]]:
    """An entry a token; how sure a label is follows from its text, and the other labels share what is left."""
    made = []
    for token, text in tokens:
        share = 1.0 if text is None else sureness(text)
        others = [] if text is None else [label for label in chat.labels if label != token]
        top = [(token, share), *((other, (1 - share) / len(others)) for other in others)][: chat.n_logprobs]
        made.append(_logprob(token, share) | {"top_logprobs": [_logprob(*one) for one in top]})
    return made


def _logprob(token: str, share: float) -> dict[str, Any]:
    return {"token": token, "logprob": math.log(share), "bytes": list(token.encode("utf-8", "replace"))}


def sureness(text: str) -> float:
    """The probability that the endpoint states for its label of a text, 0.6 to 1."""
    return 0.6 + 0.4 * int(choose(range(1, 1000), text, "sureness", {})) / 1000
