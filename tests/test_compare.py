"""Two outputs beside each other: which rows are the same, what is counted, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt import compare, config
from reviewopt.accuracy import Estimate
from reviewopt.compare import Comparison, Labelled, Rows
from reviewopt.compare.values import Difference
from reviewopt.config import packaged
from reviewopt.errors import InputError
from reviewopt.load import ColumnChoice, open_table
from reviewopt.load.labels import label_map
from reviewopt.paired import paired

TASK = config.load_task("sentiment")
LABELS = TASK.labels
NEG, NEU, POS = LABELS
SCHEMA = 'rewrite configs/comparison.schema.json: json.dumps(reviewopt.compare.json_schema(), indent=2) + "\\n"'
LABEL = st.sampled_from([*LABELS, None])
SURE = st.sampled_from([None, 0.5, 0.75, 1.0])
ROWS = st.lists(st.tuples(LABEL, LABEL, LABEL, SURE, SURE, st.sampled_from("xyz")), min_size=1, max_size=25)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Maker:
    """Writes a labelled table and reads it as the command does."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self._folder, self._opened, self._n = folder, opened, 0

    def __call__(
        self, suffix: str = "parquet", *, truth: str = "none", column: str = "sentiment", **columns: Any
    ) -> Rows:
        self._n += 1
        path = self._folder / f"{self._n}.{suffix}"
        frame = pl.DataFrame(columns)
        frame.write_parquet(path) if suffix == "parquet" else frame.write_csv(path)
        table = self._opened.enter_context(open_table([str(path)], task=TASK, choice=ColumnChoice(label=truth)))
        of = Labelled(table=table, column=column, answers=None, id_is_chosen=False)
        return compare.read(of, label_map(TASK, None), TASK)


@pytest.fixture
def make(tmp_path: Path, opened: ExitStack) -> Maker:
    return Maker(tmp_path, opened)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """One row of a table whose truth is known, to put other rows in the place of."""
    with ExitStack() as stack:
        made = Maker(tmp_path_factory.mktemp("rows"), stack)
        yield made(truth="stars", text=["a"], id=["1"], sentiment=[POS], stars=[5])


def said(example: Rows, rows: list[Any], label: int, sure: int) -> Rows:
    """The rows of one side of what hypothesis made up; texts x, y and z, categories as the texts."""
    dtype = pl.Enum(LABELS)
    texts = pl.Series([row[5] for row in rows])
    frame = pl.DataFrame(
        {
            "row": pl.Series(range(len(rows)), dtype=pl.Int64),
            "review_id": [str(at) for at in range(len(rows))],
            "tenant": pl.Series([None] * len(rows), dtype=pl.String),
            "category": texts,
            "truth": pl.Series([row[2] for row in rows], dtype=dtype),
            "answer": pl.Series([row[label] for row in rows], dtype=dtype),
            "is_mixed": pl.Series([row[label] == NEU and row[5] == "z" for row in rows], dtype=pl.Boolean),
            "text_hash": texts.hash(),
            "copy_hash": texts.hash(),
            "example": texts,
            "confidence": pl.Series([row[sure] for row in rows], dtype=pl.Float64),
        }
    )
    return replace(example, frame=frame, usd=Decimal(label + 1), n_with_cost=len(rows), n_without_cost=0)


def flipped(gap: Estimate) -> Estimate:
    return gap if gap.value is None else Estimate(value=-gap.value, low=-(gap.high or 0), high=-(gap.low or 0))


def mirrored(made: Comparison) -> Comparison:
    """What must come out where the two change places."""

    def figures(one: Any) -> Any:
        return msgspec.structs.replace(
            one,
            accuracy_a=one.accuracy_b,
            accuracy_b=one.accuracy_a,
            n_only_a_right=one.n_only_b_right,
            n_only_b_right=one.n_only_a_right,
            difference=flipped(one.difference),
        )

    def other(one: Difference) -> Difference:
        return msgspec.structs.replace(
            one,
            row_a=one.row_b,
            row_b=one.row_a,
            label_a=one.label_b,
            label_b=one.label_a,
            confidence_a=one.confidence_b,
            confidence_b=one.confidence_a,
        )

    sign = {"a": "b", "b": "a", None: None}
    return msgspec.structs.replace(
        made,
        a=made.b,
        b=made.a,
        overall=figures(made.overall),
        mixed=made.mixed
        and msgspec.structs.replace(
            made.mixed, n_a=made.mixed.n_b, n_b=made.mixed.n_a, dropped=figures(made.mixed.dropped)
        ),
        better=sign[made.better],
        groups=tuple(msgspec.structs.replace(one, figures=figures(one.figures)) for one in made.groups),
        confusion=tuple(zip(*made.confusion, strict=True)),
        usd_difference=f"{-Decimal(made.usd_difference or 0):f}",
        usd_difference_per_1000=f"{-Decimal(made.usd_difference_per_1000 or 0):f}",
        differences=tuple(map(other, made.differences)),
    )


# --- laws -------------------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(rows=ROWS)
def test_who_is_called_a_is_no_matter(example: Rows, rows: list[Any]) -> None:
    rows = [*rows, (POS, POS, POS, 1.0, 1.0, "x")]
    a, b = said(example, rows, 0, 3), said(example, rows, 1, 4)
    assert compare.compare(b, a, TASK) == mirrored(compare.compare(a, b, TASK))


@settings(max_examples=15)
@given(rows=ROWS)
def test_all_figures_are_those_of_the_rows(example: Rows, rows: list[Any]) -> None:
    rows = [*rows, (POS, NEG, POS, 1.0, 1.0, "x")]
    made = compare.compare(said(example, rows, 0, 3), said(example, rows, 1, 4), TASK, n_shown=100)
    a, b, truth = (pl.Series([row[at] for row in rows], dtype=pl.String) for at in range(3))
    assert made.overall == paired(a, b, truth)
    for group in made.groups:
        of = [at for at, row in enumerate(rows) if row[5] == group.group]
        assert group.figures == paired(a[of], b[of], truth[of])
    assert sum(group.figures.n for group in made.groups) == made.overall.n
    both = [(row[0], row[1]) for row in rows if row[0] and row[1]]
    assert made.confusion == tuple(tuple(both.count((x, y)) for y in LABELS) for x in LABELS)
    differ = [row for row in rows if row[0] and row[1] and row[0] != row[1]]
    assert made.n_differ == len(differ) == sum(one.n_alike for one in made.differences)
    assert {(one.text, one.label_a, one.label_b) for one in made.differences} == {(r[5], r[0], r[1]) for r in differ}
    assert made.n_copies == len(rows) - len({row[5] for row in rows})


@settings(max_examples=15)
@given(rows=ROWS)
def test_an_output_does_not_differ_from_itself(example: Rows, rows: list[Any]) -> None:
    rows = [*rows, (POS, POS, POS, 1.0, 1.0, "x")]
    made = compare.compare(said(example, rows, 0, 3), said(example, rows, 0, 3), TASK)
    assert made.overall.agreement.value == made.overall.p_value == 1
    assert (made.better, made.n_differ, made.differences) == (None, 0, ())


# --- which rows are the same ------------------------------------------------------------------------------------------


def test_rows_are_matched_by_their_ids_in_any_order(make: Maker) -> None:
    a = make(text=["one", "two", "three"], id=["1", "2", "3"], sentiment=[POS, NEG, NEU])
    b = make(text=["four", "three", "one"], id=["4", "3", "1"], sentiment=[NEG, NEG, POS])
    made = compare.compare(a, b, TASK)
    assert (made.matched_by, made.n_matched, made.n_only_a, made.n_only_b) == ("id", 2, 1, 1)
    assert (made.overall.n_agree, made.n_other_texts) == (1, 0)
    (found,) = made.differences
    assert (found.review_id, found.row_a, found.row_b, found.text) == ("3", 2, 1, "three")


def test_ids_are_the_same_as_numbers_and_as_words(make: Maker) -> None:
    a = make(text=["one", "two"], id=[7, 8], sentiment=[POS, NEG])
    b = make(text=["two", "one"], id=["8", "7"], sentiment=[NEG, POS])
    assert compare.compare(a, b, TASK).overall.n_agree == 2


def test_without_ids_rows_are_matched_as_they_stand(make: Maker) -> None:
    a = make(text=["one", "two"], id=["1", "2"], sentiment=[POS, NEG])
    made = compare.compare(a, make(text=["one", "two"], sentiment=[POS, POS]), TASK)
    assert (made.matched_by, made.n_matched, made.overall.n_agree, made.notes) == ("order", 2, 1, ())


@pytest.mark.parametrize(
    ("ids", "why"),
    [(["1", "1"], "id is that of an earlier row in 1 of 2 rows"), (["1", None], "id is missing in 1 of 2 rows")],
)
def test_ids_that_do_not_tell_rows_apart_are_not_used(make: Maker, ids: list[str | None], why: str) -> None:
    a = make(text=["one", "two"], id=ids, sentiment=[POS, NEG])
    b = make(text=["one", "two"], id=["1", "2"], sentiment=[POS, NEG])
    made = compare.compare(a, b, TASK)
    assert made.matched_by == "order"
    assert [why in note for note in made.notes] == [True]


def test_the_way_through_a_csv_changes_no_text(make: Maker) -> None:
    a = make(text=["=1+1", None, " - so"], sentiment=[POS, NEG, POS])
    made = compare.compare(a, make("csv", text=["'=1+1", "", "'- so"], sentiment=[POS, NEG, POS]), TASK)
    assert made.n_matched == 3


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "other texts": (
        {"text": ["one", "two", "six"]},
        {"text": ["one", "to", "sex"]},
        r"2 of 3 rows have not the same text in both \(the first is row 1, from 0\).*no column of ids",
    ),
    "more rows": ({"text": ["one", "two", "six"]}, {"text": ["one"]}, "has 3 rows and .* 1, so that"),
    "other ids": (
        {"text": ["one"], "id": ["1"]},
        {"text": ["one"], "id": ["2"]},
        "no id of .* is in .*: they have no row in common",
    ),
    "other reviews under the same ids": (
        {"text": ["one"], "id": ["1"]},
        {"text": ["two"], "id": ["1"]},
        r"1 of the 1 rows with the same id have another text in B .* --text-column, ids .* --id-column",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tables_of_other_reviews_are_refused(make: Maker, name: str) -> None:
    first, second, words = REFUSED[name]
    a = make(**first, sentiment=[POS] * len(first["text"]))
    b = make(**second, sentiment=[POS] * len(second["text"]))
    with pytest.raises(InputError, match=words):
        compare.compare(a, b, TASK)


def with_other_texts(make: Maker, n_other: int) -> tuple[Rows, Rows]:
    """100 rows, of which B has other texts in the first ones: A is right in all, B in all but those."""
    texts, ids = [f"text {at}" for at in range(100)], [str(at) for at in range(100)]
    same: dict[str, Any] = {"id": ids, "category": ["x"] * n_other + ["y"] * (100 - n_other)}
    a = make(truth="stars", text=texts, sentiment=[POS] * 100, stars=[5] * 100, **same)
    others = [f"other {at}" for at in range(n_other)]
    b = make(
        truth="stars",
        text=[*others, *texts[n_other:]],
        sentiment=[NEG] * n_other + [POS] * (100 - n_other),
        stars=[1] * 100,
        **same,
    )
    return a, b


def test_rows_with_another_text_under_the_same_id_are_in_no_figure(make: Maker) -> None:
    made = compare.compare(*with_other_texts(make, 1), TASK)
    assert (made.n_matched, made.n_other_texts, made.n_only_a, made.n_only_b, made.n_copies) == (100, 1, 0, 0, 0)
    assert (made.overall.n, made.overall.n_agree, made.overall.n_only_a_right) == (99, 99, 0)
    assert (made.n_differ, made.differences, sum(map(sum, made.confusion))) == (0, (), 99)
    assert [(group.group, group.figures.n) for group in made.groups] == [("y", 99)]
    assert made.truth is not None
    assert made.truth.n_in_both == 99


def test_more_than_one_in_a_hundred_other_texts_are_other_reviews(make: Maker) -> None:
    words = r"2 of the 100 rows with the same id have.*the first is row 0 of A and row 0 of B.*at most 1 % may"
    with pytest.raises(InputError, match=words):
        compare.compare(*with_other_texts(make, 2), TASK)


def test_labels_that_no_row_has_in_both_are_refused(make: Maker) -> None:
    a = make(text=["one", "two"], sentiment=[POS, None])
    b = make(text=["one", "two"], sentiment=[None, POS])
    with pytest.raises(InputError, match=r"no row has a label both in sentiment of .* --answer-column-b"):
        compare.compare(a, b, TASK)


def test_a_label_that_is_none_of_the_tasks_is_refused(make: Maker) -> None:
    with pytest.raises(InputError, match=r"row 1 \(from 0\): column 'sentiment' holds so-so"):
        make(text=["one", "two"], sentiment=[POS, "so-so"])


# --- what is told -----------------------------------------------------------------------------------------------------


def test_the_truth_is_that_of_b_where_a_has_none(make: Maker) -> None:
    a = make(text=["one", "two"], sentiment=[POS, NEG])
    made = compare.compare(a, make(truth="stars", text=["one", "two"], sentiment=[NEG, POS], stars=[5, 1]), TASK)
    assert made.truth is not None
    assert (made.truth.side, made.truth.column, made.overall.n_only_a_right) == ("b", "stars", 2)


def test_the_better_one_is_named_where_the_exact_test_shows_it(make: Maker) -> None:
    texts = [str(at) for at in range(6)]
    a = make(truth="stars", text=texts, sentiment=[POS] * 6, stars=[1] * 6)
    assert compare.compare(a, make(text=texts, sentiment=[NEG] * 6), TASK).better == "b"  # p = .03
    assert compare.compare(a, make(text=texts, sentiment=[NEG] * 5 + [POS]), TASK).better is None  # p = .06
    b = make(truth="stars", text=texts, sentiment=[NEG] * 6, stars=[1] * 6)
    assert compare.compare(b, make(text=texts, sentiment=[POS] * 6), TASK).better == "a"


def test_rows_where_both_are_surest_of_different_labels_come_first(make: Maker) -> None:
    texts = ["low", "sure", "sure", "half", "same"]
    a = make(text=texts, sentiment=[POS] * 5, sentiment_confidence=[0.5, 0.9, 0.8, 1.0, 1.0])
    b = make(text=texts, sentiment=[NEG] * 4 + [POS], sentiment_confidence=[1.0, 0.8, 0.9, 0.7, 1.0])
    made = compare.compare(a, b, TASK)
    assert [(one.text, one.row_a, one.n_alike) for one in made.differences] == [
        ("sure", 1, 2),
        ("half", 3, 1),
        ("low", 0, 1),
    ]
    assert compare.compare(a, b, TASK, n_shown=1).differences == made.differences[:1]
    assert compare.compare(a, b, TASK, n_shown=0).n_differ == 4


def test_rows_that_are_known_to_be_sure_come_before_the_others(make: Maker) -> None:
    a = make(text=["x", "y"], sentiment=[POS, POS], sentiment_confidence=[None, 0.4])
    made = compare.compare(a, make(text=["x", "y"], sentiment=[NEG, NEG]), TASK)
    assert [one.text for one in made.differences] == ["y", "x"]


def test_rows_without_confidences_come_in_their_order(make: Maker) -> None:
    a = make(text=["z", "y", "x"], sentiment=[POS] * 3)
    made = compare.compare(a, make(text=["z", "y", "x"], sentiment=[NEG] * 3), TASK)
    assert [one.text for one in made.differences] == ["z", "y", "x"]
    assert made.differences[0].confidence_a is None


def test_costs_are_added_up_exactly_and_compared(make: Maker) -> None:
    texts = [str(at) for at in range(10)]
    cents = pl.Series(["0.1"] * 10).cast(pl.Decimal(18, 12))
    a = make(text=texts, sentiment=[POS] * 10, sentiment_cost_usd=cents, sentiment_source=["gpt"] * 9 + ["exact"])
    b = make(text=texts, sentiment=[POS] * 10, sentiment_cost_usd=[0.25, 0] * 5)
    made = compare.compare(a, b, TASK)
    assert [Decimal(one or "nan") for one in (made.a.usd, made.b.usd, made.usd_difference)] == [
        Decimal(1),
        Decimal("1.25"),
        Decimal("-.25"),
    ]
    assert Decimal(made.b.usd_per_1000 or "nan") == 125
    assert (made.a.n_by_source, made.b.n_by_source) == ({"gpt": 9, "exact": 1}, None)


def test_the_sums_of_other_rows_are_not_subtracted(make: Maker) -> None:
    a = make(text=["one", "two"], id=["1", "2"], sentiment=[POS] * 2, sentiment_cost_usd=[1, 1])
    made = compare.compare(a, make(text=["one"], id=["1"], sentiment=[POS], sentiment_cost_usd=[3]), TASK)
    assert made.usd_difference is None
    assert Decimal(made.usd_difference_per_1000 or "nan") == -2000


def test_a_cost_that_is_not_told_is_null_and_not_nothing(make: Maker) -> None:
    a = make(text=["one"], sentiment=[POS], sentiment_cost_usd=[1])
    empty = pl.Series([None], dtype=pl.Float64)
    made = compare.compare(a, make(text=["one"], sentiment=[POS], sentiment_cost_usd=empty), TASK)
    assert (made.b.usd, made.b.usd_per_1000, made.usd_difference, made.usd_difference_per_1000) == (None,) * 4


def test_a_sum_of_costs_of_which_some_are_missing_is_not_known(make: Maker) -> None:
    a = make(text=["one", "two", "six"], sentiment=[POS] * 3, sentiment_cost_usd=[1, 1, 1])
    b = make(text=["one", "two", "six"], sentiment=[POS] * 3, sentiment_cost_usd=[1, None, 2])
    made = compare.compare(a, b, TASK)
    assert (made.b.usd, made.b.n_with_cost, made.b.n_without_cost) == (None, 2, 1)
    assert Decimal(made.b.usd_per_1000 or "nan") == 1500  # of the two that have a cost
    assert (made.usd_difference, made.usd_difference_per_1000) == (None, None)
    assert Decimal(made.a.usd or "nan") == 3


def test_a_row_without_a_label_needs_no_cost(make: Maker) -> None:
    rows = make(text=["one", "two"], sentiment=[POS, None], sentiment_cost_usd=[1, None])
    made = compare.compare(rows, rows, TASK)
    assert made.a.n_without_cost == 0
    assert [Decimal(one or "nan") for one in (made.a.usd, made.usd_difference)] == [Decimal(1), Decimal(0)]


# --- what is not as it seems ------------------------------------------------------------------------------------------


def test_labels_in_other_words_are_counted_by_word_and_label(make: Maker) -> None:
    texts = ["one", "two", "six", "ten", "men"]
    a = make(text=texts, sentiment=["Mixed", " mixed", "POS", "Positive ", None])
    b = make(text=texts, column="stars", stars=["5", "5", "1", None, "positive"])
    made = compare.compare(a, b, TASK)
    assert [(one.word, one.label, one.n) for one in made.a.mapped] == [("mixed", NEU, 2), ("pos", POS, 1)]
    assert [(one.word, one.label, one.n) for one in made.b.mapped] == [("5", POS, 2), ("1", NEG, 1)]
    assert (made.a.n_mapped, made.b.n_mapped) == (3, 3)


def test_both_meanings_of_mixed_are_reported_and_must_agree(make: Maker) -> None:
    texts = [str(at) for at in range(12)]
    a = make(truth="stars", text=texts, sentiment=[NEU] * 12, stars=[3] * 6 + [1] * 6)
    b = make(text=texts, sentiment=["mixed"] * 3 + [NEG] * 9)  # NEU for the first, of which the truth says the same
    made = compare.compare(b, a, TASK)
    assert made.mixed is not None
    assert (made.mixed.label, made.mixed.n_a, made.mixed.n_b) == (NEU, 3, 0)
    assert (made.overall.n, made.overall.n_agree, made.overall.n_only_a_right) == (12, 3, 6)
    assert made.mixed.dropped == paired(pl.Series([NEG] * 9), pl.Series([NEU] * 9), pl.Series([NEU] * 3 + [NEG] * 6))


@pytest.mark.parametrize(("said", "better"), [("neutral", "b"), ("mixed", None)])
def test_who_is_better_by_one_meaning_of_mixed_alone_is_not_named(make: Maker, said: str, better: str | None) -> None:
    texts = [str(at) for at in range(6)]
    a = make(truth="stars", text=texts, sentiment=[POS] * 6, stars=[3] * 6)
    made = compare.compare(a, make(text=texts, sentiment=[said] * 6), TASK)
    assert made.overall.p_value is not None
    assert made.overall.p_value < 0.05
    assert (made.better, made.mixed is None) == (better, said == "neutral")


def test_mixed_as_a_label_of_the_task_is_a_label(make: Maker) -> None:
    task = msgspec.structs.replace(
        TASK, fields=(msgspec.structs.replace(TASK.field, labels=(*LABELS, "mixed")),), aliases={}
    )
    rows = make(text=["one"], sentiment=["neutral"])
    mixed = compare.read(rows.of, label_map(task, None), task)
    assert mixed.frame["is_mixed"].to_list() == [False]
    assert rows.mapped == ()


def test_two_truths_of_one_name_are_compared(make: Maker) -> None:
    a = make(truth="stars", text=["1", "2", "3", "4"], sentiment=[POS] * 4, stars=[5, 5, 5, None])
    b = make("csv", text=["1", "2", "3", "4"], sentiment=[POS] * 4, stars=["4", "1", None, "2"])
    checked = compare.read(replace(b.of, checked="stars"), label_map(TASK, None), TASK)
    made = compare.compare(a, checked, TASK)
    assert made.truth is not None
    assert (made.truth.side, made.truth.n_in_both, made.truth.n_differ) == ("a", 2, 1)
    assert (made.overall.n_labelled, made.overall.accuracy_b.value) == (3, 1)  # A's counts


def test_a_second_truth_that_cannot_be_read_whole_is_a_note(make: Maker, tmp_path: Path, opened: ExitStack) -> None:
    columns: dict[str, Any] = {"text": ["1", "2", "3"], "sentiment": [POS] * 3}
    a = make(truth="stars", stars=[5, 5, 5], **columns)
    pl.DataFrame({**columns, "stars": [1.0, 0.3, 0.2]}).write_parquet(tmp_path / "b.parquet")
    choice = ColumnChoice(label="none")
    table = opened.enter_context(open_table([str(tmp_path / "b.parquet")], task=TASK, choice=choice, chunk_rows=1))
    of = Labelled(table=table, column="sentiment", answers=None, id_is_chosen=False, checked="stars")
    made = compare.compare(a, compare.read(of, label_map(TASK, None), TASK), TASK)
    assert made.truth is not None
    assert made.truth.n_in_both == 0  # the first could be read
    (note,) = made.notes
    assert "not checked whether both tables know the same truth: " in note
    assert "row 1 (from 0): column 'stars' holds 0.3" in note


def test_groups_of_both_kinds_are_one_family_of_tests(make: Maker) -> None:
    texts = [str(at) for at in range(12)]
    groups: dict[str, Any] = {"category": ["x"] * 6 + ["y"] * 6, "tenant": ["one"] * 12}
    a = make(truth="stars", text=texts, sentiment=[POS] * 12, stars=[1] * 6 + [5] * 6, **groups)
    made = compare.compare(a, make(text=texts, sentiment=[NEG] * 6 + [POS] * 6), TASK)
    found = {one.group: (one.figures.p_value, one.p_adjusted) for one in made.groups}
    assert found == {"x": (0.03125, 0.09375), "y": (1, 1), "one": (0.03125, 0.09375)}


def test_a_group_without_labels_is_no_test_and_makes_the_others_no_harder(make: Maker) -> None:
    texts = [str(at) for at in range(8)]
    groups: dict[str, Any] = {"category": ["x"] * 6 + ["bare"] * 2}
    a = make(truth="stars", text=texts, sentiment=[POS] * 8, stars=[1] * 6 + [None] * 2, **groups)
    made = compare.compare(a, make(text=texts, sentiment=[NEG] * 8), TASK)
    found = {one.group: (one.figures.p_value, one.p_adjusted) for one in made.groups}
    assert found == {"x": (0.03125, 0.03125), "bare": (None, None)}


# --- columns that are not what they seem, and the form of the whole ---------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("confidence", [0.5, 97.0]),
        ("confidence", ["high", "0.5"]),
        ("cost_usd", [-1.0, 1.0]),
        ("cost_usd", ["$1", "1"]),
        ("cost_usd", [1e20, 1.0]),
        ("source", None),
    ],
    ids=["percent", "words", "below nothing", "a sign", "beyond all", "too many names"],
)
def test_a_column_that_is_not_what_its_name_says_is_left_out_with_a_note(
    make: Maker, column: str, values: list[Any] | None
) -> None:
    n = 2 if values else 40
    given = values or [f"model {at}" for at in range(n)]
    columns: dict[str, Any] = {f"sentiment_{column}": given}
    rows = make(text=[str(at) for at in range(n)], sentiment=[POS] * n, **columns)
    made = compare.compare(rows, rows, TASK)
    assert (rows.usd, rows.n_by_source, rows.frame["confidence"].null_count()) == (None, None, n)
    assert f"sentiment_{column} of " in made.notes[0]
    assert "is not used: it holds " in made.notes[0]


def test_missing_numbers_are_no_damage(make: Maker) -> None:
    rows = make(text=["one", "two"], sentiment=[POS] * 2, sentiment_confidence=[float("nan"), 0.5])
    assert rows.frame["confidence"].to_list() == [None, 0.5]
    assert rows.notes == ()


def test_a_comparison_meets_the_committed_schema(make: Maker) -> None:
    rows = make(truth="stars", text=["one"], sentiment=[POS], category=["x"], stars=[5])
    other = make(text=["one"], sentiment=[NEG])
    schema = json.loads(packaged("configs", "comparison.schema.json").read_text())
    for made in (compare.compare(rows, other, TASK), compare.compare(other, other, TASK)):
        content = json.loads(compare.to_json(made))
        jsonschema.validate(content, schema)
        assert next(iter(content)) == "schema_version"
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**content, "better": "c"}, schema)


def test_the_committed_schema_is_the_types_schema_and_demands_every_key() -> None:
    committed = json.loads(packaged("configs", "comparison.schema.json").read_text())
    assert committed == compare.json_schema(), SCHEMA
    for definition in committed["$defs"].values():
        assert set(definition["required"]) == set(definition["properties"])
