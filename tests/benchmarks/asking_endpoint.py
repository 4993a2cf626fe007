"""The endpoint that asking is measured against: a simulated one, run as a process of its own on loopback.

It is a script that is no part of this project, named with `--mock` or the variable MOCK_SERVER. What is needed of it:
`--port 0` prints `listening on http://127.0.0.1:PORT/v1`; `POST /v1/chat/completions` answers in OpenAI's form;
`GET /_mock/stats` counts requests, answers and tokens; `--latency-ms`, `--rpm`, `--max-concurrency`, `--fault` and the
like set what it simulates.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

VARIABLE = "MOCK_SERVER"
NOTE = "The endpoint is simulated, on loopback: no model answered, its latency, limits and faults are made."
MODEL = "simulated"
_LISTENING = "listening on "
_LOOPBACK = "http://127.0.0.1:"
_SECONDS_TO_STOP = 10

Figures = dict[str, Any]


class Endpoint:
    """A simulated endpoint while the context is open; `cpu_s` is what its process took, known once it is closed.

    Args:
        script: the endpoint's.
        options: of its command line, `latency_ms=50` for `--latency-ms 50`; a mapping is repeated: `NAME=VALUE`.
    """

    def __init__(self, script: Path, options: Figures) -> None:
        self._argv = [sys.executable, str(script), "--port", "0", *as_flags(options)]
        self.cpu_s: float | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._argv, stdout=subprocess.PIPE, text=True)
        said = self._process.stdout.readline() if self._process.stdout else ""
        self.url = said.removeprefix(_LISTENING).strip()
        if not (said.startswith(_LISTENING) and self.url.startswith(_LOOPBACK)):
            self._stop()
            raise RuntimeError(f"{self._argv[1]} is no simulated endpoint on loopback: it said {said.strip()[:80]!r}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.stdout:
            self._process.stdout.close()
        self.cpu_s = round(usage.ru_utime + usage.ru_stime, 3)

    def figures(self) -> Figures:
        """What it saw since it was started.

        `requests` came in, `billed_requests` of them got a reply, `limited` were refused over its limits, `faulty` were
        spoiled or failed on purpose; `seconds` go from the first request to the last reply; tokens are those billed.
        """
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback goes through no proxy
        with opener.open(self.url.removesuffix("/v1") + "/_mock/stats", timeout=_SECONDS_TO_STOP) as reply:
            stats = json.load(reply)
        counts = stats["counts"]
        return {
            "requests": counts.get("chat", 0),
            "billed_requests": sum(model["requests"] for model in stats["models"].values()),
            "limited": counts.get("limited", 0),
            "faulty": sum(n for name, n in counts.items() if name.startswith("fault_")),
            "reviews_answered": stats["reviews_answered"],
            "reviews_answered_twice": stats["extra_answers"],
            "input_tokens": stats["prompt_tokens"],
            "output_tokens": stats["completion_tokens"],
            "connections": stats["connections"],
            "most_in_flight": stats["max_in_flight"],
            "seconds": stats["seconds"],
        }


def as_flags(options: Figures) -> list[str]:
    """Options as a command line."""
    flags: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, dict):
            flags += [part for key, one in value.items() for part in (flag, f"{key}={one}")]
        elif value is True:
            flags.append(flag)
        else:
            flags += [flag, str(value)]
    return flags


def add_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--mock`."""
    parser.add_argument("--mock", type=Path, default=os.environ.get(VARIABLE), help=f"its script (or {VARIABLE})")


def script_of(parser: argparse.ArgumentParser, given: Path | None) -> Path:
    """The endpoint's script; ends the program with a message where there is none."""
    if given is None or not given.is_file():
        parser.error(f"name the simulated endpoint's script with --mock PATH or the variable {VARIABLE}")
    return given.resolve()


def settings_toml(url: str, **more: str | bool) -> str:
    """A reviewopt.toml that describes the endpoint as the model `simulated`, at a made price."""
    lines = [f"[models.{MODEL}]", 'model = "small"', f'base_url = "{url}"', "simulated = true"]
    lines.append("price = { input_usd = 0.05, output_usd = 0.40 }")
    lines += [f"{name} = {json.dumps(value)}" for name, value in more.items()]
    return "\n".join(lines) + "\n"
