"""Measures how many labels the local model of a certified run should be fitted on, and how many should certify it.

    python tests/benchmarks/warm.py        # about fifteen minutes on two cores

The certificate is played through on labelled tables, whose stars stand for the reference: 1 and 2 are negative, 3 is
neutral, 4 and 5 are positive; the binary tables leave the 3 out. A permutation gives TRAIN, which the model is fitted
on, and CAL. Of N rows at most B = floor((1 - T) N) may be wrong. With c the largest number for which
P(Hypergeometric(N - n_train, B + 1, n_cal) <= c) <= .05, the rows are accepted that are surer than the (c+1)-th wrong
row of CAL; all others, TRAIN and CAL carry the reference's label, and are what the certificate costs. A violation is a
run with more than B wrong labels. `n_train` 0 is the packaged model as it is. It was trained on amazon_90k, whose rows
it knows by heart, so that every figure of that table is too good; and on flipkart_205k with a tenth of the weight and
the label column instead of the stars. It never saw amazon_10k.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import machine
import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

from reviewopt.local import warm
from reviewopt.local.classifier import Classifier, packaged
from reviewopt.local.held import calibration_error
from reviewopt.text import normal

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "warm.json"
DATA = HERE.parents[1] / "data" / "labelled"
LABELS: Final = ("negative", "neutral", "positive")
TARGETS: Final = (0.80, 0.90, 0.95, 0.97, 0.99)
TRAIN_SIZES: Final = (0, 100, 200, 300, 500, 1000)
CAL_SIZES: Final = (200, 330, 500, 1000)
DELTA: Final = 0.05
N_CALS: Final = 5  # CAL slices for each TRAIN: they cost nothing, the fit does
N_FITS: Final = 3
WINDOW: Final = 0.02  # of the rows, around the cut, where the error rate is counted

Figures = dict[str, Any]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """A table and a choice between its labels."""

    name: str
    file: str
    n_rows: int | None
    n_trains: int
    column: str = "stars"
    train_sizes: tuple[int, ...] = TRAIN_SIZES


CASES: Final = (
    Case("amazon_10k, 3 labels", "amazon_10k", None, 20),
    Case("amazon_10k, binary", "amazon_10k", None, 20, "polar"),
    Case("flipkart_205k, 3 labels", "flipkart_205k", 50_000, 10),
    Case("amazon_90k, 3 labels", "amazon_90k", 20_000, 10),
    Case("amazon_10k, category", "amazon_10k", None, 20, "category", (300, 500, 1000, 2000)),
)


@dataclass(frozen=True)
class Rows:
    """The rows of a case: normal forms, and labels as numbers."""

    form: pl.Series
    label: I64
    labels: tuple[str, ...]


def read(case: Case, data: Path) -> Rows:
    """The rows with a text and a label; a seeded part of them where the table is larger than the case."""
    frame = pl.read_parquet(data / f"{case.file}.parquet")
    frame = frame.with_columns(form=normal.normalise(frame["title"], frame["text"]))
    if case.column == "category":
        said = pl.col("category")
    else:
        between = pl.when(pl.col("rating") == 3).then(None if case.column == "polar" else pl.lit("neutral"))
        said = between.when(pl.col("rating") < 3).then(pl.lit("negative")).otherwise(pl.lit("positive"))
        frame = frame.filter(pl.col("rating").is_not_null())
    frame = frame.select("form", label=said).filter(pl.col("form").fill_null("") != "", pl.col("label").is_not_null())
    if case.n_rows is not None and case.n_rows < len(frame):
        frame = frame.sample(case.n_rows, seed=1)
    met = frame["label"].unique().to_list()
    labels = tuple(name for name in LABELS if name in met) if case.column != "category" else tuple(sorted(met))
    label = frame["label"].replace_strict(labels, range(len(labels)), return_dtype=pl.Int64).to_numpy()
    return Rows(frame["form"], label, labels)


@functools.cache
def most_errors(n_rows: int, n_wrong: int, n_cal: int) -> int:
    """The largest c with P(Hypergeometric(n_rows, n_wrong, n_cal) <= c) <= DELTA; -1 where there is none."""
    chance = stats.hypergeom.cdf(np.arange(n_cal + 1), n_rows, n_wrong, n_cal)
    return int((chance <= DELTA).sum()) - 1


def certified(risk: F64, wrong: Bools, train: I64, cal: I64, target: float) -> Figures:
    """One certificate: its cost as a share of the rows, its violation, and the error rate at its cut."""
    n_rows = len(risk)
    budget = int((1 - target) * n_rows + 1e-9)
    most = most_errors(n_rows - len(train), budget + 1, len(cal))
    met = np.sort(risk[cal][wrong[cal]])
    cut = (met[most] if most < len(met) else np.inf) if most >= 0 else -np.inf
    open_rows = np.ones(n_rows, np.bool_)
    open_rows[train] = open_rows[cal] = False
    accepted = open_rows & (risk < cut)
    ranked = np.sort(risk)
    at = np.searchsorted(ranked, cut) / n_rows
    low, high = np.quantile(ranked, [max(at - WINDOW, 0), min(at + WINDOW, 1)])
    near = (risk >= low) & (risk <= high)
    return {
        "reference_share": 1 - accepted.sum() / n_rows,
        "is_violated": bool((accepted & wrong).sum() > budget),
        "error_rate_at_cut": float(wrong[near].mean()) if 0 < at < 1 else None,
    }


def perfect(risk: F64, wrong: Bools, budget: int) -> float:
    """Share of the rows that must go to the reference if all errors were known but the order were the model's."""
    found = np.cumsum(wrong[np.argsort(risk, kind="stable")])
    return 1 - float(np.searchsorted(found, budget, side="right")) / len(risk)


def fitted(rows: Rows, train: I64, base: Classifier, seed: int) -> tuple[Classifier, Figures]:
    """The model of a sample, or the packaged one without any."""
    if not len(train):
        model = warm.closest(base, rows.labels)
        assert model is not None, rows.labels
        return model, {"agreement": None}
    said = pl.Series([rows.labels[i] for i in rows.label[train]])
    made = warm.fit(rows.form.gather(train), said, rows.labels, task="benchmark", base=base, seed=seed)
    return made.model, {"agreement": made.agreement}


def trials(case: Case, rows: Rows, base: Classifier, n_train: int) -> Iterator[Figures]:
    """One TRAIN after another, with its model's figures and its certificates."""
    for seed in range(case.n_trains):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(rows.label))
        train, rest = order[:n_train], order[n_train:]
        model, told = fitted(rows, train, base, seed)
        answer = model.predict(rows.form)
        risk, wrong = 1 - answer.confidence.astype(np.float64), answer.label != rows.label
        runs = []
        for _ in range(N_CALS):
            drawn = rng.permutation(rest)
            for n_cal in CAL_SIZES:
                for target in TARGETS:
                    made = certified(risk, wrong, train, drawn[:n_cal], target)
                    runs.append({"n_cal": n_cal, "target": target, **made})
        yield {
            **told,
            "accuracy": float(1 - wrong[rest].mean()),
            "calibration_error": calibration_error(~wrong[rest], answer.confidence[rest]),
            "perfect": [perfect(risk[rest], wrong[rest], int((1 - t) * len(rest) + 1e-9)) for t in TARGETS],
            "runs": runs,
        }


def summed(n_train: int, made: list[Figures]) -> Figures:
    """Means over the trials of one TRAIN size."""
    runs = pl.DataFrame([run for one in made for run in one["runs"]], infer_schema_length=None)
    by = runs.group_by("n_cal", "target").agg(
        pl.col("reference_share").mean().round(4),
        pl.col("reference_share").quantile(0.9).round(4).alias("reference_share_90"),
        pl.col("is_violated").mean().round(4).alias("violations"),
        pl.col("error_rate_at_cut").mean().round(4),
        n_runs=pl.len(),
    )
    known = np.mean([one["perfect"] for one in made], axis=0).round(4)
    return {
        "n_train": n_train,
        **{key: mean([one[key] for one in made]) for key in ("accuracy", "agreement", "calibration_error")},
        "perfect": dict(zip(map(str, TARGETS), known, strict=True)),
        "certificates": by.sort("n_cal", "target").to_dicts(),
    }


def mean(values: list[float | None]) -> float | None:
    """The mean of what was measured."""
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def fit_cost(rows: Rows, base: Classifier) -> list[Figures]:
    """Seconds of one core that a fit takes, from the packaged model and without it."""
    made = []
    for n_train in TRAIN_SIZES[1:]:
        for start in (base, None):
            spent = []
            for seed in range(N_FITS):
                train = np.random.default_rng(seed).permutation(len(rows.label))[:n_train]
                said = pl.Series([rows.labels[i] for i in rows.label[train]])
                began = time.process_time()
                warm.fit(rows.form.gather(train), said, rows.labels, task="benchmark", base=start, seed=seed)
                spent.append(time.process_time() - began)
            times = {"cpu_s_min": round(min(spent), 3), "cpu_s_max": round(max(spent), 3)}
            made.append({"n_train": n_train, "is_warm": start is not None, **times})
    return made


def measured(data: Path, names: list[str]) -> Figures:
    """The whole result, as it is written."""
    before, base, cases = machine.described(), packaged(), []
    for case in CASES:
        if not any(name in case.name for name in names):
            continue
        rows = read(case, data)
        sizes = []
        for n_train in case.train_sizes:
            print(f"{case.name}: TRAIN of {n_train} ...", file=sys.stderr)
            sizes.append(summed(n_train, list(trials(case, rows, base, n_train))))
        labels = np.bincount(rows.label, minlength=len(rows.labels)) / len(rows.label)
        shares = {name: round(float(share), 4) for name, share in zip(rows.labels, labels, strict=True)}
        cases.append({"case": case.name, "n_rows": len(rows.label), "labels": shares, "sizes": sizes})
    return {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "machine": before,
        "versions": machine.versions(("reviewopt", "polars", "numpy", "scipy")),
        "delta": DELTA,
        "fits": fit_cost(read(CASES[0], data), base),
        "cases": cases,
    }


def printed(result: Figures) -> str:
    """The result as a table for a terminal: the share of rows that carry the reference's label."""
    lines = [f"{'TRAIN':>6}{'warm':>6}{'seconds of a core to fit (min-max)':>36}"]
    for fit in result["fits"]:
        spent = f"{fit['cpu_s_min']:.2f}-{fit['cpu_s_max']:.2f}"
        lines.append(f"{fit['n_train']:>6}{'yes' if fit['is_warm'] else 'no':>6}{spent:>36}")
    for case in result["cases"]:
        lines.append(f"\n{case['case']}, {case['n_rows']:,} rows; share labelled by the reference, % (violations)")
        lines.append(f"{'TRAIN':>6}{'CAL':>6}" + "".join(f"{f'T={target}':>16}" for target in TARGETS))
        for size in case["sizes"]:
            known = "".join(f"{100 * share:>16.1f}" for share in size["perfect"].values())
            told = f"   accuracy {size['accuracy']:.3f}, calibration error {size['calibration_error']:.3f}"
            lines.append(f"{size['n_train']:>6}{'-':>6}{known}{told}")
            for n_cal in CAL_SIZES:
                ones = [one for one in size["certificates"] if one["n_cal"] == n_cal]
                cells = [f"{100 * one['reference_share']:.1f} ({one['violations']:.2f})" for one in ones]
                lines.append(f"{size['n_train']:>6}{n_cal:>6}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def main() -> int:
    """Reads the command line, measures, writes the JSON, prints the table."""
    parser = argparse.ArgumentParser(description="Measure how large TRAIN and CAL of a certificate should be.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the review tables")
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the names of the cases to measure")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    missing = [case.file for case in CASES if not (args.data / f"{case.file}.parquet").exists()]
    if missing:
        print(f"no {missing[0]}.parquet in {args.data}; name its folder with --data", file=sys.stderr)
        return 2
    result = measured(args.data, args.only)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(printed(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
