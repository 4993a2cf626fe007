"""Packs -> answers over a pool of threads: one loop that sends, collects, pays and asks again.

Only `Model.ask` runs on the threads; all else happens in the caller's, so nothing here needs a lock. `ask` is a
generator: what it yields the caller commits to the archive before the generator goes on, and only then is anything
sent in its place. So a kill loses at most what is under way: threads times reviews a request.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, Self

from reviewopt.ask.again import Done, Next, Pack, after_failure, after_reply, given_up
from reviewopt.ask.pace import Pace
from reviewopt.ask.paying import Paying, Sent
from reviewopt.budget import Refusal
from reviewopt.check import check
from reviewopt.data import Question, Reply, Request
from reviewopt.errors import ModelError
from reviewopt.models.protocol import Model
from reviewopt.settings import AskSettings
from reviewopt.task import Task

# How often a loop that waits looks whether it shall stop.
_LOOK_EVERY_S: Final = 0.1
_BACKOFF_S: Final = 0.25
_LONGEST_BACKOFF_S: Final = 30.0
# What an endpoint may ask to wait before the run gives up and says so.
_LONGEST_GATE_S: Final = 300.0
# How long an endpoint may say "too many requests" to everything.
_LONGEST_STARVATION_S: Final = 900.0
# An unknown form is tried so often with replies that answer nothing before a simpler one is.
_EMPTY_REPLIES: Final = 2
# After so many replies in a row without one valid answer, to as many reviews, a run ends.
_MOST_VAIN: Final = 16
# After so many requests in a row that the endpoint does not understand, it is not the requests' reviews.
_MOST_UNSUPPORTED: Final = 5
_FAILED: Final = frozenset({"unavailable", "no_reply"})
_LEFT: Final = "the deadline was reached"


@dataclass(slots=True)
class Counts:
    """What was asked so far; `outcomes` by request, `reviews` by request that was answered, refused or spoiled."""

    outcomes: Counter[str] = field(default_factory=Counter)
    pack_sizes: Counter[int] = field(default_factory=Counter)
    n_asked: int = 0
    n_asked_again: int = 0
    n_over_budget: int = 0
    n_over_deadline: int = 0
    n_kept_of_cut: int = 0
    reply_s: float = 0.0


class Pool:
    """A context manager over the threads; `ask` may be called again and again."""

    def __init__(
        self,
        model: Model,
        task: Task,
        paying: Paying,
        settings: AskSettings,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        room: Callable[[int], int] | None = None,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        ends_s: float | None = None,
    ) -> None:
        """`is_stopping` is looked at all the time: once true, nothing more is sent, and what is under way is kept.

        From `ends_s` of the clock on nothing more is sent either, and what is left is done without an answer. What is
        under way then has the time that any request has: it is paid for.

        `room` is told the size of a pack, and says how many of its reviews may be sent now; the rest waits, in front.

        Without a `seed` the ids of a request cannot be guessed by who writes a review.
        """
        self._model, self._task, self._paying, self._settings = model, task, paying, settings
        self._is_stopping = is_stopping
        self._room = room
        self.shuffle = random.Random(seed)  # noqa: S311 - an order of reviews, not a secret
        self._clock, self._ends_s = clock, ends_s
        limits = model.limits
        self.pace = Pace(
            threads=settings.threads, cooldown_s=settings.cooldown_s, rpm=limits.rpm, tpm=limits.tpm, clock=clock
        )
        self.counts = Counts()
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="ask")
        self._replies: SimpleQueue[tuple[Sent, Reply]] = SimpleQueue()
        self._waiting: deque[Pack] = deque()
        self._later: list[tuple[float, int, Pack]] = []
        self._spent: set[str] = set()  # budgets that had no room for one review
        self._blocked: list[Pack] = []  # refused by a budget that what is under way may give back
        self._number = count()
        self._form = 0  # how often the requests' form was changed
        self._n_empty = 0
        self._n_unsupported = 0
        self._n_valid = 0
        self._n_vain = 0  # replies in a row without a valid answer, and the questions that were in them
        self._vain: set[tuple[int, int]] = set()
        self._n_calls = 0
        self._is_exhausted = False
        self._not_before_s = 0.0
        self._error: ModelError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._model.close()  # requests under way end now; their reservations stay charged
        self._threads.shutdown(cancel_futures=True)

    @property
    def is_late(self) -> bool:
        """Whether the deadline was reached."""
        return self._ends_s is not None and self._clock() >= self._ends_s

    def ask(self, packs: Iterator[Sequence[Question]]) -> Iterator[list[Done]]:
        """Ask packs as fast as the endpoint and the budget allow; a question is yielded once, when it is done.

        Packs are taken when they can be sent, not before.

        Raises:
            ModelError: no request can pass, or the endpoint is lost; what was answered was yielded before.
            KeyboardInterrupt: `is_stopping` said so, and what was under way is done.
        """
        fresh = iter(packs)
        self._is_exhausted = False
        self._n_calls += 1
        self.pace.begin()
        while True:
            done = self._send(fresh)
            if self.pace.n_in_flight or done:
                done += self._collect(wait=not done)
            elif self._is_over():
                break
            else:
                time.sleep(self._wait_s())
            if done:
                yield done
        if self._error is not None:
            raise self._error
        if self._is_stopping():
            raise KeyboardInterrupt("stopped by a signal")

    def _is_over(self) -> bool:
        """Say whether nothing is under way and nothing can be sent any more."""
        if self._error is not None or self._is_stopping():
            return True
        return self._is_exhausted and not (self._waiting or self._later or self._blocked)

    def _wait_s(self) -> float:
        """Return how long nothing can be sent, as far as the clock decides; at most until the next look around."""
        now = self._clock()
        wait_s = max(self.pace.gate_wait_s(), self.pace.spread_wait_s(), self._not_before_s - now)
        if self._is_exhausted and self._later and not self._waiting:
            wait_s = max(wait_s, self._later[0][0] - now)
        return min(wait_s, _LOOK_EVERY_S) if wait_s > 0 else _LOOK_EVERY_S

    # --- sending ---------------------------------------------------------------------------------------------------

    def _send(self, fresh: Iterator[Sequence[Question]]) -> list[Done]:
        """Send what may be sent now; return what a spent budget leaves unanswered."""
        if self._error is not None or self._is_stopping():
            return []
        if self.is_late:
            return self._leave(fresh)
        if self._clock() < self._not_before_s:
            return []
        if self.pace.gate_wait_s() > _LONGEST_GATE_S:
            self._fail(f"the endpoint asks to wait {self.pace.gate_wait_s():.0f} s; run again then")
            return []
        made: list[tuple[Pack, Request, float]] = []
        n_free = self.pace.n_free()
        if not self._model.is_settled:
            n_free = min(n_free, 1 - self.pace.n_in_flight)
        while len(made) < n_free and (whole := self._next(fresh)) is not None:
            if (pack := self._fitted(whole)) is None:
                break
            request = self._model.compose(pack.questions, self.shuffle)
            n_tokens = len(request.body) / 4 + request.most_output_tokens / 2
            wait_s = self.pace.wait_s(n_tokens)
            if wait_s > 0:
                self._waiting.appendleft(pack)
                self._not_before_s = self._clock() + wait_s
                break
            self.pace.sent(n_tokens)
            made.append((replace(pack, questions=request.questions), request, n_tokens))  # in the order of the ids
        return self._start(made) if made else []

    def _next(self, fresh: Iterator[Sequence[Question]]) -> Pack | None:
        """Return the next pack: one that is asked again first, so that little is ever waiting."""
        while self._later and self._later[0][0] <= self._clock():
            self._waiting.append(heapq.heappop(self._later)[2])
        if self._waiting:
            return self._waiting.popleft()
        if self._blocked:  # taking more would only hoard packs that the same budget may refuse
            return None
        if self._is_exhausted or (questions := next(fresh, None)) is None:
            self._is_exhausted = True
            return None
        return Pack(questions=tuple(questions))

    def _leave(self, fresh: Iterator[Sequence[Question]]) -> list[Done]:
        """Leave unanswered all that is not under way; no request is made of it."""
        packs = [*self._waiting, *self._blocked, *(pack for _, _, pack in self._later)]
        for held in (self._waiting, self._blocked, self._later):
            held.clear()
        packs += [Pack(questions=tuple(questions)) for questions in fresh]
        self._is_exhausted = True
        left = [done for pack in packs for done in given_up(pack, _LEFT).done]
        self.counts.n_over_deadline += len(left)
        return left

    def _fitted(self, pack: Pack) -> Pack | None:
        """Cut a pack to what there is room for; the rest goes to the front. None: no room now, so a little later."""
        n = len(pack.questions) if self._room is None else self._room(len(pack.questions))
        if n < len(pack.questions):
            self._waiting.appendleft(replace(pack, questions=pack.questions[n:]))
        if n == 0:
            self._not_before_s = self._clock() + _LOOK_EVERY_S
            return None
        return replace(pack, questions=pack.questions[:n])

    def _start(self, made: list[tuple[Pack, Request, float]]) -> list[Done]:
        """Reserve the worst case of each request, and hand it to a thread."""
        done: list[Done] = []
        reserved = self._paying.reserve([request for _, request, _ in made])
        for (pack, request, n_tokens), held in zip(made, reserved, strict=True):
            if isinstance(held, Refusal):
                self.pace.unsent(n_tokens)
                done += self._over_budget(pack, held)
                continue
            sent = Sent(pack, request, held, self._form, self._clock())
            self.counts.n_asked += len(pack.questions)
            self.counts.n_asked_again += len(pack.questions) if pack.is_again else 0
            self.counts.pack_sizes[len(pack.questions)] += 1
            self._threads.submit(self._ask, sent)
        return done

    def _ask(self, sent: Sent) -> None:
        """Run on a thread."""
        try:
            reply = self._model.ask(sent.request, self._settings.deadline_s)
        except BaseException as error:  # noqa: BLE001 - whatever it is must reach the caller, not hang it
            reply = Reply(outcome="no_reply", seconds=0.0, reason=f"a bug in the model: {type(error).__name__}")
            self._error = self._error or ModelError(f"{self._model.name}: {type(error).__name__}: {error}")
        self._replies.put((sent, reply))

    def _over_budget(self, pack: Pack, refusal: Refusal) -> list[Done]:
        """Keep a pack while what is under way may make room for it; else part with those whom the budget stops."""
        if not refusal.is_final and self.pace.n_in_flight:
            self._blocked.append(pack)
            return []
        out, rest = self._paying.stopped_by(refusal, pack.questions)
        if rest:
            self._waiting.append(replace(pack, questions=rest))
        if len(out) > 1 and refusal.budget not in self._spent:  # fewer may have room
            middle = -(-len(out) // 2)
            self._waiting.extendleft((replace(pack, questions=out[middle:]), replace(pack, questions=out[:middle])))
            return []
        self._spent.add(refusal.budget)
        self.counts.n_over_budget += len(out)
        return list(given_up(Pack(questions=out), f"the budget of the {refusal.budget} is spent").done)

    # --- collecting ------------------------------------------------------------------------------------------------

    def _collect(self, *, wait: bool) -> list[Done]:
        """Wait for a reply, take all that are there, pay for them, and say what is done."""
        came: list[tuple[Sent, Reply]] = []
        try:
            if wait and self.pace.n_in_flight:
                came.append(self._replies.get(timeout=self._wait_s()))
            while True:
                came.append(self._replies.get_nowait())
        except Empty:
            pass
        if not came:
            return []
        self._paying.settle(came)
        done: list[Done] = []
        for sent, reply in came:
            self.counts.outcomes[reply.outcome] += 1
            self.counts.reply_s += reply.seconds
            was_failing = self.pace.is_failing
            counts = reply.outcome not in _FAILED or not self._works_elsewhere()
            self.pace.came_back(reply, sent_s=sent.at_s, counts=counts)
            done += self._sort(sent, reply, counts=not was_failing)
        self._waiting.extend(self._blocked)
        self._blocked.clear()
        if self.pace.is_lost or self.pace.starved_s > _LONGEST_STARVATION_S:
            self._fail(f"the endpoint keeps failing: {came[-1][1].reason}")
        return done

    def _works_elsewhere(self) -> bool:
        """Whether the model has several endpoints, and one of them works."""
        endpoints = self._model.traffic().endpoints
        return len(endpoints) > 1 and any(one.is_up for one in endpoints)

    def _sort(self, sent: Sent, reply: Reply, *, counts: bool) -> list[Done]:
        """Say what is done of a request, and line up what is asked again."""
        pack, outcome = sent.pack, reply.outcome
        if outcome == "hopeless":
            self._fail(reply.reason)
        elif outcome == "rate_limited":
            self._waiting.appendleft(replace(pack, is_again=True))
        elif outcome in _FAILED:
            return self._line_up(after_failure(pack, reply, most_attempts=self._settings.most_attempts, counts=counts))
        elif outcome == "unsupported" and self._simplified(sent, reply):
            self._waiting.appendleft(replace(pack, is_again=True))
        else:
            checked = check(self._task, sent.request, reply)
            self.counts.n_kept_of_cut += len(checked.answers) if reply.is_cut else 0
            if checked.answers:
                self._n_unsupported = 0
                self._n_valid += len(checked.answers)
            if outcome != "refused":
                self._learn_form(sent, n_answers=len(checked.answers))
                self._count_vain(pack, reply, n_answers=len(checked.answers))
            is_only_one = self._n_valid > 0 and len(self._vain) <= 1
            return self._line_up(
                after_reply(
                    pack,
                    reply,
                    checked,
                    most_tries=self._settings.most_tries,
                    n_valid=self._n_valid,
                    is_only_one=is_only_one,
                )
            )
        return []

    def _line_up(self, after: Next) -> list[Done]:
        for pack in after.again:
            if pack.n_attempts:
                most_s = min(_LONGEST_BACKOFF_S, _BACKOFF_S * 2**pack.n_attempts)
                due_s = self._clock() + most_s * self.shuffle.uniform(0.5, 1)
                heapq.heappush(self._later, (due_s, next(self._number), pack))
            else:
                self._waiting.append(pack)
        return list(after.done)

    def _simplified(self, sent: Sent, reply: Reply) -> bool:
        """Take a simpler form of request where the endpoint knows none of this one's features; False: it is known."""
        if sent.form != self._form:
            return True  # sent before the form was changed
        self._n_unsupported += 1
        if self._model.is_settled and self._n_unsupported < _MOST_UNSUPPORTED:
            return False  # others of this form passed: it is this request
        if self._model.simplify():
            self._form += 1
        else:
            self._fail(f"the endpoint takes no form of request: {reply.reason}")
        return True

    def _learn_form(self, sent: Sent, *, n_answers: int) -> None:
        if self._model.is_settled or sent.form != self._form:
            return
        if n_answers:
            self._model.settle()
            return
        self._n_empty += 1
        if self._n_empty % _EMPTY_REPLIES == 0 and self._model.simplify():
            self._form += 1

    def _count_vain(self, pack: Pack, reply: Reply, *, n_answers: int) -> None:
        """Give up after many replies in a row, to many reviews, without one valid answer: each of them is paid for."""
        if n_answers:
            self._n_vain = 0
            self._vain.clear()
            return
        self._n_vain += 1
        self._vain.update((self._n_calls, one.at) for one in pack.questions)
        if min(self._n_vain, len(self._vain)) >= _MOST_VAIN:
            self._fail(f"not one valid answer in {self._n_vain} replies; the last: {reply.reason or 'none fits'}")

    def _fail(self, reason: str) -> None:
        """Send nothing more; the error is raised when what is under way is in."""
        if self._error is None:
            self._error = ModelError(f"{self._model.name} at {self._model.endpoint}: {reason}")
