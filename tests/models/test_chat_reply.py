"""From what came over the wire to a reply: every status and every kind of damage."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_chat_prompt import REVIEW, SENTIMENT

from reviewopt.data import Outcome, Question, Reply, Request, Usage
from reviewopt.models import chat_content, chat_reply
from reviewopt.models.http import Exchange, Problem
from reviewopt.models.reasons import Caller
from reviewopt.task import Choice, Score, Task

CANARY = "sk-canary-0123456789"
CALLER = Caller(endpoint="https://h.example/v1", model="m", key_variable="MY_KEY", key=CANARY)
SECRET_REVIEW = "My neighbour Ann Example of 12 Long Street says that the lamp is broken."
USAGE = {"prompt_tokens": 100, "completion_tokens": 20}


def request_of(*ids: str) -> Request:
    questions = tuple(Question(at=at, text=SECRET_REVIEW, tenant=None, n_tokens=9) for at in range(len(ids)))
    return Request(questions=questions, ids=ids, body=b"{}", most_output_tokens=99)


REQUEST = request_of("r01", "r02")


def read(
    body: object, status: int = 200, *, task: Task = SENTIMENT, request: Request = REQUEST, **headers: str
) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    exchange = Exchange(seconds=0.5, status=status, headers=names, body=raw)
    return chat_reply.read(exchange, request, task, CALLER)


def chat(content: object, *, finish: str = "stop", usage: object = USAGE, **message: object) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], "usage": usage}


def values(content: str, *, task: Task = SENTIMENT, ids: tuple[str, ...] = ("r01", "r02")) -> list[tuple[str, object]]:
    return list(chat_content.read_values(content, ids, task, is_cut=False))


def test_a_whole_reply_is_answered() -> None:
    reply = read(chat('{"r01": "positive", "r02": "neutral"}'), x_request_id="req_7")
    assert reply.outcome == "answered"
    assert reply.values == (("r01", "positive"), ("r02", "neutral"))
    assert reply.usage == Usage(input=100, output=20)
    assert (reply.is_charged, reply.seconds, reply.request_id, reply.reason) == (True, 0.5, "req_7", "")


def test_the_body_names_the_request_where_no_header_does() -> None:
    assert read(chat('{"r01": "positive"}')).request_id == "chatcmpl-1"


@pytest.mark.parametrize(
    "content",
    [
        '{"r01": "positive", "r02": "neutral"}',
        '```json\n{"r01": "positive", "r02": "neutral"}\n```',
        '```\n{"r01": "positive", "r02": "neutral"}```',
        'Here you are:\n\n```json\n{"r01": "positive", "r02": "neutral"}\n```\nDone.',
        'Sure.\n{"r01": "positive", "r02": "neutral"}\nDone.',
        '<think>{"r01": "negative"}?</think>{"r01": "positive", "r02": "neutral"}',
        '\ufeff {"r01": "positive", "r02": "neutral"}',
        '{"reviews": {"r01": "positive", "r02": "neutral"}}',
        '{"r01": {"sentiment": "positive"}, "r02": "neutral"}',
        "r01: positive\nr02: neutral",
        "```\nr01:positive\nr02:neutral\n```",
        "- r01: positive\r\n- r02 : `neutral`",
        "**r01**: positive\n**r02**: neutral\n\nAll done: see above.",
    ],
)
def test_answers_are_found_in_every_usual_wrapping(content: str) -> None:
    assert values(content) == [("r01", "positive"), ("r02", "neutral")]


def test_content_in_parts_is_put_together() -> None:
    parts = [{"type": "text", "text": '{"r01": "posi'}, {"type": "text", "text": 'tive"}'}]
    assert read(chat(parts)).values == (("r01", "positive"),)


def test_ids_come_as_often_as_they_were_sent_in_their_order() -> None:
    assert values('{"r02": "neutral", "r01": "positive", "r02": "negative", "r99": "x"}') == [
        ("r02", "neutral"), ("r01", "positive"), ("r02", "negative"), ("r99", "x"),
    ]  # fmt: skip
    assert values("K7Q2:positive\nB3BB:neutral\nK7Q2:neutral", ids=("K7Q2",)) == [
        ("K7Q2", "positive"), ("B3BB", "neutral"), ("K7Q2", "neutral"),
    ]  # fmt: skip


def test_several_fields_are_an_object_by_field() -> None:
    answer = {"sentiment": "positive", "quality": 4, "insights": ["light", "cheap"]}
    assert values(json.dumps({"r01": answer}), task=REVIEW) == [("r01", answer)]
    assert values(f"K7Q2:{json.dumps(answer)}", task=REVIEW, ids=("K7Q2",)) == [("K7Q2", answer)]


def test_a_score_is_a_number_in_both_forms() -> None:
    stars = Task(name="stars", instructions="x", fields=(Score(name="stars", low=1, high=5),))
    assert values('{"r01": 4}', task=stars) == values("r01:4", task=stars) == [("r01", 4)]
    assert values("r01:many", task=stars) == [("r01", "many")]


def test_one_review_may_be_answered_by_its_bare_label() -> None:
    assert values(" Positive.\n".lower(), ids=("K7Q2",)) == [("K7Q2", "positive")]
    assert values("positive", ids=("K7Q2", "B3BB")) == []
    assert values("no idea", ids=("K7Q2",)) == []


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "1e999", "7" * 4300, "7" * 5000, "null", "[[[[[[1]]]]]]"])
def test_a_value_that_cannot_be_leaves_its_neighbours_alone(bad: str) -> None:
    found = dict(values(f'{{"r01": {bad}, "r02": "neutral"}}'))
    assert found.get("r02", "neutral") == "neutral"
    assert found.get("r01") is None or "[" in bad
    assert not isinstance(found.get("r01"), float)


@pytest.mark.parametrize(
    "content",
    [
        "", "   ", "NaN", "7" * 4300, "7" * 5000, "[" * 100_000, '{"r01":' * 100_000, "I would rather not say.", "[]",
        "{}", '["positive"]', "<html><body>502</body></html>", "null", '"', "{", '{"r01": "pos', "```", "<think>",
    ],
)  # fmt: skip
def test_content_without_answers_is_spoiled_and_charged(content: str) -> None:
    reply = read(json.dumps(chat(content)).encode())
    assert (reply.outcome, reply.is_charged, reply.usage) == ("spoiled", True, Usage(input=100, output=20))
    assert reply.reason


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>hello</html>", b"[" * 100_000, b'{"choices":' * 100_000, b"NaN", b"\xff\xfe", b"null", b"[]",
        b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": [null]}', b'{"choices": 7}', b'{"usage": NaN}',
        b'{"error": {"message": "overloaded", "code": 503}}', b'{"error": "overloaded"}',
        b'{"choices": [{"message": null}]}', b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        b'{"choices": [{"message": {"content": 7}}]}', b'{"choices": [{"message": {"content": [7]}}]}',
    ],
)  # fmt: skip
def test_a_body_that_is_no_chat_is_spoiled_and_charged(body: bytes) -> None:
    reply = read(body)
    assert (reply.outcome, reply.is_charged, reply.usage) == ("spoiled", True, None)
    assert reply.reason


def test_a_cut_reply_keeps_what_is_complete() -> None:
    cut = read(chat('{"r01": "positive", "r02": "neut', finish="length"))
    assert (cut.outcome, cut.values) == ("answered", (("r01", "positive"),))
    lines = read(chat("r01:positive\nr02:neut", finish="length"))
    assert (lines.outcome, lines.values) == ("answered", (("r01", "positive"),))
    assert "cut" in cut.reason


def test_a_cut_number_is_not_taken_for_a_whole_one() -> None:
    stars = Task(name="stars", instructions="x", fields=(Score(name="stars", low=1, high=50),))
    assert read(chat('{"r01": 30, "r02": 4', finish="length"), task=stars).values == (("r01", 30),)


def test_a_cut_reply_with_nothing_complete_is_spoiled() -> None:
    reply = read(chat('{"r01": "posi', finish="length"))
    assert (reply.outcome, reply.is_charged) == ("spoiled", True)
    assert "cut" in reply.reason


@pytest.mark.parametrize("body", [chat(None, refusal="No."), chat("", finish="content_filter")])
def test_refusals_and_filters_are_charged_even_where_no_usage_is_told(body: dict[str, Any]) -> None:
    told = read(body)
    assert (told.outcome, told.is_charged, told.usage) == ("refused", True, Usage(input=100, output=20))
    untold = read({**body, "usage": None})
    assert (untold.outcome, untold.is_charged, untold.usage) == ("refused", True, None)


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (429, {}, "rate_limited"),
        (429, {"code": "rate_limit_exceeded"}, "rate_limited"),
        (429, {"code": "insufficient_quota"}, "hopeless"),
        (429, {"type": "insufficient_quota"}, "hopeless"),
        (401, {}, "hopeless"),
        (403, {}, "hopeless"),
        (402, {}, "hopeless"),
        (404, {"code": "model_not_found"}, "hopeless"),
        (405, {}, "hopeless"),
        (301, {}, "hopeless"),
        (307, {}, "hopeless"),
        (400, {"code": "invalid_api_key"}, "hopeless"),
        (400, {"code": "content_filter"}, "refused"),
        (400, {"code": "context_length_exceeded"}, "spoiled"),
        (413, {}, "spoiled"),
        (400, {"param": "logprobs"}, "unsupported"),
        (422, {}, "unsupported"),
        (408, {}, "unavailable"),
        (409, {}, "unavailable"),
        (500, {}, "unavailable"),
        (502, {}, "unavailable"),
        (503, {}, "unavailable"),
        (529, {}, "unavailable"),
        (999, {}, "unavailable"),
    ],
)
def test_each_status_has_its_outcome_and_is_not_charged(status: int, error: dict[str, Any], outcome: Outcome) -> None:
    reply = read({"error": {"message": "no", **error}}, status)
    assert (reply.outcome, reply.is_charged, reply.usage) == (outcome, False, None)
    assert str(status) in reply.reason


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"\xff", b"7", b'{"error": 7}', b'[{"error": {}}]'])
@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 418, 422, 429, 503])
def test_an_error_with_any_body_has_a_reason(status: int, body: bytes) -> None:
    assert str(status) in read(body, status).reason


@pytest.mark.parametrize(
    ("problem", "status", "outcome", "is_charged"),
    [
        ("unsent", 0, "unavailable", False),
        ("forbidden", 0, "hopeless", False),
        ("lost", 0, "no_reply", True),
        ("lost", 200, "no_reply", True),
        ("lost", 429, "rate_limited", False),
        ("lost", 503, "unavailable", False),
        ("unreadable", 200, "spoiled", True),
        ("unreadable", 500, "unavailable", False),
    ],
)
def test_what_was_not_sent_is_not_charged_and_what_was_lost_may_be(
    problem: Problem, status: int, outcome: Outcome, *, is_charged: bool
) -> None:
    exchange = Exchange(seconds=1.0, status=status, headers={}, problem=problem, reason="why it went wrong")
    reply = chat_reply.read(exchange, REQUEST, SENTIMENT, CALLER)
    assert (reply.outcome, reply.is_charged, reply.usage) == (outcome, is_charged, None)
    assert reply.reason


def test_only_outcomes_that_wait_carry_a_wait() -> None:
    assert read(b"", 429, retry_after="2").retry_after_s == 2.0
    assert read(b"", 503, retry_after="2").retry_after_s == 2.0
    assert read(b"", 401, retry_after="2").retry_after_s is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 2}, Usage(input=9, output=2)),
        (
            {
                "prompt_tokens": 90,
                "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 8},
                "completion_tokens": 20,
                "completion_tokens_details": {"reasoning_tokens": 12},
                "total_tokens": 110,
            },
            Usage(input=90, cached=64, cache_write=8, output=20, reasoning=12),
        ),
        # Reasoning counted beside the output: the total, or a count that cannot be a part, tells.
        (
            {
                "prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 41,
                "completion_tokens_details": {"reasoning_tokens": 12},
            },
            Usage(input=9, output=32, reasoning=12),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 12}},
            Usage(input=9, output=14, reasoning=12),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(input=9, output=2)),
        ({"prompt_tokens": -1, "completion_tokens": 2}, None),
        ({"prompt_tokens": 9}, None),
        ({"prompt_tokens": 9, "completion_tokens": 2.5}, None),
        ({"prompt_tokens": 9, "completion_tokens": "2"}, None),
        ({"prompt_tokens": True, "completion_tokens": 2}, None),
        ({"prompt_tokens": 1 << 31, "completion_tokens": 2}, None),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 10}}, None),
        (None, None),
        ([], None),
        ("many", None),
    ],
)  # fmt: skip
def test_usage_that_cannot_be_counts_as_none(usage: object, expected: Usage | None) -> None:
    reply = read(chat('{"r01": "positive"}', usage=usage))
    assert (reply.outcome, reply.is_charged, reply.usage) == ("answered", True, expected)


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500])
def test_no_reason_holds_the_key_or_a_part_of_a_review(status: int) -> None:
    for message in (
        f"Incorrect API key provided: {CANARY}",
        f"bad input: {SECRET_REVIEW}",
        f"bad input: {SECRET_REVIEW[10:40].upper()}",
        f"'{SECRET_REVIEW}' is not allowed",
        "x" * 10_000,
        "x" * 110 + CANARY,
    ):
        for error in ({"message": message}, {"message": "no", "code": message}, {"message": "no", "param": message}):
            reason = read({"error": error}, status).reason
            assert "canary" not in reason
            assert "neighbour" not in reason.lower()
            assert "ann example" not in reason.lower()
            assert len(reason) <= 200


def test_a_short_review_is_kept_out_of_reasons_too() -> None:
    question = Question(at=0, text="Call 0049-555", tenant=None, n_tokens=3)
    request = Request(questions=(question,), ids=("r01",), body=b"", most_output_tokens=1)
    assert "0049" not in read({"error": {"message": "not allowed: call 0049-555"}}, 400, request=request).reason


def test_a_reason_says_what_the_endpoint_says_of_itself() -> None:
    error = {
        "message": "Unsupported value: 'temperature'\nuse 1",
        "type": "invalid_request_error",
        "param": "temperature",
    }
    reason = read({"error": error}, 400).reason
    assert "param temperature" in reason
    assert "Unsupported value: 'temperature' use 1" in reason
    detail = {"detail": [{"type": "extra_forbidden", "loc": ["body", "logprobs"], "msg": "Extra inputs"}]}
    assert "Extra inputs" in read(detail, 422).reason


def test_a_refused_key_is_named_by_its_variable() -> None:
    assert "MY_KEY" in read(b"", 401).reason


# Labels whose own ends look like decoration

GRADES = Task(
    name="grades",
    instructions="x",
    fields=(Choice(name="grade", labels=("A", "B*", "C*", "*D", "the '90s", "60'", "`x`", '"E"', "etc.")),),
)


@pytest.mark.parametrize("label", GRADES.labels)
@pytest.mark.parametrize("around", ["{}", " {}\r", "`{}`", '"{}"', "**{}**", "'{}'", '**"{}"**'])
def test_a_label_keeps_its_own_signs_and_loses_those_around_it(label: str, around: str) -> None:
    written = around.format(label)
    for ids in (("K7Q2",), ("K7Q2", "B3BB")):
        assert values(f"K7Q2:{written}", task=GRADES, ids=ids) == [("K7Q2", label)]
    assert values(written, task=GRADES, ids=("K7Q2",)) == [("K7Q2", label)]


def test_a_label_with_signs_is_none_without_them_in_any_case() -> None:
    both = Task(name="t", instructions="x", fields=(Choice(name="t", labels=("C", "C*")),))
    found = values("K7Q2:c*\nK7Q2:C\nK7Q2:**C**", task=both, ids=("K7Q2",))
    assert [value for _, value in found] == ["c*", "C", "C"]


def test_layers_of_decoration_cost_no_more_than_a_few_copies() -> None:
    assert values("K7Q2:" + "*" * 2_000_000, task=GRADES, ids=("K7Q2",)) == [("K7Q2", "")]


# Log-probabilities


def scored(content: str, tokens: list[tuple[str, float]], *, task: Task = SENTIMENT, finish: str = "stop") -> Reply:
    body = chat(content, finish=finish)
    listed: list[dict[str, object]] = [
        {"token": token, "logprob": value, "bytes": None, "top_logprobs": []} for token, value in tokens
    ]
    body["choices"][0]["logprobs"] = {"content": listed, "refusal": None}
    return read(body, task=task)


def test_confidence_is_the_product_over_the_tokens_of_the_label() -> None:
    tokens = [
        ('{"', -9.0), ("r01", 0.0), ('": "', -0.0), ("posi", math.log(0.5)), ("tive", math.log(0.8)), ('", "', -3.0),
        ("r02", 0.0), ('":"', 0.0), ("neutral", math.log(0.9)), ('"}', -2.0),
    ]  # fmt: skip
    reply = scored("".join(token for token, _ in tokens), tokens)
    assert reply.confidence == pytest.approx({"r01": 0.4, "r02": 0.9})


def test_confidence_counts_tokens_that_a_label_shares_with_its_neighbours() -> None:
    tokens = [("r01", 0.0), (":pos", math.log(0.5)), ("itive\n", math.log(0.5)), ("r02: neutral", math.log(0.25))]
    reply = scored("r01:positive\nr02: neutral", tokens)
    assert reply.confidence == pytest.approx({"r01": 0.25, "r02": 0.25})


def test_confidence_of_several_fields_is_that_of_the_first() -> None:
    content = (
        '{"r01":{"sentiment":"positive","quality":2,"summary":"say \\"r02\\": {\\"sentiment\\": \\"negative\\"}"}}'
    )
    tokens = [(sign, math.log(0.9) if 20 < at < 29 else -1.0) for at, sign in enumerate(content)]
    assert content[21:29] == "positive"
    assert scored(content, tokens, task=REVIEW).confidence == pytest.approx({"r01": 0.9**8})


def test_confidence_of_a_label_of_several_words_covers_them_all() -> None:
    task = Task(name="t", instructions="x", fields=(Choice(name="t", labels=("very good", "bad")),))
    tokens = [("r01:", 0.0), ("very", math.log(0.5)), (" good", math.log(0.5)), ("\n", -5.0)]
    assert scored("r01:very good\n", tokens, task=task).confidence == pytest.approx({"r01": 0.25})


def test_confidence_of_a_label_covers_the_signs_at_its_ends() -> None:
    tokens = [("K7Q2:", 0.0), ("C", math.log(0.5)), ("*", math.log(0.5)), ("\r\nB3BB:", 0.0), ("*D", math.log(0.25))]
    content = "".join(token for token, _ in tokens)
    found = chat_content.read_confidence(
        content, [token for token, _ in tokens], [value for _, value in tokens], ("K7Q2", "B3BB"), GRADES
    )
    assert found == pytest.approx({"K7Q2": 0.25, "B3BB": 0.25})


def test_an_impossible_token_has_no_effect_on_its_neighbours() -> None:
    tokens = [("r01:", 0.0), ("positive", -math.inf), ("\nr02:", 0.0), ("neutral", math.log(0.5))]
    found = chat_content.read_confidence(
        "r01:positive\nr02:neutral", [t for t, _ in tokens], [value for _, value in tokens], ("r01", "r02"), SENTIMENT
    )
    assert found == pytest.approx({"r01": 0.0, "r02": 0.5})


def test_tokens_that_are_not_the_content_give_no_confidence() -> None:
    reply = scored('{"r01": "positive"}', [('{"r01": "', 0.0), ("negative", 0.0), ('"}', 0.0)])
    assert (reply.outcome, reply.confidence) == ("answered", {})


@pytest.mark.parametrize("odd", [None, 7, [], {"content": None}, {"content": 7}, {"content": [{"token": 1}]}, {"x": 1}])
def test_odd_logprobs_do_not_spoil_a_reply(odd: object) -> None:
    body = chat('{"r01": "positive"}')
    body["choices"][0]["logprobs"] = odd
    reply = read(body)
    assert (reply.outcome, reply.confidence) == ("answered", {})


def test_white_space_that_a_server_cut_off_the_content_costs_no_confidence() -> None:
    content = '{"r01":"positive"}'
    tokens = [*content, "\n\n  ", ""]
    found = chat_content.read_confidence(content, tokens, [-0.1] * len(tokens), ("r01",), SENTIMENT)
    assert found == {"r01": pytest.approx(math.exp(-0.1 * len("positive")))}


def test_only_ids_that_were_answered_have_a_confidence() -> None:
    tokens = [('{"r01":"positive","r02":"neutral"', 0.0)]
    reply = scored(tokens[0][0], tokens, finish="length")
    assert (dict(reply.values), set(reply.confidence)) == ({"r01": "positive"}, {"r01"})


# Whatever comes

JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["r01", "r02", "sentiment", "quality", "x"]) | st.text(max_size=5), inner, max_size=4
        )
    ),
    max_leaves=20,
)
CONTENTS = (
    st.text(max_size=300)
    | JSONISH.map(json.dumps)
    | st.text(st.sampled_from('{}[]":,r012\n\\`K7Q2 posit'), max_size=200)
    | st.lists(st.sampled_from(["r01:", "r02", "{", '"r01":', '"positive"', ",", "}", "\n", "```", "null"])).map(
        "".join
    )
)


@settings(deadline=None)
@given(content=CONTENTS, is_cut=st.booleans(), task=st.sampled_from([SENTIMENT, REVIEW]))
def test_no_content_is_too_odd_to_be_read(content: str, task: Task, *, is_cut: bool) -> None:
    found = chat_content.read_values(content, ("r01", "r02"), task, is_cut=is_cut)
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()  # every value can be kept
    confidence = chat_content.read_confidence(content, list(content), [-0.1] * len(content), ("r01", "r02"), task)
    assert all(0 <= value <= 1 for value in confidence.values())


@settings(deadline=None)
@given(body=st.binary(max_size=300) | JSONISH.map(json.dumps).map(str.encode), status=st.integers(100, 999))
def test_no_body_is_too_odd_to_be_judged(body: bytes, status: int) -> None:
    reply = read(body, status)
    assert reply.outcome == "answered" or reply.reason


@settings(deadline=None)
@given(JSONISH, JSONISH, JSONISH, JSONISH)
def test_no_part_of_a_chat_is_too_odd_to_be_judged(
    content: object, usage: object, logprobs: object, finish: object
) -> None:
    body: dict[str, Any] = {
        "choices": [{"message": {"content": content}, "logprobs": logprobs, "finish_reason": finish}]
    }
    reply = read({**body, "usage": usage})
    assert reply.outcome in {"answered", "spoiled", "refused"}


@settings(deadline=None)
@given(content=CONTENTS)
def test_a_cut_never_adds_an_answer(content: str) -> None:
    whole = json.dumps({f"r{n:02d}": text for n, text in enumerate(content.split(","), 1)})
    for at in range(0, len(whole), 7):
        cut = chat_content.read_values(whole[:at], (), SENTIMENT, is_cut=True)
        assert cut == chat_content.read_values(whole, (), SENTIMENT, is_cut=False)[: len(cut)]


# Fresh types each time: only the first use of a type by several threads at once ever crashed.
FIRST_REPLIES = """
import importlib, sys, threading
from reviewopt.data import Request
from reviewopt.models import chat_reply, events
from reviewopt.models.http import Exchange
from reviewopt.models.reasons import Caller
from reviewopt.task import Choice, Task

sys.setswitchinterval(1e-6)
whole = b'{"choices": [{"message": {"content": "{}"}, "logprobs": {"content": []}}]}'
piece = b'data: {"choices": [{"delta": {"content": "{}"}, "logprobs": {"content": []}}]}\\n\\n'
task = Task(name="t", instructions="", fields=(Choice(name="s", labels=("a", "b")),))
request = Request(questions=(), ids=("r01",), body=b"{}", most_output_tokens=9)
caller = Caller(endpoint="https://h.example/v1", model="m", key_variable="K", key="k")


def read(body, all_here):
    exchange = Exchange(seconds=0.5, status=200, headers={}, body=body)
    all_here.wait()
    chat_reply.read(exchange, request, task, caller)


for body in (whole, piece) * 100:
    importlib.reload(events)
    importlib.reload(chat_reply)
    all_here = threading.Barrier(8)
    threads = [threading.Thread(target=read, args=(body, all_here)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_the_first_replies_may_be_read_by_many_threads_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_REPLIES], capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
