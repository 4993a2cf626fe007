"""What asking a model will take, took, and how the two compare, as lines and tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import Console

from reviewopt.record import AskRecord, Plan, ProofPlan, Range, UsdRange
from reviewopt.render.ladder import packs_line
from reviewopt.render.parts import plain, table, usd
from reviewopt.render.traffic import wire_lines

_REUSED = ("exact", "near", "l1", "l2", "l3")


def show_plan(console: Console, plan: Plan) -> None:
    """Print what a run will take, beside the naive one."""
    made = table("plan", "reviews", "requests", "tokens", "USD", "time")
    tokens, seconds = _count(plan.input_tokens.expected + plan.output_tokens.expected), plan.seconds
    counts = f"{plan.n_asked:,}", f"{plan.n_requests:,}"
    made.add_row("this run", *counts, tokens, usd(plan.usd.expected), _time(seconds.expected))
    for one in plan.rungs if len(plan.rungs) > 1 else ():
        expected = one.input_tokens.expected + one.output_tokens.expected
        counts = f"{one.n_asked.expected:,.0f}", f"{one.n_requests.expected:,.0f}"
        made.add_row(plain(f"  {one.name}"), *counts, _count(expected), usd(one.usd.expected), "")
    naive = f"{plan.naive_requests:,}"
    made.add_row("one request a row", naive, naive, "", usd(plan.naive_usd), "")
    console.print(made)
    reused = sum(plan.n_by_source[name] for name in _REUSED)
    failed = plan.n_by_source["failed"]
    rest = f", {failed:,} never worked before and are left alone" if failed else ""
    if plan.n_requests:
        console.print(
            plain(
                f"between {usd(plan.usd.low)} and {usd(plan.usd.high)}, {_time(seconds.low)} and "
                f"{_time(seconds.high)}: {plan.basis}"
            ),
            highlight=False,
            soft_wrap=True,
        )
    if plan.proof is not None:
        console.print(plain(_proof_line(plan.proof)), highlight=False, soft_wrap=True)
    if plan.tunes:
        line = f"first a sample finds how many reviews a request may hold: {', '.join(plan.tunes)}"
        console.print(plain(line), highlight=False, soft_wrap=True)
    for line in _deadline(plan):
        console.print(plain(line), highlight=False, soft_wrap=True)
    console.print(
        plain(f"{plan.n_rows:,} reviews, {reused:,} of them need no question of their own{rest}"),
        highlight=False,
        soft_wrap=True,
    )


def _proof_line(proof: ProofPlan) -> str:
    """Say what the sample takes, and how much of the table the local model leaves."""
    again = f", {proof.n_again:,} of them twice" if proof.n_again else ""
    share = proof.beyond_local_share
    return (
        f"to prove {proof.target:g} against {proof.reference}: {proof.n_train:,} reviews train, {proof.n_cal:,} choose "
        f"or certify, up to {proof.n_audit:,} audit{again}; {100 * share.expected:.0f} % of the rows "
        f"({100 * share.low:.0f} to {100 * share.high:.0f} %) need more than the local model"
    )


def _deadline(plan: Plan) -> Iterator[str]:
    """Say whether a run will end before its deadline, and what becomes of it where it does not."""
    if plan.deadline_s is None or plan.meets_deadline is None:
        return
    seconds = plan.seconds
    expected = f"{_time(seconds.low)} to {_time(seconds.high)} expected" if plan.n_requests else "nothing is asked"
    rest = "what is left then stays for a re-run, and --priority-column says what goes first"
    if plan.meets_deadline:
        verdict = f"will be met ({expected})"
    elif seconds.expected <= plan.deadline_s:
        verdict = f"may not be met ({expected}): {rest}"
    else:
        share = math.floor(100 * plan.deadline_s / seconds.expected)
        verdict = f"will not be met ({expected}): about {share} % of the reviews to ask fit; {rest}"
    yield f"deadline {_time(plan.deadline_s)}: {verdict}"


def asked_lines(asked: AskRecord, plan: Plan | None) -> Iterator[str]:
    """Say what asking took, and how that compares with the plan."""
    simulated = " (simulated: no real model answered)" if asked.is_simulated else ""
    size = "" if asked.mean_pack_size is None else f", {asked.mean_pack_size:.1f} reviews each"
    again = f"; {asked.n_asked_again:,} reviews asked again" if asked.n_asked_again else ""
    not_answered = ", ".join(
        f"{n:,} {name.replace('_', ' ')}" for name, n in asked.outcomes.items() if name != "answered"
    )
    word = "request" if asked.n_requests == 1 else "requests"
    yield (
        f"asked: {asked.n_requests:,} {word} to {asked.endpoint}{simulated}{size}"
        f"{f' ({not_answered})' if not_answered else ''}{again}"
    )
    tokens = asked.tokens
    cached = f", {tokens.cached:,} of them cached" if tokens.cached else ""
    unknown = ""
    if float(asked.no_reply_usd):
        unknown = f", of it {usd(asked.no_reply_usd)} at the worst case, for requests whose cost no reply told"
    yield (
        f"tokens: {tokens.input:,} in{cached}, {tokens.output:,} out; spent {usd(asked.spent_usd)}{unknown} "
        f"(price: {asked.price})"
    )
    yield from wire_lines(asked)
    if asked.packs is not None:
        yield packs_line(asked.packs)
    if plan is not None:
        ranges = f", {_range_usd(plan.usd)}, {_range_s(plan.seconds)}" if plan.n_requests else ""
        yield f"plan: {plan.n_requests:,} requests{ranges}; one request a row: about {usd(plan.naive_usd)}"
    if asked.n_over_deadline:
        yield f"the deadline was reached: {asked.n_over_deadline:,} reviews were not asked, or not to the end"
    if asked.n_shortened:
        yield f"{asked.n_shortened:,} very long reviews were shortened: their note says so"
    for alert in asked.alerts:
        yield (
            f"alert: {alert.threshold_percent:g} % of the budget of {alert.scope} ({usd(alert.budget_usd)}) was reached"
        )


def _range_usd(range_: UsdRange) -> str:
    if not float(range_.high):
        return usd("0")
    return f"{usd(range_.expected)} ({usd(range_.low)}-{usd(range_.high)})"


def _range_s(range_: Range) -> str:
    return f"{_time(range_.expected)} ({_time(range_.low)}-{_time(range_.high)})" if range_.high else "0 s"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _count(n: float) -> str:
    return f"{n:,.0f}" if n < 1e6 else f"{n / 1e6:,.1f} M"
