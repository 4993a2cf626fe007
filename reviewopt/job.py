"""All that a run is made of, opened by the command line before the story begins."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import runs
from reviewopt.cache.tiers import Cache
from reviewopt.config import Config, Setting
from reviewopt.data import SOURCES
from reviewopt.errors import UsageError
from reviewopt.load import Table
from reviewopt.runs import Recorder
from reviewopt.task import Task
from reviewopt.text.sharing import Sharing
from reviewopt.write import Output

NearMode = Literal["off", "report", "share"]


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


class Predictor(Protocol):
    """What the pipeline needs of a model in this process."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the predictions' indices."""

    def predict(self, form: pl.Series) -> Prediction:
        """Answer normal forms, String (n,); any row alone, in any order, on any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerer:
    """The model that answers what nothing cheaper can, and what an answer of it costs.

    `source` is what its answers' rows say: `local`, or a paid model's name. Paid answers are archived; free ones are
    not, because to label again is faster than to keep (measured: `tests/benchmarks/cache_speed.py`).

    Raises:
        UsageError: a paid model has the name of another source.
        ValueError: the price has more than the twelve places that a row's cost has, so that the sums would differ.
    """

    model: Predictor
    record: runs.ModelRecord
    source: str
    is_paid: bool
    price_usd: Decimal

    def __post_init__(self) -> None:
        if self.is_paid and self.source in SOURCES:
            raise UsageError(f"a paid model cannot be called {self.source}: other answers say so; rename it")
        if self.price_usd != _to_twelve_places(self.price_usd):
            raise ValueError(f"a price of more than twelve places: {self.price_usd}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run.

    `near` is what is done with near copies, `sharing` whether two of them may share; `isolated` tenants share nothing.
    `notes` may grow while the run runs.
    """

    table: Table
    task: Task
    answerer: Answerer
    cache: Cache
    near: NearMode
    sharing: Sharing
    isolated: bool
    output: Output
    names: dict[str, str]
    recorder: Recorder
    config: Config
    settings: tuple[Setting, ...]
    notes: list[str]

    @property
    def sources(self) -> tuple[str, ...]:
        """Every name that the source column can hold, in the order of its codes."""
        return source_names(self.answerer.source)

    @property
    def threads(self) -> int:
        """Threads that slices of a chunk are shared among."""
        return self.config.process.threads or runs.n_cores()


class OnProgress(Protocol):
    """Told after every chunk."""

    def __call__(self, n_rows: int, n_total: int | None, wall_s: float) -> None:
        """`n_rows` of `n_total` are written after `wall_s` seconds."""


def source_names(source: str) -> tuple[str, ...]:
    """Return every source that the rows of a run can have, whose model's answers say `source`."""
    return SOURCES if source in SOURCES else (*SOURCES, source)


def price_of_a_local_answer(config: Config) -> Decimal:
    """Return the USD that one local answer is priced at: a share of the machine's hour, to twelve places."""
    hours = Decimal(1) / (3600 * config.machine.local_reviews_per_s)
    return _to_twelve_places(Decimal(str(config.machine.usd_per_hour)) * hours)


def _to_twelve_places(usd: Decimal) -> Decimal:
    return usd.quantize(Decimal("1e-12"))
