"""`reviewopt plan`: what labelling a table would cost with each strategy, and on hardware of one's own."""

from __future__ import annotations

import math
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from reviewopt import runs
from reviewopt.cli import prospecting
from reviewopt.cli.output import Format, FormatOption, HomeOption, JsonOption, QuietOption, console
from reviewopt.cli.prospecting import Choices
from reviewopt.errors import UsageError
from reviewopt.prospect import Wish
from reviewopt.render import prospect as render

_COLUMN = "COLUMN"


class UrgencyChoice(StrEnum):
    """How soon the labels are needed."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


def command(
    tables: Annotated[
        list[str],
        typer.Argument(
            metavar="TABLE", help="Tables to label: whatever `process` reads but standard input.", show_default=False
        ),
    ],
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Plan for this model: a [models.NAME] or openai:MODEL.")
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="Plan for several, from cheap to dear (default: those of your settings)."),
    ] = None,
    monthly: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Reviews to ask a month (default: those of the table).")
    ] = None,
    hosted_model_b: Annotated[
        float,
        typer.Option(
            "--hosted-model-b",
            metavar="B",
            min=0.1,
            max=2000,
            help="Parameters of the model that would be hosted, in billions.",
        ),
    ] = 8.0,
    urgency: Annotated[
        UrgencyChoice,
        typer.Option(help="low: GPUs that may be taken away (spot) will do; high: the fastest, from a large cloud."),
    ] = UrgencyChoice.NORMAL,
    hardware_usd_per_hour: Annotated[
        float | None, typer.Option("--hardware-usd-per-hour", metavar="USD", min=0, help="The most for a GPU's hour.")
    ] = None,
    utilisation: Annotated[
        float, typer.Option(metavar="SHARE", min=0.01, max=1, help="The share of its hours that a GPU works.")
    ] = 0.5,
    country: Annotated[str, typer.Option(metavar="CODE", help="Where it would stand: US, DE, FR, ...")] = "US",
    electricity_usd: Annotated[
        float | None,
        typer.Option("--electricity-usd", metavar="USD", min=0, help="Your price of a kWh (default: the country's)."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="A packaged task (sentiment) or a .toml file.")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N rows.")] = None,
    text_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The text; else found by name.")] = None,
    title_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The title, or `none`.")] = None,
    id_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The review's id.")] = None,
    label_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="Labels or stars.")] = None,
    tenant_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The brand, client or store.")] = None,
    category_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The category.")] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings; else reviewopt.toml.")
    ] = None,
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Say what labelling a table would cost with each strategy, and on hardware of your own. Nothing is asked.

    \b
    reviewopt plan reviews.parquet
    reviewopt plan reviews.parquet --models small,large --monthly 2000000
    reviewopt plan reviews.parquet --hosted-model-b 70 --urgency low --country DE --electricity-usd .18
    """
    if model is not None and models is not None:
        raise UsageError("--model plans for one model, --models for several from cheap to dear: name one of the two")
    for option, number in (("--utilisation", utilisation), ("--hosted-model-b", hosted_model_b)):
        if math.isnan(number):
            raise UsageError(f"{option} {number}: name a number")
    made = prospecting.run(
        Choices(
            tables=tuple(tables),
            models=models or model,
            flags={
                "process.task": task,
                "process.limit": limit,
                "columns.text": text_column,
                "columns.title": title_column,
                "columns.id": id_column,
                "columns.label": label_column,
                "columns.tenant": tenant_column,
                "columns.category": category_column,
            },
            config_file=config_file,
            home=runs.home_folder(home),
            quiet=quiet,
        ),
        Wish(
            model_b=hosted_model_b,
            n_monthly=monthly,
            urgency=urgency.value,
            usd_per_hour_max=_written("--hardware-usd-per-hour", hardware_usd_per_hour),
            utilisation=utilisation,
            country=country.upper(),
            usd_per_kwh=_written("--electricity-usd", electricity_usd),
        ),
    )
    if as_json or format_ is Format.JSON:
        print(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())
    elif not quiet:
        render.show_prospect(console(), made)


def _written(option: str, usd: float | None) -> str | None:
    """Write an amount out, as money is kept.

    Raises:
        UsageError: it is infinite, or no number.
    """
    if usd is None:
        return None
    if not math.isfinite(usd):
        raise UsageError(f"{option} {usd}: name an amount of USD")
    return f"{Decimal(repr(usd)).normalize():f}"
