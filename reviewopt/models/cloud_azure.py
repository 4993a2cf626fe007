"""The kind `azure-language`: Azure AI Language's sentiment analysis, 10 documents a request.

A document of more than 5,120 characters is cut there and counts as cut. Azure counts text elements, of which a text
never has more than characters. Its own log of the texts, kept for 48 hours otherwise, is turned off. `mixed` comes
without a confidence: the service gives one for the three other labels only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reviewopt.errors import ModelError
from reviewopt.models.address import parse
from reviewopt.models.balance import COOLDOWN_S
from reviewopt.models.cloud import Cloud
from reviewopt.models.cloud_service import Fault, Found, Service, Unanswered, by_status, missing, named, unreadable
from reviewopt.models.padding import Padding
from reviewopt.models.replies import retry_after_s
from reviewopt.settings import ModelSettings
from reviewopt.task import Task

if TYPE_CHECKING:
    from azure.ai.textanalytics import AnalyzeSentimentResult, DocumentError, TextAnalyticsClient
    from azure.core.exceptions import HttpResponseError

API: Final = "2023-04-01"
ENDPOINT_VARIABLE: Final = "AZURE_LANGUAGE_ENDPOINT"
KEY_VARIABLE: Final = "AZURE_LANGUAGE_KEY"
_WHO: Final = "Azure AI Language"
_CONNECT_S: Final = 10.0
_NO_QUOTA: Final = "Out of call volume quota"
_LANGUAGE_CODES: Final = frozenset({"UnsupportedLanguageCode", "InvalidLanguageCode"})


def open_azure(
    name: str,
    settings: ModelSettings,
    task: Task,
    *,
    threads: int,  # noqa: ARG001 - the SDK has no bound to set
    memory: Path,  # noqa: ARG001 - every kind is opened alike; there is no form to remember
    environment: Mapping[str, str],
    cooldown_s: float = COOLDOWN_S,  # noqa: ARG001 - there is one endpoint
    padding: Padding | None = None,  # noqa: ARG001 - only a chat's prompt is worth it
) -> Cloud:
    """Open Azure AI Language; the SDK is loaded when it is connected.

    Raises:
        UsageError: settings that it cannot have.
        ModelError: a task that it cannot answer.
    """
    if settings.base_url:
        parse(settings.base_url, where=f"the base_url of {name}", allow_address=settings.allow_address)

    def service() -> Service:
        return _connected(name, settings, environment)

    return Cloud(name, settings, task, service=service, decisive={"api": API})


class TextAnalytics:
    """Azure AI Language over a client of its SDK's; `key_variable` is named where the key is refused."""

    def __init__(self, client: TextAnalyticsClient, *, language: str, key_variable: str = KEY_VARIABLE) -> None:
        self._client, self._language = client, language
        self._keys = f"set the variable {key_variable} to a key of the resource in {ENDPOINT_VARIABLE}"

    def detect(self, texts: Sequence[str], deadline_s: float) -> Sequence[Found | Unanswered] | Fault:
        """Ask once about these documents."""
        from azure.core.exceptions import AzureError, HttpResponseError

        connect_s = min(_CONNECT_S, deadline_s / 2)
        try:
            said = self._client.analyze_sentiment(
                list(texts),
                language=self._language,
                disable_service_logs=True,
                connection_timeout=connect_s,
                read_timeout=deadline_s - connect_s,
            )
            found = [_result(one) for one in said]
        except HttpResponseError as error:
            return self._refused(error)
        except AzureError as error:
            return _failed(error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return unreadable(_WHO, error)
        codes = {one.code for one in found if isinstance(one, Unanswered)} & _LANGUAGE_CODES
        if codes:
            return Fault(
                outcome="hopeless", reason=f"{_WHO} does not take language = {self._language!r} ({min(codes)})"
            )
        return found

    def close(self) -> None:
        """Give up idle connections."""
        self._client.close()

    def _refused(self, error: HttpResponseError) -> Fault:
        if error.status_code is None or error.response is None or 200 <= error.status_code < 300:
            return unreadable(_WHO, error)
        if _NO_QUOTA in f"{error.message} {error.__cause__}":
            return Fault(outcome="hopeless", reason=f"{_WHO}: the month's free quota of the resource is used up")
        code = str(getattr(error.error, "code", None) or "")
        headers = {name.lower(): value for name, value in getattr(error.response, "headers", {}).items()}
        return by_status(
            error.status_code,
            code,
            who=_WHO,
            keys=self._keys,
            place=f"set the variable {ENDPOINT_VARIABLE} to the address of a Language resource",
            retry_after_s=retry_after_s(headers),
        )


def _connected(name: str, settings: ModelSettings, environment: Mapping[str, str]) -> TextAnalytics:
    """Load the SDK, and take address and key from the environment.

    Raises:
        ModelError: no SDK, address or key.
        UsageError: an address that cannot be meant.
    """
    try:
        from azure.ai.textanalytics import TextAnalyticsClient
        from azure.core.credentials import AzureKeyCredential
    except ImportError as error:
        raise missing(name, "azure") from error
    variable = settings.api_key_env or KEY_VARIABLE
    base_url, key = settings.base_url or environment.get(ENDPOINT_VARIABLE, "").strip(), environment.get(variable, "")
    for held, holder in ((base_url, ENDPOINT_VARIABLE), (key.strip(), variable)):
        if not held:
            raise ModelError(
                f"{name} needs a Language resource: set {ENDPOINT_VARIABLE} to its address and {variable} to one of "
                f"its keys; {holder} is not set"
            )
    if not (key.isascii() and key.strip().isprintable()):
        raise ModelError(f"the variable {variable} holds no key: it has signs in it that no key has; set it again")
    address = parse(base_url, where=f"the variable {ENDPOINT_VARIABLE}", allow_address=settings.allow_address)
    client = TextAnalyticsClient(
        address.endpoint,
        AzureKeyCredential(key.strip()),
        api_version=API,
        retry_total=0,  # the pool asks again, and pays for it
        permit_redirects=False,  # the key goes where it belongs
    )
    return TextAnalytics(client, language=settings.language, key_variable=variable)


def _result(one: AnalyzeSentimentResult | DocumentError) -> Found | Unanswered:
    if one.is_error:
        return Unanswered(str(one.error.code))
    label = one.sentiment.lower()
    return Found(label, float(getattr(one.confidence_scores, label, math.nan)))


def _failed(error: Exception) -> Fault:
    """Judge what went wrong on the way: only what certainly never went out was not billed."""
    from azure.core.exceptions import ServiceRequestError

    is_unsent = isinstance(error, ServiceRequestError)
    return Fault(outcome="unavailable" if is_unsent else "no_reply", reason=f"{_WHO}: {named(error)}")
