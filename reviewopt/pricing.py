"""What requests of a task look like before they are sent, and what one request a row would cost."""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from reviewopt.data import Question, Usage
from reviewopt.models.protocol import Model
from reviewopt.prices import Price

if TYPE_CHECKING:
    import tiktoken

# Reviews that a request is composed of to learn what each adds to it.
_MANY: Final = 25
# English reviews take about four bytes a token; used until texts of this run were counted.
_BYTES_A_TOKEN: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a request takes beside the text of its reviews: once, and for each review."""

    tokens: int
    tokens_a_review: int
    bytes: int
    bytes_a_review: int


def form_of(model: Model, encoding: tiktoken.Encoding) -> Form:
    """Compose empty requests to see what they take.

    Padding is left out: it is there only where it makes a request cheaper than without, and no naive run would have it.
    """

    def sizes(n_reviews: int) -> tuple[int, int]:
        empty = [Question(at=at, text="", n_tokens=0) for at in range(n_reviews)]
        body = model.compose(empty, random.Random(0)).body  # noqa: S311 - nothing is sent
        return len(encoding.encode_ordinary(body.decode())), len(body)

    (tokens_one, bytes_one), (tokens_many, bytes_many) = sizes(1), sizes(_MANY)
    tokens_each, bytes_each = -(-(tokens_many - tokens_one) // (_MANY - 1)), -(-(bytes_many - bytes_one) // (_MANY - 1))
    return Form(
        tokens=max(0, tokens_one - tokens_each - model.limits.padding_tokens),
        tokens_a_review=tokens_each,
        bytes=max(0, bytes_one - bytes_each),
        bytes_a_review=bytes_each,
    )


def text_room(model: Model) -> int:
    """Return how many tokens of reviews a request has room for, whatever the task's instructions; int > 0."""
    limits = model.limits
    return max(
        limits.context_tokens - limits.most_output_tokens - model.overhead_bytes // 2, limits.context_tokens // 8
    )


class Naive:
    """Estimates the naive bill: each row alone in a request, at the same model's price."""

    def __init__(self, model: Model, price: Price, form: Form, *, most_review_tokens: int) -> None:
        self._model, self._price, self._form = model, price, form
        self._most_review_tokens = most_review_tokens
        self._n_bytes = self._n_tokens = 0

    def learn(self, n_bytes: int, n_tokens: int) -> None:
        """Take note of texts whose tokens were counted."""
        self._n_bytes += n_bytes
        self._n_tokens += n_tokens

    @property
    def most_bytes(self) -> int:
        """The bytes of a review above which it would be shortened, about."""
        return int(self._most_review_tokens * self._bytes_a_token)

    def usd(self, n_rows: int, n_bytes: int) -> Decimal:
        """Return what rows of `n_bytes` of text in all would cost, to twelve places."""
        if not n_rows:
            return Decimal(0)
        text = n_bytes / n_rows / self._bytes_a_token
        each = Usage(
            input=round(self._form.tokens + self._form.tokens_a_review + text),
            output=round(self._model.output_tokens_a_review),
        )
        return n_rows * self._price.cost(each)

    @property
    def _bytes_a_token(self) -> float:
        return self._n_bytes / self._n_tokens if self._n_tokens else _BYTES_A_TOKEN
