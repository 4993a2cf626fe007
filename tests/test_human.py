"""Answers of people: kept at once, private, resumable, and only the start of the sample counts."""

from __future__ import annotations

import resource
import signal
import stat
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt import human
from reviewopt.errors import InputError, UsageError
from reviewopt.human import Answers

LABELS = ("negative", "neutral", "positive")
SAME_FOLDER = [HealthCheck.function_scoped_fixture]
STEPS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([*LABELS, None])) | st.none(), max_size=25)


def place(home: Path = Path("home"), **changes: object) -> Path:
    parts = {"table": "f" * 64, "task": "sentiment", "labels": LABELS, "columns": ("text", None)} | changes
    return human.place(home, **parts)  # type: ignore[arg-type]


def keep(path: Path, *rows: tuple[int, str | None]) -> None:
    with Answers(path, LABELS) as answers:
        answers.append(rows)


@settings(max_examples=30, suppress_health_check=SAME_FOLDER)
@given(steps=STEPS)
def test_what_is_read_is_what_was_answered_less_what_was_taken_back(
    tmp_path: Path, steps: list[tuple[int, str | None] | None]
) -> None:
    path = tmp_path / "review" / "answers.jsonl"
    path.unlink(missing_ok=True)
    expected: dict[int, str | None] = {}
    for step in steps:
        with Answers(path, LABELS) as answers:  # anew each time: nothing hangs on one process
            if step is None:
                assert answers.undo() == (list(expected)[-1] if expected else None)
                if expected:
                    expected.popitem()
            else:
                answers.append([step])
                expected.pop(step[0], None)
                expected[step[0]] = step[1]
            assert list(answers.given.items()) == list(expected.items())
    assert list(human.read(path, LABELS).items()) == list(expected.items())


def test_the_file_is_named_after_all_that_an_answer_hangs_on() -> None:
    changes: list[dict[str, object]] = [
        {},
        {"table": "0" * 64},
        {"task": "other"},
        {"labels": LABELS[:2]},
        {"labels": ("negative", "neutralpositive")},
        {"columns": ("body", None)},
        {"columns": ("text", "title")},
        {"home": Path("elsewhere")},
    ]
    paths = {place(**change) for change in changes}  # type: ignore[arg-type]
    assert len(paths) == len(changes)
    assert all(path.parent.name == "review" and len(path.stem) == 16 for path in paths)


def test_only_the_user_can_read_it_and_it_holds_rows_and_labels_alone() -> None:
    keep(place(), (17, "positive"), (4, None))
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (Path("home"), Path("home/review"), place())]
    assert modes == [0o700, 0o700, 0o600]
    with Answers(place(), LABELS) as answers:
        answers.undo()
    lines = place().read_text().splitlines()
    assert lines == ['{"row":17,"label":"positive"}', '{"row":4,"label":null}', '{"row":4,"undo":true}']


@pytest.mark.parametrize("cut", [b'{"row":9,"la', b'{"row":9,"label":"positive"}', b"\xff"])
def test_a_last_line_that_was_cut_is_told_of_and_joined_to_nothing(cut: bytes) -> None:
    keep(place(), (1, "neutral"))
    place().write_bytes(place().read_bytes() + cut)
    told: list[str] = []
    assert human.read(place(), LABELS, on_warning=told.append) == {1: "neutral"}
    assert "was cut" in told[0]
    keep(place(), (2, "positive"))
    assert human.read(place(), LABELS, on_warning=pytest.fail) == {1: "neutral", 2: "positive"}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no json",
        b'{"row":1}',
        b'{"row":-1,"label":null}',
        b'{"row":1,"label":"great"}',
        b'{"row":1,"label":"neutral","undo":true}',
        b'{"row":1,"undo":false}',
        b'{"row":1,"undo":true}',
        b'{"row":1,"label":"neutral","text":"foreign"}',
        b'{"row":1,"label":"\xff"}',
    ],
)
def test_a_damaged_line_is_an_error_that_names_it_and_changes_nothing(line: bytes) -> None:
    keep(place(), (5, "neutral"))
    content = place().read_bytes() + line + b'\n{"row":2,"label":null}\n'
    place().write_bytes(content)
    for _ in range(2):
        with pytest.raises(InputError, match=r"line 2: damaged"):
            human.read(place(), LABELS)
        with pytest.raises(InputError, match=r"line 2: damaged"):
            keep(place(), (3, "positive"))
    assert place().read_bytes() == content


def test_no_file_is_no_answers_and_a_folder_is_an_error() -> None:
    assert human.read(place(), LABELS) == {}
    place().mkdir(parents=True)
    with pytest.raises(InputError, match="cannot read"):
        human.read(place(), LABELS)
    with pytest.raises(InputError, match="--home"):
        keep(place())


def test_two_processes_do_not_answer_at_once() -> None:
    with Answers(place(), LABELS) as first:
        with pytest.raises(UsageError, match="another process"):
            keep(place(), (1, "neutral"))
        first.append([(2, "positive")])
    keep(place(), (1, "neutral"))
    assert human.read(place(), LABELS) == {2: "positive", 1: "neutral"}


def test_a_label_of_another_task_is_refused_with_all_that_came_with_it() -> None:
    with Answers(place(), LABELS) as answers, pytest.raises(ValueError, match="label"):
        answers.append([(1, "neutral"), (2, "great")])
    assert human.read(place(), LABELS) == {}


def test_answers_that_do_not_fit_on_the_disk_are_none_at_all() -> None:
    keep(place(), (1, "neutral"))
    before = place().read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Answers(place(), LABELS) as answers:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 40, limits[1]))
            with pytest.raises(InputError, match="cannot keep"):
                answers.append([(2, "positive"), (3, "positive"), (4, "positive")])
            assert answers.given == {1: "neutral"}
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert place().read_bytes() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_link_in_the_place_of_the_file_is_not_followed() -> None:
    place().parent.mkdir(parents=True)
    Path("precious").write_text("mine")
    place().symlink_to(Path("precious").resolve())
    with pytest.raises(InputError):
        keep(place(), (1, "neutral"))
    assert Path("precious").read_text() == "mine"


# The start of the sample


def test_only_the_start_without_a_gap_counts() -> None:
    drawn = pl.DataFrame({"row": [40, 7, 19, 3]})
    rows, codes = human.answered_prefix(drawn, {3: "positive", 7: None, 40: "positive"}, LABELS)
    assert (rows.tolist(), codes.tolist()) == ([40, 7], [2, human.SKIPPED])
    assert (str(rows.dtype), str(codes.dtype)) == ("int64", "int16")
    assert human.answered_prefix(drawn, {7: "neutral"}, LABELS)[0].tolist() == []
    every = dict.fromkeys((3, 7, 19, 40, 99), "negative")
    assert human.answered_prefix(drawn, every, LABELS)[0].tolist() == [40, 7, 19, 3]
    assert human.answered_prefix(drawn[:0], every, LABELS)[1].tolist() == []
