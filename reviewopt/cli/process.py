"""`reviewopt process`: label a table of reviews."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from reviewopt import config, report, runs, write
from reviewopt.cli import opening_paid, opening_reference, processing
from reviewopt.cli.output import Format, FormatOption, HomeOption, JsonOption, console
from reviewopt.cli.processing import Choices
from reviewopt.config import Setting
from reviewopt.errors import UsageError
from reviewopt.record import Plan
from reviewopt.render import asking, terminal
from reviewopt.task import Task

_COLUMN = "COLUMN"
_COLUMNS_PANEL = "name it, or `none`; without the option it is found by name"


class NearChoice(StrEnum):
    """What to do with near copies."""

    OFF = "off"
    REPORT = "report"
    SHARE = "share"


class PerChoice(StrEnum):
    """What else gets a promise of its own."""

    TENANT = "tenant"
    CATEGORY = "category"


class DriftChoice(StrEnum):
    """What is done with a chunk that is unlike the sample."""

    WARN = "warn"
    ESCALATE = "escalate"


class StrategyChoice(StrEnum):
    """What counts most where several models share the questions."""

    COST = "cost"
    QUALITY = "quality"
    PERFORMANCE = "performance"
    BALANCED = "balanced"
    ADAPTIVE = "adaptive"


def command(
    tables: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TABLE",
            show_default=False,
            help="Parquet, CSV, TSV, JSON (lines), Arrow; a folder, a glob, hf://owner/name, or - for standard input.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="A .parquet, .csv or .jsonl file, or - for JSON lines on standard output.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="A packaged task (sentiment) or a .toml file.")
    ] = None,
    local_model: Annotated[str | None, typer.Option(metavar="MODEL", help="A model made by `reviewopt train`.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N rows.")] = None,
    text_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help=f"The text: {_COLUMNS_PANEL}.")] = None,
    title_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The title.")] = None,
    id_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The review's id.")] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar=_COLUMN, help="Labels or stars, to measure accuracy.")
    ] = None,
    tenant_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The brand, client or store.")] = None,
    category_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The category.")] = None,
    priority_column: Annotated[
        str | None,
        typer.Option(metavar=_COLUMN, help="A number: the highest are asked first (only where you name it)."),
    ] = None,
    near: Annotated[
        NearChoice | None,
        typer.Option(help="Near copies: leave them, report them, or let them share one answer (default: report)."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Ask this model: a [models.NAME] of your settings, or openai:MODEL."),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="Ask several, from cheap to dear, after the local one: what one is not sure of climbs.",
        ),
    ] = None,
    strategy: Annotated[
        StrategyChoice | None,
        typer.Option(help="Where questions enter the ladder, and how sure is sure enough (default: balanced)."),
    ] = None,
    ensemble: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Models that vote on what stays uncertain at the top.")
    ] = None,
    question: Annotated[
        str | None, typer.Option("--ask", metavar="QUESTION", help="Ask this instead of a task, with --labels.")
    ] = None,
    labels: Annotated[str | None, typer.Option(metavar="A,B,C", help="The answers that --ask allows.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="WHO",
            help="Prove how many labels are those of a MODEL, of column:NAME, or of a human (reviewopt review).",
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="The share of labels that must be the reference's: .95. Not met: exit 1."),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(metavar="SHARE", help="How sure that must be (default: .95).")
    ] = None,
    per: Annotated[PerChoice | None, typer.Option(help="Make the promise for each tenant or category too.")] = None,
    on_drift: Annotated[
        DriftChoice | None,
        typer.Option(help="A chunk unlike the sample: warn, or escalate it to the reference (default: warn)."),
    ] = None,
    missing_at_random: Annotated[
        bool,
        typer.Option(
            "--missing-at-random", help="The gaps of the reference's column have nothing to do with the texts."
        ),
    ] = False,
    budget: Annotated[float | None, typer.Option(metavar="USD", min=0, help="What this run may spend at most.")] = None,
    deadline: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Ask so long at most: 90s, 10m, 1h30m. The rest stays for a re-run."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what asking would take and cost, and ask nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start, whatever the plan costs.")] = False,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1024, help="Requests at a time, at most (default: 8).")
    ] = None,
    pack_size: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=500, help="Exactly so many reviews a request (default: by complexity)."),
    ] = None,
    tune_packs: Annotated[
        bool | None,
        typer.Option(
            "--tune-packs/--no-tune-packs",
            help="Find how many reviews a request may hold by asking a sample singly too (default: where it is cheap).",
        ),
    ] = None,
    naive: Annotated[
        bool, typer.Option("--naive", help="One request a row, no copies, no cache: what all savings are measured by.")
    ] = False,
    redact: Annotated[
        bool, typer.Option("--redact", help="Mask e-mail addresses, phone and card numbers in what is sent.")
    ] = False,
    retry_failures: Annotated[
        bool, typer.Option("--retry-failures", help="Ask reviews again that never worked in earlier runs.")
    ] = False,
    allow_failures: Annotated[
        bool, typer.Option("--allow-failures", help="Exit 0 even where reviews stayed unanswered.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Use no answers of earlier runs, and keep none.")
    ] = False,
    label_map: Annotated[
        str | None,
        typer.Option(metavar="MAP", help="What values of the label column mean: '1-4=negative, 5-10=positive'."),
    ] = None,
    stdin_format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="csv or jsonl; without it told by the content.")
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings; else reviewopt.toml.")
    ] = None,
    home: HomeOption = None,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print every setting with its origin and exit.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Label a table of reviews.

    \b
    reviewopt process reviews.parquet
    reviewopt process shop/*.csv -o labelled.csv --text-column comment
    reviewopt process reviews.parquet --model openai:gpt-5-nano --dry-run
    zcat reviews.jsonl.gz | reviewopt process - -o - > labelled.jsonl
    """
    flags = {
        "process.task": task,
        "process.local_model": local_model,
        "process.limit": limit,
        "ask.model": model,
        "ask.threads": threads,
        "ladder.models": models,
        "ladder.strategy": None if strategy is None else strategy.value,
        "ladder.ensemble": ensemble,
        "pack.tune": None if tune_packs is None else "on" if tune_packs else "off",
        "certificate.reference": reference,
        "certificate.target": target,
        "certificate.confidence": confidence,
        "certificate.per": None if per is None else per.value,
        "certificate.on_drift": None if on_drift is None else on_drift.value,
        "certificate.missing_at_random": missing_at_random or None,
        "ask.deadline": deadline,
        "budget.usd": budget,
        "pack.fixed": pack_size,
        "prompt.redact": redact or None,
        "dedup.near": None if near is None else near.value,
        "cache.memory.enabled": False if no_cache else None,
        "cache.similar.enabled": False if no_cache else None,
        "cache.archive.enabled": False if no_cache else None,
        "columns.text": text_column,
        "columns.title": title_column,
        "columns.id": id_column,
        "columns.label": label_column,
        "columns.tenant": tenant_column,
        "columns.category": category_column,
        "columns.priority": priority_column,
        "columns.label_map": label_map,
        **(processing.NAIVE if naive else {}),
    }
    merged, settings = config.load(flags, file=config_file)
    settings = (*settings, runs.home_setting(home))
    as_json = as_json or format_ is Format.JSON
    if show_config:
        _show_settings(settings, as_json=as_json)
        return
    if not tables:
        raise UsageError("name a table: reviewopt process reviews.parquet (reviewopt process --help shows more)")
    named = opening_paid.named(merged, settings)
    proving = opening_reference.wanted(merged)
    is_paid = bool(named.rungs or named.voters) or (proving is not None and proving.kind == "model")
    if proving is not None and (strategy is not None or naive):
        raise UsageError("--target finds the mix itself: it goes without --strategy and without --naive")
    if not is_paid and (naive or dry_run or budget is not None or deadline is not None):
        raise UsageError("--naive, --dry-run, --budget and --deadline are about asking a model: name it with --model")
    if strategy is not None and not named.is_ladder:
        raise UsageError("--strategy is about a ladder of models: name them from cheap to dear with --models A,B")
    if not is_paid and tune_packs:
        raise UsageError("--tune-packs is about asking a model: name it with --model")
    if naive and (named.is_ladder or named.voters):
        raise UsageError("--naive asks one model: name it with --model")
    choices = Choices(
        tables=tuple(tables), output=output, force=force, home=runs.home_folder(home), stdin_format=stdin_format,
        naive=naive, dry_run=dry_run, yes=yes, retry_failures=retry_failures, quiet=quiet,
    )  # fmt: skip
    labelled = processing.run(choices, merged, settings, _task(merged.process.task, question, labels))
    if isinstance(labelled, Plan):
        _show_plan(labelled, as_json=as_json, quiet=quiet)
        return
    made = report.of_run(labelled, choices.home.path)
    _show(made, to_stderr=labelled.output == write.STDOUT, quiet=quiet, as_json=as_json)
    processing.check_complete(labelled, allow_failures=allow_failures)
    processing.check_proven(labelled)


def _task(name: str, question: str | None, labels: str | None) -> Task:
    if question is None and labels is None:
        return config.load_task(name)
    if question is None or labels is None:
        raise UsageError("--ask and --labels go together: --ask 'What is it about?' --labels billing,shipping,other")
    return config.inline_task(question, labels)


def _show_settings(settings: Sequence[Setting], *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(settings), indent=2).decode())
    else:
        terminal.show_settings(console(), settings)


def _show(made: report.Report, *, to_stderr: bool, quiet: bool, as_json: bool) -> None:
    if as_json:
        print(report.to_json(made), file=sys.stderr if to_stderr else sys.stdout)
    elif not quiet:
        shown = console(stderr=to_stderr)
        terminal.show_report(shown, made)
        hint = "next: reviewopt report --json, for a program; reviewopt train --help, for a model of your own"
        shown.print(Text(hint), soft_wrap=True)


def _show_plan(plan: Plan, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(plan), indent=2).decode())
    elif not quiet:
        asking.show_plan(console(), plan)
