"""What `compare` opens: two labelled tables, the column of each that is compared, and the one that judges both."""

from __future__ import annotations

import difflib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import polars as pl
from msgspec import structs

from reviewopt.cli import opening
from reviewopt.compare import Labelled
from reviewopt.data import ROLES
from reviewopt.errors import UsageError
from reviewopt.load import Table
from reviewopt.load.columns import listed
from reviewopt.settings import ColumnSettings, Config
from reviewopt.task import Task

_OFF: Final = "none"
_OURS: Final = ("confidence", "source", "cost_usd")  # what we write beside our answers
_WORDS: Final = (pl.String, pl.Categorical, pl.Enum)
_PREFIX: Final = "reviewopt_"  # before them where the input had a column of that name


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the command line says of the two tables besides the settings; None where it says nothing."""

    a: str
    b: str
    answer_column: str | None
    answer_column_b: str | None


def open_tables(
    opened: ExitStack, choices: Choices, config: Config, task: Task, notes: opening.Notes
) -> tuple[Labelled, Labelled]:
    """Open both; the truth is looked for in B only where A has none.

    Raises:
        InputError: one cannot be read, or has no text column.
        UsageError: a column is not there, or the truth is what is compared.
    """
    if opening.STDIN in {choices.a, choices.b}:
        raise UsageError("compare opens its tables more than once; name files, not standard input")
    wanted = config.columns.label
    a_columns = structs.replace(config.columns, priority=_OFF)
    b_columns = structs.replace(a_columns, title=_OFF, tenant=_OFF, category=_OFF)
    a = _Side(opened, structs.replace(config, columns=a_columns), task, choices.a, "A")
    b = _Side(opened, structs.replace(config, columns=b_columns), task, choices.b, "B")
    name_a, name_b = choices.answer_column, choices.answer_column_b or choices.answer_column
    column_a = a.answers(name_a, "--answer-column NAME")
    column_b = b.answers(name_b, "--answer-column-b NAME")
    if (choices.a, column_a) == (choices.b, column_b):
        notes.add(f"A and B are the same column, {column_a}, of the same table")
    if wanted not in {"", _OFF} and not (a.has(wanted) or b.has(wanted)):
        raise UsageError(
            f"--label-column {wanted}: neither table has such a column; A: {listed(a.bare.schema)}; "
            f"B: {listed(b.bare.schema)}"
        )
    truth_a = a.truth(wanted, column_a, column_b)
    truth_b = b.truth(wanted, column_b, column_a) if truth_a == _OFF else _OFF
    checked = _OFF if truth_a == _OFF else b.named(truth_a)
    return a.labelled(column_a, truth_a, notes), b.labelled(column_b, truth_b, notes, checked)


class _Side:
    """One of the two tables, of which the columns are being found."""

    def __init__(self, opened: ExitStack, config: Config, task: Task, name: str, letter: str) -> None:
        self._opened, self._config, self._task = opened, config, task
        self._name, self._letter = name, letter
        self._notes = dict[str, None]()
        self.bare = self._open(structs.replace(config.columns, label=_OFF))
        self._roles = {role: getattr(self.bare.columns, role) or _OFF for role in ROLES}

    def has(self, name: str) -> bool:
        """Say whether there is a column of this name, however its letters are written."""
        return self.named(name) != _OFF

    def named(self, name: str) -> str:
        """Return the column of this name, however its letters are written; `none` where there is none."""
        same = [one for one in self.bare.schema if one.casefold() == name.casefold()]
        return name if name in same else next(iter(same), _OFF)

    def answers(self, wanted: str | None, option: str) -> str:
        """Return the column of the labels: the one that is named, else what we wrote last, else the task's field.

        Raises:
            UsageError: there is none.
        """
        field, schema = self._task.field.name, self.bare.schema
        if wanted is None:
            ours = [name for name in schema if _is_of(name, field) and self._is_ours(name)]
            if ours:
                return max(ours, key=len)
        name = wanted or field
        same = [one for one in schema if one == name] or [one for one in schema if one.casefold() == name.casefold()]
        if len(same) != 1:
            raise UsageError(
                f"{self._letter}, {self._name}: there is no column {name}; columns: {listed(schema)}; "
                f"{_advice(name, schema, option)}"
            )
        if same[0] in {self.bare.columns.text, self.bare.columns.title}:
            raise UsageError(
                f"{self._letter}, {self._name}: {same[0]} is read as the text; name the column of the labels with "
                f"{option}, or another text with --text-column"
            )
        return same[0]

    def _is_ours(self, name: str) -> bool:
        return all(f"{name}_{key}" in self.bare.schema for key in _OURS)

    def truth(self, wanted: str, column: str, other: str) -> str:
        """Return the column that is the truth, `none` where there is none.

        Found by name it is neither the answers, which play the id here, as a column plays one role only, nor what the
        `other` table has its answers in: that would be right by its name alone.

        Raises:
            InputError: the values of the wanted column are no labels.
            UsageError: it is the one that is compared.
        """
        if wanted == _OFF or (wanted and not self.has(wanted)):
            return _OFF
        if wanted.casefold() == column.casefold():
            raise UsageError(
                f"{self._letter}, {self._name}: the labels and the truth are the same column, {column}: name another "
                "one with --answer-column or --label-column"
            )
        others = dict.fromkeys(ROLES, _OFF) | {role: self._roles[role] for role in ("text", "title")}
        table = self._open(structs.replace(self._config.columns, **{**others, "id": column, "label": wanted}))
        self._notes |= dict.fromkeys(table.notes[1:])
        found = table.columns.label or _OFF
        if not wanted and found.casefold() == other.casefold():
            self._notes[f"{found} is not used as the truth: the other table is compared by it (--label-column)"] = None
            return _OFF
        return found

    def labelled(self, column: str, truth: str, notes: opening.Notes, checked: str = _OFF) -> Labelled:
        """Open the table for good; the column `checked` is compared with the truth of the other table."""
        used = {column, truth}
        roles = {role: _OFF if at in used else at for role, at in self._roles.items()}
        columns = structs.replace(self._config.columns, **roles)
        table = self._open(structs.replace(columns, label=truth))
        # Words are read beside the truth; numbers may have names of their own, which only a label column shows.
        is_words = isinstance(table.schema[column], _WORDS)
        answers = None if is_words else self._open(structs.replace(columns, label=column))
        for line in (*table.notes[:1], *self._notes):
            notes.add(f"{self._letter}: {line}")
        return Labelled(
            table=table,
            column=column,
            answers=answers,
            id_is_chosen=self._config.columns.id not in {"", _OFF},
            checked=None if checked in {_OFF, column} or self.bare.schema[checked].is_nested() else checked,
        )

    def _open(self, columns: ColumnSettings) -> Table:
        if columns.label == _OFF:
            columns = structs.replace(columns, label_map="")
        config = structs.replace(self._config, columns=columns)
        return self._opened.enter_context(opening.table(config, (self._name,), self._task))


def _is_of(name: str, field: str) -> bool:
    """Say whether we name the answers to a field so."""
    while name != field and name.startswith(_PREFIX):
        name = name.removeprefix(_PREFIX)
    return name == field


def _advice(name: str, schema: pl.Schema, option: str) -> str:
    near = difflib.get_close_matches(name, list(schema), n=1)
    asked = f"did you mean {near[0]}? " if near else ""
    return f"{asked}name the one whose labels are compared with {option}"
