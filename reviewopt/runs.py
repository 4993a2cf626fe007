"""Run records: what a run read, did, cost and found, in `HOME/runs/ID/run.json`.

The record is written before the first row and says `unfinished` until the run ends by itself, so a run that was killed
leaves a record that says so. A lock held by the living process tells a run that still works from one that is gone.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from reviewopt import __version__
from reviewopt.certificate import Certificate
from reviewopt.config import HOME_ENV, Setting
from reviewopt.errors import InputError
from reviewopt.record import SCHEMA_VERSION, Failure, Machine, Run

DEFAULT_HOME: Final = ".reviewopt"
# Folders of a home: runs, and those in which a rival was asked, which are no run of the user's.
RUNS: Final = "runs"
RIVALS: Final = "rivals"
FAILURES: Final = "failures.jsonl"
CERTIFICATE: Final = "certificate.json"
_RUN_ID: Final = re.compile(r"\d{8}-\d{6}-\d{6}")


class Home:
    """The folder that holds a user's state, private to the user."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def new_run(self, place: str = RUNS) -> Recorder:
        """Make the folder of a new run and take its lock; runs of rivals have a place of their own.

        Raises:
            InputError: the folder cannot be made.
        """
        try:
            for folder in (self.path, self.path / place):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            while True:
                folder = self.path / place / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
                with suppress(FileExistsError):  # another run began in the same microsecond
                    folder.mkdir(mode=0o700)
                    return Recorder(folder)
        except OSError as error:
            raise InputError(
                f"cannot keep the run's record in {self.path}: {error}; name another place with --home"
            ) from error

    def run_ids(self) -> list[str]:
        """Return the runs of this home, oldest first."""
        return [path.parent.name for path in self.records() if path.parent.parent.name == RUNS]

    def _without_record(self) -> str | None:
        """Return the latest run that recorded nothing, neither a run nor what a certified table left unanswered."""
        folders = (path for path in self.path.glob(f"{RUNS}/*") if _RUN_ID.fullmatch(path.name))
        kept = ("run.json", FAILURES)
        return max((one.name for one in folders if not any((one / name).exists() for name in kept)), default=None)

    def records(self) -> list[Path]:
        """Return every record of this home, those of rivals too, oldest first."""
        every = (path for place in (RUNS, RIVALS) for path in self.path.glob(f"{place}/*/run.json"))
        return sorted((one for one in every if _RUN_ID.fullmatch(one.parent.name)), key=lambda one: one.parent.name)

    def find(self, name: str | None) -> Path:
        """Return the record of a run: its ID, a folder or file, or the latest run for None.

        Raises:
            InputError: there is none.
        """
        if name is None:
            ids = self.run_ids()
            if (last := self._without_record()) is not None and last > max(ids, default=""):
                raise InputError(
                    f"the latest run {last} has no record: it ended before it began, or only begins; name a run, the "
                    f"last with a record is {max(ids, default='none')}"
                )
            if not ids:
                raise InputError(f"there is no run in {self.path}; make one: reviewopt process TABLE")
            return self.path / RUNS / ids[-1] / "run.json"
        if _RUN_ID.fullmatch(name):
            there = (one for one in self.records() if one.parent.name == name)
            path = next(there, self.path / RUNS / name / "run.json")
        else:
            path = Path(name) / "run.json" if Path(name).is_dir() else Path(name)
        if not path.is_file():
            raise InputError(
                f"there is no run {name} in {self.path}; the latest are: {', '.join(self.run_ids()[-3:]) or 'none'}"
            )
        return path


def home_setting(flag: Path | None) -> Setting:
    """Return where runs are kept: the flag, else REVIEWOPT_HOME, else `.reviewopt` of the current folder."""
    if flag is not None:
        return Setting(name="home", value=str(flag), origin="flag")
    if given := os.environ.get(HOME_ENV):
        return Setting(name="home", value=given, origin=HOME_ENV)
    return Setting(name="home", value=DEFAULT_HOME, origin="default")


def home_folder(flag: Path | None) -> Home:
    """Open the home that the flag, the environment or the current folder names."""
    return Home(Path(str(home_setting(flag).value)))


class Recorder:
    """One run's folder while the run lives: its lock, its clock and its record."""

    def __init__(self, folder: Path) -> None:
        self.run_id = folder.name
        self.folder = folder
        self.stage_s: dict[str, float] = {}
        self._path = folder / "run.json"
        self._lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.started_at = now()
        self._started_s = time.perf_counter()

    @property
    def wall_s(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._started_s

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the seconds spent inside to the stage `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stage_s[name] = self.stage_s.get(name, 0.0) + time.perf_counter() - start

    def fold_stages(self, name: str) -> None:
        """Put the seconds of all stages so far under one name."""
        self.stage_s = {name: sum(self.stage_s.values())}

    def save(self, run: Run) -> None:
        """Replace the record, whole or not at all.

        Raises:
            InputError: it cannot be written.
        """
        partial = self._path.with_suffix(".partial")
        try:
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")
            partial.replace(self._path)
        except OSError as error:
            raise InputError(f"cannot keep the run's record in {self._path.parent}: {error}") from error

    def keep_certificate(self, certificate: Certificate) -> None:
        """Write `certificate.json` into the run's folder.

        Raises:
            InputError: it cannot be written.
        """
        path = self.folder / CERTIFICATE
        try:
            path.write_bytes(msgspec.json.format(msgspec.json.encode(certificate), indent=2) + b"\n")
        except OSError as error:
            raise InputError(f"cannot keep the certificate in {self.folder}: {error}") from error

    def keep_failures(self, failures: Sequence[Failure]) -> None:
        """Append to `failures.jsonl` of the run's folder.

        Raises:
            InputError: it cannot be written.
        """
        try:
            with (self.folder / FAILURES).open("ab") as file:
                file.write(b"".join(msgspec.json.encode(one) + b"\n" for one in failures))
        except OSError as error:
            raise InputError(f"cannot keep the failures in {self.folder}: {error}") from error

    def close(self) -> None:
        """Give up the lock."""
        os.close(self._lock)


def is_run_id(name: str) -> bool:
    """Say whether a folder of this name is a run's."""
    return _RUN_ID.fullmatch(name) is not None


def is_alive(record: Path) -> bool:
    """Say whether the process that writes this record still runs."""
    try:
        lock = os.open(record.with_name("lock"), os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def read(record: Path) -> Run:
    """Read a record.

    Raises:
        InputError: it is damaged, or of another version.
    """
    try:
        run = msgspec.json.decode(record.read_bytes(), type=Run)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{record}: not a run record of this version ({error}); label the table again, or read it with the version "
            "that wrote it"
        ) from error
    if run.schema_version != SCHEMA_VERSION:
        raise InputError(f"{record}: a record of version {run.schema_version}; this reviewopt reads {SCHEMA_VERSION}")
    return run


def now() -> str:
    """Return the time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def this_machine() -> Machine:
    """Describe the machine without naming it."""
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        n_cores=n_cores(),
        python=platform.python_version(),
    )


def n_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_bytes() -> int:
    """Return the largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def versions(libraries: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of the tool and of the loaded `libraries`."""
    return {"reviewopt": __version__} | {
        name: sys.modules[name].__version__ for name in libraries if name in sys.modules
    }
