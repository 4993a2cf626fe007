"""Which reviews share a request: packs sized by complexity and tokens. Pure.

Stands between the cache, which has said what must really be asked, and the requests. Packs are made as they are taken,
so that a run that stops early has not planned the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

_MIDDLE: Final = 0.5  # the complexity that counts as one review
_MOST_REVIEWS_A_SIZE: Final = 2.0  # the simplest reviews make packs of up to twice the size
_SLACK: Final = 1e-6  # of a review: sums of weights are floating, and 25 weights of 1 fit into 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a pack may hold.

    Attributes:
        size: reviews of middling complexity in a pack.
        fixed: exactly so many reviews instead, as far as the tokens allow; 0: by complexity.
        most: reviews in any pack.
        least: reviews in a pack of only the most complex ones, where the tokens allow it.
        sizes: how many reviews a pack by complexity may hold, ascending, so that few schemas occur and a vendor's
            prompt cache knows them; what is left of a tenant may make packs of any size. Empty: any.
        most_input_tokens: tokens of the reviews of a pack, without the instructions.
        most_output_tokens: tokens of the reply.
        output_tokens_a_review: tokens of one review's answer.
    """

    size: int = 25
    fixed: int = 0
    most: int = 500
    least: int = 10
    sizes: tuple[int, ...] = ()
    most_input_tokens: int
    most_output_tokens: int
    output_tokens_a_review: float

    @property
    def most_reviews(self) -> int:
        """Reviews that any pack may hold, by count and by the length of the reply; at least one."""
        by_reply = (
            self.most_output_tokens / self.output_tokens_a_review if self.output_tokens_a_review > 0 else math.inf
        )
        return int(max(1, min(self.fixed or self.most, self.most, by_reply + _SLACK)))


def load(complexity: npt.NDArray[np.floating], bounds: Bounds) -> F64:
    """Weigh each review by what it takes of a pack, float64 (n,): a pack is full at a sum of `bounds.size`.

    A review of complexity .5 weighs 1, the simplest 1/2 (packs of twice the size), the most complex `size / least`
    (packs of `least`); between them the weight grows geometrically. That the ends lie there is chosen, not measured.

    Args:
        complexity: float (n,) in [0, 1].
        bounds: its `size` and `least`; a `least` above `size` counts as `size`.
    """
    heaviest = max(1.0, bounds.size / max(1, bounds.least))
    from_middle = (np.asarray(complexity, np.float64) - _MIDDLE) / _MIDDLE
    return np.where(from_middle < 0, _MOST_REVIEWS_A_SIZE**from_middle, heaviest**from_middle)


def packs(order: I64, n_tokens: I64, weight: F64, tenant_code: I64 | None, bounds: Bounds) -> Iterator[I64]:
    """Yield packs of positions, each position of `order` in exactly one pack.

    Packs are filled in the given order; a tenant's last two share what is left: 26 reviews at a size of 25 make two of
    13. With a `fixed` size only the last is smaller. A review whose tokens exceed the bounds alone makes a pack of one.

    Args:
        order: int64 (n_asked,): distinct positions in the arrays below, in the order in which they are packed.
        n_tokens: int64 (n,): tokens of each review in the prompt, with what surrounds it.
        weight: float64 (n,), positive: from `load`.
        tenant_code: int64 (n,): equal for reviews that may share a pack; None where all may. Packs come tenant by
            tenant, in the order in which `order` meets them first.
        bounds: what a pack may hold.
    """
    for group in _by_tenant(order, tenant_code):
        yield from _filled(group, n_tokens[group], weight[group], bounds)


def shuffled(n: int, seed: int) -> I64:
    """Return the positions 0 to n - 1 in a random order, int64 (n,), the same for the same seed.

    Never packed as they came: tables are often sorted by rating, and a pack of one label biases a model's answers.
    """
    return np.random.default_rng(seed).permutation(n).astype(np.int64)


def _by_tenant(order: I64, tenant_code: I64 | None) -> Iterator[I64]:
    if tenant_code is None:
        yield order
        return
    _, first, tenant = np.unique(tenant_code[order], return_index=True, return_inverse=True)
    rank = first[tenant]  # where a tenant is met first, for each of its reviews
    by_tenant = np.argsort(rank, kind="stable")
    edges = np.flatnonzero(np.diff(rank[by_tenant])) + 1
    yield from np.split(order[by_tenant], edges)


def _filled(group: I64, n_tokens: I64, weight: F64, bounds: Bounds) -> Iterator[I64]:
    """Cut a group into packs by its running sums: a few look-ups a pack, whatever it holds."""
    tokens = np.concatenate(([0], np.cumsum(n_tokens)))
    weights = np.concatenate(([0.0], np.cumsum(weight)))
    start, n = 0, len(group)
    while start < n:
        end = _end(start, tokens, weights, bounds)
        if not bounds.fixed and end < n and _end(end, tokens, weights, bounds) == n:
            end = _middle(start, end, tokens, weights, bounds)
        yield group[start:end]
        start = end


def _end(start: int, tokens: I64, weights: F64, bounds: Bounds) -> int:
    """Where a pack that begins at `start` is full; it holds one review at least."""
    end = min(len(tokens) - 1, start + bounds.most_reviews)
    end = min(end, int(np.searchsorted(tokens, tokens[start] + bounds.most_input_tokens, side="right")) - 1)
    if not bounds.fixed:
        end = min(end, int(np.searchsorted(weights, weights[start] + bounds.size + _SLACK, side="right")) - 1)
        if end < len(tokens) - 1:
            end = start + max((size for size in bounds.sizes if size <= end - start), default=end - start)
    return max(end, start + 1)


def _middle(start: int, end: int, tokens: I64, weights: F64, bounds: Bounds) -> int:
    """Where the last two packs are equally heavy, as near as both stay within their bounds."""
    middle = int(np.searchsorted(weights, (weights[start] + weights[-1]) / 2))
    first = int(np.searchsorted(tokens, tokens[-1] - bounds.most_input_tokens))
    return min(max(middle, first, len(tokens) - 1 - bounds.most_reviews), end)
