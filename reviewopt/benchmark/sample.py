"""The rows that rivals are really asked about, and what our runs said of the same rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from reviewopt import certify, draws
from reviewopt.errors import InputError
from reviewopt.load import Table
from reviewopt.record import Run

_READERS: Final[Mapping[str, Callable[[Path], pl.LazyFrame]]] = {
    ".parquet": pl.scan_parquet,
    ".csv": pl.scan_csv,
    ".jsonl": pl.scan_ndjson,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Rows of the table that the rivals are asked about, as a table of their own at `path`.

    `rows` are their numbers in the whole table, (n_sampled,), ascending; `truth` is what the table says of them, String
    (n_sampled,), null where it says nothing; None where it says nothing of any.
    """

    path: Path
    rows: pl.Series
    truth: pl.Series | None


def draw(table: Table, n: int, folder: Path) -> Sample:
    """Draw n rows with a text, all where there are fewer, and write them into a folder.

    The sample is seeded by the table's content: the same table gives the same rows.

    Raises:
        InputError: a row cannot be read.
    """
    seed = certify.seed("benchmark", table.fingerprint())
    drawn = draws.draw(table, seed, n).frame.sort("row")
    path = folder / "sample.parquet"
    drawn.select(pl.col("row").cast(pl.String), "title", "text", "label", "tenant").write_parquet(path)
    label = drawn["label"]
    return Sample(path=path, rows=drawn["row"], truth=None if label.null_count() == len(label) else label)


def labels_of(run: Run, sample: Sample) -> pl.Series:
    """Read what a run of ours said of the sample's rows, String (n_sampled,).

    Raises:
        InputError: its output is not there any more, or is not what the run wrote: as many rows with each label.
    """
    path, column = Path(run.output), run.output_columns["label"]
    reader = _READERS.get(path.suffix)
    again = "label the table again, and name that run"
    if reader is None or not path.is_file():
        raise InputError(f"{run.output}: the output of the run {run.run_id} is not there to be compared; {again}")
    try:
        labels = reader(path).select(pl.col(column).cast(pl.String)).collect().to_series()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{run.output}: the output of {run.run_id} cannot be read: {error}; {again}") from error
    counted = dict(labels.drop_nulls().value_counts().rows())
    if len(labels) != run.n_rows or counted != {label: n for label, n in run.n_by_label.items() if n}:
        raise InputError(f"{run.output} was changed since the run {run.run_id} wrote it; {again}")
    return labels.gather(sample.rows)
