from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom, chi2

from reviewopt import drift
from reviewopt.certificate import Drift
from reviewopt.drift import Mix, Profile, Watcher

N_LABELS = 4
N_CHUNKS = 6
Indices = npt.NDArray[np.int64]


def questions(rng: np.random.Generator, n: int, copies: Callable[[Profile], Indices] | None = None) -> Profile:
    """Draw questions at random until they have n rows; copies of one stand together, as in a burst."""
    drawn = Profile(
        label=rng.choice(N_LABELS, n, p=[0.6, 0.3, 0.08, 0.02]).astype(np.uint8),
        confidence=rng.beta(5, 1, n).astype(np.float32),
        length=np.exp(rng.normal(4, 1, n)).astype(np.int64),
        question=np.arange(n),
    )
    return taken(drawn, drawn.question if copies is None else np.repeat(np.arange(n), copies(drawn))[:n])


def taken(rows: Profile, at: Any) -> Profile:
    return Profile(**{field.name: getattr(rows, field.name)[at] for field in fields(Profile)})


def replaced(rows: Profile, **values: Any) -> Profile:
    return Profile(**{field.name: values.get(field.name, getattr(rows, field.name)) for field in fields(Profile)})


def seen(
    whole: Profile, rng: np.random.Generator, *, n_sample: int = 1000, n_chunks: int = N_CHUNKS, level: float = 0.001
) -> list[Drift]:
    """Draw a sample of random rows, and hold the table's chunks against it, as a run does."""
    n = len(whole.label)
    sample = taken(whole, rng.choice(n, n_sample, replace=False))
    watcher = Watcher(sample, n_labels=N_LABELS, level=level, n_chunks=n_chunks)
    found = []
    for rows in np.array_split(np.arange(n), n_chunks):
        found += watcher.see(taken(whole, rows), first_row=int(rows[0]), last_row=int(rows[-1]))
    return found


def alone(_: Profile) -> Indices:
    return np.ones(len(_.label), np.int64)


def some(drawn: Profile) -> Indices:
    return np.random.default_rng(int(drawn.length[:5].sum())).geometric(0.1, len(drawn.label))


def heavy_tailed(drawn: Profile) -> Indices:
    tail = np.random.default_rng(int(drawn.length[:5].sum())).pareto(1.1, len(drawn.label))
    return np.minimum(1 + tail.astype(np.int64), len(tail) // 5)


def of_one_label(drawn: Profile) -> Indices:
    return np.where(drawn.label == 2, 4, 1)


def of_short_texts(drawn: Profile) -> Indices:
    return np.where(drawn.length < 25, 15, 1)


@pytest.mark.parametrize(
    "copies", [alone, some, heavy_tailed, of_one_label, of_short_texts], ids=lambda one: one.__name__
)
def test_random_tables_raise_no_more_false_alarms_than_the_level_allows(copies: Callable[[Profile], Indices]) -> None:
    rng, level, n_tables = np.random.default_rng(7), 0.2, 100
    alarms = sum(bool(seen(questions(rng, 9000, copies), rng, level=level)) for _ in range(n_tables))
    assert alarms <= binom.ppf(0.999, n_tables, level)


def test_a_table_of_shuffled_copies_raises_no_alarm() -> None:
    rng = np.random.default_rng(8)
    whole = questions(rng, 60_000, heavy_tailed)
    assert not seen(taken(whole, rng.permutation(60_000)), rng)


@pytest.mark.parametrize("measure", ["label_mix", "confidence", "length"])
def test_a_sorted_table_raises_in_what_it_is_sorted_by(measure: str) -> None:
    rng = np.random.default_rng(9)
    whole = questions(rng, 30_000, some)
    values: Any = getattr(whole, measure.removesuffix("_mix"))
    found = [one for one in seen(taken(whole, np.argsort(values, kind="stable")), rng) if one.measure == measure]
    chunks = {0, 5000, 10_000, 15_000, 20_000, 25_000}
    # The fourth chunk by label has the border of the most frequent one, and so by chance the mix of the whole.
    assert {one.first_row for one in found} == chunks - ({15_000} if measure == "label_mix" else set())
    assert all(one.p_value <= one.level and one.n_escalated == 0 for one in found)


def test_a_shifted_label_mix_raises_in_its_chunk_alone() -> None:
    rng = np.random.default_rng(10)
    whole = questions(rng, 30_000)
    label = whole.label.copy()
    label[10_000:15_000][rng.random(5000) < 0.15] = 2
    (found,) = seen(replaced(whole, label=label), rng)
    assert (found.first_row, found.last_row, found.measure, found.test) == (
        10_000,
        14_999,
        "label_mix",
        drift.CHI_SQUARE,
    )


def test_longer_texts_and_lower_confidences_raise_in_their_chunk_alone() -> None:
    rng = np.random.default_rng(11)
    whole = questions(rng, 30_000)
    length, confidence = whole.length.copy(), whole.confidence.copy()
    length[5000:10_000] = length[5000:10_000] * 14 // 10
    confidence[20_000:25_000] *= 0.97
    found = seen(replaced(whole, length=length, confidence=confidence), rng)
    assert [(one.first_row, one.measure, one.test) for one in found] == [
        (5000, "length", drift.KOLMOGOROV_SMIRNOV),
        (20_000, "confidence", drift.KOLMOGOROV_SMIRNOV),
    ]


def test_a_review_with_thousands_of_copies_does_not_hide_a_sorted_table() -> None:
    rng = np.random.default_rng(12)
    whole = questions(rng, 30_000)
    often = rng.random(30_000) < 0.03
    hot = taken(whole, np.where(often, 0, np.arange(30_000)))
    assert not seen(hot, rng)
    found = seen(taken(hot, np.argsort(hot.label, kind="stable")), rng)
    assert {(one.measure, one.test) for one in found} >= {("label_mix", drift.HOEFFDING)}


def test_a_label_too_rare_for_the_chi_square_test_still_raises_where_it_is_missing() -> None:
    sample = Mix(rows=np.array([161.0, 35.0]), squares=np.array([161.0, 35.0]), most_copies=1, n_even=196)
    chunk = Mix(rows=np.array([868.0, 6.0]), squares=np.array([868.0, 6.0]), most_copies=1, n_even=874)
    assert drift.chi_square(sample, chunk) is None
    test, statistic, p_value = drift.bounded(sample, chunk)
    assert test == drift.CHERNOFF
    assert p_value < 1e-10
    beyond = statistic / 2 - np.log(4)
    assert p_value == pytest.approx(4 * (1 + beyond) * np.exp(-beyond), abs=0)  # two labels, the better of two bounds
    assert p_value > 100 * chi2.sf(statistic, 1)  # a bound, not the limit


@pytest.mark.parametrize(("n_sample", "n_chunk", "share"), [(50, 50, 0.3), (60, 400, 0.05), (200, 60, 0.01)])
def test_the_bound_for_rare_labels_holds_over_all_outcomes(n_sample: int, n_chunk: int, share: float) -> None:
    """Summed over every pair of counts, a p-value of at most a has no more than the chance a."""
    reached = []
    chances = [binom.pmf(np.arange(n + 1), n, share) for n in (n_sample, n_chunk)]
    for n_ours, n_theirs in zip(*np.nonzero(np.outer(*chances) > 1e-9), strict=True):
        sides = [np.array([n - k, k], float) for n, k in ((n_sample, n_ours), (n_chunk, n_theirs))]
        mixes = [Mix(rows=one, squares=one, most_copies=1, n_even=one.sum()) for one in sides]
        reached.append((drift.bounded(mixes[0], mixes[1])[2], chances[0][n_ours] * chances[1][n_theirs]))
    for level in (0.5, 0.1, 0.01, 1e-4):
        assert sum(chance for p_value, chance in reached if p_value <= level) <= level


def test_one_review_copied_a_thousand_times_in_a_chunk_is_one_draw() -> None:
    rng = np.random.default_rng(13)
    whole = questions(rng, 30_000)
    at = np.arange(30_000)
    at[5000:7000] = 5000
    assert not seen(taken(whole, at), rng)
    renamed = replaced(taken(whole, at), question=np.arange(30_000))  # the same rows as so many questions
    assert 5000 in {one.first_row for one in seen(renamed, rng)}


def test_copies_divide_the_rows_that_count_and_uneven_ones_by_more() -> None:
    pooled = np.array([0.9, 0.1])
    even = Mix(rows=np.array([900.0, 100.0]), squares=np.array([9000.0, 1000.0]), most_copies=10, n_even=100)
    uneven = Mix(rows=np.array([900.0, 100.0]), squares=np.array([900.0, 1000.0]), most_copies=10, n_even=20)
    assert drift._n_alike(even, pooled) == pytest.approx(100)
    # The variance of the rare label: .1 (.8 x 10 + .1 (.9 x 1 + .1 x 10)) / 1000, against .1 x .9 / n.
    assert drift._n_alike(uneven, pooled) == pytest.approx(0.9 / ((0.8 * 10 + 0.1 * 1.9) / 1000))


def test_short_texts_with_many_copies_leave_fewer_rows_that_count_than_kishs_formula() -> None:
    values = np.arange(1000)
    copies = np.where(values < 100, 10.0, 1.0)
    found = drift._spread(values, copies)
    assert found is not None
    share, variance = 0.1, (0.9**2 * 1000 + 0.1**2 * 900) / 1000**2
    assert found.n_alike == pytest.approx(min(1000**2 / 1900, 0.25 / variance))
    assert found.share[100] == pytest.approx(share)


def test_rare_labels_are_merged_and_without_two_frequent_ones_the_test_is_left_out() -> None:
    sample = Mix(
        rows=np.array([880.0, 100.0, 15.0, 5.0]),
        squares=np.array([880.0, 100.0, 15.0, 5.0]),
        most_copies=1,
        n_even=1000,
    )
    merged = drift._merged(sample, sample)
    assert merged is not None
    assert sorted(merged[0].rows.tolist()) == [20, 100, 880]
    few = Mix(
        rows=np.array([981.0, 0.0, 0.0, 19.0]), squares=np.array([981.0, 0.0, 0.0, 19.0]), most_copies=1, n_even=1000
    )
    assert drift.chi_square(few, few) is None
    one_decides = sample._replace(n_even=1.1)
    assert drift.chi_square(one_decides, sample) is None


def test_labels_that_nobody_has_add_no_degree_of_freedom() -> None:
    two = [
        Mix(rows=np.array(n, float), squares=np.array(n, float), most_copies=1, n_even=1000)
        for n in ([600, 400], [500, 500])
    ]
    four = [Mix(np.append(one.rows, [0.0, 0.0]), np.append(one.squares, [0.0, 0.0]), 1, 1000) for one in two]
    statistic = 2 * 1000 * (0.6 * np.log(0.6 / 0.55) + 0.4 * np.log(0.4 / 0.45) + np.log(0.5 / 0.55) / 2)
    statistic += 2 * 1000 * np.log(0.5 / 0.45) / 2
    assert drift.chi_square(*two) == pytest.approx((statistic, chi2.sf(statistic, 1)))
    assert drift.chi_square(*four) == pytest.approx((statistic, chi2.sf(statistic, 1)))


@pytest.mark.parametrize("n_seen", [3, 4, 1000])
def test_the_levels_of_all_tests_never_add_up_to_more_than_the_level(n_seen: int) -> None:
    rng = np.random.default_rng(14)
    sample = questions(rng, 500)
    unlike = replaced(
        sample, label=np.full(500, 3, np.uint8), confidence=sample.confidence * 0.1, length=sample.length + 10_000
    )
    watcher = Watcher(sample, n_labels=N_LABELS, level=0.01, n_chunks=3)
    found = [one for at in range(n_seen) for one in watcher.see(unlike, first_row=at, last_row=at)]
    assert len(found) == 3 * n_seen
    assert sum(one.level for one in found) <= 0.01
    assert sum(one.level for one in found) >= 0.0089


def test_a_chunk_of_few_rows_is_not_tested() -> None:
    rng = np.random.default_rng(15)
    sample = questions(rng, 1000)
    unlike = replaced(sample, label=np.full(1000, 3, np.uint8), length=sample.length + 10_000)
    for n, n_found in ((49, 0), (50, 2)):
        watcher = Watcher(sample, n_labels=N_LABELS, level=0.01, n_chunks=1)
        assert len(watcher.see(taken(unlike, slice(n)), first_row=0, last_row=n - 1)) == n_found
    tiny = Watcher(taken(sample, slice(49)), n_labels=N_LABELS, level=0.01, n_chunks=1)
    assert not tiny.see(unlike, first_row=0, last_row=999)


def test_unknown_confidences_and_rows_without_an_answer_are_left_out() -> None:
    rng = np.random.default_rng(16)
    whole = questions(rng, 2000)
    unknown = replaced(
        whole, confidence=np.full(2000, np.nan, np.float32), label=np.where(np.arange(2000) % 2, 255, whole.label)
    )
    watcher = Watcher(whole, n_labels=N_LABELS, level=0.01, n_chunks=2)
    assert not watcher.see(unknown, first_row=0, last_row=1999)
    none = replaced(unknown, label=np.full(2000, 255, np.uint8))
    assert not watcher.see(none, first_row=0, last_row=1999)


def test_a_drift_is_said_in_a_sentence() -> None:
    made = Drift(
        first_row=50_000,
        last_row=99_999,
        measure="label_mix",
        test=drift.CHI_SQUARE,
        statistic=812.44,
        p_value=0.0,
        level=1.5e-5,
        n_escalated=0,
    )
    assert drift.sentence(made) == (
        "rows 50,000 to 99,999 (from 0): the mix of labels is unlike the sample's "
        "(chi-square (likelihood ratio) 812.4, p below 1e-15, held against 1.5e-05)"
    )
