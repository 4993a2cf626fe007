"""What is promised is frozen and counted before the rows that test it are looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fakes import LABELS
from hypothesis import given
from hypothesis import strategies as st
from proofs import World, calibrated, first_rows, n_wrong, opened, people_say, prove, said_of

from reviewopt import certify, choosing, pipeline, report
from reviewopt.answer import Answering
from reviewopt.cache.asked import Batch
from reviewopt.certificate import Certificate
from reviewopt.dedup.exact import ExactCopies
from reviewopt.errors import UsageError
from reviewopt.job import Job
from reviewopt.models.scripted import Scripted
from reviewopt.proving import Frozen, Proving, risk_of
from reviewopt.slices import cut_slices

N = 500


@contextmanager
def proving_of(world: World, folder: Path, **options: Any) -> Iterator[tuple[Proving, Job, Answering]]:
    with opened(world, folder, **options) as job, Answering(job) as answering:
        assert job.reference is not None
        yield Proving(job, job.reference, answering.ladder), job, answering


def begun(world: World, folder: Path, **options: Any) -> Frozen:
    """What is frozen before the first row is labelled."""
    with proving_of(world, folder, **options) as (proving, _, _):
        return proving.begin(lambda _: None)


def between(world: World, *, error: float = 0.02, seed: int = 0, name: str = "middle") -> Scripted:
    """A model that is asked between the local one and the reference."""
    rng = np.random.default_rng(seed)
    off = rng.random(len(world.truth)) < error
    said = world.says(np.where(off, (world.truth + 1) % 3, world.truth))
    return Scripted(said, name=name, confidence=lambda _: 0.9)


@pytest.fixture
def unsure() -> World:
    """A world whose local model knows nothing."""
    return replace(calibrated(N, 30), confidence=np.full(N, 0.3))


def certificate_of(world: World, folder: Path, **options: Any) -> Certificate:
    run, _ = prove(world, folder, **options)
    assert run.certificate is not None
    return run.certificate


# --- what is one promise ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cal", "audit"])
def test_the_same_run_again_is_the_same_promise(tmp_path: Path, unsure: World, method: str) -> None:
    world, options = calibrated(N, 30), dict[str, Any](sizes=(0, 150, 0))
    if method == "audit":
        world, options = unsure, {"ladder": [between(unsure)], "sizes": (20, 100, 200), "kind": "model"}
    first, second = (begun(world, tmp_path, **options) for _ in range(2))
    assert first.method == method
    assert (first.attempt, first.digest, first.delta) == (second.attempt, second.digest, second.delta)
    assert first.attempt == 1


def test_cal_of_another_size_is_a_further_promise(tmp_path: Path) -> None:
    """Whoever looks at a fixed number of rows, and then at more, has looked twice."""
    world = calibrated(N, 31)
    numbers = [begun(world, tmp_path, sizes=(0, n, 0)).attempt for n in (100, 150, 100, 200)]
    assert numbers == [1, 2, 1, 3]


def test_train_of_another_size_is_a_further_promise(tmp_path: Path) -> None:
    world = calibrated(N, 31)
    assert [begun(world, tmp_path, sizes=(n, 100, 0)).attempt for n in (0, 20)] == [1, 2]


def test_an_audit_whose_slices_have_another_size_is_a_further_promise_where_a_cut_may_follow(
    tmp_path: Path, unsure: World
) -> None:
    every = [(20, 100, 150), (20, 100, 200), (20, 120, 150), (40, 100, 150), (20, 100, 150)]
    found = [certificate_of(unsure, tmp_path, kind="model", ladder=[between(unsure)], sizes=sizes) for sizes in every]
    assert [one.attempt for one in found] == [1, 2, 3, 4, 1]


def test_people_may_answer_on_and_it_stays_the_same_promise(tmp_path: Path, unsure: World) -> None:
    """What they add only goes on with an audit that may be looked at after any row."""
    human = {row: LABELS[code] for row, code in enumerate(unsure.truth.tolist())}
    numbers = [begun(unsure, tmp_path, kind="human", human=human, sizes=(0, 0, n)).attempt for n in (50, 100)]
    assert numbers == [1, 1]


def test_other_labels_that_are_audited_make_another_promise(tmp_path: Path, unsure: World) -> None:
    """Else whoever tries ten models on the same rows, each at all of delta, finds one that passes by luck."""
    options: dict[str, Any] = {"kind": "model", "sizes": (20, 100, 200)}
    found = []
    for seed in (0, 1, 0):
        folder = tmp_path / str(seed)
        folder.mkdir(exist_ok=True)
        (folder / "home").unlink(missing_ok=True)
        (folder / "home").symlink_to(tmp_path / "certificates")
        (tmp_path / "certificates").mkdir(exist_ok=True)
        ladder = [between(unsure, error=0.05, seed=seed, name=f"middle{seed}")]
        found.append(certificate_of(unsure, folder, ladder=ladder, **options))
    assert [one.method for one in found] == ["audit"] * 3
    assert [one.attempt for one in found] == [1, 2, 1]
    assert found[1].delta < found[0].delta


def test_the_same_labels_by_other_settings_are_the_same_promise(tmp_path: Path, unsure: World) -> None:
    options: dict[str, Any] = {"kind": "model", "sizes": (20, 100, 200)}
    for settings in ({}, {"pack.fixed": 5}):
        found = certificate_of(unsure, tmp_path, ladder=[between(unsure)], settings=settings, **options)
        assert (found.method, found.attempt) == ("audit", 1)


def test_a_run_that_a_budget_has_cut_short_tests_nothing_and_counts_nothing(tmp_path: Path, unsure: World) -> None:
    options: dict[str, Any] = {"kind": "model", "sizes": (20, 100, 200)}
    settings = {"budget.usd": 0.135}
    cut = certificate_of(unsure, tmp_path, ladder=[between(unsure)], settings=settings, **options)
    assert not cut.is_met
    assert (cut.accuracy_low, cut.n_audit) == (None, 0)
    assert "nothing was tested" in cut.reason
    whole = certificate_of(unsure, tmp_path, ladder=[between(unsure)], **options)
    assert (whole.is_met, whole.attempt) == (True, 1)


@pytest.mark.parametrize("usd", [0.02, 0.09])
def test_a_budget_that_cuts_the_sample_short_leaves_the_same_promise_to_the_next_run(
    tmp_path: Path, usd: float
) -> None:
    options: dict[str, Any] = {"kind": "model", "sizes": (60, 150, 0)}
    cut = certificate_of(calibrated(N, 34), tmp_path, settings={"budget.usd": usd}, **options)
    assert not cut.is_met
    whole = certificate_of(calibrated(N, 34), tmp_path, **options)
    assert (whole.method, whole.is_met, whole.attempt) == ("cal", True, 1)


def test_rows_that_are_due_to_the_reference_and_got_none_are_not_saved(tmp_path: Path) -> None:
    found = certificate_of(calibrated(N, 34), tmp_path, kind="model", sizes=(60, 150, 0), settings={"budget.usd": 0.02})
    assert found.n_unproven
    assert found.n_reference_saved == N - found.n_reference_rows - found.n_unproven


def test_the_size_of_a_chunk_makes_no_other_promise(tmp_path: Path, unsure: World) -> None:
    options: dict[str, Any] = {"kind": "model", "sizes": (20, 100, 200)}
    for rows in (N, 70):
        settings = {"process.chunk_rows": rows, "pack.fixed": 5}
        found = certificate_of(unsure, tmp_path, ladder=[between(unsure)], settings=settings, **options)
        assert (found.method, found.attempt) == ("audit", 1)


def test_other_answers_to_cal_make_another_promise(tmp_path: Path) -> None:
    world = calibrated(N, 32)
    other = replace(world, local=(world.local + 1) % 3)
    assert [begun(one, tmp_path, sizes=(0, 150, 0)).attempt for one in (world, other, world)] == [1, 2, 1]


def test_what_people_say_is_not_looked_at_before_the_test(tmp_path: Path) -> None:
    world = calibrated(N, 32)
    first = begun(world, tmp_path, sizes=(0, 150, 0))
    people_say(tmp_path, world, dict.fromkeys(range(N), "neutral"))
    second = begun(world, tmp_path, sizes=(0, 150, 0))
    assert (first.digest, first.n_errors, first.cut) == (second.digest, second.n_errors, second.cut)


def test_another_model_that_goes_by_the_same_name_is_another_promise(tmp_path: Path) -> None:
    world = calibrated(N, 32)
    numbers = []
    for digest in ("one", "two", "one"):
        with opened(world, tmp_path, kind="model", sizes=(0, 100, 0)) as job:
            assert job.reference is not None
            assert job.reference.paid is not None
            paid = replace(job.reference.paid, digest=digest)
            other = replace(job, reference=replace(job.reference, paid=paid))
            with Answering(other) as answering:
                assert other.reference is not None
                numbers.append(Proving(other, other.reference, answering.ladder).begin(lambda _: None).attempt)
    assert numbers == [1, 2, 1]


def test_a_column_read_otherwise_goes_by_the_same_name_and_is_another_promise(tmp_path: Path) -> None:
    world = calibrated(N, 32)
    maps = ("1=negative", "2=negative", "1=negative")
    numbers = [begun(world, tmp_path, settings={"columns.label_map": one}).attempt for one in maps]
    assert numbers == [1, 2, 1]


def test_a_promise_is_counted_before_cal_is_looked_at(tmp_path: Path) -> None:
    """A run that ends there has looked, and one that asks again under another target is a second one."""
    world = calibrated(N, 33)
    cut_off = Scripted(lambda _: "positive", name="strong", faults=lambda *_: "unauthorized: no")
    with pytest.raises(Exception, match="no"):
        begun(world, tmp_path, kind="model", reference=cut_off, sizes=(0, 100, 0))
    assert begun(world, tmp_path, kind="model", sizes=(0, 100, 0), target=0.8).attempt == 2


# --- the frozen policy ------------------------------------------------------------------------------------------------


def test_the_order_that_cal_tests_and_the_answers_are_those_that_the_run_writes(tmp_path: Path) -> None:
    """A look-up that finds less than the run's would test labels that nobody writes."""
    world = calibrated(N, 34)
    people_say(tmp_path, world, {row: LABELS[(world.truth[row] + 1) % 3] for row in range(0, N, 5)})
    packs = Scripted(world.says(world.truth), name="strong")
    options: dict[str, Any] = {"kind": "model", "ladder": [packs], "sizes": (0, 200, 0)}
    with opened(world, tmp_path, **options) as job, ExitStack() as stack:
        assert job.reference is not None
        answering = stack.enter_context(Answering(job))
        proving = Proving(job, job.reference, answering.ladder)
        proving._leave_to(0)
        batch = Batch(form=proving.cal["form"], sketches=None, tenant=None)
        tested = choosing.said_by(answering.ladder, job.rungs[0], batch, proving.cal)
        (chunk, form), *_ = pipeline._forms(job)
        asked = ExactCopies().see(form, None)
        fresh, _root = answering.answer(chunk.reviews, form, asked)
        rows = proving.cal["row"].to_numpy()
        at = asked.question[rows]
        np.testing.assert_array_equal(tested.label, fresh.label[at])
        np.testing.assert_array_equal(tested.confidence, fresh.confidence[at])


def test_what_cal_shows_too_wrong_is_cut_where_its_test_says(tmp_path: Path) -> None:
    world = calibrated(N, 35, error=0.25)
    with proving_of(world, tmp_path, sizes=(50, 200, 0)) as (proving, _, _):
        frozen = proving.begin(lambda _: None)
        rows = proving.cal["row"].to_numpy()
    assert frozen.method == "cal"
    wrong = world.local[rows] != world.truth[rows]
    risk = 1 - world.confidence[rows].astype(np.float32).astype(np.float64)
    most = certify.most_errors(N - 50, 50, 200, frozen.delta)
    assert frozen.most_errors == most
    assert frozen.cut == certify.cut(risk, wrong, most)
    assert frozen.n_errors == int((wrong & (risk < frozen.cut)).sum()) <= most


def test_a_rung_none_of_whose_answers_is_kept_is_asked_no_further(tmp_path: Path, unsure: World) -> None:
    hopeless = Scripted(unsure.says((unsure.truth + 1) % 3), name="middle")
    run, out = prove(unsure, tmp_path, kind="model", ladder=[hopeless], sizes=(20, 100, 10))
    assert run.certificate is not None
    assert run.certificate.method == "all"
    assert n_wrong(unsure, out) == 0
    assert sum(len(one.questions) for one in hopeless.requests) <= 120


def test_packs_of_the_reference_are_no_reason_to_look_at_the_labels_of_cal(tmp_path: Path, unsure: World) -> None:
    """Whether packs pay is said by TRAIN: else CAL would choose what it certifies."""
    strong = Scripted(unsure.says(unsure.truth), name="strong")
    packs = between(unsure, error=0.5, name="strong")
    with proving_of(unsure, tmp_path, kind="model", ladder=[packs], reference=strong, sizes=(50, 100, 0)) as (
        proving,
        _,
        _,
    ):
        known = proving._labels_of_train(lambda _: None)
        assert not proving._has_packs(known, lambda _: None)
        asked = {question.text for one in strong.requests for question in one.questions}
        assert asked == {f"review number {row}" for row in proving.train["row"].to_list()}


def test_a_model_that_contradicts_itself_is_refused_before_anything_is_labelled(tmp_path: Path) -> None:
    world, seen = calibrated(N, 36), set[str]()

    def fickle(text: str) -> str:
        code = int(world.truth[int(text.rsplit(maxsplit=1)[-1])]) + (text in seen)
        seen.add(text)
        return LABELS[code % 3]

    options: dict[str, Any] = {"settings": {"certificate.self_agreement": 40}, "with_again": True, "kind": "model"}
    with pytest.raises(UsageError, match=r"same answer twice to 0 of \d+ reviews"):
        prove(world, tmp_path, reference=Scripted(fickle, name="strong"), sizes=(60, 100, 0), **options)
    assert not (tmp_path / "out.parquet").exists()


def test_a_model_that_agrees_with_itself_is_asked_a_few_rows_twice_and_only_once_ever(tmp_path: Path) -> None:
    world = calibrated(N, 37)
    options: dict[str, Any] = {
        "settings": {"certificate.self_agreement": 40}, "with_again": True, "kind": "model", "sizes": (60, 100, 0),
    }  # fmt: skip
    first, second = certificate_of(world, tmp_path, **options), certificate_of(world, tmp_path, **options)
    assert first.self_agreement is not None
    assert 0 < first.self_agreement.n <= 40
    assert first.self_agreement.n == first.self_agreement.n_equal
    assert first.n_reference_calls == first.n_reference_rows + first.self_agreement.n
    assert second.n_reference_calls == 0
    assert second.self_agreement == first.self_agreement


def test_a_table_that_is_another_one_than_was_drawn_from_is_not_certified(tmp_path: Path) -> None:
    world = calibrated(N, 38)
    with opened(world, tmp_path) as job:
        assert job.reference is not None
        other = replace(job, reference=replace(job.reference, fingerprint="0" * 64))
        run = pipeline.process(other, lambda *_: None)
    assert run.certificate is not None
    assert not run.certificate.is_met
    assert "changed" in run.certificate.reason


# --- labels of sampled rows are those of any row ----------------------------------------------------------------------


def test_copies_of_audited_rows_are_no_better_in_the_next_run(tmp_path: Path) -> None:
    texts = np.arange(900) // 3
    world = calibrated(900, 39)
    truth = world.truth[texts * 3]
    off = texts % 15 == 0
    world = World(
        truth=truth, local=truth, confidence=np.full(900, 0.3), text=texts,
        middle=np.where(off, (truth + 1) % 3, truth),
    )  # fmt: skip
    one, two = (certificate_of(world, tmp_path, kind="model", sizes=(20, 100, 300)) for _ in range(2))
    assert one.method == two.method == "audit"
    assert one.n_errors > 0
    assert (one.n_errors, one.n_audit, one.attempt) == (two.n_errors, two.n_audit, two.attempt)


def test_what_the_references_packs_answered_is_audited_against_its_single_answers(tmp_path: Path) -> None:
    """The packs of TRAIN and CAL, which were bought, are labels like any: only their rows have left the audit."""
    world = replace(calibrated(900, 40), confidence=np.full(900, 0.3))
    packs = between(world, error=0.04, seed=1, name="strong")
    with opened(world, tmp_path, kind="model", ladder=[packs], sizes=(100, 100, 300)) as job:
        assert job.reference is not None
        run = pipeline.process(job, lambda *_: None)
        audited = job.reference.drawn.frame["row"].to_numpy()[200:]
    assert run.certificate is not None
    assert run.certificate.method == "audit"
    said = np.array([LABELS.index(str(packs._script[f"review number {row}"])) for row in audited])  # type: ignore[index]
    first = run.certificate.audits[0]
    assert first.n_errors == int((said != world.truth[audited])[: first.n_audited].sum())


# --- parts of the table -----------------------------------------------------------------------------------------------


def test_an_unknown_confidence_has_the_risk_that_is_given() -> None:
    risk = risk_of(np.array([0.25, np.nan, 1.0], np.float32), unknown=0.7)
    assert risk.tolist() == [0.75, 0.7, 0.0]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10), st.booleans()), min_size=1, max_size=120),
    st.floats(0, 11),
)
def test_a_parts_cut_is_at_most_the_tables_and_leaves_no_more_errors_than_its_test_allows(
    rows: list[tuple[str, int, bool]], table_cut: float
) -> None:
    name = pl.Series([row[0] for row in rows], dtype=pl.String)
    risk, wrong = np.array([row[1] for row in rows], np.float64), np.array([row[2] for row in rows], np.bool_)
    n_of = {one: 2 * name.to_list().count(one) + 1 for one in "abcd"}
    cuts, slices = cut_slices(name, risk, wrong, n_of=n_of, n_known={"a": 1}, target=0.6, delta=0.05, cut=table_cut)
    assert [one.name for one in slices] == [*n_of]
    for one in slices:
        here = name.to_numpy() == one.name
        accepted = here & (risk < cuts[one.name])
        assert cuts[one.name] <= table_cut
        assert one.n_errors == int((wrong & accepted).sum())
        n_left = n_of[one.name] - (one.name == "a")
        budget = certify.error_budget(n_of[one.name], 0.6)
        most = certify.most_errors(n_left, min(budget, n_left), int(here.sum()), 0.05 / 4) if here.any() else -1
        assert one.most_errors == (most if most >= 0 else None)
        assert one.state == ("certified" if most >= 0 else "not certified")
        assert one.n_errors <= most or most < 0
        assert (one.accuracy_low is None) == (most < 0)


def test_a_table_of_no_train_no_cal_keeps_what_the_last_rung_says(tmp_path: Path, unsure: World) -> None:
    frozen = begun(unsure, tmp_path, kind="human", human={0: "neutral"}, sizes=(0, 0, 1))
    assert (frozen.method, frozen.cut) == ("audit", math.inf)
    assert frozen.path == (frozen.policy,)


@pytest.mark.parametrize("method", ["cal", "audit"])
def test_history_that_was_made_with_the_sample_in_hand_proves_nothing(tmp_path: Path, method: str) -> None:
    """The output of a run has the reference's labels where it was sampled: an archive filled from it is right there."""
    world = calibrated(900, 41, error=0.3)
    options: dict[str, Any] = {"sizes": (0, 300, 0)}
    if method == "audit":
        options = {"sizes": (0, 0, 300), "kind": "model", "ladder": [between(world, error=0.3)]}
    with opened(world, tmp_path, **options) as job:
        assert job.reference is not None
        sampled = np.isin(np.arange(900), job.reference.drawn.frame["row"].to_numpy())
    said = np.where(sampled, world.truth, world.local).tolist()
    people_say(tmp_path, world, {row: LABELS[code] for row, code in enumerate(said)})
    run, out = prove(world, tmp_path, **options)
    assert run.certificate is not None
    assert not run.certificate.is_met or n_wrong(world, out) <= 90
    assert run.certificate.accuracy_low is None or n_wrong(world, out) <= 900 * (1 - run.certificate.accuracy_low)


@pytest.mark.parametrize("method", ["cal", "audit"])
def test_rows_without_a_text_are_neither_drawn_nor_promised_anything(tmp_path: Path, method: str) -> None:
    world = calibrated(900, 42, error=0.02)
    empty = np.arange(900) % 9 == 0
    world = replace(world, text=np.where(empty, -1, np.arange(900)))
    options: dict[str, Any] = {"sizes": (0, 300, 0)}
    if method == "audit":
        options = {"sizes": (0, 0, 500), "kind": "model", "ladder": [between(world)]}
    run, out = prove(world, tmp_path, **options)
    found = run.certificate
    assert found is not None
    assert (found.method, found.n_rows, found.n_empty, found.is_met) == (method, 800, 100, True)
    assert out["sentiment"].is_null().to_numpy().tolist() == empty.tolist()
    assert (out.filter(pl.Series(empty))["sentiment_source"] == "empty").all()
    assert found.n_reference_rows == int((out["sentiment_source"] == "reference").sum())


def test_packs_of_the_reference_alone_that_do_not_pay_are_asked_of_the_sample_only(tmp_path: Path) -> None:
    """Without a local model there is nothing that CAL could certify: a packed answer hangs on its pack mates."""
    world = calibrated(N, 42)
    packs = between(world, error=0.5, name="strong")
    with opened(world, tmp_path, kind="model", ladder=[packs], sizes=(50, 100, 50)) as job:
        run = pipeline.process(replace(job, rungs=job.rungs[1:]), lambda *_: None)
    assert run.certificate is not None
    assert (run.certificate.method, run.certificate.is_met, run.certificate.accuracy_low) == ("all", True, 1.0)
    assert sum(len(one.questions) for one in packs.requests) <= 150  # TRAIN, and CAL for what the first rung would say
    assert run.n_by_source["reference"] == N


def test_what_nothing_keeps_is_another_promise_each_time(tmp_path: Path) -> None:
    """A model may say something else the next time: who asks until it fits looks more than once."""
    options: dict[str, Any] = {"kind": "model", "sizes": (50, 100, 0)}
    kept = [begun(calibrated(N, 43), tmp_path, **options).attempt for _ in range(2)]
    lost = [
        begun(calibrated(N, 43), tmp_path, settings={"cache.archive.enabled": False}, **options).attempt
        for _ in range(2)
    ]
    assert (kept, lost) == ([1, 1], [2, 3])


def test_rows_of_train_without_an_answer_take_from_the_errors_that_are_allowed(tmp_path: Path) -> None:
    world = calibrated(N, 44)
    train = first_rows(world, tmp_path, "strong", 50)
    known = world.says(world.truth)
    for row in train[:10].tolist():
        del known[said_of(row)]
    reference = Scripted(known, name="strong")
    with proving_of(world, tmp_path, kind="model", reference=reference, sizes=(50, 200, 0)) as (proving, _, _):
        frozen = proving.begin(lambda _: None)
    assert frozen.most_errors == certify.most_errors(N - 50, 50 - 10, 200, frozen.delta)


def test_where_no_policy_is_good_enough_nothing_is_compared_with_what_it_would_have_said(
    tmp_path: Path, unsure: World
) -> None:
    with proving_of(unsure, tmp_path, kind="model", ladder=[between(unsure, error=0.9)], sizes=(50, 100, 50)) as (
        proving,
        _,
        _,
    ):
        assert proving.begin(lambda _: None).method == "all"
    assert proving.profile is None


def test_of_a_table_that_changed_no_bound_is_left_for_a_gate(tmp_path: Path) -> None:
    world = replace(calibrated(N, 45), tenant=["a"] * N)
    with opened(world, tmp_path, settings={"certificate.per": "category"}) as job:
        assert job.reference is not None
        other = replace(job, reference=replace(job.reference, fingerprint="0" * 64))
        run = pipeline.process(other, lambda *_: None)
    assert run.certificate is not None
    assert run.certificate.accuracy_low is None
    assert run.certificate.slices == ()
    assert report.accuracy_breach(report.of_run(run), 0.5) is not None


@pytest.mark.parametrize("leaves_out", [False, True], ids=["right on the sample", "silent on the sample"])
@pytest.mark.parametrize("kind", ["model", "column"])
def test_history_that_knew_the_sample_proves_nothing_of_a_large_table_either(
    tmp_path: Path, kind: str, *, leaves_out: bool
) -> None:
    """Nothing of it is looked at before the test, and every label that it changes after it counts as wrong."""
    n = 6000
    world = calibrated(n, 46)
    off = np.random.default_rng(0).random(n) < 0.4
    options: dict[str, Any] = {"kind": kind, "ladder": [between(world)], "sizes": (20, 50, 150)}
    options["settings"] = {"pack.fixed": 50}  # as many rows in fewer requests
    with opened(world, tmp_path, **options) as job:
        assert job.reference is not None
        sampled = np.isin(np.arange(n), job.reference.drawn.frame["row"].to_numpy())
    said = np.where(off & ~sampled, (world.truth + 1) % 3, world.truth).tolist()
    told = {row: LABELS[code] for row, code in enumerate(said) if not (leaves_out and sampled[row])}
    people_say(tmp_path, world, told)
    run, out = prove(world, tmp_path, **options)
    assert n_wrong(world, out) > 0.3 * n
    assert run.certificate is not None
    assert not run.certificate.is_met
    assert "people or labelled history" in run.certificate.reason


def test_people_who_agree_with_the_labels_cost_nothing(tmp_path: Path) -> None:
    world = calibrated(N, 47)
    alone, _ = prove(world, tmp_path, sizes=(0, 150, 0))
    people_say(
        tmp_path, world, {row: LABELS[world.local[row]] for row in range(0, N, 5) if world.confidence[row] > 0.99}
    )
    beside, out = prove(world, tmp_path, sizes=(0, 150, 0))
    assert alone.certificate is not None
    assert beside.certificate is not None
    assert beside.certificate.attempt == 1
    assert (out["sentiment_source"].cast(pl.String).is_in(["l1", "l2", "l3"])).sum() > 0
    assert beside.certificate.accuracy_low == alone.certificate.accuracy_low
    assert beside.certificate.n_reference_rows == (out["sentiment_source"] == "reference").sum()
