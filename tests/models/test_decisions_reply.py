"""From what came over the wire to a typed decision's reply: answers by name, refusals, and every kind of damage."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_chat_prompt import SENTIMENT

from reviewopt.check import check
from reviewopt.data import Outcome, Question, Reply, Request, Usage
from reviewopt.models import decisions_prompt, decisions_reply
from reviewopt.models.http import Exchange, Problem
from reviewopt.models.reasons import Caller
from reviewopt.task import Choice, Field, Predicate, Score, Task, Text

CANARY = "sk-canary-0123456789"
CALLER = Caller(endpoint="https://h.example/v1", model="m", key_variable="MY_KEY", key=CANARY)
SECRET_REVIEW = "My neighbour Ann Example of 12 Long Street says that the lamp is broken."
USAGE = {"input_tokens": 100, "output_tokens": 0, "total_tokens": 100}
STARS = Task(name="stars", instructions="x", fields=(Score(name="stars", low=1, high=5),))
BUYS = Task(name="buys", instructions="x", fields=(Predicate(name="buys"),))
THREE = Task(
    name="three",
    instructions="x",
    fields=(
        Choice(name="feeling", labels=("bad", "good")),
        Score(name="stars", low=1, high=5),
        Predicate(name="buys"),
    ),
)


def request_of(*ids: str) -> Request:
    questions = tuple(Question(at=at, text=SECRET_REVIEW, tenant=None, n_tokens=9) for at in range(len(ids)))
    return Request(questions=questions, ids=ids, body=b"{}", most_output_tokens=0)


REQUEST = request_of("r01", "r02")


def read(
    body: object, status: int = 200, *, task: Task = SENTIMENT, request: Request = REQUEST, **headers: str
) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    exchange = Exchange(seconds=0.5, status=status, headers=names, body=raw)
    return decisions_reply.read(exchange, request, task, CALLER)


def answers(*given: object, task: Task = SENTIMENT, ids: tuple[str, ...] = ("r01", "r02")) -> Reply:
    return read({"answers": list(given), "model": "m", "usage": USAGE}, task=task, request=request_of(*ids))


def chosen(name: str | None, value: object, probability: object = 0.9) -> dict[str, Any]:
    listed = [{"value": value, "probability": probability}, {"value": "another", "probability": 0.05}]
    return {"type": "choice", "name": name, "choice": value, "confidence": probability, "probabilities": listed}


def scored(name: str | None, *shares: object) -> dict[str, Any]:
    levels = [{"label": str(at + 1), "value": at, "probability": share} for at, share in enumerate(shares)]
    return {"type": "score", "name": name, "score": 1.5, "confidence": 0.4, "probabilities": levels}


def stated(name: str | None, probability: object) -> dict[str, Any]:
    return {"type": "predicate", "name": name, "probability": probability}


def refused(name: str | None) -> dict[str, Any]:
    return {"type": "refusal", "name": name}


# Answers


def test_a_whole_reply_is_answered() -> None:
    body = {"answers": [chosen("r01", "positive", 0.9), chosen("r02", "neutral", 0.5)], "usage": USAGE}
    reply = read(body, x_request_id="req_7")
    assert reply.outcome == "answered"
    assert reply.values == (("r01", "positive"), ("r02", "neutral"))
    assert reply.confidence == {"r01": 0.9, "r02": 0.5}
    assert reply.usage == Usage(input=100)
    assert (reply.is_charged, reply.seconds, reply.request_id, reply.reason) == (True, 0.5, "req_7", "")


def test_the_probability_of_what_was_chosen_counts_before_the_confidence() -> None:
    listed = {**chosen("r01", "positive", 0.8), "confidence": 0.3}
    assert answers(listed).confidence == {"r01": 0.8}
    assert answers({**listed, "probabilities": None}).confidence == {"r01": 0.3}
    assert answers({**listed, "probabilities": [], "confidence": None}).confidence == {}
    twice = [{"value": "positive", "probability": share} for share in (0.8, 0.1)]
    assert answers({**listed, "probabilities": twice}).confidence == {"r01": 0.3}


@pytest.mark.parametrize(
    ("probability", "value", "confidence"),
    [(0.5, "yes", 0.5), (0.9, "yes", 0.9), (0.25, "no", 0.75), (0, "no", 1.0), (1, "yes", 1.0)],
)
def test_a_predicate_is_yes_from_a_half_and_as_sure_as_the_answer_given(
    probability: float, value: str, confidence: float
) -> None:
    reply = answers(stated("r01", probability), task=BUYS)
    assert (reply.values, reply.confidence) == ((("r01", value),), {"r01": confidence})


def test_a_score_is_its_likeliest_level_and_not_the_mean() -> None:
    reply = answers(scored("r01", 0.4, 0.05, 0.05, 0.2, 0.3), task=STARS)
    assert (reply.values, reply.confidence) == ((("r01", 1),), {"r01": 0.4})


def test_levels_count_from_0_where_they_have_no_labels() -> None:
    bare = scored("r01", 0.1, 0.1, 0.1, 0.1, 0.6)
    for level in bare["probabilities"]:
        del level["label"]
    assert answers(bare, task=STARS).values == (("r01", 5),)


@pytest.mark.parametrize(("expected", "value"), [(0, 1), (0.49, 1), (0.5, 2), (2.5, 4), (4.0, 5)])
def test_a_score_without_probabilities_is_the_level_next_to_it_and_not_sure(expected: float, value: int) -> None:
    reply = answers({"type": "score", "name": "r01", "score": expected, "confidence": 0.9}, task=STARS)
    assert (reply.values, reply.confidence) == ((("r01", value),), {})


def test_several_fields_are_an_object_by_field_with_the_firsts_confidence() -> None:
    reply = answers(
        chosen("r01.feeling", "good", 0.7), scored("r01.stars", 0.1, 0.1, 0.1, 0.6, 0.1), stated("r01.buys", 0.2),
        task=THREE,
    )  # fmt: skip
    assert reply.values == (("r01", {"feeling": "good", "stars": 4, "buys": "no"}),)
    assert reply.confidence == {"r01": 0.7}


# Names


def test_answers_are_found_by_name_in_any_order() -> None:
    reply = answers(chosen("r02", "neutral"), chosen("r01", "positive"))
    assert dict(reply.values) == {"r01": "positive", "r02": "neutral"}


def test_answers_without_names_are_those_of_their_places() -> None:
    for names in ((None, None), ("r01", None), (None, "r02")):
        reply = answers(chosen(names[0], "positive"), chosen(names[1], "neutral"))
        assert dict(reply.values) == {"r01": "positive", "r02": "neutral"}
    absent = [{key: value for key, value in chosen(None, "positive").items() if key != "name"} for _ in range(2)]
    assert len(answers(*absent).values) == 2


@pytest.mark.parametrize(
    "given",
    [
        [chosen(None, "positive")],
        [chosen(None, "positive"), chosen(None, "neutral"), chosen(None, "neutral")],
        [chosen("r02", "positive"), chosen(None, "neutral")],
        [chosen("zz99", "positive"), chosen(None, "neutral")],
    ],
)
def test_places_count_only_where_every_question_has_its_answer(given: list[dict[str, Any]]) -> None:
    assert "neutral" not in dict(answers(*given).values).values()
    assert "r01" not in dict(answers(*given).values)


def test_a_name_that_was_not_asked_is_passed_over() -> None:
    named = [chosen(name, "negative") for name in ("r03", "r01.sentiment", "R01", "", "__class__")]
    assert answers(*named, chosen("r01", "positive")).values == (("r01", "positive"),)
    assert answers(*named).outcome == "spoiled"


def test_an_answer_to_one_field_is_none_to_another() -> None:
    reply = answers(chosen("r01.stars", "good"), chosen("r01.feeling", "good"), stated("r01.buys", 1), task=THREE)
    assert dict(reply.values)["r01"] == {"feeling": "good", "stars": None, "buys": "yes"}
    assert check(THREE, REQUEST, reply).missing[0] == "no valid answer for stars"


def test_a_question_that_is_answered_twice_in_two_ways_is_not_answered() -> None:
    once = (chosen("r01.feeling", "good"), scored("r01.stars", 1, 0, 0, 0, 0), stated("r01.buys", 1))
    for again in (chosen("r01.feeling", "bad"), scored("r01.stars", 0, 1, 0, 0, 0), stated("r01.buys", 0)):
        checked = check(THREE, request_of("r01"), answers(*once, again, task=THREE, ids=("r01",)))
        assert checked.missing == {0: "answered twice, in two ways"}
    same = check(THREE, request_of("r01"), answers(*once, *once, task=THREE, ids=("r01",)))
    assert not same.missing


# Refusals


def test_a_refused_review_leaves_the_others_alone() -> None:
    reply = answers(refused("r01"), chosen("r02", "neutral"))
    assert (reply.outcome, reply.values, reply.confidence) == ("answered", (("r02", "neutral"),), {"r02": 0.9})
    assert reply.reason == "the model refused 1 of 2 reviews"


@pytest.mark.parametrize("name", ["r01", None])
def test_a_refusal_counts_with_a_name_and_without(name: str | None) -> None:
    assert dict(answers(refused(name), chosen("r02", "neutral")).values) == {"r02": "neutral"}


def test_a_review_of_which_one_field_is_refused_has_no_answer() -> None:
    whole = [chosen("r01.feeling", "good"), scored("r01.stars", 1, 0, 0, 0, 0), stated("r01.buys", 1)]
    for at in range(3):
        given = [refused(one["name"]) if where == at else one for where, one in enumerate(whole)]
        reply = answers(*given, task=THREE, ids=("r01",))
        assert (reply.outcome, reply.values, reply.reason) == ("refused", (), "the model refused")


def test_an_answer_beside_a_refusal_of_the_same_question_does_not_count() -> None:
    for both in ((refused("r01"), chosen("r01", "positive")), (chosen("r01", "positive"), refused("r01"))):
        reply = answers(*both, ids=("r01",))
        assert (reply.outcome, reply.confidence) == ("refused", {})


def test_only_a_request_that_is_refused_as_a_whole_is_refused_and_charged() -> None:
    reply = answers(refused("r01"), refused("r02"))
    assert (reply.outcome, reply.is_charged, reply.usage) == ("refused", True, Usage(input=100))
    assert answers(refused("r01")).outcome == "spoiled"


# Damage


@pytest.mark.parametrize(
    "probability", [None, -0.1, 1.1, 99, "0.5", True, [0.5], {}, math.nan, math.inf, 10**17, 10**400]
)
def test_an_impossible_probability_is_none(probability: object) -> None:
    assert answers(chosen("r01", "positive", probability), ids=("r01",)).confidence == {}
    for task, answer in ((BUYS, stated("r01", probability)), (STARS, scored("r01", probability, 0, 0, 0, 0))):
        reply = answers(answer, chosen("r02", "x"), task=task)
        assert dict(reply.values)["r01"] is None
        assert check(task, REQUEST, reply).missing[0]


@pytest.mark.parametrize(
    "answer",
    [
        None, 7, "positive", [], {}, {"name": "r01"}, {"type": "choice", "name": "r01"}, chosen("r01", None),
        chosen("r01", 7), chosen("r01", ["positive"]), chosen("r01", True), chosen("r01", "banana"),
        stated("r01", 0.9), {**chosen("r01", "positive"), "type": "Choice"}, {**chosen("r01", "x"), "type": None},
        {**chosen("r01", "positive"), "name": 1}, {**chosen("r01", "positive"), "name": ["r01"]},
        chosen("r01", "x" * 10_000),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_leaves_its_neighbour_alone(answer: object) -> None:
    reply = answers(answer, chosen("r02", "neutral"))
    checked = check(SENTIMENT, REQUEST, reply)
    assert (set(checked.answers), set(checked.missing)) == ({1}, {0})
    assert "banana" not in checked.missing[0]


@pytest.mark.parametrize(
    "levels",
    [
        [{"label": "6", "probability": 0.9}], [{"value": 5, "probability": 0.9}], [{"value": -1, "probability": 0.9}],
        [{"value": True, "probability": 0.9}], [{"value": 0.0, "probability": 0.9}], [{"probability": 0.9}], [None],
        [{"label": "1", "probability": 0.5}, {"label": "1", "probability": 0.5}],
        [{"label": "many", "probability": 0.9}], [{"label": "+1", "probability": 0.9}], [{"label": "", "value": 0}],
        [{"value": 4, "probability": 0.9}, {"value": 5, "probability": 0.1}],
    ],
)  # fmt: skip
def test_levels_that_were_not_asked_are_no_answer(levels: list[Any]) -> None:
    reply = answers({**scored("r01"), "probabilities": levels}, task=STARS)
    assert check(STARS, REQUEST, reply).missing[0]


@pytest.mark.parametrize("score", [None, "4", True, -0.6, 4.5, 99, 1e300, math.nan, math.inf, 10**400])
def test_a_score_beyond_the_levels_is_no_answer(score: object) -> None:
    reply = answers({"type": "score", "name": "r01", "score": score}, task=STARS)
    assert check(STARS, REQUEST, reply).missing[0]


def test_one_number_that_is_not_json_spoils_no_other_answer() -> None:
    whole = json.dumps({"answers": [stated("r01", 0.123), stated("r02", 0.9)], "usage": USAGE})
    for bad in ("NaN", "Infinity", "1e999", "7" * 5000):
        reply = read(whole.replace("0.123", bad).encode(), task=BUYS)
        assert set(check(BUYS, REQUEST, reply).answers) == {1}
        assert reply.usage == Usage(input=100)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>hello</html>", b"[" * 100_000, b'{"answers":' * 100_000, b'{"answers": ' + b"[" * 100_000,
        b"NaN", b"\xff\xfe", b"null", b"[]", b"7", b'""', b"{}", b'{"answers": null}', b'{"answers": {}}',
        b'{"answers": []}', b'{"answers": [{}]}', b'{"answers": [null]}', b'{"answers": "r01"}', b'{"usage": NaN}',
        b'{"answers": [{"type": "choice", "name": "r01", "choice": "pos',
        b'{"error": {"message": "overloaded", "code": 503}}', b'{"error": "overloaded"}', b'{"choices": []}',
    ],
)  # fmt: skip
def test_a_body_without_answers_is_spoiled_and_charged(body: bytes) -> None:
    reply = read(body)
    assert (reply.outcome, reply.is_charged, reply.values) == ("spoiled", True, ())
    assert reply.reason


def test_an_error_with_status_200_is_told() -> None:
    assert "overloaded" in read({"error": {"message": "overloaded"}}).reason
    assert "canary" not in read({"error": {"message": f"no {CANARY}"}}).reason
    assert "neighbour" not in read({"error": {"message": SECRET_REVIEW}}).reason


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 9}, Usage(input=9)),
        ({"input_tokens": 9, "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 3}}, Usage(input=9)),
        (
            {"input_tokens": 90, "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 8}},
            Usage(input=90, cached=64, cache_write=8),
        ),
        ({"input_tokens": 9, "input_tokens_details": None}, Usage(input=9)),
        ({"input_tokens": -1}, None),
        ({"input_tokens": 9.5}, None),
        ({"input_tokens": True}, None),
        ({"input_tokens": 1 << 31}, None),
        ({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 10}}, None),
        ({"output_tokens": 9}, None),
        (None, None),
        ([], None),
        ("many", None),
    ],
)
def test_only_input_is_counted_and_what_cannot_be_counts_as_none(usage: object, expected: Usage | None) -> None:
    reply = read({"answers": [chosen("r01", "positive")], "usage": usage})
    assert (reply.outcome, reply.is_charged, reply.usage) == ("answered", True, expected)


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (429, {}, "rate_limited"),
        (429, {"code": "insufficient_quota"}, "hopeless"),
        (401, {}, "hopeless"),
        (404, {}, "hopeless"),
        (307, {}, "hopeless"),
        (400, {"code": "content_filter"}, "refused"),
        (400, {"code": "context_length_exceeded"}, "spoiled"),
        (413, {}, "spoiled"),
        (422, {}, "unsupported"),
        (503, {}, "unavailable"),
    ],
)
def test_an_error_is_judged_as_a_chats_is(status: int, error: dict[str, Any], outcome: Outcome) -> None:
    reply = read({"error": {"message": "no", **error}}, status, retry_after="2")
    assert (reply.outcome, reply.is_charged, reply.usage) == (outcome, False, None)
    assert reply.retry_after_s == (2.0 if outcome in {"rate_limited", "unavailable"} else None)
    assert str(status) in reply.reason


@pytest.mark.parametrize(
    ("problem", "status", "outcome", "is_charged"),
    [
        ("unsent", 0, "unavailable", False),
        ("forbidden", 0, "hopeless", False),
        ("lost", 0, "no_reply", True),
        ("lost", 200, "no_reply", True),
        ("unreadable", 200, "spoiled", True),
    ],
)
def test_what_was_not_sent_is_not_charged_and_what_was_lost_may_be(
    problem: Problem, status: int, outcome: Outcome, *, is_charged: bool
) -> None:
    exchange = Exchange(seconds=1.0, status=status, headers={}, problem=problem, reason="why it went wrong")
    reply = decisions_reply.read(exchange, REQUEST, SENTIMENT, CALLER)
    assert (reply.outcome, reply.is_charged, reply.usage) == (outcome, is_charged, None)
    assert "why it went wrong" in reply.reason


# Whatever comes

JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "name", "answers", "value"]) | st.text(max_size=5), inner, max_size=4
        )
    ),
    max_leaves=15,
)
TASKS = (SENTIMENT, STARS, BUYS, THREE)
NAMES = ("r01", "r02", "r03", "r01.feeling", "r01.stars", "r01.buys", "r02.feeling")
ODD_ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["choice", "score", "predicate", "refusal"]) | JSONISH,
        "name": st.sampled_from(NAMES) | JSONISH,
        "choice": st.sampled_from(["positive", "good"]) | JSONISH,
        "probability": st.floats(-1, 2) | JSONISH,
        "score": st.floats(-1, 6) | JSONISH,
        "confidence": st.floats(-1, 2) | JSONISH,
        "probabilities": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "value": st.integers(-1, 5) | st.just("good") | JSONISH,
                    "label": st.sampled_from("123456") | JSONISH,
                    "probability": st.floats(0, 1) | JSONISH,
                },
            ),
            max_size=5,
        )
        | JSONISH,
    },
)


@settings(deadline=None)
@given(given_answers=st.lists(ODD_ANSWERS | JSONISH, max_size=8), usage=JSONISH, task=st.sampled_from(TASKS))
def test_no_answer_is_too_odd_to_be_judged(given_answers: list[Any], usage: object, task: Task) -> None:
    reply = read(json.dumps({"answers": given_answers, "usage": usage}).encode(), task=task)
    assert reply.outcome in {"answered", "spoiled", "refused"}
    assert set(dict(reply.values)) <= {"r01", "r02"}
    assert all(0 <= value <= 1 for value in reply.confidence.values())
    json.dumps(reply.values, allow_nan=False).encode()
    checked = check(task, REQUEST, reply)
    assert set(checked.answers) | set(checked.missing) == {0, 1}
    assert not set(checked.answers) & set(checked.missing)


@settings(deadline=None)
@given(body=st.binary(max_size=300) | JSONISH.map(json.dumps).map(str.encode), status=st.integers(100, 999))
def test_no_body_is_too_odd_to_be_judged(body: bytes, status: int) -> None:
    reply = read(body, status)
    assert reply.outcome == "answered" or reply.reason


@st.composite
def fields(draw: st.DrawFn) -> tuple[Field, ...]:
    """Up to four fields of any kind that can be asked."""
    made: list[Field] = []
    for at in range(draw(st.integers(1, 4))):
        name, low = f"f{at}", draw(st.integers(-3, 3))
        labels = draw(st.lists(st.text("abcXYZ", min_size=1, max_size=3), min_size=2, max_size=5, unique_by=str.lower))
        kinds: tuple[Field, ...] = (
            Choice(name=name, labels=tuple(labels)),
            Predicate(name=name),
            Score(name=name, low=low, high=low + draw(st.integers(1, 9))),
        )
        made.append(draw(st.sampled_from(kinds)))
    return tuple(made)


def labels_of(field: Field) -> tuple[str, ...]:
    assert not isinstance(field, Text)
    return field.labels


@settings(deadline=None)
@given(asked=fields(), data=st.data())
def test_whatever_was_asked_is_read_as_it_was_answered(asked: tuple[Field, ...], data: st.DataObject) -> None:
    task = Task(name="t", instructions="x", fields=asked)
    ids = ("r01", "r02", "r03")
    said: list[dict[str, Any]] = []
    meant: dict[str, list[int]] = {}
    for question, (_, review_id, field) in zip(
        decisions_prompt.questions(ids, task), decisions_prompt.question_names(ids, task), strict=True
    ):
        labels = labels_of(field)
        at = data.draw(st.integers(0, len(labels) - 1))
        meant.setdefault(review_id, []).append(at)
        name, low = question["name"], 0.2 / (len(labels) - 1)
        shares = [0.8 if one == at else low for one in range(len(labels))]
        if question["type"] == "choice":
            values = [choice["value"] for choice in question["choices"]]
            listed = [{"value": one, "probability": share} for one, share in zip(values, shares, strict=True)]
            said.append({"type": "choice", "name": name, "choice": values[at], "probabilities": listed})
        elif question["type"] == "predicate":
            said.append(stated(name, shares[1]))
        else:
            levels = [
                {"label": level["label"], "value": one, "probability": share}
                for one, (level, share) in enumerate(zip(question["levels"], shares, strict=True))
            ]
            said.append({"type": "score", "name": name, "score": 0.0, "probabilities": levels})
    if data.draw(st.booleans()):
        said = data.draw(st.permutations(said))
    reply = answers(*said, task=task, ids=ids)
    checked = check(task, request_of(*ids), reply)
    assert not checked.missing
    for place, review_id in enumerate(ids):
        found = checked.answers[place]
        assert found.label == meant[review_id][0]
        assert found.confidence == pytest.approx(0.8)
        rest = json.loads(found.rest) if found.rest else {}
        for field, at in zip(asked[1:], meant[review_id][1:], strict=True):
            assert str(rest[field.name]) == labels_of(field)[at]
