"""Answers to several fields, failures and notes reach every row that asked, and no other."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt.data import COST_DTYPE, SOURCES
from reviewopt.dedup.exact import Asked, ExactCopies
from reviewopt.dedup.groups import GROUP_SCHEMA
from reviewopt.dedup.spread import NO_LABEL, Answers, Fresh, answer_schema
from reviewopt.task import MOST_LABELS, Choice, Field, Predicate, Score, Text, rest_json

LABELS = ("negative", "positive")
OTHERS: tuple[Field, ...] = (
    Score(name="quality", low=1, high=5),
    Predicate(name="buy_again"),
    Text(name="insights"),
    Choice(name="colour", labels=("red", "blue")),
)
SAME_FOLDER = [HealthCheck.function_scoped_fixture]


def rest_of(quality: int, insights: str = "fast; cheap") -> str:
    return rest_json({"quality": quality, "buy_again": "yes", "insights": insights, "colour": "blue"})


def fresh(
    label: list[int], *, rest: list[str] | None = None, note: list[str | None] | None = None, cost: str = "0.001"
) -> Fresh:
    n = len(label)
    return Fresh(
        label=np.array(label, np.uint8),
        confidence=np.full(n, 0.5, np.float32),
        outside=np.zeros(n, np.bool_),
        source=np.full(n, SOURCES.index("reference"), np.uint8),
        cost_usd=pl.Series([Decimal(cost)] * n, dtype=COST_DTYPE),
        rest=None if rest is None else pl.Series(rest, dtype=pl.String),
        note=None if note is None else pl.Series(note, dtype=pl.String),
    )


def asked(*question: int, new: list[int]) -> Asked:
    return Asked(question=np.array(question, np.int64), new_rows=np.array(new, np.int64))


def test_every_row_gets_the_answers_to_every_field(tmp_path: Path) -> None:
    with Answers(LABELS, others=OTHERS, folder=tmp_path) as answers:
        new = fresh([1, 0], rest=[rest_of(4), rest_of(1, 'she said "no";\n\ttabs 😀')])
        answers.add(new)
        frame = answers.spread(asked(0, -1, 1, 0, new=[0, 2]), new)
    assert frame["label"].to_list() == ["positive", None, "negative", "positive"]
    assert frame["other:quality"].to_list() == [4, None, 1, 4]
    assert frame["other:buy_again"].to_list() == ["yes", None, "yes", "yes"]
    assert frame["other:insights"].to_list() == ["fast; cheap", None, 'she said "no";\n\ttabs 😀', "fast; cheap"]
    assert frame["other:colour"].to_list() == ["blue", None, "blue", "blue"]
    assert list(tmp_path.iterdir()) == []


def test_answers_of_earlier_chunks_reach_later_copies(tmp_path: Path) -> None:
    with Answers(LABELS, others=OTHERS, folder=tmp_path, has_notes=True) as answers:
        first = fresh([1, NO_LABEL], rest=[rest_of(4), ""], note=[None, "content filter"])
        answers.add(first)
        answers.spread(asked(0, 1, new=[0, 1]), first)
        second = fresh([0], rest=[rest_of(2)], note=["cut to 512 tokens"])
        answers.add(second)
        frame = answers.spread(asked(1, 2, 0, new=[1]), second)
    assert frame["other:quality"].to_list() == [None, 2, 4]
    assert frame["note"].to_list() == ["content filter", "cut to 512 tokens", None]
    assert frame["source"].to_list() == ["failed", "reference", "exact"]


def test_an_unanswered_question_is_failed_in_all_its_rows_and_keeps_what_it_cost(tmp_path: Path) -> None:
    with Answers(LABELS, others=OTHERS, folder=tmp_path, has_notes=True) as answers:
        new = fresh([NO_LABEL, 0], rest=[rest_of(4), rest_of(5)], note=["refused", None])
        answers.add(new)
        frame = answers.spread(asked(0, 0, 1, -1, new=[0, 2]), new)
    assert frame["label"].to_list() == [None, None, "negative", None]
    assert frame["confidence"].to_list() == [None, None, 0.5, None]
    assert frame["source"].to_list() == ["failed", "failed", "reference", "empty"]
    assert frame["other:quality"].to_list() == [None, None, 5, None]
    assert frame["note"].to_list() == ["refused", "refused", None, None]
    assert frame["cost_usd"].to_list() == [Decimal("0.001"), 0, Decimal("0.001"), 0]


def test_the_code_of_no_label_is_none_of_a_labels() -> None:
    labels = tuple(map(str, range(MOST_LABELS)))
    answers, new = Answers(labels), fresh([MOST_LABELS - 1, NO_LABEL])
    answers.add(new)
    assert answers.spread(asked(0, 1, new=[0, 1]), new)["label"].to_list() == [labels[-1], None]


def test_the_schema_is_that_of_the_rows(tmp_path: Path) -> None:
    schema = answer_schema(LABELS, SOURCES, OTHERS, has_notes=True)
    new = fresh([1], rest=[rest_of(4)], note=[None])
    with Answers(LABELS, others=OTHERS, folder=tmp_path, has_notes=True) as answers:
        answers.add(new)
        frame = answers.spread(asked(0, new=[0]), new)
    spread = {name: frame.schema[name] for name in schema if name not in GROUP_SCHEMA}
    assert spread == {name: dtype for name, dtype in schema.items() if name not in GROUP_SCHEMA}
    assert list(schema)[6:] == ["other:quality", "other:buy_again", "other:insights", "other:colour", "note"]
    assert list(answer_schema(LABELS)) == ["label", "confidence", "source", "cost_usd", "duplicate_of", "cluster"]
    assert schema["other:quality"] == pl.Int16
    assert schema["other:colour"] == pl.Enum(["red", "blue"])


def test_numbers_that_need_more_room_have_it(tmp_path: Path) -> None:
    years = (Score(name="year", low=39_990, high=40_010),)
    new = fresh([1], rest=[rest_json({"year": 40_000})])
    with Answers(LABELS, others=years, folder=tmp_path) as answers:
        answers.add(new)
        assert answers.spread(asked(0, new=[0]), new)["other:year"].to_list() == [40_000]


def test_a_chunk_with_nothing_to_ask_has_every_column(tmp_path: Path) -> None:
    new = fresh([], rest=[], note=[])
    with Answers(LABELS, others=OTHERS, folder=tmp_path, has_notes=True) as answers:
        answers.add(new)
        frame = answers.spread(asked(-1, -1, new=[]), new)
    assert frame.select("other:quality", "other:insights", "note").rows() == [(None, None, None)] * 2


def test_several_fields_need_a_place_and_every_answer() -> None:
    with pytest.raises(ValueError, match="need a folder"):
        Answers(LABELS, others=OTHERS)


def test_an_answer_without_its_rest_is_refused(tmp_path: Path) -> None:
    with Answers(LABELS, others=OTHERS, folder=tmp_path) as answers:
        for rest in (None, [rest_of(1)]):
            with pytest.raises(ValueError, match="the rest of every answer"):
                answers.add(fresh([1, 0], rest=rest))


@settings(max_examples=30, suppress_health_check=SAME_FOLDER, deadline=None)
@given(
    st.lists(st.none() | st.sampled_from("abcdefgh"), min_size=1, max_size=40), st.lists(st.integers(1, 39), max_size=4)
)
def test_how_the_table_is_cut_changes_no_field_and_no_note(
    tmp_path: Path, texts: list[str | None], cuts: list[int]
) -> None:
    bounds = sorted({0, len(texts), *(cut for cut in cuts if cut < len(texts))})
    copies, parts = ExactCopies(), []
    notes = {"a": "cut", "b": "refused", "c": "cut"}
    with Answers(LABELS, others=OTHERS, folder=tmp_path, has_notes=True) as answers:
        for start, end in itertools.pairwise(bounds):
            form = pl.Series(texts[start:end], dtype=pl.String)
            seen = copies.see(form)
            new = form.gather(seen.new_rows).to_list()
            made = fresh(
                [NO_LABEL if text == "b" else 1 for text in new],
                rest=["" if text == "b" else rest_of(ord(text) % 5 + 1, text) for text in new],
                note=[notes.get(text) for text in new],
            )
            answers.add(made)
            parts.append(answers.spread(seen, made))
    frame = pl.concat(parts)
    assert frame["other:insights"].to_list() == [None if text == "b" else text for text in texts]
    assert frame["note"].to_list() == [notes.get(text or "") for text in texts]
    assert frame["label"].is_null().to_list() == [text in {None, "b"} for text in texts]
