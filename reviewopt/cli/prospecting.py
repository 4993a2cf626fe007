"""What `reviewopt plan` does once its options are read: a plan for each variant, as `process --dry-run` makes it."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from rich.text import Text

from reviewopt import config as settings_of
from reviewopt import pricelist, prices, prospect
from reviewopt.cli import opening, opening_paid, price_sources, processing
from reviewopt.cli.output import console
from reviewopt.config import Setting
from reviewopt.errors import ModelError, UsageError
from reviewopt.hosting import facts
from reviewopt.job import price_of_a_local_answer
from reviewopt.models.kinds import parse_spec
from reviewopt.prospect import Kind, Prospect, TableFacts, Variant, Wish
from reviewopt.record import Plan, Range, UsdRange
from reviewopt.route import STRATEGIES
from reviewopt.runs import Home
from reviewopt.settings import Config, Strategy
from reviewopt.task import Task

# Named where the user's settings name none: two of one vendor, so that a ladder has two prices.
EXAMPLE: Final = ("openai:gpt-5-nano", "openai:gpt-5-mini")
# A promise of accuracy has a plan of its own, which holds no strategy: `process --target --dry-run`.
_NO_PROMISE: Final[Mapping[str, Any]] = {"certificate.target": 0.0, "certificate.reference": ""}
_LINE_EVERY_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the command line says beside hosting; `models` as they were typed, None where nobody named one."""

    tables: tuple[str, ...]
    models: str | None
    flags: Mapping[str, Any]
    config_file: Path | None
    home: Home
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """One variant, and the flags of `process` that make it."""

    kind: Kind
    models: tuple[str, ...]
    strategy: Strategy | None = None
    flags: Mapping[str, Any]
    options: tuple[str, ...]

    @property
    def alike(self) -> tuple[object, ...]:
        """Equal for variants of one plan: what a strategy mends while a run goes on is not known before it."""
        rules = None if self.strategy is None else replace(STRATEGIES[self.strategy], replans=False)
        return self.kind, self.models, rules


def run(choices: Choices, wish: Wish) -> Prospect:
    """Plan every variant, and weigh hosting against them.

    Raises:
        ReviewoptError: as `process --dry-run` would, or what is no code of a country.
    """
    known = facts.read()
    if not re.fullmatch("[A-Z]{2}", wish.country):
        raise UsageError(_no_country(wish.country, list(known.grids.gco2_per_kwh)))
    if opening.STDIN in choices.tables:
        raise UsageError(
            "the table is read once for each variant, and standard input can be read only once: name a file"
        )
    config, settings = settings_of.load(choices.flags, file=choices.config_file)
    names, is_example = _models(choices.models, config, settings)
    task = settings_of.load_task(config.process.task)
    specs = {name: parse_spec(name, config.models, os.environ) for name in names}
    priced = {name: prices.find(of_model, called).name for name, (called, of_model) in specs.items()}
    with _Progress(quiet=choices.quiet) as progress:
        table = _table_facts(choices, config, task, progress)
        wanted = list(_wanted(names, has_local=_has_local(config, task), climbs_from_local=config.ladder.local))
        made = list(_variants(wanted, choices, task, priced, _local(choices, config, settings, table), progress))
    return prospect.make(
        choices.tables,
        table,
        made,
        wish,
        known,
        pricelist.read().gpus,
        priced={name: price_sources.find(name) for name in priced.values()},
        is_example=is_example,
        billed_otherwise=frozenset(name for name, (_, one) in specs.items() if one.kind in prices.SERVICES),
        today=datetime.now(UTC).date(),
    )


def _variants(
    wanted: list[_Wanted],
    choices: Choices,
    task: Task,
    priced: Mapping[str, str],
    local: Variant,
    progress: _Progress,
) -> Iterator[Variant]:
    """Plan each variant; those that are alike share a plan."""
    plans: dict[object, Plan] = {}
    for at, one in enumerate(wanted, 1):
        progress.say(f"planning {at} of {len(wanted)}: {_called(one)}")
        if one.kind == "local":
            yield local
            continue
        if one.alike not in plans:
            plans[one.alike] = _planned(one, choices, task)
        yield _variant(one, plans[one.alike], choices, priced)


class _Progress:
    """Says on standard error what is planned: in one line that changes on a terminal, now and then elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = console(stderr=True, quiet=quiet)
        self._status = self._console.status("") if self._console.is_terminal and not quiet else None
        self._said_s = time.monotonic()

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def note(self, line: str) -> None:
        """Print a line that stays."""
        self._console.print(Text(line), soft_wrap=True)

    def say(self, line: str) -> None:
        """Show what is done now."""
        if self._status is not None:
            self._status.update(Text(line))
        elif time.monotonic() - self._said_s >= _LINE_EVERY_S:
            self._said_s = time.monotonic()
            self.note(line)


def _models(named: str | None, config: Config, settings: tuple[Setting, ...]) -> tuple[tuple[str, ...], bool]:
    """Return the models to plan for, from cheap to dear, and whether nobody named them.

    Raises:
        UsageError: a name twice, or an empty one.
    """
    if named is not None:
        names = tuple(one.strip() for one in named.split(","))
        if not all(names) or len(set(names)) < len(names):
            raise UsageError(f"--models {named}: name each model once, parted by commas, from cheap to dear")
        return names, False
    of_settings = opening_paid.named(config, settings).rungs or tuple(config.models)
    return (of_settings, False) if of_settings else (EXAMPLE, True)


def _wanted(names: tuple[str, ...], *, has_local: bool, climbs_from_local: bool) -> Iterator[_Wanted]:
    """Name the variants: the local model alone, each model alone and in packs, the ladder by each strategy."""
    if has_local:
        yield _Wanted(kind="local", models=(), flags={}, options=())
    for name in names:
        alone = {"ask.model": name}
        yield _Wanted(
            kind="naive", models=(name,), flags={**alone, **processing.NAIVE}, options=("--model", name, "--naive")
        )
        yield _Wanted(kind="packs", models=(name,), flags=alone, options=("--model", name))
    if len(names) == 1 and not (has_local and climbs_from_local):  # a ladder of one rung is that model alone
        return
    for strategy in STRATEGIES:
        models = ",".join(names)
        yield _Wanted(
            kind="ladder",
            models=names,
            strategy=strategy,
            flags={"ladder.models": models, "ladder.strategy": strategy},
            options=("--models", models, "--strategy", strategy),
        )


def _called(one: _Wanted) -> str:
    of = f"by {one.strategy}, {', '.join(one.models)}" if one.strategy else ", ".join(one.models)
    return f"{one.kind} {of}".rstrip()


def _planned(one: _Wanted, choices: Choices, task: Task) -> Plan:
    """Plan one variant as `process --dry-run` does."""
    flags = {**choices.flags, **_NO_PROMISE, **one.flags}
    config, settings = settings_of.load(flags, file=choices.config_file)
    dry = processing.Choices(
        tables=choices.tables, output=None, force=False, home=choices.home, stdin_format=None,
        naive=one.kind == "naive", dry_run=True, yes=True, retry_failures=False, quiet=True,
    )  # fmt: skip
    return processing.planned(dry, config, settings, task)


def _variant(one: _Wanted, plan: Plan, choices: Choices, priced: Mapping[str, str]) -> Variant:
    return Variant(
        kind=one.kind,
        models=one.models,
        strategy=one.strategy,
        command=_command(choices, one),
        prices=tuple(priced[name] for name in one.models),
        usd=plan.usd,
        seconds=plan.seconds,
        basis=plan.basis,
        plan=plan,
    )


def _local(choices: Choices, config: Config, settings: tuple[Setting, ...], table: TableFacts) -> Variant:
    """Say what the local model takes: nothing is asked, and the machine's time is all that it costs."""
    own = {one.name for one in settings if one.origin != "default"}
    whose = "of your settings" if {"machine.usd_per_hour", "machine.local_reviews_per_s"} <= own else "chosen"
    machine = config.machine
    usd = f"{table.n_texts * price_of_a_local_answer(config):f}"
    seconds = table.n_texts / machine.local_reviews_per_s
    return Variant(
        kind="local",
        models=(),
        strategy=None,
        command=_command(choices, None),
        prices=(),
        usd=UsdRange(low=usd, expected=usd, high=usd),
        seconds=Range(low=seconds, expected=seconds, high=seconds),
        basis=(
            f"{machine.local_reviews_per_s:,.0f} reviews/s on one core and ${machine.usd_per_hour} an hour, {whose}, "
            "not measured here ([machine]); reading and writing aside"
        ),
        plan=None,
    )


def _command(choices: Choices, one: _Wanted | None) -> str:
    return shlex.join(["reviewopt", "process", *choices.tables, *(() if one is None else one.options)])


def _has_local(config: Config, task: Task) -> bool:
    """Whether the local model can answer the task.

    Raises:
        ModelError: the user named its file, and it cannot.
    """
    try:
        opening.local_model(config.process.local_model, task)
    except ModelError:
        if config.process.local_model:
            raise
        return False
    return True


def _table_facts(choices: Choices, config: Config, task: Task, progress: _Progress) -> TableFacts:
    """Read the table once, for how complex its reviews are."""
    with opening.table(config, choices.tables, task) as table:
        for note in table.notes:
            progress.note(note)
        return prospect.table_facts(table, lambda n_rows: progress.say(f"reading: {n_rows:,} reviews"))


def _no_country(country: str, known: list[str]) -> str:
    near = difflib.get_close_matches(country, known, n=1, cutoff=0.5)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"--country {country}: name a country by its two letters{meant}; known are: {', '.join(known)}"
