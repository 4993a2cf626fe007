"""The kind `decisions`, over a real connection."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from served import Asked, http, serve
from test_chat_prompt import ANY_TEXT, SENTIMENT
from test_decisions_prompt import TYPED

from reviewopt import pricing
from reviewopt.data import Question, Usage
from reviewopt.models import chat_prompt
from reviewopt.models.decisions import Decisions, open_decisions
from reviewopt.pack import Bounds
from reviewopt.prices import find
from reviewopt.settings import ModelSettings, OwnPrice
from reviewopt.task import Predicate, Task

CANARY = "sk-canary-0123456789"


@contextmanager
def opened(base_url: str = "https://h.example/v1", task: Task = SENTIMENT, **more: Any) -> Iterator[Decisions]:
    merged = {"kind": "decisions", "model": "small", "base_url": base_url, "api_key_env": "MY_KEY", **more}
    model = open_decisions(
        "mine", ModelSettings(**merged), task, threads=2, memory=Path("unused"), environment={"MY_KEY": CANARY}
    )
    try:
        yield model
    finally:
        model.close()


def ask_about(texts: Sequence[str]) -> list[Question]:
    return [Question(at=at, text=text, n_tokens=1) for at, text in enumerate(texts)]


def body_of(model: Decisions, texts: Sequence[str] = ("good", "bad"), seed: int = 0) -> dict[str, Any]:
    body = json.loads(model.compose(ask_about(texts), random.Random(seed)).body)
    assert isinstance(body, dict)
    return body


# What is sent


def test_a_request_is_one_text_and_a_question_a_review() -> None:
    with opened() as model:
        body = body_of(model)
    assert set(body) == {"model", "input", "questions"}
    assert body["model"] == "small"
    assert sorted(text for _, text in chat_prompt.blocks_in(body["input"])) == ["bad", "good"]
    assert [question["name"] for question in body["questions"]] == ["r01", "r02"]


def test_reviews_are_shuffled_and_stand_in_the_order_of_their_ids() -> None:
    texts = [f"review {at}" for at in range(30)]
    with opened() as model:
        orders = set()
        for seed in range(3):
            request = model.compose(ask_about(texts), random.Random(seed))
            found = chat_prompt.blocks_in(json.loads(request.body)["input"])
            assert [review_id for review_id, _ in found] == list(request.ids)
            assert [text for _, text in found] == [question.text for question in request.questions]
            orders.add(tuple(question.at for question in request.questions))
    assert len(orders) == 3


@settings(deadline=None)
@given(st.lists(ANY_TEXT, min_size=1, max_size=6))
def test_no_review_can_end_its_block_or_break_the_body(texts: list[str]) -> None:
    with opened() as model:
        found = chat_prompt.blocks_in(body_of(model, texts)["input"])
    assert sorted(text for _, text in found) == sorted(map(chat_prompt.clean, texts))


def test_requests_of_as_many_reviews_begin_alike_and_ask_alike() -> None:
    with opened() as model:
        one, other = body_of(model, ("a", "b"), 1), body_of(model, ("c", "d"), 2)
    assert one["questions"] == other["questions"]
    assert one["input"].partition('<review id="r01">')[0] == other["input"].partition('<review id="r01">')[0]


@pytest.mark.parametrize(("n_fields", "most"), [(1, 400), (3, 133), (7, 57), (400, 1), (401, 1)])
def test_a_request_asks_at_most_400_questions(n_fields: int, most: int) -> None:
    task = Task(name="t", instructions="x", fields=tuple(Predicate(name=f"f{at}") for at in range(n_fields)))
    with opened(task=task) as model:
        assert model.limits.most_questions == most
        if n_fields <= 400:
            assert len(body_of(model, ["x"] * most)["questions"]) <= 400


# What it costs


def test_nothing_is_reserved_or_planned_for_output() -> None:
    with opened() as model:
        request = model.compose(ask_about(["good"]), random.Random(0))
        assert (request.most_output_tokens, model.limits.most_output_tokens, model.output_tokens_a_review) == (0, 0, 0)
        assert 0 < model.overhead_bytes < len(request.body)
        bounds = Bounds(
            most=model.limits.most_questions,
            most_input_tokens=pricing.text_room(model),
            most_output_tokens=model.limits.most_output_tokens,
            output_tokens_a_review=model.output_tokens_a_review,
        )
        assert bounds.most_reviews == 400


def test_the_bill_is_that_of_the_input() -> None:
    own = OwnPrice(input_usd=0.1, output_usd=0)
    price = find(ModelSettings(kind="decisions", model="small", base_url="https://h.example/v1", price=own), "mine")
    with opened() as model:
        bytewise = tiktoken.Encoding(
            "bytes", pat_str=".", mergeable_ranks={bytes([one]): one for one in range(256)}, special_tokens={}
        )
        form = pricing.form_of(model, bytewise)
        naive = pricing.Naive(model, price, form, most_review_tokens=500)
        assert form.tokens_a_review > 0
        tokens = form.tokens + form.tokens_a_review + 100
        assert naive.usd(10, 4000) == 10 * price.cost(Usage(input=tokens)) > 0
    assert price.most(1000, 0) == price.cost(Usage(input=1000))


# What decides an answer


def test_the_archives_key_tells_kinds_models_and_addresses_apart() -> None:
    here = "https://h.example/v1"
    changes: list[tuple[str, dict[str, Any]]] = [
        (here, {}), (here, {"model": "other"}), ("https://other.example/v1", {}), ("https://h.example/v2", {}),
    ]  # fmt: skip
    made = []
    for base_url, more in changes:
        with opened(base_url, **more) as model:
            made.append(model.settings)
    assert len({json.dumps(dict(one), sort_keys=True) for one in made}) == 4
    assert all(one["kind"] == "decisions" for one in made)
    assert CANARY not in str(made)


# Over a connection


def decided(asked: Asked, sock: socket.socket) -> None:
    """Answer each question by the first letter of its review."""
    body = json.loads(asked.body)
    texts = dict(chat_prompt.blocks_in(body["input"]))
    answers: list[dict[str, Any]] = []
    for question in body["questions"]:
        name, kind = question["name"], question["type"]
        is_good = texts[name.partition(".")[0]].startswith("good")
        if texts[name.partition(".")[0]].startswith("secret"):
            answers.append({"type": "refusal", "name": name})
        elif kind == "choice":
            value = question["choices"][-1 if is_good else 0]["value"]
            listed = [{"value": value, "probability": 0.9}]
            answers.append({"type": kind, "name": name, "choice": value, "confidence": 0.9, "probabilities": listed})
        elif kind == "predicate":
            answers.append({"type": kind, "name": name, "probability": 0.8 if is_good else 0.3})
        else:
            level = {"label": "5" if is_good else "1", "value": 4 if is_good else 0, "probability": 0.6}
            answers.append({"type": kind, "name": name, "score": 2.0, "probabilities": [level]})
    usage = {"input_tokens": 70, "output_tokens": 0}
    sock.sendall(http(json.dumps({"answers": answers, "usage": usage}).encode()))


def test_a_pack_is_asked_and_answered() -> None:
    with serve(decided) as served, opened(served.base_url) as model:
        request = model.compose(ask_about(["good one", "bad one", "secret"]), random.Random(0))
        reply = model.ask(request, 10)
    assert served.asked[0].line == "POST /v1/decisions HTTP/1.1"
    assert served.asked[0].headers["authorization"] == f"Bearer {CANARY}"
    texts = {review_id: question.text for review_id, question in zip(request.ids, request.questions, strict=True)}
    assert {texts[review_id]: value for review_id, value in reply.values} == {
        "good one": "positive", "bad one": "negative",
    }  # fmt: skip
    assert (reply.outcome, reply.usage, reply.reason) == (
        "answered", Usage(input=70), "the model refused 1 of 3 reviews",
    )  # fmt: skip


def test_several_fields_are_answered_together() -> None:
    with serve(decided) as served, opened(served.base_url, TYPED) as model:
        reply = model.ask(model.compose(ask_about(["good one"]), random.Random(0)), 10)
    assert reply.values == (("r01", {"sentiment": "positive", "quality": 5, "buys_again": "yes"}),)
    assert reply.confidence == {"r01": 0.9}


def test_an_endpoint_of_another_kind_is_hopeless_and_says_what_to_check() -> None:
    body = json.dumps({"error": {"message": "no such path"}}).encode()
    with serve(http(body, 404)) as served, opened(served.base_url) as model:
        reply = model.ask(model.compose(ask_about(["good"]), random.Random(0)), 10)
    assert (reply.outcome, reply.is_charged) == ("hopeless", False)
    assert "kind" in reply.reason
    assert CANARY not in reply.reason


def test_the_form_of_a_request_is_never_in_doubt() -> None:
    with opened() as model:
        assert model.is_settled
        model.settle()
        assert not model.simplify()
        assert model.is_settled


def test_a_closed_model_answers_that_nothing_was_sent() -> None:
    with opened() as model:
        request = model.compose(ask_about(["good"]), random.Random(0))
        model.close()
        assert model.ask(request, 5).outcome == "unavailable"
