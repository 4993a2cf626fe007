"""The kind `chat`: any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from reviewopt.data import Question, Reply, Request, Traffic
from reviewopt.models import chat_form, chat_prompt, chat_reply
from reviewopt.models.balance import COOLDOWN_S
from reviewopt.models.chat_form import Form, Memory
from reviewopt.models.connect import Connection, connect
from reviewopt.models.padding import VERSION as PADDING_VERSION
from reviewopt.models.padding import Padding, padded
from reviewopt.models.protocol import Limits
from reviewopt.settings import ModelSettings
from reviewopt.task import Task

_PATH: Final = "/chat/completions"
_LEAST_OUTPUT_TOKENS: Final = 32
# A pack of about so many reviews is the usual one.
_MIDDLE: Final = 25
# Every fourth size: half as many different ones, for a few requests more (`cache` in
# tests/benchmarks/results/streaming.json).
_PACK_SIZES: Final = tuple(range(4, 501, 4))
_STREAMED: Final = {"stream": True, "stream_options": {"include_usage": True}}
# A model that reasons without being known to gets room for at least so much of it; short reviews take a few hundred.
# Name of the model, format of the reply, limits and the like take at most about so much.
_PARAMETER_BYTES: Final = 512
_LEAST_REASONING_TOKENS: Final = 512


def open_chat(
    name: str,
    settings: ModelSettings,
    task: Task,
    *,
    threads: int,
    memory: Path,
    environment: Mapping[str, str],
    cooldown_s: float = COOLDOWN_S,
    padding: Padding | None = None,
) -> Chat:
    """Open a chat endpoint; nothing is sent yet.

    Raises:
        UsageError: the base address or the header of the key cannot be meant.
        ModelError: the variable of the key is not set.
    """
    connection = connect(name, settings, path=_PATH, threads=threads, environment=environment, cooldown_s=cooldown_s)
    return Chat(name, settings, task, connection=connection, memory=Memory(memory), padding=padding)


class Chat:
    """Asks a chat endpoint under one task, in the richest form that it understands.

    `ask` is called from many threads at once; everything else from one.
    """

    is_simulated: bool
    name: str
    model: str
    endpoint: str
    place: Literal["host", "remote"]
    settings: Mapping[str, str]
    prompt_version = chat_prompt.PROMPT_VERSION
    limits: Limits

    def __init__(
        self,
        name: str,
        settings: ModelSettings,
        task: Task,
        *,
        connection: Connection,
        memory: Memory,
        padding: Padding | None = None,
    ) -> None:
        self.name = name
        self.model = settings.model
        self.endpoint = connection.endpoint
        self.place = connection.place
        self.is_simulated = settings.simulated
        self._schemas: dict[int, msgspec.Raw] = {}
        self._given = settings
        self._task = task
        self._pad = self._padding(padding if settings.prompt_cache else None)
        self.limits = Limits(
            context_tokens=settings.context_tokens,
            most_output_tokens=settings.most_output_tokens,
            rpm=settings.rpm,
            tpm=settings.tpm,
            pack_sizes=_PACK_SIZES if self._pad else (),
            padding_tokens=0 if padding is None else padding.n_tokens(self._pad),
        )
        self.settings = _decisive(settings, connection) | ({"padding": PADDING_VERSION} if self._pad else {})
        self._connection = connection
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
        self._cache_keys: dict[tuple[str, int], str] = {}

    @property
    def overhead_bytes(self) -> int:
        """Bytes of a request's body that do not grow with its reviews: instructions and the like.

        The same whatever form the endpoint turns out to understand, because the archive's keys hang on it.
        """
        instructions = self._system_message(chat_form.richest(self._given))
        return len(bytes(instructions)) + _PARAMETER_BYTES

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
        # One answer is there or not: a stream of it saves nothing, but shows whether the endpoint knows streams.
        if form.stream and (len(asked) > 1 or not self.is_settled):
            body |= _STREAMED
        if form.cache_key:
            body["prompt_cache_key"] = self._cache_key(form, len(asked))
        return Request(questions=tuple(asked), ids=ids, body=msgspec.json.encode(body), most_output_tokens=most)

    def ask(self, request: Request, deadline_s: float) -> Reply:
        """Send a request and read the reply within `deadline_s` seconds in all."""
        about = [question.at for question in request.questions]
        exchange = self._connection.post(request.body, deadline_s, about)
        reply = chat_reply.read(exchange, request, self._task, self._connection.caller(exchange))
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

    def traffic(self) -> Traffic:
        """Return what went over the wire so far, and how its endpoints did."""
        return self._connection.traffic()

    def close(self) -> None:
        """Give up every connection; requests under way end with `no_reply`."""
        self._connection.close()

    def _system_message(self, form: Form) -> msgspec.Raw:
        if form.style not in self._system:
            message = {"role": "system", "content": chat_prompt.instructions(self._task, form.style) + self._pad}
            self._system[form.style] = msgspec.Raw(msgspec.json.encode(message))
        return self._system[form.style]

    def _padding(self, padding: Padding | None) -> str:
        """Return what is added to the instructions in every form; empty where that is not cheaper under a schema."""
        if padding is None:
            return ""
        plain = chat_prompt.instructions(self._task, "schema")
        longer = padded(plain, padding.n_tokens)
        ids = chat_prompt.review_ids(_MIDDLE, "schema", random.Random(0))  # noqa: S311 - these ids are not random
        n_of_schema = padding.n_tokens(bytes(self._schema(ids)).decode())
        pays = padding.pays(n_of_schema + padding.n_tokens(plain), n_of_schema + padding.n_tokens(longer))
        return longer.removeprefix(plain) if pays else ""

    def _cache_key(self, form: Form, n_reviews: int) -> str:
        """Name the requests that begin with the same bytes: those of a style and, under a schema, of a size."""
        n_of_schema = n_reviews if form.style == "schema" else 0
        if (form.style, n_of_schema) not in self._cache_keys:
            named = (self.model, chat_prompt.instructions(self._task, form.style) + self._pad, n_of_schema)
            self._cache_keys[form.style, n_of_schema] = sha256(msgspec.json.encode(named)).hexdigest()[:32]
        return self._cache_keys[form.style, n_of_schema]

    def _schema(self, ids: tuple[str, ...]) -> msgspec.Raw:
        """Return the response format, the same bytes whenever as many reviews are asked."""
        if len(ids) not in self._schemas:
            schema = {"name": "answers", "strict": True, "schema": chat_prompt.reply_schema(self._task, ids)}
            encoded = msgspec.json.encode({"type": "json_schema", "json_schema": schema})
            self._schemas[len(ids)] = msgspec.Raw(encoded)
        return self._schemas[len(ids)]


def _decisive(settings: ModelSettings, connection: Connection) -> dict[str, str]:
    found = {"model": settings.model, **connection.decisive, "temperature": f"{settings.temperature}"}
    if settings.reasoning_effort:
        found["reasoning_effort"] = settings.reasoning_effort
    return found
