"""`reviewopt review` as a person meets it: keys, order, resuming, sheets, and what is never shown or kept."""

from __future__ import annotations

import csv
import io
import json
import signal
import sys
from pathlib import Path

import polars as pl
import pytest

from reviewopt import certify, cli, human
from reviewopt.config import load_task
from reviewopt.load import open_table

TASK = load_task("sentiment")
HOME = Path(".reviewopt")
TABLE = Path("table.csv")
TEXTS = [
    "I love it",
    "",
    "It broke",
    "so so",
    "=cmd|'/c calc'!A1",
    'a "quote",\nand a line',
    "  ",
    "[red]fine[/red]\x1b[31m",
]
HAVE_TEXT = [0, 2, 3, 4, 5, 7]
Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    write_table(TEXTS)


def write_table(texts: list[str]) -> None:
    pl.DataFrame({"text": texts, "title": [f"title {at}" for at in range(len(texts))]}).write_csv(TABLE)


def run(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch, *arguments: str | Path, typed: str = ""
) -> tuple[int, str, str]:
    """Run the command in this process with lines on standard input; return its exit code and what it printed."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    handler = signal.getsignal(signal.SIGINT)
    try:
        code = cli.run(["review", str(TABLE), *map(str, arguments)])
    finally:
        signal.signal(signal.SIGINT, handler)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def order(n: int = 99) -> list[int]:
    """The rows in the order in which the certificate draws them."""
    with open_table([str(TABLE)], task=TASK) as table:
        seed = certify.seed(table.fingerprint(), TASK.name, *TASK.labels, "human")
    rows = pl.Series(HAVE_TEXT, dtype=pl.Int64).to_numpy()
    chances = certify.chances(rows, seed)
    return [int(row) for row in rows[chances.argsort()]][:n]


def given() -> dict[int, str | None]:
    """What was answered so far, read as `process` does."""
    with open_table([str(TABLE)], task=TASK) as table:
        fingerprint = table.fingerprint()
    path = human.place(HOME, table=fingerprint, task=TASK.name, labels=TASK.labels, columns=("text", "title"))
    return human.read(path, TASK.labels)


# Answering


def test_the_rows_come_in_the_order_of_the_permutation_and_are_kept_under_their_numbers(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run(capsys, monkeypatch, "--sample", "4", typed="1\nneutral\npos\ns\n")
    assert code == 0, err
    expected = dict(zip(order(4), ["negative", "neutral", "positive", None], strict=True))
    assert list(given().items()) == list(expected.items())
    places = [err.index(f"title {row}") for row in order(4)]
    assert places == sorted(places)
    assert [f"{at} of 4 " in err for at in (1, 2, 3, 4, 5)] == [True, True, True, True, False]
    assert "3 of 4 answered, 1 skipped, 0 open" in out
    assert out.endswith(f"next: reviewopt process {TABLE} --reference human --target .95\n")


def test_it_goes_on_where_it_stopped_and_takes_back_what_was_said_before(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, monkeypatch, typed="1\n2\nq\n3\n")
    assert list(given().values()) == ["negative", "neutral"]
    _, _, err = run(capsys, monkeypatch, typed="3\nu\nu\n1\n")
    assert "3 of 6 " in err
    assert "1 of 6 " not in err
    assert list(given().items()) == list(zip(order(2), ["negative", "negative"], strict=True))
    _, _, err = run(capsys, monkeypatch, typed="u\nu\nu\nhello\n")
    assert given() == {}
    assert "no answer to take back" in err
    assert "'hello' is none of: 1 negative" in err


def test_a_table_whose_answers_are_all_there_asks_nothing(capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    run(capsys, monkeypatch, typed="1\n" * 6)
    code, out, err = run(capsys, monkeypatch, typed="2\n")
    assert (code, "6 of 6 answered" in out, "review 0" in err) == (0, True, False)
    assert set(given().values()) == {"negative"}


def test_the_very_last_answer_can_be_taken_back_too(capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    _, out, err = run(capsys, monkeypatch, "--sample", "2", typed="1\n1\nu\n3\n")
    assert list(given().values()) == ["negative", "positive"]
    assert err.count("all 2 are answered") == 2
    run(capsys, monkeypatch, "--sample", "2", typed="u\n")
    assert list(given().values()) == ["negative"]
    assert "2 of 2 answered" in out


def test_json_alone_goes_to_standard_output(capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run(capsys, monkeypatch, "--json", "--limit", "8", typed="1\ns\n")
    assert code == 0
    assert json.loads(out) == {
        "schema_version": 1,
        "n_sample": 6,
        "n_answered": 1,
        "n_skipped": 1,
        "n_in_order": 2,
        "next_command": f"reviewopt process {TABLE} --limit 8 --reference human --target .95",
    }


def test_foreign_text_is_neither_markup_nor_codes_and_long_text_is_cut(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table([*TEXTS[:7], "[red]fine[/red]\x1b[31m\u202eevil" + "x" * 20_000])
    _, _, err = run(capsys, monkeypatch, typed="s\n" * 6)
    assert "[red]fine[/red]?[31m?evil" in err.replace("\n", "")
    assert "\x1b" not in err
    assert "and 14,025 characters more" in err
    assert err.count("x") < 7000


def test_no_text_is_kept_beside_the_archive(capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    run(capsys, monkeypatch, typed="1\n" * 6)
    kept = b"".join(path.read_bytes() for path in (HOME / "review").iterdir())
    assert b"love" not in kept
    assert b"title" not in kept


def test_a_later_run_takes_a_persons_answer_before_all_others(capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    run(capsys, monkeypatch, typed="neutral\n" * 6)
    assert cli.run(["process", str(TABLE), "-q", "-o", "out.parquet"]) == 0
    out = pl.read_parquet("out.parquet")
    assert out["sentiment"][HAVE_TEXT].to_list() == ["neutral"] * 6
    assert set(out["sentiment_source"][HAVE_TEXT]) == {"l3"}
    run(capsys, monkeypatch, typed="u\n" * 6)
    assert cli.run(["process", str(TABLE), "-q", "-o", "again.parquet"]) == 0
    assert set(pl.read_parquet("again.parquet")["sentiment_source"][HAVE_TEXT]) == {"local"}


def test_without_an_archive_and_for_tasks_of_several_fields_only_the_certificate_knows(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("reviewopt.toml").write_text("[cache.archive]\nenabled = false\n")
    assert run(capsys, monkeypatch, typed="1\n")[0] == 0
    assert len(given()) == 1
    Path("reviewopt.toml").unlink()
    code, _, err = run(capsys, monkeypatch, "--task", "review", typed="1\n")
    assert (code, "several fields" in err) == (0, True)
    assert not (HOME / "cache").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--export", "a.csv", "--import", "b.csv"], "one of them"),
        (["-"], "standard input"),
        (["--export", "a.xlsx"], ".csv"),
        (["--export", "table.csv", "--force"], "table that is read"),
        (["--import", "none.csv"], "none.csv"),
        (["--sample", "0"], "--sample"),
        (["--text-column", "body"], "body"),
    ],
)
def test_what_cannot_be_done_exits_with_2(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    before = TABLE.read_bytes()
    code, out, err = run(capsys, monkeypatch, *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert given() == {}
    assert TABLE.read_bytes() == before


def test_a_table_without_texts_and_a_damaged_file_exit_with_2(capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(["", " "])
    code, _, err = run(capsys, monkeypatch)
    assert (code, "no row has a text" in err) == (2, True)
    write_table(TEXTS)
    run(capsys, monkeypatch, typed="1\n2\n")
    (path,) = [path for path in (HOME / "review").iterdir() if path.stat().st_size]
    path.write_text("rubbish\n" + path.read_text())
    code, _, err = run(capsys, monkeypatch, typed="1\n")
    assert (code, "line 1: damaged" in err) == (2, True)


# Sheets


def test_a_sheet_goes_out_and_comes_back(capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    run(capsys, monkeypatch, typed="1\ns\n")
    code, out, _ = run(capsys, monkeypatch, "--export", "sheet.csv")
    assert (code, out.splitlines()[-1]) == (0, f"next: reviewopt review {TABLE} --import sheet.csv")
    with Path("sheet.csv").open(newline="", encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    assert [int(cell["row"]) for cell in cells] == order()
    assert [cell["label"] for cell in cells] == ["negative", "skip", "", "", "", ""]
    for cell, label in zip(cells, ["negative", "Good", "", "skip", "neu", "positive"], strict=True):
        cell["label"] = label
    answer_sheet(cells)
    code, out, err = run(capsys, monkeypatch, "--import", "sheet.csv", "--sample", "2")
    assert code == 0, err
    assert "4 answers of sheet.csv are new or changed" in err
    assert "only the first 2 count so far" in out
    expected = ["negative", "positive", None, "neutral", "positive"]
    rows = order()
    assert given() == dict(zip([*rows[:2], *rows[3:]], expected, strict=True))
    again = run(capsys, monkeypatch, "--import", "sheet.csv", "--json")
    assert (json.loads(again[1])["n_answered"], json.loads(again[1])["n_in_order"]) == (4, 2)
    assert "0 answers" in again[2]


def answer_sheet(cells: list[dict[str, str]]) -> None:
    with Path("sheet.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(cells[0]))
        writer.writeheader()
        writer.writerows(cells)


def test_a_sheet_of_another_table_is_refused_and_nothing_of_it_is_taken(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, monkeypatch, "--export", "sheet.csv")
    with Path("sheet.csv").open(newline="", encoding="utf-8") as file:
        answer_sheet([{**cell, "label": "positive"} for cell in csv.DictReader(file)])
    write_table([*TEXTS[:5], "another", *TEXTS[6:]])
    code, out, err = run(capsys, monkeypatch, "--import", "sheet.csv")
    assert (code, out) == (2, "")
    assert "row 5 has another text there than in this table" in err
    assert given() == {}
