"""Tier 1: the answers used last, in memory, by exact key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import NamedTuple

Key = bytes


class Held(NamedTuple):
    """An answer as the tiers hand it on: label name, probability (NaN where none is known), Unix time it was made.

    `rest` is the answers to the other fields as JSON, the empty string for a task of one field.
    """

    answer: str
    confidence: float
    created_s: int
    rest: str = ""


class Memory:
    """Least recently used first out. A look-up of many keys costs one intersection of sets, then one step a hit."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._held: OrderedDict[Key, Held] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Key) -> Held | None:
        """Return one answer and mark it as used."""
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
        return held

    def get_many(self, keys: Sequence[Key], *, marks: bool = True) -> tuple[list[int], list[Held]]:
        """Return the positions in `keys` that are held, ascending, and their answers; mark them as used if so told."""
        known = self._held.keys() & set(keys)
        if not known:
            return [], []
        at = list(compress(range(len(keys)), map(known.__contains__, keys)))
        found = [self._held[keys[place]] for place in at]
        for place in at if marks else ():
            self._held.move_to_end(keys[place])
        return at, found

    def put_many(self, entries: Iterable[tuple[Key, Held]]) -> None:
        """Keep answers, the last ones surest; the least recently used make room."""
        held = self._held
        for key, answer in entries:
            held[key] = answer
            held.move_to_end(key)
        while len(held) > self._max_entries:
            held.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
