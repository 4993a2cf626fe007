"""How sure is sure enough, and how many reviews a request may hold: what a sample of the table says of each rung.

Stands before the first chunk is answered. Every rung answers the sample; its answers are archived, so the run
itself and the next one find them there. Nothing here is a proof: the report says "not certified".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import route, tuning
from reviewopt.asking import KEPT_COLUMNS
from reviewopt.cache.asked import Batch
from reviewopt.data import Usage
from reviewopt.dedup.spread import NO_LABEL, Draft, Fresh
from reviewopt.job import Job, Local, Paid
from reviewopt.ladder import Ladder, known_answers
from reviewopt.record import PackTuning

# Labels of the table's own are believed only where so many reviews of the sample have one.
_LEAST_LABELLED: Final = 50
_LABELLED_SHARE: Final = 0.5
# What a request is taken to last where none was timed.
_UNTIMED_S: Final = 2.0

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """The sample as the rungs are asked it: n questions, and the label that the table has for each (255: none)."""

    batch: Batch
    kept: pl.DataFrame
    truth: U8

    @property
    def is_labelled(self) -> bool:
        """Whether the table's own labels are many enough to be the reference."""
        n = int((self.truth != NO_LABEL).sum())
        return n >= max(_LEAST_LABELLED, _LABELLED_SHARE * len(self.truth))

    def first(self, n: int) -> Sampled:
        """Return the first n of the sample, which is in a random order."""
        places = np.arange(min(n, len(self.truth)))
        return Sampled(batch=self.batch.at(places), kept=self.kept[places], truth=self.truth[places])


def begin(ladder: Ladder, job: Job, on_line: Callable[[str], None]) -> None:
    """Tune the packs of each model, then calibrate the rungs, as far as the job wants it.

    Raises:
        ModelError: no request can pass; what was answered is archived.
        KeyboardInterrupt: the run is to end.
    """
    if job.sample is None or not job.sample.height:
        return
    sampled = _unknown(ladder, _sampled(job, job.sample))
    for paid in job.paid:
        if _wants_tuning(job, paid):
            with job.recorder.stage("calibrate"):
                on_line(_tuned(ladder, paid, sampled.first(job.config.pack.sample)))
    if len(job.rungs) > 1:
        calibrated = sampled.first(job.config.ladder.sample)
        if not _can_prove(job, calibrated):
            _leave_all_to_the_top(ladder, job)
            on_line(_too_few_line(job, len(calibrated.truth)))
            return
        with job.recorder.stage("calibrate"):
            calibrate(ladder, job, calibrated)
        for line in (_ladder_line(ladder, job), *ladder.notes, *_doubts(ladder, job)):
            on_line(line)


def _unknown(ladder: Ladder, sampled: Sampled) -> Sampled:
    """Leave out what a person or labelled history answers: that says nothing of any model."""
    (*_, last) = ladder.job.paid
    places = np.flatnonzero(~ladder.asking[last.source].cache.look_up(sampled.batch, count=False).given)
    return Sampled(batch=sampled.batch.at(places), kept=sampled.kept[places], truth=sampled.truth[places])


def _sampled(job: Job, sample: pl.DataFrame) -> Sampled:
    code = {name: at for at, name in enumerate(job.labels)}
    truth = sample["label"].replace_strict(code, default=NO_LABEL, return_dtype=pl.UInt8).fill_null(NO_LABEL).to_numpy()
    tenant = sample["tenant"] if job.isolated else None
    batch = Batch(form=sample["form"], sketches=None, tenant=tenant)
    return Sampled(batch=batch, kept=sample.select(KEPT_COLUMNS), truth=truth)


# --- how sure is sure enough ------------------------------------------------------------------------------------------


def _can_prove(job: Job, sampled: Sampled) -> bool:
    """Say whether a sample of this size could let any answer below the top stay, if all of it agreed."""
    n, rules = len(sampled.truth), route.STRATEGIES[job.config.ladder.strategy]
    return route.threshold(np.ones(n, np.float32), np.ones(n, np.bool_), rules.tolerance).value is not None


def _leave_all_to_the_top(ladder: Ladder, job: Job) -> None:
    """Ask the last rung alone: to ask the others of a few reviews would cost money and prove nothing."""
    nothing: npt.NDArray[np.float32] = np.empty(0, np.float32)
    ladder.tally.reference = job.rungs[-1].source
    ladder.adopt([route.Rung(name=rung.source, confidence=nothing, agrees=nothing > 0) for rung in job.rungs])


def calibrate(ladder: Ladder, job: Job, sampled: Sampled) -> None:
    """Ask every rung the sample, and set the ladder's policy from what they say."""
    said = []
    for rung in job.rungs:
        started = time.perf_counter()
        answers = ladder.known_or_said_by(rung, sampled.batch, sampled.kept)
        said.append((rung, answers, time.perf_counter() - started))
        if isinstance(rung, Paid):
            ladder.bought.buy(rung.source, sampled.batch, answers)
    (*_, (_, top, _)) = said
    truth = sampled.truth if sampled.is_labelled else top.label
    ladder.tally.reference = f"column:{job.table.columns.label}" if sampled.is_labelled else job.rungs[-1].source
    rungs = []
    for rung, answers, seconds in said:
        both = (answers.label != NO_LABEL) & (truth != NO_LABEL)
        n = max(1, len(answers.label))
        usd, each_s = _prices(ladder, rung, sampled, seconds / n)
        rungs.append(
            route.Rung(
                name=rung.source,
                confidence=answers.confidence[both],
                agrees=answers.label[both] == truth[both],
                suffices=((answers.label == truth) | (top.label != truth))[both],
                usd_per_answer=float(usd),
                s_per_answer=each_s,
            )
        )
    ladder.adopt(rungs)


def _prices(ladder: Ladder, rung: Local | Paid, sampled: Sampled, measured_s: float) -> tuple[Decimal, float]:
    """Return what an answer of a rung costs in USD and takes in seconds, whether or not the sample was archived."""
    if isinstance(rung, Local):
        return rung.price_usd, measured_s
    asking = ladder.asking[rung.source]
    survey = asking.survey(sampled.batch, sampled.kept, skips_refused=False)
    n, n_requests = max(1, survey.n_questions), max(1, survey.n_requests)
    mean = Usage(input=round(survey.n_input_tokens / n_requests), output=round(survey.n_output_tokens / n_requests))
    counts = asking.pool.counts
    n_sent = sum(counts.outcomes.values())
    reply_s = counts.reply_s / n_sent if n_sent else rung.usual_s or _UNTIMED_S
    return n_requests * rung.price.cost(mean) / n, reply_s * n_requests / n / ladder.job.config.ask.threads


# --- how many reviews a request --------------------------------------------------------------------------------------


def _wants_tuning(job: Job, paid: Paid) -> bool:
    """Say whether a model's packs are tuned in this run: not where the size is fixed or was found before."""
    settings = job.config.pack
    if settings.tune == "off" or settings.fixed or job.is_naive or paid.singly is None or paid.tuning is not None:
        return False
    return settings.tune == "on" or (job.plan is not None and paid.source in job.plan.tunes)


def _tuned(ladder: Ladder, paid: Paid, sampled: Sampled) -> str:
    """Tune a model's packs and remember the size; what a budget or a deadline cut short proves nothing."""
    asking, settings = ladder.asking[paid.source], ladder.job.config.pack
    if len(sampled.truth) < settings.sample:
        return (
            f"{paid.source}: {len(sampled.truth):,} reviews are too few to tune packs, which takes {settings.sample:,}"
        )
    found = tune(ladder, paid, sampled)
    if asking.pool.is_late or asking.pool.counts.n_over_budget:
        asking.use_packs_of(settings.size)
        return f"{paid.source}: tuning its packs was cut short; they hold about {settings.size} reviews"
    asking.tuning = found
    if paid.tunings is not None:
        paid.tunings.put(paid.digest, found)
    return _packs_line(paid.source, found)


def tune(ladder: Ladder, paid: Paid, sampled: Sampled) -> PackTuning:
    """Ask a sample singly, then in packs, and set the size of the model's packs.

    The sample's own answers are in the end those of that size, whatever other sizes said of them.
    """
    job, asking = ladder.job, ladder.asking[paid.source]

    def ask(size: int) -> U8:
        asking.use_packs_of(size)
        said[size] = alone(ladder, paid, sampled) if size == 1 else ladder.said_by(paid, sampled.batch, sampled.kept)
        ladder.bought.buy(paid.source, sampled.batch, said[size])
        return said[size].label

    said: dict[int, Fresh] = {}
    single, labelled = ask(1), sampled.is_labelled
    found = tuning.search(
        ask,
        single,
        sampled.truth if labelled else None,
        most=asking.most_reviews,
        most_loss=job.config.pack.most_loss,
        reference=f"column:{job.table.columns.label}" if labelled else f"{paid.source}, one review a request",
    )
    asking.use_packs_of(found.size)
    best = said.get(found.size, said[1])
    answered = np.flatnonzero((best.label != NO_LABEL) & (best.source == job.sources.index(paid.source)))
    ladder.bought.hold(paid.source, sampled.batch.at(answered), best.at(answered))
    asking.keep(sampled.batch.at(answered), sampled.kept[answered], best.at(answered))
    return found


def _too_few_line(job: Job, n: int) -> str:
    """Say that a sample is too small to prove anything."""
    return (
        f"strategy {job.config.ladder.strategy}: a sample of {n:,} is too small to find out how sure is sure enough, "
        f"so {job.rungs[-1].source} answers all"
    )


def _ladder_line(ladder: Ladder, job: Job) -> str:
    """Say from which confidence the answers of each rung stay."""
    parts = []
    for rung, value, found in zip(job.rungs, ladder.policy.thresholds, ladder.tally.thresholds, strict=True):
        if value is None or found is None:
            parts.append(f"{rung.source} left out")
        elif rung is job.rungs[-1] or value == 0:
            parts.append(f"{rung.source} all")
        else:
            share, agreement = found.stayed_share or 0.0, found.stayed_agreement or 0.0
            parts.append(f"{rung.source} from {value:.3f} ({100 * share:.0f} %, {100 * agreement:.1f} % of them agree)")
    n = max((found.n for found in ladder.tally.thresholds if found is not None), default=0)
    return (
        f"strategy {job.config.ladder.strategy}, calibrated on {n:,} reviews against {ladder.tally.reference}, not "
        f"certified; answers that stay: {', '.join(parts)}"
    )


def alone(ladder: Ladder, paid: Paid, sampled: Sampled) -> Fresh:
    """Ask a model the sample, one review a request; what it answered to the same text before is not asked again."""
    found = ladder.asking[paid.source].cache.look_up(sampled.batch, count=False)
    is_own = (found.tier > 0) & ~found.similar
    known, missing = np.flatnonzero(is_own), np.flatnonzero(~is_own)
    draft = Draft(len(is_own), has_rest=bool(ladder.job.task.others))
    draft.take(known, known_answers(found, known))
    draft.take(missing, ladder.said_by(paid, sampled.batch.at(missing), sampled.kept[missing]))
    return draft.fresh(has_notes=True)


def _doubts(ladder: Ladder, job: Job) -> Iterator[str]:
    """Warn where the table's own labels say that a cheaper rung is better than the top."""
    shares = [found.agreement for found in ladder.tally.thresholds if found is not None and found.agreement is not None]
    if not shares or not ladder.tally.reference.startswith("column:"):
        return
    best = max(range(len(shares)), key=lambda at: shares[at])
    if shares[best] > shares[-1]:
        yield (
            f"{job.rungs[-1].source} agrees with {ladder.tally.reference} on {100 * shares[-1]:.1f} % of the sample, "
            f"{job.rungs[best].source} on {100 * shares[best]:.1f} %: check the label column and the order of --models"
        )


def _packs_line(name: str, found: PackTuning) -> str:
    steps = ", ".join(f"{one.size}: {100 * one.loss:.1f} %" for one in found.steps)
    return f"{name}: {found.size} reviews a request (loss by size, against {found.reference}: {steps}; not certified)"
