"""`reviewopt certify`: prove how accurate the labels of a table are, whoever made them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from reviewopt import config, runs
from reviewopt.attempts import FOLDER
from reviewopt.certificate import Certificate
from reviewopt.cli import certifying
from reviewopt.cli.opening_labels import Choices
from reviewopt.cli.output import Format, FormatOption, HomeOption, JsonOption, QuietOption, console
from reviewopt.cli.process import PerChoice
from reviewopt.errors import GateError, InputError, UsageError
from reviewopt.record import Plan
from reviewopt.render import asking
from reviewopt.render import certificate as render
from reviewopt.runs import Home

_COLUMN = "COLUMN"


def command(
    tables: Annotated[
        list[str], typer.Argument(metavar="TABLE", help="Tables that have labels already.", show_default=False)
    ],
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="WHO", help="Whose labels they should be: a MODEL's, column:NAME, or a human's (reviewopt review)."
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
    answer_column: Annotated[
        str | None,
        typer.Option(metavar=_COLUMN, help="The labels to certify (default: named as the task's field: sentiment)."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.json", help="Write the certificate there too.")
    ] = None,
    reviewed: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="With --reference human: the table of the same rows that people answered."),
    ] = None,
    missing_at_random: Annotated[
        bool,
        typer.Option(
            "--missing-at-random", help="The gaps of the reference's column have nothing to do with the texts."
        ),
    ] = False,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="A packaged task (sentiment) or a .toml file.")
    ] = None,
    text_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The text; else found by name.")] = None,
    title_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The title, or `none`.")] = None,
    tenant_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The brand, client or store.")] = None,
    category_column: Annotated[str | None, typer.Option(metavar=_COLUMN, help="The category.")] = None,
    label_map: Annotated[
        str | None, typer.Option(metavar="MAP", help="What labels in other words mean: 'bad=negative, 4-5=positive'.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="USD", min=0, help="What asking a model may spend at most.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what asking would take and cost, and ask nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start, whatever the plan costs.")] = False,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings; else reviewopt.toml.")
    ] = None,
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Certify the labels of a table, whoever made them: nothing is labelled, and nothing is changed.

    \b
    reviewopt certify labelled.csv --reference column:stars --target .9
    reviewopt certify theirs.parquet --answer-column prediction --reference openai:gpt-5 --target .95
    reviewopt certify labelled.csv --reference human --target .95      after reviewopt review labelled.csv
    """
    flags = {
        "process.task": task,
        "certificate.reference": reference,
        "certificate.target": target,
        "certificate.confidence": confidence,
        "certificate.per": None if per is None else per.value,
        "certificate.missing_at_random": missing_at_random or None,
        "budget.usd": budget,
        "columns.text": text_column,
        "columns.title": title_column,
        "columns.tenant": tenant_column,
        "columns.category": category_column,
        "columns.label_map": label_map,
    }
    merged, settings = config.load(flags, file=config_file)
    place = runs.home_folder(home)
    if output is not None:
        _check_output(output)
    choices = Choices(
        tables=tuple(tables), answer_column=answer_column, reviewed=reviewed, home=place, dry_run=dry_run, yes=yes,
        quiet=quiet,
    )  # fmt: skip
    made = certifying.run(choices, merged, settings, config.load_task(merged.process.task))
    as_json = as_json or format_ is Format.JSON
    if isinstance(made, Plan):
        _show_plan(made, as_json=as_json, quiet=quiet)
        return
    path = _keep(place, made)
    content = msgspec.json.format(msgspec.json.encode(made), indent=2)
    if output is not None:
        _write(output, content)
    if as_json:
        print(content.decode())
    elif not quiet:
        render.show_certificate(console(), made)
        console().print(f"  kept in {output or path}", soft_wrap=True, markup=False, highlight=False)
    if not made.is_met:
        low = "nothing is proven" if made.accuracy_low is None else f"{render.at_least(made.accuracy_low)} is proven"
        raise GateError(f"not certified at {100 * made.target:g} %: {low}; {made.reason}")


def _check_output(path: Path) -> None:
    """Check that nothing but an earlier certificate would be lost.

    Raises:
        UsageError: the file is something else, or there is no such folder.
    """
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}; make it first or name another file with -o")
    if not path.exists():
        return
    try:
        msgspec.json.decode(path.read_bytes(), type=Certificate)
    except (OSError, msgspec.DecodeError):
        raise UsageError(f"{path} exists and is no certificate: it is kept; name another file with -o") from None


def _keep(home: Home, made: Certificate) -> Path:
    """Write the certificate into the home, under the promise that it is about; the latest one of a promise is kept."""
    told = msgspec.json.encode((made.policy_hash, made.reference, made.target, made.confidence, made.per))
    path = home.path / FOLDER / f"{hashlib.sha256(told).hexdigest()[:16]}.json"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(path, msgspec.json.format(msgspec.json.encode(made), indent=2))
    return path


def _write(path: Path, content: bytes) -> None:
    """Replace a file, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content + b"\n")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"cannot write the certificate to {path}: {error}") from error


def _show_plan(plan: Plan, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(plan), indent=2).decode())
    elif not quiet:
        asking.show_plan(console(), plan)
