"""What reports, plans and `explain` read of the spend ledger; where nothing was ever spent, all of it is empty."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from reviewopt.budget import database
from reviewopt.budget.rows import Row
from reviewopt.budget.totals import read_all
from reviewopt.budget.values import usd_of
from reviewopt.data import COST_DTYPE

ENTRY_SCHEMA: Final = pl.Schema(
    {
        "at": pl.Datetime("us", "UTC"),
        "run_id": pl.String(),
        "model": pl.String(),
        "endpoint": pl.String(),
        "kind": pl.Enum(["reserve", "settle", "release"]),
        "reservation": pl.Int64(),
        "day": pl.String(),
        "usd": COST_DTYPE,
        "shares": pl.List(pl.Struct({"tenant": pl.String, "usd": COST_DTYPE})),
        "n_reviews": pl.Int64(),
        "body_bytes": pl.Int64(),
        "input_tokens": pl.Int64(),
        "cached_tokens": pl.Int64(),
        "cache_write_tokens": pl.Int64(),
        "output_tokens": pl.Int64(),
        "reasoning_tokens": pl.Int64(),
        "seconds": pl.Float64(),
        "outcome": pl.String(),
        "request_id": pl.String(),
    }
)
QUESTION_SCHEMA: Final = pl.Schema(
    {
        "run_id": pl.String(),
        "model": pl.String(),
        "reservation": pl.Int64(),
        "review_id": pl.String(),
        "key": pl.String(),
        "n_tokens": pl.Int64(),
        "usd": COST_DTYPE,
        "outcome": pl.String(),
    }
)
_BATCH_ROWS: Final = 20_000
_NEWEST: Final = 1_000
_ENTRIES: Final = """
    SELECT reserved_at, run, model, endpoint, 'reserve', reservation, day, reserved_units, reserved_shares, n_reviews,
        body_bytes, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM requests WHERE :run IS NULL OR run = :run
    UNION ALL
    SELECT ended_at, run, model, endpoint, kind, reservation, day, units, shares, n_reviews,
        body_bytes, input, cached, cache_write, output, reasoning, seconds, outcome, request_id
    FROM requests WHERE kind IS NOT NULL AND (:run IS NULL OR run = :run)"""
_QUESTIONS: Final = """
    SELECT r.run, r.model, q.reservation, q.review_id, q.key, q.n_tokens, q.units, q.outcome
    FROM questions q JOIN requests r ON r.reservation = q.reservation
    WHERE (:run IS NULL OR r.run = :run) AND (:review IS NULL OR q.review_id = :review) ORDER BY q.rowid"""
_COUNTED: Final = "SELECT run, day, coalesce(units, reserved_units), coalesce(shares, reserved_shares) FROM requests"
_HISTORY: Final = """
    SELECT n_reviews, body_bytes, input, output, seconds, units FROM requests
    WHERE kind = 'settle' AND outcome = 'answered' AND input IS NOT NULL AND model = ? AND endpoint = ? AND task = ?
    ORDER BY reservation DESC LIMIT ?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the newest answered requests of a task to a model were like; the rates are over their sums."""

    n_requests: int
    n_reviews: int
    mean_s: float
    median_s: float
    output_tokens_a_review: float
    input_tokens_a_byte: float | None
    usd_a_review: Decimal


def entries(folder: Path, run_id: str | None = None) -> pl.DataFrame:
    """Return the entries of a run, or of all, ENTRY_SCHEMA (n_entries,) in the order of their time.

    `usd` is the worst case of a `reserve`, the charge of a `settle` and 0 for a `release`. A reservation that has no
    other entry still counts at its worst case.

    Raises:
        InputError: the ledger is damaged.
    """
    return _frame(folder, _ENTRIES, {"run": run_id}, ENTRY_SCHEMA, _entry).sort("at", "reservation", "kind")


def asked_questions(folder: Path, *, run_id: str | None = None, review_id: str | None = None) -> pl.DataFrame:
    """Return what settled requests asked, QUESTION_SCHEMA (n_asked,), of a run, a review, or all.

    Raises:
        InputError: the ledger is damaged.
    """
    return _frame(folder, _QUESTIONS, {"run": run_id, "review": review_id}, QUESTION_SCHEMA, _question)


def totals(folder: Path) -> dict[str, Decimal]:
    """Return the USD that count against each scope, `run:ID`, `day:YYYY-MM-DD` and `tenant:NAME`, sorted.

    Raises:
        InputError: the ledger is damaged.
    """
    with database.reading(folder) as sql:
        return {} if sql is None else {scope: usd_of(units) for scope, units in read_all(sql).items()}


def spent_by_tenant(folder: Path) -> dict[str, Decimal]:
    """Return the USD that each tenant has been charged in all runs, "" for rows without one.

    Raises:
        InputError: the ledger is damaged.
    """
    head = "tenant:"
    return {scope.removeprefix(head): usd for scope, usd in totals(folder).items() if scope.startswith(head)}


def recomputed(folder: Path) -> dict[str, Decimal]:
    """Return what `totals` should be, derived from every entry.

    Raises:
        InputError: the ledger is damaged.
    """
    sums: dict[str, int] = {}
    with database.reading(folder) as sql:
        for run, day, units, shares in sql.execute(_COUNTED) if sql else ():
            parts = {f"tenant:{tenant}": part for tenant, part in _shares(shares).items()}
            for scope, part in {f"run:{run}": units, f"day:{day}": units, **parts}.items():
                sums[scope] = sums.get(scope, 0) + part
    return {scope: usd_of(units) for scope, units in sorted(sums.items())}


def history(folder: Path, *, model: str, endpoint: str, task: str) -> History | None:
    """Sum up the newest 1,000 requests of this task that this model answered at this endpoint; None without any.

    `task` is the digest that the purse was given.

    Raises:
        InputError: the ledger is damaged.
    """
    with database.reading(folder) as sql:
        found = sql.execute(_HISTORY, (model, endpoint, task, _NEWEST)).fetchall() if sql else []
    if not found:
        return None
    n_reviews, n_bytes, n_input, n_output, seconds, units = zip(*found, strict=True)
    return History(
        n_requests=len(found),
        n_reviews=sum(n_reviews),
        mean_s=statistics.fmean(seconds),
        median_s=statistics.median(seconds),
        output_tokens_a_review=sum(n_output) / max(sum(n_reviews), 1),
        input_tokens_a_byte=sum(n_input) / sum(n_bytes) if any(n_bytes) else None,
        usd_a_review=usd_of(sum(units) // max(sum(n_reviews), 1)),
    )


def _frame(
    folder: Path, query: str, names: dict[str, str | None], schema: pl.Schema, read: Callable[[Row], Row]
) -> pl.DataFrame:
    """Read rows in batches, so that they never stand as Python objects all at once."""
    frames = [pl.DataFrame(schema=schema)]
    with database.reading(folder) as sql:
        cursor = sql.execute(query, names) if sql else None
        while cursor and (found := cursor.fetchmany(_BATCH_ROWS)):
            frames.append(pl.DataFrame([read(row) for row in found], schema=schema, orient="row"))
    return pl.concat(frames)


def _entry(row: Row) -> Row:
    shares = [{"tenant": tenant, "usd": usd_of(part)} for tenant, part in _shares(row[8]).items()]
    return (datetime.fromtimestamp(row[0], UTC), *row[1:7], usd_of(row[7]), shares, *row[9:])


def _question(row: Row) -> Row:
    return (*row[:6], usd_of(row[6]), row[7])


def _shares(stored: str) -> dict[str, int]:
    """Read the shares of an entry.

    Raises:
        DamageError: they are not what was written.
    """
    try:
        return msgspec.json.decode(stored, type=dict[str, int])
    except msgspec.DecodeError as error:
        raise database.DamageError("an entry's shares are not what was written") from error
