"""From the scores of held-out reviews to the rules that turn a score into a label and a probability."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from reviewopt.local.classifier import Calibration, confidence, softmax
from reviewopt.local.held import Held, picked

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

_PULLS: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)  # in words
_STEPS: Final = (0.4, 0.2, 0.1, 0.05)
_MAX_TUNED_LABELS: Final = 12
_MIN_TUNED_ROWS: Final = 1000  # fewer held-out rows would tune to noise
_LOST: Final = 0.01  # share of the held-out reviews of a table that may count as outside the model's languages
_MAX_OUTSIDE: Final = 0.75
_RESAMPLES: Final = 10
_ROWS_A_BIN: Final = 60
_MAX_BINS: Final = 40
_ROWS_AS_SAID: Final = 10


@dataclass(frozen=True, slots=True)
class Prior:
    """How strongly slopes and offsets are pulled to where they start, in the unit of the log-loss of a review.

    Attributes:
        level: pulls the mean of the slopes to 1.
        spread: pulls the slopes to their mean.
        offset: pulls the offsets to the bias.
    """

    level: float
    spread: float
    offset: float


_FREE: Final = Prior(0.0, 2.0, 2.0)  # few held-out reviews of a label need some


def calibrate(held: Held, bias: F32) -> Calibration:
    """Choose every rule on held-out reviews.

    Args:
        held: scores of reviews that the weights did not see.
        bias: float32 (n_labels,), of the trained model.
    """
    bias = bias - bias.mean()
    slope, offset = scaled(held, bias, _FREE)
    decision: F32 = (offset / slope.mean()).round(4)  # about the most probable label
    if held.scores.shape[1] <= _MAX_TUNED_LABELS and len(held.label) >= _MIN_TUNED_ROWS:
        decision = _bagged(held, bias)
    chosen = np.argmax(held.scores + decision, axis=1)
    right = chosen == held.label
    said = np.take_along_axis(softmax(held.scores * slope + offset), chosen[:, None], axis=1)[:, 0]
    n_labels = held.scores.shape[1]
    said_at, right_at = _monotone(said, right, held.weight, 1 / n_labels)
    return _pulled(held, said, right, Calibration(decision, slope, offset, said_at, right_at, 1.0, 1.0))


def shrunk(held: Held, prior: Prior) -> Calibration:
    """Choose rules on few held-out reviews whose scores are log-probabilities already, up to what is left to correct.

    The label is the most probable one. The line from its probability to the confidence rises all the way, unlike the
    one of `calibrate`, which is level beyond its outermost bins: that would tie the surest reviews, which then could
    not be ranked.
    """
    n_labels = held.scores.shape[1]
    slope, offset = scaled(held, np.zeros(n_labels, np.float32), prior)
    probability = softmax(held.scores * slope + offset)
    said, right = probability.max(axis=1), np.argmax(probability, axis=1) == held.label
    said_at, right_at = _rising(said, right, held.weight, 1 / n_labels)
    return _pulled(held, said, right, Calibration(offset, slope, offset, said_at, right_at, 1.0, 1.0))


def _pulled(held: Held, said: F32, right: npt.NDArray[np.bool_], rules: Calibration) -> Calibration:
    """The rules with `outside_below`, and with the `pull` of the least log-loss."""
    within = replace(rules, outside_below=_outside_below(held))
    found = [replace(within, pull=pull) for pull in _PULLS]
    n_labels = held.scores.shape[1]
    losses = [_log_loss(confidence(said, held.known, held.n_known, one, n_labels), right, held.weight) for one in found]
    return found[int(np.argmin(losses))]


def merit(held: Held, decision: F32) -> float:
    """Mean of accuracy and macro-F1, averaged over the groups by weight; what the decision is tuned for."""
    chosen = np.argmax(held.scores + decision, axis=1)
    n_labels = held.scores.shape[1]
    cell = (held.group * n_labels + held.label) * n_labels + chosen
    n_groups = int(held.group.max()) + 1
    tables = np.bincount(cell, held.weight, n_groups * n_labels**2).reshape(n_groups, n_labels, n_labels)
    right = np.diagonal(tables, axis1=1, axis2=2)
    total = tables.sum(axis=(1, 2))
    either = tables.sum(axis=1) + tables.sum(axis=2)
    here = tables.sum(axis=2) > 0
    f1 = np.where(here, 2 * right / np.maximum(either, 1e-12), 0).sum(axis=1) / np.maximum(here.sum(axis=1), 1)
    value = (right.sum(axis=1) / np.maximum(total, 1e-12) + f1) / 2
    return float(np.average(value, weights=total))


def _bagged(held: Held, bias: F32) -> F32:
    """Mean of the decisions tuned on bootstrap resamples (Breiman, "Bagging predictors", 1996).

    One tuning follows the noise: on halves of the validation part, bagging gave the better merit on the other half.
    """
    rng = np.random.default_rng(0)
    resamples = [rng.integers(0, len(held.label), len(held.label)) for _ in range(_RESAMPLES)]
    mean: F32 = np.mean([_tuned(picked(held, rows), bias) for rows in resamples], axis=0)
    return mean.astype(np.float32).round(4)


def _tuned(held: Held, bias: F32) -> F32:
    """Coordinate ascent on `merit`, from coarse steps to fine ones."""
    best, value = bias.copy(), merit(held, bias)
    for step in _STEPS:
        for _ in range(3):
            for label in range(len(bias)):
                for shift in (-step, step):
                    trial = best.copy()
                    trial[label] += shift
                    trial_value = merit(held, trial)
                    if trial_value > value:
                        best, value = trial, trial_value
    tuned: F32 = (best - best.mean()).astype(np.float32).round(4)
    return tuned


def scaled(held: Held, bias: F32, prior: Prior) -> tuple[F32, F32]:
    """Slope and offset of each label by regularised log-loss, float32 (n_labels,) each."""
    from scipy.optimize import fmin_l_bfgs_b

    n_labels = len(bias)
    target = np.eye(n_labels)[held.label]
    weight = (held.weight * len(held.weight) / held.weight.sum())[:, None]
    scores = held.scores.astype(np.float64)
    start = np.concatenate([np.ones(n_labels), bias.astype(np.float64)])

    def loss(point: F64) -> tuple[float, F64]:
        raised = scores * point[:n_labels] + point[n_labels:]
        raised -= raised.max(axis=1, keepdims=True)
        log_share = raised - np.log(np.exp(raised).sum(axis=1, keepdims=True))
        wrong = weight * (np.exp(log_share) - target)
        mean = point[:n_labels].mean()
        level, spread, drift = mean - 1, point[:n_labels] - mean, point[n_labels:] - bias
        pull = np.concatenate([prior.spread * spread + prior.level * level / n_labels, prior.offset * drift])
        gradient = np.concatenate([(wrong * scores).sum(axis=0), wrong.sum(axis=0)]) + pull
        penalty = prior.level * level**2 + prior.spread * (spread @ spread) + prior.offset * (drift @ drift)
        return float(penalty / 2 - (weight * target * log_share).sum()), gradient

    found, _, _ = fmin_l_bfgs_b(loss, start, maxiter=200)
    fitted: F32 = found.astype(np.float32).round(4)
    return fitted[:n_labels], fitted[n_labels:]


def _monotone(said: F32, right: npt.NDArray[np.bool_], weight: F64, guess: float) -> tuple[F32, F32]:
    """Points of a rising map from said to true probability, float32 (n_points,) each.

    Means of bins of equally many reviews, made to rise by pooling neighbours (isotonic regression; Zadrozny and Elkan,
    "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002), above the point where
    both are a guess.
    """
    points = np.array([(guess, guess), *_pooled(said, right.astype(np.float64), weight)], np.float32).round(5)
    if (points[0] >= points[1]).any():
        points = points[1:]
    return np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1])


def _rising(said: F32, right: npt.NDArray[np.bool_], weight: F64, guess: float) -> tuple[F32, F32]:
    """Points of a map as `_monotone`'s that is level nowhere from a guess to certainty, float32 (n_points,) each.

    Each bin counts as if `_ROWS_AS_SAID` more reviews in it had been right as often as was said.
    """
    share = _ROWS_AS_SAID / (_ROWS_AS_SAID + min(_ROWS_A_BIN, len(said) / 2))
    points = _pooled(said, (1 - share) * right + share * said, weight)
    (x_first, y_first), (x_last, y_last) = points[0], points[-1]
    if x_first > guess:
        points.insert(0, (guess, guess if y_first > guess else y_first / 2))
    if x_last < 1:
        points.append((1.0, (1 + y_last) / 2))
    said_at, right_at = np.array(points, np.float32).T
    return np.ascontiguousarray(said_at), np.ascontiguousarray(right_at)


def _pooled(said: F32, right: F64, weight: F64) -> list[tuple[float, float]]:
    """Mean said and mean right of bins of equally many reviews, pooled until both rise."""
    order = np.argsort(said, kind="stable")
    n_bins = int(np.clip(len(said) // _ROWS_A_BIN, 2, _MAX_BINS))
    pooled: list[tuple[float, float, float]] = []  # weight, said, right
    for rows in np.array_split(order, n_bins):
        mass = float(weight[rows].sum()) + 1e-12
        pooled.append((mass, float(weight[rows] @ said[rows]) / mass, float(weight[rows] @ right[rows]) / mass))
        while len(pooled) > 1 and pooled[-1][2] <= pooled[-2][2]:
            (mass, x, y), (mass_2, x_2, y_2) = pooled.pop(), pooled.pop()
            both = mass + mass_2
            pooled.append((both, (mass * x + mass_2 * x_2) / both, (mass * y + mass_2 * y_2) / both))
    return [(x, y) for _, x, y in pooled]


def _outside_below(held: Held) -> float:
    """The share of known words that all but a few held-out reviews of every table reach."""
    groups = [held.known[held.group == group] for group in np.unique(held.group)]
    reached = min(float(np.quantile(known, _LOST, method="lower")) for known in groups)
    return math.floor(min(reached, _MAX_OUTSIDE) * 1000) / 1000  # down, so that the reviews at the limit stay inside


def _log_loss(share: F32, right: npt.NDArray[np.bool_], weight: F64) -> float:
    share = np.clip(share, 1e-4, 1 - 1e-4)
    return float(-(weight * np.log(np.where(right, share, 1 - share))).sum() / weight.sum())
