"""What a promise will take is said before anything is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import LABELS
from proofs import Knowing, World, calibrated, opened, prove

from reviewopt.answer import Answering
from reviewopt.foretold import Foretold, foretell
from reviewopt.job import Job
from reviewopt.local.learned import Learned
from reviewopt.models.scripted import Scripted

N = 600


@contextmanager
def foretold(world: World, folder: Path, *, knows: bool = False, **options: Any) -> Iterator[tuple[Foretold, Job]]:
    """What is foretold; with `knows`, the local model is known before the sample is."""
    with opened(world, folder, **options) as job:
        assert job.reference is not None
        learned = Learned(LABELS, None)
        if knows:
            learned.use(Knowing(world))  # type: ignore[arg-type]  # it says what a prediction must have
        planned = replace(job, reference=replace(job.reference, learned=learned))
        with Answering(planned) as answering:
            assert planned.reference is not None
            yield foretell(answering.ladder, planned.reference, n_questions=N), planned


@pytest.mark.parametrize("knows", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("middle", [True, False], ids=["between", "alone"])
@pytest.mark.parametrize("sizes", [(0, 100, 0), (50, 100, 200), (300, 300, 600)], ids=["cal", "audit", "large"])
def test_low_expected_and_high_come_in_this_order_and_nothing_is_asked(
    tmp_path: Path, knows: bool, middle: bool, sizes: tuple[int, int, int]
) -> None:
    world = calibrated(N, 50)
    strong = Scripted(world.says(world.truth), name="strong")
    ladder = [Scripted(world.says(world.truth), name="middle")] if middle else []
    with foretold(
        world, tmp_path, kind="model", reference=strong, ladder=ladder, sizes=sizes, knows=knows, with_again=True,
        settings={"certificate.self_agreement": 30},
    ) as (found, job):  # fmt: skip
        assert [one.source for one in found.reached] == [*(["middle"] if middle else []), "reference"]
        for one in found.reached:
            assert 0 <= one.low <= one.expected <= one.high
            assert one.survey is not None
            assert one.survey.n_questions == N
        share = found.plan.beyond_local_share
        assert 0 <= share.low <= share.expected <= share.high <= 1
        assert (found.plan.n_train, found.plan.n_cal, found.plan.n_audit) == sizes
        assert job.reference is not None
        assert not job.reference.attempts._path.exists()  # a plan is no promise
    assert not strong.requests
    assert not any(one.requests for one in ladder)


def test_the_surer_the_local_model_the_less_is_left_to_the_reference(tmp_path: Path) -> None:
    world = calibrated(N, 51)
    expected = []
    for at, sure in enumerate((0.999, 0.8, 0.4)):
        folder = tmp_path / str(at)
        folder.mkdir()
        told = replace(world, confidence=np.full(N, sure))
        with foretold(told, folder, kind="model", knows=True) as (found, _):
            expected.append(found.reached[-1].expected)
    assert expected == sorted(expected)
    assert expected[0] < expected[-1]


def test_a_person_or_a_column_is_not_asked_in_requests(tmp_path: Path) -> None:
    with foretold(calibrated(N, 52), tmp_path) as (found, _):
        assert found.reached == ()
        assert found.plan.n_again == 0
        assert found.plan.beyond_local_share.low >= 300 / N


def test_as_many_reviews_are_asked_twice_as_was_foretold(tmp_path: Path) -> None:
    world = calibrated(N, 53)
    options: dict[str, Any] = {
        "kind": "model", "with_again": True, "settings": {"certificate.self_agreement": 200}, "sizes": (60, 100, 0),
    }  # fmt: skip
    with foretold(world, tmp_path, **options) as (found, _):
        assert found.plan.n_again == 30  # a twentieth
    run, _out = prove(world, tmp_path, **options)
    assert run.certificate is not None
    assert run.certificate.self_agreement is not None
    assert run.certificate.self_agreement.n == found.plan.n_again


def test_a_run_asks_no_fewer_and_no_more_than_was_foretold(tmp_path: Path) -> None:
    world = calibrated(N, 54)
    with foretold(world, tmp_path, kind="model", knows=True, sizes=(0, 150, 0)) as (found, _):
        (reach,) = found.reached
    run, _ = prove(world, tmp_path, kind="model", sizes=(0, 150, 0))
    assert run.asked is not None
    assert reach.low <= run.asked.n_asked <= reach.high
