"""What a comparison found, as it is printed and as programs read it."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from reviewopt.data import Frozen, schema_of
from reviewopt.paired import Paired

SCHEMA_VERSION: Final = 1
# Two-sided: a difference is called one where chance alone makes it in less than one of twenty comparisons.
LEVEL: Final = 0.05


class Word(Frozen, frozen=True, kw_only=True):
    """A word or number of a table's own that `n` rows have in the place of `label`."""

    word: str
    label: str
    n: int


class Side(Frozen, frozen=True, kw_only=True):
    """One of the two outputs; all figures are of all of its rows, whether the other has them or not.

    `column` has the labels that are compared. `n_mapped` of them are in other words than the task's (case aside), of
    which `mapped` has the most frequent. `n_with_cost` rows say what their label cost, and `n_without_cost` rows that
    have a label do not. `usd` is what the labels cost, a decimal string, null unless all that there are say so;
    `usd_per_1000` is the cost of 1,000 of the rows that do. `n_by_source` says where the labels came from, the most
    frequent first; null: the table does not say.
    """

    inputs: tuple[str, ...]
    column: str
    n_rows: int
    n_answered: int
    n_mapped: int
    mapped: tuple[Word, ...]
    usd: str | None
    usd_per_1000: str | None
    n_with_cost: int
    n_without_cost: int
    n_by_source: dict[str, int] | None


class Truth(Frozen, frozen=True, kw_only=True):
    """The column that both are judged by, and whose table it was read from.

    The other table has one of the same name, and knows the truth too, in `n_in_both` of the rows that are compared; in
    `n_differ` of these it is another.
    """

    column: str
    side: Literal["a", "b"]
    n_in_both: int
    n_differ: int


class Mixed(Frozen, frozen=True, kw_only=True):
    """What becomes of the figures where rows that A or B calls mixed are left out.

    The word is none of the task's labels; everywhere else it counts as `label`. Of the rows that both label, A calls
    `n_a` mixed and B `n_b`; `dropped` are the figures of the others.
    """

    label: str
    n_a: int
    n_b: int
    dropped: Paired


class GroupFigures(Frozen, frozen=True, kw_only=True):
    """The figures of one group of rows; `kind` is category or tenant.

    `p_adjusted` is the p-value adjusted for the number of all groups of both kinds, by Holm's procedure.
    """

    kind: Literal["category", "tenant"]
    group: str
    figures: Paired
    p_adjusted: float | None


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

    `matched_by` is `id`, or `order` where the rows were paired as they stand. Of the `n_matched` rows, `n_other_texts`
    have not the same text in both tables and are in no figure of both; of the rest `n_copies` have a text that an
    earlier one has. `mixed` is null where neither calls a row so. `better` is the one whose accuracy is shown to be
    higher at `LEVEL`, by the exact test, with the rows called mixed and without; null where none is, or no truth is
    known.

    `confusion[i][j]` counts the rows that A labels i and B labels j. `groups` are the largest of each kind. The
    differences in cost are A less B, null unless all labels of both have a cost; in sum only where both have the same
    rows. `differences` are the rows where both are surest of different labels: ranked by the smaller confidence of the
    two, and by the row where none is known.
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
    mixed: Mixed | None
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
    return schema_of(Comparison)
