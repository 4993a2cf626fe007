"""The steps of `cache_speed.py` that measure the first tier, and the archive with its exact index.

What a step returns goes into the file that `answer` names. CPU time is that of the whole process, all threads.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import make_million
import numpy as np
import polars as pl
from reuse_steps import MODEL, PRICE_USD, Simulated, cut, process, run

from reviewopt import config
from reviewopt.cache.archive import Archive
from reviewopt.cache.entry import ENTRY_SCHEMA
from reviewopt.cache.index import MISS, ExactIndex
from reviewopt.cache.keys import Contexts, ModelKey, Side, make_keys
from reviewopt.cache.memory import Held, Memory
from reviewopt.data import COST_DTYPE
from reviewopt.text.normal import normalise

A_TRANSACTION = 10_000
A_BATCH = 32_768
N_IN_MEMORY, N_MEMORY_LOOK_UPS = 1_000, 1_000_000
COMPRESS_ABOVE_BYTES = 1024
CREATED_S = 1_800_000_000
LABELS = {name: at for at, name in enumerate(Simulated.labels)}

Figures = dict[str, Any]


@dataclass
class Took:
    """Seconds, set when the block ends."""

    cpu_s: float = 0.0
    wall_s: float = 0.0

    def figures(self) -> Figures:
        return {"cpu_s": round(self.cpu_s, 4), "wall_s": round(self.wall_s, 4)}

    def each(self, n: int) -> Figures:
        """Microseconds for each of `n`."""
        return {"cpu_us": round(1e6 * self.cpu_s / n, 3), "wall_us": round(1e6 * self.wall_s / n, 3)}


@contextmanager
def timed(took: Took) -> Iterator[Took]:
    """Adds what the block takes."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    yield took
    took.wall_s += time.perf_counter() - wall_s
    took.cpu_s += time.process_time() - cpu_s


def make(options: Figures) -> Figures:
    """Makes the table of `make_million.py`."""
    sources = [Path(source) for source in options["sources"]]
    return dict(make_million.make_table(sources, options["rows"], Path(options["output"])))


def warned(message: str) -> None:
    """A warning of the archive ends the measurement."""
    raise RuntimeError(message)


def opened(folder: str) -> Archive:
    return Archive.open(Path(folder), compress_above_bytes=COMPRESS_ABOVE_BYTES, on_warning=warned)


def own_side() -> Side:
    """The context of the simulated model's own answers."""
    model = ModelKey(name=MODEL, settings={}, prompt="1", packed=False)
    contexts = Contexts(config.load_task("sentiment"), model, scope="shared")
    contexts.codes(None, 0)
    assert contexts.own is not None
    return contexts.own


def entries_of(options: Figures) -> Iterator[pl.DataFrame]:
    """The table's distinct texts, up to `entries`, as entries of the archive, a transaction at a time."""
    own = own_side()
    read = pl.read_parquet(options["table"], columns=["id", "title", "text"])
    known = pl.DataFrame([read["id"], normalise(read["title"], read["text"]).alias("text")]).drop_nulls()
    known = known.unique("text", keep="first", maintain_order=True).head(options["entries"])
    for part in known.iter_slices(A_TRANSACTION):
        keys = make_keys(own.json, np.zeros(part.height, np.int64), part["text"])
        yield part.select(
            keys.hex(),
            context=pl.lit(own.digest[0]),
            answer=pl.Series(Simulated.labels).gather(Simulated().predict(part["text"]).label),
            confidence=pl.lit(0.9, pl.Float32),
            cost_usd=pl.lit(PRICE_USD).cast(COST_DTYPE),
            created_s=pl.lit(CREATED_S, pl.Int64),
            tenant=pl.lit(None, pl.String),
            review_id="id",
            text="text",
        ).select(list(ENTRY_SCHEMA))


def write(options: Figures) -> Figures:
    """Puts the table's texts into an archive, and makes the sidecar of its exact index."""
    own, put, opening, storing, n, n_bytes = own_side(), Took(), Took(), Took(), 0, 0
    with opened(options["folder"]) as archive:
        for entries in entries_of(options):
            n, n_bytes = n + entries.height, n_bytes + int(entries["text"].str.len_bytes().sum())
            with timed(put):
                archive.put(entries, dict(zip(own.digest, own.json, strict=True)))
    with opened(options["folder"]) as archive:
        index = ExactIndex(Path(options["folder"]), archive)
        with timed(opening):
            index.refresh()
        with timed(storing):
            index.store()
        return {
            "entries": n,
            "mean_text_bytes": round(n_bytes / n, 1),
            "put": put.figures(),
            "first_open": opening.figures(),
            "sidecar": storing.figures(),
            "bytes_on_disk": archive.volume_bytes,
        }


def read(options: Figures) -> Figures:
    """Opens an archive that has its sidecar, and looks up all of its keys and a tenth of them."""
    keys = pl.concat([entries["key"] for entries in entries_of(options)])
    raw = np.frombuffer(b"".join(keys.str.decode("hex").to_list()), ">u8").astype(np.uint64).reshape(-1, 2)
    opening, looking, n_found = Took(), Took(), 0
    with timed(opening):
        archive = opened(options["folder"])
        index = ExactIndex(Path(options["folder"]), archive)
        index.refresh()
    with archive:
        for first in range(0, len(raw), A_BATCH):
            with timed(looking):
                hits = index.look_up(raw[first : first + A_BATCH], LABELS)
            n_found += int((hits.label != MISS).sum())
        found = {name: find(archive, keys.sample(fraction=share, seed=0)) for name, share in FOUND_SHARES}
    if n_found != len(keys):
        raise RuntimeError(f"{n_found:,} of {len(keys):,} keys found")
    total_s = opening.cpu_s + looking.cpu_s
    return {
        "keys": len(keys),
        "open": opening.figures(),
        "look_up": looking.figures() | looking.each(len(keys)),
        "open_and_look_up_cpu_s": round(total_s, 4),
        **found,
    }


FOUND_SHARES = (("find_10_percent", 0.1), ("find_100_percent", 1.0))


def find(archive: Archive, keys: pl.Series) -> Figures:
    """`Archive.find`, which returns the texts too."""
    took = Took()
    with timed(took):
        n_found = archive.find(keys).height
    if n_found != len(keys):
        raise RuntimeError(f"{n_found:,} of {len(keys):,} keys found")
    return {"keys": len(keys)} | took.figures() | took.each(len(keys))


def memory(_options: Figures) -> Figures:
    """Looks keys up in the first tier, half of them held, singly and in bulk."""
    rng = np.random.default_rng(0)
    keys = [rng.bytes(16) for _ in range(2 * N_IN_MEMORY)]
    held = Memory(N_IN_MEMORY)
    held.put_many((key, Held("positive", 0.9, CREATED_S)) for key in keys[::2])
    asked = [keys[at] for at in rng.integers(0, len(keys), N_MEMORY_LOOK_UPS).tolist()]
    empty, single, bulk = Took(), Took(), Took()
    with timed(empty):
        for _ in asked:
            pass
    with timed(single):
        for key in asked:
            held.get(key)
    with timed(bulk):
        for first in range(0, len(asked), A_BATCH):
            held.get_many(asked[first : first + A_BATCH])
    return {
        "entries": len(held),
        "look_ups": len(asked),
        "hit_share": 0.5,
        "single_ns": round(1e9 * (single.cpu_s - empty.cpu_s) / len(asked), 1),
        "bulk_ns": round(1e9 * bulk.cpu_s / len(asked), 1),
    }


if __name__ == "__main__":
    steps = {"cut": cut, "process": process, "make": make, "memory": memory}
    run(steps | {"write": write, "read": read})
