"""Stand-ins that implement our protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import config, load, pipeline, write
from reviewopt.cache import shelf as shelves
from reviewopt.cache.keys import Contexts, ModelKey
from reviewopt.cache.similar import Judge
from reviewopt.cache.tiers import Cache
from reviewopt.dedup.spread import answer_schema
from reviewopt.job import Answerer, Job, Predictor, source_names
from reviewopt.runs import Home, ModelRecord, Run
from reviewopt.text.sharing import Sharing

LABELS = ("negative", "neutral", "positive")


@dataclass(frozen=True)
class FakePrediction:
    label: npt.NDArray[Any]
    confidence: npt.NDArray[Any]
    outside: npt.NDArray[np.bool_]


class FakeModel:
    """Answers by the length of the text, and counts what it was asked."""

    labels = LABELS

    def __init__(self, fail_after: int | None = None, error: BaseException | None = None) -> None:
        self.asked: list[str] = []
        self._fail_after = fail_after
        self._error = error

    def predict(self, form: pl.Series) -> FakePrediction:
        self.asked += form.to_list()
        if self._fail_after is not None and len(self.asked) > self._fail_after and self._error is not None:
            raise self._error
        size = form.str.len_bytes().to_numpy().astype(np.int64)
        return FakePrediction(size % 3, (size % 7 / 7).astype(np.float32), size % 5 == 0)


def settings_of(values: Mapping[str, str | bool | int | float | None] | None = None) -> config.Config:
    """The settings that a run would have, with these changed."""
    return config.load(values or {}, environment={})[0]


@contextmanager
def make_job(
    table: load.Table,
    folder: Path,
    *,
    model: Predictor | None = None,
    output: str = "out.parquet",
    settings: Mapping[str, str | bool | int | float | None] | None = None,
    source: str = "local",
    price_usd: str = "0.000000000185",
    isolated: bool = False,
    clock: Callable[[], float] = lambda: 1_800_000_000.0,
) -> Iterator[Job]:
    """Make a job over `table` that writes into `folder`; any source but `local` is a (simulated) paid model."""
    merged, origins = config.load(settings or {}, environment={})
    model = model or FakeModel()
    task = config.load_task("sentiment")
    names = write.answer_names("sentiment", list(table.schema))
    answer = answer_schema(model.labels, source_names(source))
    schema = {**table.schema, **{names[key]: dtype for key, dtype in answer.items()}}
    home, is_paid, sharing, notes = Home(folder / "home"), source != "local", Sharing(), list(table.notes)
    with ExitStack() as opened:
        shelf = None
        if merged.cache.archive.enabled and (is_paid or shelves.exists(home.path)):
            shelf = opened.enter_context(
                shelves.Shelf(
                    home.path, merged.cache.archive, sharing=sharing if is_paid else None, on_warning=notes.append
                )
            )
        key = ModelKey(name=source, settings={}, prompt="1", packed=False) if is_paid else None
        contexts = Contexts(task, key, scope="isolated" if isolated else "shared")
        judge = Judge(threshold=merged.cache.similar.threshold, sharing=sharing, workers=2) if is_paid else None
        yield Job(
            table=table,
            task=task,
            answerer=Answerer(
                model=model,
                record=ModelRecord(name="fake", is_paid=is_paid, sha256="0" * 64, languages=("en",)),
                source=source,
                is_paid=is_paid,
                price_usd=Decimal(price_usd),
            ),
            cache=Cache(merged.cache, contexts, model.labels, shelf=shelf, judge=judge, clock=clock),
            near=merged.dedup.near or ("share" if is_paid else "report"),
            sharing=sharing,
            isolated=isolated,
            output=write.open_output(folder / output, pl.Schema(schema), inputs=table.names, force=True),
            names=names,
            recorder=home.new_run(),
            config=merged,
            settings=origins,
            notes=notes,
        )


def process(source_table: Path, folder: Path, *, chunk_rows: int = 1000, **options: Any) -> tuple[Run, pl.DataFrame]:
    """Label a table with the fake model; return the record and the labelled table."""
    with (
        load.open_table([str(source_table)], task=config.load_task("sentiment"), chunk_rows=chunk_rows) as table,
        make_job(table, folder, **options) as job,
    ):
        run = pipeline.process(job, lambda *_: None)
    return run, pl.read_parquet(folder / "out.parquet")
