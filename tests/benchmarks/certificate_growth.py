"""Certifies a table as it grows: what 1,000 reviews cost, and what proving them takes beside labelling them.

    python tests/benchmarks/certificate_growth.py --mock PATH           # about half an hour on two cores
    python tests/benchmarks/certificate_growth.py --mock PATH --sizes 1000,5000

The reviews are those of amazon_10k, which the packaged model was not trained on. Above 10,000 rows they come again and
again, each time with a number of its own behind the text, so that no two texts are equal: a made table, on which the
local model errs as often as on the real one. `column`: the stars are the reference, which costs nothing; its labels are
counted. `model`: a simulated endpoint is the reference, with the stars as its truth, right on 97 %, priced like gpt-4o
at list ($2.50 and $10 a million tokens); `usd` is what the ledger charged for real tokens of real prompts, of which
reviewopt may put several into a request where AUDIT proves the labels. `naive_usd` is one request a row at that price.
`local_s` is the same table labelled by the local model without a promise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import machine
import polars as pl
from asking_endpoint import Endpoint

from reviewopt.text.prompt_copy import prompt_copy

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "certificate_growth.json"
DATA = HERE.parents[1] / "data" / "labelled"
SIZES: Final = (1_000, 5_000, 10_000, 100_000, 1_000_000)
TARGETS: Final = (0.90, 0.95)
LABELS: Final = {1: "negative", 2: "negative", 3: "neutral", 4: "positive", 5: "positive"}
PRICE: Final = "{ input_usd = 2.5, output_usd = 10 }"
ACCURACY: Final = 0.97
COMMAND: Final = "python tests/benchmarks/certificate_growth.py --mock PATH"
Figures = dict[str, Any]


def table_of(n: int, data: Path) -> pl.DataFrame:
    """The first n reviews, or all of them again and again, each with a number of its own."""
    reviews = pl.read_parquet(data / "amazon_10k.parquet")
    if n <= len(reviews):
        return reviews.head(n)
    times = -(-n // len(reviews))
    many = pl.concat([reviews] * times).head(n)
    return many.with_columns(text=pl.concat_str("text", pl.lit(" Order "), pl.int_range(n).cast(pl.String)))


def run(folder: Path, home: str, *flags: str) -> Figures:
    """Run the command once; what it says as JSON."""
    command = [
        sys.executable, "-m", "reviewopt", "process", "table.parquet", "-o", f"{home}.parquet", "--force", "--json",
        "--home", str(folder / home), *flags,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1}:
        raise SystemExit(done.stderr)
    found: Figures = json.loads(done.stdout)["run"]
    return found


def figures_of(run: Figures, folder: Path, home: str, n: int) -> Figures:
    """What matters of one run."""
    certificate = run["certificate"]
    out = pl.read_parquet(folder / f"{home}.parquet", columns=["sentiment", "rating"])
    truth = out["rating"].replace_strict(LABELS, return_dtype=pl.String)
    return {
        "is_met": certificate["is_met"],
        "method": certificate["method"],
        "sample": [certificate["n_train"], certificate["n_cal"], certificate["n_audit"]],
        "reference_share": round(certificate["n_reference_rows"] / n, 4),
        "agreement_with_stars": round(float((out["sentiment"].cast(pl.String) == truth).mean()), 5),  # type: ignore[arg-type]
        "wall_s": round(run["wall_s"], 2),
        "prove_s": round(run["stage_s"].get("prove", 0.0), 2),
    }


def measured(n: int, target: float, data: Path, mock: Path | None, folder: Path, *, most_paid: int) -> Figures:
    """One size and target: the column, the model, and no promise at all."""
    table = table_of(n, data)
    table.write_parquet(folder / "table.parquet")
    found: Figures = {"rows": n, "target": target}
    promise = ("--target", str(target), "--confidence", ".95")
    plain = run(folder, "plain", "--label-column", "none")
    found["local_s"] = round(plain["wall_s"], 2)
    column = run(folder, f"column{target}", "--reference", "column:rating", *promise)
    found["column"] = figures_of(column, folder, f"column{target}", n)
    found["added_s"] = round(column["wall_s"] - plain["wall_s"], 2)
    if mock is None or n > most_paid:
        return found
    gold = folder / "gold.csv"
    copies = prompt_copy(table["title"], table["text"], redact=False)
    pl.DataFrame({"text": copies, "label": table["rating"].replace_strict(LABELS)}).unique("text").write_csv(gold)
    options: Figures = {"gold": gold, "accuracy_of": {"strong": ACCURACY}, "latency_ms": 0}
    with Endpoint(mock, options) as endpoint:
        (folder / "reviewopt.toml").write_text(
            f'[models.strong]\nmodel = "strong"\nbase_url = "{endpoint.url}"\nprice = {PRICE}\nsimulated = true\n'
        )
        flags = ("--reference", "strong", *promise, "--yes", "--threads", "64", "--label-column", "none")
        paid = run(folder, f"model{target}", *flags)
    (folder / "reviewopt.toml").unlink()
    usd, naive = float(paid["asked"]["spent_usd"]), float(paid["cost"]["naive_usd"])
    found["model"] = {
        **figures_of(paid, folder, f"model{target}", n),
        "requests": paid["asked"]["n_requests"],
        "usd": round(usd, 4),
        "usd_per_1000": round(1000 * usd / n, 5),
        "naive_usd": round(naive, 4),
        "saved_share": round(1 - usd / naive, 4),
    }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mock", type=Path, metavar="PATH", help="the script of a simulated endpoint")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), metavar="N,N")
    parser.add_argument("--targets", default=",".join(map(str, TARGETS)), metavar="T,T")
    parser.add_argument("--most-paid", type=int, default=100_000, metavar="N", help="rows up to which a model is asked")
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FILE")
    given = parser.parse_args()
    found: list[Figures] = []
    if given.output.exists():  # what other calls measured stays
        found = json.loads(given.output.read_text(encoding="utf-8"))["cases"]
    for n in map(int, given.sizes.split(",")):
        for target in map(float, given.targets.split(",")):
            before = machine.described()
            with tempfile.TemporaryDirectory(prefix="growth-") as scratch:
                one = measured(n, target, given.data, given.mock, Path(scratch), most_paid=given.most_paid)
            one["machine"] = before
            print(json.dumps(one), flush=True)
            found = [case for case in found if (case["rows"], case["target"]) != (n, target)] + [one]
            found.sort(key=lambda case: (case["rows"], case["target"]))
            told = {"schema_version": machine.SCHEMA_VERSION, "command": COMMAND, "note": __doc__, "cases": found}
            given.output.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
