"""load: CSV and TSV, every cell a string and every row accounted for."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt.errors import InputError
from reviewopt.load.delimited import open_delimited

# Prefixed, so that no part of a cell is a value of another row: the guard against swallowed rows looks for those.
CELLS = st.one_of(st.just(""), st.text(st.sampled_from('ab",;\t|\n\r é\0\u2028'), min_size=1).map("c:".__add__))


def frames(
    data: bytes | str, *, block_bytes: int = 1 << 20, chunk_rows: int = 1000, suffix: str = ".csv"
) -> pl.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{suffix}"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        delimiter = "\t" if suffix == ".tsv" else None
        source = open_delimited(path, path.name, compression=None, delimiter=delimiter, block_bytes=block_bytes)
        return pl.concat([pl.DataFrame(schema=source.schema), *source.frames(chunk_rows)])


def rows(data: bytes | str, **options: int) -> list[tuple[str, ...]]:
    return frames(data, **options).rows()  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(
    n_columns=st.integers(1, 4),
    data=st.data(),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    block_bytes=st.sampled_from([1, 3, 16, 64, 1 << 20]),
    chunk_rows=st.sampled_from([1, 3, 1000]),
)
def test_what_csv_writes_is_read_back(
    n_columns: int, data: st.DataObject, delimiter: str, end: str, quoting: int, block_bytes: int, chunk_rows: int
) -> None:
    table = data.draw(st.lists(st.tuples(*[CELLS] * n_columns), max_size=8))
    buffer = io.StringIO()
    if end != "\r\n":
        quoting = csv.QUOTE_ALL  # csv leaves a line end bare in a field if it is not its own, and cannot read it back
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    names = [f"name{i}" for i in range(n_columns)]
    writer.writerow(names)
    writer.writerows(table)
    if n_columns == 1:
        delimiter_free = all(c not in cell for row in table for cell in row for c in ",;\t|")
        if not delimiter_free and quoting == csv.QUOTE_MINIMAL and delimiter != ",":
            return  # one column has no delimiter to find, so only commas need quotes
    frame = frames(buffer.getvalue(), block_bytes=block_bytes, chunk_rows=chunk_rows)
    assert frame.columns == names
    assert frame.rows() == table


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from('a",\n\r'), max_size=40), st.sampled_from([1, 2, 7, 1 << 20]))
def test_any_text_is_read_as_the_strict_standard_reader_does_or_refused(body: str, block_bytes: int) -> None:
    text = "x,y\n" + body
    lines = io.StringIO(text, newline="")
    try:
        expected = [tuple(row) for row in csv.reader(lines, strict=True) if row][1:]
        good = all(len(row) == 2 for row in expected)
    except csv.Error:
        good = False
    if good:
        assert rows(text, block_bytes=block_bytes) == expected
    else:
        with pytest.raises(InputError, match=r"t\.csv, line \d+"):
            rows(text, block_bytes=block_bytes)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_and_quotes_are_respected(delimiter: str) -> None:
    header = delimiter.join(["id", '"a, b; c|d"', "text"])
    assert rows(f"{header}\n" + delimiter.join(["1", "2", '"x,;|\t"']) + "\n") == [("1", "2", "x,;|\t")]


def test_one_column_needs_no_delimiter_and_keeps_empty_rows() -> None:
    assert rows('text\ngood\n\n""\nbad\n') == [("good",), ("",), ("",), ("bad",)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_every_unicode_encoding_is_read(encoding: str, block_bytes: int) -> None:
    text = "id,text\n" + "".join(f"{i},héllo wörld 日本 😀\n" for i in range(20))
    got = rows(text.encode(encoding), block_bytes=block_bytes)
    assert got == [(str(i), "héllo wörld 日本 😀") for i in range(20)]


def test_stray_quotes_inside_plain_fields_are_text() -> None:
    many = "".join(f"{i},plain\n" for i in range(50))
    assert rows(f'id,text\n{many}1,a 5" tv\n2,he"llo "x"\n{many}', block_bytes=64)[50:52] == [
        ("1", 'a 5" tv'),
        ("2", 'he"llo "x"'),
    ]


def test_names_that_repeat_or_are_missing_are_made_distinct_and_said() -> None:
    path = Path("t.csv")
    path.write_text("id,text,text,,text_2\n1,a,b,c,d\n")
    source = open_delimited(path, "t.csv", compression=None, delimiter=None)
    assert list(source.schema) == ["id", "text", "text_3", "column_4", "text_2"]
    assert source.notes == (
        "t.csv: column 3 is a second 'text'; read as 'text_3'",
        "t.csv: column 4 has no name; read as 'column_4'",
    )


def test_blank_lines_between_rows_are_no_rows() -> None:
    assert rows("\n\nid,text\n\n1,a\n\r\n2,b\n\n\n") == [("1", "a"), ("2", "b")]


def test_legal_fields_of_several_lines_are_kept() -> None:
    text = 'id,text,stars\n1,"first, second\nthird, fourth, fifth\n\nlast",5\n2,"a\nb",4\n'
    assert rows(text) == [("1", "first, second\nthird, fourth, fifth\n\nlast", "5"), ("2", "a\nb", "4")]
