"""Measures what a second run, an edited table and repeated texts cost. The paid model is simulated.

    python tests/benchmarks/reuse.py                             # every case; some minutes on two cores
    python tests/benchmarks/reuse.py --cases zipf --rows 5000    # a small trial, kept only with --output

The simulated model answers with a hash of the text for 0.0005 USD: what counts is who is asked, not what is said. Every
run is a process of its own (`reuse_steps.py`), so that its CPU time and memory are its own. This process never loads
polars, for the reason that `speed.py` gives.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
import speed

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "reuse.json"
MODEL, PRICE_USD = "simulated", "0.0005"  # as in reuse_steps.py
NOTE = f"The paid model is simulated: its answer is a hash of the text, its price {PRICE_USD} USD an answer."
N_ARRIVALS = 100_000
PACKAGES = ("reviewopt", "polars", "numpy", "rapidfuzz", "diskcache")
OTHER = " (another)"
REUSED = ("exact", "near", "l1", "l2", "l3")
HITS = ("l1", "l2", "l3")
HOLDS: dict[str, Callable[[float, float], bool]] = speed.HOLDS | {"==": lambda value, bound: value == bound}

Figures = dict[str, Any]
Target = tuple[str, str, str, float | str]
# Case, figure, comparison and bound; a bound that is a name is another figure of the case.
TARGETS: tuple[Target, ...] = (
    ("second", "runs.second.asked", "==", 0),
    ("edited", "runs.edited.asked", "<=", "ideal_asked"),
    ("edited", "edited_rows_asked", "==", "edited_rows"),
    ("airline", "runs.second.asked", "==", 0),
    ("airline", "runs.other_tenants.hits", "==", 0),
    ("zipf", "reused_share", ">=", 0.95),
    ("zipf", "least_category_share", ">=", 0.95),
)


@dataclass(frozen=True)
class Bench:
    """Where tables are and files may be written; `rows` of a trial (None: all); runs of a repeated measurement."""

    data: Path
    scratch: Path
    rows: int | None
    n_runs: int = 1


Case = Callable[[Bench], Figures]


class MissingTableError(Exception):
    """A table is not in the data folder."""


def step(bench: Bench, name: str, script: str = "reuse_steps.py", **options: Any) -> tuple[speed.Run, Figures]:
    """Runs one step in a process of its own; what the process took, and what the step returned."""
    answer = bench.scratch / "step.json"
    asked = json.dumps(options | {"answer": str(answer)}, default=str)
    took = speed.run([sys.executable, str(HERE / script), name, asked], bench.scratch)
    figures: Figures = json.loads(answer.read_text(encoding="utf-8"))
    return took, figures


def source(bench: Bench, name: str) -> Path:
    """A table of the data folder.

    Raises:
        MissingTableError: it is not there.
    """
    path = bench.data / f"{name}.parquet"
    if not path.exists():
        raise MissingTableError(f"no {path.name} in the data folder")
    return path


def table_of(bench: Bench, name: str, *, brand_ending: str = "") -> Path:
    """A table of the data folder, in a trial its first rows; with `brand_ending`, of other brands."""
    path = source(bench, name)
    if not bench.rows and not brand_ending:
        return path
    output = bench.scratch / f"{name}{'_other' if brand_ending else ''}.parquet"
    step(bench, "cut", table=path, rows=bench.rows, output=output, brand_ending=brand_ending)
    return output


def process(bench: Bench, table: Path, folder: Path, *, near: str = "share", isolated: bool = False) -> Figures:
    """One run of the pipeline with the simulated model on the home in `folder`: the figures of its record."""
    folder.mkdir(exist_ok=True)
    took, run = step(bench, "process", table=table, folder=folder, near=near, isolated=isolated)
    by_source = {name: n for name, n in run["n_by_source"].items() if n or name in (*REUSED, MODEL)}
    return {
        "rows": run["n_rows"],
        "asked": by_source[MODEL],
        "hits": sum(by_source[name] for name in HITS),
        "n_by_source": by_source,
        "hit_rate": run["hit_rate"],
        "reuse_rate": run["reuse_rate"],
        "simulated_paid_usd": run["cost"]["answers_usd"],
        "simulated_saved_usd": run["cost"]["saved_usd"],
        "near": run["near"],
        "scope": run["scope"],
        "cpu_s": took.cpu_s,
        "wall_s": took.wall_s,
        "peak_rss_mb": took.peak_rss_mb,
        "stage_wall_s": run["stage_s"],
    }


def second(bench: Bench) -> Figures:
    """The same table twice on one home."""
    table, folder = table_of(bench, "amazon_90k"), bench.scratch / "second"
    return {"runs": {name: process(bench, table, folder) for name in ("first", "second")}}


def edited(bench: Bench) -> Figures:
    """A table, then the same with 1 % of its rows edited and 5 % more; the ideal asks each new question once."""
    table, folder = table_of(bench, "amazon_90k"), bench.scratch / "edited"
    changed = bench.scratch / "changed.parquet"
    made = step(bench, "edit", table=table, more=source(bench, "amazon_10k"), output=changed)[1]
    runs = {"first": process(bench, table, folder), "edited": process(bench, changed, folder)}
    by_kind = step(bench, "counts", table=folder / "out.parquet", column="kind")[1]
    asked = by_kind.get("edited", {}).get(MODEL, 0)
    return made | {"edited_rows_asked": asked, "rows_by_kind_and_source": by_kind, "runs": runs}


def flipkart(bench: Bench) -> Figures:
    """A table of many repeated short texts, from an empty home."""
    return {"runs": {"first": process(bench, table_of(bench, "flipkart_205k"), bench.scratch / "flipkart")}}


def airline(bench: Bench) -> Figures:
    """Tenants that share nothing: twice, then the same texts under other tenants."""
    folder, runs, tenants = bench.scratch / "airline", {}, {}
    table = table_of(bench, "airline_tweets")
    other = table_of(bench, "airline_tweets", brand_ending=OTHER)
    for name, one in (("first", table), ("second", table), ("other_tenants", other)):
        runs[name] = process(bench, one, folder, isolated=True)
        tenants[name] = by_tenant(step(bench, "counts", table=folder / "out.parquet", column="brand")[1])
    return {"runs": runs, "by_tenant": tenants}


def by_tenant(counts: Figures) -> Figures:
    """For each tenant its rows, those that were asked, and the share that was reused."""
    figures = {}
    for tenant, n_by_source in counts.items():
        rows, reused = sum(n_by_source.values()), sum(n_by_source.get(name, 0) for name in REUSED)
        share = round(reused / rows, 4) if rows else None
        figures[tenant] = {"rows": rows, "asked": n_by_source.get(MODEL, 0), "reused_share": share}
    return figures


def zipf(bench: Bench) -> Figures:
    """Arrivals of a few texts again and again, in requests of 100 to a service that starts with an empty cache."""
    table = source(bench, "amazon_5k")
    took, figures = step(bench, "zipf", table=table, rows=bench.rows or N_ARRIVALS, home=bench.scratch / "zipf")
    return figures | {"cpu_s": took.cpu_s, "wall_s": took.wall_s, "peak_rss_mb": took.peak_rss_mb}


def figure_of(case: Figures, path: str) -> Any:
    """The figure at a dotted path; a spread by its median; None where it was not measured."""
    value: Any = case
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value["median"] if isinstance(value, dict) and "median" in value else value


def judged(cases: Mapping[str, Figures], targets: tuple[Target, ...]) -> list[Figures]:
    """The targets of the cases beside the measured figures; `met` is None where one of the two is not known."""
    rows = []
    for name, figure, comparison, limit in targets:
        if name not in cases:
            continue
        value = figure_of(cases[name], figure)
        bound = figure_of(cases[name], limit) if isinstance(limit, str) else limit
        met = None if value is None or bound is None else bool(HOLDS[comparison](value, bound))
        target = None if bound is None else f"{comparison} {bound:,}"
        rows.append({"case": name, "figure": figure, "target": target, "measured": value, "met": met})
    return rows


def measured(bench: Bench, cases: Mapping[str, Case], names: list[str], targets: tuple[Target, ...]) -> Figures:
    """The whole result, as it is written."""
    before, found = machine.described(), {}
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=bench.scratch) as scratch:
            try:
                found[name] = cases[name](Bench(bench.data, Path(scratch), bench.rows, bench.n_runs))
            except MissingTableError as error:
                found[name] = {"skipped": str(error)}
            except speed.CommandFailedError as error:
                found[name] = {"failed": str(error)}
    return {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "command": shlex.join([Path(sys.argv[0]).name, "--cases", ",".join(names)]),
        "trial_rows": bench.rows,
        "note": NOTE,
        "machine": before,
        "versions": machine.versions(PACKAGES),
        "cases": found,
        "targets": judged(found, targets),
    }


def printed(result: Figures) -> list[str]:
    """The runs of the result as a table for a terminal."""
    columns = ("rows", "asked", *REUSED, "hit", "reuse", "paid $", "CPU s")
    lines = [f"{'case, run (simulated)':24}" + "".join(f"{name:>9}" for name in columns)]
    for name, case in result["cases"].items():
        runs = case.get("runs") or ({"": case} if "n_by_source" in case else {})
        for run, figures in runs.items():
            counts, paid = figures["n_by_source"], figures.get("simulated_paid_usd")
            rates = [figures.get("hit_rate"), figures.get("reuse_rate", figures.get("reused_share"))]
            numbers = [figures["rows"], counts[MODEL], *(counts.get(one, 0) for one in REUSED)]
            shown = [f"{n:,}" for n in numbers] + ["-" if r is None else f"{r:.4f}" for r in rates]
            shown += ["-" if paid is None else f"{float(paid):.2f}", f"{figures['cpu_s']:.2f}"]
            lines.append(f"{f'{name} {run}':24}" + "".join(f"{cell:>9}" for cell in shown))
        lines += [f"{name:24}{case[why]}" for why in ("skipped", "failed") if why in case]
    return lines


def ending(result: Figures) -> list[str]:
    """The targets, and what a reader must know."""
    lines = []
    for row in result["targets"]:
        said = {True: "met", False: "NOT MET", None: "not measured"}[row["met"]]
        lines.append(f"{row['case']:10}{row['figure']} {row['target']}: {row['measured']} {said}")
    busy, cores = result["machine"]["load_1_min"], result["machine"]["cores"]
    if busy > cores / 4:
        lines.append(f"The machine was busy (load {busy} on {cores} cores): trust the CPU seconds, not the wall times.")
    if result["trial_rows"]:
        lines.append(f"A trial with {result['trial_rows']:,} rows: no target counts.")
    return [*lines, NOTE]


def main(
    cases: Mapping[str, Case], targets: tuple[Target, ...], output: Path, show: Callable[[Figures], list[str]]
) -> int:
    """Reads the command line, measures, writes the JSON, prints the table; 1 if a target is missed or not measured."""
    parser = argparse.ArgumentParser(description="Measure what is used again; the paid model is simulated.")
    parser.add_argument("--cases", default=",".join(cases), help=f"of {', '.join(cases)}")
    parser.add_argument("--data", type=Path, default=speed.DATA, help="folder of the review tables")
    parser.add_argument("--rows", type=int, help="a small trial with so many rows; written only with --output")
    parser.add_argument("--runs", type=int, default=3, help="runs of what is repeated")
    parser.add_argument("--output", type=Path, help=f"JSON file (default results/{output.name})")
    args = parser.parse_args()
    names = args.cases.split(",")
    if unknown := set(names) - set(cases):
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
    path = args.output or (None if args.rows else output)
    if args.rows and path is not None and path.resolve() == output:
        parser.error(f"a trial never replaces {output.name}")
    with tempfile.TemporaryDirectory() as scratch:
        result = measured(Bench(args.data, Path(scratch), args.rows, args.runs), cases, names, targets)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("\n".join([*show(result), *ending(result)]))
    return 0 if all(row["met"] for row in result["targets"]) else 1


CASES: dict[str, Case] = {
    "second": second,
    "edited": edited,
    "flipkart": flipkart,
    "airline": airline,
    "zipf": zipf,
}

if __name__ == "__main__":
    sys.exit(main(CASES, TARGETS, RESULTS, printed))
