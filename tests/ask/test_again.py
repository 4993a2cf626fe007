"""What is asked again: nothing lost, nothing doubled, and a text that never works is soon alone."""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt.ask.again import Done, Next, Pack, after_failure, after_reply, given_up
from reviewopt.check import Answer, Checked
from reviewopt.data import Outcome, Question, Reply

YES = Answer(label=1, rest="", confidence=math.nan)
TRIES = 4


def pack_of(n: int, first: int = 0) -> Pack:
    return Pack(questions=tuple(Question(at=first + at, text="", n_tokens=1) for at in range(n)))


def reply_of(outcome: Outcome, *, is_charged: bool = True) -> Reply:
    return Reply(outcome=outcome, seconds=0.0, is_charged=is_charged, reason="as it came")


def checked_of(pack: Pack, answered: Iterable[int]) -> Checked:
    """The places in `answered` have an answer, the others none."""
    kept = set(answered)
    missing = {at: "left out" for at in range(len(pack.questions)) if at not in kept}
    return Checked(dict.fromkeys(sorted(kept), YES), missing)


def after(
    pack: Pack, outcome: Outcome, answered: Iterable[int] = (), *, is_charged: bool = True, n_valid: int = 0
) -> Next:
    reply = reply_of(outcome, is_charged=is_charged)
    return after_reply(pack, reply, checked_of(pack, answered), most_tries=TRIES, n_valid=n_valid)


def asked_until_done(pack: Pack, respond: Callable[[Pack], Next]) -> tuple[list[Done], list[Pack]]:
    """Ask until nothing is left; return what is done, and all packs that were sent."""
    waiting: deque[Pack] = deque([pack])
    done: list[Done] = []
    sent: list[Pack] = []
    while waiting:
        one = waiting.popleft()
        sent.append(one)
        assert len(sent) < 20_000
        result = respond(one)
        done += result.done
        waiting += result.again
    return done, sent


def ats(packs: Iterable[Pack]) -> list[int]:
    return [question.at for pack in packs for question in pack.questions]


@settings(deadline=None)
@given(
    n=st.integers(1, 60),
    outcome=st.sampled_from(["answered", "refused", "spoiled", "unsupported"]),
    data=st.data(),
    n_alone=st.integers(0, TRIES - 1),
    was_part=st.booleans(),
    was_spoiled=st.booleans(),
)
def test_every_question_of_a_pack_is_done_or_asked_again_once(
    n: int, outcome: Outcome, data: st.DataObject, n_alone: int, *, was_part: bool, was_spoiled: bool
) -> None:
    answered = data.draw(st.sets(st.integers(0, n - 1))) if outcome == "answered" else set()
    pack = Pack(questions=pack_of(n).questions, n_alone=n_alone, was_part=was_part, was_spoiled=was_spoiled)
    result = after(pack, outcome, answered)
    assert sorted([one.question.at for one in result.done] + ats(result.again)) == list(range(n))
    assert {one.question.at for one in result.done if one.answer} == answered
    assert all(one.questions and one.is_again for one in result.again)


def test_an_answer_goes_to_the_question_at_its_place() -> None:
    pack = pack_of(3, first=10)
    answers = {at: Answer(label=at, rest="", confidence=math.nan) for at in range(3)}
    result = after_reply(pack, reply_of("answered"), Checked(answers, {}), most_tries=TRIES, n_valid=3)
    assert [(one.question.at, one.answer.label) for one in result.done if one.answer] == [(10, 0), (11, 1), (12, 2)]
    assert result.again == ()


@pytest.mark.parametrize(
    ("n", "missing", "sizes"),
    [(10, 10, [5, 5]), (11, 11, [6, 5]), (10, 6, [5, 1]), (10, 5, [5]), (10, 1, [1]), (2, 2, [1, 1]), (3, 2, [2])],
)
def test_what_is_missing_goes_out_in_packs_of_at_most_half_the_size(n: int, missing: int, sizes: list[int]) -> None:
    result = after(pack_of(n), "answered", range(n - missing))
    assert [len(pack.questions) for pack in result.again] == sizes
    assert all(pack.was_part for pack in result.again)


def requests_until_isolated(n: int, poison: int) -> int:
    """How many requests it takes until a text that is refused in any company is done, and all others are answered."""

    def respond(pack: Pack) -> Next:
        if any(question.at == poison for question in pack.questions):
            return after(pack, "refused")
        return after(pack, "answered", range(len(pack.questions)))

    done, sent = asked_until_done(pack_of(n), respond)
    assert Counter(one.question.at for one in done) == Counter(range(n))
    assert [(one.question.at, one.is_of_text) for one in done if one.answer is None] == [(poison, True)]
    return len(sent)


@pytest.mark.parametrize("n", [*range(2, 34), 63, 64, 65, 127, 128, 129, 255, 256, 257, 499, 500])
def test_a_refused_text_is_alone_after_two_requests_a_halving(n: int) -> None:
    most = 2 * math.ceil(math.log2(n)) + 1
    edges = sorted({0, 1, n // 4, n // 2 - 1, n // 2, n // 2 + 1, n - 2, n - 1})
    for poison in range(n) if n < 34 else edges:
        assert requests_until_isolated(n, poison) <= most


def test_a_refused_text_is_alone_after_two_requests_a_halving_for_every_size() -> None:
    chance = random.Random(0)
    for n in range(34, 501):
        assert requests_until_isolated(n, chance.randrange(n)) <= 2 * math.ceil(math.log2(n)) + 1


@settings(deadline=None)
@given(n=st.integers(2, 64), data=st.data())
def test_among_several_refused_texts_all_others_are_answered(n: int, data: st.DataObject) -> None:
    refused = data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=5))

    def respond(pack: Pack) -> Next:
        if refused & {question.at for question in pack.questions}:
            return after(pack, "refused")
        return after(pack, "answered", range(len(pack.questions)))

    done, _ = asked_until_done(pack_of(n), respond)
    assert {one.question.at for one in done if one.answer is None} == refused


def test_a_spoiled_pack_is_asked_once_more_whole_and_then_halved_and_halved_again() -> None:
    (whole,) = after(pack_of(8), "spoiled").again
    assert len(whole.questions) == 8
    halves = after(whole, "spoiled").again
    assert [len(pack.questions) for pack in halves] == [4, 4]
    assert [len(pack.questions) for pack in after(halves[0], "spoiled").again] == [2, 2]


def test_a_reply_that_answers_in_part_is_not_asked_again_whole() -> None:
    result = after(pack_of(8), "spoiled", [0, 1])
    assert sorted(ats(result.again)) == [2, 3, 4, 5, 6, 7]
    assert [len(pack.questions) for pack in result.again] == [4, 2]


def test_a_request_that_is_too_long_and_costs_nothing_is_halved_at_once() -> None:
    result = after(pack_of(8), "spoiled", is_charged=False)
    assert [len(pack.questions) for pack in result.again] == [4, 4]


@pytest.mark.parametrize("outcome", ["answered", "spoiled", "refused", "unsupported"])
def test_a_lone_review_is_tried_so_often_and_no_more(outcome: Outcome) -> None:
    done, sent = asked_until_done(pack_of(1), lambda pack: after(pack, outcome))
    assert len(sent) == TRIES
    assert [(one.answer, one.reason, one.n_tries) for one in done] == [(None, "left out", TRIES)]


def alone_while(outcome: Outcome, n_valid: Iterable[int]) -> Done:
    """Ask a lone review in vain while the run has so many answers at each of its replies."""
    counts = iter(n_valid)
    (done,), _ = asked_until_done(pack_of(1), lambda pack: after(pack, outcome, n_valid=next(counts)))
    return done


@pytest.mark.parametrize("outcome", ["answered", "spoiled", "unsupported"])
@pytest.mark.parametrize(
    ("n_valid", "is_of_text"),
    [([0] * TRIES, False), ([9] * TRIES, False), ([9] * (TRIES - 1) + [10], True), ([0, *[1] * (TRIES - 1)], True)],
)
def test_what_fails_alone_is_the_texts_fault_only_where_others_were_answered_in_the_meantime(
    outcome: Outcome, n_valid: list[int], *, is_of_text: bool
) -> None:
    assert alone_while(outcome, n_valid).is_of_text == is_of_text


def test_a_refusal_is_always_of_the_text() -> None:
    assert alone_while("refused", [0] * TRIES).is_of_text


@pytest.mark.parametrize("n_valid", [[5, 5], [5, 6]])
def test_answers_from_before_a_review_was_alone_say_nothing_of_it(n_valid: list[int]) -> None:
    part = after(pack_of(2), "spoiled", [0], n_valid=1).again[0]
    counts = iter([n_valid[0]] * (TRIES - 1) + n_valid[1:])
    (done,), _ = asked_until_done(part, lambda pack: after(pack, "answered", n_valid=next(counts)))
    assert done.is_of_text == (n_valid[0] < n_valid[1])


def test_a_lone_review_that_is_answered_at_last_is_answered() -> None:
    pack = Pack(questions=pack_of(1).questions, n_alone=TRIES - 1)
    (one,) = after(pack, "answered", [0]).done
    assert (one.answer, one.n_tries, one.is_of_text) == (YES, TRIES, False)


@pytest.mark.parametrize(("outcome", "n_more"), [("refused", 1), ("answered", TRIES), ("spoiled", TRIES)])
def test_only_a_refusal_counts_in_company_too(outcome: Outcome, n_more: int) -> None:
    part = after(pack_of(2), "refused").again[0]
    done, sent = asked_until_done(part, lambda pack: after(pack, outcome))
    assert (len(sent), len(done)) == (n_more, 1)


def failures(pack: Pack, counts: Sequence[bool], most: int = 3) -> Next:
    result = Next((), (pack,))
    for each in counts:
        (pack,) = result.again
        result = after_failure(pack, reply_of("unavailable"), most_attempts=most, counts=each)
    return result


def test_a_pack_is_sent_again_whole_when_the_endpoint_fails_and_only_so_often() -> None:
    (again,) = failures(pack_of(5), [True, True]).again
    assert (len(again.questions), again.n_attempts, again.was_part, again.n_alone) == (5, 2, False, 0)
    assert again.is_again
    result = failures(pack_of(5), [True, True, True])
    assert result.again == ()
    assert [one.question.at for one in result.done] == list(range(5))
    assert all("3 times" in one.reason and "as it came" in one.reason for one in result.done)


def test_what_the_endpoint_failed_is_not_held_against_the_text() -> None:
    assert not any(one.is_of_text for one in failures(pack_of(5), [True, True, True]).done)
    assert not any(one.is_of_text for one in given_up(pack_of(5), "no money").done)


def test_a_failure_does_not_count_while_the_endpoint_is_only_tried() -> None:
    assert len(failures(pack_of(5), [False] * 50).again) == 1


@pytest.mark.parametrize("outcome", ["answered", "spoiled", "refused", "unsupported"])
@pytest.mark.parametrize("n", [1, 8])
def test_a_reply_ends_the_row_of_failures(n: int, outcome: Outcome) -> None:
    pack = Pack(questions=pack_of(n).questions, n_attempts=2)
    assert {one.n_attempts for one in after(pack, outcome).again} == {0}


def test_a_failure_keeps_what_is_known_of_a_pack() -> None:
    pack = Pack(questions=pack_of(1).questions, n_alone=2, n_valid=7, was_part=True, was_spoiled=True)
    (again,) = failures(pack, [True]).again
    assert (again.n_alone, again.n_valid, again.was_part, again.was_spoiled) == (2, 7, True, True)
