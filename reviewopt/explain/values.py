"""What an explanation consists of; every key is always there."""

from __future__ import annotations

from typing import Final

from reviewopt.data import Frozen

SCHEMA_VERSION: Final = 1


class Stored(Frozen, frozen=True, kw_only=True):
    """An archived answer that was used again.

    `source` is `human`, `warm` (labelled history) or `model`; `model`, `settings`, `prompt` and `is_packed` are null
    but for a model's answer. `review_id` and `text`, a normal form, are those of the review that was asked first;
    `cost_usd` is what the answer cost then. `similarity` is the rapidfuzz ratio of the two texts, 0 to 100. `run_id` is
    the run that asked, null where the spend ledger does not know it.
    """

    source: str
    made_at: str
    model: str | None
    settings: dict[str, str] | None
    prompt: str | None
    is_packed: bool | None
    review_id: str | None
    tenant: str | None
    text: str
    cost_usd: str
    is_same_text: bool
    similarity: float
    run_id: str | None


class Sent(Frozen, frozen=True, kw_only=True):
    """A request that the review was in and that was charged, or may have been.

    `outcome` is the request's; `is_answer`: this one brought the review's answer. `share_tokens` is the review's weight
    in the request, which decides its share of the price. Tokens are null where the endpoint told none.
    """

    settled_at: str
    model: str
    endpoint: str
    outcome: str
    is_answer: bool
    n_reviews: int
    share_tokens: int
    share_usd: str
    cost_usd: str
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    seconds: float
    request_id: str | None


class Failed(Frozen, frozen=True, kw_only=True):
    """Why a review stayed unanswered.

    `was_asked`: in this run; else it was left alone because it never worked before, and `n_tries` is null.
    `is_of_text`: the reason lies in the review, so that later runs leave it alone too. `advice` says what to do.
    """

    reason: str
    was_asked: bool
    n_tries: int | None
    is_of_text: bool
    advice: str


class Explained(Frozen, frozen=True, kw_only=True):
    """Where the answer of one row came from.

    `row` counts from 0 over the output. `others` are the answers to the task's fields after the first. `shared_from` is
    the row whose answer a copy took, explained itself, and `similarity` the rapidfuzz ratio of the two texts, 0 to 100.
    `stored` is the archived answer behind l1, l2 and l3; `requests` are those of a model's answer, oldest first.
    `remarks` say what could not be found out, and why.
    """

    row: int
    review_id: str
    title: str | None
    text: str | None
    tenant: str | None
    label: str | None
    others: dict[str, str | None]
    confidence: float | None
    source: str
    cost_usd: str
    note: str | None
    duplicate_of: str | None
    shared_from: Explained | None
    similarity: float | None
    stored: Stored | None
    requests: tuple[Sent, ...]
    failure: Failed | None
    remarks: tuple[str, ...]


class Explanation(Frozen, frozen=True, kw_only=True):
    """What `reviewopt explain` prints: the rows of a review, at most ten of `n_rows`, and the run's model."""

    schema_version: int
    run_id: str
    review_id: str
    output: str
    task: str
    model: str
    models: dict[str, str]
    is_paid: bool
    is_simulated: bool
    n_rows: int
    rows: tuple[Explained, ...]
