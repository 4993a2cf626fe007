"""How many errors a sample may show: the hypergeometric fixed-sequence test, and the interval of a share."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# A probability this close to delta, relative to it, is compared in whole numbers. The sums below are good to about
# 1e-12, so nothing that floats could get wrong is left to them.
_TIE = 1e-7
# Rows up to which a tie is decided in whole numbers: .3 s at most, and 12 s at 20,000.
_MOST_EXACT_ROWS = 5_000


def error_budget(n_rows: int, target: float) -> int:
    """Return how many of `n_rows` may be wrong: floor((1 - target) N), of the decimal number that `target` reads as.

    (1 - 0.9) 10 is 1 here, where floats say 0.

    Raises:
        ValueError: `target` is no share, or `n_rows` is negative.
    """
    if n_rows < 0 or not 0 <= target <= 1:
        raise ValueError(f"a target of {target} over {n_rows} rows; needed: a share of 0-1, and no fewer than 0 rows")
    return math.floor((1 - Fraction(str(target))) * n_rows)


def hypergeometric(n_rows: int, n_wrong: int, n: int) -> tuple[int, F64]:
    """Return the least count of wrong rows among `n` drawn of `n_rows`, and P(count <= least + i) for i = 0, 1, ...

    From the ratios of neighbouring terms, added up outwards from the likeliest, so no large logarithms cancel.
    """
    least, most = max(0, n - (n_rows - n_wrong)), min(n, n_wrong)
    k = np.arange(least, most, dtype=np.float64)
    up = np.log(n_wrong - k) + np.log(n - k) - np.log(k + 1) - np.log(n_rows - n_wrong - n + k + 1)
    mode = int(np.count_nonzero(up > 0))  # the ratios fall with k
    terms = np.ones(most - least + 1)
    terms[mode + 1 :] = np.exp(np.cumsum(up[mode:]))
    terms[:mode] = np.exp(-np.cumsum(up[:mode][::-1]))[::-1]
    below: F64 = np.cumsum(terms)
    return least, np.minimum(below / below[-1], 1.0)


def _at_most(n_rows: int, n_wrong: int, n: int, count: int, delta: float) -> bool:
    """Whether P(Hypergeom(n_rows, n_wrong, n) <= count) <= delta, in whole numbers."""
    least = max(0, n - (n_rows - n_wrong))
    ways = sum(math.comb(n_wrong, k) * math.comb(n_rows - n_wrong, n - k) for k in range(least, count + 1))
    return ways <= Fraction(delta) * math.comb(n_rows, n)


def most_errors(n_rows: int, budget: int, n: int, delta: float) -> int:
    """Return the most errors among `n` rows drawn of `n_rows` that prove that at most `budget` are wrong.

    max{c : P(Hypergeom(n_rows, budget + 1, n) <= c) <= delta}, exactly; -1 where there is no such c, so that nothing
    passes; `n` where `budget` is the whole table; `budget` where all rows were drawn. With more than budget + 1 wrong
    rows the probability is only smaller. Prefixes of one frozen order, and policies tested from the safest on, need no
    correction for their number: the first one that is too wrong has to be passed, at delta, before any later one is
    (fixed-sequence testing: Angelopoulos et al., Learn then Test, 2021, section 3; arXiv:2110.01052).

    Raises:
        ValueError: more rows drawn than there are, a negative count, or `delta` outside (0, 1).
    """
    if not (0 <= n <= n_rows and budget >= 0 and 0 < delta < 1):
        raise ValueError(
            f"{n} of {n_rows} rows, {budget} errors, delta {delta}; needed: 0 <= n <= n_rows, 0 < delta < 1"
        )
    if budget >= n_rows:
        return n
    least, below = hypergeometric(n_rows, budget + 1, n)
    count = int(np.searchsorted(below, delta * (1 - _TIE)))  # counts from `least` that are surely within delta
    while count < len(below) and below[count] <= delta * (1 + _TIE):
        # Whole numbers of a million digits would take hours; there the count below the tie is taken, which is safe too.
        if n_rows > _MOST_EXACT_ROWS or not _at_most(n_rows, budget + 1, n, least + count, delta):
            break
        count += 1
    return least + count - 1


def cut(risk: F64, wrong: Flags, most: int) -> float:
    """Return the risk below which rows are accepted, of the sampled rows' `risk` (n,) and whether they are wrong (n,).

    The risk of the (most + 1)-th wrong row in rising risk; infinity where at most `most` are wrong, minus infinity
    where `most` is negative. Accept strictly below it: rows of equal risk are accepted all or none, so at most `most`
    of the sampled ones among the accepted are wrong. The risk must have been fixed before the sample was looked at.

    Raises:
        ValueError: a wrong row's risk is not a number.
    """
    if most < 0:
        return -math.inf
    risks = risk[wrong]
    if np.isnan(risks).any():
        raise ValueError("a wrong row's risk is not a number: it has no place in the order")
    if len(risks) <= most:
        return math.inf
    return float(np.partition(risks, most)[most])


def last_passing(wrong: Flags, most: int) -> int:
    """Return the last policy before the first that fails, -1 if the first does; `wrong` is (n_policies, n).

    Policies go from the safest to the most aggressive and were fixed before the sample was looked at. A policy fails
    with more than `most` errors, and none after it is considered, even if it would pass: that is what lets each be
    tested at the full delta.
    """
    failing = np.count_nonzero(wrong, axis=1) > most
    return int(np.argmax(failing)) - 1 if failing.any() else len(failing) - 1


def clopper_pearson(n_right: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a share (Clopper & Pearson 1934, Biometrika 26:404); (0, 1) without rows.

    Each end is a quantile of a beta distribution. It covers at least with the given confidence, never less.

    Raises:
        ValueError: `n_right` is not within 0 to `n`, or `confidence` outside (0, 1).
    """
    if not (0 <= n_right <= n and 0 < confidence < 1):
        raise ValueError(
            f"{n_right} of {n} right, confidence {confidence}; needed: 0 <= right <= n, 0 < confidence < 1"
        )
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(n_right, n - n_right + 1, tail)) if n_right else 0.0
    high = float(betaincinv(n_right + 1, n - n_right, 1 - tail)) if n_right < n else 1.0
    return low, high
