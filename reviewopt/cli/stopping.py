"""Ctrl-C and SIGTERM while money is spent: the first ends what is under way, the second ends at once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """A context manager that takes the signals over; true once the first has come."""

    def __init__(self, on_first: Callable[[], None]) -> None:
        self._on_first = on_first
        self._is_stopping = False
        self._before: list[Any] = []

    def __call__(self) -> bool:
        """Say whether the run shall end."""
        return self._is_stopping

    def __enter__(self) -> Self:
        self._before = [signal.signal(one, self._handle) for one in _SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one, handler in zip(_SIGNALS, self._before, strict=True):
            signal.signal(one, handler)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self._is_stopping:
            raise KeyboardInterrupt
        self._is_stopping = True
        self._on_first()
