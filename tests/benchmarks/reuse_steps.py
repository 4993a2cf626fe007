"""The steps of `reuse.py` and `cache_speed.py` that label and look up; each runs in a process of its own.

    python tests/benchmarks/reuse_steps.py process '{"table": "reviews.parquet", ...}'

`reuse.py` calls them; what a step returns goes into the file that `answer` names. The paid model is simulated.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the tests' stand-ins

from fakes import FakePrediction, make_job, settings_of

from reviewopt import config, load, pipeline
from reviewopt.cache.asked import Batch, Kept
from reviewopt.cache.keys import Contexts, ModelKey
from reviewopt.cache.shelf import Shelf
from reviewopt.cache.similar import Judge
from reviewopt.cache.tiers import Cache
from reviewopt.text.normal import normalise
from reviewopt.text.sharing import Sharing
from reviewopt.text.sketch import sketch

MODEL = "simulated"
PRICE_USD = "0.0005"
SEED = 14
EDITED_SHARE, NEW_SHARE = 0.01, 0.05
N_A_LOOK_UP = 100
CHUNK_ROWS = 32_768
EXACT, ASKED = -1, 0  # where an answer came from, if from no tier
PARTS = ("refresh", "sketch", "look_up", "store")

Figures = dict[str, Any]
Step = Callable[[Figures], Figures]


class Simulated:
    """A paid model's stand-in: the answer is a hash of the text."""

    labels = ("negative", "neutral", "positive")

    def predict(self, form: pl.Series) -> FakePrediction:
        label = (form.hash(seed=SEED).to_numpy() % 3).astype(np.int16)
        return FakePrediction(label, np.full(len(form), 0.9, np.float32), np.zeros(len(form), np.bool_))


def cut(options: Figures) -> Figures:
    """Writes the first rows of a table; with `brand_ending`, under other brands."""
    table = pl.read_parquet(options["table"], n_rows=options["rows"])
    if ending := options.get("brand_ending"):
        table = table.with_columns(pl.col("brand") + ending)
    table.write_parquet(options["output"])
    return {"rows": table.height}


def process(options: Figures) -> Figures:
    """Labels a table through the pipeline with the simulated model; the record of the run."""
    with (
        load.open_table([options["table"]], task=config.load_task("sentiment"), chunk_rows=CHUNK_ROWS) as table,
        make_job(
            table,
            Path(options["folder"]),
            model=Simulated(),
            source=MODEL,
            price_usd=PRICE_USD,
            isolated=options["isolated"],
            settings={"dedup.near": options["near"]},
        ) as job,
    ):
        record: Figures = msgspec.to_builtins(pipeline.process(job, lambda *_: None))
    return record


def counts(options: Figures) -> Figures:
    """Rows of a labelled table by a column and by the source of their answer."""
    rows = pl.scan_parquet(options["table"]).group_by(options["column"], pl.col("sentiment_source").cast(pl.String))
    found: Figures = {}
    for value, source, n in rows.len().sort(pl.all()).collect().rows():
        found.setdefault(str(value), {})[str(source)] = n
    return found


def edit(options: Figures) -> Figures:
    """Writes a table with some rows edited and others new, and counts the questions that the old one did not ask.

    An edit puts a word with a number of its own in place of a word, so that no earlier answer may be shared.
    """
    old, more = (pl.read_parquet(options[name]) for name in ("table", "more"))
    more = more.cast(dict(old.schema)).select(old.columns)  # type: ignore[arg-type]
    known = normalise(old["title"], old["text"])
    more = more.with_columns(normalise(more["title"], more["text"]).alias("form")).drop_nulls("form")
    more = more.filter(~pl.col("form").is_in(known.implode())).unique("form", maintain_order=True).drop("form")
    fresh = more.head(round(NEW_SHARE * old.height)).with_columns(kind=pl.lit("new"))
    rng = np.random.default_rng(SEED)
    place = rng.choice(np.flatnonzero(known.is_not_null().to_numpy()), round(EDITED_SHARE * old.height), replace=False)
    place.sort()
    texts = [text.split(" ") for text in old["text"].gather(place).to_list()]
    for number, words in enumerate(texts):
        words[len(words) // 2] = f"no{number}"
    edited = old["text"].scatter(place, [" ".join(words) for words in texts])
    kind = pl.repeat("kept", old.height, eager=True).alias("kind").scatter(place, ["edited"] * len(place))
    table = pl.concat([old.with_columns(edited, kind), fresh])
    table.write_parquet(options["output"])
    questions = normalise(table["title"], table["text"]).drop_nulls().unique()
    ideal = int((~questions.is_in(known.implode())).sum())
    return {"edited_rows": len(place), "new_rows": fresh.height, "ideal_asked": ideal}


@dataclass
class Tally:
    """What the look-ups of `zipf` took: CPU seconds by part, and wall seconds each."""

    cpu_s: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(PARTS)))
    wall_s: list[float] = field(default_factory=list)

    def figures(self) -> Figures:
        n = len(self.wall_s)
        return {
            "look_ups": n,
            "cpu_ms_a_look_up": round(1000 * float(self.cpu_s.sum()) / n, 3),
            "cpu_ms_by_part": {name: round(1000 * s / n, 3) for name, s in zip(PARTS, self.cpu_s, strict=True)},
            "wall_ms": {f"p{q}": round(1000 * float(np.percentile(self.wall_s, q)), 3) for q in (50, 95, 100)},
        }


def serve(cache: Cache, form: pl.Series, tally: Tally) -> npt.NDArray[np.uint8]:
    """Answers one request of distinct texts as a service would: looked up, else asked and stored; the tiers."""
    model, began_s, clock = Simulated(), time.perf_counter(), [time.process_time()]
    cache.refresh()
    clock.append(time.process_time())
    sketches = sketch(form)
    clock.append(time.process_time())
    tier = cache.look_up(Batch(form=form, sketches=sketches, tenant=None)).tier
    clock.append(time.process_time())
    missed = form.gather(np.flatnonzero(tier == ASKED))
    said, nobody = model.predict(missed), pl.repeat(None, len(missed), dtype=pl.String, eager=True)
    keeper = cache.keeper(
        Batch(form=missed, sketches=None, tenant=None), pl.DataFrame({"tenant": nobody, "review_id": nobody})
    )
    if keeper is None:
        raise RuntimeError("a model's answers are kept")
    answers = zip(said.label.tolist(), said.confidence.tolist(), strict=True)
    cache.store(
        keeper,
        [
            Kept(at=at, label=label, confidence=sure, rest="", cost_usd=Decimal(PRICE_USD))
            for at, (label, sure) in enumerate(answers)
        ],
    )
    clock.append(time.process_time())
    tally.cpu_s += np.diff(clock)
    tally.wall_s.append(time.perf_counter() - began_s)
    return tier


def zipf(options: Figures) -> Figures:
    """Serves arrivals drawn with Zipf's law, exponent 1, in requests of 100, from an empty cache."""
    table = pl.read_parquet(options["table"])
    known = table.select("category", normalise(table["title"], table["text"]).alias("form")).drop_nulls("form")
    known = known.unique("form", maintain_order=True).sample(fraction=1, shuffle=True, seed=SEED)
    chance = 1 / np.arange(1, known.height + 1)
    drawn = np.random.default_rng(SEED).choice(known.height, options["rows"], p=chance / chance.sum())
    arrival = np.asarray(drawn, np.int64)
    settings, tally = settings_of().cache, Tally()
    model = ModelKey(name=MODEL, settings={}, prompt="1", packed=False)
    contexts = Contexts(config.load_task("sentiment"), model, scope="shared")
    judge = Judge(threshold=settings.similar.threshold, sharing=Sharing(), workers=2)
    source = np.full(len(arrival), EXACT)
    with Shelf(Path(options["home"]), settings.archive, sharing=Sharing(), on_warning=print) as shelf:
        cache = Cache(settings, contexts, Simulated.labels, shelf=shelf, judge=judge)
        for first in range(0, len(arrival), N_A_LOOK_UP):
            distinct, at = np.unique(arrival[first : first + N_A_LOOK_UP], return_index=True)
            source[first + at] = serve(cache, known["form"].gather(distinct), tally)
    return zipf_figures(known["category"].gather(arrival), arrival, source) | tally.figures()


def zipf_figures(category: pl.Series, arrival: npt.NDArray[np.int64], source: npt.NDArray[np.int64]) -> Figures:
    """What was reused of the arrivals; no exact cache does better than the share that is not the first of its text."""
    again = np.ones(len(arrival), np.bool_)
    again[np.unique(arrival, return_index=True)[1]] = False
    rows = pl.DataFrame({"category": category, "reused": source != ASKED, "again": again})
    shares = rows.group_by("category").agg(pl.len(), pl.col("reused", "again").mean()).sort("category")
    names = ("exact", MODEL, "l1", "l2", "l3")
    return {
        "rows": len(arrival),
        "n_by_source": {name: int((source == code).sum()) for code, name in enumerate(names, start=EXACT)},
        "first_arrivals": int((~again).sum()),
        "misses_that_are_first_arrivals": int(((source == ASKED) & ~again).sum()),
        "reused_share": float((source != ASKED).mean()),
        "ceiling_share": float(again.mean()),
        "least_category_share": shares["reused"].min(),
        "by_category": [dict(zip(("category", "rows", "share", "ceiling"), row, strict=True)) for row in shares.rows()],
    }


def run(steps: Mapping[str, Step]) -> None:
    """Runs the step that the command line names."""
    name, options = sys.argv[1], json.loads(sys.argv[2])
    Path(options["answer"]).write_text(json.dumps(steps[name](options)), encoding="utf-8")


if __name__ == "__main__":
    run({"cut": cut, "process": process, "counts": counts, "edit": edit, "zipf": zipf})
