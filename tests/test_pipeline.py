from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from fakes import FakeModel, make_job, process
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt import config, load, pipeline, runs
from reviewopt.errors import InputError
from reviewopt.local import classifier

SAME_FOLDER = [HealthCheck.function_scoped_fixture]
TEXTS = st.lists(
    st.none() | st.sampled_from(["Good", " good ", "GOOD", "bad!", "", "  ", "it broke", "ok"]), min_size=1, max_size=40
)


def table_of(folder: Path, texts: list[str | None]) -> Path:
    path = folder / "in.parquet"
    ids = [f"{at:03}" for at in range(len(texts))]
    pl.DataFrame(
        {"id": ids, "text": texts, "extra": [[1, 2]] * len(texts)}, schema_overrides={"text": pl.String}
    ).write_parquet(path)
    return path


@settings(max_examples=25, suppress_health_check=SAME_FOLDER, deadline=None)
@given(texts=TEXTS, chunk_rows=st.integers(1, 50))
def test_every_row_comes_out_in_order_with_its_columns_untouched(
    tmp_path: Path, texts: list[str | None], chunk_rows: int
) -> None:
    source = table_of(tmp_path, texts)
    run, labelled = process(source, tmp_path, chunk_rows=chunk_rows)
    assert labelled.select("id", "text", "extra").equals(pl.read_parquet(source))
    assert run.n_rows == len(texts) == sum(run.n_by_source.values())
    assert labelled.columns[3:] == ["sentiment", "sentiment_confidence", "sentiment_source", "sentiment_cost_usd"]


@settings(max_examples=25, suppress_health_check=SAME_FOLDER, deadline=None)
@given(texts=TEXTS, chunk_rows=st.integers(1, 50))
def test_chunk_sizes_change_neither_labels_nor_copies(tmp_path: Path, texts: list[str | None], chunk_rows: int) -> None:
    source = table_of(tmp_path, texts)
    assert process(source, tmp_path, chunk_rows=chunk_rows)[1].equals(process(source, tmp_path, chunk_rows=1000)[1])


@settings(max_examples=25, suppress_health_check=SAME_FOLDER, deadline=None)
@given(texts=TEXTS, chunk_rows=st.integers(1, 50))
def test_a_question_is_asked_once_over_the_whole_table(
    tmp_path: Path, texts: list[str | None], chunk_rows: int
) -> None:
    model = FakeModel()
    run, labelled = process(table_of(tmp_path, texts), tmp_path, chunk_rows=chunk_rows, model=model)
    distinct = {" ".join(text.lower().split()) for text in texts if text and text.strip()}
    assert sorted(model.asked) == sorted(distinct)
    assert run.n_questions == len(distinct) == run.n_by_source["local"]
    assert labelled.filter(pl.col("sentiment_source") == "exact")["sentiment_cost_usd"].sum() == 0


def test_chunk_sizes_change_nothing_with_the_packaged_model_either(tmp_path: Path) -> None:
    source, model = config.packaged("data", "sample_reviews.parquet"), classifier.packaged()
    whole = process(source, tmp_path, model=model)[1]
    for chunk_rows in (1, 7, 399):
        assert process(source, tmp_path, chunk_rows=chunk_rows, model=model)[1].equals(whole)


def test_empty_rows_get_a_null_label_and_say_so(tmp_path: Path) -> None:
    _, labelled = process(table_of(tmp_path, ["a", None, " \n"]), tmp_path)
    assert labelled["sentiment"].is_null().to_list() == [False, True, True]
    assert labelled["sentiment_source"].to_list() == ["local", "empty", "empty"]
    assert labelled["sentiment_confidence"].is_null().to_list() == [False, True, True]


def test_the_costs_of_the_rows_add_up_to_the_answers_cost_in_the_record(tmp_path: Path) -> None:
    run, labelled = process(table_of(tmp_path, ["a", "b", "a", None]), tmp_path)
    assert labelled["sentiment_cost_usd"].sum() == Decimal(run.cost.answers_usd) > 0
    assert Decimal(run.cost.machine_usd) > Decimal(run.cost.answers_usd)


def test_the_record_counts_what_the_output_holds(tmp_path: Path) -> None:
    run, labelled = process(table_of(tmp_path, ["a", "bb", "ccc", "a", None]), tmp_path)
    counts = dict(labelled["sentiment_source"].value_counts().rows())
    assert {name: n for name, n in run.n_by_source.items() if n} == counts == {"local": 3, "exact": 1, "empty": 1}
    assert run.n_by_label == {"negative": 1, "neutral": 2, "positive": 1}
    assert run.reuse_rate == 0.25
    assert run.input.fingerprint


@pytest.mark.parametrize(
    ("error", "status"), [(InputError("a bad row"), "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_a_run_that_breaks_leaves_a_record_and_no_output(tmp_path: Path, error: BaseException, status: str) -> None:
    source = table_of(tmp_path, [f"text {at}" for at in range(50)])
    with load.open_table([str(source)], task=config.load_task("sentiment"), chunk_rows=10) as table:
        job = make_job(table, tmp_path, model=FakeModel(fail_after=25, error=error))
        with pytest.raises(type(error)):
            pipeline.process(job, lambda *_: None)
    (record,) = (tmp_path / "home" / "runs").glob("*/run.json")
    run = runs.read(record)
    assert (run.status, run.n_rows) == (status, 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "in.parquet"]


def test_the_price_of_an_answer_is_a_share_of_the_machines_hour() -> None:
    merged, _ = config.load({"machine.usd_per_hour": 0.36, "machine.local_reviews_per_s": 100_000}, environment={})
    assert pipeline.price_of_an_answer(merged) == Decimal("0.000000001000")
