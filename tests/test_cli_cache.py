"""`reviewopt cache` as a user meets it: what is printed, what is made, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from archived import context, entries, opened, put
from conftest import Run

from reviewopt import cli

HOME = Path(".reviewopt")
Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def table() -> Path:
    path = Path("labelled.csv")
    path.write_text("text,stars\nI love it,5\ni love  it,5\nIt broke,1\nso so,3\nso so,5\n")
    return path


def run(capsys: Printed, *arguments: str | Path) -> tuple[int, str, str]:
    """Run the tool in this process; return its exit code, and what it printed to both streams."""
    code = cli.run(["cache", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def as_json(capsys: Printed, *arguments: str | Path) -> dict[str, Any]:
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    made: dict[str, Any] = json.loads(out)
    assert next(iter(made)) == "schema_version"
    assert out.count("NaN") == 0
    return made


def test_a_history_is_warmed_and_used(inside: Run, table: Path) -> None:
    warmed = inside("cache", "warm", table)
    assert warmed.returncode == 0, warmed.stderr
    assert "1 text has different labels" in warmed.stdout
    assert "2 distinct texts of 5 rows kept for the task sentiment" in warmed.stdout
    assert warmed.stdout.endswith("next: reviewopt process TABLE\n")
    Path("new.csv").write_text("text\nI LOVE it\nnever seen\n")
    assert inside("process", "new.csv", "-q").returncode == 0
    assert pl.read_parquet("new.labelled.parquet")["sentiment_source"].to_list() == ["l3", "local"]


def test_what_was_exported_and_cleared_is_taken_back_in(capsys: Printed, table: Path) -> None:
    for arguments in (["warm", table], ["export", "answers.jsonl"], ["clear", "--yes"]):
        assert run(capsys, *arguments)[0] == 0
    code, out, _ = run(capsys, "import", "answers.jsonl")
    assert (code, "2 answers added" in out) == (0, True)


def test_a_damaged_archive_fails_the_check_with_1(capsys: Printed) -> None:
    with opened(HOME) as archive:
        archive.put(entries(["planted"], key="0" * 32), {})
    code, out, err = run(capsys, "verify")
    assert code == 1
    assert "0" * 32 in out
    assert "reviewopt cache verify --repair" in err
    assert run(capsys, "verify", "--quiet")[:2] == (1, "")
    code, out, _ = run(capsys, "verify", "--repair")
    assert (code, "1 damaged row deleted" in out) == (0, True)


def test_an_archive_that_is_damaged_as_a_whole_fails_the_check(capsys: Printed) -> None:
    with opened(HOME) as archive:
        put(archive, ["good"])
    (HOME / "cache" / "cache.db").write_bytes(b"not a database" * 1000)
    code, out, err = run(capsys, "verify")
    assert (code, out) == (1, "")
    assert "is damaged or not ours" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["warm"], "--predict N"),
        (["warm", "none.csv"], "none.csv"),
        (["warm", "bare.csv"], "no label column"),
        (["warm", "--predict", "5"], "no past run"),
        (["verify"], "reviewopt cache warm TABLE"),
        (["export", "answers.parquet"], "reviewopt cache warm TABLE"),
        (["export", "answers.csv"], ".parquet or .jsonl"),
        (["export", "labelled.jsonl"], "--force"),
        (["import", "none.jsonl"], "none.jsonl"),
        (["import", "labelled.jsonl"], "not an export"),
        (["clear"], "--yes"),
        (["invalidate"], "--review-id"),
        (["invalidate", "--older-than", "soon"], "30d"),
        (["invalidate", "--source", "robot"], "human, warm or model"),
        (["invalidate", "--text", ""], "--text is empty"),
    ],
)
def test_what_cannot_be_done_exits_with_2_and_makes_nothing(
    capsys: Printed, table: Path, arguments: list[str], words: str
) -> None:
    Path("labelled.jsonl").write_text('{"text": "good"}\n')
    Path("bare.csv").write_text("text\ngood\n")
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert not (HOME / "cache").exists()
    assert sorted(path.name for path in Path().iterdir() if path != HOME) == ["bare.csv", table.name, "labelled.jsonl"]


def test_stats_and_invalidate_work_without_an_archive_and_make_none(capsys: Printed) -> None:
    code, out, _ = run(capsys, "stats")
    assert (code, "reviewopt cache warm TABLE" in out, "not measured" in out) == (0, True, True)
    assert as_json(capsys, "stats")["hit_rate"] is None
    assert as_json(capsys, "invalidate", "--text", "good")["n_answers"] == 0
    assert as_json(capsys, "clear", "--yes")["n_entries"] == 0
    assert not HOME.exists()


def test_quiet_prints_nothing(capsys: Printed, table: Path) -> None:
    for arguments in (
        ["warm", table], ["stats"], ["verify"], ["export", "a.parquet"], ["import", "a.parquet"],
        ["invalidate", "--source", "human"], ["clear", "--yes"],
    ):  # fmt: skip
        assert run(capsys, *arguments, "--quiet") == (0, "", "")


def test_every_command_has_a_json_form(capsys: Printed, table: Path) -> None:
    assert as_json(capsys, "warm", table)["n_kept"] == 2
    stats = as_json(capsys, "stats")
    assert (stats["has_archive"], stats["n_by_source"]) == (True, {"warm": 2})
    assert as_json(capsys, "verify") == {
        "schema_version": 1, "n_rows": 2, "n_damaged": 0, "n_deleted": 0, "first": [], "file": None,
    }  # fmt: skip
    assert as_json(capsys, "export", "a.parquet")["n_entries"] == 2
    assert as_json(capsys, "import", "a.parquet")["n_kept"] == 2
    dry = as_json(capsys, "invalidate", "--text", "IT broke", "--dry-run")
    assert (dry["n_answers"], dry["is_dry_run"], dry["cost_usd"]) == (1, True, "0.000000000000")
    assert as_json(capsys, "invalidate", "--text", "IT broke")["n_answers"] == 1
    assert as_json(capsys, "clear", "--yes") == {
        "schema_version": 1, "n_entries": 1, "cost_usd": "0.000000000000", "is_cleared": True,
    }  # fmt: skip


def test_clear_says_what_would_go_and_what_it_cost(capsys: Printed) -> None:
    with opened(HOME) as archive:
        put(archive, ["good", "bad"], cost_usd="1.5")
    code, _, err = run(capsys, "clear")
    assert (code, "2 answers that cost $3.00 to obtain" in err) == (2, True)
    with opened(HOME) as archive:
        assert archive.state.n_entries == 2


def test_foreign_names_are_printed_as_they_are_and_never_acted_on(capsys: Printed) -> None:
    with opened(HOME) as archive:
        put(archive, ["good"], context("model", model="[bold]\x1b[2Jmodel[/bold]"))
    _, out, _ = run(capsys, "stats")
    assert "[bold]?[2Jmodel[/bold]" in out
    assert "\x1b" not in out


def test_the_answers_of_a_past_output_are_warmed_before_its_label_column(capsys: Printed, table: Path) -> None:
    assert cli.run(["process", str(table), "-o", "out.parquet", "-q"]) == 0
    own = as_json(capsys, "warm", "out.parquet")
    assert (own["n_by_source"], own["rows_left_out"]["copies"]) == ({"local": 3}, 2)
    named = as_json(capsys, "warm", "out.parquet", "--label-column", "stars")
    assert named["n_by_source"] == {"label": 2}


def test_answers_under_a_longer_name_are_found(capsys: Printed) -> None:
    Path("in.csv").write_text("text,sentiment\nI love it,positive\n")
    assert cli.run(["process", "in.csv", "-o", "out.parquet", "-q"]) == 0
    assert as_json(capsys, "warm", "out.parquet")["n_by_source"] == {"local": 1}


def test_prediction_reads_the_outputs_of_past_runs_that_are_left(capsys: Printed) -> None:
    for name, texts in (("one", ["a a", "b b"]), ("two", ["b b", "c c"]), ("gone", ["c c"]), ("again", ["x"])):
        pl.DataFrame({"body": texts}).write_parquet(f"{name}.parquet")
        arguments = ["process", f"{name}.parquet", "--text-column", "body", "-o", f"{name}.out.parquet", "-q"]
        assert cli.run(arguments) == 0
    Path("gone.out.parquet").unlink()
    pl.DataFrame({"body": ["changed"]}).write_parquet("again.out.parquet")
    code, out, err = run(capsys, "warm", "--predict", "1")
    assert code == 0
    assert "read: the outputs of 2 past runs; 1 other output is gone" in err
    assert "again.out.parquet has no answers to the task sentiment any more" in err
    assert "1 of 3 distinct texts, those most likely to come back, kept" in out
    with opened(HOME) as archive:
        assert [text for frame in archive.scan() for text in frame["text"]] == ["b b"]


def test_tenants_are_isolated_only_where_the_user_or_the_column_says_so(capsys: Printed) -> None:
    def scopes(*arguments: str) -> set[str]:
        as_json(capsys, "warm", *arguments)
        as_json(capsys, "export", "a.parquet", "--force")
        run(capsys, "clear", "--yes")
        return set(pl.read_parquet("a.parquet")["scope"])

    Path("brand.csv").write_text("text,label,brand\ngood,positive,x\n")
    Path("tenant.csv").write_text("text,label,tenant\ngood,positive,x\n")
    assert scopes("brand.csv") == {"shared"}
    assert scopes("brand.csv", "--tenant-column", "brand") == {"isolated"}
    assert scopes("tenant.csv") == {"isolated"}


@pytest.mark.parametrize("command", ["", "stats", "warm", "verify", "export", "import", "invalidate", "clear"])
def test_help_leads_with_examples(capsys: Printed, command: str) -> None:
    code, out, err = run(capsys, *([command] if command else []), "--help")
    assert (code, err) == (0, "")
    assert f"reviewopt cache {command or 'stats'}" in out.partition("Options:")[0].partition("\n\n")[2]
