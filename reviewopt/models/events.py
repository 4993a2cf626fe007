"""A chat's reply that comes piece by piece, put together again: server-sent events -> content. Pure.

A stream may end anywhere, because a connection broke. What is made of it is always a beginning of the whole reply:
nothing after an event that cannot be read counts, since a piece could be missing between them.

The format is that of the HTML standard (https://html.spec.whatwg.org/multipage/server-sent-events.html), the events are
those of OpenAI's chat completions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

# How the media type of such replies begins, lower case.
_MEDIA_TYPE: Final = "text/event-stream"
_DONE: Final = b"[DONE]"
_ERROR: Final = b"error"
_BOM: Final = b"\xef\xbb\xbf"
_BAD_EVENT: Final = (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError)


class _Delta(msgspec.Struct):
    content: Any = None
    refusal: Any = None


class _Choice(msgspec.Struct):
    index: Any = 0
    delta: _Delta | None = None
    finish_reason: Any = None
    logprobs: msgspec.Raw = msgspec.Raw(b"null")


class _Event(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    id: Any = None
    error: Any = None


class Token(msgspec.Struct, frozen=True):
    """A piece of the content, and the logarithm of its probability."""

    token: str
    logprob: float


class Logprobs(msgspec.Struct, frozen=True):
    """The tokens of a content, none where the endpoint does not tell them."""

    content: list[Token] | None = None


# Made once, before any thread reads: threads that decode into a new type at the same time crash (msgspec 0.22).
_EVENT: Final = msgspec.json.Decoder(_Event)
_PIECES: Final = msgspec.json.Decoder(list[Logprobs | None])


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """What stood in a stream, as far as it goes.

    `is_begun`: it held the first piece of an answer, even an empty one. `is_whole`: the content is complete, because
    the stream said how it ended; usage and the like may still be missing.
    """

    content: str
    refusal: str
    finish_reason: str | None
    tokens: list[Token]
    usage: Any
    id: Any
    error: Any
    is_begun: bool
    is_whole: bool


def is_stream(media_type: str, body: bytes) -> bool:
    """Whether a reply is a stream: it says so and holds no bare object, or looks like one whatever it says."""
    begins = body[:200].removeprefix(_BOM).lstrip()
    if media_type.strip().lower().startswith(_MEDIA_TYPE):
        return not begins.startswith(b"{")
    return begins.startswith((b"data:", b"event:"))


def read(body: bytes) -> Streamed:
    """Put a stream together, up to its end or to where it cannot be read any more; never raises."""
    content: list[str] = []
    refusal: list[str] = []
    logprobs: list[bytes] = []
    usage = name = error = finish_reason = None
    is_begun = is_done = False
    for kind, data in _events(body):
        if data == _DONE:
            is_done = True
            break
        try:
            event = _EVENT.decode(data)
        except _BAD_EVENT:
            break
        name = name or event.id
        if event.error is not None or kind == _ERROR:
            error = msgspec.json.decode(data) if event.error is None else event.error
            break
        for choice in event.choices or ():
            if choice.index:  # the first choice is the only one that is asked for
                continue
            if isinstance(choice.finish_reason, str):
                finish_reason = choice.finish_reason
            if choice.delta is None:
                continue
            is_begun = True
            content.append(text_of(choice.delta.content))
            refusal.append(text_of(choice.delta.refusal))
            logprobs.append(bytes(choice.logprobs))
            if content[-1] or refusal[-1]:
                usage = None  # told before the end, it counts a part only
        usage = event.usage or usage
    is_whole = finish_reason is not None or (is_done and is_begun)
    return Streamed(
        content="".join(content),
        refusal="".join(refusal),
        finish_reason=finish_reason,
        tokens=_tokens(logprobs),
        usage=usage,
        id=name,
        error=error,
        is_begun=is_begun,
        is_whole=is_whole,
    )


def text_of(content: object) -> str:
    """Return the text of a message or of a piece of it, which may come in parts; empty where there is none."""
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _events(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and data of each event; an unfinished last one too, whose data is no JSON or whole all the same."""
    kind, data = b"", list[bytes]()
    for line in (*body.removeprefix(_BOM).splitlines(), b""):
        if line.startswith(b"data:"):
            data.append(line[5:])
        elif line.startswith(b"event:"):
            kind = line[6:].strip()
        elif not line:
            if whole := b"\n".join(data).strip():
                yield kind, whole
            kind, data = b"", []


def _tokens(raw: list[bytes]) -> list[Token]:
    """Read the tokens of all pieces at once; none where one of them is odd."""
    try:
        pieces = _PIECES.decode(b"[" + b",".join(raw) + b"]")
    except _BAD_EVENT:
        return []
    return [token for piece in pieces if piece is not None for token in piece.content or ()]
