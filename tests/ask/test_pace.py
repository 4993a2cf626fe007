"""How fast an endpoint is asked: every rule with a clock of the test's own."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt.ask.pace import Bucket, Pace
from reviewopt.data import Outcome, Reply


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def pace_of(clock: Clock, *, threads: int = 64, cooldown_s: float = 5.0, rpm: float = 0, tpm: float = 0) -> Pace:
    return Pace(threads=threads, cooldown_s=cooldown_s, rpm=rpm, tpm=tpm, clock=clock)


def came(pace: Pace, outcome: Outcome, sent_s: float, retry_after_s: float | None = None) -> None:
    pace.came_back(Reply(outcome=outcome, seconds=0.1, retry_after_s=retry_after_s), sent_s=sent_s)


def send(pace: Pace, n: int) -> None:
    for _ in range(n):
        pace.sent(1.0)


def round_trip(
    pace: Pace, clock: Clock, outcome: Outcome = "answered", retry_after_s: float | None = None, took_s: float = 1.0
) -> int:
    """Send as many as may be under way, let each come back after `took_s`, and return how many they were."""
    clock.now_s += pace.gate_wait_s()
    sent_s: list[float] = []
    while pace.n_in_flight < pace.limit:
        n = pace.n_free()
        send(pace, n)
        sent_s += [clock()] * n
        clock.now_s += pace.spread_wait_s() + 1e-6
    assert clock() < sent_s[0] + took_s  # they are spread over less than a round trip
    for each_s in sent_s:
        clock.now_s = max(clock.now_s, each_s + took_s)
        came(pace, outcome, each_s, retry_after_s)
    return len(sent_s)


def fail_until_open(pace: Pace, clock: Clock) -> None:
    while not pace.is_failing:
        round_trip(pace, clock, "unavailable")


# Slow start, then AIMD


@pytest.mark.parametrize(("threads", "first"), [(1, 1), (4, 4), (8, 8), (64, 8)])
def test_it_begins_with_few_requests_and_never_more_than_threads(threads: int, first: int) -> None:
    assert pace_of(Clock(), threads=threads).n_free() == first


def test_until_the_first_429_the_limit_doubles_each_round_trip() -> None:
    clock = Clock()
    pace = pace_of(clock)
    assert [round_trip(pace, clock) for _ in range(5)] == [8, 16, 32, 64, 64]


def after_a_429(clock: Clock, *, took_s: float = 1.0) -> Pace:
    """A pace that met its first 429 at 16 requests, and knows its limit, about 11, with nothing under way."""
    pace = pace_of(clock)
    round_trip(pace, clock, took_s=took_s)
    sent_s = clock()
    send(pace, 16)
    clock.now_s += took_s
    came(pace, "rate_limited", sent_s, 0.0)
    for _ in range(15):
        came(pace, "refused", sent_s)  # passes, and does not let the limit grow
    return pace


def test_after_the_first_429_it_grows_by_about_one_a_round_trip_while_it_is_used_up() -> None:
    clock = Clock()
    pace = after_a_429(clock)
    sizes = [round_trip(pace, clock) for _ in range(20)]
    assert sizes[0] == 11
    steps = [after - before for before, after in itertools.pairwise(sizes)]
    assert set(steps) <= {0, 1}
    assert 17 <= sum(steps) <= 19


def test_near_the_limit_of_the_last_429_it_grows_by_at_most_one_a_second_however_short_a_round_trip_is() -> None:
    clock = Clock()
    pace = after_a_429(clock, took_s=0.02)
    n_trips = 0
    while pace.limit < 13:  # far from 16: one a round trip
        round_trip(pace, clock, took_s=0.02)
        n_trips += 1
    assert n_trips <= 5
    start_s, near = clock(), pace.limit
    while clock() < start_s + 5:
        round_trip(pace, clock, took_s=0.02)
        assert pace.limit - near <= clock() - start_s + 1
    assert pace.limit >= near + 3


def test_a_limit_that_is_not_used_up_does_not_grow() -> None:
    clock = Clock()
    for pace in (pace_of(clock), after_a_429(clock)):
        limit = pace.limit
        for _ in range(50):
            send(pace, limit - 1)
            for _ in range(limit - 1):
                came(pace, "answered", clock())
        assert pace.limit == limit


@pytest.mark.parametrize("outcome", ["refused", "spoiled", "unsupported", "unavailable", "no_reply"])
def test_only_an_answer_lets_the_limit_grow_and_only_a_429_shrinks_it(outcome: Outcome) -> None:
    clock = Clock()
    pace = pace_of(clock)
    send(pace, 8)
    for _ in range(8):
        came(pace, outcome, clock())
    assert pace.limit == 8


@pytest.mark.parametrize("n", [1, 2, 15, 16])
def test_it_shrinks_once_a_round_trip_however_many_429_come(n: int) -> None:
    clock = Clock()
    pace = pace_of(clock)
    round_trip(pace, clock)
    send(pace, 16)
    sent_s = clock()
    for _ in range(n):
        clock.now_s += 0.01
        came(pace, "rate_limited", sent_s, 0.0)
    assert pace.limit == 11


def test_each_round_trip_of_429_shrinks_it_until_one_is_left() -> None:
    clock = Clock()
    pace = pace_of(clock)
    sizes = [round_trip(pace, clock, "rate_limited", 0.0) for _ in range(10)]
    assert sizes == [8, 5, 3, 2, 1, 1, 1, 1, 1, 1]


@settings(deadline=None, max_examples=30)
@given(
    outcomes=st.lists(
        st.sampled_from(["answered", "rate_limited", "unavailable", "no_reply", "spoiled", "refused"]), max_size=60
    ),
    threads=st.integers(1, 40),
)
def test_there_is_always_room_for_one_and_never_for_more_than_the_threads(
    outcomes: list[Outcome], threads: int
) -> None:
    clock = Clock()
    pace = pace_of(clock, threads=threads)
    for outcome in outcomes:
        assert 1 <= round_trip(pace, clock, outcome) <= threads
        assert pace.n_in_flight == 0
    assert pace.most_in_flight <= threads


def test_once_a_round_trip_is_known_requests_leave_spread_over_it() -> None:
    clock = Clock()
    pace = pace_of(clock)
    for _ in range(4):
        round_trip(pace, clock)
    waves = []
    while pace.n_in_flight < pace.limit:
        waves.append(pace.n_free())
        send(pace, waves[-1])
        clock.now_s += pace.spread_wait_s() + 1e-6
    assert sum(waves) == 64
    assert waves[0] <= 64 / 3
    assert max(waves[1:]) <= 64 / 16


@pytest.mark.parametrize("retry_after_s", [None, 5.0])
def test_after_a_wait_requests_leave_spread_too(retry_after_s: float | None) -> None:
    clock = Clock()
    pace = pace_of(clock)
    for _ in range(4):
        round_trip(pace, clock)
    if retry_after_s is not None:
        round_trip(pace, clock, "rate_limited", retry_after_s)
    clock.now_s += 10
    first = pace.n_free()
    assert first <= pace.limit / 3
    send(pace, first)
    assert pace.n_free() == 0
    clock.now_s += pace.spread_wait_s() + 1e-6
    assert 0 < pace.n_free() <= pace.limit / 16


def test_a_caller_that_comes_late_may_send_what_was_due() -> None:
    clock = Clock()
    pace = pace_of(clock)
    for _ in range(4):
        round_trip(pace, clock)
    send(pace, pace.n_free())
    clock.now_s += pace.spread_wait_s() + 1e-6
    in_time = pace.n_free()
    clock.now_s += 0.1
    assert in_time + 0.1 * 64 <= pace.n_free() <= in_time + 0.2 * 64


@settings(deadline=None, max_examples=30)
@given(pauses_s=st.lists(st.sampled_from([0.001, 0.01, 0.05, 0.3, 2.0, 30.0]), min_size=10, max_size=80))
def test_no_time_sees_more_requests_leave_than_a_third_of_the_limit_and_twice_what_can_come_back(
    pauses_s: list[float],
) -> None:
    clock = Clock()
    pace = pace_of(clock)
    for _ in range(4):
        round_trip(pace, clock)
    waves: list[tuple[float, int]] = []
    under_way: list[float] = []
    for pause_s in pauses_s:
        clock.now_s += pause_s
        for sent_s in [each_s for each_s in under_way if each_s <= clock() - 1]:
            came(pace, "refused", clock() - 1)  # the pauses are the caller's, not the endpoint's
            under_way.remove(sent_s)
        waves.append((clock(), pace.n_free()))
        send(pace, waves[-1][1])
        under_way += [clock()] * waves[-1][1]
    for first, last in itertools.combinations_with_replacement(range(len(waves)), 2):
        n_sent = sum(n for _, n in waves[first : last + 1])
        assert n_sent <= 64 / 3 + 2 * 64 * (waves[last][0] - waves[first][0])


# The gate


def test_what_the_endpoint_asks_to_wait_everybody_waits() -> None:
    clock = Clock()
    pace = pace_of(clock)
    send(pace, 1)
    came(pace, "rate_limited", clock(), 3.0)
    for _ in range(29):
        assert pace.n_free() == 0
        clock.now_s += 0.1
    assert pace.gate_wait_s() == pytest.approx(0.1)
    clock.now_s += 0.11
    assert 0 < pace.n_free() <= pace.limit == 5
    assert pace.waited_s == pytest.approx(3.0)


def test_the_longest_of_several_waits_counts_and_is_counted_once() -> None:
    clock = Clock()
    pace = pace_of(clock)
    send(pace, 3)
    for retry_after_s in (2.0, 7.0, 4.0):
        came(pace, "rate_limited", clock() - 1, retry_after_s)
    assert pace.gate_wait_s() == pytest.approx(7.0)
    assert pace.waited_s == pytest.approx(7.0)


def test_a_failing_endpoint_that_says_how_long_to_wait_is_waited_for() -> None:
    clock = Clock()
    pace = pace_of(clock)
    send(pace, 1)
    came(pace, "unavailable", clock(), 3.0)
    assert pace.gate_wait_s() == pytest.approx(3.0)


def test_without_a_retry_after_the_wait_doubles_each_round_trip_and_begins_anew_after_an_answer() -> None:
    clock = Clock()
    pace = pace_of(clock)
    waits = []
    for _ in range(4):
        round_trip(pace, clock, "rate_limited")
        waits.append(pace.gate_wait_s())
    assert waits == pytest.approx([0.25, 0.5, 1.0, 2.0])
    round_trip(pace, clock)
    round_trip(pace, clock, "rate_limited")
    assert pace.gate_wait_s() == pytest.approx(0.25)


def test_the_wait_without_a_retry_after_has_an_end() -> None:
    clock = Clock()
    pace = pace_of(clock)
    for _ in range(20):
        round_trip(pace, clock, "rate_limited")
        assert pace.gate_wait_s() <= 60


# Caps


@settings(deadline=None, max_examples=30)
@given(
    rpm=st.sampled_from([1.0, 6.0, 60.0, 90.0, 500.0]),
    idle_s=st.lists(st.sampled_from([0.0, 0.0, 0.1, 1.0, 7.0]), min_size=30, max_size=120),
)
def test_no_window_holds_more_requests_than_the_cap_and_a_second_of_it(rpm: float, idle_s: list[float]) -> None:
    clock = Clock()
    pace = pace_of(clock, threads=1000, rpm=rpm)
    sent_s = []
    for idle in idle_s:
        clock.now_s += idle
        clock.now_s += pace.wait_s(1.0)
        pace.sent(1.0)
        sent_s.append(clock())
    burst = max(1.0, rpm / 60)
    for first, last in itertools.combinations(range(len(sent_s)), 2):
        assert last - first + 1 <= burst + (sent_s[last] - sent_s[first]) * rpm / 60 + 1e-6
        assert last - first + 1 <= rpm or sent_s[last] - sent_s[first] >= 60 - 1e-6


@settings(deadline=None, max_examples=30)
@given(
    tpm=st.sampled_from([600.0, 6000.0, 60_000.0]),
    sizes=st.lists(st.sampled_from([1.0, 10.0, 100.0, 700.0, 5000.0]), min_size=5, max_size=60),
)
def test_no_window_holds_more_tokens_than_the_cap_a_second_of_it_and_its_last_request(
    tpm: float, sizes: list[float]
) -> None:
    clock = Clock()
    pace = pace_of(clock, threads=1000, tpm=tpm)
    sent: list[tuple[float, float]] = []
    for size in sizes:
        clock.now_s += pace.wait_s(size)
        pace.sent(size)
        sent.append((clock(), size))
    room = max(1.0, tpm / 60)
    for first, last in itertools.combinations(range(len(sent)), 2):
        taken = sum(size for _, size in sent[first : last + 1])
        over = max(0.0, sent[last][1] - room)
        assert taken <= room + (sent[last][0] - sent[first][0]) * tpm / 60 + over + 1e-3


def test_the_caps_are_used_up() -> None:
    clock = Clock()
    pace = pace_of(clock, threads=1000, rpm=600)
    start_s = clock()
    for _ in range(700):
        clock.now_s += pace.wait_s(1.0)
        pace.sent(1.0)
    assert clock() - start_s == pytest.approx(70, abs=1)


def test_no_minute_holds_more_requests_than_the_cap() -> None:
    clock = Clock()
    pace = pace_of(clock, threads=10_000, rpm=6000)
    start_s, n = clock(), 0
    while clock() < start_s + 60:
        wait_s = pace.wait_s(1.0)
        if wait_s:
            clock.now_s += wait_s + 1e-9
            continue
        pace.sent(1.0)
        n += 1
    assert 0.98 * 6000 <= n <= 6000


def test_a_request_above_the_bucket_waits_until_it_is_full_and_the_next_ones_pay() -> None:
    bucket = Bucket(600.0, 0.0)
    assert bucket.wait_s(25, 0.0) == 0
    bucket.take(25)
    assert bucket.wait_s(1, 0.0) == pytest.approx(1.6, rel=0.02)
    assert bucket.wait_s(25, 0.0) == pytest.approx(2.5, rel=0.02)


def test_what_was_not_sent_takes_nothing_of_the_caps() -> None:
    clock = Clock()
    pace = pace_of(clock, rpm=60, tpm=6000)
    pace.sent(70.0)
    assert pace.wait_s(100.0) > 0
    pace.unsent(70.0)
    assert pace.n_in_flight == 0
    assert pace.wait_s(100.0) == 0


def test_what_was_not_sent_delays_no_other() -> None:
    clock = Clock()
    pace = pace_of(clock)
    round_trip(pace, clock)
    send(pace, pace.n_free())
    before = pace.spread_wait_s()
    send(pace, 3)
    for _ in range(3):
        pace.unsent(1.0)
    assert pace.spread_wait_s() == pytest.approx(before)


def test_what_was_not_sent_was_not_under_way() -> None:
    clock = Clock()
    pace = pace_of(clock)
    send(pace, 5)
    pace.unsent(1.0)
    assert pace.most_in_flight == 0
    for _ in range(4):
        came(pace, "answered", clock())
    assert pace.most_in_flight == 4


# An endpoint that keeps failing


@pytest.mark.parametrize("outcome", ["unavailable", "no_reply"])
def test_ten_failures_in_a_row_leave_the_endpoint_alone_for_the_cooldown(outcome: Outcome) -> None:
    clock = Clock()
    pace = pace_of(clock)
    for n in range(10):
        assert not pace.is_failing, n
        assert pace.n_free() > 1
        send(pace, 1)
        came(pace, outcome, clock())
    assert (pace.is_failing, pace.n_free(), pace.limit) == (True, 0, 1)
    assert pace.gate_wait_s() == pytest.approx(5.0)


@pytest.mark.parametrize("outcome", ["answered", "refused", "spoiled", "unsupported"])
def test_any_reply_ends_the_row(outcome: Outcome) -> None:
    clock = Clock()
    pace = pace_of(clock)
    for each in ["unavailable"] * 9 + [outcome] + ["unavailable"] * 9:
        send(pace, 1)
        came(pace, each, clock())  # type: ignore[arg-type]
    assert not pace.is_failing


def test_a_failing_endpoint_is_tried_by_one_request_at_a_time() -> None:
    clock = Clock()
    pace = pace_of(clock)
    fail_until_open(pace, clock)
    clock.now_s += 5
    assert pace.n_free() == 1
    send(pace, 1)
    assert pace.n_free() == 0


def test_one_success_ends_the_trying_and_its_cooldown_begins_anew() -> None:
    clock = Clock()
    pace = pace_of(clock)
    fail_until_open(pace, clock)
    round_trip(pace, clock, "unavailable")
    assert pace.gate_wait_s() == pytest.approx(10.0)
    assert round_trip(pace, clock) == 1
    assert not pace.is_failing
    assert pace.limit >= 8
    send(pace, 10)
    for _ in range(10):
        came(pace, "unavailable", clock())
    assert pace.gate_wait_s() == pytest.approx(5.0)


def test_the_cooldown_doubles_up_to_a_minute_and_after_six_the_endpoint_is_lost() -> None:
    clock = Clock()
    pace = pace_of(clock)
    fail_until_open(pace, clock)
    waits = [pace.gate_wait_s()]
    while not pace.is_lost:
        assert round_trip(pace, clock, "unavailable") == 1
        waits.append(pace.gate_wait_s())
    assert waits == pytest.approx([5, 10, 20, 40, 60, 60])


def test_a_success_makes_an_endpoint_that_failed_before_as_good_as_new() -> None:
    clock = Clock()
    pace = pace_of(clock)
    for _ in range(3):
        fail_until_open(pace, clock)
        for _ in range(3):
            round_trip(pace, clock, "unavailable")
        assert not pace.is_lost
        round_trip(pace, clock)


def test_failures_that_were_under_way_say_nothing_new() -> None:
    clock = Clock()
    pace = pace_of(clock)
    for _ in range(4):
        round_trip(pace, clock)
    sent_s = clock()
    send(pace, 64)
    for _ in range(64):
        clock.now_s += 0.01
        came(pace, "unavailable", sent_s)
    assert pace.is_failing
    assert not pace.is_lost
    assert pace.gate_wait_s() <= 5


def test_a_429_neither_ends_nor_counts_among_the_failures() -> None:
    clock = Clock()
    pace = pace_of(clock)
    fail_until_open(pace, clock)
    for _ in range(10):
        round_trip(pace, clock, "rate_limited", 0.0)
    assert pace.is_failing
    assert not pace.is_lost


def test_it_knows_for_how_long_nothing_was_taken() -> None:
    clock = Clock()
    pace = pace_of(clock)
    clock.now_s += 3
    send(pace, 2)
    came(pace, "rate_limited", clock())
    assert pace.starved_s == pytest.approx(3)
    came(pace, "answered", clock())
    assert pace.starved_s == 0


def test_time_without_questions_is_no_time_in_which_nothing_was_taken() -> None:
    clock = Clock()
    pace = pace_of(clock)
    clock.now_s += 3600
    pace.begin()
    clock.now_s += 2
    assert pace.starved_s == pytest.approx(2)
