"""What the record of a run holds; every key is always there, money is a decimal string, rates are 0 to 1."""

from __future__ import annotations

from typing import Final, Literal

from reviewopt.accuracy import Accuracy
from reviewopt.certificate import Certificate
from reviewopt.config import Setting
from reviewopt.data import Alert, Frozen, GroupCounts, Traffic, schema_of
from reviewopt.hardware import GpuUse

SCHEMA_VERSION: Final = 5
Status = Literal["unfinished", "done", "failed", "interrupted"]


class Machine(Frozen, frozen=True, kw_only=True):
    """Where the run ran."""

    system: str
    n_cores: int
    python: str


class Input(Frozen, frozen=True, kw_only=True):
    """The tables read. `fingerprint` is of their content, null until all was read."""

    names: tuple[str, ...]
    columns: dict[str, str | None]
    fingerprint: str | None


class ModelRecord(Frozen, frozen=True, kw_only=True):
    """The model that answered; `languages` are those it was trained on, none where that is not known."""

    name: str
    is_paid: bool
    sha256: str | None
    languages: tuple[str, ...]


class Cost(Frozen, frozen=True, kw_only=True):
    """USD as decimal strings: what the answers cost, as in the output's cost column, and what the machine cost.

    `naive_usd` is what the same model would have cost, one request a row, for every row with something to ask: what was
    paid and what each kind of reuse and packing (`packs`) saved add up to it. Of a paid model it is an estimate, from
    the rows' bytes and the tokens counted in this run.
    """

    naive_usd: str
    saved_usd: dict[str, str]
    answers_usd: str
    machine_usd: str
    machine_usd_per_hour: str


class Tokens(Frozen, frozen=True, kw_only=True):
    """Tokens as the endpoint counted them: `input` holds `cached` and `cache_write`, `output` holds `reasoning`."""

    input: int
    cached: int
    cache_write: int
    output: int
    reasoning: int


class Range(Frozen, frozen=True, kw_only=True):
    """What is expected, and from where to where."""

    low: float
    expected: float
    high: float


class UsdRange(Frozen, frozen=True, kw_only=True):
    """What is expected to be spent, and from where to where, as decimal strings."""

    low: str
    expected: str
    high: str


class RungPlan(Frozen, frozen=True, kw_only=True):
    """What one of the models is expected to be asked."""

    name: str
    n_asked: Range
    n_requests: Range
    input_tokens: Range
    output_tokens: Range
    usd: UsdRange


class ProofPlan(Frozen, frozen=True, kw_only=True):
    """What proving the labels is expected to take: rows of the sample, by what they are for.

    `n_audit` at most are asked, `n_again` are asked a second time; `beyond_local_share` of the rows, the sample among
    them, would need more than the local model.
    """

    reference: str
    target: float
    confidence: float
    n_train: int
    n_cal: int
    n_audit: int
    n_again: int
    beyond_local_share: Range


class Plan(Frozen, frozen=True, kw_only=True):
    """What a paid run was expected to take before it asked anything; `basis` says from what that was worked out.

    `rungs` has each model that is asked, from cheap to dear; of those in `tunes` the size of packs is found first.
    `meets_deadline`: whether even the slowest of the expected times is within the deadline.
    """

    schema_version: int
    n_rows: int
    n_by_source: dict[str, int]
    n_asked: int
    n_requests: int
    input_tokens: Range
    output_tokens: Range
    usd: UsdRange
    seconds: Range
    naive_usd: str
    naive_requests: int
    basis: str
    rungs: tuple[RungPlan, ...]
    tunes: tuple[str, ...]
    deadline_s: float | None
    meets_deadline: bool | None
    proof: ProofPlan | None


class PackStep(Frozen, frozen=True, kw_only=True):
    """One size that was tried: of `n` reviews, `n_worse` were answered worse than singly, and `n_better` better.

    `p_value` is of the exact McNemar test that packing changes nothing; `loss` is (worse - better) / n, `loss_high` its
    one-sided 95 % limit: that of Clopper and Pearson for either kind, joined as by Zou and Donner (2008).
    """

    size: int
    n: int
    n_worse: int
    n_better: int
    p_value: float
    loss: float
    loss_high: float
    passes: bool


class PackTuning(Frozen, frozen=True, kw_only=True):
    """How the size of a model's packs was found; `reference`: a column of labels, or the model's own single answers."""

    size: int
    reference: str
    most_loss: float
    n_sampled: int
    steps: tuple[PackStep, ...]
    is_remembered: bool


class AskRecord(Frozen, frozen=True, kw_only=True):
    """What asking the model took.

    `outcomes` counts requests by how they ended; `n_asked` counts reviews in requests, `n_asked_again` those of them
    that had been asked before. `spent_usd` is what the ledger charged this run; `no_reply_usd` is the part of it that
    stays reserved for requests without a reply. `n_over_budget` reviews were left because of a budget,
    `n_over_deadline` because of the deadline; `failures` counts all by reason. `reply_s` is the mean, `waited_s` how
    long the endpoint asked everybody to wait. So many answers as `n_kept_of_cut` stood complete in replies that were
    cut. `cache_saved_usd` is what the vendor's prompt cache saved, null where no reply tells; `packs` is how the size
    of the requests was found; `hardware` what the GPUs of this machine did, where a model computes on it. Of several
    models these are the sums: `ladder` has each.
    """

    endpoint: str
    is_simulated: bool
    price: str
    n_requests: int
    outcomes: dict[str, int]
    n_asked: int
    n_asked_again: int
    mean_pack_size: float | None
    n_shortened: int
    n_over_budget: int
    n_over_deadline: int
    failures: dict[str, int]
    tokens: Tokens
    spent_usd: str
    no_reply_usd: str
    budget_usd: str | None
    reply_s: float | None
    waited_s: float
    most_in_flight: int
    n_kept_of_cut: int
    cache_saved_usd: str | None
    traffic: Traffic
    packs: PackTuning | None
    hardware: HardwareUse | None
    alerts: tuple[Alert, ...]


class RungRecord(Frozen, frozen=True, kw_only=True):
    """One rung of the ladder: `n_stayed` answers of it were final, `n_climbed` were not sure enough.

    `threshold` is the confidence from which its answers stay, null where none does; `agreement` its share of answers
    equal to the reference's on `n_sampled` reviews, `stayed_agreement` the same among those at or above the threshold.
    `packs` is how the size of its requests was found, where it was.
    """

    name: str
    model: str
    threshold: float | None
    n_sampled: int
    agreement: float | None
    stayed_share: float | None
    stayed_agreement: float | None
    n_answered: int
    n_stayed: int
    n_climbed: int
    n_requests: int
    spent_usd: str
    seconds: float
    packs: PackTuning | None


class EnsembleRecord(Frozen, frozen=True, kw_only=True):
    """What the vote decided: `n_disagreed` of the `n_asked` reviews had no unanimous vote, `n_tied` no majority."""

    members: tuple[str, ...]
    n_asked: int
    n_disagreed: int
    n_tied: int
    spent_usd: str


class LadderRecord(Frozen, frozen=True, kw_only=True):
    """How several models shared the questions; where it `is_certified`, the certificate says what is proven of that.

    `reference` is what the thresholds were calibrated against; `n_by_level` counts questions by complexity; so many
    questions as `n_fallen_back` kept the answer of a cheaper model, because a better one gave none; `replans` says what
    the adaptive strategy changed, and why.
    """

    strategy: str
    is_certified: bool
    reference: str
    tolerance: float
    n_by_level: dict[str, int]
    rungs: tuple[RungRecord, ...]
    n_fallen_back: int
    replans: tuple[str, ...]
    ensemble: EnsembleRecord | None


class HardwareUse(Frozen, frozen=True, kw_only=True):
    """What the GPUs of this machine did during the run; `reason` says why nothing is known, where nothing is.

    `place`: where the model computed. In the `process`, so many packs as `n_halved` were made smaller for want of GPU
    memory, and asking waited `waited_s` for it; a server on the same `host` is only watched.
    """

    place: Literal["process", "host", "remote"]
    driver: str | None
    reason: str
    gpus: tuple[GpuUse, ...]
    n_halved: int
    waited_s: float


class Failure(Frozen, frozen=True, kw_only=True):
    """A review that was asked and stayed unanswered, as `failures.jsonl` keeps it.

    `is_of_text`: the reason lies in the review, so that later runs leave it alone unless they are told to retry.
    """

    review_id: str | None
    tenant: str | None
    reason: str
    n_tries: int
    is_of_text: bool


class Run(Frozen, frozen=True, kw_only=True):
    """The record of one run; every key is always there.

    `hit_rate` is (l1 + l2 + l3) / questions looked up, `reuse_rate` (exact + near + l1 + l2 + l3) / rows that ask
    something. `n_given` questions have the answer of a person or of labelled history.
    """

    schema_version: int
    run_id: str
    status: Status
    error: str | None
    started_at: str
    finished_at: str | None
    versions: dict[str, str]
    machine: Machine
    input: Input
    output: str
    output_columns: dict[str, str]
    task: str
    model: ModelRecord
    config: tuple[Setting, ...]
    notes: tuple[str, ...]
    near: str
    scope: str
    n_rows: int
    n_questions: int
    n_looked_up: int
    n_given: int
    n_near_without_language: int
    n_outside_languages: int
    n_by_source: dict[str, int]
    n_by_label: dict[str, int]
    groups: GroupCounts
    reuse_rate: float | None
    hit_rate: float | None
    stage_s: dict[str, float]
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    reviews_per_s: float | None
    cost: Cost
    asked: AskRecord | None
    plan: Plan | None
    ladder: LadderRecord | None
    accuracy: Accuracy | None
    certificate: Certificate | None


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of run.json; `configs/run.schema.json` is its committed form."""
    return schema_of(Run)
