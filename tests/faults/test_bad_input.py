"""Bad input is labelled, or refused with the file, the line and what to do: never silently short, ids stay strings."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from polars.exceptions import PanicException

from reviewopt.errors import InputError, ReviewoptError, UsageError
from reviewopt.load import ColumnChoice, Table, open_table
from reviewopt.load.source import reading
from reviewopt.task import Choice, Task

TASK = Task(
    name="sentiment",
    instructions="",
    fields=(Choice(name="sentiment", labels=("negative", "neutral", "positive")),),
    label_map="1-2=negative, 3=neutral, 4-5=positive",
)
ROWS = [f"{i},good product number {i},{i % 5 + 1}" for i in range(3000)]


def opened(*inputs: str | Path, chunk_rows: int = 50_000) -> Table:
    return open_table([str(given) for given in inputs], task=TASK, chunk_rows=chunk_rows)


def reviews(*inputs: str | Path) -> pl.DataFrame:
    with opened(*inputs) as table:
        return pl.concat([chunk.reviews for chunk in table.chunks()])


def refusal(*inputs: str | Path) -> str:
    """The message with which the inputs are refused; fit for a terminal in every case."""
    with pytest.raises(ReviewoptError) as caught:
        reviews(*inputs)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500
    return message


def csv_with(line: int, text: str, *, encoding: str = "utf-8") -> str:
    """A good file of 3,000 rows in which one line is replaced; the header is line 1."""
    lines = ["id,text,stars", *ROWS]
    lines[line - 1] = text
    Path("t.csv").write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return "t.csv"


# Nothing to read


def test_a_missing_file_is_named() -> None:
    assert refusal("no/such.parquet") == "no/such.parquet: no such file or folder; check the path"


def test_a_folder_without_tables_says_what_tables_are() -> None:
    Path("empty").mkdir()
    Path("empty/readme.txt").write_text("x")
    assert refusal("empty").startswith("empty: the folder holds no table; known: parquet, csv")


def test_a_glob_without_a_match_is_an_error() -> None:
    assert "*.csv: no file matches" in refusal("*.csv")


@pytest.mark.parametrize("name", ["t.xlsx", "t.parquet.gz", "t", "t.gz"])
def test_an_unknown_format_lists_the_known_ones(name: str) -> None:
    Path(name).write_bytes(b"x")
    assert f"{name}: unknown format" in refusal(name)
    assert "known: parquet, csv" in refusal(name)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.json"])
@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_an_error(name: str, content: bytes) -> None:
    Path(name).write_bytes(content)
    assert f"{name}: the file is empty" in refusal(name)


def test_a_table_without_rows_is_an_error() -> None:
    Path("t.csv").write_text("id,text\n")
    pl.DataFrame({"text": ["a"]}).head(0).write_parquet("t.parquet")
    assert refusal("t.csv") == "t.csv: no rows; a table needs at least one"
    assert refusal("t.parquet") == "t.parquet: no rows; a table needs at least one"


def test_an_empty_table_beside_a_full_one_is_no_error() -> None:
    Path("a.csv").write_text("id,text\n")
    Path("b.csv").write_text("id,text\n1,x\n")
    assert reviews("a.csv", "b.csv")["review_id"].to_list() == ["1"]


def test_no_input_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no input; name a table"):
        opened()


# Text of the wrong kind


def test_latin_1_among_utf_8_is_refused_with_line_and_byte() -> None:
    message = refusal(csv_with(1501, "1499,café,5", encoding="latin-1"))
    assert message.startswith("t.csv, line 1,501: byte 0xe9 is not UTF-8; convert the file first")
    assert "iconv -f WINDOWS-1252 -t UTF-8" in message


def test_latin_1_in_the_header_is_refused_with_its_line() -> None:
    assert refusal(csv_with(1, "id,text,étoiles", encoding="latin-1")).startswith("t.csv, line 1: byte 0xe9")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_other_unicode_is_read_in_full(encoding: str) -> None:
    got = reviews(csv_with(1501, "1499,café 😀,5", encoding=encoding))
    assert got.height == 3000
    assert got["text"][1499] == "café 😀"


def test_utf_16_that_is_cut_short_is_refused() -> None:
    name = csv_with(2, "0,a,5", encoding="utf-16")
    Path(name).write_bytes(Path(name).read_bytes()[:-1])
    assert "t.csv: its utf-16 text is damaged after byte" in refusal(name)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PAR1xxxx", "a parquet file"),
        (gzip.compress(b"id,text\n1,a\n", mtime=0), "gzip data"),
        (b"PK\x03\x04xx", "a zip or Excel file"),
        (b"\x28\xb5\x2f\xfdxx", "zstd data"),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_another_format_under_a_text_ending_is_recognised(content: bytes, what: str, name: str) -> None:
    Path(name).write_bytes(content)
    assert f"{name}: this is {what}, not text" in refusal(name)


def test_a_file_of_lone_carriage_returns_is_read_in_full() -> None:
    Path("t.csv").write_bytes("\r".join(["id,text,stars", *ROWS]).encode())
    assert reviews("t.csv").height == 3000


# CSV that is broken


def test_a_row_with_too_many_fields_is_refused_with_its_line() -> None:
    assert refusal(csv_with(2001, "1999,good, really,5")).startswith(
        "t.csv, line 2,001: 4 fields, but the header has 3; quote fields that hold the delimiter"
    )


@pytest.mark.parametrize("row", ["1999,good", "1999"])
def test_a_short_row_is_refused_with_its_line(row: str) -> None:
    assert f"t.csv, line 2,001: {row.count(',') + 1} fields, but the header has 3" in refusal(csv_with(2001, row))


def test_a_short_and_a_long_row_do_not_cancel_out() -> None:
    name = csv_with(10, "8,good")
    Path(name).write_text(Path(name).read_text() + "9,a,5,6\n")
    assert "t.csv, line 10: 2 fields" in refusal(name)


def test_an_unclosed_quote_is_refused_with_the_line_where_it_opens() -> None:
    assert refusal(csv_with(2001, '1999,"good,5')).startswith(
        "t.csv, line 2,001: a quoted field opens in this record and is never closed"
    )


def test_text_after_a_closing_quote_is_refused_with_its_line() -> None:
    assert "t.csv, line 2,001: text follows a closing quote" in refusal(csv_with(2001, '1999,"good" really,5'))


@pytest.mark.parametrize("last", [2002, 2010])
def test_rows_between_two_stray_quotes_are_not_swallowed(last: int) -> None:
    csv_with(2001, '1999,"good,5')
    lines = Path("t.csv").read_text().split("\n")
    lines[last - 1] = f'{last - 2},bad",1'
    Path("t.csv").write_text("\n".join(lines))
    message = refusal("t.csv")
    assert message.startswith(f"t.csv, line 2,001: a quote opens a field of {last - 2000} lines that look like rows")
    assert "remove the quote or double it" in message


def test_two_stray_quotes_inside_plain_fields_swallow_nothing() -> None:
    csv_with(2001, '1999,a 5" tv,5')
    lines = Path("t.csv").read_text().split("\n")
    lines[2009] = '2008,a 7" tv,1'
    Path("t.csv").write_text("\n".join(lines))
    got = reviews("t.csv")
    assert got.height == 3000
    assert got["text"][1999] == 'a 5" tv'


# Damaged files


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.zst", "t.jsonl.gz", "t.jsonl.zst"])
def test_compressed_data_that_are_cut_short_are_refused(name: str) -> None:
    frame = pl.DataFrame({"text": [os.urandom(50).hex() for _ in range(2000)]})
    compression: Literal["gzip", "zstd"] = "gzip" if name.endswith(".gz") else "zstd"
    if "csv" in name:
        frame.write_csv(name, compression=compression)
    else:
        frame.write_ndjson(name, compression=compression)
    data = Path(name).read_bytes()
    for damaged in (data[: len(data) // 2], data[:-4], data[:6], data + b"more"):
        Path(name).write_bytes(damaged)
        assert f"{name}: the {compression} data is damaged or cut short after" in refusal(name)


def test_a_flipped_byte_in_gzip_data_is_refused() -> None:
    pl.DataFrame({"text": [os.urandom(50).hex() for _ in range(2000)]}).write_csv("t.csv.gz", compression="gzip")
    data = bytearray(Path("t.csv.gz").read_bytes())
    data[len(data) // 2] ^= 1
    Path("t.csv.gz").write_bytes(data)
    refusal("t.csv.gz")


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_a_columnar_file_that_is_cut_short_is_refused(name: str) -> None:
    frame = pl.DataFrame({"text": ["good"] * 100})
    _ = frame.write_parquet(name) if name == "t.parquet" else frame.write_ipc(name)
    Path(name).write_bytes(Path(name).read_bytes()[:-20])
    assert "the file is damaged or not what its ending says; copy or write it again" in refusal(name)


def test_a_parquet_file_that_is_damaged_in_the_middle_says_how_far_it_came() -> None:
    frame = pl.DataFrame({"text": [os.urandom(8).hex() for _ in range(80_000)]})
    frame.write_parquet("t.parquet", row_group_size=10_000, compression="zstd")
    data = bytearray(Path("t.parquet").read_bytes())
    middle = len(data) * 27 // 32
    data[middle : middle + 2000] = bytes(2000)
    Path("t.parquet").write_bytes(data)
    heights = []
    with opened("t.parquet", chunk_rows=10_000) as table:
        chunks = table.chunks()
        heights = [next(chunks).reviews.height for _ in range(6)]
        with pytest.raises(InputError, match=r"t\.parquet, after row 60,000: .*damaged"):
            next(chunks)
    assert heights == [10_000] * 6


def test_a_panic_of_polars_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"t\.jsonl: boom; mend it"), reading("t.jsonl", "mend it"):
        raise PanicException("boom")


def test_bytes_that_are_no_text_in_a_parquet_column_are_refused() -> None:
    pl.DataFrame({"text": [b"good", b"caf\xe9"]}).write_parquet("t.parquet")
    assert "t.parquet: column 'text' cannot be read as text" in refusal("t.parquet")


# Odd values


NASTY = [
    "", " \t ", "\0", "a\0b", "\ufeffbom", "\u202eright to left", "👩\u200d👩\u200d👧", "\u2028", "=1+1", "\x1b[31mred",
    "x" * 1_000_000,
]  # fmt: skip
IDS = ["007", "NA", "1e5", "null", "", "007", "-0", "1.0", "true", "nan", "0x1F"]


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.tsv", "t.jsonl", "t.json", "t.arrow", "t.csv.gz"])
def test_odd_texts_and_ids_come_out_as_they_went_in(name: str) -> None:
    frame = pl.DataFrame({"id": IDS, "text": NASTY})
    match name.split(".", 1)[1]:
        case "parquet":
            frame.write_parquet(name)
        case "arrow":
            frame.write_ipc(name)
        case "json":
            frame.write_json(name)
        case "jsonl":
            frame.write_ndjson(name)
        case "csv.gz":
            frame.write_csv(name, compression="gzip")
        case ending:
            frame.write_csv(name, separator="\t" if ending == "tsv" else ",")
    got = reviews(name)
    assert got["text"].to_list() == NASTY
    assert got["review_id"].to_list() == IDS


def test_null_texts_are_rows_too() -> None:
    Path("t.jsonl").write_text('{"text": null}\n{"text": "a"}\n{}\n')
    assert reviews("t.jsonl")["text"].to_list() == [None, "a", None]


def test_foreign_text_in_a_message_is_escaped_and_short() -> None:
    pl.DataFrame({"text": ["a"], "stars": ["\x1b]0;owned\x07" + "9" * 500], "label": ["x"]}).write_parquet("t.parquet")
    with pytest.raises(InputError) as caught:
        open_table(["t.parquet"], task=TASK, choice=ColumnChoice(label="stars"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_bad_json_is_refused_with_its_line_before_any_row_comes() -> None:
    Path("t.jsonl").write_text('{"text": "a"}\n' * 500 + '{"text": "b"\n')
    with pytest.raises(InputError, match=r"t.jsonl, line 501: not valid JSON"):
        opened("t.jsonl")


# Names of data sets


@pytest.mark.parametrize(
    "name", ["hf://../etc", "hf://a/../b", "hf:///etc/passwd", "hf://a/b/c/d", "hf://~/x", "hf://a", "hf://a/.."]
)
def test_names_of_data_sets_cannot_leave_the_hub(name: str) -> None:
    with pytest.raises(UsageError, match="write hf://owner/name"):
        opened(name)
