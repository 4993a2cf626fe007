"""How often the promise of a certificate is broken, on tables made to break it, beside two ways that must break it.

    python tests/benchmarks/certificate_coverage.py     # writes results/certificate_coverage.json, prints a table

Each case is `N_TRIALS` draws from `N_TABLES` tables of one kind, laid out in one order, through the calls that the tool
makes: `cut` along risks that are fixed before, `last_passing` along whole policies, and `Audit` of frozen labels that
goes one policy back after each failure. A promise is broken where more labels than the budget differ from the
reference's. A case holds with no more broken promises than a coin of chance delta has in all but one of a thousand
runs. Both counts must hold: of the labels as written, and before the sampled rows got their reference label. The
negative controls must not hold: a point estimate in place of the test, and an audit of the rows that were really asked.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path as File
from typing import Any

import machine
import numpy as np
from scipy.stats import binom, hypergeom

HERE = File(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # the tests' invented tables

import populations as made  # noqa: E402  (found on the path above)

from reviewopt.certify import error_budget, most_errors  # noqa: E402

RESULTS = HERE / "results" / "certificate_coverage.json"
TARGET, DELTA = 0.95, 0.05
N_TRIALS, N_TABLES = 1000, 20
N_TRAIN, N_CAL, N_AUDIT = 500, 1000, 2000
# The most broken promises of a run of 1 in 1,000, if each is broken with a chance of exactly delta.
RARE = 0.999

Step = Callable[[Any, made.I64, int], made.Outcome]


@dataclass(frozen=True)
class Case:
    """One kind of table, how its labels are promised, and whether that must hold."""

    table: str
    make: Callable[[int, made.Rng], made.Ranked | made.Path]
    procedure: str
    promise: Step
    n_rows: int
    must_hold: bool = True


def cases(n_rows: int, n_small: int) -> Iterator[Case]:
    """Every kind of table with every procedure that the tool would use on it; then the negative controls."""
    sizes = {"n_train": N_TRAIN, "n_cal": N_CAL}
    cut: Step = lambda table, rows, budget: made.by_cut(table, rows, budget, DELTA, **sizes)  # noqa: E731
    small: Step = lambda table, rows, budget: made.by_cut(table, rows, budget, DELTA, 50, N_CAL)  # noqa: E731
    policy: Step = lambda table, rows, budget: made.by_policy(table, rows, budget, DELTA, N_CAL)  # noqa: E731
    audit: Step = lambda table, rows, budget: made.by_audit(table, rows, budget, DELTA, N_AUDIT)  # noqa: E731
    long: Step = lambda table, rows, budget: made.by_audit(table, rows, budget, DELTA, len(rows) // 2)  # noqa: E731
    for make in (made.calibrated, made.overconfident, made.step, made.tied, made.all_right, made.all_wrong):
        yield Case(make.__name__, make, "cut", cut, n_rows)
    yield Case("fewer rows than the sample", made.calibrated, "cut", small, n_small)
    paths = {
        "negated near copies": partial(made.path, negated=0.04),
        "stale cache": partial(made.path, stale=0.3),
        "not monotone": partial(made.path, negated=0.01, middle=0.04),
    }
    for name, make_path in paths.items():
        yield Case(name, make_path, "policies", policy, n_rows)
        yield Case(name, make_path, "audit", audit, n_rows)
    yield Case("one error too many", made.one_too_many, "policies", policy, n_rows)
    yield Case("one error too many", made.one_too_many, "audit", long, n_rows)
    yield Case("fewer rows than the sample", paths["negated near copies"], "audit", audit, n_small)
    naive: Step = lambda table, rows, budget: made.by_estimate(table, rows, budget, N_CAL)  # noqa: E731
    firsts: Step = lambda table, rows, budget: made.by_audit_of_firsts(table, rows, budget, DELTA, N_AUDIT)  # noqa: E731
    yield Case("calibrated", made.calibrated, "point estimate", naive, n_rows, must_hold=False)
    yield Case("negated near copies", paths["negated near copies"], "audit of firsts", firsts, n_rows, must_hold=False)


def covered(case: Case, order: str, n_trials: int, n_tables: int) -> dict[str, Any]:
    """One case: how many of its promises were broken, and the most that may be."""
    budget = error_budget(case.n_rows, TARGET)
    outcomes = []
    for place in range(n_tables):
        rng = np.random.default_rng([place, *case.table.encode()])
        table = case.make(case.n_rows, rng).ordered(order, rng)
        for trial in range(n_trials // n_tables):
            rows = made.drawn(case.n_rows, case.table, case.procedure, order, str(place), str(trial))
            outcomes.append(case.promise(table, rows, budget))
    n_broken = sum(one.n_wrong > budget for one in outcomes)
    n_before = sum(one.n_wrong_before > budget for one in outcomes)
    limit = int(binom.ppf(RARE, len(outcomes), DELTA))
    return {
        "table": case.table,
        "order": order,
        "procedure": case.procedure,
        "n_rows": case.n_rows,
        "n_trials": len(outcomes),
        "n_broken": n_broken,
        "n_broken_before_repair": n_before,
        "most_broken": limit,
        "holds": max(n_broken, n_before) <= limit,
        "must_hold": case.must_hold,
        "share_to_reference": round(float(np.mean([one.n_reference for one in outcomes])) / case.n_rows, 4),
    }


def worst(n_rows: int, n: int) -> dict[str, Any]:
    """The exact chance to pass with one error too many: the worst case of the fixed sequence, no simulation."""
    budget = error_budget(n_rows, TARGET)
    most = most_errors(n_rows, budget, n, DELTA)
    return {
        "n_rows": n_rows,
        "n_sampled": n,
        "budget": budget,
        "most_errors": most,
        "chance_to_pass": float(hypergeom.cdf(most, n_rows, budget + 1, n)),
        "chance_with_one_more": float(hypergeom.cdf(most + 1, n_rows, budget + 1, n)),
        "delta": DELTA,
    }


def measured(n_rows: int, n_trials: int) -> dict[str, Any]:
    """The whole result, as it is written."""
    before, start = machine.described(), time.perf_counter()
    found = []
    for case in cases(n_rows, n_small=300):
        for order in made.ORDERS:
            found.append(covered(case, order, n_trials, N_TABLES))
            print(printed(found[-1]), file=sys.stderr, flush=True)
    exact = [worst(rows, n) for rows, n in ((1000, 300), (20_000, 1000), (100_000, 2000), (1_000_000, 10_000))]
    return {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "command": "python tests/benchmarks/certificate_coverage.py",
        "machine": before,
        "versions": machine.versions(("numpy", "scipy")),
        "seconds": round(time.perf_counter() - start, 1),
        "target": TARGET,
        "delta": DELTA,
        "n_train": N_TRAIN,
        "n_cal": N_CAL,
        "n_audit": N_AUDIT,
        "n_tables": N_TABLES,
        "all_as_they_must": all(one["holds"] == one["must_hold"] for one in found),
        "cases": found,
        "exact_worst_case": exact,
    }


def printed(case: dict[str, Any]) -> str:
    """One case as a row of a Markdown table."""
    broken = (
        f"{case['n_broken']} / {case['n_broken_before_repair']} of {case['n_trials']} (at most {case['most_broken']})"
    )
    verdict = "as it must" if case["holds"] == case["must_hold"] else "NOT AS IT MUST"
    share = f"{case['share_to_reference']:.1%}"
    return f"| {case['table']} | {case['order']} | {case['procedure']} | {broken} | {share} | {verdict} |"


def main() -> int:
    """Measures, writes the JSON, prints the table; 1 where a case is not as it must be."""
    parser = argparse.ArgumentParser(description="Count broken promises of the accuracy certificate.")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--trials", type=int, default=N_TRIALS)
    parser.add_argument("--output", type=File, default=RESULTS)
    args = parser.parse_args()
    result = measured(args.rows, args.trials)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("\n".join(printed(case) for case in result["cases"]))
    return 0 if result["all_as_they_must"] else 1


if __name__ == "__main__":
    sys.exit(main())
