"""From the scores of held-out reviews to the rules that turn a score into a label and a probability."""

from __future__ import annotations

import math
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
_PRIOR: Final = 2.0  # pulls slopes to their mean and offsets to the bias, which few held-out reviews of a label need


def calibrate(held: Held, bias: F32) -> Calibration:
    """Choose every rule on held-out reviews.

    Args:
        held: scores of reviews that the weights did not see.
        bias: float32 (n_labels,), of the trained model.
    """
    bias = bias - bias.mean()
    slope, offset = _scaled(held, bias)
    decision: F32 = (offset / slope.mean()).round(4)  # about the most probable label
    if held.scores.shape[1] <= _MAX_TUNED_LABELS and len(held.label) >= _MIN_TUNED_ROWS:
        decision = _bagged(held, bias)
    chosen = np.argmax(held.scores + decision, axis=1)
    right = chosen == held.label
    said = np.take_along_axis(softmax(held.scores * slope + offset), chosen[:, None], axis=1)[:, 0]
    n_labels = held.scores.shape[1]
    said_at, right_at = _monotone(said, right, held.weight, 1 / n_labels)
    found = [Calibration(decision, slope, offset, said_at, right_at, pull, _outside_below(held)) for pull in _PULLS]
    losses = [
        _log_loss(confidence(said, held.known, held.n_known, rules, n_labels), right, held.weight) for rules in found
    ]
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


def _scaled(held: Held, bias: F32) -> tuple[F32, F32]:
    """Slope and offset of each label by regularised log-loss."""
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
        drift = np.concatenate([point[:n_labels] - point[:n_labels].mean(), point[n_labels:] - bias])
        gradient = np.concatenate([(wrong * scores).sum(axis=0), wrong.sum(axis=0)]) + _PRIOR * drift
        return float(_PRIOR / 2 * (drift @ drift) - (weight * target * log_share).sum()), gradient

    found, _, _ = fmin_l_bfgs_b(loss, start, maxiter=200)
    fitted: F32 = found.astype(np.float32).round(4)
    return fitted[:n_labels], fitted[n_labels:]


def _monotone(said: F32, right: npt.NDArray[np.bool_], weight: F64, guess: float) -> tuple[F32, F32]:
    """Points of a rising map from said to true probability, float32 (n_points,) each.

    Means of bins of equally many reviews, made to rise by pooling neighbours (isotonic regression; Zadrozny and Elkan,
    "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002), above the point where
    both are a guess.
    """
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
    points = np.array([(guess, guess), *(point[1:] for point in pooled)], np.float32).round(5)
    if (points[0] >= points[1]).any():
        points = points[1:]
    return np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1])


def _outside_below(held: Held) -> float:
    """The share of known words that all but a few held-out reviews of every table reach."""
    groups = [held.known[held.group == group] for group in np.unique(held.group)]
    reached = min(float(np.quantile(known, _LOST, method="lower")) for known in groups)
    return math.floor(min(reached, _MAX_OUTSIDE) * 1000) / 1000  # down, so that the reviews at the limit stay inside


def _log_loss(share: F32, right: npt.NDArray[np.bool_], weight: F64) -> float:
    share = np.clip(share, 1e-4, 1 - 1e-4)
    return float(-(weight * np.log(np.where(right, share, 1 - share))).sum() / weight.sum())
