"""How figures went from run to run: a sparkline each, the oldest run at the left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console

from reviewopt.past import Entry, Trends
from reviewopt.past.trends import series
from reviewopt.past.values import Series, SeriesName
from reviewopt.render.parts import UNKNOWN, percent, plain, table, usd
from reviewopt.render.rounded import NOTHING, change, number, points, say, usd_change

_LEVELS: Final = "▁▂▃▄▅▆▇█"
_FLAT: Final = "▄"
_GAP: Final = " "
_BETWEEN: Final = 2  # cells between two columns
_LEAST_BARS: Final = 16  # as wide as their column's head
_BESIDE_CHARS: Final = 44  # of a line of the list, beside its bars
_NAMES: Final[dict[SeriesName, str]] = {
    "usd_per_1000": "cost of 1,000",
    "hit_rate": "cache hits",
    "accuracy": "accuracy",
    "reviews_per_s": "reviews/s",
}


def sparkline(values: Sequence[float | None]) -> str:
    """Draw values as bars, one character each: the least lowest, the largest highest, equal ones halfway up.

    One that was not measured is a gap. The bars say nothing about how far the values are from 0.
    """
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    return "".join(_GAP if value is None else _bar(value, low, high) for value in values)


def _bar(value: float, low: float, high: float) -> str:
    if low == high:
        return _FLAT
    return _LEVELS[min(len(_LEVELS) - 1, int((value - low) / (high - low) * len(_LEVELS)))]


def lines(newest_first: Sequence[Entry], width: int) -> Iterator[str]:
    """Yield the four sparklines of the listed runs of the latest's task that are done, where there are two."""
    done = [one for one in reversed(newest_first) if one.state == "done"]
    of_task = [one for one in done if one.task == done[-1].task][-max(_LEAST_BARS, width - _BESIDE_CHARS) :]
    if len(of_task) < 2:
        return
    yield f"{of_task[-1].task}, {len(of_task):,} runs from the oldest to the newest:"
    for one in series(of_task):
        yield f"  {_NAMES[one.name]:<13}  {sparkline(_floats(one))}  {_extremes(one)}"


def show_trends(console: Console, made: Trends) -> None:
    """Print how the figures of a task went from run to run."""
    n, first, latest = len(made.runs), made.runs[0], made.runs[-1]
    filters = "".join(f", {what} {name}" for what, name in (("table", made.table), ("model", made.model)) if name)
    say(console, f"{made.task}{filters}: {_runs(n)}, {first.run_id} to {latest.run_id}")
    head = ("", "first", "latest", "change", "off median")
    rows = [(_NAMES[one.name], *_figures(one)) for one in made.series]
    taken = sum(max(map(cell_len, cells)) + _BETWEEN for cells in zip(head, *rows, strict=True))
    most = max(_LEAST_BARS, console.width - taken)
    shown = table(head[0], "oldest to newest", *head[1:])
    shown.columns[1].justify = "left"
    shown.collapse_padding, shown.show_edge = True, False  # so that a terminal of 80 columns takes it
    for one, row in zip(made.series, rows, strict=True):
        shown.add_row(plain(row[0]), plain(sparkline(_floats(one)[-most:])), *map(plain, row[1:]))
    console.print(shown)
    for line in _notes(made, most):
        say(console, line, style="yellow")
    say(console, _verdict(made), style="bold")


def _figures(one: Series) -> tuple[str, str, str, str]:
    first, latest = (_figure(one.name, value) for value in (one.first, one.latest))
    return first, latest, _more(one.name, one.change), _more(one.name, one.against_median)


def _notes(made: Trends, most: int) -> Iterator[str]:
    if len(made.runs) > most:
        yield f"the bars are those of the latest {most} runs"
    if unmeasured := [_NAMES[one.name] for one in made.series if one.latest is None]:
        yield f"not measured in the latest run: {', '.join(unmeasured)}"
    if made.is_cut:
        yield "older runs are left out; more with --limit"
    if made.n_left_out:
        yield f"left out: {_runs(made.n_left_out)} of the task, not done"
    if made.n_unread:
        yield f"left out: {_runs(made.n_unread)} without a record that can be read; why: reviewopt runs"
    yield from made.notes


def _verdict(made: Trends) -> str:
    """Say where the latest run stands among those before it."""
    if len(made.runs) == 1:
        return "one run: there is nothing to compare it with yet"
    against = [
        f"{_NAMES[one.name]} {_more(one.name, one.against_median)}{' points' if _is_share(one.name) else ''}"
        for one in made.series
        if one.against_median is not None
    ]
    if not against:
        return "nothing was measured in the latest run and before"
    return f"the latest run against the median of the {len(made.runs) - 1:,} before: {', '.join(against)}"


def _runs(n: int) -> str:
    return "1 run" if n == 1 else f"{n:,} runs"


def _extremes(one: Series) -> str:
    """Say between what values the bars are drawn."""
    known = sorted((value for value in one.values if value is not None), key=float)
    if not known:
        return UNKNOWN
    least, largest = _figure(one.name, known[0]), _figure(one.name, known[-1])
    return least if least == largest else f"{least} to {largest}"


def _floats(one: Series) -> list[float | None]:
    return [None if value is None else float(value) for value in one.values]


def _is_share(name: SeriesName) -> bool:
    return name in ("hit_rate", "accuracy")


def _figure(name: SeriesName, value: str | float | None) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return usd(value)
    return percent(value) if _is_share(name) else number(value)


def _more(name: SeriesName, value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return usd_change(value)
    return points(value) if _is_share(name) else change(value)
