"""An audit tests labels that were frozen, on rows that were drawn, and looks at no more of them than it needs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fakes import LABELS
from proofs import World, calibrated, opened, prove

from reviewopt import certify
from reviewopt.answer import Answering
from reviewopt.audited import Auditing, not_covered
from reviewopt.job import Job
from reviewopt.models.scripted import Scripted
from reviewopt.proving import Frozen, Proving
from reviewopt.slices import slice_of

N = 600
DELTA = 0.05
UNTESTED = {"certificate.missing_at_random": True, "process.local_model": "mine.npz"}


@dataclass
class Audit:
    """An audit of the labels that the local model of a world gives, and whom it asks."""

    auditing: Auditing
    job: Job
    proving: Proving
    strong: Scripted
    lines: list[str] = field(default_factory=list)


@contextmanager
def audit_of(
    world: World, folder: Path, *, sizes: tuple[int, int, int] = (0, 0, 300), **options: Any
) -> Iterator[Audit]:
    strong = options.pop("reference", None) or Scripted(world.says(world.truth), name="strong")
    kind = options.pop("kind", "model")
    lines: list[str] = []
    with (
        opened(world, folder, kind=kind, sizes=sizes, reference=strong, **options) as job,
        Answering(job) as answering,
    ):
        assert job.reference is not None
        proving = Proving(job, job.reference, answering.ladder)
        frozen = Frozen(
            method="audit", path=("one",), digest="d", policy="one", cut=math.inf, unknown_risk=0.5, attempt=1,
            delta=DELTA,
        )  # fmt: skip
        auditing = Auditing(job, proving, frozen, lines.append)
        for chunk in job.table.chunks():
            rows = chunk.reviews["row"].to_numpy()
            auditing.see(chunk.reviews, labels(world, rows))
        yield Audit(auditing, job, proving, strong, lines)


def labels(world: World, rows: np.ndarray, *, referred: np.ndarray | None = None) -> pl.DataFrame:
    """What the local model says of some rows."""
    frame = pl.DataFrame(
        {
            "label": pl.Series([LABELS[code] for code in world.local[rows].tolist()], dtype=pl.Enum(LABELS)),
            "confidence": pl.Series(world.confidence[rows], dtype=pl.Float32),
        }
    )
    return frame if referred is None else frame.with_columns(referred=pl.Series(referred))


def world_of(n_wrong: int, *, seed: int = 0, sure: float = 0.9, unsure: float = 0.6) -> World:
    """A world whose local model is wrong on n_wrong rows, and less sure of these."""
    rng = np.random.default_rng(seed)
    truth, wrong = rng.integers(0, 3, N), np.zeros(N, np.bool_)
    wrong[rng.permutation(N)[:n_wrong]] = True
    return World(truth=truth, local=np.where(wrong, (truth + 1) % 3, truth), confidence=np.where(wrong, unsure, sure))


# --- what is looked at ------------------------------------------------------------------------------------------------


def test_it_stops_as_soon_as_it_passes(tmp_path: Path) -> None:
    with audit_of(world_of(0), tmp_path) as one:
        assert one.auditing.audit() == math.inf
        (attempt,) = one.auditing.attempts
        enough = certify.Audit(N, 60, attempt.delta)
        n = 0
        while not enough.passes:
            enough.add(np.zeros(1, np.bool_))
            n += 1
        assert n <= attempt.n_audited < n + 64
        assert len(one.strong.requests) == attempt.n_audited == len(one.auditing.asked) < 300


def test_it_never_looks_at_more_than_its_sample(tmp_path: Path) -> None:
    with audit_of(world_of(200), tmp_path, sizes=(20, 30, 70)) as one:
        one.auditing.audit()
        texts = {question.text for request in one.strong.requests for question in request.questions}
        assert texts == {f"review number {row}" for row in one.proving.audit["row"].to_list()}
        assert len(texts) == 70
        assert not set(one.proving.audit["row"]) & {*one.proving.train["row"], *one.proving.cal["row"]}


def test_its_rows_are_taken_in_the_order_of_the_permutation(tmp_path: Path) -> None:
    with audit_of(world_of(0), tmp_path) as one:
        one.auditing.audit()
        assert one.job.reference is not None
        drawn = one.job.reference.drawn.frame["row"].to_list()
        assert one.auditing.asked["row"].to_list() == drawn[: len(one.auditing.asked)]


def test_what_is_wrong_is_what_the_frozen_label_is_not(tmp_path: Path) -> None:
    world = world_of(90)
    with audit_of(world, tmp_path, can_answer=False) as one:
        one.auditing.audit()
        rows = one.auditing.asked["row"].to_numpy()
        (attempt,) = one.auditing.attempts
        assert attempt.n_errors == int((world.local[rows] != world.truth[rows]).sum()) > 0


def test_a_row_without_the_references_answer_and_one_without_a_label_are_wrong(tmp_path: Path) -> None:
    world = world_of(0)
    known = {text: label for text, label in world.says(world.truth).items() if not text.endswith("7")}
    silent = Scripted(known, name="strong")
    with audit_of(world, tmp_path, reference=silent, can_answer=False) as one:
        chunk = next(one.job.table.chunks()).reviews
        rows = chunk["row"].to_numpy()
        unanswered = labels(world, rows).with_columns(
            label=pl.when(pl.Series(rows % 10 == 3)).then(None).otherwise("label")
        )
        one.auditing.see(chunk, unanswered)
        one.auditing.audit()
        last = one.auditing.asked["row"].to_numpy() % 10
        (attempt,) = one.auditing.attempts
        assert attempt.n_errors == int(((last == 7) | (last == 3)).sum())
        assert (one.auditing.risk(unanswered)[rows % 10 == 3] == 1).all()


def test_rows_may_come_in_any_chunks(tmp_path: Path) -> None:
    world = world_of(60)
    with audit_of(world, tmp_path) as one:
        again = Auditing(one.job, one.proving, one.auditing._frozen, lambda _: None)
        chunk = next(one.job.table.chunks()).reviews
        for start in range(0, N, 7):
            part = chunk[start : start + 7]
            again.see(part, labels(world, part["row"].to_numpy()))
        one.auditing.audit()
        again.audit()
        assert again.attempts == one.auditing.attempts


# --- two tests --------------------------------------------------------------------------------------------------------


def test_where_a_second_test_may_follow_both_together_have_delta(tmp_path: Path) -> None:
    with audit_of(world_of(120), tmp_path) as one:
        floor = one.auditing.audit()
        first, second = one.auditing.attempts
        assert (first.test, second.test) == ("e-process", "cut")
        assert first.delta + second.delta == pytest.approx(DELTA)
        assert first.delta == pytest.approx(certify.attempt_delta(DELTA, 1))
        assert not first.passes
        assert first.n_audited == second.n_audited == 300  # a cut is of a fixed number: all of it
        assert second.most_errors == certify.most_errors(N, 60, 300, second.delta)
        assert second.n_errors <= second.most_errors
        assert 0 < floor < math.inf


def test_where_none_may_follow_the_first_has_all_of_delta(tmp_path: Path) -> None:
    with audit_of(world_of(120), tmp_path, can_answer=False) as one:
        assert one.auditing.audit() == math.inf
        (first,) = one.auditing.attempts
        assert first.delta == DELTA
        assert not first.passes


def test_rows_of_the_floors_risk_go_to_the_reference_too(tmp_path: Path) -> None:
    """Rows of equal risk are accepted all or none: copies of a wrong one would be left otherwise."""
    world = world_of(120)
    with audit_of(world, tmp_path) as one:
        floor = one.auditing.audit()
        assert floor == pytest.approx(1 - np.float32(0.6))
        chunk = next(one.job.table.chunks()).reviews
        rows = chunk["row"].to_numpy()
        beyond = one.auditing.escalated(chunk, labels(world, rows), np.zeros(len(rows), np.int64))
        np.testing.assert_array_equal(beyond, world.confidence[rows] < 0.7)
        assert one.auditing.attempts[-1].n_escalated == beyond.sum()


def test_empty_rows_and_those_that_have_its_answer_do_not_go_to_it_again(tmp_path: Path) -> None:
    world = world_of(120)
    with audit_of(world, tmp_path) as one:
        one.auditing.audit()
        chunk = next(one.job.table.chunks()).reviews
        rows = chunk["row"].to_numpy()
        has, empty = rows % 2 == 0, rows % 3 == 0
        frame = labels(world, rows, referred=has)
        beyond = one.auditing.escalated(chunk, frame, np.where(empty, -1, 0))
        assert not (beyond & (has | empty)).any()
        assert beyond.any()


def test_a_hopeless_audit_leaves_everything_to_the_reference(tmp_path: Path) -> None:
    truth = np.random.default_rng(0).integers(0, 3, N)
    world = World(truth=truth, local=(truth + 1) % 3, confidence=np.full(N, 0.99))
    with audit_of(world, tmp_path) as one:
        floor = one.auditing.audit()
        assert floor == pytest.approx(0.01)
        chunk = next(one.job.table.chunks()).reviews
        question = np.zeros(N, np.int64)
        assert one.auditing.escalated(chunk, labels(world, chunk["row"].to_numpy()), question).all()


# --- what was found ---------------------------------------------------------------------------------------------------


def test_the_bound_is_what_the_last_test_proves(tmp_path: Path) -> None:
    with audit_of(world_of(30), tmp_path, can_answer=False) as one:
        one.auditing.audit()
        found = one.auditing.found(N, 0)
        (attempt,) = one.auditing.attempts
        high = certify.errors_high(N, one.auditing._wrong, attempt.delta)
        assert found.low == pytest.approx(1 - high / N)
        assert found.low is not None
        assert found.low >= 0.9
        less = one.auditing.found(N, 6)
        assert less.low == pytest.approx(found.low - 0.01)


def test_nothing_is_proven_by_an_audit_that_saw_nothing_right(tmp_path: Path) -> None:
    truth = np.zeros(N, np.int64)
    world = World(truth=truth, local=truth + 1, confidence=np.full(N, 0.9))
    with audit_of(world, tmp_path, can_answer=False, sizes=(0, 0, 50)) as one:
        one.auditing.audit()
        found = one.auditing.found(N, 0)
        assert found.low is None
        assert found.seen == 0.0
        assert "50 of 50 audited labels are not strong's (100.0 %)" in one.auditing.reason()


# --- parts of the table -----------------------------------------------------------------------------------------------


def slices_of(one: Audit) -> dict[str, Any]:
    return {each.name: each for each in one.auditing.slices()}


@pytest.mark.parametrize("n_wrong", [0, 120], ids=["passes", "cut"])
def test_each_part_has_its_share_of_what_its_own_test_has(tmp_path: Path, n_wrong: int) -> None:
    """Which of the two tests a part is held to hangs on the sample, so each may have its own part of delta alone."""
    world = replace(world_of(n_wrong), tenant=["a" if row % 2 else "b" for row in range(N)])
    target = 0.9 if n_wrong else 0.7
    with audit_of(world, tmp_path, target=target, settings={"certificate.per": "category"}) as one:
        one.auditing.audit()
        delta = one.auditing.attempts[-1].delta / 2
        name = one.auditing.asked["category"].to_numpy()
        for part in ("a", "b"):
            found, wrong = slices_of(one)[part], one.auditing._wrong[name == part]
            if n_wrong:
                assert found.most_errors == certify.most_errors(300, 30, len(wrong), delta)
            else:
                assert found == slice_of(part, n_rows=300, n_left=300, wrong=wrong, target=0.7, delta=delta)
                assert found.state == "certified"


def test_a_part_is_certified_not_met_or_too_small() -> None:
    right, wrong = np.zeros(100, np.bool_), np.ones(100, np.bool_)
    basis: dict[str, Any] = {"n_rows": 400, "n_left": 400, "target": 0.9, "delta": DELTA}
    assert slice_of("a", wrong=right, **basis).state == "certified"
    assert slice_of("a", wrong=wrong, **basis).state == "not met"
    small = slice_of("a", wrong=right[:5], **basis)
    assert small.state == "not certified"
    assert small.accuracy_low is None
    assert slice_of("a", wrong=right, **basis, n_wrong=41).state == "not met"
    less, more = (slice_of("a", wrong=right, **basis, n_wrong=n).accuracy_low for n in (4, 0))
    assert less is not None
    assert less == pytest.approx((more or 0) - 0.01)


@pytest.mark.parametrize("middle", [False, True], ids=["cal", "audit"])
def test_a_part_whose_rows_the_reference_does_not_answer_is_not_certified(tmp_path: Path, middle: bool) -> None:
    world = calibrated(1200, 21, error=0.02)
    world = replace(world, tenant=["a" if row % 2 else "b" for row in range(1200)])
    if middle:
        world = replace(world, confidence=np.full(1200, 0.3), middle=world.truth)
    known = {text: label for text, label in world.says(world.truth).items() if not text.endswith(("1", "3"))}
    run, _ = prove(
        world, tmp_path, kind="model", reference=Scripted(known, name="strong"), sizes=(100, 400, 600),
        target=0.7, settings={"certificate.per": "category"},
    )  # fmt: skip
    assert run.certificate is not None
    slices = {one.name: one for one in run.certificate.slices}
    assert run.certificate.n_unproven > 50
    assert slices["a"].state != "certified"  # all the gaps are there
    assert slices["b"].state in ("certified", "not certified")


def test_what_is_not_covered_is_said(tmp_path: Path) -> None:
    with audit_of(world_of(0), tmp_path, settings=UNTESTED) as one:
        assert one.job.reference is not None
        said = "; ".join(not_covered(one.job, one.job.reference))
    assert "whether strong itself is right" in said
    assert "any other table" in said
    assert said.count("your statement, not tested") == 2
    assert "trained on labels of this sample" in said


def test_before_anything_is_tested_no_part_is_certified(tmp_path: Path) -> None:
    """A run that a budget ended early has labels, and no test of them."""
    world = replace(world_of(0), tenant=["a" if row % 2 else "b" for row in range(N)])
    with audit_of(world, tmp_path, settings={"certificate.per": "category"}) as one:
        assert {part.state for part in one.auditing.slices()} == {"not certified"}
