"""Whether two near copies may share an answer: their signatures must be equal, in a language that has word lists."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.text import signature
from reviewopt.text.signature import Lexicon, Signatures

_BATCH_ROWS: Final = 1024  # what is signed at a time; the buffers fit the processor's cache


class Sharing:
    """A rule for pairs of texts; it counts the pairs that it refused because no language was told."""

    def __init__(self) -> None:
        self._lexicon: Lexicon | None = None
        self.n_untold = 0

    @property
    def version(self) -> int:
        """A number that changes with the rules and with the word lists, for signatures that are stored."""
        return (self._lists().digest ^ signature.VERSION) & ((1 << 63) - 1)

    def __call__(self, left: pl.Series, right: pl.Series) -> npt.NDArray[np.bool_]:
        """Say of each pair of normal forms, String (n,) each, whether they may share an answer; bool (n,)."""
        return self.alike(self.sign(left), self.sign(right))

    def sign(self, form: pl.Series) -> Signatures:
        """Sign normal forms, String (n,)."""
        if not len(form):
            return Signatures(np.empty(0, np.uint64), np.empty(0, np.int8))
        lexicon = self._lists()
        parts = [signature.sign(part.to_series(), lexicon) for part in form.to_frame().iter_slices(_BATCH_ROWS)]
        return Signatures(np.concatenate([one.value for one in parts]), np.concatenate([one.language for one in parts]))

    def alike(self, left: Signatures, right: Signatures) -> npt.NDArray[np.bool_]:
        """Say of each pair of signatures, (n,) each, whether their texts may share an answer; bool (n,)."""
        self.n_untold += int(((left.language < 0) | (right.language < 0)).sum())
        return signature.alike(left, right)

    def _lists(self) -> Lexicon:
        if self._lexicon is None:
            self._lexicon = signature.load_lexicon()
        return self._lexicon
