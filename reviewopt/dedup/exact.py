"""Exact copies over the whole table: which rows ask the same question.

A question is a distinct normal form. Questions are numbered from 0 in the order of their first row, so the numbers,
and everything that hangs on them, do not depend on how the table was cut into chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.text import normal

_FREE = np.uint32(0xFFFFFFFF)
_FIBONACCI = np.uint64(0x9E3779B97F4A7C15)  # Knuth, The Art of Computer Programming 6.4: multiplicative hashing
_MOST_FULL = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the rows of one chunk ask.

    `question` int64 (n_rows,): -1 where there is nothing to ask. `new_rows` int64 (n_new,), ascending: the rows that
    ask theirs for the first time in the stream.
    """

    question: npt.NDArray[np.int64]
    new_rows: npt.NDArray[np.int64]


class GrowingArray:
    """A numpy array that takes more values at its end; what lies beyond the last one is not in memory yet."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._values: np.ndarray[tuple[int], Any] = np.empty(1 << 16, dtype)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def append(self, values: npt.NDArray[Any]) -> None:
        """Add `values` (n_new,) at the end."""
        end = self._n + len(values)
        if end > len(self._values):
            self._values.resize(max(end, 2 * len(self._values)), refcheck=False)
        self._values[self._n : end] = values
        self._n = end

    def take(self, at: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
        """Return the values at the positions `at`, in its shape."""
        taken: npt.NDArray[Any] = self._values[at]
        return taken


class EveryRow:
    """Takes every row with a text as a question of its own: the naive form, that all savings are measured against."""

    def __init__(self) -> None:
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def see(self, form: pl.Series, tenant: pl.Series | None = None) -> Asked:  # noqa: ARG002 - as ExactCopies.see
        """Number the questions of a chunk."""
        rows = form.is_not_null().arg_true().to_numpy().astype(np.int64)
        question = np.full(len(form), -1, np.int64)
        question[rows] = np.arange(self._n, self._n + len(rows))
        self._n += len(rows)
        return Asked(question=question, new_rows=rows)


class ExactCopies:
    """Numbers the distinct keys of a stream: an open-addressing hash table, probed a whole chunk at a time.

    It holds 14 to 20 bytes a distinct key: 8 for the key, and 4 a slot in a table that is 35-70 % full.
    """

    def __init__(self) -> None:
        self._keys = GrowingArray(np.uint64)
        self._slots = np.full(1 << 17, _FREE, np.uint32)

    def __len__(self) -> int:
        return len(self._keys)

    def see(self, form: pl.Series, tenant: pl.Series | None = None) -> Asked:
        """Number the questions of a chunk.

        Args:
            form: String (n_rows,), the normal forms, null where there is nothing to ask.
            tenant: String (n_rows,), where tenants share nothing: the same text of two tenants is two questions.
        """
        rows = form.is_not_null().arg_true().to_numpy()
        keys = normal.keys(form.drop_nulls())
        if tenant is not None:
            keys = keys ^ (tenant.gather(rows).hash(seed=1).to_numpy() * _FIBONACCI)
        numbers, new = self.number(keys)
        question = np.full(len(form), -1, np.int64)
        question[rows] = numbers
        return Asked(question=question, new_rows=rows[new].astype(np.int64))

    def number(self, keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Number the questions of a chunk.

        Args:
            keys: (n_rows,), one a row.

        Returns:
            The question of each row, (n_rows,); and the rows that ask theirs for the first time in the stream,
            (n_new,), ascending: their questions are the next free numbers in this order.
        """
        distinct, first_row, inverse = np.unique(keys, return_index=True, return_inverse=True)
        question = self._find(distinct)
        new = np.flatnonzero(question < 0)
        new = new[np.argsort(first_row[new])]
        numbers = np.arange(len(self), len(self) + len(new), dtype=np.int64)
        question[new] = numbers
        self._insert(distinct[new], numbers)
        return question[inverse], first_row[new]

    def _home(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        bits = len(self._slots).bit_length() - 1
        return ((keys * _FIBONACCI) >> np.uint64(64 - bits)).astype(np.int64)

    def _find(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Return each key's number, or -1."""
        found = np.full(len(keys), -1, np.int64)
        pending, slot = np.arange(len(keys)), self._home(keys)
        while len(pending):
            number = self._slots[slot]
            used = np.flatnonzero(number != _FREE)
            pending, slot, number = pending[used], slot[used], number[used].astype(np.int64)
            same = self._keys.take(number) == keys[pending]
            found[pending[same]] = number[same]
            pending, slot = pending[~same], (slot[~same] + 1) & (len(self._slots) - 1)
        return found

    def _insert(self, keys: npt.NDArray[np.uint64], numbers: npt.NDArray[np.int64]) -> None:
        """Add keys that are distinct and not in the table."""
        self._keys.append(keys)
        needed = len(self._keys) / _MOST_FULL
        if needed > len(self._slots):
            self._slots = np.full(1 << int(np.ceil(np.log2(needed))), _FREE, np.uint32)
            numbers = np.arange(len(self._keys), dtype=np.int64)
            for start in range(0, len(numbers), 1 << 18):
                part = numbers[start : start + (1 << 18)]
                self._place(self._home(self._keys.take(part)), part)
        else:
            self._place(self._home(keys), numbers)

    def _place(self, slot: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]) -> None:
        """Put each number into the first free slot from its own: where two want one slot, the last written stays."""
        numbers = numbers.astype(np.uint32)
        while len(numbers):
            free = self._slots[slot] == _FREE
            self._slots[slot[free]] = numbers[free]
            lost = np.flatnonzero(self._slots[slot] != numbers)
            slot, numbers = (slot[lost] + 1) & (len(self._slots) - 1), numbers[lost]
