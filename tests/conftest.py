"""What every test stands on: an empty folder of its own, no settings from outside, and the tool as a subprocess."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from reviewopt import cli

# Time is no part of any rule here, and a busy machine no fault.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Where this is set, each process that a test starts would compile the whole tool anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with none of the user's settings."""
    for name in [name for name in os.environ if name.startswith("REVIEWOPT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def reviewopt(tmp_path: Path) -> Run:
    """Run the tool as a user does; the result holds its exit code and what it printed."""

    def run(*arguments: str | Path, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "reviewopt", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1", **environment},
            timeout=120,
        )

    return run


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the tool in this process, as its entry point does: a second faster where how a process ends is no matter."""

    def run(*arguments: str | Path, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        given = list(map(str, arguments))
        with monkeypatch.context() as here:
            here.chdir(tmp_path)
            for name, value in {"COLUMNS": "120", "NO_COLOR": "1", **environment}.items():
                here.setenv(name, value)
            here.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((stdin or "").encode())))
            capfd.readouterr()
            code = cli.run(given)
            out, err = capfd.readouterr()
        return subprocess.CompletedProcess(given, code, out, err)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a test's spend ledger goes."""
    return tmp_path / "home" / "spend"
