"""The three tiers behind one interface, a batch at a time: look up, promote, store.

Exact hits come first: memory, the popular entries, the archive; what people and labelled history say before what a
model said. Then similar ones, where answers cost money. Every exact hit goes into memory; a hit in the archive makes
its entry more popular, which takes it into the second tier when that is next filled.

An answer to a task of several fields counts only as a whole: what people or labelled history said of the first field
alone is a miss there, and so is what the task does not allow.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache.asked import Batch, Found, Keeper, Kept, Look
from reviewopt.cache.entry import head
from reviewopt.cache.entry import rest as rest_of
from reviewopt.cache.index import MISS, Hits, key_words
from reviewopt.cache.keys import Contexts, Keys, Side, group, make_keys
from reviewopt.cache.memory import Held, Memory
from reviewopt.cache.others import Others
from reviewopt.cache.shelf import Shelf
from reviewopt.cache.similar import Judge, Matches, Popular, Queries, Signer, sketched
from reviewopt.settings import CacheSettings

__all__ = ["Batch", "Cache", "Found"]

N_TIERS: Final = 3
_SECONDS_A_DAY: Final = 86_400
# Tier 2 is filled again when the hits and entries since could change this share of it.
_REFILL_SHARE: Final = 0.1
_REFILL_LEAST: Final = 100

I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


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
        not_before_s: float = -math.inf,
    ) -> None:
        """Leave `shelf` out where nothing is archived, `judge` where only exact hits are wanted.

        Free answers want none: a look-up of similar texts costs more than the answer. Answers from before
        `not_before_s`, Unix time in whole seconds, are as good as none.
        """
        self._not_before_s = not_before_s
        self._settings = settings
        self._contexts = contexts
        self._labels = labels
        self._code = {name: at for at, name in enumerate(labels)}
        self._others = Others(contexts.others) if contexts.others else None
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

    def look_up(self, batch: Batch, *, count: bool = True) -> Found:
        """Look a batch up, one pass a tier.

        Without `count` nothing is changed: no hit is counted, and none makes its entry more popular or takes it into a
        higher tier; so it is for a plan, before the batch is looked up to be answered.
        """
        n = len(batch.form)
        found = Found(
            label=np.full(n, MISS, np.int16),
            confidence=np.full(n, np.nan, np.float32),
            tier=np.zeros(n, np.uint8),
            similar=np.zeros(n, np.bool_),
            given=np.zeros(n, np.bool_),
        )
        look = Look(batch, self._contexts.codes(batch.tenant, n), found, np.full(n, "", np.object_), count)
        if n:
            for side in self._known_sides():
                n_hits = self._look_up_exact(side, look)
                self.n_given += n_hits if count and side is not self._contexts.own else 0
            if self._judge is not None:
                self._look_up_similar(look, self._judge)
        if count and (self._shelf is not None or self._contexts.own is not None):
            self.n_looked_up += n
            self.n_hits += np.bincount(found.tier, minlength=N_TIERS + 1)
        if self._others is None:
            return found
        return replace(found, rest=pl.Series("rest", look.rest.tolist(), pl.String))

    def keys(self, batch: Batch) -> Keys | None:
        """Return the keys of the model's own answers to a batch, in its order; None without a model."""
        own = self._contexts.own
        if own is None:
            return None
        code = self._contexts.codes(batch.tenant, len(batch.form))
        return make_keys(own.json, code, batch.form)

    def keeper(self, batch: Batch, kept: pl.DataFrame) -> Keeper | None:
        """Return what stores the model's own answers to a batch as they come; None without a model.

        Args:
            batch: the questions.
            kept: `tenant` and `review_id` of each.
        """
        own = self._contexts.own
        if own is None:
            return None
        code = self._contexts.codes(batch.tenant, len(batch.form))
        return Keeper(
            keys=make_keys(own.json, code, batch.form),
            contexts=[own.digest[one] for one in code.tolist()],
            json=dict(zip(own.digest, own.json, strict=True)),
            form=batch.form.to_list(),
            tenant=kept["tenant"].to_list(),
            review_id=kept["review_id"].to_list(),
        )

    def store(self, keeper: Keeper, answers: Sequence[Kept]) -> None:
        """Archive answers to the batch that `keeper` was made for; they are on disk when this returns.

        Raises:
            InputError: the disk is full, or cannot be written.
            ValueError: an answer that the archive would not give back, or that does not fit the task's fields.
        """
        if not answers:
            return
        if any(bool(one.rest) != (self._others is not None) for one in answers):
            raise ValueError("the answers to the fields after the first come with a task that has some")
        created_s = int(self._clock())
        names = [self._labels[one.label] + (f"\t{one.rest}" if self._others is not None else "") for one in answers]
        if self._shelf is not None:
            used = {keeper.contexts[one.at] for one in answers}
            self._shelf.archive.put_few(
                [keeper.entry(one, name, created_s) for one, name in zip(answers, names, strict=True)],
                {digest: keeper.json[digest] for digest in used},
            )
            self._n_unseen += len(answers)
        if self._memory is not None:
            held = [Held(self._labels[one.label], one.confidence, created_s, one.rest) for one in answers]
            self._memory.put_many(zip([keeper.keys.raw[one.at] for one in answers], held, strict=True))

    def _known_sides(self) -> list[Side]:
        """Return the sides of which anything may be known, in the order in which they are looked up."""
        archived = frozenset() if self._shelf is None else self._shelf.contexts
        own = self._contexts.own
        return [one for one in self._contexts.sides if one is own or not archived.isdisjoint(one.digest)]

    def _look_up_exact(self, side: Side, look: Look) -> int:
        """Look up what a side says of the questions that nothing is known of yet; return how many were found."""
        found, at = look.found, np.flatnonzero(look.found.tier == 0)
        keys = make_keys(side.json, look.code[at], look.batch.form.gather(at))
        hits, tier, said = Hits.none(len(at)), np.zeros(len(at), np.uint8), np.full(len(at), "", np.object_)
        if self._memory is not None:
            places, held = self._memory.get_many(keys.raw, marks=look.is_use)
            labels = [self._code.get(one.answer, MISS) for one in held]
            made = [one.created_s for one in held]
            confidence = np.array([one.confidence for one in held], np.float32)
            here = np.array(places, np.int64)
            hits.put(here, Hits(np.array(labels, np.int16), confidence, np.array(made, np.int64), np.zeros_like(here)))
            said[here] = [one.rest for one in held]
            tier[here] = 1
        self._expire(hits, tier)
        for number, below in ((2, self._popular), (3, self._shelf)):
            if below is not None:
                self._look_below(number, below, keys.words, hits, tier, said)
        hit = np.flatnonzero(tier)
        found.label[at[hit]], found.confidence[at[hit]] = hits.label[hit], hits.confidence[hit]
        found.tier[at[hit]], look.rest[at[hit]] = tier[hit], said[hit]
        found.given[at[hit]] = side is not self._contexts.own
        if look.is_use:
            self._use(keys.words[hit], n_new=int((tier == N_TIERS).sum()))
            lower = np.flatnonzero(tier > 1)[-self._settings.memory.max_entries :]
            self._remember(keys.at(lower), hits.at(lower), said[lower])
        return len(hit)

    def _look_below(
        self,
        number: int,
        below: Popular | Shelf,
        words: npt.NDArray[np.uint64],
        hits: Hits,
        tier: npt.NDArray[np.uint8],
        said: npt.NDArray[np.object_],
    ) -> None:
        """Take the hits of tier `number` where the tiers above have none."""
        open_ = np.flatnonzero(tier == 0)
        found, fresh = below.look_up(words[open_], self._code), np.full(len(open_), number, np.uint8)
        self._expire(found, fresh)
        new = np.flatnonzero(fresh)
        if self._others is not None:
            answers = below.answers(words[open_[new]], found.rowid[new])
            label = head(answers).replace_strict(self._code, default=MISS, return_dtype=pl.Int16).to_numpy()
            rest = self._others.sound(rest_of(answers))
            whole = rest.is_not_null().to_numpy() & (label == found.label[new])
            new = new[whole]
            said[open_[new]] = rest.to_numpy()[whole]
        hits.put(open_[new], found.at(new))
        tier[open_[new]] = number

    @property
    def _oldest_s(self) -> float:
        """The Unix time before which answers are too old."""
        ttl_s = self._settings.ttl_days * _SECONDS_A_DAY
        return max(self._not_before_s, self._clock() - ttl_s if ttl_s else -math.inf)

    def _expire(self, hits: Hits, tier: npt.NDArray[np.uint8]) -> None:
        """Make misses of what is no label of the task, and of what is older than the settings allow."""
        tier[(hits.label == MISS) | (hits.created_s < self._oldest_s)] = 0

    def _look_up_similar(self, look: Look, judge: Judge) -> None:
        sides = self._known_sides()
        if not sides:
            return
        for number, tier in ((2, self._popular), (3, self._shelf)):
            rest = np.flatnonzero(look.found.tier == 0)
            if tier is None or not len(rest):
                continue
            form, sketches = look.batch.form.gather(rest), look.batch.sketches
            sketches = sketched(form) if sketches is None else sketches.take(rest)
            groups = tuple(group(side.digest)[look.code[rest]] for side in sides)
            signer = Signer(form, judge.sharing)
            matches = tier.match(Queries(form, sketches, groups, signer, self._usable), judge)
            if matches is not None:
                self._take(matches, rest, number, look)

    def _usable(self, entries: pl.DataFrame) -> Flags:
        """Say of entries whether they may answer: with a label of the task, all of its fields, and young enough."""
        answers = entries["answer"] if self._others is None else head(entries["answer"])
        usable: Flags = answers.is_in(self._labels).to_numpy() & (entries["created_s"].to_numpy() >= self._oldest_s)
        if self._others is not None:
            usable &= self._others.sound(rest_of(entries["answer"])).is_not_null().to_numpy()
        return usable

    def _take(self, matches: Matches, at: I64, number: int, look: Look) -> None:
        """Take the answers of similar entries for the questions at `at[matches.query]`."""
        entries, place, found = matches.entries, at[matches.query], look.found
        answers = entries["answer"] if self._others is None else head(entries["answer"])
        found.label[place] = answers.replace_strict(self._code, return_dtype=pl.Int16).to_numpy()
        found.confidence[place] = entries["confidence"].fill_null(np.nan).to_numpy()
        found.tier[place], found.similar[place] = number, True
        own = [] if self._contexts.own is None else self._contexts.own.digest
        found.given[place] = ~entries["context"].is_in(own).to_numpy()
        if self._others is not None:
            look.rest[place] = self._others.sound(rest_of(entries["answer"])).to_numpy()
        if look.is_use:
            self._use(key_words(entries), n_new=len(place) if number == N_TIERS else 0)
            self.n_given += int(found.given[place].sum())

    def _use(self, words: npt.NDArray[np.uint64], *, n_new: int) -> None:
        """Count hits on entries; `n_new` of them may now belong into the second tier."""
        if self._shelf is not None and len(words):
            self._shelf.popularity.add(words, int(self._clock()))
        self._n_unseen += n_new

    def _remember(self, keys: Keys, hits: Hits, rest: npt.NDArray[np.object_]) -> None:
        """Put answers into memory; of more than it holds, only the last."""
        if self._memory is None:
            return
        last = slice(-self._settings.memory.max_entries, None)
        names = (self._labels[one] for one in hits.label[last].tolist())
        held = map(Held, names, hits.confidence[last].tolist(), hits.created_s[last].tolist(), rest[last].tolist())
        self._memory.put_many(zip(keys.raw[last], held, strict=True))
