"""How complex the questions are, in four levels, and what each strategy makes of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from reviewopt.settings import Strategy

LEVELS: Final = ("simple", "moderate", "complex", "expert")
# Chosen so that few reviews are expert. Shares by level: 10,000 Amazon reviews with titles (amazon_10k) .31 .34 .25
# .10; short Flipkart reviews (flipkart_205k) .95 .05 .01 .00; airline tweets .91 .08 .00 .00; long reviews of films
# (imdb_train_25k) .05 .22 .45 .29; Japanese and Chinese reviews (multilingual_ja_zh_12k) .02 .68 .27 .03.
LEVEL_BOUNDS: Final = (0.25, 0.5, 0.8)

# Where questions of a level enter: the cheapest rung, the next (`up_of_three`: only of three rungs or more), the top.
Entry = Literal["bottom", "up", "up_of_three", "top"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a strategy means, for any number of rungs.

    Attributes:
        enters: where the questions of each of `LEVELS` enter.
        tolerance: how many of the answers that stay on a rung may differ from the top rung's, as an estimated share;
            where labels are known, how many more may be wrong than of the top rung's.
        climbs: whether an answer that is not sure enough is asked of the next rung; otherwise one rung answers all.
        threads_factor: times the usual number of requests in flight.
        replans: whether the policy is mended while the run goes on.
    """

    enters: tuple[Entry, Entry, Entry, Entry]
    tolerance: float
    climbs: bool = True
    threads_factor: int = 1
    replans: bool = False

    def entry(self, level: int, n_rungs: int) -> int:
        """Return the rung, from 0, that questions of a level enter."""
        top = n_rungs - 1
        match self.enters[level]:
            case "bottom":
                return 0
            case "up":
                return min(1, top)
            case "up_of_three":
                return 1 if n_rungs >= 3 else 0
            case "top":
                return top


_BALANCED: Final = Rules(enters=("bottom", "bottom", "up_of_three", "top"), tolerance=0.05)
STRATEGIES: Final[Mapping[Strategy, Rules]] = MappingProxyType(
    {
        "cost": Rules(enters=("bottom", "bottom", "bottom", "bottom"), tolerance=0.10),
        "balanced": _BALANCED,
        "quality": Rules(enters=("bottom", "up", "up", "top"), tolerance=0.01),
        "performance": Rules(
            enters=("bottom", "bottom", "bottom", "bottom"), tolerance=0.10, climbs=False, threads_factor=2
        ),
        "adaptive": replace(_BALANCED, replans=True),
    }
)


def levels(complexity: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Return the level of each review, uint8 (n,), an index into `LEVELS`.

    Args:
        complexity: (n,) in [0, 1], as `text.complexity` rates it; a review at a bound has the level above.
    """
    return np.searchsorted(LEVEL_BOUNDS, complexity, side="right").astype(np.uint8)
