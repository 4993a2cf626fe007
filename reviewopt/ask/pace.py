"""How fast an endpoint is asked: one place decides, for all threads of a run. Pure but for the clock it is given.

Concurrency follows AIMD (Chiu and Jain, Analysis of the increase and decrease algorithms, 1989): it shrinks by .7 once
a round trip when the endpoint says 429, grows by one a round trip while it is used up, and by one a reply until the
first 429 (slow start, RFC 5681). Requests leave spread over a round trip, never as a wave (pacing: Aggarwal, Savage and
Anderson, Understanding the performance of TCP pacing, 2000), so that the first 429 finds few others on their way. What
the endpoint asks to wait, all threads wait. An endpoint that keeps failing is left alone for a while, then tried by one
request at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from reviewopt.data import Reply

_SHRINK: Final = 0.7
_FIRST_LIMIT: Final = 8
# Requests leave at most this many times as fast as replies can come back, and this share of the limit at once.
_FASTER: Final = 1.6
_AT_ONCE: Final = 1 / 16
_LEAST_AT_ONCE: Final = 2
_LATE: Final = 1 / 4  # the share of the limit that may leave together where the caller was busy
_NEAR_CEILING: Final = 0.85
_SMOOTHING: Final = 0.1  # how much the latest reply counts in the mean round trip
# Without a Retry-After: the first wait after a 429, doubled with each round trip that brings another.
_FIRST_WAIT_S: Final = 0.25
_LONGEST_WAIT_S: Final = 60.0
# So many failures in a row are the endpoint's, not chance: at 15 % they happen once in 10^8 requests.
_FAILURES_IN_A_ROW: Final = 10
# So many times a failing endpoint is left alone before the run gives up.
_MOST_OPENINGS: Final = 6


class Bucket:
    """A token bucket for a cap a minute: it saves up what a second gives, and no minute holds more than the cap."""

    def __init__(self, a_minute: float, now_s: float) -> None:
        self._room = max(a_minute / 60, 1.0)
        self._rate = max(a_minute - self._room, a_minute / 2) / 60
        self._level = self._room
        self._at_s = now_s

    def wait_s(self, n: float, now_s: float) -> float:
        """Return how long until `n` can be taken; more than the bucket ever holds waits until it is full."""
        self._level = min(self._room, self._level + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        return max(0.0, (min(n, self._room) - self._level) / self._rate)

    def take(self, n: float) -> None:
        """Take `n`, or give them back where it is negative; below nothing, the next ones wait."""
        self._level -= n


class Pace:
    """What may be sent now; told of everything that is sent and comes back."""

    def __init__(self, *, threads: int, cooldown_s: float, rpm: float, tpm: float, clock: Callable[[], float]) -> None:
        self._threads = threads
        self._clock = clock
        self._limit = float(min(threads, _FIRST_LIMIT))
        self._starting = True
        self._ceiling = math.inf
        self._gate_s = -math.inf
        self._shrunk_s = -math.inf
        self._wait_s = _FIRST_WAIT_S
        now = clock()
        self._requests = Bucket(rpm, now) if rpm else None
        self._tokens = Bucket(tpm, now) if tpm else None
        self._first_cooldown_s = self._cooldown_s = cooldown_s
        self._n_failed = 0
        self._n_openings = 0
        self._opened_s = -math.inf
        self._passed_s = now
        self._was_full = False
        self._round_trip_s: float | None = None
        self._spread_s = -math.inf  # until when what was sent is spread out
        self.n_in_flight = 0
        self.most_in_flight = 0
        self.waited_s = 0.0

    @property
    def limit(self) -> int:
        """Requests that may be under way at once."""
        return 1 if self.is_failing else max(1, min(self._threads, int(self._limit)))

    @property
    def is_failing(self) -> bool:
        """Whether the endpoint failed so often in a row that it is only tried."""
        return self._n_failed >= _FAILURES_IN_A_ROW

    @property
    def is_lost(self) -> bool:
        """Whether the endpoint was left alone so often that there is no hope for this run."""
        return self._n_openings >= _MOST_OPENINGS

    @property
    def starved_s(self) -> float:
        """How long it is since the endpoint took a request, or since `begin`."""
        return self._clock() - self._passed_s

    def begin(self) -> None:
        """Note that requests are about to be sent, after a time without any."""
        self._passed_s = self._clock()

    def n_free(self) -> int:
        """Return how many requests may be sent now."""
        now = self._clock()
        if now < self._gate_s:
            return 0
        free = max(0, self.limit - self.n_in_flight)
        if not self._gap_s:
            return free
        late = min(
            int((now - self._spread_s) / self._gap_s + 1e-6), int(self.limit * _LATE)
        )  # idle time is not saved up
        return min(free, max(0, late + self._at_once))

    @property
    def _at_once(self) -> int:
        return max(_LEAST_AT_ONCE, int(self.limit * _AT_ONCE))

    @property
    def _gap_s(self) -> float:
        """The time between two requests that are spread over a round trip; 0 before any came back."""
        return 0.0 if self._round_trip_s is None else self._round_trip_s / (self.limit * _FASTER)

    def wait_s(self, n_tokens: float) -> float:
        """Return how long a request of so many tokens must wait for the caps on requests and tokens."""
        now = self._clock()
        waits = [bucket.wait_s(n, now) for bucket, n in ((self._requests, 1), (self._tokens, n_tokens)) if bucket]
        return max(waits, default=0.0)

    def gate_wait_s(self) -> float:
        """Return how long until the endpoint may be asked again, by what it said."""
        return max(0.0, self._gate_s - self._clock())

    def spread_wait_s(self) -> float:
        """Return how long until the next request may leave, as they are spread out."""
        return max(0.0, self._spread_s - (self._at_once - 1) * self._gap_s - self._clock()) if self._gap_s else 0.0

    def sent(self, n_tokens: float) -> None:
        """Count a request that goes out."""
        self.n_in_flight += 1
        self._spread_s = max(self._spread_s, self._clock()) + self._gap_s
        self._was_full = self.n_in_flight >= self.limit
        if self._requests:
            self._requests.take(1)
        if self._tokens:
            self._tokens.take(n_tokens)

    def unsent(self, n_tokens: float) -> None:
        """Take back a request that did not go out after all."""
        self.n_in_flight -= 1
        self._spread_s -= self._gap_s
        if self._requests:
            self._requests.take(-1)
        if self._tokens:
            self._tokens.take(-n_tokens)

    def came_back(self, reply: Reply, *, sent_s: float, counts: bool = True) -> None:
        """Learn from a reply to a request that was sent at `sent_s` of the clock.

        A failure that does not count is that of one of several endpoints, while another works.
        """
        self.most_in_flight = max(self.most_in_flight, self.n_in_flight)
        self.n_in_flight -= 1
        if reply.outcome == "rate_limited":
            self._shrink(reply.retry_after_s, sent_s)
        elif reply.outcome in {"unavailable", "no_reply"}:
            if counts:
                self._fail(reply.retry_after_s, sent_s)
        else:
            self._passed_s = self._clock()
            took_s = self._passed_s - sent_s
            mean_s = took_s if self._round_trip_s is None else self._round_trip_s
            self._round_trip_s = mean_s + _SMOOTHING * (took_s - mean_s)
            self._n_failed = self._n_openings = 0
            self._cooldown_s, self._wait_s = self._first_cooldown_s, _FIRST_WAIT_S
            if self._was_full and reply.outcome == "answered":
                self._limit = min(self._threads, self._limit + self._growth())

    def _growth(self) -> float:
        """Return what a reply adds to the limit: near that of the last 429 at most one a second (CUBIC, RFC 9438)."""
        if self._starting:
            return 1.0
        a_round_trip = 1.0
        if self._limit > _NEAR_CEILING * self._ceiling and self._round_trip_s is not None:
            a_round_trip = min(1.0, self._round_trip_s)
        return a_round_trip / self._limit

    def _shrink(self, retry_after_s: float | None, sent_s: float) -> None:
        now = self._clock()
        self._starting = False
        is_new = sent_s >= self._shrunk_s  # later ones of the same round trip say nothing new
        if is_new:
            self._shrunk_s = now
            self._ceiling = min(self._limit, self._threads)
            self._limit = max(1.0, min(self._limit, self._threads) * _SHRINK)
        if retry_after_s is None:
            retry_after_s = self._wait_s if is_new else 0.0
            self._wait_s = min(_LONGEST_WAIT_S, 2 * self._wait_s) if is_new else self._wait_s
        self._close_until(now + retry_after_s)

    def _fail(self, retry_after_s: float | None, sent_s: float) -> None:
        self._n_failed += 1
        now = self._clock()
        if retry_after_s is not None:
            self._close_until(now + min(retry_after_s, _LONGEST_WAIT_S))
        if self.is_failing and sent_s >= self._opened_s:  # those that were under way say nothing new
            self._opened_s = now
            self._n_openings += 1
            self._close_until(now + self._cooldown_s)
            self._cooldown_s = min(_LONGEST_WAIT_S, 2 * self._cooldown_s)

    def _close_until(self, at_s: float) -> None:
        now = self._clock()
        self.waited_s += max(0.0, at_s - max(now, self._gate_s))
        self._gate_s = max(self._gate_s, at_s)
