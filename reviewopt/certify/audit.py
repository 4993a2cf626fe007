"""The audit of labels that are frozen: evidence that grows row by row and may be looked at after each."""

from __future__ import annotations

import math

import numpy as np

from reviewopt.certify.exact import F64, Flags

# The alternatives are shares of the null's own error rate. The mean over twenty-five is at most 25 times below the one
# that turns out best, so nothing has to be guessed before.
N_ALTERNATIVES = 25
_SHARES = np.linspace(0.02, 0.98, N_ALTERNATIVES)
# Rows taken at a time: bounds the memory at 25 numbers of 8 bytes a row.
_ROWS = 1 << 14


def log_factors(null_mean: F64, wrong: Flags) -> F64:
    """Return the log of what each row multiplies the evidence by, (n, 25): under the null its mean is 1.

    With m the row's chance of being wrong under the null and p = m g: (p / m)^x ((1 - p) / (1 - m))^(1 - x). A right
    row where the null says it must be wrong (m = 1) refutes it: infinity. `null_mean` and `wrong` are (n,).
    """
    with np.errstate(divide="ignore"):
        right = np.log1p(-null_mean[:, None] * _SHARES) - np.log1p(-null_mean)[:, None]
    factors: F64 = np.where(wrong[:, None], np.log(_SHARES), right)
    return factors


def log_mean(logs: F64) -> F64:
    """Return the log of the mean of exp(logs) over the last axis, (n, 25) to (n,); infinities stay."""
    top = logs.max(axis=-1, keepdims=True)
    safe = np.where(np.isinf(top), 0.0, top)
    with np.errstate(over="ignore"):
        mean: F64 = (safe + np.log(np.exp(logs - safe).mean(axis=-1, keepdims=True)))[..., 0]
    return mean


class Audit:
    """An exact test, at any time, of "more than `budget` of `n_rows` are wrong", by rows without replacement.

    E_t = mean over 25 shares g = .02 ... .98 of prod (p/m)^x ((1 - p)/(1 - m))^(1 - x), x = 1 for a wrong row, p = m g,
    m = (budget + 1 - errors so far) / (n_rows - rows so far): the chance that the next row is wrong if budget + 1 are.
    Then E has mean 1 after every row, and with more wrong rows less, so by Ville's inequality it ever reaches 1 / delta
    with a chance of at most delta, however often it is looked at (Waudby-Smith & Ramdas, Confidence sequences for
    sampling without replacement, 2020, arXiv:2006.04347; Estimating means of bounded random variables by betting,
    2024, arXiv:2010.09686). The labels must have been frozen before the first row was drawn.

    Attributes:
        n: rows seen.
        n_errors: how many of them were wrong.
        value: the largest E so far, at least 1; infinity where the rows left cannot make up budget + 1 errors.
        passes: the promise is proven. Never after more than `budget` errors.

    Raises:
        ValueError: a negative count, `delta` outside (0, 1), or more rows added than there are.
    """

    def __init__(self, n_rows: int, budget: int, delta: float) -> None:
        if n_rows < 0 or budget < 0 or not 0 < delta < 1:
            raise ValueError(f"{n_rows} rows, {budget} errors, delta {delta}; needed: counts from 0, 0 < delta < 1")
        self.n = 0
        self.n_errors = 0
        self._n_rows, self._budget, self._delta = n_rows, budget, delta
        # A budget of all rows leaves nothing to refute.
        self._logs = np.full(N_ALTERNATIVES, math.inf if budget >= n_rows else 0.0)
        self._log_value = math.inf if budget >= n_rows else 0.0

    @property
    def value(self) -> float:
        """The largest E so far; infinity also where it is too large for a float."""
        with np.errstate(over="ignore"):
            return float(np.exp(self._log_value))

    @property
    def passes(self) -> bool:
        """Whether E has reached 1 / delta, with no more than `budget` errors seen."""
        return self.n_errors <= self._budget and self._log_value >= -math.log(self._delta)

    def add(self, wrong: Flags) -> None:
        """Take the next rows of the permutation, in its order: whether each is wrong, (n_more,).

        Rows added in pieces leave the same evidence, to the last bit, as rows added at once.
        """
        if self.n + len(wrong) > self._n_rows:
            raise ValueError(f"{self.n + len(wrong)} rows for an audit of {self._n_rows}")
        for start in range(0, len(wrong), _ROWS):
            self._take(wrong[start : start + _ROWS])

    def _take(self, wrong: Flags) -> None:
        """As `add`, for rows that fit into memory 25 times over."""
        seen = np.cumsum(wrong)
        to_come = self._budget + 1 - (self.n_errors + seen - wrong)
        left = self._n_rows - self.n - np.arange(len(wrong))
        # Past budget + 1 errors nothing passes any more; past certainty everything does: the evidence stays.
        logs = log_factors(np.clip(to_come / left, 0.0, 1.0), wrong)
        path = np.cumsum(np.concatenate([self._logs[None], logs]), axis=0)
        self._logs = path[-1]
        # Every right row raises all alternatives and every wrong one lowers them: the tops are before wrong rows.
        tops = path[np.append(wrong, True)]
        self._log_value = max(self._log_value, float(log_mean(tops).max()))
        self.n += len(wrong)
        self.n_errors += int(seen[-1])


def errors_high(n_rows: int, wrong: Flags, delta: float) -> int:
    """Return the smallest budget that `Audit` certifies from these rows, in their order; `n_rows` where none.

    With confidence 1 - delta no more rows of the table are wrong. For each row E only grows with the budget, so the
    budgets that pass have no gaps, and the one just below the truth passes with a chance of at most delta.
    """
    fails, high = int(np.count_nonzero(wrong)) - 1, n_rows
    while high - fails > 1:
        middle = (fails + high) // 2
        audit = Audit(n_rows, middle, delta)
        audit.add(wrong)
        fails, high = (fails, middle) if audit.passes else (middle, high)
    return high
