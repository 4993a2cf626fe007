"""`reviewopt benchmark`: the same reviews at a rival's price, speed and quality."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reviewopt import benchmark, runs
from reviewopt.cli import benchmarking
from reviewopt.cli.opening_rivals import Choices
from reviewopt.cli.output import HomeOption, JsonOption, QuietOption, console
from reviewopt.cli.process import StrategyChoice
from reviewopt.render import benchmark as render

_COLUMN = "COLUMN"


class BenchmarkFormat(StrEnum):
    """How the comparison is printed."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def command(
    tables: Annotated[
        list[str] | None,
        typer.Argument(metavar="TABLE", show_default=False, help="Your reviews; without one the packaged sample."),
    ] = None,
    vs: Annotated[
        str,
        typer.Option(
            "--vs",
            metavar="A,B,C",
            help="Rivals: aws, google, azure, a model, or naive:, decisions:, batch:, flex: and a model.",
        ),
    ] = "aws",
    monthly: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Reviews a month (default: as many as the table has).")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Really ask the rivals, about a sample: it costs money, said first.")
    ] = False,
    live_sample: Annotated[
        int, typer.Option("--live-sample", metavar="N", min=1, max=100_000, help="Reviews of that sample.")
    ] = 500,
    language: Annotated[
        str, typer.Option(metavar="CODE", help="With --live: the language that a service is told.")
    ] = "en",
    run: Annotated[
        list[str] | None,
        typer.Option("--run", metavar="RUN", help="Take a recorded run of this table instead of labelling it anew."),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Our side: ask this model.")] = None,
    models: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Our side: a ladder, from cheap to dear, after the local one.")
    ] = None,
    strategy: Annotated[StrategyChoice | None, typer.Option(help="Our side: what counts most in the ladder.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="WHO", help="Our side, certified too: against a MODEL, column:NAME or a human."),
    ] = None,
    target: Annotated[
        float | None, typer.Option(metavar="SHARE", help="The share of labels that must be the reference's: .95.")
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(metavar="SHARE", help="How sure that must be (default: .95).")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="USD", min=0, help="What each run of this comparison may spend at most.")
    ] = None,
    label_usd: Annotated[
        float | None, typer.Option(metavar="USD", min=0, help="What a label by a person costs you, for --reference.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start, whatever it costs.")] = False,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1024, help="Requests at a time, at most (default: 8).")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N rows.")] = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="A packaged task (sentiment) or a .toml file.")
    ] = None,
    text_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The text; else found by name.")] = None,
    title_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The title, or `none`.")] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar=_COLUMN, help="Labels or stars, to measure accuracy.")
    ] = None,
    label_map: Annotated[
        str | None, typer.Option(metavar="MAP", help="What its values mean: '1-4=negative, 5-10=positive'.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Keep the labels of our plain run there.")
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings; else reviewopt.toml.")
    ] = None,
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: Annotated[
        BenchmarkFormat, typer.Option("--format", help="Tables for people, JSON for programs, or Markdown.")
    ] = BenchmarkFormat.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Compare a run of yours with cloud services and language models, on the same reviews. Works offline.

    \b
    reviewopt benchmark reviews.parquet --vs aws,google,azure --monthly 1000000
    reviewopt benchmark reviews.parquet --vs naive:openai:gpt-4o,batch:openai:gpt-4o --models cheap,strong
    reviewopt benchmark reviews.parquet --vs aws --live --live-sample 500 --label-column rating
    """
    flags = {
        "process.task": task,
        "process.limit": limit,
        "ask.model": model,
        "ask.threads": threads,
        "ladder.models": models,
        "ladder.strategy": None if strategy is None else strategy.value,
        "certificate.reference": reference,
        "certificate.target": target,
        "certificate.confidence": confidence,
        "budget.usd": budget,
        "columns.text": text_column,
        "columns.title": title_column,
        "columns.label": label_column,
        "columns.label_map": label_map,
    }
    choices = Choices(
        tables=tuple(tables or ()), vs=vs, monthly=monthly, live=live, n_live=live_sample, language=language,
        runs=tuple(run or ()), label_usd=None if label_usd is None else Decimal(str(label_usd)), output=output,
        home=runs.home_folder(home), home_setting=runs.home_setting(home), config_file=config_file, yes=yes,
        quiet=quiet,
    )  # fmt: skip
    made, error = benchmarking.run(choices, flags)
    if as_json or format_ is BenchmarkFormat.JSON:
        print(benchmark.to_json(made))
    elif format_ is BenchmarkFormat.MARKDOWN:
        print(render.markdown(made), end="")
    else:
        render.show(console(), made)
    if error is not None:
        raise error
