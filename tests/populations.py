"""Invented tables whose wrong labels are known, and the promise as it is made on them: what coverage and power count.

A table is `Ranked` where each label is wrong or right by itself, and a `Path` where labels hang together, so that only
whole policies can be tested. The parameters of the calibrated, overconfident and step tables are round numbers that put
the share of wrong labels near the budget of a target of .95; nothing was fitted to any result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reviewopt.certify import Audit, attempt_delta, chances, cut, last_passing, most_errors, seed

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Rng = np.random.Generator

N_POLICIES = 41
N_BLOCKS = 40
ORDERS = ("random", "sorted", "blocky")


@dataclass(frozen=True)
class Ranked:
    """Every row's claimed risk, lower is safer, and whether its free label is wrong; both (n_rows,)."""

    risk: F64
    wrong: Flags

    def ordered(self, order: str, rng: Rng) -> Ranked:
        """The same rows, laid out in another order."""
        places = laid_out(self.risk, order, rng)
        return Ranked(self.risk[places], self.wrong[places])


@dataclass(frozen=True)
class Path:
    """Policies from the safest on: whether each row is wrong under each, (n_policies, n_rows).

    `by_reference` marks the rows that the reference answers under each, `is_first` the row of each group that was
    really asked; `claimed` is the last policy whose claimed risk is within the budget.
    """

    wrong: Flags
    by_reference: Flags
    is_first: Flags
    claimed: int

    def ordered(self, order: str, rng: Rng) -> Path:
        """The same rows, laid out in another order: they come group by group."""
        places = laid_out(np.arange(len(self.is_first), dtype=np.float64), order, rng)
        return Path(self.wrong[:, places], self.by_reference[:, places], self.is_first[places], self.claimed)


@dataclass(frozen=True)
class Outcome:
    """What a promise came to: wrong labels as written, and before the sampled rows were put right."""

    n_wrong: int
    n_wrong_before: int
    n_reference: int


def laid_out(key: F64, order: str, rng: Rng) -> I64:
    """Places of the rows in an order: random, sorted by `key`, or sorted blocks that are shuffled."""
    if order == "random":
        return rng.permutation(len(key))
    places: I64 = np.argsort(key, kind="stable")
    if order == "blocky":
        blocks = np.array_split(places, N_BLOCKS)
        places = np.concatenate([blocks[one] for one in rng.permutation(len(blocks))])
    return places


# --- rows by themselves ----------------------------------------------------------------------------------------------


def true_risk(n_rows: int, rng: Rng) -> F64:
    """Chances of being wrong with a mean near .065: most rows easy, a tail up to .55."""
    risk: F64 = 0.55 * rng.beta(0.35, 2.6, n_rows)
    return np.clip(risk, 1e-12, None)


def calibrated(n_rows: int, rng: Rng) -> Ranked:
    """The claimed risk is the true one."""
    risk = true_risk(n_rows, rng)
    return Ranked(risk, rng.random(n_rows) < risk)


def overconfident(n_rows: int, rng: Rng) -> Ranked:
    """Claimed risks are noisy and too low, and 1.2 % of the rows are claimed the safest, with half of them wrong."""
    risk = true_risk(n_rows, rng)
    wrong = rng.random(n_rows) < risk
    claimed = np.log(risk / (1 - risk)) + rng.normal(0, 1.5, n_rows)
    top = rng.choice(n_rows, int(0.012 * n_rows), replace=False)
    wrong[top] = rng.random(len(top)) < 0.5
    claimed[top] = claimed.min() - rng.random(len(top))
    return Ranked((1 / (1 + np.exp(-claimed))) ** 1.6, wrong)


def step(n_rows: int, rng: Rng) -> Ranked:
    """Wrong at twice the allowed rate in the safer half, so the budget ends at its edge; hardly ever behind it."""
    rate = np.where(np.arange(n_rows) < n_rows // 2, 0.104, 0.01)
    return Ranked(np.linspace(0.001, 0.3, n_rows), rng.random(n_rows) < rate)


def tied(n_rows: int, rng: Rng) -> Ranked:
    """As calibrated, with claims in steps of .02: large groups of one risk."""
    table = calibrated(n_rows, rng)
    return Ranked(np.round(table.risk * 50) / 50, table.wrong)


def all_right(n_rows: int, rng: Rng) -> Ranked:
    """No label is wrong."""
    return Ranked(rng.random(n_rows), np.zeros(n_rows, dtype=bool))


def all_wrong(n_rows: int, rng: Rng) -> Ranked:
    """Every label is wrong."""
    return Ranked(rng.random(n_rows), np.ones(n_rows, dtype=bool))


# --- rows that hang together -----------------------------------------------------------------------------------------


def path(n_rows: int, rng: Rng, *, negated: float = 0.0, stale: float = 0.0, middle: float = 0.0) -> Path:
    """Groups of near copies: 60 % of the rows alone, the others in groups of six on average, labelled by their first.

    A first row has the local model's label, wrong with its own risk, or, in one group of seven, an old answer. A
    member's own label differs from the first's with a chance that falls with its similarity. Claims know all that, with
    noise, but neither the `negated` share of members, which are claimed the safest and differ in 7 of 10, nor the
    `stale` share of old answers, nor the `middle` model, which answers what is not accepted, wrong in that share of
    rows (0: the reference answers it). Where the first goes to another model its members change too: errors can rise.
    """
    is_first = rng.random(n_rows) < np.where(np.arange(n_rows) < 0.6 * n_rows, 1.0, 1 / 6)
    group = np.cumsum(is_first) - 1
    first = np.flatnonzero(is_first)[group]
    similarity = rng.uniform(0.8, 1, n_rows)
    far = 0.25 * np.exp(-12 * (similarity - 0.8))
    is_negated = ~is_first & (rng.random(n_rows) < negated / 0.33)
    differs = ~is_first & (rng.random(n_rows) < np.where(is_negated, 0.7, far))
    risk = true_risk(n_rows, rng)
    free_wrong = rng.random(n_rows) < risk
    claimed = 1 / (1 + np.exp(-np.log(risk / (1 - risk)) - rng.normal(0, 1, n_rows)))
    is_old = rng.random(n_rows) < 1 / 7
    free_wrong = np.where(is_old, rng.random(n_rows) < stale, free_wrong)
    claimed = np.where(is_old, 0.01, claimed)
    claim = np.where(is_first, claimed, np.where(is_negated, 0.003, claimed[first] + far))
    asked_wrong = rng.random(n_rows) < middle
    order = np.argsort(claim, kind="stable")
    sizes = np.linspace(0, n_rows, N_POLICIES).astype(int)
    rank = np.empty(n_rows, dtype=np.int64)
    rank[order] = np.arange(n_rows)
    accepted = rank < sizes[:, None]
    shared = np.where(accepted, free_wrong, asked_wrong)[:, first]
    wrong = np.where(accepted, shared ^ differs, asked_wrong)
    expected = np.cumsum(claim[order])[np.maximum(sizes, 1) - 1] * (sizes > 0)
    within = int(np.flatnonzero(expected <= 0.05 * n_rows)[-1])
    return Path(wrong, ~accepted & (middle == 0), is_first, within)


def one_too_many(n_rows: int, rng: Rng) -> Path:
    """One policy with the least errors that break a target of .95: the worst case of every exact test."""
    wrong = rng.permutation(n_rows) < n_rows // 20 + 1
    return Path(wrong[None], np.zeros((1, n_rows), dtype=bool), np.ones(n_rows, dtype=bool), 0)


# --- the promise -----------------------------------------------------------------------------------------------------


def drawn(n_rows: int, *parts: str) -> I64:
    """The permutation of rows that the parts give, as the tool draws it."""
    order: I64 = np.argsort(chances(np.arange(n_rows), seed(*parts)))
    return order


def by_cut(table: Ranked, rows: I64, budget: int, delta: float, n_train: int, n_cal: int) -> Outcome:
    """Accept by risk: TRAIN leaves the table, CAL finds the cut, the rest has the reference's label."""
    n_rows, cal = len(table.risk) - min(n_train, len(table.risk)), rows[n_train : n_train + n_cal]
    most = most_errors(n_rows, budget, len(cal), delta)
    return accepted_below(table, cut(table.risk[cal], table.wrong[cal], most), rows[:n_train], cal)


def by_estimate(table: Ranked, rows: I64, budget: int, n_cal: int) -> Outcome:
    """What must not be done: accept as many errors as the sample's share of the budget."""
    cal = rows[:n_cal]
    most = math.floor(budget * len(cal) / len(table.risk))
    return accepted_below(table, cut(table.risk[cal], table.wrong[cal], most), rows[:0], cal)


def accepted_below(table: Ranked, limit: float, train: I64, cal: I64) -> Outcome:
    """The outcome of a cut: TRAIN rows are right in any case, CAL rows once they are put right."""
    free = table.risk < limit
    free[train] = False
    before = int((free & table.wrong).sum())
    free[cal] = False
    return Outcome(int((free & table.wrong).sum()), before, int((~free).sum()))


def by_policy(table: Path, rows: I64, budget: int, delta: float, n_cal: int) -> Outcome:
    """The fixed sequence along whole policies; where the first fails, every row has the reference's label."""
    cal = rows[:n_cal]
    most = most_errors(table.wrong.shape[1], budget, len(cal), delta)
    return under(table, last_passing(table.wrong[:, cal], most), cal)


def by_audit(table: Path, rows: I64, budget: int, delta: float, n_audit: int) -> Outcome:
    """Freeze the policy that claims to be within the budget, audit it, and go one policy back after each failure."""
    sample = rows[:n_audit]
    for attempt, policy in enumerate(range(table.claimed, -1, -1), 1):
        audit = Audit(table.wrong.shape[1], budget, attempt_delta(delta, attempt))
        audit.add(table.wrong[policy, sample])
        if audit.passes:
            return under(table, policy, sample)
    return under(table, -1, sample)


def by_audit_of_firsts(table: Path, rows: I64, budget: int, delta: float, n_audit: int) -> Outcome:
    """What must not be done: the same audit, of rows that were really asked instead of all rows."""
    firsts = rows[table.is_first[rows]]
    sample, share = firsts[:n_audit], budget / len(rows)
    for attempt, policy in enumerate(range(table.claimed, -1, -1), 1):
        audit = Audit(len(firsts), math.floor(share * len(firsts)), attempt_delta(delta, attempt))
        audit.add(table.wrong[policy, sample])
        if audit.passes:
            return under(table, policy, sample)
    return under(table, -1, sample)


def under(table: Path, policy: int, sample: I64) -> Outcome:
    """The outcome of a policy, -1 being the reference for every row."""
    n_rows = table.wrong.shape[1]
    if policy < 0:
        return Outcome(0, 0, n_rows)
    wrong, asked = table.wrong[policy], table.by_reference[policy].copy()
    asked[sample] = True
    before = int(wrong.sum())
    return Outcome(before - int(wrong[sample].sum()), before, int(asked.sum()))
