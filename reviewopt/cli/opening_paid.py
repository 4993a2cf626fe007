"""What a paid run opens: the model, its price, the purse, the archive, and what a plan needs."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from reviewopt import budget, plan, prices, tokens
from reviewopt.alerts import Alerts
from reviewopt.budget import Purse
from reviewopt.cache import shelf as shelf_module
from reviewopt.cache.keys import Contexts, ModelKey, canonical, digest
from reviewopt.cache.refusals import Refusals
from reviewopt.cache.shelf import FOLDER
from reviewopt.cache.similar import Judge
from reviewopt.cache.tiers import Cache
from reviewopt.errors import BudgetError, ModelError
from reviewopt.job import Job, OnAsked, OnProgress, Paid
from reviewopt.models.kinds import open_model, parse_spec, unanswerable
from reviewopt.models.protocol import Model
from reviewopt.pipeline import survey
from reviewopt.pricing import text_room
from reviewopt.record import ModelRecord, Plan, Run
from reviewopt.render.parts import usd
from reviewopt.runs import Home, Recorder
from reviewopt.settings import Config
from reviewopt.task import Task
from reviewopt.text.prompt_copy import PROMPT_COPY_VERSION
from reviewopt.text.sharing import Sharing


def paid(
    opened: ExitStack,
    config: Config,
    task: Task,
    home: Home,
    recorder: Recorder,
    *,
    sends: bool,
    retries: bool,
    is_stopping: Callable[[], bool],
    on_asked: OnAsked,
    on_warning: Callable[[str], None],
) -> Paid:
    """Open the model that the settings name, until `opened` ends; nothing is sent yet.

    Where nothing ever `sends` (a plan), no key is needed.

    Raises:
        UsageError: there is no such model, or no price for it.
        ModelError: its key is missing, or it cannot answer the task.
    """
    environment: Mapping[str, str] = os.environ
    name, settings = parse_spec(config.ask.model, config.models, environment)
    if not sends and settings.api_key_env:
        environment = {settings.api_key_env: "none", **environment}
    if fields := unanswerable(task, settings.kind):
        raise ModelError(
            f"{name} cannot answer {', '.join(fields)} of the task {task.name}; name another model with --model"
        )
    price = prices.find(settings, name)
    model = open_model(
        name, settings, task, threads=config.ask.threads, memory=home.path / "models.json", environment=environment
    )
    opened.callback(model.close)
    alerts = Alerts(
        at_percent=config.alerts.at_percent,
        webhook=config.alerts.webhook,
        command=config.alerts.command,
        run_id=recorder.run_id,
        on_line=on_warning,
    )
    opened.callback(alerts.close)
    folder = (home.path if sends else recorder.folder) / budget.FOLDER
    purse = opened.enter_context(_purse(folder, config, task, model, recorder.run_id, alerts, on_warning))
    return Paid(
        model=model,
        record=ModelRecord(name=settings.model, is_paid=True, sha256=None, languages=()),
        price=price,
        purse=purse,
        encoding=tokens.open_encoding(home.path / "vocabulary"),
        refusals=Refusals(home.path / FOLDER, on_warning=on_warning) if config.cache.archive.enabled else None,
        retries=retries,
        is_stopping=is_stopping,
        on_asked=on_asked,
        alerts=lambda: alerts.fired,
    )


def _purse(
    folder: Path,
    config: Config,
    task: Task,
    model: Model,
    run_id: str,
    alerts: Alerts,
    on_warning: Callable[[str], None],
) -> Purse:
    return Purse(
        folder,
        run_id=run_id,
        model=model.model,
        endpoint=model.endpoint,
        task=_task_digest(config, task, model),
        run_usd=_bound(config.budget.usd),
        per_day_usd=_bound(config.budget.per_day_usd),
        tenants={
            name: Decimal(str(tenant.budget_usd))
            for name, tenant in config.tenants.items()
            if math.isfinite(tenant.budget_usd)
        },
        on_spent=lambda spent: alerts.see(spent.budget, spent.spent_usd, spent.budget_usd),
        on_warning=on_warning,
    )


def _bound(usd: float) -> Decimal | None:
    return Decimal(str(usd)) if math.isfinite(usd) else None


def cache(
    opened: ExitStack,
    config: Config,
    home: Home,
    task: Task,
    model: Model,
    sharing: Sharing,
    *,
    isolated: bool,
    sends: bool,
    workers: int,
    on_warning: Callable[[str], None],
) -> Cache:
    """Open the archive of a paid model's answers, until `opened` ends; one is begun only where something is sent."""
    archive = config.cache.archive
    shelf = None
    if archive.enabled and (sends or shelf_module.exists(home.path)):
        shelf = opened.enter_context(shelf_module.Shelf(home.path, archive, sharing=sharing, on_warning=on_warning))
    key = _model_key(config, model)
    similar = Judge(threshold=config.cache.similar.threshold, sharing=sharing, workers=workers)
    return Cache(
        config.cache,
        Contexts(task, key, scope="isolated" if isolated else "shared"),
        task.labels,
        shelf=shelf,
        judge=similar if config.cache.similar.enabled else None,
    )


def _model_key(config: Config, model: Model) -> ModelKey:
    """Return all of a model and its prompt that decides its answers."""
    settings = {
        **model.settings,
        "copy": f"{PROMPT_COPY_VERSION}",
        "most_review_tokens": f"{min(config.prompt.most_review_tokens, text_room(model))}",
        "redact": f"{config.prompt.redact}".lower(),
    }
    packed = config.pack.fixed != 1
    return ModelKey(name=model.model, settings=settings, prompt=model.prompt_version, packed=packed)


def _task_digest(config: Config, task: Task, model: Model) -> str:
    """Name what requests to a model ask, so that a plan learns from its own kind alone."""
    return digest(canonical(_model_key(config, model).context(task, scope="", tenant=None)))


def planned(job: Job, home: Home, on_progress: OnProgress) -> Plan:
    """Go over the table for nothing, and work out what asking will take."""
    if not isinstance(job.answerer, Paid):
        raise TypeError("only a paid run has a plan")
    model = job.answerer.model
    counted = survey(replace(job, sharing=Sharing()), on_progress)
    known = budget.history(
        home.path / budget.FOLDER,
        model=model.model,
        endpoint=model.endpoint,
        task=_task_digest(job.config, job.task, model),
    )
    return plan.make(counted, job.answerer, known, threads=job.config.ask.threads)


def consent(made: Plan, config: Config, *, yes: bool, ask: Callable[[str], bool]) -> None:
    """Start a paid run only where the user has set its price, or has seen it.

    Raises:
        BudgetError: nobody has agreed to a plan above the limit of the settings.
    """
    limit = config.budget.ask_above_usd
    if yes or math.isfinite(config.budget.usd) or Decimal(made.usd.expected) <= limit:
        return
    low, expected, high = made.usd.low, made.usd.expected, made.usd.high
    price = f"the plan is about {usd(expected)} ({usd(low)} to {usd(high)})"
    if sys.stdin.isatty() and sys.stderr.isatty():
        if ask(f"{price}; go on?"):
            return
        raise BudgetError("nothing was asked; --budget USD sets a bound, --dry-run shows the plan")
    raise BudgetError(
        f"{price}, above {usd(str(limit))}: nothing was asked; agree with --yes or set a bound with --budget USD"
    )


def unanswered(run: Run) -> Sequence[str]:
    """Say what stayed unanswered and why, a line a reason."""
    if run.asked is None or not run.n_by_source["failed"]:
        return ()
    lines = [f"{n:,}: {reason}" for reason, n in run.asked.failures.items()]
    return (f"{run.n_by_source['failed']:,} reviews stayed unanswered; the note column says why", *lines)
