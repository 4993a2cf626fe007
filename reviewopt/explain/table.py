"""The labelled table of a run, in any format: only the rows that are wanted are read, and never all of their texts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from reviewopt import runs, write
from reviewopt.errors import InputError
from reviewopt.load.source import reading
from reviewopt.record import Run
from reviewopt.text import normal

OTHER: Final = "other:"
# What every row has, beside `other:NAME` for each field after the first.
_SCHEMA: Final = {
    "row": pl.Int64(),
    "review_id": pl.String(),
    "title": pl.String(),
    "text": pl.String(),
    "tenant": pl.String(),
    "label": pl.String(),
    "confidence": pl.Float32(),
    "source": pl.String(),
    "cost_usd": pl.String(),
    "note": pl.String(),
    "duplicate_of": pl.String(),
    "cluster": pl.Int64(),
}
_ROLES: Final = {"review_id": "id", "title": "title", "text": "text", "tenant": "tenant"}
# `write` puts an apostrophe before a cell of a CSV file that a spreadsheet would run.
_ESCAPED: Final = r"^'[=+\-@\t\r]"
_MOST_IN_A_GROUP: Final = 100_000
_OF: Final = "name the run's own table with --output FILE, or another run with --run RUN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """The rows of a labelled table, as they are needed here and not read yet: `_SCHEMA`, and the other fields."""

    path: Path
    rows: pl.LazyFrame
    n_rows: int

    def of_id(self, review_id: str) -> list[int]:
        """Return the rows of a review, ascending: several where the input has an id several times."""
        found = self.rows.filter(pl.col("review_id") == review_id).select("row")
        with _reading(self.path):
            return found.collect(engine="streaming")["row"].sort().to_list()

    def at(self, rows: Sequence[int]) -> pl.DataFrame:
        """Return these rows, (n_rows,), in the order of the table."""
        with _reading(self.path):
            return self.rows.filter(pl.col("row").is_in(list(rows))).collect(engine="streaming").sort("row")

    def texts_of_group(self, cluster: int) -> pl.DataFrame:
        """Return the distinct texts of a group: `row`, the first with that text, and `form`, in the order of the table.

        A group of more texts than can be compared soon is cut.
        """
        members = self.rows.filter((pl.col("cluster") == cluster) & (pl.col("source") != "exact"))
        with _reading(self.path):
            frame = members.select("row", "title", "text").collect(engine="streaming").sort("row")
        forms = frame.select("row", normal.normalise(frame["title"], frame["text"]).alias("form"))
        return forms.unique("form", keep="first", maintain_order=True).head(_MOST_IN_A_GROUP)


def open_labelled(path: Path, run: Run) -> Labelled:
    """Find the columns of a run in its output.

    Raises:
        InputError: there is no such file, it cannot be read, or it is not what the run wrote.
    """
    if path.suffix not in write.OUTPUT_SUFFIXES:
        raise InputError(f"{path}: not a labelled table; those end in {', '.join(write.OUTPUT_SUFFIXES)}")
    if not path.is_file():
        raise InputError(
            f"the run {run.run_id} wrote its table to {path}, and there is no such file here; say where it is now with "
            "--output FILE"
        )
    with _reading(path):
        names = _scan(path, None, None).collect_schema().names()
    columns = _columns(run, names, is_csv=path.suffix == ".csv")
    missing = [run.output_columns[key] for key in run.output_columns if columns[key] is None]
    if missing or columns["text"] is None:
        lacks = missing[0] if missing else run.input.columns["text"]
        raise InputError(f"{path} has no column {lacks}, so it is not the table that the run {run.run_id} wrote; {_OF}")
    number = "row"
    while number in names:
        number += "_"
    with _reading(path):
        rows = _renamed(_scan(path, number, [name for name in columns.values() if name]), columns, number, path)
        counts = dict(rows.group_by("source").len().collect(engine="streaming").iter_rows())
    if (n_rows := sum(counts.values())) != run.n_rows:
        raise InputError(
            f"{path} has {n_rows:,} rows and the run {run.run_id} wrote {run.n_rows:,}: it is another table, or rows "
            f"were added or removed; {_OF}"
        )
    if counts != {source: n for source, n in run.n_by_source.items() if n}:
        raise InputError(f"the sources in {path} are not those that the run {run.run_id} wrote; {_OF}")
    return Labelled(path=path, rows=rows, n_rows=n_rows)


def place_of(record: Path, run: Run) -> Path:
    """Return where the run's output should be.

    Raises:
        InputError: the run wrote none, or a later run has written over it.
    """
    if run.status != "done":
        ended = {"failed": f"failed ({run.error})", "interrupted": "was interrupted", "unfinished": "was killed"}
        became = "is still running" if runs.is_alive(record) else ended[run.status]
        raise InputError(
            f"the run {run.run_id} {became} after {run.n_rows:,} reviews and has no labelled table; what was answered "
            "is kept, so run the same command again, then explain that run"
        )
    if run.output == write.STDOUT:
        raise InputError(
            f"the run {run.run_id} wrote to standard output; name the file that it went to with --output FILE"
        )
    for later in sorted(record.parent.parent.glob("*/run.json")):
        if later.parent.name > record.parent.name and (name := _written_again(later, run.output)):
            raise InputError(
                f"{run.output} was written again by the later run {name}: explain that one with --run {name}, or name "
                "a copy of the older table with --output FILE"
            )
    return Path(run.output)


def _written_again(record: Path, output: str) -> str | None:
    try:
        later = runs.read(record)
    except InputError:  # a record of another version: it cannot be told
        return None
    return later.run_id if later.status == "done" and later.output == output else None


def _scan(path: Path, number: str | None, columns: list[str] | None) -> pl.LazyFrame:
    """Scan a table; the columns of text formats are strings, so that no late row has a type of its own."""
    match path.suffix:
        case ".parquet":
            return pl.scan_parquet(path, row_index_name=number)
        case ".csv":
            return pl.scan_csv(path, row_index_name=number, infer_schema=False)
        case _ if columns is None:
            return pl.scan_ndjson(path, infer_schema_length=1)
        case _:
            return pl.scan_ndjson(path, row_index_name=number, schema=dict.fromkeys(columns, pl.String()))


def _columns(run: Run, names: list[str], *, is_csv: bool) -> dict[str, str | None]:
    """Return the column of the file for every key; null where the run has none, or the file does not."""
    wanted: dict[str, str | None] = {key: run.input.columns.get(role) for key, role in _ROLES.items()}
    wanted |= run.output_columns
    known = set(names)
    found: dict[str, str | None] = {}
    for key, name in wanted.items():
        spellings = [] if name is None else [name, f"'{name}"] if is_csv else [name]
        found[key] = next((one for one in spellings if one in known), None)
    return found


def _renamed(scanned: pl.LazyFrame, columns: dict[str, str | None], number: str, path: Path) -> pl.LazyFrame:
    dtypes = scanned.collect_schema()
    made = [pl.col(number).cast(pl.Int64).alias("row")]
    for key in [*_SCHEMA, *(key for key in columns if key.startswith(OTHER))]:
        if key == "row":
            continue
        dtype = _SCHEMA.get(key, pl.String())
        name = columns.get(key)
        value = pl.lit(None, dtype) if name is None else _cell(name, dtypes[name], dtype, is_csv=path.suffix == ".csv")
        if key == "review_id":  # a review without an id is called by its row
            value = value.fill_null(pl.col(number).cast(pl.String))
        made.append(value.alias(key))
    return scanned.select(made)


def _cell(name: str, dtype: pl.DataType, wanted: pl.DataType, *, is_csv: bool) -> pl.Expr:
    cell = pl.col(name)
    if wanted != pl.String():
        return cell.cast(wanted)
    if dtype.is_float():  # as the ids were read: a whole number has no `.0`
        whole = cell.cast(pl.Int64, strict=False)
        return pl.when(whole.cast(dtype) == cell).then(whole.cast(pl.String)).otherwise(cell.cast(pl.String))
    text = cell.cast(pl.String)
    return pl.when(text.str.contains(_ESCAPED)).then(text.str.slice(1)).otherwise(text) if is_csv else text


def _reading(path: Path) -> AbstractContextManager[None]:
    return reading(str(path), "it is damaged, or not a labelled table; name the run's own with --output FILE")
