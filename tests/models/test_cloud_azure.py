"""Azure AI Language over its own SDK, which reads what a server of the test's says as the service documents it."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from served import Answer, Asked, Served, http, serve
from test_cloud import ask

from reviewopt.errors import ModelError, UsageError
from reviewopt.models import cloud, kinds
from reviewopt.models.cloud_service import Fault, Found, Unanswered

KEY = "canary0123456789"
SCORES = {"positive": 0.75, "neutral": 0.125, "negative": 0.125}


def result(at: int, sentiment: str) -> dict[str, Any]:
    sentence = {"sentiment": "positive", "confidenceScores": SCORES, "offset": 0, "length": 4, "text": "good"}
    return {"id": f"{at}", "sentiment": sentiment, "confidenceScores": SCORES, "sentences": [sentence], "warnings": []}


def reply_of(documents: list[Any], errors: list[Any] | None = None) -> bytes:
    results = {"documents": documents, "errors": errors or [], "modelVersion": "2022-11-01"}
    body = json.dumps({"kind": "SentimentAnalysisResults", "results": results})
    return http(body.encode(), content_type="application/json")


def error(status: int, code: str, **headers: str) -> bytes:
    body = json.dumps({"error": {"code": code, "message": f"canary words about {KEY}"}})
    return http(body.encode(), status, content_type="application/json", **headers)


def open_it(folder: Path, environment: dict[str, str], **settings: Any) -> cloud.Cloud:
    from msgspec import structs

    given = structs.replace(cloud.settings_of("azure"), **settings)
    model = kinds.open_model("azure", given, cloud.task(), threads=2, memory=folder / "m", environment=environment)
    assert isinstance(model, cloud.Cloud)
    return model


def once(reply: bytes) -> Answer:
    """Reply and hang up: until its exceptions are collected, the SDK keeps connections that brought an error."""

    def answer(_: Asked, sock: socket.socket) -> None:
        sock.sendall(reply)
        sock.shutdown(socket.SHUT_RDWR)

    return answer


@contextmanager
def served_by(answer: Answer | bytes, folder: Path, **settings: Any) -> Iterator[tuple[Served, cloud.Cloud]]:
    with serve(once(answer) if isinstance(answer, bytes) else answer) as served:
        address = served.base_url.removesuffix("/v1")
        model = open_it(folder, {"AZURE_LANGUAGE_ENDPOINT": address, "AZURE_LANGUAGE_KEY": f"{KEY}\n"}, **settings)
        try:
            yield served, model
        finally:
            model.close()


def fault_of(said: Any) -> Fault:
    assert isinstance(said, Fault)
    assert "canary" not in said.reason
    return said


def test_documents_go_out_unlogged_and_their_labels_come_back(tmp_path: Path) -> None:
    documents = [result(at, label) for at, label in enumerate(("positive", "negative", "neutral", "mixed"))]
    texts = ["good", "bad", "so so", "good but dear"]
    with served_by(reply_of(documents), tmp_path, language="fr") as (served, model):
        said = model.connect().detect(texts, 9.0)
    assert isinstance(said, list)
    assert [one.label for one in said] == ["positive", "negative", "neutral", "mixed"]
    assert [one.confidence for one in said[:3]] == [0.75, 0.125, 0.125]
    assert math.isnan(said[3].confidence)  # the service tells none of it
    (asked,) = served.asked
    sent = json.loads(asked.body)
    assert asked.line == "POST /language/:analyze-text?api-version=2023-04-01 HTTP/1.1"
    assert [(one["text"], one["language"]) for one in sent["analysisInput"]["documents"]] == [
        (one, "fr") for one in texts
    ]
    assert (sent["kind"], sent["parameters"]["loggingOptOut"]) == ("SentimentAnalysis", True)
    assert asked.headers["ocp-apim-subscription-key"] == KEY
    assert KEY not in asked.line


def test_errors_stand_where_their_documents_do(tmp_path: Path) -> None:
    inner = {"code": "InvalidDocument", "message": "canary text"}
    wrong = {"id": "1", "error": {"code": "InvalidArgument", "message": "canary", "innererror": inner}}
    with served_by(reply_of([result(2, "mixed"), result(0, "positive")], [wrong]), tmp_path) as (_, model):
        said = model.connect().detect(["a", "b", "c"], 9.0)
        reply = ask(model, ["a", "b", "c"])
    assert isinstance(said, list)
    assert (said[0], said[1], said[2].label) == (Found("positive", 0.75), Unanswered("InvalidDocument"), "mixed")
    assert reply.reason == "Azure AI Language answered 1 of 3 documents with an error: InvalidDocument"


def test_a_language_that_it_does_not_know_is_told_once_and_not_document_by_document(tmp_path: Path) -> None:
    wrong = {
        "id": "0",
        "error": {
            "code": "InvalidArgument",
            "message": "x",
            "innererror": {"code": "UnsupportedLanguageCode", "message": "x"},
        },
    }
    with served_by(reply_of([], [wrong]), tmp_path, language="xx") as (_, model):
        fault = fault_of(model.connect().detect(["a"], 9.0))
    assert (fault.outcome, fault.reason) == (
        "hopeless", "Azure AI Language does not take language = 'xx' (UnsupportedLanguageCode)",
    )  # fmt: skip


@pytest.mark.parametrize(("status", "code", "outcome", "told"), [
    (429, "429", "rate_limited", "asked to wait"),
    (401, "401", "hopeless", "set the variable AZURE_LANGUAGE_KEY"),
    (403, "403", "hopeless", "set the variable AZURE_LANGUAGE_KEY"),
    (404, "404", "hopeless", "AZURE_LANGUAGE_ENDPOINT"),
    (400, "InvalidRequest", "spoiled", "InvalidRequest"),
    (500, "InternalServerError", "unavailable", "HTTP 500"),
    (503, "ServiceUnavailable", "unavailable", "HTTP 503"),
    (302, "Moved", "hopeless", "AZURE_LANGUAGE_ENDPOINT"),
])  # fmt: skip
def test_an_error_says_what_becomes_of_the_request(
    tmp_path: Path, status: int, code: str, outcome: str, told: str
) -> None:
    headers = {"retry_after": "4"} if status != 302 else {"location": "http://localhost:1/elsewhere"}
    with served_by(error(status, code, **headers), tmp_path) as (served, model):
        fault = fault_of(model.connect().detect(["x"], 9.0))
    assert (fault.outcome, fault.is_charged) == (outcome, False)
    assert told in fault.reason
    waits = status in {429, 500, 503}
    assert fault.retry_after_s == (4 if waits else None)
    assert len(served.asked) == 1  # the SDK sends nothing again


@pytest.mark.parametrize("is_json", [True, False])
def test_a_free_plan_that_is_used_up_is_told_as_such(tmp_path: Path, is_json: bool) -> None:
    text = "Out of call volume quota for TextAnalytics F0 pricing tier. Please retry after 15 days."
    body = json.dumps({"error": {"code": "403", "message": text}}) if is_json else text
    with served_by(http(body.encode(), 403, content_type="application/json"), tmp_path) as (_, model):
        fault = fault_of(model.connect().detect(["x"], 9.0))
    assert (fault.outcome, fault.reason) == (
        "hopeless", "Azure AI Language: the month's free quota of the resource is used up",
    )  # fmt: skip


@pytest.mark.parametrize("reply", [
    http(b"not JSON", content_type="application/json"),
    http(b'{"kind": "SentimentAnalysisResults", "results": {"documents": 3}}', content_type="application/json"),
    http(b'{"kind": "SentimentAnalysisResults"}', content_type="application/json"),
    reply_of([{"id": "0"}]),
    reply_of([], [{"id": "9", "error": {"code": "x", "message": "y"}}]),
], ids=range(5))  # fmt: skip
def test_a_reply_that_cannot_be_read_was_paid_for(tmp_path: Path, reply: bytes) -> None:
    with served_by(reply, tmp_path) as (_, model):
        answer = ask(model, ["x"])
    assert (answer.outcome, answer.is_charged, answer.values) == ("spoiled", True, ())


def test_what_was_sent_and_not_answered_may_be_charged_and_what_was_not_sent_is_not(tmp_path: Path) -> None:
    def drop(_asked: Asked, sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_RDWR)

    def wait(_: Asked, sock: socket.socket) -> None:
        served.done.wait(2)
        sock.sendall(reply_of([result(0, "mixed")]))

    with served_by(drop, tmp_path) as (_, model):
        service = model.connect()
        assert fault_of(service.detect(["x"], 9.0)).outcome == "no_reply"
    with served_by(wait, tmp_path) as (served, model):
        assert fault_of(model.connect().detect(["x"], 0.2)).outcome == "no_reply"
    gone = open_it(tmp_path, {"AZURE_LANGUAGE_ENDPOINT": "http://localhost:1", "AZURE_LANGUAGE_KEY": KEY})
    assert fault_of(gone.connect().detect(["x"], 9.0)).outcome == "unavailable"
    gone.close()


# How it is opened


@pytest.mark.parametrize(("environment", "told"), [
    ({}, "AZURE_LANGUAGE_ENDPOINT is not set"),
    ({"AZURE_LANGUAGE_ENDPOINT": "https://h.example"}, "AZURE_LANGUAGE_KEY is not set"),
    ({"AZURE_LANGUAGE_ENDPOINT": " ", "AZURE_LANGUAGE_KEY": KEY}, "AZURE_LANGUAGE_ENDPOINT is not set"),
    ({"AZURE_LANGUAGE_ENDPOINT": "https://h.example", "AZURE_LANGUAGE_KEY": "canary\r\nX-Evil: 1"}, "holds no key"),
    ({"AZURE_LANGUAGE_ENDPOINT": "https://h.example", "AZURE_LANGUAGE_KEY": "canary\u00e9"}, "holds no key"),
])  # fmt: skip
def test_what_is_missing_is_told_before_anything_is_sent(
    tmp_path: Path, environment: dict[str, str], told: str
) -> None:
    with pytest.raises(ModelError, match=told) as raised:
        open_it(tmp_path, environment)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    "address", ["http://h.example", "h.example", "https://169.254.169.254", "https://u:p@h.example"]
)
def test_an_address_that_cannot_be_meant_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="the variable AZURE_LANGUAGE_ENDPOINT"):
        open_it(tmp_path, {"AZURE_LANGUAGE_ENDPOINT": address, "AZURE_LANGUAGE_KEY": KEY})


def test_address_and_variable_of_the_key_can_be_settings(tmp_path: Path) -> None:
    with serve(once(error(401, "401"))) as served:
        model = open_it(tmp_path, {"MY_KEY": KEY}, base_url=served.base_url.removesuffix("/v1"), api_key_env="MY_KEY")
        fault = fault_of(model.connect().detect(["x"], 9.0))
        model.close()
    assert "set the variable MY_KEY" in fault.reason
    assert KEY not in repr(vars(model))
