"""`reviewopt prices`: what costs are worked out from, how old it is, and who says so."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from reviewopt import pricelist
from reviewopt.cli.output import Format, FormatOption, JsonOption, console
from reviewopt.errors import GateError, InputError
from reviewopt.pricelist import Listing, PriceList


def command(
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit 1 if a price is too old to rely on, or the list is damaged."),
    ] = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List the prices that costs are worked out from, with their age and source.

    Cloud services, GPUs, and the models that genai-prices does not list. Your own price of a model, in [models.NAME],
    beats them all.

    \b
    reviewopt prices             the list
    reviewopt prices --check     in CI: exit 1 once a price is older than half a year
    reviewopt prices --json      the same for a program
    """
    listed = pricelist.listing(_read(is_check=check), datetime.now(UTC).date())
    if as_json or format_ is Format.JSON:
        print(msgspec.json.format(msgspec.json.encode(listed), indent=2).decode())
    else:
        from reviewopt.render import prices as render

        render.show_prices(console(), listed)
    if check:
        _check(listed)


def _read(path: Path | None = None, *, is_check: bool) -> PriceList:
    """Read the list; what a check finds damaged is what it was asked about, and no fault of the input."""
    try:
        return pricelist.read(path)
    except InputError as error:
        if is_check:
            raise GateError(str(error)) from error
        raise


def _check(listed: Listing) -> None:
    stale = [age for age in listed.ages if age.is_stale]
    if stale:
        raise GateError(
            f"{len(stale)} of {len(listed.ages)} prices are not of the last {listed.most_age_days} days:"
            f" {'; '.join(map(pricelist.told, stale))}; compare them with their sources, or install a newer reviewopt"
        )
