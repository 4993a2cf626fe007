"""What `reviewopt process` does once its options are read: open, plan, ask for consent, run."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl
import typer
from msgspec import structs

from reviewopt import pipeline, write
from reviewopt.cache.tiers import Cache
from reviewopt.cli import opening, opening_paid, opening_reference, planning
from reviewopt.cli.opening_reference import Wanted
from reviewopt.cli.output import console
from reviewopt.cli.stopping import Stopping
from reviewopt.config import Setting
from reviewopt.dedup.spread import answer_schema
from reviewopt.errors import BudgetError, GateError, ModelError
from reviewopt.job import Job, Local, Paid, price_of_a_local_answer, source_names
from reviewopt.load import Table
from reviewopt.local import warm
from reviewopt.local.learned import Learned
from reviewopt.record import ModelRecord, Plan, Run
from reviewopt.render import asking
from reviewopt.render.certificate import at_least
from reviewopt.render.progress import ProgressDisplay
from reviewopt.route import STRATEGIES
from reviewopt.runs import RIVALS, RUNS, Home, Recorder
from reviewopt.settings import Config
from reviewopt.task import Task
from reviewopt.text.sharing import Sharing

# The settings of one request a row, without copies or cache: what all savings are measured by.
NAIVE: Final[Mapping[str, str | int | bool]] = {
    "pack.fixed": 1,
    "dedup.near": "off",
    "cache.memory.enabled": False,
    "cache.similar.enabled": False,
    "cache.archive.enabled": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the command line says besides the settings.

    `with_given` false: what people and labelled history said is no answer, as where a model's own are wanted. What was
    answered before `not_before_s`, Unix time, is asked again. `is_of_rival`: the record is kept apart from other runs'.
    """

    tables: tuple[str, ...]
    output: Path | None
    force: bool
    home: Home
    stdin_format: str | None
    naive: bool
    dry_run: bool
    yes: bool
    retry_failures: bool
    quiet: bool
    with_given: bool = True
    not_before_s: float = -math.inf
    is_of_rival: bool = False


def run(choices: Choices, config: Config, settings: tuple[Setting, ...], task: Task) -> Run | Plan:
    """Label the tables, or only plan it.

    Raises:
        ReviewoptError: as the errors' tree says; what was answered until then is kept.
    """
    config, proving = _paced(config, settings), opening_reference.wanted(config)
    if proving is not None and proving.kind == "column":
        config = structs.replace(config, columns=structs.replace(config.columns, label=proving.column))
    err = console(stderr=True, quiet=choices.quiet)
    notes = opening.Notes(err)
    with ExitStack() as opened:
        table = opened.enter_context(opening.table(config, choices.tables, task, stdin_format=choices.stdin_format))
        for note in table.notes:
            notes.add(note)
        recorder = opened.enter_context(_recorder(choices))
        progress = ProgressDisplay(err, quiet=choices.quiet)
        stopping = Stopping(progress.stopping)
        job = _open_job(opened, choices, config, settings, task, table, recorder, progress, stopping, notes, proving)
        if job.paid:
            with progress.showing("planning"):
                made, sample = planning.planned(job, choices.home, progress)
            if choices.dry_run:
                return made
            recorder.fold_stages("plan")
            asking.show_plan(err, made)
            planning.consent(made, config, yes=choices.yes, ask=lambda text: typer.confirm(text, err=True))
            job = replace(job, plan=made, sample=None if job.reference is not None else sample)
            opened.enter_context(stopping)
        with progress.showing("labelling"):
            return pipeline.process(job, progress, notes.add)


def labelled(choices: Choices, config: Config, settings: tuple[Setting, ...], task: Task) -> Run:
    """Label the tables, as `run` does."""
    made = run(replace(choices, dry_run=False), config, settings, task)
    if not isinstance(made, Run):
        raise TypeError("a run leaves its record")
    return made


def planned(choices: Choices, config: Config, settings: tuple[Setting, ...], task: Task) -> Plan:
    """Plan to label the tables, as `run` does; nothing is asked."""
    made = run(replace(choices, dry_run=True), config, settings, task)
    if not isinstance(made, Plan):
        raise TypeError("a dry run is a plan")
    return made


def _left(run: Run) -> str:
    """Say what a run that ended early left."""
    n_failed, n_lower = run.n_by_source["failed"], _n_fallen_back(run)
    failed = f"{n_failed:,} reviews stayed unanswered, the others are in {run.output}"
    lower = f"{n_lower:,} texts have the answer of a cheaper model, as their note says"
    return ", and ".join([failed] * bool(n_failed) + [lower] * bool(n_lower)) or f"all answers are in {run.output}"


def _n_fallen_back(run: Run) -> int:
    return 0 if run.ladder is None else run.ladder.n_fallen_back


def _paced(config: Config, settings: tuple[Setting, ...]) -> Config:
    """Give a strategy that hurries more requests at a time, unless the user said how many."""
    is_given = any(one.name == "ask.threads" and one.origin != "default" for one in settings)
    factor = STRATEGIES[config.ladder.strategy].threads_factor if config.ladder.models else 1
    if is_given or factor == 1:
        return config
    return structs.replace(config, ask=structs.replace(config.ask, threads=factor * config.ask.threads))


def check_complete(run: Run, *, allow_failures: bool) -> None:
    """Raise where reviews stayed unanswered; the output is written all the same.

    Raises:
        BudgetError: because of a budget.
        ModelError: because of the endpoint or of themselves, unless that is allowed.
    """
    n_failed = run.n_by_source["failed"]
    keeps = any(setting.name == "cache.archive.enabled" and setting.value for setting in run.config)
    if run.asked is not None and run.asked.n_over_budget:
        raise BudgetError(
            f"a budget is spent: {_left(run)}; raise it and run the same command with --force: "
            f"{'only what is missing' if keeps else 'everything'} is asked"
        )
    is_late = run.asked is not None and run.asked.n_over_deadline > 0
    if is_late and (n_failed or _n_fallen_back(run)) and not allow_failures:
        raise ModelError(
            f"the deadline was reached: {_left(run)}; run the same command with --force again: "
            f"{'only what is missing' if keeps else 'everything'} is asked"
        )
    if n_failed and not allow_failures:
        raise ModelError(
            f"{n_failed:,} reviews stayed unanswered, the others are in {run.output}; the note column says why, "
            "--retry-failures asks again, --allow-failures makes this no error"
        )


def check_proven(run: Run) -> None:
    """Raise where what was to be proven is not; the output is written all the same.

    Raises:
        GateError: the promise is not met.
    """
    found = run.certificate
    if found is not None and not found.is_met:
        low = "nothing is proven" if found.accuracy_low is None else f"{at_least(found.accuracy_low)} is proven"
        raise GateError(
            f"not certified at {100 * found.target:g} %: {low}; {found.reason}; all answers are in {run.output}"
        )


@contextmanager
def _recorder(choices: Choices) -> Iterator[Recorder]:
    """Give the run its folder; a plan leaves none."""
    if not choices.dry_run:
        yield choices.home.new_run(RIVALS if choices.is_of_rival else RUNS)
        return
    with tempfile.TemporaryDirectory(prefix="reviewopt-plan-") as folder:
        recorder = Home(Path(folder)).new_run()
        try:
            yield recorder
        finally:
            recorder.close()


def _open_job(
    opened: ExitStack,
    choices: Choices,
    config: Config,
    settings: tuple[Setting, ...],
    task: Task,
    table: Table,
    recorder: Recorder,
    progress: ProgressDisplay,
    stopping: Stopping,
    notes: opening.Notes,
    proving: Wanted | None,
) -> Job:
    is_isolated = opening.is_isolated(config, table)
    rungs = _rungs(opened, choices, config, settings, task, recorder, progress, stopping, notes, is_isolated, proving)
    reference = None
    if proving is not None:
        with progress.showing("drawing the sample"):
            reference = opening_reference.open_reference(
                proving, config, task, table, choices.home, paid=rungs.reference, again=rungs.again,
                others=tuple(one for one in rungs.rungs if isinstance(one, Paid)), learned=rungs.learned,
                outranking=rungs.given, on_rows=lambda n: progress(n, table.n_rows, recorder.wall_s), on_note=notes.add,
            )  # fmt: skip
    names, schema = _columns(table, task, rungs, notes)
    path = choices.output or write.default_output(choices.tables)
    if choices.dry_run:
        path = Path(write.STDOUT)
    return Job(
        table=table,
        task=task,
        rungs=rungs.rungs,
        voters=rungs.voters,
        cache=rungs.cache,
        near=config.dedup.near or ("share" if rungs.is_paid and proving is None else "report"),
        sharing=rungs.sharing,
        isolated=is_isolated,
        output=write.open_output(path, schema, inputs=table.names, force=choices.force),
        names=names,
        recorder=recorder,
        config=config,
        settings=settings,
        notes=notes.lines,
        is_naive=choices.naive,
        reference=reference,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rungs:
    """Who answers a run, who votes, and the cache that is looked up first."""

    rungs: tuple[Local | Paid, ...]
    voters: tuple[Paid, ...]
    cache: Cache
    sharing: Sharing
    reference: Paid | None = None
    again: Callable[[], Paid] | None = None
    learned: Learned | None = None
    given: Cache | None = None

    @property
    def is_paid(self) -> bool:
        return isinstance(self.rungs[-1], Paid) or bool(self.voters) or self.reference is not None

    @property
    def sources(self) -> tuple[str, ...]:
        return source_names(*(one.source for one in (*self.rungs, *self.voters)))


def _rungs(
    opened: ExitStack,
    choices: Choices,
    config: Config,
    settings: tuple[Setting, ...],
    task: Task,
    recorder: Recorder,
    progress: ProgressDisplay,
    stopping: Stopping,
    notes: opening.Notes,
    is_isolated: bool,
    proving: Wanted | None,
) -> _Rungs:
    """Open the models that the settings name; the local one alone where they name none."""
    named, sharing = opening_paid.named(config, settings), Sharing()

    def models(*, with_given: bool = True) -> opening_paid.Models:
        return opening_paid.Models(
            opened, config, task, choices.home, recorder,
            sends=not choices.dry_run, retries=choices.retry_failures, isolated=is_isolated, sharing=sharing,
            workers=config.process.threads or 2, is_stopping=stopping, on_asked=progress.asked,
            on_warning=notes.add, with_given=with_given, not_before_s=choices.not_before_s,
        )  # fmt: skip

    if proving is not None:
        return _proving_rungs(opened, choices, config, task, named, sharing, models, notes, is_isolated, proving)
    local = _local(config, task, named, notes)
    if not named.rungs and not named.voters and local is not None:
        cache = opening.cache(
            opened, config, choices.home, task, local.predictor.labels, isolated=is_isolated, on_warning=notes.add
        )
        return _Rungs(rungs=(local,), voters=(), cache=cache, sharing=sharing)
    opener = models(with_given=choices.with_given)
    paid = tuple(opener.open(name) for name in named.rungs)
    voters = tuple(opener.open(name) for name in named.voters)
    rungs: tuple[Local | Paid, ...] = (*(() if local is None else (local,)), *paid) or voters[:1]
    first = (*voters[:1], *paid)[-1]
    return _Rungs(rungs=rungs, voters=voters, cache=first.cache, sharing=sharing)


def _proving_rungs(
    opened: ExitStack,
    choices: Choices,
    config: Config,
    task: Task,
    named: opening_paid.Named,
    sharing: Sharing,
    models: Callable[..., opening_paid.Models],
    notes: opening.Notes,
    is_isolated: bool,
    proving: Wanted,
) -> _Rungs:
    """Open what answers beside a reference: the local model, the models named, and the reference's own packs."""
    is_human = proving.kind == opening_reference.HUMAN
    # Nothing that people or history said is looked up before the test: it may have been said with the sample in hand.
    opener = models(with_given=False) if proving.kind == "model" or named.rungs else None
    reference, again, paid = None, None, tuple[Paid, ...]()
    if opener is not None:
        paid = tuple(opener.open(name) for name in named.rungs)
        if proving.kind == "model":
            reference, name = opener.open_reference(proving.name), proving.name
            again = partial(opener.open_reference, name, is_second=True)
            if not paid and config.pack.fixed != 1:
                paid = (opener.open(name),)
    base = None
    try:
        base = warm.closest(opening.local_model(config.process.local_model, task, is_base=True)[0], task.labels)
    except ModelError:
        if config.process.local_model:
            raise
    uses_local = config.ladder.local and not task.others and not (is_human and base is None and not paid)
    learned = Learned(task.labels, base) if uses_local else None
    rungs: tuple[Local | Paid, ...] = paid
    if learned is not None:
        record = ModelRecord(name="fitted to the sample", is_paid=False, sha256=None, languages=())
        rungs = (Local(predictor=learned, record=record, price_usd=price_of_a_local_answer(config)), *paid)
    if not rungs and reference is None:
        raise ModelError(f"nothing can answer the task {task.name} yet: name a model with --model")
    if not rungs and reference is not None:
        rungs = (reference,)
    nothing = structs.replace(config, cache=structs.replace(config.cache, archive=structs.replace(
        config.cache.archive, enabled=False)))  # fmt: skip
    of_home = partial(opening.cache, opened, home=choices.home, task=task, labels=task.labels, isolated=is_isolated)
    return _Rungs(
        rungs=rungs, voters=(), sharing=sharing, reference=reference, again=again, learned=learned,
        cache=of_home(nothing, on_warning=notes.add),
        given=None if is_human else of_home(config, on_warning=notes.add),
    )  # fmt: skip


def _local(config: Config, task: Task, named: opening_paid.Named, notes: opening.Notes) -> Local | None:
    """Open the local model where it answers alone, or is the first rung; None where it is neither.

    Raises:
        ModelError: it cannot answer the task, and no other model is named, or the user named its file.
    """
    is_rung = named.is_ladder or bool(named.voters and not named.rungs)
    if (named.rungs and not is_rung) or (is_rung and not config.ladder.local):
        return None
    try:
        model, record = opening.local_model(config.process.local_model, task)
    except ModelError:
        if not is_rung or config.process.local_model:
            raise
        first = (*named.rungs, *named.voters)[0]
        notes.add(f"the local model cannot answer the task {task.name}: the ladder begins with {first}")
        return None
    return Local(predictor=model, record=record, price_usd=price_of_a_local_answer(config))


def _columns(table: Table, task: Task, rungs: _Rungs, notes: opening.Notes) -> tuple[dict[str, str], pl.Schema]:
    """Name the output's columns, and give them their types."""
    has_notes = rungs.is_paid
    others = [field.name for field in task.others]
    names = write.answer_names(task.field.name, list(table.schema), others, has_notes=has_notes)
    if names["label"] != task.field.name:
        wished = {*write.answer_names(task.field.name, [], others, has_notes=has_notes).values()}
        taken = ", ".join(sorted(set(table.schema) & wished))
        notes.add(f"the table has {taken}: the answers are in {', '.join(names.values())}")
    last = rungs.rungs[-1]
    labels = last.predictor.labels if isinstance(last, Local) and not rungs.voters else task.labels
    dtypes = answer_schema(labels, rungs.sources, task.others, has_notes=has_notes)
    return names, pl.Schema({**table.schema, **{names[key]: dtype for key, dtype in dtypes.items()}})
