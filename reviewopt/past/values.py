"""What is said of a home's runs; every key is always there, money is a decimal string, rates are 0 to 1, all exact."""

from __future__ import annotations

from typing import Final, Literal

from reviewopt.accuracy import Estimate
from reviewopt.data import Frozen

SCHEMA_VERSION: Final = 1
State = Literal["running", "killed", "done", "failed", "interrupted"]
SeriesName = Literal["usd_per_1000", "hit_rate", "accuracy", "reviews_per_s"]


class Entry(Frozen, frozen=True, kw_only=True):
    """One run. Of one that still runs or was killed these are the figures that it saved last.

    `usd` is what this run cost: `models_usd`, as the ledger charged it, and `machine_usd`; what earlier runs paid for
    answers that were used again is not in it. `usd_per_1000` is that for 1,000 rows of the table. `usd_from` is the
    ledger where a run that did not end by itself has charges there: it knows more than the record. `models` are those
    that answer, from cheap to dear. `accuracy` is against the table's own labels, with its 95 % interval, on
    `n_labelled` rows. `is_certified` is null where nothing was to be proven; `accuracy_low` is what the certificate
    proves, against `reference`.
    """

    run_id: str
    state: State
    error: str | None
    started_at: str
    finished_at: str | None
    task: str
    inputs: tuple[str, ...]
    fingerprint: str | None
    output: str
    models: tuple[str, ...]
    reference: str | None
    is_simulated: bool
    n_rows: int
    n_failed: int
    usd_from: Literal["record", "ledger"]
    usd: str
    models_usd: str
    machine_usd: str
    usd_per_1000: str | None
    hit_rate: float | None
    reuse_rate: float | None
    accuracy: Estimate | None
    n_labelled: int
    is_certified: bool | None
    target: float | None
    accuracy_low: float | None
    seconds: float
    reviews_per_s: float | None


class Unread(Frozen, frozen=True, kw_only=True):
    """A run whose record cannot be read, and why."""

    run_id: str
    reason: str


class RunList(Frozen, frozen=True, kw_only=True):
    """The runs of a home, newest first, and in `unread` those of which nothing can be said.

    `n_kept` runs are in the home; where `is_cut`, older ones were not looked at.
    """

    schema_version: int
    n_kept: int
    is_cut: bool
    runs: tuple[Entry, ...]
    unread: tuple[Unread, ...]
    notes: tuple[str, ...]


class Series(Frozen, frozen=True, kw_only=True):
    """One figure over runs, oldest first; null where it was not measured.

    `first` is the oldest that was measured, `latest` that of the latest run, null where it measured none; `change` is
    latest - first. `median_before` is over the runs before the latest, `against_median` is latest - median_before.
    Amounts are decimal strings.
    """

    name: SeriesName
    values: tuple[str | float | None, ...]
    first: str | float | None
    latest: str | float | None
    change: str | float | None
    median_before: str | float | None
    against_median: str | float | None


class Trends(Frozen, frozen=True, kw_only=True):
    """Series over the runs of one task that are done, oldest first; `table` and `model` are the filters, else null.

    `n_left_out` runs of the task are not in it, because they are not done; `n_unread` have no record that can be read.
    """

    schema_version: int
    task: str
    table: str | None
    model: str | None
    is_cut: bool
    n_left_out: int
    n_unread: int
    runs: tuple[Entry, ...]
    series: tuple[Series, ...]
    notes: tuple[str, ...]


class Change(Frozen, frozen=True, kw_only=True):
    """What each figure of B has more than that of A, null where one of them was not measured.

    `accuracy` has a 95 % interval that takes the two runs as independent; on the same rows it is too wide.
    """

    n_rows: int
    n_failed: int
    usd: str
    usd_per_1000: str | None
    hit_rate: float | None
    reuse_rate: float | None
    accuracy: Estimate | None
    accuracy_low: float | None
    seconds: float
    reviews_per_s: float | None


class Comparison(Frozen, frozen=True, kw_only=True):
    """Two runs side by side. `is_same_table`: of the same content, null where one of them did not read all of it."""

    schema_version: int
    a: Entry
    b: Entry
    change: Change
    is_same_table: bool | None
    notes: tuple[str, ...]
