"""Answers out of an archive into a file, and back in. No file is trusted: every row is checked, every key made anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from reviewopt.cache import exported
from reviewopt.cache.archive import Archive
from reviewopt.cache.keys import Context
from reviewopt.cache.trust import Refused, Sound, sound
from reviewopt.cache.upkeep import known_contexts
from reviewopt.data import Frozen

SCHEMA_VERSION: Final = 1

OnProgress = Callable[[int, int | None], None]


class Exported(Frozen, frozen=True, kw_only=True):
    """How many answers were written to a file; `n_unreadable` others are of a context that is damaged."""

    schema_version: int
    path: str
    n_entries: int
    n_unreadable: int


class Imported(Frozen, frozen=True, kw_only=True):
    """What an import did with the rows of a file.

    `n_new` and `n_replaced` are in the archive now, `n_kept` had an answer already; `n_refused` cannot be meant, the
    first of them for `first_reason`.
    """

    schema_version: int
    path: str
    n_rows: int
    n_new: int
    n_replaced: int
    n_kept: int
    n_refused: int
    first_reason: str | None


def export(archive: Archive, path: Path, append: Callable[[pl.DataFrame], None], on_progress: OnProgress) -> Exported:
    """Give every answer of the archive to `append`, in frames of `exported.schema(path.suffix)`, oldest first."""
    columns, total = exported.schema(path.suffix), archive.state.n_entries
    n_written = n_unreadable = 0
    contexts: pl.DataFrame | None = None
    for frame in archive.scan():
        if contexts is None or not frame["context"].is_in(contexts["context"].implode()).all():
            contexts = _spelled_out(known_contexts(archive.contexts()))  # a process that still runs may add some
        rows = frame.rename({"tenant": "first_tenant"}).join(contexts, on="context", maintain_order="left")
        append(rows.with_columns(pl.col("cost_usd").cast(columns["cost_usd"])).select(columns.names()))
        n_written, n_unreadable = n_written + rows.height, n_unreadable + frame.height - rows.height
        on_progress(n_written + n_unreadable, total)
    return Exported(schema_version=SCHEMA_VERSION, path=str(path), n_entries=n_written, n_unreadable=n_unreadable)


def _spelled_out(contexts: dict[str, Context]) -> pl.DataFrame:
    rows = []
    for name, context in contexts.items():
        settings = None if context.settings is None else msgspec.json.encode(context.settings, order="sorted").decode()
        rows.append({**msgspec.structs.asdict(context), "context": name, "settings": settings})
    return pl.DataFrame(rows, schema={"context": pl.String(), **exported.CONTEXT_COLUMNS})


def check(path: Path, on_progress: OnProgress) -> Refused:
    """Read a whole file before anything of it is imported.

    Raises:
        InputError: the file is damaged, or no export.
        UsageError: its name says another format.
    """
    counts = Refused()
    for rows in exported.read(path):
        sound(rows, counts)
        on_progress(counts.n_rows, None)
    return counts


def import_file(archive: Archive, path: Path, counts: Refused, *, force: bool, on_progress: OnProgress) -> Imported:
    """Put the sound rows of a file into the archive, ten thousand a transaction.

    Args:
        archive: where the answers go.
        path: a file as `export` writes it.
        counts: what `check` said of it; its rows are checked once more as they are read again.
        force: replace answers that are there already; else they are kept. Of equal keys in the file the last counts
            then, else the first.
        on_progress: told how many rows of how many are read.

    Raises:
        InputError: the disk is full, or the file was changed meanwhile.
    """
    done, again = _Put(), Refused()
    for rows in exported.read(path):
        _put(archive, sound(rows, again), done, force=force)
        on_progress(again.n_rows, counts.n_rows)
    return Imported(
        schema_version=SCHEMA_VERSION,
        path=str(path),
        n_rows=again.n_rows,
        n_new=done.n_new,
        n_replaced=done.n_replaced,
        n_kept=done.n_kept,
        n_refused=again.n_refused,
        first_reason=again.first_reason,
    )


@dataclass(slots=True)
class _Put:
    n_new: int = 0
    n_replaced: int = 0
    n_kept: int = 0


def _put(archive: Archive, checked: Sound, done: _Put, *, force: bool) -> None:
    entries = checked.entries.unique("key", keep="last" if force else "first", maintain_order=True)
    known = archive.find(entries["key"])["key"]
    is_known = pl.col("key").is_in(known.implode())
    n_known = int(entries.select(is_known.sum()).item())
    fresh = entries if force else entries.filter(~is_known)
    if fresh.height:
        wanted = set(fresh["context"])
        archive.put(fresh, {name: json for name, json in checked.contexts.items() if name in wanted})
    done.n_new += entries.height - n_known
    done.n_replaced += n_known if force else 0
    done.n_kept += checked.entries.height - entries.height + (0 if force else n_known)
