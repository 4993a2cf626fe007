"""Tier 3, exact: where each key of the archive is and which label it answers, as sorted arrays.

One binary search a key replaces a query to the database (`tests/benchmarks/results/cache_speed.json` has both).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache.archive import Archive, State
from reviewopt.cache.entry import head
from reviewopt.cache.sidecar import MOST_SEGMENTS, SMALL_TAIL, TAIL_SHARE, Segment, Sidecar

VERSION: Final = 1
MISS: Final = -1
_ROW: Final = np.dtype(
    [("key_end", "<u8"), ("rowid", "<i8"), ("created_s", "<i8"), ("answer", "<u4"), ("confidence", "<f4")]
)

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hits:
    """What was found for n keys, (n,) each.

    `label` int16 indexes the labels asked for, `MISS` where nothing was found; `confidence` float32, NaN where none is
    known; `created_s` and `rowid` int64.
    """

    label: npt.NDArray[np.int16]
    confidence: npt.NDArray[np.float32]
    created_s: I64
    rowid: I64

    @staticmethod
    def none(n: int) -> Hits:
        """Return n misses."""
        return Hits(
            np.full(n, MISS, np.int16), np.full(n, np.nan, np.float32), np.zeros(n, np.int64), np.zeros(n, np.int64)
        )

    def at(self, positions: I64) -> Hits:
        """Return those at `positions`."""
        return Hits(self.label[positions], self.confidence[positions], self.created_s[positions], self.rowid[positions])

    def put(self, at: I64, found: Hits) -> None:
        """Write what was `found` for the keys at the positions `at`."""
        self.label[at], self.confidence[at] = found.label, found.confidence
        self.created_s[at], self.rowid[at] = found.created_s, found.rowid


class ExactIndex:
    """The archive's keys, mapped from the sidecar and completed from the archive itself."""

    def __init__(self, folder: Path, archive: Archive) -> None:
        self._archive = archive
        self._sidecar = Sidecar(folder, "index", VERSION)
        self._stored: list[Segment] = []
        self._tail: list[Segment] = []
        self._stored_rowid = 0
        self._state = State(epoch=-1, n_entries=0, last_rowid=0)

    def refresh(self) -> None:
        """See what was committed since, by any process."""
        state = self._archive.state
        if state.epoch != self._state.epoch:
            self._stored, self._stored_rowid = self._sidecar.load(state)
            self._tail, self._state = [], State(epoch=state.epoch, n_entries=0, last_rowid=self._stored_rowid)
        if state.last_rowid > self._state.last_rowid:
            self._tail += [segment(frame) for frame in self._archive.scan(self._state.last_rowid)]
            if len(self._tail) > MOST_SEGMENTS:
                self._tail = [_merged(self._tail)]
        self._state = state

    def store(self) -> None:
        """Write what the sidecar on disk does not know yet, where it is worth a file."""
        if self._state.last_rowid - self._stored_rowid < SMALL_TAIL or not self._tail:
            return
        n_stored, n_tail = (sum(len(one.arrays["key"]) for one in part) for part in (self._stored, self._tail))
        if len(self._stored) < MOST_SEGMENTS and n_tail < TAIL_SHARE * n_stored:
            made, after = _merged(self._tail), self._stored_rowid
            self._stored.append(made)
        else:
            made, after = _merged(self._stored + self._tail), 0
            self._stored = [made]
        self._sidecar.add(made, self._state, after_rowid=after)
        self._tail, self._stored_rowid = [], self._state.last_rowid

    def look_up(self, words: npt.NDArray[np.uint64], labels: Mapping[str, int]) -> Hits:
        """Find keys, uint64 (n, 2) as in `Keys`, as `look_up` of this module does."""
        return look_up([*self._stored, *self._tail], words, labels)

    def rowids(self, words: npt.NDArray[np.uint64]) -> I64:
        """Return the rows of those keys, uint64 (n, 2), that are known, whatever they answer; int64 (n_known,)."""
        every = {name: 0 for one in (*self._stored, *self._tail) for name in one.names["answer"]}
        hits = self.look_up(words, every)
        rowid: I64 = hits.rowid[hits.label != MISS]
        return rowid


def look_up(segments: Sequence[Segment], words: npt.NDArray[np.uint64], labels: Mapping[str, int]) -> Hits:
    """Find keys in segments.

    Args:
        segments: as `segment` makes them.
        words: uint64 (n, 2), as in `Keys`.
        labels: the index of each label; an answer that is none of them is a miss.
    """
    hits = Hits.none(len(words))
    order = np.argsort(words[:, 0])  # ascending queries walk the arrays in order: fewer cache misses
    key, key_end = words[order, 0], words[order, 1]
    for one in segments:
        known = one.arrays["key"]
        at = np.searchsorted(known, key)
        near = np.flatnonzero(at < len(known))
        near = near[known[at[near]] == key[near]]
        row = one.arrays["row"][at[near]]
        same = row["key_end"] == key_end[near]
        near, row = near[same], row[same]
        label_of = np.array([labels.get(name, MISS) for name in one.names["answer"]], np.int16)
        found = Hits(label_of[row["answer"]], row["confidence"], row["created_s"], row["rowid"])
        hits.put(order[near], found)
    return hits


def key_words(frame: pl.DataFrame) -> npt.NDArray[np.uint64]:
    """Return the keys of entries as uint64 (n, 2), as in `Keys`."""
    raw = b"".join(frame["key"].str.decode("hex").to_list())
    return np.frombuffer(raw, ">u8").astype(np.uint64).reshape(-1, 2)


def answers_of(entries: pl.DataFrame, words: npt.NDArray[np.uint64], rowid: I64) -> pl.Series:
    """Return the whole answers that hits stand for.

    Args:
        entries: as `Archive.read` gives them, by rowid.
        words: uint64 (n, 2), the keys that were found.
        rowid: int64 (n,), where.

    Returns:
        String (n,), null where the entry is not among them, or another entry stands in its row by now.
    """
    known = entries["rowid"].to_numpy()
    at = np.searchsorted(known, rowid)
    there = np.flatnonzero(at < len(known))
    there = there[known[at[there]] == rowid[there]]
    there = there[(key_words(entries.select("key")[at[there]]) == words[there]).all(1)]
    answers = pl.repeat(None, len(rowid), dtype=pl.String, eager=True).alias("answer")
    return answers.scatter(there, entries["answer"].gather(at[there]))


def segment(frame: pl.DataFrame) -> Segment:
    """Make the arrays of entries as `Archive.scan` gives them."""
    key = key_words(frame)
    order = np.argsort(key[:, 0])
    label = head(frame["answer"])  # of whole answers hardly two are equal
    answers = label.unique(maintain_order=True)
    row = np.empty(frame.height, _ROW)
    row["key_end"] = key[:, 1]
    row["rowid"] = frame["rowid"].to_numpy()
    row["created_s"] = frame["created_s"].to_numpy()
    row["answer"] = label.cast(pl.Enum(answers)).to_physical().to_numpy()
    row["confidence"] = frame["confidence"].fill_null(np.nan).to_numpy()
    return Segment({"key": key[order, 0], "row": row[order]}, {"answer": answers.to_list()})


def _merged(segments: list[Segment]) -> Segment:
    """Make one segment of several."""
    codes: dict[str, int] = {}
    rows = []
    for segment in segments:
        into = np.array([codes.setdefault(name, len(codes)) for name in segment.names["answer"]], np.uint32)
        row = np.array(segment.arrays["row"])
        row["answer"] = into[row["answer"]]
        rows.append(row)
    key = np.concatenate([segment.arrays["key"] for segment in segments])
    order = np.argsort(key, kind="stable")
    return Segment({"key": key[order], "row": np.concatenate(rows)[order]}, {"answer": list(codes)})
