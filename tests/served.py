"""A small HTTP server over bare sockets, so that a test decides about every byte that comes back and when."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("own_certificate.pem")
# So long a server that a test has to outlast plays its part, unless the test ends first.
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Asked, socket.socket], None]


@dataclass
class Served:
    """A server under way: where it is, what it was asked, and over how many connections."""

    port: int
    scheme: str
    asked: list[Asked] = field(default_factory=list)
    n_connections: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def base_url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}/v1"


def http(body: bytes, status: int = 200, **headers: str) -> bytes:
    """Write a whole reply."""
    lines = {"content-length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + body


def trickled(done: threading.Event, reply: bytes, sock: socket.socket) -> None:
    """Send a reply byte by byte, too slowly for any deadline but never pausing for long."""
    for at in range(len(reply)):
        if done.wait(min(0.05, PATIENCE_S / len(reply))):
            return
        sock.sendall(reply[at : at + 1])


@contextmanager
def serve(answer: Answer | bytes, *, tls: bool = False) -> Iterator[Served]:
    """Serve on a free port of this machine; `answer` is what is sent back, or writes to the connection itself."""
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        served = Served(port=listener.getsockname()[1], scheme="https" if tls else "http")
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                served.n_connections += 1
                threads.append(threading.Thread(target=_talk, args=(sock, served, answer, context)))
                threads[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield served
        finally:
            served.done.set()
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for thread in threads:
                thread.join()


def _talk(sock: socket.socket, served: Served, answer: Answer | bytes, context: ssl.SSLContext | None) -> None:
    with suppress(OSError), sock:
        sock.settimeout(PATIENCE_S)
        talking = context.wrap_socket(sock, server_side=True) if context else sock
        with talking, talking.makefile("rb") as stream:
            while asked := _read(stream.readline, stream.read):
                served.asked.append(asked)
                if isinstance(answer, bytes):
                    talking.sendall(answer)
                else:
                    answer(asked, talking)


def _read(readline: Callable[[], bytes], read: Callable[[int], bytes]) -> Asked | None:
    line = readline().decode().strip()
    headers: dict[str, str] = {}
    while header := readline().decode().strip():
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    return Asked(line, headers, read(int(headers.get("content-length", "0")))) if line else None
