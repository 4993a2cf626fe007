"""Two runs on one home, and a run that is killed: nothing paid for is lost, and nobody waits for the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from fakes import FakeModel, process

LONG = os.environ.get("REVIEWOPT_FAULTS_LONG") == "1"
TESTS = Path(__file__).resolve().parents[1]
PAID: dict[str, Any] = {"source": "gpt", "price_usd": "0.001", "settings": {"dedup.near": "off", "pack.fixed": 5}}
# A run of a (simulated) paid model that prints how many answers are archived after each chunk.
RUN = """
import sys, time
from pathlib import Path
from reviewopt import config, load, pipeline
from fakes import make_job
table, folder, output, pause_s = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
def told(n_rows, n_total, wall_s):
    print(n_rows, flush=True)
    time.sleep(pause_s)
with (
    load.open_table([str(table)], task=config.load_task("sentiment"), chunk_rows=20) as opened,
    make_job(
        opened, folder, source="gpt", price_usd="0.001", output=output, settings={"dedup.near": "off", "pack.fixed": 5}
    ) as job,
):
    pipeline.process(job, told)
"""


def start(table: Path, folder: Path, output: str, pause_s: float = 0.0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(table), str(folder), output, str(pause_s)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )


def table_of(path: Path, first: int, n: int) -> list[str]:
    texts = [f"{chr(97 + at % 26) * 40} {at}" for at in range(first, first + n)]
    pl.DataFrame({"text": texts}).write_parquet(path)
    return texts


def was_asked(model: FakeModel) -> bool:
    return bool(model.asked)


def test_two_runs_at_once_keep_every_answer_of_both(tmp_path: Path) -> None:
    for name, first in (("a", 0), ("b", 100)):
        table_of(tmp_path / f"{name}.parquet", first, 100)
    running = [start(tmp_path / f"{name}.parquet", tmp_path, f"{name}.out.parquet") for name in "ab"]
    for one in running:
        one.communicate(timeout=60)
        assert one.returncode == 0
    for name in "ab":
        model = FakeModel()
        run, _ = process(tmp_path / f"{name}.parquet", tmp_path, model=model, **PAID)
        assert model.asked == []
        assert run.hit_rate == 1.0


def test_a_killed_run_goes_on_where_it_was_and_its_locks_are_free(tmp_path: Path) -> None:
    texts = table_of(tmp_path / "in.parquet", 0, 200)
    for killed_after in (1, 3) if LONG else (2,):
        running = start(tmp_path / "in.parquet", tmp_path, "out.parquet", pause_s=0.05)
        assert running.stdout is not None
        for _ in range(killed_after):
            told = running.stdout.readline()
        os.kill(running.pid, signal.SIGKILL)
        running.communicate(timeout=60)
        model = FakeModel()
        started = time.monotonic()
        with suppress(KeyboardInterrupt):
            process(tmp_path / "in.parquet", tmp_path, model=model, is_stopping=partial(was_asked, model), **PAID)
        assert not set(model.asked) & set(texts[: int(told)])
        assert time.monotonic() - started < 30  # nobody waits for the lock of a dead process
    model = FakeModel()
    process(tmp_path / "in.parquet", tmp_path, model=model, **PAID)
    assert set(model.asked).isdisjoint(texts[: int(told)])
