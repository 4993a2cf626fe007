"""The step of `cache_speed.py` that looks similar texts up in the archive.

What is timed is all that a look-up does: sketch, candidates, fetching their texts from the archive, verification and
signatures. CPU time is that of the whole process, all threads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import make_million
import numpy as np
import numpy.typing as npt
import polars as pl
from cache_steps import Figures, Took, opened, own_side, timed
from reuse_steps import run

from reviewopt.cache.archive import Archive
from reviewopt.cache.keys import group
from reviewopt.cache.similar import Judge, Queries, Signer, SimilarArchive, sketched
from reviewopt.text.normal import normalise
from reviewopt.text.sharing import Sharing

N_SINGLE, N_BATCHED, N_RAPIDFUZZ, N_WARMING = 200, 20_000, 20, 50
THRESHOLD = 85.0
SAYS_NOTHING = "the"  # no signature counts it

U64 = npt.NDArray[np.uint64]


class Fetching:
    """An archive whose `read` is timed, to tell what fetching the texts costs."""

    def __init__(self, archive: Archive) -> None:
        self.took = Took()
        self._archive = archive

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)

    def read(self, rowids: npt.NDArray[np.int64]) -> pl.DataFrame:
        with timed(self.took):
            return self._archive.read(rowids)


def similar(options: Figures) -> Figures:
    """Looks texts up in the index of similar texts of an archive: singly, then 20,000 at once."""
    folder, building, loading = Path(options["folder"]), Took(), Took()
    with opened(options["folder"]) as archive:
        first = SimilarArchive(folder, archive, Sharing())
        with timed(building):
            first.refresh()
            first.store()
        fetching = Fetching(archive)
        index = SimilarArchive(folder, cast(Archive, fetching), Sharing())
        with timed(loading):
            index.refresh()
        known = pl.concat([frame["text"] for frame in archive.scan()])
        figures = {
            "entries": len(known),
            "build": building.figures() | building.each(len(known)),
            "load": loading.figures(),
            "single": one_by_one(index, fetching, asked_texts(known, options["unrelated"], N_SINGLE + N_WARMING)),
            "batched": at_once(index, fetching, asked_texts(known, options["unrelated"], N_BATCHED)),
        }
    if options["rapidfuzz"]:
        figures["rapidfuzz_extract_one"] = rapidfuzz(known, asked_texts(known, options["unrelated"], N_RAPIDFUZZ))
    return figures


def asked_texts(known: pl.Series, unrelated: str, n: int) -> pl.Series:
    """Half entries with one word more at an end, and half other reviews; String (n,), mixed."""
    other = pl.read_parquet(unrelated, columns=["title", "text"])
    others = normalise(other["title"], other["text"]).drop_nulls().sample(n // 2, seed=1, with_replacement=True)
    entries = known.sample(n - n // 2, seed=1, with_replacement=True).to_frame("text").with_row_index("at")
    edit = make_million.nearly(pl.col("text"), pl.col("at") % 2, pl.lit(SAYS_NOTHING))
    texts = pl.concat([entries.select(edit.alias("text")), others.to_frame("text")]).to_series()
    return texts.sample(fraction=1, shuffle=True, seed=2)


def any_entry(entries: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Every entry may answer."""
    return np.ones(entries.height, np.bool_)


def matched(index: SimilarArchive, form: pl.Series, asked: U64, judge: Judge) -> int:
    """Looks texts up among the entries of the groups `asked`; the matches."""
    return len(
        index.match(Queries(form, sketched(form), (asked,), Signer(form, judge.sharing), any_entry), judge).query
    )


def one_by_one(index: SimilarArchive, fetching: Fetching, form: pl.Series) -> Figures:
    """Wall milliseconds of one look-up with nothing else to do."""
    judge, asked = Judge(threshold=THRESHOLD, sharing=Sharing(), workers=1), group(own_side().digest)
    for at in range(N_WARMING):
        matched(index, form[at : at + 1], asked, judge)  # the word lists are read, the index is in memory
    cpu_s, n = 0.0, 0
    wall_ms, fetch_ms = [], []
    for at in range(N_WARMING, len(form)):
        fetching.took = Took()
        with timed(Took()) as took:
            n += matched(index, form[at : at + 1], asked, judge)
        cpu_s += took.cpu_s
        wall_ms.append(1000 * took.wall_s)
        fetch_ms.append(1000 * fetching.took.wall_s)
    return {
        "look_ups": len(wall_ms),
        "matched": n,
        "wall_ms": spread(np.array(wall_ms)),
        "without_fetching_wall_ms": spread(np.array(wall_ms) - np.array(fetch_ms)),
        "cpu_ms": round(1000 * cpu_s / len(wall_ms), 4),
    }


def spread(values: npt.NDArray[np.float64]) -> Figures:
    return {"median": round(float(np.median(values)), 4), "p95": round(float(np.percentile(values, 95)), 4)}


def at_once(index: SimilarArchive, fetching: Fetching, form: pl.Series) -> Figures:
    """CPU microseconds a look-up of many at once."""
    judge, asked = Judge(threshold=THRESHOLD, sharing=Sharing(), workers=2), group(own_side().digest).repeat(len(form))
    matched(index, form[:N_WARMING], asked[:N_WARMING], judge)
    fetching.took = Took()
    with timed(Took()) as took:
        n = matched(index, form, asked, judge)
    without_us = round(1e6 * (took.cpu_s - fetching.took.cpu_s) / len(form), 3)
    return {"look_ups": len(form), "matched": n, **took.each(len(form)), "without_fetching_cpu_us": without_us}


def rapidfuzz(known: pl.Series, form: pl.Series) -> Figures:
    """What the same costs by comparing each text with every entry."""
    from rapidfuzz import fuzz, process

    texts, n = known.to_list(), 0
    with timed(Took()) as took:
        for text in form.to_list():
            n += process.extractOne(text, texts, scorer=fuzz.ratio, score_cutoff=THRESHOLD) is not None
    return {"look_ups": len(form), "found": n, "cpu_ms": round(1000 * took.cpu_s / len(form), 2)}


if __name__ == "__main__":
    run({"similar": similar})
