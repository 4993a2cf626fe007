"""Taking answers back: the right ones, for good, everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from archived import all_of, context, opened, put
from fakes import new_sharing

from reviewopt import cli, config, runs
from reviewopt.cache import erasure
from reviewopt.cache.erasure import Criteria, Invalidated
from reviewopt.cache.keys import Contexts
from reviewopt.cache.shelf import Shelf
from reviewopt.cache.similar import Judge, sketched
from reviewopt.cache.tiers import Batch, Cache
from reviewopt.errors import UsageError
from reviewopt.runs import Home, Recorder

HOME = Path("home")
NOW_S = 1_000_000_000


def invalidate(dry_run: bool = False, **criteria: Any) -> Invalidated:
    with opened(HOME) as archive:
        return erasure.invalidate(Home(HOME), HOME / "cache", archive, Criteria(**criteria), dry_run=dry_run)


def put_answers(home: Path) -> None:
    with opened(home) as archive:
        put(archive, ["warm"], created_s=100, cost_usd="0")
        put(archive, ["human"], context("human"), created_s=200, review_id="r1")
        put(archive, ["other task"], context(task="topics"), created_s=200)
        put(archive, ["model"], context("model"), created_s=300, tenant="shop")
        put(archive, ["title\nmodel two"], context("model", model="gpt-y", prompt="v2:abc"), created_s=300)
        put(archive, ["alone"], context("warm", scope="isolated", tenant="shop"), created_s=300)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home that only is read."""
    home = tmp_path_factory.mktemp("home")
    put_answers(home)
    return home


@pytest.mark.parametrize(
    ("criteria", "gone"),
    [
        ({"task": "topics"}, {"other task"}),
        ({"model": "gpt-x"}, {"model"}),
        ({"tenant": "shop"}, {"model", "alone"}),
        ({"source": "human"}, {"human"}),
        ({"source": "warm", "task": "sentiment"}, {"warm", "alone"}),
        ({"prompt": "v2"}, {"title\nmodel two"}),
        ({"prompt": "v1:abc"}, {"model"}),
        ({"before_s": 200}, {"warm"}),
        ({"before_s": 300, "source": "human"}, {"human"}),
        ({"form": "model"}, {"model"}),
        ({"form": "model two"}, {"title\nmodel two"}),
        ({"form": "title model two"}, {"title\nmodel two"}),
        ({"review_id": "r1"}, {"human"}),
        ({"review_id": "r1", "source": "warm"}, set()),
        ({"task": "none"}, set()),
    ],
)
def test_criteria_select_what_all_of_them_hold_for(answers: Path, criteria: dict[str, Any], gone: set[str]) -> None:
    with opened(answers) as archive:
        selected = erasure.select(archive, Criteria(**criteria))
        assert set(archive.read(selected.rowids)["text"]) == gone
        assert len(selected.rowids) == len(gone)
        assert selected.forms == (gone if "form" in criteria or "review_id" in criteria else set())


def test_a_dry_run_counts_what_then_goes_and_nothing_else_goes() -> None:
    put_answers(HOME)
    counted = invalidate(dry_run=True, source="warm")
    assert (counted.n_answers, counted.cost_usd, counted.is_dry_run) == (3, "0.500000000000", True)
    with opened(HOME) as archive:
        assert archive.state.n_entries == 6
    made = invalidate(source="warm")
    assert (made.n_answers, made.cost_usd, made.is_dry_run) == (3, "0.500000000000", False)
    with opened(HOME) as archive:
        assert set(all_of(archive)["text"]) == {"human", "model", "title\nmodel two"}


def test_no_criterion_is_refused() -> None:
    with pytest.raises(UsageError, match="--review-id"):
        Criteria()


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(UsageError, match="--text is empty"):
        erasure.form_of(" \n ")
    assert erasure.form_of("  Great\n Stuff ") == "great stuff"


@pytest.mark.parametrize(
    ("age", "before_s"), [("30d", NOW_S - 30 * 86_400), ("12h", NOW_S - 12 * 3600), ("2001-01-31", 980_899_200)]
)
def test_an_age_is_days_hours_or_a_day(age: str, before_s: int) -> None:
    assert erasure.older_than(age, NOW_S) == before_s


@pytest.mark.parametrize("age", ["", "30", "d", "-1d", "2001-02-31", "1.5d", "30m"])
def test_another_age_is_refused(age: str) -> None:
    with pytest.raises(UsageError, match="30d, 12h or a day"):
        erasure.older_than(age, NOW_S)


def test_an_unknown_review_id_says_under_which_id_an_answer_is_kept() -> None:
    made = invalidate(review_id="r9")
    assert made.n_answers == 0
    assert "asked first: give the text with --text" in made.notes[0]


LONG = "the zebracorn battery died after two weeks and nobody at the shop would answer my letters about it"
NEARLY = LONG.replace("letters", "letter")


def test_after_an_erasure_no_file_holds_the_text_and_a_similar_text_is_asked_anew() -> None:
    merged, _ = config.load({}, environment={})
    task = config.load_task("sentiment")
    judge = Judge(threshold=85, sharing=new_sharing(), workers=1)
    with opened(HOME) as archive:
        put(archive, [f"some other text about thing number {at}" for at in range(2500)], created_s=100)
        put(archive, [LONG], created_s=200)

    def found(cache: Cache, text: str) -> int:
        form = pl.Series("form", [text])
        return int(cache.look_up(Batch(form=form, sketches=sketched(form), tenant=None)).tier[0])

    with Shelf(HOME, merged.cache.archive, sharing=new_sharing(), on_warning=pytest.fail) as shelf:
        cache = Cache(merged.cache, Contexts(task, None, scope="shared"), task.labels, shelf=shelf, judge=judge)
        assert found(cache, LONG) > 0
        assert found(cache, LONG) == 1
        assert found(cache, NEARLY) > 0
        shelf._index.store()
        shelf._similar.store()  # type: ignore[union-attr]
        assert (HOME / "cache" / "similar").is_dir()
        assert invalidate(form=LONG).n_answers == 1
        cache.refresh()
        assert found(cache, LONG) == 0
        assert found(cache, NEARLY) == 0
        assert not (HOME / "cache" / "index").exists()
        assert not (HOME / "cache" / "similar").exists()
    files = [path for path in HOME.rglob("*") if path.is_file()]
    assert files
    assert not any(b"zebracorn" in path.read_bytes() for path in files)


def examples(record: Path) -> list[str]:
    return [group["example"] for group in json.loads(record.read_text())["groups"]["largest"]]


@pytest.fixture
def record() -> Path:
    """Return the record of a run over three texts, each twice, one longer than an example."""
    texts = ["Short ZEBRACORN text", "Ann's letter", "A very long zebracorn text. " * 10]
    pl.DataFrame({"text": texts * 2, "id": ["a", "b", "c", "d", "e", "f"]}).write_parquet("in.parquet")
    assert cli.run(["process", "in.parquet", "-o", "out.parquet", "--home", str(HOME), "-q"]) == 0
    (made,) = HOME.glob("runs/*/run.json")
    assert sum(map(bool, examples(made))) == 3
    return made


@pytest.mark.parametrize(
    ("criteria", "n"),
    [
        ({"form": "short zebracorn text"}, 1),
        ({"form": ("a very long zebracorn text. " * 10).strip()}, 1),
        ({"review_id": "b"}, 1),
        ({"form": "short zebracorn"}, 0),
        ({"source": "warm"}, 0),
    ],
)
def test_a_text_goes_out_of_the_run_records_too(record: Path, criteria: dict[str, Any], n: int) -> None:
    assert invalidate(dry_run=True, **criteria).n_examples == n
    assert sum(map(bool, examples(record))) == 3
    assert invalidate(**criteria).n_examples == n
    assert sum(map(bool, examples(record))) == 3 - n
    assert runs.read(record).n_rows == 6
    assert invalidate(**criteria).n_examples == 0


def test_a_text_found_by_its_id_goes_out_of_other_runs_records(record: Path) -> None:
    with opened(HOME) as archive:
        put(archive, ["short zebracorn text"], review_id="first")
    assert invalidate(review_id="first").n_examples == 1
    assert not any("zebracorn" in example.lower() for example in examples(record) if len(example) < 100)


def test_the_record_of_a_living_run_is_left_and_counted(record: Path) -> None:
    alive = Recorder(record.parent)
    made = invalidate(form="short zebracorn text")
    assert (made.n_examples, made.n_running) == (0, 1)
    alive.close()
    assert invalidate(form="short zebracorn text").n_examples == 1


def test_a_record_of_another_version_or_none_is_no_obstacle(record: Path) -> None:
    for number, content in enumerate(["{}", "[]", "x", '{"groups": null}']):
        folder = HOME / "runs" / f"20200101-000000-00000{number}"
        folder.mkdir()
        (folder / "run.json").write_text(content)
    data = json.loads(record.read_text())
    record.write_text(json.dumps(data | {"schema_version": 1, "unknown": None}))
    assert invalidate(form="short zebracorn text").n_examples == 1


def test_without_an_archive_the_records_are_still_blanked(record: Path) -> None:
    criteria = Criteria(form="short zebracorn text")
    made = erasure.invalidate(Home(HOME), HOME / "cache", None, criteria, dry_run=False)
    assert (made.n_answers, made.n_examples) == (0, 1)
    assert "" in examples(record)
