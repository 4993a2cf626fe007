"""What a paid run will take before it takes it: requests, tokens, USD and seconds, from a free pass over the table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from reviewopt.asking import Survey
from reviewopt.budget import History
from reviewopt.data import Usage
from reviewopt.job import Paid
from reviewopt.record import Plan, Range, RungPlan, UsdRange
from reviewopt.surveyed import Surveyed, Total

SCHEMA_VERSION: Final = 3
# How far an endpoint's tokens may lie from ours: other vocabularies count English 15 % apart, and replies vary more.
_INPUT: Final = (0.8, 1.2)
_OUTPUT: Final = (0.6, 1.6)
# After requests of this model were counted, what is left is chance.
_KNOWN: Final = (0.93, 1.07)
# Units of characters are counted as they are billed, and a service leaves none out.
_EXACT: Final = (1.0, 1.0)
# What is asked twice because a reply was spoiled or left some out, at most in an ordinary run.
_AGAIN: Final = 1.05
# How long a request takes where none was ever timed: hosted models answer a pack in one to several seconds.
_UNTIMED_S: Final = (0.5, 2.0, 10.0)
_TIMED: Final = (0.7, 1.6)
_NO_SAMPLE: Final = Survey(
    n_questions=0, n_refused=0, n_requests=0, n_input_tokens=0, n_output_tokens=0.0, n_body_bytes=0
)
# Sizes of packs that finding the best one usually tries.
_TUNING_STEPS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A model that would be asked, what its newest requests took, where there were any, and whether packs are tuned."""

    paid: Paid
    history: History | None
    tunes: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether what it bills is known beforehand: units of the texts' characters."""
        return self.paid.model.limits.billed_characters > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Questions and requests of one model, and the tokens of all of them together."""

    asked: Range
    requests: Range
    input: Range
    output: Range


def make(
    surveyed: Surveyed, models: Sequence[Known], *, threads: int, deadline_s: float | None = None, n_sample: int = 0
) -> Plan:
    """Work out what the surveyed requests will take.

    Args:
        surveyed: what a free pass over the table counted.
        models: those that would be asked.
        threads: requests at a time.
        deadline_s: how long asking may take; None: for ever.
        n_sample: the reviews that find the size of a model's packs, where that is wanted.
    """
    rungs, seconds = [], []
    for one in models:
        total = surveyed.models.get(one.paid.source, Total())
        tokens = _expected(total, one, n_sample, surveyed)
        rungs.append(
            RungPlan(
                name=one.paid.source,
                n_asked=tokens.asked,
                n_requests=tokens.requests,
                input_tokens=tokens.input,
                output_tokens=tokens.output,
                usd=_usd(tokens, one),
            )
        )
        seconds.append(_seconds(tokens.requests, one, threads))
    time_s = _sum(seconds)
    return Plan(
        schema_version=SCHEMA_VERSION,
        n_rows=surveyed.n_rows,
        n_by_source=surveyed.n_by_source,
        n_asked=round(sum(one.n_asked.expected for one in rungs)),
        n_requests=round(sum(one.n_requests.expected for one in rungs)),
        input_tokens=_sum([one.input_tokens for one in rungs]),
        output_tokens=_sum([one.output_tokens for one in rungs]),
        usd=UsdRange(
            low=f"{sum((Decimal(one.usd.low) for one in rungs), Decimal(0)):f}",
            expected=f"{sum((Decimal(one.usd.expected) for one in rungs), Decimal(0)):f}",
            high=f"{sum((Decimal(one.usd.high) for one in rungs), Decimal(0)):f}",
        ),
        seconds=time_s,
        naive_usd=f"{surveyed.naive_usd:f}",
        naive_requests=surveyed.n_asking_rows,
        basis=_basis(models),
        rungs=tuple(rungs),
        tunes=tuple(one.paid.source for one in models if one.tunes),
        deadline_s=deadline_s,
        meets_deadline=None if deadline_s is None else time_s.high <= deadline_s,
        proof=surveyed.proof,
    )


def prices_of(total: Total, known: Known, overhead_tokens: int) -> tuple[Decimal, Decimal]:
    """Return what a request of one review costs, and what a review costs in a pack, in USD.

    Args:
        total: what the survey counted for the model.
        known: the model.
        overhead_tokens: tokens of a request beside its reviews.
    """
    n, n_requests = max(1, total.n_questions), max(1, total.n_requests)
    inward, outward = total.n_input_tokens / n_requests, total.n_output_tokens / n_requests
    alone = max(0.0, total.n_input_tokens - n_requests * overhead_tokens) / n + overhead_tokens
    single = known.paid.price.cost(Usage(input=round(alone), output=round(total.n_output_tokens / n)))
    return single, n_requests * known.paid.price.cost(Usage(input=round(inward), output=round(outward))) / n


def _expected(total: Total, known: Known, n_sample: int, surveyed: Surveyed) -> Expected:
    """Work out the requests and tokens: of the sample, which every rung answers, of what reaches it, of tuning."""
    history, source = None if known.is_exact else known.history, known.paid.source
    around_in, around_out = (_INPUT, _OUTPUT) if history is None else (_KNOWN, _KNOWN)
    again = _AGAIN
    if known.is_exact:
        around_in, around_out, again = _EXACT, _EXACT, 1.0
    n, sample = max(1, total.n_questions), surveyed.sampling.get(source, _NO_SAMPLE)
    others = 1 - sample.n_questions / max(n, sample.n_questions)
    asked = [others * part / n for part in (total.low, total.expected, total.high)]
    inward, outward = _tokens(total, history)
    more = min(n_sample, total.n_questions) if known.tunes else 0
    sample_in, sample_out = _tokens(sample, history)
    fixed_in = sample_in + more * (surveyed.overhead_tokens.get(source, 0) + (1 + _TUNING_STEPS) * inward / n)
    fixed_out = sample_out + more * (1 + _TUNING_STEPS) * outward / n
    fixed_requests = sample.n_requests + more * (1 + _TUNING_STEPS * total.n_requests / n)
    return Expected(
        asked=_around([part * n + sample.n_questions for part in asked], (1.0, 1.0), 1.0),
        requests=_around([part * total.n_requests + fixed_requests for part in asked], (1.0, 1.0), 1.0),
        input=_around([part * inward + fixed_in for part in asked], around_in, again),
        output=_around([part * outward + fixed_out for part in asked], around_out, again),
    )


def _tokens(counted: Total | Survey, history: History | None) -> tuple[float, float]:
    """Return the tokens in and out of what was counted, as earlier requests had them where there were any."""
    inward, outward = float(counted.n_input_tokens), counted.n_output_tokens
    if history is None:
        return inward, outward
    if history.input_tokens_a_byte is not None:
        inward = history.input_tokens_a_byte * counted.n_body_bytes
    return inward, history.output_tokens_a_review * counted.n_questions


def _around(values: Sequence[float], factors: tuple[float, float], more: float) -> Range:
    low, expected, high = values
    return Range(low=low * factors[0], expected=expected, high=high * factors[1] * more)


def _sum(ranges: Sequence[Range]) -> Range:
    return Range(
        low=sum(one.low for one in ranges),
        expected=sum(one.expected for one in ranges),
        high=sum(one.high for one in ranges),
    )


def _usd(tokens: Expected, known: Known) -> UsdRange:
    """Price the mean request, as often as there are requests: a long one may have another rate than a short one.

    Units have one rate, so that their sum is priced: a mean of them would be rounded.
    """
    paid = known.paid

    def price(n: float, inward: float, outward: float) -> str:
        if known.is_exact:
            return f"{paid.price.cost(Usage(input=round(inward))):f}"
        n_requests = round(n)
        if not n_requests:
            return "0"
        mean = Usage(input=round(inward / n_requests), output=round(outward / n_requests))
        return f"{n_requests * paid.price.cost(mean):f}"

    return UsdRange(
        low=price(tokens.requests.low, tokens.input.low, tokens.output.low),
        expected=price(tokens.requests.expected, tokens.input.expected, tokens.output.expected),
        high=price(tokens.requests.high, tokens.input.high, tokens.output.high),
    )


def _seconds(n_requests: Range, known: Known, threads: int) -> Range:
    """Say how long the requests take, side by side and within the rates that the settings allow."""
    history, rpm = known.history, known.paid.model.limits.rpm
    each = _UNTIMED_S if history is None else tuple(history.mean_s * factor for factor in (_TIMED[0], 1.0, _TIMED[1]))
    counts = (n_requests.low, n_requests.expected, n_requests.high)
    low, expected, high = (
        max(60 * n / rpm if rpm else 0.0, math.ceil(n / threads) * one) for n, one in zip(counts, each, strict=True)
    )
    return Range(low=low, expected=expected, high=high)


def _basis(models: Sequence[Known]) -> str:
    known = [one.history.n_requests for one in models if one.history is not None]
    if models and all(one.is_exact for one in models):
        timed = (
            f"seconds as in the last {min(known):,} requests" if len(known) == len(models) else "the time is a guess"
        )
        return f"units counted as the service bills them; {timed}"
    climbs = "; how many answers climb is a guess until the sample is asked" if len(models) > 1 else ""
    if len(known) < len(models):
        model = "this model" if len(models) == 1 else "one of these models"
        return f"tokens counted with o200k_base; no request to {model} was ever timed, so the time is a guess{climbs}"
    these = "this model" if len(models) == 1 else "each of these models"
    return f"tokens and seconds as in the last {min(known):,} requests to {these}{climbs}"
