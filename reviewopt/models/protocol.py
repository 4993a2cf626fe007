"""What the tool needs of a model that is asked in requests."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from reviewopt.data import Question, Reply, Request, Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request can hold; rates are a minute, 0 for no bound.

    `pack_sizes`: requests of so many reviews, or a few others, begin alike and are read from the vendor's prompt cache;
    empty where the number does not matter. `padding_tokens`: of every request, so many are there for that cache alone.

    Where `billed_characters` is above 0, input is billed by it: each review in units of so many characters, rounded up,
    `least_units` of them at least, and nothing besides. Everything that counts tokens of input then counts units. A
    review is cut at `most_review_bytes` and `most_review_characters`, 0 for no bound, instead of at so many tokens.
    """

    context_tokens: int
    most_output_tokens: int
    most_questions: int = 500
    rpm: float = 0.0
    tpm: float = 0.0
    pack_sizes: tuple[int, ...] = ()
    padding_tokens: int = 0
    billed_characters: int = 0
    least_units: int = 1
    most_review_bytes: int = 0
    most_review_characters: int = 0


class Model(Protocol):
    """Answers questions about reviews under the one task that it was opened for.

    `ask` is called from many threads at once; everything else from one.
    """

    @property
    def name(self) -> str:
        """What the answers' source says."""

    @property
    def model(self) -> str:
        """The model's name at its endpoint."""

    @property
    def endpoint(self) -> str:
        """Where the requests go, for people; without keys."""

    @property
    def is_simulated(self) -> bool:
        """Whether no real model answers, so that every report says so."""

    @property
    def place(self) -> Literal["process", "host", "remote"]:
        """Where it computes: in this process, in a server on this machine, or elsewhere."""

    @property
    def settings(self) -> Mapping[str, str]:
        """All that decides its answers besides task and text: it becomes part of the archive's keys."""

    @property
    def prompt_version(self) -> str:
        """Names the wording of the prompt, the task's own instructions aside."""

    @property
    def limits(self) -> Limits:
        """What a request can hold."""

    @property
    def overhead_bytes(self) -> int:
        """Bytes of a request's body that do not grow with its reviews: instructions and the like."""

    @property
    def output_tokens_a_review(self) -> float:
        """Tokens that one review's answer usually takes in a reply."""

    @property
    def is_settled(self) -> bool:
        """Whether the endpoint is known to understand the requests' form; until then one request goes at a time."""

    def compose(self, questions: Sequence[Question], shuffle: random.Random) -> Request:
        """Write the request for these questions, in a random order."""

    def ask(self, request: Request, deadline_s: float) -> Reply:
        """Send a request and read the reply within `deadline_s` seconds in all.

        Whatever goes wrong is a `Reply` that says so; nothing is raised.
        """

    def settle(self) -> None:
        """Take note, also for later runs, that the form of the requests is understood."""

    def simplify(self) -> bool:
        """Use a simpler form of request from now on; False where there is none."""

    def traffic(self) -> Traffic:
        """Return what went over the wire so far, and how its endpoints did."""

    def close(self) -> None:
        """Give up every connection; requests under way end with `no_reply`."""
