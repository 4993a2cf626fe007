"""Measures the real command in processes of its own: seconds, CPU seconds, memory and reviews a second.

    python tests/benchmarks/speed.py                      # every case; about ten minutes on two cores
    python tests/benchmarks/speed.py --cases amazon_90k   # one of them

Every run starts a process with a fresh home, so nothing is answered from an earlier run. The rate is rows over the wall
time less the start-up, which is the median of the same command on a table of one row; the rate with the start-up stands
beside it. This process never loads polars: a child's peak memory starts at what its parent held when it was forked.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import machine

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "speed.json"
DATA = HERE.parents[1] / "data" / "labelled"
MADE_FROM = ("amazon_90k", "amazon_binary_30k", "flipkart_205k")
MADE = {"made_1m": 1_000_000, "made_5m": 5_000_000}
CASES = ("amazon_90k", "flipkart_205k", *MADE, "start")
HEAVY_IMPORTS = ("polars", "numpy", "scipy", "sklearn", "datasets", "typer", "rich")
# What the run of 2026-11 must reach on two cores. (measured value, comparison, bound)
TARGETS: dict[str, tuple[tuple[str, str, float], ...]] = {
    "amazon_90k": (("reviews_per_s", ">=", 120_000), ("peak_rss_mb", "<", 700)),
    "flipkart_205k": (("reviews_per_s", ">=", 300_000),),
    "made_1m": (("cpu_s", "<=", 12), ("peak_rss_mb", "<", 800)),
    "--version": (("cpu_s", "<=", 0.05),),
    "--help": (("cpu_s", "<=", 0.15),),
}
BYTES_A_DISTINCT_TEXT = 16
HOLDS = {">=": operator.ge, "<=": operator.le, "<": operator.lt}

Case = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One finished process; `cpu_s` is user and system time with all threads, `peak_rss_mb` in 10^6 bytes."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float


@dataclass(frozen=True)
class Bench:
    """What every case needs: the command to measure, where tables are, where files may be written, how often to run."""

    command: list[str]
    data: Path
    scratch: Path
    n_runs: int
    n_large_runs: int


class CommandFailedError(Exception):
    """The measured command did not exit with 0; the message holds the end of what it said."""


def run(argv: list[str], scratch: Path) -> Run:
    """Runs one command to its end and measures it.

    Raises:
        CommandFailedError: its exit code is not 0.
    """
    said = scratch / "stderr.txt"
    with said.open("wb") as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        last = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise CommandFailedError(f"exit {process.returncode}: {last[0][:200]}")
    # Linux gives ru_maxrss in KiB, macOS in bytes.
    rss_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Run(round(wall_s, 4), round(usage.ru_utime + usage.ru_stime, 4), round(rss_bytes / 1e6, 1))


def process_table(bench: Bench, table: Path) -> Run:
    """Runs `process` on one table, with a home that nothing was stored in."""
    with tempfile.TemporaryDirectory(dir=bench.scratch) as home:
        output = Path(home) / "labels.parquet"
        options = ["-o", str(output), "--force", "--quiet", "--home", str(Path(home) / "home")]
        return run([*bench.command, "process", str(table), *options], bench.scratch)


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and greatest of the runs."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def polars_says(code: str, *arguments: str) -> str:
    """What a few lines of polars print, run in a process of their own."""
    argv = [sys.executable, "-c", f"import sys, polars as pl\n{code}", *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def measure_start_up(bench: Bench, table: Path) -> float:
    """Median wall seconds of the command on the first row of `table`."""
    one = bench.scratch / "one_row.parquet"
    polars_says("pl.scan_parquet(sys.argv[1]).head(1).sink_parquet(sys.argv[2])", str(table), str(one))
    process_table(bench, one)
    return statistics.median(process_table(bench, one).wall_s for _ in range(bench.n_runs))


def measure_table(bench: Bench, table: Path, n_runs: int) -> Case:
    """Every figure of one table."""
    rows = int(polars_says("print(pl.scan_parquet(sys.argv[1]).select(pl.len()).collect().item())", str(table)))
    start_up_s = measure_start_up(bench, table)
    runs = [process_table(bench, table) for _ in range(n_runs)]
    wall_s = spread([one.wall_s for one in runs])
    net_s = wall_s["median"] - start_up_s
    return {
        "rows": rows,
        "n_runs": n_runs,
        "start_up_s": round(start_up_s, 4),
        "wall_s": wall_s,
        "cpu_s": spread([one.cpu_s for one in runs]),
        "peak_rss_mb": spread([one.peak_rss_mb for one in runs]),
        "reviews_per_s": round(rows / net_s) if net_s > 0 else None,
        "reviews_per_s_with_start_up": round(rows / wall_s["median"]),
        "runs": [asdict(one) for one in runs],
    }


def make_table(bench: Bench, name: str) -> tuple[Path, Case]:
    """The made table of a case, and what is planted in it."""
    output = bench.scratch / f"{name}.parquet"
    sources = [str(bench.data / f"{source}.parquet") for source in MADE_FROM]
    argv = [sys.executable, str(HERE / "make_million.py"), *sources, "-n", str(MADE[name]), "-o", str(output)]
    made = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return output, json.loads(made)


def measure_case(bench: Bench, name: str) -> Case:
    """One case by its name; a reason instead of figures where a table is missing or the command fails."""
    missing = [source for source in (MADE_FROM if name in MADE else (name,)) if not table_of(bench, source).exists()]
    if missing:
        return {"skipped": f"no {', '.join(missing)}.parquet in the data folder"}
    try:
        if name not in MADE:
            return measure_table(bench, table_of(bench, name), bench.n_runs)
        table, planted = make_table(bench, name)
        measured = measure_table(bench, table, bench.n_large_runs)
        table.unlink()
        return measured | {"planted": planted}
    except CommandFailedError as error:
        return {"failed": str(error)}


def table_of(bench: Bench, name: str) -> Path:
    """Where a table of the data folder is."""
    return bench.data / f"{name}.parquet"


def measure_flag(bench: Bench, flag: str, n_runs: int = 20) -> Case:
    """CPU seconds of `--version` or `--help`, and which heavy packages the process imported."""
    argv = [*bench.command, flag]
    try:
        run(argv, bench.scratch)
        runs = [run(argv, bench.scratch) for _ in range(n_runs)]
    except CommandFailedError as error:
        return {"failed": str(error)}
    traced = subprocess.run(
        argv, check=True, capture_output=True, text=True, env=os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    ).stderr
    imported = {line.rpartition("|")[2].strip() for line in traced.splitlines() if line.startswith("import time:")}
    return {
        "n_runs": n_runs,
        "cpu_s": spread([one.cpu_s for one in runs]),
        "wall_s": spread([one.wall_s for one in runs]),
        "imports": {name: name in imported for name in HEAVY_IMPORTS},
    }


def median_of(case: Case, figure: str) -> float | None:
    """A figure of a case as one number: the greatest for memory, else the median; None if it was not measured."""
    value = case.get(figure)
    if isinstance(value, dict):
        return round(float(value["max" if figure == "peak_rss_mb" else "median"]), 3)
    return value


def wanted(cases: dict[str, Case]) -> list[tuple[str, str, str, float | None]]:
    """Every target as case, figure, comparison and bound; those of 5M follow from what 1M measured, or are None."""
    targets = [(name, *target) for name, some in TARGETS.items() for target in some]
    small, planted = cases.get("made_1m", {}), cases.get("made_5m", {}).get("planted")
    rss_mb, rate = median_of(small, "peak_rss_mb"), median_of(small, "reviews_per_s")
    most_mb = least = None
    if planted and rss_mb is not None and rate is not None:
        most_mb = round(1.2 * rss_mb + planted["distinct_texts"] * BYTES_A_DISTINCT_TEXT / 1e6, 1)
        least = round(0.9 * rate)
    return [*targets, ("made_5m", "peak_rss_mb", "<=", most_mb), ("made_5m", "reviews_per_s", ">=", least)]


def judged(cases: dict[str, Case]) -> list[dict[str, Any]]:
    """The targets of the cases beside the measured figures; `met` is None where one of the two is not known."""
    rows = []
    for name, figure, comparison, bound in wanted(cases):
        if name not in cases:
            continue
        value = median_of(cases[name], figure)
        met = None if value is None or bound is None else bool(HOLDS[comparison](value, bound))
        target = None if bound is None else f"{comparison} {bound:,}"
        rows.append({"case": name, "figure": figure, "target": target, "measured": value, "met": met})
    return rows


def measured(bench: Bench, names: list[str]) -> dict[str, Any]:
    """The whole result, as it is written."""
    before = machine.described()
    cases: dict[str, Case] = {}
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr)
        if name == "start":
            cases |= {flag: measure_flag(bench, flag) for flag in ("--version", "--help")}
        else:
            cases[name] = measure_case(bench, name)
    return {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "machine": before,
        "versions": machine.versions(("reviewopt", "polars", "numpy", "scikit-learn")),
        "cases": cases,
        "targets": judged(cases),
    }


def printed(result: dict[str, Any]) -> str:
    """The result as a table for a terminal."""
    lines = [
        f"{'case':14}{'rows':>10}{'wall s (min-max)':>24}{'CPU s':>8}{'RSS MB':>8}{'reviews/s':>11}{'with start':>11}"
    ]
    for name, case in result["cases"].items():
        if "wall_s" not in case:
            lines.append(f"{name:14}{case.get('skipped') or case.get('failed')}")
            continue
        wall = "{median:.3f} ({min:.3f}-{max:.3f})".format(**case["wall_s"])
        cpu, rss = median_of(case, "cpu_s"), median_of(case, "peak_rss_mb")
        numbers = [case.get("rows"), wall, f"{cpu:.2f}", rss, case.get("reviews_per_s")]
        numbers.append(case.get("reviews_per_s_with_start_up"))
        shown = [f"{n:,}" if isinstance(n, int) else "-" if n is None else str(n) for n in numbers]
        lines.append(f"{name:14}" + "".join(f"{s:>{w}}" for s, w in zip(shown, (10, 24, 8, 8, 11, 11), strict=True)))
        if "imports" in case:
            lines.append(f"{'':14}imports: {', '.join(n for n, there in case['imports'].items() if there) or 'none'}")
    for row in result["targets"]:
        said = {True: "met", False: "NOT MET", None: "not measured"}[row["met"]]
        lines.append(f"{row['case']:14}{row['figure']} {row['target'] or 'by made_1m'}: {row['measured']} {said}")
    busy, cores = result["machine"]["load_1_min"], result["machine"]["cores"]
    if busy > cores / 4:
        lines.append(f"The machine was busy (load {busy} on {cores} cores): trust the CPU seconds, not the wall times.")
    return "\n".join(lines)


def main() -> int:
    """Reads the command line, measures, writes the JSON, prints the table; 1 if a target is missed or not measured."""
    parser = argparse.ArgumentParser(description="Measure the speed and memory of reviewopt process.")
    parser.add_argument("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--command", default=f"{shlex.quote(sys.executable)} -m reviewopt", help="what to measure")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the review tables")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--large-runs", type=int, default=3, help="runs of the made tables")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(shlex.split(args.command), args.data, Path(scratch), args.runs, args.large_runs)
        result = measured(bench, args.cases.split(","))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(printed(result))
    return 0 if all(row["met"] for row in result["targets"]) else 1


if __name__ == "__main__":
    sys.exit(main())
