"""The archive's upkeep: check every row, throw all of it away."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache import popularity, refusals
from reviewopt.cache.archive import Archive
from reviewopt.cache.entry import rest as rest_of
from reviewopt.cache.keys import Context, canonical, digest, make_keys
from reviewopt.cache.others import labels_of, wrong
from reviewopt.cache.sidecar import locked
from reviewopt.data import Frozen

SCHEMA_VERSION: Final = 1
_N_SHOWN: Final = 10
_SIDECARS: Final = ("index", "similar")

I64 = npt.NDArray[np.int64]
OnProgress = Callable[[int, int | None], None]


class Damaged(Frozen, frozen=True, kw_only=True):
    """One damaged row: its key as it is stored, null where that is not a key, and what is wrong with it."""

    key: str | None
    reason: str


class Verified(Frozen, frozen=True, kw_only=True):
    """What a check of every row found: `first` are the first ten of `n_damaged`, `n_deleted` those that were deleted.

    `file` is the first complaint about the database file itself, or null.
    """

    schema_version: int
    n_rows: int
    n_damaged: int
    n_deleted: int
    first: tuple[Damaged, ...]
    file: str | None

    @property
    def is_sound(self) -> bool:
        """Whether nothing damaged is left."""
        return self.n_damaged == self.n_deleted and self.file is None


class Holdings(Frozen, frozen=True, kw_only=True):
    """How many answers an archive holds, and the USD, as a decimal string, that they cost to obtain."""

    schema_version: int
    n_entries: int
    cost_usd: str
    is_cleared: bool


def verify(archive: Archive, *, repair: bool, on_progress: OnProgress) -> Verified:
    """Read every row again: its checksum, its key from its context and text, its answer to its context's fields.

    Args:
        archive: what to check.
        repair: delete what is damaged; it is then asked anew when it is met.
        on_progress: told how many rows of how many are checked.
    """
    contexts = known_contexts(archive.contexts())
    total, n_rows = archive.state.n_entries, 0
    rowids: list[I64] = []
    damaged: list[Damaged] = []
    for frame in archive.scan():
        n_rows += frame.height
        wrong = frame.select("rowid", "key", reason=_reasons(frame, contexts)).drop_nulls("reason")
        rowids.append(wrong["rowid"].to_numpy())
        room = max(0, _N_SHOWN - len(damaged))
        damaged += [Damaged(key=key, reason=why) for key, why in wrong.head(room).select("key", "reason").iter_rows()]
        on_progress(n_rows, total)
    found = archive.damaged()
    unreadable = [Damaged(key=key, reason="its checksum or its form is wrong") for key in found.keys.head(_N_SHOWN)]
    every = np.concatenate([found.rowids, *rowids])
    return Verified(
        schema_version=SCHEMA_VERSION,
        n_rows=n_rows + len(found.rowids),
        n_damaged=len(every),
        n_deleted=archive.delete(every) if repair and len(every) else 0,
        first=tuple((unreadable + damaged)[:_N_SHOWN]),
        file=found.file,
    )


def known_contexts(archived: Mapping[str, str]) -> dict[str, Context]:
    """Decode the contexts of an archive, by digest; those that are not what their digest says are left out."""
    known = {}
    for name, json in archived.items():
        try:
            context = msgspec.json.decode(json, type=Context)
        except msgspec.DecodeError:
            continue
        if digest(json) == name and canonical(context) == json:
            known[name] = context
    return known


def _reasons(frame: pl.DataFrame, contexts: Mapping[str, Context]) -> pl.Series:
    """Say what is wrong with each row, String (n,), null where nothing is."""
    names = list(contexts)
    code = frame["context"].replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64).to_numpy()
    known = np.flatnonzero(code >= 0)
    keys = make_keys([canonical(one) for one in contexts.values()], code[known], frame["text"].gather(known)).hex()
    allowed = pl.DataFrame(
        [(name, label) for name, one in contexts.items() for label in one.labels],
        schema={"context": pl.String, "answer": pl.String},
        orient="row",
    ).with_columns(is_label=pl.lit(value=True))
    at, others = np.maximum(code, 0), [one.others for one in contexts.values()] or [()]
    label, rest = labels_of(frame["answer"], at, others), rest_of(frame["answer"])
    is_label = frame.select("context", label.alias("answer")).join(
        allowed, on=["context", "answer"], how="left", maintain_order="left"
    )["is_label"]
    return (
        pl.DataFrame({"key": frame["key"], "known": code >= 0, "is_label": is_label, "odd": wrong(rest, at, others)})
        .with_columns(made=pl.Series("made", [None], pl.String).new_from_index(0, frame.height).scatter(known, keys))
        .select(
            pl.when(~pl.col("known"))
            .then(pl.lit("its context is missing or damaged"))
            .when(pl.col("key") != pl.col("made"))
            .then(pl.lit("its key is not that of its context and text"))
            .when(pl.col("is_label").is_null())
            .then(pl.lit("its answer is none of its context's labels"))
            .when("odd")
            .then(pl.lit("its answer is not to the fields of its context"))
            .alias("reason")
        )
        .to_series()
    )


def holdings(archive: Archive | None) -> Holdings:
    """Count what would be lost with an archive."""
    n, cost_usd = 0, Decimal(0)
    for frame in () if archive is None else archive.scan():
        n, cost_usd = n + frame.height, cost_usd + Decimal(frame["cost_usd"].sum())
    return Holdings(schema_version=SCHEMA_VERSION, n_entries=n, cost_usd=f"{cost_usd:f}", is_cleared=False)


def clear(archive: Archive, folder: Path) -> None:
    """Delete every answer of the archive of `folder`, all that was derived from it, and what is never answered."""
    archive.clear()
    drop_sidecars(folder)
    with locked(folder):
        for name in (popularity.FILE, refusals.FILE):
            (folder / name).unlink(missing_ok=True)


def drop_sidecars(folder: Path) -> None:
    """Remove the indexes beside the archive: they describe texts; the next run makes them again."""
    with locked(folder):
        for name in _SIDECARS:
            shutil.rmtree(folder / name, ignore_errors=True)
