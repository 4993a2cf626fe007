"""The runs of a home for a terminal, the newest first, and what `prune` deleted.

Figures are rounded for people; `--json` has them exact. What a record says is foreign text: neither markup nor escapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from reviewopt.past import Entry, Pruned, RunList
from reviewopt.render import trends
from reviewopt.render.parts import plain, table, usd
from reviewopt.render.rounded import NOTHING, amount, duration, estimate, number, proven, rate, say, size

_BETWEEN: Final = 2  # cells between two columns
_NAME_CHARS: Final = 24
_SECOND_CHARS: Final = 15  # of a run's id, down to the second it began in
_MOST_REASONS: Final = 3
_MOST_PRUNED: Final = 10
# In a terminal that is too narrow the last ones are left out.
_COLUMNS: Final = (
    "run", "state", "rows", "per 1,000", "accuracy, %", "hits", "per s", "table", "model", "USD", "proven, %", "reuse",
    "time", "unanswered",
)  # fmt: skip
_WORDS: Final = {"state", "table", "model"}  # at the left of their columns


def show_list(console: Console, made: RunList, home: str) -> None:
    """Print the runs of a home, the newest first, and how their figures went."""
    if not made.runs and not made.unread:
        left = f"none of the {made.n_kept:,} runs of {home} is left by the filters"
        say(console, left if made.n_kept else f"there is no run in {home}; make one: reviewopt process TABLE")
        return
    console.print(_listed(made, console.width))
    for line in trends.lines(made.runs, console.width):
        say(console, line)
    for line in _notes(made):
        say(console, line, style="yellow")
    following = f"report {made.runs[0].run_id}; reviewopt runs trends" if made.runs else "process TABLE"
    say(console, f"next: reviewopt {following}", style="bold")


def _listed(made: RunList, width: int) -> Table:
    nothing = dict.fromkeys(_COLUMNS, NOTHING)
    unread = {one.run_id: {**nothing, "state": "unreadable", "table": "", "model": ""} for one in made.unread}
    entries = {one.run_id: _cells(one) for one in made.runs} | unread
    names = _short(list(entries))
    rows = [{**entries[one], "run": names[one]} for one in sorted(entries, reverse=True)]
    fitting = _fitting(rows, width)
    shown = table(*fitting)
    shown.collapse_padding, shown.show_edge = True, False  # so that a terminal of 80 columns takes the main figures
    for column, name in zip(shown.columns, fitting, strict=True):
        if name in _WORDS:
            column.justify = "left"
    for row in rows:
        shown.add_row(*(plain(row[name]) for name in fitting))
    return shown


def _fitting(rows: Sequence[dict[str, str]], width: int) -> list[str]:
    """Return the columns for which there is room."""
    fitting: list[str] = []
    taken = -_BETWEEN
    for name in _COLUMNS:
        taken += max(cell_len(name), *(cell_len(row[name]) for row in rows)) + _BETWEEN
        if taken > width and fitting:
            break
        fitting.append(name)
    return fitting


def _short(ids: Sequence[str]) -> dict[str, str]:
    """Cut ids after their second where that still tells them apart: the start of an id is taken for it."""
    starts = [one[:_SECOND_CHARS] for one in ids]
    return {one: start if starts.count(start) == 1 else one for one, start in zip(ids, starts, strict=True)}


def _cells(one: Entry) -> dict[str, str]:
    return {
        "state": f"{one.state}*" if one.is_certified else one.state,
        "rows": number(one.n_rows),
        "per 1,000": amount(one.usd_per_1000, NOTHING),
        "accuracy, %": estimate(one.accuracy, NOTHING),
        "hits": rate(one.hit_rate, NOTHING),
        "per s": NOTHING if one.reviews_per_s is None else number(one.reviews_per_s),
        "table": _cut(", ".join(PurePath(name).name for name in one.inputs)),
        "model": _cut(" > ".join(one.models)),
        "USD": usd(one.usd),
        "proven, %": NOTHING if one.accuracy_low is None else proven(one.accuracy_low),
        "reuse": rate(one.reuse_rate, NOTHING),
        "time": duration(one.seconds),
        "unanswered": f"{one.n_failed:,}",
    }


def _cut(text: str) -> str:
    line = plain(text).plain
    return line if len(line) <= _NAME_CHARS else f"{line[: _NAME_CHARS - 1]}…"


def _notes(made: RunList) -> Iterator[str]:
    n_shown = len(made.runs) + len(made.unread)
    if made.is_cut:
        yield f"the latest {n_shown:,} of {made.n_kept:,} runs; more with --limit"
    if any(one.is_certified for one in made.runs):
        yield "* certified: its target is proven"
    if n_simulated := sum(one.is_simulated for one in made.runs):
        yield f"{n_simulated:,} of them simulated: no real model answered"
    yield from made.notes
    for one in made.unread[:_MOST_REASONS]:
        yield f"{one.run_id}: {one.reason}"
    if len(made.unread) > _MOST_REASONS:
        yield f"{len(made.unread) - _MOST_REASONS:,} others cannot be read; their reasons with --json"


def show_pruned(console: Console, made: Pruned) -> None:
    """Print what was deleted, or would be."""
    for one in made.gone[:_MOST_PRUNED]:
        say(console, f"{one.run_id}  {size(one.n_bytes)}")
    if len(made.gone) > _MOST_PRUNED:
        say(console, f"and {len(made.gone) - _MOST_PRUNED:,} others, up to {made.gone[-1].run_id}")
    for held in made.held[:_MOST_PRUNED]:
        say(console, f"{held.run_id} stays: {held.reason}", style="yellow")
    if len(made.held) > _MOST_PRUNED:
        say(console, f"{len(made.held) - _MOST_PRUNED:,} others stay; why with --json", style="yellow")
    say(console, _pruned(made), style="bold")
    say(console, "kept answers, the spend ledger and the tables that runs wrote are not touched")


def _pruned(made: Pruned) -> str:
    runs = "1 run" if len(made.gone) == 1 else f"{len(made.gone):,} runs"
    if made.is_deleted:
        return f"{runs} deleted, {size(made.n_bytes)} freed; {made.n_left:,} left"
    if not made.gone:
        return f"nothing to delete; {made.n_left:,} stay"
    return f"this would delete {runs} and free {size(made.n_bytes)}; nothing is deleted yet: add --yes"
