"""The packaged classifier beside VADER, TextBlob and fastText: same rows, same core, one run.

    pip install -e '.[bench]'
    python tests/benchmarks/peers.py            # writes results/peers.json, prints the table of the README

Quality is measured on every row of amazon_10k, which nothing here was trained on; speed on 20,000 rows spread over
amazon_90k, from title and text to labels, everything that a peer needs in between included. A peer that is not
installed is said to be missing.

FastText learns from every row of the tables of our own recipe, of which our classifier leaves out a tenth; and, in
a second training, from the two Amazon tables alone, which are the most like amazon_10k. `rivals.py` says how scores
become labels.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import machine
import numpy as np
import polars as pl
from rivals import (
    FASTTEXT,
    FASTTEXT_CUTOFF,
    LABELS,
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    Flags,
    Labels,
    Peer,
    Reviews,
    fasttext,
    package_bytes,
    textblob,
    vader,
)

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "peers.json"
DATA = HERE.parents[1] / "data" / "labelled"
RECIPE = HERE.parents[1] / "configs" / "local" / "sentiment.toml"
N_SPEED_ROWS, N_SPEED_RUNS = 20_000, 3


def ours(trained_on: str) -> Iterator[Peer]:
    """The packaged classifier."""
    import reviewopt
    from reviewopt.local.classifier import packaged
    from reviewopt.text.normal import normalise

    model = packaged()
    place = np.array([LABELS.index(label) for label in model.labels])

    def label(reviews: Reviews) -> Labels:
        found: Labels = place[model.predict(normalise(*reviews)).label]
        return found

    def positive(reviews: Reviews) -> Flags:
        scores = model.scores(normalise(*reviews))[0] * model.calibration.slope + model.calibration.offset
        likelier: Flags = scores[:, place == POSITIVE] >= scores[:, place == NEGATIVE]
        return likelier[:, 0]

    size = package_bytes("reviewopt.local", ("weights/sentiment.npz",))
    yield Peer("reviewopt", reviewopt.__version__, size, trained_on, label, positive)


def read_reviews(data: Path, table: dict[str, Any]) -> tuple[Reviews, Labels]:
    """Title and text of every row of a table of the recipe, and its label: its own, or by its stars.

    1-2 stars are negative, 3 neutral, 4-5 positive.
    """
    raw = pl.read_parquet(data / table["file"])
    title = raw[table["title"]] if "title" in table else pl.Series([None] * len(raw), dtype=pl.String)
    if "label" in table:
        truth = raw[table["label"]].replace_strict(dict(zip(LABELS, range(len(LABELS)), strict=True)))
    else:
        stars = {1: NEGATIVE, 2: NEGATIVE, 3: NEUTRAL, 4: POSITIVE, 5: POSITIVE}
        truth = raw[table["stars"]].cast(pl.Int64).replace_strict(stars)
    return (title, raw[table.get("text", "text")]), truth.cast(pl.Int64).to_numpy()


def trained_fasttext(name: str, data: Path, tables: list[dict[str, Any]]) -> Iterator[Peer]:
    """FastText trained on some tables of the recipe."""
    with tempfile.TemporaryDirectory() as scratch:
        examples = [read_reviews(data, table) for table in tables]
        yield from fasttext(name, examples, names_of(tables), Path(scratch))


def names_of(tables: list[dict[str, Any]]) -> str:
    """The tables in words."""
    return " + ".join(Path(table["file"]).stem for table in tables)


def macro_f1(truth: Labels, found: Labels) -> float:
    """Mean over the labels of 2 * hits / (true + found)."""
    scores = []
    for label in range(len(LABELS)):
        hits = ((truth == label) & (found == label)).sum()
        scores.append(2 * hits / max(1, (truth == label).sum() + (found == label).sum()))
    return float(np.mean(scores))


def measured(peer: Peer, test: tuple[Reviews, Labels], speed: Reviews) -> dict[str, Any]:
    """Every figure of one peer; shares and rates are 0-1, seconds are CPU seconds of the one core."""
    reviews, truth = test
    found, rated = peer.label(reviews), truth != NEUTRAL
    right = found == truth
    seconds = []
    for _ in range(N_SPEED_RUNS):
        start = time.process_time()
        peer.label(speed)
        seconds.append(time.process_time() - start)
    rates = [len(speed[1]) / one for one in seconds]
    return {
        "name": peer.name,
        "version": peer.version,
        "trained_on": peer.trained_on,
        "size_bytes": peer.size_bytes,
        "accuracy": round(float(right.mean()), 4),
        "macro_f1": round(macro_f1(truth, found), 4),
        "recall": {label: round(float(right[truth == place].mean()), 4) for place, label in enumerate(LABELS)},
        "binary_accuracy": round(float((peer.positive(reviews) == (truth == POSITIVE))[rated].mean()), 4),
        "reviews_per_cpu_s": {
            "median": round(statistics.median(rates)),
            "min": round(min(rates)),
            "max": round(max(rates)),
        },
    }


def compared(data: Path) -> dict[str, Any]:
    """The whole result on one core, as it is written; a peer that cannot run has its reason under `missing`."""
    before = machine.described()
    # Before polars and numpy start their threads, which is at their first use.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    recipe = tomllib.loads(RECIPE.read_text(encoding="utf-8"))
    amazon = [table for table in recipe["tables"] if table["file"].startswith("amazon")]
    test = read_reviews(data, recipe["tests"][0])
    (title, text), _ = read_reviews(data, recipe["tables"][0])
    every = len(text) // N_SPEED_ROWS
    speed = (title.gather_every(every).head(N_SPEED_ROWS), text.gather_every(every).head(N_SPEED_ROWS))
    makers: dict[str, Callable[[], Iterator[Peer]]] = {
        "reviewopt": partial(ours, names_of(recipe["tables"])),
        "VADER": vader,
        "TextBlob": textblob,
        "fastText": partial(trained_fasttext, "fastText", data, recipe["tables"]),
        "fastText, Amazon only": partial(trained_fasttext, "fastText, Amazon only", data, amazon),
    }
    peers, missing = [], {}
    for name, make in makers.items():
        print(f"measuring {name} ...", file=sys.stderr)
        try:
            peers += [measured(peer, test, speed) for peer in make()]
        except ModuleNotFoundError as error:
            missing[name] = f"not installed: {error.name}"
        except RuntimeError as error:  # fastText 0.9.3 built from source can stop at a NaN
            missing[name] = f"failed: {error}"
    return {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "machine": before,
        "versions": machine.versions(("polars", "numpy")),
        "n_cores_used": 1,
        "quality_on": {"table": names_of(recipe["tests"][:1]), "n_reviews": len(test[1])},
        "speed_on": {"table": names_of(recipe["tables"][:1]), "n_reviews": N_SPEED_ROWS, "n_runs": N_SPEED_RUNS},
        "fasttext_settings": FASTTEXT | {"cutoff": FASTTEXT_CUTOFF},
        "peers": peers,
        "missing": missing,
    }


def printed(result: dict[str, Any]) -> str:
    """The result as the Markdown table of the README."""
    lines = [
        "| | accuracy | macro-F1 | neutral recall | binary accuracy | reviews per CPU s | model |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for one in result["peers"]:
        shares = [one["accuracy"], one["macro_f1"], one["recall"]["neutral"], one["binary_accuracy"]]
        shown = [f"{shares[0]:.1%}", f"{shares[1]:.3f}", f"{shares[2]:.0%}", f"{shares[3]:.1%}"]
        shown += [f"{one['reviews_per_cpu_s']['median']:,}", f"{one['size_bytes'] / 1e6:.1f} MB"]
        lines.append(f"| {one['name']} {one['version']} | {' | '.join(shown)} |")
    return "\n".join([*lines, *(f"{name}: {reason}" for name, reason in result["missing"].items())])


def main() -> None:
    """Measures on one core, writes the JSON, prints the table."""
    parser = argparse.ArgumentParser(description="Compare the packaged classifier with VADER, TextBlob and fastText.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the review tables")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    result = compared(args.data)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(printed(result))


if __name__ == "__main__":
    main()
