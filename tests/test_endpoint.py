"""The endpoint for tests: what is lost and what is paid twice is measured with it, so it must be right itself."""

from __future__ import annotations

import gzip
import http.client
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Any

import pytest
from endpoint import FAULTS, Endpoint
from endpoint_replies import canonical, label_of, sureness

LABELS = ("negative", "neutral", "positive")
TEXTS = tuple(f"Review <{n}> & co" for n in range(10))


def body_of(texts: Sequence[str] = TEXTS, value: dict[str, Any] | None = None, **more: Any) -> bytes:
    """A request: lines, or under a schema where every review's answer is a `value`."""
    ids = [f"r{n:02}" for n in range(len(texts))]
    blocks = "\n".join(f'<review id="{id_}">{escape(text)}</review>' for id_, text in zip(ids, texts, strict=True))
    messages = [
        {"role": "system", "content": "Decide.\nlabels: bad, fair, good\n"},
        {"role": "user", "content": blocks},
    ]
    if value is not None:
        schema = {"type": "object", "properties": {id_: {"$ref": "#/$defs/v"} for id_ in ids}, "$defs": {"v": value}}
        more["response_format"] = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    return json.dumps({"model": "m", "messages": messages, **more}).encode()


SCHEMA = body_of(value={"enum": list(LABELS)})


@contextmanager
def connected(endpoint: Endpoint) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=10)) as connection:
        yield connection


def post(connection: http.client.HTTPConnection, body: bytes, key: str = "") -> tuple[http.client.HTTPResponse, bytes]:
    connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {key}"})
    response = connection.getresponse()
    return response, response.read()


def content_of(endpoint: Endpoint, body: bytes) -> str:
    with connected(endpoint) as connection:
        response, reply = post(connection, body)
    assert response.status == 200
    content = json.loads(reply)["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


def test_an_answer_depends_on_the_text_alone_in_every_form() -> None:
    with Endpoint(gold={TEXTS[0]: "good"}) as endpoint:
        lines = dict(line.split(":") for line in content_of(endpoint, body_of()).splitlines())
        mixed = content_of(endpoint, body_of(TEXTS[::-1])).splitlines()
        by_id = json.loads(content_of(endpoint, SCHEMA))
        as_json = json.loads(content_of(endpoint, body_of(response_format={"type": "json_object"})))
    assert lines == as_json
    assert [line.split(":")[1] for line in mixed] == list(lines.values())[::-1]
    assert lines["r00"] == "good"
    assert list(by_id.values()) == [label_of(text, LABELS) for text in TEXTS]
    assert len(set(by_id.values())) == 3
    assert label_of(" REVIEW  <1> & co", LABELS) == label_of(TEXTS[1], LABELS)


def test_every_type_of_a_schema_is_filled() -> None:
    parts: dict[str, Any] = {
        "sentiment": {"type": "string", "enum": list(LABELS)},
        "quality": {"type": "integer", "minimum": 2, "maximum": 3},
        "stars": {"type": "integer", "enum": [1, 5]},
        "yes": {"type": "boolean"},
        "why": {"type": "string", "maxLength": 12},
        "points": {"type": "array", "items": {"type": "string"}, "minItems": 2},
    }
    with Endpoint() as endpoint:
        said = json.loads(content_of(endpoint, body_of(value={"type": "object", "properties": parts})))
    assert [value["sentiment"] for value in said.values()] == [label_of(text, LABELS) for text in TEXTS]
    for value in said.values():
        assert list(value) == list(parts)
        assert value["quality"] in {2, 3}
        assert value["stars"] in {1, 5}
        assert isinstance(value["yes"], bool)
        assert 0 < len(value["why"]) <= 12
        assert [type(point) for point in value["points"]] == [str, str]


@pytest.mark.parametrize("body", [body_of(logprobs=True, top_logprobs=3), SCHEMA[:-1] + b', "logprobs": true}'])
def test_tokens_join_to_the_content_and_a_label_is_one_of_them(body: bytes) -> None:
    with Endpoint() as endpoint, connected(endpoint) as connection:
        choice = json.loads(post(connection, body)[1])["choices"][0]
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
    labels = [token for token in tokens if token["token"] in {*LABELS, "bad", "fair", "good"}]
    assert [math.exp(token["logprob"]) for token in labels] == pytest.approx([sureness(text) for text in TEXTS])
    assert {len(token["top_logprobs"]) for token in labels} == {3 if b"top_logprobs" in body else 0}


def test_ledger_usage_and_price_count_what_was_delivered_and_billed() -> None:
    with Endpoint(price_in_usd=0.1, price_out_usd=0.4) as endpoint, connected(endpoint) as connection:
        usages = [json.loads(post(connection, body)[1])["usage"] for body in (SCHEMA, SCHEMA, body_of(["other"]))]
        endpoint.change(script=lambda n, _: "missing_ids" if n == 3 else "malformed")
        usages += [json.loads(post(connection, SCHEMA)[1])["usage"] for _ in range(2)]
    stats, delivered, billed = endpoint.stats(), endpoint.ledger(), endpoint.ledger(billed=True)
    assert [delivered[canonical(text)] for text in (*TEXTS, "other")] == [2] * 2 + [3] * 8 + [1]
    assert [billed[canonical(text)] for text in (*TEXTS, "other")] == [4] * 10 + [1]
    assert stats.input_tokens == sum(usage["prompt_tokens"] for usage in usages)
    assert stats.output_tokens == sum(usage["completion_tokens"] for usage in usages)
    assert stats.billed_usd == (stats.input_tokens * Decimal("0.1") + stats.output_tokens * Decimal("0.4")) / 10**6
    assert stats.reviews_per_request == {10: 4, 1: 1}
    assert stats.faults == {"missing_ids": 1, "malformed": 1}
    assert (stats.n_requests, stats.n_connections, stats.statuses) == (5, 1, {200: 5})


def test_a_reply_is_cut_at_the_limit_that_the_request_sets() -> None:
    with Endpoint() as endpoint, connected(endpoint) as connection:
        reply = json.loads(post(connection, body_of(max_tokens=5))[1])
    assert reply["usage"]["completion_tokens"] == 5
    assert (len(reply["choices"][0]["message"]["content"]), reply["choices"][0]["finish_reason"]) == (20, "length")
    assert set(endpoint.ledger()) == {canonical(text) for text in TEXTS[:2]}  # two lines fit in


def test_faults_do_not_depend_on_the_order_of_requests() -> None:
    bodies = [body_of([f"review {n}"]) for n in range(60)] * 2
    met = []
    for order in (bodies, bodies[::-1]):
        with Endpoint(faults={"429": 0.2, "500": 0.2, "empty": 0.2}) as endpoint, ThreadPoolExecutor(8) as pool:

            def status(body: bytes, at: Endpoint = endpoint) -> int:
                with connected(at) as connection:
                    return post(connection, body)[0].status

            list(pool.map(status, order))
        met.append((endpoint.stats().faults, endpoint.ledger()))
    assert met[0] == met[1]
    assert all(12 < n < 36 for n in met[0][0].values())


# What a client sees of each fault: status, then what it can read of the reply.
SEEN: dict[str, tuple[int, str]] = {
    "429": (429, '"rate_limit_exceeded"'),
    "500": (500, '"server_error"'),
    "503": (503, '"overloaded"'),
    "bad_key": (401, '"invalid_api_key"'),
    "quota": (429, '"insufficient_quota"'),
    "no_model": (404, '"model_not_found"'),
    "not_found": (404, '"not_found"'),
    "bad_request": (400, '"invalid_request"'),
    "unsupported_schema": (400, "'response_format' is not supported"),
    "unsupported_logprobs": (400, "'logprobs' is not supported"),
    "unsupported_stream": (400, "'stream_options' is not supported"),
    "unsupported_cache_key": (400, "'prompt_cache_key' is not supported"),
    "unsupported_gzip": (415, '"unsupported_media_type"'),
    "html": (200, "<html>"),
    "error_200": (200, '{"error": '),
    "redirect": (307, ""),
    "trickle": (200, '"finish_reason": "stop"'),
    "malformed": (200, "I hope this helps!}"),
    "truncated": (200, '"finish_reason": "length"'),
    "fenced": (200, "```json"),
    "missing_ids": (200, '"content": "{\\"r02\\"'),
    "extra_ids": (200, "zz99"),
    "dup_ids": (200, r"\",\"r00\":"),
    "wrong_label": (200, "banana"),
    "refusal": (200, '"content": null, "refusal": "I'),
    "empty": (200, '"content": "", "refusal": null}, "logprobs": {"content": []}, "finish_reason": "stop"'),
    "content_filter": (200, '"finish_reason": "content_filter"'),
    "nan": (200, ":NaN,"),
    "huge_int": (200, "9" * 4301),
    "deep": (200, "[" * 100_000),
}
BROKEN = ("drop", "drop_mid", "hang", "gzip_bomb", "big_body")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_looks_as_it_should(fault: str) -> None:
    body = SCHEMA[:-1] + b', "logprobs": true}'
    with (
        Endpoint(script=lambda *_: fault, hang_s=0.01, trickle_pause_s=0) as endpoint,
        connected(endpoint) as connection,
    ):
        if fault in {"drop", "drop_mid", "hang"}:
            with pytest.raises((ConnectionError, http.client.IncompleteRead)):
                post(connection, body)
        else:
            response, reply = post(connection, body)
            if fault == "gzip_bomb":
                assert (response.headers["Content-Encoding"], len(reply) < 2_000_000) == ("gzip", True)
            elif fault == "big_body":
                assert (len(reply), response.headers["Content-Length"]) == (100_000_000, None)
            else:
                assert (response.status, SEEN[fault][1] in reply.decode()) == (SEEN[fault][0], True)
            assert (response.headers["Retry-After"] == "0.050") == (fault in {"429", "503"})
    kept = dict.fromkeys(("fenced", "extra_ids", "trickle"), 10) | dict.fromkeys(("missing_ids", "dup_ids"), 8)
    kept |= dict.fromkeys(("wrong_label", "nan", "huge_int"), 8) | {"truncated": 6}
    assert len(endpoint.ledger()) == kept.get(fault, 0)
    assert endpoint.stats().faults == {fault: 1}


def test_unsupported_features_and_poison_strike_only_where_they_are() -> None:
    faults = {"unsupported_schema": 1.0, "unsupported_logprobs": 1.0}
    with Endpoint(faults=faults, poison="cursed") as endpoint, connected(endpoint) as connection:
        statuses = [post(connection, body)[0].status for body in (SCHEMA, body_of(), body_of(logprobs=True))]
        assert statuses == [400, 200, 400]
        assert b"content_filter" in post(connection, body_of(["fine", "a cursed one"]))[1]
    assert len(endpoint.ledger()) == len(TEXTS)


def events_of(body: bytes) -> list[Any]:
    """The events of a stream, its end as a text."""
    data = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]
    return [json.loads(one) if one.startswith("{") else one for one in data]


def test_a_reply_comes_in_pieces_where_that_is_asked_for_and_known() -> None:
    body = SCHEMA[:-1] + b', "stream": true, "stream_options": {"include_usage": true}}'
    with Endpoint() as endpoint, connected(endpoint) as connection:
        plain = json.loads(post(connection, SCHEMA)[1])
        response, reply = post(connection, body)
        endpoint.change(streams=False)
        assert post(connection, body)[1] == json.dumps(plain).encode()
    assert response.headers["Content-Type"] == "text/event-stream"
    *pieces, ending, usage, done = events_of(reply)
    assert (
        "".join(one["choices"][0]["delta"].get("content", "") for one in pieces)
        == (plain["choices"][0]["message"]["content"])
    )
    assert (ending["choices"][0]["finish_reason"], usage["usage"], done) == ("stop", plain["usage"], "[DONE]")
    assert endpoint.stats().n_streamed == 1


def test_a_stream_that_breaks_off_answers_as_far_as_it_goes() -> None:
    body = SCHEMA[:-1] + b', "stream": true, "logprobs": true}'
    with (
        Endpoint(faults={"drop_mid": 1.0}) as endpoint,
        connected(endpoint) as connection,
        pytest.raises(http.client.IncompleteRead) as cut,
    ):
        post(connection, body)
    content = "".join(one["choices"][0]["delta"].get("content", "") for one in events_of(cut.value.partial))
    assert 0 < len(endpoint.ledger()) == content.count('",') < len(TEXTS)


def test_bodies_are_compressed_only_where_the_endpoint_knows_it() -> None:
    packed, headers = gzip.compress(SCHEMA), {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    with Endpoint() as endpoint, connected(endpoint) as connection:
        connection.request("POST", "/v1/chat/completions", packed, headers)
        refused = connection.getresponse()
        refused.read()
        endpoint.change(gzip=True)
        connection.request("POST", "/v1/chat/completions", packed, headers)
        taken = connection.getresponse()
        reply = json.loads(gzip.decompress(taken.read()))
    assert (refused.status, refused.headers["Accept-Encoding"]) == (415, None)
    assert (taken.status, taken.headers["Accept-Encoding"]) == (200, "gzip")
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert endpoint.stats().n_packed == 2


def test_rate_and_concurrency_are_bounded_and_change_while_it_runs() -> None:
    with Endpoint(rpm=6, burst=2) as endpoint, connected(endpoint) as connection:
        responses = [post(connection, SCHEMA)[0] for _ in range(3)]
        assert [response.status for response in responses] == [200, 200, 429]
        assert 0 < float(responses[2].headers["Retry-After"]) <= 10
        endpoint.change(rpm=0, max_concurrency=2, latency_ms=500)
        with ThreadPoolExecutor(6) as pool:

            def status(_: int) -> int:
                with connected(endpoint) as own:
                    return post(own, SCHEMA)[0].status

            statuses = list(pool.map(status, range(6)))
    assert statuses.count(200) >= 2
    assert endpoint.stats().statuses[429] == 1 + statuses.count(429) > 1
    assert endpoint.stats().max_in_flight > 2


def test_only_the_right_key_is_answered_and_other_paths_are_counted() -> None:
    with Endpoint(api_key="right") as endpoint, connected(endpoint) as connection:
        assert [post(connection, SCHEMA, key)[0].status for key in ("wrong", "right")] == [401, 200]
        connection.request("GET", "/v1/elsewhere")
        assert connection.getresponse().status == 404
    assert endpoint.stats().paths == {"/v1/chat/completions": 2, "/v1/elsewhere": 1}


def test_a_client_that_hangs_up_is_billed_but_not_answered() -> None:
    with Endpoint(latency_ms=600) as endpoint:
        with connected(endpoint) as connection:
            connection.request("POST", "/v1/chat/completions", SCHEMA)
            while not endpoint.stats().n_requests:
                time.sleep(0.01)
        while endpoint.stats().n_open:
            time.sleep(0.01)
    assert endpoint.ledger() == {}
    assert len(endpoint.ledger(billed=True)) == len(TEXTS)


def test_hundreds_of_connections_are_served_and_nothing_is_left_of_them() -> None:
    before = threading.active_count()
    with Endpoint() as endpoint:
        connections = [http.client.HTTPConnection("127.0.0.1", endpoint.port) for _ in range(300)]
        for connection in connections:
            connection.request("POST", "/v1/chat/completions", SCHEMA)
        assert {connection.getresponse().status for connection in connections} == {200}
        assert endpoint.stats().n_open == 300
    assert (endpoint.stats().n_open, threading.active_count()) == (0, before)
    for connection in connections:
        connection.close()


def test_a_fault_in_a_script_fails_the_test_that_uses_it() -> None:
    def script(_n: int, _texts: Sequence[str]) -> str:
        raise LookupError("no such row")

    endpoint = Endpoint(script=script)
    endpoint.__enter__()
    with connected(endpoint) as connection, pytest.raises(ConnectionError):
        post(connection, SCHEMA)
    with pytest.raises(LookupError):
        endpoint.__exit__(None, None, None)
    with pytest.raises(ValueError, match="there is no fault 42"):
        Endpoint(faults={"42": 1.0})


def test_it_runs_as_a_script() -> None:
    script = [sys.executable, str(Path(__file__).with_name("endpoint.py")), "--fault", "500=1", "--latency-ms", "1"]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        address = running.stdout.readline().strip()
        with closing(http.client.HTTPConnection(address.split("/")[2])) as connection:
            assert post(connection, SCHEMA)[0].status == 500
        running.send_signal(2)
        assert json.loads(running.stdout.read())["faults"] == {"500": 1}
