"""What the promise costs: rows that the reference has to answer, beside one who knows everything and beside BARGAIN.

    pip install -e '.[bench]'
    python tests/benchmarks/certificate_power.py      # writes results/certificate_power.json, prints a table

On fresh tables of each kind, for samples of `cal_size` and of fixed sizes, the share of rows that go to the reference:
the sample and what the cut does not accept. Who knows everything asks only for the rows behind the longest prefix of
the claimed order that keeps to the budget. BARGAIN's accuracy procedure (Zeighami, Shankar & Parameswaran, Cut costs,
not accuracy, 2025, arXiv:2509.02896) is the published package with its own defaults, on the first of the same tables,
its scores 1 less the claimed risk. Its proxy and oracle read arrays instead of asking models in a thread pool; what it
samples, tests and returns is its own. Both are told the same target and the same chance of a broken promise.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path as File
from typing import Any

import machine
import numpy as np

HERE = File(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # the tests' invented tables

import populations as made  # noqa: E402  (found on the path above)

from reviewopt.certify import cal_size, error_budget  # noqa: E402

RESULTS = HERE / "results" / "certificate_power.json"
N_ROWS, TARGET, DELTA = 100_000, 0.95, 0.05
SIZES = (1000, 2000, 5000)
KINDS = (made.calibrated, made.overconfident, made.step)
# What the benchmark must show: at n = 2000 or `cal_size`, and against BARGAIN.
MOST_TIMES_PERFECT, LEAST_TIMES_BARGAIN = 2.4, 2.5


def planned(table: made.Ranked, budget: int) -> int:
    """The sample that `cal_size` asks for, with the claimed risk at the claimed cut: nothing else is known before."""
    claims = np.sort(table.risk)
    place = min(int(np.searchsorted(np.cumsum(claims), budget)), len(claims) - 1)
    return cal_size(len(claims), TARGET, DELTA, error_at_cut=float(claims[place]))


def perfect(table: made.Ranked, budget: int) -> made.Outcome:
    """The outcome for one who knows every wrong label, along the same order."""
    wrong = np.cumsum(table.wrong[np.argsort(table.risk, kind="stable")])
    accepted = int(np.searchsorted(wrong, budget, side="right"))
    n_wrong = int(wrong[accepted - 1]) if accepted else 0
    return made.Outcome(n_wrong, n_wrong, len(wrong) - accepted)


def bargain(table: made.Ranked, seed: int) -> made.Outcome:
    """The outcome of BARGAIN's accuracy procedure; a label is 1 where the reference's is, and 0 where it is wrong.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    package = importlib.import_module("BARGAIN.process.BARGAIN_A")
    models = importlib.import_module("BARGAIN.models.AbstractModels")
    labels, scores = (~table.wrong).astype(np.int64), 1 - table.risk

    class Proxy(models.Proxy):  # type: ignore[misc, name-defined]
        def get_preds_and_scores(self, indxs: made.I64, data_records: made.I64) -> tuple[made.I64, made.F64]:  # noqa: ARG002
            return labels[indxs], scores[indxs]

    class Oracle(models.Oracle):  # type: ignore[misc, name-defined]
        def get_pred(self, data_records: made.I64, indxs: made.I64) -> made.I64:  # noqa: ARG002
            return np.ones(len(indxs), dtype=np.int64)

        def is_answer_correct(self, data_indxs: made.I64, data_records: made.I64, proxy_output: made.I64) -> made.F64:  # noqa: ARG002
            right: made.F64 = (proxy_output == 1).astype(np.float64)
            return right

    runner = package.BARGAIN_A(Proxy(), Oracle(), target=TARGET, delta=DELTA, verbose=False, seed=seed)
    with np.errstate(all="ignore"):
        found, asked = runner.process(np.arange(len(labels)), return_oracle_usage=True)
    n_wrong = int((np.array(found) == 0).sum())
    return made.Outcome(n_wrong, n_wrong, int(np.sum(asked)))


def summary(outcomes: list[made.Outcome], ideal: list[made.Outcome], budget: int) -> dict[str, Any]:
    """Shares of rows that went to the reference, times perfect knowledge, and how often the promise was broken."""
    shares = np.array([one.n_reference for one in outcomes]) / N_ROWS
    least = np.array([one.n_reference for one in ideal[: len(outcomes)]]) / N_ROWS
    return {
        "n_trials": len(outcomes),
        "share_mean": round(float(shares.mean()), 5),
        "share_p10": round(float(np.quantile(shares, 0.1)), 5),
        "share_p90": round(float(np.quantile(shares, 0.9)), 5),
        "times_perfect": round(float(shares.mean() / least.mean()), 3),
        "n_broken": sum(one.n_wrong > budget for one in outcomes),
    }


def compared(make: Any, n_trials: int, n_rival: int) -> dict[str, Any]:
    """Every procedure on tables of one kind."""
    budget, name = error_budget(N_ROWS, TARGET), make.__name__
    ideal: list[made.Outcome] = []
    ours: dict[str, list[made.Outcome]] = {str(size): [] for size in ("cal_size", *SIZES)}
    theirs: list[made.Outcome] = []
    sizes, missing, seconds = [], None, 0.0
    for trial in range(n_trials):
        table = make(N_ROWS, np.random.default_rng([trial, *name.encode()]))
        rows = made.drawn(N_ROWS, name, str(trial))
        ideal.append(perfect(table, budget))
        sizes.append(planned(table, budget))
        for size, found in ours.items():
            n = sizes[-1] if size == "cal_size" else int(size)
            found.append(made.by_cut(table, rows, budget, DELTA, 0, n))
        if trial < n_rival and missing is None:
            start = time.perf_counter()
            try:
                theirs.append(bargain(table, trial))
            except ModuleNotFoundError as error:
                missing = f"not installed: {error.name}"
            seconds += time.perf_counter() - start
        print(f"{name} {trial + 1} of {n_trials}", end="\r", file=sys.stderr)
    times = {
        size: round(sum(one.n_reference for one in theirs) / sum(one.n_reference for one in found[: len(theirs)]), 3)
        for size, found in ours.items()
        if theirs
    }
    return {
        "table": name,
        "perfect_share": round(float(np.mean([one.n_reference for one in ideal])) / N_ROWS, 5),
        "cal_size_mean": round(float(np.mean(sizes)), 1),
        "ours": {size: summary(found, ideal, budget) for size, found in ours.items()},
        "bargain": summary(theirs, ideal, budget) | {"seconds_a_trial": round(seconds / len(theirs), 1)}
        if theirs
        else None,
        "bargain_missing": missing,
        "bargain_times_ours_on_the_same_tables": times or None,
    }


def printed(result: dict[str, Any]) -> str:
    """The result as a Markdown table."""
    lines = [
        "| table | procedure | to the reference | times perfect knowledge | promises broken |",
        "|---|---|--:|--:|--:|",
    ]
    for one in result["tables"]:
        lines.append(f"| {one['table']} | knows everything | {one['perfect_share']:.1%} | 1.00 | |")
        named = {f"n = {size}": found for size, found in one["ours"].items()} | {"BARGAIN": one["bargain"]}
        for name, found in named.items():
            if found:
                cells = [f"{found['share_mean']:.1%}", f"{found['times_perfect']:.2f}"]
                cells.append(f"{found['n_broken']} of {found['n_trials']}")
                lines.append(f"| {one['table']} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def met(tables: list[dict[str, Any]]) -> dict[str, bool | None]:
    """Whether each figure that was asked for was reached; null where it was not measured."""
    by_name = {one["table"]: one for one in tables}
    found: dict[str, bool | None] = {}
    for size in ("cal_size", "2000"):
        ratio = by_name["calibrated"]["ours"][size]["times_perfect"]
        found[f"calibrated, {size}: at most {MOST_TIMES_PERFECT} x perfect"] = ratio <= MOST_TIMES_PERFECT
        for name in ("calibrated", "overconfident"):
            times = by_name[name]["bargain_times_ours_on_the_same_tables"]
            least = f"{name}, {size}: BARGAIN at least {LEAST_TIMES_BARGAIN} x ours"
            found[least] = times[size] >= LEAST_TIMES_BARGAIN if times else None
    return found


def main() -> None:
    """Measures, writes the JSON, prints the table."""
    parser = argparse.ArgumentParser(
        description="Rows that the reference answers, beside perfect knowledge and BARGAIN."
    )
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--rival-trials", type=int, default=24)
    parser.add_argument("--output", type=File, default=RESULTS)
    args = parser.parse_args()
    before, start = machine.described(), time.perf_counter()
    tables = [compared(make, args.trials, args.rival_trials) for make in KINDS]
    result = {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "command": " ".join(["python", "tests/benchmarks/certificate_power.py", *sys.argv[1:]]),
        "machine": before,
        "versions": machine.versions(("numpy", "scipy", "bargain")),
        "seconds": round(time.perf_counter() - start, 1),
        "n_rows": N_ROWS,
        "target": TARGET,
        "delta": DELTA,
        "bargain_settings": {"procedure": "BARGAIN_A", "M": 20},
        "not_measured": {"lotus-ai": "not installed: it needs torch with its CUDA libraries"},
        "met": met(tables),
        "tables": tables,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(printed(result))


if __name__ == "__main__":
    main()
