"""Which column plays which role: by the user's choice, else by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from reviewopt.data import ROLES, Role
from reviewopt.errors import InputError, UsageError
from reviewopt.load.source import shown

OFF: Final = "none"

# Names in order of preference, folded: case, spaces, `_`, `-` and `.` do not count. From the public review data sets
# (Amazon, Yelp, IMDB, Google Play, app stores, Trustpilot exports) and survey tools.
NAMES: Final[Mapping[Role, tuple[str, ...]]] = {
    "text": (
        "reviewtext", "text", "reviewbody", "review", "body", "content", "reviewcontent", "reviewcomment", "comment",
        "comments", "feedback", "message", "tweet", "sentence", "document",
    ),
    "title": ("reviewtitle", "reviewheadline", "reviewsummary", "title", "summary", "headline", "subject"),
    "id": ("reviewid", "id", "uuid"),
    "label": (
        "label", "sentiment", "rating", "stars", "star", "starrating", "reviewrating", "overall", "score",
    ),
    "tenant": ("tenant", "tenantid", "client", "clientid", "brand", "brandname", "store", "storeid", "storename"),
    "category": ("category", "productcategory", "maincategory"),
    "priority": (),  # what comes first is for the user to say
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChoice:
    """What the user asked for: None finds the column by name, "none" switches the role off, else that column."""

    text: str | None = None
    title: str | None = None
    id: str | None = None
    label: str | None = None
    tenant: str | None = None
    category: str | None = None
    priority: str | None = None

    def of(self, role: Role) -> str | None:
        """The choice for a role."""
        chosen: str | None = getattr(self, role)
        return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The column that plays each role; None where no column does."""

    text: str
    title: str | None
    id: str | None
    label: str | None
    tenant: str | None
    category: str | None
    priority: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Columns for all roles but the label, and the candidates for that, best first."""

    text: str
    title: str | None
    id: str | None
    tenant: str | None
    category: str | None
    priority: str | None
    labels: tuple[str, ...]
    label_is_chosen: bool
    notes: tuple[str, ...] = field(default=())


def find(schema: pl.Schema, choice: ColumnChoice, name: str) -> Found:
    """Columns by the user's choice and by name; a column plays one role only, but for the priority, which may share it.

    Raises:
        InputError: There is no text column, or a chosen column does not exist or has no fitting type.
        UsageError: The text column was switched off.
    """
    if choice.text == OFF:
        raise UsageError("--text-column none: there is nothing to label without a text; name the column")
    taken: dict[Role, str | None] = {}
    for role in ROLES:
        chosen = choice.of(role)
        if chosen is not None and chosen != OFF:
            taken[role] = _named(schema, chosen, role, name)
            _check_type(schema, taken[role] or "", role, name)
        elif chosen == OFF:
            taken[role] = None
    notes: list[str] = []
    for role in ROLES:
        if role in taken or role == "label":
            continue
        candidates = _candidates(schema, role, _used(taken))
        taken[role] = candidates[0] if candidates else None
        if len(candidates) > 1:
            others = ", ".join(shown(column, 40) for column in candidates[1:4])
            notes.append(f"{role} is read from '{shown(candidates[0], 40)}', not {others} (--{role}-column chooses)")
    if taken["text"] is None:
        raise _no_text(schema, name)
    label = taken.get("label")
    by_name = _candidates(schema, "label", _used(taken)) if "label" not in taken else []
    ours = [column for column in by_name if _is_answer(schema, column)]
    note = "'{}' is not used as the label: an earlier run wrote it (--label-column chooses)"
    notes += [note.format(shown(column, 40)) for column in ours]
    found = (label,) if label else tuple(column for column in by_name if column not in ours)
    return Found(
        text=taken["text"], title=taken["title"], id=taken["id"], tenant=taken["tenant"], category=taken["category"],
        priority=taken["priority"], labels=found, label_is_chosen=label is not None, notes=tuple(notes),
    )  # fmt: skip


def _used(taken: Mapping[Role, str | None]) -> set[str]:
    return {column for role, column in taken.items() if column and role != "priority"}


def _is_answer(schema: pl.Schema, column: str) -> bool:
    """Whether we wrote the column, as those beside it show: judged by it, our answers would always be right."""
    return all(f"{column}_{key}" in schema for key in ("confidence", "source", "cost_usd"))


def _folded(column: str) -> str:
    return "".join(c for c in column.casefold() if c not in " _-.")


def _named(schema: pl.Schema, chosen: str, role: Role, name: str) -> str:
    if chosen in schema:
        return chosen
    same = [column for column in schema if _folded(column) == _folded(chosen)]
    if len(same) == 1:
        return same[0]
    near = difflib.get_close_matches(chosen, list(schema), n=1)
    advice = f"did you mean '{shown(near[0], 40)}'?" if near else f"name one of them with --{role}-column"
    raise InputError(f"{name}: no column '{shown(chosen, 40)}' for the {role}; columns: {listed(schema)}; {advice}")


def _candidates(schema: pl.Schema, role: Role, taken: set[str]) -> list[str]:
    found = []
    for wanted in NAMES[role]:
        for column, dtype in schema.items():
            if _folded(column) == wanted and column not in taken and _fits(dtype, role):
                found.append(column)
    return found


def _fits(dtype: pl.DataType, role: Role) -> bool:
    if role == "text":
        return isinstance(dtype, (pl.String, pl.Categorical, pl.Enum, pl.Binary))
    if role in {"label", "priority"}:
        return dtype.is_numeric() or isinstance(dtype, (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null))
    return not dtype.is_nested() and not isinstance(dtype, pl.Object)


def _check_type(schema: pl.Schema, column: str, role: Role, name: str) -> None:
    if not _fits(schema[column], role):
        needed = {"text": "text", "label": "label names or numbers", "priority": "numbers"}.get(role, "one value a row")
        raise InputError(
            f"{name}: column '{shown(column, 40)}' is {shown(schema[column], 40)}, not {needed}; "
            f"choose another with --{role}-column"
        )


def _no_text(schema: pl.Schema, name: str) -> InputError:
    nested = [c for c, dtype in schema.items() if _folded(c) in NAMES["text"] and not _fits(dtype, "text")]
    what = f"'{shown(nested[0], 40)}' is {shown(schema[nested[0]], 40)}; " if nested else ""
    guess = next((c for c, dtype in schema.items() if _fits(dtype, "text")), None)
    advice = f"try --text-column '{shown(guess, 40)}'" if guess else "a column of strings must hold the reviews"
    return InputError(f"{name}: columns: {listed(schema)}; needed: text; {what}{advice}")


def listed(schema: pl.Schema, limit: int = 30) -> str:
    """Column names in one line."""
    names = [shown(column, 40) for column in list(schema)[:limit]]
    more = len(schema) - len(names)
    return (", ".join(names) or "none") + (f" and {more} more" if more else "")
