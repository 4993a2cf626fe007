"""The wire below every endpoint: one address, connections kept alive, and a bound on everything.

Connections are urllib3's, but dialled by us, so that whether a request went out at all is known exactly, which decides
whether it may be charged. Sockets block without time-outs, because a time-out starts again with every byte; one thread
looks at all requests under way and ends those that are late. Nothing is followed, sent again or logged.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import Final, Literal

from urllib3.connection import HTTPConnection
from urllib3.exceptions import DecodeError, HTTPError
from urllib3.response import BaseHTTPResponse

from reviewopt import __version__
from reviewopt.models.address import Address
from reviewopt.models.dialing import Dialer, Flight, ForbiddenError, reason
from reviewopt.models.packing import Packing

MOST_BODY_BYTES: Final = 8 << 20
_CHUNK_BYTES: Final = 1 << 16
# How often late requests are looked for: a deadline is met within this.
_TICK_S: Final = 0.2

# How a request failed to bring a whole reply.
#   unsent       no name, connection or TLS: certainly not charged
#   forbidden    the name leads to an address that must be allowed first: certainly not charged
#   lost         sent, then dropped, cut, late or given up: may be charged
#   unreadable   a reply beyond the bound, or badly compressed
Problem = Literal["unsent", "forbidden", "lost", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What came of a request: `status` is 0 where not even that came; `headers` are found in any case of letters.

    `body` is what came before the reply was lost, too; it is whole where there is no `problem`, and empty where it is
    `unreadable`. `via` counts which of a model's endpoints was asked, from 0.
    """

    seconds: float
    status: int = 0
    headers: Mapping[str, str]
    body: bytes = b""
    problem: Problem | None = None
    reason: str = ""
    via: int = 0


class Client:
    """Posts to one address from many threads at once; `close` ends what is under way."""

    def __init__(
        self,
        address: Address,
        headers: Mapping[str, str],
        *,
        path: str,
        threads: int,
        allow_address: bool = False,
        compress: bool = False,
        connect_s: float = math.inf,
    ) -> None:
        """With `compress` replies may come compressed, and requests go so once the endpoint has said that it can."""
        self._address = address
        self._target = address.target(path)
        self._headers = {
            "host": address.authority,
            "user-agent": f"reviewopt/{__version__}",
            "accept-encoding": "gzip" if compress else "identity",
            "content-type": "application/json",
            **headers,
        }
        self._packing = Packing(on=compress)
        self.sent_bytes = self.sent_wire_bytes = self.received_bytes = self.received_wire_bytes = 0
        self._dialer = Dialer(address, allow_address=allow_address, connect_s=connect_s)
        self._most_idle = threads
        self._idle: list[HTTPConnection] = []
        self._flights: set[Flight] = set()
        self._lock = threading.Lock()  # over idle connections, flights and counts of bytes
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._end_late_flights, name="deadlines", daemon=True)
        self._watch.start()

    def post(self, body: bytes, deadline_s: float) -> Exchange:
        """Send a body and read the reply, all within `deadline_s` seconds; failures are told, not raised.

        A compressed request that is refused for being one goes out again as it is.
        """
        started = time.monotonic()
        ends = started + deadline_s
        packed = self._packing.packed(body)
        exchange = self._post(body, packed, ends, started)
        self._packing.learn(exchange.status, exchange.headers, was_packed=packed is not None)
        if packed is not None and exchange.problem is None and self._packing.is_refused(exchange.status):
            exchange = self._post(body, None, ends, started)
        return exchange

    def _post(self, body: bytes, packed: bytes | None, ends: float, started: float) -> Exchange:
        flight = Flight(ends)
        with self._lock:
            if self._closed.is_set():
                return Exchange(seconds=0.0, headers={}, problem="unsent", reason="the connection is closed")
            self._flights.add(flight)
        try:
            connection = self._connection(flight)
        except (OSError, UnicodeError) as error:
            with self._lock:
                self._flights.discard(flight)
            return Exchange(
                seconds=time.monotonic() - started,
                headers={},
                problem="forbidden" if isinstance(error, ForbiddenError) else "unsent",
                reason="given up by us" if flight.over == "closed" else reason(error),
            )
        return self._exchange(connection, body, packed, flight, started)

    def close(self) -> None:
        """Give up every connection; requests under way end at once."""
        with self._lock:
            self._closed.set()
            idle, self._idle = self._idle, []
            for flight in self._flights:
                flight.end("closed")
        for connection in idle:
            connection.close()
        self._watch.join()

    def _exchange(
        self, connection: HTTPConnection, body: bytes, packed: bytes | None, flight: Flight, started: float
    ) -> Exchange:
        response: BaseHTTPResponse | None = None
        problem: Problem | None = None
        content, why = bytearray(), ""
        sent, headers = body, self._headers
        if packed is not None:
            sent, headers = packed, {**headers, "content-encoding": "gzip"}
        try:
            # A service may answer and hang up before it took the whole request: what it said counts.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", self._target, body=sent, headers=headers, preload_content=False)
            response = connection.getresponse()
            if not _read(response, content):
                problem, why = "unreadable", f"a reply of more than {MOST_BODY_BYTES >> 20} MB"
        except DecodeError:
            problem, why = "unreadable", "a reply that cannot be decompressed"
        except (OSError, HTTPException, HTTPError) as error:
            problem, why = "lost", f"the connection broke ({type(error).__name__})"
        flight.land()
        if flight.over:  # a body without a length looks whole when its connection is cut
            problem = "lost"
            why = "given up by us" if flight.over == "closed" else "no whole reply before the deadline"
        self._put_back(connection, response, flight, is_whole=problem is None)
        self._count(len(body), len(sent), len(content), 0 if response is None else response.tell())
        return Exchange(
            seconds=time.monotonic() - started,
            status=response.status if response is not None else 0,
            headers=response.headers if response is not None else {},
            body=b"" if problem == "unreadable" else bytes(content),
            problem=problem,
            reason=why,
        )

    def _count(self, sent: int, sent_wire: int, received: int, received_wire: int) -> None:
        with self._lock:
            self.sent_bytes += sent
            self.sent_wire_bytes += sent_wire
            self.received_bytes += received
            self.received_wire_bytes += received_wire

    def _put_back(
        self, connection: HTTPConnection, response: BaseHTTPResponse | None, flight: Flight, *, is_whole: bool
    ) -> None:
        """Keep a connection whose reply was read to its end, unless the other side closes it; else close it."""
        with self._lock:
            self._flights.discard(flight)
            is_kept = (
                is_whole
                and connection.sock is not None
                and not self._closed.is_set()
                and len(self._idle) < self._most_idle
            )
            if is_kept:
                self._idle.append(connection)
        if not is_kept:
            if response is not None:
                response.close()
            connection.close()

    def _connection(self, flight: Flight) -> HTTPConnection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.is_connected:
                flight.board(connection.sock)
                return connection
            connection.close()
        connection = HTTPConnection(self._address.host, self._address.port, timeout=None)
        connection.auto_open = 0  # never connect to what was not checked
        connection.sock = self._dialer.dial(flight)
        return connection

    def _end_late_flights(self) -> None:
        while not self._closed.wait(_TICK_S):
            now = time.monotonic()
            with self._lock:
                late = [flight for flight in self._flights if flight.ends <= now]
            for flight in late:
                flight.end("late")


def _read(response: BaseHTTPResponse, content: bytearray) -> bool:
    """Add a body to `content` as it comes, so that what came before a cut stays; False where it is too long.

    Neither its length nor its compression decides how much memory it takes.
    """
    while chunk := response.read1(_CHUNK_BYTES):
        content += chunk
        if len(content) > MOST_BODY_BYTES:
            content.clear()
            return False
    return True
