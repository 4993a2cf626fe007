"""The kind `chat` where replies come piece by piece: what is asked for, and what a cut one leaves."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path
from typing import Any

import pytest
from served import Asked, http, serve
from test_chat import FULL, ask_about, body_of, chat_of, form_of, picky, settle
from test_chat_prompt import SENTIMENT
from test_chat_reply import CALLER, REQUEST, request_of
from test_events import USAGE, event, stream, whole

from reviewopt.data import Reply, Request, Usage
from reviewopt.models import chat_reply
from reviewopt.models.http import Exchange, Problem
from reviewopt.task import Task

STREAM = {"content-type": "text/event-stream"}
CONTENT = '{"r01": "positive", "r02": "neutral"}'
CUT = '{"r01": "positive", "r02": "neut'


def read(
    body: bytes,
    problem: Problem | None = None,
    *,
    request: Request = REQUEST,
    task: Task = SENTIMENT,
    status: int = 200,
) -> Reply:
    reason = "the connection broke" if problem else ""
    exchange = Exchange(seconds=0.5, status=status, headers=STREAM, body=body, problem=problem, reason=reason)
    return chat_reply.read(exchange, request, task, CALLER)


def pieces(content: str) -> bytes:
    """The stream of a content that has not come to its end."""
    return stream(event(""), *(event(sign) for sign in content))


# What is asked for


def test_a_request_of_several_reviews_asks_for_a_stream_with_its_usage(tmp_path: Path) -> None:
    with chat_of(tmp_path) as model:
        body = body_of(model)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


def test_no_stream_is_asked_for_where_the_settings_say_so_or_one_answer_is_all(tmp_path: Path) -> None:
    with chat_of(tmp_path, stream=False) as plain, chat_of(tmp_path) as model:
        assert not {"stream", "stream_options"} & set(body_of(plain))
        assert "stream" in body_of(model, ["alone"])  # nobody knows yet whether the endpoint streams
        model.settle()
        assert not {"stream", "stream_options"} & set(body_of(model, ["alone"]))
        assert "stream" in body_of(model)


def extras(model: Any) -> set[str]:
    return {"stream", "stream_options", "prompt_cache_key"} & set(body_of(model))


@pytest.mark.parametrize(
    ("unknown", "n_requests", "left"),
    [
        ({}, 1, {"stream", "stream_options", "prompt_cache_key"}),
        ({"stream": "'stream' is not supported"}, 2, {"prompt_cache_key"}),
        ({"stream_options": "Extra inputs: stream_options"}, 2, {"prompt_cache_key"}),
        ({"prompt_cache_key": "prompt_cache_key: extra fields"}, 2, {"stream", "stream_options"}),
        ({"prompt_cache_key": "no prompt_cache_key", "stream_options": "no stream_options"}, 3, set()),
        ({"stream_options": "bad request"}, 2, set()),
        ({"prompt_cache_key": "bad request"}, 2, set()),
    ],
)
def test_an_endpoint_that_knows_no_streams_or_cache_keys_is_found_out_and_remembered(
    tmp_path: Path, unknown: dict[str, str], n_requests: int, left: set[str]
) -> None:
    with serve(picky(unknown)) as served:
        with chat_of(tmp_path, served.base_url) as model:
            assert settle(model) == (n_requests, "answered")
            model.settle()
            assert extras(model) == left
        with chat_of(tmp_path, served.base_url) as again:
            assert again.is_settled
            assert extras(again) == left


def test_a_word_that_only_ends_in_a_parameters_name_complains_about_nothing(tmp_path: Path) -> None:
    unknown = {"logprobs": "the upstream knows no logprobs"}
    with serve(picky(unknown)) as served, chat_of(tmp_path, served.base_url) as model:
        assert settle(model) == (2, "answered")
        assert form_of(model) == ("json_schema", FULL - {"logprobs"})
        assert "stream" in body_of(model)


@pytest.mark.parametrize("others", [{"stream": False}, {"prompt_cache": False}])
def test_a_remembered_form_ends_with_these_settings_too(tmp_path: Path, others: dict[str, Any]) -> None:
    with chat_of(tmp_path) as model:
        model.settle()
    with chat_of(tmp_path, **others) as model:
        assert not model.is_settled


# The name for the prompt cache


def test_requests_that_begin_alike_have_one_cache_key_and_others_another(tmp_path: Path) -> None:
    def key(texts: tuple[str, ...] = ("a", "b"), seed: int = 0, **more: Any) -> object:
        with chat_of(tmp_path, **more) as model:
            return body_of(model, texts, seed)["prompt_cache_key"]

    assert key() == key(("c", "d"), seed=7) == key(reasoning_tokens=9)
    others = [
        key(("a", "b", "c")),
        key(model="other"),
        key(task=Task(**{**vars_of(SENTIMENT), "instructions": "else"})),
    ]
    assert len({key(), *others}) == 4
    assert key(reply="lines") == key(("a", "b", "c"), reply="lines") != key()


def vars_of(task: Task) -> dict[str, Any]:
    return {name: getattr(task, name) for name in task.__struct_fields__}


def test_a_cache_key_holds_nothing_of_a_review_and_is_left_out_where_the_settings_say_so(tmp_path: Path) -> None:
    with chat_of(tmp_path) as model, chat_of(tmp_path, prompt_cache=False) as without:
        key = body_of(model, ("secret", "other"))["prompt_cache_key"]
        assert isinstance(key, str)
        assert len(key) == 32
        assert set(key) <= set("0123456789abcdef")
        assert "prompt_cache_key" not in body_of(without)


def test_what_comes_before_the_reviews_is_the_same_bytes_for_as_many_reviews(tmp_path: Path) -> None:
    with chat_of(tmp_path) as model:
        one, other = (model.compose(ask_about(texts), random.Random(n)).body for n, texts in enumerate(("ab", "cd")))
    at = one.index(b'{"role":"user"')
    assert one[:at] == other[:at]
    assert one[one.index(b'"response_format"') :] == other[other.index(b'"response_format"') :]


# What came


def test_a_whole_stream_is_answered_like_a_plain_reply() -> None:
    reply = read(whole(CONTENT))
    assert (reply.outcome, reply.values) == ("answered", (("r01", "positive"), ("r02", "neutral")))
    assert (reply.usage, reply.is_charged, reply.is_cut) == (Usage(input=9, output=4), True, False)
    assert (reply.request_id, reply.reason) == ("chatcmpl-1", "")


def test_confidence_is_read_from_a_stream_too() -> None:
    scored = [
        event(token, logprobs={"content": [{"token": token, "logprob": value}]})
        for token, value in (('{"r01":"', 0.0), ("posi", -0.5), ("tive", -0.25), ('"}', 0.0))
    ]
    reply = read(stream(*scored, event(finish="stop")), request=request_of("r01"))
    assert reply.confidence == {"r01": pytest.approx(2.718281828**-0.75)}


@pytest.mark.parametrize("problem", ["lost", None])
@pytest.mark.parametrize("content", [CUT, "r01:positive\nr02:neut"])
def test_a_stream_that_breaks_off_keeps_the_answers_that_stand_complete_in_it(
    content: str, problem: Problem | None
) -> None:
    reply = read(pieces(content), problem)
    assert (reply.outcome, reply.values) == ("answered", (("r01", "positive"),))
    assert (reply.is_cut, reply.usage, reply.is_charged) == (True, None, True)
    assert "broke" in reply.reason


@pytest.mark.parametrize("problem", ["lost", None])
@pytest.mark.parametrize("body", [b"", b": ping\n\n", pieces(""), pieces('{"r01": "positive"'), pieces("r01:positive")])
def test_a_stream_without_a_complete_answer_is_no_reply(body: bytes, problem: Problem | None) -> None:
    reply = read(body, problem)
    assert (reply.outcome, reply.values, reply.usage, reply.is_charged) == ("no_reply", (), None, True)
    assert reply.reason


def test_a_stream_that_breaks_after_the_last_answer_keeps_them_all_without_a_usage() -> None:
    reply = read(pieces(CONTENT)[:-1] + b"\n" + stream(event(finish="stop")), "lost")
    assert (len(reply.values), reply.is_cut, reply.usage, reply.is_charged) == (2, True, None, True)


def test_a_usage_that_came_before_the_cut_counts() -> None:
    body = stream(event('{"r01": "positive",'), {"choices": [], "usage": USAGE})
    assert read(body, "lost").usage == Usage(input=9, output=4)


def test_an_error_in_a_stream_keeps_what_came_before_it_and_is_told() -> None:
    error = {"error": {"message": "overloaded", "code": "overloaded"}}
    kept = read(stream(event('{"r01": "positive",'), error))
    assert (kept.outcome, kept.values, kept.is_cut) == ("answered", (("r01", "positive"),), True)
    none = read(stream(event(""), error))
    assert (none.outcome, none.is_charged) == ("spoiled", True)
    assert "overloaded" in kept.reason
    assert "overloaded" in none.reason


def test_a_stream_cut_at_its_limit_is_cut_and_one_that_is_filtered_is_refused() -> None:
    cut = read(stream(event(CUT), event(finish="length"), "data: [DONE]"))
    assert (cut.outcome, cut.values, cut.is_cut) == ("answered", (("r01", "positive"),), True)
    assert "limit" in cut.reason
    assert read(stream(event(""), event(finish="content_filter"))).outcome == "refused"
    assert read(stream(event(delta={"refusal": "No."}), event(finish="stop"))).outcome == "refused"


def test_a_plain_reply_cut_at_its_limit_is_cut_too() -> None:
    choice = {"message": {"content": CUT}, "finish_reason": "length"}
    exchange = Exchange(seconds=0.5, status=200, headers={}, body=json.dumps({"choices": [choice]}).encode())
    assert chat_reply.read(exchange, REQUEST, SENTIMENT, CALLER).is_cut


def test_a_stream_beyond_the_bound_is_spoiled() -> None:
    reply = read(b"", "unreadable")
    assert (reply.outcome, reply.is_charged) == ("spoiled", True)


def test_a_status_that_says_no_holds_for_a_stream_too() -> None:
    assert read(pieces(CUT), "lost", status=503).outcome == "unavailable"


def test_a_plain_reply_to_a_request_for_a_stream_is_read(tmp_path: Path) -> None:
    with serve(picky({})) as served, chat_of(tmp_path, served.base_url) as model:
        request = model.compose(ask_about(["good", "bad"]), random.Random(0))
        reply = model.ask(request, 5)
    assert json.loads(served.asked[0].body)["stream"] is True
    assert (reply.outcome, len(reply.values)) == ("answered", 2)


def test_over_the_wire_a_connection_that_breaks_keeps_the_complete_answers(tmp_path: Path) -> None:
    def answer(_: Asked, sock: socket.socket) -> None:
        chunk = pieces(CUT)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        sock.sendall(head + b"%x\r\n%b\r\n" % (len(chunk), chunk))
        sock.shutdown(socket.SHUT_RDWR)

    with serve(answer) as served, chat_of(tmp_path, served.base_url) as model:
        reply = model.ask(model.compose(ask_about(["good", "bad"]), random.Random(0)), 5)
    assert (reply.outcome, reply.values, reply.is_cut) == ("answered", (("r01", "positive"),), True)


def test_over_the_wire_a_whole_stream_leaves_its_connection_for_the_next(tmp_path: Path) -> None:
    with (
        serve(http(whole(CONTENT), content_type="text/event-stream")) as served,
        chat_of(tmp_path, served.base_url) as model,
    ):
        request = model.compose(ask_about(["good", "bad"]), random.Random(0))
        assert [model.ask(request, 5).outcome for _ in range(3)] == ["answered"] * 3
    assert served.n_connections == 1


def test_on_this_machine_nothing_is_compressed(tmp_path: Path) -> None:
    with serve(picky({})) as served, chat_of(tmp_path, served.base_url) as model:
        model.ask(model.compose(ask_about(["good", "bad"]), random.Random(0)), 5)
    assert served.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("details", "says"), [(None, False), ({}, False), ({"cached_tokens": None}, False), ({"cached_tokens": 0}, True)]
)
def test_a_usage_knows_whether_it_tells_of_cached_tokens(details: object, *, says: bool) -> None:
    usage = {**USAGE, "prompt_tokens_details": details}
    reply = read(stream(event("r01:positive\n"), event(finish="stop"), {"choices": [], "usage": usage}))
    assert reply.usage is not None
    assert reply.usage.says_cached is says
