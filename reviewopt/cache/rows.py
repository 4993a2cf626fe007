"""The rows of the archive's table: what they hold, the statements that ask for them and change them, which are bad.

An entry is one row under its key; an epoch and the contexts are rows too, sealed as an entry is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache import entry

FOUND_SCHEMA: Final = pl.Schema({"rowid": pl.Int64(), **entry.ENTRY_SCHEMA})
EPOCH: Final = "meta:epoch"
CONTEXT: Final = "context:"
SLICE_ROWS: Final = 8192  # what is encoded or decoded at a time: 4 MB of reviews stay near the processor
_ASKED_ROWS: Final = 10_000
# A row of ours is plain text and bytes: raw = 1, mode = 1 and no file. Nothing else is ever read.
INSERT: Final = "INSERT INTO Cache (rowid, key, raw, store_time, access_time, mode, value) VALUES (?, ?, 1, ?, ?, 1, ?)"
NEXT_ROWID: Final = "SELECT coalesce(max(rowid), 0) + 1 FROM Cache"
STATE: Final = """
    SELECT (SELECT value FROM Settings WHERE key = 'count'), (SELECT max(rowid) FROM Cache),
        (SELECT count(*) FROM Cache WHERE raw = 1 AND (key = 'meta:epoch' OR (key > 'context:' AND key < 'context;'))),
        (SELECT value FROM Cache WHERE key = 'meta:epoch' AND raw = 1 AND mode = 1 AND filename IS NULL)"""
CONTEXTS: Final = """
    SELECT key, value FROM Cache
    WHERE key > 'context:' AND key < 'context;' AND raw = 1 AND mode = 1 AND filename IS NULL"""
ONE: Final = "SELECT value FROM Cache WHERE key = ? AND raw = 1 AND mode = 1 AND filename IS NULL"
WINDOW: Final = """
    SELECT rowid, key, value FROM Cache
    WHERE rowid > ? AND raw = 1 AND mode = 1 AND filename IS NULL AND length(key) = 32 ORDER BY rowid LIMIT ?"""
OF_ROWIDS: Final = """
    SELECT c.rowid, c.key, c.value FROM json_each(?) AS asked CROSS JOIN Cache AS c ON c.rowid = asked.value
    WHERE c.raw = 1 AND c.mode = 1 AND c.filename IS NULL AND length(c.key) = 32"""
OF_KEYS: Final = """
    SELECT c.rowid, c.key, c.value FROM json_each(?) AS asked CROSS JOIN Cache AS c ON c.key = asked.value
    WHERE c.raw = 1 AND c.mode = 1 AND c.filename IS NULL"""
ALL: Final = "SELECT rowid, key, value, raw = 1 AND mode = 1 AND filename IS NULL FROM Cache ORDER BY rowid"
DELETE_KEYS: Final = "DELETE FROM Cache WHERE raw = 1 AND key IN (SELECT value FROM json_each(?))"
DELETE_ROWIDS: Final = "DELETE FROM Cache WHERE rowid IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a reader needs to know to keep a copy: later rows are new; another epoch means "read again"."""

    epoch: int
    n_entries: int
    last_rowid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What a check of the whole archive found.

    `rowids` int64 (n_damaged,) can be deleted; `keys` (n_damaged,) is null where the key itself is not one of ours;
    `file` is SQLite's first complaint about the file, or None.
    """

    rowids: npt.NDArray[np.int64]
    keys: pl.Series
    file: str | None


def epoch(stored: object) -> int:
    """Return the epoch that a sealed value holds, 0 for a damaged or missing one."""
    payload = entry.unseal(EPOCH.encode(), stored)
    return int(payload) if payload and payload.isdigit() and len(payload) <= 18 else 0


def bad(rows: list[tuple[Any, ...]]) -> Iterator[tuple[int, str | None]]:
    """Yield rowid and key of the rows of (rowid, key, value, is plain) that no reader takes."""
    entries = [row for row in rows if row[3] and isinstance(row[1], bytes) and len(row[1]) == entry.KEY_LENGTH]
    _, is_damaged = entry.decode([row[1] for row in entries], [row[2] for row in entries])
    broken = {row[0] for row, damaged in zip(entries, is_damaged.tolist(), strict=True) if damaged}
    sound = {row[0] for row in entries} - broken
    for rowid, key, value, is_plain in rows:
        ours = isinstance(key, bytes) and key.startswith((EPOCH.encode(), CONTEXT.encode()))
        if rowid not in sound and not (is_plain and ours and entry.unseal(key, value) is not None):
            yield rowid, key.decode() if rowid in broken and entry.is_key(key) else None


def key_lists(keys: pl.Series) -> Iterator[str]:
    """Give keys, which are hex, to SQLite as JSON; sorted, so that neighbours in the index come together."""
    for part in keys.sort().to_frame().iter_slices(_ASKED_ROWS):
        yield '["' + '","'.join(part.to_series().to_list()) + '"]'


def number_lists(numbers: npt.NDArray[np.int64]) -> Iterator[str]:
    """Give rowids to SQLite as JSON, in the order that they have."""
    for start in range(0, len(numbers), _ASKED_ROWS):
        yield str(numbers[start : start + _ASKED_ROWS].tolist())
