"""The vote: most votes win, the surer label wins a tie, and no answer is no vote."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt.vote import Vote, vote

NONE = 255
NAN = float("nan")
SURE = st.one_of(st.just(NAN), st.floats(0, 1, width=32))


def voted(labels: list[list[int]], confidence: list[list[float]]) -> Vote:
    return vote(np.array(labels, np.uint8), np.array(confidence, np.float32))


@st.composite
def ballots(draw: st.DrawFn) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    n, m = draw(st.integers(0, 6)), draw(st.integers(1, 5))
    code = st.sampled_from([0, 1, 2, 254, NONE])
    labels = draw(st.lists(st.lists(code, min_size=m, max_size=m), min_size=n, max_size=n))
    sure = draw(st.lists(st.lists(SURE, min_size=m, max_size=m), min_size=n, max_size=n))
    return np.array(labels, np.uint8).reshape(n, m), np.array(sure, np.float32).reshape(n, m)


@given(ballots())
def test_the_winner_has_the_most_votes_and_no_answer_never_wins(
    ballot: tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]],
) -> None:
    labels, confidence = ballot
    result = vote(labels, confidence)
    assert result.label.dtype == np.uint8
    assert result.confidence.dtype == np.float32
    for at, row in enumerate(labels.tolist()):
        votes = [label for label in row if label != NONE]
        if not votes:
            assert result.label[at] == NONE
            assert np.isnan(result.confidence[at])
            assert not result.disagreed[at]
            assert not result.tied[at]
            continue
        most = max(votes.count(label) for label in votes)
        top = {label for label in votes if votes.count(label) == most}
        assert int(result.label[at]) in top
        assert result.tied[at] == (len(top) > 1)
        assert result.disagreed[at] == (len(set(votes)) > 1)
        if len(votes) > 1:
            assert result.confidence[at] == pytest.approx(most / len(votes))


@given(ballots(), st.randoms(use_true_random=False))
def test_the_order_of_members_decides_only_between_equally_sure_labels(
    ballot: tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]], chance: object
) -> None:
    labels, confidence = ballot
    order = list(range(labels.shape[1]))
    chance.shuffle(order)  # type: ignore[attr-defined]
    one, other = vote(labels, confidence), vote(labels[:, order], confidence[:, order])
    np.testing.assert_array_equal(one.tied, other.tied)
    np.testing.assert_array_equal(one.disagreed, other.disagreed)
    np.testing.assert_array_equal(one.confidence, other.confidence)
    weight = np.where(np.isnan(confidence), 0.5, confidence).astype(np.float64)
    for at in np.flatnonzero(one.label != other.label):
        sums = [weight[at][labels[at] == result.label[at]].sum() for result in (one, other)]
        assert one.tied[at]
        assert sums[0] == pytest.approx(sums[1], abs=1e-8)


@given(ballots())
def test_a_review_is_decided_alone(ballot: tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]) -> None:
    labels, confidence = ballot
    together = vote(labels, confidence)
    for at in range(len(labels)):
        alone = vote(labels[at : at + 1], confidence[at : at + 1])
        assert alone.label[0] == together.label[at]


def test_all_agreeing_is_that_label_whatever_the_confidence() -> None:
    result = voted([[2, 2, 2], [0, NONE, 0]], [[0.1, NAN, 0.2], [NAN, 0.99, NAN]])
    assert result.label.tolist() == [2, 0]
    assert result.confidence.tolist() == [1, 1]
    assert not result.disagreed.any()


def test_more_votes_win_over_more_confidence() -> None:
    assert voted([[1, 0, 1]], [[0.4, 1.0, 0.4]]).label.tolist() == [1]


@pytest.mark.parametrize(
    ("confidence", "winner"),
    [
        ([0.6, 0.7], 1),
        ([0.7, 0.6], 0),
        ([0.6, 0.6], 0),
        ([NAN, 0.4], 0),
        ([NAN, 0.6], 1),
        ([0.4, NAN], 1),
        ([NAN] * 2, 0),
    ],
)
def test_the_surer_label_wins_a_tie_and_then_the_first_member(confidence: list[float], winner: int) -> None:
    result = voted([[0, 1]], [confidence])
    assert result.label.tolist() == [winner]
    assert result.tied.tolist() == [True]
    assert result.confidence.tolist() == [0.5]


def test_a_sum_of_confidences_breaks_a_tie_of_pairs() -> None:
    result = voted([[0, 1, 0, 1, 2]], [[0.5, 0.6, 0.9, 0.7, 1.0]])
    assert result.label.tolist() == [0]
    assert voted([[0, 1, 0, 1, 2]], [[0.5, 0.6, 0.7, 0.7, 1.0]]).label.tolist() == [1]


def test_the_order_in_which_confidences_are_added_decides_nothing() -> None:
    tiny = 8e-17
    assert voted([[0, 0, 0, 1, 1, 1]], [[1, tiny, tiny, tiny, tiny, 1]]).label.tolist() == [0]


def test_a_member_that_answers_alone_lends_its_own_confidence() -> None:
    result = voted([[NONE, 1, NONE], [NONE, NONE, 0]], [[0.9, 0.625, 0.9], [0.9, 0.9, NAN]])
    assert result.label.tolist() == [1, 0]
    assert result.confidence[0] == 0.625
    assert np.isnan(result.confidence[1])


def test_no_members_and_no_reviews_are_no_error() -> None:
    assert vote(np.empty((2, 0), np.uint8), np.empty((2, 0), np.float32)).label.tolist() == [NONE, NONE]
    assert vote(np.empty((0, 3), np.uint8), np.empty((0, 3), np.float32)).label.tolist() == []
