"""Read a run's record and its requests -> Report."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

import msgspec

from reviewopt import budget, runs
from reviewopt.budget import RunRequests
from reviewopt.errors import InputError, UsageError
from reviewopt.record import Run
from reviewopt.report.baseline import compare
from reviewopt.report.gates import Limits, held
from reviewopt.report.values import SCHEMA_VERSION, Bill, Latency, Report, State


@dataclass(frozen=True, slots=True)
class Read:
    """A run as it was found: its record, what became of it, and its requests where the ledger has them."""

    run: Run
    state: State
    requests: RunRequests | None = None
    damage: str = ""  # why the ledger could not be read


def make(record: Path, *, baseline: Path | None = None, limits: Limits | None = None) -> Report:
    """Read a run's record and ledger, compare it with an earlier run, and hold it against limits.

    Raises:
        InputError: a record is damaged.
        UsageError: the baseline is the run itself, or a copy of it.
    """
    found, before = read(record), None if baseline is None else read(baseline)
    if before is not None and before.run.run_id == found.run.run_id:
        raise UsageError(f"--baseline {baseline} is the run itself ({found.run.run_id}): name an earlier one")
    return of_read(found, baseline=before, limits=limits)


def of_run(run: Run, home: Path | None = None) -> Report:
    """Report a run that has just ended; without its home, no ledger is read."""
    return of_read(_with_ledger(run, "done", home))


def read(record: Path) -> Read:
    """Read a record, and the ledger of its home.

    Raises:
        InputError: the record is damaged.
    """
    run = runs.read(record)
    unended: State = "running" if runs.is_alive(record) else "killed"
    state = unended if run.status == "unfinished" else run.status
    folder = record.absolute().parent
    in_home = folder.name == run.run_id  # and not a copy somewhere else
    return _with_ledger(run, state, folder.parent.parent if in_home else None)


def _with_ledger(run: Run, state: State, home: Path | None) -> Read:
    """Add the run's requests; a run that is done and asked nothing needs no ledger."""
    if home is None or (state == "done" and run.asked is None):
        return Read(run, state)
    try:
        return Read(run, state, budget.run_requests(home / budget.FOLDER, run.run_id))
    except InputError as error:
        return Read(run, state, None, str(error))


def of_read(found: Read, *, baseline: Read | None = None, limits: Limits | None = None) -> Report:
    """Make the report of what was read. Pure."""
    ledger: Literal["read", "none", "damaged"] = "none" if found.requests is None else "read"
    latency = None if found.requests is None else _latency(found.requests.seconds)
    made = Report(
        schema_version=SCHEMA_VERSION,
        state=found.state,
        run=found.run,
        ledger="damaged" if found.damage else ledger,
        latency=latency,
        cost=_bill(found),
        baseline=None,
        gates=(),
        notes=_notes(found),
    )
    if baseline is not None:
        before = of_read(baseline)
        seconds = [() if one.requests is None else one.requests.seconds for one in (baseline, found)]
        made = msgspec.structs.replace(made, baseline=compare(before, made, seconds[0], seconds[1]))
    return made if limits is None else msgspec.structs.replace(made, gates=held(made, limits))


def _latency(seconds: Sequence[float]) -> Latency | None:
    if not seconds:
        return None
    ordered = sorted(seconds)
    return Latency(
        n_requests=len(ordered),
        mean_s=statistics.fmean(ordered),
        p50_s=rank(ordered, 0.5),
        p95_s=rank(ordered, 0.95),
        max_s=ordered[-1],
    )


def rank(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of ordered values that at least `share` of them do not exceed: the nearest rank."""
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def _bill(found: Read) -> Bill:
    """Sum up what a run cost: of one that did not end by itself the ledger knows more than the record."""
    run = found.run
    models = Decimal(0) if run.asked is None else Decimal(run.asked.spent_usd)
    if found.requests is not None and found.state != "done":
        models = found.requests.charged_usd
    machine = Decimal(run.cost.machine_usd)
    total = models + machine
    return Bill(
        models_usd=f"{models:f}",
        machine_usd=f"{machine:f}",
        total_usd=f"{total:f}",
        per_1000_usd=f"{total * 1000 / run.n_rows:.12f}" if run.n_rows else None,
    )


def _notes(found: Read) -> tuple[str, ...]:
    if found.damage:
        return (f"the requests' times are not known: {found.damage}",)
    asked = found.run.asked
    if found.requests is None and asked is not None and asked.n_requests:
        return ("the requests' times are not known: the record lies in no home with a spend ledger",)
    return ()
