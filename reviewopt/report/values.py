"""What a report holds: the run's record, what became of it, and how it stands beside limits and an earlier run."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from reviewopt.data import Frozen, schema_of
from reviewopt.record import Run

SCHEMA_VERSION: Final = 3
State = Literal["running", "killed", "done", "failed", "interrupted"]
# What a figure counts; USD stand as decimal strings.
Unit = Literal["share", "usd", "usd_per_1000", "reviews", "reviews_per_s", "s", "relative"]


class Latency(Frozen, frozen=True, kw_only=True):
    """Seconds of the requests that were charged or may have been, so late and broken ones count, refused ones do not.

    `p50_s` and `p95_s` are nearest ranks: seconds that a request really took.
    """

    n_requests: int
    mean_s: float
    p50_s: float
    p95_s: float
    max_s: float


class Bill(Frozen, frozen=True, kw_only=True):
    """USD as decimal strings: what models were paid, what the machine cost, and both; per 1,000 rows of the table.

    Per 1,000 is null without rows. `models_usd` is what the spend ledger charged the run.
    """

    models_usd: str
    machine_usd: str
    total_usd: str
    per_1000_usd: str | None


class Difference(Frozen, frozen=True, kw_only=True):
    """One figure of two runs; USD as decimal strings, null where it was not measured.

    `loss` is how much worse the run's is, as a share of the baseline's: negative where it is better, null where one is
    missing, or where the baseline's alone is 0. `p_value` is of `test`, one-sided: the chance of so much worse a figure
    if nothing had changed; `p_adjusted` is Holm's over all figures that were tested; null where `test` needs none.
    `is_worse`: worse, and more so than by chance; null where that cannot be judged. `reason` says why.
    """

    name: str
    unit: Unit
    baseline: float | str | None
    run: float | str | None
    loss: float | None
    test: str
    p_value: float | None
    p_adjusted: float | None
    is_worse: bool | None
    reason: str


class Comparison(Frozen, frozen=True, kw_only=True):
    """The run beside an earlier one; `notes` say where they are not alike."""

    run_id: str
    state: State
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


class Gate(Frozen, frozen=True, kw_only=True):
    """A limit that was set, the figure held against it, and why it is met or not; USD are decimal strings.

    `name` is the setting's; `of` the figure of a comparison, null for other gates. A null `figure` is missing, and is
    never met; but that of a comparison is null too where the baseline's is 0, to which nothing has a ratio.
    """

    name: str
    of: str | None
    unit: Unit
    limit: float | str
    figure: float | str | None
    is_met: bool
    why: str


class Report(Frozen, frozen=True, kw_only=True):
    """What `reviewopt report` prints. `state` tells a run that still works from one that was killed.

    `ledger` says whether the requests' seconds and charges were read: `none` where there is no ledger to read.
    """

    schema_version: int
    state: State
    run: Run
    ledger: Literal["read", "none", "damaged"]
    latency: Latency | None
    cost: Bill
    baseline: Comparison | None
    gates: tuple[Gate, ...]
    notes: tuple[str, ...]


class Figure(Frozen, frozen=True, kw_only=True):
    """One of the figures by which a run is judged, exact; null where it was not measured."""

    name: str
    unit: Unit
    value: float | str | None


def figures(report: Report) -> tuple[Figure, ...]:
    """Return the figures that every format shows, in one order."""
    run, latency = report.run, report.latency
    accuracy = None if run.accuracy is None else run.accuracy.overall.accuracy
    low = None if accuracy is None else accuracy.low
    proven = None if run.certificate is None else run.certificate.accuracy_low
    return (
        Figure(name="reviews", unit="reviews", value=run.n_rows),
        Figure(name="failures", unit="reviews", value=run.n_by_source["failed"]),
        Figure(name="accuracy", unit="share", value=None if accuracy is None else accuracy.value),
        Figure(name="accuracy, lower end of 95 %", unit="share", value=low),
        Figure(name="accuracy, certified", unit="share", value=proven),
        Figure(name="cache hit rate", unit="share", value=run.hit_rate),
        Figure(name="cost, models", unit="usd", value=report.cost.models_usd),
        Figure(name="cost, machine", unit="usd", value=report.cost.machine_usd),
        Figure(name="cost, total", unit="usd", value=report.cost.total_usd),
        Figure(name="cost per 1,000 reviews", unit="usd_per_1000", value=report.cost.per_1000_usd),
        Figure(name="throughput", unit="reviews_per_s", value=run.reviews_per_s),
        Figure(name="wall time", unit="s", value=run.wall_s),
        Figure(name="requests", unit="reviews", value=0 if run.asked is None else run.asked.n_requests),
        Figure(name="latency, mean", unit="s", value=None if latency is None else latency.mean_s),
        Figure(name="latency, p50", unit="s", value=None if latency is None else latency.p50_s),
        Figure(name="latency, p95", unit="s", value=None if latency is None else latency.p95_s),
        Figure(name="latency, max", unit="s", value=None if latency is None else latency.max_s),
    )


def to_json(report: Report) -> str:
    """Return the report as indented JSON: every key, in a stable order."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of the report; `configs/report.schema.json` is its committed form."""
    return schema_of(Report)
