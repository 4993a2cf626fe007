"""What `reviewopt benchmark` does once its options are read: measure the table, price the rivals, run, compare."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from reviewopt import benchmark, config, pricelist, prices, runs, services
from reviewopt.benchmark import Benchmark, Billed, Measured, Reviews, Spec
from reviewopt.cli import benchmarking_live, opening, processing
from reviewopt.cli.opening_rivals import Choices, as_process, asked_alone, is_naive, settings_of
from reviewopt.cli.output import console
from reviewopt.errors import InputError, UsageError
from reviewopt.load import Table
from reviewopt.models.kinds import OPENAI_URL, parse_spec
from reviewopt.record import Plan, Run
from reviewopt.render.progress import ProgressDisplay
from reviewopt.services import Sizes
from reviewopt.settings import Config
from reviewopt.task import Task

PLAIN: Final = "reviewopt"
CERTIFIED: Final = "reviewopt certified"
_SAMPLE: Final = ("data", "sample_reviews.parquet")
_SENTIMENTS: Final = frozenset({"negative", "neutral", "positive"})


def run(choices: Choices, flags: Mapping[str, Any]) -> Benchmark:
    """Compare our own runs of the tables with the rivals.

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
    prices_of_all = pricelist.read()
    specs = benchmark.parse(
        choices.vs, prices_of_all.services, settings.config.models, os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
    )
    _check(specs, task, choices, settings.config)
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="reviewopt-benchmark-")))
        table = opened.enter_context(opening.table(settings.config, choices.tables, task))
        sizes = _measure(table, choices)
        reviews = _reviews(table, sizes, called)
        monthly = choices.monthly or max(1, sizes.n_rows)
        billed = [_billed(spec, sizes, monthly, choices, flags, task) for spec in specs]
        questions = None
        if choices.live:
            questions = benchmarking_live.prepare(choices, flags, specs, table, reviews, task=task, folder=folder)
        measured, of_own = _own(choices, flags, task, reviews, monthly, folder)
        if questions is not None:
            billed = benchmarking_live.ask(choices, questions, billed, of_own)
    notes = _notes(table, next(iter(of_own.values())))
    return benchmark.make(reviews, measured, billed, notes, monthly=choices.monthly)


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
        raise UsageError("--run takes a recorded run as our side: it goes without --model, --models and --reference")
    if choices.live:
        benchmarking_live.check(specs)


def _measure(table: Table, choices: Choices) -> Sizes:
    """Read the table once, and count how long what would be sent is."""
    progress = ProgressDisplay(console(stderr=True, quiet=choices.quiet), quiet=choices.quiet)
    total, n_rows = Sizes.of([]), 0
    begun_s = time.perf_counter()
    with progress.showing("measuring"):
        for chunk in table.chunks():
            total += services.sizes(chunk.reviews["title"], chunk.reviews["text"])
            n_rows += chunk.reviews.height
            progress(n_rows, table.n_rows, time.perf_counter() - begun_s)
    if not total.n_rows:
        raise InputError(f"{', '.join(table.names)}: no row has a text, so there is nothing to compare")
    return total


def _reviews(table: Table, sizes: Sizes, called: tuple[str, ...]) -> Reviews:
    n_characters = int((sizes.chars * sizes.counts).sum())
    return Reviews(
        names=called,
        n_rows=table.n_rows or sizes.n_rows,
        n_reviews=sizes.n_rows,
        mean_characters=n_characters / sizes.n_rows,
        fingerprint=table.fingerprint(),
    )


# --- rivals ---------------------------------------------------------------------------------------------------------


def _billed(spec: Spec, sizes: Sizes, monthly: int, choices: Choices, flags: Mapping[str, Any], task: Task) -> Billed:
    """Price one rival; a model is planned as `process --dry-run` does, without what was ever answered before."""
    if spec.service is not None:
        return benchmark.of_service(spec, spec.service, sizes, monthly)
    naive = processing.NAIVE if is_naive(spec) else {}
    settings = asked_alone(spec, choices, flags, {**naive, "cache.archive.enabled": False})
    plan = processing.run(
        as_process(choices, is_dry=True, is_naive=is_naive(spec), with_given=False),
        settings.config,
        settings.origins,
        task,
    )
    if not isinstance(plan, Plan):
        raise TypeError("a dry run is a plan")
    name, found = parse_spec(settings.config.ask.model, settings.config.models, os.environ)
    return benchmark.of_model(spec, plan, sizes.n_rows, monthly, prices.find(found, name).name)


# --- our side -------------------------------------------------------------------------------------------------------


def _own(
    choices: Choices, flags: Mapping[str, Any], task: Task, reviews: Reviews, monthly: int, folder: Path
) -> tuple[list[Measured], dict[str, Run]]:
    """Run our side: plainly, and certified too where a target is set; or take recorded runs of the same table.

    Returns:
        Both with their cost, and the records by name.
    """
    if choices.runs:
        recorded = dict(_recorded(choices, reviews))
        return [benchmark.of_run(run, name=name, monthly=monthly) for name, run in recorded.items()], recorded
    plain = {**flags, "certificate.reference": "", "certificate.target": 0.0}
    output = choices.output or folder / "labelled.parquet"
    if choices.output is not None and choices.output.exists():
        raise UsageError(f"{choices.output} exists: it is kept; name another file with -o")
    made = {PLAIN: _run(choices, plain, task, output)}
    measured = [benchmark.of_run(made[PLAIN], name=PLAIN, monthly=monthly)]
    wanted = settings_of(choices, flags).config.certificate
    if wanted.reference or wanted.target:
        made[CERTIFIED] = _run(choices, flags, task, folder / "certified.parquet")
        bought = Decimal(measured[0].own.usd)
        measured.append(benchmark.of_run(made[CERTIFIED], name=CERTIFIED, monthly=monthly, bought_usd=bought))
    return measured, made


def _run(choices: Choices, flags: Mapping[str, Any], task: Task, output: Path) -> Run:
    settings = settings_of(choices, flags)
    made = processing.run(as_process(choices, output=output, quiet=False), settings.config, settings.origins, task)
    if not isinstance(made, Run):
        raise TypeError("a run leaves its record")
    processing.check_complete(made, allow_failures=True)
    return made


def _recorded(choices: Choices, reviews: Reviews) -> list[tuple[str, Run]]:
    """Read recorded runs of the same table; the first that is not certified is the plain one.

    Raises:
        InputError: a run is of other rows, or did not end.
    """
    found: list[tuple[str, Run]] = []
    for name in choices.runs:
        run = runs.read(choices.home.find(name))
        if run.status != "done":
            raise InputError(f"--run {name}: that run is {run.status}; name one that is done")
        if run.input.fingerprint != reviews.fingerprint:
            raise InputError(
                f"--run {name}: it labelled {', '.join(run.input.names)}, which is not this table as it is now"
            )
        kind = PLAIN if run.certificate is None else CERTIFIED
        known = [have for have, _ in found]
        found.append((kind if kind not in known else f"{kind} {run.run_id}", run))
    return sorted(found, key=lambda one: one[1].certificate is not None)


def _notes(table: Table, run: Run) -> list[str]:
    hour = run.cost.machine_usd_per_hour
    found = [
        "list prices, without free tiers, discounts and taxes; a free tier is shown apart",
        f"our cost is that of the models and of this machine, at {hour} USD an hour, for all {run.wall_s:.3g} seconds",
    ]
    if table.columns.label is None:
        found.append("the table has no labels: name them with --label-column to have accuracy measured")
    return found
