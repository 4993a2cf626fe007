"""The story: load -> normal form -> dedup -> local -> write, chunk by chunk, and the record of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import runs
from reviewopt.accuracy import Accuracy, Tally
from reviewopt.config import Config, Setting
from reviewopt.data import SOURCES, Task
from reviewopt.dedup import Answers, ExactCopies
from reviewopt.errors import InputError
from reviewopt.load import Chunk, Table
from reviewopt.runs import Recorder, Run
from reviewopt.text import normal
from reviewopt.write import Output

# What a worker takes at a time: small enough to share a chunk among cores, large enough to hide the call.
_SLICE_ROWS: Final = 4096
_SAVE_EVERY_S: Final = 1.0
_LIBRARIES: Final = ("numpy", "polars", "msgspec")
T = TypeVar("T")


class Prediction(Protocol):
    """Answers to a batch, (n,) each."""

    @property
    def label(self) -> npt.NDArray[Any]:
        """Indices into the labels."""

    @property
    def confidence(self) -> npt.NDArray[Any]:
        """Probability that the label is right."""

    @property
    def outside(self) -> npt.NDArray[np.bool_]:
        """True where the text is in no language of the model."""


class LocalModel(Protocol):
    """What the pipeline needs of a model that answers on this machine."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the predictions' indices."""

    def predict(self, form: pl.Series) -> Prediction:
        """Answer normal forms, String (n,); any row alone, in any order, on any thread."""


class OnProgress(Protocol):
    """Told after every chunk."""

    def __call__(self, n_rows: int, n_total: int | None, wall_s: float) -> None:
        """`n_rows` of `n_total` are written after `wall_s` seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that a run is made of, opened by the command line."""

    table: Table
    task: Task
    model: LocalModel
    model_record: runs.ModelRecord
    output: Output
    names: dict[str, str]
    recorder: Recorder
    config: Config
    settings: tuple[Setting, ...]
    notes: tuple[str, ...]


def process(job: Job, on_progress: OnProgress) -> Run:
    """Label every row of `job.table` into `job.output`.

    Returns:
        The record of the run, as it stands in the run's folder. An error or an interrupt leaves one too, and no output.

    Raises:
        InputError: the table turns out to be damaged, or the output cannot be written.
    """
    copies = ExactCopies()
    answers = Answers(job.model.labels, "local", price_of_an_answer(job.config))
    stage = job.recorder.stage
    with _Ledger(job, copies) as ledger, job.output as output, _workers(job.config) as pool:
        for chunk, form in _ahead(_normalised(job.table.chunks(), job.recorder)):
            with stage("dedup"):
                asked = copies.see(form)
            with stage("local"):
                for answer in _in_slices(pool, job.model.predict, form.gather(asked.new_rows)):
                    answers.add(answer.label, answer.confidence, answer.outside)
            with stage("write"):
                labelled = answers.spread(asked)
                output.append(chunk.table.hstack(labelled.select(list(job.names)).rename(job.names)))
            with stage("count"):
                ledger.add(chunk.reviews, labelled)
            on_progress(ledger.n_rows, job.table.n_rows, job.recorder.wall_s)
        with stage("count"):
            ledger.close()
        with stage("write"):
            output.commit()
        return ledger.finish()


def examples(table: Table) -> pl.DataFrame:
    """Return the labelled reviews of a table as `form` and `label` (String), with one form's rows as they came.

    They are held in memory, unlike what `process` reads.
    """
    parts = [
        pl.DataFrame(
            {"form": normal.normalise(chunk.reviews["title"], chunk.reviews["text"]), "label": chunk.reviews["label"]}
        )
        for chunk in table.chunks()
    ]
    empty = pl.DataFrame(schema={"form": pl.String, "label": pl.String})
    return pl.concat([empty, *(part.drop_nulls() for part in parts)])


def price_of_an_answer(config: Config) -> Decimal:
    """Return the USD that one local answer is priced at: a share of the machine's hour, to twelve places."""
    hours = Decimal(1) / (3600 * config.machine.local_reviews_per_s)
    return (Decimal(str(config.machine.usd_per_hour)) * hours).quantize(Decimal("1e-12"))


def _workers(config: Config) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(config.process.threads or runs.n_cores(), thread_name_prefix="worker")


def _in_slices(pool: ThreadPoolExecutor, function: Callable[..., T], *columns: pl.Series) -> list[T]:
    """Apply a pure function to slices of the columns on the pool's threads; results in order, at least one."""
    starts = range(0, max(len(columns[0]), 1), _SLICE_ROWS)
    return list(pool.map(lambda start: function(*(column.slice(start, _SLICE_ROWS) for column in columns)), starts))


def _normalised(chunks: Iterator[Chunk], recorder: Recorder) -> Iterator[tuple[Chunk, pl.Series]]:
    """Give each chunk its normal forms."""
    while True:
        with recorder.stage("load"):
            chunk = next(chunks, None)
        if chunk is None:
            return
        with recorder.stage("normalise"):
            form = normal.normalise(chunk.reviews["title"], chunk.reviews["text"])
        yield chunk, form


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Make the next item on a thread of its own while the caller works on this one."""
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as reader:
        following = reader.submit(next, items, None)
        while (item := following.result()) is not None:
            following = reader.submit(next, items, None)
            yield item


class _Ledger:
    """What a run has done so far, kept in its record: a context manager that also records how the run ended."""

    def __init__(self, job: Job, copies: ExactCopies) -> None:
        self.n_rows = 0
        self._job = job
        self._copies = copies
        self._n_outside = 0
        self._by_source = dict.fromkeys(SOURCES, 0)
        self._by_label = dict.fromkeys(job.model.labels, 0)
        self._cost_usd = Decimal(0)
        self._tally = Tally(job.model.labels)
        self._accuracy: Accuracy | None = None
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
                status: runs.Status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                with suppress(InputError):  # the first error counts
                    self._job.recorder.save(self._record(status, error=str(error) or type(error).__name__))
        finally:
            self._job.recorder.close()

    def add(self, reviews: pl.DataFrame, labelled: pl.DataFrame) -> None:
        """Count the rows of a chunk."""
        self.n_rows += labelled.height
        self._n_outside += int(labelled["outside"].sum())
        self._cost_usd += Decimal(labelled["cost_usd"].sum())
        for counts, column in ((self._by_source, "source"), (self._by_label, "label")):
            present = labelled[column].drop_nulls().to_physical().to_numpy()
            for name, n in zip(counts, np.bincount(present, minlength=len(counts)).tolist(), strict=True):
                counts[name] += n
        self._tally.add(
            reviews.select("label", "category", "tenant").with_columns(
                labelled["label"].alias("answer"), labelled["confidence"]
            )
        )
        if self._job.recorder.wall_s - self._saved_s > _SAVE_EVERY_S:
            self._saved_s = self._job.recorder.wall_s
            self._job.recorder.save(self._record("unfinished"))

    def close(self) -> None:
        """Work out what is known only after the last row, so that nothing can fail once the output has its name."""
        self._accuracy = self._tally.score()
        self._fingerprint = self._job.table.fingerprint()

    def finish(self) -> Run:
        """Record that the run is done."""
        run = self._record("done")
        self._job.recorder.save(run)
        return run

    def _record(self, status: runs.Status, error: str | None = None) -> Run:
        job, wall_s = self._job, self._job.recorder.wall_s
        n_asked = self.n_rows - self._by_source["empty"]
        usd_per_hour = Decimal(str(job.config.machine.usd_per_hour))
        return Run(
            schema_version=runs.SCHEMA_VERSION,
            run_id=job.recorder.run_id,
            status=status,
            error=error,
            started_at=job.recorder.started_at,
            finished_at=None if status == "unfinished" else runs.now(),
            versions=runs.versions(_LIBRARIES),
            machine=runs.this_machine(),
            input=runs.Input(
                names=job.table.names,
                columns=asdict(job.table.columns),
                fingerprint=self._fingerprint,
            ),
            output=str(job.output.path),
            task=job.task.name,
            model=job.model_record,
            config=job.settings,
            notes=job.notes,
            n_rows=self.n_rows,
            n_questions=len(self._copies),
            n_outside_languages=self._n_outside,
            n_by_source=dict(self._by_source),
            n_by_label=dict(self._by_label),
            reuse_rate=self._by_source["exact"] / n_asked if n_asked else None,
            hit_rate=None,
            stage_s={name: round(seconds, 6) for name, seconds in job.recorder.stage_s.items()},
            wall_s=wall_s,
            cpu_s=time.process_time(),
            peak_memory_bytes=runs.peak_memory_bytes(),
            reviews_per_s=self.n_rows / wall_s if self.n_rows else None,
            cost=runs.Cost(
                answers_usd=f"{self._cost_usd:f}",
                machine_usd=f"{usd_per_hour * Decimal(wall_s) / 3600:.12f}",
                machine_usd_per_hour=f"{usd_per_hour:f}",
            ),
            accuracy=self._accuracy,
        )
