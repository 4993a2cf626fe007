"""Measures what labelling amazon_10k saves against each cloud service at list price, plainly and certified.

    python tests/benchmarks/cloud_savings.py --mock PATH               # about five minutes
    python tests/benchmarks/cloud_savings.py --mock PATH --rows 1000   # a trial, kept only with --output

Every case is one `reviewopt benchmark --vs aws,google,azure --json`, with a home of its own. The clouds are priced by
the packaged price list and not called: their accuracy is not measured. The local model and the labels of the table are
real; where models are asked they are simulated (`asking_endpoint.py`), at the prices of gpt-5-nano and gpt-4o.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asking_endpoint
import machine
import speed
import strategies
from asking_endpoint import Endpoint

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "cloud_savings.json"
PACKAGES = ("reviewopt", "polars", "numpy", "scipy", "genai-prices")
RIVALS = "aws,google,azure"
MONTHLY = "1000000"
EXPECTED_SHARE = 0.8
NO_ERROR = (0, 1)  # 1: the promise is not met, and the comparison says so
NOTE = (
    "List prices without free tiers; no cloud service was called, so no accuracy of theirs is known. Our runs are "
    "measured, one each; models that are asked are simulated, at set prices. What labels of people cost is not known."
)
COLUMN = ("--reference", "column:rating")
MODEL = ("--models", "cheap", "--reference", "strong")
# What our side is made of; the first of each kind is the run without a certificate, which every comparison makes.
CASES: Mapping[str, tuple[str, ...]] = {
    "local, certified .90 by a column": (*COLUMN, "--target", "0.90"),
    "local, certified .95 by a column": (*COLUMN, "--target", "0.95"),
    "cheap, certified .90 by a strong model": (*MODEL, "--target", "0.90"),
    "cheap, certified .95 by a strong model": (*MODEL, "--target", "0.95"),
}

Figures = dict[str, Any]


def compared(bench: strategies.Bench, flags: tuple[str, ...]) -> Figures:
    """One comparison on a fresh endpoint with a fresh home, as its JSON has it."""
    options = {"latency_ms": strategies.LATENCY_MS, "gold": bench.gold, "accuracy_of": strategies.ACCURACY}
    with tempfile.TemporaryDirectory(dir=bench.scratch) as scratch, Endpoint(bench.mock, options) as endpoint:
        settings = Path(scratch) / "settings.toml"
        settings.write_text(strategies.settings_toml(endpoint.url, {}), encoding="utf-8")
        argv = [sys.executable, "-m", "reviewopt", "benchmark", str(bench.table), "--vs", RIVALS]
        argv += ["--monthly", MONTHLY, "--config", str(settings), "--home", str(Path(scratch) / "home")]
        done = subprocess.run(
            [*argv, "--yes", "--quiet", "--json", *flags], check=False, capture_output=True, text=True, cwd=scratch
        )
        if done.returncode not in NO_ERROR:
            raise RuntimeError(done.stderr)
        made: Figures = json.loads(done.stdout)
    kept = ("name", "what", "usd", "parts", "not_comparable", "usd_per_1000", "seconds", "accuracy", "proven")
    return {
        "flags": " ".join(flags),
        "own": [{key: one[key] for key in kept} for one in made["own"]],
        "rivals": [
            {key: one[key] for key in ("name", "n_units", "usd", "usd_per_1000", "after_free_usd", "monthly", "as_of")}
            for one in made["rivals"]
        ],
        "savings": made["savings"],
        "summary": made["summary"],
    }


def printed(result: Figures) -> list[str]:
    """Every saving, a line each."""
    lines = [f"{'':42}{'our side':24}{'rival':8}{'ours, USD':>12}{'theirs, USD':>12}{'saved':>10}"]
    for case, made in result["cases"].items():
        lines += [
            f"{case:42}{one['own']:24}{one['rival']:8}{float(one['own_usd']):>12.6f}{float(one['rival_usd']):>12.3f}"
            f"{told(one)}"
            for one in made["savings"]
        ]
    return lines


def told(saving: Figures) -> str:
    """The share that is saved, and the reason where it is small or not known."""
    if saving["share"] is None:
        return f"{'-':>10}  not known: {saving['reason']}"
    reason = "" if saving["share"] >= EXPECTED_SHARE else f"  under 80 %: {saving['reason']}"
    return f"{saving['share']:>10.4%}{reason}"


def main() -> int:
    """Reads the command line, measures, writes the JSON, prints a table."""
    parser = argparse.ArgumentParser(description="Measure savings against cloud services at list price.")
    asking_endpoint.add_option(parser)
    parser.add_argument("--data", type=Path, default=speed.DATA, help="folder of the review tables")
    parser.add_argument("--rows", type=int, help="a trial on the first rows; kept only with --output")
    parser.add_argument("--output", type=Path, help=f"JSON file (default results/{RESULTS.name})")
    args = parser.parse_args()
    path = args.output or (None if args.rows else RESULTS)
    if args.rows and path is not None and path.resolve() == RESULTS:
        parser.error(f"a trial never replaces {RESULTS.name}")
    mock = asking_endpoint.script_of(parser, args.mock)
    before, cases = machine.described(), {}
    with tempfile.TemporaryDirectory() as scratch:
        bench = strategies.prepared(mock, args.data, args.rows, Path(scratch))
        for name, flags in CASES.items():
            print(f"measuring {name} ...", file=sys.stderr)
            cases[name] = compared(bench, flags)
    result = {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "note": NOTE,
        "table": strategies.TABLE,
        "trial_rows": args.rows,
        "accuracy_of": strategies.ACCURACY,
        "price_usd": strategies.PRICE_USD,
        "machine": before,
        "versions": machine.versions(PACKAGES),
        "cases": cases,
    }
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("\n".join([*printed(result), NOTE]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
