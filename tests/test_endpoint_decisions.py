"""Typed decisions of the endpoint for tests: it must be right itself."""

from __future__ import annotations

import json
from html import escape
from http.client import HTTPConnection
from typing import Any

import pytest
from endpoint import Endpoint
from endpoint_replies import canonical, label_of, sureness

TEXTS = tuple(f"Review <{n}> & co" for n in range(10))
IDS = tuple(f"r{n:02}" for n in range(len(TEXTS)))
LABELS = ("negative", "neutral", "positive")


def question(name: str, kind: str = "choice") -> dict[str, Any]:
    more: dict[str, Any] = {"choice": {"choices": [{"value": label} for label in LABELS]}, "predicate": {}}.get(
        kind, {"levels": [{"label": str(level)} for level in range(1, 6)]}
    )
    return {"type": kind, "name": name, "instructions": "x", **more}


def post(endpoint: Endpoint, *questions: dict[str, Any]) -> tuple[int, bytes]:
    blocks = "\n".join(f'<review id="{id_}">{escape(text)}</review>' for id_, text in zip(IDS, TEXTS, strict=True))
    connection = HTTPConnection("127.0.0.1", endpoint.port, timeout=10)
    connection.request("POST", "/v1/decisions", json.dumps({"model": "m", "input": blocks, "questions": questions}))
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


ALL = tuple(map(question, IDS))


def test_each_question_is_answered_by_the_text_of_its_review() -> None:
    with Endpoint(price_in_usd=1.0, price_out_usd=1.0) as endpoint:
        status, body = post(endpoint, *reversed(ALL))
    reply = json.loads(body)
    assert status == 200
    assert [answer["name"] for answer in reply["answers"]] == list(reversed(IDS))
    for answer in reply["answers"]:
        text = TEXTS[IDS.index(answer["name"])]
        assert (answer["choice"], answer["confidence"]) == (label_of(text, LABELS), sureness(text))
        assert sum(one["probability"] for one in answer["probabilities"]) == pytest.approx(1)
    assert endpoint.ledger() == endpoint.ledger(billed=True) == {canonical(text): 1 for text in TEXTS}
    stats = endpoint.stats()
    assert (stats.input_tokens, stats.output_tokens) == (reply["usage"]["input_tokens"], 0)


def test_every_kind_of_question_has_its_own_answer() -> None:
    with Endpoint() as endpoint:
        _, body = post(endpoint, question("r00.a"), question("r00.b", "score"), question("r00.c", "predicate"))
    choice, score, predicate = json.loads(body)["answers"]
    assert (choice["type"], score["type"], predicate["type"]) == ("choice", "score", "predicate")
    assert [(level["label"], level["value"]) for level in score["probabilities"]] == [
        ("1", 0), ("2", 1), ("3", 2), ("4", 3), ("5", 4),
    ]  # fmt: skip
    mean = sum(level["value"] * level["probability"] for level in score["probabilities"])
    assert score["score"] == pytest.approx(mean)
    assert predicate["probability"] in (pytest.approx(sureness(TEXTS[0])), pytest.approx(1 - sureness(TEXTS[0])))


@pytest.mark.parametrize(
    "questions",
    [
        [],
        [question("zz99")],
        [{**question("r00"), "choices": [{"value": "one"}]}],
        [{**question("r00", "score"), "levels": [{"label": str(level)} for level in range(11)]}],
        [{**question("r00"), "type": "text"}],
        [{**question("r00"), "instructions": ""}],
        [question("r00")] * 401,
    ],
)
def test_a_request_that_the_service_would_not_take_is_refused(questions: list[dict[str, Any]]) -> None:
    with Endpoint() as endpoint:
        assert post(endpoint, *questions)[0] == 400
    assert endpoint.ledger(billed=True) == {}


@pytest.mark.parametrize(
    ("fault", "n_answered"),
    [
        ("", 10), ("extra_ids", 10), ("refusal", 8), ("missing_ids", 8), ("dup_ids", 8), ("wrong_label", 8), ("nan", 8),
        ("huge_int", 8), ("content_filter", 0), ("empty", 0), ("malformed", 0), ("truncated", 0), ("fenced", 0),
        ("deep", 0),
    ],
)  # fmt: skip
def test_a_spoiled_reply_is_charged_and_answers_the_rest(fault: str, n_answered: int) -> None:
    with Endpoint(script=lambda _, __: fault) as endpoint:
        status, _ = post(endpoint, *ALL)
    assert status == 200
    assert len(endpoint.ledger()) == n_answered
    assert len(endpoint.ledger(billed=True)) == 10
