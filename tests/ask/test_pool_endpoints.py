"""A model of several endpoints: one that fails does not slow down what another one answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_pace import Clock, pace_of, send
from test_pool import asked_by, is_right, label_of

from reviewopt.data import EndpointHealth, Outcome, Reply, Traffic
from reviewopt.models.scripted import Scripted

N_FAILURES = 12


class Several(Scripted):
    """Says of its endpoints whether they are up, as it is told."""

    up: tuple[bool, ...] = ()

    def traffic(self) -> Traffic:
        return Traffic(
            endpoints=tuple(
                EndpointHealth(
                    endpoint=f"https://h{at}",
                    region="",
                    n_requests=0,
                    n_failed=0,
                    n_rate_limited=0,
                    n_cooldowns=0,
                    mean_s=None,
                    is_up=is_up,
                )
                for at, is_up in enumerate(self.up)
            )
        )


@pytest.mark.parametrize("fault", ["no_reply", "unavailable"])
@pytest.mark.parametrize(
    ("up", "slows"),
    [((False, True), False), ((True, True), False), ((False, False), True), ((True,), True), ((), True)],
    ids=["one-up", "both-up", "none-up", "only-one", "not-told"],
)
def test_the_pool_slows_down_only_where_no_other_endpoint_works(
    tmp_path: Path, fault: Outcome, up: tuple[bool, ...], slows: bool
) -> None:
    model = Several(label_of, faults=dict.fromkeys(range(1, N_FAILURES + 1), fault))
    model.up = up
    with asked_by(tmp_path, model, threads=8, most_attempts=100) as asked:
        asked.ask(40)
    assert asked.answered == list(range(40))
    assert is_right(asked.done)
    assert (asked.pool.pace.waited_s > 0) is slows
    assert len(model.requests) == 40 + N_FAILURES


@pytest.mark.parametrize("outcome", ["no_reply", "unavailable"])
def test_a_failure_that_does_not_count_leaves_the_pace_as_it_was(outcome: Outcome) -> None:
    clock = Clock()
    pace = pace_of(clock)
    limit = pace.limit
    for _ in range(50):
        send(pace, 1)
        clock.now_s += 1.0
        reply = Reply(outcome=outcome, seconds=1.0, retry_after_s=9.0 if outcome == "unavailable" else None)
        pace.came_back(reply, sent_s=clock() - 1.0, counts=False)
    assert (pace.is_failing, pace.is_lost, pace.limit) == (False, False, limit)
    assert (pace.gate_wait_s(), pace.n_in_flight) == (0.0, 0)
    assert pace.starved_s == 50.0  # a run in which nothing passes ends all the same
