"""How many reviews a model can judge in one request without judging them worse. The statistics are pure.

Stands before the packs of a paid run: a sample is asked singly and in packs of growing size, and the largest size whose
answers are not worse than the single ones is kept. A model's size is remembered beside the archive.

That packing costs some models accuracy and others none, from different sizes on, is why it is measured for each.
"""

from __future__ import annotations

import itertools
import math
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from reviewopt.data import Frozen
from reviewopt.paired import mcnemar
from reviewopt.record import PackStep, PackTuning
from reviewopt.task import MOST_LABELS

U8 = npt.NDArray[np.uint8]

FILE: Final = "tunings"
START: Final = 25
_NO_LABEL: Final = MOST_LABELS  # the code of a review without an answer or without a true label
_LEVEL: Final = 0.95
_LEAST_PACKS: Final = 2  # of a sample: from a single pack one cannot tell the size from an accident
_LEAST_ANSWERED: Final = 0.5  # of the reviews that were answered singly: below it the size itself does not work
_TYPICAL_STEPS: Final = 3
_MOST_SHARE: Final = Decimal("0.05")
_VERSION: Final = 1
_FORGOTTEN: Final = "the sizes of packs that were found before are looked for again"
_SLACK: Final = 1e-9  # of a review: .03 of 200 is 6


def loss_limit(n_worse: int, n_better: int, n: int, *, can_be_better: bool = True) -> float:
    """Return the one-sided upper 95 % limit of the true (worse - better) / n, in [0, 1]; 1 where n is 0.

    The exact limits of both shares (Clopper and Pearson, Biometrika 26:404, 1934), joined to one of their difference
    (Zou and Donner, Statistics in Medicine 27:1693, 2008); that of the worse alone where nothing can be better.

    A limit of worse / (worse + better) alone, times the pairs that differ, would be shorter and wrong: it takes their
    number as known. At n = 200, worse - better of 0 to 10 % and better of 0 to 5 %, it holds with probability .53 at
    worst, this one with .953 (summed over all outcomes).
    """
    from scipy.special import betaincinv

    if n == 0:
        return 1.0
    worse, better = n_worse / n, n_better / n
    worse_high = float(betaincinv(n_worse + 1, n - n_worse, _LEVEL)) if n_worse < n else 1.0
    if not can_be_better:
        return worse_high
    better_low = float(betaincinv(n_better, n - n_better + 1, 1 - _LEVEL)) if n_better else 0.0
    return min(1.0, worse - better + math.hypot(worse_high - worse, better - better_low))


def judge(single: U8, packed: U8, truth: U8 | None, *, size: int, most_loss: float) -> PackStep:
    """Compare the packed answers with the single ones, review by review, and say whether the size passes.

    With true labels a review counts as worse where only the single answer is right, and as better where only the
    packed one is. Without them every changed answer counts as worse: the loss is then an upper bound, and a model that
    contradicts itself at a second asking is held against packing too.

    A size passes when the loss is at most `most_loss`, and, with true labels, when the sample does not show that
    packing makes answers worse (p >= .05) or shows that the loss is within `most_loss` (`loss_high`). It fails where
    more than half of the reviews answered singly have no packed answer, or no review has all that is compared.

    That a size passes is an estimate, no proof: to prove a loss of at most 3 % takes more than 200 reviews (where 5 %
    get better and 5 % worse, a size without loss would be proven in a third of the samples). So often does a size pass
    at 200 reviews and a `most_loss` of .03 (summed over all outcomes):

        its true loss        0     1 %    2 %    3 %    5 %    10 %
        0 % get better     1.00    .98    .79    .44    .06    .00
        2 % get better      .99    .92    .77    .56    .20    .00
        5 % get better      .93    .83    .70    .54    .26    .01
        no true labels     1.00   1.00    .89    .61    .12    .00

    Args:
        single: uint8 (n,), label codes of the reviews answered singly; 255 where there is no answer.
        packed: uint8 (n,), the same of the same reviews in packs of `size`.
        truth: uint8 (n,), their true labels, 255 where not known; None where none is.
        size: reviews a pack; taken over into the result.
        most_loss: in [0, 1].
    """
    compared = (single != _NO_LABEL) & (packed != _NO_LABEL)
    if truth is not None:
        compared &= truth != _NO_LABEL
    n = int(compared.sum())
    is_right = single if truth is None else truth
    was, is_now = (single == is_right)[compared], (packed == is_right)[compared]
    n_worse, n_better = int((was & ~is_now).sum()), int((~was & is_now).sum())
    p_value = mcnemar(n_worse, n_better)
    loss_high = loss_limit(n_worse, n_better, n, can_be_better=truth is not None)
    n_single = int((single != _NO_LABEL).sum())
    works = n > 0 and int(((single != _NO_LABEL) & (packed != _NO_LABEL)).sum()) >= _LEAST_ANSWERED * n_single
    is_within = n_worse - n_better <= most_loss * n + _SLACK
    is_tolerable = truth is None or p_value >= 1 - _LEVEL or loss_high <= most_loss
    return PackStep(
        size=size,
        n=n,
        n_worse=n_worse,
        n_better=n_better,
        p_value=p_value,
        loss=(n_worse - n_better) / n if n else 1.0,
        loss_high=loss_high,
        passes=works and is_within and is_tolerable,
    )


def sizes(start: int, most: int) -> Iterator[int]:
    """Yield the sizes that are tried while each passes: `start`, its doubles, and `most` at last."""
    size = min(start, most)
    while size < most:
        yield size
        size *= 2
    yield most


def _halves(size: int) -> Iterator[int]:
    while (size := size // 2) > 1:
        yield size


def search(
    ask: Callable[[int], U8],
    single: U8,
    truth: U8 | None,
    *,
    most: int,
    most_loss: float,
    reference: str,
    start: int = START,
) -> PackTuning:
    """Find the largest size of packs that passes: upward by doubling, or downward by halving where the first fails.

    It ends at the first size that fails, going up, or passes, going down; 1 where none of more than one review does.
    No size is asked twice, and none that would make fewer than two packs of the sample: a single pack that goes wrong
    as a whole says nothing about its size.

    Args:
        ask: answers the sample in packs of so many reviews, uint8 (n,); called for one size after the other.
        single: uint8 (n,), the answers of the same reviews singly.
        truth: uint8 (n,), their true labels, or None.
        most: reviews that any pack may hold; at least 1.
        most_loss: the share of answers that may be worse for being packed.
        reference: what the answers were compared with; taken over into the result.
        start: the first size; smaller where `most` or the sample is.
    """
    most = max(1, min(most, len(single) // _LEAST_PACKS))
    steps: list[PackStep] = []

    def passes(size: int) -> bool:
        steps.append(judge(single, ask(size), truth, size=size, most_loss=most_loss))
        return steps[-1].passes

    found = 1
    if most > 1 and start > 1:
        first, *others = sizes(start, most)
        if passes(first):
            found = first
            for size in itertools.takewhile(passes, others):
                found = size
        else:
            found = next(filter(passes, _halves(first)), 1)
    return PackTuning(
        size=found,
        reference=reference,
        most_loss=most_loss,
        n_sampled=len(single),
        steps=tuple(steps),
        is_remembered=False,
    )


def worth_it(
    n_open: int, sample: int, *, single_usd: Decimal, packed_usd: Decimal, n_steps: int = _TYPICAL_STEPS
) -> bool:
    """Say whether tuning costs under 5 % of what the run is expected to cost; never where asking costs nothing.

    Args:
        n_open: reviews that the run has to ask.
        sample: reviews that are asked singly, and again at each size.
        single_usd: what a request of one review costs.
        packed_usd: what a review costs in a pack.
        n_steps: sizes that are expected to be tried; by default 25, 50 and 100.
    """
    return sample * (single_usd + n_steps * packed_usd) < _MOST_SHARE * n_open * packed_usd


class _Remembered(Frozen, frozen=True, kw_only=True):
    """The whole file."""

    version: int
    tunings: dict[str, PackTuning]


class Tunings:
    """The sizes found before, each under a digest of what decides it.

    One small file beside the archive: a checksum and JSON, replaced whole or not at all. Where two processes write at
    once one of their tunings is lost, and made again when it is needed.
    """

    def __init__(self, folder: Path, *, on_warning: Callable[[str], None] | None = None) -> None:
        """Use the file of the archive in `folder`, which is made when the first is put."""
        self._path = folder / FILE
        self._on_warning = on_warning
        self._warned: set[str] = set()

    def get(self, digest: str) -> PackTuning | None:
        """Return what was found, marked as remembered; None where nothing was.

        A file that is damaged or cannot be read holds nothing, and says so.

        Args:
            digest: of all that decides the size: the model with its settings, the task with its labels, the prompt;
                and `most_loss`, the reference, the size of the sample and the most that a pack may hold.
        """
        found = self._read().get(digest)
        return None if found is None else msgspec.structs.replace(found, is_remembered=True)

    def put(self, digest: str, tuning: PackTuning) -> None:
        """Remember what was found; a full disk forgets it, and says so."""
        tunings = {**self._read(), digest: msgspec.structs.replace(tuning, is_remembered=False)}
        payload = msgspec.json.encode(_Remembered(version=_VERSION, tunings=tunings), order="sorted")
        partial = self._path.with_name(f"{FILE}.{os.getpid()}.partial")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"%08x %s" % (zlib.crc32(payload), payload))
            partial.replace(self._path)
        except OSError as error:
            self._warn(f"cannot write {self._path}: {error}; the size of the packs is looked for again next time")
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def _read(self) -> dict[str, PackTuning]:
        try:
            crc, _, payload = self._path.read_bytes().partition(b" ")
            is_sound = crc == b"%08x" % zlib.crc32(payload)
            remembered = msgspec.json.decode(payload, type=_Remembered) if is_sound else None
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            self._warn(f"cannot read {self._path}: {error}; {_FORGOTTEN}")
            return {}
        if remembered is None:
            self._warn(f"{self._path} is damaged; {_FORGOTTEN}")
            return {}
        return remembered.tunings if remembered.version == _VERSION else {}

    def _warn(self, message: str) -> None:
        if self._on_warning is not None and message not in self._warned:
            self._warned.add(message)
            self._on_warning(message)
