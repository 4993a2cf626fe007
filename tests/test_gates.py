"""What `reviewopt report --min-accuracy` lets through: only what is proven."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from certificates import AUDITED, PROVEN
from conftest import Run as Command
from fakes import process

from reviewopt import report
from reviewopt.accuracy import Estimate
from reviewopt.certificate import Certificate
from reviewopt.cli.processing import check_proven
from reviewopt.errors import GateError
from reviewopt.report import Report


@pytest.fixture
def made(tmp_path: Path) -> Report:
    """A report of a run whose table has labels, without a certificate."""
    rows = "".join(f"{at},{'good' * (at % 9 + 1)},{at % 5 + 1}\n" for at in range(50))
    (tmp_path / "in.csv").write_text(f"id,text,stars\n{rows}")
    process(tmp_path / "in.csv", tmp_path)
    (record,) = (tmp_path / "home" / "runs").glob("*/run.json")
    return report.make(record)


def changed(made: Report, *, state: report.State = "done", **values: Any) -> Report:
    run = msgspec.structs.replace(made.run, **values)
    return msgspec.structs.replace(report.of_run(run), state=state)


def bounded(made: Report, low: float | None) -> Report:
    """The report with this lower end of the accuracy against the table's labels."""
    assert made.run.accuracy is not None
    estimate = Estimate(value=None if low is None else 1.0, low=low, high=None if low is None else 1.0)
    overall = msgspec.structs.replace(made.run.accuracy.overall, accuracy=estimate)
    return changed(made, accuracy=msgspec.structs.replace(made.run.accuracy, overall=overall))


def certified(low: float | None, **values: Any) -> Certificate:
    return msgspec.structs.replace(PROVEN, accuracy_low=low, **values)


def saved(tmp_path: Path, made: Report) -> Path:
    """Write the report's run where the tool finds it; return the home."""
    (record,) = (tmp_path / "home" / "runs").glob("*/run.json")
    record.write_bytes(msgspec.json.encode(made.run))
    return tmp_path / "home"


@pytest.mark.parametrize(("least", "passes"), [(0.95, True), (0.9504, True), (0.9505, False), (1.0, False)])
def test_the_certificates_lower_bound_is_held_against_the_gate(made: Report, least: float, passes: bool) -> None:
    found = report.accuracy_breach(changed(made, certificate=certified(0.9504)), least)
    assert (found is None) is passes
    if not passes:
        assert found is not None
        assert f"at least {least!r} is required, and 0.9504 is certified, at 0.95 confidence" in found


def test_the_certificate_counts_even_where_the_tables_labels_say_more(made: Report) -> None:
    assert report.accuracy_breach(bounded(made, 0.99), 0.97) is None
    assert report.accuracy_breach(changed(bounded(made, 0.99), certificate=certified(0.951)), 0.97) is not None
    assert report.accuracy_breach(changed(bounded(made, 0.5), certificate=certified(0.951)), 0.95) is None


def test_a_certificate_that_proves_nothing_is_a_breach_whatever_else_was_measured(made: Report) -> None:
    found = report.accuracy_breach(changed(bounded(made, 0.99), certificate=AUDITED), 0.5)
    assert found is not None
    assert "at least 0.5 is required, and the certificate proves nothing: 41 of 600" in found


def test_a_target_that_is_not_met_leaves_the_bound_that_was_proven(made: Report) -> None:
    not_met = changed(made, certificate=certified(0.93, is_met=False, target=0.95, reason="too few rows"))
    assert report.accuracy_breach(not_met, 0.92) is None
    assert report.accuracy_breach(not_met, 0.95) is not None


def test_the_estimate_of_a_certificate_is_no_bound(made: Report) -> None:
    assert report.accuracy_breach(changed(made, certificate=certified(0.9, accuracy_seen=0.99)), 0.95) is not None


def test_without_a_certificate_the_lower_end_of_the_interval_is_held_against_the_gate(made: Report) -> None:
    assert report.accuracy_breach(bounded(made, 0.95), 0.95) is None
    found = report.accuracy_breach(bounded(made, 0.9478), 0.95)
    assert found == "at least 0.95 is required, and 0.9478 is the lower end of the 95 % interval"


def test_a_figure_that_was_not_measured_is_a_breach(made: Report) -> None:
    for one in (bounded(made, None), changed(made, certificate=certified(None)), changed(made, accuracy=None)):
        assert report.accuracy_breach(one, 1e-9) is not None
    assert "no accuracy was measured" in str(report.accuracy_breach(changed(made, accuracy=None), 1e-9))


@pytest.mark.parametrize("state", ["running", "killed", "failed", "interrupted"])
def test_a_run_that_is_not_done_is_a_breach_whatever_it_measured(made: Report, state: report.State) -> None:
    whole = changed(bounded(made, 1.0), certificate=certified(1.0))
    assert report.accuracy_breach(whole, 0.5) is None
    assert report.accuracy_breach(changed(whole, state=state), 0.5) is not None


def test_a_bound_is_not_rounded_up_to_the_gate(made: Report) -> None:
    found = report.accuracy_breach(bounded(made, 0.94999), 0.95)
    assert found is not None
    assert "0.95 is required, and 0.9499 is" in found
    assert report.accuracy_breach(bounded(made, 0.3 - 0.2 - 1e-17), 0.1) is None  # what binary fractions make of .1


def test_a_breach_exits_with_1_and_both_figures_after_the_report(
    reviewopt: Command, inside: Command, tmp_path: Path, made: Report
) -> None:
    home = saved(tmp_path, changed(made, certificate=certified(0.9504)))
    failed = reviewopt("report", "--home", home, "--min-accuracy", ".96")
    assert failed.returncode == 1
    assert failed.stderr == (
        "reviewopt: the accuracy gate is not met: at least 0.96 is required, and 0.9504 is certified, at 0.95 "
        "confidence\n"
    )
    plain = inside("report", "--home", home).stdout
    assert "Certified: at least 95.0 % of the 10,000 rows" in plain
    assert plain.splitlines()[-1].startswith("certified: at least 95.0 %")
    assert failed.stdout.startswith(plain)
    [row] = [line.split() for line in failed.stdout.removeprefix(plain).splitlines() if "NOT MET" in line]
    assert row == ["accuracy", "at", "least", "96", "%", "95.04", "%", "NOT", "MET"]


def test_with_json_the_breach_stands_on_stderr_alone(inside: Command, tmp_path: Path, made: Report) -> None:
    home = saved(tmp_path, changed(made, certificate=certified(None)))
    failed = inside("report", "--home", home, "--min-accuracy", ".5", "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["run"]["certificate"]["accuracy_low"] is None
    assert "0.5 is required" in failed.stderr
    passed = inside("report", "--home", saved(tmp_path, bounded(made, 0.5)), "--min-accuracy", ".5", "--json")
    assert (passed.returncode, passed.stderr, json.loads(passed.stdout)["state"]) == (0, "", "done")


def test_a_killed_run_is_a_breach(inside: Command, tmp_path: Path, made: Report) -> None:
    home = saved(tmp_path, changed(bounded(made, 1.0), status="unfinished"))
    failed = inside("report", "--home", home, "--min-accuracy", ".5")
    assert failed.returncode == 1
    assert "the run was killed" in failed.stderr


@pytest.mark.parametrize(("value", "hint"), [("95", "write 0.95"), ("0", "above 0"), ("nan", "above 0")])
def test_what_is_no_share_is_an_error_of_usage(inside: Command, value: str, hint: str) -> None:
    failed = inside("report", "--min-accuracy", value)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert hint in failed.stderr


@pytest.mark.parametrize("value", [-0.1, 1.0000001, 95.0, float("inf")])
def test_shares_end_at_one(value: float) -> None:
    from reviewopt.cli.report import command
    from reviewopt.errors import UsageError

    with pytest.raises(UsageError, match="min-accuracy"):
        command(min_accuracy=str(value))


def test_the_message_of_a_promise_not_met_never_rounds_a_bound_up(made: Report) -> None:
    run = msgspec.structs.replace(made.run, certificate=msgspec.structs.replace(AUDITED, accuracy_low=0.81875))
    with pytest.raises(GateError, match=r": 81\.8 % is proven;"):
        check_proven(run)
