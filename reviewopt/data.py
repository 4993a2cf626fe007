"""The values that flow through the tool: the review table's schema, and what goes to a model and comes back.

Rows stay in polars frames and numpy arrays. One small object is made for each question that is really asked, none for
a row.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec
import polars as pl

# One row a review, in the order of the input. `label` is the label that the table itself brings, as a label name of
# the task; `row` counts from 0 over the whole input; `review_id` is the table's own id, or the row as text; `priority`
# is a number or null, and the highest are asked first.
REVIEW_COLUMNS: Final = ("row", "review_id", "title", "text", "tenant", "category", "label", "priority")

# Where an answer came from. A model may not take one of these names.
SOURCES: Final = ("empty", "exact", "near", "l1", "l2", "l3", "local", "reference", "ensemble", "human", "failed")

# USD with twelve places: a local answer costs about 2e-10.
COST_DTYPE: Final = pl.Decimal(18, 12)

# The roles that a column of the input can play, in the order in which they are reported.
Role = Literal["text", "title", "id", "label", "tenant", "category", "priority"]
ROLES: Final[tuple[Role, ...]] = ("text", "title", "id", "label", "tenant", "category", "priority")


class Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value read from a file or written to one: unknown fields are errors, and nothing changes later."""


def schema_of(*types: type[Frozen]) -> dict[str, object]:
    """Return the JSON Schema (2020-12) of a value, or of one of several, with what its types say of themselves."""
    forms, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    for definition in definitions.values():  # Python 3.13 strips the indentation of docstrings, earlier ones do not
        definition["description"] = inspect.cleandoc(definition.get("description", ""))
    form = forms[0] if len(forms) == 1 else {"anyOf": list(forms)}
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **form, "$defs": definitions}
    plain: dict[str, object] = msgspec.json.decode(msgspec.json.encode(whole))  # defaults too as JSON has them
    return plain


class Group(Frozen, frozen=True, kw_only=True):
    """One of the largest groups: `n_rows` rows, the id of its first review, and the text of one, cut short."""

    n_rows: int
    n_questions: int
    review_id: str
    example: str


class GroupCounts(Frozen, frozen=True, kw_only=True):
    """Groups of two rows and more: exact copies, near copies or both; `n_near` are those that hold a near copy."""

    n_groups: int
    n_near: int
    n_rows: int
    largest: tuple[Group, ...]


class Alert(Frozen, frozen=True, kw_only=True):
    """A share of a budget that was reached, as it is sent and as the run's record keeps it; USD as decimal strings."""

    schema_version: int
    time: str
    run_id: str
    scope: str
    threshold_percent: float
    spent_usd: str
    budget_usd: str


class EndpointHealth(Frozen, frozen=True, kw_only=True):
    """How one of a model's endpoints did: requests by how they ended, and how often it was left alone for a while.

    `mean_s` is the mean time of its replies; `is_up`: it would be asked now.
    """

    endpoint: str
    region: str
    n_requests: int
    n_failed: int
    n_rate_limited: int
    n_cooldowns: int
    mean_s: float | None
    is_up: bool


class Traffic(Frozen, frozen=True, kw_only=True):
    """Bodies of requests and replies in bytes, and what they took on the wire where they were compressed."""

    endpoints: tuple[EndpointHealth, ...] = ()
    sent_bytes: int = 0
    sent_wire_bytes: int = 0
    received_bytes: int = 0
    received_wire_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """One review that is really asked.

    `at` is its place in the batch of questions; `text` is the prompt's copy, cleaned and cut; `n_tokens` is what the
    text alone takes in the prompt, or the units that it is billed; `tenant` is null where the table knows none, and
    says who pays; `key` is the archive's, in hex.
    """

    at: int
    text: str
    n_tokens: int
    tenant: str | None = None
    review_id: str | None = None
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent: `ids[i]` stands for `questions[i]`.

    `body` is the whole body as it goes out, so its length bounds the tokens of the input from above (a token is at
    least a byte); `most_output_tokens` is the limit that the body sets on the reply. `most_input_units` is what the
    input is billed at most where it is not billed in tokens.
    """

    questions: tuple[Question, ...]
    ids: tuple[str, ...]
    body: bytes
    most_output_tokens: int
    most_input_units: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the endpoint counted them: `input` holds `cached` and `cache_write`, `output` holds `reasoning`.

    `says_cached`: it told how many were cached, even if none.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    says_cached: bool = field(default=False, compare=False)


# How a request ended.
#   answered      a reply with content; whether it answers all is for `check` to say
#   rate_limited  429: ask again later, and more slowly
#   unavailable   5xx, no connection, or a reply that is none: ask again
#   no_reply      sent, then dropped, cut or late: it may have been paid for; ask again
#   unsupported   the endpoint does not know a feature that was asked for: ask in a simpler form
#   refused       a refusal or a content filter: at least one of the reviews will never pass
#   spoiled       paid for, but not what was asked for: cut short, empty or not to be read
#   hopeless      a wrong key, an unknown model, no quota left: no request of this run can pass
Outcome = Literal[
    "answered", "rate_limited", "unavailable", "no_reply", "unsupported", "refused", "spoiled", "hopeless"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back.

    `values` holds id and value as sent, in order, an id as often as it came; a value is a label or number for a task of
    one field, else an object by field. `confidence` is the probability of each id's first field, where the endpoint
    tells it. `usage` is null where nothing was charged, or where the endpoint does not say: `is_charged` tells which.
    `is_cut`: the connection broke or the reply hit its limit, and `values` are those that stood complete in it.
    `reason` is for people, without any text of a review or key in it.
    """

    outcome: Outcome
    seconds: float
    values: tuple[tuple[str, object], ...] = ()
    confidence: Mapping[str, float] = field(default_factory=dict)
    usage: Usage | None = None
    is_charged: bool = False
    is_cut: bool = False
    reason: str = ""
    retry_after_s: float | None = None
    request_id: str | None = None
