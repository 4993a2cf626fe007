"""The paid path as a user meets it: a table, settings, an endpoint of our own, and the command.

With REVIEWOPT_FAULTS_LONG=1 (`make faults`) the tests take their long forms.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
from endpoint import Endpoint
from endpoint_replies import canonical, label_of

from reviewopt import cli

LONG = os.environ.get("REVIEWOPT_FAULTS_LONG") == "1"
LABELS = ("negative", "neutral", "positive")
PRICES = {"price_in_usd": 0.1, "price_out_usd": 0.4}
KEY_VARIABLE = "SHOP_KEY"
THREADS = 4
PACK = 10
# Only what is asked is measured here: nothing is shared between texts that are alike, and no wait is long.
SETTINGS: dict[str, Any] = {
    "dedup.near": "off",
    "cache.similar.enabled": False,
    "cache.archive.similar": False,
    "ask.threads": THREADS,
    "ask.cooldown_s": 0.05,
    "pack.fixed": PACK,
}
_PLAIN = {"COLUMNS": "120", "NO_COLOR": "1"}
_WORDS = ("red", "blue", "old", "new", "big", "small", "soft", "hard", "cheap", "dear", "slow", "fast", "warm", "dull")


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A command that ended: `record` is the newest run's, empty where there is none."""

    exit_code: int
    stdout: str
    stderr: str
    record: Mapping[str, Any]


def texts_of(n: int, first: int = 0) -> list[str]:
    """Return `n` short reviews, each a different one."""
    made = []
    for at in range(first, first + n):
        drawn = sha256(b"%d" % at).digest()[:6]
        made.append(f"{' '.join(_WORDS[byte % len(_WORDS)] for byte in drawn)} thing {at}")
    return made


def prepare(
    folder: Path,
    endpoint: Endpoint,
    texts: Sequence[str | None],
    *,
    model: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    **columns: Sequence[Any],
) -> None:
    """Write in.parquet and reviewopt.toml, whose model `fake` is the endpoint."""
    folder.mkdir(exist_ok=True)
    frame = {"id": [f"id{at}" for at in range(len(texts))], "text": texts, **columns}
    pl.DataFrame(frame, schema_overrides={"text": pl.String}).write_parquet(folder / "in.parquet")
    write_settings(folder, {"base_url": endpoint.base_url, **(model or {})}, settings or {})


def write_settings(folder: Path, model: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write reviewopt.toml with these in place of our own."""
    of_model = {"kind": "chat", "model": "fake-1", "simulated": True, "price": {"input_usd": 0.1, "output_usd": 0.4}}
    tree: dict[str, dict[str, Any]] = {"models.fake": {**of_model, **model}}
    for name, value in {**SETTINGS, **settings}.items():
        section, _, key = name.rpartition(".")
        tree.setdefault(section, {})[key] = value
    lines = [
        line
        for name, values in tree.items()
        for line in (f"[{name}]", *(f"{k} = {_toml(v)}" for k, v in values.items()))
    ]
    (folder / "reviewopt.toml").write_text("\n".join(lines) + "\n")


def start(folder: Path, *flags: str, table: str = "in.parquet", output: str = "out.parquet") -> subprocess.Popen[str]:
    """Start labelling the table with the model `fake`, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "reviewopt", *_arguments(flags, table, output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, **_PLAIN},
    )


def ended(folder: Path, running: subprocess.Popen[str], within_s: float = 120) -> Ran:
    """Wait for the end of a command, and read what it left."""
    try:
        stdout, stderr = running.communicate(timeout=within_s)
    finally:
        running.kill()
    return Ran(exit_code=running.returncode, stdout=stdout, stderr=stderr, record=record(folder))


def run(
    folder: Path,
    *flags: str,
    table: str = "in.parquet",
    output: str = "out.parquet",
    environment: Mapping[str, str] | None = None,
) -> Ran:
    """Label the table, in this process: all that a process of its own would do but for its start, which takes seconds.

    No thread may be left over.
    """
    threads = set(threading.enumerate())
    with (
        tempfile.TemporaryFile("w+") as stdout,
        tempfile.TemporaryFile("w+") as stderr,
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        contextlib.chdir(folder),
        _environment({**_PLAIN, **(environment or {})}),
    ):
        exit_code = cli.run(_arguments(flags, table, output))
        said = [(file.seek(0), file.read())[1] for file in (stdout, stderr)]
    assert set(threading.enumerate()) <= threads
    return Ran(exit_code=exit_code, stdout=said[0], stderr=said[1], record=record(folder))


def record(folder: Path) -> Mapping[str, Any]:
    """The newest run's record, empty where there is none."""
    records = sorted(folder.glob("home/runs/*/run.json"))
    return json.loads(records[-1].read_bytes()) if records else {}


def _arguments(flags: Sequence[str], table: str, output: str) -> list[str]:
    return ["process", table, "-o", output, "--force", "--model", "fake", "--home", "home", "--yes", *flags]


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before, terminate = dict(os.environ), signal.getsignal(signal.SIGTERM)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        signal.signal(signal.SIGTERM, terminate)


def kill_after(endpoint: Endpoint, n_requests: int, running: subprocess.Popen[str], how: signal.Signals) -> None:
    """Send a signal when the endpoint has met so many requests more."""
    met = endpoint.stats().n_requests + n_requests
    until(lambda: endpoint.stats().n_requests >= met or running.poll() is not None)
    running.send_signal(how)


def until(holds: Any, within_s: float = 60) -> None:
    """Wait until something holds, and fail where it never does."""
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.005)


def rows(folder: Path, output: str = "out.parquet") -> pl.DataFrame:
    """The labelled table."""
    return pl.read_parquet(folder / output)


def failures(folder: Path) -> list[dict[str, Any]]:
    """What failures.jsonl of the newest run holds."""
    path = max(folder.glob("home/runs/*/run.json")).with_name("failures.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def not_right(folder: Path, output: str = "out.parquet") -> list[str]:
    """The texts whose label is not the endpoint's, the unlabelled ones among them."""
    pairs = rows(folder, output).select("text", "sentiment").iter_rows()
    return [text for text, label in pairs if label != label_of(text, LABELS)]


def paid_again(endpoint: Endpoint) -> int:
    """How many answers were charged beyond one a text."""
    return sum(n - 1 for n in endpoint.ledger(billed=True).values())


def is_each_answered_once(endpoint: Endpoint, texts: Sequence[str]) -> bool:
    """Whether the endpoint gave each text one right answer, and none two."""
    return endpoint.ledger() == dict.fromkeys(map(canonical, texts), 1)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return "inf" if value == math.inf else json.dumps(value)
