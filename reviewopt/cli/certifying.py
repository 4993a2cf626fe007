"""What `reviewopt certify` does once its options are read: open, freeze, draw, plan, ask for consent, certify."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import polars as pl
import typer
from msgspec import structs

from reviewopt import freezing, write
from reviewopt.answer import Answering
from reviewopt.cache.tiers import Cache
from reviewopt.certificate import Certificate
from reviewopt.certifying import Certifying
from reviewopt.cli import opening, opening_labels, opening_paid, opening_reference, planning, planning_audit
from reviewopt.cli.opening_labels import Choices, Tables
from reviewopt.cli.opening_reference import Wanted
from reviewopt.cli.output import console
from reviewopt.cli.stopping import Stopping
from reviewopt.config import Setting
from reviewopt.errors import UsageError
from reviewopt.job import Job, Local, Paid, price_of_a_local_answer
from reviewopt.local.learned import Learned
from reviewopt.record import ModelRecord, Plan
from reviewopt.render import asking
from reviewopt.render.progress import ProgressDisplay
from reviewopt.runs import FAILURES, Home, Recorder
from reviewopt.settings import Config
from reviewopt.task import Task
from reviewopt.text.sharing import Sharing


def run(choices: Choices, config: Config, settings: tuple[Setting, ...], task: Task) -> Certificate | Plan:
    """Certify the labels of the tables, or only plan it.

    Raises:
        ReviewoptError: as the errors' tree says; what a model answered until then is kept.
    """
    found, config = _wanted(choices, config)
    err = console(stderr=True, quiet=choices.quiet)
    notes = opening.Notes(err)
    progress = ProgressDisplay(err, quiet=choices.quiet)
    stopping = Stopping(progress.stopping)
    with ExitStack() as opened:
        tables = opening_labels.open_tables(opened, choices, config, task, found)
        for note in dict.fromkeys((*tables.answers.notes, *(() if tables.truth is None else tables.truth.notes))):
            notes.add(note)
        recorder = opened.enter_context(_recorder(choices, found))
        rung, again, cache = _rung(opened, choices, config, task, found, recorder, tables, progress, stopping, notes)
        with progress.showing("freezing the labels"):
            labels = freezing.read(
                tables.answers, tables.truth, task.labels, as_sent=found.kind == "model",
                missing_at_random=config.certificate.missing_at_random, per=config.certificate.per,
                on_rows=lambda n: progress(n, tables.bare.n_rows, recorder.wall_s),
            )  # fmt: skip
        opening_labels.check(labels, found, config, tables)
        if labels.n_gaps:
            notes.add(f"{labels.n_gaps:,} rows have no label in {found.name}: they count as wrong")
        if labels.n_unanswered:
            notes.add(f"{labels.n_unanswered:,} rows have no label in {tables.column}: they count as wrong")
        with progress.showing("drawing the sample"):
            reference, promise, attempt = opening_labels.open_reference(
                choices, config, task, found, tables, labels, rung if isinstance(rung, Paid) else None, again, notes
            )
        job = Job(
            table=tables.bare,
            task=task,
            rungs=(rung,),
            cache=cache,
            near="off",
            sharing=Sharing(),
            isolated=opening.is_isolated(config, tables.bare),
            output=write.open_output(Path(write.STDOUT), pl.Schema(), inputs=(), force=False),
            names={},
            recorder=recorder,
            config=config,
            settings=settings,
            notes=notes.lines,
            reference=reference,
        )
        answering = opened.enter_context(Answering(job))
        if reference.paid is not None:
            plan = planning_audit.planned(
                job,
                answering,
                reference,
                reference.paid,
                labels,
                freezing.allowed(config.certificate, attempt),
                choices.home,
            )
            if choices.dry_run:
                return plan
            asking.show_plan(err, plan)
            planning.consent(plan, config, yes=choices.yes, ask=lambda text: typer.confirm(text, err=True))
            opened.enter_context(stopping)
        with progress.showing("certifying"):
            made = Certifying(job, reference, answering.ladder, labels, notes.add).certificate(
                promise, attempt=attempt, column=tables.column, is_reviewed_elsewhere=tables.reviewed is not None
            )
        asked = answering.asked()
        for line in () if asked is None else asking.asked_lines(asked, None):
            notes.add(line)
        return made


def _wanted(choices: Choices, config: Config) -> tuple[Wanted, Config]:
    """Read what is to be certified, with settings that are about labels that exist.

    Raises:
        UsageError: something is missing, or cannot be meant.
    """
    config = structs.replace(
        config,
        columns=structs.replace(config.columns, label=""),
        ladder=structs.replace(config.ladder, ensemble=""),
    )
    found = opening_reference.wanted(config)
    if found is None:
        raise UsageError("what is to be certified? Say it: --reference MODEL, column:NAME or human, and --target .95")
    if opening.STDIN in choices.tables or choices.reviewed == opening.STDIN:
        raise UsageError("standard input can be read once only, and labels are read before rows are drawn: name a file")
    if choices.reviewed is not None and found.kind != "human":
        raise UsageError("--reviewed is where people's answers are looked up: it goes with --reference human")
    if choices.dry_run and found.kind != "model":
        raise UsageError(f"--dry-run is about asking a model; --reference {found.name} costs nothing")
    return found, config


@contextmanager
def _recorder(choices: Choices, found: Wanted) -> Iterator[Recorder]:
    """Give a model's requests a folder, which is left where some never worked."""
    with ExitStack() as opened:
        home = choices.home
        if found.kind != "model" or choices.dry_run:
            home = Home(Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="reviewopt-certify-"))))
        recorder = home.new_run()
        opened.callback(_tidy, recorder)
        opened.callback(recorder.close)
        yield recorder


def _tidy(recorder: Recorder) -> None:
    """Remove the folder of a run that labelled nothing, unless it says which reviews no request worked for."""
    if not (recorder.folder / FAILURES).exists():
        shutil.rmtree(recorder.folder, ignore_errors=True)


def _rung(
    opened: ExitStack,
    choices: Choices,
    config: Config,
    task: Task,
    found: Wanted,
    recorder: Recorder,
    tables: Tables,
    progress: ProgressDisplay,
    stopping: Stopping,
    notes: opening.Notes,
) -> tuple[Paid | Local, Callable[[], Paid] | None, Cache]:
    """Open the model that is the reference, what opens its second answers, and its archive.

    Where no model is asked, one stands there that knows nothing.
    """
    isolated = opening.is_isolated(config, tables.bare)
    if found.kind == "model":
        opener = opening_paid.Models(
            opened, config, task, choices.home, recorder,
            sends=not choices.dry_run, retries=False, isolated=isolated, sharing=Sharing(),
            workers=config.process.threads or 2, is_stopping=stopping, on_asked=progress.asked, on_warning=notes.add,
        )  # fmt: skip
        paid = opener.open_reference(found.name)
        return paid, partial(opener.open_reference, found.name, is_second=True), paid.cache
    nobody = ModelRecord(name="nobody", is_paid=False, sha256=None, languages=())
    local = Local(predictor=Learned(task.labels, None), record=nobody, price_usd=price_of_a_local_answer(config))
    without = structs.replace(config, cache=structs.replace(
        config.cache, archive=structs.replace(config.cache.archive, enabled=False)))  # fmt: skip
    cache = opening.cache(opened, without, choices.home, task, task.labels, isolated=isolated, on_warning=notes.add)
    return local, None, cache
