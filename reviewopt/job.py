"""All that a run is made of, opened by the command line before the story begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import runs
from reviewopt.attempts import Attempts
from reviewopt.budget import Purse
from reviewopt.cache.refusals import Refusals
from reviewopt.cache.tiers import Cache
from reviewopt.config import Setting
from reviewopt.data import SOURCES, Alert
from reviewopt.draws import Drawn
from reviewopt.errors import UsageError
from reviewopt.hardware import Gpus
from reviewopt.load import Table
from reviewopt.local.learned import Learned
from reviewopt.models.protocol import Model
from reviewopt.prices import Price
from reviewopt.record import ModelRecord, PackTuning, Plan
from reviewopt.runs import Recorder
from reviewopt.settings import Config
from reviewopt.task import Task
from reviewopt.text.sharing import Sharing
from reviewopt.tuning import Tunings
from reviewopt.write import Output

if TYPE_CHECKING:
    import tiktoken

NearMode = Literal["off", "report", "share"]
REFERENCE: Final = "reference"  # the source of a row that has the reference's own answer


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
class Local:
    """The model in this process that answers what nothing cheaper can, and what an answer of it costs.

    Its answers are not archived, because to label again is faster than to keep (measured:
    `tests/benchmarks/cache_speed.py`).

    Raises:
        ValueError: the price has more than the twelve places that a row's cost has, so that the sums would differ.
    """

    predictor: Predictor
    record: ModelRecord
    price_usd: Decimal
    source: str = "local"

    def __post_init__(self) -> None:
        if self.price_usd != _to_twelve_places(self.price_usd):
            raise ValueError(f"a price of more than twelve places: {self.price_usd}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paid:
    """A model that is asked in requests what nothing cheaper can answer; every answer is archived.

    `cache` holds its answers, `singly` those to requests of one review, where packs are tuned; `tuning` is what was
    found of packs before, under `digest`, which names the model, its prompt and the task. `refusals` are the texts that
    never worked before, left alone unless `retries` says otherwise; `is_stopping` turns true when the run is to end
    early; `on_asked` is told how many questions are done; `usual_s` is how long its requests took in earlier runs.
    `gpus` are watched where the model computes on this machine, and bound its packs where it computes in this process;
    `no_gpus` says why there are none.

    Raises:
        UsageError: the model has the name of another source.
    """

    model: Model
    record: ModelRecord
    price: Price
    purse: Purse
    cache: Cache
    singly: Cache | None = None
    digest: str = ""
    tuning: PackTuning | None = None
    tunings: Tunings | None = None
    encoding: tiktoken.Encoding
    refusals: Refusals | None
    retries: bool
    is_stopping: Callable[[], bool]
    on_asked: OnAsked
    alerts: Callable[[], Sequence[Alert]]
    usual_s: float | None = None
    gpus: Gpus | None = None
    no_gpus: str = ""
    is_reference: bool = False

    def __post_init__(self) -> None:
        if self.model.name in SOURCES:
            raise UsageError(f"a paid model cannot be called {self.model.name}: other answers say so; rename it")

    @property
    def source(self) -> str:
        """What the rows that it answered say."""
        return REFERENCE if self.is_reference else self.model.name


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """What the labels are to be proven against, and the sample of rows that proves it.

    `name` is `column:NAME`, `human` or a model's. `drawn` are rows in the order of the permutation that `seed` gives,
    from the table of this `fingerprint`; `n_train` and `n_cal` of them come first, `n_audit` at most follow. `paid`
    asks the model one review a request; `again` keeps its second answers. `human` has what people said, label or null
    for a skipped one, by row. `learned` is the local model, which TRAIN may change. `can_answer`: rows whose answer is
    not accepted get the reference's own. `n_gaps` rows have no label in the reference's column: the sample is of the
    others, and these count as wrong. `outranking` has what people and labelled history said, which is put in the place
    of labels once these are tested. `attempts` counts the promises on this table.
    """

    kind: Literal["model", "column", "human"]
    name: str
    fingerprint: str
    seed: int
    drawn: Drawn
    n_train: int
    n_cal: int
    n_audit: int
    can_answer: bool
    attempts: Attempts
    learned: Learned | None = None
    paid: Paid | None = None
    again: Cache | None = None
    human: Mapping[int, str | None] = field(default_factory=dict)
    n_gaps: int = 0
    outranking: Cache | None = None

    @property
    def n_population(self) -> int:
        """The rows that the sample was drawn from."""
        return self.drawn.n_rows - self.n_gaps


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run.

    `rungs` answer, from cheap to dear: what one is not sure of climbs to the next; `voters` are asked what stays
    uncertain. `cache` is looked up first; `sample` are the questions that all rungs answer to find out how sure is sure
    enough. `near` is what is done with near copies, `sharing` whether two of them may share; `isolated` tenants share
    nothing; `is_naive`: every row is asked, copies too. `plan` is what asking is expected to take; `notes` may grow.
    `reference` is what the labels are proven against, where they are.
    """

    table: Table
    task: Task
    rungs: tuple[Local | Paid, ...]
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
    voters: tuple[Paid, ...] = ()
    sample: pl.DataFrame | None = None
    is_naive: bool = False
    plan: Plan | None = None
    reference: Reference | None = None

    @property
    def paid(self) -> tuple[Paid, ...]:
        """Every model that is asked in requests: the rungs from cheap to dear, who only votes, and the reference."""
        reference = () if self.reference is None or self.reference.paid is None else (self.reference.paid,)
        every = (*(one for one in self.rungs if isinstance(one, Paid)), *self.voters, *reference)
        return tuple(one for at, one in enumerate(every) if not any(one is before for before in every[:at]))

    @property
    def is_ladder(self) -> bool:
        """Whether several models share the questions."""
        return len(self.rungs) > 1 or bool(self.voters)

    @property
    def has_budget(self) -> bool:
        """Whether a budget may end the asking before the table does."""
        budgets = [self.config.budget.usd, self.config.budget.per_day_usd]
        return any(map(math.isfinite, [*budgets, *(one.budget_usd for one in self.config.tenants.values())]))

    @property
    def is_stopping(self) -> bool:
        """Whether the run is to end early."""
        return any(one.is_stopping() for one in self.paid)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the task's first field, in the order of the answers' codes."""
        (*_, last) = self.rungs
        return last.predictor.labels if isinstance(last, Local) and not self.voters else self.task.labels

    @property
    def sources(self) -> tuple[str, ...]:
        """Every name that the source column can hold, in the order of its codes."""
        return source_names(*(one.source for one in (*self.rungs, *self.voters)))  # a reference's is one of all runs

    @property
    def threads(self) -> int:
        """Threads that slices of a chunk are shared among."""
        return self.config.process.threads or runs.n_cores()


class OnAsked(Protocol):
    """Told whenever questions of a chunk are done."""

    def __call__(self, n_done: int, n_open: int, spent_usd: Decimal) -> None:
        """`n_done` of the `n_open` questions of this chunk are done; `spent_usd` is the run's so far."""


class OnProgress(Protocol):
    """Told after every chunk."""

    def __call__(self, n_rows: int, n_total: int | None, wall_s: float) -> None:
        """`n_rows` of `n_total` are written after `wall_s` seconds."""


def source_names(*sources: str) -> tuple[str, ...]:
    """Return every source that the rows of a run can have, whose models' answers say `sources`."""
    return tuple(dict.fromkeys((*SOURCES, *sources)))


def price_of_a_local_answer(config: Config) -> Decimal:
    """Return the USD that one local answer is priced at: a share of the machine's hour, to twelve places."""
    hours = Decimal(1) / (3600 * config.machine.local_reviews_per_s)
    return _to_twelve_places(Decimal(str(config.machine.usd_per_hour)) * hours)


def _to_twelve_places(usd: Decimal) -> Decimal:
    return usd.quantize(Decimal("1e-12"))
