"""Entries -> series over the runs of one task. Pure."""

from __future__ import annotations

import difflib
import statistics
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import PurePath
from typing import Final

from reviewopt.errors import InputError
from reviewopt.past.values import SCHEMA_VERSION, Entry, RunList, Series, SeriesName, Trends

_PLACES: Final = Decimal("1e-12")
_SERIES: Final[tuple[tuple[SeriesName, Callable[[Entry], float | Decimal | None]], ...]] = (
    ("usd_per_1000", lambda one: None if one.usd_per_1000 is None else Decimal(one.usd_per_1000)),
    ("hit_rate", lambda one: one.hit_rate),
    ("accuracy", lambda one: None if one.accuracy is None else one.accuracy.value),
    ("reviews_per_s", lambda one: one.reviews_per_s),
)


def trends(
    listed: RunList,
    *,
    task: str | None = None,
    table: str | None = None,
    model: str | None = None,
    limit: int | None = None,
) -> Trends:
    """Follow the figures over the runs of a task that are done.

    Args:
        listed: the runs, newest first.
        task: of this task; None: of the latest run's that is left by the other filters.
        table: only runs that read this table: its name, or the last part of it.
        model: only runs in which this model answered.
        limit: so many at most, the latest; None: all.

    Raises:
        InputError: no run that is done is left.
    """
    left = [one for one in listed.runs if table is None or table in _tables(one)]
    _must_leave(left, "table", table, (name for one in listed.runs for name in _tables(one)))
    chosen = [one for one in left if model is None or model in one.models]
    _must_leave(chosen, "model", model, (name for one in left for name in one.models))
    task = task or (chosen[0].task if chosen else None)
    of_task = [one for one in chosen if one.task == task]
    _must_leave(of_task, "task", task, (one.task for one in chosen))
    done = [one for one in of_task if one.state == "done"]
    if not done or task is None:
        raise InputError("no run is done yet: there is nothing to follow; make one: reviewopt process TABLE")
    shown = tuple(reversed(done[:limit]))
    return Trends(
        schema_version=SCHEMA_VERSION,
        task=task,
        table=table,
        model=model,
        is_cut=listed.is_cut or len(shown) < len(done),
        n_left_out=len(of_task) - len(done),
        n_unread=len(listed.unread),
        runs=shown,
        series=series(shown),
        notes=tuple(_notes(shown)),
    )


def series(entries: Sequence[Entry]) -> tuple[Series, ...]:
    """Return the four series over entries, oldest first."""
    return tuple(_series(name, [figure(one) for one in entries]) for name, figure in _SERIES)


def _series(name: SeriesName, values: Sequence[float | Decimal | None]) -> Series:
    measured = [value for value in values if value is not None]
    before = [value for value in values[:-1] if value is not None]
    latest = values[-1] if values else None
    first = measured[0] if measured else None
    median = statistics.median(before) if before else None  # type: ignore[type-var]
    return Series(
        name=name,
        values=tuple(map(_plain, values)),
        first=_plain(first),
        latest=_plain(latest),
        change=_plain(_less(latest, first)) if before else None,
        median_before=_plain(median),
        against_median=_plain(_less(latest, median)),
    )


def _less(one: float | Decimal | None, other: float | Decimal | None) -> float | Decimal | None:
    return None if one is None or other is None else one - other  # type: ignore[operator]


def _plain(value: float | Decimal | None) -> str | float | None:
    return f"{value.quantize(_PLACES):f}" if isinstance(value, Decimal) else value


def _tables(entry: Entry) -> set[str]:
    return {*entry.inputs, *(PurePath(name).name for name in entry.inputs)}


def _must_leave(left: Sequence[Entry], what: str, wanted: str | None, known: Iterable[str]) -> None:
    """Raise where a filter leaves no run, with the nearest that would leave one."""
    if left or wanted is None:
        return
    names = sorted(set(known))
    near = difflib.get_close_matches(wanted, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names[:5]) or 'none'}"
    raise InputError(f"no run has the {what} {wanted}; {hint}")


def _notes(shown: Sequence[Entry]) -> Iterable[str]:
    """Yield what else than the tool may have changed the figures."""
    tables = {one.inputs for one in shown}
    if len(tables) > 1:
        yield f"the runs read {len(tables):,} different tables: a change may be theirs; follow one with --table"
    models = {one.models for one in shown}
    if len(models) > 1:
        yield f"{len(models):,} different sets of models answered: a change may be theirs; follow one with --model"
    n_simulated = sum(one.is_simulated for one in shown)
    if n_simulated:
        yield f"{n_simulated:,} of the runs are simulated: no real model answered"
