"""What `certify` opens of a table that has labels: its columns, the sample that they lead to, and the reference."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from msgspec import structs

from reviewopt import certify, draws, freezing, human
from reviewopt.attempts import Attempts, Promise
from reviewopt.cli import opening, opening_reference
from reviewopt.cli.opening_reference import HUMAN, Wanted
from reviewopt.data import ROLES
from reviewopt.draws import DRAWN_SCHEMA, Drawn
from reviewopt.errors import UsageError
from reviewopt.freezing import Labels
from reviewopt.job import Paid, Reference
from reviewopt.load import Table
from reviewopt.runs import Home
from reviewopt.settings import Config
from reviewopt.task import Task

_OFF: Final = "none"
# What we write beside our answers.
_OURS: Final = ("confidence", "source", "cost_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the command line says besides the settings."""

    tables: tuple[str, ...]
    answer_column: str | None
    reviewed: str | None
    home: Home
    dry_run: bool
    yes: bool
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The tables: `answers` has the labels as its label column, `truth` the reference's where that is a column."""

    bare: Table
    answers: Table
    truth: Table | None
    reviewed: Table | None
    column: str


def open_tables(opened: ExitStack, choices: Choices, config: Config, task: Task, found: Wanted) -> Tables:
    """Open the same table once for each of the columns that have labels; all with the same other columns.

    Raises:
        InputError: it cannot be read.
        UsageError: a column is not there, or both are the same one.
    """

    def open_(label: str, roles: dict[str, str], names: tuple[str, ...] = choices.tables) -> Table:
        columns = structs.replace(config.columns, **{**roles, "label": label})
        if label == _OFF:
            columns = structs.replace(columns, label_map="")
        return opened.enter_context(opening.table(structs.replace(config, columns=columns), names, task))

    bare = open_(_OFF, {})
    column = _column(bare, choices.answer_column or task.field.name, "--answer-column NAME")
    roles = {role: getattr(bare.columns, role) or _OFF for role in ROLES}
    truth = None
    if found.kind == "column":
        name = _column(bare, found.column, "--reference column:NAME")
        if name == column:
            raise UsageError(
                f"the labels and the reference are the same column, {column}: name another one with "
                "--answer-column or --reference"
            )
        truth = open_(name, {role: _OFF if at == name else at for role, at in roles.items()})
    if config.certificate.per and getattr(bare.columns, config.certificate.per) is None:
        per = config.certificate.per
        raise UsageError(f"--per {per}: the table has no {per} column; name it with --{per}-column")
    answers = open_(column, {role: _OFF if at == column else at for role, at in roles.items()})
    reviewed = None
    if choices.reviewed is not None:
        reviewed = open_(_OFF, {}, (choices.reviewed,))
        if all(f"{column}_{key}" in bare.schema for key in _OURS):
            raise UsageError(
                f"{column} was written by reviewopt, which may have known people's answers to {choices.reviewed}; "
                f"use process --reference human there, or answer a sample of the labelled table: reviewopt review "
                f"{' '.join(choices.tables)}"
            )
    return Tables(bare=bare, answers=answers, truth=truth, reviewed=reviewed, column=column)


def _column(table: Table, name: str, option: str) -> str:
    """Return the column of this name, however its letters are written.

    Raises:
        UsageError: there is none.
    """
    same = [one for one in table.schema if one == name] or [
        one for one in table.schema if one.casefold() == name.casefold()
    ]
    if len(same) != 1:
        raise UsageError(f"there is no column {name}; columns: {', '.join(table.schema)}; name one with {option}")
    return same[0]


def check(labels: Labels, found: Wanted, config: Config, tables: Tables) -> None:
    """Check that there is something to certify, and enough to certify it with.

    Raises:
        UsageError: no row has a text or an answer, or more rows lack the reference's label than may be wrong.
    """
    if not labels.n_texts:
        raise UsageError(f"{', '.join(tables.bare.inputs)}: no row has a text; name its column with --text-column")
    if labels.n_unanswered == labels.n_texts:
        raise UsageError(f"no row with a text has a label in {tables.column}; name another column with --answer-column")
    n_compared = labels.n_texts - labels.n_unanswered - labels.n_unlabelled
    if found.kind == "column" and not n_compared:
        raise UsageError(f"--reference {found.name}: no row that has an answer has a label there; --label-map may help")
    most = certify.error_budget(labels.n_texts, config.certificate.target)
    if labels.n_gaps > most:
        raise UsageError(
            f"--reference {found.name}: {labels.n_gaps:,} of {labels.n_texts:,} rows with a text have no label there, "
            f"and no more than {most:,} may be wrong; the others are a uniform sample only if the gaps have nothing to "
            "do with the texts: where that is so, say --missing-at-random"
        )


def open_reference(
    choices: Choices,
    config: Config,
    task: Task,
    found: Wanted,
    tables: Tables,
    labels: Labels,
    paid: Paid | None,
    again: Callable[[], Paid] | None,
    notes: opening.Notes,
) -> tuple[Reference, Promise, int]:
    """Count the promise, and then draw the sample that its labels lead to.

    Promises are counted by the texts, the task and the reference: neither another file format nor another order of the
    rows, nor other labels, begin anew.

    Raises:
        UsageError: people answered other texts.
        InputError: the table changed, or nobody has answered.
    """
    settings = config.certificate
    given, drawn = dict[int, str | None](), None
    # Of contents alone: who renames a column, a model or a task is shown the same rows again.
    seed = certify.seed(labels.frozen, *task.labels, found.kind)
    if found.kind == "human":
        seed, given, drawn = _people(choices, found, task, tables, labels, settings.per, notes)
    attempts = Attempts(choices.home.path, "labels as they are", labels.content, task.name, *task.labels, found.name)
    promise = freezing.promise(settings, labels, seed=seed, model="" if paid is None else paid.digest)
    counts = freezing.is_counted(found.kind, settings, labels)
    attempt = 1 if choices.dry_run or counts else attempts.number(promise)  # where all rows count, none is drawn
    if counts:
        n_empty = len(labels.answer) - labels.n_texts
        drawn = Drawn(DRAWN_SCHEMA.to_frame(), labels.n_texts, n_empty, labels.n_texts - labels.n_gaps, labels.n_of)
    elif drawn is None:
        n = opening_reference.audit_rows(settings, labels.n_left, freezing.allowed(settings, attempt))
        table = tables.answers if tables.truth is None else tables.truth
        drawn = freezing.sample(table, seed, n, labels, as_sent=paid is not None, per=settings.per)
    reference = Reference(
        kind=found.kind,
        name=found.name if paid is None else paid.model.name,
        fingerprint=tables.answers.fingerprint(),
        seed=seed,
        drawn=drawn,
        n_train=0,
        n_cal=0,
        n_audit=len(drawn.frame),
        can_answer=False,
        attempts=attempts,
        paid=paid,
        again=None if again is None else again().cache,
        human=given,
    )
    return reference, promise, attempt


def _people(
    choices: Choices, found: Wanted, task: Task, tables: Tables, labels: Labels, per: str, notes: opening.Notes
) -> tuple[int, dict[int, str | None], Drawn]:
    """Return the seed that people's sample was drawn by, what they said, and the rows that they have answered.

    Raises:
        UsageError: they answered other texts.
        InputError: nobody has answered.
    """
    table = tables.reviewed or tables.bare
    if tables.reviewed is not None:
        others = freezing.read(tables.reviewed, None, task.labels)
        if others.texts != labels.texts:
            raise UsageError(
                f"--reviewed {choices.reviewed}: its texts are not those of {' '.join(choices.tables)}, row by row; "
                "the labelled table must have the same rows in the same order, with the same --text-column and "
                "--title-column"
            )
    fingerprint = (tables.reviewed or tables.answers).fingerprint()
    given = opening_reference.given_by_people(found, choices.home, task, table, fingerprint, notes.add)
    seed = certify.seed(fingerprint, task.name, *task.labels, HUMAN)
    drawn = draws.draw(tables.answers, seed, len(given), per=per)
    rows, _ = human.answered_prefix(drawn.frame, given, task.labels)
    answered = replace(drawn, frame=drawn.frame[: len(rows)])
    return seed, given, freezing.tested(answered, labels, len(rows))
