"""Measures what asking a paid model takes: time, CPU, tokens, memory, and requests beyond the needed ones.

    python tests/benchmarks/asking.py --mock PATH                            # every case; about an hour
    python tests/benchmarks/asking.py --mock PATH --skip-naive               # without the sequential run
    python tests/benchmarks/asking.py --mock PATH --cases limits --scale .1  # a trial, kept only with --output

The endpoint is simulated and on loopback (`asking_endpoint.py`), so only our own part of any time means something. It
is a process of its own, a fresh one for each run, and the command is another one with a fresh home. Its reviews are
made, fifteen words each, but for one table of real ones in the case `tokens`.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import asking_endpoint
import machine
import reuse
import speed
from asking_cases import CASES, TABLE, Bench

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "asking.json"
PACKAGES = ("reviewopt", "polars", "urllib3", "msgspec", "diskcache")
NOT_MEASURED = "not measured"

Figures = dict[str, Any]
# Case, figure, comparison and bound, as in reuse.py.
TARGETS: tuple[reuse.Target, ...] = (
    ("speed", "packed.wall_s", "<", 15),
    ("speed", "times_faster", ">=", 25),
    ("cpu", "logprobs.128_threads.cpu_ms_a_request", "<=", 0.8),
    ("cpu", "plain.128_threads.cpu_ms_a_request", "<=", 0.8),
    ("limits", "one_process.rate_share", ">=", 0.95),
    ("limits", "one_process.waste_share", "<=", 0.02),
    ("limits", "one_process.lost", "==", 0),
    ("limits", "two_processes.waste_share", "<=", 0.03),
    ("limits", "two_processes.lost", "==", 0),
    ("limits", "concurrency.rate_share", ">=", 0.75),
    ("limits", "concurrency.lost", "==", 0),
    ("tokens", "short.packs_of_25.saved_share", ">=", 0.8),
    ("tokens", f"{TABLE}.packs_of_25.saved_share", ">=", 0.8),
    ("faults", "labelled_share", "==", 1),
    ("faults", "reviews_answered_twice", "==", 0),
    ("memory", "small_chunks.growth_share", "<=", 0.1),
)


def measured(bench: Bench, names: list[str]) -> Figures:
    """The whole result, as it is written."""
    before, found = machine.described(), {}
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr)
        try:
            found[name] = CASES[name](bench)
        except speed.CommandFailedError as error:
            found[name] = {"failed": str(error)}
    return {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "command": shlex.join([Path(sys.argv[0]).name, "--cases", ",".join(names)]),
        "simulated": True,
        "note": asking_endpoint.NOTE,
        "trial_scale": bench.scale,
        "machine": before,
        "versions": machine.versions(PACKAGES),
        "cases": found,
        "targets": reuse.judged(found, TARGETS),
    }


COLUMNS = ("rows", "wall_s", "cpu_s", "cpu_ms_a_request", "requests", "requests_per_s", "tokens_a_row", "waste_share",
           "rate_share", "lost", "peak_rss_mb")  # fmt: skip


def printed(result: Figures) -> list[str]:
    """The medians of every measurement, a line each."""
    lines = [f"{'(simulated)':36}" + "".join(f"{name[:11]:>12}" for name in COLUMNS)]
    for name, case in result["cases"].items():
        for path, part in parts(name, case):
            shown = [reuse.figure_of(part, column) for column in COLUMNS]
            cells = "".join(f"{'-' if one is None else f'{one:,}':>12}" for one in shown)
            lines.append(f"{path:36}{cells}")
        if "failed" in case:
            lines.append(f"{name:36}{case['failed']}")
    return lines


def parts(path: str, figures: Figures) -> list[tuple[str, Figures]]:
    """The measurements in a case's figures, with their names."""
    if "rows" in figures and any(name in figures for name in ("wall_s", "asking_s")):
        return [(path, figures)]
    return [found for name, part in figures.items() if isinstance(part, dict) and name != "endpoint"
            for found in parts(f"{path} {name}", part)]  # fmt: skip


def ending(result: Figures) -> list[str]:
    """The targets, and what a reader must know."""
    lines = []
    for row in result["targets"]:
        said = {True: "met", False: "NOT MET", None: NOT_MEASURED}[row["met"]]
        lines.append(f"{row['case']:8}{row['figure']} {row['target']}: {row['measured']} {said}")
    busy, cores = result["machine"]["load_1_min"], result["machine"]["cores"]
    if busy > cores / 4:
        lines.append(f"The machine was busy (load {busy} on {cores} cores): trust the CPU seconds, not the wall times.")
    if result["trial_scale"] is not None:
        lines.append("A trial on a part of the rows: no target counts.")
    return [*lines, asking_endpoint.NOTE]


def main() -> int:
    """Reads the command line, measures, writes the JSON, prints the table; 1 if a target is missed or not measured."""
    parser = argparse.ArgumentParser(description="Measure what asking takes; the endpoint is simulated.")
    asking_endpoint.add_option(parser)
    parser.add_argument("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--data", type=Path, default=speed.DATA, help="folder of the review tables")
    parser.add_argument("--runs", type=int, default=5, help="runs of what is repeated")
    parser.add_argument("--skip-naive", action="store_true", help="leave out the sequential run: it takes 25 minutes")
    parser.add_argument(
        "--scale", type=float, help="a small trial with this share of the rows; kept only with --output"
    )
    parser.add_argument("--output", type=Path, help=f"JSON file (default results/{RESULTS.name})")
    args = parser.parse_args()
    names = args.cases.split(",")
    if unknown := set(names) - set(CASES):
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    path = args.output or (None if args.scale else RESULTS)
    if args.scale and path is not None and path.resolve() == RESULTS:
        parser.error(f"a trial never replaces {RESULTS.name}")
    mock = asking_endpoint.script_of(parser, args.mock)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(mock, args.data, Path(scratch), args.runs, args.scale, args.skip_naive)
        result = measured(bench, names)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("\n".join([*printed(result), *ending(result)]))
    return 0 if all(row["met"] for row in result["targets"]) else 1


if __name__ == "__main__":
    sys.exit(main())
