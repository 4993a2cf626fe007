"""What to decide about each review: a task, with typed fields."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from reviewopt.data import Frozen

PREDICATE_LABELS: Final = ("no", "yes")
MOST_LABELS: Final = 255
MOST_LABEL_CHARS: Final = 100
MOST_INSTRUCTION_CHARS: Final = 20_000
# Columns of the output beside those named after the fields, and what is put after a field's name for its own.
GROUP_COLUMNS: Final = ("duplicate_of", "cluster")
COLUMN_SUFFIXES: Final = ("_confidence", "_source", "_cost_usd", "_note")
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
    if not task.name.strip() or not task.name.isprintable():
        return "the task needs a name that prints"
    if not task.instructions.strip():
        return "the task has no instructions; say in a sentence or two what to decide"
    if len(task.instructions) > MOST_INSTRUCTION_CHARS:
        n_chars = f"{len(task.instructions):,} characters, at most {MOST_INSTRUCTION_CHARS:,} are allowed"
        return f"the instructions have {n_chars}: every request carries them"
    if not task.fields:
        return "a task needs a field"
    if isinstance(task.fields[0], Text):
        return f"the first field ({task.fields[0].name}) is free text; put a choice, score or predicate first"
    return _names_problem(task.fields) or _labels_problem(task) or _aliases_problem(task)


def _names_problem(fields: tuple[Field, ...]) -> str | None:
    names = [field.name for field in fields]
    low = [name.lower() for name in names]  # some readers of tables do not tell case apart
    if len(set(low)) < len(low):
        return f"two fields have one name: {', '.join(names)}"
    columns = {f"{name}{suffix}": name for name in low for suffix in COLUMN_SUFFIXES}
    for name in low:
        if name in GROUP_COLUMNS:
            return f"the field {name} would take the name of an output column; call it something else"
        if name in columns:
            return (
                f"the field {name} would take the name of a column of the field {columns[name]}; call it something else"
            )
    return None


def _labels_problem(task: Task) -> str | None:
    for field in task.fields:
        if isinstance(field, Text):
            continue
        if isinstance(field, Score) and not 1 <= field.high - field.low < MOST_LABELS:
            return (
                f"the field {field.name} goes from {field.low} to {field.high}: high must be above low, "
                f"with at most {MOST_LABELS} levels"
            )
        labels = field.labels
        if not 2 <= len(set(labels)) == len(labels) <= MOST_LABELS:
            return f"the field {field.name} needs 2 to {MOST_LABELS} different labels"
        if len({label.casefold() for label in labels}) < len(labels):
            return f"the field {field.name} has two labels that differ in case alone"
        if any(not label.strip() or label != label.strip() or not label.isprintable() for label in labels):
            return f"the field {field.name} has a label that is empty, ends in a space or does not print"
        if any(len(label) > MOST_LABEL_CHARS for label in labels):
            return f"the field {field.name} has a label of more than {MOST_LABEL_CHARS} characters"
    return None


def _aliases_problem(task: Task) -> str | None:
    unknown = [label for label in task.aliases if label not in task.labels]
    return f"aliases: '{unknown[0]}' is no label of {task.field.name} ({', '.join(task.labels)})" if unknown else None


def rest_json(values: dict[str, str | int]) -> str:
    """Return the answers to the fields after the first as canonical JSON, the empty string where there are none."""
    return msgspec.json.encode(values).decode() if values else ""
