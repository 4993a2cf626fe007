"""The cache's figures for a terminal. Foreign text is neither markup nor escape codes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from reviewopt.cache.erasure import Invalidated
from reviewopt.cache.stats import Stats, Tier
from reviewopt.cache.transfer import Exported, Imported
from reviewopt.cache.upkeep import Verified
from reviewopt.cache.warm import Warmed
from reviewopt.render.parts import UNKNOWN, percent, plain, table, usd

_TIERS: Final = {"l1": "1 memory", "l2": "2 similar", "l3": "3 archive"}
_MOST_NAMES: Final = 8
_NAME_CHARS: Final = 40
_EVERY_S: Final = 5.0


def show_stats(console: Console, stats: Stats) -> None:
    """Print what the cache holds and has given back."""
    made = table("tier", "entries", "on disk", "hits", "hit rate", "saved", "oldest", "newest")
    for tier in stats.tiers:
        made.add_row(*_tier(tier, stats))
    console.print(made)
    if stats.has_archive:
        for title, counts in (("source", stats.n_by_source), ("task", stats.n_by_task), ("model", stats.n_by_model)):
            if counts:
                console.print(_counts(title, counts))
    if stats.n_runs_unread:
        unread = f"not in these figures: {_n(stats.n_runs_unread, 'run record')} of another version, or damaged"
        console.print(plain(unread), style="yellow", soft_wrap=True)
    text = "no run has looked anything up yet"
    if stats.hit_rate is not None:
        text = f"{_n(stats.n_runs, 'run')} looked {stats.n_looked_up:,} questions up: {100 * stats.hit_rate:.1f} % hits"
    if stats.has_archive:
        text += f"\nthe archived answers cost {usd(stats.cost_usd)} to obtain"
        _last(console, text, "reviewopt cache verify")
    else:
        _last(console, f"{text}\nno archive yet: labelled history makes one", "reviewopt cache warm TABLE")


def show_verified(console: Console, verified: Verified) -> None:
    """Print what is damaged."""
    if verified.first:
        made = table("key", "value")
        made.columns[1].header = plain("what is wrong")
        for one in verified.first:
            made.add_row(plain(one.key or "not a key"), plain(one.reason))
        console.print(made)
        if verified.n_damaged > len(verified.first):
            console.print(plain(f"and {verified.n_damaged - len(verified.first):,} more"), soft_wrap=True)
    if verified.file is not None:
        console.print(plain(f"the file itself: {verified.file}"), style="yellow", soft_wrap=True)
    if verified.n_deleted:
        _last(console, f"{_n(verified.n_deleted, 'damaged row')} deleted, and asked anew", "reviewopt cache verify")
    elif verified.is_sound:
        _last(console, f"{_n(verified.n_rows, 'row')}, all sound", "reviewopt cache stats")


def show_exported(console: Console, exported: Exported) -> None:
    """Print what was written where."""
    if exported.n_unreadable:
        console.print(plain(f"{_n(exported.n_unreadable, 'row')} of a damaged context left out"), style="yellow")
    _last(
        console,
        f"{_n(exported.n_entries, 'answer')} with text in {exported.path}",
        f"reviewopt cache import {exported.path} --home OTHER",
    )


def show_imported(console: Console, imported: Imported) -> None:
    """Print what became of the rows of a file."""
    if imported.n_refused:
        refused = f"{imported.n_refused:,} of {_n(imported.n_rows, 'row')} refused, the first: {imported.first_reason}"
        console.print(plain(refused), style="yellow", soft_wrap=True)
    kept = f", {imported.n_kept:,} known before and kept (--force replaces them)" if imported.n_kept else ""
    text = f"{_n(imported.n_new, 'answer')} added, {imported.n_replaced:,} replaced{kept}"
    _last(console, text, "reviewopt cache stats")


def show_warmed(console: Console, warmed: Warmed) -> None:
    """Print which texts are now known."""
    out = warmed.rows_left_out
    for n, words in (
        (out.copies, "of copies or derived answers left out: only own answers are taken"),
        (out.unlabelled, "without a label"),
        (out.foreign, "with a label that the task does not know"),
        (out.empty, "without a text"),
    ):
        if n:
            console.print(plain(f"{_n(n, 'row')} {words}"), soft_wrap=True)
    if warmed.n_conflicts:
        has = "has" if warmed.n_conflicts == 1 else "have"
        text = f"{_n(warmed.n_conflicts, 'text')} {has} different labels: the most frequent one counts"
        ties = f"; {warmed.n_ties:,} without such a one left out" if warmed.n_ties else ""
        console.print(plain(text + ties), style="yellow", soft_wrap=True)
    whole = f"{_n(warmed.n_kept, 'distinct text')} of {_n(warmed.n_rows, 'row')} kept for the task {warmed.task}"
    if warmed.n_predicted is not None:
        whole = f"{warmed.n_kept:,} of {warmed.n_texts:,} distinct texts, those most likely to come back, kept"
    sources = ", ".join(f"{n:,} by {source[:_NAME_CHARS]}" for source, n in warmed.n_by_source.items())
    changes = f"{warmed.n_new:,} new, {warmed.n_changed:,} with another label than before"
    _last(console, f"{whole}\n{changes}; labelled {sources}" if sources else whole, "reviewopt process TABLE")


def show_invalidated(console: Console, invalidated: Invalidated) -> None:
    """Print how many answers were taken back."""
    verb = "would be removed" if invalidated.is_dry_run else "removed for good, with what was derived from them"
    if invalidated.n_examples:
        blank = "would be blanked" if invalidated.is_dry_run else "blanked"
        console.print(plain(f"{_n(invalidated.n_examples, 'example')} in run records {blank}"), soft_wrap=True)
    if invalidated.n_running:
        console.print(
            plain(
                f"records left of runs that still write them: {invalidated.n_running:,}; run this again when they end"
            ),
            style="yellow",
            soft_wrap=True,
        )
    for note in invalidated.notes:
        console.print(plain(note), soft_wrap=True)
    text = f"{_n(invalidated.n_answers, 'answer')}, obtained for {usd(invalidated.cost_usd)}, {verb}"
    if not invalidated.n_answers:
        text = "no answer fits"
    following = "the same without --dry-run" if invalidated.is_dry_run else "reviewopt cache stats"
    _last(console, text, following)


def show_cleared(console: Console, n_entries: int, cost_usd: str) -> None:
    """Print what is gone."""
    _last(console, f"{_n(n_entries, 'answer')}, obtained for {usd(cost_usd)}, deleted", "reviewopt cache warm TABLE")


class CountDisplay:
    """A context manager that is told how many rows are read: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, words: str, *, quiet: bool) -> None:
        self._console = console
        self._words = words
        self._quiet = quiet
        self._bar = Progress(
            TextColumn(words),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task(words, total=None)
        self._said_s = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, n_rows: int, n_total: int | None) -> None:
        """Show that `n_rows` of `n_total` (None: unknown) are read."""
        if not self._bar.disable:
            self._bar.update(self._task, completed=n_rows, total=n_total)
        elif not self._quiet and time.monotonic() - self._said_s > _EVERY_S:
            self._said_s = time.monotonic()
            whole = f" of {n_total:,}" if n_total else ""
            self._console.print(plain(f"{self._words}: {n_rows:,}{whole} rows"), soft_wrap=True)


def _last(console: Console, text: str, following: str) -> None:
    for line in text.split("\n"):
        console.print(plain(line), style="bold", highlight=False, soft_wrap=True)
    console.print(plain(f"next: {following}"), highlight=False, soft_wrap=True)


def _tier(tier: Tier, stats: Stats) -> tuple[Text, ...]:
    if tier.n_entries is not None:
        entries, on_disk = f"{tier.n_entries:,}", _size(tier.n_bytes)
    elif tier.name == "l3":
        entries, on_disk = "none", "none"
    else:
        entries, on_disk = f"up to {tier.max_entries:,}", "in memory"
    cells = (
        _TIERS[tier.name] + ("" if tier.is_enabled else " (off)"),
        entries,
        on_disk,
        f"{tier.n_hits:,}",
        UNKNOWN if tier.hit_rate is None else percent(tier.hit_rate),
        usd(tier.saved_usd),
        _age(tier.oldest_s, stats.now_s),
        _age(tier.newest_s, stats.now_s),
    )
    return tuple(plain(cell) for cell in cells)


def _counts(title: str, counts: Mapping[str, int]) -> Table:
    made = table(title, "entries", "share")
    total = sum(counts.values())
    for name, n in list(counts.items())[:_MOST_NAMES]:
        made.add_row(plain(name[:_NAME_CHARS]), plain(f"{n:,}"), plain(percent(n / total)))
    if len(counts) > _MOST_NAMES:
        made.caption = f"the largest {_MOST_NAMES} of {len(counts):,}; the others with --json"
        made.caption_justify = "left"
    return made


def _n(n: int, word: str) -> str:
    """Count things: `1 row`, `2,000 rows`."""
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def _size(n_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} B"


def _age(made_s: int | None, now_s: int) -> str:
    if made_s is None:
        return UNKNOWN
    age_s = max(0, now_s - made_s)
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age_s >= length_s:
            return f"{age_s // length_s:,} {unit}"
    return f"{age_s} s"
