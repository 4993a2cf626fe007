"""`reviewopt report`: print what a run did, cost and found, and hold it against limits and an earlier run."""

from __future__ import annotations

import io
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from reviewopt import config, report, runs
from reviewopt.cli.output import HomeOption, JsonOption, console
from reviewopt.cli.reporting import check_output, write_report
from reviewopt.errors import GateError, InputError, UsageError
from reviewopt.report import Report
from reviewopt.report.limits import FLAGS, limits

_SUMMARY: Final = "GITHUB_STEP_SUMMARY"


class ReportFormat(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    GITHUB = "github"


def command(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run's ID, folder or file; without it the latest.")
    ] = None,
    min_accuracy: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Exit 1 unless at least this share is proven to be right: .95. Judged by the lower bound.",
        ),
    ] = None,
    max_cost: Annotated[
        str | None, typer.Option(metavar="USD", help="Exit 1 if models and machine cost more, or nobody knows.")
    ] = None,
    max_cost_per_1k: Annotated[
        str | None, typer.Option("--max-cost-per-1k", metavar="USD", help="The same for 1,000 reviews.")
    ] = None,
    min_hit_rate: Annotated[
        str | None, typer.Option(metavar="SHARE", help="The least share of look-ups that the cache answers.")
    ] = None,
    min_throughput: Annotated[
        str | None, typer.Option(metavar="N", help="The fewest reviews a second, over the whole run.")
    ] = None,
    max_failures: Annotated[
        str | None, typer.Option(metavar="N", help="The most reviews without an answer: 20, or 1%.")
    ] = None,
    max_p95_latency: Annotated[
        str | None, typer.Option("--max-p95-latency", metavar="SECONDS", help="Of the requests to models.")
    ] = None,
    max_regression: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="The most by which a figure may be worse than the baseline's: 5%."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="RUN", help="An earlier run to compare with: its ID, folder or file.")
    ] = None,
    format_: Annotated[
        ReportFormat,
        typer.Option("--format", help="Tables, JSON, Markdown, JUnit XML, or GitHub's job summary and annotations."),
    ] = ReportFormat.TABLE,
    as_json: JsonOption = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the report there instead.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a FILE that is no report.")] = False,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings, [gates] too; else reviewopt.toml.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Print what a run did, cost and found, and exit 1 where it breaks a limit or a figure for one is missing.

    \b
    reviewopt report                      the latest run, as tables
    reviewopt report --json               the same for a program
    reviewopt report --min-accuracy .95   a gate for CI: exit 1 unless so much is proven
    reviewopt report --baseline 20260101-120000-000000 --max-regression 5% --format github
    """
    flags = {
        "gates.min_accuracy": min_accuracy,
        "gates.max_cost_usd": max_cost,
        "gates.max_cost_per_1k_usd": max_cost_per_1k,
        "gates.min_hit_rate": min_hit_rate,
        "gates.min_throughput": min_throughput,
        "gates.max_failures": max_failures,
        "gates.max_p95_latency_s": max_p95_latency,
        "gates.max_regression": max_regression,
    }
    for name, value in flags.items():
        if value is not None and not value.strip():
            flag = FLAGS[name.removeprefix("gates.")]
            raise UsageError(f"{flag} is empty, as an unset variable is: leave it out where there is no limit")
    merged, settings = config.load(flags, file=config_file)
    held = limits(merged.gates, settings)
    place = runs.home_folder(home)
    record = place.find(run)
    before = None if baseline is None else place.find(baseline)
    if before is not None and before.samefile(record):
        raise UsageError(f"--baseline {baseline} is the run itself: name an earlier one")
    if output is not None:
        check_output(output, force=force, records=[one for one in (record, before) if one is not None])
    made = report.make(record, baseline=before, limits=held)
    chosen = ReportFormat.JSON if as_json else format_
    content = _content(made, chosen)
    if output is not None:
        write_report(output, content)
        print(f"the report is in {output}", file=sys.stderr)
    if chosen is ReportFormat.GITHUB:
        _tell_github(made, content, is_written=output is not None)
    elif output is None and chosen is ReportFormat.TABLE:
        _show(made)
    elif output is None:
        print(content, end="")
    breaches = report.breaches(made.gates)
    if breaches is not None:
        raise GateError(breaches)


def _content(made: Report, chosen: ReportFormat) -> str:
    from reviewopt.render import junit, terminal
    from reviewopt.render import report as render

    if chosen is ReportFormat.JSON:
        return f"{report.to_json(made)}\n"
    if chosen is ReportFormat.JUNIT:
        return junit.xml(made)
    if chosen is ReportFormat.TABLE:
        file = io.StringIO()
        to_file = console(file=file)
        terminal.show_report(to_file, made)
        render.show_judged(to_file, made)
        return file.getvalue()
    return render.markdown(made)


def _show(made: Report) -> None:
    from reviewopt.render import report as render
    from reviewopt.render import terminal

    shown = console()
    terminal.show_report(shown, made)
    render.show_judged(shown, made)


def _tell_github(made: Report, content: str, *, is_written: bool) -> None:
    """Append to the job's summary and print the annotations; off GitHub print what would have been the summary.

    Raises:
        InputError: the summary cannot be written.
    """
    from reviewopt.render import report as render

    if summary := os.environ.get(_SUMMARY):
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(content)
        except OSError as error:
            raise InputError(f"cannot write the job's summary to {summary}: {error}") from error
    elif not is_written:
        print(f"{_SUMMARY} is not set: this is no job of GitHub's, and its summary follows", file=sys.stderr)
        print(content)
    print(render.commands(made), end="")
