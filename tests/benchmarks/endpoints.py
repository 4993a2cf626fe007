"""Measures what outages of one of a model's endpoints cost: answers, requests and time, for one endpoint and for two.

    python tests/benchmarks/endpoints.py --mock PATH --data data/labelled                  # about ten minutes
    python tests/benchmarks/endpoints.py --mock PATH --data data/labelled --limit 500 --output trial.json

Both endpoints are simulated and on loopback. The first is stopped and started by turns, as a server that dies is:
connections break, and nothing listens until it is back. The second, where there is one, works all the time. The command
is a process of its own with a fresh home for each run, and default settings but for the size of packs and the threads,
which are fixed so that a run takes long enough to meet several outages.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asking_endpoint
import machine
import reuse
import speed

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "endpoints.json"
PACKAGES = ("reviewopt", "polars", "urllib3", "msgspec")
TABLE = "amazon_10k"
PORTS = (8401, 8402)
OPTIONS: dict[str, Any] = {"latency_ms": 400.0, "latency_sigma": 0.3}
UP_S = DOWN_S = 5.0
THREADS, PACK = 16, 10
LONGEST_RUN_S = 900
# Case: which endpoints, how they are balanced, and whether the first has outages.
CASES: dict[str, tuple[int, str, bool]] = {
    "one_without_outages": (1, "priority", False),
    "one": (1, "priority", True),
    "two_by_priority": (2, "priority", True),
    "two_by_latency": (2, "latency", True),
    "two_by_load": (2, "load", True),
}
TARGETS: tuple[reuse.Target, ...] = tuple(
    (case, "answered_share.min", ">=", 0.999) for case, (n, _, _) in CASES.items() if n == 2
)

Figures = dict[str, Any]


@contextmanager
def going_down_by_turns(server: Any, *, has_outages: bool) -> Iterator[Figures]:
    """Stops and starts a server until the block ends; its figures are known then."""
    figures: Figures = {"n_outages": 0, "down_s": 0.0}
    done = threading.Event()

    def play() -> None:
        while has_outages and not done.wait(UP_S):
            server.stop()
            began = time.monotonic()
            done.wait(DOWN_S)
            server.start()
            figures["n_outages"] += 1
            figures["down_s"] += time.monotonic() - began

    thread = threading.Thread(target=play)
    server.start()
    began = time.monotonic()
    thread.start()
    try:
        yield figures
    finally:
        done.set()
        thread.join()
        server.stop()
        figures["down_share"] = round(figures.pop("down_s") / (time.monotonic() - began), 4)


def settings_toml(urls: list[str], balance: str) -> str:
    """A reviewopt.toml that describes the endpoints as one model."""
    lines = ["[dedup]", 'near = "off"', "[cache.similar]", "enabled = false"]  # so that all are asked
    lines += [f"[models.{asking_endpoint.MODEL}]", 'model = "small"', "simulated = true", f'balance = "{balance}"']
    lines.append("price = { input_usd = 0.05, output_usd = 0.40 }")
    for url in urls:
        lines += [f"[[models.{asking_endpoint.MODEL}.endpoints]]", f'base_url = "{url}"']
    return "\n".join(lines) + "\n"


def label(folder: Path, urls: list[str], balance: str, table: Path, limit: int) -> Figures:
    """One whole command: its time and exit code, and what its record says."""
    settings = folder / "settings.toml"
    settings.write_text(settings_toml(urls, balance), encoding="utf-8")
    argv = [sys.executable, "-m", "reviewopt", "process", str(table), "--model", asking_endpoint.MODEL]
    argv += ["--config", str(settings), "--home", str(folder / "home"), "-o", str(folder / "labels.parquet")]
    argv += ["--yes", "--quiet", "--allow-failures", "--threads", str(THREADS), "--pack-size", str(PACK)]
    argv += ["--limit", str(limit)] if limit else []
    began = time.perf_counter()
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=LONGEST_RUN_S, check=False)
    wall_s = time.perf_counter() - began
    record = json.loads(max(folder.glob("home/runs/*/run.json")).read_text(encoding="utf-8"))
    if record["asked"] is None:
        raise speed.CommandFailedError(f"exit {ran.returncode}: {ran.stderr.strip()[-200:]}")
    health, by_source = record["asked"]["traffic"]["endpoints"], record["n_by_source"]
    n_labelled = sum(n for source, n in by_source.items() if source != "failed")
    n_rows = record["n_rows"]
    return {
        "wall_s": round(wall_s, 2),
        "exit_code": ran.returncode,
        "rows": n_rows,
        "labelled_rows": n_labelled,
        "answered_share": round(n_labelled / n_rows, 5) if n_rows else None,
        "requests": sum(one["n_requests"] for one in health),
        "failed_requests": sum(one["n_failed"] for one in health),
        "cooldowns": sum(one["n_cooldowns"] for one in health),
        "waited_s": round(record["asked"]["waited_s"], 2),
        "requests_by_endpoint": [one["n_requests"] for one in health],
    }


def measure(server_class: Any, name: str, table: Path, scratch: Path, limit: int) -> Figures:
    """One run of a case on fresh servers: our figures and those of the servers."""
    n, balance, has_outages = CASES[name]
    servers = [server_class(port=port, **OPTIONS) for port in PORTS[:n]]
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        for server in servers[1:]:
            server.start()
        try:
            with going_down_by_turns(servers[0], has_outages=has_outages) as outages:
                figures = label(
                    Path(folder), [f"http://127.0.0.1:{port}/v1" for port in PORTS[:n]], balance, table, limit
                )
        finally:
            for server in servers[1:]:
                server.stop()
    answers: Counter[str] = Counter()
    for server in servers:
        answers.update(server.ledger())
    return figures | outages | {"answers_beyond_one_a_text": sum(answers.values()) - len(answers)}


def summed(runs: list[Figures]) -> Figures:
    """The spread of each figure over the runs, and the runs."""
    spreads = {
        name: speed.spread([run[name] for run in runs])
        for name, value in runs[0].items()
        if isinstance(value, int | float) and all(run[name] is not None for run in runs)
    }
    return {**spreads, "n_runs": len(runs), "runs": runs}


def measured(server_class: Any, table: Path, n_runs: int, limit: int) -> Figures:
    """The whole result, as it is written."""
    before, found = machine.described(), {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in CASES:
            print(f"measuring {name} ...", file=sys.stderr)
            try:
                found[name] = summed([measure(server_class, name, table, Path(scratch), limit) for _ in range(n_runs)])
            except speed.CommandFailedError as error:
                found[name] = {"failed": str(error)}
    return {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "command": shlex.join([Path(sys.argv[0]).name, "--runs", str(n_runs)]),
        "simulated": True,
        "note": asking_endpoint.NOTE,
        "rows": limit or None,
        "table": table.stem,
        "endpoint": OPTIONS,
        "up_s": UP_S,
        "down_s": DOWN_S,
        "threads": THREADS,
        "reviews_a_request": PACK,
        "machine": before,
        "versions": machine.versions(PACKAGES),
        "cases": found,
        "targets": reuse.judged(found, TARGETS),
    }


COLUMNS = ("answered_share", "wall_s", "requests", "failed_requests", "cooldowns", "n_outages", "down_share",
           "waited_s", "answers_beyond_one_a_text")  # fmt: skip


def printed(result: Figures) -> list[str]:
    """The median of every figure, a line a case, and the targets."""
    lines = [f"{'(simulated)':20}" + "".join(f"{name[:15]:>17}" for name in COLUMNS)]
    for name, case in result["cases"].items():
        cells = (reuse.figure_of(case, f"{column}.median") for column in COLUMNS)
        lines.append(f"{name:20}" + "".join(f"{'-' if one is None else f'{one:,}':>17}" for one in cells))
    for row in result["targets"]:
        said = {True: "met", False: "NOT MET", None: "not measured"}[row["met"]]
        lines.append(f"{row['case']:20}{row['figure']} {row['target']}: {row['measured']} {said}")
    return [*lines, asking_endpoint.NOTE]


def server_class_of(script: Path) -> Any:
    """The class `MockServer` of the simulated endpoint's script: its port and its ledger outlast a stop."""
    spec = importlib.util.spec_from_file_location("simulated_endpoint", script)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{script} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.MockServer


def main() -> int:
    """Reads the command line, measures, writes the JSON, prints the table; 1 if a target is missed or not measured."""
    parser = argparse.ArgumentParser(description="Measure what outages of an endpoint cost; all are simulated.")
    asking_endpoint.add_option(parser)
    parser.add_argument("--data", type=Path, default=speed.DATA, help="folder of the review tables")
    parser.add_argument("--runs", type=int, default=3, help="runs of each case")
    parser.add_argument("--limit", type=int, default=0, help="only so many reviews; kept only with --output")
    parser.add_argument("--output", type=Path, help=f"JSON file (default results/{RESULTS.name})")
    args = parser.parse_args()
    script, table = asking_endpoint.script_of(parser, args.mock), args.data / f"{TABLE}.parquet"
    if not table.exists():
        parser.error(f"there is no table {table}; name its folder with --data")
    result = measured(server_class_of(script), table, args.runs, args.limit)
    path = args.output or (None if args.limit else RESULTS)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("\n".join(printed(result)))
    return 0 if all(row["met"] for row in result["targets"]) else 1


if __name__ == "__main__":
    sys.exit(main())
