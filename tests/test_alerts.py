"""Alerts: when somebody is told, how, and that the run never waits for it."""

from __future__ import annotations

import http.server
import json
import logging
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from served import CERTIFICATE, serve
from served import http as written

from reviewopt.alerts import Alerts, thresholds
from reviewopt.errors import UsageError

TEN = Decimal(10)


class Endpoint:
    """A web server of this machine that keeps what it gets."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                endpoint.gate.wait(30)
                endpoint.paths.append(self.path)
                endpoint.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(endpoint.status)
                self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}/secret-token"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.gate.set()
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def alerts_of(lines: list[str], at_percent: str = "50, 75, 90", **options: Any) -> Alerts:
    return Alerts(run_id="run-1", at_percent=at_percent, on_line=lines.append, clock=lambda: 1_800_000_000.0, **options)


def python(code: str, *arguments: object) -> str:
    return shlex.join([sys.executable, "-c", code, *map(str, arguments)])


def test_each_threshold_fires_once_for_each_scope() -> None:
    lines: list[str] = []
    with alerts_of(lines) as alerts:
        for scope, spent in (("run", "4.99"), ("run", "5"), ("run", "8"), ("run", "8"), ("day", "5"), ("run", "12")):
            alerts.see(scope, Decimal(spent), TEN)
    told = [(one.scope, one.threshold_percent) for one in alerts.fired]
    assert told == [("run", 50), ("run", 75), ("day", 50), ("run", 90)]
    assert lines[0] == "alert: 50 % of the budget of the run is reached: 5.0000 of 10.0000 USD"
    assert len(lines) == 4


def test_an_alert_says_all_there_is_to_know() -> None:
    with alerts_of([], "99.5") as alerts:
        alerts.see("tenant acme", Decimal("9.950000000001"), TEN)
    (fired,) = alerts.fired
    assert (fired.schema_version, fired.time, fired.run_id) == (1, "2027-01-15T08:00:00+00:00", "run-1")
    assert (fired.scope, fired.threshold_percent) == ("tenant acme", 99.5)
    assert (fired.spent_usd, fired.budget_usd) == ("9.950000000001", "10")


def test_small_amounts_are_written_as_plain_decimals() -> None:
    with alerts_of([]) as alerts:
        alerts.see("run", Decimal("1E-12"), Decimal("1E-12"))
    assert alerts.fired[0].spent_usd == "0.000000000001"


@pytest.mark.parametrize("budget", [None, Decimal("Infinity")])
def test_where_there_is_no_budget_there_is_no_alert(budget: Decimal | None) -> None:
    with alerts_of([]) as alerts:
        alerts.see("run", Decimal(1000), budget)
    assert alerts.fired == ()


def test_a_budget_of_zero_alerts_once_something_was_spent() -> None:
    with alerts_of([], "50") as alerts:
        alerts.see("run", Decimal(0), Decimal(0))
        assert alerts.fired == ()
        alerts.see("run", Decimal("1E-12"), Decimal(0))
    assert len(alerts.fired) == 1


@pytest.mark.parametrize(
    ("text", "percents"), [("", []), (" 90,50 , 50.0,", [50, 90]), ("100", [100]), ("0.5", [Decimal("0.5")])]
)
def test_thresholds_are_sorted_and_each_once(text: str, percents: list[Decimal]) -> None:
    assert list(thresholds(text)) == percents


@pytest.mark.parametrize("text", ["50 %", "half", "0", "-5", "nan", "inf", "50; 75", "1001"])
def test_what_is_no_percentage_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"alerts\.at_percent = .* is no percentage; write it like"):
        thresholds(text)


def test_the_webhook_gets_the_alert(endpoint: Endpoint) -> None:
    lines: list[str] = []
    with alerts_of(lines, webhook=endpoint.address) as alerts:
        alerts.see("run", Decimal("7.5"), TEN)
    assert [body["threshold_percent"] for body in endpoint.bodies] == [50, 75]
    assert endpoint.bodies[1] == {
        "schema_version": 1,
        "time": "2027-01-15T08:00:00+00:00",
        "run_id": "run-1",
        "scope": "run",
        "threshold_percent": 75.0,
        "spent_usd": "7.5",
        "budget_usd": "10",
    }
    assert len(lines) == 2


@pytest.mark.parametrize("status", [307, 302, 404, 500])
def test_a_webhook_that_does_not_take_alerts_is_one_warning_and_redirects_are_off(
    endpoint: Endpoint, status: int
) -> None:
    lines: list[str] = []
    endpoint.status = status
    with alerts_of(lines, webhook=endpoint.address) as alerts:
        alerts.see("run", TEN, TEN)
    alerts.see("run", TEN, TEN)  # which tells of what failed since
    assert endpoint.paths == ["/secret-token"] * 3
    warnings = [line for line in lines if line.startswith("warning")]
    assert warnings == [f"warning: the alerts' webhook answered {status}; check alerts.webhook"]


def test_an_unreachable_webhook_is_one_warning_without_its_address() -> None:
    lines: list[str] = []
    closed = Endpoint()
    closed.server.server_close()
    with alerts_of(lines, webhook=closed.address) as alerts:
        alerts.see("run", TEN, TEN)
    warnings = [line for line in lines if line.startswith("warning")]
    assert len(warnings) == 1
    assert "was not reached" in warnings[0]
    assert "secret-token" not in warnings[0]
    assert len(alerts.fired) == 3


@pytest.mark.parametrize("header", ["content-length: 0", "no header at all"])
def test_the_address_of_a_webhook_is_in_no_log(caplog: pytest.LogCaptureFixture, header: str) -> None:
    caplog.set_level(logging.DEBUG)
    reply = f"HTTP/1.1 200 OK\r\n{header}\r\nconnection: close\r\n\r\n".encode()
    with serve(reply) as served, alerts_of([], "50", webhook=f"{served.base_url}/secret-path?secret-query") as alerts:
        alerts.see("run", TEN, TEN)
        alerts.close()
    assert [asked.line for asked in served.asked] == ["POST /v1/secret-path?secret-query HTTP/1.1"]
    assert "secret" not in caplog.text


@pytest.mark.parametrize(("is_trusted", "warning"), [(True, None), (False, "SSLCertVerificationError")])
def test_a_webhook_gets_nothing_unless_its_certificate_is_trusted(
    monkeypatch: pytest.MonkeyPatch, *, is_trusted: bool, warning: str | None
) -> None:
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    lines: list[str] = []
    with serve(written(b""), tls=True) as served:
        with alerts_of(lines, "50", webhook=f"{served.base_url}/x") as alerts:
            alerts.see("run", TEN, TEN)
        assert len(served.asked) == is_trusted
    assert [line for line in lines if line.startswith("warning")] == (
        [f"warning: the alerts' webhook was not reached ({warning}); check alerts.webhook"] if warning else []
    )


def test_a_webhook_whose_certificate_is_for_another_name_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    lines: list[str] = []
    with serve(written(b""), tls=True) as served:
        with alerts_of(lines, "50", webhook=f"https://2130706433:{served.port}/x") as alerts:  # 127.0.0.1
            alerts.see("run", TEN, TEN)
        assert served.asked == []
    assert "SSLCertVerificationError" in lines[1]


def test_a_name_that_cannot_be_one_is_a_webhook_that_was_not_reached() -> None:
    lines: list[str] = []
    with alerts_of(lines, "50", webhook=f"https://{'x' * 70}.example/x") as alerts:
        alerts.see("run", TEN, TEN)
    assert "was not reached" in lines[1]


def test_the_run_does_not_wait_for_a_webhook(endpoint: Endpoint) -> None:
    endpoint.gate.clear()
    with alerts_of([], "50", webhook=endpoint.address) as alerts:
        alerts.see("run", TEN, TEN)
        assert endpoint.bodies == []  # `see` is back, although the endpoint has not answered
        endpoint.gate.set()
    assert len(endpoint.bodies) == 1


@pytest.mark.parametrize(
    "address", ["http://example.com/x", "ftp://example.com", "example.com", "https://", "http://127.0.0.1.example.com/"]
)
def test_a_webhook_is_https_or_on_this_machine(address: str) -> None:
    with pytest.raises(UsageError, match=r"alerts\.webhook") as caught:
        alerts_of([], webhook=address)
    assert address not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["https://example.com/x", "http://localhost:1/", "http://[::1]:1/", "http://127.1.2.3/"]
)
def test_such_a_webhook_is_taken(address: str) -> None:
    alerts_of([], webhook=address).close()


def test_the_command_gets_the_alert_on_standard_input(tmp_path: Path) -> None:
    lines: list[str] = []
    code = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')"
    with alerts_of(lines, "50, 90", command=python(code, tmp_path / "got it; $HOME")) as alerts:
        alerts.see("run", TEN, TEN)
    got = [json.loads(line) for line in (tmp_path / "got it; $HOME").read_text().splitlines()]
    assert [one["threshold_percent"] for one in got] == [50, 90]
    assert len(lines) == 2


def test_a_command_that_fails_is_one_warning() -> None:
    lines: list[str] = []
    with alerts_of(lines, command=python("raise SystemExit(3)")) as alerts:
        alerts.see("run", TEN, TEN)
    assert [line for line in lines if line.startswith("warning")] == ["warning: the alerts' command ended with 3"]


def test_a_command_that_reads_nothing_and_prints_much_is_no_obstacle(capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    with alerts_of(lines, "50", command=python("print('x' * 10**6)")) as alerts:
        alerts.see("run", TEN, TEN)
    assert len(lines) == 1
    assert capfd.readouterr() == ("", "")


def test_a_command_that_does_not_end_is_ended_with_what_it_started(tmp_path: Path) -> None:
    lines: list[str] = []
    with alerts_of(lines, "50", command=endless(tmp_path), close_s=1.0) as alerts:
        alerts.see("run", TEN, TEN)
        wait_for(tmp_path / "pids")
    alerts._senders[0]._thread.join(10)  # type: ignore[union-attr]
    assert have_ended(tmp_path / "pids")
    assert lines[1:] == ["warning: not every alert was sent within 1 s of the run's end"]


def test_a_command_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    lines: list[str] = []
    with alerts_of(lines, "50", command=endless(tmp_path), command_s=2.0, close_s=60.0) as alerts:
        alerts.see("run", TEN, TEN)
    assert have_ended(tmp_path / "pids")
    assert lines[1:] == ["warning: the alerts' command took longer than 2 s and was ended"]


def endless(folder: Path) -> str:
    """A command that does not end, nor does what it starts; it writes down who they are."""
    return shlex.join(["sh", "-c", 'sleep 300 & echo $$ $! > "$0"; wait', str(folder / "pids")])


def wait_for(path: Path) -> None:
    while not path.exists() or not path.read_text():
        time.sleep(0.01)


def have_ended(pids: Path) -> bool:
    """Whether these processes end: a signal takes its time."""
    numbers = [int(pid) for pid in pids.read_text().split()]
    for _ in range(1000):
        if not any(map(is_alive, numbers)):
            return True
        time.sleep(0.01)
    return False


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended but that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}


@pytest.mark.parametrize(
    ("command", "message"),
    [("no-such-program --flag", "there is no program"), ('echo "open', "check its quotes"), (" ", "")],
)
def test_a_command_that_cannot_be_run_is_a_usage_error(command: str, message: str) -> None:
    with pytest.raises(UsageError, match=rf"alerts\.command.*{message}"):
        alerts_of([], command=command)
