"""Amazon Comprehend over boto3's own client: its model of the service checks what we send and what comes back."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber
from served import Asked, http, serve

from reviewopt.errors import ModelError, UsageError
from reviewopt.models import cloud, kinds
from reviewopt.models.cloud_aws import Comprehend
from reviewopt.models.cloud_service import Fault, Found, Unanswered
from reviewopt.settings import ModelSettings

KEY_ID, SECRET = "AKIACANARY", "canary-secret-0123456789"
SCORES = {"Positive": 0.75, "Negative": 0.125, "Neutral": 0.0625, "Mixed": 0.0625}
GOOD = {"ResultList": [{"Index": 0, "Sentiment": "POSITIVE", "SentimentScore": SCORES}], "ErrorList": []}


@pytest.fixture(scope="module")
def session() -> Any:
    """One session for all: reading the service's model takes most of a test."""
    return boto3.session.Session(aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET, region_name="us-east-1")


@contextmanager
def stubbed(session: Any, language: str = "en") -> Iterator[tuple[Stubber, Comprehend]]:
    client = session.client("comprehend")
    with Stubber(client) as stub:
        yield stub, Comprehend(lambda _: client, language=language)


def fault_of(said: Any) -> Fault:
    assert isinstance(said, Fault)
    assert KEY_ID not in said.reason
    assert SECRET not in said.reason
    return said


def test_a_request_is_what_the_service_takes_and_its_scores_are_confidence(session: Any) -> None:
    texts = ["good", "bad", "so so", "good but dear"]
    results = [
        {"Index": at, "Sentiment": label.upper(), "SentimentScore": SCORES | {label.capitalize(): 0.5}}
        for at, label in enumerate(("positive", "negative", "neutral", "mixed"))
    ]
    with stubbed(session, "fr") as (stub, service):
        stub.add_response(
            "batch_detect_sentiment",
            {"ResultList": results, "ErrorList": []},
            {"TextList": texts, "LanguageCode": "fr"},
        )
        assert service.detect(texts, 9.0) == [
            Found("positive", 0.5), Found("negative", 0.5), Found("neutral", 0.5), Found("mixed", 0.5),
        ]  # fmt: skip
        stub.assert_no_pending_responses()


def test_errors_stand_where_their_documents_do_and_one_that_is_left_out_too(session: Any) -> None:
    error = {"Index": 1, "ErrorCode": "TEXT_SIZE_LIMIT_EXCEEDED", "ErrorMessage": "canary text"}
    with stubbed(session) as (stub, service):
        stub.add_response("batch_detect_sentiment", {**GOOD, "ErrorList": [error]})
        said = service.detect(["a", "b", "c"], 9.0)
    assert said == [Found("positive", 0.75), Unanswered("TEXT_SIZE_LIMIT_EXCEEDED"), Unanswered("")]


@pytest.mark.parametrize(("code", "status", "outcome", "told"), [
    ("ThrottlingException", 400, "rate_limited", "asked to wait"),
    ("TooManyRequestsException", 400, "rate_limited", "asked to wait"),
    ("Anything", 429, "rate_limited", "asked to wait"),
    ("UnrecognizedClientException", 400, "hopeless", "AWS_ACCESS_KEY_ID"),
    ("AccessDeniedException", 400, "hopeless", "comprehend:BatchDetectSentiment"),
    ("ExpiredTokenException", 400, "hopeless", "AWS_PROFILE"),
    ("UnsupportedLanguageException", 400, "hopeless", "language = 'en'"),
    ("InternalServerException", 500, "unavailable", "HTTP 500"),
    ("ServiceUnavailableException", 503, "unavailable", "HTTP 503"),
    ("InvalidRequestException", 400, "spoiled", "InvalidRequestException"),
    ("TextSizeLimitExceededException", 400, "spoiled", "TextSizeLimitExceededException"),
])  # fmt: skip
def test_an_error_says_what_becomes_of_the_request(
    session: Any, code: str, status: int, outcome: str, told: str
) -> None:
    with stubbed(session) as (stub, service):
        stub.add_client_error("batch_detect_sentiment", code, f"for {KEY_ID}: canary", status)
        fault = fault_of(service.detect(["x"], 9.0))
    assert (fault.outcome, fault.is_charged) == (outcome, False)
    assert told in fault.reason
    assert "canary" not in fault.reason


def test_how_long_to_wait_is_told(session: Any) -> None:
    headers = {"HTTPHeaders": {"Retry-After": "7"}}
    with stubbed(session) as (stub, service):
        stub.add_client_error("batch_detect_sentiment", "ThrottlingException", "", 400, response_meta=headers)
        assert fault_of(service.detect(["x"], 9.0)).retry_after_s == 7


@pytest.mark.parametrize("reply", [
    {"ResultList": [{"Index": -1, "Sentiment": "POSITIVE", "SentimentScore": SCORES}], "ErrorList": []},
    {"ResultList": [{"Index": 0, "Sentiment": "POSITIVE"}], "ErrorList": []},
    {"ResultList": [{"Sentiment": "POSITIVE", "SentimentScore": SCORES}], "ErrorList": []},
])  # fmt: skip
def test_a_reply_that_lacks_what_it_must_hold_was_paid_for(session: Any, reply: dict[str, Any]) -> None:
    with stubbed(session) as (stub, service):
        stub.add_response("batch_detect_sentiment", reply)
        fault = fault_of(service.detect(["x"], 9.0))
    assert (fault.outcome, fault.is_charged) == ("spoiled", True)


def test_a_client_is_made_once_for_a_deadline_and_closed(session: Any) -> None:
    made: list[float] = []

    def client_of(deadline_s: float) -> Any:
        made.append(deadline_s)
        return session.client(
            "comprehend", endpoint_url="http://localhost:1", config=Config(retries={"total_max_attempts": 1})
        )

    service = Comprehend(client_of, language="en")
    for deadline_s in (9.0, 9.0, 5.0):
        assert fault_of(service.detect(["x"], deadline_s)).outcome == "unavailable"
    service.close()
    assert made == [9.0, 5.0]


def test_where_nothing_answers_in_a_region_that_is_not_known_it_is_the_region(session: Any) -> None:
    client = session.client(
        "comprehend", endpoint_url="http://localhost:1", config=Config(retries={"total_max_attempts": 1})
    )
    fault = fault_of(Comprehend(lambda _: client, language="en", is_region_known=False).detect(["x"], 9.0))
    assert fault.outcome == "hopeless"
    assert "AWS_DEFAULT_REGION" in fault.reason


# Opened as a run does


def opened(monkeypatch: pytest.MonkeyPatch, folder: Path, base_url: str = "", **environment: str) -> cloud.Cloud:
    """Open with only what is given here of the AWS configuration."""
    given = {
        "AWS_CONFIG_FILE": str(folder / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        "AWS_EC2_METADATA_DISABLED": "true", **environment,
    }  # fmt: skip
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = ModelSettings(kind="aws-comprehend", model="BatchDetectSentiment", base_url=base_url)
    model = kinds.open_model("aws", settings, cloud.task(), threads=2, memory=folder / "m", environment={})
    assert isinstance(model, cloud.Cloud)
    return model


KEYS = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}


@pytest.mark.parametrize(("environment", "told"), [
    ({}, "needs a region: set AWS_DEFAULT_REGION"),
    ({"AWS_DEFAULT_REGION": "us-east-1"}, "needs credentials: run `aws configure`"),
    ({**KEYS, "AWS_PROFILE": "nobody"}, "ProfileNotFound"),
    ({**KEYS, "AWS_SECRET_ACCESS_KEY": ""}, "PartialCredentialsError"),
])  # fmt: skip
def test_what_is_missing_is_told_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], told: str
) -> None:
    with pytest.raises(ModelError, match=told) as raised:
        opened(monkeypatch, tmp_path, **environment)
    assert KEY_ID not in str(raised.value)


def test_a_request_goes_out_once_signed_and_a_dropped_reply_may_be_charged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from test_cloud import ask

    sent: list[dict[str, Any]] = []

    def answer(asked: Asked, sock: socket.socket) -> None:
        sent.append(json.loads(asked.body))
        if len(sent) == 1:
            sock.sendall(http(json.dumps(GOOD).encode(), content_type="application/x-amz-json-1.1"))
        elif len(sent) == 2:
            error = json.dumps({"__type": "InternalServerException", "message": "canary"}).encode()
            sock.sendall(http(error, 500, content_type="application/x-amz-json-1.1"))
        else:
            sock.shutdown(socket.SHUT_RDWR)

    with serve(answer) as served:
        model = opened(monkeypatch, tmp_path, served.base_url.removesuffix("/v1"), **KEYS)
        replies = [ask(model, ["good"]) for _ in range(3)]
        model.close()
    assert sent == [{"TextList": ["good"], "LanguageCode": "en"}] * 3  # none was sent again by the SDK
    assert served.asked[0].headers["x-amz-target"].endswith("BatchDetectSentiment")
    assert SECRET not in str(served.asked)
    assert replies[0].values == (("r01", "positive"),)
    assert replies[0].confidence == {"r01": 0.75}
    assert [(one.outcome, one.is_charged) for one in replies] == [
        ("answered", True), ("unavailable", False), ("no_reply", True),
    ]  # fmt: skip


def test_a_reply_that_does_not_come_in_time_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def answer(_: Asked, sock: socket.socket) -> None:
        served.done.wait(2)
        sock.sendall(http(json.dumps(GOOD).encode(), content_type="application/x-amz-json-1.1"))

    with serve(answer) as served:
        model = opened(monkeypatch, tmp_path, served.base_url, **KEYS)
        said = model.connect().detect(["good"], 0.2)
    assert fault_of(said).outcome == "no_reply"


def test_an_address_that_cannot_be_meant_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the base_url of aws"):
        opened(monkeypatch, tmp_path, "h.example", **KEYS)


def test_answers_from_an_address_of_the_users_own_are_another_services(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    task, environment = cloud.task(), {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}

    def settings(**environment: str) -> dict[str, str]:
        of_aws = cloud.settings_of("aws")
        model = kinds.open_model(
            "aws", of_aws, task, threads=1, memory=tmp_path / "m", environment=environment, sends=False
        )
        return dict(model.settings)

    assert settings() != settings(**environment)
    assert settings(**environment)["endpoint"] == "http://127.0.0.1:9"
