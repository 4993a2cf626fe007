"""The plan of a paid run: what it will take, and who has to agree before it starts."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import polars as pl

from reviewopt import budget, plan, tuning
from reviewopt.errors import BudgetError
from reviewopt.job import Job, OnProgress, Paid
from reviewopt.pipeline import survey
from reviewopt.plan import Known
from reviewopt.record import Plan
from reviewopt.render.parts import usd
from reviewopt.runs import Home
from reviewopt.settings import Config, parse_duration
from reviewopt.surveyed import Surveyed
from reviewopt.text.sharing import Sharing


def planned(job: Job, home: Home, on_progress: OnProgress) -> tuple[Plan, pl.DataFrame]:
    """Go over the table for nothing, and work out what asking will take; return that and a sample of the questions."""
    counted = survey(replace(job, sharing=Sharing()), on_progress)
    config = job.config
    models = [_known(paid, home) for paid in job.paid]
    models = [replace(one, tunes=_tunes(one, job, counted)) for one in models]
    made = plan.make(
        counted,
        models,
        threads=config.ask.threads,
        deadline_s=parse_duration(config.ask.deadline),
        n_sample=config.pack.sample,
    )
    return made, counted.sample


def _known(paid: Paid, home: Home) -> Known:
    history = budget.history(
        home.path / budget.FOLDER, model=paid.model.model, endpoint=paid.model.endpoint, task=paid.digest
    )
    return Known(paid=paid, history=history)


def _tunes(known: Known, job: Job, counted: Surveyed) -> bool:
    """Say whether the size of a model's packs is found first: where it is wanted, or costs next to nothing."""
    settings, paid = job.config.pack, known.paid
    total = counted.models.get(paid.source)
    if settings.fixed or job.is_naive or paid.singly is None or paid.tuning is not None or total is None:
        return False
    if settings.tune != "auto":
        return settings.tune == "on"
    single_usd, packed_usd = plan.prices_of(total, known, counted.overhead_tokens[paid.source])
    return tuning.worth_it(round(total.expected), settings.sample, single_usd=single_usd, packed_usd=packed_usd)


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
