"""The pool's deadline: nothing is sent after it, what is under way is kept, and the rest is said to be left."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pool import FAULTS, REQUEST_USD, answers, asked_by, fault_of, is_right, label_of

from reviewopt.data import Question, Reply, Request
from reviewopt.errors import ModelError
from reviewopt.models.scripted import Fault, Scripted

LEFT = "the deadline was reached"


class Clock:
    """A clock that moves when it is told to, and by `tick_s` with each look at it."""

    def __init__(self, tick_s: float = 0.0) -> None:
        self._at_s = 1000.0
        self._tick_s = tick_s
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.pass_s(self._tick_s)

    def pass_s(self, seconds: float) -> float:
        with self._lock:
            self._at_s += seconds
            return self._at_s

    def slow(self, seconds: float = 1.0, faults: dict[int, Fault] | None = None) -> Callable[..., Fault | None]:
        """What makes each request take so long, and fail where `faults` say so."""

        def take(number: int, _: Request) -> Fault | None:
            self.pass_s(seconds)
            return (faults or {}).get(number)

        return take


class Counting(Scripted):
    """Counts the requests that are written, sent or not."""

    n_composed = 0

    def compose(self, questions: Sequence[Question], shuffle: random.Random) -> Request:
        self.n_composed += 1
        return super().compose(questions, shuffle)


def test_after_the_deadline_nothing_is_sent_what_is_under_way_is_kept_and_the_rest_is_left(tmp_path: Path) -> None:
    clock = Clock()
    model = Counting(label_of, faults=clock.slow())
    with asked_by(tmp_path, model, threads=1, clock=clock, ends_s=clock() + 3.5) as asked:
        asked.ask(50, size=2)
    assert len(model.requests) == model.n_composed == 4  # sent after 0, 1, 2 and 3 s; the last came back after 4
    assert asked.answered == list(range(8))
    assert asked.failed == dict.fromkeys(range(8, 50), LEFT)
    assert len(asked.done) == 50
    assert asked.pool.counts.n_over_deadline == 42
    assert not any(one.is_of_text for one in asked.done)


def test_a_deadline_that_was_reached_holds_for_what_is_asked_later(tmp_path: Path) -> None:
    clock = Clock()
    model = Scripted(label_of, faults=clock.slow())
    with asked_by(tmp_path, model, threads=1, clock=clock, ends_s=clock() + 0.5) as asked:
        asked.ask(2, size=2)
        assert asked.pool.is_late
        asked.ask(6, size=2)
    assert len(model.requests) == 1
    assert asked.pool.counts.n_over_deadline == 6


def test_a_deadline_that_is_far_changes_nothing(tmp_path: Path) -> None:
    clock = Clock()
    with asked_by(tmp_path, Scripted(label_of), threads=1, clock=clock, ends_s=clock() + 1) as asked:
        asked.ask(10, size=2)
        assert not asked.pool.is_late
    assert asked.answered == list(range(10))
    assert asked.pool.counts.n_over_deadline == 0


def test_what_a_late_reply_leaves_out_is_not_asked_again_and_not_held_against_the_text(tmp_path: Path) -> None:
    clock = Clock()

    def half(_: int, request: Request) -> Reply:
        clock.pass_s(1)
        return answers(request, range(5))

    model = Scripted(label_of, faults=half)
    with asked_by(tmp_path, model, threads=1, clock=clock, ends_s=clock() + 0.5) as asked:
        asked.ask(10, size=10)
    assert len(model.requests) == 1
    assert len(asked.answered) == 5
    assert set(asked.failed.values()) == {LEFT}
    assert not any(one.is_of_text for one in asked.done)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Reply(outcome="rate_limited", seconds=0.0, retry_after_s=290.0), id="rate_limited"),
        pytest.param("unavailable: HTTP 503", id="unavailable"),
    ],
)
def test_what_waits_for_an_endpoint_is_left_at_the_deadline(tmp_path: Path, fault: Fault) -> None:
    clock = Clock(tick_s=0.01)
    model = Scripted(label_of, faults=lambda *_: fault)
    with asked_by(tmp_path, model, threads=2, clock=clock, ends_s=clock() + 1) as asked:
        asked.ask(20, size=2)
    assert asked.failed == dict.fromkeys(range(20), LEFT)
    assert clock() < 1000 + 200  # the wait that was asked for was not waited


def test_what_waits_for_money_under_way_is_left_at_the_deadline(tmp_path: Path) -> None:
    clock, is_left = Clock(), threading.Event()

    def hold(_: int, __: Request) -> None:
        clock.pass_s(2)
        assert is_left.wait(20)

    model = Scripted(label_of, faults=hold)
    budgets = {"run_usd": REQUEST_USD}
    with asked_by(tmp_path, model, threads=2, clock=clock, ends_s=clock() + 1, budgets=budgets) as asked:
        for done in asked.pool.ask(asked.packs(4, 1)):
            asked.done += done
            is_left.set()
    assert asked.answered == [0]
    assert asked.failed == dict.fromkeys([1, 2, 3], LEFT)


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(0, 30),
    size=st.sampled_from([1, 3, 10]),
    threads=st.integers(1, 4),
    script=st.dictionaries(st.integers(1, 12), FAULTS, max_size=6),
    budget=st.none() | st.integers(0, 12),
    lasts_s=st.floats(0, 15),
)
def test_whatever_goes_wrong_before_the_deadline_every_question_is_done_once(
    tmp_path_factory: pytest.TempPathFactory,
    n: int,
    size: int,
    threads: int,
    script: dict[int, str],
    budget: int | None,
    lasts_s: float,
) -> None:
    folder, clock = tmp_path_factory.mktemp("home"), Clock(tick_s=0.01)

    def fault(number: int, request: Request) -> Fault | None:
        clock.pass_s(1)
        return fault_of(script[number], request) if number in script else None

    budgets = {} if budget is None else {"run_usd": budget * REQUEST_USD}
    failed: ModelError | None = None
    with asked_by(
        folder, Scripted(label_of, faults=fault, n_forms=3), threads=threads, budgets=budgets, cooldown_s=0.01,
        clock=clock, ends_s=clock() + lasts_s,
    ) as asked:  # fmt: skip
        try:
            asked.ask(n, size=size)
        except ModelError as error:
            failed = error
        assert asked.purse.held_usd == 0
    times = Counter(one.question.at for one in asked.done)
    assert set(times.values()) <= {1}
    assert failed is not None or sorted(times) == list(range(n))
    assert asked.pool.counts.n_over_deadline == list(asked.failed.values()).count(LEFT)
    assert is_right(asked.done)
    assert asked.pool.pace.n_in_flight == 0
