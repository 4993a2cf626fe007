from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fakes import FakeModel, make_job, process
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt import config, job, load, pipeline, runs
from reviewopt.data import SOURCES
from reviewopt.errors import InputError, UsageError
from reviewopt.local import classifier
from reviewopt.record import ModelRecord

SAME_FOLDER = [HealthCheck.function_scoped_fixture]
TEXTS = st.lists(
    st.none() | st.sampled_from(["Good", " good ", "GOOD", "bad!", "", "  ", "it broke", "ok"]), min_size=1, max_size=40
)


def table_of(folder: Path, texts: Sequence[str | None]) -> Path:
    path = folder / "in.parquet"
    ids = [f"{at:03}" for at in range(len(texts))]
    pl.DataFrame(
        {"id": ids, "text": texts, "extra": [[1, 2]] * len(texts)}, schema_overrides={"text": pl.String}
    ).write_parquet(path)
    return path


@settings(max_examples=10, suppress_health_check=SAME_FOLDER, deadline=None)
@given(texts=TEXTS, chunk_rows=st.integers(1, 50))
def test_every_row_comes_out_in_order_with_its_columns_untouched(
    tmp_path: Path, texts: list[str | None], chunk_rows: int
) -> None:
    source = table_of(tmp_path, texts)
    run, labelled = process(source, tmp_path, chunk_rows=chunk_rows)
    assert labelled.select("id", "text", "extra").equals(pl.read_parquet(source))
    assert run.n_rows == len(texts) == sum(run.n_by_source.values())
    answers = ["sentiment", "sentiment_confidence", "sentiment_source", "sentiment_cost_usd"]
    assert labelled.columns[3:] == [*answers, "duplicate_of", "cluster"]


@settings(max_examples=10, suppress_health_check=SAME_FOLDER, deadline=None)
@given(texts=TEXTS, chunk_rows=st.integers(1, 50))
def test_chunk_sizes_change_neither_labels_nor_copies(tmp_path: Path, texts: list[str | None], chunk_rows: int) -> None:
    source = table_of(tmp_path, texts)
    assert process(source, tmp_path, chunk_rows=chunk_rows)[1].equals(process(source, tmp_path, chunk_rows=1000)[1])


@settings(max_examples=10, suppress_health_check=SAME_FOLDER, deadline=None)
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


@pytest.mark.parametrize("near", ["off", "report"])
def test_chunk_sizes_change_nothing_with_the_packaged_model_either(tmp_path: Path, near: str) -> None:
    source, model = tmp_path / "in.parquet", classifier.packaged()
    pl.read_parquet(config.packaged("data", "sample_reviews.parquet"))[:120].write_parquet(source)
    found_a_chunk_at_a_time = ["duplicate_of", "cluster"] if near == "report" else []

    def labelled(chunk_rows: int) -> pl.DataFrame:
        made = process(source, tmp_path, chunk_rows=chunk_rows, model=model, settings={"dedup.near": near})[1]
        return made.drop(found_a_chunk_at_a_time)

    whole = labelled(1000)
    for chunk_rows in (7, 119):
        assert labelled(chunk_rows).equals(whole)


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
    with (
        load.open_table([str(source)], task=config.load_task("sentiment"), chunk_rows=10) as table,
        make_job(table, tmp_path, model=FakeModel(fail_after=25, error=error)) as made,
        pytest.raises(type(error)),
    ):
        pipeline.process(made, lambda *_: None)
    (record,) = (tmp_path / "home" / "runs").glob("*/run.json")
    run = runs.read(record)
    assert (run.status, run.n_rows) == (status, 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "in.parquet"]


def test_the_price_of_an_answer_is_a_share_of_the_machines_hour() -> None:
    merged, _ = config.load({"machine.usd_per_hour": 0.36, "machine.local_reviews_per_s": 100_000}, environment={})
    assert job.price_of_a_local_answer(merged) == Decimal("0.000000001000")


# Near copies, and answers of earlier runs

SAYING = "this kettle works well and my mother uses it each day for the tea"
NEAR = SAYING.replace("tea", "teas")
DENIED = "this kettle never works well and my mother uses it each day for the tea"
PAID: dict[str, Any] = {"source": "gpt", "price_usd": "0.001"}


def sources(labelled: pl.DataFrame) -> list[str]:
    return labelled["sentiment_source"].to_list()


def test_near_copies_are_reported_and_share_nothing_where_answers_are_free(tmp_path: Path) -> None:
    run, labelled = process(table_of(tmp_path, [SAYING, "other", NEAR, SAYING]), tmp_path)
    assert sources(labelled) == ["local", "local", "local", "exact"]
    assert labelled["duplicate_of"].to_list() == [None, None, "000", "000"]
    assert labelled["cluster"].to_list() == [0, 1, 0, 0]
    assert (run.groups.n_groups, run.groups.n_near, run.groups.largest[0].example) == (1, 1, SAYING)


def test_near_copies_share_what_is_paid_for(tmp_path: Path) -> None:
    model = FakeModel()
    source = table_of(tmp_path, [SAYING, DENIED, NEAR, NEAR])
    run, labelled = process(source, tmp_path, model=model, **PAID)
    assert sorted(model.asked) == sorted([SAYING, DENIED])
    assert sources(labelled) == ["gpt", "gpt", "near", "exact"]
    assert labelled["sentiment"][2] == labelled["sentiment"][0]
    assert labelled["sentiment_cost_usd"].to_list() == [Decimal("0.001"), Decimal("0.001"), 0, 0]
    assert run.near == "share"


def test_near_copies_can_be_left_alone(tmp_path: Path) -> None:
    source = table_of(tmp_path, [SAYING, NEAR, SAYING])
    _, labelled = process(source, tmp_path, settings={"dedup.near": "off"}, **PAID)
    assert sources(labelled) == ["gpt", "gpt", "exact"]
    assert labelled["duplicate_of"].to_list() == [None, None, "000"]


def test_a_second_run_asks_nothing_and_says_the_same(tmp_path: Path) -> None:
    source = table_of(tmp_path, [SAYING, "other", NEAR, None, "other"])
    first = process(source, tmp_path, **PAID)[1]
    model = FakeModel()
    run, second = process(source, tmp_path, model=model, **PAID)
    assert model.asked == []
    assert second["sentiment"].equals(first["sentiment"])
    assert set(sources(second)) == {"l2", "exact", "empty"}
    assert run.hit_rate == 1.0
    assert run.reuse_rate == 1.0
    assert Decimal(run.cost.answers_usd) == 0


def test_one_edited_row_costs_one_question(tmp_path: Path) -> None:
    texts = [f"{SAYING} number {at}" for at in range(40)]
    process(table_of(tmp_path, texts), tmp_path, **PAID)
    model = FakeModel()
    texts[7] = "an altogether different thing to say"
    run, _ = process(table_of(tmp_path, texts), tmp_path, model=model, **PAID)
    assert model.asked == [texts[7]]
    assert Decimal(run.cost.answers_usd) == Decimal("0.001")


def test_without_the_cache_every_question_is_asked_again(tmp_path: Path) -> None:
    source = table_of(tmp_path, [SAYING, "other"])
    off = {f"cache.{tier}.enabled": False for tier in ("memory", "similar", "archive")}
    for _ in range(2):
        model = FakeModel()
        process(source, tmp_path, model=model, settings=off, **PAID)
        assert len(model.asked) == 2
    assert not (tmp_path / "home" / "cache").exists()


def test_what_was_paid_and_what_was_saved_add_up_to_the_naive_bill(tmp_path: Path) -> None:
    process(table_of(tmp_path, [SAYING, "other"]), tmp_path, **PAID)
    texts = [SAYING, NEAR, "new", "new", DENIED, None, "newer", "a thing that was bought twice by my aunt"]
    run, labelled = process(table_of(tmp_path, texts), tmp_path, **PAID)
    saved = {name: Decimal(usd) for name, usd in run.cost.saved_usd.items()}
    assert set(saved) == {"exact", "near", "l1", "l2", "l3", "packs"}
    assert sum(saved.values()) + Decimal(run.cost.answers_usd) == Decimal(run.cost.naive_usd) == Decimal("0.007")
    assert saved["l2"] == Decimal("0.002")
    assert labelled["sentiment_cost_usd"].sum() == Decimal(run.cost.answers_usd)


def test_a_run_that_breaks_pays_for_nothing_twice(tmp_path: Path) -> None:
    texts = [f"{chr(97 + at % 26) * 30} {at}" for at in range(400)]
    settings_ = {"dedup.near": "off", "pack.fixed": 10}
    source = table_of(tmp_path, texts)
    broken = FakeModel()
    with pytest.raises(KeyboardInterrupt):
        process(
            source,
            tmp_path,
            model=broken,
            settings=settings_,
            is_stopping=lambda: len(broken.asked) >= 200,
            **PAID,
        )
    assert 0 < len(broken.asked) < len(texts)
    model = FakeModel()
    process(source, tmp_path, model=model, settings=settings_, **PAID)
    assert sorted(model.asked + broken.asked) == sorted(texts)


def test_isolated_tenants_share_neither_copies_nor_hits(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    texts = [SAYING, SAYING, NEAR, SAYING]
    pl.DataFrame({"text": texts, "tenant": ["a", "b", "b", "a"]}).write_parquet(path)
    model = FakeModel()
    _, labelled = process(path, tmp_path, model=model, isolated=True, **PAID)
    assert model.asked == [SAYING, SAYING]
    assert sources(labelled) == ["gpt", "gpt", "near", "exact"]
    assert labelled["cluster"].to_list() == [0, 1, 1, 0]
    pl.DataFrame({"text": texts, "tenant": ["c"] * 4}).write_parquet(path)
    again = FakeModel()
    process(path, tmp_path, model=again, isolated=True, **PAID)
    assert again.asked == [SAYING]


@settings(max_examples=6, suppress_health_check=SAME_FOLDER, deadline=None)
@given(
    texts=st.lists(
        st.lists(st.sampled_from(["kettle", "mother", "tea", "not", "very", "2", "bad"]), min_size=2, max_size=6).map(
            " ".join
        ),
        min_size=1,
        max_size=25,
    ),
    chunk_rows=st.integers(1, 30),
)
def test_chunk_sizes_change_no_label_where_near_copies_share(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, texts: list[str], chunk_rows: int
) -> None:
    source, packed = table_of(tmp_path, texts), {"pack.fixed": 25}
    one, other = (
        process(source, tmp_path_factory.mktemp("home"), chunk_rows=rows, settings=packed, **PAID)[1]
        for rows in (chunk_rows, 1000)
    )
    columns = ["sentiment", "sentiment_confidence", "sentiment_source"]
    assert one.select(columns).equals(other.select(columns))


def test_chunk_sizes_change_no_label_among_many_texts_of_one_pattern(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    things, verbs = ["kettle", "lamp", "chair", "table", "phone"], ["bought", "got", "found", "took"]
    texts = [
        f"my {'dear old ' * (at % 3)}aunt {verbs[at % 4]} this {things[at % 5]} in the shop of "
        f"{'abcdefghij'[at % 10] * 4} and {'klmnopqrst'[at // 10 % 10] * 3} for the {things[at // 7 % 5]}"
        for at in range(400)
    ]
    source, packed = table_of(tmp_path, texts), {"pack.fixed": 25}
    one, other = (
        process(source, tmp_path_factory.mktemp("home"), chunk_rows=rows, settings=packed, **PAID)[1].drop(
            "sentiment_cost_usd"  # what a review costs depends on the others of its request
        )
        for rows in (50, 5000)
    )
    assert one.equals(other)
    assert "near" in sources(one)


@pytest.mark.parametrize("source", [name for name in SOURCES if name != "local"])
def test_a_paid_model_never_has_the_name_of_another_source(tmp_path: Path, source: str) -> None:
    with pytest.raises(UsageError, match=f"cannot be called {source}"):
        process(table_of(tmp_path, ["one"]), tmp_path, source=source, price_usd="0.001")


def test_a_price_has_no_more_places_than_the_cost_of_a_row() -> None:
    record = ModelRecord(name="fake", is_paid=False, sha256="0" * 64, languages=())
    assert job.Local(predictor=FakeModel(), record=record, price_usd=Decimal("1e-12")).source == "local"
    with pytest.raises(ValueError, match="more than twelve places"):
        job.Local(predictor=FakeModel(), record=record, price_usd=Decimal("1.5e-12"))
