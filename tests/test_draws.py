"""The sample of a table: the same rows however the table is cut, all of them rows with a text, in one order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt import draws
from reviewopt.certify import chances
from reviewopt.config import load_task
from reviewopt.data import REVIEW_COLUMNS
from reviewopt.load import Table, open_table
from reviewopt.text import normal

SAME_FOLDER = [HealthCheck.function_scoped_fixture]
TEXTS = st.lists(
    st.none()
    | st.sampled_from(["Good", "", "  ", "\x1e", "!", "\u00a0", "<br>", "&nbsp;", "\u200b", "<b>ok</b>", "7"])
    | st.text(max_size=6),
    min_size=1,
    max_size=40,
)


def table_of(folder: Path, texts: list[str | None], *, chunk_rows: int = 1000, **columns: list[Any]) -> Table:
    path = folder / "in.parquet"
    schema = {"text": pl.String, "title": pl.String, "stars": pl.Int64}
    pl.DataFrame({"text": texts, **columns}, schema_overrides=schema).write_parquet(path)
    return open_table([str(path)], task=load_task("sentiment"), chunk_rows=chunk_rows)


def draw(table: Table, n: int, seed: int = 1, **options: Any) -> draws.Drawn:
    return draws.draw(table, seed, n, **options)


@settings(max_examples=40, suppress_health_check=SAME_FOLDER)
@given(texts=TEXTS, n=st.integers(1, 45), seed=st.integers(0, 3), chunk_rows=st.integers(1, 50))
def test_the_sample_is_the_first_rows_with_a_text_in_the_order_of_their_chances(
    tmp_path: Path, texts: list[str | None], n: int, seed: int, chunk_rows: int
) -> None:
    title = ["A Title"] * len(texts)
    drawn = draw(table_of(tmp_path, texts, chunk_rows=chunk_rows, title=title), n, seed)
    form = normal.normalise(pl.Series(title), pl.Series(texts, dtype=pl.String))
    having = np.flatnonzero(form.is_not_null().to_numpy())
    order = having[np.argsort(chances(having, seed))][:n]
    assert drawn.frame["row"].to_list() == order.tolist()
    assert drawn.frame["form"].to_list() == form.gather(order).to_list()
    assert drawn.frame["chance"].to_list() == chances(order, seed).tolist()
    assert drawn.frame["text"].to_list() == [texts[at] for at in order]
    assert (drawn.n_rows, drawn.n_empty) == (len(having), len(texts) - len(having))


def test_every_letter_and_digit_of_unicode_leaves_a_text() -> None:
    every = pl.Series([chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000])
    some = every.filter(every.str.contains(draws._CHARACTER))
    assert len(some) > 100_000
    assert normal.normalise(pl.repeat(None, len(some), dtype=pl.String, eager=True), some).null_count() == 0


@settings(max_examples=20, suppress_health_check=SAME_FOLDER)
@given(n=st.integers(1, 60), more=st.integers(0, 40), chunk_rows=st.integers(1, 60))
def test_a_larger_sample_begins_with_the_smaller_one(tmp_path: Path, n: int, more: int, chunk_rows: int) -> None:
    table = table_of(tmp_path, [f"review {at}" for at in range(60)], chunk_rows=chunk_rows)
    assert draw(table, n + more).frame[:n].equals(draw(table, n).frame)


def test_markup_alone_is_no_text_where_the_prompt_counts(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["<br>", "good", "&nbsp;", None, "<b>ok</b>"])
    assert sorted(draw(table, 9).frame["row"]) == [0, 1, 2, 4]
    sent = draw(table, 9, as_sent=True)
    assert (sorted(sent.frame["row"]), sent.n_rows, sent.n_empty) == ([1, 4], 2, 3)


def test_the_columns_are_those_of_a_review_with_its_form_and_its_chance(tmp_path: Path) -> None:
    drawn = draw(table_of(tmp_path, ["Good", "bad"], title=["T", None], stars=[5, None]), 2)
    assert drawn.frame.schema == draws.DRAWN_SCHEMA
    assert drawn.frame.columns == [*REVIEW_COLUMNS, "form", "chance"]
    first = drawn.frame.row(by_predicate=pl.col("row") == 0, named=True)
    assert (first["form"], first["label"], first["review_id"]) == ("t\ngood", "positive", "0")
    empty = draw(table_of(tmp_path, [None, ""]), 2)
    assert (empty.frame.schema, empty.frame.height, empty.n_rows) == (draws.DRAWN_SCHEMA, 0, 0)


def test_only_labels_of_rows_with_a_text_count(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["good", "bad", None, ""], stars=[5, None, 1, 3])
    assert draw(table, 1).n_labelled == 1


def test_rows_with_a_text_are_counted_by_tenant_where_that_is_asked(tmp_path: Path) -> None:
    tenant = ["a", "b", None, "a", "a"]
    table = table_of(tmp_path, ["good", "bad", "so so", None, "fine"], chunk_rows=2, tenant=tenant)
    assert draw(table, 1, per="tenant").n_of == {"a": 2, "b": 1, "": 1}
    assert draw(table, 1).n_of == {}


def test_rows_are_told_as_they_are_read(tmp_path: Path) -> None:
    told: list[int] = []
    draw(table_of(tmp_path, ["good"] * 25, chunk_rows=10), 3, on_rows=told.append)
    assert told[-1] == 25
    assert told == sorted(told)


def test_the_sample_holds_on_to_no_chunk() -> None:
    """polars gathers strings as views: one row that is kept would keep all texts of its chunk."""
    n_chunks, n_chunk_rows, n = 20, 2000, 200

    def chunks() -> Iterator[SimpleNamespace]:
        for at in range(n_chunks):
            row = np.arange(at * n_chunk_rows, (at + 1) * n_chunk_rows)
            blank = pl.repeat(None, n_chunk_rows, dtype=pl.String, eager=True)
            columns = dict.fromkeys(REVIEW_COLUMNS, blank) | {
                "row": pl.Series(row),
                "text": pl.Series([f"{one} good " * 30 for one in row]),
                "priority": blank.cast(pl.Float64),
            }
            yield SimpleNamespace(reviews=pl.DataFrame(columns))

    drawn = draw(cast("Table", SimpleNamespace(chunks=chunks)), n)
    held = [chunk.to_arrow(compat_level=pl.CompatLevel.newest()) for chunk in drawn.frame["text"].get_chunks()]
    n_held = sum(buffer.size for one in held for buffer in one.buffers() if buffer is not None)
    assert drawn.frame.height == n
    assert n_held < 10 * int(drawn.frame["text"].str.len_bytes().sum())
