"""What a model wrote, read as answers: whatever it is, it is data, and nothing in it can raise. Pure.

The form that was asked for does not matter here: an object is read as an object, anything else as lines. Values stay as
they came; whether they are labels is for the checks to say.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import Final

from reviewopt.models.chat_prompt import ID_LETTERS, ID_SIGNS, clean
from reviewopt.task import Score, Task

Values = tuple[tuple[str, object], ...]

_THOUGHT: Final = "</think>"
_FENCE: Final = re.compile(r"```[a-zA-Z]*\s*")
_OBJECT: Final = re.compile(r"^[ \t]*\{", re.MULTILINE)
_KEY: Final = "([0-9A-Za-z]{3,6})"
_LINE: Final = re.compile(rf"[^\w\n]*{_KEY}\b[^\w:\n]*:[ \t]*(\S.*)")
# What a random id looks like (`chat_prompt.review_ids`): a word such as NOTE is none.
_RANDOM_ID: Final = re.compile(f"[{ID_LETTERS}][{ID_SIGNS}]{{3}}")
# What models put around a value.
_DECORATION: Final = "`*\"'"
_MOST_LAYERS: Final = 6  # of it; each layer costs a copy of the text
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_WHOLE: Final = re.compile(r"-?[0-9]{1,9}")
# An object by id holds objects by field, which hold lists: nothing deeper is ever asked for.
_MOST_DEPTH: Final = 3
_MOST_ID_CHARS: Final = 40
# The logarithm of a probability that is 0 for all purposes; endpoints use this number, too.
_IMPOSSIBLE: Final = -9999.0
_BAD_JSON: Final = (ValueError, RecursionError)


class _Pairs(tuple[tuple[str, object], ...]):
    """A JSON object as its pairs, so that a key that comes twice is seen twice."""

    __slots__ = ()


def _not_finite(_: str) -> None:
    """Read NaN and infinities as no value: one of them does not spoil its neighbours."""


def _float(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _int(text: str) -> int | None:
    return int(text) if len(text) < 19 else None


# The library's decoder keeps duplicate keys, which msgspec does not.
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_Pairs, parse_constant=_not_finite, parse_float=_float, parse_int=_int
)


def read_values(content: str, ids: Sequence[str], task: Task, *, is_cut: bool) -> Values:
    """Return id and value in the order in which they were written, none where nothing can be read.

    Args:
        content: what the model wrote.
        ids: the ids that were asked; others are returned as well.
        task: what was asked.
        is_cut: the model ran into its limit: all complete entries are kept.
    """
    text = _bare(content)
    if text.startswith("{"):
        pairs = _pairs(text)
        if pairs is None and is_cut:
            pairs = _complete_pairs(text)
        return tuple((clean(key[:_MOST_ID_CHARS]), _value(value, task)) for key, value in _unwrapped(pairs or (), ids))
    return _lines(text, ids, task, is_cut=is_cut)


def _bare(content: str) -> str:
    """Take off a thought written aloud, a code fence, and words before an object."""
    text = content
    if text.lstrip().startswith("<think>"):
        text = text.partition(_THOUGHT)[2]
    text = text.strip(" \t\r\ufeff").lstrip("\n")
    if not text.startswith("{") and (fence := _FENCE.search(text)):
        text = text[fence.end() :]
        text = text[: text.rfind("```")] if "```" in text else text
    start = _OBJECT.search(text)
    return text[start.end() - 1 :] if start else text


def _pairs(text: str) -> tuple[tuple[str, object], ...] | None:
    try:
        value, _ = _DECODER.raw_decode(text)  # words after an object do no harm
    except _BAD_JSON:
        return None
    return value if isinstance(value, _Pairs) else None


def _complete_pairs(text: str) -> tuple[tuple[str, object], ...]:
    """Return the pairs of an object that breaks off, up to the last one that a comma or brace follows."""
    pairs: list[tuple[str, object]] = []
    at = 1
    try:
        while True:
            key, at = _DECODER.raw_decode(text, _skip(text, at))
            at = _skip(text, at)
            if not isinstance(key, str) or text[at : at + 1] != ":":
                break
            value, at = _DECODER.raw_decode(text, _skip(text, at + 1))
            at = _skip(text, at)
            if text[at : at + 1] not in {",", "}"}:
                break
            pairs.append((key, value))
            at += 1
    except _BAD_JSON:
        pass  # here the text breaks off
    return tuple(pairs)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _unwrapped(pairs: tuple[tuple[str, object], ...], ids: Sequence[str]) -> tuple[tuple[str, object], ...]:
    """Look into an object of one key that is no id, such as {"reviews": {...}}."""
    if len(pairs) == 1 and pairs[0][0] not in ids and isinstance(pairs[0][1], _Pairs):
        return pairs[0][1]
    return pairs


def _value(value: object, task: Task) -> object:
    if isinstance(value, _Pairs) and not task.others and len(value) == 1 and value[0][0] == task.fields[0].name:
        value = value[0][1]
    return _plain(value, 0)


def _plain(value: object, depth: int) -> object:
    """Turn pairs into dicts, and what no UTF-8 can hold into spaces; what lies too deep is no value."""
    if isinstance(value, str):
        return clean(value)
    if depth == _MOST_DEPTH:
        return None if isinstance(value, list | tuple) else value
    if isinstance(value, _Pairs):
        return {clean(key): _plain(inner, depth + 1) for key, inner in value}
    if isinstance(value, list):
        return [_plain(inner, depth + 1) for inner in value]
    return value


def _lines(text: str, ids: Sequence[str], task: Task, *, is_cut: bool) -> Values:
    if is_cut:  # the last line may lack its end
        text = text[: text.rfind("\n") + 1]
    known, labels, found = set(ids), {label.casefold() for label in task.labels}, []
    for line in text.split("\n"):
        match = _LINE.match(line)
        if match and (match[1] in known or _RANDOM_ID.fullmatch(match[1])):
            found.append((match[1], _line_value(_undecorated(match[2], labels), task)))
    alone = _undecorated(text, labels, _DECORATION + ".")
    if not found and len(ids) == 1 and alone in task.labels:
        found.append((ids[0], _line_value(alone, task)))  # one review, and only its label
    return tuple(found)


def _undecorated(text: str, labels: Collection[str], signs: str = _DECORATION) -> str:
    """Take the signs off the ends of a line's value, but for those that its label has itself (lower case)."""
    bare = text.strip()
    for _ in range(_MOST_LAYERS):
        if bare.casefold() in labels:
            return bare
        if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in signs:
            bare = bare[1:-1].strip()
    return text.strip(f" \t\r\n{signs}")


def _line_value(text: str, task: Task) -> object:
    if task.others:
        pairs = _pairs(text)
        return text[:200] if pairs is None else _plain(pairs, 0)
    return int(text) if isinstance(task.fields[0], Score) and _WHOLE.fullmatch(text) else clean(text[:200])


def read_confidence(
    content: str, tokens: Sequence[str], log_probabilities: Sequence[float], ids: Collection[str], task: Task
) -> dict[str, float]:
    """Return the probability of each id's first field: the product over the tokens that spell its value.

    One pass over the tokens, one over the content. Empty where the tokens do not join to the content, but for white
    space at its end, which servers cut off.
    """
    joined = "".join(tokens)
    if joined != content and joined.rstrip() != content.rstrip():
        return {}
    ends = list(accumulate(map(len, tokens)))
    # The sum up to each token, so that a stretch of tokens is one subtraction.
    sums = [0.0, *accumulate(max(_IMPOSSIBLE, min(0.0, value)) for value in log_probabilities)]
    confidence: dict[str, float] = {}
    for match in _entry(task, is_object=_bare(content).startswith("{")).finditer(content):
        if match[1] not in ids or match[1] in confidence:
            continue
        start, end = match.span("quoted" if match["quoted"] else "bare")
        first, last = bisect_right(ends, start), bisect_right(ends, end - 1)
        confidence[match[1]] = math.exp(min(0.0, sums[last + 1] - sums[first]))
    return confidence


def _entry(task: Task, *, is_object: bool) -> re.Pattern[str]:
    """Find an id and its first field's value without quotes.

    A quote inside a JSON string is escaped, so that no text of an answer looks like an id with its value.
    """
    quoted = r'"(?P<quoted>(?:[^"\\\n]|\\.)+)"'
    inside = rf'\{{\s*"{re.escape(task.fields[0].name)}"\s*:\s*'
    if is_object:
        inside = inside if task.others else f"(?:{inside})?"
        return re.compile(rf'"{_KEY}"\s*:\s*{inside}(?:{quoted}|(?P<bare>-?[0-9]+))')
    labels = "|".join(sorted(map(re.escape, task.labels), key=len, reverse=True))  # whole, whatever their ends are
    word = r'[^\s"`*](?:[^\n]*[^\s"`*])?'
    bare = "(?P<bare>-?[0-9]+)" if task.others else rf"(?P<bare>(?:{labels})(?=[ \t\r]*$)|{word})"
    return re.compile(
        rf"^[^\w\n]*{_KEY}\b[^\w:\n]*:[ \t]*{inside if task.others else ''}(?:{quoted}|{bare})", re.MULTILINE
    )
