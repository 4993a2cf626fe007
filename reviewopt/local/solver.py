"""The arithmetic of training: sparse counts in, weights of a linear softmax out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.local.classifier import softmax
from reviewopt.local.features import Plan, counts, indices, segments
from reviewopt.text import grams

if TYPE_CHECKING:
    from scipy import sparse

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_BATCH_ROWS: Final = 8192
_COMMON_SHARE: Final = 2e-4  # chosen on validation: few English reviews, most German, Spanish and French are outside
_HISTORY: Final = 6  # vectors of the quasi-Newton step
_FEW_ROWS: Final = 2500  # their products with one another take 50 MB
_ROWS_A_LABEL: Final = 150  # 800 rows of 10 labels are solved sooner in their rows, 1,600 of 10 and 800 of 3 are not
_JITTER: Final = 1e-6  # of the mean square of a row: copies make the products singular


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Float weights over the buckets that training keeps.

    Attributes:
        bucket: int64 (n_features,), ascending.
        weight: float32 (n_features, n_labels), with the inverse document frequency folded in.
        bias: float32 (n_labels,).
        common: bool (n_features,), in at least one of 5,000 rows: rarer words are often of other languages.
    """

    bucket: I64
    weight: F32
    bias: F32
    common: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What the rows should be answered with.

    Attributes:
        share: float32 (n_rows, n_labels), rows summing to 1.
        weight: float32 (n_rows,).
        offset: float32 (n_rows, n_labels), scores that the rows have already: what is fitted is a correction of them,
            which the penalty keeps near 0. None: no scores.
    """

    share: F32
    weight: F32
    offset: F32 | None = None


def count_matrix(form: pl.Series, plan: Plan) -> sparse.csr_matrix[np.float32]:
    """Features of each row as counts over the square root of the row's features, (n_rows, n_buckets).

    The root keeps long reviews from being surer than short ones by their length alone; other powers were not measured.
    """
    from scipy import sparse

    parts = [_count_batch(form[i : i + _BATCH_ROWS], plan) for i in range(0, len(form), _BATCH_ROWS)]
    return sparse.csr_matrix(sparse.vstack(parts, format="csr"), dtype=np.float32)


def _count_batch(form: pl.Series, plan: Plan) -> sparse.csr_matrix[np.float32]:
    from scipy import sparse

    found = segments(grams.join(form), plan)
    rows = np.arange(len(form))
    row = np.concatenate([np.repeat(rows, segment.end - segment.first) for segment in found])
    bucket = np.concatenate([segment.bucket[indices(segment.first, segment.end)] for segment in found])
    cell, count = np.unique(row * plan.n_buckets + bucket, return_counts=True)
    row, bucket = np.divmod(cell, plan.n_buckets)
    value = count / np.sqrt(np.maximum(counts(found), 1))[row]
    shape = (len(form), plan.n_buckets)
    return sparse.csr_matrix((value.astype(np.float32), (row.astype(np.int32), bucket.astype(np.int32))), shape=shape)


def train(
    matrix: sparse.csr_matrix[np.float32],
    targets: Targets,
    *,
    strength: float,
    min_rows: int,
    max_features: int,
    n_steps: int,
    few_rows: bool = False,
) -> Linear:
    """Fit a linear softmax to counts scaled by inverse document frequency; L2 penalty 1 / (2 strength) on its weights.

    Args:
        matrix: (n_rows, n_buckets), from `count_matrix`.
        targets: for the same rows.
        strength: like C of scikit-learn.
        min_rows: a bucket in fewer rows is dropped.
        max_features: the most frequent buckets that are kept; bounds memory for many labels.
        n_steps: of L-BFGS at most.
        few_rows: up to rounding the same weights, sooner where a few rows have many labels.
    """
    from scipy import sparse

    n_rows = matrix.shape[0]
    rows_with = np.bincount(matrix.indices, minlength=matrix.shape[1])
    bucket = np.flatnonzero(rows_with >= min_rows)
    if len(bucket) > max_features:
        bucket = np.sort(bucket[np.argsort(-rows_with[bucket], kind="stable")[:max_features]])
    rarity = np.log((n_rows + 1) / (rows_with[bucket] + 1)).astype(np.float32)
    scaled = sparse.csr_matrix(matrix[:, bucket] @ sparse.diags_array(rarity, dtype=np.float32))
    in_rows = few_rows and 0 < n_rows < min(_FEW_ROWS, _ROWS_A_LABEL * targets.share.shape[1], len(bucket))
    solve = _minimise_in_rows if in_rows else _minimise
    weight, bias = solve(scaled, targets, strength=strength, n_steps=n_steps)
    common = rows_with[bucket] >= n_rows * _COMMON_SHARE
    return Linear(bucket.astype(np.int64), weight * rarity[:, None], bias, common)


def _minimise_in_rows(
    matrix: sparse.csr_matrix[np.float32], targets: Targets, *, strength: float, n_steps: int
) -> tuple[F32, F32]:
    """Minimise with as many weights a label as there are rows, which are far fewer than features.

    The best weights are sums of rows (the representer theorem: Schoelkopf, Herbrich and Smola, COLT 2001). With
    matrix @ matrix.T = L @ L.T, rows L and weights V give the scores and the penalty of matrix.T @ inv(L.T) @ V.
    """
    from scipy.linalg import solve_triangular

    gram: F64 = (matrix @ matrix.T).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += _JITTER * max(float(np.trace(gram)) / len(gram), 1e-12)
    lower = np.linalg.cholesky(gram)
    weight, bias = _minimise(lower.astype(np.float32), targets, strength=strength, n_steps=n_steps)
    along: F32 = (matrix.T @ solve_triangular(lower.T, weight.astype(np.float64))).astype(np.float32)
    return along, bias


def _minimise(
    matrix: sparse.csr_matrix[np.float32] | F32, targets: Targets, *, strength: float, n_steps: int
) -> tuple[F32, F32]:
    from scipy.optimize import fmin_l_bfgs_b

    n_features, n_labels = matrix.shape[1], targets.share.shape[1]
    n_weights = n_features * n_labels
    start = np.zeros(n_weights + n_labels)
    loss = _loss(matrix, targets, strength)
    found, _, _ = fmin_l_bfgs_b(
        loss, start, m=_HISTORY, maxiter=n_steps, factr=1e9, pgtol=1e-5 * float(targets.weight.sum()) ** 0.5
    )
    weight = found[:n_weights].reshape(n_features, n_labels).astype(np.float32)
    return weight, found[n_weights:].astype(np.float32)


def _loss(
    matrix: sparse.csr_matrix[np.float32] | F32, targets: Targets, strength: float
) -> Callable[[F64], tuple[float, F64]]:
    """Penalised cross-entropy and its gradient as a function of all weights and biases in one vector."""
    n_features, n_labels = matrix.shape[1], targets.share.shape[1]
    n_weights = n_features * n_labels
    turned: Any = np.ascontiguousarray(matrix.T) if isinstance(matrix, np.ndarray) else matrix.T.tocsr()
    row_weight = targets.weight[:, None]

    def loss(point: F64) -> tuple[float, F64]:
        weight = point[:n_weights].reshape(n_features, n_labels)
        scores: F32 = matrix @ weight.astype(np.float32) + point[n_weights:].astype(np.float32)
        if targets.offset is not None:
            scores += targets.offset
        probability = softmax(scores)
        wrong = row_weight * (probability - targets.share)
        surprise = row_weight * targets.share * np.log(np.maximum(probability, np.float32(1e-30)))
        gradient = np.concatenate([(turned @ wrong + weight / strength).ravel(), wrong.sum(axis=0, dtype=np.float64)])
        penalty = float(np.square(weight).sum()) / (2 * strength)
        return penalty - float(surprise.sum(dtype=np.float64)), gradient

    return loss
