"""Measures the packaged classifier: held-out parts, tables it never saw, transfer, calibration, languages and speed.

    python tests/benchmarks/classifier.py --data DIR                  # all of it; about half an hour on one core
    python tests/benchmarks/classifier.py --data DIR --no-transfer    # without training three more models

Transfer figures come from models trained by the same recipe without the table they are measured on; they are measured
on all of that table. Speed is single-threaded `Classifier.predict` on normal forms, best of several rounds, with the
median beside it; POLARS_MAX_THREADS is set to 1 first.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import time
from pathlib import Path
from typing import Any

import machine
import msgspec

os.environ["POLARS_MAX_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # before polars and numpy are imported

import polars as pl
import sentences

from reviewopt.local import recipe
from reviewopt.local.classifier import Classifier

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results" / "classifier.json"
LEFT_OUT = ("imdb_train_25k.parquet", "flipkart_205k.parquet", "airline_tweets.parquet")
BATCH_ROWS = 2048


def speed(model: Classifier, form: pl.Series, n_rounds: int) -> dict[str, Any]:
    """Reviews a second on one core, in batches of 2,048 rows."""
    batches = [form[i : i + BATCH_ROWS] for i in range(0, len(form), BATCH_ROWS)]
    cpu, wall = [], []
    for _ in range(n_rounds):
        began, began_cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            model.predict(batch)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - began_cpu)
    return {
        "reviews_per_s": int(len(form) / min(cpu)),
        "reviews_per_s_median": int(len(form) / statistics.median(cpu)),
        "reviews_per_s_wall": int(len(form) / min(wall)),
        "clock": "CPU seconds of the process",
        "rows": len(form),
        "batch_rows": BATCH_ROWS,
        "rounds": n_rounds,
        "machine": machine.described(),
        "date": machine.today(),
    }


def transfer(given: recipe.Recipe, data: Path) -> dict[str, Any]:
    """Figures on each left-out table by a model that never saw it."""
    found = {}
    for table in given.tables:
        if table.file in LEFT_OUT:
            model = recipe.train(given, data, leave_out=table.file).model
            found[table.file] = recipe.evaluate(model, recipe.reviews(given, table, data), distinct=True)
            print(table.file, found[table.file]["accuracy"], flush=True)
    return found


def outside(model: Classifier) -> dict[str, Any]:
    """Share of short sentences of each language that count as outside the model's languages."""
    found = {}
    for language, rows in sentences.BY_LANGUAGE.items():
        answer = model.predict(pl.Series(rows).str.to_lowercase())
        found[language] = {"n": len(rows), "outside_share": round(float(answer.outside.mean()), 3)}
        found[language]["mean_confidence"] = round(float(answer.confidence.mean()), 3)
    return found


def foreign_table(model: Classifier, data: Path) -> dict[str, Any]:
    """Share of Japanese and Chinese reviews that count as outside."""
    frame = pl.read_parquet(data / "multilingual_ja_zh_12k.parquet")
    answer = model.predict(frame["text"].str.to_lowercase())
    both = frame.with_columns(outside=pl.Series(answer.outside), confidence=pl.Series(answer.confidence))
    rows = both.group_by("lang").agg(pl.len(), pl.mean("outside"), pl.mean("confidence")).sort("lang").iter_rows()
    return {
        lang: {"n": n, "outside_share": round(share, 4), "mean_confidence": round(sure, 4)}
        for lang, n, share, sure in rows
    }


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled tables")
    parser.add_argument("--no-transfer", action="store_true", help="keep the transfer figures of the last results")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--recipe", type=Path, default=ROOT / "configs" / "local" / "sentiment.toml")
    asked = parser.parse_args()
    given = recipe.read(asked.recipe)
    weights = ROOT / "reviewopt" / "local" / "weights" / f"{given.name}.npz"
    model = Classifier.load(weights)
    last = msgspec.json.decode(RESULTS.read_bytes()) if RESULTS.exists() else {"transfer": {}}
    form = recipe.reviews(given, given.tables[0], asked.data)["form"]
    results = {
        "schema_version": machine.SCHEMA_VERSION,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "weights_bytes": weights.stat().st_size,
        "date": machine.today(),
        "machine": machine.described(),
        "versions": machine.versions(("numpy", "polars", "scipy")),
        "speed": speed(model, form, asked.rounds),
        "held_out": recipe.held_out(given, model, asked.data),
        "outside": {"sentences": outside(model), "table": foreign_table(model, asked.data)},
        "transfer": last["transfer"] if asked.no_transfer else transfer(given, asked.data),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    print(f"wrote {RESULTS}; now: python -m reviewopt.local.train puts the figures into the card")


if __name__ == "__main__":
    main()
