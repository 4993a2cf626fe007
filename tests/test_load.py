"""load: any table -> frames of exactly REVIEW_SCHEMA, with the untouched input beside it."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from reviewopt.errors import InputError, UsageError
from reviewopt.load import REVIEW_SCHEMA, ColumnChoice, Table, open_table
from reviewopt.task import Choice, Task

TASK = Task(
    name="sentiment",
    instructions="",
    fields=(Choice(name="sentiment", labels=("negative", "neutral", "positive")),),
    label_map="1-2=negative, 3=neutral, 4-5=positive",
    aliases={"negative": ("neg", "bad"), "positive": ("pos",)},
)

REVIEWS = pl.DataFrame(
    {
        "id": ["007", "NA", "1e5", "007"],
        "title": ["Fine", "", "Über", "null"],
        "text": ["good, really", 'a 5" tv\nbroke', "", "  "],
        "rating": ["5", "1", "3", "4"],
        "brand": ["a", "b", "a", "b"],
        "other": ["x", "y", "z", ""],
    }
)

WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "r.parquet": lambda frame, path: frame.write_parquet(path),
    "r.arrow": lambda frame, path: frame.write_ipc(path),
    "r.feather": lambda frame, path: frame.write_ipc(path, compression="zstd"),
    "stream.arrow": lambda frame, path: frame.write_ipc_stream(path),
    "r.csv": lambda frame, path: frame.write_csv(path),
    "r.tsv": lambda frame, path: frame.write_csv(path, separator="\t"),
    "r.csv.gz": lambda frame, path: frame.write_csv(path, compression="gzip"),
    "r.csv.zst": lambda frame, path: frame.write_csv(path, compression="zstd"),
    "r.jsonl": lambda frame, path: frame.write_ndjson(path),
    "r.ndjson": lambda frame, path: frame.write_ndjson(path),
    "r.jsonl.gz": lambda frame, path: frame.write_ndjson(path, compression="gzip"),
    "r.jsonl.zst": lambda frame, path: frame.write_ndjson(path, compression="zstd"),
    "r.json": lambda frame, path: frame.write_json(path),
    "r.json.gz": lambda frame, path: path.write_bytes(gzip.compress(frame.write_json().encode())),
    "lines.json": lambda frame, path: frame.write_ndjson(path),
}


def opened(*inputs: str | Path, choice: ColumnChoice | None = None, **options: Any) -> Table:
    return open_table([str(given) for given in inputs], task=TASK, choice=choice or ColumnChoice(), **options)


def read(*inputs: str | Path, choice: ColumnChoice | None = None, **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The whole table and the whole reviews."""
    with opened(*inputs, choice=choice, **options) as table:
        chunks = list(table.chunks())
        assert all(chunk.table.schema == table.schema for chunk in chunks)
        assert all(chunk.reviews.schema == REVIEW_SCHEMA for chunk in chunks)
        assert all(chunk.reviews.height == chunk.table.height for chunk in chunks)
    return pl.concat([chunk.table for chunk in chunks]), pl.concat([chunk.reviews for chunk in chunks])


def written(frame: pl.DataFrame, name: str = "r.parquet") -> str:
    WRITERS[name](frame, Path(name))
    return name


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_reviews_and_the_untouched_table(name: str) -> None:
    table, reviews = read(written(REVIEWS, name))

    assert_frame_equal(table, REVIEWS)
    assert reviews["row"].to_list() == [0, 1, 2, 3]
    assert reviews["review_id"].to_list() == ["007", "NA", "1e5", "007"]
    assert reviews["text"].to_list() == REVIEWS["text"].to_list()
    assert reviews["title"].to_list() == ["Fine", "", "Über", "null"]
    assert reviews["tenant"].to_list() == ["a", "b", "a", "b"]
    assert reviews["category"].to_list() == [None] * 4
    assert reviews["label"].to_list() == ["positive", "negative", "neutral", "positive"]


@pytest.mark.parametrize("name", WRITERS)
def test_chunk_sizes_change_nothing(name: str) -> None:
    frame = pl.concat([REVIEWS] * 5)
    whole = read(written(frame, name))
    for chunk_rows in (1, 7):
        with opened(name, chunk_rows=chunk_rows) as table:
            assert max(chunk.table.height for chunk in table.chunks()) <= chunk_rows
        parts = read(name, chunk_rows=chunk_rows)
        assert_frame_equal(parts[0], whole[0])
        assert_frame_equal(parts[1], whole[1])


def test_a_table_can_be_read_twice_and_closed_twice() -> None:
    with opened(written(REVIEWS)) as table:
        assert [c.table.height for c in table.chunks()] == [c.table.height for c in table.chunks()] == [4]
    table.close()


def test_types_of_a_parquet_file_are_kept_and_reviews_are_strings() -> None:
    frame = pl.DataFrame(
        {
            "review_id": [7.0, None, 8.5, float("nan")],
            "text": pl.Series(["a", None, "b", "c"], dtype=pl.Categorical),
            "store": [1, 2, None, 3],
            "category": pl.Series(["x", None, "y", "x"], dtype=pl.Enum(["x", "y"])),
            "stars": pl.Series([1, None, 3, 5], dtype=pl.Int8),
            "extra": [[1], None, [], [2, 3]],
        }
    )
    table, reviews = read(written(frame))
    assert_frame_equal(table, frame)
    assert reviews["review_id"].to_list() == ["7", "1", "8.5", "3"]
    assert reviews["text"].to_list() == ["a", None, "b", "c"]
    assert reviews["tenant"].to_list() == ["1", "2", None, "3"]
    assert reviews["label"].to_list() == ["negative", None, "neutral", "positive"]


def test_wide_rows_make_smaller_chunks() -> None:
    frame = pl.DataFrame({"text": ["x" * 1_000_000] * 200})
    with opened(written(frame)) as table:
        heights = [chunk.table.height for chunk in table.chunks()]
    assert sum(heights) == 200
    assert max(heights) <= 68


def test_limit_reads_no_more_and_is_counted() -> None:
    with opened(written(pl.concat([REVIEWS] * 5)), limit=7, chunk_rows=3) as table:
        assert table.n_rows == 7
        assert [chunk.table.height for chunk in table.chunks()] == [3, 3, 1]


# Columns


@pytest.mark.parametrize("name", ["text", "review", "review_text", "reviewText", "Review Text", "body", "CONTENT"])
def test_the_text_column_is_found_by_name(name: str) -> None:
    with opened(written(pl.DataFrame({"n": [1], name: ["good"]}))) as table:
        assert table.columns.text == name


def test_a_chosen_column_wins_and_none_switches_a_role_off() -> None:
    choice = ColumnChoice(text="other", title="none", id="none", label="none", tenant="title")
    with opened(written(REVIEWS), choice=choice) as table:
        columns = table.columns
        assert (columns.text, columns.title, columns.id, columns.label, columns.tenant) == (
            "other", None, None, None, "title",
        )  # fmt: skip
        assert next(table.chunks()).reviews["review_id"].to_list() == ["0", "1", "2", "3"]


def test_the_columns_and_the_mapping_are_said_in_one_line() -> None:
    with opened(written(REVIEWS)) as table:
        mapping = "1-2=negative, 3=neutral, 4-5=positive"
        assert table.notes == (f"columns: text=text, title=title, id=id, label=rating ({mapping}), tenant=brand",)


def test_a_second_candidate_is_mentioned() -> None:
    with opened(written(pl.DataFrame({"body": ["a"], "review_text": ["b"]}))) as table:
        assert table.columns.text == "review_text"
        assert "text is read from 'review_text', not body (--text-column chooses)" in table.notes


def test_a_missing_text_column_lists_the_columns() -> None:
    with pytest.raises(InputError, match="columns: a, b; needed: text; try --text-column 'b'"):
        opened(written(pl.DataFrame({"a": [1], "b": ["x"]})))


def test_a_wrong_column_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no column 'titel' for the title; .*did you mean 'title'"):
        opened(written(REVIEWS), choice=ColumnChoice(title="titel"))


@pytest.mark.parametrize("frame", [pl.DataFrame({"text": [["a"]]}), pl.DataFrame({"text": [{"a": "b"}]})])
def test_a_nested_text_column_is_an_error(frame: pl.DataFrame) -> None:
    with pytest.raises(InputError, match=r"needed: text; 'text' is (List|Struct)"):
        opened(written(frame))
    with pytest.raises(InputError, match=r"column 'text' is (List|Struct).*not text"):
        opened("r.parquet", choice=ColumnChoice(text="text"))


def test_switching_the_text_off_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--text-column none"):
        opened(written(REVIEWS), choice=ColumnChoice(text="none"))


# Labels


def labels(frame: pl.DataFrame, **options: Any) -> list[str | None]:
    return read(written(frame), **options)[1]["label"].to_list()


def test_label_names_win_over_stars() -> None:
    frame = pl.DataFrame(
        {"text": ["a"] * 4, "rating": [5, 5, 5, 5], "sentiment": ["Neg", " positive ", None, "NEUTRAL"]}
    )
    assert labels(frame) == ["negative", "positive", None, "neutral"]
    with opened("r.parquet") as table:
        assert "label=sentiment (names)" in table.notes[0]
        assert "label is read from 'sentiment', not rating (--label-column chooses)" in table.notes


@pytest.mark.parametrize("values", [[1, 3, 5], [1.0, 3.0, 5.0], ["1", "3.0", " 5 "]])
def test_stars_of_any_type_are_mapped(values: list[object]) -> None:
    assert labels(pl.DataFrame({"text": ["a"] * 3, "stars": values})) == ["negative", "neutral", "positive"]


@pytest.mark.parametrize("value", [0, 6, 2.5, 10])
def test_a_rating_outside_the_mapping_asks_for_one(value: float) -> None:
    frame = pl.DataFrame({"text": ["a"] * 2, "rating": [1.0, value]})
    with pytest.raises(InputError, match=rf"row 1 .*'rating' holds {float(value)}.*--label-map '1-4=negative"):
        labels(frame)


def test_a_label_map_takes_the_place_of_the_tasks() -> None:
    frame = pl.DataFrame({"text": ["a"] * 4, "rating": [1, 6, 10, 5]})
    assert labels(frame, label_map="1-4=negative, 5-6=neutral, 7-10=positive") == [
        "negative", "neutral", "positive", "neutral",
    ]  # fmt: skip


def test_a_label_map_can_name_names() -> None:
    frame = pl.DataFrame({"text": ["a"] * 2, "label": ["spam", "good"]})
    choice = ColumnChoice(label="label")
    assert labels(frame, choice=choice, label_map="spam=negative, good=positive") == ["negative", "positive"]


@pytest.mark.parametrize(
    "given", ["1-4", "=negative", "1=", "1-4=great", "4-1=negative", "1-3=negative, 2=positive", ""]
)
def test_a_bad_label_map_shows_an_example(given: str) -> None:
    with pytest.raises(UsageError, match="example: --label-map '1-4=negative, 5-6=neutral, 7-10=positive'"):
        opened(written(REVIEWS), label_map=given)


def test_a_chosen_column_without_labels_is_an_error_that_lists_its_values() -> None:
    with pytest.raises(InputError, match="'other' holds x, y, z; labels: negative, neutral, positive"):
        opened(written(REVIEWS), choice=ColumnChoice(label="other"))


def test_a_column_without_labels_that_was_only_found_is_left_out_with_a_note() -> None:
    frame = pl.DataFrame({"text": ["a"], "label": ["shipping"], "overall": [5]})
    assert labels(frame) == ["positive"]
    with opened("r.parquet") as table:
        assert "'label' is not used as the label: its values (shipping) are no labels" in table.notes


def test_an_unknown_name_among_labels_is_an_error_not_a_null() -> None:
    frame = pl.DataFrame({"text": ["a"] * 3, "label": ["positive", "negative", "irrelevant"]})
    with pytest.raises(InputError, match=r"row 2 .*'label' holds irrelevant.*--label-map 'irrelevant=negative'"):
        labels(frame)


def test_the_label_column_does_not_depend_on_the_chunk_size() -> None:
    frame = pl.DataFrame({"text": ["a"] * 3, "label": ["other", "x", "negative"], "rating": [1, 5, 5]})
    assert labels(frame, chunk_rows=1) == labels(frame) == ["negative", "positive", "positive"]


@pytest.mark.parametrize("prefix", ["", "reviewopt_"])
def test_answers_of_an_earlier_run_are_no_labels(prefix: str) -> None:
    answers = {f"sentiment_{key}": ["x"] for key in ("confidence", "source", "cost_usd")}
    again = {f"{prefix}sentiment{key}": ["x"] for key in ("", "_confidence", "_source", "_cost_usd")}
    written(
        pl.DataFrame({"text": ["a"], "rating": [1], "sentiment": ["positive"], **answers} | (again if prefix else {}))
    )
    assert read("r.parquet")[1]["label"].to_list() == ["negative"]
    with opened("r.parquet") as table:
        note = "'sentiment' is not used as the label: an earlier run wrote it (--label-column chooses)"
        assert note in table.notes
    assert read("r.parquet", choice=ColumnChoice(label="sentiment"))[1]["label"].to_list() == ["positive"]


def test_a_label_column_beside_only_some_answer_columns_is_used() -> None:
    assert labels(pl.DataFrame({"text": ["a"], "sentiment": ["positive"], "sentiment_source": ["x"]})) == ["positive"]


def test_a_label_map_without_a_label_column_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no label column to map"):
        opened(written(REVIEWS), choice=ColumnChoice(label="none"), label_map="1=negative")


def test_an_empty_tenant_or_category_is_none_in_the_reviews_only() -> None:
    frame = pl.DataFrame({"text": ["a", "b"], "title": ["", "x"], "brand": ["", "x"], "category": ["", None]})
    table, reviews = read(written(frame))
    assert_frame_equal(table, frame)
    assert reviews["tenant"].to_list() == [None, "x"]
    assert reviews["category"].to_list() == [None, None]
    assert reviews["title"].to_list() == ["", "x"]


# Several inputs


def test_a_label_error_counts_the_rows_of_its_file() -> None:
    pl.DataFrame({"text": ["a"] * 5, "rating": ["1"] * 5}).write_csv("m1.csv")
    pl.DataFrame({"text": ["a"] * 5, "rating": ["1", "2", "3", "9", "1"]}).write_csv("m2.csv")
    for chunk_rows in (2, 50):
        with pytest.raises(InputError, match=r"m2.csv, row 3 \(from 0\): column 'rating' holds 9") as caught:
            read("m1.csv", "m2.csv", chunk_rows=chunk_rows)
        assert "run from" not in str(caught.value)


def test_a_table_that_is_named_twice_is_read_once_with_a_note() -> None:
    Path("in").mkdir()
    REVIEWS.write_csv("in/a.csv")
    REVIEWS.write_csv("in/b.csv")
    with opened("in/a.csv", "in", Path.cwd() / "in/*.csv") as table:
        assert table.names == ("in/a.csv", "in/b.csv")
        assert table.n_rows is None
        assert "in/a.csv is left out: it is read already, as in/a.csv" in table.notes
        assert any(
            note.startswith(str(Path.cwd())[:12]) and note.endswith("is left out: it is read already, as in/b.csv")
            for note in table.notes
        )
        assert len(pl.concat([chunk.table for chunk in table.chunks()])) == 8


@pytest.mark.parametrize("given", ["in", "in/*", "in/*.csv"])
def test_labelled_tables_are_left_out_of_folders_but_not_when_named(given: str) -> None:
    Path("in").mkdir()
    REVIEWS.write_csv("in/a.csv")
    REVIEWS.write_csv("in/a.labelled.csv")
    with opened(given) as table:
        assert table.names == ("in/a.csv",)
        assert "in/a.labelled.csv is left out: an earlier run wrote it (name the file to label it)" in table.notes
    for named in ("in/a.labelled.csv", "in/*.labelled.csv"):
        assert opened(named).names == ("in/a.labelled.csv",)
    Path("in/a.csv").unlink()
    with pytest.raises(InputError, match="only labelled tables of earlier runs"):
        opened(given)


def test_the_inputs_are_known_as_they_were_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin(b"text\na\n"))
    Path("in").mkdir()
    REVIEWS.write_csv("in/a.csv")
    with opened("in/", "-") as table:
        assert table.inputs == ("in/", "-")


@pytest.mark.parametrize(
    ("types", "together"),
    [
        ((pl.Decimal(30, 2), pl.Decimal(30, 4)), pl.Decimal(32, 4)),
        ((pl.Decimal(38, 2), pl.Decimal(38, 10)), pl.String()),
        ((pl.Decimal(10, 2), pl.Int64()), pl.Decimal(22, 2)),
        ((pl.Decimal(10, 2), pl.Float64()), pl.String()),
        ((pl.Int64(), pl.UInt64()), pl.String()),
        ((pl.Int64(), pl.Int8()), pl.Int64()),
        ((pl.Int64(), pl.Float32()), pl.Float64()),
        ((pl.List(pl.Int64()), pl.List(pl.UInt64())), pl.List(pl.String())),
    ],
    ids=str,
)
def test_columns_of_two_types_meet_in_one_that_holds_both(
    types: tuple[pl.DataType, pl.DataType], together: pl.DataType
) -> None:
    for i, dtype in enumerate(types):
        x = pl.Series("x", [[3]] if dtype.is_nested() else [3], dtype=dtype)
        pl.DataFrame([x, pl.Series("text", ["a"])]).write_parquet(f"{i}.parquet")
    table, _ = read("0.parquet", "1.parquet")
    assert table.schema["x"] == together
    back, _ = read("1.parquet", "0.parquet")
    assert back.schema["x"] == together


def test_decimals_keep_their_digits() -> None:
    for i, scale in enumerate((2, 4)):
        x = pl.Series("x", ["1234567890123456789012345.67"]).cast(pl.Decimal(30, scale))
        pl.DataFrame([x, pl.Series("text", ["a"])]).write_parquet(f"{i}.parquet")
    table, _ = read("0.parquet", "1.parquet")
    assert table["x"].cast(pl.String).str.strip_chars_end("0").to_list() == ["1234567890123456789012345.67"] * 2


def test_several_files_are_one_table_with_the_file_of_each_row() -> None:
    Path("in").mkdir()
    REVIEWS.write_csv("in/b.csv")
    REVIEWS.with_columns(pl.col("rating").cast(pl.Int64)).drop("brand").write_parquet("in/a.parquet")
    Path("in/.hidden.csv").write_text("a\n1\n")
    Path("in/notes.txt").write_text("no table")
    table, reviews = read("in")
    assert table.columns == ["id", "title", "text", "rating", "other", "brand", "source_file"]
    assert table["source_file"].to_list() == ["in/a.parquet"] * 4 + ["in/b.csv"] * 4
    assert table["brand"].to_list() == [None] * 4 + ["a", "b", "a", "b"]
    assert reviews["row"].to_list() == list(range(8))
    assert reviews["label"].to_list() == ["positive", "negative", "neutral", "positive"] * 2
    with opened("in") as opened_table:
        assert "column 'brand' is missing in in/a.parquet; filled with null" in opened_table.notes
        assert "column 'rating' is Int64 and String; read as String" in opened_table.notes


def test_a_glob_is_sorted_and_a_file_with_magic_characters_is_itself() -> None:
    for name in ("b1.csv", "a1.csv", "[x].csv"):
        REVIEWS.write_csv(name)
    assert opened("?1.csv").names == ("a1.csv", "b1.csv")
    assert opened("[x].csv").names == ("[x].csv",)
    assert opened(Path.cwd() / "*1.csv").names == (str(Path.cwd() / "a1.csv"), str(Path.cwd() / "b1.csv"))


def test_an_input_with_a_source_file_of_its_own_keeps_it() -> None:
    REVIEWS.with_columns(source_file=pl.lit("mine")).write_csv("a.csv")
    REVIEWS.write_csv("b.csv")
    table, _ = read("a.csv", "b.csv")
    assert table["source_file"].to_list() == ["mine"] * 4 + [None] * 4
    assert table["reviewopt_source_file"].to_list() == ["a.csv"] * 4 + ["b.csv"] * 4


@pytest.mark.parametrize(
    ("whole", "other"),
    [(2**53 + 1, 1.5), ([1, None, 2**53 + 1], [1.5]), ({"a": [2**63 - 1]}, {"a": [1.5]})],
    ids=str,
)
def test_whole_numbers_that_would_be_rounded_are_refused(whole: object, other: object) -> None:
    pl.DataFrame({"id": [whole], "text": ["a"]}).write_parquet("a.parquet")
    pl.DataFrame({"id": [other], "text": ["a"]}).write_parquet("b.parquet")
    with pytest.raises(InputError, match=r"a.parquet: column 'id' holds whole numbers too large"):
        read("a.parquet", "b.parquet")


def test_types_that_do_not_meet_are_refused() -> None:
    pl.DataFrame({"x": [[1]], "text": ["a"]}).write_parquet("a.parquet")
    pl.DataFrame({"x": [1], "text": ["a"]}).write_parquet("b.parquet")
    with pytest.raises(InputError, match=r"b.parquet: column 'x' is Int64 here and List\(Int64\)"):
        opened("a.parquet", "b.parquet")


# Standard input


class _Stdin:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


@pytest.mark.parametrize(
    ("content", "given"),
    [
        (REVIEWS.write_csv().encode(), None),
        (REVIEWS.write_csv(separator="\t").encode(), "tsv"),
        (REVIEWS.write_ndjson().encode(), None),
        (REVIEWS.write_json().encode(), None),
        (b"\n" + REVIEWS.write_ndjson().encode(), "jsonl"),
        (gzip.compress(REVIEWS.write_csv().encode()), "csv"),
        (REVIEWS.write_ndjson().encode("utf-16"), None),
        (REVIEWS.write_json().encode("utf-16-be"), None),
        (REVIEWS.write_csv().encode("utf-16-le"), None),
        (REVIEWS.write_ndjson().encode("utf-32"), None),
    ],
)
def test_standard_input_is_spooled_privately_and_removed(
    content: bytes, given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", _Stdin(content))
    with opened("-", stdin_format=given) as table:
        (spooled,) = tmp_path.iterdir()
        assert spooled.stat().st_mode & 0o777 == 0o600
        assert_frame_equal(pl.concat([chunk.table for chunk in table.chunks()]), REVIEWS)
        assert table.names == ("standard input",)
    assert not spooled.exists()


def test_nothing_stays_behind_when_standard_input_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", _Stdin(b"a,b\n1,2\n"))
    with pytest.raises(InputError, match="columns: a, b; needed: text"):
        opened("-")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("inputs", "given", "message"),
    [
        (["r.parquet"], "csv", "standard input .csv., which is not read"),
        (["-"], "xls", "cannot be read as 'xls'; known: csv, tsv, json, jsonl, ndjson"),
        (["r.parquet"], "xls", "cannot be read as 'xls'; known: csv, tsv"),
        (["-", "-"], None, "once only"),
    ],
)
def test_flags_for_standard_input_that_cannot_be_meant(inputs: list[str], given: str | None, message: str) -> None:
    written(REVIEWS)
    with pytest.raises(UsageError, match=message):
        opened(*inputs, stdin_format=given)


# Fingerprint


@pytest.mark.parametrize("name", ["r.parquet", "r.csv", "r.jsonl.gz", "stream.arrow"])
def test_the_fingerprint_follows_the_content_and_not_the_name(name: str) -> None:
    first = opened(written(REVIEWS, name)).fingerprint()
    copy = Path("copy-" + name)
    copy.write_bytes(Path(name).read_bytes())
    os.utime(copy, (1, 1))
    assert opened(copy).fingerprint() == first
    changed = REVIEWS.with_columns(other=pl.Series(["x", "y", "Z", ""]))
    assert opened(written(changed, name)).fingerprint() != first
    second = Path("second-" + name)
    second.write_bytes(copy.read_bytes())
    assert opened(copy, second).fingerprint() != first


def test_the_fingerprint_is_known_once_all_rows_were_read() -> None:
    REVIEWS.write_csv("a.csv")
    expected = opened("a.csv").fingerprint()
    with opened("a.csv") as table:
        _ = list(table.chunks())
        Path("a.csv").unlink()
        assert table.fingerprint() == expected


def test_importing_load_imports_neither_datasets_nor_pyarrow() -> None:
    code = "import sys, reviewopt.load; print([m for m in ('datasets', 'pyarrow', 'pandas') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
