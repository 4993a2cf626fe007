"""load: data sets through `datasets`, from a local folder that is named like a repository, and from saved folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from reviewopt.errors import InputError
from reviewopt.load import REVIEW_SCHEMA, Columns, Table, hub, open_table
from reviewopt.load.labels import label_map
from reviewopt.load.union import united
from reviewopt.task import Choice, Task

TASK = Task(
    name="sentiment",
    instructions="",
    fields=(Choice(name="sentiment", labels=("negative", "neutral", "positive")),),
    label_map="1-2=negative, 3=neutral, 4-5=positive",
)
TRAIN = pl.DataFrame(
    {
        "id": [f"{i:03}" for i in range(2500)],
        "text": ["good", None, "", "bad", "so so"] * 500,
        "stars": [5, 1, 3, 2, 4] * 500,
    }
)


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local folder `owner/name`, no network, and a cache of its own."""
    import datasets
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = tmp_path / "owner" / "name" / "data"
    data.mkdir(parents=True)
    TRAIN.write_parquet(data / "train-00000-of-00001.parquet")
    TRAIN.head(3).write_parquet(data / "test-00000-of-00001.parquet")


def opened(given: str, chunk_rows: int = 1000) -> Table:
    return open_table([given], task=TASK, chunk_rows=chunk_rows)


def save(folder: str, **splits: pl.DataFrame) -> None:
    import datasets

    datasets.disable_progress_bars()
    parts = {name: datasets.Dataset.from_dict(frame.to_dict(as_series=False)) for name, frame in splits.items()}
    (datasets.DatasetDict(parts) if len(parts) > 1 else next(iter(parts.values()))).save_to_disk(folder)


def test_a_data_set_is_streamed_and_train_is_the_default_split() -> None:
    with opened("hf://owner/name") as table:
        chunks = list(table.chunks())
        assert table.names == ("hf://owner/name",)
    assert [chunk.table.height for chunk in chunks] == [1000, 1000, 500]
    assert pl.concat([chunk.table for chunk in chunks]).equals(TRAIN)
    assert all(chunk.reviews.schema == REVIEW_SCHEMA for chunk in chunks)
    assert chunks[2].reviews["row"].to_list() == list(range(2000, 2500))


@pytest.mark.parametrize("chunk_rows", [7, 1500, 50_000])
def test_chunk_sizes_change_nothing(chunk_rows: int) -> None:
    with opened("hf://owner/name", chunk_rows) as table:
        assert pl.concat([chunk.table for chunk in table.chunks()]).equals(TRAIN)


def test_a_split_can_be_named() -> None:
    with opened("hf://owner/name:test") as table:
        assert [chunk.table.height for chunk in table.chunks()] == [3]


def test_an_unknown_split_lists_the_splits() -> None:
    with pytest.raises(InputError, match="no split 'dev'; splits: train, test"):
        opened("hf://owner/name:dev")


def test_a_data_set_that_cannot_be_reached_says_what_to_do() -> None:
    with pytest.raises(
        InputError, match=r"hf://nobody/nothing: the data set cannot be read .*check the name, the network"
    ):
        opened("hf://nobody/nothing")


def test_a_saved_data_set_is_read_and_its_rows_are_known() -> None:
    save("saved", train=TRAIN)
    with opened("saved") as table:
        assert table.n_rows == 2500
        assert pl.concat([chunk.table for chunk in table.chunks()]).equals(TRAIN)


def test_a_saved_data_set_of_several_splits_gives_train() -> None:
    save("saved", test=TRAIN.head(1), train=TRAIN.head(5))
    with opened("saved") as table:
        assert table.n_rows == 5


def test_several_splits_without_train_must_be_chosen() -> None:
    save("saved", a=TRAIN.head(1), b=TRAIN.head(5))
    with pytest.raises(InputError, match="several splits and no train; splits: a, b"):
        opened("saved")


def test_a_saved_folder_that_is_damaged_is_an_input_error() -> None:
    save("saved", train=TRAIN)
    for path in Path("saved").glob("*.arrow"):
        path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="saved: the data set cannot be read"):
        opened("saved")


def test_the_fingerprint_follows_the_rows() -> None:
    save("one", train=TRAIN)
    save("two", train=TRAIN)
    save("three", train=TRAIN.with_columns(stars=pl.col("stars") + (pl.col("id") == "001")))
    first, same, other = (opened(folder).fingerprint() for folder in ("one", "two", "three"))
    assert first == same != other
    assert opened("one", chunk_rows=3).fingerprint() == first


def test_rows_are_fetched_once_and_no_more_than_the_limit() -> None:
    """A stream that counts what is taken from it."""
    import datasets

    taken = []

    def rows() -> Iterator[dict[str, object]]:
        for i in range(3000):
            taken.append(i)
            yield {"text": f"review {i}", "id": i}

    def table(limit: int | None) -> Table:
        found = hub._source(datasets.IterableDataset.from_generator(rows), "made", limit or 1000)
        columns = Columns(text="text", title=None, id="id", label=None, tenant=None, category=None)
        return Table(
            [found], united([found]), columns, label_map(TASK, None), TASK,
            inputs=("made",), notes=(), chunk_rows=1000, limit=limit, cleanup=ExitStack(),
        )  # fmt: skip

    limited = table(10)
    assert sum(chunk.table.height for chunk in limited.chunks()) == 10
    assert len(limited.fingerprint()) == 64
    assert len(taken) <= 2 * 11
    whole = table(None)
    taken.clear()
    _ = list(whole.chunks())
    first = whole.fingerprint()
    assert len(taken) == 3000
    assert table(None).fingerprint() == first != table(10).fingerprint() == limited.fingerprint()


def class_labels(names: list[str], values: list[int]) -> Any:
    import datasets

    datasets.disable_progress_bars()
    features = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    return datasets.Dataset.from_dict(
        {"text": ["a"] * len(values), "label": values}, features=datasets.Features(features)
    )


def test_the_names_of_class_labels_are_the_labels_and_the_table_keeps_the_numbers(tmp_path: Path) -> None:
    data = class_labels(["negative", "neutral", "positive"], [1, 2, 0, -1])
    data.save_to_disk("saved")
    data.to_parquet(tmp_path / "owner" / "name" / "data" / "classes-00000-of-00001.parquet")
    (tmp_path / "owner" / "name" / "data" / "train-00000-of-00001.parquet").unlink()
    (tmp_path / "owner" / "name" / "data" / "test-00000-of-00001.parquet").unlink()
    (tmp_path / "owner" / "name" / "data" / "classes-00000-of-00001.parquet").rename("owner/name/data/train-0.parquet")
    for given in ("saved", "hf://owner/name"):
        with opened(given) as table:
            (chunk,) = table.chunks()
            assert "label=label (names)" in table.notes[0]
        assert chunk.table["label"].to_list() == [1, 2, 0, -1]
        assert chunk.reviews["label"].to_list() == ["neutral", "positive", "negative", None]


def test_class_labels_that_are_no_labels_of_the_task_are_not_read_as_stars() -> None:
    class_labels(["spam", "ham"], [1, 1]).save_to_disk("saved")
    with opened("saved") as table:
        assert table.columns.label is None
        assert "'label' is not used as the label: its values (ham) are no labels" in table.notes


def test_class_labels_among_several_inputs_are_read_by_name() -> None:
    class_labels(["negative", "neutral", "positive"], [1, 2]).save_to_disk("saved")
    pl.DataFrame({"text": ["a"], "label": ["positive"]}).write_csv("b.csv")
    with open_table(["saved", "b.csv"], task=TASK) as table:
        found = pl.concat([chunk.reviews for chunk in table.chunks()])["label"].to_list()
    assert found == ["neutral", "positive", "positive"]


def test_the_network_library_says_nothing_of_its_tries() -> None:
    import logging

    log = logging.getLogger("huggingface_hub")
    level = log.level
    with hub._datasets("x"):
        assert not log.isEnabledFor(logging.WARNING)
    assert log.level == level


def test_progress_bars_and_log_level_are_left_as_they_were(capfd: pytest.CaptureFixture[str]) -> None:
    import datasets

    datasets.enable_progress_bars()
    level = datasets.logging.get_verbosity()
    with opened("hf://owner/name") as table:
        _ = list(table.chunks())
    assert not datasets.are_progress_bars_disabled()
    assert datasets.logging.get_verbosity() == level
    assert capfd.readouterr() == ("", "")
