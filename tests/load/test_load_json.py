"""load: JSON lines and JSON arrays."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt.errors import InputError
from reviewopt.load.jsonlines import open_json
from reviewopt.load.source import Source

TEXT = st.text(st.sampled_from('ab"\\{}[],:\n é😀\u2028'))
ROWS = st.lists(
    st.fixed_dictionaries(
        {"id": TEXT, "text": TEXT},
        optional={"n": st.integers(-(2**40), 2**40), "nested": st.fixed_dictionaries({"k": TEXT, "l": st.lists(TEXT)})},
    ),
    min_size=1,
    max_size=8,
)


def source(data: bytes | str, block_bytes: int = 1 << 20) -> Source:
    path = Path("t.json")
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return open_json(path, "t.json", compression=None, block_bytes=block_bytes)


def frame(data: bytes | str, block_bytes: int = 1 << 20, chunk_rows: int = 1000) -> pl.DataFrame:
    return pl.concat(source(data, block_bytes).frames(chunk_rows))


def matches(got: dict[str, Any], row: dict[str, Any]) -> bool:
    return {name: value for name, value in got.items() if value is not None} == row


@settings(max_examples=60, deadline=None)
@given(
    table=ROWS,
    shape=st.sampled_from(["lines", "array", "indented"]),
    ascii_only=st.booleans(),
    block_bytes=st.sampled_from([1, 5, 40, 1 << 20]),
)
def test_what_json_writes_is_read_back(table: Any, shape: str, ascii_only: bool, block_bytes: int) -> None:
    if shape == "lines":
        text = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in table)
    else:
        text = json.dumps(table, ensure_ascii=ascii_only, indent=2 if shape == "indented" else None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.json"
        path.write_bytes(text.encode())
        found = open_json(path, "t.json", compression=None, block_bytes=block_bytes)
        got = pl.concat(found.frames(3))
    assert found.n_rows == len(table)
    assert all(matches(g, row) for g, row in zip(got.to_dicts(), table, strict=True))


def test_a_type_that_changes_late_becomes_text_and_loses_nothing() -> None:
    lines = "".join(f'{{"text": "a", "rating": {i % 5}}}\n' for i in range(2000)) + '{"text": "a", "rating": "five"}\n'
    for block_bytes in (100, 1 << 20):
        got = frame(lines, block_bytes)
        assert got["rating"].to_list() == [str(i % 5) for i in range(2000)] + ["five"]


def test_whole_numbers_and_decimals_meet_in_decimals() -> None:
    assert frame('{"a": 1}\n{"a": 4.5}\n', 9)["a"].to_list() == [1.0, 4.5]


def test_a_key_that_appears_late_is_kept() -> None:
    got = frame('{"text": "a"}\n' * 500 + '{"text": "b", "late": {"x": 1}}\n{"late": {"y": "z"}, "text": "c"}\n', 64)
    assert got["late"].to_list()[-2:] == [{"x": 1, "y": None}, {"x": None, "y": "z"}]


def test_an_object_and_a_scalar_meet_in_text() -> None:
    assert frame('{"a": {"x": 1}}\n{"a": "t"}\n', 16)["a"].to_list() == ['{"x": 1}', "t"]


def test_large_numbers_are_kept_as_text() -> None:
    assert frame('{"a": 12345678901234567890}\n')["a"].to_list() == ["12345678901234567890"]


@pytest.mark.parametrize("block_bytes", [9, 1 << 20])
@pytest.mark.parametrize("other", ["1.5", "-0.25"])
@pytest.mark.parametrize("large", [2**53 + 1, -(2**60) - 1, 12345678901234567890])
def test_large_whole_numbers_among_decimals_are_kept_as_text(large: int, other: str, block_bytes: int) -> None:
    for lines in ([f'{{"a": {large}}}', f'{{"a": {other}}}'], [f'{{"a": {other}}}', f'{{"a":{large}}}']):
        got = frame("\n".join(lines) + "\n", block_bytes)["a"].to_list()
        assert sorted(got) == sorted([str(large), other])


@pytest.mark.parametrize("block_bytes", [9, 1 << 20])
def test_large_whole_numbers_within_objects_and_lists_are_kept_as_text(block_bytes: int) -> None:
    lines = '{"o": {"a": 9007199254740993, "b": 1.5, "l": [1]}}\n{"o": {"a": 0.5, "l": [9007199254740993, 0.5]}}\n'
    got = frame(lines, block_bytes)
    assert got.schema["o"] == pl.Struct({"a": pl.String, "b": pl.Float64, "l": pl.List(pl.String)})
    assert got["o"].to_list() == [
        {"a": "9007199254740993", "b": 1.5, "l": ["1"]},
        {"a": "0.5", "b": None, "l": ["9007199254740993", "0.5"]},
    ]


def test_long_decimals_and_large_whole_numbers_apart_keep_their_types() -> None:
    got = frame('{"id": 9007199254740993, "a": 0.12345678901234567, "t": "99999999999999999"}\n{"id": 2, "a": 1}\n')
    assert got.schema == {"id": pl.Int64, "a": pl.Float64, "t": pl.String}
    assert got["id"].to_list() == [9007199254740993, 2]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"o": {"a": 1}}', '{"o": 3}'], "line 3: 'o' is a number here and an object in a line before it"),
        (['{"o": [1], "t": {}}', '{"o": 3}'], "line 3: 'o' is a number here and an array"),
        (['{"o": {"a": [1], "s": "x"}}', '{"o": {"a": {}, "s": []}}'], "line 3: 'o.a' is an object here and an array"),
        (['{"o": [{"a": 1}]}', '{"o": [3]}'], r"line 3: 'o\[\]' is a number here and an object"),
        (['{"o": 1}', '{"o": true}'], "line 3: 'o' is true or false here and a number"),
    ],
)
def test_a_kind_that_changes_within_a_block_is_refused_with_its_line(lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        frame("\n".join([lines[0], '{"o": null}', lines[1]]) + "\n")


@pytest.mark.parametrize("mark", ["\n", "\r"])
@pytest.mark.parametrize("block_bytes", [4, 1 << 20])
def test_a_raw_line_break_in_a_string_of_an_array_is_refused(mark: str, block_bytes: int) -> None:
    with pytest.raises(InputError, match=r"element 2: not valid JSON .a line break within a string"):
        frame('[\n{"a": "x\\n"},\r\n{"a": "x' + mark + 'y"}, {"a": "z"}]', block_bytes)


def test_ids_that_are_strings_stay_strings() -> None:
    assert frame('{"id": "007"}\n{"id": "NA"}\n{"id": "1e5"}\n')["id"].to_list() == ["007", "NA", "1e5"]


def test_blank_lines_are_no_rows_and_are_not_counted() -> None:
    found = source('\n{"a": 1}\n\n  \n{"a": 2}\r\n\r\n')
    assert found.n_rows == 2
    assert pl.concat(found.frames(10))["a"].to_list() == [1, 2]


def test_columns_of_nulls_and_empty_lists_have_types_that_can_be_written() -> None:
    got = frame('{"a": null, "b": [], "c": {"d": null}}\n')
    assert got.schema == {"a": pl.String, "b": pl.List(pl.String), "c": pl.Struct({"d": pl.String})}


def test_broken_surrogates_become_replacement_characters_with_a_note() -> None:
    text = r'{"a": "x\ud83d", "b": "\ude00y", "c": "\ud83d\ude00", "d": "\\ud83d"}' + "\n"
    found = source(text)
    assert pl.concat(found.frames(10)).rows() == [("x\ufffd", "\ufffdy", "😀", "\\ud83d")]
    assert found.notes == ("t.json: 2 broken surrogate escapes were read as U+FFFD",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": \n', "line 2: not valid JSON"),
        ('{"a": 1}\n[1, 2]\n', r"line 2: '\[1, 2\]' is not an object"),
        ('{"a": 1}\n5\n', "line 2: '5' is not an object"),
        ('{"a": 1} {"a": 2}\n', "line 1: not valid JSON"),
        ('{"a": NaN}\n', "line 1: not valid JSON"),
        ('{\n "data": [\n  {"a": 1}\n ]\n}\n', "one JSON object over several lines"),
        ("<html>", "starts with '<htm"),
        ('[{"a": 1}, 5]', "element 2: '5.*' is not an object"),
        ('["x"]', 'element 1: \'"x".*is not an object'),
        ('[{"a": 1} {"a": 2}]', "element 2.*not separated by one comma"),
        ('[{"a": 1},, {"a": 2}]', "element 2.*not separated by one comma"),
        ('[{"a": 1}, [2], {"a": 2}]', "element 2: .*not an object"),
        ('[{"a": 1}', "after element 1: the array is cut short"),
        ('[{"a": 1}, {"a"', "after element 1: the array is cut short"),
        ('[{"a": 1}] {"a": 2}', "text follows the end of the array"),
        ('[{"a": }]', "element 1: not valid JSON"),
        ("[]", "the file is empty"),
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        (b'{"a": "caf\xe9"}\n', "line 1: not valid JSON"),
    ],
)
@pytest.mark.parametrize("block_bytes", [4, 1 << 20])
def test_json_that_is_no_table_is_refused_with_its_place(text: str | bytes, message: str, block_bytes: int) -> None:
    with pytest.raises(InputError, match=message):
        frame(text, block_bytes)


@pytest.mark.parametrize("depth", [2_000, 100_000])
@pytest.mark.parametrize("closed", [True, False])
def test_json_that_is_nested_without_end_is_refused(depth: int, closed: bool) -> None:
    value = "[" * depth + "]" * depth * closed
    with pytest.raises(InputError, match=r"t\.json, (line 2|from line 1)"):
        frame('{"a": 1}\n{"a": 2, "x": ' + value + "}\n")
