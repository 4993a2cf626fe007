"""GPUs of this machine in a run: they bound the packs of a model in this process, and are watched beside a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from fakes import PAID, make_job
from gpus import FakeGpus
from test_asking import APART, label_of, table_of, text_of

from reviewopt import load, pipeline
from reviewopt.config import load_task
from reviewopt.hardware import Gpu
from reviewopt.models.scripted import Scripted
from reviewopt.record import HardwareUse

N, SIZE = 40, 10


def asked_beside(
    folder: Path, place: Literal["process", "host", "remote"], gpus: FakeGpus | None, why: str = ""
) -> tuple[HardwareUse | None, list[int]]:
    """Label a table by a model in such a place; return what is recorded of GPUs, and the sizes of its requests."""
    model = Scripted(label_of, name="gpt", place=place)
    source = table_of(folder, [text_of(at) for at in range(N)])
    settings = {**APART, "pack.fixed": SIZE}
    with (
        load.open_table([str(source)], task=load_task("sentiment"), chunk_rows=1000) as table,
        make_job(table, folder, settings=settings, scripted=model, **PAID) as job,
    ):
        (paid,) = job.paid
        run = pipeline.process(replace(job, rungs=(replace(paid, gpus=gpus, no_gpus=why),)), lambda *_: None)
    assert run.asked is not None
    assert run.n_by_source["gpt"] == N
    return run.asked.hardware, [len(request.questions) for request in model.requests]


class Freed(FakeGpus):
    """Whose memory becomes free after two looks at it."""

    def read(self, at: int) -> Gpu:
        found = super().read(at)
        if self.n_reads == 2 * self.count:
            self.shares = [0.5] * self.count
        return found


def test_above_the_bound_a_model_in_this_process_gets_smaller_packs(tmp_path: Path) -> None:
    use, sizes = asked_beside(tmp_path, "process", Freed([0.5, 0.9]))
    assert sizes[0] <= SIZE // 2
    assert use is not None
    assert use.n_halved > 0


@pytest.mark.parametrize(("place", "share"), [("process", 0.7), ("host", 0.9)])
def test_below_the_bound_and_beside_a_server_packs_stay_as_they_are(
    tmp_path: Path, place: Literal["process", "host"], share: float
) -> None:
    use, sizes = asked_beside(tmp_path, place, FakeGpus([share]))
    assert sizes == [SIZE] * (N // SIZE)
    assert use is not None
    assert (use.place, use.n_halved, [one.memory_share.most for one in use.gpus]) == (place, 0, [share])


def test_without_a_gpu_the_record_says_why_and_nothing_fails(tmp_path: Path) -> None:
    use, sizes = asked_beside(tmp_path, "host", None, "there is no driver")
    assert sizes == [SIZE] * (N // SIZE)
    assert use is not None
    assert (use.reason, use.driver, use.gpus) == ("there is no driver", None, ())


def test_a_driver_that_stops_to_answer_ends_no_run(tmp_path: Path) -> None:
    _, sizes = asked_beside(tmp_path, "process", FakeGpus([0.9], fails=True))
    assert sum(sizes) == N


def test_nothing_is_recorded_of_this_machine_for_a_model_elsewhere(tmp_path: Path) -> None:
    use, _ = asked_beside(tmp_path, "remote", None)
    assert use is None
