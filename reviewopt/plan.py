"""What a paid run will take before it takes it: requests, tokens, USD and seconds, from a free pass over the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reviewopt.budget import History
from reviewopt.data import Usage
from reviewopt.job import Paid
from reviewopt.pipeline import Surveyed
from reviewopt.record import Plan, Range, UsdRange

SCHEMA_VERSION: Final = 1
# How far an endpoint's tokens may lie from ours: other vocabularies count English 15 % apart, and replies vary more.
_INPUT: Final = (0.8, 1.2)
_OUTPUT: Final = (0.6, 1.6)
# After requests of this model were counted, what is left is chance.
_KNOWN: Final = (0.93, 1.07)
# What is asked twice because a reply was spoiled or left some out, at most in an ordinary run.
_AGAIN: Final = 1.05
# How long a request takes where none was ever timed: hosted models answer a pack in one to several seconds.
_UNTIMED_S: Final = (0.5, 2.0, 10.0)
_TIMED: Final = (0.7, 1.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Tokens of all requests of a run together."""

    input: Range
    output: Range


def make(surveyed: Surveyed, paid: Paid, history: History | None, *, threads: int) -> Plan:
    """Work out what the surveyed requests will take.

    Args:
        surveyed: what a free pass over the table counted.
        paid: the model and its price.
        history: what its newest requests took, where there were any.
        threads: requests at a time.
    """
    tokens = _tokens(surveyed, history)
    n = surveyed.n_requests
    return Plan(
        schema_version=SCHEMA_VERSION,
        n_rows=surveyed.n_rows,
        n_by_source=surveyed.n_by_source,
        n_asked=surveyed.n_asked,
        n_requests=n,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        usd=_usd(n, tokens, paid),
        seconds=_seconds(n, history, threads, paid),
        naive_usd=f"{surveyed.naive_usd:f}",
        naive_requests=surveyed.n_asking_rows,
        basis=_basis(history),
        deadline_s=None,
        meets_deadline=None,
    )


def _tokens(surveyed: Surveyed, history: History | None) -> Expected:
    inward, outward = float(surveyed.n_input_tokens), surveyed.n_output_tokens
    if history is None:
        return Expected(input=_range(inward, _INPUT, _AGAIN), output=_range(outward, _OUTPUT, _AGAIN))
    if history.input_tokens_a_byte is not None:
        inward = history.input_tokens_a_byte * surveyed.n_body_bytes
    outward = history.output_tokens_a_review * surveyed.n_asked
    return Expected(input=_range(inward, _KNOWN, _AGAIN), output=_range(outward, _KNOWN, _AGAIN))


def _range(expected: float, factors: tuple[float, float], more: float) -> Range:
    return Range(low=expected * factors[0], expected=expected, high=expected * factors[1] * more)


def _usd(n_requests: int, tokens: Expected, paid: Paid) -> UsdRange:
    """Price the mean request, as often as there are requests: a long one may have another rate than a short one."""

    def price(inward: float, outward: float) -> str:
        if not n_requests:
            return "0"
        mean = Usage(input=round(inward / n_requests), output=round(outward / n_requests))
        return f"{n_requests * paid.price.cost(mean):f}"

    return UsdRange(
        low=price(tokens.input.low, tokens.output.low),
        expected=price(tokens.input.expected, tokens.output.expected),
        high=price(tokens.input.high, tokens.output.high),
    )


def _seconds(n_requests: int, history: History | None, threads: int, paid: Paid) -> Range:
    """Say how long the requests take, side by side and within the rates that the settings allow."""
    side_by_side = -(-n_requests // threads)
    each = _UNTIMED_S if history is None else tuple(history.mean_s * factor for factor in (_TIMED[0], 1.0, _TIMED[1]))
    rpm = paid.model.limits.rpm
    least = 60 * n_requests / rpm if rpm else 0.0
    low, expected, high = (max(least, side_by_side * one) for one in each)
    return Range(low=low, expected=expected, high=high)


def _basis(history: History | None) -> str:
    if history is None:
        return "tokens counted with o200k_base; no request to this model was ever timed, so the time is a guess"
    return f"tokens and seconds as in the last {history.n_requests:,} requests to this model"
