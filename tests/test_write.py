from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt import write
from reviewopt.errors import InputError, UsageError

FRAME = pl.DataFrame({"id": ["1", "2", "3"], "text": ["a", None, "=1+1"], "stars": [1, None, 5]})


def write_all(path: Path, *frames: pl.DataFrame, force: bool = False) -> None:
    with write.open_output(path, frames[0].schema, inputs=(), force=force) as output:
        for frame in frames:
            output.append(frame)
        output.commit()


@pytest.mark.parametrize("cuts", [[3], [1, 1, 1], [0, 2, 1]])
def test_parquet_holds_every_row_in_order(tmp_path: Path, cuts: list[int]) -> None:
    frames, start = [], 0
    for n in cuts:
        frames.append(FRAME.slice(start, n))
        start += n
    write_all(tmp_path / "out.parquet", *frames)
    assert pl.read_parquet(tmp_path / "out.parquet").equals(FRAME)


def test_json_lines_hold_every_row_in_order(tmp_path: Path) -> None:
    write_all(tmp_path / "out.jsonl", FRAME[:1], FRAME[1:])
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines == FRAME.to_dicts()


def test_csv_has_one_header_and_escapes_formulas(tmp_path: Path) -> None:
    write_all(tmp_path / "out.csv", FRAME[:1], FRAME[1:])
    with (tmp_path / "out.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["id", "text", "stars"], ["1", "a", "1"], ["2", "", ""], ["3", "'=1+1", "5"]]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12))
def test_no_csv_cell_runs_in_a_spreadsheet(cell: str) -> None:
    escaped = pl.DataFrame({"a": [cell]}).select(write._escape_formulas(pl.col("a"))).item()
    if not escaped.startswith(("=", "+", "-", "@", "\t", "\r")):
        assert escaped in {cell, "'" + cell}
        return
    assert math.isfinite(float(escaped)) or "e" in escaped.lower()  # a signed number is no formula
    assert escaped == cell


@pytest.mark.parametrize("cell", ["=1", "+x", "-x", "@x", "\tx", "\rx", "-1;=x", "+1 2"])
def test_formula_cells_are_escaped(cell: str) -> None:
    assert pl.DataFrame({"a": [cell]}).select(write._escape_formulas(pl.col("a"))).item() == "'" + cell


@pytest.mark.parametrize("cell", ["-1", "+3.5", "-2e9", "a=b", "", "'"])
def test_other_cells_are_not(cell: str) -> None:
    assert pl.DataFrame({"a": [cell]}).select(write._escape_formulas(pl.col("a"))).item() == cell


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.jsonl"])
def test_a_table_that_was_not_committed_leaves_nothing(tmp_path: Path, name: str) -> None:
    with write.open_output(tmp_path / name, FRAME.schema, inputs=(), force=False) as output:
        output.append(FRAME)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.jsonl"])
def test_an_existing_file_stays_as_it_was_until_the_new_one_is_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(UsageError, match="--force"):
        write.open_output(path, FRAME.schema, inputs=(), force=False)
    with write.open_output(path, FRAME.schema, inputs=(), force=True) as output:
        output.append(FRAME)
        assert path.read_text() == "old"
        output.commit()
    assert path.read_bytes() != b"old"


def test_two_runs_never_write_one_table(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    with write.open_output(path, FRAME.schema, inputs=(), force=False) as first:
        first.append(FRAME)
        with (
            pytest.raises(UsageError, match="another run is writing"),
            write.open_output(path, FRAME.schema, inputs=(), force=False),
        ):
            pass
        first.commit()
    assert pl.read_parquet(path).equals(FRAME)


def test_what_a_killed_run_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".out.csv.partial").write_text("a,b\n" * 1000)
    write_all(tmp_path / "out.csv", FRAME)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4


def test_the_input_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    FRAME.write_parquet(path)
    with pytest.raises(UsageError, match="the table that is read"):
        write.open_output(path, FRAME.schema, inputs=(str(path),), force=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [("out.xlsx", r"ends in .parquet, .csv, .jsonl"), ("none/out.csv", "there is no folder"), ("", "ends in")],
)
def test_a_place_that_cannot_be_written_is_refused_first(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises((UsageError, InputError), match=words):
        write.open_output(tmp_path / name, FRAME.schema, inputs=(), force=False)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("o.csv", pl.List(pl.String)), ("o.csv", pl.Duration()), ("o.jsonl", pl.Binary()), ("-", pl.Binary())],
)
def test_a_column_that_the_format_cannot_hold_is_refused_before_the_work(name: str, dtype: pl.DataType) -> None:
    with pytest.raises(InputError, match=r"cannot hold tags; name a \.parquet"):
        write.open_output(Path(name), pl.Schema({"tags": dtype}), inputs=(), force=False)


def test_a_file_that_came_into_being_meanwhile_is_kept_and_so_is_the_table(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with write.open_output(path, FRAME.schema, inputs=(), force=False) as output:
        output.append(FRAME)
        path.write_text("mine")
        with pytest.raises(InputError, match="came into being meanwhile"):
            output.commit()
    assert path.read_text() == "mine"
    assert len((tmp_path / ".out.csv.partial").read_text().splitlines()) == 4


def test_the_end_of_one_run_does_not_disturb_the_next(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with write.open_output(path, FRAME.schema, inputs=(), force=True) as first:
        first.append(FRAME)
        first.commit()
        second = write.open_output(path, FRAME.schema, inputs=(), force=True)
        second.__enter__()
    second.append(FRAME[:1])
    second.commit()
    second.__exit__()
    assert len(path.read_text().splitlines()) == 2


def test_header_names_stay_distinct_when_they_are_escaped(tmp_path: Path) -> None:
    write_all(tmp_path / "out.csv", pl.DataFrame({"'=a": ["x"], "=a": ["y"]}))
    assert (tmp_path / "out.csv").read_text() == "'=a,''=a\nx,y\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("sink", [write._Parquet, lambda path, _: write._Csv(path.open("wb"))])
def test_a_full_disk_is_an_error_and_never_a_hang(sink: type[write._Parquet]) -> None:
    output = write.Output(Path("out"), lambda: sink(Path("/dev/full"), FRAME.schema))
    large = pl.DataFrame({"id": ["1"] * 9999, "text": ["a b c"] * 9999, "stars": [1] * 9999})

    def write_much() -> None:
        with output:
            for _ in range(100):
                output.append(large)
            output.commit()

    with pytest.raises(InputError, match="cannot write out"):
        write_much()


@pytest.mark.parametrize(
    ("taken", "label"),
    [
        ([], "sentiment"),
        (["text"], "sentiment"),
        (["sentiment"], "reviewopt_sentiment"),
        (["sentiment_source"], "reviewopt_sentiment"),
        (["sentiment", "reviewopt_sentiment_cost_usd"], "reviewopt_reviewopt_sentiment"),
    ],
)
def test_answers_never_take_the_name_of_an_input_column(taken: list[str], label: str) -> None:
    names = write.answer_names("sentiment", taken)
    answers = [label, f"{label}_confidence", f"{label}_source", f"{label}_cost_usd"]
    prefix = label.removesuffix("sentiment")
    assert list(names.values()) == [*answers, f"{prefix}duplicate_of", f"{prefix}cluster"]


NAMES = ["cluster", "duplicate_of", "reviewopt_cluster", "cluster_source", "sentiment", "sentiment_source", ""]


@given(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), unique=True))
def test_answers_never_take_the_name_of_one_another(field: str, taken: list[str]) -> None:
    names = write.answer_names(field, taken)
    assert len({*names.values(), *taken}) == len(names) + len(taken)


def test_other_fields_have_their_own_names_and_the_note_comes_last() -> None:
    names = write.answer_names("sentiment", ["text"], ["quality", "insights"], has_notes=True)
    assert list(names)[6:] == ["other:quality", "other:insights", "note"]
    assert list(names.values())[6:] == ["quality", "insights", "sentiment_note"]


def test_one_name_that_is_taken_gives_all_of_them_a_prefix() -> None:
    names = write.answer_names("sentiment", ["quality"], ["quality"], has_notes=True)
    assert all(name.startswith("reviewopt_") for name in names.values())
    assert names["other:quality"] == "reviewopt_quality"


ODD = [*NAMES[:-1], "sentiment_confidence", "sentiment_note", "reviewopt_sentiment_note", "reviewopt_sentiment"]


@given(
    st.sampled_from(ODD),
    st.lists(st.sampled_from(ODD), unique=True),
    st.lists(st.sampled_from(ODD), unique=True),
    st.booleans(),
)
def test_fields_never_take_the_name_of_one_another(
    field: str, taken: list[str], others: list[str], has_notes: bool
) -> None:
    others = [other for other in others if other != field]
    names = write.answer_names(field, taken, others, has_notes=has_notes)
    assert len({*names.values(), *taken}) == len(names) + len(taken)
    assert len(names) == 6 + len(others) + has_notes


@pytest.mark.parametrize(
    ("inputs", "path"),
    [
        (["in/reviews.parquet"], "reviews.labelled.parquet"),
        (["reviews.2023.csv"], "reviews.2023.labelled.parquet"),
        (["shop.JSONL.gz"], "shop.labelled.parquet"),
        (["-"], "reviews.labelled.parquet"),
        (["a.csv", "b.csv"], "reviews.labelled.parquet"),
        (["shop/*.csv"], "reviews.labelled.parquet"),
        (["hf://owner/name/config:train"], "name.labelled.parquet"),
        (["folder/"], "folder.labelled.parquet"),
    ],
)
def test_the_default_output_is_named_after_the_table(inputs: list[str], path: str) -> None:
    assert write.default_output(inputs) == Path(path)
