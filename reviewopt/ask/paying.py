"""What requests cost: the worst case reserved before, the real price settled after, and each review's share of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from reviewopt.ask.again import Pack
from reviewopt.budget import Asked, Purse, Refusal, Release, Reservation, Settlement, Wanted
from reviewopt.data import Question, Reply, Request, Usage
from reviewopt.prices import Price

# What a vendor wraps around a request's text (roles, ends of messages) is far below this.
_WRAPPING_TOKENS: Final = 64
# A review's weight in a request's price beside its text: its tags, its id in the reply.
_TOKENS_A_BLOCK: Final = 24
_NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request under way; `form` counts the changes of form before it, `at_s` is when it was sent."""

    pack: Pack
    request: Request
    held: Reservation
    form: int
    at_s: float


class Paying:
    """Pays for the requests of a run out of its purse, and keeps what each question has cost so far.

    `no_reply_usd` stays reserved for requests of which nobody knows what they cost: no reply came, or only a part of
    one. `cache_saved_usd` is what the vendor's prompt cache saved, None while no reply told of it.
    """

    def __init__(self, price: Price, purse: Purse) -> None:
        self._price, self._purse = price, purse
        self._cost: dict[int, Decimal] = {}
        self.spent_usd = _NOTHING
        self.no_reply_usd = _NOTHING
        self.cache_saved_usd: Decimal | None = None
        self.usage = Usage()

    def reserve(self, requests: Sequence[Request]) -> list[Reservation | Refusal]:
        """Reserve the worst case of requests: a token for each byte sent, or units, and the longest reply allowed."""
        return self._purse.reserve(
            [
                Wanted(
                    most_usd=self._price.most(_most_input(one), one.most_output_tokens),
                    n_reviews=len(one.questions),
                    shares=_shares(one),
                    body_bytes=len(one.body),
                )
                for one in requests
            ]
        )

    def settle(self, came: Iterable[tuple[Sent, Reply]]) -> None:
        """Record what requests cost; what was surely not charged is given back, what is not known stays reserved."""
        settled: list[Settlement] = []
        released: list[Release] = []
        of: list[Sent] = []
        for sent, reply in came:
            if reply.usage is None and not reply.is_charged and reply.outcome != "no_reply":
                released.append(
                    Release(
                        reservation=sent.held, outcome=reply.outcome, seconds=reply.seconds, request_id=reply.request_id
                    )
                )
                continue
            usd = None if reply.usage is None else self._price.cost(reply.usage)
            if usd is None and (reply.outcome == "no_reply" or reply.is_cut):
                self.no_reply_usd += sent.held.usd
            self._count(reply.usage)
            of.append(sent)
            settled.append(
                Settlement(
                    reservation=sent.held,
                    usd=usd,
                    outcome=reply.outcome,
                    seconds=reply.seconds,
                    usage=reply.usage,
                    request_id=reply.request_id,
                    questions=[_asked(one, sent.request, reply) for one in sent.request.questions],
                )
            )
        self._purse.release(released)
        for sent, costs in zip(of, self._purse.settle(settled), strict=True):
            for question, usd in zip(sent.request.questions, costs, strict=True):
                self._cost[question.at] = self._cost.get(question.at, _NOTHING) + usd
                self.spent_usd += usd

    def cost_of(self, at: int) -> Decimal:
        """Return what the question at this place of the batch has cost so far, in all its requests."""
        return self._cost.get(at, _NOTHING)

    def forget(self, done: Iterable[int]) -> None:
        """Drop the costs of questions that are done."""
        for at in done:
            self._cost.pop(at, None)

    @staticmethod
    def stopped_by(
        refusal: Refusal, questions: Sequence[Question]
    ) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
        """Part those questions whom a budget stops from those whom it does not."""
        kind, _, tenant = refusal.budget.partition(" ")
        if kind != "tenant":
            return tuple(questions), ()
        stopped = tuple(one for one in questions if (one.tenant or "") == tenant)
        return stopped, tuple(one for one in questions if (one.tenant or "") != tenant)

    def _count(self, usage: Usage | None) -> None:
        if usage is not None:
            if usage.says_cached:
                self.cache_saved_usd = (self.cache_saved_usd or _NOTHING) + self._price.saved_by_cache(usage)
            have = self.usage
            self.usage = Usage(
                input=have.input + usage.input,
                cached=have.cached + usage.cached,
                cache_write=have.cache_write + usage.cache_write,
                output=have.output + usage.output,
                reasoning=have.reasoning + usage.reasoning,
            )


def _most_input(request: Request) -> int:
    units = request.most_input_units
    return len(request.body) + _WRAPPING_TOKENS if units is None else units


def _weight(question: Question, request: Request) -> int:
    """Return a review's share of a request's price; where units are billed, nothing surrounds its text."""
    return question.n_tokens + (_TOKENS_A_BLOCK if request.most_input_units is None else 0)


def _shares(request: Request) -> dict[str, int]:
    shares: dict[str, int] = {}
    for one in request.questions:
        shares[one.tenant or ""] = shares.get(one.tenant or "", 0) + _weight(one, request)
    return shares


def _asked(question: Question, request: Request, reply: Reply) -> Asked:
    return Asked(
        review_id=question.review_id or "",
        key=question.key,
        n_tokens=_weight(question, request),
        outcome=reply.outcome,
        tenant=question.tenant or "",
    )
