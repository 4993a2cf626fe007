"""Exact statistics of the accuracy promise: what a sample proves of a table of `n_rows` rows. Pure.

Notation: N rows, of which the `target` T must carry the reference's label, so a budget B = floor((1 - T) N) of them may
be wrong. `delta` is the chance that a promise is made and broken. Nothing here is asymptotic but the planned sizes.
The sample is the start of a permutation of rows (`chances`), without replacement. Rows whose reference label is known
before (those that trained a model, say) leave N and stay in B: they are right.
"""

from __future__ import annotations

from reviewopt.certify.audit import Audit, errors_high
from reviewopt.certify.draw import chances, seed
from reviewopt.certify.exact import clopper_pearson, cut, error_budget, last_passing, most_errors
from reviewopt.certify.sizes import attempt_delta, audit_size, cal_size, target_delta

__all__ = [
    "Audit",
    "attempt_delta",
    "audit_size",
    "cal_size",
    "chances",
    "clopper_pearson",
    "cut",
    "error_budget",
    "errors_high",
    "last_passing",
    "most_errors",
    "seed",
    "target_delta",
]
