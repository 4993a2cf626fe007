"""Candidate pairs of near copies as other libraries find them; all are verified with rapidfuzz like ours."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

PairList = npt.NDArray[np.int64]
Find = Callable[[list[str], int, Any], PairList]

N_HASHES = 128
JACCARD = 0.5
TEXT_DEDUP: dict[str, Any] = {"num_perm": 250, "ngram_size": 5, "min_length": 5}  # its own defaults
TEXT_DEDUP_THRESHOLD = 0.7


@dataclass(frozen=True)
class Rival:
    """A library, its settings, and its way from texts and the bytes of an n-gram to pairs, int64 (n_pairs, 2)."""

    name: str
    module: str
    settings: str
    find: Find


def importable(rival: Rival) -> tuple[Any, str | None]:
    """The library, or why it cannot be measured."""
    try:
        return importlib.import_module(rival.module), None
    except ImportError as error:
        return None, f"{rival.module} cannot be imported: {error.msg}"


def shingles(text: str, n_bytes: int) -> set[bytes]:
    """The byte n-grams of a text; a text that is shorter than one is its own."""
    data = text.encode()
    return {data[at : at + n_bytes] for at in range(len(data) - n_bytes + 1)} or {data}


def datasketch_pairs(texts: list[str], gram_bytes: int, library: Any) -> PairList:
    """The index is asked for each text before it is inserted, so that each pair is met once."""
    index = library.MinHashLSH(threshold=JACCARD, num_perm=N_HASHES)
    hashes = library.MinHash.bulk([shingles(text, gram_bytes) for text in texts], num_perm=N_HASHES)
    met = []
    for row, one in enumerate(hashes):
        met += [(other, row) for other in index.query(one)]
        index.insert(row, one)
    return as_pairs(met)


def rensa_pairs(texts: list[str], gram_bytes: int, library: Any) -> PairList:
    """As in its readme, with the bands of the measurements that it was first chosen by: 32 of 4."""
    hashes = library.RMinHash.from_token_sets(
        [list(shingles(text, gram_bytes)) for text in texts], num_perm=N_HASHES, seed=42
    )
    index = library.RMinHashLSH(threshold=JACCARD, num_perm=N_HASHES, num_bands=32)
    index.insert_many(hashes)
    return as_pairs(
        (row, other) for row, found in enumerate(index.query_all(hashes)) for other in found if other != row
    )


def text_dedup_pairs(texts: list[str], _gram_bytes: int, library: Any) -> PairList:
    """Its embedding with its default settings; each text of a bucket goes with the bucket's first, as in its loop."""
    n_bands, n_rows = library.optimal_param(TEXT_DEDUP_THRESHOLD, TEXT_DEDUP["num_perm"])
    prime = (1 << 61) - 1
    random = np.random.default_rng(42)
    factors = tuple(random.integers(low, prime, TEXT_DEDUP["num_perm"], np.uint64) for low in (1, 0))
    settings = TEXT_DEDUP | {"hashranges": [(band * n_rows, (band + 1) * n_rows) for band in range(n_bands)]}
    settings |= {"permutations": factors, "hash_func": library.sha1_hash, "dtype": np.uint64}
    settings |= {"max_hash": np.uint32((1 << 32) - 1), "modulo_prime": np.uint64(prime)}
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        if len(library.NON_ALPHA.split(text)) < TEXT_DEDUP["min_length"]:
            continue  # it leaves these rows out
        for band, key in enumerate(library.embed_func(text, row, **settings)["__signatures__"]):
            buckets[band, key].append(row)
    return as_pairs((rows[0], row) for rows in buckets.values() for row in rows[1:])


def semhash_pairs(texts: list[str], _gram_bytes: int, library: Any) -> PairList:
    """As in its readme; it fetches an embedding model from the network at the first use."""
    records = [{"row": str(row), "text": text} for row, text in enumerate(texts)]
    result = library.SemHash.from_records(records, ["text"]).self_deduplicate()
    return as_pairs(
        (int(one.record["row"]), int(other["row"])) for one in result.filtered for other, _ in one.duplicates
    )


def as_pairs(pairs: Iterable[tuple[int, int]]) -> PairList:
    """Distinct pairs with the smaller row first, int64 (n_pairs, 2)."""
    both = np.array(list(pairs), np.int64).reshape(-1, 2)
    both.sort(axis=1)
    return np.unique(both, axis=0)


RIVALS = (
    Rival("datasketch", "datasketch", f"byte n-grams, {N_HASHES} hashes, threshold {JACCARD}", datasketch_pairs),
    Rival("rensa", "rensa", f"byte n-grams, {N_HASHES} hashes, 32 bands", rensa_pairs),
    Rival("text-dedup", "text_dedup.minhash", "its defaults: 5 words, 250 hashes, threshold 0.7", text_dedup_pairs),
    Rival("semhash", "semhash", "its default model", semhash_pairs),
)
