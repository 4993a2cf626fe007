"""What people see of a home's runs. Write wanted changes with SNAPSHOTS=write, then read the difference."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import IDS, entry
from rich.console import Console

from reviewopt import past
from reviewopt.accuracy import wilson
from reviewopt.past import Pruned, RunList, Unread
from reviewopt.past.pruning import Gone, Held
from reviewopt.render import runs as render
from reviewopt.render.trends import show_trends, sparkline
from reviewopt.render.two_runs import show_two_runs

SNAPSHOTS = Path(__file__).parent / "snapshots"
WRITE = os.environ.get("SNAPSHOTS") == "write"
LEVELS = "▁▂▃▄▅▆▇█"
MEASURED = st.floats(-1e12, 1e12)


def drawn(show: Callable[[Console], None], width: int = 80) -> str:
    file = io.StringIO()
    show(Console(file=file, width=width, force_terminal=False))
    return file.getvalue()


def same_as_snapshot(name: str, text: str) -> None:
    path = SNAPSHOTS / name
    if WRITE:
        path.write_text(text)
    assert text == path.read_text()


def ten_runs() -> RunList:
    """Ten runs, the newest first: one is certified, one was killed, one has no labels, one cannot be read."""
    runs = [
        entry(
            IDS[at],
            usd_per_1000=f"0.00{9 - at}4567",
            hit_rate=at / 10 if at else None,
            accuracy=wilson(9_300 + 10 * at, 10_000),
            reviews_per_s=1000.0 + 150 * (at % 3),
        )
        for at in range(9)
    ]
    runs[4] = entry(IDS[4], state="killed", n_rows=12_345, accuracy=None, n_labelled=0, usd_from="ledger")
    runs[6] = entry(IDS[6], accuracy=None, n_labelled=0)
    runs[8] = entry(IDS[8], is_certified=True, reference="gpt", target=0.95, accuracy_low=0.95129)
    unread = Unread(run_id=IDS[9], reason="its record is of version 2; this reviewopt reads 5")
    return RunList(schema_version=1, n_kept=12, is_cut=True, runs=tuple(runs[::-1]), unread=(unread,), notes=())


@given(st.lists(st.none() | MEASURED, max_size=15))
def test_a_sparkline_has_a_character_for_each_value_and_a_gap_for_each_null(values: list[float | None]) -> None:
    line = sparkline(values)
    assert [one == " " for one in line] == [value is None for value in values]


@given(st.lists(MEASURED, min_size=2, max_size=15))
def test_a_larger_value_is_never_drawn_lower(values: list[float]) -> None:
    bars = sorted(zip(values, sparkline(values), strict=True))
    assert [LEVELS.index(bar) for _, bar in bars] == sorted(LEVELS.index(bar) for _, bar in bars)


@given(st.lists(MEASURED, min_size=2, max_size=15, unique=True))
def test_the_least_is_drawn_lowest_and_the_largest_highest(values: list[float]) -> None:
    line = sparkline(values)
    assert (line[values.index(min(values))], line[values.index(max(values))]) == ("▁", "█")


@given(MEASURED, st.integers(1, 15))
def test_equal_values_are_drawn_flat_and_neither_low_nor_high(value: float, n: int) -> None:
    assert sparkline([value] * n) == "▄" * n


def test_even_steps_take_every_level() -> None:
    assert sparkline([float(one) for one in range(8)]) == LEVELS


@pytest.mark.parametrize("width", [80, 160])
def test_the_list_in_a_terminal(width: int) -> None:
    text = drawn(lambda console: render.show_list(console, ten_runs(), ".reviewopt"), width)
    same_as_snapshot(f"runs_{width}.txt", text)


def test_ten_runs_take_one_screen_of_a_terminal() -> None:
    lines = drawn(lambda console: render.show_list(console, ten_runs(), ".reviewopt")).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_the_trends_in_a_terminal() -> None:
    made = past.trends(ten_runs())
    text = drawn(lambda console: show_trends(console, made))
    same_as_snapshot("runs_trends.txt", text)


def test_the_bars_are_those_of_the_latest_runs_where_there_is_no_room_for_all() -> None:
    many = tuple(entry(f"202601{at:02}-030405-000000", hit_rate=at / 100) for at in range(60, 0, -1))
    made = past.trends(RunList(schema_version=1, n_kept=60, is_cut=False, runs=many, unread=(), notes=()))
    text = drawn(lambda console: show_trends(console, made))
    assert "the bars are those of the latest" in text
    assert max(map(len, text.splitlines()[1:7])) <= 80
    assert "…" not in text


def test_two_runs_in_a_terminal() -> None:
    made = past.compare(ten_runs().runs[-1], ten_runs().runs[0])
    same_as_snapshot("runs_compared.txt", drawn(lambda console: show_two_runs(console, made)))


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (wilson(900, 1000), wilson(960, 1000), "B is more accurate"),
        (wilson(960, 1000), wilson(900, 1000), "A is more accurate"),
        (wilson(95, 100), wilson(96, 100), "no difference in accuracy is shown"),
        (None, wilson(96, 100), "not known"),
    ],
    ids=["b", "a", "none", "unknown"],
)
def test_who_is_more_accurate_is_said_only_where_the_interval_shows_it(a: object, b: object, said: str) -> None:
    made = past.compare(entry(accuracy=a), entry(IDS[1], accuracy=b))
    assert said in drawn(lambda console: show_two_runs(console, made)).splitlines()[-1]


def test_what_is_proven_is_never_rounded_up() -> None:
    made = past.compare(entry(is_certified=True, target=0.95, accuracy_low=0.95999), entry(IDS[1]))
    assert "95.99 of 95" in drawn(lambda console: show_two_runs(console, made))


def test_foreign_text_is_neither_markup_nor_escape_codes() -> None:
    foreign = "[red]\x1b[31m\nx"
    bad = entry(inputs=(foreign,), task=foreign, models=(foreign,), output=foreign, reference=foreign)
    made = RunList(
        schema_version=1, n_kept=2, is_cut=False, notes=(foreign,),
        runs=(bad, entry(IDS[1], task=foreign)), unread=(Unread(run_id=IDS[2], reason=foreign),),
    )  # fmt: skip
    shown = [
        drawn(lambda console: render.show_list(console, made, foreign), 200),
        drawn(lambda console: show_trends(console, past.trends(made)), 200),
        drawn(lambda console: show_two_runs(console, past.compare(bad, entry(IDS[1]))), 200),
    ]
    for text in shown:
        assert "[red]?[31m x" in text
        assert "\x1b" not in text


def test_what_would_be_deleted_and_what_was() -> None:
    gone = tuple(Gone(run_id=run_id, n_bytes=5_000_000) for run_id in IDS[:12])
    made = Pruned(
        schema_version=1, is_deleted=False, n_bytes=60_000_000, n_left=3, gone=gone,
        held=(Held(run_id=IDS[12], reason="it is running"),),
    )  # fmt: skip
    text = drawn(lambda console: render.show_pruned(console, made))
    assert f"{IDS[12]} stays: it is running" in text
    assert "this would delete 12 runs and free 60.0 MB; nothing is deleted yet: add --yes" in text
    assert f"and 2 others, up to {IDS[11]}" in text
    nothing = Pruned(schema_version=1, is_deleted=True, n_bytes=0, n_left=3, gone=(), held=())
    assert "0 runs deleted, 0 bytes freed; 3 left" in drawn(lambda console: render.show_pruned(console, nothing))


def test_an_empty_home_names_the_command_that_makes_a_run() -> None:
    made = RunList(schema_version=1, n_kept=0, is_cut=False, runs=(), unread=(), notes=())
    text = drawn(lambda console: render.show_list(console, made, ".reviewopt"))
    assert text == "there is no run in .reviewopt; make one: reviewopt process TABLE\n"


def test_ids_that_share_their_second_are_written_in_full() -> None:
    twins = (entry("20260101-030405-000001"), entry("20260101-030405-000002"), entry(IDS[1]))
    made = RunList(schema_version=1, n_kept=3, is_cut=False, runs=twins, unread=(), notes=())
    text = drawn(lambda console: render.show_list(console, made, ".reviewopt"))
    assert "20260101-030405-000001" in text
    assert f"\n{IDS[1][:15]}  " in text
