"""Measures the tiers of the cache alone, and whole runs that they answer. The paid model is simulated.

    python tests/benchmarks/cache_speed.py                               # every case; about half an hour on two cores
    python tests/benchmarks/cache_speed.py --cases warm --rows 20000     # a small trial, kept only with --output

Tables of a million reviews are made by `make_million.py`. Every measurement is a process of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import reuse
import speed
from reuse import Bench, Figures, Target, step, table_of

RESULTS = reuse.HERE / "results" / "cache_speed.json"
STEPS = "cache_steps.py"
N_MADE, N_SMALL = 1_000_000, 50_000
TWICE = 2
N_COMPARED = 5  # runs of the comparison that a few per cent decide
UNRELATED = "amazon_10k"
UNPRINTED = {"stage_wall_s", "planted", "simulated_saved_usd", "min", "n_runs", "scope", "near"}
COMMAND = (sys.executable, "-m", "reviewopt")
# Case, figure, comparison and bound; a bound that is a name is another figure of the case.
TARGETS: tuple[Target, ...] = (
    ("l1", "single_ns", "<=", 1000),
    ("similar", "small.single.wall_ms.median", "<=", 0.5),
    ("similar", "large.single.wall_ms.median", "<=", 0.5),
    ("similar", "small.batched.cpu_us", "<=", 20),
    ("similar", "large.batched.cpu_us", "<=", 40),
    ("archive", "write.put.cpu_s", "<=", 18),
    ("archive", "read.open_and_look_up_cpu_s", "<=", 1.2),
    *(
        ("warm", f"near_{near}.times_faster.{figure}", ">=", TWICE)
        for near in ("off", "report")
        for figure in ("wall", "cpu")
    ),
    *(("warm", f"near_{near}.archived.asked", "==", 0) for near in ("off", "report", "share")),
    ("warm", "local_beside_archive.with_archive.cpu_s", "<=", "local_beside_archive.without.cpu_s.max"),
    ("near_1m", "cpu_s", "<=", 25),
    ("near_1m", "peak_rss_mb", "<", 2000),
)


def made(bench: Bench, rows: int) -> tuple[Path, Figures]:
    """A made table, in a trial a small one, and what is planted in it."""
    output = bench.scratch / f"made_{rows}.parquet"
    sources = [reuse.source(bench, name) for name in speed.MADE_FROM]
    n = min(rows, round(1.2 * bench.rows) if bench.rows else rows)
    return output, step(bench, "make", STEPS, sources=sources, rows=n, output=output)[1]


def many_texts(bench: Bench, entries: int) -> Figures:
    """A made table with so many distinct texts; as options of a step."""
    return {"table": made(bench, round(1.2 * entries))[0], "entries": min(entries, bench.rows or entries)}


def l1(bench: Bench) -> Figures:
    """The first tier."""
    return step(bench, "memory", STEPS)[1]


def similar(bench: Bench) -> Figures:
    """Similar texts looked up among 50,000 and 1,000,000 entries of an archive."""
    found = {}
    for name, rows in (("small", N_SMALL), ("large", N_MADE)):
        folder = bench.scratch / name
        step(bench, "write", STEPS, folder=folder, **many_texts(bench, rows))
        unrelated, compared = reuse.source(bench, UNRELATED), name == "small"
        took, figures = step(
            bench, "similar", "similar_steps.py", folder=folder, unrelated=unrelated, rapidfuzz=compared
        )
        found[name] = figures | {"peak_rss_mb": took.peak_rss_mb}
    return found


def archive(bench: Bench) -> Figures:
    """A million answers written in transactions of 10,000, and their keys looked up."""
    texts, folder = many_texts(bench, N_MADE), bench.scratch / "archive"
    return {name: step(bench, name, STEPS, folder=folder, **texts)[1] for name in ("write", "read")}


def labelled_locally(bench: Bench, table: Path, home: Path, near: str) -> speed.Run:
    """One run of `reviewopt process`."""
    output = bench.scratch / "labels.parquet"
    options = ["-o", str(output), "--force", "--quiet", "--home", str(home), "--near", near]
    return speed.run([*COMMAND, "process", str(table), *options], bench.scratch)


def figures_of(runs: list[speed.Run]) -> Figures:
    """The spread of some runs."""
    return {
        "n_runs": len(runs),
        "wall_s": speed.spread([run.wall_s for run in runs]),
        "cpu_s": speed.spread([run.cpu_s for run in runs]),
        "peak_rss_mb": max(run.peak_rss_mb for run in runs),
    }


def archived(bench: Bench, table: Path, folder: Path, near: str) -> Figures:
    """Runs of the simulated paid model whose answers are all in the archive."""
    runs = [reuse.process(bench, table, folder, near=near) for _ in range(bench.n_runs)]
    times = {name: speed.spread([run[name] for run in runs]) for name in ("wall_s", "cpu_s")}
    return runs[-1] | times | {"asked": sum(run["asked"] for run in runs), "n_runs": len(runs)}


def warm(bench: Bench) -> Figures:
    """A million archived answers against labelling the same reviews locally, with the same setting of `--near`."""
    table, planted = made(bench, N_MADE)
    found: Figures = {"planted": planted}
    # What is stored with near copies off answers the runs that report them, too. Where they share, some are not asked.
    for nears in (("off", "report"), ("share",)):
        folder = bench.scratch / f"home_{nears[0]}"
        found[f"near_{nears[0]}"] = {"cold": reuse.process(bench, table, folder, near=nears[0])}
        for near in nears:
            local = [labelled_locally(bench, table, bench.scratch / f"local_{near}", near) for _ in range(bench.n_runs)]
            compared = {"archived": archived(bench, table, folder, near), "local": figures_of(local)}
            found[f"near_{near}"] = found.get(f"near_{near}", {}) | compared | {"times_faster": ratios(**compared)}
    twice = [
        f"near {near}, {name}"
        for near in ("off", "report", "share")
        for name, times in found[f"near_{near}"]["times_faster"].items()
        if times >= TWICE
    ]
    return found | {"at_least_twice_as_fast": twice, "local_beside_archive": beside_archive(bench)}


def ratios(local: Figures, archived: Figures) -> Figures:
    """How many times as long labelling locally takes, by medians."""
    times = {name: local[f"{name}_s"]["median"] / archived[f"{name}_s"]["median"] for name in ("wall", "cpu")}
    return {name: round(value, 3) for name, value in times.items()}


def beside_archive(bench: Bench) -> Figures:
    """Labelling locally with a home that holds simulated paid answers to the same table, and with an empty one."""
    table, folder = table_of(bench, "amazon_90k"), bench.scratch / "home_90k"
    reuse.process(bench, table, folder)
    runs: dict[str, list[speed.Run]] = {"without": [], "with_archive": []}
    for at in range(N_COMPARED):
        for name, home in (("without", bench.scratch / f"empty_{at}"), ("with_archive", folder / "home")):
            runs[name].append(labelled_locally(bench, table, home, "report"))
    return {name: figures_of(some) for name, some in runs.items()}


def near_1m(bench: Bench) -> Figures:
    """A million reviews labelled locally, near copies reported."""
    table, planted = made(bench, N_MADE)
    runs = [labelled_locally(bench, table, bench.scratch / f"home_{at}", "report") for at in range(bench.n_runs)]
    return {"rows": planted["n_reviews"], "planted": planted} | figures_of(runs)


def flat(figures: Figures, before: str = "") -> list[tuple[str, Any]]:
    """Every figure with its dotted name."""
    rows: list[tuple[str, Any]] = []
    for name, value in figures.items():
        rows += flat(value, f"{before}{name}.") if isinstance(value, dict) else [(f"{before}{name}", value)]
    return rows


def printed(result: Figures) -> list[str]:
    """The result as a table for a terminal."""
    lines = []
    for name, case in result["cases"].items():
        for figure, value in flat(case):
            if any(part in UNPRINTED for part in figure.split(".")):
                continue
            shown = (
                f"{value:,.6g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
            )
            lines.append(f"{name:10}{figure:64}{shown:>16}")
    return lines


CASES: dict[str, reuse.Case] = {
    "l1": l1,
    "similar": similar,
    "archive": archive,
    "warm": warm,
    "near_1m": near_1m,
}

if __name__ == "__main__":
    sys.exit(reuse.main(CASES, TARGETS, RESULTS, printed))
