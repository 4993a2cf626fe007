"""The file of exported answers: its columns, and its rows as they stand there, not yet believed.

A row is an entry with its context spelled out, so that it can be read, joined and filtered by anything. `tenant` is
whose alone the answer is, `first_tenant` and `review_id` say whose review was asked first. The answer to several fields
is the label of the first, a tab, and the others as JSON; `others` names them. A file may lack `others` and `key`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
from polars.exceptions import PanicException, PolarsError

from reviewopt.data import COST_DTYPE, Frozen
from reviewopt.errors import InputError, UsageError

SUFFIXES: Final = (".parquet", ".jsonl")
ROWS_A_FRAME: Final = 10_000
_FOREIGN: Final = "not an export of this reviewopt"
CONTEXT_COLUMNS: Final[pl.Schema] = pl.Schema(
    {
        "source": pl.String(),
        "scope": pl.String(),
        "tenant": pl.String(),
        "task": pl.String(),
        "labels": pl.List(pl.String()),
        "normaliser": pl.Int64(),
        "model": pl.String(),
        "settings": pl.String(),  # JSON
        "prompt": pl.String(),
        "packed": pl.Boolean(),
        "others": pl.List(pl.String()),
    }
)
ENTRY_COLUMNS: Final = pl.Schema(
    {
        "key": pl.String(),
        "answer": pl.String(),
        "confidence": pl.Float32(),
        "cost_usd": COST_DTYPE,
        "created_s": pl.Int64(),
        "first_tenant": pl.String(),
        "review_id": pl.String(),
        "text": pl.String(),
    }
)
COLUMNS: Final = pl.Schema([*CONTEXT_COLUMNS.items(), *ENTRY_COLUMNS.items()])
_OPTIONAL: Final = {"key": pl.lit(None, pl.String), "others": pl.lit([], pl.List(pl.String()))}


def schema(suffix: str) -> pl.Schema:
    """Return the columns of a file: JSON has no decimals, so there the cost is a string.

    Raises:
        UsageError: no such file is written.
    """
    if suffix not in SUFFIXES:
        raise UsageError(f"cannot write or read '{suffix}'; name a file that ends in {' or '.join(SUFFIXES)}")
    return pl.Schema({**COLUMNS, "cost_usd": pl.String()}) if suffix == ".jsonl" else COLUMNS


def printable(text: str) -> str:
    """Return the start of a message that may quote the file, without what a terminal would act on."""
    return "".join(character if character.isprintable() else "?" for character in text[:200])


def read(path: Path) -> Iterator[pl.DataFrame]:
    """Read a file in frames of COLUMNS, up to ten thousand rows each, `wrong` beside them: why a row cannot be read.

    Raises:
        InputError: it is damaged or no export.
    """
    schema(path.suffix)
    try:
        if path.suffix == ".jsonl":
            yield from _read_jsonl(path)
        else:
            yield from _read_parquet(path)
    except (OSError, PolarsError, PanicException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read: {reason[:200]}; nothing was imported") from error


def _read_parquet(path: Path) -> Iterator[pl.DataFrame]:
    with path.open("rb"):  # polars says less of a file that is not there
        found = pl.read_parquet_schema(path)
    needed = {name: dtype for name, dtype in COLUMNS.items() if name in found or name not in _OPTIONAL}
    if missing := [name for name, dtype in needed.items() if found.get(name) != dtype]:
        raise InputError(
            f"{path}: not an export of this reviewopt: {', '.join(missing[:5])} missing or of another type"
        )
    rows = pl.scan_parquet(path).select(name for name in COLUMNS if name in found)
    absent = [default.alias(name) for name, default in _OPTIONAL.items() if name not in found]
    for batch in rows.collect_batches(chunk_size=ROWS_A_FRAME, maintain_order=True):
        for part in batch.with_columns(absent).iter_slices(ROWS_A_FRAME):
            yield part.select(COLUMNS.names()).with_columns(wrong=pl.lit(None, pl.String))


class _Line(Frozen, frozen=True, kw_only=True):
    """A line of JSON, as strict as a column of parquet."""

    source: str
    scope: str
    tenant: str | None
    task: str
    labels: tuple[str, ...]
    normaliser: int
    model: str | None
    settings: str | None
    prompt: str | None
    packed: bool | None
    answer: str
    confidence: float | None
    cost_usd: str
    created_s: int
    first_tenant: str | None
    review_id: str | None
    text: str
    key: str | None = None
    others: tuple[str, ...] = ()


def _read_jsonl(path: Path) -> Iterator[pl.DataFrame]:
    decoder = msgspec.json.Decoder(_Line)
    rows: list[dict[str, Any]] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            rows.append(_row(path, number, line, decoder))
            if len(rows) == ROWS_A_FRAME:
                yield _framed(rows)
                rows = []
    if rows:
        yield _framed(rows)


def _row(path: Path, number: int, line: bytes, decoder: msgspec.json.Decoder[_Line]) -> dict[str, Any]:
    """Decode one line; one that is JSON but no entry is a wrong row, unless it is the first.

    Raises:
        InputError: the line is no JSON object, or the first is no entry.
    """
    try:
        return {**msgspec.structs.asdict(decoder.decode(line)), "wrong": None}
    except msgspec.ValidationError as error:
        if number == 1:
            raise InputError(f"{path}: {_FOREIGN}: line 1: {printable(str(error))}; nothing was imported") from error
        return {"wrong": printable(str(error))}
    except msgspec.DecodeError as error:
        raise InputError(f"{path}, line {number:,}: damaged: {error}; nothing was imported") from error


def _framed(rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema={**schema(".jsonl"), "confidence": pl.Float64(), "wrong": pl.String()})
    cost_usd = pl.col("cost_usd").cast(COST_DTYPE, strict=False)
    spelled = pl.col("cost_usd").str.contains(r"^\d{1,6}(\.\d{1,12})?$")
    return frame.with_columns(
        pl.col("confidence").cast(pl.Float32, strict=False), cost_usd=pl.when(spelled).then(cost_usd)
    ).select(*COLUMNS.names(), "wrong")
