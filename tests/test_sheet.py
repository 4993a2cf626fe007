"""The sample as a spreadsheet: it comes back as it went, and nothing of it is taken half."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt import sheet
from reviewopt.config import load_task
from reviewopt.errors import InputError, UsageError
from reviewopt.task import Choice, Task

SAME_FOLDER = [HealthCheck.function_scoped_fixture]
TASK = load_task("sentiment")
FILE = Path("sheet.csv")
HOSTILE = [
    '=cmd|"/c calc"!A1',
    "+1",
    "-1",
    "@x",
    "\tx",
    "\rx",
    "'=x",
    "a\nb",
    'a "b", c;d',
    "\r\n=x",
    "é ü 好 😀",
    "x" * 200_000,
]
CELLS = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
ANSWERS = st.sampled_from([*TASK.labels, None, "open"])


def drawn_of(texts: Sequence[str], titles: Sequence[str | None] | None = None) -> pl.DataFrame:
    rows = [7 * at + 3 for at in range(len(texts))][::-1]
    ids = [f"={row}" for row in rows]
    return pl.DataFrame(
        {"row": rows, "review_id": ids, "title": titles or [None] * len(texts), "text": texts},
        schema_overrides={"title": pl.String, "row": pl.Int64},
    )


def store(drawn: pl.DataFrame, given: dict[int, str | None] | None = None, task: Task = TASK) -> None:
    sheet.store(FILE, drawn, given or {}, task, inputs=(), force=True)


def rows_of(path: Path = FILE) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def answered(cells: list[dict[str, str]], path: Path = FILE, *, delimiter: str = ",", encoding: str = "utf-8") -> None:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(cells[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(cells)


@settings(max_examples=60, suppress_health_check=SAME_FOLDER)
@given(cells=st.lists(st.tuples(CELLS, st.none() | CELLS, ANSWERS), min_size=1, max_size=8))
def test_hostile_texts_and_all_answers_come_back_as_they_went(cells: list[tuple[str, str | None, str | None]]) -> None:
    drawn = drawn_of([text for text, _, _ in cells], [title for _, title, _ in cells])
    given = {row: cell[2] for row, cell in zip(drawn["row"].to_list(), cells, strict=True) if cell[2] != "open"}
    store(drawn, given)
    assert sheet.read(FILE, drawn, TASK) == list(given.items())
    assert sheet.n_rows(FILE) == len(cells)


def test_no_cell_of_a_foreign_text_is_run_by_a_spreadsheet() -> None:
    store(drawn_of(HOSTILE[:6], HOSTILE[:6]))
    cells = [cell for row in rows_of() for name, cell in row.items() if name != "row"]
    assert {cell[0] for cell in cells if cell} <= {"'", "+", "-"}
    assert "+1" in cells, "a number stays a number"


@pytest.mark.parametrize(("delimiter", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16"), (",", "utf-8")])
def test_it_is_read_as_spreadsheets_save_it(delimiter: str, encoding: str) -> None:
    drawn = drawn_of(["one\ntwo", "good; really, good", "é"])
    store(drawn)
    cells = rows_of()
    for row, label in zip(cells, [" POSITIVE ", "neu", ""], strict=True):
        row |= {"label": label, "text": row["text"].replace("\n", "\r\n"), "own notes": "-"}
    nothing = dict.fromkeys(cells[0], "")
    answered([*cells[::-1], nothing], delimiter=delimiter, encoding=encoding)
    rows = drawn["row"].to_list()
    assert sheet.read(FILE, drawn, TASK) == [(rows[1], "neutral"), (rows[0], "positive")]


def test_one_wrong_line_is_named_and_nothing_is_taken() -> None:
    drawn = drawn_of(["one\ntwo", "three", "four"])
    for change, words in [
        ({"label": "great"}, r"line 4: 'great' is no label.*positive, or skip"),
        ({"text": "of another table"}, "line 4: row 10 has another text"),
        ({"title": "of another table"}, "line 4: row 10 has another text"),
        ({"text": ""}, "line 4: row 10 has another text"),
        ({"row": "11"}, "line 4: row 11 is not among the first 3"),
        ({"row": "17"}, "line 4: row 17 stands in line 2 too"),
        ({"row": "ten"}, "line 4: 'ten' is no row"),
        ({"row": "-1"}, "line 4: '-1' is no row"),
        ({"row": "1" * 40}, "is no row"),
    ]:
        store(drawn, {17: "positive"})
        cells = rows_of()
        cells[1] |= change
        answered(cells)
        with pytest.raises(InputError, match=words):
            sheet.read(FILE, drawn, TASK)


def test_a_file_that_is_no_sheet_is_refused() -> None:
    drawn = drawn_of(["one"])
    for content, words in [
        ("text,label\none,positive\n", "no column row, title"),
        ("", "no column"),
        ("row,title,text,label\n3,,one\n", "line 2: 3 cells"),
        ('row,title,text,label\n3,,"one,positive\n', "line 2: a quoted field"),
    ]:
        FILE.write_text(content)
        with pytest.raises(InputError, match=words):
            sheet.read(FILE, drawn, TASK)
    with pytest.raises(InputError, match=r"missing\.csv"):
        sheet.read(Path("missing.csv"), drawn, TASK)
    for call in (lambda: sheet.read(Path("sheet.xlsx"), drawn, TASK), lambda: sheet.n_rows(Path("sheet.xlsx"))):
        with pytest.raises(UsageError, match=r"\.csv"):
            call()


def test_an_existing_file_is_kept_and_only_csv_is_written() -> None:
    FILE.write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        sheet.store(FILE, drawn_of(["one"]), {}, TASK, inputs=(), force=False)
    with pytest.raises(UsageError, match=r"\.csv"):
        sheet.store(Path("sheet.parquet"), drawn_of(["one"]), {}, TASK, inputs=(), force=False)
    assert FILE.read_text() == "mine"


def test_a_task_with_a_label_skip_has_no_word_for_skipping() -> None:
    task = Task(name="what", instructions="Say what to do.", fields=(Choice(name="what", labels=("keep", "skip")),))
    drawn = drawn_of(["one", "two"])
    store(drawn, {10: None, 3: "skip"}, task)
    assert [row["label"] for row in rows_of()] == ["", "skip"]
    assert sheet.read(FILE, drawn, task) == [(3, "skip")]


def test_labels_that_look_like_formulas_come_back_too() -> None:
    task = Task(name="what", instructions="Say which.", fields=(Choice(name="what", labels=("=up", "-down")),))
    drawn = drawn_of(["one", "two"])
    store(drawn, {10: "=up", 3: "-down"}, task)
    assert [row["label"] for row in rows_of()] == ["'=up", "'-down"]
    assert sheet.read(FILE, drawn, task) == [(10, "=up"), (3, "-down")]
