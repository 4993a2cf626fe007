"""Who is ahead of whom on what, in figures and in words. "Wins" is said only where both accuracies are known."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from reviewopt.accuracy import Estimate
from reviewopt.benchmark.own import Measured
from reviewopt.benchmark.record import Outcome, Own, Rival, Saving, Verdict
from reviewopt.benchmark.rivals import Billed
from reviewopt.benchmark.volume import turns_at
from reviewopt.paired import Paired

# What a saving is expected to be, at least: below it, the reason is asked for.
EXPECTED_SHARE: Final = 0.8
_LEVEL: Final = 0.05
_LARGE: Final = Decimal("0.1")  # a part of the bill that is worth a word
_POLICY: Final = "neutral"


def saving(measured: Measured, rival: Rival) -> Saving:
    """Work out what a run of ours saves on these reviews, and why it is little where it is."""
    own = measured.own
    ours, theirs = Decimal(own.usd), Decimal(rival.usd)
    share = float(1 - ours / theirs) if theirs else None
    return Saving(
        own=own.name,
        rival=rival.name,
        own_usd=own.usd,
        rival_usd=rival.usd,
        share=share,
        formula=f"1 - {_short(ours)} / {_short(theirs)}",
        basis=_basis(own, rival),
        reason=None if share is not None and share >= EXPECTED_SHARE else _reason(measured, rival, theirs),
    )


def _short(usd: Decimal) -> str:
    return f"{usd.normalize():f}" if len(f"{usd.normalize():f}") <= 12 else f"{usd:.4g}"


def _basis(own: Own, rival: Rival) -> str:
    """Say what is known of the accuracies that stand beside the prices."""
    paired = _paired(rival, own)
    if paired is not None and paired.p_value is not None:
        if paired.p_value >= _LEVEL:
            return "no difference in accuracy shown on the sample"
        better = "more" if (paired.difference.value or 0) > 0 else "less"
        return f"ours is {better} accurate on the sample"
    known = f"ours {_share(own.accuracy)}" if own.accuracy is not None else "ours not measured"
    if own.proven is not None and own.proven.is_met and own.proven.accuracy_low is not None:
        known = f"ours certified at {100 * own.proven.target:g} %"
    theirs = "not measured" if rival.accuracy is None else _share(rival.accuracy)
    free = f"; {own.labels_of_people:,} labels of ours are people's, not priced" if own.labels_of_people else ""
    return f"accuracy: {known}, {rival.name} {theirs}{free}"


def _paired(rival: Rival, own: Own) -> Paired | None:
    return None if rival.live is None else rival.live.paired[own.name][_POLICY]


def _share(estimate: Estimate) -> str:
    return "not measured" if estimate.value is None else f"{100 * estimate.value:.1f} %"


def _reason(measured: Measured, rival: Rival, theirs: Decimal) -> str:
    """Say where the money of a run goes, for a saving that is smaller than expected."""
    if not theirs:
        return f"{rival.name} costs nothing on these reviews"
    own, total = measured.own, Decimal(measured.own.usd)
    parts = sorted(((Decimal(usd), who) for who, usd in own.parts.items()), reverse=True)
    shares = [
        f"{100 * usd / total:.0f} % for {who}" for at, (usd, who) in enumerate(parts) if not at or usd / total >= _LARGE
    ]
    proof = ""
    if own.proven is not None and own.proven.n_reference_rows:
        proof = (
            f"; {own.proven.n_reference_rows:,} rows have the reference's own label, for the proof or for want of a "
            "surer one: a share that falls as the table grows"
        )
    return f"{_short(total)} USD, of which {_listed(shares)}{proof}"


def verdict(measured: Measured, billed: Billed) -> Verdict:
    """Compare a run of ours with a rival on cost, time and accuracy, and say at which volume the cost turns."""
    own, rival = measured.own, billed.rival
    accuracy = _accuracy(own, rival)
    is_known = accuracy != "not known"
    cost = _less(Decimal(own.usd), Decimal(rival.usd), "cheaper", "dearer", is_known=is_known)
    time: Outcome = "not known"
    if rival.seconds is not None:
        time = _less(Decimal(own.seconds), Decimal(rival.seconds), "faster", "slower", is_known=is_known)
    turn = turns_at(measured.curve, billed.curve, least=measured.least)
    return Verdict(
        own=own.name,
        rival=rival.name,
        cost=cost,
        time=time,
        accuracy=accuracy,
        turns_at=turn,
    )


def _less(ours: Decimal, theirs: Decimal, less: Outcome, more: Outcome, *, is_known: bool) -> Outcome:
    if ours == theirs:
        return "no difference shown"
    if is_known:
        return "wins" if ours < theirs else "loses"
    return less if ours < theirs else more


def _accuracy(own: Own, rival: Rival) -> Outcome:
    """Judge by the exact test on the rows that both answered; what was not compared row by row is not known."""
    paired = _paired(rival, own)
    if paired is None or paired.p_value is None:
        return "not known"
    if paired.p_value >= _LEVEL:
        return "no difference shown"
    return "wins" if (paired.difference.value or 0) > 0 else "loses"


def summary(pairs: Sequence[tuple[Measured, Billed, Verdict]]) -> tuple[str, ...]:
    """Say the verdicts in words, those of certified runs first, so that the last line is about the plain run.

    Rivals whose accuracy is not known share a sentence where only their names and prices differ.
    """
    said: list[tuple[bool, str]] = []
    alike: dict[tuple[bool, str, str, str], list[str]] = {}
    for measured, billed, made in pairs:
        is_plain = measured.own.proven is None
        if made.accuracy == "not known":
            *key, who = _unjudged(measured, billed.rival, made)
            alike.setdefault((is_plain, key[0], key[1], key[2]), []).append(who)
        else:
            said.append((is_plain, _judged(measured, billed.rival, made)))
    said += [
        (is_plain, f"{begins} {_listed(who)}{volume}; {why}") for (is_plain, begins, volume, why), who in alike.items()
    ]
    return tuple(sentence for _, sentence in sorted(said, key=lambda one: one[0]))


def _unjudged(measured: Measured, rival: Rival, made: Verdict) -> tuple[str, str, str, str]:
    """Return how a sentence begins, which volumes it is about, why nobody wins, and the rival."""
    name, ours, theirs = _named(measured.own), Decimal(measured.own.usd), Decimal(rival.usd)
    if rival.live is None:
        why = "nobody wins, as their accuracy is not measured (--live asks them about a sample)"
    else:
        why = "nobody wins, as the sample has no labels (--label-column)"
    if ours < theirs:
        who = f"{rival.name} ({_percent_less(ours, theirs)})"
        return f"{name} costs less than", _volume(measured, made), why, who
    return f"{name} costs {'as much as' if ours == theirs else 'more than'}", "", why, rival.name


def _judged(measured: Measured, rival: Rival, made: Verdict) -> str:
    """Say who wins on what, where both accuracies are known."""
    own, ours, theirs = measured.own, Decimal(measured.own.usd), Decimal(rival.usd)
    cost = f"{_percent_less(ours, theirs)} less{_volume(measured, made)}" if ours < theirs else "the other costs more"
    p_value = "" if (p := _p_value(rival, own)) is None else f"p = {p:.2g}, exact McNemar"
    told = {"cost": (made.cost, cost), "time": (made.time, ""), "accuracy": (made.accuracy, p_value)}
    parts = []
    for outcome, words in (("wins", f"{_named(own)} wins"), ("loses", f"{rival.name} wins")):
        on = [f"{what}{f' ({more})' if more else ''}" for what, (found, more) in told.items() if found == outcome]
        if on:
            parts.append(f"{words} against {rival.name if outcome == 'wins' else own.name} on {_listed(on)}")
    if made.cost == "no difference shown":
        parts.append("the cost is the same")
    if made.accuracy == "no difference shown":
        parts.append(f"no difference in accuracy is shown ({p_value})")
    return "; ".join(parts)


def _named(own: Own) -> str:
    if not own.labels_of_people:
        return own.name
    return f"{own.name} (without a price for {own.labels_of_people:,} labels of people)"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _volume(measured: Measured, made: Verdict) -> str:
    """Say at which monthly volumes it is less."""
    if made.turns_at is not None:
        begin = "" if measured.least == 1 else f" from {measured.least:,}"
        return f",{begin} up to {made.turns_at - 1:,} reviews a month"
    return ", at every monthly volume" if measured.least == 1 else f", from {measured.least:,} reviews a month on"


def _p_value(rival: Rival, own: Own) -> float | None:
    paired = _paired(rival, own)
    return None if paired is None else paired.p_value


def _percent_less(ours: Decimal, theirs: Decimal) -> str:
    """Return how much less that is, with so many places that 99.996 % is not told as 100 %."""
    left = ours / theirs
    places = 0 if left >= Decimal("0.02") else 2 if left >= Decimal("0.0001") else 4
    return f"{100 * (1 - left):.{places}f} %"
