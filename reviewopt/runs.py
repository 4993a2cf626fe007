"""Run records: what a run read, did, cost and found, in `HOME/runs/ID/run.json`.

The record is written before the first row and says `unfinished` until the run ends by itself, so a run that was killed
leaves a record that says so. A lock held by the living process tells a run that still works from one that is gone.
"""

from __future__ import annotations

import fcntl
import inspect
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
from typing import Final, Literal

import msgspec

from reviewopt import __version__
from reviewopt.accuracy import Accuracy
from reviewopt.config import HOME_ENV, Setting
from reviewopt.data import Alert, Frozen, GroupCounts
from reviewopt.errors import InputError

SCHEMA_VERSION: Final = 3
DEFAULT_HOME: Final = ".reviewopt"
FAILURES: Final = "failures.jsonl"
_RUN_ID: Final = re.compile(r"\d{8}-\d{6}-\d{6}")
Status = Literal["unfinished", "done", "failed", "interrupted"]


class Machine(Frozen, frozen=True, kw_only=True):
    """Where the run ran."""

    system: str
    n_cores: int
    python: str


class Input(Frozen, frozen=True, kw_only=True):
    """The tables read. `fingerprint` is of their content, null until all was read."""

    names: tuple[str, ...]
    columns: dict[str, str | None]
    fingerprint: str | None


class ModelRecord(Frozen, frozen=True, kw_only=True):
    """The model that answered; `languages` are those it was trained on, none where that is not known."""

    name: str
    is_paid: bool
    sha256: str | None
    languages: tuple[str, ...]


class Cost(Frozen, frozen=True, kw_only=True):
    """USD as decimal strings: what the answers cost, as in the output's cost column, and what the machine cost.

    `naive_usd` is what the same model would have cost, one request a row, for every row with something to ask: what was
    paid and what each kind of reuse and packing (`packs`) saved add up to it. Of a paid model it is an estimate, from
    the rows' bytes and the tokens counted in this run.
    """

    naive_usd: str
    saved_usd: dict[str, str]
    answers_usd: str
    machine_usd: str
    machine_usd_per_hour: str


class Tokens(Frozen, frozen=True, kw_only=True):
    """Tokens as the endpoint counted them: `input` holds `cached` and `cache_write`, `output` holds `reasoning`."""

    input: int
    cached: int
    cache_write: int
    output: int
    reasoning: int


class Range(Frozen, frozen=True, kw_only=True):
    """What is expected, and from where to where."""

    low: float
    expected: float
    high: float


class UsdRange(Frozen, frozen=True, kw_only=True):
    """What is expected to be spent, and from where to where, as decimal strings."""

    low: str
    expected: str
    high: str


class Plan(Frozen, frozen=True, kw_only=True):
    """What a paid run was expected to take before it asked anything; `basis` says from what that was worked out."""

    schema_version: int
    n_rows: int
    n_by_source: dict[str, int]
    n_asked: int
    n_requests: int
    input_tokens: Range
    output_tokens: Range
    usd: UsdRange
    seconds: Range
    naive_usd: str
    naive_requests: int
    basis: str


class AskRecord(Frozen, frozen=True, kw_only=True):
    """What asking the model took.

    `outcomes` counts requests by how they ended; `n_asked` counts reviews in requests, `n_asked_again` those of them
    that had been asked before. `spent_usd` is what the ledger charged this run; `no_reply_usd` is the part of it that
    stays reserved for requests without a reply. `n_over_budget` reviews were left because of a budget; `failures`
    counts all by reason. `reply_s` is the mean, `waited_s` how long the endpoint asked everybody to wait.
    """

    endpoint: str
    is_simulated: bool
    price: str
    n_requests: int
    outcomes: dict[str, int]
    n_asked: int
    n_asked_again: int
    mean_pack_size: float | None
    n_shortened: int
    n_over_budget: int
    failures: dict[str, int]
    tokens: Tokens
    spent_usd: str
    no_reply_usd: str
    budget_usd: str | None
    reply_s: float | None
    waited_s: float
    most_in_flight: int
    alerts: tuple[Alert, ...]


class Failure(Frozen, frozen=True, kw_only=True):
    """A review that was asked and stayed unanswered, as `failures.jsonl` keeps it.

    `is_of_text`: the reason lies in the review, so that later runs leave it alone unless they are told to retry.
    """

    review_id: str | None
    tenant: str | None
    reason: str
    n_tries: int
    is_of_text: bool


class Run(Frozen, frozen=True, kw_only=True):
    """The record of one run; every key is always there.

    `hit_rate` is (l1 + l2 + l3) / questions looked up, `reuse_rate` (exact + near + l1 + l2 + l3) / rows that ask
    something. `n_given` questions have the answer of a person or of labelled history.
    """

    schema_version: int
    run_id: str
    status: Status
    error: str | None
    started_at: str
    finished_at: str | None
    versions: dict[str, str]
    machine: Machine
    input: Input
    output: str
    output_columns: dict[str, str]
    task: str
    model: ModelRecord
    config: tuple[Setting, ...]
    notes: tuple[str, ...]
    near: str
    scope: str
    n_rows: int
    n_questions: int
    n_looked_up: int
    n_given: int
    n_near_without_language: int
    n_outside_languages: int
    n_by_source: dict[str, int]
    n_by_label: dict[str, int]
    groups: GroupCounts
    reuse_rate: float | None
    hit_rate: float | None
    stage_s: dict[str, float]
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    reviews_per_s: float | None
    cost: Cost
    asked: AskRecord | None
    plan: Plan | None
    accuracy: Accuracy | None


class Home:
    """The folder that holds a user's state, private to the user."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def new_run(self) -> Recorder:
        """Make the folder of a new run and take its lock.

        Raises:
            InputError: the folder cannot be made.
        """
        try:
            for folder in (self.path, self.path / "runs"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            while True:
                folder = self.path / "runs" / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
                with suppress(FileExistsError):  # another run began in the same microsecond
                    folder.mkdir(mode=0o700)
                    return Recorder(folder)
        except OSError as error:
            raise InputError(
                f"cannot keep the run's record in {self.path}: {error}; name another place with --home"
            ) from error

    def run_ids(self) -> list[str]:
        """Return the runs of this home, oldest first."""
        return sorted(
            path.parent.name for path in self.path.glob("runs/*/run.json") if _RUN_ID.fullmatch(path.parent.name)
        )

    def find(self, name: str | None) -> Path:
        """Return the record of a run: its ID, a folder or file, or the latest run for None.

        Raises:
            InputError: there is none.
        """
        if name is None:
            ids = self.run_ids()
            if not ids:
                raise InputError(f"there is no run in {self.path}; make one: reviewopt process TABLE")
            return self.path / "runs" / ids[-1] / "run.json"
        if _RUN_ID.fullmatch(name):
            path = self.path / "runs" / name / "run.json"
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
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(
            f"{record}: not a run record of this version ({error}); label the table again, or read it with the version "
            "that wrote it"
        ) from error
    if run.schema_version != SCHEMA_VERSION:
        raise InputError(f"{record}: a record of version {run.schema_version}; this reviewopt reads {SCHEMA_VERSION}")
    return run


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of run.json; `configs/run.schema.json` is its committed form."""
    schema = msgspec.json.schema(Run)
    for definition in schema["$defs"].values():  # Python 3.13 strips the indentation of docstrings, earlier ones do not
        definition["description"] = inspect.cleandoc(definition.get("description", ""))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


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
