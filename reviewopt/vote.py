"""Several models vote on one label. Pure.

Stands after the ladder: what its last rung was not sure of is asked of every member, and the votes decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from reviewopt.task import MOST_LABELS

_NO_LABEL: Final = MOST_LABELS  # a member that gave no answer, or a review that nobody answered
_NOT_KNOWN: Final = 0.5  # what a vote without a confidence weighs where others have one: neither sure nor unsure
_PLACES: Final = 9  # sums of confidences are floating: in another order of members they are the same to so many places


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What the members decided on n reviews.

    Attributes:
        label: uint8 (n,); 255 where nobody answered.
        confidence: float32 (n,): the share of the members that answered which are for the label. It says how much they
            agree and is no probability of being right: models err on the same reviews, so three votes are not three
            proofs. Where one member answered alone it is that member's own confidence; NaN where none is known.
        disagreed: bool (n,): at least two labels have a vote.
        tied: bool (n,): at least two labels have the most votes.
    """

    label: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    disagreed: npt.NDArray[np.bool_]
    tied: npt.NDArray[np.bool_]


def vote(labels: npt.NDArray[np.uint8], confidence: npt.NDArray[np.float32]) -> Vote:
    """Give each review the label with the most votes.

    Of tied labels the one with the highest sum of confidences wins, then the one whose first voter stands first in the
    order of the members: who names the members names the most trusted one first.

    Args:
        labels: uint8 (n, m), the members' label codes; 255, no answer, is no vote.
        confidence: float32 (n, m), in [0, 1]; NaN, not known, counts as .5 among tied labels.
    """
    n, m = labels.shape
    has_voted = labels != _NO_LABEL
    same = (labels[:, :, None] == labels[:, None, :]) & has_voted[:, :, None]
    n_for = same.sum(axis=2)  # (n, m): the votes for the label of each member
    weight = np.where(np.isnan(confidence), _NOT_KNOWN, confidence).astype(np.float64)
    sureness = np.where(has_voted, np.round((same * weight[:, None, :]).sum(axis=2), _PLACES), -1.0)
    most = n_for.max(axis=1, initial=0)
    is_top = has_voted & (n_for == most[:, None])
    best = np.where(is_top, sureness, -1.0)
    winner = best.argmax(axis=1) if m else np.zeros(n, np.intp)  # the first of equals
    rows = np.arange(n)
    label = labels[rows, winner] if m else np.full(n, _NO_LABEL, np.uint8)
    n_voted = has_voted.sum(axis=1)
    return Vote(
        label=label,
        confidence=_share(most, n_voted, confidence, has_voted),
        disagreed=most < n_voted,
        tied=(is_top & (labels != label[:, None])).any(axis=1),
    )


def _share(
    most: npt.NDArray[np.int64],
    n_voted: npt.NDArray[np.int64],
    confidence: npt.NDArray[np.float32],
    has_voted: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    share = np.divide(most, n_voted, out=np.full(len(most), np.nan), where=n_voted > 1)
    alone = np.where(has_voted, confidence, np.float32(0)).sum(axis=1)
    given: npt.NDArray[np.float32] = np.where(n_voted == 1, alone, share).astype(np.float32)
    return given
