"""What cloud services for sentiment share as kinds of model: whole documents go in, each gets one of four labels.

A service takes no instructions and bills units of characters instead of tokens; its terms (unit, minimum, documents a
request, longest document) are those of its entry in the price list. A request's documents do not influence each other.
"""

from __future__ import annotations

import difflib
import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal

import msgspec
import numpy as np

from reviewopt import pricelist, services
from reviewopt.config import load_task
from reviewopt.data import Outcome, Question, Reply, Request, Traffic, Usage
from reviewopt.errors import ModelError, UsageError
from reviewopt.models.chat_prompt import review_ids
from reviewopt.models.cloud_service import Fault, Found, Service, Unanswered
from reviewopt.models.protocol import Limits
from reviewopt.models.reasons import CODE
from reviewopt.pricelist import ServicePrice
from reviewopt.prices import SERVICES
from reviewopt.settings import ModelSettings
from reviewopt.task import Choice, Field, Task

LABELS: Final = ("negative", "neutral", "positive", "mixed")
PREFIX: Final = "cloud:"
_NAME: Final = "cloud-sentiment"
_SETTINGS: Final[dict[str, ModelSettings]] = {
    "aws": ModelSettings(kind="aws-comprehend", model="BatchDetectSentiment"),
    "google": ModelSettings(kind="google-language", model="AnalyzeSentiment"),
    "azure": ModelSettings(kind="azure-language", model="AnalyzeSentiment", api_key_env="AZURE_LANGUAGE_KEY"),
}
# Units of all documents of a request; what really bounds it is how many documents it takes, and how long they may be.
_NO_BOUND: Final = 1 << 20
_MOST_CODES: Final = 3


class Cloud:
    """Asks one cloud service for the sentiment of whole documents.

    `ask` is called from many threads at once; everything else from one. The service's SDK is loaded and its credentials
    are looked for by `connect`, so that a plan needs neither.
    """

    place: Literal["remote"] = "remote"
    is_settled = True
    overhead_bytes = 2
    output_tokens_a_review = 0.0
    is_simulated: bool
    limits: Limits
    settings: Mapping[str, str]

    def __init__(
        self,
        name: str,
        settings: ModelSettings,
        task: Task,
        *,
        service: Callable[[], Service],
        decisive: Mapping[str, str],
    ) -> None:
        """Take what opens the service, and all that decides its answers beside what every kind has.

        Raises:
            UsageError: the settings want what the service has not.
            ModelError: the task is not the one that it answers.
        """
        _check(name, settings, task)
        terms = terms_of(settings)
        self.name = name
        self.model = settings.model
        self.endpoint = terms.name.partition(",")[0]
        self.is_simulated = settings.simulated
        self.prompt_version = f"{settings.kind}-1"
        self.limits = _limits(terms, settings)
        self.settings = {
            "kind": settings.kind,
            "model": settings.model,
            "language": settings.language,
            **{bound: f"{most}" for bound, most in _bounds(terms).items() if most},
            **({"base_url": settings.base_url} if settings.base_url else {}),
            **decisive,
        }
        self._open = service
        self._service: Service | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def connect(self) -> Service:
        """Load the SDK and find the credentials, the first time; nothing is sent to the service yet.

        Raises:
            ModelError: one of both is missing; it says what to do.
            UsageError: a setting that the service cannot have.
        """
        with self._lock:
            if self._service is None:
                self._service = self._open()
            return self._service

    def compose(self, questions: Sequence[Question], shuffle: random.Random) -> Request:
        """Write the request for these questions, in a random order; its body is the texts that are sent."""
        asked = list(questions)
        shuffle.shuffle(asked)
        texts = [question.text for question in asked]
        return Request(
            questions=tuple(asked),
            ids=review_ids(len(asked), "schema", shuffle),
            body=msgspec.json.encode(texts),
            most_output_tokens=0,
            most_input_units=self._n_units(texts),
        )

    def ask(self, request: Request, deadline_s: float) -> Reply:
        """Send a request and read the reply within about `deadline_s` seconds, as the SDK keeps them."""
        if self._is_closed:
            return Reply(outcome="unavailable", seconds=0.0, reason="given up by us")
        try:
            service = self.connect()
        except (ModelError, UsageError) as error:
            return Reply(outcome="hopeless", seconds=0.0, reason=str(error))
        started = time.monotonic()
        texts = [question.text for question in request.questions]
        said = service.detect(texts, deadline_s)
        seconds = time.monotonic() - started
        if isinstance(said, Fault):
            return Reply(
                outcome=said.outcome,
                seconds=seconds,
                is_charged=said.is_charged or said.outcome == "no_reply",
                reason=said.reason,
                retry_after_s=said.retry_after_s,
            )
        # What a service answers with an error counts as billed too: no price page says that it is not.
        return _reply(request, said, seconds, Usage(input=self._n_units(texts)), self.endpoint)

    def settle(self) -> None:
        """Do nothing: the form of the requests is never in doubt."""

    def simplify(self) -> bool:
        """Return False: there is no simpler form."""
        return False

    def traffic(self) -> Traffic:
        """Return zeros: what goes over the wire is the SDK's own."""
        return Traffic()

    def close(self) -> None:
        """Send nothing more; requests under way end by their own deadline, as no SDK can break them off."""
        self._is_closed = True
        if self._service is not None:
            self._service.close()

    def _n_units(self, texts: Sequence[str]) -> int:
        chars = np.fromiter(map(len, texts), np.int64, len(texts))
        return int(services.units(chars, unit=self.limits.billed_characters, least=self.limits.least_units).sum())


def task() -> Task:
    """Return the task that every service answers: the packaged sentiment, with `mixed` as a label of its own."""
    usual = load_task("sentiment")
    (field, *_) = usual.fields
    return msgspec.structs.replace(
        usual,
        name=_NAME,
        fields=(Choice(name=field.name, labels=LABELS),),
        aliases={label: tuple(one for one in found if one not in LABELS) for label, found in usual.aliases.items()},
    )


def is_answerable(field: Field) -> bool:
    """Whether a field is a choice between exactly the labels that the services give."""
    return isinstance(field, Choice) and set(field.labels) == set(LABELS)


def settings_of(provider: str, *, language: str = "en") -> ModelSettings:
    """Return the settings of a service by its provider: aws, google or azure; `language` is the texts' own.

    Raises:
        UsageError: there is no such provider (it suggests the nearest), or no language is called so.
    """
    if provider not in _SETTINGS:
        near = difflib.get_close_matches(provider, list(_SETTINGS), n=1)
        hint = (
            f"did you mean {PREFIX}{near[0]}?" if near else f"there are: {', '.join(PREFIX + one for one in _SETTINGS)}"
        )
        raise UsageError(f"there is no cloud service {PREFIX}{provider}; {hint}")
    chosen = msgspec.to_builtins(_SETTINGS[provider]) | {"language": language}
    try:
        return msgspec.convert(chosen, ModelSettings)
    except msgspec.ValidationError as error:
        raise UsageError(f"no language is called {language!r} by {PREFIX}{provider}; write en, fr or zh-TW") from error


def terms_of(settings: ModelSettings) -> ServicePrice:
    """Return what a service's entry in the price list says of units and bounds."""
    return services.find(SERVICES[settings.kind], pricelist.read().services)


def _check(name: str, settings: ModelSettings, task: Task) -> None:
    expected = next(one for one in _SETTINGS.values() if one.kind == settings.kind)
    if settings.model != expected.model:
        raise UsageError(
            f'{name}: the kind {settings.kind} asks {expected.model} only; write model = "{expected.model}"'
        )
    if settings.endpoints:
        raise UsageError(f"{name}: the kind {settings.kind} has one endpoint; remove [[models.{name}.endpoints]]")
    if task.others or not is_answerable(task.field):
        raise ModelError(f"{name} answers one choice of {', '.join(LABELS)}, and not the task {task.name}")


def _limits(terms: ServicePrice, settings: ModelSettings) -> Limits:
    docs_a_request = terms.docs_a_request or 1
    documented = 60 * Decimal(terms.docs_a_second or 0) / docs_a_request
    bounds = _bounds(terms)
    return Limits(
        context_tokens=_NO_BOUND,
        most_output_tokens=0,
        most_questions=docs_a_request,
        rpm=settings.rpm or float(documented),
        tpm=settings.tpm,
        billed_characters=terms.unit,
        least_units=terms.minimum_units,
        most_review_bytes=bounds["most_bytes"],
        most_review_characters=bounds["most_characters"],
    )


def _bounds(terms: ServicePrice) -> dict[str, int]:
    return {"most_bytes": terms.most_bytes or 0, "most_characters": terms.most_characters or 0}


def _reply(request: Request, said: Sequence[Found | Unanswered], seconds: float, usage: Usage, who: str) -> Reply:
    """Put the results to the ids; one with an error is left out, so that it is asked again, in fewer."""
    n = len(request.ids)
    if len(said) != n:
        reason = f"{who} answered {len(said)} of {n} documents"
        return Reply(outcome="spoiled", seconds=seconds, usage=usage, is_charged=True, reason=reason)
    found = [(id_, one) for id_, one in zip(request.ids, said, strict=True) if isinstance(one, Found)]
    codes = [one.code for one in said if isinstance(one, Unanswered)]
    # One alone is refused; where a whole request is, it is hardly the texts.
    outcome: Outcome = "answered" if found else "refused" if n == 1 else "spoiled"
    return Reply(
        outcome=outcome,
        seconds=seconds,
        values=tuple((id_, one.label) for id_, one in found),
        confidence={id_: one.confidence for id_, one in found if math.isfinite(one.confidence)},
        usage=usage,
        is_charged=True,
        reason=_refused(codes, n, who) if codes else "",
    )


def _refused(codes: Sequence[str], n: int, who: str) -> str:
    told = [code if CODE.fullmatch(code) else "an error without a code" for code in dict.fromkeys(codes)]
    return f"{who} answered {len(codes)} of {n} documents with an error: {', '.join(told[:_MOST_CODES])}"
