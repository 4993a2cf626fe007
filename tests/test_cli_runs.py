"""`reviewopt runs` as a user meets it: what is printed, what is deleted, and the exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import Run
from recorded import IDS, keep

from reviewopt import past
from reviewopt.config import packaged
from reviewopt.runs import Home

HOME = Home(Path(".reviewopt"))
SCHEMA = json.loads(packaged("configs", "runs.schema.json").read_text())
SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.fixture
def three(empty_folder: Path) -> None:
    """Three runs in the current folder's home, the second killed."""
    assert empty_folder == Path.cwd()
    keep(HOME, IDS[0])
    keep(HOME, IDS[1], status="unfinished", finished_at=None, n_rows=4)
    keep(HOME, IDS[2], hit_rate=0.25, n_rows=1_000_000)


def as_json(inside: Run, *arguments: str) -> dict[str, Any]:
    done = inside("runs", *arguments)
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(made, SCHEMA)
    assert next(iter(made)) == "schema_version"
    return made


@pytest.mark.usefixtures("three")
def test_without_a_command_the_runs_are_listed(inside: Run) -> None:
    plain = inside("runs")
    assert plain.returncode == 0
    assert plain.stdout == inside("runs", "list").stdout
    assert "killed" in plain.stdout
    assert "1.00M" in plain.stdout
    assert as_json(inside, "--json") == as_json(inside, "list", "--format", "json")
    assert [one["run_id"] for one in as_json(inside, "--limit", "2", "--json")["runs"]] == [IDS[2], IDS[1]]
    assert [one["run_id"] for one in as_json(inside, "--state", "killed", "--json")["runs"]] == [IDS[1]]
    assert inside("runs", "-q").stdout == ""


@pytest.mark.usefixtures("three")
def test_the_list_as_json_is_the_committed_one(inside: Run) -> None:
    """Machines get every key and exact figures."""
    text = inside("runs", "list", "--json").stdout
    path = SNAPSHOTS / "runs.json"
    if os.environ.get("SNAPSHOTS") == "write":
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.usefixtures("three")
def test_two_runs_are_compared_by_the_start_of_an_id_and_by_place(inside: Run) -> None:
    made = as_json(inside, "compare", "20260101", "latest", "--json")
    assert (made["a"]["run_id"], made["b"]["run_id"]) == (IDS[0], IDS[2])
    assert made["change"]["n_rows"] == 999_994
    shown = inside("runs", "compare", "previous", "latest")
    assert (shown.returncode, "A is killed" in shown.stdout) == (0, True)


@pytest.mark.usefixtures("three")
def test_trends_are_printed(inside: Run) -> None:
    made = as_json(inside, "trends", "--json")
    assert [one["name"] for one in made["series"]] == ["usd_per_1000", "hit_rate", "accuracy", "reviews_per_s"]
    assert made["series"][1]["values"] == [None, 0.25]
    assert "oldest to newest" in inside("runs", "trends").stdout


@pytest.mark.usefixtures("three")
def test_nothing_is_pruned_without_yes(inside: Run) -> None:
    said = inside("runs", "prune", "--keep", "1")
    assert (said.returncode, "nothing is deleted yet: add --yes" in said.stdout) == (0, True)
    assert len(list(Path(".reviewopt/runs").iterdir())) == 3
    done = inside("runs", "prune", "--keep", "1", "--yes")
    assert "2 runs deleted" in done.stdout
    assert "kept answers, the spend ledger and the tables that runs wrote are not touched" in done.stdout
    assert [path.name for path in Path(".reviewopt/runs").iterdir()] == [IDS[2]]
    assert as_json(inside, "prune", "--older-than", "2026-01-02", "--json")["gone"] == []
    assert [one["run_id"] for one in as_json(inside, "prune", "--older-than", "2027-01-01", "--json")["gone"]] == [
        IDS[2]
    ]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("prune",), "--keep 20"),
        (("prune", "--older-than", "soon"), "say 30d, 12h or a day"),
        (("--state", "dead"), "say running, killed, done, failed or interrupted"),
        (("compare", "latest", "20260104-030405-000000"), f"did you mean {IDS[2]}?"),
        (("compare", "2026", "latest"), "the start of 3 runs"),
        (("trends", "--task", "sentimant"), "did you mean sentiment?"),
        (("--json", "trends"), "trends"),
        (("lst",), "lst"),
    ],
    ids=["no limit", "age", "state", "id", "prefix", "task", "order", "command"],
)
def test_what_cannot_be_meant_exits_with_2_and_says_what_can(
    inside: Run, arguments: tuple[str, ...], said: str
) -> None:
    failed = inside("runs", *arguments)
    assert failed.returncode == 2
    assert said in failed.stderr


def test_the_committed_schema_is_the_types_schema_and_demands_every_key() -> None:
    assert past.json_schema() == SCHEMA, "rewrite configs/runs.schema.json: CONTRIBUTING.md says how"
    for definition in SCHEMA["$defs"].values():
        assert set(definition["required"]) == set(definition["properties"])


def test_an_empty_home_is_no_error(inside: Run) -> None:
    assert "make one: reviewopt process TABLE" in inside("runs").stdout
    assert as_json(inside, "--json")["runs"] == []
