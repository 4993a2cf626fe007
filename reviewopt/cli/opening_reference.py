"""What a run opens to prove its labels: the reference, the sample of rows, and how large that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from reviewopt import certify, draws, human
from reviewopt.attempts import Attempts
from reviewopt.cache.tiers import Cache
from reviewopt.certify import attempt_delta, target_delta
from reviewopt.draws import Drawn
from reviewopt.errors import InputError, UsageError
from reviewopt.job import Paid, Reference
from reviewopt.load import Table
from reviewopt.local import warm
from reviewopt.local.learned import Learned
from reviewopt.runs import Home
from reviewopt.settings import CertificateSettings, Config
from reviewopt.task import Task

HUMAN: Final = "human"
COLUMN: Final = "column:"
Kind = Literal["model", "column", "human"]

# Rows drawn where nobody knows how many the table has: enough for ten million.
_UNKNOWN_ROWS: Final = 10_000_000
# The share of errors that an audit is planned for, of those that are allowed; and room for bad luck.
_PLANNED_ERROR: Final = 0.6
_AUDIT_ROOM: Final = 1.5
# What CAL needs where it only chooses: thresholds of several rungs from a few hundred answers.
_CHOOSING_ROWS: Final = 300
# What TRAIN needs where no local model is fitted: whether packs agree with single answers.
_PACK_ROWS: Final = 100
# The error rate at the cut, as a multiple of the allowed one, and at most: measured 3.3 to 6.9 at a target of .95, and
# about 2.7 at .80 (tests/benchmarks/results/warm.json).
_ERROR_AT_CUT: Final = 4.0
_MOST_AT_CUT: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the settings want proven against whom; `column` is the reference's, of the kind of that name."""

    kind: Kind
    name: str

    @property
    def column(self) -> str:
        """The column of a reference that is one."""
        return self.name.removeprefix(COLUMN)


def wanted(config: Config) -> Wanted | None:
    """Read what is to be proven; None: nothing.

    Raises:
        UsageError: a target without a reference, or the other way round, or what cannot go together.
    """
    settings = config.certificate
    if not settings.reference and not settings.target:
        return None
    if not settings.reference:
        raise UsageError(
            f"--target {settings.target:g} is agreement with whom? Name it: --reference MODEL, column:NAME or human"
        )
    if not settings.target:
        raise UsageError(f"--reference {settings.reference}: how much must be proven? Say it: --target .95")
    kind: Kind = "model"
    if settings.reference == HUMAN:
        kind = "human"
    elif settings.reference.startswith(COLUMN):
        kind = "column"
    found = Wanted(kind=kind, name=settings.reference)
    if kind == "column" and not found.column:
        raise UsageError("--reference column: is of which column? Name it: --reference column:rating")
    named = config.columns.label
    if kind == "column" and named and named != found.column:
        raise UsageError(
            f"--label-column {named} and --reference {settings.reference} name two columns; leave out --label-column"
        )
    if config.ladder.ensemble:
        raise UsageError(
            "--ensemble with --target: a vote is not part of what can be proven yet; leave out one of them"
        )
    return found


def check_columns(found: Wanted, config: Config, table: Table) -> None:
    """Check that the table has the columns that the promise needs.

    Raises:
        UsageError: it has not.
    """
    per = config.certificate.per
    if per and getattr(table.columns, per) is None:
        raise UsageError(f"--per {per}: the table has no {per} column; name it with --{per}-column")
    if found.kind == "column" and table.columns.label is None:
        raise UsageError(
            f"--reference {found.name}: that column holds no labels; --label-map says what its values mean"
        )


def open_reference(
    found: Wanted,
    config: Config,
    task: Task,
    table: Table,
    home: Home,
    *,
    paid: Paid | None,
    again: Callable[[], Paid] | None,
    others: tuple[Paid, ...],
    learned: Learned | None,
    outranking: Cache | None,
    on_rows: Callable[[int], None],
    on_note: Callable[[str], None],
) -> Reference:
    """Draw the sample and make the reference.

    Args:
        found: what the settings want.
        config: the settings.
        task: what is asked.
        table: the rows.
        home: where promises are counted and people's answers lie.
        paid: the reference, where it is a model.
        again: opens what keeps its second answers.
        others: the paid models that answer beside it.
        learned: the local model.
        outranking: what people and labelled history said before.
        on_rows: told how many rows were read.
        on_note: told what the user should know.

    Raises:
        UsageError: what is wanted cannot be proven with this table.
        InputError: the table cannot be read, or nobody has answered.
    """
    check_columns(found, config, table)
    settings, fingerprint = config.certificate, table.fingerprint()
    # However a user spells the column's name, its rows are the same.
    whom = f"{COLUMN}{table.columns.label}" if found.kind == "column" else found.name
    parts = (fingerprint, task.name, *task.labels, whom)
    seed = certify.seed(*parts)
    as_sent = paid is not None or bool(others)
    given = given_by_people(found, home, task, table, fingerprint, on_note)
    n_rows = _UNKNOWN_ROWS if table.n_rows is None else table.n_rows
    alone = not [one for one in others if one.source != found.name]
    can_answer = found.kind == "model" or (found.kind == "column" and not others)
    is_certified = alone and found.kind != "human"
    sizes = _Sizes(settings, learned, is_certified=is_certified, is_paid=bool(others), can_answer=can_answer)
    n = len(given) if found.kind == "human" else sum(sizes.of(n_rows))

    def drawn_of(n: int) -> Drawn:
        return draws.draw(table, seed, n, as_sent=as_sent, per=settings.per, on_rows=on_rows)

    drawn = drawn_of(n)
    n_gaps = drawn.n_rows - drawn.n_labelled if found.kind == "column" else 0
    if n_gaps:
        drawn = _labelled(found, settings, drawn, n, drawn_of, on_note)
    if n_gaps > certify.error_budget(drawn.n_rows, settings.target):
        can_answer, n_gaps = False, 0  # the user says that the labelled rows are a uniform sample of all
    if settings.on_drift == "escalate" and not can_answer:
        raise UsageError(
            f"--on-drift escalate: {found.name} cannot answer rows beyond the sample; leave it out, or name a model"
        )
    attempts = Attempts(home.path, *parts)
    attempts.check()
    if not drawn.n_rows:
        raise InputError("no row has a text: there is nothing to prove anything about")
    train, cal, audit = sizes.of(drawn.n_rows)
    if found.kind == "human":
        rows, _ = human.answered_prefix(drawn.frame, given, task.labels)
        drawn = replace(drawn, frame=drawn.frame[: len(rows)])
        train = settings.train if learned is None or learned.base is not None else settings.train or len(rows) // 2
        cal = settings.cal or (len(rows) // 3 if len(others) + (learned is not None) > 1 else 0)
        audit = max(0, len(rows) - train - cal)
    elif not can_answer and not others:
        cal = settings.cal  # one policy alone: there is nothing to choose
    return Reference(
        kind=found.kind,
        name=found.name if paid is None else paid.model.name,
        fingerprint=fingerprint,
        seed=seed,
        drawn=drawn,
        n_train=min(train, len(drawn.frame)),
        n_cal=cal,
        n_audit=audit,
        can_answer=can_answer,
        attempts=attempts,
        learned=learned,
        paid=paid,
        again=None if again is None else again().cache,
        human=given,
        outranking=outranking,
        n_gaps=n_gaps,
    )


class _Sizes:
    """How many rows TRAIN, CAL and AUDIT take.

    `is_certified`: CAL may certify, not only choose; `can_answer`: rows that are not accepted go to the reference.
    """

    def __init__(
        self,
        settings: CertificateSettings,
        learned: Learned | None,
        *,
        is_certified: bool,
        is_paid: bool,
        can_answer: bool,
    ) -> None:
        self._settings, self._learned = settings, learned
        self._is_certified, self._is_paid, self._can_answer = is_certified, is_paid, can_answer

    def of(self, n_rows: int) -> tuple[int, int, int]:
        """Return the three sizes for a table of so many rows with a text."""
        settings, learned = self._settings, self._learned
        delta, allowed = target_delta(1 - settings.confidence, 1), 1 - settings.target
        train = 0
        if learned is not None:
            train = warm.train_size(n_rows, has_base=learned.base is not None)
        train = settings.train or max(train, _PACK_ROWS if self._is_paid else 0)
        at_cut = min(_MOST_AT_CUT, _ERROR_AT_CUT * allowed)
        cal = certify.cal_size(n_rows, settings.target, delta, error_at_cut=at_cut)
        cal = settings.cal or (cal if self._is_certified else min(_CHOOSING_ROWS, n_rows))
        if not self._can_answer:
            return train, cal, audit_rows(settings, n_rows, delta)
        # What does not pass goes to the reference, so AUDIT is as large as is cheapest in all.
        left = delta - attempt_delta(delta, 1)
        return train, cal, settings.audit or certify.cal_size(n_rows, settings.target, left, error_at_cut=at_cut)


def audit_rows(settings: CertificateSettings, n_rows: int, delta: float) -> int:
    """Return how many of `n_rows` rows AUDIT may take, tested at `delta`: what is planned, with room for bad luck."""
    error = _PLANNED_ERROR * (1 - settings.target)
    return settings.audit or round(_AUDIT_ROOM * certify.audit_size(n_rows, settings.target, error, delta))


def given_by_people(
    found: Wanted, home: Home, task: Task, table: Table, fingerprint: str, on_note: Callable[[str], None]
) -> dict[int, str | None]:
    """Return what people said of the table's rows.

    Raises:
        InputError: nobody has said anything.
    """
    if found.kind != HUMAN:
        return {}
    columns = (table.columns.text, table.columns.title)
    path = human.place(home.path, table=fingerprint, task=task.name, labels=task.labels, columns=columns)
    given = human.read(path, task.labels, on_warning=on_note)
    if not given:
        raise InputError(
            f"--reference human: nobody has answered reviews of this table yet; do it with reviewopt review "
            f"{' '.join(table.inputs)}"
        )
    return given


def _labelled(
    found: Wanted,
    settings: CertificateSettings,
    drawn: Drawn,
    n: int,
    drawn_of: Callable[[int], Drawn],
    on_note: Callable[[str], None],
) -> Drawn:
    """Draw from the labelled rows alone: where the others are so few that all may be wrong, or the user says so.

    Raises:
        UsageError: too many rows have no label, and the user has not said that those that have are a uniform sample.
    """
    n_missing = drawn.n_rows - drawn.n_labelled
    if not drawn.n_labelled:
        raise UsageError(f"--reference {found.name}: no row with a text has a label there; --label-map may help")
    if n_missing <= certify.error_budget(drawn.n_rows, settings.target):
        on_note(f"{n_missing:,} rows have no label in {found.column}: they count as wrong")
    elif not settings.missing_at_random:
        raise UsageError(
            f"--reference {found.name}: {n_missing:,} of {drawn.n_rows:,} rows with a text have no label there, and "
            "those that have are a uniform sample only if the gaps have nothing to do with the texts; where that is "
            "so, say --missing-at-random"
        )
    again = drawn_of(round(1.2 * n * drawn.n_rows / drawn.n_labelled) + 100)
    return replace(again, frame=again.frame.drop_nulls("label").head(n))
