"""From what came over the wire to a typed decision's `Reply`: answers by name, with their probabilities. Pure.

An answer that cannot be read costs its own review alone; whether a value is a label is for the checks to say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from reviewopt.data import Reply, Request, Usage
from reviewopt.models import replies
from reviewopt.models.chat_prompt import clean
from reviewopt.models.decisions_prompt import kind_of, question_names
from reviewopt.models.http import Exchange
from reviewopt.models.reasons import Caller, told
from reviewopt.task import Choice, Field, Predicate, Score, Task

# From this probability on a statement counts as true.
_YES_FROM: Final = 0.5
_MOST_INT_DIGITS: Final = 18
_MOST_VALUE_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class _Said:
    """A field's value as `check` reads it, None where the answer cannot be read; its probability where told."""

    value: object = None
    probability: float | None = None


@dataclass(slots=True)
class _Found:
    """What a reply says of one review: each field's answers, as often as they came, and whether one was refused."""

    said: dict[str, list[_Said]] = field(default_factory=dict)
    is_refused: bool = False


def read(exchange: Exchange, request: Request, task: Task, caller: Caller) -> Reply:
    """Judge an exchange; never raises."""
    return replies.failed(exchange, request, caller) or _read_success(exchange, request, task, caller)


def _read_success(exchange: Exchange, request: Request, task: Task, caller: Caller) -> Reply:
    try:
        # Unlike msgspec, it reads NaN, which some servers write: one such number does not spoil the other answers.
        whole = json.loads(exchange.body, parse_int=_int)
    except replies.BAD_BODY:
        whole = None
    if not isinstance(whole, dict):
        request_id = replies.request_id_of(exchange, None, caller)
        return replies.spoiled(exchange, None, exchange.reason or "the reply is not JSON of decisions", request_id)
    usage = _usage(whole.get("usage"))
    request_id = replies.request_id_of(exchange, whole.get("id"), caller)
    answers = whole.get("answers")
    if not isinstance(answers, list):
        reason = "the reply holds no answers"
        if whole.get("error") is not None:
            reason = told("an error instead of a reply", replies.mapping(whole["error"]), request.questions, caller)
        return replies.spoiled(exchange, usage, reason, request_id)
    found = _by_review(answers, request.ids, task)
    values = tuple(pair for review_id, one in found.items() for pair in _values(review_id, one, task))
    n_refused = sum(one.is_refused for one in found.values())
    if not values and n_refused < len(request.ids):
        return replies.spoiled(exchange, usage, "the reply answers none of the questions", request_id)
    return Reply(
        outcome="answered" if values else "refused",
        seconds=exchange.seconds,
        values=values,
        confidence=_confidence(found, task),
        usage=usage,
        is_charged=True,
        reason=_refusal(n_refused, len(request.ids)),
        request_id=request_id,
    )


def _int(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MOST_INT_DIGITS else None


def _usage(value: object) -> Usage | None:
    """Read the tokens; the output is left out, as only input is billed and nothing was reserved for any output."""
    usage = replies.usage_of({"output_tokens": 0, **replies.mapping(value)})
    return None if usage is None else replace(usage, output=0, reasoning=0)


def _refusal(n_refused: int, n_reviews: int) -> str:
    if not n_refused:
        return ""
    return "the model refused" if n_refused == n_reviews else f"the model refused {n_refused} of {n_reviews} reviews"


def _by_review(answers: Sequence[object], ids: Sequence[str], task: Task) -> dict[str, _Found]:
    """Sort the answers by the review that they are about; those to a name that was not asked are passed over.

    Answers come in question order, so one without a name is that of its place: where there are as many answers as
    questions, and no answer with a name stands elsewhere.
    """
    asked = {name: (review_id, field) for name, review_id, field in question_names(ids, task)}
    names = list(asked)
    given = [answer if isinstance(answer, dict) else {} for answer in answers]
    in_order = len(given) == len(names) and all(
        answer.get("name") in (None, name) for answer, name in zip(given, names, strict=True)
    )
    found: dict[str, _Found] = {}
    for at, answer in enumerate(given):
        name = answer.get("name")
        if name is None and in_order:
            name = names[at]
        if not isinstance(name, str) or name not in asked:
            continue
        review_id, field = asked[name]
        one = found.setdefault(review_id, _Found())
        if answer.get("type") == "refusal":
            one.is_refused = True
        else:
            one.said.setdefault(field.name, []).append(_said(field, answer))
    return found


def _values(review_id: str, found: _Found, task: Task) -> Iterator[tuple[str, object]]:
    """Yield a review's answer, as often as one of its questions was answered; none where one was refused."""
    if found.is_refused:
        return
    for at in range(max(map(len, found.said.values()))):
        values = {name: said[min(at, len(said) - 1)].value for name, said in found.said.items()}
        yield review_id, values if task.others else values[task.field.name]


def _confidence(found: Mapping[str, _Found], task: Task) -> dict[str, float]:
    return {
        review_id: said[0].probability
        for review_id, one in found.items()
        if not one.is_refused and (said := one.said.get(task.field.name)) and said[0].probability is not None
    }


def _said(field: Field, answer: Mapping[str, Any]) -> _Said:
    """Read one answer."""
    if answer.get("type") != kind_of(field):
        return _Said()
    match field:
        case Choice():
            return _choice(answer)
        case Predicate():
            return _predicate(answer)
        case Score():
            return _score(field, answer)
    return _Said()


def _choice(answer: Mapping[str, Any]) -> _Said:
    value = answer.get("choice")
    if not isinstance(value, str):
        return _Said()
    listed = [one for one in _entries(answer) if one.get("value") == value]
    probability = _probability(listed[0].get("probability")) if len(listed) == 1 else None
    if probability is None:
        probability = _probability(answer.get("confidence"))
    return _Said(clean(value[:_MOST_VALUE_CHARS]), probability)


def _predicate(answer: Mapping[str, Any]) -> _Said:
    probability = _probability(answer.get("probability"))
    if probability is None:
        return _Said()
    return _Said("yes", probability) if probability >= _YES_FROM else _Said("no", 1 - probability)


def _score(field: Score, answer: Mapping[str, Any]) -> _Said:
    """Return the likeliest level; where no probabilities are told, the level next to the expected one.

    A level's number counts from 0 in the order of the question (the index, as Fireworks documents it), and the expected
    one is the mean of these numbers; an entry's label, where it has one, says which it is.
    """
    entries = list(_entries(answer))
    if not entries:
        expected = answer.get("score")
        if not isinstance(expected, int | float) or isinstance(expected, bool) or not math.isfinite(expected):
            return _Said()
        return _Said(field.low + math.floor(expected + 0.5))
    levels = [_level(field, one) for one in entries]
    probabilities = [_probability(one.get("probability")) for one in entries]
    if None in levels or None in probabilities or len({*levels}) < len(levels):
        return _Said()
    likeliest = max(range(len(entries)), key=lambda at: probabilities[at] or 0.0)
    return _Said(levels[likeliest], probabilities[likeliest])


def _level(field: Score, entry: Mapping[str, Any]) -> int | None:
    """Return the number that an entry of a score's probabilities stands for."""
    label, value = entry.get("label"), entry.get("value")
    if isinstance(label, str):
        return int(label) if label in field.labels else None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= field.high - field.low:
        return field.low + value
    return None


def _entries(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    listed = answer.get("probabilities")
    for one in listed if isinstance(listed, list) else ():
        yield one if isinstance(one, dict) else {}


def _probability(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)
