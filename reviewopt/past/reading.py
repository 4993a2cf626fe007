"""The records of a home -> entries. Only what an entry needs is decoded: a record may have thousands of groups."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

import msgspec

from reviewopt import budget, runs
from reviewopt.accuracy import Estimate
from reviewopt.errors import InputError, UsageError
from reviewopt.past.values import SCHEMA_VERSION, Entry, RunList, State, Unread
from reviewopt.record import SCHEMA_VERSION as RECORD_VERSION
from reviewopt.record import Cost, Input, ModelRecord, Status
from reviewopt.runs import Home

LATEST: Final = "latest"
PREVIOUS: Final = "previous"
_RECORD: Final = "run.json"
_PLACES: Final = Decimal("1e-12")


class Scored(msgspec.Struct, frozen=True):
    """What is read of a score."""

    n_rows: int
    accuracy: Estimate


class Judged(msgspec.Struct, frozen=True):
    """What is read of the accuracy."""

    overall: Scored


class Rung(msgspec.Struct, frozen=True):
    """What is read of a rung."""

    name: str


class Ladder(msgspec.Struct, frozen=True):
    """What is read of the ladder."""

    rungs: tuple[Rung, ...]


class Asked(msgspec.Struct, frozen=True):
    """What is read of what asking took."""

    spent_usd: str
    is_simulated: bool


class Promised(msgspec.Struct, frozen=True):
    """What is read of a certificate."""

    reference: str
    target: float
    is_met: bool
    accuracy_low: float | None


class Brief(msgspec.Struct, frozen=True):
    """The fields of a record that an entry is made from; the others are passed over unread."""

    schema_version: int
    status: Status
    error: str | None
    started_at: str
    finished_at: str | None
    input: Input
    output: str
    task: str
    model: ModelRecord
    n_rows: int
    n_by_source: dict[str, int]
    reuse_rate: float | None
    hit_rate: float | None
    wall_s: float
    reviews_per_s: float | None
    cost: Cost
    asked: Asked | None
    ladder: Ladder | None
    accuracy: Judged | None
    certificate: Promised | None


@dataclass(frozen=True, slots=True)
class _Charged:
    """USD that the spend ledger charged each run; `damage` says why it cannot be read."""

    usd: dict[str, Decimal]
    damage: str | None


class _Versioned(msgspec.Struct, frozen=True):
    schema_version: int


def run_ids(home: Home) -> list[str]:
    """Return the runs of a home, oldest first, those without a record too."""
    try:
        return sorted(path.name for path in (home.path / runs.RUNS).iterdir() if runs.is_run_id(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def list_runs(home: Home, *, limit: int | None = None, task: str | None = None, state: State | None = None) -> RunList:
    """List the runs of a home, newest first.

    Args:
        home: whose runs.
        limit: as many at most; None: all.
        task: only runs of this task.
        state: only runs in this state. With either filter a record that cannot be read is not listed.
    """
    ids = run_ids(home)
    found: list[Entry] = []
    unread: list[Unread] = []
    charges = functools.cache(lambda: _charges(home))
    is_cut = False
    for n_read, one in enumerate(_entries(home, reversed(ids), charges)):
        if isinstance(one, Unread):
            if task is None and state is None:
                unread.append(one)
        elif task in (None, one.task) and state in (None, one.state):
            found.append(one)
        if limit is not None and len(found) + len(unread) == limit:
            is_cut = n_read + 1 < len(ids)
            break
    needs_ledger = any(one.state != "done" for one in found)
    return RunList(
        schema_version=SCHEMA_VERSION,
        n_kept=len(ids),
        is_cut=is_cut,
        runs=tuple(found),
        unread=tuple(unread),
        notes=tuple(_damage(charges())) if needs_ledger else (),
    )


def _entries(home: Home, ids: Iterator[str], charges: Callable[[], _Charged]) -> Iterator[Entry | Unread]:
    for run_id in ids:
        try:
            yield _read(home, run_id, charges)
        except InputError as error:
            yield Unread(run_id=run_id, reason=str(error))


def find(home: Home, name: str) -> str:
    """Return the id of the run that is meant: an id, the start of one, `latest` or `previous`.

    Raises:
        InputError: there is no such run.
        UsageError: several begin so.
    """
    ids = run_ids(home)
    if not ids:
        raise InputError(f"there is no run in {home.path}; make one: reviewopt process TABLE")
    if name in (LATEST, PREVIOUS):
        place = 1 if name == LATEST else 2
        if len(ids) < place:
            raise InputError(f"there is only one run in {home.path}: {ids[0]}")
        return ids[-place]
    meant = [run_id for run_id in ids if name and run_id.startswith(name)]
    if len(meant) > 1:
        more = f" and {len(meant) - 3:,} others" if len(meant) > 3 else ""
        raise UsageError(f"{name} is the start of {len(meant):,} runs: {', '.join(meant[-3:])}{more}; write more of it")
    if not meant:
        near = difflib.get_close_matches(name, ids, n=1) or difflib.get_close_matches(name, [LATEST, PREVIOUS], n=1)
        hint = f"did you mean {near[0]}?" if near else f"the latest are: {', '.join(ids[-3:])}"
        raise InputError(f"there is no run {name} in {home.path}; {hint}")
    return meant[0]


def read(home: Home, run_id: str, *, is_alive: Callable[[Path], bool] = runs.is_alive) -> Entry:
    """Read what an entry says of a run; `is_alive` says of a record whether its run works still.

    Raises:
        InputError: the record is missing, damaged, or of another version.
    """
    try:
        return _read(home, run_id, lambda: _charges(home), is_alive)
    except InputError as error:
        raise InputError(f"run {run_id}: {error}") from error


def _charges(home: Home) -> _Charged:
    head = "run:"
    try:
        totals = budget.totals(home.path / budget.FOLDER)
    except InputError as error:
        return _Charged({}, str(error))
    return _Charged({scope.removeprefix(head): usd for scope, usd in totals.items() if scope.startswith(head)}, None)


def _damage(charged: _Charged) -> Iterator[str]:
    if charged.damage is not None:
        yield f"what runs that are not done cost is known from their records alone: {charged.damage}"


def _read(
    home: Home, run_id: str, charges: Callable[[], _Charged], is_alive: Callable[[Path], bool] = runs.is_alive
) -> Entry:
    path = home.path / runs.RUNS / run_id / _RECORD
    brief = _brief(path)
    state: State
    if brief.status == "unfinished" and not is_alive(path):
        brief = _brief(path)  # it may have ended since it was read
        state = "killed" if brief.status == "unfinished" else brief.status
    else:
        state = "running" if brief.status == "unfinished" else brief.status
    return _entry(run_id, brief, state, None if state == "done" else charges().usd.get(run_id))


def _brief(path: Path) -> Brief:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError("no record: it ended, or was killed, before its first row") from None
    except OSError as error:
        raise InputError(f"its record cannot be read: {error.strerror}") from error
    try:
        brief = msgspec.json.decode(content, type=Brief)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        version = _version(content)
        if version is None or version == RECORD_VERSION:
            raise InputError(f"its record is damaged: {error}") from error
        raise InputError(_other(version)) from error
    if brief.schema_version != RECORD_VERSION:
        raise InputError(_other(brief.schema_version))
    return brief


def _version(content: bytes) -> int | None:
    try:
        return msgspec.json.decode(content, type=_Versioned).schema_version
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _other(version: int) -> str:
    return f"its record is of version {version}; this reviewopt reads {RECORD_VERSION}"


def _usd(amount: str) -> Decimal:
    try:
        value = Decimal(amount)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise InputError("its record is damaged: an amount is no number")
    return value


def _entry(run_id: str, brief: Brief, state: State, charged: Decimal | None) -> Entry:
    """Make an entry; what was `charged` is null where the record's own sum counts."""
    recorded = Decimal(0) if brief.asked is None else _usd(brief.asked.spent_usd)
    models_usd = recorded if charged is None else charged
    usd = models_usd + _usd(brief.cost.machine_usd)
    certificate, judged = brief.certificate, brief.accuracy
    return Entry(
        run_id=run_id,
        state=state,
        error=brief.error,
        started_at=brief.started_at,
        finished_at=brief.finished_at,
        task=brief.task,
        inputs=brief.input.names,
        fingerprint=brief.input.fingerprint,
        output=brief.output,
        models=(brief.model.name,) if brief.ladder is None else tuple(rung.name for rung in brief.ladder.rungs),
        reference=None if certificate is None else certificate.reference,
        is_simulated=brief.asked is not None and brief.asked.is_simulated,
        n_rows=brief.n_rows,
        n_failed=brief.n_by_source.get("failed", 0),
        usd_from="record" if charged is None else "ledger",
        usd=f"{usd:f}",
        models_usd=f"{models_usd:f}",
        machine_usd=brief.cost.machine_usd,
        usd_per_1000=f"{(1000 * usd / brief.n_rows).quantize(_PLACES):f}" if brief.n_rows else None,
        hit_rate=brief.hit_rate,
        reuse_rate=brief.reuse_rate,
        accuracy=None if judged is None else judged.overall.accuracy,
        n_labelled=0 if judged is None else judged.overall.n_rows,
        is_certified=None if certificate is None else certificate.is_met,
        target=None if certificate is None else certificate.target,
        accuracy_low=None if certificate is None else certificate.accuracy_low,
        seconds=brief.wall_s,
        reviews_per_s=brief.reviews_per_s,
    )
