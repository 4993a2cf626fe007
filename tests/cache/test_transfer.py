"""Answers out into a file and back in; nothing in a file is believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from archived import all_of, context, entries, opened, put, silent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt.cache import exported, transfer
from reviewopt.cache.archive import Archive
from reviewopt.cache.keys import Context
from reviewopt.cache.transfer import Exported, Imported
from reviewopt.cache.trust import Refused, sound
from reviewopt.errors import InputError, UsageError
from reviewopt.text import normal
from reviewopt.write import open_output

SUFFIXES = (".parquet", ".jsonl")


def export(archive: Archive, path: Path) -> Exported:
    with open_output(path, exported.schema(path.suffix), inputs=(), force=True) as output:
        made = transfer.export(archive, path, output.append, silent)
        output.commit()
    return made


def take(archive: Archive, path: Path, *, force: bool = False) -> Imported:
    return transfer.import_file(archive, path, transfer.check(path, silent), force=force, on_progress=silent)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LABELS = st.lists(TEXT, min_size=2, max_size=4, unique=True).map(tuple)
SHARED = st.tuples(st.just("shared"), st.none())
SCOPES = st.one_of(SHARED, st.tuples(st.just("isolated"), st.one_of(st.none(), TEXT)))


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    scope, tenant = draw(SCOPES)
    changes: dict[str, Any] = {"scope": scope, "tenant": tenant, "task": draw(TEXT), "labels": draw(LABELS)}
    source = draw(st.sampled_from(["human", "warm", "model"]))
    if source == "model":
        changes |= {"model": draw(TEXT), "settings": draw(st.dictionaries(TEXT, TEXT, max_size=2))}
        changes |= {"prompt": draw(TEXT), "packed": draw(st.booleans())}
    return context(source, **changes)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Context, pl.DataFrame]:
    of = draw(contexts())
    fields = draw(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
    title, body = (pl.Series([pair[at] for pair in fields], dtype=pl.String) for at in (0, 1))
    forms = normal.normalise(title, body).drop_nulls().unique(maintain_order=True)
    n = len(forms)

    def drawn(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=n, max_size=n))

    made = entries(
        forms.to_list(),
        of,
        answer=drawn(st.sampled_from(of.labels)),
        confidence=drawn(st.one_of(st.none(), st.floats(0, 1, width=32))),
        cost_usd=drawn(st.decimals(0, 999_999, places=12).map(str)),
        created_s=drawn(st.integers(0, 10**10)),
        tenant=drawn(st.one_of(st.none(), TEXT)),
        review_id=drawn(st.one_of(st.none(), TEXT)),
    )
    return of, made


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(batches(), min_size=1, max_size=3))
def test_what_was_exported_cleared_and_imported_is_what_was_there(
    suffix: str, made: list[tuple[Context, pl.DataFrame]]
) -> None:
    path = Path(f"answers{suffix}")
    with opened(Path("home")) as archive:
        archive.clear()
        for of, frame in made:
            put(archive, frame["text"].to_list(), of, **{name: frame[name] for name in frame.columns[2:-1]})
        before = all_of(archive)
        assert export(archive, path).n_entries == before.height
        archive.clear()
        done = take(archive, path)
        assert (done.n_new, done.n_refused, done.first_reason) == (before.height, 0, None)
        assert all_of(archive).equals(before)
        assert archive.find(before["key"]).drop("rowid").sort("key").equals(before)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return the rows of an exported file of three answers."""
    folder = tmp_path_factory.mktemp("rows")
    with opened(folder) as archive:
        put(archive, ["good"])
        put(archive, ["title\nbad"], context("model"))
        put(archive, ["fair"], context("warm", scope="isolated", tenant="shop"), tenant="shop")
        export(archive, folder / "rows.jsonl")
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def written(rows: list[dict[str, Any]], suffix: str = ".jsonl") -> Path:
    path = Path(f"changed{suffix}")
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        frame = pl.DataFrame(rows, schema=exported.schema(".jsonl"), orient="row")
        frame.cast({"cost_usd": exported.COLUMNS["cost_usd"]}).write_parquet(path)
    return path


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"key": "0" * 32}, "its key is not that of its context and text"),
    ({"text": "other"}, "its key is not that of its context and text"),
    ({"task": "other"}, "its key is not that of its context and text"),
    ({"key": None, "text": "  Good "}, "the text is not in its normal form"),
    ({"key": None, "text": "a\nb\nc"}, "the text is not in its normal form"),
    ({"key": None, "text": ""}, "the text is missing or empty"),
    ({"answer": "great"}, "the answer is none of the labels"),
    ({"confidence": 1.5}, "the confidence is not between 0 and 1"),
    ({"cost_usd": "-1"}, "the cost is not a number of USD"),
    ({"created_s": -1}, "the time is not Unix seconds"),
    ({"source": "robot"}, "its context: Invalid enum value 'robot' - at `$.source`"),
    ({"source": "\x1b[2J"}, "its context: Invalid enum value '\\x1b[2J' - at `$.source`"),
    ({"source": "model"}, "model, settings, prompt and packed belong to the answers of a model, all of them"),
    ({"model": "gpt-x"}, "model, settings, prompt and packed belong to the answers of a model, all of them"),
    ({"settings": "{"}, "its context: Input data was truncated"),
    ({"settings": '{"a": 1}'}, "its context: Expected `str`, got `int` - at `$[...]`"),
    ({"scope": "all"}, "the scope 'all' is neither shared by all nor isolated"),
    ({"tenant": "shop"}, "the scope 'shared' is neither shared by all nor isolated"),
    ({"labels": ["positive"]}, "its labels are not 2 to 255 different ones"),
    ({"normaliser": 0}, "its normaliser is 0, and this reviewopt has 1"),
]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("changes", "reason"), CHANGES)
def test_a_row_that_cannot_be_meant_is_refused_alone(
    rows: list[dict[str, Any]], changes: dict[str, Any], reason: str, suffix: str
) -> None:
    path = written([rows[1], rows[0] | changes, rows[2]], suffix)
    checked = transfer.check(path, silent)
    assert (checked.n_rows, checked.n_refused, checked.first_reason) == (3, 1, f"row 2: {reason}")
    (frame,) = exported.read(path)
    assert sound(frame, Refused()).entries["key"].to_list() == [rows[1]["key"], rows[2]["key"]]


def test_only_sound_rows_are_imported(rows: list[dict[str, Any]]) -> None:
    with opened(Path("second")) as archive:
        done = take(archive, written([rows[1], rows[0] | {"answer": "great"}, rows[2]]))
        assert (done.n_rows, done.n_new, done.n_refused) == (3, 2, 1)
        assert done.first_reason == "row 2: the answer is none of the labels"
        assert set(all_of(archive)["key"]) == {rows[1]["key"], rows[2]["key"]}


@pytest.mark.parametrize(
    "changes",
    [{"answer": None}, {"created_s": "1"}, {"labels": "positive"}, {"packed": 1}, {"\x1b[2J": 1}, {"text": None}],
)
def test_a_line_of_other_types_is_refused(rows: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    checked = transfer.check(written([rows[1], rows[0] | changes]), silent)
    assert (checked.n_rows, checked.n_refused) == (2, 1)
    assert checked.first_reason is not None
    assert checked.first_reason.isprintable()


def test_a_key_is_made_and_never_taken(rows: list[dict[str, Any]]) -> None:
    without = [{name: value for name, value in row.items() if name != "key"} for row in rows]
    with opened(Path("second")) as archive:
        assert take(archive, written(without)).n_new == 3
        assert set(all_of(archive)["key"]) == {row["key"] for row in rows}


def test_known_answers_are_kept_unless_forced(rows: list[dict[str, Any]]) -> None:
    path = written([rows[0] | {"answer": "negative"}, rows[0] | {"answer": "neutral"}, rows[1]])
    with opened(Path("second")) as archive:
        put(archive, ["good"])
        kept = take(archive, path)
        assert (kept.n_new, kept.n_replaced, kept.n_kept) == (1, 0, 2)
        assert all_of(archive).filter(pl.col("text") == "good")["answer"].item() == "positive"
        forced = take(archive, path, force=True)
        assert (forced.n_new, forced.n_replaced, forced.n_kept) == (0, 2, 1)
        assert all_of(archive).filter(pl.col("text") == "good")["answer"].item() == "neutral"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_refused_whole(rows: list[dict[str, Any]], suffix: str) -> None:
    whole = written(rows, suffix).read_bytes()
    path = Path(f"cut{suffix}")
    path.write_bytes(whole[: -len(whole) // 5])
    with pytest.raises(InputError, match="nothing was imported"):
        transfer.check(path, silent)


@pytest.mark.parametrize("content", ['{"text": "good"}\n', "[1]\n", '"x"\n', "text\ngood\n", "\xff\n"])
def test_a_foreign_file_is_refused_whole(content: str) -> None:
    Path("foreign.jsonl").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"foreign\.jsonl"):
        transfer.check(Path("foreign.jsonl"), silent)
    pl.DataFrame({"text": ["good"]}).write_parquet("foreign.parquet")
    with pytest.raises(InputError, match="not an export"):
        transfer.check(Path("foreign.parquet"), silent)


def test_a_missing_file_and_another_format_say_so() -> None:
    with pytest.raises(InputError, match=r"none\.parquet"):
        transfer.check(Path("none.parquet"), silent)
    with pytest.raises(UsageError, match=r"\.parquet or \.jsonl"):
        transfer.check(Path("answers.csv"), silent)


SEVERAL = context("model", others=("quality", "why"))
WHOLE = 'positive\t{"quality":4,"why":"it is\\tcheap"}'


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_answers_to_several_fields_go_out_and_in_whole(suffix: str) -> None:
    path = Path(f"answers{suffix}")
    with opened(Path("home")) as archive:
        put(archive, ["good"], SEVERAL, answer=WHOLE)
        put(archive, ["good"], context("human", others=("quality", "why")), answer="positive")
        put(archive, ["good"], context("human"), answer="positive")
        before = all_of(archive)
        export(archive, path)
        archive.clear()
        assert take(archive, path).n_new == 3
        assert all_of(archive).equals(before)
    answers = pl.read_parquet(path) if suffix == ".parquet" else pl.read_ndjson(path)
    assert WHOLE in answers["answer"].to_list()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answer": 'great\t{"quality":4,"why":""}'}, "the answer is none of the labels"),
        ({"answer": 'positive\t{"quality":4}'}, "the answer is not to the fields of its context"),
        ({"answer": "positive\t{"}, "the answer is not to the fields of its context"),
        ({"others": ["quality"]}, "the answer is not to the fields of its context"),
        ({"others": []}, "the answer is none of the labels"),
        ({"others": ["why", "quality"]}, "its key is not that of its context and text"),
        ({"others": ["quality", "why", "why"]}, "two of its fields have one name"),
        ({"answer": None}, "the answer is none of the labels"),
    ],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_answer_to_other_fields_than_its_contexts_is_refused(
    changes: dict[str, Any], reason: str, suffix: str
) -> None:
    if suffix == ".jsonl" and changes.get("answer", "") is None:
        return
    with opened(Path("home")) as archive:
        put(archive, ["good"], SEVERAL, answer=WHOLE)
        export(archive, Path("rows.jsonl"))
        row = json.loads(Path("rows.jsonl").read_text())
        archive.clear()
        done = take(archive, written([{**row, **changes}], suffix))
    assert (done.n_new, done.first_reason) == (0, f"row 1: {reason}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_before_there_were_several_fields_is_imported(rows: list[dict[str, Any]], suffix: str) -> None:
    path = Path(f"old{suffix}")
    old = [{name: value for name, value in row.items() if name != "others"} for row in rows]
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in old))
    else:
        pl.read_parquet(written(rows, suffix)).drop("others").write_parquet(path)
    with opened(Path("home")) as archive:
        assert take(archive, path).n_new == 3


def test_an_answer_whose_context_is_lost_is_not_exported() -> None:
    with opened(Path("home")) as archive:
        put(archive, ["good"])
        archive.put(entries(["bad"], context="f" * 16), {})
        made = export(archive, Path("answers.parquet"))
        assert (made.n_entries, made.n_unreadable) == (1, 1)
        assert pl.read_parquet("answers.parquet")["text"].to_list() == ["good"]
