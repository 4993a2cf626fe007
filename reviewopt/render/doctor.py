"""The checks of `reviewopt doctor` for a terminal. Foreign text is neither markup nor escape codes."""

from __future__ import annotations

from typing import Final

from rich.console import Console

from reviewopt.doctor import Diagnosis, Status
from reviewopt.render.parts import plain

_STYLES: Final[dict[Status, str]] = {"ok": "green", "warn": "yellow", "fail": "red", "skipped": "dim"}
_WORDS: Final[dict[Status, str]] = {"ok": "ok", "warn": "warn", "fail": "fail", "skipped": "-"}


def show_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Print a line a check, and below it what to do."""
    width = max(len(check.name) for check in diagnosis.checks)
    for check in diagnosis.checks:
        line = plain(f"{_WORDS[check.status]:<5} {check.name:<{width}}  {check.found}")
        line.stylize(_STYLES[check.status], 0, 5)
        console.print(line, highlight=False, soft_wrap=True)
        if check.advice:
            console.print(plain(f"{'':<{width + 8}}{check.advice}"), highlight=False, soft_wrap=True)
    warnings = "1 warning" if diagnosis.n_warn == 1 else f"{diagnosis.n_warn} warnings"
    failures = "1 failure" if diagnosis.n_fail == 1 else f"{diagnosis.n_fail} failures"
    skipped = f", {diagnosis.n_skipped} not checked" if diagnosis.n_skipped else ""
    console.print(plain(f"{diagnosis.n_ok} ok, {warnings}, {failures}{skipped}"), style="bold", highlight=False)
    if not diagnosis.n_fail:
        console.print(plain("next: reviewopt process TABLE"), highlight=False)
