"""A policy is chosen by what CAL says of it and by what it costs, and by nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt import certify
from reviewopt.choosing import Audited, Choice, Said, choose, compared
from reviewopt.dedup.spread import NO_LABEL

N = 200
NAN = float("nan")
AUDIT = Audited(n=400, n_from=900, target=0.9, delta=0.03, most_share=None)
BASIS: dict[str, Any] = {"n_rows": 5_000, "audit": AUDIT, "can_answer": True}


def said(truth: np.ndarray, n_wrong: int, *, sure: float | np.ndarray = 0.9, unsure: float = 0.4) -> Said:
    """Answers of which the first n_wrong are wrong, and less sure."""
    label = truth.copy()
    label[:n_wrong] = (label[:n_wrong] + 1) % 3
    confidence = np.full(len(truth), sure, np.float32)
    confidence[:n_wrong] = unsure
    return Said(label=label, confidence=confidence)


@pytest.fixture
def truth() -> np.ndarray:
    return (np.arange(N) % 3).astype(np.uint8)


def total(choice: Choice, usd: tuple[float, ...]) -> float:
    """What the policy's labels cost, and the audit that is to prove them."""
    n_audit = AUDIT.n_rows(choice.error) if choice.cut > -math.inf else 0.0
    return 5_000 * choice.usd + n_audit * usd[-1]


def test_the_same_arguments_give_the_same_choice_and_none_is_changed(truth: np.ndarray) -> None:
    rungs = [said(truth, 60), said(truth, 10)]
    arrays = [truth, *(one.label for one in rungs), *(one.confidence for one in rungs)]
    before = [one.copy() for one in arrays]
    for one in arrays:
        one.setflags(write=False)
    first, second = (choose(rungs, truth, usd=(0.0, 0.001, 0.01), **BASIS) for _ in range(2))
    assert (first.thresholds, first.cut, first.name, first.path) == (
        second.thresholds, second.cut, second.name, second.path,
    )  # fmt: skip
    for one, two in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(one, two)


def test_all_goes_to_the_reference_where_no_policy_is_likely_to_pass(truth: np.ndarray) -> None:
    wrong = Said(label=(truth + 1) % 3, confidence=np.full(N, 0.99, np.float32))
    choice = choose([wrong], truth, usd=(0.0, 0.01), **{**BASIS, "audit": replace(AUDIT, target=0.999)})
    assert choice.cut == -math.inf
    assert choice.error == 0.0
    assert "every row has the reference's own answer" in choice.name


def test_the_most_accurate_is_taken_where_none_passes_and_the_reference_cannot_answer(truth: np.ndarray) -> None:
    rungs = [said(truth, 150, sure=0.9, unsure=0.9), said(truth, 60, sure=0.9, unsure=0.9)]
    choice = choose(rungs, truth, usd=(0.0, 0.001, 0.01), **{**BASIS, "can_answer": False})
    assert choice.cut == math.inf
    assert choice.error == pytest.approx(61 / 202)  # the upper rung alone
    assert choice.thresholds == (None, 0.0)


def test_the_riskiest_go_to_the_reference_only_where_it_can_answer(truth: np.ndarray) -> None:
    rungs = [said(truth, 30)]
    can = choose(rungs, truth, usd=(0.0, 0.001), **BASIS)
    cannot = choose(rungs, truth, usd=(0.0, 0.001), **{**BASIS, "can_answer": False})
    assert -math.inf < can.cut < math.inf
    assert can.error < 0.1 < cannot.error
    assert cannot.cut == math.inf


def test_the_path_names_every_policy_once_whatever_the_labels_say(truth: np.ndarray) -> None:
    """The promise hangs on it: a path that changed with the labels would be another promise each time."""
    rungs = [said(truth, 60), said(truth, 10)]
    other = [said(truth, 5), said(truth, 150)]
    one = choose(rungs, truth, usd=(0.0, 0.001, 0.01), **BASIS)
    two = choose(other, (truth + 1) % 3, usd=(0.5, 0.1, 0.01), **BASIS)
    assert one.path == two.path
    assert len(set(one.path)) == len(one.path) > 12


def test_a_row_that_the_reference_has_no_label_for_counts_as_wrong(truth: np.ndarray) -> None:
    unlabelled = truth.copy()
    unlabelled[:50] = NO_LABEL
    answers = Said(label=truth.copy(), confidence=np.full(N, NAN, np.float32))
    answers.label[:50] = NO_LABEL  # neither has an answer: that is no agreement
    choice = choose([answers], unlabelled, usd=(0.0, 0.01), **{**BASIS, "can_answer": False})
    assert choice.error == pytest.approx(51 / 202)


def test_two_who_say_nothing_do_not_agree(truth: np.ndarray) -> None:
    unlabelled = truth.copy()
    unlabelled[:50] = NO_LABEL
    lower = Said(label=unlabelled.copy(), confidence=np.full(N, 0.9, np.float32))
    choice = choose([lower, said(truth, 10)], unlabelled, usd=(0.0, 0.001, 0.01), **BASIS)
    assert choice.figures[0].agreement == 0.75


def test_answers_of_unknown_confidence_stay_only_where_all_stay(truth: np.ndarray) -> None:
    lower = said(truth, 40)
    lower.confidence[100:150] = NAN  # right, and nobody can tell
    choice = choose(
        [lower, said(truth, 2)], truth, usd=(0.0, 0.0001, 0.01), **{**BASIS, "audit": replace(AUDIT, target=0.95)}
    )
    (value, _) = choice.thresholds
    assert value is not None
    assert value > 0
    assert (choice.final.label[100:150] == truth[100:150]).all()
    assert not np.isnan(choice.final.confidence[100:150]).any()  # the rung above answered them


def test_the_risk_of_unknown_confidence_is_how_often_such_answers_were_wrong(truth: np.ndarray) -> None:
    answers = said(truth, 30)
    answers.confidence[:] = NAN
    choice = choose([answers], truth, usd=(0.0, 0.001), **{**BASIS, "can_answer": False})
    assert choice.unknown_risk == pytest.approx(31 / 202)
    known = choose([said(truth, 30)], truth, usd=(0.0, 0.001), **{**BASIS, "can_answer": False})
    assert known.unknown_risk == 0.5  # never seen


def test_what_cal_would_be_answered_is_what_the_thresholds_give(truth: np.ndarray) -> None:
    rungs = [said(truth, 60), said(truth, 4, sure=0.8)]
    choice = choose(rungs, truth, usd=(0.0, 0.0005, 0.01), **BASIS)
    value = choice.thresholds[0]
    stays = np.zeros(N, np.bool_) if value is None else rungs[0].confidence >= value
    np.testing.assert_array_equal(choice.final.label, np.where(stays, rungs[0].label, rungs[1].label))
    np.testing.assert_array_equal(choice.final.confidence, np.where(stays, rungs[0].confidence, rungs[1].confidence))


def test_a_dear_rung_is_left_out_where_a_cheap_one_is_as_good(truth: np.ndarray) -> None:
    good, same = said(truth, 4), said(truth, 4)
    choice = choose([good, same], truth, usd=(0.0, 0.01, 0.02), **BASIS)
    assert choice.thresholds[0] == 0.0
    assert choice.usd < 0.01 / 10


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.floats(0.0, 1, width=32)), min_size=30, max_size=80),
    st.floats(0.0001, 0.01),
    st.floats(0.0, 1.0),
)
@settings(max_examples=20, deadline=None)
def test_a_cheaper_rung_that_says_the_same_never_makes_the_whole_dearer(
    rows: list[tuple[int, int, float]], price: float, cheaper: float
) -> None:
    truth, label = (np.array([row[at] for row in rows], np.uint8) for at in (0, 1))
    rungs = [
        Said(label=label, confidence=np.array([row[2] for row in rows], np.float32)),
        Said(label=truth.copy(), confidence=np.full(len(rows), 0.9, np.float32)),
    ]
    dear, cheap = (price, 0.005, 0.01), (price * cheaper, 0.005, 0.01)
    assert total(choose(rungs, truth, usd=cheap, **BASIS), cheap) <= total(
        choose(rungs, truth, usd=dear, **BASIS), dear
    ) * (1 + 1e-9)


@given(st.integers(0, 60), st.integers(0, 60), st.booleans())
@settings(max_examples=20, deadline=None)
def test_no_policy_is_chosen_that_is_unlikely_to_pass(n_low: int, n_high: int, can_answer: bool) -> None:
    truth = (np.arange(N) % 3).astype(np.uint8)
    rungs = [said(truth, n_low), said(truth, n_high, unsure=0.9)]
    choice = choose(rungs, truth, usd=(0.0, 0.001, 0.01), **{**BASIS, "can_answer": can_answer})
    wrong = (choice.final.label != truth) & (1 - choice.final.confidence.astype(np.float64) < choice.cut)
    if choice.cut == -math.inf:
        assert choice.error == 0.0
    else:
        assert choice.error == pytest.approx((wrong.sum() + 1) / (N + 2))
    if can_answer:
        assert choice.error < 0.1


# --- what an audit takes, and whether packs pay -----------------------------------------------------------------------


def test_an_audit_takes_what_its_test_needs_and_more_than_the_sample_is_a_failure() -> None:
    enough = certify.audit_size(AUDIT.n_from, AUDIT.target, 0.03, AUDIT.delta)
    assert AUDIT.n_rows(0.03) == enough < AUDIT.n
    assert replace(AUDIT, n=enough).n_rows(0.03) == enough
    assert replace(AUDIT, n=enough - 1).n_rows(0.03) == math.inf
    assert AUDIT.n_rows(0.1) == AUDIT.n_rows(0.5) == math.inf


def test_where_the_riskiest_can_be_left_to_the_reference_a_failed_audit_may_still_end_well() -> None:
    second = replace(AUDIT, n=20, most_share=0.05)
    assert second.n_rows(0.03) == 20
    assert second.n_rows(0.06) == math.inf
    assert replace(second, n=0, most_share=0.0).n_rows(0.01) == math.inf


def cost_of(
    confidence: np.ndarray, packed_error: float, *, single: float = 0.01, packed: float = 0.001
) -> tuple[float, float]:
    return compared(
        confidence, packed_error, single_usd=single, packed_usd=packed, n_rows=5_000, target=0.9, audit=AUDIT
    )


def test_packs_pay_where_the_local_model_knows_nothing_and_packs_agree() -> None:
    alone, packs = cost_of(np.full(N, 0.34), 0.01)
    assert alone == pytest.approx(5_000 * (1 - 21 / N) * 0.01)  # 21 answers use .07 of errors
    assert packs < alone / 2


def test_packs_do_not_pay_where_the_local_model_may_answer_everything() -> None:
    alone, packs = cost_of(np.full(N, 0.999), 0.01)
    assert alone == pytest.approx(0.0)
    assert packs > alone  # the audit costs what nothing saves


def test_packs_that_differ_too_much_prove_nothing() -> None:
    _, packs = cost_of(np.full(N, 0.34), 0.2)
    assert packs == math.inf


def test_packs_as_dear_as_single_answers_never_pay() -> None:
    alone, packs = cost_of(np.full(N, 0.34), 0.0, packed=0.01)
    assert packs > alone
