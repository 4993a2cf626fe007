"""open_table(): whatever the user named -> one Table that streams chunks of reviews beside their input rows."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Self

import polars as pl

from reviewopt.data import Task
from reviewopt.errors import InputError, UsageError
from reviewopt.load import columns as columns_of
from reviewopt.load import labels as labels_of
from reviewopt.load import places, stdin
from reviewopt.load.columns import ColumnChoice, Columns
from reviewopt.load.reviews import to_reviews
from reviewopt.load.source import Source, reading, shown
from reviewopt.load.union import Union, aligned, united


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Consecutive rows of the input.

    Attributes:
        table: The rows untouched: names, order, types and values of every column; with several inputs `source_file` is
            added as the last column.
        reviews: The same rows in the same order, REVIEW_SCHEMA.
    """

    table: pl.DataFrame
    reviews: pl.DataFrame


class Table:
    """An open input; made by `open_table`. Closing it removes what was spooled from standard input.

    Attributes:
        columns: The column that plays each role.
        schema: Schema of `Chunk.table`.
        names: The inputs as the user knows them.
        n_rows: Number of rows that will come, where it is known before they are read.
        notes: Lines for the user: what was chosen, and what was unusual.
    """

    def __init__(
        self, sources: Sequence[Source], union: Union, columns: Columns, mapping: labels_of.LabelMap, task: Task,
        *, notes: tuple[str, ...], chunk_rows: int, limit: int | None, cleanup: ExitStack,
    ) -> None:  # fmt: skip
        self.columns: Final = columns
        self.schema: Final = union.schema
        self.names: Final = tuple(source.name for source in sources)
        self.n_rows: Final = _total(sources, limit)
        self.notes: Final = notes
        self._sources = sources
        self._union = union
        self._mapping = mapping
        self._task = task
        self._chunk_rows = chunk_rows
        self._limit = limit
        self._cleanup = cleanup

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes temporary files. Safe to call twice."""
        self._cleanup.close()

    def chunks(self) -> Iterator[Chunk]:
        """All rows in order, from the first one at each call.

        Raises:
            InputError: A row cannot be read or labelled; the message names the input and the place in it.
        """
        row = 0
        for source in self._sources:
            for frame in source.frames(self._chunk_rows):
                table = aligned(frame, source, self._union)
                if self._limit is not None:
                    table = table.head(self._limit - row)
                if table.height:
                    reviews = to_reviews(table, self.columns, self._mapping, self._task, row, source.name)
                    row += table.height
                    yield Chunk(table=table, reviews=reviews)
                if row == self._limit:
                    return

    def fingerprint(self) -> str:
        """SHA-256 in hex over the digests of the inputs in order: equal content gives an equal fingerprint.

        Files are digested as they lie on disk, under any name; data sets row by row. It notices every change, but is
        no proof against forgery (see `fingerprint.file_digest`).
        """
        total = hashlib.sha256()
        for source in self._sources:
            with reading(source.name, "it was moved or changed while it was read; start again"):
                total.update(source.digest())
        return total.hexdigest()


def _total(sources: Sequence[Source], limit: int | None) -> int | None:
    total = 0
    for source in sources:
        if source.n_rows is None:
            return None
        total += source.n_rows
    return total if limit is None else min(total, limit)


def open_table(
    inputs: Sequence[str],
    *,
    task: Task,
    choice: ColumnChoice = ColumnChoice(),  # noqa: B008 (frozen)
    label_map: str | None = None,
    stdin_format: str | None = None,
    chunk_rows: int = 50_000,
    limit: int | None = None,
) -> Table:
    """Opens files, folders, globs, data sets or standard input as one table.

    Args:
        inputs: Paths, globs, folders, `hf://owner/name[/config][:split]`, or `-` for standard input.
        task: Its labels, aliases and mapping of stars say what a label column means.
        choice: Columns that the user chose.
        label_map: What numbers or names in the label column mean, in place of the task's own mapping.
        stdin_format: csv, tsv, json or jsonl; None looks at the first bytes.
        chunk_rows: The most rows in a chunk; wide rows make smaller ones.
        limit: Read only this many rows.

    Raises:
        InputError: An input is missing, damaged, empty, of an unknown format, or has no fitting columns.
        UsageError: Flags that cannot be meant.
    """
    if chunk_rows < 1:
        raise UsageError(f"a chunk of {chunk_rows} rows is not possible; use 1 or more")
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: nothing would be read; use 1 or more")
    mapping = labels_of.label_map(task, label_map)
    with ExitStack() as cleanup:
        sources = _opened(inputs, stdin_format, cleanup)
        union = united(sources)
        head, name = _head(sources, union)
        found = columns_of.find(union.schema, choice, name)
        label, label_notes = labels_of.choose(head, found.labels, found.label_is_chosen, mapping, task, name)
        columns = Columns(
            text=found.text, title=found.title, id=found.id, tenant=found.tenant, category=found.category,
            label=label.column if label else None,
        )  # fmt: skip
        notes = (_chosen(columns, label, mapping), *found.notes, *label_notes, *union.notes)
        notes += tuple(note for source in sources for note in source.notes)
        return Table(
            sources, union, columns, mapping, task,
            notes=notes, chunk_rows=chunk_rows, limit=limit, cleanup=cleanup.pop_all(),
        )  # fmt: skip


def _opened(inputs: Sequence[str], stdin_format: str | None, cleanup: ExitStack) -> list[Source]:
    if inputs.count(places.STDIN) > 1:
        raise UsageError("standard input can be read once only; name - once")
    sources = []
    for given in inputs:
        if given == places.STDIN:
            place = stdin.spool(sys.stdin.buffer, stdin_format)
            cleanup.callback(place.path.unlink, missing_ok=True)
            sources.append(_source(place))
        else:
            sources += [_source(place) for place in places.find([given])]
    if not sources:
        places.find(inputs)
    return sources


def _source(place: places.Place) -> Source:
    # Each reader is imported when it is needed: datasets alone takes a second.
    match place.format:
        case "parquet":
            from reviewopt.load import columnar

            return columnar.open_parquet(place.path, place.name)
        case "arrow":
            return _arrow(place)
        case "csv" | "tsv":
            from reviewopt.load import delimited

            delimiter = "\t" if place.format == "tsv" else None
            return delimited.open_delimited(place.path, place.name, compression=place.compression, delimiter=delimiter)
        case "json":
            from reviewopt.load import jsonlines

            return jsonlines.open_json(place.path, place.name, compression=place.compression)
        case "hub":
            from reviewopt.load import hub

            return hub.open_hub(place.name)
        case "saved":
            from reviewopt.load import hub

            return hub.open_saved(place.path, place.name)


def _arrow(place: places.Place) -> Source:
    from reviewopt.load import columnar

    if columnar.is_arrow_stream(place.path, place.name):
        from reviewopt.load import hub

        return hub.open_arrow_stream(place.path, place.name)
    return columnar.open_arrow(place.path, place.name)


def _head(sources: Sequence[Source], union: Union) -> tuple[pl.DataFrame, str]:
    """The first rows of the first input that has any."""
    for source in sources:
        frame = source.head()
        if frame.height:
            return aligned(frame, source, union), source.name
    raise InputError(f"{', '.join(shown(source.name) for source in sources[:3])}: no rows; a table needs at least one")


def _chosen(columns: Columns, label: labels_of.LabelColumn | None, mapping: labels_of.LabelMap) -> str:
    parts = [f"text={shown(columns.text, 40)}"]
    for role in ("title", "id", "label", "tenant", "category"):
        column: str | None = getattr(columns, role)
        if column is not None:
            how = f" ({mapping if label.numeric else 'names'})" if role == "label" and label is not None else ""
            parts.append(f"{role}={shown(column, 40)}{how}")
    return "columns: " + ", ".join(parts)
