"""Certifies real tables against their own stars: labels of the reference that it takes, and what the labels then are.

    python tests/benchmarks/certificate_real.py                     # all tables, about half an hour on two cores
    python tests/benchmarks/certificate_real.py --only amazon_10k

Each case is the command as a user runs it, `reviewopt process TABLE --reference column:rating --target T`, in a home of
its own. The sample follows from the table's content, so that a table has one sample: amazon_10k is shuffled for more.
The rest of each row's label is counted after the run, from the output, and is no part of what the command saw.

USD: a reference's label is priced as one request of one review to gpt-4o, at the list price, with the tokens of the
prompt that reviewopt would send; the naive run asks that of every row. No model was asked.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import machine
import numpy as np
import polars as pl

from reviewopt import config, prices, tokens
from reviewopt.data import Usage
from reviewopt.models.kinds import open_model, parse_spec
from reviewopt.prices import Price
from reviewopt.pricing import form_of
from reviewopt.text.prompt_copy import prompt_copy

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "certificate_real.json"
DATA = HERE.parents[1] / "data" / "labelled"
TARGETS: Final = (0.80, 0.90, 0.95, 0.97, 0.99)
LABELS: Final = {1: "negative", 2: "negative", 3: "neutral", 4: "positive", 5: "positive"}
BINARY_TASK: Final = """name = "polarity"
instructions = "Decide what the author of a product review thinks of the product."
label_map = "1-2=negative, 4-5=positive"
[[fields]]
name = "sentiment"
type = "choice"
labels = ["negative", "positive"]
"""
# Shares of the rows that the known procedure took without TRAIN (its own simulation, 200 trials), to be no worse than.
KNOWN: Final = {
    ("amazon_10k", False, 0.90): 0.133, ("amazon_10k", False, 0.95): 0.292, ("amazon_10k", False, 0.99): 0.639,
    ("amazon_10k", True, 0.90): 0.062, ("amazon_10k", True, 0.95): 0.167,
}  # fmt: skip
Figures = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A table, whether without its three stars, and in how many orders of its rows."""

    table: str
    is_binary: bool
    n_orders: int = 1

    @property
    def name(self) -> str:
        return f"{self.table}, {'binary' if self.is_binary else '3 classes'}"


CASES: Final = (
    Case("amazon_10k", False, 5),
    Case("amazon_10k", True, 5),
    Case("amazon_90k", False),
    Case("amazon_90k", True),
    Case("flipkart_205k", False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="TABLE", help="one table alone")
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FILE")
    given = parser.parse_args()
    found: list[Figures] = []
    before = machine.described()
    for case in CASES:
        if given.only in {None, case.table}:
            with tempfile.TemporaryDirectory(prefix="certificate-") as scratch:
                found += measured(case, given.data, Path(scratch))
    told = {
        "schema_version": machine.SCHEMA_VERSION,
        "command": f"python tests/benchmarks/certificate_real.py {' '.join(sys.argv[1:])}".strip(),
        "machine": before,
        "note": __doc__.strip(),
        "cases": found,
    }
    given.output.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def measured(case: Case, data: Path, folder: Path) -> Iterator[Figures]:
    """Certify one table at each target, in each order of its rows."""
    reviews = pl.read_parquet(data / f"{case.table}.parquet")
    if case.is_binary:
        reviews = reviews.filter(pl.col("rating") != 3)
        (folder / "task.toml").write_text(BINARY_TASK, encoding="utf-8")
    for target in TARGETS:
        each = []
        for order in range(case.n_orders):
            shuffled = reviews if not order else reviews[np.random.default_rng(order).permutation(len(reviews))]
            shuffled.write_parquet(folder / "table.parquet")
            each.append(certified(folder, target, has_task=case.is_binary))
        usd = np.array([usd_of(folder / "table.parquet", one.pop("is_reference")) for one in each[-1:]])
        naive_usd = naive(folder / "table.parquet")
        shares = [one["reference_share"] for one in each]
        figures: Figures = {
            "table": case.name,
            "rows": len(reviews),
            "target": target,
            "n_orders": case.n_orders,
            "reference_share": round(float(np.mean(shares)), 4),
            "reference_share_each": [round(one, 4) for one in shares],
            "known_share": KNOWN.get((case.table, case.is_binary, target)),
            "is_met": [one["is_met"] for one in each],
            "accuracy": [round(one["accuracy"], 5) for one in each],
            "violations": sum(one["accuracy"] < target for one in each if one["is_met"]),
            "sample": each[0]["sample"],
            "method": each[0]["method"],
            "wall_s": [round(one["wall_s"], 2) for one in each],
            "usd": round(float(usd[0]), 4),
            "naive_usd": round(naive_usd, 4),
            "saved_share": round(1 - float(usd[0]) / naive_usd, 4),
        }
        print(json.dumps({k: v for k, v in figures.items() if k != "reference_share_each"}), flush=True)
        yield figures


def certified(folder: Path, target: float, *, has_task: bool) -> Figures:
    """Run the command once, and look at what it wrote."""
    task = ["--task", str(folder / "task.toml")] if has_task else []
    command = [
        sys.executable, "-m", "reviewopt", "process", "table.parquet", "-o", "out.parquet", "--force", "--json",
        "--reference", "column:rating", "--target", str(target), "--home", str(folder / f"home-{target}"), *task,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1}:
        raise SystemExit(done.stderr)
    run = json.loads(done.stdout)["run"]
    certificate, out = run["certificate"], pl.read_parquet(folder / "out.parquet")
    right = out["sentiment"].cast(pl.String) == out["rating"].replace_strict(LABELS, return_dtype=pl.String)
    is_reference = (out["sentiment_source"] == "reference").to_numpy()
    return {
        "reference_share": float(is_reference.mean()),
        "is_met": certificate["is_met"],
        "accuracy": int(right.sum()) / len(out),
        "sample": [certificate["n_train"], certificate["n_cal"], certificate["n_audit"]],
        "method": certificate["method"],
        "wall_s": run["wall_s"],
        "is_reference": is_reference,
    }


def priced(table: Path) -> tuple[np.ndarray[Any, Any], Price, float]:
    """What each row takes in a request of its own to gpt-4o: tokens in, the price, and tokens out."""
    environment = {"OPENAI_API_KEY": "none"}
    name, settings = parse_spec("openai:gpt-4o", {}, environment)
    with tempfile.TemporaryDirectory() as folder:
        encoding = tokens.open_encoding(Path(folder))
        model = open_model(
            name, settings, config.load_task("sentiment"), threads=1, memory=Path(folder) / "models.json",
            environment=environment,
        )  # fmt: skip
        form = form_of(model, encoding)
        reviews = pl.read_parquet(table, columns=["title", "text"])
        copies = prompt_copy(reviews["title"], reviews["text"], redact=False).fill_null("").to_list()
        counts = np.array([len(one) for one in encoding.encode_ordinary_batch(copies, num_threads=2)])
        n_out = model.output_tokens_a_review
        model.close()
    return counts + form.tokens + form.tokens_a_review, prices.find(settings, name), n_out


def usd_of(table: Path, asked: np.ndarray[Any, Any]) -> float:
    """What one request for each of the rows asked costs."""
    counts, price, outward = priced(table)
    n = int(asked.sum())
    if not n:
        return 0.0
    return n * float(price.cost(Usage(input=round(float(counts[asked].mean())), output=round(outward))))


def naive(table: Path) -> float:
    """What one request for every row costs."""
    n = pl.scan_parquet(table).select(pl.len()).collect().item()
    return usd_of(table, np.ones(n, np.bool_))


if __name__ == "__main__":
    main()
