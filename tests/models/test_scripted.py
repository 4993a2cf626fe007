"""A model that plays a script."""

from __future__ import annotations

import random
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from reviewopt.data import Question, Reply, Request
from reviewopt.models.protocol import Model
from reviewopt.models.scripted import Scripted


def request_of(model: Model, *texts: str) -> Request:
    questions = [Question(at=at, text=text, tenant=None, n_tokens=1) for at, text in enumerate(texts)]
    return model.compose(questions, random.Random(0))


def test_it_answers_by_text_whatever_the_order() -> None:
    model = Scripted(lambda text: text.upper())
    request = request_of(model, *"abcdefgh")
    reply = model.ask(request, 1)
    assert [value for _, value in reply.values] == [question.text.upper() for question in request.questions]
    assert [at for at, _ in reply.values] == list(request.ids)
    assert model.requests == [request]


def test_a_text_that_the_mapping_lacks_stays_unanswered() -> None:
    model = Scripted({"good": "positive"})
    reply = model.ask(request_of(model, "good", "unknown"), 1)
    assert (reply.outcome, [value for _, value in reply.values]) == ("answered", ["positive"])


def test_answers_are_charged_by_their_bytes_and_failures_are_not() -> None:
    model = Scripted({"good": "positive"}, faults={2: "rate_limited", 3: "no_reply"})
    request = request_of(model, "good" * 100)
    answered, limited, lost = (model.ask(request, 1) for _ in range(3))
    assert answered.usage is not None
    assert (answered.is_charged, answered.usage.input) == (True, len(request.body) // 4)
    assert (limited.is_charged, limited.usage) == (False, None)
    assert (lost.is_charged, lost.usage) == (True, None)


def test_faults_follow_the_script() -> None:
    whole = Reply(outcome="rate_limited", seconds=0.0, retry_after_s=2.0)
    model = Scripted({}, faults={1: "spoiled: not JSON", 3: whole})
    replies = [model.ask(request_of(model, "a"), 1) for _ in range(4)]
    assert [reply.outcome for reply in replies] == ["spoiled", "answered", "rate_limited", "answered"]
    assert replies[0].reason == "not JSON"
    assert replies[2] is whole


def test_faults_may_be_a_function_of_the_request() -> None:
    model = Scripted(
        lambda _: "x",
        faults=lambda _, request: "refused" if any(q.text == "poison" for q in request.questions) else None,
    )
    assert model.ask(request_of(model, "a", "poison"), 1).outcome == "refused"
    assert model.ask(request_of(model, "a"), 1).outcome == "answered"


def test_a_fault_that_is_none_says_which_there_are() -> None:
    model = Scripted({}, faults={1: "tired"})
    with pytest.raises(ValueError, match="rate_limited"):
        model.ask(request_of(model, "a"), 1)


def test_a_reply_slower_than_the_deadline_is_none() -> None:
    model = Scripted({"a": "x"}, latency_s=60.0)
    assert model.ask(request_of(model, "a"), 0.01).outcome == "no_reply"


def test_closing_ends_requests_under_way() -> None:
    model = Scripted({"a": "x"}, latency_s=60.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(model.ask, request_of(model, "a"), 60.0)
        model.close()
        assert waiting.result().outcome == "no_reply"


def test_it_steps_through_as_many_forms_as_it_is_given() -> None:
    model = Scripted({}, n_forms=3)
    assert not model.is_settled
    assert [model.simplify() for _ in range(3)] == [True, True, False]
    model.settle()
    assert model.is_settled
    assert Scripted({}).is_settled
    assert not Scripted({}).simplify()


def test_it_says_that_it_is_no_real_model() -> None:
    assert Scripted({}).is_simulated


def test_the_example_of_its_docstring_runs() -> None:
    documented = Scripted.__doc__ or ""
    example = textwrap.dedent(documented.partition("For example:\n\n")[2])
    assert "assert" in example
    exec(example, {"Scripted": Scripted, "Question": Question, "random": random})  # noqa: S102 - our own text
