"""The settings of each run of a comparison, and what `reviewopt process` would be told for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from msgspec import structs

from reviewopt import config
from reviewopt.benchmark import Spec
from reviewopt.cli import processing
from reviewopt.config import Setting
from reviewopt.runs import Home
from reviewopt.settings import Config

# What makes a model's plan one of that model alone, whatever our own side is made of.
_ALONE: Final = {
    "ladder.models": "",
    "ladder.ensemble": "",
    "certificate.reference": "",
    "certificate.target": 0.0,
    "pack.tune": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the command line says besides the settings."""

    tables: tuple[str, ...]
    vs: str
    monthly: int | None
    live: bool
    n_live: int
    language: str
    runs: tuple[str, ...]
    label_usd: Decimal | None
    output: Path | None
    home: Home
    home_setting: Setting
    config_file: Path | None
    yes: bool
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one run of the comparison."""

    config: Config
    origins: tuple[Setting, ...]


def settings_of(choices: Choices, flags: Mapping[str, Any]) -> Settings:
    """Merge the settings of one run of the comparison."""
    merged, origins = config.load(dict(flags), file=choices.config_file)
    return Settings(config=merged, origins=(*origins, choices.home_setting))


def is_naive(spec: Spec) -> bool:
    """Whether a rival is asked one request a row."""
    return spec.form in {"naive", "batch", "flex"}


def asked_alone(spec: Spec, choices: Choices, flags: Mapping[str, Any], more: Mapping[str, Any]) -> Settings:
    """Return the settings by which a rival that is a model is asked alone, whatever our own side is made of."""
    merged = settings_of(
        choices,
        {**flags, **_ALONE, "ask.model": spec.model, **more},
    )
    if spec.settings is None:
        return merged
    models = {**merged.config.models, spec.name: spec.settings}
    asked = structs.replace(merged.config.ask, model=spec.name)
    return replace(merged, config=structs.replace(merged.config, models=models, ask=asked))


def as_process(
    choices: Choices,
    table: Path | None = None,
    *,
    output: Path | None = None,
    is_naive: bool = False,
    is_of_rival: bool = False,
    not_before_s: float = -math.inf,
    yes: bool = False,
    quiet: bool = True,
) -> processing.Choices:
    """Return what `reviewopt process` would be told: of the comparison's table, or of another one.

    What people and labelled history said is no answer of a rival's. Answers from before `not_before_s`, Unix time, are
    asked again.
    """
    return processing.Choices(
        tables=choices.tables if table is None else (str(table),), output=output, force=output is not None,
        home=choices.home, stdin_format=None, naive=is_naive, dry_run=False, yes=yes or choices.yes,
        retry_failures=False, quiet=quiet or choices.quiet, with_given=not is_of_rival, not_before_s=not_before_s,
        is_of_rival=is_of_rival,
    )  # fmt: skip
