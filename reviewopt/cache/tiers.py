"""The three tiers behind one interface, a batch at a time: look up, promote, store.

Exact hits come first: memory, the popular entries, the archive; what people and labelled history say before what a
model said. Then similar ones, where answers cost money. Every exact hit goes into memory; a hit in the archive makes
its entry more popular, which takes it into the second tier when that is next filled.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache.index import MISS, Hits, key_words
from reviewopt.cache.keys import Contexts, Keys, Side, group, make_keys
from reviewopt.cache.memory import Held, Memory
from reviewopt.cache.shelf import Shelf
from reviewopt.cache.similar import Judge, Matches, Popular, Queries, Signer, sketched
from reviewopt.config import CacheSettings
from reviewopt.data import COST_DTYPE
from reviewopt.text.sketch import Sketches

N_TIERS: Final = 3
_SECONDS_A_DAY: Final = 86_400
# Tier 2 is filled again when the hits and entries since could change this share of it.
_REFILL_SHARE: Final = 0.1
_REFILL_LEAST: Final = 100

I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Questions, (n,) each: normal forms, their sketches if there are any, their tenants where these are isolated."""

    form: pl.Series
    sketches: Sketches | None
    tenant: pl.Series | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the tiers know of a batch, (n,) each.

    `label` int16 indexes the labels, -1 for a miss; `confidence` float32, NaN where none is known; `tier` uint8, 0 for
    a miss, else 1 to 3; `similar` bool: the answer to another, similar text.
    """

    label: npt.NDArray[np.int16]
    confidence: npt.NDArray[np.float32]
    tier: npt.NDArray[np.uint8]
    similar: Flags


class Cache:
    """What can be used again of the answers to one task."""

    def __init__(
        self,
        settings: CacheSettings,
        contexts: Contexts,
        labels: tuple[str, ...],
        *,
        shelf: Shelf | None,
        judge: Judge | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Leave `shelf` out where nothing is archived, `judge` where only exact hits are wanted.

        Free answers want none: a look-up of similar texts costs more than the answer.
        """
        self._settings = settings
        self._contexts = contexts
        self._labels = labels
        self._code = {name: at for at, name in enumerate(labels)}
        self._memory = Memory(settings.memory.max_entries) if settings.memory.enabled else None
        self._shelf = shelf
        self._judge = judge
        self._popular: Popular | None = None
        self._n_unseen = 0  # hits and new entries since the second tier was filled
        self._epoch = -1
        self._clock = clock
        self.n_looked_up = 0
        self.n_given = 0  # hits on what people or labelled history said
        self.n_hits = np.zeros(N_TIERS + 1, np.int64)  # by tier; place 0 counts misses
        self.refresh()

    def refresh(self) -> None:
        """Make visible what was committed since, by any process: once a run, or once a request of a service."""
        shelf = self._shelf
        if shelf is None:
            return
        shelf.refresh()
        epoch = shelf.archive.state.epoch
        if epoch != self._epoch:  # something was taken back: nothing in memory may outlive it
            self._epoch, self._popular = epoch, None
            if self._memory is not None:
                self._memory.clear()
        if self._judge is None or not self._settings.similar.enabled:
            return
        if self._popular is None or self._n_unseen >= max(_REFILL_LEAST, _REFILL_SHARE * self._popular.n_entries):
            entries = shelf.most_popular(self._settings.similar.max_entries)
            self._popular = Popular(entries, self._judge.sharing) if entries.height else None
            self._n_unseen = 0

    def look_up(self, batch: Batch) -> Found:
        """Look a batch up, one pass a tier."""
        n = len(batch.form)
        found = Found(
            label=np.full(n, MISS, np.int16),
            confidence=np.full(n, np.nan, np.float32),
            tier=np.zeros(n, np.uint8),
            similar=np.zeros(n, np.bool_),
        )
        if n:
            code = self._contexts.codes(batch.tenant, n)
            for side in self._known_sides():
                missing = np.flatnonzero(found.tier == 0)
                keys = make_keys(side.json, code[missing], batch.form.gather(missing))
                n_hits = self._look_up_exact(keys, missing, found)
                self.n_given += n_hits if side is not self._contexts.own else 0
            if self._judge is not None:
                self._look_up_similar(batch, code, found, self._judge)
        if self._shelf is not None or self._contexts.own is not None:
            self.n_looked_up += n
            self.n_hits += np.bincount(found.tier, minlength=N_TIERS + 1)
        return found

    def store(
        self, batch: Batch, label: npt.NDArray[np.uint8], confidence: npt.NDArray[np.float32], kept: pl.DataFrame
    ) -> None:
        """Archive a model's own answers to a batch; they are on disk when this returns.

        Args:
            batch: the questions.
            label: (n,), indices into the labels.
            confidence: (n,), NaN where none is known.
            kept: `cost_usd`, `tenant` and `review_id` of each.

        Raises:
            InputError: the disk is full, or cannot be written.
        """
        own = self._contexts.own
        if own is None or not len(batch.form):
            return
        code = self._contexts.codes(batch.tenant, len(batch.form))
        keys = make_keys(own.json, code, batch.form)
        created_s = int(self._clock())
        if self._shelf is not None:
            entries = pl.DataFrame(
                [
                    keys.hex(),
                    pl.Series("context", own.digest).gather(code),
                    pl.Series("answer", self._labels).gather(label),
                    pl.Series("confidence", confidence).fill_nan(None),
                    kept["cost_usd"].cast(COST_DTYPE),
                    pl.Series("created_s", [created_s]).new_from_index(0, len(code)),
                    kept["tenant"],
                    kept["review_id"],
                    batch.form.alias("text"),
                ]
            )
            self._shelf.archive.put(entries, {own.digest[one]: own.json[one] for one in np.unique(code).tolist()})
            self._n_unseen += len(code)
        self._remember(keys, label.astype(np.int64), confidence, np.full(len(code), created_s))

    def _known_sides(self) -> list[Side]:
        """Return the sides of which anything may be known, in the order in which they are looked up."""
        archived = frozenset() if self._shelf is None else self._shelf.contexts
        own = self._contexts.own
        return [one for one in self._contexts.sides if one is own or not archived.isdisjoint(one.digest)]

    def _look_up_exact(self, keys: Keys, at: I64, found: Found) -> int:
        """Look `keys` of the questions at the positions `at` up, tier by tier; return how many were found."""
        hits, tier = Hits.none(len(at)), np.zeros(len(at), np.uint8)
        if self._memory is not None:
            places, held = self._memory.get_many(keys.raw)
            labels = [self._code.get(one.answer, MISS) for one in held]
            made = [one.created_s for one in held]
            confidence = np.array([one.confidence for one in held], np.float32)
            here = np.array(places, np.int64)
            hits.put(here, Hits(np.array(labels, np.int16), confidence, np.array(made, np.int64), np.zeros_like(here)))
            tier[here] = 1
        self._expire(hits, tier)
        if self._popular is not None:
            self._fill(hits, tier, self._popular.look_up(keys.words, self._code), 2)
        if self._shelf is not None:
            rest = np.flatnonzero(tier == 0)
            below = Hits.none(len(at))
            below.put(rest, self._shelf.look_up(keys.words[rest], self._code))
            self._fill(hits, tier, below, 3)
        hit = np.flatnonzero(tier)
        found.label[at[hit]], found.confidence[at[hit]] = hits.label[hit], hits.confidence[hit]
        found.tier[at[hit]] = tier[hit]
        self._use(keys.words[hit], n_new=int((tier == N_TIERS).sum()))
        below_memory = np.flatnonzero(tier > 1)[-self._settings.memory.max_entries :]
        self._remember(
            keys.at(below_memory),
            hits.label[below_memory].astype(np.int64),
            hits.confidence[below_memory],
            hits.created_s[below_memory],
        )
        return len(hit)

    def _fill(self, hits: Hits, tier: npt.NDArray[np.uint8], below: Hits, number: int) -> None:
        """Take the hits of tier `number` where the tiers above have none."""
        fresh = np.zeros(len(tier), np.uint8)
        fresh[below.label != MISS] = number
        self._expire(below, fresh)
        new = np.flatnonzero((tier == 0) & (fresh > 0))
        hits.put(new, below.at(new))
        tier[new] = number

    @property
    def _oldest_s(self) -> float:
        """The Unix time before which answers are too old."""
        ttl_s = self._settings.ttl_days * _SECONDS_A_DAY
        return self._clock() - ttl_s if ttl_s else -math.inf

    def _expire(self, hits: Hits, tier: npt.NDArray[np.uint8]) -> None:
        """Make misses of what is no label of the task, and of what is older than the settings allow."""
        tier[(hits.label == MISS) | (hits.created_s < self._oldest_s)] = 0

    def _look_up_similar(self, batch: Batch, code: I64, found: Found, judge: Judge) -> None:
        sides = self._known_sides()
        if not sides:
            return
        for number, tier in ((2, self._popular), (3, self._shelf)):
            rest = np.flatnonzero(found.tier == 0)
            if tier is None or not len(rest):
                continue
            form = batch.form.gather(rest)
            sketches = sketched(form) if batch.sketches is None else batch.sketches.take(rest)
            groups = tuple(group(side.digest)[code[rest]] for side in sides)
            signer = Signer(form, judge.sharing)
            matches = tier.match(Queries(form, sketches, groups, signer, self._usable), judge)
            if matches is not None:
                self._take(matches, rest, number, found)

    def _usable(self, entries: pl.DataFrame) -> Flags:
        """Say of entries whether they may answer: with a label of the task, and young enough."""
        labels = entries["answer"].is_in(self._labels).to_numpy()
        usable: Flags = labels & (entries["created_s"].to_numpy() >= self._oldest_s)
        return usable

    def _take(self, matches: Matches, at: I64, number: int, found: Found) -> None:
        """Take the answers of similar entries for the questions at `at[matches.query]`."""
        entries, place = matches.entries, at[matches.query]
        found.label[place] = entries["answer"].replace_strict(self._code, return_dtype=pl.Int16).to_numpy()
        found.confidence[place] = entries["confidence"].fill_null(np.nan).to_numpy()
        found.tier[place], found.similar[place] = number, True
        self._use(key_words(entries), n_new=len(place) if number == N_TIERS else 0)
        own = [] if self._contexts.own is None else self._contexts.own.digest
        self.n_given += int((~entries["context"].is_in(own)).sum())

    def _use(self, words: npt.NDArray[np.uint64], *, n_new: int) -> None:
        """Count hits on entries; `n_new` of them may now belong into the second tier."""
        if self._shelf is not None and len(words):
            self._shelf.popularity.add(words, int(self._clock()))
        self._n_unseen += n_new

    def _remember(
        self, keys: Keys, label: I64, confidence: npt.NDArray[np.float32], created_s: npt.NDArray[np.int64]
    ) -> None:
        """Put answers into memory; of more than it holds, only the last."""
        if self._memory is None:
            return
        last = slice(-self._settings.memory.max_entries, None)
        names = (self._labels[one] for one in label[last].tolist())
        held = map(Held, names, confidence[last].tolist(), created_s[last].tolist())
        self._memory.put_many(zip(keys.raw[last], held, strict=True))
