"""What questions cost: their shares add up to what was charged, and what is not known stays charged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes import price_a_request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from purses import counted

from reviewopt.ask.again import Pack
from reviewopt.ask.paying import Paying, Sent
from reviewopt.budget import Purse, Refusal, Reservation, asked_questions, entries
from reviewopt.data import Outcome, Question, Reply, Request, Usage
from reviewopt.prices import Price, Rate

REQUEST_USD = "0.001"


def by_tokens(input_units: int = 3_000_000, output_units: int = 7_000_001) -> Price:
    """A price by the token, in 1e-18 USD, that does not divide evenly."""
    inward, outward = Rate(((-1, input_units),)), Rate(((-1, output_units),))
    return Price(name="t", input=inward, cached=inward, cache_write=inward, output=outward, reasoning=outward)


@contextmanager
def paying_of(
    folder: Path, price: Price | None = None, run_id: str = "a", **budgets: Any
) -> Iterator[tuple[Paying, Purse]]:
    with Purse(folder / "spend", run_id=run_id, model="m", endpoint="in process", **budgets) as purse:
        yield Paying(price or price_a_request(REQUEST_USD), purse), purse


def questions_of(n_tokens: Sequence[int], tenants: Sequence[str | None] = (), first: int = 0) -> tuple[Question, ...]:
    return tuple(
        Question(
            at=first + at,
            text="",
            n_tokens=n,
            tenant=tenants[at] if tenants else None,
            review_id=f"id{first + at}",
            key=f"{first + at:032x}",
        )
        for at, n in enumerate(n_tokens)
    )


def request_of(questions: Sequence[Question], body: bytes = b"x" * 100) -> Request:
    ids = tuple(f"r{at:02}" for at in range(len(questions)))
    return Request(questions=tuple(questions), ids=ids, body=body, most_output_tokens=50)


def sent_of(paying: Paying, *requests: Request) -> list[Sent]:
    held = paying.reserve(requests)
    assert all(isinstance(one, Reservation) for one in held)
    return [
        Sent(Pack(questions=request.questions), request, one, 0, 0.0)
        for request, one in zip(requests, held, strict=True)
        if isinstance(one, Reservation)
    ]


def reply_of(outcome: Outcome = "answered", usage: Usage | None = None, *, is_charged: bool = True) -> Reply:
    return Reply(outcome=outcome, seconds=0.5, usage=usage, is_charged=is_charged)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["", "a", "b"])), min_size=1, max_size=7),
            st.integers(0, 100),
            st.integers(0, 50),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_the_costs_of_the_questions_add_up_to_what_was_charged(
    tmp_path_factory: pytest.TempPathFactory, requests: list[tuple[list[tuple[int, str]], int, int]]
) -> None:
    folder, price = tmp_path_factory.mktemp("home"), by_tokens()
    charged, first = Decimal(0), 0
    with paying_of(folder, price) as (paying, purse):
        came = []
        for questions, n_input, n_output in requests:
            tokens, tenants = [n for n, _ in questions], [tenant or None for _, tenant in questions]
            (sent,) = sent_of(paying, request_of(questions_of(tokens, tenants, first)))
            usage = Usage(input=n_input, output=n_output)
            came.append((sent, reply_of(usage=usage)))
            charged += price.cost(usage)
            first += len(questions)
        paying.settle(came)
        assert sum(paying.cost_of(at) for at in range(first)) == charged == paying.spent_usd == purse.spent_usd
        assert purse.held_usd == 0
    assert counted(folder / "spend")["run:a"] == charged
    assert asked_questions(folder / "spend")["usd"].sum() == charged


def test_a_question_costs_what_all_its_requests_did(tmp_path: Path) -> None:
    one = questions_of([10, 10])
    with paying_of(tmp_path) as (paying, _):
        for questions in (one, one[:1], one[:1]):
            paying.settle([(sent_of(paying, request_of(questions))[0], reply_of(usage=Usage(input=5)))])
        assert (paying.cost_of(0), paying.cost_of(1)) == (Decimal("0.0025"), Decimal("0.0005"))
        assert paying.spent_usd == Decimal("0.003")


@pytest.mark.parametrize("tenants", [(), ("a", "b")])
def test_a_longer_review_pays_more_of_its_request(tmp_path: Path, tenants: tuple[str, ...]) -> None:
    with paying_of(tmp_path) as (paying, _):
        questions = questions_of([0, 72], tenants)
        paying.settle([(sent_of(paying, request_of(questions))[0], reply_of(usage=Usage(input=5)))])
        short, long = paying.cost_of(0), paying.cost_of(1)
        assert 4 * short == long > 0


@pytest.mark.parametrize("outcome", ["rate_limited", "unavailable", "hopeless", "refused", "unsupported", "spoiled"])
def test_what_was_surely_not_charged_is_given_back(tmp_path: Path, outcome: Outcome) -> None:
    with paying_of(tmp_path, run_usd=Decimal(REQUEST_USD)) as (paying, purse):
        for _ in range(3):
            (sent,) = sent_of(paying, request_of(questions_of([1, 2])))
            paying.settle([(sent, reply_of(outcome, is_charged=False))])
        assert not any([paying.spent_usd, paying.cost_of(0), purse.spent_usd, purse.held_usd])
        assert paying.no_reply_usd == 0
    assert counted(tmp_path / "spend").get("run:a", 0) == 0
    assert entries(tmp_path / "spend")["kind"].to_list() == ["reserve", "release"] * 3


@pytest.mark.parametrize("is_charged", [True, False])
def test_a_request_without_a_reply_stays_charged_at_its_worst_case(tmp_path: Path, *, is_charged: bool) -> None:
    with paying_of(tmp_path, by_tokens()) as (paying, _):
        (sent,) = sent_of(paying, request_of(questions_of([1, 2])))
        paying.settle([(sent, reply_of("no_reply", is_charged=is_charged))])
        assert sent.held.usd == paying.no_reply_usd == paying.spent_usd > 0
        assert paying.cost_of(0) + paying.cost_of(1) == sent.held.usd
    assert counted(tmp_path / "spend")["run:a"] == sent.held.usd


def test_a_charged_reply_that_tells_no_usage_stays_charged_at_its_worst_case(tmp_path: Path) -> None:
    with paying_of(tmp_path, by_tokens()) as (paying, _):
        (sent,) = sent_of(paying, request_of(questions_of([1, 2])))
        paying.settle([(sent, reply_of("spoiled", is_charged=True))])
        assert paying.spent_usd == sent.held.usd
        assert paying.no_reply_usd == 0


def test_a_cut_reply_without_a_usage_stays_charged_at_its_worst_case_and_counts_as_unknown(tmp_path: Path) -> None:
    with paying_of(tmp_path, by_tokens()) as (paying, purse):
        (sent,) = sent_of(paying, request_of(questions_of([1, 2])))
        paying.settle([(sent, Reply(outcome="answered", seconds=0.5, is_charged=True, is_cut=True))])
        assert sent.held.usd == paying.no_reply_usd == paying.spent_usd == purse.spent_usd > 0
        assert paying.cost_of(0) + paying.cost_of(1) == sent.held.usd
    assert counted(tmp_path / "spend")["run:a"] == sent.held.usd


def test_a_cut_reply_that_tells_its_usage_costs_what_it_says(tmp_path: Path) -> None:
    with paying_of(tmp_path) as (paying, _):
        (sent,) = sent_of(paying, request_of(questions_of([1])))
        cut = Reply(outcome="answered", seconds=0.5, usage=Usage(input=3), is_charged=True, is_cut=True)
        paying.settle([(sent, cut)])
        assert (paying.spent_usd, paying.no_reply_usd) == (Decimal(REQUEST_USD), Decimal(0))


def test_what_the_prompt_cache_saved_is_known_once_a_reply_tells_of_it(tmp_path: Path) -> None:
    full, tenth = Rate(((-1, 10**11),)), Rate(((-1, 10**10),))
    price = Price(name="t", input=full, cached=tenth, cache_write=full, output=full, reasoning=full)
    with paying_of(tmp_path, price) as (paying, _):
        told: list[Decimal | None] = []
        for usage in (
            None,
            Usage(input=50),
            Usage(input=50, says_cached=True),
            Usage(input=50, cached=40, says_cached=True),
        ):
            (sent,) = sent_of(paying, request_of(questions_of([1])))
            paying.settle([(sent, reply_of(usage=usage))])
            told.append(paying.cache_saved_usd)
        assert told == [None, None, Decimal(0), Decimal("0.0000036")]


def test_a_refusal_that_tells_its_usage_is_paid_for(tmp_path: Path) -> None:
    with paying_of(tmp_path) as (paying, _):
        (sent,) = sent_of(paying, request_of(questions_of([1])))
        paying.settle([(sent, reply_of("refused", usage=Usage(input=3)))])
        assert paying.cost_of(0) == paying.spent_usd == Decimal(REQUEST_USD)


def test_what_is_reserved_bounds_what_any_reply_can_cost(tmp_path: Path) -> None:
    price = by_tokens()
    with paying_of(tmp_path, price) as (paying, _):
        request = request_of(questions_of([1]), body=b"y" * 333)
        (sent,) = sent_of(paying, request)
        assert sent.held.usd >= price.cost(Usage(input=len(request.body) + 64, output=request.most_output_tokens))


def test_what_is_forgotten_costs_nothing_and_nothing_else_is(tmp_path: Path) -> None:
    with paying_of(tmp_path) as (paying, _):
        paying.settle([(sent_of(paying, request_of(questions_of([1, 1])))[0], reply_of(usage=Usage()))])
        paying.forget([0, 17])
        assert (paying.cost_of(0), paying.cost_of(1)) == (Decimal(0), Decimal("0.0005"))
        assert paying.spent_usd == Decimal(REQUEST_USD)


def test_tokens_are_counted_over_all_requests(tmp_path: Path) -> None:
    with paying_of(tmp_path) as (paying, _):
        usage = Usage(input=10, cached=4, cache_write=1, output=6, reasoning=2)
        for _ in range(2):
            paying.settle([(sent_of(paying, request_of(questions_of([1])))[0], reply_of(usage=usage))])
        assert paying.usage == Usage(input=20, cached=8, cache_write=2, output=12, reasoning=4)


def refusal_of(budget: str) -> Refusal:
    return Refusal(budget=budget, budget_usd=Decimal(1), charged_usd=Decimal(1), wanted_usd=Decimal(1), is_final=True)


@pytest.mark.parametrize("budget", ["run", "day"])
def test_a_budget_of_all_stops_all(budget: str) -> None:
    questions = questions_of([1, 1, 1], ["a", None, "b"])
    assert Paying.stopped_by(refusal_of(budget), questions) == (questions, ())


@pytest.mark.parametrize(("tenant", "stopped"), [("a", [0, 2]), ("b c", [3]), ("", [1]), ("run", [4]), ("nobody", [])])
def test_a_tenants_budget_stops_that_tenant_alone(tenant: str, stopped: list[int]) -> None:
    questions = questions_of([1] * 5, ["a", None, "a", "b c", "run"])
    out, rest = Paying.stopped_by(refusal_of(f"tenant {tenant}"), questions)
    assert [one.at for one in out] == stopped
    assert sorted(one.at for one in (*out, *rest)) == list(range(5))


def test_a_pack_of_several_tenants_is_refused_by_the_one_without_money(tmp_path: Path) -> None:
    with paying_of(tmp_path, tenants={"poor": Decimal("0.0001"), "rich": Decimal(5)}) as (paying, _):
        questions = questions_of([1, 1], ["poor", "rich"])
        (refusal,) = paying.reserve([request_of(questions)])
        assert isinstance(refusal, Refusal)
        out, rest = paying.stopped_by(refusal, questions)
        assert ([one.tenant for one in out], [one.tenant for one in rest]) == (["poor"], ["rich"])
        assert isinstance(paying.reserve([request_of(rest)])[0], Reservation)
