"""What to decide about each review: a task, with typed fields."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from reviewopt.data import Frozen

PREDICATE_LABELS: Final = ("no", "yes")
MOST_LABELS: Final = 255
_NAME: Final = r"^[A-Za-z][A-Za-z0-9_]{0,39}$"
FieldName = Annotated[str, Meta(pattern=_NAME)]


class Choice(Frozen, frozen=True, kw_only=True, tag_field="type", tag="choice"):
    """A field answered by exactly one of `labels`."""

    name: FieldName
    labels: tuple[str, ...]
    about: str = ""


class Score(Frozen, frozen=True, kw_only=True, tag_field="type", tag="score"):
    """A field answered by a whole number from `low` to `high`, both included."""

    name: FieldName
    low: int
    high: int
    about: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The numbers as text, ascending."""
        return tuple(map(str, range(self.low, self.high + 1)))


class Predicate(Frozen, frozen=True, kw_only=True, tag_field="type", tag="predicate"):
    """A field answered by yes or no."""

    name: FieldName
    about: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """No and yes."""
        return PREDICATE_LABELS


class Text(Frozen, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """A field answered freely: at most `most_items` pieces of at most `most_chars` characters, joined by `; `."""

    name: FieldName
    most_items: Annotated[int, Meta(ge=1, le=10)] = 1
    most_chars: Annotated[int, Meta(ge=1, le=1000)] = 200
    about: str = ""


Field = Choice | Score | Predicate | Text
Labelled = Choice | Score | Predicate


class Task(Frozen, frozen=True, kw_only=True):
    """What to decide about each review (a file of `configs/tasks`).

    The first field is the one that accuracy is measured on and that a local model answers; it is never free text.
    `label_map` says which label a number in a label column means: `1-2=negative, 3=neutral, 4-5=positive`.
    `aliases` are other spellings of a label in such a column; case never counts.
    """

    name: str
    instructions: str
    fields: tuple[Field, ...]
    label_map: str = ""
    aliases: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)

    @property
    def field(self) -> Labelled:
        """The first field."""
        head = self.fields[0]
        if isinstance(head, Text):
            raise TypeError("a task's first field is never free text")  # `problem` says so to the user
        return head

    @property
    def others(self) -> tuple[Field, ...]:
        """The fields after the first."""
        return self.fields[1:]

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names of the first field, in the task's own order."""
        return self.field.labels


def problem(task: Task) -> str | None:
    """Say what is wrong with a task whose types are right, or None."""
    if not task.fields:
        return "a task needs a field"
    if isinstance(task.fields[0], Text):
        return f"the first field ({task.fields[0].name}) is free text; put a choice, score or predicate first"
    names = [field.name for field in task.fields]
    if len(set(names)) < len(names):
        return f"two fields have one name: {', '.join(names)}"
    for field in task.fields:
        if isinstance(field, Text):
            continue
        labels = field.labels
        if not 2 <= len(set(labels)) == len(labels) <= MOST_LABELS:
            return f"the field {field.name} needs 2 to {MOST_LABELS} different labels"
        if any(not label.strip() or label != label.strip() or not label.isprintable() for label in labels):
            return f"the field {field.name} has a label that is empty, ends in a space or does not print"
    return None


def rest_json(values: dict[str, str | int]) -> str:
    """Return the answers to the fields after the first as canonical JSON, the empty string where there are none."""
    return msgspec.json.encode(values).decode() if values else ""
