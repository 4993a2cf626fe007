"""What requests of a task look like before they are sent, and what one request a row would cost."""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import services
from reviewopt.data import Question, Usage
from reviewopt.models.protocol import Limits, Model
from reviewopt.prices import Price
from reviewopt.text.prompt_copy import shorten

if TYPE_CHECKING:
    import tiktoken

I64 = npt.NDArray[np.int64]

# Reviews that a request is composed of to learn what each adds to it.
_MANY: Final = 25
# English reviews take about four bytes a token; used until texts of this run were counted.
_BYTES_A_TOKEN: Final = 4.0
_NO_BOUND: Final = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a request takes beside the text of its reviews: once, and for each review.

    Tokens are none where characters of the texts are billed.
    """

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
    if model.limits.billed_characters:
        tokens_one = tokens_many = 0
    tokens_each, bytes_each = -(-(tokens_many - tokens_one) // (_MANY - 1)), -(-(bytes_many - bytes_one) // (_MANY - 1))
    return Form(
        tokens=max(0, tokens_one - tokens_each - model.limits.padding_tokens),
        tokens_a_review=tokens_each,
        bytes=max(0, bytes_one - bytes_each),
        bytes_a_review=bytes_each,
    )


def measured(
    text: pl.Series, limits: Limits, *, most_tokens: int, encoding: tiktoken.Encoding
) -> tuple[pl.Series, I64, npt.NDArray[np.bool_]]:
    """Make texts as short as a model takes them, and count what each is billed: tokens, or units of characters.

    Args:
        text: String (n,).
        limits: the model's.
        most_tokens: of a text, where tokens are billed.
        encoding: what tokens are.

    Returns:
        The texts, their tokens or units int64 (n,), and which were shortened, bool (n,).
    """
    if not limits.billed_characters:
        texts, n_tokens, is_cut = shorten(text.to_list(), most_tokens=most_tokens, encoding=encoding)
        return pl.Series("text", texts, pl.String), n_tokens, is_cut
    kept = text.str.slice(0, limits.most_review_characters) if limits.most_review_characters else text
    if most := limits.most_review_bytes:
        at = (kept.str.len_bytes() > most).arg_true()
        cut = [one.encode()[:most].decode("utf-8", "ignore") for one in kept.gather(at)]
        kept = kept.clone().scatter(at, pl.Series(cut, dtype=pl.String)) if cut else kept
    n_characters = kept.str.len_chars().to_numpy().astype(np.int64)
    return kept, n_units(n_characters, limits), (kept.str.len_bytes() < text.str.len_bytes()).to_numpy()


def n_units(n_characters: I64, limits: Limits) -> I64:
    """Return what texts of so many characters are billed, in the units of a model that bills these, int64 (n,)."""
    return services.units(n_characters, unit=limits.billed_characters, least=limits.least_units)


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

    def sizes(self, reviews: pl.DataFrame) -> I64:
        """Return what `usd` takes of each review, int64 (n_rows,): the bytes of title and text, or their units.

        At most as much as of a review that is shortened, about.
        """
        limits, title, text = self._model.limits, pl.col("title"), pl.col("text")
        if not limits.billed_characters:
            n_bytes = reviews.select(pl.sum_horizontal(pl.col("title", "text").str.len_bytes())).to_series()
            most_bytes = int(self._most_review_tokens * self._bytes_a_token)
            capped: I64 = np.minimum(n_bytes.to_numpy().astype(np.int64), most_bytes)
            return capped
        line_end = (title.str.len_chars() > 0).fill_null(value=False)
        n_characters = pl.sum_horizontal(title.str.len_chars(), line_end, text.str.len_chars())
        most = min(limits.most_review_bytes or _NO_BOUND, limits.most_review_characters or _NO_BOUND)
        return n_units(np.minimum(reviews.select(n_characters).to_series().to_numpy().astype(np.int64), most), limits)

    def usd(self, n_rows: int, n_sizes: int) -> Decimal:
        """Return what rows would cost whose `sizes` are so much in all, to twelve places."""
        if not n_rows:
            return Decimal(0)
        if self._model.limits.billed_characters:  # units have one rate, so that their sum is priced right
            return self._price.cost(Usage(input=n_sizes))
        text = n_sizes / n_rows / self._bytes_a_token
        each = Usage(
            input=round(self._form.tokens + self._form.tokens_a_review + text),
            output=round(self._model.output_tokens_a_review),
        )
        return n_rows * self._price.cost(each)

    @property
    def _bytes_a_token(self) -> float:
        return self._n_bytes / self._n_tokens if self._n_tokens else _BYTES_A_TOKEN
