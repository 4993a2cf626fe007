"""What a reason may say of what an endpoint said: short, printable, and neither key nor review. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reviewopt.data import Question

# What a code or an id looks like.
CODE: Final = re.compile(r"[\w.\-\[\]$/]{1,60}")
_MOST_REASON_CHARS: Final = 200
_MOST_MESSAGE_CHARS: Final = 120
_QUOTED: Final = re.compile(r"\"[^\"]{40,}\"|'[^']{40,}'|`[^`]{40,}`|“[^”]{40,}”")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a reason may need to say: the endpoint, its model, the variable of the key, and the key to keep out."""

    endpoint: str
    model: str
    key_variable: str
    key: str = field(repr=False)


def told(what: str, error: Mapping[str, Any], questions: Sequence[Question], caller: Caller) -> str:
    """Add what an error says of itself, as far as it holds neither the key nor a part of a review."""
    said = [
        f"{name} {value}"
        for name in ("code", "type", "param")
        if isinstance(value := error.get(name), str | int) and CODE.fullmatch(str(value))
    ]
    if isinstance(message := error.get("message"), str):
        message = _QUOTED.sub("...", _masked(message, caller))[:_MOST_MESSAGE_CHARS]
        said.append(" ".join("".join(sign if sign.isprintable() else " " for sign in message).split()))
    whole = _masked("; ".join(filter(None, said)), caller)
    if not whole or _holds_review(whole, questions):
        return what
    return f"{what}: {whole}"[:_MOST_REASON_CHARS]


def _masked(text: str, caller: Caller) -> str:
    return text.replace(caller.key, "***") if caller.key else text


def _holds_review(said: str, questions: Sequence[Question], width: int = 16) -> bool:
    """Whether any 16 characters in a row, or a short review as a whole, stand in a review as well."""
    said = said.casefold()
    pieces = {said[at : at + width] for at in range(max(1, len(said) - width + 1))}
    for question in questions:
        text = " ".join(question.text.casefold().split())
        if len(text) < width:
            if len(text) > 3 and text in said:
                return True
        elif any(piece in text for piece in pieces if len(piece) == width):
            return True
    return False
