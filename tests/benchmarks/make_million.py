"""Makes a table of millions of reviews out of real ones, to measure speed and memory on.

    python tests/benchmarks/make_million.py amazon_90k.parquet flipkart_205k.parquet -n 1000000 -o million.parquet

A made review is the first half of one real review, the second half of another and a clause of its own that no other
review ends in: texts are distinct unless a copy was planted. Every choice is a hash of the seed and the row's number,
so that a copy of any earlier row is made again instead of being remembered: memory does not grow with the table.
The texts are for timing only. They mean nothing, and no accuracy may be measured on them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.io.plugins import register_io_source

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]

SCHEMA = pl.Schema(
    {
        "id": pl.String,
        "title": pl.String,
        "text": pl.String,
        "rating": pl.Int64,
        "category": pl.String,
        "brand": pl.String,
    }
)
BATCH_ROWS = 50_000
EXACT_SHARE, RESTYLED_SHARE, NEAR_SHARE = 0.10, 0.05, 0.10
# A near copy stands this many rows after its original, close enough to be in one chunk with it almost always. The
# distance is fixed so that no two near copies have the same original.
NEAR_DISTANCE = 97
# Half of the copies have their original within this many rows, half anywhere before them.
RECENT_ROWS = 20_000
BASE, EXACT, RESTYLED, NEAR = 0, 1, 2, 3

# Six words, 16 ways each: 2^24 clauses, one for each row of the table.
CLAUSE_WORDS = (
    "aunt barber boss brother coach cousin dentist flatmate friend grandson neighbour nephew sister teacher uncle wife",
    "borrowed cleaned cursed dropped hid kept noticed packed praised sold swapped tested tried wanted wore wrapped",
    "again badly calmly carefully daily finally gladly half loudly politely proudly rarely secretly slowly twice yet",
    "abroad ashore below downhill downtown here indoors inland nearby offshore outdoors outside there up uphill far",
    "autumn easter once friday lately monday saturday spring sunday thursday today tonight tuesday winter now late",
    "although because before beyond despite during for if regarding since unless until when whereas while without",
)
N_CLAUSES = 16 ** len(CLAUSE_WORDS)
FILLERS = ("honestly", "anyway", "frankly", "overall", "basically", "seriously", "literally", "obviously")


def hashed(seed: int, stream: int, rows: Numbers) -> Hashes:
    """Random 64-bit numbers of rows, uint64 (n_rows,): splitmix64 (Steele, Lea and Flood 2014) of seed, stream, row."""
    golden = 0x9E3779B97F4A7C15
    start = np.uint64((seed * 0x2545F4914F6CDD1D + stream * 0xD1342543DE82EF95 + golden) % 2**64)
    z = rows.astype(np.uint64) * np.uint64(golden) + start
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def below(seed: int, stream: int, rows: Numbers, limit: Numbers | int) -> Numbers:
    """Random numbers of rows from 0 to `limit` - 1, int64 (n_rows,)."""
    return (hashed(seed, stream, rows) % np.asarray(limit, np.uint64)).astype(np.int64)


def read_halves(path: Path) -> pl.DataFrame:
    """One source: the two halves of each review's words, and its other columns; columns it lacks are null."""
    table = pl.read_parquet(path).filter(pl.col("text").str.strip_chars() != "")
    lacking = [pl.lit(None, dtype).alias(name) for name, dtype in SCHEMA.items() if name not in table.columns]
    words = pl.col("text").str.strip_chars().str.split(" ")
    half = (words.list.len() + 1) // 2
    # The second half brings the space before it, because a review of one word has none.
    tail = words.list.slice(half).list.join(" ")
    return table.with_columns(lacking).select(
        head=words.list.head(half).list.join(" "),
        tail=pl.when(words.list.len() > 1).then(pl.lit(" ") + tail).otherwise(pl.lit("")),
        title=pl.col("title").cast(pl.String),
        rating=pl.col("rating").cast(pl.Int64),
        category=pl.col("category").cast(pl.String),
        brand=pl.col("brand").cast(pl.String),
    )


def is_base(seed: int, rows: Numbers) -> npt.NDArray[np.bool_]:
    """Whether a row may be the original of copies."""
    # q rows of 1 are drawn as near copies; those whose original would itself be a copy stay originals, so that
    # q * (1 - exact - restyled - q) = NEAR_SHARE.
    rest = 1 - EXACT_SHARE - RESTYLED_SHARE
    q = (rest - (rest**2 - 4 * NEAR_SHARE) ** 0.5) / 2
    base: npt.NDArray[np.bool_] = (below(seed, 0, rows, 10**6) >= 10**6 * (1 - rest + q)) | (rows == 0)
    return base


def roles(seed: int, rows: Numbers) -> Numbers:
    """What each row is: BASE, EXACT, RESTYLED or NEAR, int64 (n_rows,)."""
    drawn = below(seed, 0, rows, 10**6) / 10**6
    role = np.where(drawn < EXACT_SHARE, EXACT, np.where(drawn < EXACT_SHARE + RESTYLED_SHARE, RESTYLED, NEAR))
    no_original = (role == NEAR) & ((rows < NEAR_DISTANCE) | ~is_base(seed, np.maximum(rows - NEAR_DISTANCE, 0)))
    role[is_base(seed, rows) | no_original] = BASE
    return role


def originals(seed: int, rows: Numbers, role: Numbers) -> Numbers:
    """The row that each row's text is made from: itself, or an earlier row that is not a copy, int64 (n_rows,)."""
    origin = np.where(role == NEAR, rows - NEAR_DISTANCE, rows)
    open_rows = np.flatnonzero((role == EXACT) | (role == RESTYLED))
    origin[open_rows] = 0
    for attempt in range(16):
        row = rows[open_rows]
        reach = np.where(row % 2 == 0, row, np.minimum(row, RECENT_ROWS))
        drawn = row - 1 - below(seed, 100 + attempt, row, reach)
        found = is_base(seed, drawn)
        origin[open_rows[found]] = drawn[found]
        open_rows = open_rows[~found]
    return origin


def base_reviews(sources: list[pl.DataFrame], seed: int, origin: Numbers) -> pl.DataFrame:
    """The reviews that stand at the rows `origin`, each source drawn equally often, in that order."""
    source = below(seed, 1, origin, len(sources))
    parts, order = [], []
    for number, table in enumerate(sources):
        here = np.flatnonzero(source == number)
        first = table[below(seed, 2, origin[here], table.height)].drop("tail")
        second = table["tail"].gather(below(seed, 3, origin[here], table.height))
        parts.append(first.with_columns(second))
        order.append(here)
    drawn = pl.concat(parts)[np.argsort(np.concatenate(order))]
    # An odd factor makes this a permutation of all clauses: no two rows have the same one.
    clause = (origin * 0x9E3779B1 + seed) % N_CLAUSES
    words = [
        pl.Series(slot.split()).gather((clause // 16**place) % 16).alias(f"word_{place}")
        for place, slot in enumerate(CLAUSE_WORDS)
    ]
    body = pl.concat_str("head", "tail")
    return drawn.with_columns(words).with_columns(text=pl.concat_str(body, pl.lit("my"), "^word_.*$", separator=" "))


def restyled(text: pl.Expr, way: pl.Expr) -> pl.Expr:
    """The text in other case or other spaces; case only where it folds back to the same letters."""
    spaced = pl.lit("  ") + text.str.replace_all(" ", "  ", literal=True) + pl.lit("\n")
    upper = text.str.to_uppercase()
    folds_back = upper.str.to_lowercase() == text.str.to_lowercase()
    return pl.when((way == 0) | ~folds_back).then(spaced).when(way == 1).then(upper).otherwise(text.str.to_titlecase())


def nearly(text: pl.Expr, way: pl.Expr, filler: pl.Expr) -> pl.Expr:
    """The text with one word more, at its end or its start, or without its first word."""
    dropped = text.str.replace(r"^\s*\S+\s+", "")
    after, before = pl.concat_str(text, filler, separator=" "), pl.concat_str(filler, text, separator=" ")
    return pl.when(way == 0).then(after).when(way == 1).then(before).otherwise(dropped)


def make_batch(sources: list[pl.DataFrame], seed: int, rows: Numbers) -> tuple[pl.DataFrame, Numbers]:
    """The reviews at the rows `rows`, with SCHEMA, and the role of each."""
    role = roles(seed, rows)
    made = base_reviews(sources, seed, originals(seed, rows, role)).with_columns(
        role=pl.Series(role),
        way=pl.Series(below(seed, 4, rows, 3)),
        filler=pl.Series(FILLERS).gather(below(seed, 5, rows, len(FILLERS))),
        id=pl.Series(rows).cast(pl.String).str.pad_start(8, "0"),
    )
    copies = made.filter(pl.col("role") >= RESTYLED)
    text, way = pl.col("text"), pl.col("way")
    changed = copies.select(
        pl.when(pl.col("role") == RESTYLED).then(restyled(text, way)).otherwise(nearly(text, way, pl.col("filler")))
    ).to_series()
    made = made.with_columns(text=made["text"].scatter(np.flatnonzero(role >= RESTYLED), changed))
    return made.select(pl.concat_str(pl.lit("m"), "id").alias("id"), *list(SCHEMA)[1:]), role


def make_table(source_paths: list[Path], n_reviews: int, output: Path, seed: int = 0) -> dict[str, float | int]:
    """Writes `n_reviews` reviews to `output` as parquet and returns what was planted in them.

    Raises:
        ValueError: more reviews than there are clauses to tell them apart.
    """
    if not 0 < n_reviews <= N_CLAUSES:
        raise ValueError(f"-n must be between 1 and {N_CLAUSES:,}, not {n_reviews:,}")
    sources = [read_halves(path) for path in source_paths]
    counts = np.zeros(4, np.int64)
    n_bytes = 0

    def batches(*_pushed_down: object) -> Iterator[pl.DataFrame]:
        nonlocal n_bytes
        for first in range(0, n_reviews, BATCH_ROWS):
            rows = np.arange(first, min(first + BATCH_ROWS, n_reviews))
            frame, role = make_batch(sources, seed, rows)
            counts[:] += np.bincount(role, minlength=4)
            n_bytes += int(frame["text"].str.len_bytes().sum())
            yield frame

    register_io_source(batches, schema=SCHEMA).sink_parquet(output, row_group_size=2 * BATCH_ROWS)
    return {
        "n_reviews": n_reviews,
        "seed": seed,
        "distinct_texts": int(counts[BASE] + counts[NEAR]),
        "exact_copies": int(counts[EXACT]),
        "restyled_copies": int(counts[RESTYLED]),
        "near_copies": int(counts[NEAR]),
        "mean_text_bytes": round(n_bytes / n_reviews, 1),
    }


def main() -> None:
    """Reads the command line, makes the table, and prints what was planted as JSON."""
    parser = argparse.ArgumentParser(description="Make a large table of reviews out of real ones.")
    parser.add_argument("source", nargs="+", type=Path, help="parquet table with a column text")
    parser.add_argument("-n", type=int, default=1_000_000, help="reviews to make (default 1,000,000)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="parquet file to write")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(json.dumps(make_table(args.source, args.n, args.output, args.seed), indent=2))


if __name__ == "__main__":
    main()
