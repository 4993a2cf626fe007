"""A person's way through a sample: what comes next, and that file and archive say the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from archived import all_of, opened
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt.cache.archive import Archive
from reviewopt.cache.people import People
from reviewopt.config import load_task
from reviewopt.human import Answers
from reviewopt.reviewing import Review

TASK = load_task("sentiment")
FORMS = ["good", "bad", "good", "so so", "bad"]
DRAWN = pl.DataFrame(
    {"row": [40, 7, 19, 3, 25], "review_id": list("abcde"), "form": FORMS, "tenant": [None] * 5},
    schema_overrides={"tenant": pl.String},
)
SHEETS = st.dictionaries(st.sampled_from(DRAWN["row"].to_list()), st.sampled_from([*TASK.labels, None]), max_size=3)
STEPS = st.lists(st.sampled_from([*TASK.labels, "skip", "undo"]) | SHEETS, max_size=15)


@pytest.fixture
def archive() -> Iterator[Archive]:
    with opened(Path("home")) as made:
        yield made


def review_of(answers: Answers, archive: Archive | None = None, drawn: pl.DataFrame = DRAWN) -> Review:
    people = None if archive is None else People(archive, TASK, isolated=False)
    return Review(drawn, answers, people, clock=lambda: 7.0)


def answers_at(name: str = "answers") -> Answers:
    return Answers(Path("home/review") / f"{name}.jsonl", TASK.labels)


def kept(archive: Archive) -> dict[str, str]:
    return dict(all_of(archive).select("text", "answer").rows())


def said_of(answers: Answers) -> dict[str, str]:
    """What the answers make of each text: the last one counts."""
    form = dict(zip(DRAWN["row"].to_list(), FORMS, strict=True))
    return {form[row]: label for row, label in answers.given.items() if label}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_file_and_archive_say_the_same_after_every_step(
    archive: Archive, steps: list[str | dict[int, str | None]]
) -> None:
    archive.clear()
    path = Path("home/review/answers.jsonl")
    path.unlink(missing_ok=True)
    with answers_at() as answers:
        review = review_of(answers, archive)
        for step in steps:
            at = review.following()
            if isinstance(step, dict):
                review.take(step.items())
            elif step == "undo":
                review.undo()
            elif at is not None:
                review.answer(at, None if step == "skip" else step)
            assert kept(archive) == said_of(answers)


def test_the_order_is_that_of_the_sample_and_goes_on_where_it_stopped() -> None:
    with answers_at() as answers:
        review = review_of(answers)
        for label in ("positive", None):
            at = review.following()
            assert at is not None
            review.answer(at, label)
    with answers_at() as answers:
        review = review_of(answers)
        assert (review.following(), review.n_done, list(answers.given)) == (2, 2, [40, 7])


def test_what_is_taken_back_comes_next_and_then_the_first_open_one() -> None:
    with answers_at() as answers:
        review = review_of(answers)
        review.take([(40, "positive"), (3, "neutral"), (19, None)])
        assert review.following() == 1
        assert (review.undo(), review.following()) == (2, 2)
        assert (review.undo(), review.following()) == (3, 3)
        review.answer(3, "negative")
        assert review.following() == 1
        assert answers.given == {40: "positive", 3: "negative"}
        assert [review.undo(), review.undo(), review.undo()] == [3, 0, None]


def test_an_answer_outside_a_smaller_sample_is_neither_counted_nor_taken_back() -> None:
    with answers_at() as answers:
        review_of(answers).take([(40, "positive"), (25, "neutral")])
        small = review_of(answers, drawn=DRAWN[:2])
        assert (small.n_done, small.undo()) == (1, None)
        assert small.result("next").n_answered == 1
        assert answers.given == {40: "positive", 25: "neutral"}


def test_all_answered_leaves_nothing_to_come_and_says_how_far_it_came() -> None:
    with answers_at() as answers:
        review = review_of(answers)
        assert review.take([(40, "positive"), (7, None), (3, "neutral")]) == 3
        assert review.take([(40, "positive"), (7, "neutral")]) == 1, "what is said already is nothing new"
        made = review.result("do it")
        counts = (made.n_sample, made.n_answered, made.n_skipped, made.n_in_order, made.next_command)
        assert counts == (5, 3, 0, 2, "do it")
        review.take([(19, None), (25, "neutral")])
        assert review.following() is None
        assert review.result("").n_in_order == 5


def test_a_text_keeps_what_is_still_said_of_its_copy(archive: Archive) -> None:
    with answers_at() as answers:
        review = review_of(answers, archive)
        review.take([(40, "positive"), (19, "neutral")])
        assert kept(archive) == {"good": "neutral"}
        review.take([(19, None)])
        assert kept(archive) == {"good": "positive"}
        review.take([(40, None)])
        assert kept(archive) == {}


def test_answers_that_a_kill_kept_from_the_archive_are_put_there_by_the_next_run(archive: Archive) -> None:
    with answers_at() as answers:
        answers.append([(40, "positive"), (7, None), (19, "negative")])
    with answers_at() as answers:
        review_of(answers, archive)
        assert kept(archive) == {"good": "negative"}
        assert all_of(archive)["created_s"].to_list() == [7]
