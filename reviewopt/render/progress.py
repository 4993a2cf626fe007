"""How far a run has come: a bar with the time left on a terminal, one line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from reviewopt.render.parts import usd

# Elsewhere than on a terminal, how often asking a model says how far it is.
_LINE_EVERY_S: Final = 5.0


class ProgressDisplay:
    """Is told after every chunk, and of every answer that a model gives; silent when `quiet`."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._doing = ""
        self._asked = ""
        self._printed_s = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._rows = self._bar.add_task("", total=None, rate="", visible=False)
        self._questions = self._bar.add_task("asking", total=None, rate="", visible=False)

    @contextmanager
    def showing(self, doing: str) -> Iterator[None]:
        """Show what is done to the rows inside."""
        self._doing = doing
        self._bar.reset(self._rows, description=doing, visible=True, rate="", total=None)
        self._bar.start()
        try:
            yield
        finally:
            self._bar.stop()

    def __call__(self, n_rows: int, n_total: int | None, wall_s: float) -> None:
        """Show that `n_rows` of `n_total` (None: unknown) are done after `wall_s` seconds."""
        rate = f"{n_rows / wall_s:,.0f} reviews/s"
        if not self._bar.disable:
            self._bar.update(self._rows, completed=n_rows, total=n_total, rate=rate)
            return
        of_total, left = "", ""
        if n_total:
            of_total = f" of {n_total:,}"
            left = f", {wall_s * (n_total - n_rows) / n_rows:.0f} s left" if n_rows else ""
        what = "" if self._doing == "labelling" else f"{self._doing}: "
        self._line(f"{what}{n_rows:,}{of_total} reviews, {rate}{left}")

    def asked(self, n_done: int, n_open: int, spent_usd: Decimal) -> None:
        """Show that a model is done with `n_done` of the `n_open` questions of a chunk."""
        spent = f"{usd(str(spent_usd))} spent"
        if not self._bar.disable:
            is_over = n_done >= n_open
            self._bar.update(self._questions, completed=n_done, total=n_open, rate=spent, visible=not is_over)
        elif time.monotonic() - self._printed_s >= _LINE_EVERY_S:
            self._line(f"asked {n_done:,} of {n_open:,} questions, {spent}")

    def stopping(self) -> None:
        """Say that a first signal came."""
        self._line("stopping: what is under way is finished and kept; once more to stop at once")

    def _line(self, text: str) -> None:
        if not self._quiet:
            self._printed_s = time.monotonic()
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
