"""The certificate: what was promised of the labels, how it was tested, and what was found. JSON with a schema."""

from __future__ import annotations

from typing import Final, Literal

from reviewopt.data import Frozen, schema_of

SCHEMA_VERSION: Final = 1
# How the promise was tested.
#   cal     hypergeometric fixed-sequence test on the rows of CAL; what is not accepted has the reference's own answer
#   audit   e-process on AUDIT rows against labels that were frozen before
#   all     nothing to test: every row has the reference's own answer
Method = Literal["cal", "audit", "all"]
SliceState = Literal["certified", "not met", "not certified"]


class SelfAgreement(Frozen, frozen=True, kw_only=True):
    """How often a reference model gives the same answer twice, with the Clopper-Pearson 95 % interval."""

    n: int
    n_equal: int
    share: float
    low: float
    high: float


class Attempt(Frozen, frozen=True, kw_only=True):
    """One test of the frozen labels on AUDIT's rows.

    `e-process`: the labels as they stand pass where `e_value`, the largest that was reached, is at least 1 / `delta`.
    `cut`: where they do not, the rows are ranked by risk, and those beyond the (`most_errors` + 1)-th error seen have
    gone to the reference: `n_escalated` rows of the table.
    """

    test: Literal["e-process", "cut"]
    delta: float
    n_audited: int
    n_errors: int
    most_errors: int | None
    e_value: float | None
    n_escalated: int
    passes: bool


class Slice(Frozen, frozen=True, kw_only=True):
    """A tenant or category with its own promise; `not certified`: its sample is too small to prove anything.

    `most_errors` is how many of the `n_sampled` rows may be wrong, null for an audit or where none may.
    """

    name: str
    n_rows: int
    n_sampled: int
    n_errors: int
    most_errors: int | None
    accuracy_low: float | None
    state: SliceState


class Drift(Frozen, frozen=True, kw_only=True):
    """A chunk that departs from the sample: its rows `first_row` to `last_row` (from 0), by `measure`.

    `measure` is label_mix, confidence or length; `p_value` is of the named `test`, `level` what it was held against.
    """

    first_row: int
    last_row: int
    measure: str
    test: str
    statistic: float
    p_value: float
    level: float
    n_escalated: int


class Certificate(Frozen, frozen=True, kw_only=True):
    """At least `accuracy_low` of `n_rows` labels are the reference's, with the given confidence; every key is there.

    `n_rows` counts rows with a text. `delta` is what this attempt was tested at: a further target on the same table and
    reference gets less. `n_train`, `n_cal` and `n_audit` rows were drawn from the permutation that `seed` gives, and
    carry the reference's own label; with the rows that were left to it these are `n_reference_rows`. `policy_path` are
    the policies from the safest to the most aggressive, frozen before the rows that test them were looked at,
    `policy_hash` is their SHA-256, and `policy` the one in force. `n_errors` of the rows tested differed, of at most
    `most_errors` (null for an audit).
    `accuracy_seen` is an estimate, no bound: 1 less the share of errors in the sample, over all rows. `n_unproven` rows
    should have had the reference's answer, and it gave none: they count as wrong. `n_reference_calls` are requests to
    the reference, `n_reference_saved` the rows that never needed one.
    """

    schema_version: int
    reference: str
    kind: Literal["model", "column", "human"]
    target: float
    confidence: float
    is_met: bool
    reason: str
    method: Method
    accuracy_low: float | None
    accuracy_seen: float | None
    n_rows: int
    n_empty: int
    n_train: int
    n_cal: int
    n_audit: int
    n_errors: int
    most_errors: int | None
    n_unproven: int
    n_reference_rows: int
    n_reference_calls: int
    n_reference_saved: int
    table: str
    seed: str
    attempt: int
    delta: float
    policy_path: tuple[str, ...]
    policy_hash: str
    policy: str
    audits: tuple[Attempt, ...]
    self_agreement: SelfAgreement | None
    per: str
    slices: tuple[Slice, ...]
    drift: tuple[Drift, ...]
    does_not_cover: tuple[str, ...]


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of certificate.json; `configs/certificate.schema.json` is its committed form."""
    return schema_of(Certificate)
