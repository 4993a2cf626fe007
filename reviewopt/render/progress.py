"""How far a run has come: a bar with the time left on a terminal, one line a chunk elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressDisplay:
    """A context manager that is told after every chunk; silent when `quiet`."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("labelling"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task("labelling", total=None, rate="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, n_rows: int, n_total: int | None, wall_s: float) -> None:
        """Show that `n_rows` of `n_total` (None: unknown) are written after `wall_s` seconds."""
        rate = f"{n_rows / wall_s:,.0f} reviews/s"
        if not self._bar.disable:
            self._bar.update(self._task, completed=n_rows, total=n_total, rate=rate)
        elif not self._quiet:
            of_total, left = "", ""
            if n_total:
                of_total, left = (
                    f" of {n_total:,}",
                    f", {wall_s * (n_total - n_rows) / n_rows:.0f} s left" if n_rows else "",
                )
            self._console.print(
                f"{n_rows:,}{of_total} reviews, {rate}{left}", markup=False, highlight=False, soft_wrap=True
            )
