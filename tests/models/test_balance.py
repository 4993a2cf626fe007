"""Which endpoint is asked: by order, latency or load, and never one that is to be left alone."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt.data import EndpointHealth, Outcome
from reviewopt.models.balance import COOLDOWN_S, FAILURES_IN_A_ROW, LONGEST_COOLDOWN_S, Balance, How, Turn

HOWS: tuple[How, ...] = get_args(How)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Clock:
    """A time that only the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def balance_of(how: How = "priority", *weights: float, clock: Clock | None = None) -> Balance:
    return Balance(weights or (1.0, 1.0), how, clock=clock or Clock())


def ask(balance: Balance, outcome: Outcome, *, s: float = 0.1, retry_after_s: float | None = None) -> int | None:
    """Give one request out and let it end; return where it went."""
    turn = balance.choose(())
    if turn is None:
        return None
    balance.came_back(turn, outcome, seconds=s, retry_after_s=retry_after_s)
    return turn.at


def take_down(balance: Balance, at: int) -> None:
    """Let requests fail until the endpoint is down, whatever else is asked."""
    others = set(range(2)) - {at}
    for _ in range(FAILURES_IN_A_ROW):
        turn = balance.choose(others)
        assert turn is not None
        balance.came_back(turn, "unavailable", seconds=0.1)


def health(balance: Balance, at: int) -> EndpointHealth:
    return balance.health(at, endpoint="", region="")


# Which is asked


def test_the_first_endpoint_has_priority_as_long_as_it_works() -> None:
    balance = balance_of("priority", 1.0, 9.0, 9.0)
    assert [ask(balance, "answered", s=9.0) for _ in range(10)] == [0] * 10


def test_what_was_tried_already_is_not_asked_again() -> None:
    balance = balance_of()
    second = balance.choose({0})
    assert second is not None
    assert second.at == 1
    assert balance.choose({0, 1}) is None


def test_load_goes_where_the_fewest_are_under_way_for_its_weight() -> None:
    balance = balance_of("load", 1.0, 3.0)
    turns = [balance.choose(()) for _ in range(12)]
    assert Counter(turn.at for turn in turns if turn) == {0: 3, 1: 9}
    for turn in turns:
        if turn and turn.at == 0:
            balance.came_back(turn, "answered", seconds=0.1)
    assert ask(balance, "answered") == 0


def test_load_is_spread_by_weight_even_one_request_at_a_time() -> None:
    balance = balance_of("load", 1.0, 1.0)
    assert Counter(ask(balance, "answered") for _ in range(10)) == {0: 5, 1: 5}


def test_latency_asks_the_fastest_after_each_was_measured() -> None:
    balance = balance_of("latency", 1.0, 1.0, 1.0)
    took_s = [0.3, 0.1, 0.2]
    asked = []
    for _ in range(40):
        turn = balance.choose(())
        assert turn is not None
        balance.came_back(turn, "answered", seconds=took_s[turn.at])
        asked.append(turn.at)
    assert sorted(asked[:3]) == [0, 1, 2]
    assert Counter(asked)[1] >= 36
    assert len(set(asked[3:])) > 1  # the others are measured again now and then


def test_latency_follows_an_endpoint_that_became_the_faster_one() -> None:
    clock = Clock()
    balance = balance_of("latency", clock=clock)
    took_s = [0.1, 0.5]
    asked: list[int] = []
    for n in range(1200):
        clock.now += 0.1
        took_s = [0.5, 0.1] if n == 100 else took_s
        turn = balance.choose(())
        assert turn is not None
        balance.came_back(turn, "answered", seconds=took_s[turn.at])
        asked.append(turn.at)
    assert Counter(asked[:100])[0] >= 94
    assert Counter(asked[-100:])[1] >= 94


def test_one_that_was_not_measured_yet_does_not_draw_all_requests() -> None:
    balance = balance_of("latency")
    first, second = balance.choose(()), balance.choose(())
    assert first is not None
    assert second is not None
    assert {first.at, second.at} == {0, 1}
    balance.came_back(first, "answered", seconds=0.1)
    assert [ask(balance, "answered") for _ in range(10)] == [first.at] * 10  # the other has not answered yet


# What is left alone


@pytest.mark.parametrize("outcome", ["unavailable", "no_reply"])
def test_failures_in_a_row_take_an_endpoint_down_and_one_request_brings_it_back(outcome: Outcome) -> None:
    clock = Clock()
    balance = balance_of(clock=clock)
    assert [ask(balance, outcome) for _ in range(FAILURES_IN_A_ROW)] == [0] * FAILURES_IN_A_ROW
    assert not health(balance, 0).is_up
    assert ask(balance, "answered") == 1
    clock.now += COOLDOWN_S
    probe = balance.choose(())
    assert probe is not None
    assert (probe.at, probe.is_probe) == (0, True)
    assert ask(balance, "answered") == 1  # while it is tried
    balance.came_back(probe, "answered", seconds=0.1)
    assert ask(balance, "answered") == 0
    assert health(balance, 0).is_up


def test_a_success_in_between_begins_the_count_anew() -> None:
    balance = balance_of()
    for _ in range(3):
        for _ in range(FAILURES_IN_A_ROW - 1):
            assert ask(balance, "unavailable") == 0
        assert ask(balance, "answered") == 0
    assert health(balance, 0).n_cooldowns == 0


def test_the_cooldown_doubles_to_its_bound_and_starts_anew_after_a_success() -> None:
    clock = Clock()
    balance = balance_of(clock=clock)

    def waited_s() -> float:
        """Step on until the first endpoint is tried, which fails."""
        since = clock.now
        while (turn := balance.choose(())) is not None and turn.at == 1:
            balance.came_back(turn, "answered", seconds=0.1)
            clock.now += 1.0
        assert turn is not None
        balance.came_back(turn, "unavailable", seconds=0.1)
        return clock.now - since

    take_down(balance, 0)
    assert [waited_s() for _ in range(6)] == [5.0, 10.0, 20.0, 40.0, LONGEST_COOLDOWN_S, LONGEST_COOLDOWN_S]
    clock.now += LONGEST_COOLDOWN_S
    assert ask(balance, "answered") == 0
    take_down(balance, 0)
    assert waited_s() == COOLDOWN_S


def test_failures_of_requests_from_before_say_nothing_new() -> None:
    clock = Clock()
    balance = balance_of(clock=clock)
    turns = [turn for _ in range(3 * FAILURES_IN_A_ROW) if (turn := balance.choose({1}))]
    for turn in turns:
        clock.now += 0.1
        balance.came_back(turn, "no_reply", seconds=0.1)
    assert health(balance, 0).n_cooldowns == 1
    clock.now += COOLDOWN_S
    assert ask(balance, "answered") == 0


def test_what_an_endpoint_asks_to_wait_it_gets() -> None:
    clock = Clock()
    balance = balance_of(clock=clock)
    assert ask(balance, "rate_limited", retry_after_s=90.0) == 0
    assert ask(balance, "answered") == 1
    clock.now += 89.9
    assert ask(balance, "answered") == 1
    clock.now += 0.2
    assert ask(balance, "answered") == 0
    assert (health(balance, 0).n_rate_limited, health(balance, 0).n_cooldowns) == (1, 0)


def test_a_429_without_a_time_waits_longer_each_time() -> None:
    clock = Clock()
    balance = balance_of(clock=clock)
    waits = []
    for _ in range(3):
        assert ask(balance, "rate_limited") == 0
        assert ask(balance, "rate_limited", retry_after_s=100.0) == 1
        waits.append(balance.wait_s())
        clock.now += 100.0
    assert waits == [0.25, 0.5, 1.0]


def test_the_shortest_wait_is_told_where_all_asked_to_wait() -> None:
    balance = balance_of()
    assert balance.wait_s() is None
    ask(balance, "rate_limited", retry_after_s=7.0)
    assert balance.wait_s() == 0.0  # the other may be asked
    ask(balance, "rate_limited", retry_after_s=3.0)
    assert balance.wait_s() == 3.0
    assert balance.choose(()) is None


def test_an_endpoint_that_no_request_can_pass_is_left_alone_for_good() -> None:
    clock = Clock()
    balance = balance_of(clock=clock)
    assert ask(balance, "hopeless") == 0
    clock.now += 1e6
    assert ask(balance, "answered") == 1
    assert not balance.is_hopeless
    assert not health(balance, 0).is_up
    assert ask(balance, "hopeless") == 1
    assert balance.is_hopeless
    assert balance.choose(()) is None


def test_where_all_are_down_each_is_tried_by_one_request_before_its_time() -> None:
    balance = balance_of()
    take_down(balance, 0)
    take_down(balance, 1)
    first, second = balance.choose(()), balance.choose(())
    assert {turn.at for turn in (first, second) if turn and turn.is_probe} == {0, 1}
    assert balance.choose(()) is None


def test_a_down_endpoint_is_not_tried_early_for_a_request_that_failed_at_one_that_works() -> None:
    balance = balance_of()
    take_down(balance, 1)
    assert balance.choose({0}) is None


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_only_endpoint_is_asked_whatever_happened(outcome: Outcome) -> None:
    balance = balance_of("priority", 1.0)
    assert [ask(balance, outcome, retry_after_s=60.0) for _ in range(20)] == [0] * 20
    assert health(balance, 0).n_cooldowns == 0


def test_health_counts_what_happened() -> None:
    balance = balance_of()
    for outcome, s in (("answered", 0.1), ("spoiled", 0.3), ("no_reply", 9.0), ("unavailable", 9.0)):
        ask(balance, outcome, s=s)  # type: ignore[arg-type]
    ask(balance, "rate_limited", retry_after_s=1.0)
    found = balance.health(0, endpoint="https://h", region="eu")
    assert (found.endpoint, found.region, found.n_requests, found.n_failed) == ("https://h", "eu", 5, 2)
    assert (found.n_rate_limited, found.n_cooldowns, found.is_up) == (1, 0, False)
    assert found.mean_s == pytest.approx(0.2)
    assert health(balance, 1).mean_s is None


# Laws

STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(OUTCOMES), st.floats(0, 30), st.floats(0, 20)),
    max_size=80,
)


@given(how=st.sampled_from(HOWS), n=st.integers(2, 4), steps=STEPS)
def test_whatever_happens_nothing_is_asked_that_should_not_be(
    how: How, n: int, steps: list[tuple[int, Outcome, float, float]]
) -> None:
    clock = Clock()
    balance = Balance([1.0 + at for at in range(n)], how, clock=clock)
    under_way: list[Turn] = []
    hopeless: set[int] = set()
    gates_s = [0.0] * n
    for which, outcome, pause_s, retry_after_s in steps:
        turn = balance.choose(())
        if turn is None:  # all are hopeless, asked to wait, or are being tried
            tried = {one.at for one in under_way if one.is_probe}
            assert all(at in hopeless or gates_s[at] > clock.now or at in tried for at in range(n))
        else:
            assert turn.at not in hopeless
            assert gates_s[turn.at] <= clock.now
            under_way.append(turn)
            assert max(Counter(one.at for one in under_way if one.is_probe).values(), default=0) <= 1
        clock.now += pause_s
        if under_way:
            back = under_way.pop(which % len(under_way))
            balance.came_back(back, outcome, seconds=pause_s, retry_after_s=retry_after_s)
            hopeless |= {back.at} if outcome == "hopeless" else set()
            if outcome in {"rate_limited", "unavailable", "no_reply", "hopeless"}:
                gates_s[back.at] = max(gates_s[back.at], clock.now + retry_after_s)


@given(how=st.sampled_from(HOWS), down=st.sets(st.integers(0, 3), max_size=3))
def test_a_request_is_never_without_an_endpoint_while_one_works(how: How, down: set[int]) -> None:
    clock = Clock()
    balance = Balance([1.0] * 4, how, clock=clock)
    for at in down:
        for _ in range(FAILURES_IN_A_ROW):
            turn = balance.choose(set(range(4)) - {at})
            assert turn is not None
            balance.came_back(turn, "unavailable", seconds=0.1)
    turns = [balance.choose(()) for _ in range(20)]
    assert all(turn is not None and turn.at not in down for turn in turns)
    if how == "priority":
        assert {turn.at for turn in turns if turn} == {min(set(range(4)) - down)}
