"""Deleting the folders of old runs: never one that is written, never through a link, never what is not a run's."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from reviewopt import runs
from reviewopt.data import Frozen
from reviewopt.errors import InputError
from reviewopt.past.reading import run_ids
from reviewopt.past.values import SCHEMA_VERSION
from reviewopt.runs import Home

# What a run leaves in its folder, by whatever it ended.
_FILES: Final = frozenset(
    {"run.json", "run.partial", "lock", runs.FAILURES, runs.CERTIFICATE, "certificate.partial", "staged", "spend"}
)
# A run takes its lock right after it made its folder: one that has neither lock nor record that late is gone.
_BEGINNING_S: Final = 3600


class Gone(Frozen, frozen=True, kw_only=True):
    """A run whose folder of `n_bytes` is deleted, or would be."""

    run_id: str
    n_bytes: int


class Held(Frozen, frozen=True, kw_only=True):
    """A run that was old enough and stays, and why."""

    run_id: str
    reason: str


class Pruned(Frozen, frozen=True, kw_only=True):
    """What was deleted, oldest first, or where not `is_deleted` would be; `n_left` runs stay, `held` among them."""

    schema_version: int
    is_deleted: bool
    n_bytes: int
    n_left: int
    gone: tuple[Gone, ...]
    held: tuple[Held, ...]


class _Stays(Exception):  # noqa: N818 - no error: a reason
    """Why a folder is not deleted."""


def prune(
    home: Home,
    *,
    now_s: float,
    keep: int | None = None,
    before_s: float | None = None,
    is_deleting: bool = False,
    delete: Callable[[Path], None] = shutil.rmtree,
) -> Pruned:
    """Delete the folders of the runs that are not among the `keep` latest and began before the Unix time `before_s`.

    Only folders in the home's `runs` that are named as a run is; the archive, the spend ledger and the tables that runs
    wrote are not touched. Where one cannot be deleted, the others are all the same.

    Raises:
        InputError: the folder of the runs is a link.
    """
    folder = home.path / runs.RUNS
    if folder.is_symlink():
        raise InputError(f"{folder} is a link, and nothing is deleted through one; name the home that it leads to")
    ids = run_ids(home)
    gone: list[Gone] = []
    held: list[Held] = []
    for run_id in ids[: len(ids) - (keep or 0)] if (keep or 0) < len(ids) else []:
        try:
            began_s = _began_s(run_id)
            if before_s is not None and began_s >= before_s:
                continue
            with _ours(folder / run_id, may_begin=now_s - began_s < _BEGINNING_S, is_deleting=is_deleting):
                n_bytes = _size(folder / run_id)
                if is_deleting:
                    delete(folder / run_id)
        except _Stays as stays:
            held.append(Held(run_id=run_id, reason=str(stays)))
        except OSError as error:
            held.append(Held(run_id=run_id, reason=f"it cannot be deleted: {error.strerror}"))
        else:
            gone.append(Gone(run_id=run_id, n_bytes=n_bytes))
    return Pruned(
        schema_version=SCHEMA_VERSION,
        is_deleted=is_deleting,
        n_bytes=sum(one.n_bytes for one in gone),
        n_left=len(ids) - len(gone),
        gone=tuple(gone),
        held=tuple(held),
    )


def _began_s(run_id: str) -> float:
    """Return when a run began, which its id says."""
    try:
        return datetime.strptime(run_id, "%Y%m%d-%H%M%S-%f").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise _Stays("its name is no time") from None


@contextmanager
def _ours(folder: Path, *, may_begin: bool, is_deleting: bool) -> Iterator[None]:
    """Hold the lock of a run that is over, so that nobody takes it for one that runs, or deletes it too.

    Raises:
        _Stays: it runs, or the folder is not just a run's.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise _Stays("it is a link" if folder.is_symlink() else "it is no folder")
    names = {path.name for path in folder.iterdir()}
    if others := sorted(names - _FILES):
        raise _Stays(f"it holds what is not the run's: {', '.join(others[:3])}")
    if "lock" not in names:
        if may_begin and "run.json" not in names:
            raise _Stays("it may be about to begin")
        yield
        return
    lock = os.open(folder / "lock", os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, (fcntl.LOCK_EX if is_deleting else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise _Stays("it is running") from None
    finally:
        os.close(lock)


def _size(folder: Path) -> int:
    """Return the bytes of all files below a folder; links count as themselves."""
    return sum(os.lstat(Path(parent) / name).st_size for parent, _, names in os.walk(folder) for name in names)
