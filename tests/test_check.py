"""Replies: what was asked, in the form that was asked for, counts; nothing else does, and nothing raises."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt.check import Answer, Checked, check
from reviewopt.data import Question, Reply, Request
from reviewopt.task import Choice, Field, Predicate, Score, Task, Text

FEELING = Choice(name="feeling", labels=("bad", "so so", "Good"))
STARS = Score(name="stars", low=1, high=5)
BUYS = Predicate(name="buys")
POINTS = Text(name="points", most_items=2, most_chars=12)
VALID = {"feeling": "bad", "stars": 4, "buys": True, "points": ["fits"]}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def task_of(*fields: Field) -> Task:
    return Task(name="t", instructions="decide", fields=fields)


def request_of(n: int) -> Request:
    questions = tuple(Question(at=at, text=f"text {at}", n_tokens=2) for at in range(n))
    return Request(questions=questions, ids=tuple(f"r{at + 1:02}" for at in range(n)), body=b"", most_output_tokens=1)


def said(task: Task, values: Sequence[tuple[str, object]], n: int = 1, **more: Any) -> Checked:
    return check(task, request_of(n), Reply(outcome="answered", seconds=0.0, values=tuple(values), **more))


def one(field: Field, value: object) -> object:
    """What a value for a field comes to: the label's index for a task of this field, None where it is not valid."""
    answer = said(task_of(field), [("r01", value)]).answers.get(0)
    return None if answer is None else answer.label


def other(field: Field, value: object) -> object:
    """What a value for a field after the first comes to, None where it is not valid."""
    checked = said(task_of(FEELING, field), [("r01", {"feeling": "bad", field.name: value})])
    return json.loads(checked.answers[0].rest)[field.name] if checked.answers else None


# Ids


@settings(deadline=None)
@given(
    n=st.integers(1, 8),
    values=st.lists(
        st.tuples(st.sampled_from([f"r{at:02}" for at in range(12)] + ["", "R01", "1"]), JSON | st.just("bad")),
        max_size=16,
    ),
)
def test_every_question_is_answered_or_missing_and_no_other_id_counts(n: int, values: list[tuple[str, object]]) -> None:
    checked = said(task_of(FEELING), values, n)
    assert {*checked.answers} | {*checked.missing} == set(range(n))
    assert not {*checked.answers} & {*checked.missing}
    assert {f"r{at + 1:02}" for at in checked.answers} <= {id_ for id_, _ in values}
    assert all(checked.missing.values())


def test_an_answer_belongs_to_the_question_whose_id_it_has_whatever_the_order() -> None:
    checked = said(task_of(FEELING), [("r03", "bad"), ("r01", "Good"), ("r02", "so so")], 3)
    assert [checked.answers[at].label for at in range(3)] == [2, 1, 0]


def test_unknown_ids_are_passed_over() -> None:
    checked = said(task_of(FEELING), [("r02", "bad"), ("R01", "bad"), ("r1", "bad"), (" r01", "bad")])
    assert checked.answers == {}
    assert checked.missing == {0: "the reply leaves it out"}


def test_an_id_that_comes_twice_with_one_meaning_counts_once() -> None:
    checked = said(task_of(FEELING), [("r01", "bad"), ("r01", " BAD "), ("r02", "Good")], 2)
    assert {at: answer.label for at, answer in checked.answers.items()} == {0: 0, 1: 2}


@pytest.mark.parametrize(
    "values", [["bad", "Good"], ["bad", "Good", "bad"], ["bad", "nonsense"], ["nonsense", "bad"], ["bad", None]]
)
def test_an_id_that_comes_twice_with_two_meanings_counts_not_at_all(values: list[object]) -> None:
    checked = said(task_of(FEELING), [*(("r01", value) for value in values), ("r02", "Good")], 2)
    assert (list(checked.answers), list(checked.missing)) == ([1], [0])


def test_two_answers_that_differ_in_a_later_field_alone_count_not_at_all() -> None:
    task = task_of(FEELING, STARS)
    values: list[dict[str, object]] = [{"feeling": "bad", "stars": 1}, {"feeling": "bad", "stars": 2}]
    assert said(task, [("r01", value) for value in values]).answers == {}
    assert len(said(task, [("r01", values[0]), ("r01", dict(values[0]))]).answers) == 1


def test_what_is_left_out_takes_the_reason_of_the_reply() -> None:
    assert said(task_of(FEELING), [], reason="the reply was cut").missing == {0: "the reply was cut"}


# Fields


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("bad", 0), ("Bad", 0), (" BAD\n", 0), ("good", 2), ("SO SO", 1), ("so  so", None), ("", None), ("ba", None),
        ("bad.", None), (0, None), (0.0, None), (True, None), (None, None), (math.nan, None), (10**400, None),
        (["bad"], None), ({"feeling": "bad"}, 0), ({"feeling": None}, None), ({"mood": "bad"}, None), ({}, None),
        ({"feeling": {"feeling": "bad"}}, None), ("\ud800", None), ("bad\x00", None),
    ],
)  # fmt: skip
def test_a_choice_is_one_of_its_labels_in_any_case(value: object, label: int | None) -> None:
    assert one(FEELING, value) == label


@pytest.mark.parametrize(
    ("labels", "value", "label"),
    [
        (("1", "2", "3", "4", "5"), 4, 3), (("1", "2"), 3, None), (("1", "2"), True, None), (("1", "2"), 1.0, None),
        (("-1", "1"), -1, 0), (("007", "8"), 7, None), (("1", "2"), 1 << 64, None),
        (("yes", "no"), True, 0), (("Yes", "No", "unclear"), False, 1), (("true", "false"), True, 0),
        (("True", "False"), False, 1), (("yes", "true", "no", "false"), True, 1), (("yes", "maybe"), True, None),
    ],
)  # fmt: skip
def test_a_number_or_a_truth_that_spells_a_label_is_that_label(
    labels: tuple[str, ...], value: object, label: int | None
) -> None:
    field = Choice(name="f", labels=labels)
    assert one(field, value) == label
    assert other(field, value) == (None if label is None else labels[label])


def test_a_number_too_long_to_print_is_no_label() -> None:
    assert one(FEELING, 10**5000) is None


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (4, "a number"), (0.5, "a number"), (True, "a boolean"), (None, "nothing"), ([], "a list"),
        ({"feeling": {}}, "an object"), ((), "something else"), ("x", "a text of 1 character"),
        ("xy", "a text of 2 characters"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_beside_the_labels(value: object, named: str) -> None:
    checked = said(task_of(FEELING), [("r01", value)])
    assert checked.missing == {0: f"{named} is no label of feeling (bad, so so, Good)"}


@pytest.mark.parametrize(("n", "shown"), [(5, "1, 2, 3, 4, 5"), (6, "1, 2, 3, 4, 5, ...")])
def test_at_most_five_labels_are_named(n: int, shown: str) -> None:
    task = task_of(Score(name="stars", low=1, high=n), POINTS)
    checked = said(task, [("r01", {"stars": 9, "points": ""})])
    assert checked.missing == {0: f"a number is no label of stars ({shown})"}


def test_the_exact_label_goes_before_one_that_differs_in_case() -> None:
    field = Choice(name="f", labels=("US", "us", "them"))
    assert [one(field, value) for value in ("US", "us", "Us", "THEM")] == [0, 1, None, None]


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (1, 0), (5, 4), (4.0, 3), ("4", 3), (" 4 ", 3), ("+4", 3), (0, None), (6, None), (4.5, None),
        ("4.0", None), ("4.", None), ("4.01", None), ("4 stars", None), ("four", None),
        (True, None), (False, None), (None, None), (math.nan, None),
        (math.inf, None), (-math.inf, None), (1e308, None), (10**400, None), ("4" * 5000, None), ("-4", None),
        ("", None), (" ", None), ("+", None), ("²", None), ([4], None), ({"stars": 4}, 3), ({"stars": [4]}, None),
    ],
)  # fmt: skip
def test_a_score_is_a_whole_number_within_its_bounds(value: object, level: int | None) -> None:
    assert one(STARS, value) == level


@pytest.mark.parametrize("value", ["--4", "+-4", "-+4", "++4", "+-+4"])
def test_a_number_with_two_signs_is_none(value: str) -> None:
    assert one(STARS, value) is None


def test_a_score_below_nothing_keeps_its_sign() -> None:
    field = Score(name="s", low=-2, high=2)
    assert [one(field, value) for value in (-2, "-2", -1.0, "+2", 2, -3)] == [0, 0, 1, 4, 4, None]
    assert [other(field, value) for value in (-2, "-1", 0.0)] == [-2, -1, 0]


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (True, 1), (False, 0), ("yes", 1), ("No", 0), (" YES ", 1), ("true", None), (1, None), (0, None), (1.0, None),
        (None, None), ("", None), ({"buys": True}, 1), ([True], None),
    ],
)  # fmt: skip
def test_a_predicate_is_yes_no_or_a_boolean(value: object, label: int | None) -> None:
    assert one(BUYS, value) == label


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        (FEELING, "GOOD", "Good"), (STARS, 4.0, 4), (STARS, "2", 2), (BUYS, True, "yes"), (BUYS, "NO", "no"),
        (FEELING, "great", None), (STARS, True, None), (STARS, 9, None), (BUYS, 1, None), (FEELING, None, None),
    ],
)  # fmt: skip
def test_a_later_field_is_kept_as_its_label_or_number(field: Field, value: object, kept: object) -> None:
    if field is FEELING:
        field = Choice(name="second", labels=FEELING.labels)
    assert other(field, value) == kept


@pytest.mark.parametrize("missing", ["feeling", "stars", "buys", "points"])
def test_an_object_that_lacks_a_field_is_no_answer_and_the_reason_names_it(missing: str) -> None:
    value = {name: one_ for name, one_ in VALID.items() if name != missing}
    checked = said(task_of(FEELING, STARS, BUYS, POINTS), [("r01", value)])
    assert not checked.answers
    assert missing in checked.missing[0]


def test_fields_that_were_not_asked_for_are_passed_over() -> None:
    checked = said(task_of(FEELING, STARS), [("r01", {**VALID, "cost": 3, "note": {"a": []}})])
    assert checked.answers[0].rest == '{"stars":4}'


@pytest.mark.parametrize("value", ["bad", None, 3, ["bad", 4], True, "{}"])
def test_a_task_of_several_fields_wants_an_object(value: object) -> None:
    assert said(task_of(FEELING, STARS), [("r01", value)]).missing == {0: "not an object with the fields asked for"}


# Text


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("fits", "fits"),
        (["fits", "warm"], "fits; warm"),
        (["fits", "", "  ", "warm", "cheap"], "fits; warm"),
        ([], ""),
        ("", ""),
        ("a\nb\tc\r\x00\x1b[31m d", "a b c [31m d"),
        ("x" * 100, "x" * 12),
        (["a" * 100, "b" * 100], f"{'a' * 12}; {'b' * 12}"),
        ("\u202eevil\u2066", "evil"),
        ("\ud800ok", "ok"),
        (None, None),
        (3, None),
        (True, None),
        (["fits", 3], None),
        (["fits", None], None),
        ({"points": "fits"}, None),
        ([["fits"]], None),
    ],
)
def test_text_is_joined_cleaned_and_bounded(value: object, kept: str | None) -> None:
    assert other(POINTS, value) == kept


@settings(deadline=None)
@given(value=st.text(st.characters(), max_size=60) | st.lists(st.text(st.characters(), max_size=40), max_size=6))
def test_text_has_no_more_than_was_allowed_and_nothing_that_does_not_print(value: object) -> None:
    kept = other(POINTS, value)
    assert isinstance(kept, str)
    assert len(kept) <= POINTS.most_items * POINTS.most_chars + len("; ")
    assert kept.isprintable()
    assert not any(unicodedata.category(character) in {"Cc", "Cf", "Cs"} for character in kept)


# Any reply at all


@settings(deadline=None, max_examples=100)
@given(
    fields=st.lists(st.sampled_from([FEELING, STARS, BUYS]), min_size=1, max_size=3, unique_by=str),
    value=JSON
    | st.fixed_dictionaries({name: JSON | st.just(good) for name, good in VALID.items()})
    | st.text(st.sampled_from("+-0123456789. "), max_size=7),
)
def test_no_reply_raises(fields: list[Field], value: object) -> None:
    for task in (task_of(*fields), task_of(*fields, POINTS)):
        checked = said(task, [("r01", value)])
        assert len(checked.answers) + len(checked.missing) == 1
        for answer in checked.answers.values():
            assert 0 <= answer.label < len(task.labels)


def test_a_reason_never_repeats_what_the_reply_says() -> None:
    for value in ("call 555-0199 now", {"feeling": "call 555-0199 now"}, ["call 555-0199 now"]):
        for task in (task_of(FEELING), task_of(FEELING, STARS)):
            assert "555" not in said(task, [("r01", value)]).missing[0]


# Confidence


@pytest.mark.parametrize(
    ("told", "kept"), [({"r01": 0.5}, 0.5), ({"r01": 0.0}, 0.0), ({"r01": 1.0}, 1.0), ({}, math.nan),
                       ({"r02": 0.5}, math.nan), ({"r01": math.nan}, math.nan), ({"r01": 1.5}, math.nan),
                       ({"r01": -0.1}, math.nan), ({"r01": math.inf}, math.nan)],
)  # fmt: skip
def test_a_confidence_is_a_probability_or_not_known(told: Mapping[str, float], kept: float) -> None:
    answer = said(task_of(FEELING), [("r01", "bad")], confidence=told).answers[0]
    assert (answer.label, answer.rest) == (0, "")
    assert answer.confidence == kept or (math.isnan(answer.confidence) and math.isnan(kept))
    assert isinstance(answer, Answer)
