"""What a free pass over a table counts: what each model would be asked, and a sample of the questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.asking import KEPT_COLUMNS, Survey
from reviewopt.dedup.exact import Asked
from reviewopt.foretold import Foretold
from reviewopt.reach import Reach
from reviewopt.record import ProofPlan

# What is kept of the questions that say how sure is sure enough.
SAMPLE_COLUMNS: Final = (*KEPT_COLUMNS, "label", "form")
_SAMPLE_SCHEMA: Final = {
    **dict.fromkeys(SAMPLE_COLUMNS, pl.String()),
    "priority": pl.Float64(),
    "chance": pl.UInt64(),
}
_SAMPLE_SEED: Final = 20_261_121
_NOT_ASKED: Final = frozenset({"empty", "exact", "near", "l1", "l2", "l3", "failed"})


@dataclass(slots=True)
class Total:
    """What one model would be asked over all chunks; `n_questions` and what follows if all that may reach it did."""

    low: float = 0.0
    expected: float = 0.0
    high: float = 0.0
    n_questions: int = 0
    n_requests: int = 0
    n_input_tokens: int = 0
    n_output_tokens: float = 0.0
    n_body_bytes: int = 0

    def add(self, one: Reach, survey: Survey) -> None:
        """Count a chunk."""
        self.low += one.low - survey.n_refused
        self.expected += one.expected - survey.n_refused
        self.high += one.high - survey.n_refused
        self.n_questions += survey.n_questions
        self.n_requests += survey.n_requests
        self.n_input_tokens += survey.n_input_tokens
        self.n_output_tokens += survey.n_output_tokens
        self.n_body_bytes += survey.n_body_bytes


class Surveyed:
    """What a run would ask, counted over its chunks.

    `n_asking_rows` rows have a text, of `n_bytes` in all; `naive_usd` is what one request for each would cost. `models`
    has what each would be asked; `sample` are questions drawn uniformly, as SAMPLE_COLUMNS.
    """

    def __init__(self, sources: tuple[str, ...], *, n_sample: int) -> None:
        self.n_rows = self.n_asking_rows = self.n_bytes = 0
        self.n_by_source = dict.fromkeys(sources, 0)
        self.models: dict[str, Total] = {}
        self.naive_usd = Decimal(0)
        self.overhead_tokens: dict[str, int] = {}  # of a request, beside its reviews
        self.sampling: dict[str, Survey] = {}  # of the sample, what each rung would be asked
        self.sample = pl.DataFrame(schema=_SAMPLE_SCHEMA)
        self.proof: ProofPlan | None = None
        self._n_sample = n_sample

    @property
    def n_asked(self) -> int:
        """Questions that may be asked, of all models together."""
        return sum(one.n_questions for one in self.models.values())

    @property
    def n_requests(self) -> int:
        """Requests for all of them."""
        return sum(one.n_requests for one in self.models.values())

    def add(self, asked: Asked, by_source: Mapping[str, int], reached: Sequence[Reach], *, n_bytes: int) -> None:
        """Count a chunk, whose rows with a question have `n_bytes` of text."""
        n_asking = int((asked.question >= 0).sum())
        self.n_rows += len(asked.question)
        self.n_asking_rows += n_asking
        self.n_bytes += n_bytes
        for source, n in by_source.items():
            self.n_by_source[source] += n
        self.n_by_source["empty"] += len(asked.question) - n_asking
        self.n_by_source["exact"] += n_asking - len(asked.new_rows)
        for one in reached:
            if one.survey is not None:
                self.models.setdefault(one.source, Total()).add(one, one.survey)

    def foretold(self, foretold: Foretold, *, local: str) -> None:
        """Count what proving takes in the place of what the rungs would be asked without."""
        self.proof, self.models = foretold.plan, {}
        n_rest = sum(n for source, n in self.n_by_source.items() if source not in _NOT_ASKED)
        for source in self.n_by_source.keys() - _NOT_ASKED:
            self.n_by_source[source] = 0
        for one in foretold.reached:
            if one.survey is not None:
                self.models.setdefault(one.source, Total()).add(one, one.survey)
            n = min(n_rest, round(one.stays))
            self.n_by_source[one.source] += n
            n_rest -= n
        self.n_by_source[local] += n_rest

    def draw(self, reviews: pl.DataFrame, form: pl.Series, rows: npt.NDArray[np.int64]) -> None:
        """Keep the questions with the smallest hashes: a uniform sample, the same in whatever order they come."""
        if not self._n_sample:
            return
        drawn = (
            reviews.select(*KEPT_COLUMNS, pl.col("label").cast(pl.String))[rows]
            .with_columns(form.gather(rows).alias("form"))
            .with_columns(chance=pl.struct("form", "tenant").hash(seed=_SAMPLE_SEED))
            .bottom_k(self._n_sample, by="chance")
        )
        both = pl.concat([self.sample, drawn.select(self.sample.columns)])
        smallest = both.bottom_k(self._n_sample, by="chance").sort("chance")
        # In memory of its own: polars would hold on to the texts of the whole chunk.
        self.sample = pl.DataFrame(smallest.to_dict(as_series=False), schema=_SAMPLE_SCHEMA)
