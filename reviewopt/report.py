"""A run's record -> Report: the record, and what became of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from reviewopt import runs
from reviewopt.data import Frozen
from reviewopt.record import Run

SCHEMA_VERSION: Final = 2
State = Literal["running", "killed", "done", "failed", "interrupted"]


class Report(Frozen, frozen=True, kw_only=True):
    """What `reviewopt report` prints. `state` tells a run that still works from one that was killed."""

    schema_version: int
    state: State
    run: Run


def make(record: Path) -> Report:
    """Read a run's record.

    Raises:
        InputError: the record is damaged.
    """
    run = runs.read(record)
    if run.status != "unfinished":
        return Report(schema_version=SCHEMA_VERSION, state=run.status, run=run)
    return Report(schema_version=SCHEMA_VERSION, state="running" if runs.is_alive(record) else "killed", run=run)


def to_json(report: Report) -> str:
    """Return the report as indented JSON: every key, in a stable order."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
