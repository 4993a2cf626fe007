"""Google Cloud Natural Language over the client and the HTTP transport of its own SDK, and a server of the test's."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.auth import credentials, exceptions
from google.cloud.language_v1 import LanguageServiceClient
from google.cloud.language_v1.services.language_service.transports import LanguageServiceRestTransport
from hypothesis import given
from hypothesis import strategies as st
from served import Answer, Asked, Served, http, serve

from reviewopt.errors import ModelError
from reviewopt.models import cloud, kinds
from reviewopt.models.cloud_google import NaturalLanguage, label_of
from reviewopt.models.cloud_service import Fault, Found, Unanswered

# The SDK gives these no types.
ANONYMOUS: Any = credentials.AnonymousCredentials
ENDED: Any = exceptions.RefreshError
UNREACHED: Any = exceptions.TransportError
GOOD = {"documentSentiment": {"magnitude": 1.9, "score": 0.9}, "language": "en"}


@contextmanager
def served_by(answer: Answer | bytes, login: Any = None) -> Iterator[tuple[Served, NaturalLanguage]]:
    with serve(answer) as served:
        transport = LanguageServiceRestTransport(
            host=f"localhost:{served.port}", url_scheme="http", credentials=login or ANONYMOUS()
        )
        service = NaturalLanguage(LanguageServiceClient(transport=transport), language="en")
        try:
            yield served, service
        finally:
            service.close()


def error(status: int, reason: str = "", **headers: str) -> bytes:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}]
    body = {"error": {"code": status, "message": "canary words", "status": "X", "details": details if reason else []}}
    return http(json.dumps(body).encode(), status, content_type="application/json", **headers)


def fault_of(said: Any) -> Fault:
    assert isinstance(said, Fault)
    assert "canary" not in said.reason
    return said


# What a score and a magnitude mean


@pytest.mark.parametrize(("score", "magnitude", "label"), [
    (0.8, 3.0, "positive"), (-0.6, 4.0, "negative"), (0.1, 0.0, "neutral"), (0.0, 4.0, "mixed"),  # Google's own four
    (0.25, 0.5, "neutral"), (0.26, 0.3, "positive"), (-0.25, 1.0, "mixed"), (-0.26, 1.0, "negative"),
    (0.2, 0.99, "neutral"),
])  # fmt: skip
def test_clear_scores_decide_and_around_zero_the_magnitude_does(score: float, magnitude: float, label: str) -> None:
    assert label_of(score, magnitude) == label


@given(st.floats(-1, 1), st.floats(0, 100))
def test_praise_and_complaint_mirror_each_other(score: float, magnitude: float) -> None:
    swapped = {"positive": "negative", "negative": "positive"}
    label = label_of(score, magnitude)
    assert label in cloud.LABELS
    assert label_of(-score, magnitude) == swapped.get(label, label)


# Over the SDK


def test_a_document_goes_out_as_it_is_and_a_label_comes_back() -> None:
    with served_by(http(json.dumps(GOOD).encode(), content_type="application/json")) as (served, service):
        said = service.detect(["tr\u00e8s bon"], 9.0)
    assert not isinstance(said, Fault)
    (one,) = said
    assert isinstance(one, Found)
    assert (one.label, math.isnan(one.confidence)) == ("positive", True)
    (first,) = served.asked
    assert first.line.startswith("POST /v1/documents:analyzeSentiment")
    document = json.loads(first.body)["document"]
    assert (document["content"], document["language"]) == ("tr\u00e8s bon", "en")
    assert document["type"] in {1, "PLAIN_TEXT"}


@pytest.mark.parametrize(("status", "reason", "outcome", "told"), [
    (429, "RATE_LIMIT_EXCEEDED", "rate_limited", "asked to wait"),
    (401, "", "hopeless", "gcloud auth application-default login"),
    (403, "SERVICE_DISABLED", "hopeless", "gcloud services enable language.googleapis.com"),
    (400, "API_KEY_INVALID", "hopeless", "API_KEY_INVALID"),
    (404, "", "hopeless", "HTTP 404"),
    (400, "", "spoiled", "HTTP 400"),
    (500, "", "unavailable", "HTTP 500"),
    (503, "", "unavailable", "HTTP 503"),
    (504, "", "unavailable", "HTTP 504"),
])  # fmt: skip
def test_an_error_says_what_becomes_of_the_request(status: int, reason: str, outcome: str, told: str) -> None:
    with served_by(error(status, reason, retry_after="4")) as (served, service):
        fault = fault_of(service.detect(["x"], 9.0))
    assert (fault.outcome, fault.is_charged) == (outcome, False)
    assert told in fault.reason
    assert fault.retry_after_s == (4 if outcome in {"rate_limited", "unavailable"} else None)
    assert len(served.asked) == (1 if status != 401 else len(served.asked))  # the SDK sends nothing again


def test_a_reply_that_cannot_be_read_was_paid_for() -> None:
    for body in (b"not JSON", b'{"documentSentiment": 3}'):
        with served_by(http(body, content_type="application/json")) as (_, service):
            fault = fault_of(service.detect(["x"], 9.0))
        assert (fault.outcome, fault.is_charged) == ("spoiled", True)


def test_a_reply_without_a_sentiment_is_not_taken_for_neutral() -> None:
    with served_by(http(b'{"language": "en"}', content_type="application/json")) as (_, service):
        assert service.detect(["x"], 9.0) == [Unanswered("")]


def test_what_was_sent_and_not_answered_may_be_charged_and_what_was_not_sent_is_not() -> None:
    def drop(_asked: Asked, sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_RDWR)

    def wait(_: Asked, sock: socket.socket) -> None:
        served.done.wait(2)
        sock.sendall(http(json.dumps(GOOD).encode(), content_type="application/json"))

    with served_by(drop) as (_, service):
        assert fault_of(service.detect(["x"], 9.0)).outcome == "no_reply"
    with served_by(wait) as (served, service):
        assert fault_of(service.detect(["x"], 0.2)).outcome == "no_reply"
    with served_by(drop) as (_, gone):
        pass
    assert fault_of(gone.detect(["x"], 9.0)).outcome == "unavailable"


@pytest.mark.parametrize(("raised", "outcome"), [
    (ENDED("canary"), "hopeless"), (UNREACHED("canary"), "unavailable"),
])  # fmt: skip
def test_a_login_that_has_ended_is_hopeless_and_one_that_nobody_answers_is_not(raised: Any, outcome: str) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise raised

    login = ANONYMOUS()
    login.before_request = refuse
    with served_by(b"", login) as (served, service):
        fault = fault_of(service.detect(["x"], 9.0))
    assert (fault.outcome, served.asked) == (outcome, [])
    assert "gcloud auth application-default login" in fault.reason


def test_missing_credentials_are_told_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(ModelError, match=r"google needs credentials .*: run `gcloud auth application-default login`"):
        kinds.open_model(
            "google", cloud.settings_of("google"), cloud.task(), threads=2, memory=tmp_path / "m", environment={}
        )
