"""The values that flow through the tool: the review table's schema, and what a task asks.

Rows stay in polars frames and numpy arrays; nothing here is made once a row.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
import polars as pl

# One row a review, in the order of the input. `label` is the label that the table itself brings, as a label name of
# the task; `row` counts from 0 over the whole input; `review_id` is the table's own id, or the row as text.
REVIEW_COLUMNS: Final = ("row", "review_id", "title", "text", "tenant", "category", "label")

# Where an answer came from. A model may not take one of these names.
SOURCES: Final = ("empty", "exact", "near", "l1", "l2", "l3", "local", "reference", "ensemble", "human", "failed")

# USD with twelve places: a local answer costs about 2e-10.
COST_DTYPE: Final = pl.Decimal(18, 12)

# The roles that a column of the input can play, in the order in which they are reported.
Role = Literal["text", "title", "id", "label", "tenant", "category"]
ROLES: Final[tuple[Role, ...]] = ("text", "title", "id", "label", "tenant", "category")


class Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value read from a file or written to one: unknown fields are errors, and nothing changes later."""


class Choice(Frozen, frozen=True, kw_only=True, tag_field="type", tag="choice"):
    """A field answered by exactly one of `labels`."""

    name: str
    labels: tuple[str, ...]


class Task(Frozen, frozen=True, kw_only=True):
    """What to decide about each review (a file of `configs/tasks`).

    `label_map` says which label a number in a label column means: `1-2=negative, 3=neutral, 4-5=positive`.
    `aliases` are other spellings of a label in such a column; case never counts.
    """

    name: str
    instructions: str
    fields: tuple[Choice, ...]
    label_map: str = ""
    aliases: dict[str, tuple[str, ...]] = {}

    @property
    def field(self) -> Choice:
        """The one field that the local model answers."""
        return self.fields[0]

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names, in the task's own order."""
        return self.field.labels


class Group(Frozen, frozen=True, kw_only=True):
    """One of the largest groups: `n_rows` rows, the id of its first review, and the text of one, cut short."""

    n_rows: int
    n_questions: int
    review_id: str
    example: str


class GroupCounts(Frozen, frozen=True, kw_only=True):
    """Groups of two rows and more: exact copies, near copies or both; `n_near` are those that hold a near copy."""

    n_groups: int
    n_near: int
    n_rows: int
    largest: tuple[Group, ...]
