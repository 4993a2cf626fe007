"""A report as tables for a terminal, the important line last. Foreign text is neither markup nor escape codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reviewopt.accuracy import Accuracy, Estimate, Score
from reviewopt.config import Setting
from reviewopt.data import GroupCounts
from reviewopt.record import Run
from reviewopt.render import asking, certificate, ladder
from reviewopt.render.parts import percent, plain, table, usd
from reviewopt.report import Report

_BAR_WIDTH: Final = 8
_MOST_GROUPS: Final = 6
_MANY_COPIES: Final = 0.02
_SOURCE_WORDS: Final = {
    "empty": "no text",
    "exact": "exact copies",
    "near": "near copies",
    "l1": "cache, tier 1",
    "l2": "cache, tier 2",
    "l3": "cache, tier 3",
    "local": "local model",
    "failed": "not answered",
    "packs": "several reviews a request",
}
_SHOWN_GROUPS: Final = 3
_EXAMPLE_CHARS: Final = 60


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
    if run.certificate is not None:
        certificate.show_certificate(console, run.certificate)
    if run.groups.largest:
        _show_largest(console, run.groups)
    for line in _reuse(run):
        console.print(plain(line), highlight=False, soft_wrap=True)
    if run.ladder is not None:
        ladder.show_ladder(console, run.ladder)
    for text in _spent(report):
        console.print(text, highlight=False, soft_wrap=True)
    for line in _remarks(run):
        console.print(plain(line), style="yellow", soft_wrap=True)
    style = "bold" if report.state == "done" else "bold red"
    console.print(_last_line(report), style=style, highlight=False, soft_wrap=True)


def show_card(console: Console, card: Mapping[str, Any], path: Path) -> None:
    """Print what is known about a model that was just trained."""
    held = card["validation"]
    made = table("label", "precision, %", "recall, %", title=f"on {held['n']:,} held-out reviews (95 % interval)")
    for label in card["labels"]:
        made.add_row(plain(label), _card_share(held["precision"][label]), _card_share(held["recall"][label]))
    console.print(made)
    data = card["data"]
    console.print(
        plain(f"{data['labelled']:,} labelled reviews of {data['rows']:,}, {data['distinct']:,} of them distinct")
    )
    console.print(
        plain(f"accuracy {_card_share(held['accuracy'])} %, macro-F1 {_card_share(held['macro_f1'])} %: {path}"),
        style="bold",
        soft_wrap=True,
    )
    console.print(plain(f"next: reviewopt process TABLE --task {card['task']} --local-model {path}"), soft_wrap=True)


def _card_share(share: Mapping[str, float | None]) -> str:
    return _share(Estimate(value=share["value"], low=share["low"], high=share["high"]))


def show_settings(console: Console, settings: Sequence[Setting]) -> None:
    """Print every setting with its origin."""
    made = table("setting", "value", "from")
    made.columns[1].no_wrap = made.columns[2].no_wrap = False
    for setting in settings:
        made.add_row(plain(setting.name), plain(str(setting.value)), plain(setting.origin))
    console.print(made)


def _heading(run: Run) -> Text:
    speed = f" · {run.reviews_per_s:,.0f} reviews/s" if run.reviews_per_s else ""
    more = f" and {len(run.input.names) - 3} more" if len(run.input.names) > 3 else ""
    names = ", ".join(run.input.names[:3]) + more
    return plain(f"{names} · {run.n_rows:,} reviews · {run.wall_s:.2f} s{speed} · run {run.run_id}")


def _counts(title: str, counts: dict[str, int], n_rows: int, *, bars: bool = False) -> Table:
    made = table(title, "reviews", "share", *([""] if bars else []))
    for name, n in counts.items():
        bar = [Text("█" * round(n / n_rows * _BAR_WIDTH), style="cyan")] if bars else []
        made.add_row(plain(name), f"{n:,}", percent(n / n_rows), *bar)
    return made


def _show_accuracy(console: Console, accuracy: Accuracy, column: str) -> None:
    overall = accuracy.overall
    title = f"agreement with {column}, % (95 % interval)"
    made = table("label", "reviews", "precision", "recall", "F1", title=title)
    for score in overall.classes:
        shares = (_share(score.precision), _share(score.recall), _share(score.f1))
        made.add_row(plain(score.label), f"{score.n_rows:,}", *shares)
    console.print(made)
    confusion = table(f"{column} \\ answer", *accuracy.labels, title="confusion matrix, reviews")
    for label, row in zip(accuracy.labels, overall.confusion, strict=True):
        confusion.add_row(plain(label), *(f"{n:,}" for n in row))
    console.print(confusion)
    for kind in ("category", "tenant"):
        groups = [score for score in accuracy.groups if score.kind == kind]
        if len(groups) > 1:
            console.print(_groups(kind, groups))


def _groups(kind: str, groups: Sequence[Score]) -> Table:
    made = table(kind, "reviews", "accuracy, %", "macro-F1, %", "ECE, %")
    for score in groups[:_MOST_GROUPS]:
        error = "not measured" if score.calibration_error is None else f"{100 * score.calibration_error:.1f}"
        made.add_row(plain(score.group), f"{score.n_rows:,}", _share(score.accuracy), _share(score.macro_f1), error)
    if len(groups) > _MOST_GROUPS:
        made.caption = f"the largest {_MOST_GROUPS} of {len(groups):,}; the others with --json"
        made.caption_justify = "left"
    return made


def _show_largest(console: Console, groups: GroupCounts) -> None:
    made = table("first review", "reviews", "texts", "example")
    for group in groups.largest[:_SHOWN_GROUPS]:
        example = " ".join(group.example.split())
        if len(example) > _EXAMPLE_CHARS:
            example = example[: _EXAMPLE_CHARS - 1] + "…"
        made.add_row(plain(group.review_id), f"{group.n_rows:,}", f"{group.n_questions:,}", plain(example))
    near = f", {groups.n_near:,} of them with near copies" if groups.n_near else ""
    others = "; the ten largest with --json" if len(groups.largest) > _SHOWN_GROUPS else ""
    word = "group" if groups.n_groups == 1 else "groups"
    title = f"{groups.n_groups:,} {word} of reviews that say the same{near}{others}"
    console.print(plain(title), style="italic", soft_wrap=True)
    console.print(made)


def _reuse(run: Run) -> Iterable[str]:
    if run.n_looked_up and run.hit_rate is not None:
        tiers = ", ".join(f"tier {tier[1]}: {run.n_by_source[tier]:,}" for tier in ("l1", "l2", "l3"))
        yield f"cache: {percent(run.hit_rate)} of {run.n_looked_up:,} questions were answered before ({tiers})"
    if run.reuse_rate and any(run.n_by_source[source] for source in ("near", "l1", "l2", "l3")):
        yield f"reuse: {percent(run.reuse_rate)} of the reviews took an answer that was there already"


def _costs(run: Run) -> Text:
    cost = run.cost
    words = _SOURCE_WORDS | ({"packs": "cheaper models and several reviews a request"} if run.ladder else {})
    saved = [f"{words[source]} {usd(amount)}" for source, amount in cost.saved_usd.items() if Decimal(amount)]
    naive = f" instead of {usd(cost.naive_usd)} for one answer a review (saved: {', '.join(saved)})" if saved else ""
    free = "" if run.model.is_paid else "; no paid model was asked"
    return plain(
        f"cost: answers {usd(cost.answers_usd)}{naive}; machine {usd(cost.machine_usd)} for {run.wall_s:.2f} s at "
        f"{usd(cost.machine_usd_per_hour)} an hour{free}"
    )


def _spent(report: Report) -> Iterable[Text]:
    run = report.run
    if run.asked is not None:
        yield from map(plain, asking.asked_lines(run.asked, run.plan))
    yield _costs(run)
    if run.asked is not None or report.latency is not None:
        yield _in_all(report)


def _in_all(report: Report) -> Text:
    cost, latency = report.cost, report.latency
    each = "" if cost.per_1000_usd is None else f", {usd(cost.per_1000_usd)} per 1,000 reviews"
    times = ""
    if latency is not None:
        times = (
            f"; a request took {latency.p50_s:.3g} s (p50), {latency.p95_s:.3g} s (p95), at most {latency.max_s:.3g} s"
        )
    return plain(f"in all {usd(cost.total_usd)}{each}{times}")


def _remarks(run: Run) -> Iterable[str]:
    copies = (run.n_by_source["exact"] + run.n_by_source["near"]) / max(run.n_rows - run.n_by_source["empty"], 1)
    if run.accuracy is not None and copies > _MANY_COPIES:
        yield (
            f"{percent(copies)} of the reviews are copies of earlier ones: the intervals take each row "
            "as a case of its own, and would be wider for as many different reviews"
        )
    if run.accuracy is not None and run.n_given:
        yield (
            f"{run.n_given:,} of the answers are what people or your labelled history said: where that is the same "
            "column, the agreement with it says nothing about the model"
        )
    if run.n_near_without_language:
        yield (
            f"{run.n_near_without_language:,} pairs of near copies shared nothing: their language has no word lists, "
            "or none could be told"
        )
    if run.n_outside_languages:
        share = percent(run.n_outside_languages / run.n_rows)
        known = f" ({', '.join(run.model.languages)})" if run.model.languages else ""
        yield (
            f"{run.n_outside_languages:,} reviews ({share}) look foreign to the model's languages{known}: "
            "their labels are guesses, with a low confidence"
        )


def _last_line(report: Report) -> Text:
    run = report.run
    if report.state == "running":
        return plain(f"still running: {run.n_rows:,} reviews so far")
    if report.state == "killed":
        return plain(f"this run was killed after {run.n_rows:,} reviews and left no output; run it again")
    if report.state != "done":
        return plain(f"this run {'was interrupted' if report.state == 'interrupted' else 'failed'}: {run.error}")
    place = "standard output" if run.output == "-" else run.output
    n_failed = run.n_by_source["failed"]
    unanswered = f", {n_failed:,} stayed unanswered" if n_failed else ""
    noun = "review" if run.n_rows - n_failed == 1 else "reviews"
    made = plain(f"{run.n_rows - n_failed:,} {noun} labelled in {place}{unanswered}")
    if run.accuracy is not None:
        overall = run.accuracy.overall
        error = "" if overall.calibration_error is None else f", ECE {100 * overall.calibration_error:.1f} %"
        made.append(
            f"\naccuracy {_share(overall.accuracy)} %, macro-F1 {_share(overall.macro_f1)} %{error}, "
            f"on {overall.n_rows:,} reviews with a label"
        )
    if run.certificate is not None:
        made.append(f"\n{certificate.line(run.certificate)}")
    return made


def _share(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "not measured"
    shares = (estimate.value, estimate.low, estimate.high)
    value, low, high = (f"{100 * share:.1f}".replace("100.0", "100") for share in shares)
    return f"{value} ({low}-{high})"
