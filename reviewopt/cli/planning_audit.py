"""The plan of an audit by a model: the rows that it would be asked about, and what that costs at most."""

from __future__ import annotations

import numpy as np
import polars as pl

from reviewopt import budget, certify, plan
from reviewopt.answer import Answering
from reviewopt.asking import KEPT_COLUMNS, Survey
from reviewopt.cache.asked import Batch
from reviewopt.cache.tiers import Cache
from reviewopt.freezing import Labels
from reviewopt.job import Job, Paid, Reference
from reviewopt.plan import Known
from reviewopt.reach import Reach
from reviewopt.record import Plan
from reviewopt.referring import distinct
from reviewopt.runs import Home
from reviewopt.settings import parse_duration
from reviewopt.surveyed import Surveyed, Total


def planned(
    job: Job, answering: Answering, reference: Reference, paid: Paid, labels: Labels, delta: float, home: Home
) -> Plan:
    """Work out what asking the model about the drawn rows takes, those that it has answered before aside."""
    settings, frame = job.config.certificate, reference.drawn.frame
    asking = answering.ladder.asking[paid.source]
    surveyed = Surveyed(job.sources, n_sample=0)
    surveyed.n_rows, surveyed.n_asking_rows = len(frame), labels.n_texts
    surveyed.overhead_tokens = {paid.source: asking.form.tokens}
    total = surveyed.models[paid.source] = Total()
    n = max(1, len(frame))
    least = certify.audit_size(labels.n_left, settings.target, 0.0, delta) / n
    likely = certify.audit_size(labels.n_left, settings.target, 0.6 * (1 - settings.target), delta) / n
    again = frame[: settings.self_agreement] if reference.again is not None else frame[:0]
    for rows, cache, shares in (
        (frame, asking.cache, (min(1.0, least), min(1.0, likely), 1.0)),
        (again, reference.again, (1.0, 1.0, 1.0)),
    ):
        if cache is None or not len(rows):
            continue
        missing, survey = _missing(job, answering, paid, rows, cache)
        low, expected, high = (share * survey.n_questions for share in shares)
        reach = Reach(source=paid.source, low=low, expected=expected, high=high, stays=expected, survey=survey)
        total.add(reach, survey)
        if rows is frame:
            surveyed.n_by_source["l3"] = len(rows) - missing
    naive = asking.naive
    n_bytes = int(naive.sizes(frame).sum() / n * labels.n_texts)
    surveyed.naive_usd = naive.usd(labels.n_texts, n_bytes)
    history = budget.history(
        home.path / budget.FOLDER, model=paid.model.model, endpoint=paid.model.endpoint, task=paid.digest
    )
    return plan.make(
        surveyed,
        [Known(paid=paid, history=history)],
        threads=job.config.ask.threads,
        deadline_s=parse_duration(job.config.ask.deadline),
    )


def _missing(job: Job, answering: Answering, paid: Paid, rows: pl.DataFrame, cache: Cache) -> tuple[int, Survey]:
    """Count the rows that have no archived answer, and what asking about their texts takes."""
    tenant = rows["tenant"] if job.isolated else None
    batch, place = distinct(Batch(form=rows["form"], sketches=None, tenant=tenant))
    open_ = np.flatnonzero(cache.look_up(batch, count=False).tier == 0)
    kept = rows.select(KEPT_COLUMNS)[place.first[open_]]
    survey = answering.ladder.asking[paid.source].survey(batch.at(open_), kept, skips_refused=False)
    return int(np.isin(place.of, open_).sum()), survey
