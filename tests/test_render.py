"""What people see. After a wanted change run this file with SNAPSHOTS=write, then read the difference."""

from __future__ import annotations

import io
import os
from pathlib import Path

import msgspec
import pytest
from fakes import process
from rich.console import Console

from reviewopt import config, report
from reviewopt.accuracy import Estimate
from reviewopt.record import Machine, Run
from reviewopt.render import terminal
from reviewopt.render.progress import ProgressDisplay
from reviewopt.report import Report

SNAPSHOTS = Path(__file__).parent / "snapshots"
WRITE = os.environ.get("SNAPSHOTS") == "write"
TEXTS = [
    "good",
    "bad one",
    "good",
    "",
    "fine[red]",
    "it broke",
    "\x1b[31mred",
    "never again",
    "so so",
    "top",
    "awful",
    "ok",
]


@pytest.fixture
def made(tmp_path: Path) -> Report:
    """A report of twelve reviews, with whatever differs between two runs held still."""
    rows = [f'{at},"{text}",{at % 5 + 1},{"ab"[at % 2]}' for at, text in enumerate(TEXTS)]
    (tmp_path / "in.csv").write_text("\n".join(["id,text,stars,category", *rows]) + "\n")
    run, _ = process(tmp_path / "in.csv", tmp_path)
    still = msgspec.structs.replace(
        run,
        run_id="20260102-030405-abcdef",
        started_at="2026-01-02T03:04:05+00:00",
        finished_at="2026-01-02T03:04:06+00:00",
        versions={"reviewopt": "0"},
        machine=Machine(system="Linux x86_64", n_cores=2, python="3"),
        input=msgspec.structs.replace(run.input, names=("in.csv",)),
        output="out.parquet",
        stage_s={"load": 0.25},
        wall_s=1.5,
        cpu_s=2.0,
        peak_memory_bytes=100_000_000,
        reviews_per_s=8.0,
        cost=msgspec.structs.replace(run.cost, machine_usd="0.000041666667", machine_usd_per_hour="0.1"),
    )
    return report.of_run(still)


def in_state(state: report.State, run: Run) -> Report:
    return msgspec.structs.replace(report.of_run(run), state=state)


def drawn(made: Report, width: int = 80) -> str:
    file = io.StringIO()
    terminal.show_report(Console(file=file, width=width, force_terminal=False), made)
    return file.getvalue()


def same_as_snapshot(name: str, text: str) -> None:
    path = SNAPSHOTS / name
    if WRITE:
        path.write_text(text)
    assert text == path.read_text()


def test_the_report_in_a_terminal(made: Report) -> None:
    same_as_snapshot("report.txt", drawn(made))


def test_the_report_as_json(made: Report) -> None:
    same_as_snapshot("report.json", report.to_json(made) + "\n")


def test_the_tables_fit_eighty_columns(made: Report) -> None:
    tables = [line for line in drawn(made).splitlines() if line.startswith(" ")]
    assert tables
    assert max(map(len, tables)) <= 80
    assert not [line for line in tables if "…" in line]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("killed", "this run was killed after 12 reviews and left no output"),
        ("running", "still running: 12 reviews so far"),
        ("failed", "this run failed: the disk is full"),
        ("interrupted", "this run was interrupted"),
    ],
)
def test_a_run_that_did_not_end_well_says_so_last(made: Report, state: report.State, words: str) -> None:
    run = msgspec.structs.replace(made.run, error="the disk is full", accuracy=None)
    assert words in drawn(in_state(state, run)).splitlines()[-1]


def test_foreign_text_is_never_markup(made: Report) -> None:
    run = msgspec.structs.replace(made.run, output="[bold]out[/bold].parquet", task="[red]task")
    text = drawn(report.of_run(run))
    assert "[bold]out[/bold].parquet" in text
    assert "[red]task" in text


def test_foreign_text_never_reaches_the_terminal_as_escape_codes(made: Report) -> None:
    code = "\x1b]0;a\x07\x9b31m\u202e\ud800\nb"
    old = made.run.accuracy
    assert old is not None
    scores = tuple(msgspec.structs.replace(score, label=code) for score in old.overall.classes)
    groups = tuple(msgspec.structs.replace(score, group=code + score.group) for score in old.groups)
    accuracy = msgspec.structs.replace(
        old, labels=(code,) * 3, groups=groups, overall=msgspec.structs.replace(old.overall, classes=scores)
    )
    group = msgspec.structs.replace(made.run.groups.largest[0], review_id=code, example=code)
    foreign = msgspec.structs.replace(
        made.run,
        run_id=code,
        task=code,
        error=code,
        output=code,
        model=msgspec.structs.replace(made.run.model, languages=(code,)),
        input=msgspec.structs.replace(made.run.input, names=(code,), columns={**made.run.input.columns, "label": code}),
        n_by_label={code: 12},
        n_by_source={**made.run.n_by_source, code: 1},
        groups=msgspec.structs.replace(made.run.groups, largest=(group,)),
        accuracy=accuracy,
        n_outside_languages=1,
    )
    states: tuple[report.State, ...] = ("done", "failed")
    texts = [drawn(in_state(state, foreign), 400) for state in states]
    file = io.StringIO()
    terminal.show_settings(
        Console(file=file, width=400), [config.Setting(name="process.task", value=code, origin=code)]
    )
    for text in (*texts, file.getvalue()):
        assert "?]0;a??31m?? b" in text
        assert all(line.isprintable() for line in text.split("\n"))


def test_what_was_not_measured_says_so(made: Report) -> None:
    assert "not measured" not in drawn(made)
    accuracy = made.run.accuracy
    assert accuracy is not None
    unknown = Estimate(value=None, low=None, high=None)
    classes = tuple(msgspec.structs.replace(score, precision=unknown) for score in accuracy.overall.classes)
    overall = msgspec.structs.replace(accuracy.overall, classes=classes)
    run = msgspec.structs.replace(made.run, accuracy=msgspec.structs.replace(accuracy, overall=overall))
    assert drawn(report.of_run(run)).count("not measured") == 3


def test_progress_off_a_terminal_is_one_line_a_chunk_and_quiet_is_silent() -> None:
    loud, silent = io.StringIO(), io.StringIO()
    for file, quiet in ((loud, False), (silent, True)):
        progress = ProgressDisplay(Console(file=file, force_terminal=False, width=20), quiet=quiet)
        with progress.showing("labelling"):
            progress(10, 30, 0.5)
            progress(20, None, 1.0)
    assert loud.getvalue() == "10 of 30 reviews, 20 reviews/s, 1 s left\n20 reviews, 20 reviews/s\n"
    assert silent.getvalue() == ""
