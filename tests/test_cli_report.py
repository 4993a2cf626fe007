"""`reviewopt report` from the command line: its formats, its gates, and what it writes where."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
from conftest import Run as Command
from endpoint import Endpoint
from purses import purse, release, reserved, settlement, taken, wanted
from reports import run_of

from reviewopt.budget import run_requests
from reviewopt.config import packaged
from reviewopt.record import Run

BEFORE, NOW = "20260101-000000-000000", "20260102-000000-000000"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with two runs, each with 25 requests of a second at 0.04 USD."""
    for run_id in (BEFORE, NOW):
        save(tmp_path / "home", run_of(run_id=run_id, output="out.csv"))
        ask(tmp_path / "home", run_id, [1.0] * 25)
    return tmp_path / "home"


def save(home: Path, run: Run) -> Path:
    path = home / "runs" / run.run_id / "run.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(run))
    return path


def ask(home: Path, run_id: str, seconds: list[float]) -> None:
    with purse(home / "spend", run_id=run_id) as open_purse:
        reservations = reserved(open_purse, *[wanted("0.1")] * len(seconds))
        open_purse.settle(
            [settlement(one, "0.04", seconds=took) for one, took in zip(reservations, seconds, strict=True)]
        )


def said(done: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def test_the_requests_of_a_run_are_those_that_were_charged_and_no_other_runs(tmp_path: Path) -> None:
    folder = tmp_path / "spend"
    assert run_requests(folder, "a") is None
    with purse(folder, run_id="a") as a, purse(folder, run_id="b") as b:
        a.settle([settlement(taken(a), "0.5", seconds=2.0)])
        a.settle([settlement(taken(a), None, seconds=9.0, outcome="no_reply")])
        a.release([release(taken(a))])
        b.settle([settlement(taken(b), "0.25", seconds=1.0)])
        taken(a)  # in flight when the process was killed
    found = run_requests(folder, "a")
    assert found is not None
    assert (found.seconds, found.charged_usd) == ((2.0, 9.0), Decimal("2.5"))
    unknown = run_requests(folder, "c")
    assert unknown is not None
    assert (len(unknown.seconds), unknown.charged_usd) == (0, Decimal(0))


def test_latency_and_cost_are_in_the_report(inside: Command, home: Path) -> None:
    ask(home, NOW, [*[2.0] * 23, 8.0, 9.0])
    made = said(inside("report", "--home", home, "--json"))
    assert (made["schema_version"], made["ledger"]) == (3, "read")
    assert made["latency"] == {"n_requests": 50, "mean_s": 1.76, "p50_s": 1.0, "p95_s": 2.0, "max_s": 9.0}
    machine = Decimal(made["run"]["cost"]["machine_usd"])
    assert Decimal(made["cost"]["total_usd"]) == 1 + machine
    assert Decimal(made["cost"]["per_1000_usd"]) == 1 + machine


def test_a_killed_run_reports_what_it_did_with_what_the_ledger_knows(inside: Command, home: Path) -> None:
    save(home, run_of(run_id=NOW, n_rows=500, n_hits=0, spent_usd="0.1", status="unfinished"))
    made = said(inside("report", "--home", home, "--json"))
    assert (made["state"], made["run"]["n_rows"], made["cost"]["models_usd"]) == ("killed", 500, "1.000000000000")
    assert made["latency"]["n_requests"] == 25
    failed = inside("report", "--home", home, "--max-cost", "100", "--format", "junit")
    assert failed.returncode == 1
    assert "the run was killed" in failed.stderr
    assert len(list(ET.fromstring(failed.stdout).iter("failure"))) == 2  # noqa: S314 - our own


def test_a_damaged_ledger_is_a_note_and_closes_the_gates_that_need_it(inside: Command, home: Path) -> None:
    (home / "spend" / "spend.db").write_bytes(b"no database at all" * 100)
    for name in ("spend.db-wal", "spend.db-shm"):
        (home / "spend" / name).unlink(missing_ok=True)
    plain = inside("report", "--home", home)
    assert plain.returncode == 0
    assert "the requests' times are not known" in plain.stdout
    failed = inside("report", "--home", home, "--max-p95-latency", "10", "--max-cost", "10", "--min-hit-rate", ".5")
    assert failed.returncode == 1
    assert failed.stderr.startswith("reviewopt: 2 gates are not met:\n  the cost gate is not met: at most 10 USD")
    assert "the p95 latency gate is not met: at most 10 s is allowed" in failed.stderr


def test_a_record_alone_has_its_cost_but_no_latency(inside: Command, home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "artifact.json"
    copy.write_bytes((home / "runs" / NOW / "run.json").read_bytes())
    assert inside("report", copy, "--max-cost", "1.1").returncode == 0
    failed = inside("report", copy, "--max-p95-latency", "60")
    assert failed.returncode == 1
    assert "at most 60 s is allowed, and the figure is missing: the requests' times are not known" in failed.stderr
    compared = inside("report", BEFORE, "--home", home, "--baseline", copy, "--max-regression", "5%", "--json")
    assert compared.returncode == 0
    assert [note for note in said(compared)["baseline"]["notes"] if note.startswith("of the baseline: the requests'")]


def test_a_record_that_lies_in_a_strange_folder_is_not_told_by_the_ledger_beside_it(
    inside: Command, home: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "kept" / "copy" / "run.json"
    other.parent.mkdir(parents=True)
    other.write_bytes(save(home, run_of(run_id=NOW, spent_usd="0.1", status="unfinished")).read_bytes())
    ask(tmp_path / "other", "20250101-000000-000000", [1.0])
    made = said(inside("report", other, "--json"))
    assert (made["ledger"], made["cost"]["models_usd"], made["latency"]) == ("none", "0.1", None)


def test_gates_come_from_the_file_and_flags_beat_it(inside: Command, home: Path, tmp_path: Path) -> None:
    (tmp_path / "reviewopt.toml").write_text('[gates]\nmax_cost_usd = 0.5\nmax_failures = "1%"\n')
    failed = inside("report", "--home", home)
    assert (failed.returncode, failed.stderr) == (
        1,
        "reviewopt: the cost gate is not met: at most 0.5 USD is allowed, and it is 1.000 USD\n",
    )
    assert inside("report", "--home", home, "--max-cost", "2").returncode == 0
    (tmp_path / "other.toml").write_text("[gates]\nmin_hit_rate = 0.7\n")
    assert "the hit rate gate" in inside("report", "--home", home, "--config", tmp_path / "other.toml").stderr


def test_a_regression_against_the_baseline_fails_and_the_same_again_does_not(inside: Command, home: Path) -> None:
    compared = ("report", BEFORE, "--home", home, "--baseline", NOW, "--max-regression", "5%")
    assert inside(*compared).returncode == 0
    save(home, run_of(run_id=BEFORE, n_right=500))
    failed = inside(*compared)
    assert failed.returncode == 1
    assert "the regression of accuracy gate is not met: at most 5 % worse" in failed.stderr
    assert "accuracy went from 90 % to 50 %" in failed.stderr
    assert "no chance: p = " in failed.stderr
    made = said(inside("report", BEFORE, "--home", home, "--baseline", NOW, "--json"))
    assert made["baseline"]["run_id"] == NOW
    assert made["gates"] == []


def test_the_run_is_no_baseline_of_itself(inside: Command, home: Path) -> None:
    failed = inside("report", "--home", home, "--baseline", NOW, "--max-regression", "5%")
    assert failed.returncode == 2
    assert "is the run itself" in failed.stderr


def test_a_baseline_that_is_not_there_is_an_error_and_no_pass(inside: Command, home: Path) -> None:
    failed = inside("report", "--home", home, "--baseline", "20200101-000000-000000", "--max-regression", "5%")
    assert failed.returncode == 2
    assert "there is no run 20200101-000000-000000" in failed.stderr
    assert inside("report", "--home", home, "--max-regression", "5%").returncode == 1


@pytest.mark.parametrize("chosen", ["table", "json", "markdown", "junit", "github"])
def test_a_file_gets_what_would_be_printed(inside: Command, home: Path, tmp_path: Path, chosen: str) -> None:
    flags = ("--home", home, "--format", chosen, "--min-accuracy", ".5")
    printed = inside("report", *flags)
    file = tmp_path / "report.out"
    for _ in range(2):  # a report of ours is replaced
        written = inside("report", *flags, "-o", file)
        assert written.returncode == 0, written.stderr
        assert "the report is in" in written.stderr
        assert file.read_text() in printed.stdout
        assert written.stdout == ("" if chosen != "github" else printed.stdout[len(file.read_text()) + 1 :])
    assert file.read_text().strip()
    assert file.stat().st_mode & 0o077 == 0
    assert not list(tmp_path.glob(".*.partial"))


def test_a_file_that_is_no_report_is_kept_unless_forced_and_a_record_always(
    inside: Command, home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.txt"
    for content in ("mine", "", '{"a": 1}', '<?xml version="1.0"?><a/>'):
        file.write_text(content)
        failed = inside("report", "--home", home, "-o", file)
        assert (failed.returncode, file.read_text()) == (2, content)
        assert "is kept" in failed.stderr
    assert inside("report", "--home", home, "-o", file, "--force").returncode == 0
    assert NOW in file.read_text()
    record = home / "runs" / NOW / "run.json"
    before = record.read_bytes()
    assert inside("report", "--home", home, "-o", record, "--force").returncode == 2
    assert record.read_bytes() == before
    assert inside("report", "--home", home, "-o", tmp_path / "none" / "a.md").returncode == 2
    assert inside("report", "--home", home, "-o", tmp_path, "--force").returncode == 2


def test_the_file_is_written_before_a_breach_is_told(inside: Command, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    failed = inside(
        "report", "--home", home, "--format", "junit", "-o", file, "--max-failures", "0", "--max-cost", ".1"
    )
    assert failed.returncode == 1
    assert "the cost gate is not met" in failed.stderr
    assert ET.parse(file).getroot().get("failures") == "1"  # noqa: S314 - our own


def test_on_github_the_summary_grows_and_the_log_has_annotations(inside: Command, home: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("of an earlier step\n")
    failed = inside(
        "report", "--home", home, "--format", "github", "--min-hit-rate", "95%", GITHUB_STEP_SUMMARY=str(summary)
    )
    assert failed.returncode == 1
    assert failed.stdout.splitlines()[0] == (
        "::error title=reviewopt%3A hit rate::the hit rate gate is not met: at least 95 %25 is required, "
        "and it is 60 %25"
    )
    assert all(line.startswith("::") for line in failed.stdout.splitlines())
    text = summary.read_text()
    assert text.startswith("of an earlier step\n<!-- reviewopt report -->\n\n## ")
    assert "| hit rate | at least 95 % | 60.0 % | NOT MET |" in text


def test_off_github_it_says_so_and_prints_the_summary(
    inside: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    done = inside("report", "--home", home, "--format", "github")
    assert done.returncode == 0
    assert "GITHUB_STEP_SUMMARY is not set" in done.stderr
    assert done.stdout.startswith("<!-- reviewopt report -->\n\n## ")
    assert done.stdout.splitlines()[-1].startswith("::notice title=reviewopt::done: 1,000 reviews")


def test_a_summary_that_cannot_be_written_is_told(inside: Command, home: Path, tmp_path: Path) -> None:
    failed = inside("report", "--home", home, "--format", "github", GITHUB_STEP_SUMMARY=str(tmp_path / "no" / "s.md"))
    assert failed.returncode == 2
    assert "cannot write the job's summary" in failed.stderr


@pytest.mark.parametrize(
    ("flag", "value", "hint"),
    [("--max-regression", "5", "5%"), ("--max-failures", "0.5", "50%"), ("--max-cost", "cheap", "2.50")],
)
def test_a_limit_that_cannot_be_meant_is_an_error_of_usage(
    inside: Command, home: Path, flag: str, value: str, hint: str
) -> None:
    failed = inside("report", "--home", home, flag, value)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert f"{flag} {value}: " in failed.stderr
    assert hint in failed.stderr


def test_process_prints_the_report_that_report_prints_later(inside: Command, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\n" + "".join(f"the old lamp on shelf {at} is slow\n" for at in range(5)))
    with Endpoint() as endpoint:
        (tmp_path / "reviewopt.toml").write_text(
            f'[models.m]\nmodel = "m"\nbase_url = "{endpoint.base_url}"\nprice = {{input_usd = 1, output_usd = 1}}\n'
        )
        done = inside("process", "in.csv", "--model", "m", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert said(done)["latency"]["n_requests"] >= 1
    assert said(done)["cost"]["models_usd"] == said(done)["run"]["asked"]["spent_usd"]
    assert said(inside("report", "--json")) == said(done)


def test_the_workflow_of_the_readme_runs(inside: Command, tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    [workflow] = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    [settings] = re.findall(r"```toml\n(\[gates\].*?)```", readme, re.DOTALL)
    commands = [shlex.split(line) for line in re.findall(r"- run: reviewopt (.*)", workflow)]
    assert [words[0] for words in commands] == ["process", "report", "report"]
    shutil.copy(packaged("data", "sample_reviews.parquet"), tmp_path / "reviews.parquet")
    (tmp_path / "baseline").mkdir()
    assert inside(*commands[0]).returncode == 0
    [record] = (tmp_path / ".reviewopt" / "runs").glob("*/run.json")
    run = msgspec.json.decode(record.read_bytes(), type=Run)
    earlier = msgspec.structs.replace(run, run_id=BEFORE)
    (tmp_path / "baseline" / "run.json").write_bytes(msgspec.json.encode(earlier))
    (tmp_path / "reviewopt.toml").write_text(settings.replace("min_hit_rate", "# min_hit_rate"))
    judged = inside(*commands[1])
    assert judged.returncode == 1, "79.5 % are proven of the sample, and 80 % are asked for"
    assert judged.stderr.splitlines()[-1].startswith(
        "reviewopt: the accuracy gate is not met: at least 0.8 is required"
    )
    inside(*commands[2])
    assert ET.parse(tmp_path / "report.xml").getroot().get("failures") == "1"  # noqa: S314 - our own


def test_a_run_that_recorded_nothing_is_not_passed_over_for_the_one_before(inside: Command, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\ngood\nbad\n")
    assert inside("process", "in.csv", "-q").returncode == 0
    [before] = (tmp_path / ".reviewopt" / "runs").iterdir()
    failed = inside("process", "in.csv", "--model", "openai:gpt-4o", "--yes", "--force", "-q", OPENAI_API_KEY="")
    assert failed.returncode == 3
    done = inside("report", "--max-failures", "1%")
    assert done.returncode == 2
    assert f"the last with a record is {before.name}" in done.stderr
    assert inside("report", before.name, "--max-failures", "1%").returncode == 0


@pytest.mark.parametrize("flag", ["--min-accuracy", "--max-cost", "--max-failures", "--max-regression"])
def test_an_empty_limit_is_an_unset_variable_and_no_limit_that_is_met(inside: Command, flag: str) -> None:
    done = inside("report", flag, "")
    assert done.returncode == 2
    assert f"{flag} is empty" in done.stderr


def test_a_copy_of_the_run_itself_is_no_baseline(inside: Command, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\ngood\nbad\n")
    assert inside("process", "in.csv", "-q").returncode == 0
    [record] = (tmp_path / ".reviewopt" / "runs").glob("*/run.json")
    (tmp_path / "base.json").write_bytes(record.read_bytes())
    done = inside("report", "--baseline", "base.json", "--max-regression", "5%")
    assert done.returncode == 2
    assert "is the run itself" in done.stderr
