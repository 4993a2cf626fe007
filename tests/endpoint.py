"""A model endpoint for tests, on this machine: chat and typed decisions, real faults, and a ledger of each text.

    with Endpoint(faults={"429": 0.1}, price_in_usd=0.1, price_out_usd=0.4) as endpoint:
        ...                                      # base_url = endpoint.base_url
        endpoint.change(latency_ms=50)
    assert all(n == 1 for n in endpoint.ledger().values())  # nothing was answered twice

The reviews of the last user message, `<review id="r07">escaped text</review>`, are answered by their text alone: its
label in `gold`, else one that its hash picks. The reply is a JSON object keyed by id where a response format is asked
for (each id's schema is filled), else a line `ID:label` a review, with the labels of the system message's line
`labels: a, b, c`. Tokens are bytes / 4. At most one fault a request, drawn from (seed, body, how often that body came
before), so the order in which requests arrive changes nothing: `FAULTS` lists them.

    python tests/endpoint.py --latency-ms 50 --fault 429=.1     # prints its address; Ctrl-C prints its counters
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal
from hashlib import sha256
from types import TracebackType
from typing import Self

from endpoint_decisions import READERS, Asked, answered, written
from endpoint_replies import CONTENT_FAULTS, Chat, Told, canonical
from endpoint_streams import streamed
from endpoint_wire import FREE, LOST, Wire, send

Script = Callable[[int, Sequence[str]], str | None]
# A fault that only a request of this kind can meet.
ONLY_WITH: dict[str, Callable[[Asked], bool]] = {
    "unsupported_schema": lambda chat: chat.response_format == "json_schema",
    "unsupported_logprobs": lambda chat: chat.n_logprobs is not None,
    "unsupported_stream": lambda chat: chat.streams,
    "unsupported_cache_key": lambda chat: chat.cache_key is not None,
}
# These come as one piece even where a stream was asked for.
WHOLE = ("drop", "hang", "trickle")
FAULTS = (*FREE, *LOST, *CONTENT_FAULTS)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the endpoint behaves; 0 is no limit.

    `faults` are probabilities a request; `script(n, texts)` names the fault of the n-th chat request (from 0) or None;
    a review with the word `poison` gets its request filtered. Prices are a million tokens. Where it `streams`, replies
    come in pieces if that is asked for; where it knows `gzip`, it says so, and takes and sends bodies compressed.
    """

    labels: tuple[str, ...] = ("negative", "neutral", "positive")
    gold: Mapping[str, str] = field(default_factory=dict)
    latency_ms: float = 0.0
    faults: Mapping[str, float] = field(default_factory=dict)
    script: Script | None = None
    poison: str = ""
    seed: int = 0
    api_key: str = ""
    retry_after_s: float = 0.05
    hang_s: float = 3600.0
    trickle_pause_s: float = 0.05
    rpm: float = 0.0
    burst: float = 1.0
    max_concurrency: int = 0
    price_in_usd: float = 0.0
    price_out_usd: float = 0.0
    streams: bool = True
    gzip: bool = False

    def __post_init__(self) -> None:
        if unknown := set(self.faults) - set(FAULTS):
            raise ValueError(f"there is no fault {', '.join(sorted(unknown))}; there are: {', '.join(FAULTS)}")


@dataclass(frozen=True, kw_only=True)
class Stats:
    """What happened so far.

    Requests without a status (dropped, hung) have status 0, those under way none; `span_s` lies between the first and
    the latest chat request; `n_packed` came compressed, `n_streamed` asked for a stream.
    """

    n_requests: int
    n_connections: int
    n_open: int
    max_in_flight: int
    statuses: dict[int, int]
    faults: dict[str, int]
    paths: dict[str, int]
    span_s: float
    reviews_per_request: dict[int, int]
    input_tokens: int
    output_tokens: int
    billed_usd: Decimal
    n_packed: int
    n_streamed: int


class Endpoint:
    """Serves from a thread of its own from `with` to the end of its block; its counters stay readable afterwards."""

    def __init__(self, **settings: object) -> None:
        self.port = 0
        self._settings = replace(Settings(), **settings)  # type: ignore[arg-type]  # replace() checks the names
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {
            name: Counter() for name in ("fault", "path", "form", "delivered", "billed")
        }
        self._statuses: Counter[int] = Counter()
        self._sizes: Counter[int] = Counter()
        self._seen: Counter[bytes] = Counter()
        self._n_chats = self._n_connections = self._in_flight = self._max_in_flight = 0
        self._tokens, self._times_s = [0, 0], [0.0, 0.0]
        self._billed_usd = Decimal(0)
        self._bucket: tuple[float, float] | None = None
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._bugs: list[BaseException] = []

    @property
    def base_url(self) -> str:
        """The address to which a client adds `/chat/completions`."""
        return f"http://127.0.0.1:{self.port}/v1"

    def change(self, **settings: object) -> None:
        """Behave differently from the next request on."""
        self._settings = replace(self._settings, **settings)  # type: ignore[arg-type]

    def ledger(self, *, billed: bool = False) -> dict[str, int]:
        """How often each text, in canonical form, was answered rightly in a reply that was sent to its end.

        `billed`: how often it stood in a request that was charged, whatever became of the reply.
        """
        with self._lock:
            return dict(self._counts["billed" if billed else "delivered"])

    def stats(self) -> Stats:
        """Every counter, at one moment."""
        with self._lock:
            return Stats(
                n_requests=sum(self._counts["path"].values()),
                n_connections=self._n_connections,
                n_open=len(self._tasks),
                max_in_flight=self._max_in_flight,
                statuses=dict(self._statuses),
                faults=dict(self._counts["fault"]),
                paths=dict(self._counts["path"]),
                span_s=self._times_s[1] - self._times_s[0],
                reviews_per_request=dict(self._sizes),
                input_tokens=self._tokens[0],
                output_tokens=self._tokens[1],
                billed_usd=self._billed_usd,
                n_packed=self._counts["form"]["packed"],
                n_streamed=self._counts["form"]["streamed"],
            )

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._main(started),), name="endpoint", daemon=True)
        self._thread.start()
        if not started.wait(10):
            raise RuntimeError("the endpoint did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._bugs and kind is None:
            raise self._bugs[0]

    async def _main(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1024, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        for listening in server.sockets:
            self._loop.remove_reader(listening.fileno())
        for _ in range(5):  # connections that were just accepted come up, so that they are ended with the others
            await asyncio.sleep(0)
        server.close()
        for task, writer in list(self._tasks.items()):
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the loop closes the aborted sockets on its next turn

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        with self._lock:
            self._n_connections += 1
            self._tasks[task] = writer
        task.add_done_callback(self._gone)

    def _gone(self, task: asyncio.Task[None]) -> None:
        with self._lock:
            self._tasks.pop(task)
        if not task.cancelled() and (bug := task.exception()):
            self._bugs.append(bug)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                with self._lock:
                    self._in_flight += 1
                    self._max_in_flight = max(self._max_in_flight, self._in_flight)
                try:
                    await self._handle(head[0].split()[1], headers, body, Wire(reader, writer))
                finally:
                    with self._lock:
                        self._in_flight -= 1
                if writer.is_closing() or headers.get("connection", "").lower() == "close":
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client is gone, as a client may be
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _handle(self, path: str, headers: Mapping[str, str], body: bytes, wire: Wire) -> None:
        now = self._settings
        read = READERS.get(path)
        is_packed = headers.get("content-encoding") == "gzip"
        body = gzip.decompress(body) if is_packed else body
        chat = read(body, now.labels) if read else None
        told, fault, retry_after_s = None, "bad_request" if read else "not_found", None
        if isinstance(chat, Chat) and not now.streams:
            chat = replace(chat, streams=False)
        with self._lock:
            self._counts["path"][path] += 1
            self._counts["form"].update({"packed": is_packed, "streamed": chat is not None and chat.streams})
            if is_packed and not now.gzip:
                fault = "unsupported_gzip"
            elif chat is not None:
                fault, retry_after_s = self._fate(now, headers, body, chat)
                told = answered(chat, now.gold, fault)
                self._count(now, chat, told, fault)
        if now.latency_ms:
            await asyncio.sleep(now.latency_ms / 1000)
        reply: bytes | list[bytes] = b""
        if chat is not None and told is not None and fault not in FREE:
            reply = written(told, chat)
            if isinstance(chat, Chat) and chat.streams and fault not in WHOLE:
                reply = streamed(told, chat)
        packs = now.gzip and "gzip" in headers.get("accept-encoding", "")
        more = ({"Accept-Encoding": "gzip"} if now.gzip else {}) | ({"Content-Encoding": "gzip"} if packs else {})

        def on_sent(status: int) -> None:
            with self._lock:
                self._statuses[status] += 1
                if told is not None and status == 200 and fault not in FREE and not wire.reader.at_eof():
                    self._counts["delivered"].update(map(canonical, told.answered))

        pause_s = now.trickle_pause_s
        await send(wire, fault, reply, retry_after_s, on_sent=on_sent, hang_s=now.hang_s, pause_s=pause_s, headers=more)

    def _fate(self, now: Settings, headers: Mapping[str, str], body: bytes, chat: Asked) -> tuple[str, float | None]:
        """Name what goes wrong with a request, empty for nothing, and after how long to come again."""
        n, self._n_chats = self._n_chats, self._n_chats + 1
        self._times_s = [self._times_s[0] if n else self._loop.time(), self._loop.time()]
        if now.api_key and headers.get("authorization") != f"Bearer {now.api_key}":
            return "bad_key", None
        if (wait_s := self._wait_s(now)) > 0:
            return "429", wait_s
        if now.poison and any(now.poison in text for _, text in chat.reviews):
            return "content_filter", None
        fault = now.script(n, [text for _, text in chat.reviews]) if now.script else None
        return fault or self._draw(now, body, chat), now.retry_after_s

    def _wait_s(self, now: Settings) -> float:
        """How long until a request may come, 0 for at once: a token bucket, and a bound on requests in flight."""
        if now.max_concurrency and self._in_flight > now.max_concurrency:
            return now.retry_after_s
        if not now.rpm:
            return 0.0
        at, (level, before) = self._loop.time(), self._bucket or (now.burst, self._loop.time())
        level = min(now.burst, level + (at - before) * now.rpm / 60)
        self._bucket = (level - 1 if level >= 1 else level, at)
        return 0.0 if level >= 1 else (1 - level) * 60 / now.rpm

    def _draw(self, now: Settings, body: bytes, chat: Asked) -> str:
        seen = sha256(body).digest()
        nth, self._seen[seen] = self._seen[seen], self._seen[seen] + 1
        left = int.from_bytes(sha256(b"%d %d " % (now.seed, nth) + seen).digest()[:8], "big") / 2**64
        for fault, share in now.faults.items():
            if fault in ONLY_WITH and not ONLY_WITH[fault](chat):
                continue
            if left < share:
                return fault
            left -= share
        return ""

    def _count(self, now: Settings, chat: Asked, told: Told, fault: str) -> None:
        self._sizes[len(chat.reviews)] += 1
        if fault:
            self._counts["fault"][fault] += 1
        if fault not in FREE:
            self._counts["billed"].update(canonical(text) for _, text in chat.reviews)
            for at, n, price_usd in (
                (0, chat.input_tokens, now.price_in_usd),
                (1, told.output_tokens, now.price_out_usd),
            ):
                self._tokens[at] += n
                self._billed_usd += n * Decimal(str(price_usd)) / 1_000_000


def _main() -> None:
    flags = argparse.ArgumentParser(description="A model endpoint for tests; it prints its address.")
    numbers = [one.name for one in fields(Settings) if isinstance(one.default, float | int)]
    for name in numbers:
        flags.add_argument(f"--{name.replace('_', '-')}", type=type(getattr(Settings, name)))
    flags.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE")
    given = {name: value for name, value in vars(flags.parse_args()).items() if value is not None}
    faults = {name: float(share) for name, _, share in (one.partition("=") for one in given.pop("fault"))}
    with Endpoint(**given, faults=faults) as endpoint:
        print(endpoint.base_url, flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    print(json.dumps(asdict(endpoint.stats()), default=str))


if __name__ == "__main__":
    _main()
