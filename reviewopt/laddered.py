"""What each rung of a ladder did, counted while it runs, and as the run's record keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt

from reviewopt.asking import Asking
from reviewopt.data import EndpointHealth, Traffic
from reviewopt.dedup.spread import NO_LABEL, Fresh
from reviewopt.job import Job, Paid
from reviewopt.record import AskRecord, EnsembleRecord, LadderRecord, RungRecord, Tokens
from reviewopt.route import LEVELS, Policy, Threshold
from reviewopt.vote import Vote

# Of the answers beside those of the rung above, the newest that are kept: enough for a share to within .5 %.
_MOST_PAIRS: Final = 20_000

Flags = npt.NDArray[np.bool_]


@dataclass(slots=True)
class RungTally:
    """What one rung did so far; `pairs_*` are its answers beside those of the rung above, where both were asked."""

    n_answered: int = 0
    n_stayed: int = 0
    n_climbed: int = 0
    seconds: float = 0.0
    pair_confidence: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    pair_agrees: Flags = field(default_factory=lambda: np.empty(0, np.bool_))


class Tally:
    """Counts over all chunks of a run."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.rungs = [RungTally() for _ in job.rungs]
        self.reference = ""
        self.tolerance = 0.0
        self.thresholds: Sequence[Threshold | None] = [None] * len(job.rungs)
        self.replans: list[str] = []
        self._n_by_level = np.zeros(len(LEVELS), np.int64)
        self._n_voted = self._n_disagreed = self._n_tied = 0
        self.vote_usd = Decimal(0)
        self.n_fallen_back = 0

    def see(self, level: npt.NDArray[np.uint8]) -> None:
        """Count questions by how complex they are."""
        self._n_by_level += np.bincount(level, minlength=len(LEVELS))

    def answered(self, at: int, said: Fresh, stays: Flags, *, is_last: bool, seconds: float) -> None:
        """Count what the rung `at` said, of which some stays."""
        rung, n = self.rungs[at], int((said.label != NO_LABEL).sum())
        rung.n_answered += n
        rung.n_stayed += n if is_last else int(stays.sum())
        rung.n_climbed += 0 if is_last else n - int(stays.sum())
        rung.seconds += seconds

    def sampled(self, source: str, n: int) -> None:
        """Count questions whose answers the sample had bought of a rung."""
        for rung, tally in zip(self._job.rungs, self.rungs, strict=True):
            if rung.source == source:
                tally.n_answered += n
                tally.n_stayed += n

    def fell_back(self, at: int, n: int) -> None:
        """Count answers of a rung that stand in for those above, which gave none."""
        self.rungs[at].n_answered += n
        self.rungs[at].n_stayed += n

    def learn(self, label: npt.NDArray[np.uint8], confidence: npt.NDArray[np.float32]) -> None:
        """Set each rung's answers beside the next answer above, (n, n_rungs) each."""
        if self._job.config.ladder.strategy != "adaptive":
            return
        above = np.full(len(label), NO_LABEL, np.uint8)
        for at in range(label.shape[1] - 1, -1, -1):
            mine = label[:, at]
            both = (mine != NO_LABEL) & (above != NO_LABEL)
            rung = self.rungs[at]
            rung.pair_confidence = np.append(rung.pair_confidence, confidence[both, at])[-_MOST_PAIRS:]
            rung.pair_agrees = np.append(rung.pair_agrees, mine[both] == above[both])[-_MOST_PAIRS:]
            above = np.where(mine != NO_LABEL, mine, above)

    def voted(self, result: Vote, usd: Decimal) -> None:
        """Count a vote, which cost so much."""
        self._n_voted += len(result.label)
        self._n_disagreed += int(result.disagreed.sum())
        self._n_tied += int(result.tied.sum())
        self.vote_usd += usd

    def record(self, policy: Policy, asking: Mapping[str, Asking]) -> LadderRecord | None:
        """Return all of it; None for a run of one model."""
        job = self._job
        if not job.is_ladder:
            return None
        ensemble = EnsembleRecord(
            members=tuple(one.source for one in job.voters),
            n_asked=self._n_voted,
            n_disagreed=self._n_disagreed,
            n_tied=self._n_tied,
            spent_usd=f"{self.vote_usd:f}",
        )
        return LadderRecord(
            strategy=job.config.ladder.strategy if job.reference is None else "certificate",
            is_certified=job.reference is not None,
            reference=self.reference,
            tolerance=self.tolerance,
            n_by_level=dict(zip(LEVELS, self._n_by_level.tolist(), strict=True)),
            rungs=tuple(self._rung(at, policy, asking) for at in range(len(job.rungs))),
            n_fallen_back=self.n_fallen_back,
            replans=tuple(self.replans),
            ensemble=ensemble if job.voters else None,
        )

    def _rung(self, at: int, policy: Policy, asking: Mapping[str, Asking]) -> RungRecord:
        rung, tally, found = self._job.rungs[at], self.rungs[at], self.thresholds[at]
        n_requests, usd, packs = 0, Decimal(0), None
        if isinstance(rung, Paid):
            n_requests = sum(asking[rung.source].pool.counts.outcomes.values())
            usd, packs = asking[rung.source].paying.spent_usd, asking[rung.source].tuning
        else:
            usd = tally.n_answered * rung.price_usd
        return RungRecord(
            name=rung.source,
            model=rung.record.name,
            threshold=policy.thresholds[at],
            n_sampled=0 if found is None else found.n,
            agreement=None if found is None else found.agreement,
            stayed_share=None if found is None else found.stayed_share,
            stayed_agreement=None if found is None else found.stayed_agreement,
            n_answered=tally.n_answered,
            n_stayed=tally.n_stayed,
            n_climbed=tally.n_climbed,
            n_requests=n_requests,
            spent_usd=f"{usd:f}",
            seconds=round(tally.seconds, 6),
            packs=packs,
        )


def together(records: Sequence[AskRecord]) -> AskRecord | None:
    """Return what asking several models took in all; None where none was asked."""
    if len(records) < 2:
        return records[0] if records else None
    n_requests, n_asked = sum(one.n_requests for one in records), sum(one.n_asked for one in records)
    n_packs = sum(one.n_asked / one.mean_pack_size for one in records if one.mean_pack_size)
    reply_s = sum(one.reply_s * one.n_requests for one in records if one.reply_s is not None)
    saved = [Decimal(one.cache_saved_usd) for one in records if one.cache_saved_usd is not None]
    alerts = {(one.scope, one.threshold_percent): one for record in records for one in record.alerts}
    return AskRecord(
        endpoint=", ".join(dict.fromkeys(one.endpoint for one in records)),
        is_simulated=any(one.is_simulated for one in records),
        price=", ".join(dict.fromkeys(one.price for one in records)),
        n_requests=n_requests,
        outcomes=_sums([one.outcomes for one in records]),
        n_asked=n_asked,
        n_asked_again=sum(one.n_asked_again for one in records),
        mean_pack_size=n_asked / n_packs if n_packs else None,
        n_shortened=sum(one.n_shortened for one in records),
        n_over_budget=sum(one.n_over_budget for one in records),
        n_over_deadline=sum(one.n_over_deadline for one in records),
        failures=_sums([one.failures for one in records]),
        tokens=Tokens(
            input=sum(one.tokens.input for one in records),
            cached=sum(one.tokens.cached for one in records),
            cache_write=sum(one.tokens.cache_write for one in records),
            output=sum(one.tokens.output for one in records),
            reasoning=sum(one.tokens.reasoning for one in records),
        ),
        spent_usd=f"{sum((Decimal(one.spent_usd) for one in records), Decimal(0)):f}",
        no_reply_usd=f"{sum((Decimal(one.no_reply_usd) for one in records), Decimal(0)):f}",
        budget_usd=records[0].budget_usd,
        reply_s=reply_s / n_requests if n_requests else None,
        waited_s=sum(one.waited_s for one in records),
        most_in_flight=max(one.most_in_flight for one in records),
        n_kept_of_cut=sum(one.n_kept_of_cut for one in records),
        cache_saved_usd=f"{sum(saved, Decimal(0)):f}" if saved else None,
        traffic=_traffic([one.traffic for one in records]),
        packs=None,
        hardware=next((one.hardware for one in records if one.hardware is not None), None),
        alerts=tuple(alerts.values()),
    )


def _sums(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for one in counts for name in one)
    return {name: sum(one.get(name, 0) for one in counts) for name in names}


def _traffic(parts: Sequence[Traffic]) -> Traffic:
    # A model at one endpoint is told of by its rung: what fails over is what is worth a line of its own.
    endpoints: list[EndpointHealth] = [one for part in parts if len(part.endpoints) > 1 for one in part.endpoints]
    return Traffic(
        endpoints=tuple(endpoints),
        sent_bytes=sum(one.sent_bytes for one in parts),
        sent_wire_bytes=sum(one.sent_wire_bytes for one in parts),
        received_bytes=sum(one.received_bytes for one in parts),
        received_wire_bytes=sum(one.received_wire_bytes for one in parts),
    )
