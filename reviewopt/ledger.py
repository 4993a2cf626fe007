"""What a run has done so far, kept in its record while it runs."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict
from decimal import Decimal
from types import TracebackType
from typing import Final, Self

import msgspec
import numpy as np
import polars as pl

from reviewopt import record, runs
from reviewopt.accuracy import Accuracy, Tally
from reviewopt.answer import Answering
from reviewopt.certificate import Certificate
from reviewopt.data import GroupCounts
from reviewopt.dedup.groups import Groups
from reviewopt.errors import InputError
from reviewopt.job import Job, Local
from reviewopt.record import Cost, Input, Run, Status

_SAVE_EVERY_S: Final = 1.0
_LIBRARIES: Final = ("numpy", "polars", "msgspec", "diskcache", "rapidfuzz")
# Whose rows cost nothing because an answer was used again.
_SAVING: Final = ("exact", "near", "l1", "l2", "l3")


class Ledger:
    """Counts what a run did; a context manager that also records how the run ended."""

    def __init__(self, job: Job, answering: Answering) -> None:
        self.n_rows = 0
        self._answering, self._naive = answering, answering.naive
        self._bytes_by_source = dict.fromkeys(job.sources, 0)
        self._job = job
        self._n_questions = 0
        self._n_outside = 0
        self._by_source = dict.fromkeys(job.sources, 0)
        self._by_label = dict.fromkeys(job.labels, 0)
        self._cost_usd = Decimal(0)
        self._answered_usd = Decimal(0)  # of it, for reviews that got an answer
        self._tally = Tally(job.labels)
        self._accuracy: Accuracy | None = None
        self._certificate: Certificate | None = None
        self._groups = GroupCounts(n_groups=0, n_near=0, n_rows=0, largest=())
        self._fingerprint: str | None = None
        self._saved_s = 0.0

    def __enter__(self) -> Self:
        self._job.recorder.save(self._record("unfinished"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                status: Status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                with suppress(InputError):  # the first error counts
                    self._job.recorder.save(self._record(status, error=str(error) or type(error).__name__))
        finally:
            self._job.recorder.close()

    def add(self, reviews: pl.DataFrame, labelled: pl.DataFrame, *, n_questions: int, groups: Groups) -> None:
        """Count the rows of a chunk; `n_questions` and `groups` are those of all rows so far."""
        self.n_rows += labelled.height
        self._n_questions = n_questions
        self._groups = groups.counts()
        self._n_outside += int(labelled["outside"].sum())
        self._cost_usd += Decimal(labelled["cost_usd"].sum())
        self._answered_usd += Decimal(labelled.filter(pl.col("label").is_not_null())["cost_usd"].sum())
        for counts, column in ((self._by_source, "source"), (self._by_label, "label")):
            present = labelled[column].drop_nulls().to_physical().to_numpy()
            for name, n in zip(counts, np.bincount(present, minlength=len(counts)).tolist(), strict=True):
                counts[name] += n
        self._count_bytes(reviews, labelled["source"])
        self._tally.add(
            reviews.select("label", "category", "tenant").with_columns(
                labelled["label"].alias("answer"), labelled["confidence"]
            )
        )
        if self._job.recorder.wall_s - self._saved_s > _SAVE_EVERY_S:
            self._saved_s = self._job.recorder.wall_s
            self._job.recorder.save(self._record("unfinished"))

    def _count_bytes(self, reviews: pl.DataFrame, source: pl.Series) -> None:
        """Count the text that each source answered, from which a paid model's naive price is worked out."""
        if self._naive is None:
            return
        n_bytes = self._naive.sizes(reviews)
        sums = np.bincount(source.to_physical().to_numpy(), weights=n_bytes, minlength=len(self._bytes_by_source))
        for name, n in zip(self._bytes_by_source, sums.tolist(), strict=True):
            self._bytes_by_source[name] += int(n)

    def close(self, certificate: Certificate | None = None) -> None:
        """Work out what is known only after the last row, so that nothing can fail once the output has its name."""
        self._accuracy = self._tally.score()
        self._fingerprint = self._job.table.fingerprint()
        self._certificate = certificate
        if certificate is not None:
            self._job.recorder.keep_certificate(certificate)

    def finish(self) -> Run:
        """Record that the run is done."""
        run = self._record("done")
        self._job.recorder.save(run)
        return run

    def _record(self, status: Status, error: str | None = None) -> Run:
        job, wall_s = self._job, self._job.recorder.wall_s
        n_asked = self.n_rows - self._by_source["empty"]
        n_reused = sum(self._by_source[name] for name in _SAVING)
        n_hits = sum(self._by_source[name] for name in ("l1", "l2", "l3"))
        n_looked_up = self._answering.n_looked_up if job.paid else job.cache.n_looked_up
        return Run(
            schema_version=record.SCHEMA_VERSION,
            run_id=job.recorder.run_id,
            status=status,
            error=error,
            started_at=job.recorder.started_at,
            finished_at=None if status == "unfinished" else runs.now(),
            versions=runs.versions(_LIBRARIES),
            machine=runs.this_machine(),
            input=Input(names=job.table.names, columns=asdict(job.table.columns), fingerprint=self._fingerprint),
            output=str(job.output.path),
            output_columns=dict(job.names),
            task=job.task.name,
            model=msgspec.structs.replace(job.rungs[-1].record, is_paid=bool(job.paid)),
            config=job.settings,
            notes=tuple(job.notes),
            near=job.near,
            scope="isolated" if job.isolated else "shared",
            n_rows=self.n_rows,
            n_questions=self._n_questions,
            n_looked_up=n_looked_up,
            n_given=job.cache.n_given,
            n_near_without_language=job.sharing.n_untold,
            n_outside_languages=self._n_outside,
            n_by_source=dict(self._by_source),
            n_by_label=dict(self._by_label),
            groups=self._groups,
            reuse_rate=n_reused / n_asked if n_asked else None,
            hit_rate=n_hits / n_looked_up if n_looked_up else None,
            stage_s={name: round(seconds, 6) for name, seconds in job.recorder.stage_s.items()},
            wall_s=wall_s,
            cpu_s=time.process_time(),
            peak_memory_bytes=runs.peak_memory_bytes(),
            reviews_per_s=self.n_rows / wall_s if self.n_rows else None,
            cost=self._cost(wall_s),
            asked=self._answering.asked(),
            plan=job.plan,
            ladder=self._answering.record(),
            accuracy=self._accuracy,
            certificate=self._certificate,
        )

    def _cost(self, wall_s: float) -> Cost:
        per_hour = Decimal(str(self._job.config.machine.usd_per_hour))
        saved = {name: self._naive_usd(name) for name in _SAVING}
        asked = [name for name in self._by_source if name not in {*_SAVING, "empty", "failed"}]
        alone = sum((self._naive_usd(name) for name in asked), Decimal(0))
        saved["packs"] = Decimal("0e-12") if self._job.is_naive or not self._job.paid else alone - self._answered_usd
        return Cost(
            # With what failed reviews cost, which was not saved: paid and saved add up to it.
            naive_usd=f"{self._cost_usd + sum(saved.values()):f}",
            saved_usd={name: f"{usd:f}" for name, usd in saved.items()},
            answers_usd=f"{self._cost_usd:f}",
            machine_usd=f"{per_hour * Decimal(wall_s) / 3600:.12f}",
            machine_usd_per_hour=f"{per_hour:f}",
        )

    def _naive_usd(self, source: str) -> Decimal:
        """Return what the rows of a source would have cost, one request a row."""
        n = self._by_source[source]
        if self._naive is not None:
            return self._naive.usd(n, self._bytes_by_source[source])
        (*_, last) = self._job.rungs
        return n * last.price_usd if isinstance(last, Local) else Decimal(0)
