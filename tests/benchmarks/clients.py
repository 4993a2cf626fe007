"""Our client beside others on the same simulated endpoint, with the same reviews, one request each.

    python tests/benchmarks/clients.py --mock PATH                        # installs the peers into a temporary folder
    python tests/benchmarks/clients.py --mock PATH --peers FOLDER         # or into this one, which is kept

The peers are the openai SDK called from threads, with its own retries and with ten, and Curator. Each run is a process
of its own, started with the peers' Python or ours, whose whole time counts. Curator is told the
endpoint's address, how many requests may go at a time, and the rate limit or that there is none, because it would keep
to 200 requests a minute; ours is told of the limit in one of its runs, the others find it out.

`waste_share` is requests that brought no answer by those that did, `lost` reviews without an answer. Ours asks under a
schema and for log probabilities, the others ask for a word: our requests are the larger ones.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asking_cases
import asking_endpoint
import machine
import reuse
import speed
from asking_endpoint import Endpoint

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "clients.json"
PACKAGES = ("openai", "bespokelabs-curator")
ROWS, THREADS = 1_500, 128
MOST_S = 300
FREE = {"latency_ms": asking_cases.LIMITED_MS}
LIMITED = FREE | {"rpm": 60 * asking_cases.RATE_PER_S, "burst_s": asking_cases.BURST_S}
NO_LIMIT = {"max_requests_per_minute": 1_000_000, "max_tokens_per_minute": 1_000_000_000}
TOLD = NO_LIMIT | {"max_requests_per_minute": 60 * asking_cases.RATE_PER_S}

Figures = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What every client needs; `python` is the peers'."""

    mock: Path
    python: Path
    scratch: Path
    rows: int
    n_runs: int


# One run in a folder against an endpoint, with so many rows edited, free or under the limit: its process, its answers.
Run = Callable[[Bench, Path, str, int, bool], tuple[speed.Run, int]]


def ours(*flags: str, is_told: bool = False) -> Run:
    """Our whole command; the folder holds its home."""

    def run(bench: Bench, folder: Path, url: str, edited: int, is_limited: bool) -> tuple[speed.Run, int]:
        table, toml = table_of(bench, edited, ".parquet"), asking_cases.TOLD_TOML if is_told and is_limited else ""
        one = asking_cases.label(folder, url, table, "--threads", f"{THREADS}", *flags, more_toml=toml)
        return speed.Run(one["wall_s"], one["cpu_s"], one["peak_rss_mb"]), one["rows"] - one["lost"]

    return run


def peer(name: str, package: str, **options: Any) -> Run:
    """A peer in its own Python; the folder holds its cache."""

    def run(bench: Bench, folder: Path, url: str, edited: int, is_limited: bool) -> tuple[speed.Run, int]:
        given = {"url": url, "texts": table_of(bench, edited, ".txt"), "cache": folder, "threads": THREADS}
        given |= {"settings": TOLD if is_limited else NO_LIMIT, "package": package, "most_s": MOST_S}
        return step(bench, folder, name, **given, **options)

    return run


CLIENTS: dict[str, tuple[str | None, Run]] = {
    "reviewopt, one review a request": (None, ours("--pack-size", "1")),
    "reviewopt, singly, told the limit": (None, ours("--pack-size", "1", is_told=True)),
    "reviewopt, default packs": (None, ours()),
    "openai SDK, its own retries": ("openai", peer("openai", "openai", max_retries=None)),
    "openai SDK, 10 retries": ("openai", peer("openai", "openai", max_retries=10)),
    "Curator": ("bespokelabs.curator", peer("curator", "bespokelabs-curator")),
}


def table_of(bench: Bench, edited: int, ending: str) -> Path:
    """The reviews as a table, or as one text a line."""
    output = bench.scratch / f"reviews_{edited}{ending}"
    if not output.exists():
        given = {"rows": bench.rows, "edited": edited, "output": output, "as_text": ending == ".txt"}
        asking_cases.step(bench.scratch, "make", **given)
    return output


def step(bench: Bench, folder: Path, name: str, **options: Any) -> tuple[speed.Run, int]:
    """Runs asking_peers.py with the peers' Python, with a home of its own and no telemetry; how many it answered."""
    answer = folder / "answer.json"
    given = json.dumps(options | {"answer": str(answer)}, default=str)
    home = folder / "user"
    home.mkdir(exist_ok=True)
    quiet = [f"HOME={home}", "NO_PROXY=127.0.0.1", "OPENAI_API_KEY=none", "TELEMETRY_ENABLED=false",
             "CURATOR_DISABLE_RICH_DISPLAY=1", "LITELLM_LOCAL_MODEL_COST_MAP=True"]  # fmt: skip
    argv = ["env", *quiet, str(bench.python), str(HERE / "asking_peers.py"), name, given]
    took = speed.run(argv, folder)
    return took, json.loads(answer.read_text(encoding="utf-8"))["answered"]


def measured_once(bench: Bench, run: Run, *, is_limited: bool) -> Figures:
    """One run from nothing."""
    options = LIMITED if is_limited else FREE
    with tempfile.TemporaryDirectory(dir=bench.scratch) as folder, Endpoint(bench.mock, options) as endpoint:
        took, n_answered = run(bench, Path(folder), endpoint.url, 0, is_limited)
        seen = endpoint.figures()
    return {
        "wall_s": took.wall_s,
        "cpu_s": took.cpu_s,
        "peak_rss_mb": took.peak_rss_mb,
        "requests": seen["requests"],
        "requests_per_s": round(seen["billed_requests"] / seen["seconds"], 1),
        "reviews_per_s": round(n_answered / seen["seconds"], 1),
        "waste_share": round(seen["requests"] / seen["billed_requests"] - 1, 4),
        "lost": bench.rows - n_answered,
        "most_in_flight": seen["most_in_flight"],
    }


def calls_again(bench: Bench, run: Run) -> Figures:
    """Requests of a first run, of the same again, and of a third after one row was edited."""
    calls, before = {}, 0
    with tempfile.TemporaryDirectory(dir=bench.scratch) as folder, Endpoint(bench.mock, FREE) as endpoint:
        for name, edited in (("first", 0), ("unchanged", 0), ("one_row_edited", 1)):
            run(bench, Path(folder), endpoint.url, edited, False)
            after = endpoint.figures()["requests"]
            calls[name], before = after - before, after
    return calls


def measured_client(bench: Bench, module: str | None, run: Run) -> Figures:
    """Every figure of one client, or why there is none."""
    try:
        if module is not None:
            with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
                package = PACKAGES[module != "openai"]
                step(bench, Path(folder), "installed", module=module, package=package, most_s=MOST_S)
    except speed.CommandFailedError as error:
        return {"not_measured": f"{module} cannot be imported: {error}"}
    figures: Figures = {}
    parts: dict[str, Callable[[], Figures]] = {
        "free": lambda: asking_cases.repeated(bench.n_runs, lambda: measured_once(bench, run, is_limited=False)),
        "limited": lambda: asking_cases.repeated(bench.n_runs, lambda: measured_once(bench, run, is_limited=True)),
        "calls": lambda: calls_again(bench, run),
    }
    for name, part in parts.items():
        try:
            figures[name] = part()
        except speed.CommandFailedError as error:
            said = f"did not end within {MOST_S} s" if error.args[0].startswith("exit -14") else str(error)
            figures[name] = {"not_measured": said}
    return figures


def install(folder: Path) -> tuple[Path, str | None]:
    """The peers' Python in a virtual environment of their own, made where it is not there yet; why it is not whole."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    argv = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    problem = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    return python, problem[0][:200] if problem else None


def versions(python: Path) -> dict[str, str | None]:
    """Versions of the peers."""
    code = "import json; from importlib import metadata\n"
    code += "print(json.dumps({one.name: one.version for one in metadata.distributions()}))"
    found = json.loads(subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout)
    return {name: found.get(name) for name in PACKAGES}


def measured(bench: Bench, names: list[str], problem: str | None) -> Figures:
    """The whole result, as it is written."""
    before, found = machine.described(), {}
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr)
        found[name] = measured_client(bench, *CLIENTS[name])
    return {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "command": shlex.join([Path(sys.argv[0]).name]),
        "simulated": True,
        "note": asking_endpoint.NOTE,
        "machine": before,
        "versions": machine.versions(("reviewopt",)) | versions(bench.python),
        "install_problem": problem,
        "rows": bench.rows,
        "threads": THREADS,
        "endpoint": {"free": FREE, "limited": LIMITED},
        "clients": found,
    }


COLUMNS: dict[str, tuple[str, ...]] = {
    "free": ("requests_per_s", "reviews_per_s", "wall_s", "cpu_s"),
    "limited": ("wall_s", "cpu_s", "waste_share", "lost"),
    "calls": ("first", "unchanged", "one_row_edited"),
}


def printed(result: Figures) -> list[str]:
    """The medians, a client a line."""
    columns = [(part, figure) for part, figures in COLUMNS.items() for figure in figures]
    lines = [f"{'(simulated)':34}" + "".join(f"{part:>15}" for part, _ in columns)]
    lines.append(f"{'':34}" + "".join(f"{figure:>15}" for _, figure in columns))
    for name, client in result["clients"].items():
        shown = [reuse.figure_of(client, f"{part}.{figure}") for part, figure in columns]
        lines.append(f"{name:34}" + "".join(f"{'not measured' if one is None else f'{one:,}':>15}" for one in shown))
        parts = {"": client} | client
        lines += [f"  {part} not measured: {one['not_measured']}" for part, one in parts.items()
                  if isinstance(one, dict) and "not_measured" in one]  # fmt: skip
    busy, cores = result["machine"]["load_1_min"], result["machine"]["cores"]
    if busy > cores / 4:
        lines.append(f"The machine was busy (load {busy} on {cores} cores): trust the CPU seconds, not the wall times.")
    return [*lines, asking_endpoint.NOTE]


def main() -> None:
    """Reads the command line, installs the peers, measures, writes the JSON, prints the table."""
    parser = argparse.ArgumentParser(description="Compare our client with others; the endpoint is simulated.")
    asking_endpoint.add_option(parser)
    parser.add_argument(
        "--peers", type=Path, help="folder of the peers' virtual environment (default: a temporary one)"
    )
    parser.add_argument("--clients", default=",".join(map(str, range(len(CLIENTS)))), help=f"places in {list(CLIENTS)}")
    parser.add_argument("--rows", type=int, help="a small trial; kept only with --output")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=Path, help=f"JSON file (default results/{RESULTS.name})")
    args = parser.parse_args()
    path = args.output or (None if args.rows else RESULTS)
    mock = asking_endpoint.script_of(parser, args.mock)
    names = [list(CLIENTS)[int(place)] for place in args.clients.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        python, problem = install(args.peers.absolute() if args.peers else Path(scratch) / "peers")
        bench = Bench(mock, python, Path(scratch), args.rows or ROWS, args.runs)
        result = measured(bench, names, problem)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("\n".join(printed(result)))


if __name__ == "__main__":
    main()
