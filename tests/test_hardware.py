"""What is read of GPUs, how batches follow their memory, and that nothing of it can end a run."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest
from gpus import GB, FakeGpus, gpu
from hypothesis import given
from hypothesis import strategies as st

from reviewopt import hardware
from reviewopt.hardware import MOST_MEMORY_SHARE, Guard, Nvml, Watch

SHARES = st.floats(0, 1)


class Clock:
    """Goes on when it is told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class NvmlError(Exception):
    """As the library's own."""


def library(**functions: Any) -> Any:
    """What the module pynvml looks like, with one GPU."""

    def refuse(*_: Any) -> None:
        raise NvmlError("Not Supported")

    made = {
        "NVMLError": NvmlError,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda at: at,
        "nvmlSystemGetDriverVersion": lambda: b"570.1",
        "nvmlDeviceGetName": lambda _: b"Tesla",
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=3 * GB, total=4 * GB),
        "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=42),
        "nvmlDeviceGetPowerUsage": lambda _: 61_500,
    }
    refused = {name: refuse for name, function in functions.items() if function is None}
    return SimpleNamespace(**{**made, **functions, **refused})


# What is read


def test_shares_are_of_1_and_power_is_in_watts() -> None:
    found = hardware.state(lambda: Nvml(library()))
    (one,) = found.gpus
    assert (found.driver, found.reason) == ("570.1", "")
    assert (one.name, one.memory_share, one.utilisation, one.power_w) == ("Tesla", 0.75, 0.42, 61.5)


@pytest.mark.parametrize("name", ["nvmlDeviceGetUtilizationRates", "nvmlDeviceGetPowerUsage"])
def test_what_a_gpu_does_not_tell_is_null_and_not_0(name: str) -> None:
    (one,) = hardware.state(lambda: Nvml(library(**{name: None}))).gpus
    assert [one.utilisation, one.power_w].count(None) == 1
    assert one.memory_share == 0.75


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        ({"nvmlInit": None}, "the driver says: Not Supported"),
        ({"nvmlDeviceGetCount": lambda: 0}, "the driver knows no GPU"),
        ({"nvmlDeviceGetMemoryInfo": None}, "the driver says: Not Supported"),
    ],
)
def test_without_a_gpu_that_answers_words_say_why(functions: dict[str, Any], words: str) -> None:
    found = hardware.state(lambda: Nvml(library(**functions)))
    assert (found.gpus, found.driver, found.reason) == ((), None, words)


def test_this_machine_is_read_or_says_why_not() -> None:
    found = hardware.state()
    assert bool(found.gpus) != bool(found.reason)
    if importlib.util.find_spec("pynvml") is None:
        assert "pip install 'reviewopt[gpu]'" in found.reason


def test_a_gpu_without_memory_is_full() -> None:
    assert gpu(0.5, total_bytes=0).memory_share == 1


# The guard


@given(n=st.lists(st.integers(1, 500), min_size=1, max_size=30), shares=st.lists(SHARES, min_size=30, max_size=30))
def test_room_is_never_above_what_is_asked_nor_below_nothing(n: list[int], shares: list[float]) -> None:
    clock, gpus = Clock(), FakeGpus([0.0])
    guard = Guard(gpus, clock=clock)
    for one, share in zip(n, shares, strict=False):
        gpus.shares, clock.now_s = [share], clock.now_s + 1
        room = guard.room(one)
        assert 0 <= room <= one
        assert room > 0 or share > MOST_MEMORY_SHARE


@given(past=st.lists(SHARES, max_size=12), two=st.tuples(SHARES, SHARES), n=st.integers(1, 500))
def test_more_free_memory_never_gives_less_room(past: list[float], two: tuple[float, float], n: int) -> None:
    rooms = []
    for last in sorted(two):
        clock, gpus = Clock(), FakeGpus([0.0])
        guard = Guard(gpus, clock=clock)
        for share in [*past, last]:
            gpus.shares, clock.now_s = [share], clock.now_s + 1
            room = guard.room(n)
        rooms.append(room)
    assert rooms[0] >= rooms[1]


def test_above_the_bound_batches_are_halved_down_to_one_and_then_wait() -> None:
    clock, gpus = Clock(), FakeGpus([MOST_MEMORY_SHARE + 0.01])
    guard = Guard(gpus, clock=clock)
    rooms = []
    for _ in range(6):
        rooms.append(guard.room(20))
        clock.now_s += 1
    assert rooms == [10, 5, 2, 1, 0, 0]
    assert guard.n_halved == 4
    gpus.shares = [MOST_MEMORY_SHARE]
    for _ in range(6):
        rooms.append(guard.room(20))
        clock.now_s += 1
    assert rooms[6:] == [1, 2, 5, 10, 20, 20]
    assert guard.waited_s == 2


def test_the_fullest_gpu_decides() -> None:
    assert Guard(FakeGpus([0.1, 0.9])).room(8) == 4


def test_waiting_ends_after_a_minute_and_begins_anew_once_there_was_room() -> None:
    clock, gpus = Clock(), FakeGpus([1.0])
    guard = Guard(gpus, clock=clock)
    waited = 0
    while guard.room(1) == 0:
        clock.now_s += 1
        waited += 1
    assert (waited, guard.waited_s) == (60, 60)
    clock.now_s += 1
    assert guard.room(1) == 1
    gpus.shares, clock.now_s = [0.1], clock.now_s + 1
    assert guard.room(1) == 1
    gpus.shares, clock.now_s = [1.0], clock.now_s + 1
    assert guard.room(1) == 0


def test_memory_is_not_read_for_every_pack_that_is_sent_at_once() -> None:
    gpus = FakeGpus([1.0])
    guard = Guard(gpus, clock=Clock())
    assert [guard.room(20) for _ in range(5)] == [10] * 5
    assert gpus.n_reads == 1


def test_a_driver_that_stops_to_tell_holds_nothing_up() -> None:
    gpus = FakeGpus([1.0], fails=True)
    assert Guard(gpus, clock=Clock()).room(20) == 20


# The watch


def test_a_watch_keeps_least_mean_and_most_of_each_gpu() -> None:
    clock, gpus = Clock(), FakeGpus([0.2, 0.5])
    watch = Watch(gpus, clock=clock)
    for share in (0.2, 0.4, 0.9):
        gpus.shares = [share, 0.5]
        watch.look()
        clock.now_s += 1
    first, second = watch.use()
    assert (first.n_looks, first.memory_share.least, first.memory_share.most) == (3, 0.2, 0.9)
    assert first.memory_share.mean == pytest.approx(0.5)
    assert (second.memory_share.least, second.memory_share.mean, second.memory_share.most) == (0.5, 0.5, 0.5)
    assert first.utilisation is not None
    assert first.utilisation.mean == pytest.approx(0.5)
    assert first.power_w is None


def test_a_watch_reads_once_a_second_at_most() -> None:
    clock, gpus = Clock(), FakeGpus([0.2])
    watch = Watch(gpus, clock=clock)
    for _ in range(10):
        watch.look()
        clock.now_s += 0.25
    assert gpus.n_reads == 3


def test_what_was_never_read_is_left_out() -> None:
    watch = Watch(FakeGpus([0.2], fails=True), clock=Clock())
    watch.look()
    assert list(watch.use()) == []


@given(shares=st.lists(SHARES, min_size=1, max_size=50))
def test_a_mean_lies_between_least_and_most(shares: list[float]) -> None:
    clock, gpus = Clock(), FakeGpus([0.0])
    watch = Watch(gpus, clock=clock)
    for share in shares:
        gpus.shares, clock.now_s = [share], clock.now_s + 1
        watch.look()
    (use,) = watch.use()
    assert use.n_looks == len(shares)
    assert use.memory_share.least <= use.memory_share.mean <= use.memory_share.most
