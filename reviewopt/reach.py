"""How many questions reach each rung, before anything is asked: what a plan is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import route
from reviewopt.asking import Survey
from reviewopt.cache.asked import Batch
from reviewopt.job import Local, Paid
from reviewopt.ladder import Ladder

# What share of a paid rung's answers climbs, where nothing is known of it yet: guesses, which the plan says.
_CLIMBS: Final = (0.05, 0.3, 0.7)
# A calibrated confidence c is wrong in 1 - c; by how much the true threshold may lie from that of the strategy.
_LESS: Final = 3.0
_MORE: Final = 1 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What one rung would be asked: `low`, `expected` and `high` questions, of which it answers `stays` for good.

    `survey` counts the requests for all that may reach it; None for a rung in this process.
    """

    source: str
    low: float
    expected: float
    high: float
    stays: float
    survey: Survey | None


def survey(ladder: Ladder, batch: Batch, kept: pl.DataFrame, level: npt.NDArray[np.uint8]) -> list[Reach]:
    """Work out what each paid rung would be asked of these open questions, from cheap to dear.

    Args:
        ladder: the rungs.
        batch: the open questions, (n,).
        kept: KEPT_COLUMNS of each.
        level: how complex they are, uint8 (n,).
    """
    job, n, reached = ladder.job, len(batch.form), []
    rules = route.STRATEGIES[job.config.ladder.strategy]
    if len(job.rungs) > 1 and not rules.climbs:
        return _of_one_rung(ladder, batch, kept, rules.tolerance)
    entry = np.array([rules.entry(one, len(job.rungs)) for one in range(len(route.LEVELS))], np.int64)[level]
    climbing = np.zeros((3, n))  # low, expected, high: the chance that a question comes up from below
    for at, rung in enumerate(job.rungs):
        here = np.where(entry == at, 1.0, np.where(entry < at, climbing, 0.0))
        places = np.flatnonzero(here[2] > 0)
        climbing, entered = here.copy(), float(here[1].sum())
        if isinstance(rung, Local):
            found = None
            climbing[:, places] *= _unsure(ladder, rung, batch.at(places), rules.tolerance)
        else:
            known = _known(ladder, rung, batch.at(places))
            unknown, known_places = places[~known], places[known]
            found = ladder.asking[rung.source].survey(batch.at(unknown), kept[unknown])
            climbing *= np.array(_CLIMBS)[:, None]
            climbing[:2, known_places] = 0.0  # nothing above is known of it: so it stayed in an earlier run
            here[:, known_places] = 0.0
        stays = entered if at == len(job.rungs) - 1 else entered - float(climbing[1].sum())
        reached.append(_reach(rung.source, here, stays, found))
    only_vote = (one for one in job.voters if not any(one is rung for rung in job.rungs))
    reached += (_reach(one.source, climbing, 0.0, ladder.asking[one.source].survey(batch, kept)) for one in only_vote)
    return reached


def _known(ladder: Ladder, rung: Paid, batch: Batch) -> npt.NDArray[np.bool_]:
    """Say what a rung answered before; of a model alone, open questions are those that it did not."""
    if not ladder.job.is_ladder:
        return np.zeros(len(batch.form), np.bool_)
    known: npt.NDArray[np.bool_] = ladder.asking[rung.source].cache.look_up(batch, count=False).tier > 0
    return known


def _of_one_rung(ladder: Ladder, batch: Batch, kept: pl.DataFrame, tolerance: float) -> list[Reach]:
    """Work it out where one rung answers all, and only the sample will tell which: at best the first, at worst any.

    The local model is expected where its own confidence says that it is within the tolerance, else the top.
    """
    job, n = ladder.job, len(batch.form)
    (first, *_), top = job.rungs, len(job.rungs) - 1
    confidence = ladder.said_by(first, batch, pl.DataFrame()).confidence if isinstance(first, Local) else np.zeros(1)
    chosen = 0 if n and float(1 - confidence.mean()) <= tolerance else top
    reached, certain = [], np.ones(n)
    for at, rung in enumerate(job.rungs):
        here = np.array([certain * (at == 0), certain * (at == chosen), certain])
        found = None if isinstance(rung, Local) else ladder.asking[rung.source].survey(batch, kept)
        reached.append(_reach(rung.source, here, n * float(at == chosen), found))
    votes = np.array(_CLIMBS)[:, None] * certain
    only_vote = (one for one in job.voters if not any(one is rung for rung in job.rungs))
    reached += (_reach(one.source, votes, 0.0, ladder.asking[one.source].survey(batch, kept)) for one in only_vote)
    return reached


def _reach(source: str, here: npt.NDArray[np.float64], stays: float, found: Survey | None) -> Reach:
    low, expected, high = (float(part.sum()) for part in here)
    return Reach(source=source, low=low, expected=expected, high=high, stays=stays, survey=found)


def _unsure(ladder: Ladder, local: Local, batch: Batch, tolerance: float) -> npt.NDArray[np.float64]:
    """Say which answers of the local model would climb, (3, n) of 0 and 1: low, expected and high."""
    confidence = ladder.said_by(local, batch, pl.DataFrame()).confidence
    wrong = 1 - confidence.astype(np.float64)
    return np.array([wrong > tolerance * _LESS, wrong > tolerance, wrong > tolerance * _MORE], np.float64)
