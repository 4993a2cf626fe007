"""Reply -> answers and what is missing: only what was asked, in the form that was asked for, counts. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reviewopt.data import Reply, Request
from reviewopt.task import Choice, Field, Labelled, Predicate, Score, Task, Text, rest_json

# What false and true are called where a field's labels are such a pair.
_TRUTH: Final = (("false", "true"), ("no", "yes"))
_MOST_SHOWN: Final = 5
_KINDS: Final = {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}
_WHOLE: Final = re.compile(r"[+-]?\d{1,6}")
_ITEM_END: Final = "; "


@dataclass(frozen=True, slots=True)
class Answer:
    """A valid answer: the index of the first field's label, the other fields as JSON, NaN where nothing is known."""

    label: int
    rest: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Checked:
    """What a reply says of each question, by its place in the request: an answer, or why there is none."""

    answers: Mapping[int, Answer]
    missing: Mapping[int, str]


def check(task: Task, request: Request, reply: Reply) -> Checked:
    """Keep what answers a question of this request; ids that were not asked are passed over.

    An id that comes twice counts only where both say the same.
    """
    place = {id_: at for at, id_ in enumerate(request.ids)}
    answers: dict[int, Answer] = {}
    missing: dict[int, str] = {}
    for id_, value in reply.values:
        at = place.get(id_)
        if at is None:
            continue
        found = _answer(task, value)
        if isinstance(found, str):
            missing[at] = found
        elif at in answers and (answers[at].label, answers[at].rest) != found:
            missing[at] = "answered twice, in two ways"
        else:
            confidence = reply.confidence.get(id_, math.nan)
            answers[at] = Answer(*found, confidence=confidence if 0 <= confidence <= 1 else math.nan)
    for at in range(len(request.ids)):
        if at not in answers:
            missing.setdefault(at, reply.reason or "the reply leaves it out")
    return Checked({at: one for at, one in answers.items() if at not in missing}, missing)


def _answer(task: Task, value: object) -> tuple[int, str] | str:
    """Return the label's index and the rest, or what is wrong."""
    if not task.others:
        if isinstance(value, Mapping):
            value = value.get(task.field.name)
        label = _label(task.field, value)
        return _no_label(task.field, value) if label is None else (label, "")
    if not isinstance(value, Mapping):
        return "not an object with the fields asked for"
    label = _label(task.field, value.get(task.field.name))
    if label is None:
        return _no_label(task.field, value.get(task.field.name))
    rest: dict[str, str | int] = {}
    for field in task.others:
        said = _value(field, value.get(field.name))
        if said is None:
            return f"no valid answer for {field.name}"
        rest[field.name] = said
    return label, rest_json(rest)


def _value(field: Field, value: object) -> str | int | None:
    """Return one of the other fields' answers as the archive keeps it."""
    if isinstance(field, Text):
        return _text(field, value)
    label = _label(field, value)
    if label is None:
        return None
    return field.low + label if isinstance(field, Score) else field.labels[label]


def _label(field: Labelled, value: object) -> int | None:
    """Return the index of the label that a model meant: case, ends, and true for yes do not matter."""
    if isinstance(field, Score):
        return _level(field, value)
    folded = [label.casefold() for label in field.labels]
    if isinstance(value, bool):
        value = next((pair[value] for pair in _TRUTH if {*pair} <= {*folded}), None)
    elif isinstance(value, int) and isinstance(field, Choice) and value.bit_length() < 64:  # longer ones may not print
        value = str(value)
    if not isinstance(value, str):
        return None
    said = value.strip()
    if said in field.labels:
        return field.labels.index(said)
    unambiguous = isinstance(field, Choice) and len(set(folded)) == len(folded)
    if (unambiguous or isinstance(field, Predicate)) and said.casefold() in folded:
        return folded.index(said.casefold())
    return None


def _level(field: Score, value: object) -> int | None:
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value - field.low if field.low <= value <= field.high else None


def _text(field: Text, value: object) -> str | None:
    items = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(item, str) for item in items):
        return None
    printable = ("".join(c if c.isprintable() else " " for c in str(item)) for item in items)
    kept = [" ".join(item.split())[: field.most_chars] for item in printable]
    return _ITEM_END.join([item for item in kept if item][: field.most_items])


def _no_label(field: Labelled, value: object) -> str:
    more = ", ..." if len(field.labels) > _MOST_SHOWN else ""
    return f"{_shown(value)} is no label of {field.name} ({', '.join(field.labels[:_MOST_SHOWN])}{more})"


def _shown(value: object) -> str:
    """Name a wrong value without repeating what a review may have put into the model's mouth."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"a text of {len(value)} character{'' if len(value) == 1 else 's'}"
    return _KINDS.get(type(value), "something else")
