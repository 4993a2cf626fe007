"""A run's record -> Report: the record, and what became of the run; and whether it is good enough for a gate."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, Literal

import msgspec

from reviewopt import runs
from reviewopt.data import Frozen
from reviewopt.record import Run

SCHEMA_VERSION: Final = 2
State = Literal["running", "killed", "done", "failed", "interrupted"]
_NOISE: Final = 1e-12  # of binary fractions; two shares of rows are further apart


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


def accuracy_breach(report: Report, least: float) -> str | None:
    """Say why a run is not proven to be right in a share of at least `least`, with both figures; null where it is.

    What counts is a lower bound: the certificate's, where the run made one, whatever it was asked to prove; else the
    lower end of the 95 % interval against the table's own labels. Where there is neither, nothing is proven.
    """
    required = f"at least {least!r} is required"
    if report.state != "done":
        words = {"running": "still runs", "killed": "was killed", "interrupted": "was interrupted", "failed": "failed"}
        return f"{required}, and the run {words[report.state]}, so that nothing is proven"
    certificate, accuracy = report.run.certificate, report.run.accuracy
    if certificate is not None:
        low, what = certificate.accuracy_low, f"is certified, at {certificate.confidence!r} confidence"
        if low is None:
            return f"{required}, and the certificate proves nothing: {certificate.reason}"
    elif accuracy is not None and accuracy.overall.accuracy.low is not None:
        low, what = accuracy.overall.accuracy.low, "is the lower end of the 95 % interval"
    else:
        return (
            f"{required}, and no accuracy was measured: label the table with --reference and --target, "
            "or name its labels with --label-column"
        )
    if low >= least - _NOISE:
        return None
    return f"{required}, and {math.floor((low + _NOISE) * 10_000) / 10_000} {what}"


def to_json(report: Report) -> str:
    """Return the report as indented JSON: every key, in a stable order."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
