"""Similar texts: tier 2, the most popular entries in memory, and tier 3's index over the whole archive.

Candidates come from sketches; each is verified on the texts themselves, and its signature must be equal. Every entry is
a model's own answer, a person's or labelled history: derived answers are never archived, so none can seed a hit. What
is indexed was committed before the last `refresh`, so the order of look-ups within a run changes nothing; a row that
was replaced since, which its key tells, is no match.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache.archive import FOUND_SCHEMA, Archive, State
from reviewopt.cache.index import Hits, answers_of, key_words, look_up, segment
from reviewopt.cache.keys import group
from reviewopt.cache.sidecar import MOST_SEGMENTS, SMALL_TAIL, TAIL_SHARE, Segment, Sidecar
from reviewopt.text import signature, sketch
from reviewopt.text.nearby import SimilarIndex, verify
from reviewopt.text.sharing import Sharing
from reviewopt.text.signature import Signatures
from reviewopt.text.sketch import Sketches

FOLDER: Final = "similar"
_VERSION: Final = 1 << 32
_BATCH_ROWS: Final = 4096

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
_NOTHING = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Decides whether two texts may share an answer.

    Their signatures must be alike under `sharing`, and their rapidfuzz ratio (0-100) at least `threshold`.
    """

    threshold: float
    sharing: Sharing
    workers: int


Usable = Callable[[pl.DataFrame], npt.NDArray[np.bool_]]


class Signer:
    """Signs texts the first time that their signature is wanted: most never are candidates."""

    def __init__(self, form: pl.Series, sharing: Sharing) -> None:
        """Stand ready for normal forms, String (n,)."""
        self._form = form
        self._sharing = sharing
        self._signatures = Signatures(np.zeros(len(form), np.uint64), np.zeros(len(form), np.int8))
        self._is_signed = np.zeros(len(form), np.bool_)

    def of(self, at: I64) -> Signatures:
        """Return the signatures of the texts at the positions `at`, (n_at,)."""
        new = np.unique(at[~self._is_signed[at]])
        signed = self._sharing.sign(self._form.gather(new))
        self._signatures.value[new], self._signatures.language[new] = signed.value, signed.language
        self._is_signed[new] = True
        return Signatures(self._signatures.value[at], self._signatures.language[at])


@dataclass(frozen=True, slots=True)
class Queries:
    """Texts to look up.

    Attributes:
        form: String (n,).
        sketches: of the same texts.
        groups: the groups of entries to search, each uint64 (n,).
        signer: of the same texts.
        usable: says of entries whether they may answer at all; an entry that may not hides none that may.
    """

    form: pl.Series
    sketches: Sketches
    groups: tuple[U64, ...]
    signer: Signer
    usable: Usable


@dataclass(frozen=True, slots=True)
class Matches:
    """The best entry for each query that has one.

    Attributes:
        query: int64 (n,), ascending positions of the queries.
        entries: (n,) rows of `rowid` and `ENTRY_SCHEMA`.
    """

    query: I64
    entries: pl.DataFrame


class Popular:
    """Tier 2: a few thousand entries in memory."""

    def __init__(self, entries: pl.DataFrame, sharing: Sharing) -> None:
        """Hold `entries`, rows of `rowid` and `ENTRY_SCHEMA`, by rowid."""
        self.n_entries = entries.height
        self._entries = entries
        self._exact = segment(entries)
        self._index = SimilarIndex.build(sketched(entries["text"]), group(entries["context"].to_list()))
        self._signer = Signer(entries["text"], sharing)

    def look_up(self, words: U64, labels: Mapping[str, int]) -> Hits:
        """Find exact keys, uint64 (n, 2)."""
        return look_up([self._exact], words, labels)

    def answers(self, words: U64, rowid: I64) -> pl.Series:
        """Return the whole answers of hits, String (n,), as `answers_of` does."""
        return answers_of(self._entries, words, rowid)

    def match(self, queries: Queries, judge: Judge) -> Matches:
        """Find the most similar entry for each query."""
        query, entry = _candidates(self._index, queries, judge)
        alike = signature.alike(queries.signer.of(query), self._signer.of(entry))
        alike &= queries.usable(self._entries)[entry]
        query, entry = query[alike], entry[alike]
        best = _best(queries.form, query, self._entries["text"], entry, judge)
        return Matches(query[best], self._entries[entry[best]])


class SimilarArchive:
    """Tier 3: an index over the texts of the archive, memory-mapped, with the signature of each."""

    def __init__(self, folder: Path, archive: Archive, sharing: Sharing) -> None:
        self._archive = archive
        self._sharing = sharing
        self._sidecar = Sidecar(folder, FOLDER, _VERSION + sketch.VERSION ^ sharing.version)
        self._stored: list[Segment] = []
        self._tail: list[_Part] = []
        self._stored_rowid = 0
        self._state = State(epoch=-1, n_entries=0, last_rowid=0)

    def refresh(self) -> None:
        """See what was committed since, by any process.

        What is new joins the parts before it that are no larger, so there are few parts, and a row is read again only
        each time the part that it is in doubles.
        """
        state = self._archive.state
        if state.epoch != self._state.epoch:
            self._stored, self._stored_rowid = self._sidecar.load(state)
            self._tail, self._state = [], State(epoch=state.epoch, n_entries=0, last_rowid=self._stored_rowid)
        if state.last_rowid > self._state.last_rowid:
            after, n_new = self._state.last_rowid, state.last_rowid - self._state.last_rowid
            while self._tail and self._tail[-1].n_rows <= n_new:
                part = self._tail.pop()
                after, n_new = part.after_rowid, n_new + part.n_rows
            made = self._made(after)
            self._tail += [_Part(after, n_new, made)] if made is not None else []
        self._state = state

    def store(self) -> None:
        """Write what the index on disk does not know yet, where it is worth a file."""
        if self._state.last_rowid - self._stored_rowid < SMALL_TAIL:
            return
        n_stored = sum(len(one.arrays["rowid"]) for one in self._stored)
        adds = len(self._stored) < MOST_SEGMENTS and sum(one.n_rows for one in self._tail) < TAIL_SHARE * n_stored
        after = self._stored_rowid if adds else 0
        made = self._made(after)
        if made is None:
            return
        self._sidecar.add(made, self._state, after_rowid=after)
        self._stored = [*self._stored, made] if adds else [made]
        self._tail, self._stored_rowid = [], self._state.last_rowid

    def match(self, queries: Queries, judge: Judge) -> Matches:
        """Find the most similar entry for each query."""
        found = [
            self._candidates(one, queries, judge) for one in (*self._stored, *(part.segment for part in self._tail))
        ]
        query, rowid, key = (np.concatenate([one[at] for one in (_NOTHING, *found)]) for at in range(3))
        entries = self._archive.read(np.unique(rowid)) if len(rowid) else FOUND_SCHEMA.to_frame()
        known = entries["rowid"].to_numpy()
        at = np.searchsorted(known, rowid)
        there = np.flatnonzero(at < len(known))
        here = at[there]
        there = there[(known[here] == rowid[there]) & (key_words(entries)[here, 0] == key[there])]
        there = there[queries.usable(entries)[at[there]]]
        query, at = query[there], at[there]
        best = _best(queries.form, query, entries["text"], at, judge)
        return Matches(query[best], entries[at[best]])

    def _candidates(self, part: Segment, queries: Queries, judge: Judge) -> tuple[I64, I64, U64]:
        """Return queries, and rows and keys of entries, that may match and whose signatures are alike."""
        arrays = dict(part.arrays)
        rowid, key, value, language = (arrays.pop(name) for name in ("rowid", "key", "signature", "language"))
        query, entry = _candidates(SimilarIndex.from_arrays(arrays), queries, judge)
        alike = signature.alike(queries.signer.of(query), Signatures(value[entry], language[entry]))
        query, entry = query[alike], entry[alike]
        return query, np.asarray(rowid[entry]), np.asarray(key[entry])

    def _made(self, after_rowid: int) -> Segment | None:
        """Make a segment of the archive's rows after `after_rowid`; the texts are read a batch at a time."""
        parts = [
            (
                frame["rowid"].to_numpy(),
                key_words(frame)[:, 0],
                group(frame["context"].to_list()),
                sketched(frame["text"]),
                self._sharing.sign(frame["text"]),
            )
            for frame in self._archive.scan(after_rowid)
        ]
        if not parts:
            return None
        rowid, key, groups = (np.concatenate([one[at] for one in parts]) for at in range(3))
        arrays = {
            **SimilarIndex.build(Sketches.concat([one[3] for one in parts]), groups).arrays(),
            "rowid": rowid,
            "key": key,
            "signature": np.concatenate([one[4].value for one in parts]),
            "language": np.concatenate([one[4].language for one in parts]),
        }
        return Segment(arrays, {})


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of the archive after `after_rowid` that the index on disk does not know."""

    after_rowid: int
    n_rows: int
    segment: Segment


def sketched(form: pl.Series) -> Sketches:
    """Sketch texts in batches that fit the processor's cache."""
    starts = range(0, max(len(form), 1), _BATCH_ROWS)
    return Sketches.concat([sketch.sketch(form.slice(start, _BATCH_ROWS)) for start in starts])


def _candidates(index: SimilarIndex, queries: Queries, judge: Judge) -> tuple[I64, I64]:
    pairs = [index.candidates(queries.sketches, group, threshold=judge.threshold) for group in queries.groups]
    return np.concatenate([one[0] for one in pairs]), np.concatenate([one[1] for one in pairs])


def _best(form: pl.Series, query: I64, text: pl.Series, entry: I64, judge: Judge) -> I64:
    """Return which of the candidate pairs is each query's best, in the order of the queries; int64 (n_matched,)."""
    left, right = form.gather(query), text.gather(entry)
    ratio = verify(left, right, threshold=judge.threshold, workers=judge.workers)
    near = np.flatnonzero(ratio > 0)
    order = near[np.lexsort((near, -ratio[near], query[near]))]
    return order[np.unique(query[order], return_index=True)[1]]
