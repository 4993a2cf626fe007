"""The pool: every question once, whatever the endpoint does; nothing is sent that may not be."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes import price_a_request, settings_of
from gpus import FakeGpus
from hypothesis import given, settings
from hypothesis import strategies as st
from purses import counted

from reviewopt.ask.again import Done
from reviewopt.ask.paying import Paying
from reviewopt.ask.pool import Pool
from reviewopt.budget import Purse
from reviewopt.config import load_task
from reviewopt.data import Question, Reply, Request, Usage
from reviewopt.errors import ModelError
from reviewopt.hardware import Guard
from reviewopt.models.protocol import Limits
from reviewopt.models.scripted import Fault, Scripted
from reviewopt.prices import Price, Rate

LABELS = ("negative", "neutral", "positive")
REQUEST_USD = Decimal("0.001")
# The endpoints of these tests say to wait for seconds: a hundred of them pass in one of ours.
FASTER = 100


def fast_clock() -> float:
    return time.monotonic() * FASTER


def label_of(text: str) -> str:
    return LABELS[int(text) % 3]


@dataclass
class Asked:
    """What a pool did with the packs: `pulled` counts packs that it took."""

    pool: Pool
    purse: Purse
    done: list[Done] = field(default_factory=list)
    pulled: int = 0

    @property
    def answered(self) -> list[int]:
        return sorted(one.question.at for one in self.done if one.answer is not None)

    @property
    def failed(self) -> dict[int, str]:
        return {one.question.at: one.reason for one in self.done if one.answer is None}

    def packs(self, n: int, size: int, tenants: Sequence[str] = ("",)) -> Iterator[tuple[Question, ...]]:
        for start in range(0, n, size):
            self.pulled += 1
            yield tuple(
                Question(at=at, text=str(at), n_tokens=1, tenant=tenants[at % len(tenants)], review_id=str(at))
                for at in range(start, min(n, start + size))
            )

    def ask(self, n: int, size: int = 1, tenants: Sequence[str] = ("",)) -> Asked:
        """Ask n questions in packs, and keep all that is done."""
        return self.keep(self.pool.ask(self.packs(n, size, tenants)))

    def keep(self, stream: Iterator[list[Done]]) -> Asked:
        """Keep all that is done until the end, or until an error."""
        for done in stream:
            self.done += done
        return self


@contextmanager
def asked_by(
    folder: Path,
    model: Scripted,
    *,
    threads: int = 4,
    seed: int | None = 1,
    clock: Callable[[], float] = fast_clock,
    is_stopping: Callable[[], bool] = lambda: False,
    budgets: dict[str, Any] | None = None,
    price: Price | None = None,
    room: Callable[[int], int] | None = None,
    ends_s: float | None = None,
    **ask: Any,
) -> Iterator[Asked]:
    merged = settings_of({"ask.threads": threads, **{f"ask.{name}": value for name, value in ask.items()}})
    with Purse(folder / "spend", run_id="a", model="m", endpoint="in process", **(budgets or {})) as purse:
        paying = Paying(price or price_a_request(str(REQUEST_USD)), purse)
        with Pool(
            model,
            load_task("sentiment"),
            paying,
            merged.ask,
            is_stopping=is_stopping,
            room=room,
            seed=seed,
            clock=clock,
            ends_s=ends_s,
        ) as pool:
            yield Asked(pool, purse)


def answers(request: Request, kept: Sequence[int], value: Callable[[str], object] = label_of) -> Reply:
    """A reply that answers only the reviews at these places of the request."""
    values = tuple((request.ids[at], value(request.questions[at].text)) for at in kept if at < len(request.ids))
    return Reply(outcome="answered", seconds=0.0, values=values, usage=Usage(input=1), is_charged=True)


def is_right(done: Sequence[Done]) -> bool:
    return all(one.answer is None or one.answer.label == int(one.question.text) % 3 for one in done)


# Every question once


FAULTS = st.sampled_from(
    ["rate_limited", "unavailable", "no_reply", "unsupported", "refused", "spoiled", "half", "none", "wrong", "strange"]
)


def fault_of(name: str, request: Request) -> Fault:
    if name == "half":
        return answers(request, range(0, len(request.ids), 2))
    if name == "none":
        return answers(request, [])
    if name == "wrong":
        return answers(request, range(len(request.ids)), lambda _: "purple")
    if name == "strange":
        reply = answers(request, range(len(request.ids)))
        values = (*reply.values, *reply.values[:1], ("r99", "negative"), ("", None))
        return Reply(outcome="answered", seconds=0.0, values=values, usage=Usage(input=1), is_charged=True)
    return name


@settings(deadline=None, max_examples=15)
@given(
    n=st.integers(0, 30),
    size=st.sampled_from([1, 3, 10]),
    threads=st.integers(1, 6),
    script=st.dictionaries(st.integers(1, 25), FAULTS, max_size=9),
    budget=st.none() | st.integers(0, 12),
    n_forms=st.sampled_from([1, 3]),
)
def test_whatever_goes_wrong_every_question_is_done_once_and_the_costs_add_up(
    tmp_path_factory: pytest.TempPathFactory,
    n: int,
    size: int,
    threads: int,
    script: dict[int, str],
    budget: int | None,
    n_forms: int,
) -> None:
    folder = tmp_path_factory.mktemp("home")
    model = Scripted(
        label_of, faults=lambda at, request: fault_of(script[at], request) if at in script else None, n_forms=n_forms
    )
    budgets = {} if budget is None else {"run_usd": budget * REQUEST_USD}
    costs: dict[int, Decimal] = {}
    failed: ModelError | None = None
    with asked_by(folder, model, threads=threads, budgets=budgets, cooldown_s=0.01) as asked:
        try:
            for done in asked.pool.ask(asked.packs(n, size)):
                asked.done += done
                paying = asked.pool._paying
                costs |= {one.question.at: paying.cost_of(one.question.at) for one in done}
        except ModelError as error:
            failed = error
        spent = asked.pool._paying.spent_usd
        assert asked.purse.held_usd == 0
    times = Counter(one.question.at for one in asked.done)
    assert set(times.values()) <= {1}
    assert is_right(asked.done)
    if failed is None:
        assert sorted(times) == list(range(n))
        assert sum(costs.values()) == spent
    else:
        assert list(script.values()).count("unsupported") >= 3, failed
    assert spent == counted(folder / "spend").get("run:a", Decimal(0))
    assert budget is None or spent <= budget * REQUEST_USD
    assert asked.pool.pace.n_in_flight == 0


def test_answers_reach_their_questions_although_each_request_is_shuffled(tmp_path: Path) -> None:
    model = Scripted(label_of)
    with asked_by(tmp_path, model) as asked:
        asked.ask(60, size=20)
    assert any([one.at for one in request.questions] != sorted(one.at for one in request.questions)
               for request in model.requests)  # fmt: skip
    assert asked.answered == list(range(60))
    assert is_right(asked.done)


def test_without_a_seed_no_two_pools_ask_in_one_order(tmp_path: Path) -> None:
    orders = []
    for name in "ab":
        model = Scripted(label_of)
        with asked_by(tmp_path / name, model, seed=None) as asked:
            asked.ask(40, size=40)
        orders.append([one.at for one in model.requests[0].questions])
    assert orders[0] != orders[1]


def test_a_pool_can_be_asked_again(tmp_path: Path) -> None:
    with asked_by(tmp_path, Scripted(label_of)) as asked:
        for n in (5, 0, 7):
            asked.ask(n, size=2)
    assert sorted(one.question.at for one in asked.done) == sorted([*range(5), *range(7)])


def test_only_what_is_missing_is_asked_again(tmp_path: Path) -> None:
    model = Scripted(label_of, faults=lambda number, request: answers(request, range(7)) if number == 1 else None)
    with asked_by(tmp_path, model, threads=1) as asked:
        asked.ask(10, size=10)
    assert [len(request.questions) for request in model.requests] == [10, 3]
    assert asked.answered == list(range(10))


@pytest.mark.parametrize("n", [2, 7, 20, 64])
def test_a_text_that_is_always_refused_is_soon_known_and_the_others_are_answered(tmp_path: Path, n: int) -> None:
    def refuse(_: int, request: Request) -> str | None:
        return "refused: a filter" if any(one.at == n // 2 for one in request.questions) else None

    model = Scripted(label_of, faults=refuse)
    with asked_by(tmp_path, model) as asked:
        asked.ask(n, size=n)
    assert asked.failed == {n // 2: "a filter"}
    assert len(model.requests) <= 2 * (n - 1).bit_length() + 1
    (one,) = [one for one in asked.done if one.answer is None]
    assert one.is_of_text


def test_what_an_endpoint_fails_again_and_again_is_given_up_and_not_held_against_the_text(tmp_path: Path) -> None:
    def fail(_: int, request: Request) -> str | None:
        return "unavailable: HTTP 500" if any(one.at == 4 for one in request.questions) else None

    with asked_by(tmp_path, Scripted(label_of, faults=fail), most_attempts=3) as asked:
        asked.ask(10, size=2)
    assert asked.failed == dict.fromkeys([4, 5], "the endpoint failed 3 times: HTTP 500")
    assert not any(one.is_of_text for one in asked.done)


def test_what_is_limited_is_asked_until_it_passes(tmp_path: Path) -> None:
    model = Scripted(label_of, faults=dict.fromkeys(range(1, 9), "rate_limited"))
    with asked_by(tmp_path, model) as asked:
        asked.ask(10)
    assert asked.answered == list(range(10))
    assert asked.pool.counts.outcomes == {"rate_limited": 8, "answered": 10}


def test_the_caps_on_requests_and_tokens_lose_nothing(tmp_path: Path) -> None:
    limits = Limits(context_tokens=128_000, most_output_tokens=8192, rpm=600, tpm=60_000)
    with asked_by(tmp_path, Scripted(label_of, limits=limits)) as asked:
        asked.ask(40, size=2)
    assert asked.answered == list(range(40))


@pytest.mark.parametrize("fault", [None, "spoiled", "refused", "unavailable", "rate_limited", "unsupported"])
def test_reviews_in_requests_are_those_asked_once_and_those_asked_again(tmp_path: Path, fault: str | None) -> None:
    model = Scripted(label_of, faults={1: fault} if fault else {}, n_forms=2)
    with asked_by(tmp_path, model) as asked:
        asked.ask(20, size=4)
    counts = asked.pool.counts
    assert counts.n_asked == sum(len(one.questions) for one in model.requests)
    assert counts.n_asked - counts.n_asked_again == 20


# Where there is no hope


@pytest.mark.parametrize("first", [1, 5])
def test_without_hope_it_ends_after_as_many_requests_as_threads_and_keeps_what_was_answered(
    tmp_path: Path, first: int
) -> None:
    model = Scripted(label_of, faults=lambda number, _: "hopeless: no quota left" if number >= first else None)
    with asked_by(tmp_path, model, threads=3) as asked, pytest.raises(ModelError, match="no quota left"):
        asked.ask(300, size=2)
    assert len(model.requests) <= first - 1 + 3
    assert len(asked.answered) == 2 * (first - 1)
    assert is_right(asked.done)


def test_an_endpoint_that_never_comes_back_is_given_up(tmp_path: Path) -> None:
    model = Scripted(label_of, faults=lambda number, _: "unavailable: HTTP 503" if number > 3 else None)
    with (
        asked_by(tmp_path, model, threads=2, cooldown_s=0.01, most_attempts=100) as asked,
        pytest.raises(ModelError, match="keeps failing: HTTP 503"),
    ):
        asked.ask(300)
    assert len(asked.answered) == 3
    assert len(model.requests) <= 3 + 10 + 6 + 2


def test_an_endpoint_that_comes_back_is_used_again_and_loses_nothing(tmp_path: Path) -> None:
    model = Scripted(label_of, faults=dict.fromkeys(range(4, 17), "unavailable"))
    with asked_by(tmp_path, model, cooldown_s=0.01) as asked:
        asked.ask(60)
    assert asked.answered == list(range(60))


def test_what_is_sent_to_try_a_failing_endpoint_is_not_given_up_for_it(tmp_path: Path) -> None:
    model = Scripted(label_of, faults=dict.fromkeys(range(1, 15), "unavailable"))
    with asked_by(tmp_path, model, clock=time.monotonic, threads=10, cooldown_s=0.001, most_attempts=2) as asked:
        asked.ask(10)
    assert asked.answered == list(range(10))


def test_an_endpoint_that_asks_to_wait_for_very_long_is_not_waited_for(tmp_path: Path) -> None:
    wait = Reply(outcome="rate_limited", seconds=0.0, retry_after_s=3600.0)
    with (
        asked_by(tmp_path, Scripted(label_of, faults={2: wait})) as asked,
        pytest.raises(ModelError, match="asks to wait 3600 s"),
    ):
        asked.ask(300)
    assert len(asked.answered) <= 20


def test_a_model_with_a_bug_does_not_hang_the_run(tmp_path: Path) -> None:
    def broken(number: int, _: Request) -> str | None:
        if number == 3:
            raise RuntimeError("a bug")
        return None

    with asked_by(tmp_path, Scripted(label_of, faults=broken)) as asked, pytest.raises(ModelError, match="a bug"):
        asked.ask(300)
    assert 0 < len(asked.answered) < 300
    assert counted(tmp_path / "spend")["run:a"] == (len(asked.answered) + 1) * REQUEST_USD  # it may have been paid for


@pytest.mark.parametrize("n_forms", [1, 3])
@pytest.mark.parametrize("outcome", ["spoiled", "answered"])
def test_a_model_that_never_gives_a_valid_answer_is_given_up(tmp_path: Path, n_forms: int, outcome: str) -> None:
    def script(_: int, request: Request) -> Fault:
        return outcome if outcome == "spoiled" else answers(request, range(len(request.ids)), lambda _: "purple")

    model = Scripted(label_of, faults=script, n_forms=n_forms)
    with asked_by(tmp_path, model) as asked, pytest.raises(ModelError, match=r"not one valid answer in 1[6-9] replies"):
        asked.ask(200, size=20)
    assert 16 <= len(model.requests) <= 16 + 3
    assert not asked.done


@pytest.mark.parametrize("outcome", ["spoiled", "answered"])
def test_few_reviews_that_never_work_do_not_end_a_run(tmp_path: Path, outcome: str) -> None:
    model = Scripted(label_of if outcome == "spoiled" else lambda _: "purple",
                     faults=(lambda *_: "spoiled: not JSON") if outcome == "spoiled" else None)  # fmt: skip
    with asked_by(tmp_path, model, most_tries=5) as asked:
        asked.ask(15)
    assert len(model.requests) == 15 * 5
    assert sorted(asked.failed) == list(range(15))
    assert not any(one.is_of_text for one in asked.done)


def test_one_valid_answer_ends_the_row_of_vain_replies(tmp_path: Path) -> None:
    def script(number: int, _: Request) -> Fault | None:
        return None if number % 12 == 0 else "spoiled: not JSON"

    with asked_by(tmp_path, Scripted(label_of, faults=script), most_tries=2) as asked:
        asked.ask(100, size=10)
    assert len(asked.done) == 100
    assert asked.answered
    assert asked.failed


def test_refusals_end_no_run(tmp_path: Path) -> None:
    model = Scripted(label_of, faults=lambda *_: "refused: a filter")
    with asked_by(tmp_path, model, most_tries=1) as asked:
        asked.ask(60)
    assert len(asked.failed) == 60
    assert all(one.is_of_text for one in asked.done)


class SetClock:
    """A clock that goes as ours does, and jumps when it is told."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


def test_a_429_after_a_long_time_without_questions_is_one_429(tmp_path: Path) -> None:
    clock = SetClock()
    wait = Reply(outcome="rate_limited", seconds=0.0, retry_after_s=0.01)
    with asked_by(tmp_path, Scripted(label_of, faults={2: wait}), clock=clock, threads=1) as asked:
        asked.ask(1)
        clock.ahead_s = 3600  # a slow table: an hour until its next chunk is there
        asked.ask(5)
    assert len(asked.answered) == 6


def test_an_endpoint_that_limits_everything_for_a_quarter_of_an_hour_is_given_up(tmp_path: Path) -> None:
    clock = SetClock()

    def limit(*_: Any) -> Reply:
        clock.ahead_s += 100
        return Reply(outcome="rate_limited", seconds=0.0, retry_after_s=0.0, reason="HTTP 429")

    model = Scripted(label_of, faults=limit)
    with (
        asked_by(tmp_path, model, clock=clock, threads=1) as asked,
        pytest.raises(ModelError, match="keeps failing: HTTP 429"),
    ):
        asked.ask(5)
    assert 9 <= len(model.requests) <= 11


# The form of the requests


class Counting(Scripted):
    """Notes how many requests were under way when each was sent, and how often the form was changed or kept."""

    def __init__(self, **options: Any) -> None:
        super().__init__(label_of, latency_s=0.003, **options)
        self.under_way: list[int] = []
        self.steps: list[str] = []
        self._n, self._guard = 0, threading.Lock()

    def ask(self, request: Request, deadline_s: float) -> Reply:
        with self._guard:
            self._n += 1
            self.under_way.append(self._n)
        try:
            return super().ask(request, deadline_s)
        finally:
            with self._guard:
                self._n -= 1

    def settle(self) -> None:
        super().settle()
        self.steps.append("settled")

    def simplify(self) -> bool:
        self.steps.append("simplified")
        return super().simplify()


@pytest.mark.parametrize("faults", [{}, {1: "rate_limited"}, {1: "spoiled"}, {1: "unavailable", 2: "refused"}])
def test_until_the_first_valid_answer_one_request_goes_at_a_time(tmp_path: Path, faults: dict[int, str]) -> None:
    model = Counting(n_forms=3, faults=faults)
    with asked_by(tmp_path, model) as asked:
        asked.ask(40, size=4)
    n_before = len(faults) + 1
    assert model.under_way[:n_before] == [1] * n_before
    assert max(model.under_way[n_before:]) > 1
    assert model.steps == ["settled"]
    assert asked.answered == list(range(40))


def test_a_form_that_the_endpoint_does_not_know_is_simplified_at_once(tmp_path: Path) -> None:
    model = Counting(n_forms=3, faults={1: "unsupported", 2: "unsupported"})
    with asked_by(tmp_path, model) as asked:
        asked.ask(10)
    assert model.steps == ["simplified", "simplified", "settled"]
    assert asked.answered == list(range(10))


def test_a_form_to_which_two_replies_answer_nothing_is_simplified(tmp_path: Path) -> None:
    model = Counting(n_forms=2, faults={1: "spoiled", 2: "spoiled"})
    with asked_by(tmp_path, model) as asked:
        asked.ask(10, size=5)
    assert model.steps == ["simplified", "settled"]
    assert asked.answered == list(range(10))


@pytest.mark.parametrize("n_forms", [2, 3, 5])
def test_an_endpoint_that_takes_no_form_is_asked_once_in_each(tmp_path: Path, n_forms: int) -> None:
    model = Counting(n_forms=n_forms, faults=lambda *_: "unsupported: no such parameter")
    with asked_by(tmp_path, model) as asked, pytest.raises(ModelError, match="no form of request: no such parameter"):
        asked.ask(100)
    assert len(model.requests) == n_forms
    assert asked.done == []
    assert not any(counted(tmp_path / "spend").values())


class Forgetful(Counting):
    """An endpoint that after ten requests no longer knows the first form of request."""

    def __init__(self) -> None:
        super().__init__(n_forms=2, faults=self.fault)
        self._of_first_form: list[Request] = []

    def compose(self, questions: Sequence[Question], shuffle: random.Random) -> Request:
        request = super().compose(questions, shuffle)
        if "simplified" not in self.steps:
            self._of_first_form.append(request)
        return request

    def fault(self, number: int, request: Request) -> str | None:
        is_old = any(request is one for one in self._of_first_form)
        return "unsupported: no such parameter" if number > 10 and is_old else None


def test_requests_that_were_under_way_when_the_form_changed_do_not_change_it_again(tmp_path: Path) -> None:
    model = Forgetful()
    with asked_by(tmp_path, model, threads=16) as asked:
        asked.ask(60)
    assert model.steps == ["settled", "simplified"]
    assert asked.answered == list(range(60))


def test_one_request_that_a_known_form_does_not_fit_is_halved_until_its_review_is_alone(tmp_path: Path) -> None:
    def odd(_: int, request: Request) -> str | None:
        return "unsupported: bad signs" if any(one.at == 3 for one in request.questions) else None

    model = Counting(faults=odd)
    with asked_by(tmp_path, model, threads=1, most_tries=2) as asked:
        asked.ask(32, size=8)
    assert asked.failed == {3: "bad signs"}
    assert model.steps == []


# Stopping


def test_after_the_flag_nothing_is_sent_and_what_is_under_way_is_kept(tmp_path: Path) -> None:
    stopping: list[bool] = []
    model = Scripted(label_of, latency_s=0.002)
    with asked_by(tmp_path, model, is_stopping=lambda: bool(stopping)) as asked:
        stream = asked.pool.ask(asked.packs(500, 2))
        while len(asked.done) < 20:
            asked.done += next(stream)
        stopping.append(True)
        n_asked = asked.pool.counts.n_asked
        with pytest.raises(KeyboardInterrupt):
            asked.keep(stream)
    assert 20 <= n_asked == asked.pool.counts.n_asked == len(asked.answered) < 500
    assert len(model.requests) == n_asked // 2


def test_a_run_that_is_stopped_before_it_begins_takes_no_pack(tmp_path: Path) -> None:
    model = Scripted(label_of)
    with asked_by(tmp_path, model, is_stopping=lambda: True) as asked, pytest.raises(KeyboardInterrupt):
        asked.ask(100)
    assert (model.requests, asked.pulled) == ([], 0)


def test_what_waits_for_an_endpoint_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    stopping: list[bool] = []

    def limit(*_: Any) -> Reply:
        stopping.append(True)
        return Reply(outcome="rate_limited", seconds=0.0, retry_after_s=290.0)

    model = Scripted(label_of, faults=limit)
    with (
        asked_by(tmp_path, model, clock=time.monotonic, threads=1, is_stopping=lambda: bool(stopping)) as asked,
        pytest.raises(KeyboardInterrupt),
    ):
        asked.ask(100)
    assert len(model.requests) == 1


# Budgets


@pytest.mark.parametrize("threads", [1, 6])
@pytest.mark.parametrize("scope", ["run", "day"])
def test_a_budget_buys_exactly_its_requests_and_leaves_the_rest(tmp_path: Path, threads: int, scope: str) -> None:
    budget = {f"{'run' if scope == 'run' else 'per_day'}_usd": 7 * REQUEST_USD + REQUEST_USD / 2}
    model = Scripted(label_of)
    with asked_by(tmp_path, model, threads=threads, budgets=budget) as asked:
        asked.ask(100, size=3)
        assert asked.purse.spent_usd == 7 * REQUEST_USD
    assert len(model.requests) == 7
    assert len(asked.answered) == 21
    assert set(asked.failed.values()) == {f"the budget of the {scope} is spent"}
    assert asked.pool.counts.n_over_budget == len(asked.failed) == 79
    assert not any(one.is_of_text for one in asked.done)


def test_money_that_comes_back_is_spent_on_what_waited_for_it(tmp_path: Path) -> None:
    model = Scripted(label_of, faults={1: "unavailable", 2: "rate_limited", 3: "unavailable"}, latency_s=0.002)
    with asked_by(tmp_path, model, threads=8, budgets={"run_usd": 4 * REQUEST_USD}) as asked:
        asked.ask(20)
        assert asked.purse.spent_usd == 4 * REQUEST_USD
    assert len(asked.answered) == 4
    assert len(asked.failed) == 16


def test_what_no_worst_case_fits_for_waits_until_the_others_are_paid(tmp_path: Path) -> None:
    token = Rate(((-1, 10**12),))  # a request costs some 7 tokens of a worst case of some 200
    price = Price(name="t", input=token, cached=token, cache_write=token, output=token, reasoning=token)
    model = Scripted(label_of, latency_s=0.002)
    with asked_by(tmp_path, model, threads=8, price=price, budgets={"run_usd": Decimal("0.0007")}) as asked:
        asked.ask(24)
        assert asked.pool.pace.limit == 8
    assert asked.answered == list(range(24))


def test_a_request_without_a_reply_uses_up_the_budget(tmp_path: Path) -> None:
    model = Scripted(label_of, faults={2: "no_reply"})
    with asked_by(tmp_path, model, threads=1, budgets={"run_usd": 3 * REQUEST_USD}) as asked:
        asked.ask(20)
    assert len(asked.answered) == 2


@pytest.mark.parametrize("size", [1, 4, 6])
def test_a_tenant_without_money_leaves_its_own_rows_and_the_others_go_on(tmp_path: Path, size: int) -> None:
    model = Scripted(label_of)
    tenants = {"poor": 4 * REQUEST_USD, "rich": Decimal(5)}
    with asked_by(tmp_path, model, budgets={"tenants": tenants}) as asked:
        asked.ask(90, size=size, tenants=("poor", "rich", "free"))
    assert {at for at in range(90) if at % 3} <= set(asked.answered)
    assert set(asked.failed.values()) == {"the budget of the tenant poor is spent"}
    assert sorted([*asked.answered, *asked.failed]) == list(range(90))
    assert Decimal(0) < counted(tmp_path / "spend")["tenant:poor"] <= tenants["poor"]


def test_without_money_nothing_is_sent(tmp_path: Path) -> None:
    model = Scripted(label_of)
    with asked_by(tmp_path, model, budgets={"run_usd": Decimal(0)}) as asked:
        asked.ask(50, size=5)
    assert (model.requests, len(asked.failed)) == ([], 50)


# What is held


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("faults", [{}, {2: "rate_limited", 3: "unavailable", 5: "spoiled"}])
def test_packs_are_taken_when_they_can_be_sent(tmp_path: Path, threads: int, faults: dict[int, str]) -> None:
    with asked_by(tmp_path, Scripted(label_of, faults=faults), threads=threads) as asked:
        most_ahead = 0

        def packs() -> Iterator[tuple[Question, ...]]:
            nonlocal most_ahead
            for pack in asked.packs(200, 2):
                most_ahead = max(most_ahead, asked.pulled - len(asked.done) // 2)
                yield pack

        asked.keep(asked.pool.ask(packs()))
    assert most_ahead <= threads + len(faults)
    assert asked.pool.pace.most_in_flight <= threads


def test_while_a_budget_decides_no_more_packs_are_taken(tmp_path: Path) -> None:
    pulled_at_first = []
    model = Scripted(label_of, latency_s=0.4)  # in which it looks around several times
    with asked_by(tmp_path, model, threads=4, budgets={"run_usd": REQUEST_USD}) as asked:
        for done in asked.pool.ask(asked.packs(100, 1)):
            pulled_at_first.append(asked.pulled)
            asked.done += done
    assert pulled_at_first[0] <= 4
    assert (len(asked.answered), len(asked.failed)) == (1, 99)


def ask_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("ask")]


def test_one_who_takes_no_more_answers_leaves_no_thread_behind(tmp_path: Path) -> None:
    with asked_by(tmp_path, Scripted(label_of, latency_s=0.002)) as asked:
        stream = asked.pool.ask(asked.packs(100, 1))
        assert next(stream)
        assert ask_threads()
        stream.close()  # type: ignore[attr-defined]
    assert ask_threads() == []


def test_an_error_of_the_caller_ends_what_is_under_way(tmp_path: Path) -> None:
    model = Scripted(label_of, latency_s=30)

    def packs() -> Iterator[tuple[Question, ...]]:
        yield (Question(at=0, text="0", n_tokens=1),)
        raise ValueError("a bug of the caller")

    with pytest.raises(ValueError, match="of the caller"), asked_by(tmp_path, model) as asked:
        list(asked.pool.ask(packs()))
    assert ask_threads() == []
    assert model._closed.is_set()


# Memory of a model in this process


@settings(deadline=None, max_examples=20)
@given(rooms=st.lists(st.integers(0, 12), min_size=1, max_size=12), n=st.integers(1, 40), size=st.integers(1, 12))
def test_packs_are_cut_to_the_room_there_is_and_nothing_is_lost_or_doubled(
    tmp_path_factory: pytest.TempPathFactory, rooms: list[int], n: int, size: int
) -> None:
    told: list[int] = []
    given_rooms = iter(rooms)

    def room(n_reviews: int) -> int:
        told.append(min(next(given_rooms, 12), n_reviews))
        return told[-1]

    model = Scripted(label_of, place="process")
    with asked_by(tmp_path_factory.mktemp("home"), model, room=room) as asked:
        asked.ask(n, size=size)
    assert asked.answered == list(range(n))
    assert len(asked.done) == n
    sent = [len(request.questions) for request in model.requests]
    assert Counter(sent) == Counter(one for one in told if one)


def test_the_rest_of_a_cut_pack_goes_before_the_next_pack(tmp_path: Path) -> None:
    model = Scripted(label_of, place="process")
    with asked_by(tmp_path, model, room=lambda n: min(n, 3), threads=1) as asked:
        asked.ask(16, size=8)
    sent = [sorted(one.at for one in request.questions) for request in model.requests]
    assert sent == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9, 10], [11, 12, 13], [14, 15]]
    assert asked.pool.counts.n_asked_again == 0


def test_without_room_it_waits_and_looks_now_and_then(tmp_path: Path) -> None:
    gpus, n_looks = FakeGpus([1.0]), 0
    guard = Guard(gpus)

    def room(n_reviews: int) -> int:
        nonlocal n_looks
        n_looks += 1
        if n_looks > 8:
            gpus.shares = [0.1]
        return guard.room(n_reviews)

    model = Scripted(label_of, place="process")
    with asked_by(tmp_path, model, room=room, clock=time.monotonic) as asked:
        asked.ask(4, size=1)
    assert asked.answered == [0, 1, 2, 3]
    assert n_looks < 30  # and not as often as a loop can turn
    assert guard.waited_s > 0.2


def test_a_run_that_waits_for_room_can_be_stopped(tmp_path: Path) -> None:
    with (
        asked_by(
            tmp_path, Scripted(label_of), room=lambda _: 0, is_stopping=iter([False] * 9 + [True] * 99).__next__
        ) as asked,
        pytest.raises(KeyboardInterrupt),
    ):
        asked.ask(4)
    assert not asked.done
