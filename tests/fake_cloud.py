"""A cloud service that plays a script, and the model over it, for tests without any SDK."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reviewopt.models import cloud
from reviewopt.models.cloud import Cloud
from reviewopt.models.cloud_service import Fault, Found, Unanswered

Result = Found | Unanswered


class FakeService:
    """Answers by the text, and fails in requests whose numbers (from 1) `faults` names; keeps what it was asked."""

    def __init__(
        self, script: Callable[[str], Result], faults: Mapping[int, Fault] | None = None, *, n_forgotten: int = 0
    ) -> None:
        self.asked: list[list[str]] = []
        self.is_closed = False
        self._script, self._faults, self._n_forgotten = script, faults or {}, n_forgotten
        self._lock = threading.Lock()

    def detect(self, texts: Sequence[str], deadline_s: float) -> Sequence[Result] | Fault:
        assert deadline_s > 0
        with self._lock:
            self.asked.append(list(texts))
            number = len(self.asked)
        return self._faults.get(number) or [self._script(text) for text in texts[self._n_forgotten :]]

    def close(self) -> None:
        self.is_closed = True


def last_word(text: str) -> Result:
    """Find the label that a text ends with; any other word is an error."""
    word = text.rsplit(maxsplit=1)[-1]
    return Found(word, 0.875) if word in cloud.LABELS else Unanswered("TEXT_TOO_ODD")


def cloud_of(service: Any = None, provider: str = "aws", *, task: Any = None, name: str = "", **settings: Any) -> Cloud:
    """A model over `service`; by default over one that answers a text's last word."""
    from msgspec import structs

    chosen = service or FakeService(last_word)
    given = structs.replace(cloud.settings_of(provider), **settings)
    return Cloud(name or provider, given, task or cloud.task(), service=lambda: chosen, decisive={"api": "1"})
