"""The wire below every endpoint: one address, connections kept alive, and a bound on everything.

Connections are urllib3's, but dialled by us, so that whether a request went out at all is known exactly, which decides
whether it may be charged. Sockets block without time-outs, because a time-out starts again with every byte; one thread
looks at all requests under way and ends those that are late. Nothing is followed, sent again or logged.
"""

from __future__ import annotations

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
    """What came of a request: `status` is 0 where not even that came; `headers` are found in any case of letters."""

    seconds: float
    status: int = 0
    headers: Mapping[str, str]
    body: bytes = b""
    problem: Problem | None = None
    reason: str = ""


class Client:
    """Posts to one address from many threads at once; `close` ends what is under way."""

    def __init__(
        self, address: Address, headers: Mapping[str, str], *, path: str, threads: int, allow_address: bool = False
    ) -> None:
        self._address = address
        self._target = address.target(path)
        self._headers = {
            "host": address.authority,
            "user-agent": f"reviewopt/{__version__}",
            "accept-encoding": "identity",  # replies are small: unpacking them would cost more than it saves
            "content-type": "application/json",
            **headers,
        }
        self._dialer = Dialer(address, allow_address=allow_address)
        self._most_idle = threads
        self._idle: list[HTTPConnection] = []
        self._flights: set[Flight] = set()
        self._lock = threading.Lock()  # over idle connections and flights
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._end_late_flights, name="deadlines", daemon=True)
        self._watch.start()

    def post(self, body: bytes, deadline_s: float) -> Exchange:
        """Send a body and read the reply, all within `deadline_s` seconds; failures are told, not raised."""
        started = time.monotonic()
        flight = Flight(started + deadline_s)
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
        return self._exchange(connection, body, flight, started)

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

    def _exchange(self, connection: HTTPConnection, body: bytes, flight: Flight, started: float) -> Exchange:
        response: BaseHTTPResponse | None = None
        problem: Problem | None = None
        content, why = b"", ""
        try:
            # A service may answer and hang up before it took the whole request: what it said counts.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", self._target, body=body, headers=self._headers, preload_content=False)
            response = connection.getresponse()
            content, problem = _read(response)
            why = f"a reply of more than {MOST_BODY_BYTES >> 20} MB" if problem else ""
        except DecodeError:
            problem, why = "unreadable", "a reply that cannot be decompressed"
        except (OSError, HTTPException, HTTPError) as error:
            problem, why = "lost", f"the connection broke ({type(error).__name__})"
        flight.land()
        if flight.over:  # a body without a length looks whole when its connection is cut
            problem = "lost"
            why = "given up by us" if flight.over == "closed" else "no whole reply before the deadline"
        self._put_back(connection, response, flight, is_whole=problem is None)
        return Exchange(
            seconds=time.monotonic() - started,
            status=response.status if response is not None else 0,
            headers=response.headers if response is not None else {},
            body=content,
            problem=problem,
            reason=why,
        )

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


def _read(response: BaseHTTPResponse) -> tuple[bytes, Problem | None]:
    """Read a body in pieces, so that neither its length nor its compression decides how much memory it takes."""
    chunks, size = [], 0
    while chunk := response.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > MOST_BODY_BYTES:
            return b"", "unreadable"
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks), None
