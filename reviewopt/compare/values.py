"""What a comparison found, as it is printed and as programs read it."""

from __future__ import annotations

import inspect
from typing import Final, Literal

import msgspec

from reviewopt.data import Frozen
from reviewopt.paired import Paired

SCHEMA_VERSION: Final = 1
# Two-sided: a difference is called one where chance alone makes it in less than one of twenty comparisons.
LEVEL: Final = 0.05


class Side(Frozen, frozen=True, kw_only=True):
    """One of the two outputs; all figures are of all of its rows, whether the other has them or not.

    `column` has the labels that are compared. `usd` is what they cost, a decimal string, and `usd_per_1000` the same
    for 1,000 rows; `n_by_source` says where they came from, the most frequent first. Null: the table does not say.
    """

    inputs: tuple[str, ...]
    column: str
    n_rows: int
    n_answered: int
    usd: str | None
    usd_per_1000: str | None
    n_by_source: dict[str, int] | None


class Truth(Frozen, frozen=True, kw_only=True):
    """The column that both are judged by, and whose table it was read from."""

    column: str
    side: Literal["a", "b"]


class GroupFigures(Frozen, frozen=True, kw_only=True):
    """The figures of one group of rows; `kind` is category or tenant."""

    kind: Literal["category", "tenant"]
    group: str
    figures: Paired


class Difference(Frozen, frozen=True, kw_only=True):
    """A row to which the two give different labels.

    Rows are counted from 0 in each table. `text` is title and text, cut short. `n_alike` rows have this text and these
    two labels, this one among them.
    """

    row_a: int
    row_b: int
    review_id: str
    text: str
    label_a: str
    label_b: str
    confidence_a: float | None
    confidence_b: float | None
    truth: str | None
    n_alike: int


class Comparison(Frozen, frozen=True, kw_only=True):
    """Two outputs of the same reviews, A and B.

    `matched_by` is `id`, or `order` where the rows were paired as they stand. Of the `n_matched` rows, `n_copies` have
    a text that an earlier one has, and `n_other_texts` have not the same text in both tables. `better` is the one whose
    accuracy is shown to be higher at `LEVEL`, by the exact test; null where none is, or no truth is known.

    `confusion[i][j]` counts the rows that A labels i and B labels j. `groups` are the largest of each kind. The
    differences in cost are A less B; in sum only where both have the same rows. `differences` are the rows where both
    are surest of different labels: ranked by the smaller confidence of the two, and by the row where none is known.
    """

    schema_version: int
    task: str
    labels: tuple[str, ...]
    a: Side
    b: Side
    matched_by: Literal["id", "order"]
    n_matched: int
    n_only_a: int
    n_only_b: int
    n_other_texts: int
    n_copies: int
    truth: Truth | None
    overall: Paired
    better: Literal["a", "b"] | None
    groups: tuple[GroupFigures, ...]
    n_groups_left_out: int
    confusion: tuple[tuple[int, ...], ...]
    usd_difference: str | None
    usd_difference_per_1000: str | None
    n_differ: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def to_json(made: Comparison) -> str:
    """Return the comparison as indented JSON; every key is there."""
    return msgspec.json.format(msgspec.json.encode(made), indent=2).decode()


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of a comparison; `configs/comparison.schema.json` is its committed form."""
    schema = msgspec.json.schema(Comparison)
    for definition in schema["$defs"].values():  # Python 3.13 strips the indentation of docstrings, earlier ones do not
        definition["description"] = inspect.cleandoc(definition.get("description", ""))
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    plain: dict[str, object] = msgspec.json.decode(msgspec.json.encode(whole))
    return plain
