"""Checks of what a home keeps: its folder, the disk below it, the archive of answers and the spend ledger."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Final

from reviewopt.doctor.values import Check, Figure, Status
from reviewopt.errors import InputError

# A million answers take about half a gigabyte (430 bytes each, and their indexes), and taking one back rewrites the
# file beside itself: this is room for some millions.
LITTLE_FREE_BYTES: Final = 5 * 10**9
# SQLite's log alone may grow to 64 MB before it is taken in, beside that of the ledger and the output itself.
LEAST_FREE_BYTES: Final = 200 * 10**6
_OTHER_HOME: Final = "name another place with --home"


def permissions(home: Path) -> Check:
    """See whether the home is the user's alone, and can be written."""
    figures: dict[str, Figure] = {"home": str(home), "exists": False, "mode": None}
    try:
        if os.path.lexists(home):
            found = home.stat().st_mode
            figures |= {"exists": True, "mode": f"{stat.S_IMODE(found):04o}"}
            status, words, advice = _of_folder(home, found)
        else:
            status, words, advice = _of_none(home)
    except OSError as error:
        status, words, advice = "fail", f"{home} cannot be read: {error.strerror}", _OTHER_HOME
    return Check(name="home", status=status, found=words, advice=advice, figures=figures)


def _of_none(home: Path) -> tuple[Status, str, str]:
    above = _existing(home)
    if os.access(above, os.W_OK | os.X_OK):
        return "ok", f"there is no {home} yet; the first run makes it, for you alone", ""
    return "fail", f"{home} cannot be made: {above} may not be written", _OTHER_HOME


def _of_folder(home: Path, found: int) -> tuple[Status, str, str]:
    mode = stat.S_IMODE(found)
    if not stat.S_ISDIR(found):
        return "fail", f"{home} is not a folder", _OTHER_HOME
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        return "fail", f"{home} may not be read or written by you", f"chmod u+rwx {home}, or {_OTHER_HOME}"
    if mode & 0o077:
        return "warn", f"others can get into {home} (mode {mode:04o})", f"chmod 700 {home}"
    return "ok", f"{home} is yours alone (mode {mode:04o})", ""


def disk(home: Path) -> Check:
    """See how much room is left where the home is or will be."""
    figures: dict[str, Figure] = {"free_bytes": None}
    try:
        place = _existing(home)
        free = shutil.disk_usage(place).free
    except OSError as error:
        found = f"nobody knows how much is free: {error.strerror}"
        return Check(name="disk", status="warn", found=found, advice=_OTHER_HOME, figures=figures)
    return Check(
        name="disk",
        status=disk_status(free),
        found=f"{_size(free)} free at {place}",
        advice=f"free some space, or {_OTHER_HOME}" if free < LITTLE_FREE_BYTES else "",
        figures={"free_bytes": free},
    )


def disk_status(free_bytes: int) -> Status:
    """Say what so much free space means."""
    if free_bytes < LEAST_FREE_BYTES:
        return "fail"
    return "warn" if free_bytes < LITTLE_FREE_BYTES else "ok"


def archive(home: Path) -> Check:
    """Look into the archive without changing it: is it ours, and does SQLite find its file sound."""
    from reviewopt.cache import disk as database
    from reviewopt.cache import shelf
    from reviewopt.cache.reader import Reader

    folder = home / shelf.FOLDER
    figures: dict[str, Figure] = {"exists": False, "n_entries": None, "n_bytes": None}

    def told(status: Status, found: str, advice: str = "") -> Check:
        return Check(name="archive", status=status, found=found, advice=advice, figures=figures)

    warnings: list[str] = []
    try:
        if not shelf.exists(home):
            return told("ok", "no answer is kept yet")
        n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        figures |= {"exists": True, "n_bytes": n_bytes}
        database.vet(folder / database.DATABASE)
        with closing(database.connect(folder / database.DATABASE, mode="ro")) as sql:
            complaint = str(sql.execute("PRAGMA quick_check(1)").fetchone()[0], "utf-8", "replace")
        reader = Reader(folder, warnings.append)
        reader.open()
        with closing(reader):
            n_entries = reader.state.n_entries
    except InputError as error:
        return told("fail", str(error), _OTHER_HOME)
    except OSError as error:
        return told("fail", f"{folder} cannot be read: {error.strerror}", _OTHER_HOME)
    except (sqlite3.Error, database.ForeignError) as error:
        why = (database.obstacle(error) if isinstance(error, sqlite3.Error) else None) or str(error)
        advice = "copy it away: the next run sets it aside and begins anew"
        return told("fail", f"{folder} cannot be used: {why}", advice)
    if complaint != "ok" or warnings:
        found = f"{folder} is damaged: {complaint if complaint != 'ok' else warnings[0]}"
        return told("fail", found, "reviewopt cache verify says what; export what can be read, clear, import")
    figures["n_entries"] = n_entries
    return told("ok", f"{n_entries:,} answers, {_size(n_bytes)}; reviewopt cache verify checks each")


def ledger(home: Path) -> Check:
    """Open the spend ledger, and add its entries up again."""
    from reviewopt import budget

    figures: dict[str, Figure] = {"n_runs": None, "charged_usd": None}
    try:
        stored = {scope: usd for scope, usd in budget.totals(home / budget.FOLDER).items() if usd}
        derived = {scope: usd for scope, usd in budget.recomputed(home / budget.FOLDER).items() if usd}
    except InputError as error:
        return Check(name="ledger", status="fail", found=str(error), figures=figures)
    by_run = [usd for scope, usd in stored.items() if scope.startswith("run:")]
    charged = sum(by_run, Decimal(0))
    figures = {"n_runs": len(by_run), "charged_usd": f"{charged:f}"}
    if stored != derived:
        found = "the totals by which budgets are kept are not what the entries add up to"
        advice = "let no run spend until a copy from a backup is in its place"
        return Check(name="ledger", status="fail", found=found, advice=advice, figures=figures)
    runs = "1 run" if len(by_run) == 1 else f"{len(by_run):,} runs"
    found = f"${charged:f} charged by {runs}; its entries add up" if by_run else "nothing was ever spent"
    return Check(name="ledger", status="ok", found=found, figures=figures)


def _existing(path: Path) -> Path:
    """Return the nearest folder above that is there, or the path itself."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())


def _size(n_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} B"
