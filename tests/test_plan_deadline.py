"""What a plan says of a deadline before anything is asked."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import price_a_request
from rich.console import Console

from reviewopt import plan
from reviewopt.data import SOURCES
from reviewopt.models.protocol import Limits
from reviewopt.plan import Known
from reviewopt.record import Plan
from reviewopt.render.asking import show_plan
from reviewopt.surveyed import Surveyed, Total

PAID: Any = SimpleNamespace(
    source="gpt",
    price=price_a_request("0.001"),
    model=SimpleNamespace(limits=Limits(context_tokens=128_000, most_output_tokens=8192)),
)


def made(deadline_s: float | None, n_requests: int = 30) -> Plan:
    """The plan of so many requests, three at a time, of .5, 2 or 10 s each: 5, 20 or 100 s."""
    surveyed, total = Surveyed(SOURCES, n_sample=0), Total()
    total.n_requests, total.n_questions, surveyed.n_rows = n_requests, 10 * n_requests, 10 * n_requests
    total.low = total.expected = total.high = 10.0 * n_requests
    surveyed.models["gpt"] = total
    return plan.make(surveyed, [Known(paid=PAID, history=None)], threads=3, deadline_s=deadline_s)


def lines(made: Plan) -> list[str]:
    """What a terminal shows of it that speaks of a deadline."""
    out = io.StringIO()
    show_plan(Console(file=out, width=300), made)
    return [line.strip() for line in out.getvalue().splitlines() if "deadline" in line]


@pytest.mark.parametrize(("deadline_s", "meets"), [(None, None), (100.0, True), (99.0, False), (1.0, False)])
def test_a_deadline_is_met_where_even_the_slowest_expected_end_is_before_it(
    deadline_s: float | None, meets: bool | None
) -> None:
    one = made(deadline_s)
    assert (one.seconds.low, one.seconds.expected, one.seconds.high) == (5, 20, 100)
    assert (one.deadline_s, one.meets_deadline) == (deadline_s, meets)


@pytest.mark.parametrize(
    ("deadline_s", "said"),
    [
        (600.0, "deadline 10 min: will be met (5.0 s to 100 s expected)"),
        (60.0, "deadline 60 s: may not be met (5.0 s to 100 s expected): what is left then stays for a re-run"),
        (
            8.0,
            "deadline 8.0 s: will not be met (5.0 s to 100 s expected): about 40 % of the reviews to ask fit; what is",
        ),
    ],
)
def test_a_plan_says_whether_its_deadline_will_be_met_and_how_much_fits(deadline_s: float, said: str) -> None:
    (line,) = lines(made(deadline_s))
    assert line.startswith(said)


def test_a_plan_without_a_deadline_says_nothing_of_one() -> None:
    assert lines(made(None)) == []


def test_a_plan_that_asks_nothing_meets_any_deadline() -> None:
    one = made(1.0, n_requests=0)
    assert one.meets_deadline is True
    assert lines(one) == ["deadline 1.0 s: will be met (nothing is asked)"]
