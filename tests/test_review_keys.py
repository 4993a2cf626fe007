"""The keys of `reviewopt review`: on a terminal one at a time, and whatever ends it, what was answered stays."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pytest
from conftest import Run
from rich.console import Console
from test_review import HOME, TABLE, TASK, TEXTS, given, order, write_table

from reviewopt.load.labels import label_map
from reviewopt.render import review as render

NAMES = label_map(TASK, None).names


@pytest.fixture(autouse=True)
def _table() -> None:
    write_table(TEXTS)


@contextmanager
def terminal(*arguments: str) -> Iterator[tuple[int, subprocess.Popen[bytes], IO[bytes]]]:
    """Run the command with a terminal as its standard input: the terminal's other end, the process, what it shows."""
    theirs_to_type, its = pty.openpty()
    command = [sys.executable, "-W", "error", "-m", "reviewopt", "review", str(TABLE), *arguments]
    environment = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}
    made = subprocess.Popen(command, stdin=its, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    before = termios.tcgetattr(its)
    assert made.stderr is not None
    assert made.stdout is not None
    try:
        with made, made.stderr as shown:
            try:
                yield theirs_to_type, made, shown
            finally:
                made.kill()
        assert made.returncode == -signal.SIGKILL or termios.tcgetattr(its) == before, "the terminal is as it was"
    finally:
        os.close(theirs_to_type)
        os.close(its)


def until(shown: IO[bytes], words: str) -> None:
    """Read what is shown up to a line that holds the words."""
    for line in shown:
        if words in line.decode():
            return
    raise AssertionError(f"never shown: {words}")


def test_one_key_answers_on_a_terminal() -> None:
    with terminal("--json") as (typing, process, shown):
        for n, key in [(1, b"1"), (2, b"\x1b[A2"), (3, b"s"), (4, b"u")]:
            until(shown, f"{n} of 6 ")
            until(shown, "q quit")
            os.write(typing, key)
        until(shown, "taken back")
        until(shown, "3 of 6 ")
        until(shown, "q quit")
        os.write(typing, b"3q")
        process.wait(60)
        assert process.returncode == 0
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["n_answered"] == 3
    assert list(given().items()) == list(zip(order(3), ["negative", "neutral", "positive"], strict=True))


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_what_was_answered_stays_whatever_ends_it(inside: Run, sent: signal.Signals, code: int) -> None:
    with terminal() as (typing, process, shown):
        until(shown, "q quit")
        os.write(typing, b"2")
        until(shown, "2 of 6 ")
        until(shown, "q quit")
        process.send_signal(sent)
        assert process.wait(60) == code
    assert given() == {order()[0]: "neutral"}
    (path,) = (HOME / "review").iterdir()
    path.write_bytes(path.read_bytes() + b'{"row":')
    again = inside("review", TABLE, stdin="1\n")
    assert again.returncode == 0
    assert "was cut" in again.stderr
    assert "2 of 6 " in again.stderr
    assert given() == dict(zip(order(2), ["neutral", "negative"], strict=True))


@pytest.mark.parametrize(
    ("labels", "keys"),
    [
        (("negative", "neutral", "positive"), {"1": "negative", "2": "neutral", "3": "positive"}),
        (("good", "bad"), {"1": "good", "2": "bad", "g": "good", "b": "bad"}),
        (("sad", "happy"), {"1": "sad", "2": "happy"}),
        (("1", "2", "3"), {"1": "1", "2": "2", "3": "3"}),
        (("2", "10", "1"), {}),
        (("u", "v"), {"1": "u", "2": "v"}),
        (tuple(f"label {n}" for n in range(10)), {}),
    ],
)
def test_each_label_has_a_key_that_means_nothing_else(labels: tuple[str, ...], keys: dict[str, str]) -> None:
    assert render.choices(labels) == keys


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("U", "u"),
        ("3", "positive"),
        ("POS", "positive"),
        ("neut", "neutral"),
        ("ne", None),
        ("n", None),
        ("p", None),
        ("4", None),
    ],
)
def test_keys_names_aliases_and_starts_are_understood(said: str, meant: str | None) -> None:
    assert render.meaning(said, TASK.labels, NAMES) == meant


def test_numbers_as_labels_are_never_places_in_a_list() -> None:
    labels = ("2", "10", "1")
    assert [render.meaning(said, labels, {one: one for one in labels}) for said in ("1", "2", "10", "3")] == [
        "1",
        "2",
        "10",
        None,
    ]


def test_the_keys_are_shown_with_their_labels() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(render._keys_line(("good", "bad")))
    assert out.getvalue() == "1/g good, 2/b bad · u undo · s skip · q quit\n"


def test_a_line_that_is_blank_is_no_answer() -> None:
    keys: Any = render.LineKeys(io.StringIO("\n  \n pos \n"))
    assert [keys.read(), keys.read()] == ["pos", ""]


def test_arrows_are_no_letters_and_the_end_of_the_input_ends() -> None:
    typing, its = pty.openpty()
    with os.fdopen(its) as file, render.TerminalKeys(file) as keys:
        os.write(typing, b"\x1b[A\x1bOB\x1b[1;5Cg2\x04")
        assert [keys.read(), keys.read(), keys.read()] == ["g", "2", ""]
    os.close(typing)
