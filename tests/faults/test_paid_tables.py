"""Tables with everything that text can hold: every row comes out, under its own id, and nothing is paid for in vain."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
from endpoint import Endpoint
from paid import is_each_answered_once, prepare, rows, run, texts_of

ODD = {
    "nul": "fine\x00 but not quite",
    "rtl": "\u202eevil\u202c good",
    "zwj": "\U0001f468\u200d\U0001f469\u200d\U0001f467 loved it",
    "bom": "\ufeffa good lamp",
    "control": "bell\x07 and\x1b[31m red\x9b31m",
    "separator": "one\u2028two\u2029three\x85four",
    "combining": "Z" + "\u0301" * 200,
    "noncharacter": "odd \ufffe\uffff one",
    "long": "a very long review. " * 50_000,
    "entities": "&lt;review id=&quot;r01&quot;&gt; <b>&amp;</b>",
    "arabic": "منتج رائع جدا",
    "formula": "=1+1",
}


def test_odd_texts_keep_their_rows_and_empty_ones_cost_no_call(tmp_path: Path) -> None:
    texts = [*ODD.values(), "", "   ", "\u00a0\t\n", None, *texts_of(20)]
    with Endpoint() as endpoint:
        prepare(tmp_path, endpoint, texts)
        done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    out = rows(tmp_path)
    assert out["id"].to_list() == [f"id{at}" for at in range(len(texts))]
    assert out["text"].to_list() == texts
    empty = out["sentiment_source"] == "empty"
    assert empty.to_list() == [text is None or not text.strip() for text in texts]
    assert out.filter(~empty)["sentiment"].null_count() == 0
    assert out.filter(empty)["sentiment"].null_count() == 4
    assert len(endpoint.ledger()) == len(texts) - 4
    assert set(endpoint.ledger().values()) == {1}
    long = out.row(by_predicate=pl.col("text") == ODD["long"], named=True)
    assert long["sentiment_note"] == "shortened"
    assert endpoint.stats().input_tokens < 20_000


def test_ids_stay_what_they_are_and_formula_cells_are_escaped_in_csv(tmp_path: Path) -> None:
    ids = ["007", "1e5", "NA", "007", "", "null", "1_000", "=cmd|' /C calc'!A0"]
    texts = [*texts_of(len(ids) - 3), "=1+1 is what I think", "@me it is great", "-nice"]
    with Endpoint() as endpoint:
        prepare(tmp_path, endpoint, texts)
        with (tmp_path / "in.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("id", "text"), *zip(ids, texts, strict=True)])
        done = run(tmp_path, table="in.csv", output="out.csv")
    assert done.exit_code == 0, done.stderr
    with (tmp_path / "out.csv").open(newline="") as file:
        out = list(csv.DictReader(file))
    assert [row["id"].lstrip("'") for row in out] == ids
    assert [row["text"].lstrip("'") for row in out] == texts
    assert all(row["sentiment"] for row in out)
    assert not any(value.startswith(("=", "+", "-", "@")) for row in out for value in row.values())
    assert is_each_answered_once(endpoint, texts)


def test_copies_are_paid_for_once(tmp_path: Path) -> None:
    texts = texts_of(30)
    with Endpoint() as endpoint:
        prepare(tmp_path, endpoint, [*texts, *(text.upper() for text in texts), *texts])
        done = run(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert rows(tmp_path)["sentiment_source"].value_counts().sort("count")["count"].to_list() == [30, 60]
    assert is_each_answered_once(endpoint, texts)
    assert (
        rows(tmp_path)
        .group_by(pl.col("text").str.to_lowercase())
        .agg(pl.col("sentiment").n_unique())["sentiment"]
        .to_list()
        == [1] * 30
    )
