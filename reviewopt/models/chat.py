"""The kind `chat`: any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from reviewopt.data import Question, Reply, Request, Traffic
from reviewopt.errors import ModelError, UsageError
from reviewopt.models import chat_form, chat_prompt, chat_reply
from reviewopt.models.address import Address, parse
from reviewopt.models.chat_form import Form, Memory
from reviewopt.models.http import Client
from reviewopt.models.protocol import Limits
from reviewopt.models.reasons import Caller
from reviewopt.settings import ModelSettings
from reviewopt.task import Task

_PATH: Final = "/chat/completions"
_LEAST_OUTPUT_TOKENS: Final = 32
# A model that reasons without being known to gets room for at least so much of it; short reviews take a few hundred.
_LEAST_REASONING_TOKENS: Final = 512
_HEADER: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
_OWN_HEADERS: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "host", "transfer-encoding", "user-agent"}
)


def open_chat(
    name: str, settings: ModelSettings, task: Task, *, threads: int, memory: Path, environment: Mapping[str, str]
) -> Chat:
    """Open a chat endpoint; nothing is sent yet.

    Raises:
        UsageError: the base address or the header of the key cannot be meant.
        ModelError: the variable of the key is not set.
    """
    address = parse(settings.base_url, where=f"the base_url of {name}", allow_address=settings.allow_address)
    key = _key(name, settings, environment)
    client = Client(
        address, _key_header(name, settings, key), path=_PATH, threads=threads, allow_address=settings.allow_address
    )
    return Chat(name, settings, task, address=address, key=key, client=client, memory=Memory(memory))


def _key(name: str, settings: ModelSettings, environment: Mapping[str, str]) -> str:
    variable = settings.api_key_env
    if not variable:
        return ""
    key = environment.get(variable, "").strip()
    if not key:
        raise ModelError(f"the model {name} needs a key: set the variable {variable} to it, or change api_key_env")
    if not (key.isascii() and key.isprintable()):
        raise ModelError(f"the variable {variable} holds no key: it has signs in it that no key has; set it again")
    return key


class Chat:
    """Asks a chat endpoint under one task, in the richest form that it understands.

    `ask` is called from many threads at once; everything else from one.
    """

    is_simulated: bool
    name: str
    model: str
    endpoint: str
    settings: Mapping[str, str]
    prompt_version = chat_prompt.PROMPT_VERSION
    limits: Limits

    def __init__(
        self,
        name: str,
        settings: ModelSettings,
        task: Task,
        *,
        address: Address,
        key: str,
        client: Client,
        memory: Memory,
    ) -> None:
        self.name = name
        self.model = settings.model
        self.endpoint = address.endpoint
        self.is_simulated = settings.simulated
        self.limits = Limits(
            context_tokens=settings.context_tokens,
            most_output_tokens=settings.most_output_tokens,
            rpm=settings.rpm,
            tpm=settings.tpm,
        )
        self.settings = _decisive(settings, address)
        self._given = settings
        self._address = address
        self._task = task
        self._caller = Caller(
            endpoint=address.endpoint, model=settings.model, key_variable=settings.api_key_env, key=key
        )
        self._client = client
        self._memory = memory
        self._known_as = chat_form.known_as(self.settings, settings)
        remembered = memory.recall(self._known_as)
        self.is_settled = remembered is not None
        self._form = remembered or chat_form.richest(settings)
        self._base = self._form  # with all that the endpoint named as missing left out
        self._tried = {self._form}
        self._complaint = ""
        self._reasoning_tokens = settings.reasoning_tokens
        self._system: dict[str, msgspec.Raw] = {}
        self._schemas: dict[int, msgspec.Raw] = {}

    @property
    def overhead_bytes(self) -> int:
        """Bytes of a request's body that do not grow with its reviews: instructions and the like."""
        return len(self.compose((), random.Random(0)).body)  # noqa: S311 - no secret hangs on it

    @property
    def output_tokens_a_review(self) -> float:
        """Tokens that one review's answer usually takes in a reply."""
        return chat_prompt.usual_answer_tokens(self._task)

    def compose(self, questions: Sequence[Question], shuffle: random.Random) -> Request:
        """Write the request for these questions, in a random order."""
        form, asked = self._form, list(questions)
        shuffle.shuffle(asked)
        ids = chat_prompt.review_ids(len(asked), form.style, shuffle)
        user = "\n".join(map(chat_prompt.block, ids, (question.text for question in asked)))
        most = _LEAST_OUTPUT_TOKENS + len(asked) * chat_prompt.most_answer_tokens(self._task)
        most = min(most + self._reasoning_tokens, self._given.most_output_tokens)
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [self._system_message(form), {"role": "user", "content": user}],
            form.limit: most,
        }
        if form.style == "schema":
            body["response_format"] = self._schema(ids)
        elif form.style == "json":
            body["response_format"] = {"type": "json_object"}
        if form.temperature and self._given.temperature != "default":
            body["temperature"] = self._given.temperature
        if self._given.reasoning_effort:
            body["reasoning_effort"] = self._given.reasoning_effort
        if form.logprobs:
            body["logprobs"] = True
        return Request(questions=tuple(asked), ids=ids, body=msgspec.json.encode(body), most_output_tokens=most)

    def ask(self, request: Request, deadline_s: float) -> Reply:
        """Send a request and read the reply within `deadline_s` seconds in all."""
        exchange = self._client.post(request.body, deadline_s)
        reply = chat_reply.read(exchange, request, self._task, self._caller)
        if reply.outcome == "unsupported":
            self._complaint = chat_reply.unsupported_words(exchange.body)
        self._make_room(request, reply)
        return reply

    def _make_room(self, request: Request, reply: Reply) -> None:
        """Let later replies be longer where reasoning used this one up; two threads that say so at once do no harm."""
        used = reply.usage
        if used is not None and used.reasoning and used.output >= request.most_output_tokens:
            self._reasoning_tokens = max(self._reasoning_tokens, 2 * used.reasoning + _LEAST_REASONING_TOKENS)

    def settle(self) -> None:
        """Take note, also for later runs, that the form of the requests is understood."""
        if not self.is_settled:
            self.is_settled = True
            self._memory.keep(self._known_as, self._form)

    def simplify(self) -> bool:
        """Use a simpler form of request from now on, without what the endpoint named; False where there is none."""
        is_style_fixed = bool(self._given.reply)
        named = chat_form.without(self._form, self._complaint, is_style_fixed=is_style_fixed)
        self._complaint = ""
        if named is not None and named not in self._tried:
            self._base = self._form = named
        else:
            others = chat_form.simpler(self._base, is_style_fixed=is_style_fixed)
            untried = next((form for form in others if form not in self._tried), None)
            if untried is None:
                return False
            self._form = untried
        self._tried.add(self._form)
        self.is_settled = False
        return True

    @property
    def place(self) -> Literal["process", "host", "remote"]:
        """Where it computes: in a server on this machine, or elsewhere."""
        return "host" if self._address.is_loopback else "remote"

    def traffic(self) -> Traffic:
        """Return what went over the wire so far, and how its endpoints did."""
        return Traffic()

    def close(self) -> None:
        """Give up every connection; requests under way end with `no_reply`."""
        self._client.close()

    def _system_message(self, form: Form) -> msgspec.Raw:
        if form.style not in self._system:
            message = {"role": "system", "content": chat_prompt.instructions(self._task, form.style)}
            self._system[form.style] = msgspec.Raw(msgspec.json.encode(message))
        return self._system[form.style]

    def _schema(self, ids: tuple[str, ...]) -> msgspec.Raw:
        """Return the response format, the same bytes whenever as many reviews are asked."""
        if len(ids) not in self._schemas:
            schema = {"name": "answers", "strict": True, "schema": chat_prompt.reply_schema(self._task, ids)}
            encoded = msgspec.json.encode({"type": "json_schema", "json_schema": schema})
            self._schemas[len(ids)] = msgspec.Raw(encoded)
        return self._schemas[len(ids)]


def _decisive(settings: ModelSettings, address: Address) -> dict[str, str]:
    found = {"model": settings.model, "base_url": address.endpoint, "temperature": f"{settings.temperature}"}
    if settings.reasoning_effort:
        found["reasoning_effort"] = settings.reasoning_effort
    if address.query:
        found["query"] = address.query_digest
    return found


def _key_header(name: str, settings: ModelSettings, key: str) -> dict[str, str]:
    header = settings.api_key_header.lower()
    if not _HEADER.fullmatch(header) or header in _OWN_HEADERS:
        raise UsageError(f"the api_key_header of {name} is no header for a key; write authorization, or api-key")
    if not key:
        return {}
    return {header: f"Bearer {key}" if header == "authorization" else key}
