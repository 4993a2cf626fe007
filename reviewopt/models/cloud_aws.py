"""The kind `aws-comprehend`: Amazon Comprehend's BatchDetectSentiment, 25 documents a request.

A document of more than 5,000 bytes is cut there, at the end of a character, and counts as cut. Credentials and region
are found as the AWS command line finds them: variables, files, profiles, roles.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from reviewopt.errors import ModelError
from reviewopt.models.address import parse
from reviewopt.models.balance import COOLDOWN_S
from reviewopt.models.cloud import Cloud
from reviewopt.models.cloud_service import Fault, Found, Service, Unanswered, by_status, missing, named, unreadable
from reviewopt.models.padding import Padding
from reviewopt.models.replies import retry_after_s
from reviewopt.settings import ModelSettings
from reviewopt.task import Task

# The version of the API whose model of requests and replies the SDK has.
API: Final = "2017-11-27"
_WHO: Final = "Amazon Comprehend"
_CONNECT_S: Final = 10.0
_KEYS: Final = (
    "run `aws sts get-caller-identity` to see whose they are, and allow them comprehend:BatchDetectSentiment; they "
    "come from AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `aws configure`"
)
_REGION: Final = "set AWS_DEFAULT_REGION to a region that has Amazon Comprehend, such as us-east-1"
# Codes beside the statuses: AWS says most of this with a plain 400.
_THROTTLED: Final = frozenset(
    {"ThrottlingException", "Throttling", "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded",
     "RequestThrottled", "RequestThrottledException", "SlowDown", "LimitExceededException"}
)  # fmt: skip
_REFUSED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature",
     "InvalidClientTokenId", "InvalidSignatureException", "MissingAuthenticationToken",
     "MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired", "SignatureDoesNotMatch",
     "SubscriptionRequiredException", "UnrecognizedClientException"}
)  # fmt: skip

# A client whose calls end after so many seconds.
ClientOf = Callable[[float], Any]


def open_aws(
    name: str,
    settings: ModelSettings,
    task: Task,
    *,
    threads: int,
    memory: Path,  # noqa: ARG001 - every kind is opened alike; there is no form to remember
    environment: Mapping[str, str],
    cooldown_s: float = COOLDOWN_S,  # noqa: ARG001 - there is one endpoint
    padding: Padding | None = None,  # noqa: ARG001 - only a chat's prompt is worth it
) -> Cloud:
    """Open Amazon Comprehend; the SDK is loaded when it is connected.

    Raises:
        UsageError: settings that it cannot have.
        ModelError: a task that it cannot answer.
    """
    if settings.base_url:
        parse(settings.base_url, where=f"the base_url of {name}", allow_address=settings.allow_address)

    def service() -> Service:
        return _connected(name, settings, threads)

    return Cloud(
        name, settings, task, service=service, decisive={"api": API, "endpoint": _endpoint(settings, environment)}
    )


def _endpoint(settings: ModelSettings, environment: Mapping[str, str]) -> str:
    """Return the address that the user puts in the place of the vendor's: answers from there are another service's."""
    named = (environment.get(name) for name in ("AWS_ENDPOINT_URL_COMPREHEND", "AWS_ENDPOINT_URL"))
    return settings.base_url or next(filter(None, named), "")


class Comprehend:
    """Amazon Comprehend over a client of boto3's, one for each deadline: its clients have their timeouts for life."""

    def __init__(self, client_of: ClientOf, *, language: str, is_region_known: bool = True) -> None:
        self._client_of, self._language, self._is_region_known = client_of, language, is_region_known
        self._clients: dict[float, Any] = {}
        self._lock = threading.Lock()  # to make clients at once is not safe

    def detect(self, texts: Sequence[str], deadline_s: float) -> Sequence[Found | Unanswered] | Fault:
        """Ask once about these documents."""
        from botocore import exceptions

        try:
            reply = self._client(deadline_s).batch_detect_sentiment(TextList=list(texts), LanguageCode=self._language)
        except exceptions.ClientError as error:
            return self._refused(error.response)
        except exceptions.BotoCoreError as error:
            return self._failed(error)
        try:
            return _read(reply, len(texts))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            return unreadable(_WHO, error)

    def close(self) -> None:
        """Give up idle connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()

    def _client(self, deadline_s: float) -> Any:
        with self._lock:
            if deadline_s not in self._clients:
                self._clients[deadline_s] = self._client_of(deadline_s)
            return self._clients[deadline_s]

    def _refused(self, response: Mapping[str, Any]) -> Fault:
        code, about = str(response.get("Error", {}).get("Code", "")), response.get("ResponseMetadata", {})
        headers = {name.lower(): value for name, value in about.get("HTTPHeaders", {}).items()}
        if code == "UnsupportedLanguageException" or (code == "ValidationException" and self._language != "en"):
            return Fault(outcome="hopeless", reason=f"{_WHO} does not take language = {self._language!r} ({code})")
        status = 429 if code in _THROTTLED else 403 if code in _REFUSED else int(about.get("HTTPStatusCode") or 500)
        return by_status(status, code, who=_WHO, keys=_KEYS, place=_REGION, retry_after_s=retry_after_s(headers))

    def _failed(self, error: Exception) -> Fault:
        """Judge what went wrong on this side, or on the way: what certainly never went out was not billed."""
        from botocore import exceptions

        what = f"{_WHO}: {named(error)}"
        unsent = (exceptions.ConnectTimeoutError, exceptions.EndpointConnectionError, exceptions.ProxyConnectionError,
                  exceptions.SSLError)  # fmt: skip
        if isinstance(error, unsent):
            if self._is_region_known:
                return Fault(outcome="unavailable", reason=what)
            return Fault(outcome="hopeless", reason=f"{what}: {_REGION}")
        if isinstance(error, exceptions.HTTPClientError | exceptions.IncompleteReadError):
            return Fault(outcome="no_reply", reason=what)
        if isinstance(error, exceptions.ParamValidationError):
            return Fault(outcome="spoiled", reason=what)
        place = isinstance(error, exceptions.NoRegionError | exceptions.InvalidRegionError)
        return Fault(outcome="hopeless", reason=f"{what}: {_REGION if place else _KEYS}")


def _connected(name: str, settings: ModelSettings, threads: int) -> Comprehend:
    """Load boto3 and look for region and credentials.

    Raises:
        ModelError: no SDK, region or credentials.
    """
    try:
        import boto3
        from botocore import exceptions
        from botocore.config import Config
    except ImportError as error:
        raise missing(name, "aws") from error
    try:
        session = boto3.session.Session()
        region, has_keys = session.region_name, session.get_credentials() is not None
    except exceptions.BotoCoreError as error:
        raise ModelError(f"{name}: the AWS configuration cannot be used ({named(error)}); {_KEYS}") from error
    if not region:
        raise ModelError(f"{name} needs a region: {_REGION}")
    if not has_keys:
        raise ModelError(
            f"{name} needs credentials: run `aws configure` or `aws sso login`, or set AWS_PROFILE, or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )

    def client_of(deadline_s: float) -> Any:
        connect_s = min(_CONNECT_S, deadline_s / 2)
        config = Config(
            connect_timeout=connect_s,
            read_timeout=deadline_s - connect_s,
            max_pool_connections=threads,
            retries={"total_max_attempts": 1, "mode": "standard"},  # the pool asks again, and pays for it
        )
        return session.client("comprehend", config=config, endpoint_url=settings.base_url or None)

    is_known = bool(settings.base_url) or region in session.get_available_regions("comprehend")
    return Comprehend(client_of, language=settings.language, is_region_known=is_known)


def _read(reply: Mapping[str, Any], n: int) -> list[Found | Unanswered]:
    """Put results and errors into the order of the documents; one that has neither is an error without a code."""
    found: list[Found | Unanswered] = [Unanswered("")] * n
    for one in reply["ResultList"]:
        label = one["Sentiment"].lower()
        found[_place(one, n)] = Found(label, float(one["SentimentScore"][label.capitalize()]))
    for one in reply["ErrorList"]:
        found[_place(one, n)] = Unanswered(str(one["ErrorCode"]))
    return found


def _place(one: Mapping[str, Any], n: int) -> int:
    at = int(one["Index"])
    if not 0 <= at < n:
        raise IndexError(at)
    return at
