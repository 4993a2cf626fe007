"""Ctrl-C and SIGTERM: the first asks the run to end, the second ends it, and afterwards all is as before."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from reviewopt.cli.stopping import Stopping

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[list[object]]:
    before = [signal.getsignal(one) for one in SIGNALS]
    yield list(before)
    for one, handler in zip(SIGNALS, before, strict=True):
        signal.signal(one, handler)


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_first_signal_is_noted_and_the_second_ends_at_once(first: signal.Signals, second: signal.Signals) -> None:
    told: list[bool] = []
    with Stopping(lambda: told.append(True)) as stopping:
        assert not stopping()
        signal.raise_signal(first)
        assert stopping()
        assert told == [True]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)
    assert told == [True]


def test_afterwards_the_handlers_are_those_of_before(handlers: list[object]) -> None:
    with Stopping(lambda: None):
        assert [signal.getsignal(one) for one in SIGNALS] != handlers
    assert [signal.getsignal(one) for one in SIGNALS] == handlers


def test_the_handlers_come_back_after_an_error_too(handlers: list[object]) -> None:
    with pytest.raises(ValueError, match="broken"), Stopping(lambda: None):
        raise ValueError("broken")
    assert [signal.getsignal(one) for one in SIGNALS] == handlers


def test_a_run_without_a_signal_is_not_stopping_and_knows_of_no_other() -> None:
    with Stopping(lambda: None) as one:
        signal.raise_signal(signal.SIGINT)
    with Stopping(lambda: None) as other:
        assert (one(), other()) == (True, False)
