"""A report as tables for a terminal, the important line last. Foreign text is never parsed as markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reviewopt.accuracy import Accuracy, Estimate, Score
from reviewopt.config import Setting
from reviewopt.report import Report
from reviewopt.runs import Run

_BAR_WIDTH: Final = 8
_MOST_GROUPS: Final = 6
_MANY_COPIES: Final = 0.02
_SOURCE_WORDS: Final = {"empty": "no text", "exact": "exact copies", "local": "local model"}


def show_report(console: Console, report: Report) -> None:
    """Print a run's report."""
    run = report.run
    console.print(_heading(run), highlight=False, soft_wrap=True)
    if run.n_rows:
        answered = {_SOURCE_WORDS.get(source, source): n for source, n in run.n_by_source.items() if n}
        side_by_side = Table.grid(padding=(0, 3))
        side_by_side.add_row(
            _counts(run.task, run.n_by_label, run.n_rows, bars=True), _counts("answered by", answered, run.n_rows)
        )
        console.print(side_by_side)
    if run.accuracy is not None:
        _show_accuracy(console, run.accuracy, run.input.columns["label"] or "label")
    console.print(_costs(run), highlight=False, soft_wrap=True)
    for line in _remarks(run):
        console.print(Text(line), style="yellow", soft_wrap=True)
    style = "bold" if report.state == "done" else "bold red"
    console.print(_last_line(report), style=style, highlight=False, soft_wrap=True)


def show_card(console: Console, card: Mapping[str, Any], path: Path) -> None:
    """Print what is known about a model that was just trained."""
    held = card["validation"]
    table = _table("label", "precision, %", "recall, %", title=f"on {held['n']:,} held-out reviews (95 % interval)")
    for label in card["labels"]:
        table.add_row(Text(label), _card_share(held["precision"][label]), _card_share(held["recall"][label]))
    console.print(table)
    data = card["data"]
    console.print(
        Text(f"{data['labelled']:,} labelled reviews of {data['rows']:,}, {data['distinct']:,} of them distinct")
    )
    console.print(
        Text(f"accuracy {_card_share(held['accuracy'])} %, macro-F1 {_card_share(held['macro_f1'])} %: {path}"),
        style="bold",
        soft_wrap=True,
    )
    console.print(Text(f"next: reviewopt process TABLE --task {card['task']} --local-model {path}"), soft_wrap=True)


def _card_share(share: Mapping[str, float | None]) -> str:
    return _share(Estimate(value=share["value"], low=share["low"], high=share["high"]))


def show_settings(console: Console, settings: Sequence[Setting]) -> None:
    """Print every setting with its origin."""
    table = _table("setting", "value", "from")
    table.columns[1].no_wrap = table.columns[2].no_wrap = False
    for setting in settings:
        table.add_row(Text(setting.name), Text(str(setting.value)), Text(setting.origin))
    console.print(table)


def _table(first: str, *columns: str, title: str | None = None) -> Table:
    """Return a table with names at the left of the first column and figures at the right of the others."""
    table = Table(box=SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left", pad_edge=False)
    table.add_column(Text(first), no_wrap=True)
    for name in columns:
        table.add_column(Text(name), justify="left" if name in {"value", "from", ""} else "right", no_wrap=True)
    return table


def _heading(run: Run) -> Text:
    speed = f" · {run.reviews_per_s:,.0f} reviews/s" if run.reviews_per_s else ""
    more = f" and {len(run.input.names) - 3} more" if len(run.input.names) > 3 else ""
    names = ", ".join(run.input.names[:3]) + more
    return Text(f"{names} · {run.n_rows:,} reviews · {run.wall_s:.2f} s{speed} · run {run.run_id}")


def _counts(title: str, counts: dict[str, int], n_rows: int, *, bars: bool = False) -> Table:
    table = _table(title, "reviews", "share", *([""] if bars else []))
    for name, n in counts.items():
        bar = [Text("█" * round(n / n_rows * _BAR_WIDTH), style="cyan")] if bars else []
        table.add_row(Text(name), f"{n:,}", _percent(n / n_rows), *bar)
    return table


def _show_accuracy(console: Console, accuracy: Accuracy, column: str) -> None:
    overall = accuracy.overall
    title = f"agreement with {column}, % (95 % interval)"
    table = _table("label", "reviews", "precision", "recall", "F1", title=title)
    for score in overall.classes:
        shares = (_share(score.precision), _share(score.recall), _share(score.f1))
        table.add_row(Text(score.label), f"{score.n_rows:,}", *shares)
    console.print(table)
    confusion = _table(f"{column} \\ answer", *accuracy.labels, title="confusion matrix, reviews")
    for label, row in zip(accuracy.labels, overall.confusion, strict=True):
        confusion.add_row(Text(label), *(f"{n:,}" for n in row))
    console.print(confusion)
    for kind in ("category", "tenant"):
        groups = [score for score in accuracy.groups if score.kind == kind]
        if len(groups) > 1:
            console.print(_groups(kind, groups))


def _groups(kind: str, groups: Sequence[Score]) -> Table:
    table = _table(kind, "reviews", "accuracy, %", "macro-F1, %", "ECE, %")
    for score in groups[:_MOST_GROUPS]:
        error = "not measured" if score.calibration_error is None else f"{100 * score.calibration_error:.1f}"
        table.add_row(Text(score.group), f"{score.n_rows:,}", _share(score.accuracy), _share(score.macro_f1), error)
    if len(groups) > _MOST_GROUPS:
        table.caption = f"the largest {_MOST_GROUPS} of {len(groups):,}; the others with --json"
        table.caption_justify = "left"
    return table


def _costs(run: Run) -> Text:
    return Text(
        f"cost: {_usd(run.cost.machine_usd)} for {run.wall_s:.2f} s of this machine at "
        f"{_usd(run.cost.machine_usd_per_hour)} an hour, {_usd(run.cost.answers_usd)} of it for answers; "
        "no paid model was asked"
    )


def _remarks(run: Run) -> Iterable[str]:
    if run.accuracy is not None and (run.reuse_rate or 0) > _MANY_COPIES:
        yield (
            f"{_percent(run.reuse_rate or 0)} of the reviews are copies of earlier ones: the intervals take each row "
            "as a case of its own, and would be wider for as many different reviews"
        )
    if run.n_outside_languages:
        share = _percent(run.n_outside_languages / run.n_rows)
        known = f" ({', '.join(run.model.languages)})" if run.model.languages else ""
        yield (
            f"{run.n_outside_languages:,} reviews ({share}) look foreign to the model's languages{known}: "
            "their labels are guesses, with a low confidence"
        )


def _last_line(report: Report) -> Text:
    run = report.run
    if report.state == "running":
        return Text(f"still running: {run.n_rows:,} reviews so far")
    if report.state == "killed":
        return Text(f"this run was killed after {run.n_rows:,} reviews and left no output; run it again")
    if report.state != "done":
        return Text(f"this run {'was interrupted' if report.state == 'interrupted' else 'failed'}: {run.error}")
    place = "standard output" if run.output == "-" else run.output
    text = f"{run.n_rows:,} {'review' if run.n_rows == 1 else 'reviews'} labelled in {place}"
    if run.accuracy is not None:
        overall = run.accuracy.overall
        error = "" if overall.calibration_error is None else f", ECE {100 * overall.calibration_error:.1f} %"
        text += (
            f"\naccuracy {_share(overall.accuracy)} %, macro-F1 {_share(overall.macro_f1)} %{error}, "
            f"on {overall.n_rows:,} reviews with a label"
        )
    return Text(text)


def _share(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "not measured"
    shares = (estimate.value, estimate.low, estimate.high)
    value, low, high = (f"{100 * share:.1f}".replace("100.0", "100") for share in shares)
    return f"{value} ({low}-{high})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _usd(amount: str) -> str:
    value = Decimal(amount)
    return (
        f"${value:.2f}"
        if value >= 1 or not value
        else f"${value:.3g}"
        if value >= Decimal("0.001")
        else f"${value:.2g}"
    )
