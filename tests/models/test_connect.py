"""Several endpoints of a model: whose turn it is, what is sent again, and which key goes where."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import Served, http, serve

from reviewopt.errors import ModelError, UsageError
from reviewopt.models.address import parse
from reviewopt.models.balance import FAILURES_IN_A_ROW
from reviewopt.models.connect import Connection, Route, connect, key_variables
from reviewopt.models.http import Client, Exchange
from reviewopt.models.reasons import Caller
from reviewopt.settings import EndpointSettings, ModelSettings

OK = Exchange(seconds=0.1, status=200, headers={}, body=b"{}")
REFUSED = Exchange(seconds=0.1, headers={}, problem="unsent", reason="no connection")
LOST = Exchange(seconds=0.1, headers={}, problem="lost", reason="the connection broke")
FORBIDDEN = Exchange(seconds=0.1, headers={}, problem="forbidden", reason="a metadata address")
Play = Callable[[int], Exchange]


def status(code: int, body: bytes = b"", **headers: str) -> Exchange:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Exchange(seconds=0.1, status=code, headers=named, body=body)


class Poster:
    """Answers by its number of the request, counted from 0, and takes a second for each."""

    sent_bytes = sent_wire_bytes = received_bytes = received_wire_bytes = 7

    def __init__(self, play: Exchange | Play, clock: list[float]) -> None:
        self._play = play if callable(play) else lambda _: play
        self._clock = clock
        self.deadlines_s: list[float] = []
        self.bodies: set[bytes] = set()
        self.is_closed = False

    def post(self, body: bytes, deadline_s: float) -> Exchange:
        self._clock[0] += 1.0
        self.deadlines_s.append(deadline_s)
        self.bodies.add(body)
        return self._play(len(self.deadlines_s) - 1)

    def close(self) -> None:
        self.is_closed = True


def connection_of(*plays: Exchange | Play, **more: Any) -> tuple[Connection, list[Poster], list[float]]:
    clock = [0.0]
    posters = [Poster(play, clock) for play in plays]
    routes = [
        Route(poster=poster, caller=Caller(endpoint=f"https://h{at}", model="m", key_variable="", key=""))
        for at, poster in enumerate(posters)
    ]
    made = Connection(routes, decisive={}, place="remote", clock=lambda: clock[0], **more)
    return made, posters, clock


def n_asked(posters: Sequence[Poster]) -> list[int]:
    return [len(poster.deadlines_s) for poster in posters]


# What is sent again, and what is not


@pytest.mark.parametrize(
    "failure",
    [REFUSED, FORBIDDEN, status(429), status(500), status(503), status(401), status(403), status(404)],
    ids=["refused", "forbidden", "429", "500", "503", "401", "403", "404"],
)
def test_what_was_not_charged_goes_to_the_next_endpoint_at_once(failure: Exchange) -> None:
    connection, posters, _ = connection_of(failure, OK)
    exchange = connection.post(b"{}", 10)
    assert (exchange.status, exchange.via, n_asked(posters)) == (200, 1, [1, 1])
    assert connection.caller(exchange).endpoint == "https://h1"
    assert [poster.bodies for poster in posters] == [{b"{}"}] * 2


@pytest.mark.parametrize(
    "reply",
    [LOST, replace(OK, problem="unreadable"), status(400), status(413), status(422)],
    ids=["lost", "unreadable", "400", "413", "422"],
)
def test_what_may_be_charged_or_is_the_requests_own_fault_is_not_sent_again(reply: Exchange) -> None:
    connection, posters, _ = connection_of(reply, OK)
    exchange = connection.post(b"{}", 10)
    assert (exchange.status, exchange.problem, exchange.via) == (reply.status, reply.problem, 0)
    assert n_asked(posters) == [1, 0]


def test_all_endpoints_share_one_deadline() -> None:
    connection, posters, _ = connection_of(REFUSED, REFUSED, OK)
    exchange = connection.post(b"{}", 2.5)
    assert [poster.deadlines_s for poster in posters] == [[2.5], [1.5], [0.5]]
    assert (exchange.status, exchange.seconds) == (200, 3.0)
    connection, posters, _ = connection_of(REFUSED, REFUSED, OK)
    assert connection.post(b"{}", 2.0).problem == "unsent"
    assert n_asked(posters) == [1, 1, 0]


def test_lost_requests_take_an_endpoint_down_too() -> None:
    connection, posters, _ = connection_of(LOST, OK)
    found = [connection.post(b"{}", 10).problem for _ in range(FAILURES_IN_A_ROW + 2)]
    assert found == ["lost"] * FAILURES_IN_A_ROW + [None, None]
    assert n_asked(posters) == [FAILURES_IN_A_ROW, 2]


def test_a_preferred_endpoint_is_asked_again_when_it_is_back() -> None:
    connection, posters, clock = connection_of(lambda n: REFUSED if n < FAILURES_IN_A_ROW else OK, OK)
    for _ in range(FAILURES_IN_A_ROW + 3):
        assert connection.post(b"{}", 10).status == 200
    before = n_asked(posters)[1]
    clock[0] += 60
    for _ in range(4):
        assert connection.post(b"{}", 10).via == 0
    assert n_asked(posters)[1] == before


@pytest.mark.parametrize("failure", [status(401), status(404), FORBIDDEN, status(307)])
def test_an_endpoint_without_hope_is_asked_once(failure: Exchange) -> None:
    connection, posters, _ = connection_of(failure, OK)
    for _ in range(5):
        assert connection.post(b"{}", 10).via == 1
    assert n_asked(posters) == [1, 5]


def test_a_quota_that_is_used_up_is_no_wait() -> None:
    body = b'{"error": {"code": "insufficient_quota"}}'
    connection, posters, clock = connection_of(status(429, body, retry_after="1"), OK)
    for _ in range(3):
        assert connection.post(b"{}", 10).status == 200
        clock[0] += 10
    assert n_asked(posters) == [1, 3]


@pytest.mark.parametrize("how", ["priority", "latency", "load"])
def test_what_one_endpoint_lost_is_asked_at_another_however_often_that_one_is_tried(how: str) -> None:
    connection, posters, clock = connection_of(LOST, OK, how=how)
    for n in range(60):
        first = connection.post(b"{}", 10, about=[2 * n, 2 * n + 1])
        if first.problem == "lost":
            halves = [connection.post(b"{}", 10, about=[each]) for each in (2 * n, 2 * n + 1)]
            assert [half.via for half in halves] == [1, 1]
        clock[0] += 10
    assert n_asked(posters)[0] > FAILURES_IN_A_ROW


def test_where_every_endpoint_loses_it_a_request_is_still_asked() -> None:
    connection, posters, _ = connection_of(LOST, LOST)
    for _ in range(4):
        assert connection.post(b"{}", 10, about=[7]).problem == "lost"
    assert n_asked(posters) == [2, 2]
    connection, posters, _ = connection_of(lambda n: OK if n else LOST, status(401))
    assert [connection.post(b"{}", 10, about=[7]).status for _ in range(2)] == [0, 200]


# What is told where none can


def test_without_hope_at_any_endpoint_the_reply_is_hopeless_ever_after() -> None:
    connection, posters, _ = connection_of(status(401), status(404))
    assert {connection.post(b"{}", 10).status for _ in range(3)} <= {401, 404}
    assert n_asked(posters) == [1, 1]


def test_one_without_hope_and_one_that_is_down_is_not_hopeless() -> None:
    connection, _, _ = connection_of(status(401), REFUSED)
    assert {connection.post(b"{}", 10).problem for _ in range(20)} == {"unsent"}


def test_where_all_ask_to_wait_the_shortest_wait_is_told_and_nobody_is_asked_before() -> None:
    connection, posters, clock = connection_of(status(429, retry_after="9"), status(429, retry_after="4"))
    exchange = connection.post(b"{}", 10)
    assert (exchange.status, exchange.headers["retry-after"]) == (429, "4.000")
    assert connection.post(b"{}", 10).status == 429
    assert n_asked(posters) == [1, 1]
    clock[0] += 4
    connection.post(b"{}", 10)
    assert n_asked(posters) == [1, 2]


def test_a_wait_is_told_until_the_first_can_be_asked_and_not_for_those_that_work() -> None:
    connection, _, _ = connection_of(status(429, retry_after="9"), REFUSED)
    exchange = connection.post(b"{}", 10)
    assert (exchange.status, exchange.problem) == (0, "unsent")  # it is not down yet: it can be asked at once
    for _ in range(FAILURES_IN_A_ROW):
        exchange = connection.post(b"{}", 10)
    assert exchange.status == 429
    assert float(exchange.headers["retry-after"]) <= 5.0


def test_where_all_are_down_they_are_still_tried_and_the_first_that_is_back_answers() -> None:
    connection, _, _ = connection_of(REFUSED, lambda n: REFUSED if n < 10 else OK)
    found = [connection.post(b"{}", 100).status for _ in range(12)]
    assert found[-1] == 200
    assert set(found) == {0, 200}


def test_a_request_while_all_are_being_tried_ends_at_once_as_unsent() -> None:
    trying, done = threading.Semaphore(0), threading.Event()

    def hang(n: int) -> Exchange:
        if n >= FAILURES_IN_A_ROW:
            trying.release()
            assert done.wait(20)
        return REFUSED

    connection, posters, _ = connection_of(hang, hang)
    for _ in range(FAILURES_IN_A_ROW):
        connection.post(b"{}", 100)
    threads = [threading.Thread(target=connection.post, args=(b"{}", 100)) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert trying.acquire(timeout=20)
    exchange, asked = connection.post(b"{}", 100), n_asked(posters)
    done.set()
    for thread in threads:
        thread.join()
    assert (exchange.problem, exchange.status) == ("unsent", 0)
    assert "tried by one request" in exchange.reason
    assert asked == [FAILURES_IN_A_ROW + 1] * 2


def test_a_single_endpoints_replies_are_told_as_they_are() -> None:
    for reply in (OK, REFUSED, LOST, status(401), status(429, retry_after="9"), status(503, b"busy")):
        connection, posters, _ = connection_of(reply)
        found = [connection.post(b"{}", 10) for _ in range(10)]
        assert {(one.status, one.problem, one.body, one.reason, one.via) for one in found} == {
            (reply.status, reply.problem, reply.body, reply.reason, 0)
        }
        assert found[0].headers == reply.headers
        assert n_asked(posters) == [10]


def test_a_bug_in_a_client_is_raised_and_leaves_no_request_under_way() -> None:
    def broken(n: int) -> Exchange:
        if n == 0:
            raise RuntimeError("a bug")
        return OK

    connection, posters, _ = connection_of(broken, OK, how="load")
    with pytest.raises(RuntimeError, match="a bug"):
        connection.post(b"{}", 10)
    for _ in range(5):
        connection.post(b"{}", 10)
    assert n_asked(posters) == [3, 3]


def test_traffic_tells_each_endpoint_and_sums_the_bytes() -> None:
    connection, posters, _ = connection_of(status(503), OK)
    for _ in range(2):
        connection.post(b"{}", 10)
    traffic = connection.traffic()
    assert [(one.endpoint, one.n_requests, one.n_failed) for one in traffic.endpoints] == [
        ("https://h0", 2, 2),
        ("https://h1", 2, 0),
    ]
    assert [one.mean_s for one in traffic.endpoints] == [None, 1.0]
    assert (traffic.sent_bytes, traffic.received_wire_bytes) == (14, 14)
    connection.close()
    assert [poster.is_closed for poster in posters] == [True, True]


PLAYS = st.sampled_from([OK, REFUSED, status(429), status(503), status(503, retry_after="2"), status(401)])


@given(first=st.lists(PLAYS, min_size=1), n=st.integers(1, 60), how=st.sampled_from(["priority", "latency", "load"]))
def test_no_request_is_lost_while_one_endpoint_works(first: list[Exchange], n: int, how: str) -> None:
    connection, posters, _ = connection_of(lambda at: first[at % len(first)], OK, how=how)
    assert [connection.post(b"{}", 100).status for _ in range(n)] == [200] * n
    assert n_asked(posters)[1] <= n


# What the user says


def given_settings(**more: Any) -> ModelSettings:
    return ModelSettings(**{"model": "m", "api_key_env": "KEY", **more})


def connected(environment: dict[str, str] | None = None, **more: Any) -> Connection:
    made = connect(
        "mine",
        given_settings(**more),
        path="/x",
        threads=2,
        environment={"KEY": "k"} if environment is None else environment,
    )
    made.close()
    return made


def endpoint(base_url: str, **more: Any) -> EndpointSettings:
    return EndpointSettings(base_url=base_url, **more)


def test_the_primary_endpoint_is_the_base_url_or_else_the_first_one() -> None:
    others = (endpoint("https://b.example/v1?v=1"), endpoint("http://localhost:1/v1"))
    assert connected(endpoints=others).endpoint == "https://b.example/v1"
    one = connected(base_url="http://localhost:9/v1", endpoints=others)
    assert (one.endpoint, one.place, one.decisive) == ("http://localhost:9/v1", "host", {"base_url": one.endpoint})
    assert [each.endpoint for each in one.traffic().endpoints] == [
        "http://localhost:9/v1",
        "https://b.example/v1",
        "http://localhost:1/v1",
    ]
    assert connected(endpoints=others).place == "remote"


def test_only_the_primary_endpoint_decides_the_answers() -> None:
    a, b = endpoint("https://a.example/v1?v=1"), endpoint("https://b.example/v1")
    alone = connected(base_url="https://a.example/v1?v=1").decisive
    assert connected(endpoints=(a, b)).decisive == connected(endpoints=(a,), balance="load").decisive == alone
    assert connected(endpoints=(b, a)).decisive != alone
    assert set(alone) == {"base_url", "query"}


def test_no_address_is_an_error_that_says_what_to_write() -> None:
    with pytest.raises(UsageError, match=r"base_url = .*\[models.mine\].*\[\[models.mine.endpoints\]\]"):
        connected()


def test_a_bad_address_is_named_by_its_place() -> None:
    with pytest.raises(UsageError, match="the base_url of endpoint 2 of mine"):
        connected(endpoints=(endpoint("https://a.example"), endpoint("ftp://b.example")))


def test_each_endpoint_needs_the_key_that_it_uses_and_no_other() -> None:
    more = {"endpoints": (endpoint("https://a.example", api_key_env="A_KEY"), endpoint("https://b.example"))}
    with pytest.raises(ModelError, match="set the variable A_KEY"):
        connected({"KEY": "k"}, **more)
    with pytest.raises(ModelError, match="set the variable KEY"):
        connected({"A_KEY": "k"}, **more)
    connected({"A_KEY": "k", "KEY": "k"}, **more)
    connected({"A_KEY": "k"}, endpoints=more["endpoints"][:1])
    assert key_variables(given_settings(**more)) == ("A_KEY", "KEY")
    assert key_variables(given_settings(endpoints=(endpoint("https://a.example", api_key_env=""),))) == ()


def test_an_error_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with pytest.raises(ModelError):
        connected(
            {"KEY": "k"}, endpoints=(endpoint("https://a.example"), endpoint("https://b.example", api_key_env="X"))
        )
    assert threading.active_count() == before


def test_an_endpoint_that_takes_no_connection_leaves_time_for_the_next_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # it never answers the TLS handshake
        address = parse(f"https://127.0.0.1:{deaf.getsockname()[1]}", where="x")
        client = Client(address, {}, path="/", threads=1, connect_s=0.2)
        exchange = client.post(b"{}", 60)
        client.close()
    assert exchange.problem == "unsent"
    assert exchange.seconds < 30


def keys_seen(served: Served) -> set[str | None]:
    return {asked.headers.get("authorization") for asked in served.asked}


def test_each_endpoint_gets_its_own_key_and_no_other() -> None:
    with serve(http(b"", 503)) as first, serve(http(b"", 401)) as second, serve(http(b"{}")) as third:
        settings = given_settings(
            base_url=first.base_url,
            endpoints=(endpoint(second.base_url, api_key_env="B_KEY"), endpoint(third.base_url, api_key_env="")),
        )
        connection = connect("m", settings, path="/x", threads=2, environment={"KEY": "key-a", "B_KEY": "key-b"})
        exchange = connection.post(b"{}", 20)
        connection.close()
    assert (exchange.status, exchange.via) == (200, 2)
    assert (keys_seen(first), keys_seen(second), keys_seen(third)) == ({"Bearer key-a"}, {"Bearer key-b"}, {None})
    assert [connection.caller(replace(OK, via=at)).key_variable for at in range(3)] == ["KEY", "B_KEY", ""]
    assert "key-" not in repr(connection.caller(OK)) + repr(connection.traffic())
