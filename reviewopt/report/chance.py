"""Could a worse figure be chance? Exact tests without an assumption about how anything is distributed. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

# Beyond so many standard deviations nothing of a hypergeometric distribution is left that a double could hold.
_REACH: Final = 40


def fisher(n_bad_before: int, n_before: int, n_bad_now: int, n_now: int) -> float:
    """Return the chance of at least `n_bad_now` bad cases now, were bad ones no more likely now than before.

    Fisher's exact test, one-sided (Statistical Methods for Research Workers, 5th edition, 1934, section 21.02): given
    how many cases are bad in both, how many of them are of now is hypergeometric. It holds its level at every size, and
    errs to the cautious side in small ones. 1 where a side has no cases.
    """
    n, n_bad = n_before + n_now, n_bad_before + n_bad_now
    low, high = max(0, n_bad - n_before), min(n_bad, n_now)
    if not n_before or not n_now or n_bad_now <= low:
        return 1.0
    mean = n_bad * n_now / n
    spread = (mean * (1 - n_bad / n) * n_before / max(n - 1, 1)) ** 0.5
    first = max(n_bad_now, low, int(mean - _REACH * spread) - _REACH)
    last = min(high, int(max(mean, n_bad_now) + _REACH * spread) + _REACH)
    at = np.arange(first, last, dtype=np.float64)
    steps = np.log((n_bad - at) * (n_now - at)) - np.log((at + 1) * (n_before - n_bad + at + 1))
    logs = _ways(n_bad, first) + _ways(n - n_bad, n_now - first) - _ways(n, n_now) + np.append(0.0, steps.cumsum())
    return min(1.0, float(np.exp(logs).sum()))


def _ways(n: int, k: int) -> float:
    """Return the logarithm of n over k."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def slower(before: Sequence[float], now: Sequence[float], share: float) -> float:
    """Return the chance that so many of the slowest requests are of now, were both alike.

    The quantile test, exact (Johnson, Verrill and Moore, Biometrics 43:641, 1987; for the median Westenberg 1948 and
    Mood 1950): both runs' seconds are pooled, and how many of those beyond the pooled quantile are of now is Fisher's
    hypergeometric. It asks about the tail that a p95 is about, where a test of ranks would ask about the middle.
    Requests are taken as independent: a slow hour of the endpoint is told as slower, which it was.

    Args:
        before: seconds (n_before,).
        now: seconds (n_now,).
        share: the quantile, 0 to 1.
    """
    if not before or not now:
        return 1.0
    pooled = np.concatenate([np.asarray(before, np.float64), np.asarray(now, np.float64)])
    cut = float(np.quantile(pooled, share, method="inverted_cdf"))
    n_slow = [int((np.asarray(one) > cut).sum()) for one in (before, now)]
    return fisher(n_slow[0], len(before), n_slow[1], len(now))
