"""Who is ahead of whom on what: "wins" is judged only where both accuracies are known."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from reviewopt.benchmark.own import Measured
from reviewopt.benchmark.record import POLICIES, Live, Outcome, Own, Rival, Saving, Verdict
from reviewopt.benchmark.rivals import Billed
from reviewopt.benchmark.volume import turns_at
from reviewopt.paired import Paired

# What a saving is expected to be, at least: below it, the reason is asked for.
EXPECTED_SHARE: Final = 0.8
# An accuracy counts as known from so many labelled rows that both answered: 95 % of the time it is then within ten
# points of that of all rows (Wilson's interval at one half).
LEAST_PAIRS: Final = 100
_LEVEL: Final = 0.05
_LARGE: Final = Decimal("0.1")  # a part of the bill that is worth a word


def saving(measured: Measured, rival: Rival) -> Saving:
    """Work out what a run of ours saves on these reviews, and why it is little or not known where it is."""
    own = measured.own
    ours, theirs = Decimal(own.usd), Decimal(rival.usd)
    share = float(1 - ours / theirs) if theirs and own.not_comparable is None else None
    reason: str | None = None
    if share is None:
        reason = own.not_comparable or f"{rival.name} costs nothing on these reviews"
    elif share < EXPECTED_SHARE:
        reason = _where_it_goes(own)
    return Saving(
        own=own.name,
        rival=rival.name,
        own_usd=own.usd,
        rival_usd=rival.usd,
        share=share,
        formula=f"1 - {short(ours)} / {short(theirs)}",
        basis=_basis(own, rival),
        reason=reason,
    )


def short(usd: Decimal) -> str:
    """Write USD as they are, or with four digits where that is long."""
    exact = f"{usd.normalize():f}"
    return exact if len(exact) <= 12 else f"{usd:.4g}"


def _basis(own: Own, rival: Rival) -> str:
    """Say what is known of the accuracies that stand beside the prices."""
    ours = "not measured" if own.accuracy is None or own.accuracy.value is None else f"{100 * own.accuracy.value:.1f} %"
    if own.proven is not None and own.proven.is_met:
        ours = f"certified at {100 * own.proven.target:g} %"
    found = rival.accuracy
    theirs = "not measured" if found is None or found.value is None else f"{100 * found.value:.1f} %"
    return f"accuracy: ours {ours}, {rival.name} {theirs}"


def _where_it_goes(own: Own) -> str:
    """Say where the money of a run goes."""
    total = Decimal(own.usd)
    parts = sorted(((Decimal(usd), who) for who, usd in own.parts.items()), reverse=True)
    large = [(usd, who) for at, (usd, who) in enumerate(parts) if not at or usd / total >= _LARGE]
    shares = " and ".join(f"{100 * usd / total:.0f} % for {who}" for usd, who in large)
    proof = ""
    if own.proven is not None and own.proven.n_reference_rows:
        proof = (
            f"; {own.proven.n_reference_rows:,} rows have the reference's own label, for the proof or for want of a "
            "surer one: a share that falls as the table grows"
        )
    return f"{short(total)} USD, of which {shares}{proof}"


def verdict(measured: Measured, billed: Billed) -> Verdict:
    """Compare a run of ours with a rival on cost, time and accuracy, and say at which volume the cost turns.

    Time is judged against a documented rate limit alone: what a plan expects of a model is a guess.
    """
    own, rival = measured.own, billed.rival
    accuracy, why = _accuracy(own, rival)
    is_known, is_comparable = accuracy != "not known", own.not_comparable is None
    cost: Outcome = "not known"
    time: Outcome = "not known"
    if is_comparable:
        cost = _less(Decimal(own.usd), Decimal(rival.usd), "cheaper", "dearer", is_known=is_known)
        if rival.kind == "service" and rival.seconds is not None:
            time = _less(Decimal(own.seconds), Decimal(rival.seconds), "faster", "slower", is_known=is_known)
    return Verdict(
        own=own.name,
        rival=rival.name,
        cost=cost,
        time=time,
        accuracy=accuracy,
        why=why,
        turns_at=turns_at(measured.curve, billed.curve, least=measured.least) if is_comparable else None,
    )


def _less(ours: Decimal, theirs: Decimal, less: Outcome, more: Outcome, *, is_known: bool) -> Outcome:
    if ours == theirs:
        return "no difference shown"
    if is_known:
        return "wins" if ours < theirs else "loses"
    return less if ours < theirs else more


def _accuracy(own: Own, rival: Rival) -> tuple[Outcome, str]:
    """Judge by the exact test on the rows that both answered, and say by what, or why not.

    Whatever "mixed" counts as, the verdict must be the same.
    """
    if rival.live is None:
        return "not known", "their accuracy is not measured (--live asks them about a sample)"
    paired = [rival.live.paired[own.name][policy] for policy in POLICIES]
    if (obstacle := _untestable(own, rival.live, paired)) is not None:
        return "not known", obstacle
    p_values = " or ".join(dict.fromkeys(f"{one.p_value:.2g}" for one in paired))
    outcomes = {_by_test(one) for one in paired}
    if len(outcomes) == 1:
        return outcomes.pop(), f"p = {p_values}, exact McNemar"
    return "no difference shown", f"p = {p_values}, by what mixed counts as"


def _untestable(own: Own, live: Live, paired: Sequence[Paired]) -> str | None:
    """Say why no test of the accuracies can be made, None where one can."""
    if own.proven is not None and own.labels_of_people:
        return "labels of ours are the truth itself, and no test of it"
    if not live.n_answered:
        return "it answered none of the sample"
    n_least = min(one.n_labelled for one in paired)
    if not n_least or any(one.p_value is None for one in paired):
        return "no review that both answered has a label (--label-column)"
    if n_least < LEAST_PAIRS:
        return f"{n_least} labelled reviews that both answered are too few ({LEAST_PAIRS} at least)"
    return None


def _by_test(paired: Paired) -> Outcome:
    if paired.p_value is None or paired.p_value >= _LEVEL:
        return "no difference shown"
    return "wins" if (paired.difference.value or 0) > 0 else "loses"
