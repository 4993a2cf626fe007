"""How many promises were tested on a table is never forgotten, and never guessed."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt.attempts import FOLDER, Attempts, Promise
from reviewopt.errors import InputError

TABLE = ("fingerprint", "sentiment", "negative", "positive", "strong")


def promise(target: float = 0.9, *, confidence: float = 0.95, per: str = "", policy: str = "p") -> Promise:
    return Promise(target=target, confidence=confidence, per=per, policy=policy)


def file_in(home: Path) -> Path:
    (path,) = (home / FOLDER).glob("*.jsonl")
    return path


def test_the_same_promise_twice_is_one_attempt(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path, *TABLE)
    assert [attempts.number(promise()) for _ in range(3)] == [1, 1, 1]
    assert len(file_in(tmp_path).read_bytes().splitlines()) == 1


@pytest.mark.parametrize(
    "other",
    [promise(0.95), promise(confidence=0.99), promise(per="tenant"), promise(policy="q")],
    ids=["target", "confidence", "per", "policy"],
)
def test_whatever_is_promised_otherwise_is_a_further_attempt(tmp_path: Path, other: Promise) -> None:
    attempts = Attempts(tmp_path, *TABLE)
    assert attempts.number(promise()) == 1
    assert attempts.number(other) == 2
    assert attempts.number(promise()) == 1  # and the first keeps its number


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_promises_are_numbered_by_when_each_was_first_made(
    tmp_path_factory: pytest.TempPathFactory, made: list[int]
) -> None:
    home = tmp_path_factory.mktemp("home")
    numbers = [Attempts(home, *TABLE).number(promise(policy=f"{one}")) for one in made]
    order = list(dict.fromkeys(made))
    assert numbers == [order.index(one) + 1 for one in made]


@pytest.mark.parametrize("at", range(len(TABLE)))
def test_another_table_task_label_or_reference_is_counted_apart(tmp_path: Path, at: int) -> None:
    assert Attempts(tmp_path, *TABLE).number(promise()) == 1
    other = [*TABLE]
    other[at] += "x"
    assert Attempts(tmp_path, *other).number(promise(policy="q")) == 1


def test_where_a_part_ends_is_part_of_the_name(tmp_path: Path) -> None:
    assert Attempts(tmp_path, "ab", "c").number(promise()) == 1
    assert Attempts(tmp_path, "a", "bc").number(promise(policy="q")) == 1


def test_two_processes_count_together(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from reviewopt.attempts import Attempts, Promise\n"
        "attempts = Attempts(Path(sys.argv[1]), 'table')\n"
        "print([attempts.number(Promise(target=.9, confidence=.95, per='', policy=sys.argv[2] + str(at)))"
        " for at in range(40)])"
    )
    commands = [[sys.executable, "-c", code, str(tmp_path), name] for name in ("a", "b")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
    said = [json.loads(one.communicate(timeout=120)[0]) for one in running]
    assert sorted(said[0] + said[1]) == list(range(1, 81))


def test_nobody_counts_while_another_does(tmp_path: Path) -> None:
    Attempts(tmp_path, *TABLE).number(promise())
    numbers: list[int] = []
    other = threading.Thread(target=lambda: numbers.append(Attempts(tmp_path, *TABLE).number(promise(0.99))))
    with file_in(tmp_path).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        other.start()
        other.join(timeout=0.3)
        assert other.is_alive()
        held.write(b'{"target":0.8,"confidence":0.95,"per":"","policy":"q"}\n')
    other.join(timeout=60)
    assert numbers == [3]


@pytest.mark.parametrize("torn", [b'{"target":0.', b"\xff\xfe", b"{"], ids=["cut", "bytes", "brace"])
def test_a_torn_last_line_was_tested_by_nobody(tmp_path: Path, torn: bytes) -> None:
    attempts = Attempts(tmp_path, *TABLE)
    attempts.number(promise())
    path = file_in(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert attempts.number(promise()) == 1
    assert attempts.number(promise(0.95)) == 2
    assert path.read_bytes().startswith(whole + b'{"target":0.95')
    assert attempts.number(promise(0.99)) == 3


@pytest.mark.parametrize(
    "line", [b'{"target":0.', b"\xff\xfe\x00", b"[]", b'{"target":0.9}', b'"\xc3\x28"'],
    ids=["cut", "no UTF-8", "no promise", "half a promise", "wrong UTF-8 in a string"],
)  # fmt: skip
@pytest.mark.parametrize("is_first", [True, False])
def test_a_damaged_line_is_an_error_and_nothing_is_tested_on_a_guess(
    tmp_path: Path, line: bytes, is_first: bool
) -> None:
    attempts = Attempts(tmp_path, *TABLE)
    attempts.number(promise())
    path = file_in(tmp_path)
    whole = path.read_bytes()
    damaged = line + b"\n" + whole if is_first else whole + line + b"\n"
    path.write_bytes(damaged)
    for one in (promise(), promise(0.95)):
        with pytest.raises(InputError, match="damaged") as caught:
            attempts.number(one)
        assert "--home" in str(caught.value)
    assert path.read_bytes() == damaged


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("no folder")
    with pytest.raises(InputError, match="cannot keep the promises"):
        Attempts(tmp_path, *TABLE).number(promise())


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    Attempts(tmp_path / "home", *TABLE).number(promise())
    path = file_in(tmp_path / "home")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_promise_that_only_looks_is_a_file_that_is_not_made(tmp_path: Path) -> None:
    Attempts(tmp_path, *TABLE)
    assert not (tmp_path / FOLDER).exists()


def test_a_damaged_file_is_found_before_anything_is_counted(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path, "table")
    attempts.check()
    assert not (tmp_path / "certificates").exists()
    attempts.number(Promise(target=0.9, confidence=0.95, per="", policy="one"))
    attempts.check()
    (path,) = (tmp_path / "certificates").iterdir()
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(InputError, match="damaged"):
        attempts.check()
