from __future__ import annotations

from pathlib import Path

import pytest

from reviewopt import config
from reviewopt.errors import InputError, UsageError

NO_FLAGS: dict[str, str | int | float | None] = {}


def origins(settings: tuple[config.Setting, ...]) -> dict[str, str]:
    return {setting.name: setting.origin for setting in settings}


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[process]\nchunk_rows = 10\nthreads = 2\nlimit = 3\n")
    environment = {"REVIEWOPT_PROCESS_CHUNK_ROWS": "20", "REVIEWOPT_PROCESS_THREADS": "4"}
    made, settings = config.load({"process.chunk_rows": 30}, file=file, environment=environment)
    assert (made.process.chunk_rows, made.process.threads, made.process.limit) == (30, 4, 3)
    assert origins(settings)["process.chunk_rows"] == "flag"
    assert origins(settings)["process.threads"] == "REVIEWOPT_PROCESS_THREADS"
    assert origins(settings)["process.limit"] == str(file)
    assert origins(settings)["process.task"] == "default"


def test_the_local_file_is_read_unless_another_is_named(tmp_path: Path) -> None:
    (tmp_path / "reviewopt.toml").write_text("[process]\nlimit = 7\n")
    assert config.load(NO_FLAGS, environment={})[0].process.limit == 7
    other = tmp_path / "other.toml"
    other.write_text("")
    assert config.load(NO_FLAGS, file=other, environment={})[0].process.limit == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[process]\nchunk_row = 1\n", "process.chunk_row; did you mean process.chunk_rows?"),
        ("[process]\nchunk_rows = 'many'\n", "process.chunk_rows"),
        ("[process]\nchunk_rows = 0\n", "process.chunk_rows = 0: Expected `int` >= 1"),
        ("[machine]\nusd_per_hour = nan\n", "machine.usd_per_hour = nan"),
        ("[machine]\nusd_per_hour = -1\n", "machine.usd_per_hour = -1"),
        ("[machine]\nlocal_reviews_per_s = 0\n", "machine.local_reviews_per_s = 0"),
        ("limit = 3\n", "outside a section"),
        ("[nosuch]\n", "there is no section [nosuch]; --show-config lists them all"),
        ("[cache.archiv]\n", "there is no section [cache.archiv]; did you mean cache.archive?"),
        ("[cache.archive.similar]\n", "there is no section [cache.archive.similar]; did you mean cache.similar?"),
        ("[cache]\nttl_days = 1e9\n", "cache.ttl_days = 1000000000.0: Expected `float` <= 36500"),
        ("[process\n", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_an_error_that_helps(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r".") as caught:
        config.load(NO_FLAGS, file=file, environment={})
    assert words in str(caught.value)


def test_an_empty_section_of_settings_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "empty.toml"
    file.write_text("[process]\n[cache.archive]\n")
    assert config.load(NO_FLAGS, file=file, environment={})[0] == config.load(NO_FLAGS, environment={})[0]


FLOATS = [setting.name for setting in config.load(NO_FLAGS, environment={})[1] if isinstance(setting.value, float)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in FLOATS
        for value in ("inf", "-inf", "nan")
        if not (name.startswith("budget.") and value == "inf")
    ],
)
def test_every_figure_but_a_budget_is_finite(tmp_path: Path, name: str, value: str) -> None:
    variable = f"REVIEWOPT_{name.replace('.', '_').upper()}"
    with pytest.raises(UsageError, match=f"{variable}: {name} = {value}"):
        config.load(NO_FLAGS, environment={variable: value})
    section, _, key = name.rpartition(".")
    file = tmp_path / "wrong.toml"
    file.write_text(f"[{section}]\n{key} = {value}\n")
    with pytest.raises(UsageError, match=f"{name} = {value}"):
        config.load(NO_FLAGS, file=file, environment={})


def test_an_unknown_environment_variable_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean REVIEWOPT_PROCESS_TASK"):
        config.load(NO_FLAGS, environment={"REVIEWOPT_PROCES_TASK": "x"})


def test_the_home_is_no_setting() -> None:
    config.load(NO_FLAGS, environment={"REVIEWOPT_HOME": "somewhere"})


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        config.load(NO_FLAGS, file=tmp_path / "none.toml", environment={})


def test_the_packaged_task_is_valid() -> None:
    assert config.load_task("sentiment").labels == ("negative", "neutral", "positive")


def test_an_unknown_task_names_the_packaged_ones() -> None:
    with pytest.raises(UsageError, match="packaged are: sentiment"):
        config.load_task("sentimental")


@pytest.mark.parametrize("text", ["name = 1", "", 'name="x"\ninstructions=""\nfields=[]', "\x00"])
def test_a_broken_task_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "task.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"task\.toml"):
        config.load_task(str(file))


def test_of_a_named_table_only_what_the_file_writes_comes_from_it(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[models.mine]\nmodel = "m"\nbase_url = "https://h.example/v1?key=secret"\nrpm = 5\n')
    found = {one.name: one for one in config.load({}, file=file, environment={})[1]}
    by_hand = {name for name, one in found.items() if one.origin == str(file)}
    assert by_hand == {"models.mine.model", "models.mine.base_url", "models.mine.rpm"}
    assert found["models.mine.kind"].origin == "default"
    assert found["models.mine.base_url"].value == "https://h.example/v1?..."
