"""Measures what warming is worth: a stream of reviews replayed by day, each day after the archive of the days before.

    python tests/benchmarks/predict.py        # about a minute on two cores

For every day from the second on, the history is all earlier days, one table a day, and the questions are the day's
distinct texts. A hit is the exact normal form; near copies are switched off, and copies within a day are not counted,
because a run finds them without a cache. Compared are: nothing warmed, the N texts that `warm --predict N` takes, N at
random (five seeds), the N most recent, and all. Every archive is new, so no hits are counted beforehand: those would
add nothing here, since a text that was hit on a day is in that day's table too.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import machine
import polars as pl

from reviewopt import config, load
from reviewopt.cache import warm
from reviewopt.cache.history import History
from reviewopt.cache.keys import Contexts
from reviewopt.cache.shelf import Shelf
from reviewopt.cache.tiers import Batch, Cache
from reviewopt.text import normal

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "predict.json"
DATA = HERE.parents[1] / "data" / "labelled"
TABLE = "airline_tweets"
SIZES: Final = (100, 1_000, 5_000)
N_SEEDS: Final = 5
TASK: Final = config.load_task("sentiment")

Figures = dict[str, Any]


@dataclass(frozen=True)
class Day:
    """One day: its table, and its distinct texts with their rows, `form` and `n_rows`."""

    name: str
    table: Path
    questions: pl.DataFrame


@dataclass(frozen=True)
class Found:
    """What a look-up of a day found."""

    n_warmed: int
    n_hits: int
    n_hit_rows: int


def split(source: Path, scratch: Path) -> list[Day]:
    """The days of a table in their order, each written as a table of its own in the order of its time."""
    rows = pl.read_parquet(source).sort("timestamp", maintain_order=True)
    days = []
    for (name,), part in rows.group_by(pl.col("timestamp").str.head(10), maintain_order=True):
        path = scratch / f"{name}.parquet"
        part.select("id", "text", "label", "brand").write_parquet(path)
        form = normal.normalise(pl.repeat(None, part.height, dtype=pl.String, eager=True), part["text"])
        counted = pl.DataFrame({"form": form}).drop_nulls().group_by("form", maintain_order=True)
        days.append(Day(str(name), path, counted.agg(n_rows=pl.len())))
    return days


@contextmanager
def warmed(scratch: Path, tables: list[Path], n_most: int | None) -> Iterator[tuple[Shelf, int]]:
    """A new archive that knows these tables, or the N texts of them most likely to come back, and how many it knows."""
    merged, _ = config.load({}, environment={})
    with (
        tempfile.TemporaryDirectory(dir=scratch) as home,
        Shelf(Path(home), merged.cache.archive, sharing=None, on_warning=print) as shelf,
    ):
        n_kept = warm_up(shelf, tables, n_most) if tables else 0
        shelf.refresh()
        yield shelf, n_kept


def warm_up(shelf: Shelf, tables: list[Path], n_most: int | None) -> int:
    """Puts the labels of the tables into the archive, as the command does; how many texts it then knows."""
    with load.open_table([str(path) for path in tables], task=TASK) as table:
        files = list(table.schema)[-1] if len(table.names) > 1 else None
        made = warm.warm(
            shelf.archive,
            [History(chunks=table.chunks, answers=None, file_column=files, isolated=False)],
            TASK,
            n_most=n_most,
            popularity=shelf.popularity,
            now_s=int(time.time()),
            on_progress=lambda _done, _total: None,
        )
    return made.n_kept


def found(shelf: Shelf, n_warmed: int, day: Day) -> Found:
    """What a run of the day would find."""
    merged, _ = config.load({}, environment={})
    cache = Cache(merged.cache, Contexts(TASK, None, scope="shared"), TASK.labels, shelf=shelf, judge=None)
    tier = cache.look_up(Batch(form=day.questions["form"], sketches=None, tenant=None)).tier
    return Found(n_warmed, int((tier > 0).sum()), int(day.questions["n_rows"].to_numpy()[tier > 0].sum()))


def known_texts(shelf: Shelf, history: list[Day]) -> pl.DataFrame:
    """Everything an archive knows, `text` and `label`, the texts that occurred last first."""
    known = pl.concat([frame.select("text", label="answer") for frame in shelf.archive.scan()])
    met = pl.concat([day.questions.select("form").with_columns(day=pl.lit(at)) for at, day in enumerate(history)])
    last = met.with_row_index("at").group_by("form").agg(pl.col("at").max())
    return known.join(last, left_on="text", right_on="form").sort("at", descending=True).drop("at")


def chosen(scratch: Path, texts: pl.DataFrame, day: Day) -> Found:
    """What is found when just these texts are warmed."""
    path = scratch / "chosen.parquet"
    texts.write_parquet(path)
    with warmed(scratch, [path], None) as (shelf, n_warmed):
        return found(shelf, n_warmed, day)


def measure_day(scratch: Path, history: list[Day], day: Day) -> Figures:
    """Every choice for one day: how many texts were warmed, and the hits on questions and on rows."""
    tables = [one.table for one in history]
    with warmed(scratch, [], None) as (shelf, n_warmed):
        by_choice: dict[str, Found | list[Found]] = {"nothing": found(shelf, n_warmed, day)}
    with warmed(scratch, tables, None) as (shelf, n_warmed):
        by_choice["all"] = found(shelf, n_warmed, day)
        known = known_texts(shelf, history)
    for n in SIZES:
        with warmed(scratch, tables, n) as (shelf, n_warmed):
            by_choice[f"predicted {n}"] = found(shelf, n_warmed, day)
        by_choice[f"recent {n}"] = chosen(scratch, known.head(n), day)
        seeds = [random.Random(seed).sample(range(known.height), min(n, known.height)) for seed in range(N_SEEDS)]
        by_choice[f"random {n}"] = [chosen(scratch, known[seed], day) for seed in seeds]
    return {
        "day": day.name,
        "n_rows": int(day.questions["n_rows"].sum()),
        "n_questions": day.questions.height,
        "n_history_texts": known.height,
        "choices": {name: figures(made) for name, made in by_choice.items()},
    }


def figures(made: Found | list[Found]) -> Figures:
    """Hits as a list, one a seed; a choice without chance has one."""
    each = made if isinstance(made, list) else [made]
    return {
        "n_warmed": each[0].n_warmed,
        "n_hits": [one.n_hits for one in each],
        "n_hit_rows": [one.n_hit_rows for one in each],
    }


def summed(days: list[Figures]) -> dict[str, Figures]:
    """Each choice over all days: hits on questions as rates, their least and greatest where chance chose."""
    n_questions, n_rows = (sum(day[name] for day in days) for name in ("n_questions", "n_rows"))
    rates = {}
    for name in days[0]["choices"]:
        each = [day["choices"][name] for day in days]
        hits = [sum(seed) for seed in zip(*(one["n_hits"] for one in each), strict=True)]
        hit_rows = [sum(seed) for seed in zip(*(one["n_hit_rows"] for one in each), strict=True)]
        rates[name] = {
            "n_hits": sum(hits) / len(hits),
            "hit_rate": sum(hits) / len(hits) / n_questions,
            "hit_rate_min": min(hits) / n_questions,
            "hit_rate_max": max(hits) / n_questions,
            "hit_rate_of_rows": sum(hit_rows) / len(hit_rows) / n_rows,
        }
    return rates


def measured(source: Path) -> Figures:
    """The whole result, as it is written."""
    before = machine.described()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        days = split(source, scratch)
        made = []
        for at in range(1, len(days)):
            print(f"replaying {days[at].name} ...", file=sys.stderr)
            made.append(measure_day(scratch, days[:at], days[at]))
    return {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "machine": before,
        "versions": machine.versions(("reviewopt", "polars", "numpy")),
        "table": source.stem,
        "n_seeds": N_SEEDS,
        "choices": summed(made),
        "days": made,
    }


def printed(result: Figures) -> str:
    """The result as a table for a terminal."""
    n_questions = sum(day["n_questions"] for day in result["days"])
    lines = [
        f"{result['table']}, {len(result['days'])} days, {n_questions:,} questions (distinct texts a day)",
        f"{'warmed':18}{'hits':>10}{'hit rate (min-max), %':>26}{'of rows, %':>12}",
    ]
    for name, one in result["choices"].items():
        rate = f"{100 * one['hit_rate']:.2f}"
        if one["hit_rate_min"] != one["hit_rate_max"]:
            rate += f" ({100 * one['hit_rate_min']:.2f}-{100 * one['hit_rate_max']:.2f})"
        lines.append(f"{name:18}{one['n_hits']:>10,.1f}{rate:>26}{100 * one['hit_rate_of_rows']:>12.2f}")
    return "\n".join(lines)


def main() -> int:
    """Reads the command line, measures, writes the JSON, prints the table."""
    parser = argparse.ArgumentParser(description="Measure what warming the archive with past days is worth.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the review tables")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    source = args.data / f"{TABLE}.parquet"
    if not source.exists():
        print(f"no {TABLE}.parquet in {args.data}; name its folder with --data", file=sys.stderr)
        return 2
    result = measured(source)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(printed(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
