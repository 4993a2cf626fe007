"""One address, connections kept alive, and a bound on everything."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from served import CERTIFICATE, PATIENCE_S, Answer, Asked, http, serve, trickled

from reviewopt import __version__
from reviewopt.models.address import parse
from reviewopt.models.http import MOST_BODY_BYTES, Client, Exchange

CANARY = "sk-canary-0123456789"
LATE = "no whole reply before the deadline"


@contextmanager
def client_of(base_url: str, *, threads: int = 4, compress: bool = False) -> Iterator[Client]:
    address, headers = parse(base_url, where="x"), {"authorization": f"Bearer {CANARY}"}
    client = Client(address, headers, path="/chat", threads=threads, compress=compress)
    try:
        yield client
    finally:
        client.close()


def post(answer: Answer | bytes, *, deadline_s: float = PATIENCE_S, body: bytes = b"{}") -> Exchange:
    with serve(answer) as served, client_of(served.base_url) as client:
        return client.post(body, deadline_s)


def test_a_reply_comes_back_with_status_headers_and_body() -> None:
    exchange = post(http(b'{"a": 1}', 429, X_Request_Id="r1"))
    assert (exchange.status, exchange.body, exchange.problem) == (429, b'{"a": 1}', None)
    assert exchange.headers.get("x-request-id") == "r1"


def test_a_request_holds_what_was_given_and_says_who_asks() -> None:
    with serve(http(b"{}")) as served, client_of(served.base_url) as client:
        client.post(b'{"model": "m"}', 5)
    (asked,) = served.asked
    assert asked.line == "POST /v1/chat HTTP/1.1"
    assert asked.body == b'{"model": "m"}'
    assert asked.headers["host"] == f"localhost:{served.port}"
    assert asked.headers["user-agent"] == f"reviewopt/{__version__}"
    assert asked.headers["authorization"] == f"Bearer {CANARY}"


def test_connections_are_used_again() -> None:
    with serve(http(b"{}")) as served, client_of(served.base_url) as client:
        for _ in range(5):
            assert client.post(b"{}", 5).status == 200
    assert (served.n_connections, len(served.asked)) == (1, 5)


def test_many_threads_take_as_many_connections_and_keep_them() -> None:
    together = threading.Barrier(8)

    def answer(_: Asked, sock: socket.socket) -> None:
        with suppress(threading.BrokenBarrierError):
            together.wait(PATIENCE_S)
        sock.sendall(http(b"{}"))

    with serve(answer) as served, client_of(served.base_url, threads=8) as client, ThreadPoolExecutor(8) as pool:
        exchanges = list(pool.map(lambda _: client.post(b"{}", PATIENCE_S), range(32)))
    assert {exchange.status for exchange in exchanges} == {200}
    assert (served.n_connections, len(served.asked)) == (8, 32)


def test_a_connection_that_the_other_side_closed_is_replaced() -> None:
    def answer(_: Asked, sock: socket.socket) -> None:
        sock.sendall(http(b"{}"))
        sock.shutdown(socket.SHUT_RDWR)

    with serve(answer) as served, client_of(served.base_url) as client:
        for _ in range(3):
            exchange = client.post(b"{}", 5)
            assert exchange.status == 200, exchange
            threading.Event().wait(0.05)  # for the end of the connection to arrive
    assert served.n_connections == 3


def test_redirects_are_not_followed() -> None:
    with serve(http(b"{}")) as elsewhere:
        exchange = post(http(b"", 307, Location=elsewhere.base_url))
    assert exchange.status == 307
    assert elsewhere.asked == []


@pytest.mark.parametrize("part", ["nothing", "head", "body", "chunked", "endless"])
def test_the_deadline_bounds_all_of_a_request(part: str) -> None:
    done = threading.Event()
    whole = http(b" " * 40 + b"{}")
    head, _, body = whole.partition(b"\r\n\r\n")

    def answer(_: Asked, sock: socket.socket) -> None:
        if part == "nothing":
            done.wait(PATIENCE_S)
        elif part == "head":
            trickled(done, whole, sock)
        elif part == "body":
            sock.sendall(head + b"\r\n\r\n")
            trickled(done, body, sock)
        elif part == "chunked":
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            trickled(done, b"2\r\n{}\r\n" * 40 + b"0\r\n\r\n", sock)
        else:  # a body that ends with the connection looks whole when we cut it
            sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}")
            done.wait(PATIENCE_S)
        sock.sendall(whole)

    with serve(answer) as served, client_of(served.base_url) as client:
        exchange = client.post(b"{}", 0.3)
        done.set()
    assert (exchange.problem, exchange.reason) == ("lost", LATE)


def test_the_deadline_bounds_a_request_that_is_not_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with client_of(url) as client:
            exchange = client.post(b" " * (64 << 20), 0.3)
    assert (exchange.problem, exchange.reason) == ("lost", LATE)


def test_the_deadline_bounds_a_tls_handshake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"https://127.0.0.1:{deaf.getsockname()[1]}"
        with client_of(url) as client:
            exchange = client.post(b"{}", 0.3)
    assert (exchange.problem, exchange.status) == ("unsent", 0)


def test_a_late_request_leaves_its_neighbours_alone() -> None:
    done = threading.Event()

    def answer(asked: Asked, sock: socket.socket) -> None:
        if asked.body == b"slow":
            done.wait(PATIENCE_S)
        sock.sendall(http(b"{}"))

    with serve(answer) as served, client_of(served.base_url) as client, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.post, b"slow", 0.3)
        n_answered = 0
        while not slow.done():
            assert client.post(b"quick", PATIENCE_S).status == 200
            n_answered += 1
        done.set()
        assert slow.result().problem == "lost"
        assert n_answered


def test_closing_ends_requests_under_way() -> None:
    begun, done = threading.Event(), threading.Event()

    def answer(_: Asked, sock: socket.socket) -> None:
        begun.set()
        done.wait(PATIENCE_S)
        sock.sendall(http(b"{}"))

    with serve(answer) as served, client_of(served.base_url) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, b"{}", PATIENCE_S)
        begun.wait(PATIENCE_S)
        client.close()
        exchange = waiting.result()
        done.set()
        assert (exchange.problem, exchange.reason) == ("lost", "given up by us")
        assert client.post(b"{}", PATIENCE_S).problem == "unsent"


def test_closing_leaves_no_thread_and_no_connection() -> None:
    before = set(threading.enumerate())
    with serve(http(b"{}")) as served:
        with client_of(served.base_url) as client:
            client.post(b"{}", 5)
        assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "deadlines"]
    # `serve` joins the thread of each connection, which ends when the connection does.


def test_a_body_beyond_the_bound_is_given_up() -> None:
    def answer(_: Asked, sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
        for _n in range(1600):
            sock.sendall(b" " * 65536)

    tracemalloc.start()
    exchange = post(answer)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (exchange.problem, exchange.body) == ("unreadable", b"")
    assert peak < 50 << 20


def test_a_gzip_bomb_is_given_up() -> None:
    bomb = gzip.compress(b" " * (200 << 20))
    tracemalloc.start()
    exchange = post(http(bomb, Content_Encoding="gzip"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert exchange.problem == "unreadable"
    assert peak < 50 << 20


def test_a_body_just_within_the_bound_is_read() -> None:
    assert len(post(http(b" " * MOST_BODY_BYTES)).body) == MOST_BODY_BYTES


def test_a_packed_body_is_unpacked() -> None:
    assert post(http(gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")).body == b'{"a": 1}'


# What came before a cut


def cut_short(reply: bytes) -> Exchange:
    def answer(_: Asked, sock: socket.socket) -> None:
        sock.sendall(reply)
        sock.shutdown(socket.SHUT_RDWR)

    return post(answer)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", b"abc"),
        (CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n", b"abcde"),
        (CHUNKED + b"3\r\nabc\r\n9\r\nde", b"abcde"),
        (CHUNKED + b"3\r\nabc\r\nzz\r\n", b"abc"),
        (CHUNKED, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 150_000, b"x" * 150_000),
    ],
    ids=["length", "between_chunks", "in_a_chunk", "bad_chunk", "nothing", "long"],
)
def test_what_came_before_a_cut_is_kept(reply: bytes, kept: bytes) -> None:
    exchange = cut_short(reply)
    assert (exchange.problem, exchange.status, exchange.body) == ("lost", 200, kept)


def test_what_came_before_a_cut_is_kept_where_it_was_packed() -> None:
    packed = gzip.compress(b"abc" * 50_000, 0)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    exchange = cut_short(head + packed[: len(packed) // 2])
    assert exchange.problem == "lost"
    assert len(exchange.body) > 10_000
    assert (b"abc" * 50_000).startswith(exchange.body)


def test_what_came_before_the_deadline_is_kept() -> None:
    done = threading.Event()

    def answer(_: Asked, sock: socket.socket) -> None:
        sock.sendall(CHUNKED + b"3\r\nabc\r\n")
        done.wait(PATIENCE_S)

    with serve(answer) as served, client_of(served.base_url) as client:
        exchange = client.post(b"{}", 0.3)
        done.set()
    assert (exchange.problem, exchange.reason, exchange.body) == ("lost", LATE, b"abc")


# Compression

LARGE = b'{"model": "m"}' * 500


def takes_gzip(asked: Asked, sock: socket.socket) -> None:
    """Answer with the body that came, unpacked."""
    is_packed = asked.headers.get("content-encoding") == "gzip"
    sock.sendall(http(gzip.decompress(asked.body) if is_packed else asked.body, Accept_Encoding="gzip"))


def refuses_gzip(status: int, asked: Asked, sock: socket.socket) -> None:
    """Say that gzip is taken, and then refuse it."""
    is_packed = "content-encoding" in asked.headers
    sock.sendall(http(b"no" if is_packed else b"yes", status if is_packed else 200, Accept_Encoding="gzip"))


def test_replies_are_asked_for_packed_only_where_it_is_set() -> None:
    for compress, asked_for in ((True, "gzip"), (False, "identity")):
        with serve(http(b"{}")) as served, client_of(served.base_url, compress=compress) as client:
            client.post(b"{}", 5)
        assert served.asked[0].headers["accept-encoding"] == asked_for


def test_requests_are_packed_once_the_endpoint_says_that_it_takes_them() -> None:
    with serve(takes_gzip) as served, client_of(served.base_url, compress=True) as client:
        exchanges = [client.post(LARGE, 5) for _ in range(3)]
    assert [exchange.body for exchange in exchanges] == [LARGE] * 3
    assert ["content-encoding" in asked.headers for asked in served.asked] == [False, True, True]
    assert (client.sent_bytes, client.received_bytes) == (3 * len(LARGE), 3 * len(LARGE))
    assert client.sent_wire_bytes == sum(len(asked.body) for asked in served.asked) < 2 * len(LARGE)
    assert client.received_wire_bytes == 3 * len(LARGE)


def test_requests_stay_as_they_are_where_it_is_not_set() -> None:
    with serve(takes_gzip) as served, client_of(served.base_url) as client:
        for _ in range(2):
            client.post(LARGE, 5)
    assert not any("content-encoding" in asked.headers for asked in served.asked)


@pytest.mark.parametrize("status", [400, 415])
def test_a_packed_request_that_is_refused_goes_out_again_as_it_is_and_no_other_is_packed(status: int) -> None:
    def answer(asked: Asked, sock: socket.socket) -> None:
        refuses_gzip(status, asked, sock)

    with serve(answer) as served, client_of(served.base_url, compress=True) as client:
        exchanges = [client.post(LARGE, 5) for _ in range(4)]
    assert [(exchange.status, exchange.body) for exchange in exchanges] == [(200, b"yes")] * 4
    packed = ["content-encoding" in asked.headers for asked in served.asked]
    assert packed == [False, True, False, False, False]


def test_a_packed_request_that_is_refused_is_still_bound_by_its_deadline() -> None:
    done = threading.Event()

    def answer(asked: Asked, sock: socket.socket) -> None:
        if len(served.asked) == 3:
            done.wait(PATIENCE_S)
        refuses_gzip(415, asked, sock)

    with serve(answer) as served, client_of(served.base_url, compress=True) as client:
        client.post(LARGE, 5)
        exchange = client.post(LARGE, 0.5)
        done.set()
    assert (exchange.problem, exchange.reason) == ("lost", LATE)


def test_packed_replies_count_as_what_they_are_and_as_what_they_took() -> None:
    packed = gzip.compress(b"a" * 10_000)
    with serve(http(packed, Content_Encoding="gzip")) as served, client_of(served.base_url, compress=True) as client:
        client.post(b"{}", 5)
    assert (client.received_bytes, client.received_wire_bytes) == (10_000, len(packed))


def test_bytes_are_counted_whole_from_many_threads() -> None:
    with serve(http(b"12345")) as served, client_of(served.base_url) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.post(b"123", PATIENCE_S), range(200)))
    assert (client.sent_bytes, client.sent_wire_bytes) == (600, 600)
    assert (client.received_bytes, client.received_wire_bytes) == (1000, 1000)


def test_a_badly_packed_body_is_unreadable() -> None:
    assert post(http(b"no gzip at all", Content_Encoding="gzip")).problem == "unreadable"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
    ],
)
def test_a_reply_that_breaks_off_is_lost(reply: bytes) -> None:
    def answer(_: Asked, sock: socket.socket) -> None:
        sock.sendall(reply)
        sock.shutdown(socket.SHUT_RDWR)

    exchange = post(answer)
    assert exchange.problem == "lost"
    assert "broke" in exchange.reason


def test_an_early_refusal_of_a_large_request_is_heard() -> None:
    def answer(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(http(b"{}", 413, Connection="close"))
        threading.Event().wait(0.2)

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            sock, _ = listener.accept()
            with sock:
                answer(sock)

        thread = threading.Thread(target=accept)
        thread.start()
        with client_of(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            exchange = client.post(b" " * (32 << 20), PATIENCE_S)
        thread.join()
    assert exchange.status in {0, 413}  # a reset can overtake what was said
    assert exchange.problem in {None, "lost"}


def test_nobody_listening_is_unsent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with client_of(f"http://127.0.0.1:{port}") as client:
        exchange = client.post(b"{}", 5)
    assert exchange.problem == "unsent"
    assert "no connection" in exchange.reason


def test_an_unknown_name_is_unsent() -> None:
    with client_of("https://nowhere.invalid") as client:
        assert client.post(b"{}", 5).problem == "unsent"


def test_a_name_that_leads_to_a_metadata_address_is_not_connected_to() -> None:
    with client_of("https://2852039166") as client:  # the resolver reads a number as 169.254.169.254
        exchange = client.post(b"{}", 5)
    assert exchange.problem == "forbidden"
    assert "allow_address" in exchange.reason


def test_a_certificate_that_nobody_trusts_is_refused() -> None:
    with serve(http(b"{}"), tls=True) as served, client_of(served.base_url) as client:
        exchange = client.post(b"{}", 5)
    assert exchange.problem == "unsent"
    assert "certificate" in exchange.reason
    assert served.asked == []


def test_a_trusted_certificate_is_taken_and_its_connection_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with serve(http(b"{}"), tls=True) as served, client_of(served.base_url) as client:
        assert [client.post(b"{}", 5).status for _ in range(3)] == [200] * 3
    assert served.n_connections == 1


def test_the_deadline_bounds_a_reply_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    done = threading.Event()

    def answer(_: Asked, sock: socket.socket) -> None:
        trickled(done, http(b"{}"), sock)

    with serve(answer, tls=True) as served, client_of(served.base_url) as client:
        exchange = client.post(b"{}", 0.3)
        done.set()
    assert (exchange.problem, exchange.reason) == ("lost", LATE)


def test_a_certificate_for_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with serve(http(b"{}"), tls=True) as served:
        client = Client(parse(f"https://2130706433:{served.port}", where="x"), {}, path="/", threads=1)  # 127.0.0.1
        exchange = client.post(b"{}", 5)
        client.close()
    assert exchange.problem == "unsent"
    assert "certificate" in exchange.reason


def test_the_key_is_in_no_log_reason_or_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    replies: list[bytes] = [http(b"{}"), http(CANARY.encode(), 401, X_Key=CANARY), CANARY.encode() + b"\r\n\r\n"]
    for reply in replies:
        with serve(reply) as served, client_of(served.base_url) as client:
            told += [client.post(b"{}", 0.5).reason, repr(client), str(client)]
    assert CANARY not in "".join(told)
    assert CANARY not in caplog.text
