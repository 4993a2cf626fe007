"""Which of a model's endpoints is asked next, and which is left alone for a while. Pure but for the clock it is given.

An endpoint that fails several times in a row is down: it is left alone for a cooldown, then tried by one request at a
time until one passes (a circuit breaker: Nygard, Release It!, 2007), each failure doubling the cooldown. What an
endpoint asks to wait, it gets. One that no request can pass, for its key or its model, is left alone for good.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from reviewopt.data import EndpointHealth, Outcome

How = Literal["priority", "latency", "load"]

COOLDOWN_S: Final = 5.0
LONGEST_COOLDOWN_S: Final = 60.0
# So many failures in a row take an endpoint down. At 15 % failures chance alone does so once in 13,000 requests, which
# costs little: the others are asked in the meantime.
FAILURES_IN_A_ROW: Final = 5
# A 429 that names no time: the first wait, doubled with each that follows it.
_FIRST_WAIT_S: Final = 0.25
_SMOOTHING: Final = 0.1  # how much the latest reply counts in an endpoint's latency
# One request in so many goes to the endpoint that was measured longest ago: 5 % of them follow a change of latency.
_REMEASURE_EVERY: Final = 20


@dataclass(frozen=True, slots=True)
class Turn:
    """A request that is given to an endpoint: `at` counts them from 0; `is_probe` tries one that is down."""

    at: int
    sent_s: float
    is_probe: bool


@dataclass(slots=True, kw_only=True)
class _State:
    weight: float
    cooldown_s: float
    wait_s: float = _FIRST_WAIT_S
    n_in_flight: int = 0
    n_requests: int = 0
    n_failed: int = 0
    n_rate_limited: int = 0
    n_cooldowns: int = 0
    n_passed: int = 0
    passed_s: float = 0.0
    latency_s: float | None = None
    measured_s: float = -math.inf
    n_in_a_row: int = 0
    is_down: bool = False
    is_probed: bool = False
    is_hopeless: bool = False
    down_since_s: float = -math.inf
    down_until_s: float = -math.inf
    gate_s: float = -math.inf  # until when it asked to be left alone
    limited_s: float = -math.inf


class Balance:
    """Gives requests to endpoints, from many threads at once; told of everything that comes back."""

    def __init__(
        self,
        weights: Sequence[float],
        how: How,
        *,
        clock: Callable[[], float],
        cooldown_s: float = COOLDOWN_S,
    ) -> None:
        self._states = [_State(weight=weight, cooldown_s=cooldown_s) for weight in weights]
        self._how = how
        self._clock = clock
        self._first_cooldown_s = cooldown_s
        self._n_choices = 0
        self._lock = threading.Lock()

    def choose(self, tried: Collection[int]) -> Turn | None:
        """Give a request to one of the endpoints that it was not `tried` at; None where there is none to ask.

        A model's only endpoint is asked whatever happened: whoever sends the requests slows down for it.
        """
        with self._lock:
            now = self._clock()
            left = [at for at in range(len(self._states)) if at not in tried]
            if len(self._states) > 1:
                left = [at for at in left if self._is_open(at, now)]
                up = [at for at in left if not self._states[at].is_down]
                free = [at for at in left if self._states[at].is_down and not self._states[at].is_probed]
                due = [at for at in free if self._states[at].down_until_s <= now]
                if not (up or due) and not any(self._is_up(at, now) for at in range(len(self._states))):
                    due = sorted(free, key=lambda at: self._states[at].down_until_s)[:1]  # better than none
                left = [self._pick(up, due)] if up or due else []
            if not left:
                return None
            one = self._states[left[0]]
            turn = Turn(left[0], now, is_probe=one.is_down and len(self._states) > 1)
            one.is_probed = one.is_probed or turn.is_probe
            one.n_in_flight += 1
            one.n_requests += 1
            return turn

    def came_back(self, turn: Turn, outcome: Outcome, *, seconds: float, retry_after_s: float | None = None) -> None:
        """Learn how a request ended, after how long, and what the endpoint asks to wait."""
        with self._lock:
            one, now = self._states[turn.at], self._clock()
            one.n_in_flight -= 1
            one.is_probed = one.is_probed and not turn.is_probe
            if outcome == "rate_limited":
                one.n_rate_limited += 1
                self._wait(one, turn, retry_after_s, now)
            elif outcome in {"unavailable", "no_reply", "hopeless"}:
                one.n_failed += 1
                one.is_hopeless = one.is_hopeless or outcome == "hopeless"
                if retry_after_s is not None:
                    one.gate_s = max(one.gate_s, now + min(retry_after_s, LONGEST_COOLDOWN_S))
                self._fail(one, turn, now)
            else:
                one.n_passed += 1
                one.passed_s += seconds
                one.latency_s = seconds if one.latency_s is None else one.latency_s
                one.latency_s += _SMOOTHING * (seconds - one.latency_s)
                one.measured_s = now
                if not one.is_down or turn.sent_s >= one.down_since_s:
                    one.is_down, one.n_in_a_row = False, 0
                    one.cooldown_s, one.wait_s = self._first_cooldown_s, _FIRST_WAIT_S

    @property
    def is_hopeless(self) -> bool:
        """Whether no request can pass at any of them."""
        with self._lock:
            return all(one.is_hopeless for one in self._states)

    def wait_s(self) -> float | None:
        """Return after how long the first may be asked again; None where none of those that work asked to wait."""
        with self._lock:
            now = self._clock()
            hopeful = [one for one in self._states if not one.is_hopeless]
            if not any(one.gate_s > now and not one.is_down for one in hopeful):
                return None
            known = [one for one in hopeful if not (one.is_down and one.is_probed)]
            ends = (max(one.gate_s, one.down_until_s) if one.is_down else one.gate_s for one in known)
            return max(0.0, min(ends) - now)

    def health(self, at: int, *, endpoint: str, region: str) -> EndpointHealth:
        """Return how an endpoint did so far."""
        with self._lock:
            one = self._states[at]
            return EndpointHealth(
                endpoint=endpoint,
                region=region,
                n_requests=one.n_requests,
                n_failed=one.n_failed,
                n_rate_limited=one.n_rate_limited,
                n_cooldowns=one.n_cooldowns,
                mean_s=one.passed_s / one.n_passed if one.n_passed else None,
                is_up=self._is_up(at, self._clock()),
            )

    def _is_open(self, at: int, now: float) -> bool:
        """Whether nothing that it said speaks against asking it."""
        return not self._states[at].is_hopeless and self._states[at].gate_s <= now

    def _is_up(self, at: int, now: float) -> bool:
        return self._is_open(at, now) and not self._states[at].is_down

    def _wait(self, one: _State, turn: Turn, retry_after_s: float | None, now: float) -> None:
        is_new = turn.sent_s >= one.limited_s  # those that were under way say nothing new
        if retry_after_s is None:
            retry_after_s = one.wait_s if is_new else 0.0
            one.wait_s = min(LONGEST_COOLDOWN_S, 2 * one.wait_s) if is_new else one.wait_s
        one.limited_s = now if is_new else one.limited_s
        one.gate_s = max(one.gate_s, now + retry_after_s)

    def _fail(self, one: _State, turn: Turn, now: float) -> None:
        one.n_in_a_row += 1
        if one.n_in_a_row < FAILURES_IN_A_ROW or (one.is_down and turn.sent_s < one.down_since_s):
            return
        if len(self._states) > 1:
            one.n_cooldowns += 1
        one.is_down, one.down_since_s, one.down_until_s = True, now, now + one.cooldown_s
        one.cooldown_s = min(LONGEST_COOLDOWN_S, 2 * one.cooldown_s)

    def _pick(self, up: Sequence[int], due: Sequence[int]) -> int:
        """Choose among those that are up and those that are due to be tried."""
        if self._how == "priority":
            return min((*up, *due))
        if due:
            return due[0]
        return self._fastest(up) if self._how == "latency" else min(up, key=self._load)

    def _load(self, at: int) -> tuple[float, float]:
        one = self._states[at]
        return (one.n_in_flight + 1) / one.weight, one.n_requests / one.weight

    def _fastest(self, up: Sequence[int]) -> int:
        """Choose the endpoint with the least latency; one that was not measured yet gets a request at a time."""
        new = [at for at in up if self._states[at].latency_s is None]
        if idle := [at for at in new if not self._states[at].n_in_flight]:
            return idle[0]
        if len(new) == len(up):
            return min(up, key=self._load)
        measured = [at for at in up if at not in new]
        self._n_choices += 1
        if self._n_choices % _REMEASURE_EVERY == 0:
            return min(measured, key=lambda at: self._states[at].measured_s)
        return min(measured, key=lambda at: self._states[at].latency_s or 0.0)
