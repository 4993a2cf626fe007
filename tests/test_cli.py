"""What a user meets: exit codes, streams, and what is printed where."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from conftest import Run

from reviewopt import cli
from reviewopt.errors import GateError, InputError, ModelError, UsageError

CSV = "id,title,text,stars,category\n007,Great,I love it,5,books\nNA,Bad,It broke after a day,1,books\n3,,,3,toys\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "shop.csv"
    path.write_text(CSV)
    return path


def test_process_labels_a_table_and_report_prints_it(reviewopt: Run, inside: Run, table: Path) -> None:
    done = reviewopt("process", table)
    assert done.returncode == 0
    chosen = "columns: text=text, title=title, id=id, label=stars (1-2=negative, 3=neutral, 4-5=positive), "
    assert done.stderr.splitlines()[0] == chosen + "category=category"
    labelled = pl.read_parquet("shop.labelled.parquet")
    assert labelled["id"].to_list() == ["007", "NA", "3"]
    assert labelled["sentiment"].to_list() == ["positive", "negative", None]
    assert labelled["sentiment_source"].to_list() == ["local", "local", "empty"]
    assert labelled.schema["sentiment_cost_usd"] == pl.Decimal(18, 12)
    assert "3 reviews labelled in shop.labelled.parquet" in done.stdout
    again = inside("report")
    assert again.returncode == 0
    assert done.stdout.startswith(again.stdout.rstrip("\n"))


def test_json_goes_to_stdout_alone_and_holds_the_report(inside: Run, table: Path) -> None:
    done = inside("process", table, "--json")
    made = json.loads(done.stdout)
    assert (made["schema_version"], made["state"], made["run"]["n_rows"]) == (3, "done", 3)
    reported = json.loads(inside("report", made["run"]["run_id"], "--format", "json").stdout)
    assert reported == made


def test_quiet_prints_nothing(inside: Run, table: Path) -> None:
    done = inside("process", table, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_dash_reads_standard_input_and_writes_json_lines_to_standard_output(reviewopt: Run) -> None:
    done = reviewopt("process", "-", "-o", "-", stdin=CSV)
    assert done.returncode == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == ["007", "NA", "3"]
    assert "reviews labelled" in done.stderr


def test_several_tables_give_one_output_with_their_names(inside: Run, tmp_path: Path, table: Path) -> None:
    pl.DataFrame({"text": ["fine"], "brand": ["x"]}).write_parquet(tmp_path / "more.parquet")
    done = inside("process", table, "more.parquet", "-o", "all.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["source_file"]).name for row in rows] == ["shop.csv"] * 3 + ["more.parquet"]
    assert [row["brand"] for row in rows] == ["", "", "", "x"]


def test_answers_take_a_prefix_where_the_table_has_such_a_column(inside: Run, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,sentiment\ngood,positive\n")
    done = inside("process", "in.csv")
    assert "the table has sentiment: the answers are in reviewopt_sentiment," in done.stderr
    labelled = pl.read_parquet("in.labelled.parquet")
    assert labelled.columns[2:6] == [f"reviewopt_sentiment{end}" for end in ("", "_confidence", "_source", "_cost_usd")]
    assert labelled.columns[6:] == ["reviewopt_duplicate_of", "reviewopt_cluster"]


def test_show_config_prints_each_value_with_its_origin(inside: Run, tmp_path: Path) -> None:
    (tmp_path / "reviewopt.toml").write_text("[process]\nthreads = 1\n")
    shown = inside("process", "--show-config", "--limit", "5", REVIEWOPT_COLUMNS_TEXT="body").stdout
    lines = [line.split() for line in shown.splitlines()]
    assert ["process.threads", "1", "reviewopt.toml"] in lines
    assert ["process.limit", "5", "flag"] in lines
    assert ["columns.text", "body", "REVIEWOPT_COLUMNS_TEXT"] in lines
    assert ["process.task", "sentiment", "default"] in lines
    assert ["home", ".reviewopt", "default"] in lines
    settings = json.loads(inside("process", "--show-config", "--json").stdout)
    assert {"name": "process.threads", "value": 1, "origin": "reviewopt.toml"} in settings


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["process"], 2, "name a table"),
        (["process", "none.csv"], 2, "none.csv"),
        (["process", "shop.csv", "--text-column", "body"], 2, "body"),
        (["process", "shop.csv", "--task", "none"], 2, "packaged are: category, review, sentiment"),
        (["process", "shop.csv", "--local-model", "none.npz"], 3, "reviewopt train"),
        (["process", "shop.csv", "--local-model", "shop.csv"], 3, "not a reviewopt model"),
        (["process", "shop.csv", "--config", "none.toml"], 2, "none.toml"),
        (["process", "shop.csv", "-o", "out.xlsx"], 2, ".parquet, .csv, .jsonl"),
        (["process", "shop.csv", "-o", "shop.csv", "--force"], 2, "the table that is read"),
        (["process", "shop.csv", "--wrong"], 2, "--wrong"),
        (["proces", "shop.csv"], 2, "proces"),
        (["report"], 2, "reviewopt process TABLE"),
        (["report", "20260101-000000-abcdef"], 2, "there is no run"),
        (["train", "shop.csv"], 2, "output"),
        (["train", "shop.csv", "-o", "none/m.npz"], 2, "there is no folder"),
        (["train", "shop.csv", "-o", "m.npz", "--label-column", "none"], 2, "name it with --label-column"),
    ],
)
def test_what_cannot_be_done_says_why_and_exits_with_its_code(
    inside: Run, table: Path, arguments: list[str], code: int, words: str
) -> None:
    failed = inside(*arguments)
    assert table.read_text() == CSV
    assert (failed.returncode, failed.stdout) == (code, "")
    assert words in failed.stderr
    assert "Traceback" not in failed.stderr


def test_an_existing_output_is_kept_unless_forced(inside: Run, tmp_path: Path, table: Path) -> None:
    (tmp_path / "shop.labelled.parquet").write_text("mine")
    kept = inside("process", table)
    assert (kept.returncode, (tmp_path / "shop.labelled.parquet").read_text()) == (2, "mine")
    assert "--force" in kept.stderr
    assert inside("process", table, "--force", "--quiet").returncode == 0


def test_a_bug_exits_with_70_and_its_traceback() -> None:
    program = (
        "import sys; from reviewopt.cli import run\n"
        "sys.modules['reviewopt.cli.report'] = None  # as in a broken installation\n"
        "sys.exit(run(['report']))"
    )
    failed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert failed.returncode == 70
    assert "Traceback" in failed.stderr
    assert "please report it" in failed.stderr


@pytest.mark.parametrize("error", [EOFError("x"), KeyError("x"), OSError("x")])
def test_an_error_that_is_not_ours_is_a_bug(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._exit_code(error) == 70
    assert type(error).__name__ in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [(GateError("x"), 1), (UsageError("x"), 2), (InputError("x"), 2), (ModelError("x"), 3), (KeyboardInterrupt(), 130)],
)
def test_every_kind_of_error_has_its_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli._exit_code(error) == code
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["-h"], ["process", "--help"], ["report", "--help"]])
def test_help_and_version_print_to_stdout(reviewopt: Run, arguments: list[str]) -> None:
    done = reviewopt(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "reviewopt" in done.stdout


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_help_and_version_load_nothing_heavy(argument: str) -> None:
    program = (
        "import sys; sys.argv = ['reviewopt', sys.argv[1]]\n"
        "from reviewopt.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'polars', 'numpy', 'sklearn', 'scipy', 'datasets', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, argument], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_process_loads_no_training_or_data_set_library(table: Path) -> None:
    program = (
        "import sys; from reviewopt.cli import run; code = run(['process', sys.argv[1], '-q'])\n"
        "print(code, sorted({'sklearn', 'scipy', 'datasets', 'pandas', 'tiktoken'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, table], capture_output=True, text=True, check=True)
    assert done.stdout == "0 []\n"


def test_a_closed_pipe_is_no_error(table: Path) -> None:
    shown = subprocess.run(
        ["/bin/sh", "-c", f"({sys.executable} -m reviewopt process {table} -o -; echo $? >&2) | true"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr.endswith("\n0\n")
    assert "Traceback" not in shown.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("command", ["process shop.csv --force --json", "process shop.csv -o -", "report"])
def test_a_full_disk_behind_standard_output_is_no_bug(inside: Run, table: Path, command: str) -> None:
    assert inside("process", table, "-q").returncode == 0
    shown = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m reviewopt {command} > /dev/full"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 2
    assert "No space left" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_train_never_overwrites_its_table(inside: Run, table: Path) -> None:
    failed = inside("train", table, "-o", table, "--force")
    assert (failed.returncode, table.read_text()) == (2, CSV)


def started(folder: Path) -> subprocess.Popen[str]:
    """Start a run that takes long, and return once its record says that rows are written."""
    with (folder / "large.csv").open("w") as file:
        file.write("text\n")
        for at in range(400_000):
            file.write(f"the review with the number {at} is not bad at all\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "reviewopt", "process", "large.csv", "-o", "out.parquet"],
        cwd=folder,
        env={**os.environ, "REVIEWOPT_PROCESS_CHUNK_ROWS": "500"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        records = list(folder.glob(".reviewopt/runs/*/run.json"))
        if records and json.loads(records[0].read_text())["n_rows"]:
            return process
        time.sleep(0.1)
    process.kill()
    raise AssertionError("the run never began")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_exits_with_130_and_leaves_a_record_and_no_output(tmp_path: Path, number: int) -> None:
    process = started(tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    (record,) = tmp_path.glob(".reviewopt/runs/*/run.json")
    assert (process.returncode, json.loads(record.read_text())["status"]) == (130, "interrupted")
    assert "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == [".reviewopt", "large.csv"]


def test_a_killed_run_leaves_a_record_that_says_so(inside: Run, tmp_path: Path) -> None:
    process = started(tmp_path)
    running = json.loads(inside("report", "--json").stdout)
    process.kill()
    process.communicate(timeout=60)
    killed = json.loads(inside("report", "--json").stdout)
    assert (running["state"], killed["state"], killed["run"]["status"]) == ("running", "killed", "unfinished")
    assert not (tmp_path / "out.parquet").exists()
    assert "was killed after" in inside("report").stdout
