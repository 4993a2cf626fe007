"""What is proven of each tenant or category: the whole table's tests, on its own rows, at an equal share of delta."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import certify
from reviewopt.certificate import Slice

F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def cut_slices(
    name: pl.Series,
    risk: F64,
    wrong: Flags,
    *,
    n_of: Mapping[str, int],
    n_known: Mapping[str, int],
    target: float,
    delta: float,
    cut: float,
    n_gaps: int = 0,
) -> tuple[dict[str, float], tuple[Slice, ...]]:
    """Give each tenant or category a cut of its own, where it is lower than that of the whole table.

    Args:
        name: of the slice of each row tested, String (n,).
        risk: float64 (n,).
        wrong: bool (n,).
        n_of: rows with a text of each slice.
        n_known: rows of each that have the reference's answer anyway.
        target: the share that must be right, in each.
        delta: the chance of a false promise, which the slices share equally.
        cut: that of the whole table.
        n_gaps: rows that count as wrong anyway; each slice may have all of them.

    Returns:
        The cut of each slice, and what is proven of it.
    """
    cuts, slices, names = {}, [], name.to_numpy()
    for one, n_rows in n_of.items():
        here = np.flatnonzero(names == one)
        n_left, budget = n_rows - n_known.get(one, 0), certify.error_budget(n_rows, target) - n_gaps
        most = -1
        if len(here) and budget >= 0:
            most = certify.most_errors(n_left, min(budget, n_left), len(here), delta / len(n_of))
        cuts[one] = cut if most < 0 else min(cut, certify.cut(risk[here], wrong[here], most))
        slices.append(
            Slice(
                name=one,
                n_rows=n_rows,
                n_sampled=len(here),
                n_errors=int((wrong[here] & (risk[here] < cuts[one])).sum()),
                most_errors=most if most >= 0 else None,
                accuracy_low=1 - (budget + n_gaps) / n_rows if most >= 0 else None,
                state="certified" if most >= 0 else "not certified",
            )
        )
    return cuts, tuple(slices)


def slice_of(
    name: str, *, n_rows: int, n_left: int, wrong: Flags, target: float, delta: float, n_wrong: int = 0
) -> Slice:
    """Return what is proven of one tenant or category.

    Args:
        name: what it is called.
        n_rows: its rows with a text.
        n_left: those of them that were drawn from.
        wrong: bool (n,), of those that were drawn.
        target: the share that must be right.
        delta: the chance of a false promise.
        n_wrong: rows that are known to be wrong, besides.
    """
    budget = certify.error_budget(n_rows, target) - n_wrong
    tested = certify.Audit(n_left, min(max(0, budget), n_left), delta)
    tested.add(wrong)
    best = certify.Audit(n_left, min(max(0, budget), n_left), delta)
    best.add(np.zeros(len(wrong), np.bool_))
    high = certify.errors_high(n_left, wrong, delta)
    low = 1 - (high + n_wrong) / n_rows if high < n_left else None
    state = "certified" if tested.passes else "not met" if best.passes else "not certified"
    if budget < 0:
        state = "not met"
    return Slice(
        name=name,
        n_rows=n_rows,
        n_sampled=len(wrong),
        n_errors=int(wrong.sum()),
        most_errors=None,
        accuracy_low=low if state != "not certified" else None,
        state=state,  # type: ignore[arg-type]  # one of the three
    )


def less_unproven(one: Slice, n_unproven: int, target: float) -> Slice:
    """Count rows of a slice as wrong that should have had the reference's answer and have none."""
    if not n_unproven or one.accuracy_low is None:
        return one
    low = max(0.0, one.accuracy_low - n_unproven / one.n_rows)
    is_met = one.state == "certified" and round((1 - low) * one.n_rows) <= certify.error_budget(one.n_rows, target)
    return msgspec.structs.replace(one, accuracy_low=low, state="certified" if is_met else "not met")
