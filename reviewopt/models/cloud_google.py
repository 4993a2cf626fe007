"""The kind `google-language`: Google Cloud Natural Language's analyzeSentiment, version 1, one document a request.

The service gives no label but a score from -1 to 1 and a magnitude from 0 on, which sums how much feeling the sentences
show. Google's guide to reading them, https://cloud.google.com/natural-language/docs/basics (section on interpreting
sentiment analysis values), takes a score over .25 as its example of clearly positive, and says that around 0 the
magnitude tells texts with little feeling from mixed ones: 0.0 is its example of the one and 4.0 of the other. It names
no bound between them, and asks users to set their own. The 1.0 used here is ours: one sentence of clear praise and one
of clear complaint, each of .5 and more, reach it. Nothing was fitted to labels.

No confidence is told. Credentials are Google's application default ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reviewopt.errors import ModelError, UsageError
from reviewopt.models.balance import COOLDOWN_S
from reviewopt.models.cloud import Cloud
from reviewopt.models.cloud_service import Fault, Found, Service, Unanswered, by_status, missing, named, unreadable
from reviewopt.models.padding import Padding
from reviewopt.models.replies import retry_after_s
from reviewopt.settings import ModelSettings
from reviewopt.task import Task

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud.language_v1 import LanguageServiceClient

API: Final = "v1"
CLEAR_SCORE: Final = 0.25
MIXED_MAGNITUDE: Final = 1.0
_WHO: Final = "Google Cloud Natural Language"
_LOGIN: Final = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
_KEYS: Final = f"{_LOGIN}; the project needs billing and `gcloud services enable language.googleapis.com`"
_PLACE: Final = "`gcloud services enable language.googleapis.com` in the project of the credentials"


def open_google(
    name: str,
    settings: ModelSettings,
    task: Task,
    *,
    threads: int,  # noqa: ARG001 - the SDK has no bound to set
    memory: Path,  # noqa: ARG001 - every kind is opened alike; there is no form to remember
    environment: Mapping[str, str],  # noqa: ARG001 - the SDK finds the credentials itself
    cooldown_s: float = COOLDOWN_S,  # noqa: ARG001 - there is one endpoint
    padding: Padding | None = None,  # noqa: ARG001 - only a chat's prompt is worth it
) -> Cloud:
    """Open Google Cloud Natural Language; the SDK is loaded when it is connected.

    Raises:
        UsageError: settings that it cannot have.
        ModelError: a task that it cannot answer.
    """
    if settings.base_url:
        raise UsageError(f"{name}: the kind {settings.kind} has an address of its own; remove base_url")

    def service() -> Service:
        return _connected(name, settings)

    decisive = {"api": API, "clear_score": f"{CLEAR_SCORE}", "mixed_magnitude": f"{MIXED_MAGNITUDE}"}
    return Cloud(name, settings, task, service=service, decisive=decisive)


class NaturalLanguage:
    """Google Cloud Natural Language over a client of its SDK's."""

    def __init__(self, client: LanguageServiceClient, *, language: str) -> None:
        self._client, self._language = client, language

    def detect(self, texts: Sequence[str], deadline_s: float) -> Sequence[Found | Unanswered] | Fault:
        """Ask once about the one document of a request."""
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.cloud import language_v1
        from google.protobuf.json_format import Error as JsonError

        (text,) = texts
        document = language_v1.Document(
            content=text, type_=language_v1.Document.Type.PLAIN_TEXT, language=self._language
        )
        try:
            reply = self._client.analyze_sentiment(
                request=language_v1.AnalyzeSentimentRequest(document=document),
                retry=None,  # the pool asks again, and pays for it
                timeout=deadline_s,
            )
        except GoogleAPICallError as error:
            return _refused(error)
        except GoogleAuthError as error:
            is_passing = error.retryable or isinstance(error, TransportError)
            return Fault(outcome="unavailable" if is_passing else "hopeless", reason=f"{named(error)}: {_LOGIN}")
        except OSError as error:  # all of the HTTP library's are
            return _failed(error)
        except (JsonError, ValueError, TypeError) as error:
            return unreadable(_WHO, error)
        if "document_sentiment" not in reply:  # its numbers would read as zeros
            return [Unanswered("")]
        return [Found(label_of(reply.document_sentiment.score, reply.document_sentiment.magnitude))]

    def close(self) -> None:
        """Give up idle connections."""
        self._client.transport.close()  # type: ignore[no-untyped-call]  # the SDK gives it no types


def label_of(score: float, magnitude: float) -> str:
    """Return the label of a score and a magnitude, as the head of this module says."""
    if abs(score) > CLEAR_SCORE:
        return "positive" if score > 0 else "negative"
    return "mixed" if magnitude >= MIXED_MAGNITUDE else "neutral"


def _connected(name: str, settings: ModelSettings) -> NaturalLanguage:
    """Load the SDK and look for credentials.

    Over HTTP and not gRPC: a refused login is told as such, and proxies of the environment are used.

    Raises:
        ModelError: no SDK, or no credentials.
    """
    try:
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import language_v1
    except ImportError as error:
        raise missing(name, "google") from error
    try:
        client = language_v1.LanguageServiceClient(transport="rest")
    except (GoogleAuthError, ValueError, OSError) as error:
        raise ModelError(f"{name} needs credentials ({named(error)}): {_LOGIN}") from error
    return NaturalLanguage(client, language=settings.language)


def _refused(error: GoogleAPICallError) -> Fault:
    status, reason = int(error.code or 500), error.reason or ""
    if reason == "API_KEY_INVALID":
        status = 401
    headers: Mapping[str, str] = getattr(error.response, "headers", None) or {}
    wait_s = retry_after_s({name.lower(): value for name, value in headers.items()})
    return by_status(status, reason, who=_WHO, keys=_KEYS, place=_PLACE, retry_after_s=wait_s)


def _failed(error: OSError) -> Fault:
    """Judge what went wrong on the way: only what certainly never went out was not billed."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

    cause: Any = error.args[0] if error.args else None
    cause = getattr(cause, "reason", cause)
    is_unsent = isinstance(cause, ConnectTimeoutError | NewConnectionError | ProxyError)
    return Fault(outcome="unavailable" if is_unsent else "no_reply", reason=f"{_WHO}: {named(error)}")
