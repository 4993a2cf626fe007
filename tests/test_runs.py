from __future__ import annotations

import json
import stat
from pathlib import Path

import jsonschema
import pytest
from fakes import process

from reviewopt import report, runs
from reviewopt.config import packaged
from reviewopt.errors import InputError
from reviewopt.record import json_schema


@pytest.fixture
def record(tmp_path: Path) -> Path:
    (tmp_path / "in.csv").write_text("id,text,stars\n1,good,5\n2,bad,1\n")
    process(tmp_path / "in.csv", tmp_path)
    (made,) = (tmp_path / "home" / "runs").glob("*/run.json")
    return made


def test_a_record_meets_the_committed_schema(record: Path) -> None:
    schema = json.loads(packaged("configs", "run.schema.json").read_text())
    jsonschema.validate(json.loads(record.read_text()), schema)


def test_the_committed_schema_is_the_types_schema() -> None:
    committed = json.loads(packaged("configs", "run.schema.json").read_text())
    assert committed == json_schema(), "rewrite configs/run.schema.json: CONTRIBUTING.md says how"


def test_the_schema_demands_every_key() -> None:
    definition = json_schema()["$defs"]["Run"]  # type: ignore[index]
    assert set(definition["required"]) == set(definition["properties"])


def test_the_version_of_the_schema_stands_first(record: Path) -> None:
    assert next(iter(json.loads(record.read_text()))) == "schema_version"


def test_a_record_comes_back_as_it_was_written(record: Path) -> None:
    run = runs.read(record)
    assert run.status == "done"
    assert run.accuracy is not None
    assert run.accuracy.overall.n_rows == 2


def test_folders_are_private(record: Path) -> None:
    for folder in (record.parent, record.parent.parent, record.parent.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_run_whose_process_is_gone_is_killed_and_one_that_lives_is_running(record: Path) -> None:
    record.write_text(record.read_text().replace('"status": "done"', '"status": "unfinished"'))
    assert report.make(record).state == "killed"
    living = runs.Recorder(record.parent)
    assert report.make(record).state == "running"
    living.close()
    assert report.make(record).state == "killed"


@pytest.mark.parametrize("text", ["", "{}", "[", '{"schema_version": 99}'])
def test_a_damaged_record_is_refused(record: Path, text: str) -> None:
    record.write_text(text)
    with pytest.raises(InputError, match=r"run\.json"):
        runs.read(record)


def test_a_run_is_found_by_id_folder_file_or_as_the_latest(record: Path) -> None:
    home = runs.Home(record.parents[2])
    for name in (None, record.parent.name, str(record.parent), str(record)):
        assert home.find(name) == record


def test_a_run_that_is_not_there_names_those_that_are(record: Path) -> None:
    with pytest.raises(InputError, match=record.parent.name):
        runs.Home(record.parents[2]).find("20200101-000000-abcdef")
    with pytest.raises(InputError, match="make one: reviewopt process TABLE"):
        runs.Home(record.parent / "none").find(None)


def test_a_home_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--home"):
        runs.Home(tmp_path / "file").new_run()


def test_the_home_is_the_flag_else_the_environment_else_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs.home_folder(None).path == Path(".reviewopt")
    monkeypatch.setenv("REVIEWOPT_HOME", "elsewhere")
    assert runs.home_folder(None).path == Path("elsewhere")
    assert runs.home_folder(Path("flag")).path == Path("flag")
