"""What never gets an answer is remembered by every process, and nothing damaged is believed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from archived import context, opened, put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt.cache import upkeep
from reviewopt.cache.refusals import FILE, Refusals
from reviewopt.errors import InputError


def key(number: int) -> str:
    return f"{number:032x}"


def keys(*numbers: int) -> pl.Series:
    return pl.Series("key", [key(number) for number in numbers], pl.String)


def opened_refusals(folder: Path) -> Refusals:
    return Refusals(folder, on_warning=pytest.fail, clock=lambda: 1_800_000_000.5)


def test_a_refusal_is_known_at_once_and_to_the_next_process(tmp_path: Path) -> None:
    first = opened_refusals(tmp_path / "cache")
    assert first.known(keys(1, 2)) == {}
    assert not (tmp_path / "cache").exists()
    first.add([key(2)], ["content filter"], [3])
    for refusals in (first, opened_refusals(tmp_path / "cache")):
        assert refusals.known(keys(1, 2, 3, 2)) == {1: "content filter", 3: "content filter"}
        assert refusals.known(keys()) == {}
        assert len(refusals) == 1
    assert (tmp_path / "cache" / FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_tries_add_up_and_the_last_reason_counts(tmp_path: Path) -> None:
    refusals = opened_refusals(tmp_path)
    refusals.add([key(1), key(1)], ["a", "b"], [1, 2])
    refusals.add([key(1)], ["c"], [4])
    for one in (refusals, opened_refusals(tmp_path)):
        held = [(line.key, line.reason, line.n_tries, line.created_s) for line in one._held.values()]
        assert held == [(key(1), "c", 7, 1_800_000_000)]


def test_adding_takes_no_more_steps_the_more_is_known(tmp_path: Path) -> None:
    refusals = opened_refusals(tmp_path)
    n_steps: list[int] = []
    for first in (0, 1000):
        n_steps.append(0)

        def count(*_: object) -> None:
            n_steps[-1] += 1

        sys.setprofile(count)
        try:
            refusals.add([key(first)], ["a"], [1])
        finally:
            sys.setprofile(None)
        numbers = range(first + 1, first + 1000)
        refusals.add([key(number) for number in numbers], ["a"] * len(numbers), [1] * len(numbers))
    assert n_steps[1] < n_steps[0] + 100


def test_what_is_added_or_forgotten_after_a_look_up_is_seen_by_the_next(tmp_path: Path) -> None:
    refusals = opened_refusals(tmp_path)
    assert refusals.known(keys(1)) == {}
    refusals.add([key(1)], ["a"], [1])
    assert refusals.known(keys(1)) == {0: "a"}
    refusals.forget([key(1)])
    assert refusals.known(keys(1)) == {}
    assert len(refusals) == 0


def test_what_was_forgotten_is_asked_again_until_it_is_refused_once_more(tmp_path: Path) -> None:
    refusals = opened_refusals(tmp_path)
    refusals.add([key(1), key(2)], ["a", "b"], [5, 5])
    refusals.forget([key(1)])
    assert refusals.known(keys(1, 2)) == opened_refusals(tmp_path).known(keys(1, 2)) == {1: "b"}
    refusals.add([key(1)], ["c"], [1])
    assert [opened_refusals(tmp_path)._held[key(n)].n_tries for n in (1, 2)] == [1, 5]


def test_another_process_is_seen_after_a_refresh(tmp_path: Path) -> None:
    one, other = opened_refusals(tmp_path), opened_refusals(tmp_path)
    one.add([key(1)], ["a"], [1])
    assert other.known(keys(1)) == {}
    other.refresh()
    assert other.known(keys(1)) == {0: "a"}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_byte_costs_its_own_line_and_never_what_comes_after(tmp_path: Path, data: st.DataObject) -> None:
    Refusals(tmp_path).clear()
    opened_refusals(tmp_path).add([key(n) for n in range(4)], list("abcd"), [1] * 4)
    stored = (tmp_path / FILE).read_bytes()
    at = data.draw(st.integers(0, len(stored) - 1))
    bit = data.draw(st.integers(0, 7))
    (tmp_path / FILE).write_bytes(stored[:at] + bytes([stored[at] ^ 1 << bit]) + stored[at + 1 :])
    warnings: list[str] = []
    damaged = Refusals(tmp_path, on_warning=warnings.append)
    whole = dict(enumerate("abcd"))
    assert damaged.known(keys(0, 1, 2, 3)).items() <= whole.items()
    assert len(damaged) >= 2  # a line break that is gone joins two lines
    assert len(warnings) == 1
    Refusals(tmp_path).add([key(9)], ["e"], [1])
    assert Refusals(tmp_path).known(keys(9)) == {0: "e"}


@pytest.mark.parametrize("n_bytes", [1, 20, 60])
def test_a_torn_line_is_left_out_and_the_next_one_stands_on_its_own(tmp_path: Path, n_bytes: int) -> None:
    opened_refusals(tmp_path).add([key(1), key(2)], ["a", "b"], [1, 1])
    stored = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(stored[:-n_bytes])
    Refusals(tmp_path).add([key(3)], ["c"], [1])
    assert Refusals(tmp_path).known(keys(1, 3)) == {0: "a", 1: "c"}


def test_a_reason_holds_any_text(tmp_path: Path) -> None:
    reason = 'line\none\r\n\x1b[31m "two" \u2028 é'
    opened_refusals(tmp_path).add([key(1)], [reason], [1])
    assert opened_refusals(tmp_path).known(keys(1)) == {0: reason}


_ADD = """
import sys
from pathlib import Path
from reviewopt.cache.refusals import Refusals
refusals, first = Refusals(Path(sys.argv[1])), int(sys.argv[2])
for number in range(first, first + 40):
    refusals.add([f"{number:032x}"], ["r" * 5000], [1])
"""


def test_processes_that_add_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    running = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", _ADD, str(tmp_path), str(first)])
        for first in (0, 40, 80)
    ]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    assert len(opened_refusals(tmp_path)) == 120


def test_a_file_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    warnings: list[str] = []
    refusals = Refusals(tmp_path, on_warning=warnings.append)
    (tmp_path / FILE).mkdir()  # nothing can be written there, by root neither
    for number in (1, 2):
        refusals.add([key(number)], ["a"], [1])
    assert refusals.known(keys(1, 2)) == {0: "a", 1: "a"}
    assert len(warnings) == 1
    assert "asked again in the next run" in warnings[0]


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine\n")
    (tmp_path / FILE).symlink_to(tmp_path / "mine")
    warnings: list[str] = []
    Refusals(tmp_path, on_warning=warnings.append).add([key(1)], ["a"], [1])
    assert (tmp_path / "mine").read_text() == "mine\n"


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(InputError, match=r"cannot read .*refusals: .*--home"):
        Refusals(tmp_path)


def test_clearing_the_archive_clears_them_too() -> None:
    folder = Path("home/cache")
    with opened(Path("home")) as archive:
        put(archive, ["good"], context("model"))
        opened_refusals(folder).add([key(1)], ["a"], [1])
        assert upkeep.verify(archive, repair=False, on_progress=lambda *_: None).is_sound
        upkeep.drop_sidecars(folder)
        assert len(opened_refusals(folder)) == 1
        upkeep.clear(archive, folder)
        assert not (folder / FILE).exists()
    refusals = opened_refusals(folder)
    assert len(refusals) == 0
    refusals.add([key(1)], ["a"], [1])
    refusals.clear()
    assert refusals.known(keys(1)) == opened_refusals(folder).known(keys(1)) == {}
