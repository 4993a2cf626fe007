"""What `reviewopt benchmark` does once its options are read: measure the table, price the rivals, run, compare."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec import structs

from reviewopt import benchmark, config, pricelist, prices, runs, services
from reviewopt.benchmark import Benchmark, Billed, Measured, Reviews, Spec
from reviewopt.cli import benchmarking_live, opening, opening_paid, opening_reference, processing
from reviewopt.cli.opening_rivals import Choices, as_process, asked_alone, is_naive, settings_of
from reviewopt.cli.output import console
from reviewopt.errors import BudgetError, GateError, InputError, ModelError, ReviewoptError, UsageError
from reviewopt.load import Table
from reviewopt.models.kinds import OPENAI_URL, parse_spec
from reviewopt.record import Run
from reviewopt.render.progress import ProgressDisplay
from reviewopt.services import Sizes
from reviewopt.settings import Config
from reviewopt.task import Task

_SAMPLE: Final = ("data", "sample_reviews.parquet")
_SENTIMENTS: Final = frozenset({"negative", "neutral", "positive"})


def run(choices: Choices, flags: Mapping[str, Any]) -> tuple[Benchmark, ReviewoptError | None]:
    """Compare our own runs of the tables with the rivals.

    Returns:
        The comparison, and what went wrong on the way that its reader should know by the exit code too.

    Raises:
        ReviewoptError: as the errors' tree says; what was answered until then is kept.
    """
    called = choices.tables or ("the packaged sample",)
    if not choices.tables:
        choices = replace(choices, tables=(str(config.packaged(*_SAMPLE)),))
    if opening.STDIN in choices.tables:
        raise UsageError("standard input can be read once only, and a comparison reads it more often: name a file")
    settings = settings_of(choices, flags)
    task = config.load_task(settings.config.process.task)
    openai_url = os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
    specs = benchmark.parse(choices.vs, pricelist.read().services, settings.config.models, openai_url)
    _check(specs, task, choices, settings.config)
    _check_own(choices, flags, task)
    failed: list[str] = []
    with ExitStack() as opened:
        table = opened.enter_context(opening.table(settings.config, choices.tables, task))
        reviews, sizes = _measured(table, called, choices)
        monthly = choices.monthly or sizes.n_rows
        billed = [_billed(spec, sizes, monthly, choices, flags, task) for spec in specs]
        choices.home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="not-kept-", dir=choices.home.path)))
        questions = None
        if choices.live:
            questions = benchmarking_live.prepare(choices, flags, specs, table, task=task, folder=folder)
        measured, made = _own(choices, flags, task, reviews, monthly, folder)
        if questions is not None:
            billed, failed = benchmarking_live.ask(choices, questions, billed, made, task.labels)
    notes = [*_notes(table, next(iter(made.values()))), *failed]
    return benchmark.make(reviews, measured, billed, notes, monthly=choices.monthly), _error(made, failed)


def _error(made: Mapping[str, Run], failed: Sequence[str]) -> ReviewoptError | None:
    """Say what the exit code should tell: rivals that could not be asked, or a promise that is not met."""
    if failed:
        return ModelError(f"not every rival could be asked: {'; '.join(failed)}")
    for run in made.values():
        if run.certificate is not None and not run.certificate.is_met:
            return GateError(f"our run is not certified at {run.certificate.target:g}: {run.certificate.reason}")
    return None


def _check(specs: tuple[Spec, ...], task: Task, choices: Choices, settings: Config) -> None:
    """Refuse what cannot be compared before anything is read or asked.

    Raises:
        UsageError: a service that answers another question than the task, or a rival that is no live one.
    """
    for spec in specs:
        if spec.service is not None and not {"negative", "positive"} <= set(task.labels) <= _SENTIMENTS:
            raise UsageError(
                f"--vs {spec.name}: a cloud service tells sentiment, and the task {task.name} asks for "
                f"{', '.join(task.labels)}; compare it with models: --vs naive:openai:gpt-5-nano"
            )
    if choices.runs and (settings.ask.model or settings.ladder.models or settings.certificate.reference):
        raise UsageError(
            "--run takes a recorded run as our side: it goes without a model or a reference, here and in the settings"
        )
    if choices.live:
        benchmarking_live.check(specs)


def _measured(table: Table, called: tuple[str, ...], choices: Choices) -> tuple[Reviews, Sizes]:
    """Read the table once, and count how long what would be sent is.

    Raises:
        InputError: no row has a text.
    """
    progress = ProgressDisplay(console(stderr=True, quiet=choices.quiet), quiet=choices.quiet)
    sizes, n_rows = Sizes.of([]), 0
    begun_s = time.perf_counter()
    with progress.showing("measuring"):
        for chunk in table.chunks():
            sizes += services.sizes(chunk.reviews["title"], chunk.reviews["text"])
            n_rows += chunk.reviews.height
            progress(n_rows, table.n_rows, time.perf_counter() - begun_s)
    if not sizes.n_rows:
        raise InputError(f"{', '.join(called)}: no row has a text, so there is nothing to compare")
    reviews = Reviews(
        names=called,
        n_rows=n_rows,
        n_reviews=sizes.n_rows,
        mean_characters=int((sizes.chars * sizes.counts).sum()) / sizes.n_rows,
        fingerprint=table.fingerprint(),
    )
    return reviews, sizes


# --- rivals ---------------------------------------------------------------------------------------------------------


def _billed(spec: Spec, sizes: Sizes, monthly: int, choices: Choices, flags: Mapping[str, Any], task: Task) -> Billed:
    """Price one rival; a model is planned as `process --dry-run` does, without what was ever answered before."""
    if spec.service is not None:
        return benchmark.of_service(spec, spec.service, sizes, monthly, today=datetime.now(UTC).date())
    naive = processing.NAIVE if is_naive(spec) else {}
    settings = asked_alone(spec, choices, flags, {**naive, "cache.archive.enabled": False})
    told = as_process(choices, is_naive=is_naive(spec), is_of_rival=True)
    plan = processing.planned(told, settings.config, settings.origins, task)
    name, found = parse_spec(settings.config.ask.model, settings.config.models, os.environ)
    return benchmark.of_model(spec, plan, sizes.n_rows, monthly, prices.find(found, name).name)


# --- our side -------------------------------------------------------------------------------------------------------


def _check_own(choices: Choices, flags: Mapping[str, Any], task: Task) -> None:
    """Refuse what our certified run would refuse, before the plain one is paid for; and an output that is there.

    Raises:
        UsageError: a target without a reference, a file that would be replaced, or columns that cannot be meant.
        InputError: the reference's column has no labels.
    """
    if choices.output is not None and choices.output.exists():
        raise UsageError(f"{choices.output} exists: it is kept; name another file with -o")
    config_of = settings_of(choices, flags).config
    found = opening_reference.wanted(config_of)
    if found is None:
        return
    if found.kind == "column":
        config_of = structs.replace(config_of, columns=structs.replace(config_of.columns, label=found.column))
    with opening.table(config_of, choices.tables, task) as table:
        opening_reference.check_columns(found, config_of, table)


def _own(
    choices: Choices, flags: Mapping[str, Any], task: Task, reviews: Reviews, monthly: int, folder: Path
) -> tuple[list[Measured], dict[str, Run]]:
    """Run our side: plainly, and certified too where a target is set; or take recorded runs of the same table.

    Returns:
        Each with its cost, and the records by name.
    """
    if choices.runs:
        made = _recorded(choices, reviews, task)
    else:
        plain = {**flags, "certificate.reference": "", "certificate.target": 0.0}
        made = _by_name([_run(choices, plain, task, choices.output or folder / "labelled.parquet")])
        if settings_of(choices, flags).config.certificate.target:
            made |= _by_name([_run(choices, flags, task, folder / "certified.parquet")])
    measured = [
        benchmark.of_run(run, name=name, monthly=monthly, label_usd=choices.label_usd) for name, run in made.items()
    ]
    return measured, made


def _run(choices: Choices, flags: Mapping[str, Any], task: Task, output: Path) -> Run:
    """Label the table as if for the first time: answers that were paid for before are asked again.

    Raises:
        BudgetError: a budget ended it.
    """
    settings = settings_of(choices, flags)
    named = opening_paid.named(settings.config, settings.origins)
    begins_s = -math.inf
    if named.rungs or named.voters or settings.config.certificate.reference:
        time.sleep(1 - time.time() % 1)  # an answer's age is told in whole seconds
        begins_s = math.floor(time.time())
    told = as_process(choices, output=output, not_before_s=begins_s, quiet=False)
    made = processing.labelled(told, settings.config, settings.origins, task)
    if made.asked is not None and made.asked.n_over_budget:
        raise BudgetError(
            f"a budget is spent: {made.n_by_source['failed']:,} reviews of our own run {made.run_id} have no answer, "
            "so there is nothing to compare; raise it and run the same command again"
        )
    return made


def _recorded(choices: Choices, reviews: Reviews, task: Task) -> dict[str, Run]:
    """Read recorded runs of the same table.

    Raises:
        InputError: a run is of other rows or of another task, or did not end.
    """
    found: list[Run] = []
    for name in choices.runs:
        run = runs.read(choices.home.find(name))
        if run.status != "done":
            raise InputError(f"--run {name}: that run is {run.status}; name one that is done")
        if run.input.fingerprint != reviews.fingerprint or run.n_rows != reviews.n_rows:
            raise InputError(
                f"--run {name}: it labelled {run.n_rows:,} rows of {', '.join(run.input.names)}, and that is not this "
                f"table as it is now ({reviews.n_rows:,} rows)"
            )
        if run.task != task.name or set(run.n_by_label) != set(task.labels):
            raise InputError(f"--run {name}: it answered the task {run.task} ({', '.join(run.n_by_label)})")
        found.append(run)
    return _by_name(found)


def _by_name(found: Sequence[Run]) -> dict[str, Run]:
    """Name runs of ours, the plain ones first; a second of one name has its id too."""
    named: dict[str, Run] = {}
    for run in sorted(found, key=lambda run: run.certificate is not None):
        name = benchmark.name_of(run)
        named[name if name not in named else f"{name} {run.run_id}"] = run
    return named


def _notes(table: Table, run: Run) -> list[str]:
    hour = run.cost.machine_usd_per_hour
    machine = f"this machine, at {hour} USD an hour, for all {run.wall_s:.3g} seconds"
    found = [
        "list prices, without free tiers, discounts and taxes; a free tier is shown apart",
        f"our cost is that of the models and of {machine}; at other volumes each review costs the same as here",
    ]
    if table.columns.label is None:
        found.append("the table has no labels: name them with --label-column to have accuracy measured")
    return found
