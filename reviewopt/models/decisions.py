"""The kind `decisions`: any endpoint that answers typed questions, as OpenAI's `POST /v1/decisions` does.

Each answer comes with its probability, and only input is billed; the questions are a part of that input.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from reviewopt.data import Question, Reply, Request, Traffic
from reviewopt.models import chat_prompt, decisions_prompt, decisions_reply
from reviewopt.models.balance import COOLDOWN_S
from reviewopt.models.connect import Connection, connect
from reviewopt.models.padding import Padding
from reviewopt.models.protocol import Limits
from reviewopt.settings import ModelSettings
from reviewopt.task import Task

_PATH: Final = "/decisions"


def open_decisions(
    name: str,
    settings: ModelSettings,
    task: Task,
    *,
    threads: int,
    memory: Path,  # noqa: ARG001 - every kind is opened alike; there is no form to remember
    environment: Mapping[str, str],
    cooldown_s: float = COOLDOWN_S,
    padding: Padding | None = None,  # noqa: ARG001 - only a chat's prompt is worth it
) -> Decisions:
    """Open a typed-decision endpoint; nothing is sent yet.

    Raises:
        UsageError: the base address or the header of the key cannot be meant.
        ModelError: the variable of the key is not set.
    """
    connection = connect(name, settings, path=_PATH, threads=threads, environment=environment, cooldown_s=cooldown_s)
    return Decisions(name, settings, task, connection)


class Decisions:
    """Asks a typed-decision endpoint under one task, in the one form that there is.

    `ask` is called from many threads at once; everything else from one.
    """

    is_simulated: bool
    name: str
    model: str
    endpoint: str
    place: Literal["host", "remote"]
    settings: Mapping[str, str]
    limits: Limits
    prompt_version = decisions_prompt.PROMPT_VERSION
    output_tokens_a_review = 0.0
    is_settled = True

    def __init__(self, name: str, settings: ModelSettings, task: Task, connection: Connection) -> None:
        self.name = name
        self.model = settings.model
        self.endpoint = connection.endpoint
        self.place = connection.place
        self.is_simulated = settings.simulated
        self.limits = Limits(
            context_tokens=settings.context_tokens,
            most_output_tokens=0,
            most_questions=max(1, decisions_prompt.MOST_QUESTIONS // len(task.fields)),
            rpm=settings.rpm,
            tpm=settings.tpm,
        )
        self.settings = {"kind": "decisions", "model": settings.model, **connection.decisive}
        self._task = task
        self._connection = connection
        self._instructions = decisions_prompt.instructions(task)

    @property
    def overhead_bytes(self) -> int:
        """Bytes of a request's body that do not grow with its reviews: instructions and the like."""
        return len(self.compose((), random.Random(0)).body)  # noqa: S311 - no secret hangs on it

    def compose(self, questions: Sequence[Question], shuffle: random.Random) -> Request:
        """Write the request for these questions, in a random order."""
        asked = list(questions)
        shuffle.shuffle(asked)
        ids = chat_prompt.review_ids(len(asked), "schema", shuffle)
        blocks = "\n".join(map(chat_prompt.block, ids, (question.text for question in asked)))
        body = {
            "model": self.model,
            "input": f"{self._instructions}\n\n{blocks}",
            "questions": decisions_prompt.questions(ids, self._task),
        }
        return Request(questions=tuple(asked), ids=ids, body=msgspec.json.encode(body), most_output_tokens=0)

    def ask(self, request: Request, deadline_s: float) -> Reply:
        """Send a request and read the reply within `deadline_s` seconds in all."""
        about = [question.at for question in request.questions]
        exchange = self._connection.post(request.body, deadline_s, about)
        return decisions_reply.read(exchange, request, self._task, self._connection.caller(exchange))

    def settle(self) -> None:
        """Do nothing: the form of the requests is never in doubt."""

    def simplify(self) -> bool:
        """Return False: there is no simpler form."""
        return False

    def traffic(self) -> Traffic:
        """Return what went over the wire so far, and how its endpoints did."""
        return self._connection.traffic()

    def close(self) -> None:
        """Give up every connection; requests under way end with `no_reply`."""
        self._connection.close()
