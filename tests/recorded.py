"""Records of runs that were never made: one real run's, with what a test is about changed."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from fakes import process

from reviewopt.accuracy import wilson
from reviewopt.past import Entry
from reviewopt.record import Machine, Run
from reviewopt.runs import Home

IDS = tuple(f"202601{day:02}-030405-000000" for day in range(1, 29))


@functools.cache
def example() -> Run:
    """The record of a real run of six reviews, with whatever differs between two runs held still."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "in.csv"
        table.write_text("id,text,stars\n1,good,5\n2,bad one,1\n3,,3\n4,it broke,1\n5,so so,3\n6,good,5\n")
        run, _ = process(table, Path(folder))
    return msgspec.structs.replace(
        run,
        run_id=IDS[0],
        started_at="2026-01-01T03:04:05+00:00",
        finished_at="2026-01-01T03:04:06+00:00",
        versions={"reviewopt": "0"},
        machine=Machine(system="Linux x86_64", n_cores=2, python="3"),
        input=msgspec.structs.replace(run.input, names=("shop/in.csv",), fingerprint="f" * 64),
        output="out.parquet",
        stage_s={"load": 0.25},
        wall_s=1.5,
        cpu_s=2.0,
        peak_memory_bytes=100_000_000,
        reviews_per_s=4.0,
        cost=msgspec.structs.replace(run.cost, machine_usd="0.000041666667", machine_usd_per_hour="0.1"),
    )


def keep(home: Home, run_id: str = IDS[0], **changes: Any) -> Path:
    """Keep the record of a run that is over; return its folder."""
    folder = home.path / "runs" / run_id
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    made = msgspec.structs.replace(example(), run_id=run_id, **changes)
    (folder / "run.json").write_bytes(msgspec.json.encode(made))
    return folder


def entry(run_id: str = IDS[0], **changes: Any) -> Entry:
    """A run of a million rows as the list has it."""
    usual = Entry(
        run_id=run_id,
        state="done",
        error=None,
        started_at="2026-01-01T03:04:05+00:00",
        finished_at="2026-01-01T03:14:05+00:00",
        task="sentiment",
        inputs=("shop/reviews.parquet",),
        fingerprint="f" * 64,
        output="out.parquet",
        models=("local", "gpt-mini"),
        reference=None,
        is_simulated=False,
        n_rows=1_000_000,
        n_failed=3,
        usd_from="record",
        usd="1.234567",
        models_usd="1.217900",
        machine_usd="0.016667",
        usd_per_1000="0.001234567000",
        hit_rate=0.25,
        reuse_rate=0.4,
        accuracy=wilson(9_340, 10_000),
        n_labelled=10_000,
        is_certified=None,
        target=None,
        accuracy_low=None,
        seconds=600.0,
        reviews_per_s=1666.6666,
    )
    return msgspec.structs.replace(usual, **changes)
