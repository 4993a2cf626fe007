"""A sample in the terminal, a review at a time, and the keys that answer it. Foreign text is never markup or codes."""

from __future__ import annotations

import os
import re
import sys
import termios
import tty
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Protocol, Self, TextIO

from rich.console import Console
from rich.text import Text

from reviewopt.render.parts import plain
from reviewopt.reviewing import Review, Reviewed

UNDO, SKIP, QUIT = "u", "s", "q"
_COMMANDS: Final = {UNDO: "undo", SKIP: "skip", QUIT: "quit"}
_MOST_KEYS: Final = 9
_MOST_CHARS: Final = 6_000
_READ_BYTES: Final = 64
_END: Final = "\x04"  # Ctrl-D
# Arrows and the like come as several characters, the last of which may be a letter.
_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|[^\[O])?")


class Keys(Protocol):
    """Where answers come from: a key at a time, or a line."""

    def read(self) -> str:
        """Return what was typed, the empty string at the end of the input."""


class TerminalKeys:
    """A context manager that reads one key at a time and leaves the terminal as it was."""

    def __init__(self, file: TextIO) -> None:
        self._file = file.fileno()
        self._before: list[Any] = []
        self._waiting: deque[str] = deque()

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._file)
        tty.setcbreak(self._file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)

    def read(self) -> str:
        """Return the next key, the empty string for Ctrl-D or a terminal that is gone."""
        while not self._waiting:
            typed = os.read(self._file, _READ_BYTES).decode(errors="replace")
            if not typed:
                return ""
            self._waiting.extend(_SEQUENCE.sub("", typed))
        key = self._waiting.popleft()
        return "" if key == _END else key


class LineKeys:
    """Reads a line at a time: for what is no terminal, and for more labels than there are keys."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def read(self) -> str:
        """Return the next line that is not blank, without its ends; the empty string where there is none."""
        for line in self._file:
            if said := line.strip():
                return said
        return ""


def open_keys(labels: Sequence[str]) -> TerminalKeys | LineKeys:
    """Read keys where standard input is a terminal and each label has one, else lines."""
    return TerminalKeys(sys.stdin) if sys.stdin.isatty() and choices(labels) else LineKeys(sys.stdin)


def choices(labels: Sequence[str]) -> dict[str, str]:
    """Return the label of each key: 1 to 9, and first letters where all differ; none where names must be written.

    Labels of one character are their own keys. A number never stands for a label that is another number.
    """
    own = {label.lower(): label for label in labels}
    if all(len(key) == 1 for key in own) and not _COMMANDS.keys() & own:
        return own
    if len(labels) > _MOST_KEYS or any(label.isdecimal() for label in labels):
        return {}
    made = {str(number): label for number, label in enumerate(labels, 1)}
    letters = {label[0].lower(): label for label in labels}
    if len(letters) == len(labels) and not letters.keys() & (_COMMANDS.keys() | made.keys()):
        made |= letters
    return made


def meaning(said: str, labels: Sequence[str], names: Mapping[str, str]) -> str | None:
    """Return the label or command (u, s, q) that was typed, None for anything else.

    Args:
        said: a key, a label's name or alias, or the only start of a label's name.
        labels: the labels.
        names: names and aliases, in lower case, of the labels.
    """
    word = said.lower()
    if word in _COMMANDS:
        return word
    found = choices(labels).get(word) or names.get(word)
    begun = [label for label in labels if label.lower().startswith(word)]
    return found or (begun[0] if len(begun) == 1 and len(word) > 1 else None)


def walk(console: Console, review: Review, names: Mapping[str, str], keys: Keys, *, instructions: str) -> None:
    """Show one open review after the other and keep what is said of it, until all are answered or somebody quits."""
    console.print(plain(instructions), highlight=False)
    is_going = True
    while is_going:
        at = review.following()
        is_going = _last(console, review, names, keys) if at is None else _one(console, review, at, names, keys)


def show_reviewed(console: Console, reviewed: Reviewed) -> None:
    """Print how far the answers have come."""
    n_open = reviewed.n_sample - reviewed.n_answered - reviewed.n_skipped
    if reviewed.n_in_order < reviewed.n_answered + reviewed.n_skipped:
        text = f"only the first {reviewed.n_in_order:,} count so far: the review after them has no answer yet"
        console.print(plain(text), style="yellow", soft_wrap=True)
    whole = (
        f"{reviewed.n_answered:,} of {reviewed.n_sample:,} answered, {reviewed.n_skipped:,} skipped, {n_open:,} open"
    )
    console.print(plain(whole), style="bold", highlight=False, soft_wrap=True)
    console.print(plain(f"next: {reviewed.next_command}"), highlight=False, soft_wrap=True)


def _one(console: Console, review: Review, at: int, names: Mapping[str, str], keys: Keys) -> bool:
    """Show a review and take one answer, undo or skip; return whether to go on."""
    _show(console, review, at)
    while True:
        typed = keys.read()
        said = meaning(typed, review.labels, names) if typed else QUIT
        if said == QUIT:
            return False
        if said == UNDO and review.undo() is None:
            console.print(plain("there is no answer to take back"), highlight=False)
        elif said is not None:
            break
        elif not typed.isspace():
            console.print(plain(f"'{typed[:40]}' is none of: {_keys_line(review.labels)}"), highlight=False)
    if said == UNDO:
        console.print(plain("taken back"), highlight=False)
    else:
        console.print(plain("skipped" if said == SKIP else said), style="bold", highlight=False)
        review.answer(at, None if said == SKIP else said)
    return True


def _last(console: Console, review: Review, names: Mapping[str, str], keys: Keys) -> bool:
    """After the last answer only an undo goes on: the last one can be a slip too."""
    console.print(plain(f"\nall {review.n_done:,} are answered · u undo · any other key ends"), highlight=False)
    is_undo = meaning(keys.read() or QUIT, review.labels, names) == UNDO and review.undo() is not None
    if is_undo:
        console.print(plain("taken back"), highlight=False)
    return is_undo


def _show(console: Console, review: Review, at: int) -> None:
    one = review.drawn.row(at, named=True)
    console.print()
    head = f"{review.n_done + 1:,} of {review.drawn.height:,} · review {one['review_id'][:80]}"
    console.print(plain(head), style="dim", highlight=False)
    if one["title"]:
        console.print(plain(one["title"][:_MOST_CHARS]), style="bold", highlight=False)
    console.print(_lines(one["text"]), highlight=False)
    console.print(plain(_keys_line(review.labels)), style="dim", highlight=False)


def _lines(text: str) -> Text:
    """Return a text with its line ends, cut where it is very long."""
    shown = Text("\n").join(plain(line) for line in text[:_MOST_CHARS].splitlines())
    if len(text) > _MOST_CHARS:
        shown.append(f"\n... and {len(text) - _MOST_CHARS:,} characters more, which --export writes whole")
    return shown


def _keys_line(labels: Sequence[str]) -> str:
    made = choices(labels)
    of_label: dict[str, list[str]] = {label: [] for label in labels}
    for key, label in made.items():
        of_label[label].append(key)
    named = [f"{'/'.join(keys)} {label}" if keys and keys != [label] else label for label, keys in of_label.items()]
    return " · ".join([", ".join(named), *(f"{key} {word}" for key, word in _COMMANDS.items())])
