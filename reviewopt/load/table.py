"""open_table(): whatever the user named -> one Table that streams chunks of reviews beside their input rows."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Self

import polars as pl

from reviewopt.data import ROLES
from reviewopt.errors import InputError, UsageError
from reviewopt.load import columns as columns_of
from reviewopt.load import labels as labels_of
from reviewopt.load import places, stdin
from reviewopt.load.columns import ColumnChoice, Columns
from reviewopt.load.fingerprint import rows_digest
from reviewopt.load.reviews import to_reviews
from reviewopt.load.source import HEAD_ROWS, Source, reading, shown
from reviewopt.load.union import Union, aligned, united
from reviewopt.task import Task


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
        inputs: The inputs as the user typed them; standard input is `-`.
        names: The tables that were read: each file of a folder or glob.
        n_rows: Number of rows that will come, where it is known before they are read.
        notes: Lines for the user: what was chosen, and what was unusual.
    """

    def __init__(
        self, sources: Sequence[Source], union: Union, columns: Columns, mapping: labels_of.LabelMap, task: Task,
        *, inputs: tuple[str, ...], notes: tuple[str, ...], chunk_rows: int, limit: int | None, cleanup: ExitStack,
    ) -> None:  # fmt: skip
        self.columns: Final = columns
        self.schema: Final = union.schema
        self.inputs: Final = inputs
        self.names: Final = tuple(source.name for source in sources)
        self.n_rows: Final = _total(sources, limit)
        self.notes: Final = notes
        self._sources = sources
        self._union = union
        self._mapping = mapping
        self._task = task
        self._chunk_rows = chunk_rows if limit is None else min(chunk_rows, limit)
        self._limit = limit
        self._cleanup = cleanup
        self._fingerprint: str | None = None

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
        for source, row_of_source, frame in self._rows():
            table = aligned(frame, source, self._union)
            reviews = to_reviews(
                table, self._label_values(source, frame, table), self.columns, self._mapping, self._task,
                first_row=row, first_row_of_source=row_of_source, name=source.name,
            )  # fmt: skip
            row += table.height
            yield Chunk(table=table, reviews=reviews)

    def _label_values(self, source: Source, frame: pl.DataFrame, table: pl.DataFrame) -> pl.Series | None:
        column = self.columns.label
        if column is None:
            return None
        names = source.class_names.get(column)
        return table.get_column(column) if names is None else labels_of.named(frame.get_column(column), names)

    def _rows(self) -> Iterator[tuple[Source, int, pl.DataFrame]]:
        """Each source, a row number in it, and its rows from there, up to the limit; then the fingerprint is known."""
        total, n_left = hashlib.sha256(), self._limit
        for source in self._sources:
            row, rows = 0, hashlib.sha256()
            if source.digest is not None:
                with reading(source.name, "check the path and its permissions"):
                    total.update(source.digest())
            for whole in source.frames(self._chunk_rows):
                frame = whole if n_left is None else whole.head(n_left)
                n_left = None if n_left is None else n_left - frame.height
                if source.digest is None:
                    rows.update(rows_digest(frame))
                if frame.height:
                    yield source, row, frame
                row += frame.height
                if n_left == 0:
                    break
            if source.digest is None:
                total.update(rows.digest())
            if n_left == 0:
                break
        self._fingerprint = total.hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 in hex over the digests of the inputs in order: equal content gives an equal fingerprint.

        Files are digested as they lie on disk, under any name, just before their rows are read; data sets row by row as
        these pass. With a limit, data sets count as far as it goes, and inputs that it does not reach do not count.
        Once `chunks` has come to its end nothing is read again; before that, all rows are. It notices every change, but
        is no proof against forgery (see `fingerprint.file_digest`).

        Raises:
            InputError: A row cannot be read, where they were not read before.
        """
        if self._fingerprint is None:
            for _ in self._rows():
                pass
        return self._fingerprint or ""


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
    _check(inputs, choice, label_map, stdin_format)
    mapping = labels_of.label_map(task, label_map)
    with ExitStack() as cleanup:
        sources, left_out = _opened(inputs, stdin_format, limit, cleanup)
        union = united(sources)
        head, name = _head(sources, union)
        found = columns_of.find(union.schema, choice, name)
        label, label_notes = labels_of.choose(head, found.labels, found.label_is_chosen, mapping, task, name)
        columns = Columns(
            text=found.text, title=found.title, id=found.id, tenant=found.tenant, category=found.category,
            label=label.column if label else None, priority=found.priority,
        )  # fmt: skip
        notes = (_chosen(columns, label, mapping), *found.notes, *label_notes, *left_out, *union.notes)
        notes += tuple(note for source in sources for note in source.notes)
        return Table(
            sources, union, columns, mapping, task,
            inputs=tuple(inputs), notes=notes, chunk_rows=chunk_rows, limit=limit, cleanup=cleanup.pop_all(),
        )  # fmt: skip


def _check(inputs: Sequence[str], choice: ColumnChoice, label_map: str | None, stdin_format: str | None) -> None:
    if not inputs:
        raise UsageError("no input; name a table, a folder, hf://owner/name, or - for standard input")
    if inputs.count(places.STDIN) > 1:
        raise UsageError("standard input can be read once only; name - once")
    if stdin_format is not None:
        stdin.check_format(stdin_format)
        if places.STDIN not in inputs:
            raise UsageError(f"a format for standard input ({stdin_format}), which is not read; name - to read it")
    if label_map is not None and choice.label == columns_of.OFF:
        raise UsageError("a label map, and no label column to map (--label-column none); leave one of them out")


def _opened(
    inputs: Sequence[str], stdin_format: str | None, limit: int | None, cleanup: ExitStack
) -> tuple[list[Source], tuple[str, ...]]:
    found = []
    for given in inputs:
        if given == places.STDIN:
            place = stdin.spool(sys.stdin.buffer, stdin_format)
            cleanup.callback(place.path.unlink, missing_ok=True)
            found.append((place.name, [place]))
        else:
            found.append((given, places.find(given)))
    tables, notes = places.distinct(found)
    return [_source(place, limit) for place in tables], notes


def _source(place: places.Place, limit: int | None) -> Source:
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

            return hub.open_hub(place.name, head_rows=limit or HEAD_ROWS)
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
            table = aligned(frame, source, union)
            named = [labels_of.named(frame.get_column(column), of) for column, of in source.class_names.items()]
            return table.with_columns(named), source.name
    raise InputError(f"{', '.join(shown(source.name) for source in sources[:3])}: no rows; a table needs at least one")


def _chosen(columns: Columns, label: labels_of.LabelColumn | None, mapping: labels_of.LabelMap) -> str:
    parts = [f"text={shown(columns.text, 40)}"]
    for role in ROLES[1:]:
        column: str | None = getattr(columns, role)
        if column is not None:
            how = f" ({mapping if label.numeric else 'names'})" if role == "label" and label is not None else ""
            parts.append(f"{role}={shown(column, 40)}{how}")
    return "columns: " + ", ".join(parts)
