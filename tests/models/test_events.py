"""A stream of server-sent events: wherever it ends, what was read is a beginning of the whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_chat_prompt import REVIEW, SENTIMENT

from reviewopt.models import events
from reviewopt.models.chat_content import read_values
from reviewopt.task import Choice, Score, Task

USAGE = {"prompt_tokens": 9, "completion_tokens": 4}
STARS = Task(name="stars", instructions="x", fields=(Score(name="stars", low=1, high=10),))
ALIKE = Task(name="alike", instructions="x", fields=(Choice(name="alike", labels=("pos", "positive", "pos it", "1")),))


def event(content: object = None, *, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {} if content is None else {"content": content}, "finish_reason": finish, **more}
    return {"id": "chatcmpl-1", "choices": [choice], "usage": None}


def stream(*parts: object, end: str = "\n") -> bytes:
    said = [part if isinstance(part, str) else f"data: {json.dumps(part, ensure_ascii=False)}" for part in parts]
    return "".join(f"{one}{end}{end}" for one in said).encode()


def whole(content: str, size: int = 3, *, end: str = "\n") -> bytes:
    """The stream of a content in pieces of `size` characters, with all that belongs to one."""
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    usage = {"id": "chatcmpl-1", "choices": [], "usage": USAGE}
    return stream(event(""), *map(event, pieces), event(finish="stop"), usage, "data: [DONE]", end=end)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_whole_stream_is_put_together(end: str) -> None:
    found = events.read(whole('{"r01": "positive"}', end=end))
    assert found.content == '{"r01": "positive"}'
    assert (found.finish_reason, found.usage, found.id) == ("stop", USAGE, "chatcmpl-1")
    assert (found.is_begun, found.is_whole, found.error) == (True, True, None)


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + whole("r01:positive"),
        b": ping\n\n" + whole("r01:positive").replace(b"\n\n", b"\n: ping\n\n: ping\n\n"),
        whole("r01:positive").replace(b"data: ", b"data:"),
        whole("r01:positive").replace(b"data: ", b"event: message\nid: 7\nretry: 9\ndata: "),
        whole("r01:positive").replace(b'"choices"', b'\ndata: "choices"'),  # data of several lines
        whole("r01:positive").replace(b"data: [DONE]\n\n", b""),
        whole("r01:positive").rstrip(b"\n"),
        stream("data:", "data: ", event("r01:positive"), "unknown", event(finish="stop")),
        stream(event("r01:"), event("x", index=1), event("positive"), event(finish="stop")),
        stream(event("r01:positive"), "data: [DONE]", event("!")),
        stream(event([{"type": "text", "text": "r01:"}, {"text": "positive"}]), event(finish="stop")),
    ],
)
def test_a_stream_is_read_in_every_usual_wrapping(body: bytes) -> None:
    found = events.read(body)
    assert (found.content, found.is_whole) == ("r01:positive", True)


@pytest.mark.parametrize(
    "odd",
    [
        'data: {"choices": [{"delta": {"content": "cut',
        "data: NaN",
        "data: 7",
        "data: []",
        'data: {"choices": 7}',
        "data: " + "[" * 5000,
        'data: {"choices": [{"delta": 7}]}',
        {"error": {"message": "overloaded"}},
        'event: error\ndata: {"message": "overloaded"}',
    ],
)
def test_nothing_counts_after_an_event_that_cannot_be_read(odd: object) -> None:
    found = events.read(stream(event("r01:pos"), odd, event("negative"), event(finish="stop"), "data: [DONE]"))
    assert (found.content, found.is_whole) == ("r01:pos", False)


def test_an_error_in_the_middle_is_told() -> None:
    body = stream(event("r01:"), {"error": {"message": "overloaded"}})
    assert events.read(body).error == {"message": "overloaded"}
    assert events.read(stream('event: error\ndata: {"message": "no"}')).error == {"message": "no"}


def test_what_is_lost_after_the_end_of_the_content_leaves_it_whole() -> None:
    found = events.read(stream(event("r01:positive"), event(finish="stop"), 'data: {"usage": {"prom'))
    assert (found.content, found.is_whole, found.usage) == ("r01:positive", True, None)


def test_a_refusal_is_put_together_too() -> None:
    parts = [event(delta={"refusal": part}) for part in ("I ", "cannot")]
    assert events.read(stream(*parts, event(finish="stop"))).refusal == "I cannot"


def test_tokens_are_kept_in_their_order_and_odd_ones_are_none() -> None:
    def scored(*tokens: str) -> dict[str, Any]:
        return event("".join(tokens), logprobs={"content": [{"token": one, "logprob": -0.5} for one in tokens]})

    found = events.read(stream(scored("a", "b"), event(""), scored("c"), event(finish="stop")))
    assert [(one.token, one.logprob) for one in found.tokens] == [("a", -0.5), ("b", -0.5), ("c", -0.5)]
    odd = events.read(stream(scored("a"), event("b", logprobs={"content": 7}), event(finish="stop")))
    assert (odd.content, odd.tokens, odd.is_whole) == ("ab", [], True)


@pytest.mark.parametrize(
    ("media_type", "body", "expected"),
    [
        ("text/event-stream; charset=utf-8", b"data: {}", True),
        ("Text/Event-Stream", b"", True),
        ("text/event-stream", b' {"choices": []}', False),
        ("application/json", b'{"choices": []}', False),
        ("application/json", b"data: {}", True),
        ("", b'\nevent: x\ndata: {"a": 1}', True),
        ("", b"", False),
    ],
)
def test_a_stream_is_told_from_a_plain_reply(media_type: str, body: bytes, *, expected: bool) -> None:
    assert events.is_stream(media_type, body) is expected


# Wherever it ends

TASKS: dict[str, tuple[Task, Sequence[object]]] = {
    "sentiment": (SENTIMENT, SENTIMENT.labels),
    "stars": (STARS, range(1, 11)),
    "alike": (ALIKE, ALIKE.labels),
    "review": (REVIEW, [{"sentiment": label, "quality": n} for label in ("negative", "positive") for n in (1, 5)]),
}


def answers(draw: st.DrawFn, values: Sequence[object]) -> dict[str, object]:
    n = draw(st.integers(1, 6))
    return {f"r{at:02d}": draw(st.sampled_from(values)) for at in range(1, n + 1)}


@st.composite
def replies(draw: st.DrawFn) -> tuple[Task, tuple[str, ...], str]:
    """A task, the ids that were asked, and a content that answers them in one of the usual ways."""
    task, values = TASKS[draw(st.sampled_from(sorted(TASKS)))]
    made = answers(draw, values)
    around = draw(st.sampled_from(["{}", "```json\n{}\n```", "<think>r01: hm</think>{}", "Here:\n{}\nDone."]))
    if draw(st.booleans()):
        lines = "\n".join(f"{at}:{json.dumps(v) if isinstance(v, dict) else v}" for at, v in made.items())
        return task, tuple(made), around.replace("{}", lines + draw(st.sampled_from(["", "\n"])))
    return task, tuple(made), around.replace("{}", json.dumps(made, indent=draw(st.sampled_from([None, 1]))))


def is_cut_well(task: Task, ids: tuple[str, ...], content: str, body: bytes, cuts: Iterable[int]) -> None:
    """Check that each cut leaves a beginning of the answers, that what has come stays, and that all come in the end."""
    complete = read_values(content, ids, task, is_cut=False)
    n_before = 0
    for at in (*sorted(cuts), len(body)):
        found = events.read(body[:at])
        values = read_values(found.content, ids, task, is_cut=not found.is_whole)
        assert values == complete[: len(values)]
        assert len(values) >= n_before
        n_before = len(values)
    assert [at for at, _ in complete] == list(ids)
    assert n_before == len(complete)


@settings(deadline=None)
@given(replies(), st.integers(1, 9), st.sampled_from(["\n", "\r\n"]), st.lists(st.floats(0, 1), max_size=12))
def test_a_stream_cut_anywhere_gives_a_beginning_of_the_answers_and_never_a_wrong_one(
    reply: tuple[Task, tuple[str, ...], str], size: int, end: str, shares: list[float]
) -> None:
    task, ids, content = reply
    body = whole(content, size, end=end)
    is_cut_well(task, ids, content, body, [int(share * len(body)) for share in shares])


@pytest.mark.parametrize("content", ['{"r01": 10, "r02": 1, "r03": 10}', "r01:10\nr02:1\nr03:10"])
def test_no_byte_is_one_after_which_half_a_number_counts(content: str) -> None:
    body = whole(content, 2)
    is_cut_well(STARS, ("r01", "r02", "r03"), content, body, range(len(body)))


@pytest.mark.parametrize("label", ["pos", "positive", "pos it"])
def test_half_a_bare_label_is_no_answer(label: str) -> None:
    body = whole(label, 1)
    is_cut_well(ALIKE, ("r01",), label, body, range(len(body)))


@settings(deadline=None)
@given(
    st.binary(max_size=300) | st.text(st.sampled_from('data: {}[]"\\\r\n:,choicesDONE7'), max_size=300).map(str.encode)
)
def test_no_stream_is_too_odd_to_be_read(body: bytes) -> None:
    found = events.read(body)
    assert found.is_begun or not found.content


def test_a_usage_that_content_follows_counts_a_part_only_and_is_not_believed() -> None:
    early = {"id": "chatcmpl-1", "choices": [], "usage": USAGE}
    read = events.read(stream(event("K7:pos\n"), early, event("K8:neg\n"), event(finish="stop"), "data: [DONE]"))
    assert (read.content, read.usage, read.is_whole) == ("K7:pos\nK8:neg\n", None, True)


def test_a_finish_reason_beside_no_delta_ends_a_stream() -> None:
    last = {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]}
    read = events.read(stream(event("K7:pos\n"), last))
    assert (read.finish_reason, read.is_whole) == ("stop", True)
