"""The policy of a run with several models: made from a sample, and mended while the run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from reviewopt.route.staying import F32, Bools, Threshold, threshold
from reviewopt.route.strategies import LEVELS, STRATEGIES, Rules
from reviewopt.settings import Strategy

_N_BANDS: Final = 10  # bands of equal share of the sample in which climbed answers are weighed; chosen
_SMALLEST_MOVE: Final = 0.005  # of a threshold: below it a replan leaves it alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """What is known of one rung.

    Attributes:
        name: for people.
        confidence: float32 (n,) of its answers to the sample; NaN where not known.
        agrees: bool (n,): whether these are the top rung's answers, or the labels that are known.
        usd_per_answer: None where not measured.
        s_per_answer: None where not measured.
        suffices: bool (n,): whether climbing to the top would not better it; None: where it agrees. Against a column:
            where it is right or the top rung is wrong, so that a column nobody can meet does not send all to the top.
        climbed_confidence: float32 (n_climbed,) of its answers that climbed in this run.
        climbed_agrees: bool (n_climbed,): whether the next answer above was the same.
    """

    name: str
    confidence: F32
    agrees: Bools
    usd_per_answer: float | None = None
    s_per_answer: float | None = None
    suffices: Bools | None = None
    climbed_confidence: F32 = field(default_factory=lambda: np.empty(0, np.float32))
    climbed_agrees: Bools = field(default_factory=lambda: np.empty(0, np.bool_))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which rung answers what; rungs count from 0, the cheapest.

    Attributes:
        entry: the rung that questions of each of `LEVELS` enter; always one that is used.
        thresholds: (n_rungs,): as `Threshold.value`; 0.0 at the last used rung, None at rungs that are not used.
        used: (n_rungs,).
    """

    entry: tuple[int, ...]
    thresholds: tuple[float | None, ...]
    used: tuple[bool, ...]

    def above(self, rung: int) -> int | None:
        """Return the rung to which an answer climbs; None from the last."""
        return next((at for at in range(rung + 1, len(self.used)) if self.used[at]), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A policy, the threshold of every rung with its figures (of those that are not used too), and what to tell.

    `notes` are sentences: why a rung is left out, or what a replan changed; none where there is nothing to say.
    """

    policy: Policy
    thresholds: tuple[Threshold, ...]
    notes: tuple[str, ...]


def decide(strategy: Strategy, rungs: Sequence[Rung]) -> Decision:
    """Make the policy of a strategy from what every rung answered to the sample.

    A rung of which no answer would stay is left out, and so is one that does not pay (see `replan`). A strategy that
    does not climb takes the one rung with the fewest seconds an answer of those whose answers all stay.

    Args:
        strategy: one of `STRATEGIES`.
        rungs: from cheap to dear, at least one; the last is the reference of the others.
    """
    rules = STRATEGIES[strategy]
    found = [
        threshold(rung.confidence, rung.agrees, _allowed(rules, rung, rungs[-1]), suffices=rung.suffices)
        for rung in rungs[:-1]
    ]
    if rules.climbs:
        return _decided(rules, rungs, found, [one.value is not None for one in found])
    top = len(rungs) - 1
    alone = [at for at, one in enumerate(found) if one.value == 0] + [top]
    best = min(alone, key=lambda at: (_seconds(rungs[at]), at))
    decision = _decided(rules, rungs, found, [False] * top)
    return replace(
        decision,
        policy=Policy(
            entry=(best,) * len(LEVELS),
            thresholds=tuple(0.0 if at == best else None for at in range(len(rungs))),
            used=tuple(at == best for at in range(len(rungs))),
        ),
        notes=(f"{rungs[best].name} answers all: the fastest of those within a tolerance of {rules.tolerance:g}",),
    )


def replan(strategy: Strategy, policy: Policy, rungs: Sequence[Rung]) -> Decision:
    """Mend the policy by what the run has seen so far; a strategy that does not replan keeps it.

    (a) Thresholds are found again from the sample and the answers that climbed. Only answers below a threshold climb,
    so these would make a rung look worse than it is; so each tenth of the sample's confidences counts as much as it
    does in the sample, and the climbed answers only say more exactly how often the answers of that tenth agree. They
    can lower a threshold and hardly raise it: what stayed is not looked at again. They are compared with the next
    answer above, not with the top's: where that is wrong in the same way, a rung looks better than it is.

    (b) A rung is left out when asking it costs at least as much as it saves: its price is at least its share of staying
    answers times the expected cost from the next rung on. That share is of answers to the whole sample; what climbed
    from below is harder. Where a price is not known, or the next costs nothing, the rung stays. A rung that is left out
    does not come back.

    Args:
        strategy: one of `STRATEGIES`.
        policy: the one in force.
        rungs: as for `decide`, with what climbed.

    Returns:
        The new policy, with a sentence for each change.
    """
    rules = STRATEGIES[strategy]
    found = [_with_climbed(rung, _allowed(rules, rung, rungs[-1])) for rung in rungs[:-1]]
    if not rules.replans:
        return Decision(policy=policy, thresholds=(*found, _of_top(rungs[-1])), notes=())
    notes = []
    for at, one in enumerate(found):
        before = policy.thresholds[at]
        if not policy.used[at] or one.value == before:
            continue
        if one.value is not None and before is not None and abs(one.value - before) < _SMALLEST_MOVE:
            found[at] = replace(one, value=before)
        elif one.value is not None and before is not None:
            notes.append(f"{rungs[at].name}: answers stay from a confidence of {one.value:.3f}, no longer {before:.3f}")
    used = [was and one.value is not None for was, one in zip(policy.used, found, strict=False)]
    decision = _decided(rules, rungs, found, used, policy.used)
    return replace(decision, notes=(*notes, *decision.notes))


def _decided(
    rules: Rules,
    rungs: Sequence[Rung],
    found: Sequence[Threshold],
    used: Sequence[bool],
    was_used: Sequence[bool] | None = None,
) -> Decision:
    """Leave out what does not pay, and let the levels enter what is left; a note for each rung left out just now."""
    kept, notes = [*used, True], []
    next_usd = rungs[-1].usd_per_answer  # expected, from the next used rung on
    for at in range(len(found) - 1, -1, -1):
        name, usd, stayed = rungs[at].name, rungs[at].usd_per_answer, found[at].stayed_share or 0.0
        if found[at].value is None and (was_used is None or was_used[at]):
            notes.append(f"{name} is left out: no answer of it is sure enough to stay")
        if not kept[at] or usd is None or next_usd is None:
            continue
        if next_usd > 0 and usd >= stayed * next_usd:
            kept[at] = False
            notes.append(
                f"{name} is left out: {usd:.3g} USD an answer of which {stayed:.0%} stay, where the next costs "
                f"{next_usd:.3g} USD"
            )
        else:
            next_usd = usd + (1 - stayed) * next_usd
    places = [at for at, is_kept in enumerate(kept) if is_kept]
    values = (*(one.value for one in found), 0.0)
    policy = Policy(
        entry=tuple(places[rules.entry(level, len(places))] for level in range(len(LEVELS))),
        thresholds=tuple(value if is_kept else None for value, is_kept in zip(values, kept, strict=True)),
        used=tuple(kept),
    )
    return Decision(policy=policy, thresholds=(*found, _of_top(rungs[-1])), notes=tuple(reversed(notes)))


def _allowed(rules: Rules, rung: Rung, top: Rung) -> float:
    """The tolerance; beside the top's own disagreement where known labels are the reference and nothing tells more.

    That is too much where the top is wrong mostly on what climbs anyway; `Rung.suffices` tells it review by review.
    """
    if rung.suffices is not None or not len(top.agrees):
        return rules.tolerance
    return min(1.0, rules.tolerance + 1 - float(top.agrees.mean()))


def _of_top(rung: Rung) -> Threshold:
    """The last rung's: all its answers stay, whatever they agree with."""
    return replace(threshold(rung.confidence, rung.agrees, 1.0), value=0.0)


def _with_climbed(rung: Rung, tolerance: float) -> Threshold:
    """The threshold from the sample and the climbed answers, each tenth of the sample counting as much as in it."""
    known = rung.confidence[~np.isnan(rung.confidence)]
    edges = np.quantile(known, np.arange(1, _N_BANDS) / _N_BANDS) if len(known) else np.empty(0)
    together = np.concatenate((rung.confidence, rung.climbed_confidence))
    band = np.where(np.isnan(together), _N_BANDS, np.searchsorted(edges, together, side="right"))
    n_sample = np.bincount(band[: len(rung.confidence)], minlength=_N_BANDS + 1)
    n_all = np.bincount(band, minlength=_N_BANDS + 1)
    suffices = rung.agrees if rung.suffices is None else rung.suffices
    return threshold(
        together,
        np.concatenate((rung.agrees, rung.climbed_agrees)),
        tolerance,
        suffices=np.concatenate((suffices, rung.climbed_agrees)),
        weight=n_sample[band] / n_all[band],
    )


def _seconds(rung: Rung) -> float:
    return float("inf") if rung.s_per_answer is None else rung.s_per_answer
