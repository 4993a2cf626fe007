"""A model that plays a script, in process: for tests of what is built on this tool, without network or key."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, get_args

import msgspec

from reviewopt.data import Outcome, Question, Reply, Request, Traffic, Usage
from reviewopt.models.protocol import Limits

Script = Callable[[str], object] | Mapping[str, object]
# An outcome, or `OUTCOME: reason`; the whole reply where that is not enough.
Fault = str | Reply
Faults = Mapping[int, Fault] | Callable[[int, Request], Fault | None]

_OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
_CHARGED: Final = frozenset({"answered", "spoiled", "refused"})


class Scripted:
    """Answers reviews from a function or a mapping of texts, and fails where its script says so.

    A text that a mapping does not hold stays unanswered, as when a model forgets one. A value is a label or number for
    a task of one field, else an object by field. Requests count from 1. Tokens are counted as bytes / 4. Every report
    of a run with it says that no real model answered. For example:

        model = Scripted(
            lambda text: "negative" if "broken" in text else "positive",
            faults={1: "rate_limited", 3: "spoiled: not JSON"},
            latency_s=0.01,
        )
        request = model.compose([Question(at=0, text="It is broken", tenant=None, n_tokens=3)], random.Random(0))
        assert model.ask(request, deadline_s=1).outcome == "rate_limited"
        assert model.ask(request, deadline_s=1).values == (("r01", "negative"),)
        assert len(model.requests) == 2
    """

    is_simulated = True
    endpoint = "in process"
    prompt_version = "scripted"
    overhead_bytes = 2
    output_tokens_a_review = 6.0

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted",
        faults: Faults | None = None,
        latency_s: float = 0.0,
        limits: Limits | None = None,
        n_forms: int = 1,
        confidence: Callable[[str], float] | None = None,
        place: Literal["process", "host", "remote"] = "remote",
    ) -> None:
        """Take the script.

        Args:
            script: the value for a text.
            name: what the answers' source says.
            faults: what goes wrong: by the number of the request, or a function of that and the request.
            latency_s: how long each reply takes.
            limits: what a request can hold.
            n_forms: forms of request that `simplify` can step through; with more than one it is not settled at first.
            confidence: how sure it is of a text's answer; without it, it does not say.
            place: where it says that it computes.
        """
        self.name = name
        self.model = name
        self.settings: Mapping[str, str] = {"model": name}
        self.limits = limits or Limits(context_tokens=128_000, most_output_tokens=8_192)
        self.is_settled = n_forms == 1
        self.place = place
        self.requests: list[Request] = []
        self._confidence = confidence
        self._script = script
        self._faults: Faults = faults or {}
        self._latency_s = latency_s
        self._n_forms = n_forms
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def compose(self, questions: Sequence[Question], shuffle: random.Random) -> Request:
        """Write the request for these questions, in a random order."""
        asked = list(questions)
        shuffle.shuffle(asked)
        ids = tuple(f"r{number:02d}" for number in range(1, len(asked) + 1))
        texts = [question.text.encode(errors="replace").decode() for question in asked]
        body = msgspec.json.encode(dict(zip(ids, texts, strict=True)))
        return Request(questions=tuple(asked), ids=ids, body=body, most_output_tokens=64 + 64 * len(asked))

    def ask(self, request: Request, deadline_s: float) -> Reply:
        """Play the next part of the script."""
        started = time.monotonic()
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
        is_late = self._latency_s > deadline_s
        was_closed = self._closed.wait(min(self._latency_s, deadline_s))
        fault = self._faults(number, request) if callable(self._faults) else self._faults.get(number)
        if was_closed or is_late:
            fault = f"no_reply: {'given up by us' if was_closed else 'no whole reply before the deadline'}"
        if isinstance(fault, Reply):
            return fault
        return self._reply(request, fault or "answered", time.monotonic() - started)

    def settle(self) -> None:
        """Take note that the form of the requests is understood."""
        self.is_settled = True

    def simplify(self) -> bool:
        """Use a simpler form of request from now on; False where there is none."""
        self._n_forms -= 1
        return self._n_forms > 0

    def traffic(self) -> Traffic:
        """Return nothing: no wire is used."""
        return Traffic()

    def close(self) -> None:
        """Give up; requests under way end with `no_reply`."""
        self._closed.set()

    def _reply(self, request: Request, fault: str, seconds: float) -> Reply:
        name, _, reason = fault.partition(":")
        outcome = next((outcome for outcome in _OUTCOMES if outcome == name), None)
        if outcome is None:
            raise ValueError(f"a scripted fault is one of {', '.join(_OUTCOMES)}, or OUTCOME: reason; not {fault}")
        values = tuple(self._values(request)) if outcome == "answered" else ()
        usage = None
        if outcome in _CHARGED:
            usage = Usage(input=len(request.body) // 4, output=len(msgspec.json.encode(values)) // 4)
        return Reply(
            outcome=outcome,
            seconds=seconds,
            values=values,
            confidence={} if self._confidence is None else self._sure(request, values, self._confidence),
            usage=usage,
            is_charged=outcome in _CHARGED or outcome == "no_reply",
            reason=reason.strip() or ("" if outcome == "answered" else "as scripted"),
            request_id=None,
        )

    @staticmethod
    def _sure(
        request: Request, values: Sequence[tuple[str, object]], confidence: Callable[[str], float]
    ) -> dict[str, float]:
        text = {review_id: question.text for review_id, question in zip(request.ids, request.questions, strict=True)}
        return {review_id: confidence(text[review_id]) for review_id, _ in values}

    def _values(self, request: Request) -> list[tuple[str, object]]:
        pairs = [(review_id, question.text) for review_id, question in zip(request.ids, request.questions, strict=True)]
        if callable(self._script):
            return [(review_id, self._script(text)) for review_id, text in pairs]
        return [(review_id, self._script[text]) for review_id, text in pairs if text in self._script]
