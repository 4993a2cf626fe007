"""Two runs side by side for a terminal; the last line says which is more accurate, if that is shown."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from reviewopt.past import Comparison, Entry
from reviewopt.render.parts import UNKNOWN, plain, table, usd
from reviewopt.render.rounded import (
    amount,
    change,
    duration,
    estimate,
    estimate_change,
    number,
    points,
    proven,
    rate,
    say,
    usd_change,
)


def show_two_runs(console: Console, made: Comparison) -> None:
    """Print two runs side by side, and what B has more."""
    for letter, one in (("A", made.a), ("B", made.b)):
        inputs, models = ", ".join(one.inputs), " > ".join(one.models)
        say(console, f"{letter}: run {one.run_id} · {one.state} · {inputs} · {one.task} · {models}")
    shown = table("", "A", "B", "B less A")
    for row in _rows(made):
        shown.add_row(*map(plain, row))
    console.print(shown)
    for line in made.notes:
        say(console, line, style="yellow")
    say(console, _verdict(made), style="bold")


def _rows(made: Comparison) -> Iterator[tuple[str, str, str, str]]:
    a, b, more = made.a, made.b, made.change
    yield "rows", f"{a.n_rows:,}", f"{b.n_rows:,}", f"{more.n_rows:+,}"
    yield "unanswered", f"{a.n_failed:,}", f"{b.n_failed:,}", f"{more.n_failed:+,}"
    yield "cost", usd(a.usd), usd(b.usd), usd_change(more.usd)
    yield "cost of 1,000", amount(a.usd_per_1000), amount(b.usd_per_1000), usd_change(more.usd_per_1000)
    yield "cache hits", rate(a.hit_rate), rate(b.hit_rate), points(more.hit_rate)
    yield "reuse", rate(a.reuse_rate), rate(b.reuse_rate), points(more.reuse_rate)
    yield "accuracy, %", estimate(a.accuracy), estimate(b.accuracy), estimate_change(more.accuracy)
    yield "proven, %", _proven(a), _proven(b), points(more.accuracy_low)
    yield "time", duration(a.seconds), duration(b.seconds), change(more.seconds, " s")
    yield "reviews/s", _speed(a), _speed(b), change(more.reviews_per_s)


def _verdict(made: Comparison) -> str:
    found = made.change.accuracy
    if found is None or found.low is None or found.high is None:
        return "which is more accurate is not known: one of them had no labels to be measured by"
    tables = {True: "the same table", False: "another table", None: "a table that is not known to be the same"}
    on = tables[made.is_same_table]
    if found.low > 0 or found.high < 0:
        return f"{'B' if found.low > 0 else 'A'} is more accurate, on {on}: 0 is outside the interval"
    return f"no difference in accuracy is shown, on {on}"


def _proven(one: Entry) -> str:
    if one.is_certified is None:
        return UNKNOWN
    return f"{'nothing' if one.accuracy_low is None else proven(one.accuracy_low)} of {100 * (one.target or 0):g}"


def _speed(one: Entry) -> str:
    return UNKNOWN if one.reviews_per_s is None else number(one.reviews_per_s)
