"""Stand-ins that implement our protocols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import config, load, pipeline, write
from reviewopt.dedup import answer_schema
from reviewopt.runs import Home, ModelRecord, Run

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


def make_job(
    table: load.Table,
    folder: Path,
    *,
    model: pipeline.LocalModel | None = None,
    output: str = "out.parquet",
    settings: dict[str, str | int | float | None] | None = None,
) -> pipeline.Job:
    """Make a job over `table` that writes into `folder`."""
    merged, origins = config.load(settings or {}, environment={})
    names = write.answer_names("sentiment", list(table.schema))
    schema = {**table.schema, **{names[key]: dtype for key, dtype in answer_schema(LABELS).items()}}
    return pipeline.Job(
        table=table,
        task=config.load_task("sentiment"),
        model=model or FakeModel(),
        model_record=ModelRecord(name="fake", sha256="0" * 64, languages=("en",)),
        output=write.open_output(folder / output, pl.Schema(schema), inputs=table.names, force=True),
        names=names,
        recorder=Home(folder / "home").new_run(),
        config=merged,
        settings=origins,
        notes=table.notes,
    )


def process(source: Path, folder: Path, *, chunk_rows: int = 1000, **options: Any) -> tuple[Run, pl.DataFrame]:
    """Label `source` with the fake model; return the record and the labelled table."""
    with load.open_table([str(source)], task=config.load_task("sentiment"), chunk_rows=chunk_rows) as table:
        run = pipeline.process(make_job(table, folder, **options), lambda *_: None)
    return run, pl.read_parquet(folder / "out.parquet")
