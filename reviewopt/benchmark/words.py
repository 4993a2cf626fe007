"""The verdicts in words: one sentence a rival, or one for those that differ in name and price alone."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from reviewopt.benchmark.own import Measured
from reviewopt.benchmark.record import Own, Rival, Verdict
from reviewopt.benchmark.rivals import Billed

Pair = tuple[Measured, Billed, Verdict]


def summary(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Say the verdicts, those of certified runs first, so that the last line is about the plain run."""
    said: list[tuple[bool, str]] = []
    alike: dict[tuple[bool, str, str, str], list[str]] = {}
    for measured, billed, made in pairs:
        is_plain = measured.own.proven is None
        if made.accuracy == "not known" or made.cost == "not known":
            begins, volume, why, who = _unjudged(measured, billed.rival, made)
            alike.setdefault((is_plain, begins, volume, why), []).append(who)
        else:
            said.append((is_plain, _judged(measured, billed.rival, made)))
    said += [
        (is_plain, f"{begins} {_listed(who)}{volume}; {why}") for (is_plain, begins, volume, why), who in alike.items()
    ]
    return tuple(sentence for _, sentence in sorted(said, key=lambda one: one[0]))


def _unjudged(measured: Measured, rival: Rival, made: Verdict) -> tuple[str, str, str, str]:
    """Return how a sentence begins, which volumes it is about, why nobody wins, and the rival."""
    own = measured.own
    name, ours, theirs = _named_own(own), Decimal(own.usd), Decimal(rival.usd)
    if own.not_comparable is not None:
        return f"{name} is not compared with", "", own.not_comparable, _named(rival)
    why = f"nobody wins, as {made.why}"
    if ours < theirs:
        who = f"{_named(rival)} ({_percent_less(ours, theirs)})"
        return f"{name} costs less at list price than", _volume(measured, made), why, who
    return f"{name} costs {'as much as' if ours == theirs else 'more than'}", "", why, _named(rival)


def _judged(measured: Measured, rival: Rival, made: Verdict) -> str:
    """Say who wins on what, where both accuracies are known."""
    own, ours, theirs = measured.own, Decimal(measured.own.usd), Decimal(rival.usd)
    mine, other = _named_own(own), _named(rival)
    cost = "the other costs more"
    if ours < theirs:
        cost = f"{_percent_less(ours, theirs)} less at list price{_volume(measured, made)}"
    told = {"cost": (made.cost, cost), "time": (made.time, ""), "accuracy": (made.accuracy, made.why)}
    parts = []
    for outcome, winner, loser in (("wins", mine, other), ("loses", other, mine)):
        on = [f"{what}{f' ({more})' if more else ''}" for what, (found, more) in told.items() if found == outcome]
        if on:
            parts.append(f"{winner} wins against {loser} on {_listed(on)}")
    if made.cost == "no difference shown":
        parts.append("the cost is the same")
    if made.accuracy == "no difference shown":
        parts.append(f"no difference in accuracy is shown ({made.why})")
    return "; ".join(parts)


def _named_own(own: Own) -> str:
    return f"{own.name} (simulated)" if own.is_simulated else own.name


def _named(rival: Rival) -> str:
    return f"{rival.name} (simulated)" if rival.live is not None and rival.live.is_simulated else rival.name


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _volume(measured: Measured, made: Verdict) -> str:
    """Say at which monthly volumes it is less."""
    if made.turns_at is not None:
        begin = "" if measured.least == 1 else f" from {measured.least:,}"
        return f",{begin} up to {made.turns_at - 1:,} reviews a month"
    return ", at every monthly volume" if measured.least == 1 else f", from {measured.least:,} reviews a month on"


def _percent_less(ours: Decimal, theirs: Decimal) -> str:
    """Return how much less that is, with so many places that 99.996 % is not told as 100 %."""
    left = ours / theirs
    places = 1 if left >= Decimal("0.001") else 3 if left >= Decimal("0.00001") else 5
    return f"{100 * (1 - left):.{places}f} %"
