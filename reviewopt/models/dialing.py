"""From an address to a connection: its name is looked up, and only an address that was checked is dialled."""

from __future__ import annotations

import ipaddress
import math
import queue
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

from reviewopt.models.address import Address, refusal

# Names are looked up again after this, so that a service can move.
_NAMES_S: Final = 60.0
# An address that does not even refuse the connection leaves time for the next one.
CONNECT_S: Final = 10.0
_POLL_S: Final = 0.2


class ForbiddenError(OSError):
    """The name leads to an address that is refused."""


@dataclass(slots=True, eq=False)
class Flight:
    """A request under way: its own thread carries it, another one can end it."""

    ends: float
    over: Literal["", "late", "closed"] = ""
    _sock: socket.socket | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def left_s(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: none are left, or it was ended.
        """
        left = self.ends - time.monotonic()
        if left <= 0 or self.over:
            raise TimeoutError
        return left

    def board(self, sock: socket.socket) -> None:
        """Name the socket that the request now depends on."""
        with self._lock:
            self._sock = sock
            if self.over:
                _cut(sock)

    def land(self) -> None:
        """Give the socket up: whoever ends the flight from now on leaves it alone."""
        with self._lock:
            self._sock = None

    def end(self, why: Literal["late", "closed"]) -> None:
        """Make the thread that carries it return from its socket at once."""
        with self._lock:
            self.over = self.over or why
            if self._sock is not None:
                _cut(self._sock)


class Dialer:
    """Opens connections to one address, from many threads at once."""

    def __init__(self, address: Address, *, allow_address: bool, connect_s: float = math.inf) -> None:
        """No connection within `connect_s` seconds is none, even where the flight has more time."""
        self._address = address
        self._connect_s = connect_s
        self._allow_address = allow_address
        self._tls = _tls() if address.scheme == "https" else None
        self._lock = threading.Lock()
        self._found: tuple[float, tuple[str, ...]] = (0.0, ())

    def dial(self, flight: Flight) -> socket.socket:
        """Connect within the flight's time; the socket blocks without a time-out.

        Raises:
            OSError: no name, connection or TLS; a `ForbiddenError` where the address must be allowed first.
            UnicodeError: a name that cannot be one.
        """
        addresses = self._addresses(flight)
        failure: OSError = OSError("its name has no address")
        for n_left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            left = flight.left_s()
            most = self._connect_s if n_left == 1 else min(self._connect_s, CONNECT_S)
            try:
                return self._dial_one(address, flight, min(left, most))
            except OSError as error:
                failure = error
        raise failure

    def _dial_one(self, address: str, flight: Flight, within_s: float) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            flight.board(sock)
            sock.settimeout(within_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect((address, self._address.port))
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_hostname=self._address.host, do_handshake_on_connect=False)
                flight.board(sock)
                sock.settimeout(min(flight.left_s(), within_s))
                sock.do_handshake()
            sock.settimeout(None)
        except BaseException:
            sock.close()
            raise
        return sock

    def _addresses(self, flight: Flight) -> tuple[str, ...]:
        """Look the name up, at most once a minute for all threads, and check every address."""
        if not self._lock.acquire(timeout=flight.left_s()):
            raise TimeoutError
        try:
            at, addresses = self._found
            if not addresses or time.monotonic() - at > _NAMES_S:
                addresses = _look_up(self._address.host, self._address.port, flight)
                self._found = (time.monotonic(), addresses)
        finally:
            self._lock.release()
        if not self._allow_address:
            for address in addresses:
                if wrong := refusal(address, scheme=self._address.scheme):
                    raise ForbiddenError(wrong)
        return addresses


def reason(error: OSError | UnicodeError) -> str:
    """Say why there is no connection, without anything that the other side sent."""
    match error:
        case ForbiddenError():
            why = str(error)
        case socket.gaierror() | UnicodeError():
            why = "its name cannot be resolved"
        case ssl.SSLCertVerificationError():
            why = f"its certificate is not trusted ({error.verify_message})"
        case ssl.SSLError():
            why = f"no TLS connection ({error.reason})"
        case TimeoutError():
            why = "no connection before the deadline"
        case _:
            why = f"no connection ({error.strerror or type(error).__name__})"
    return why


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _cut(sock: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        # Not SSLSocket's own shutdown, which pulls the state away from under the thread that reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _look_up(host: str, port: int, flight: Flight) -> tuple[str, ...]:
    """Resolve a name in a thread of its own, because the system's resolver knows no deadline."""
    with suppress(ValueError):
        return (str(ipaddress.ip_address(host)),)
    found: queue.SimpleQueue[tuple[str, ...] | OSError | UnicodeError] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put(tuple(dict.fromkeys(str(info[4][0]) for info in infos)))
        except (OSError, UnicodeError) as error:
            found.put(error)

    threading.Thread(target=resolve, name="resolver", daemon=True).start()
    while True:
        try:
            addresses = found.get(timeout=min(_POLL_S, flight.left_s()))
        except queue.Empty:
            continue
        if isinstance(addresses, Exception):
            raise addresses
        return addresses
