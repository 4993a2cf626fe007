"""Who is told when a budget nears its end: the terminal, a webhook, a command.

The run never waits for an alert: webhook and command each have a thread of their own, and what goes wrong there is one
warning. Nothing secret is in an alert, nor is the webhook's address (which often is one) in any message.
"""

from __future__ import annotations

import ipaddress
import os
import queue
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from types import TracebackType
from typing import Final, Protocol, Self

import msgspec

from reviewopt import __version__
from reviewopt.data import Alert
from reviewopt.errors import UsageError

SCHEMA_VERSION: Final = 1
WEBHOOK_S: Final = 5.0
COMMAND_S: Final = 30.0
CLOSE_S: Final = 10.0
_MOST_PERCENT: Final = 1000
# What a webhook has left for its reply, however long the connection took: 0 would not wait at all.
_LEAST_S: Final = 0.1


class Alerts:
    """The alerts of one run. A context manager; used on one thread.

    Args:
        run_id: the run that the alerts are about.
        at_percent: `50, 75, 90`: at which percentages of each budget; empty for none.
        webhook: an https address (http on this machine) that gets each alert as JSON, or empty.
        command: a command that gets it on standard input, or empty; it is run without a shell.
        on_line: gets each alert, and each warning, as a line for people.
        clock: seconds since 1970.
        command_s: how long the command may take for one alert.
        close_s: how long `close` waits for what is under way.

    Raises:
        UsageError: a setting that cannot be meant.
    """

    def __init__(
        self,
        *,
        run_id: str,
        at_percent: str,
        webhook: str = "",
        command: str = "",
        on_line: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        command_s: float = COMMAND_S,
        close_s: float = CLOSE_S,
    ) -> None:
        self._run_id = run_id
        self._percents = thresholds(at_percent)
        self._on_line = on_line
        self._clock = clock
        self._close_s = close_s
        self._told: set[tuple[str, Decimal]] = set()
        self._fired: list[Alert] = []
        ways: list[_Way] = [_Webhook(webhook)] if webhook else []
        ways += [_Command(command, command_s)] if command else []
        self._senders = [_Sender(way, close_s) for way in ways]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def fired(self) -> tuple[Alert, ...]:
        """The alerts so far, in order."""
        return tuple(self._fired)

    def see(self, scope: str, spent_usd: Decimal, budget_usd: Decimal | None) -> None:
        """Alert of every threshold that this budget has reached, once a run each; None or infinity is no budget."""
        if budget_usd is not None and budget_usd.is_finite() and spent_usd > 0:
            for percent in self._percents:
                if (scope, percent) not in self._told and spent_usd * 100 >= budget_usd * percent:
                    self._told.add((scope, percent))
                    self._fire(scope, percent, spent_usd, budget_usd)
        self._pass_on()

    def close(self) -> None:
        """Wait a bounded time for alerts under way, end what is left, and tell what went wrong."""
        until_s = time.monotonic() + self._close_s
        for sender in self._senders:
            sender.end()
        for sender in self._senders:
            sender.join(until_s)
        self._pass_on()

    def _fire(self, scope: str, percent: Decimal, spent_usd: Decimal, budget_usd: Decimal) -> None:
        fired = Alert(
            schema_version=SCHEMA_VERSION,
            time=datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds"),
            run_id=self._run_id,
            scope=scope,
            threshold_percent=float(percent),
            spent_usd=f"{spent_usd:f}",
            budget_usd=f"{budget_usd:f}",
        )
        self._fired.append(fired)
        self._on_line(
            f"alert: {percent.normalize():f} % of the budget of the {scope} is reached:"
            f" {spent_usd:.4f} of {budget_usd:.4f} USD"
        )
        for sender in self._senders:
            sender.put(msgspec.json.encode(fired))

    def _pass_on(self) -> None:
        """Tell of the first failure of each way; here, because the run's output has one writer."""
        for sender in self._senders:
            if warning := sender.warning():
                self._on_line(f"warning: {warning}")


def thresholds(at_percent: str) -> tuple[Decimal, ...]:
    """Read `50, 75, 90`, ascending and each once.

    Raises:
        UsageError: something that is no percentage.
    """
    found = set()
    for part in filter(None, map(str.strip, at_percent.split(","))):
        try:
            percent = Decimal(part)
        except InvalidOperation:
            percent = Decimal("NaN")
        if not percent.is_finite() or not 0 < percent <= _MOST_PERCENT:
            raise UsageError(f'alerts.at_percent = "{at_percent}": {part} is no percentage; write it like "50, 75, 90"')
        found.add(percent)
    return tuple(sorted(found))


class _Way(Protocol):
    def send(self, body: bytes) -> str:
        """Send one alert; return what went wrong, or nothing."""

    def stop(self) -> None:
        """Give up what is under way."""


class _Sender:
    """A thread that sends alerts one way, in order."""

    def __init__(self, way: _Way, close_s: float) -> None:
        self._way = way
        self._close_s = close_s
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._failures: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._has_warned = False
        self._thread: threading.Thread | None = None

    def put(self, body: bytes) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="alerts")
            self._thread.start()
        self._waiting.put(body)

    def end(self) -> None:
        self._waiting.put(None)

    def join(self, until_s: float) -> None:
        if self._thread is None:
            return
        self._thread.join(max(0.0, until_s - time.monotonic()))
        if self._thread.is_alive():
            self._failures.put(f"not every alert was sent within {self._close_s:g} s of the run's end")
            self._way.stop()

    def warning(self) -> str:
        """Return the first failure, once."""
        if self._has_warned:
            return ""
        with suppress(queue.Empty):
            failure = self._failures.get_nowait()
            self._has_warned = True
            return failure
        return ""

    def _work(self) -> None:
        while (body := self._waiting.get()) is not None:
            if failure := self._way.send(body):
                self._failures.put(failure)


class _Webhook:
    """POSTs alerts to an address."""

    def __init__(self, address: str) -> None:
        from urllib3.util import parse_url

        try:
            url = parse_url(address)
        except ValueError as error:
            raise UsageError("alerts.webhook is not an address; write it like https://HOST/PATH") from error
        if not url.host or not (url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.host))):
            raise UsageError("alerts.webhook must be an https address (http is for this machine alone)")
        self._is_tls = url.scheme == "https"
        self._host = url.host.strip("[]")
        self._port = url.port or (443 if self._is_tls else 80)
        self._target = url.request_uri

    def send(self, body: bytes) -> str:
        from http.client import HTTPException

        try:
            status = self._post(body)
        except (HTTPException, OSError, UnicodeError) as error:
            return f"the alerts' webhook was not reached ({type(error).__name__}); check alerts.webhook"
        return "" if 200 <= status < 300 else f"the alerts' webhook answered {status}; check alerts.webhook"

    def _post(self, body: bytes) -> int:
        """Send a body and return the status; over the standard library, which logs no address at any level."""
        import ssl
        from http.client import HTTPConnection, HTTPSConnection

        until_s = time.monotonic() + WEBHOOK_S
        if self._is_tls:
            context = ssl.create_default_context()
            connection: HTTPConnection = HTTPSConnection(self._host, self._port, timeout=WEBHOOK_S, context=context)
        else:
            connection = HTTPConnection(self._host, self._port, timeout=WEBHOOK_S)
        with closing(connection):
            connection.connect()
            connection.sock.settimeout(max(until_s - time.monotonic(), _LEAST_S))
            headers = {"content-type": "application/json", "user-agent": f"reviewopt/{__version__}"}
            connection.request("POST", self._target, body, headers)
            with connection.getresponse() as reply:
                return reply.status

    def stop(self) -> None:
        """Do nothing: a request ends by its own time-out."""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class _Command:
    """Runs a command for each alert."""

    def __init__(self, command: str, most_s: float) -> None:
        self._most_s = most_s
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"alerts.command cannot be split into words: {error}; check its quotes") from error
        if not self._words or shutil.which(self._words[0]) is None:
            raise UsageError(f"alerts.command: there is no program {(self._words or [''])[0]!r} to run")
        self._process: subprocess.Popen[bytes] | None = None

    def send(self, body: bytes) -> str:
        try:
            with subprocess.Popen(  # noqa: S603 - the user's own command, split without a shell
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            ) as process:
                self._process = process
                try:
                    process.communicate(body, timeout=self._most_s)
                except subprocess.TimeoutExpired:
                    self.stop()
                    return f"the alerts' command took longer than {self._most_s:g} s and was ended"
        except OSError as error:
            return f"the alerts' command could not be run: {error.strerror}"
        return f"the alerts' command ended with {process.returncode}" if process.returncode else ""

    def stop(self) -> None:
        """End the command that runs, with all that it started."""
        if (process := self._process) is not None and process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
