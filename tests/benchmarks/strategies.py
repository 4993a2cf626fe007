"""Measures what the strategies of a ladder cost, how right their answers are, and what size of packs is found.

    python tests/benchmarks/strategies.py --mock PATH                               # about ten minutes
    python tests/benchmarks/strategies.py --mock PATH --only strategies --rows 500  # a trial, kept only with --output

The reviews and the local model are real, and so are the local model's errors. The paid models are simulated
(`asking_endpoint.py`): each is right with a set probability, its confidence is calibrated by construction, and what is
hard for one is hard for all. So the costs follow from real tokens and set prices, but no accuracy here is that of any
real paid model. Every run has an endpoint and a home of its own, and is made once: costs and answers do not depend on
chance, times do.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asking_endpoint
import machine
import polars as pl
import speed
from asking_endpoint import Endpoint

from reviewopt.text.prompt_copy import prompt_copy

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "strategies.json"
PACKAGES = ("reviewopt", "polars", "numpy", "scipy", "urllib3")
TABLE = "amazon_10k"
NOTE = (
    "The reviews and the local model are real, the paid models simulated: each is right with a set probability, the "
    "stars being the truth, and its confidence is calibrated by construction. A review that was shortened is unknown "
    "to them, and answered by chance. One run each: trust costs and answers, not the times."
)

LATENCY_MS = 200
ACCURACY = {"cheap": 0.88, "mid": 0.93, "strong": 0.97}
PRICE_USD = {"cheap": (0.05, 0.4), "mid": (0.4, 1.6), "strong": (2.5, 10)}  # a million tokens in and out
STRATEGIES = ("cost", "balanced", "quality", "performance", "adaptive")
PENALTIES = (0, 0.0005, 0.002, 0.01)  # what every further review of a request takes off the chance to be right
BOTH = ("--models", "cheap,strong")
UNLABELLED = ("--label-column", "none")
FIXED_SIZE = 25
MOST_ROWS = 10_000

Figures = dict[str, Any]
Flags = tuple[str, ...]
# Beside the strategies: flags and settings.
OTHERS: dict[str, tuple[Flags, Mapping[str, str]]] = {
    "local_alone": ((), {}),
    "cheap_alone": (("--model", "cheap"), {}),
    "without_local": (BOTH, {"ladder": "local = false"}),
    "quality_sample_2000": ((*BOTH, "--strategy", "quality"), {"ladder": "sample = 2000"}),
    "balanced_chunks_of_1000": ((*BOTH, "--strategy", "balanced", "--near", "off"), {"process": "chunk_rows = 1000"}),
    "adaptive_chunks_of_1000": ((*BOTH, "--strategy", "adaptive", "--near", "off"), {"process": "chunk_rows = 1000"}),
    "ensemble": (("--models", "cheap", "--ensemble", "cheap,mid,strong"), {}),
}


@dataclass(frozen=True)
class Bench:
    """The endpoint's script, the reviews with the label of their stars, and where files may be written."""

    mock: Path
    table: Path
    gold: Path
    stars: pl.Series
    scratch: Path


def prepared(mock: Path, data: Path, rows: int | None, scratch: Path) -> Bench:
    """Writes the table and what the endpoint takes for the truth: each review as models read it, and its label."""
    reviews = pl.read_parquet(data / f"{TABLE}.parquet").head(rows or MOST_ROWS)
    stars = reviews.select(
        pl.when(pl.col("rating") <= 2).then(pl.lit("negative"))
        .when(pl.col("rating") == 3).then(pl.lit("neutral")).otherwise(pl.lit("positive")).alias("label")
    ).to_series()  # fmt: skip
    table, gold = scratch / "reviews.parquet", scratch / "gold.csv"
    reviews.write_parquet(table)
    copy = prompt_copy(reviews["title"], reviews["text"], redact=False)
    pl.DataFrame({"text": copy, "label": stars}).write_csv(gold)
    return Bench(mock, table, gold, stars, scratch)


def labelled(
    bench: Bench, *flags: str, more: Mapping[str, str] | None = None, penalty: float = 0
) -> tuple[Figures, pl.Series]:
    """One whole command on a fresh endpoint with a fresh home: its figures, and the label of each row."""
    options = {"latency_ms": LATENCY_MS, "gold": bench.gold, "accuracy_of": ACCURACY, "pack_penalty": penalty}
    with tempfile.TemporaryDirectory(dir=bench.scratch) as scratch, Endpoint(bench.mock, options) as endpoint:
        folder = Path(scratch)
        settings = folder / "settings.toml"
        settings.write_text(settings_toml(endpoint.url, more or {}), encoding="utf-8")
        argv = [sys.executable, "-m", "reviewopt", "process", str(bench.table), "--config", str(settings)]
        argv += ["--home", str(folder / "home"), "-o", str(folder / "labels.parquet"), "--yes", "--quiet"]
        took = speed.run([*argv, *flags], folder)
        record = json.loads(next(folder.glob("home/runs/*/run.json")).read_text(encoding="utf-8"))
        labels = pl.read_parquet(folder / "labels.parquet")[record["output_columns"]["label"]].cast(pl.String)
        seen = endpoint.figures()
    asked, plan = record["asked"] or {}, record["plan"] or {}
    return {
        "flags": " ".join(flags),
        "settings": dict(more or {}),
        "accuracy": share_of_equal(labels, bench.stars),
        "spent_usd": asked.get("spent_usd", "0"),
        "naive_usd": record["cost"]["naive_usd"],
        "planned_usd": plan.get("usd"),
        "wall_s": took.wall_s,
        "cpu_s": took.cpu_s,
        "requests": seen["requests"],
        "reviews_answered": seen["reviews_answered"],
        "row_share_by_source": {
            name: round(n / record["n_rows"], 4) for name, n in record["n_by_source"].items() if n
        },
        "ladder": record["ladder"],
        "packs": asked.get("packs"),
    }, labels  # fmt: skip


def settings_toml(url: str, more: Mapping[str, str]) -> str:
    """A reviewopt.toml with the three simulated models, and further lines of some sections."""
    lines = [f"[{section}]\n{line}" for section, line in more.items()]
    for name, (input_usd, output_usd) in PRICE_USD.items():
        lines += [f"[models.{name}]", f'model = "{name}"', f'base_url = "{url}"', "simulated = true"]
        lines.append(f"price = {{ input_usd = {input_usd}, output_usd = {output_usd} }}")
    return "\n".join(lines) + "\n"


def share_of_equal(labels: pl.Series, others: pl.Series) -> float:
    """The share of rows with the same label in both; one without a label is none."""
    return round(float((labels == others).fill_null(value=False).sum()) / len(labels), 4)


def strategies(bench: Bench) -> Figures:
    """Each strategy with two paid models, without any label to calibrate on; beside them the models alone."""
    alone, strong = labelled(bench, "--model", "strong", *UNLABELLED)
    runs: Figures = {"strong_alone": alone | {"agrees_with_strong": 1.0}}
    wanted: dict[str, tuple[Flags, Mapping[str, str]]] = {
        name: ((*BOTH, "--strategy", name), {}) for name in STRATEGIES
    }
    for name, (flags, more) in (wanted | OTHERS).items():
        print(f"  {name} ...", file=sys.stderr)
        figures, labels = labelled(bench, *flags, *UNLABELLED, more=more)
        runs[name] = figures | {"agrees_with_strong": share_of_equal(labels, strong)}
    return runs


def packs(bench: Bench) -> Figures:
    """The size found where packing costs more and more accuracy, with and without labels, beside packs of 25."""
    runs: Figures = {}
    for penalty in PENALTIES:
        for name, given in (("labelled", ()), ("unlabelled", UNLABELLED)):
            print(f"  {penalty} {name} ...", file=sys.stderr)
            flags = ("--model", "cheap", "--tune-packs", *given)
            runs[f"{penalty:g}_{name}"], _ = labelled(bench, *flags, penalty=penalty)
        fixed = ("--model", "cheap", "--pack-size", str(FIXED_SIZE), *UNLABELLED)
        runs[f"{penalty:g}_fixed_{FIXED_SIZE}"], _ = labelled(bench, *fixed, penalty=penalty)
    return runs


CASES = {"strategies": strategies, "packs": packs}


def printed(result: Figures) -> list[str]:
    """Every run, a line each."""
    lines = [f"{'(simulated)':38}{'USD':>9}{'accuracy':>10}{'as strong':>10}{'wall s':>8}{'requests':>9}  packs, rows"]
    for case, runs in result["cases"].items():
        for name, run in runs.items():
            shares = ", ".join(f"{source} {100 * share:.0f} %" for source, share in run["row_share_by_source"].items())
            size = f"packs of {run['packs']['size']}, " if run["packs"] else ""
            agrees = f"{run['agrees_with_strong']:.4f}" if "agrees_with_strong" in run else "-"
            usd = f"{float(run['spent_usd']):.4f}"
            lines.append(
                f"{f'{case} {name}'[:38]:38}{usd:>9}{run['accuracy']:>10.4f}{agrees:>10}{run['wall_s']:>8.1f}"
                f"{run['requests']:>9,}  {size}{shares}"
            )
    return lines


def main() -> int:
    """Reads the command line, measures, writes the JSON, prints a table."""
    parser = argparse.ArgumentParser(description="Measure strategies and packs; the paid models are simulated.")
    asking_endpoint.add_option(parser)
    parser.add_argument("--only", choices=tuple(CASES), help="one of the two parts")
    parser.add_argument("--data", type=Path, default=speed.DATA, help="folder of the review tables")
    parser.add_argument("--rows", type=int, help="a trial on the first rows; kept only with --output")
    parser.add_argument("--output", type=Path, help=f"JSON file (default results/{RESULTS.name})")
    args = parser.parse_args()
    is_trial = bool(args.rows or args.only)
    path = args.output or (None if is_trial else RESULTS)
    if is_trial and path is not None and path.resolve() == RESULTS:
        parser.error(f"a trial never replaces {RESULTS.name}")
    mock = asking_endpoint.script_of(parser, args.mock)
    before, found = machine.described(), {}
    with tempfile.TemporaryDirectory() as scratch:
        bench = prepared(mock, args.data, args.rows, Path(scratch))
        for name in [args.only] if args.only else list(CASES):
            print(f"measuring {name} ...", file=sys.stderr)
            found[name] = CASES[name](bench)
    result = {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "command": shlex.join([Path(sys.argv[0]).name]),
        "simulated": True,
        "note": NOTE,
        "trial_rows": args.rows,
        "table": TABLE,
        "accuracy_of": ACCURACY,
        "price_usd": PRICE_USD,
        "latency_ms": LATENCY_MS,
        "machine": before,
        "versions": machine.versions(PACKAGES),
        "cases": found,
    }
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("\n".join([*printed(result), NOTE]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
