"""Is a chunk like the sample that the promise was tested on? Label mix, confidence and length, chunk by chunk. Pure.

A table is rarely shuffled: a sorted one, or one with a burst of another product, has chunks that no sample of the whole
looks like. The promise over the whole table holds all the same, because its rows were drawn at random; what drifts is
said, so that nobody takes the promise for one about every part.

Copies of a question come in bursts and are no independent draws. Each test therefore works with the number of
independent rows that would vary as much: (sum of n_q)^2 / sum of n_q^2 for n_q rows of question q (Kish, Survey
Sampling, 1965), or fewer where one label or the short texts have more copies than the others. A burst of copies that
stands in the chunk alone is no drift, however many rows it has: it is one draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from reviewopt.certificate import Drift

Floats = npt.NDArray[np.float64]

LABEL_MIX: Final = "label_mix"
CONFIDENCE: Final = "confidence"
LENGTH: Final = "length"
CHI_SQUARE: Final = "chi-square (likelihood ratio)"
HOEFFDING: Final = "Hoeffding"
CHERNOFF: Final = "Chernoff"
KOLMOGOROV_SMIRNOV: Final = "Kolmogorov-Smirnov"
_N_MEASURES: Final = 3
FEWEST_ROWS: Final = 50
# Of the level, for the chunks that were expected; the rest is kept for chunks beyond them.
EXPECTED_SHARE: Final = 0.9
# Expected rows of a label, below which it is merged with others. The usual five (Cochran, Biometrics 10:417, 1954) are
# for levels near .05. Summed over all outcomes of two binomial samples (100 to 50,000 rows), Pearson's statistic is
# called unlike up to 13.9 times as often as a level of 1e-5 allows at five; the likelihood ratio at twenty 1.3 times.
_FEWEST_EXPECTED: Final = 20.0
_WORDS: Final = {LABEL_MIX: "the mix of labels", CONFIDENCE: "the confidence", LENGTH: "the length of the texts"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Rows with a text: uint8 label codes, float32 confidences, lengths in bytes, and question ids; (n,) each.

    A confidence of NaN is not known; a code of no label is a row without an answer. Copies share their question's id.
    """

    label: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    length: npt.NDArray[np.int64]
    question: npt.NDArray[np.int64] | npt.NDArray[np.uint64]


class Spread(NamedTuple):
    """Distinct values in ascending order, (n,), and the share of the rows up to each, (n + 1,), 0 before the first.

    `n_alike` is how many independent rows vary as much as these.
    """

    values: npt.NDArray[Any]
    share: Floats
    n_alike: float


class Mix(NamedTuple):
    """The labels of some rows: rows, and the sum of the squared rows of each question, (n_labels,) each.

    `most_copies` are the rows of the question that has most; `n_even` is how many questions with equally many copies
    have a sum as skewed: 1 where one question decides it.
    """

    rows: Floats
    squares: Floats
    most_copies: float
    n_even: float


class _Side(NamedTuple):
    """What a test needs to know of the sample or of a chunk; null where there are too few rows."""

    mix: Mix | None
    confidence: Spread | None
    length: Spread | None


class Watcher:
    """Holds chunks against one sample; `level` bounds the chance that any at all is called unlike it by chance.

    Bonferroni: each test of the `n_chunks` that are expected gets .9 level / (3 n_chunks), whether it can be made or
    not. The k-th chunk beyond them gets .1 level / (3 k (k + 1)) a test, which adds up to .1 level over any number.
    """

    def __init__(self, sample: Profile, *, n_labels: int, level: float, n_chunks: int) -> None:
        self._n_labels, self._level, self._n_chunks = n_labels, level, max(n_chunks, 1)
        self._sample = _side(sample, n_labels)
        self._n_seen = 0

    def see(self, chunk: Profile, *, first_row: int, last_row: int) -> list[Drift]:
        """Return how a chunk departs from the sample, in up to three measures; empty where it does not.

        A chunk or a sample of fewer than 50 rows is not tested, nor is a measure that so few of its rows have.
        """
        level = self._next_level()
        side = _side(chunk, self._n_labels)
        found: list[tuple[str, str, float, float]] = []
        if self._sample.mix is not None and side.mix is not None:
            tested = chi_square(self._sample.mix, side.mix)
            if tested is None:
                found.append((LABEL_MIX, *bounded(self._sample.mix, side.mix)))
            else:
                found.append((LABEL_MIX, CHI_SQUARE, *tested))
        for measure, ours, theirs in (
            (CONFIDENCE, self._sample.confidence, side.confidence),
            (LENGTH, self._sample.length, side.length),
        ):
            if ours is not None and theirs is not None:
                found.append((measure, KOLMOGOROV_SMIRNOV, *kolmogorov_smirnov(ours, theirs)))
        return [
            Drift(
                first_row=first_row,
                last_row=last_row,
                measure=measure,
                test=test,
                statistic=statistic,
                p_value=p_value,
                level=level,
                n_escalated=0,
            )
            for measure, test, statistic, p_value in found
            if p_value <= level
        ]

    def _next_level(self) -> float:
        self._n_seen += 1
        beyond = self._n_seen - self._n_chunks
        if beyond <= 0:
            return EXPECTED_SHARE * self._level / (_N_MEASURES * self._n_chunks)
        return (1 - EXPECTED_SHARE) * self._level / (_N_MEASURES * beyond * (beyond + 1))


def sentence(drift: Drift) -> str:
    """Say what departs from the sample, where, and how surely, on one line."""
    odds = "below 1e-15" if drift.p_value < 1e-15 else f"{drift.p_value:.1e}"
    escalated = f"; {drift.n_escalated:,} of them went to the reference" if drift.n_escalated else ""
    measure = _WORDS.get(drift.measure, drift.measure)
    return (
        f"rows {drift.first_row:,} to {drift.last_row:,} (from 0): {measure} is unlike the sample's "
        f"({drift.test} {drift.statistic:.4g}, p {odds}, held against {drift.level:.1e}){escalated}"
    )


def kolmogorov_smirnov(ours: Spread, theirs: Spread) -> tuple[float, float]:
    """Return the largest distance of two distribution functions, and its asymptotic two-sided p-value.

    Smirnov, Table for estimating the goodness of fit of empirical distributions, Annals of Mathematical Statistics
    19:279, 1948, at n = n_1 n_2 / (n_1 + n_2) independent rows. With ties the p-value is too large rather than too
    small (Noether, Metrika 7:115, 1963).
    """
    from scipy.special import kolmogorov

    distance = 0.0
    for values in (ours.values, theirs.values):
        apart = [one.share[np.searchsorted(one.values, values, side="right")] for one in (ours, theirs)]
        distance = max(distance, float(np.abs(apart[0] - apart[1]).max()))
    return distance, float(kolmogorov(np.sqrt(_harmonic(ours.n_alike, theirs.n_alike)) * distance))


def chi_square(ours: Mix, theirs: Mix) -> tuple[float, float] | None:
    """Return the statistic that two label mixes are one, and its p-value; null where no two labels are frequent enough.

    The likelihood-ratio form of the chi-square test of homogeneity (Wilks, Annals of Mathematical Statistics 9:60,
    1938), at the counts that as many independent rows would give (Rao and Scott, Annals of Statistics 12:46, 1984).
    """
    from scipy.special import chdtrc, xlogy

    sides = _merged(ours, theirs)
    if sides is None:
        return None
    shares = [one.rows / one.rows.sum() for one in sides]
    pooled = _pooled(shares, [_kish(one) for one in sides])
    n_alike = [_n_alike(one, pooled) for one in sides]
    pooled = _pooled(shares, n_alike)
    statistic = 2 * sum(
        n * float((xlogy(share, share) - xlogy(share, pooled)).sum()) for n, share in zip(n_alike, shares, strict=True)
    )
    return statistic, float(chdtrc(len(pooled) - 1, max(statistic, 0.0)))


def bounded(ours: Mix, theirs: Mix) -> tuple[str, float, float]:
    """Return a test that two label mixes are one, its statistic, and a bound of its p-value; no label need be frequent.

    The better of two, summed over the labels and doubled for the choice; a question adds all its rows or none. A
    share's difference d is that far out in either tail with a chance of at most exp(-2 n d^2), with Kish's n
    (Hoeffding, JASA 58:13, 1963): this bears questions with very many copies. And n KL(share, p) is beyond x with a
    chance of at most 2 exp(-x), with n = rows / most copies of a question (Chernoff, Annals of Mathematical Statistics
    23:493, 1952), so that the sum of both sides' is at most log 4 and a gamma variable of shape 2: this sees rare
    labels. Taking the pooled share for p makes the sum smaller.
    """
    shares = [one.rows / one.rows.sum() for one in (ours, theirs)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    by_distance = 2 * float(np.exp(-2 * _harmonic(_kish(ours), _kish(theirs)) * distance**2))
    n = [float(one.rows.sum() / one.most_copies) for one in (ours, theirs)]
    pooled = _pooled(shares, n)
    ratio = float((n[0] * _divergence(shares[0], pooled) + n[1] * _divergence(shares[1], pooled)).max())
    beyond = max(ratio - float(np.log(4)), 0.0)
    by_ratio = (1 + beyond) * float(np.exp(-beyond))
    p_value, test, statistic = min((by_distance, HOEFFDING, distance), (by_ratio, CHERNOFF, 2 * ratio))
    return test, statistic, min(1.0, 2 * len(pooled) * p_value)


def _divergence(share: Floats, p: Floats) -> Floats:
    """Return the Kullback-Leibler divergence of each share, of yes or no, from p."""
    from scipy.special import xlogy

    made = xlogy(share, share) - xlogy(share, p) + xlogy(1 - share, 1 - share) - xlogy(1 - share, 1 - p)
    return np.asarray(made, np.float64)


def _harmonic(first: float, second: float) -> float:
    return first * second / (first + second)


def _pooled(shares: list[Floats], n: list[float]) -> Floats:
    pooled: Floats = (n[0] * shares[0] + n[1] * shares[1]) / (n[0] + n[1])
    return pooled


def _kish(mix: Mix) -> float:
    return float(mix.rows.sum() ** 2 / mix.squares.sum())


def _n_alike(mix: Mix, pooled: Floats) -> float:
    """Return how many independent rows vary as much in the label that varies most, `pooled` (n_labels,) being the mix.

    Where one label has more copies than others, its share varies more than Kish's formula says. That of label k has the
    variance p_k ((1 - 2 p_k) a_k + p_k sum p_j a_j) / n, with a_j the copies that a mean row of label j belongs to.
    """
    mean = mix.squares.sum() / mix.rows.sum()
    copies = np.divide(mix.squares, mix.rows, out=np.full(len(pooled), mean), where=mix.rows > 0)
    inflation = ((1 - 2 * pooled) * copies + pooled * float(pooled @ copies)) / (1 - pooled)
    return float(mix.rows.sum() / max(mean, inflation.max()))


def _merged(ours: Mix, theirs: Mix) -> tuple[Mix, Mix] | None:
    """Put labels too rare for the test under one; null where fewer than two are left.

    Rare is counted in questions with equally many copies: how far out the test holds depends on the skewness of the sum
    (Feller, An Introduction to Probability Theory and Its Applications II, 1971, section XVI.7), and a few questions
    with very many copies must not make a label frequent.
    """
    n_even = min(ours.n_even, theirs.n_even)
    expected = n_even * _pooled([one.rows / one.rows.sum() for one in (ours, theirs)], [_kish(ours), _kish(theirs)])
    order = np.argsort(expected, kind="stable")
    below = np.cumsum(expected[order])
    n_rare = int((expected < _FEWEST_EXPECTED).sum())
    while 0 < n_rare < len(order) and 0 < below[n_rare - 1] < _FEWEST_EXPECTED:
        n_rare += 1
    group = np.zeros(len(order), np.int64)
    group[order[n_rare:]] = np.arange(len(order) - n_rare) + 1
    if not n_rare or not below[n_rare - 1]:
        group -= 1  # labels that nobody has are in no group
    n_groups = int(group.max()) + 1
    if n_groups < 2:
        return None
    met = group >= 0
    both = [
        Mix(
            rows=_sums(group[met], one.rows[met], n_groups),
            squares=_sums(group[met], one.squares[met], n_groups),
            most_copies=one.most_copies,
            n_even=one.n_even,
        )
        for one in (ours, theirs)
    ]
    return both[0], both[1]


def _side(rows: Profile, n_labels: int) -> _Side:
    """Sum up rows for all tests."""
    _, question, n_copies = np.unique(rows.question, return_inverse=True, return_counts=True)
    copies = n_copies[question].astype(np.float64)
    answered, known = rows.label < n_labels, ~np.isnan(rows.confidence)
    mix = None
    if int(answered.sum()) >= FEWEST_ROWS:
        label, many = rows.label[answered], copies[answered]
        mix = Mix(
            rows=np.bincount(label, minlength=n_labels).astype(np.float64),
            squares=_sums(label, many, n_labels),
            most_copies=float(many.max()),
            n_even=float(many.sum() ** 3 / np.square(many).sum() ** 2),
        )
    return _Side(
        mix=mix,
        confidence=_spread(rows.confidence[known], copies[known]),
        length=_spread(rows.length, copies),
    )


def _sums(at: npt.NDArray[Any], values: Floats, n: int) -> Floats:
    return np.bincount(at, values, minlength=n).astype(np.float64, copy=False)


def _spread(values: npt.NDArray[Any], copies: Floats) -> Spread | None:
    """Sort values, (n,) with the copies of their questions; null where there are fewer than fifty.

    The distribution function of n independent rows varies by at most 1 / (4 n), at the median, and how surely it stays
    within a distance depends on that first (Adler, An Introduction to Continuity, Extrema, and Related Topics for
    General Gaussian Processes, 1990, section 2.1). So where short texts, say, have more copies than long ones, n is
    what gives the largest variance that is found; else it is Kish's.
    """
    if len(values) < FEWEST_ROWS:
        return None
    order = np.argsort(values)
    values = values[order]
    last = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
    n, squares = len(values), np.cumsum(copies[order])[last]
    share = (last + 1) / n
    variance = ((1 - share) ** 2 * squares + share**2 * (squares[-1] - squares)).max() / n**2
    kish = n**2 / squares[-1]
    return Spread(
        values=values[last],
        share=np.concatenate([[0.0], share]),
        n_alike=float(min(kish, 0.25 / variance) if variance > 0 else kish),
    )
