"""The wording of a typed-decision request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_chat_prompt import REVIEW, SENTIMENT

from reviewopt.models import chat_prompt, decisions_prompt
from reviewopt.task import Choice, Field, Predicate, Score, Task, Text

TYPED = Task(name="typed", instructions="Decide all.", fields=REVIEW.fields[:3])


def test_the_input_begins_with_what_the_task_is_and_that_reviews_are_data() -> None:
    said = decisions_prompt.instructions(SENTIMENT)
    assert "Decide what is felt." in said
    assert "- sentiment: one of: negative, neutral, positive. About the product." in said
    assert chat_prompt.REVIEWS_ARE_DATA in said
    assert "JSON" not in said


def test_nothing_before_the_reviews_looks_like_one() -> None:
    assert "<" not in decisions_prompt.instructions(SENTIMENT)


def test_a_task_of_one_field_names_its_questions_by_review() -> None:
    assert decisions_prompt.questions(("r01", "r02"), SENTIMENT) == [
        {
            "type": "choice",
            "name": review_id,
            "instructions": f"sentiment of {review_id}",
            "choices": [{"value": "negative"}, {"value": "neutral"}, {"value": "positive"}],
        }
        for review_id in ("r01", "r02")
    ]


def test_a_task_of_several_fields_names_its_questions_by_review_and_field() -> None:
    asked = decisions_prompt.questions(("r01", "r02"), TYPED)
    assert [question["name"] for question in asked] == [
        "r01.sentiment", "r01.quality", "r01.buys_again", "r02.sentiment", "r02.quality", "r02.buys_again",
    ]  # fmt: skip
    assert [question["type"] for question in asked[:3]] == ["choice", "score", "predicate"]
    assert asked[1]["levels"] == [{"label": "1"}, {"label": "2"}, {"label": "3"}, {"label": "4"}, {"label": "5"}]
    assert asked[2]["instructions"] == "buys_again of r01 is yes"


def test_names_are_in_the_order_of_the_questions() -> None:
    names = [name for name, _, _ in decisions_prompt.question_names(("r01", "r02"), TYPED)]
    assert names == [question["name"] for question in decisions_prompt.questions(("r01", "r02"), TYPED)]


@given(n_reviews=st.integers(0, 30), n_fields=st.integers(1, 5))
def test_every_question_has_a_name_of_its_own(n_reviews: int, n_fields: int) -> None:
    task = Task(name="t", instructions="x", fields=tuple(Predicate(name=f"f{at}") for at in range(n_fields)))
    ids = [f"r{at:02d}" for at in range(n_reviews)]
    names = [question["name"] for question in decisions_prompt.questions(ids, task)]
    assert len(names) == len(set(names)) == n_reviews * n_fields


@pytest.mark.parametrize(
    ("field", "is_answerable"),
    [
        (Choice(name="f", labels=("a", "b")), True),
        (Predicate(name="f"), True),
        (Score(name="f", low=1, high=10), True),
        (Score(name="f", low=0, high=10), False),
        (Score(name="f", low=-5, high=4), True),
        (Text(name="f"), False),
    ],
)
def test_what_can_be_asked_is_within_the_services_bounds(field: Field, *, is_answerable: bool) -> None:
    assert decisions_prompt.is_answerable(field) is is_answerable


def test_free_text_is_never_asked() -> None:
    with pytest.raises(TypeError, match="insights"):
        decisions_prompt.questions(("r01",), REVIEW)
