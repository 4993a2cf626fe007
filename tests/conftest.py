"""What every test stands on: an empty folder of its own, no settings from outside, and the tool as a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# Time is no part of any rule here, and a busy machine no fault.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

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
def folder(tmp_path: Path) -> Path:
    """Where a test's spend ledger goes."""
    return tmp_path / "home" / "spend"
