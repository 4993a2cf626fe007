"""The ensemble: what no rung was sure of is asked of every voter, and the majority decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.cache.asked import Batch
from reviewopt.data import SOURCES
from reviewopt.dedup.spread import NO_LABEL, Draft, Fresh
from reviewopt.job import Local, Paid
from reviewopt.vote import Vote, vote

_ENSEMBLE: Final = SOURCES.index("ensemble")

Ask = Callable[[Paid, Batch, pl.DataFrame], Fresh]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the rungs said of a batch, (n, n_rungs) each: 255 and NaN where nothing; `asked`: if they were asked."""

    rungs: Sequence[Local | Paid]
    label: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    asked: npt.NDArray[np.bool_]
    rest: Mapping[int, pl.Series]


def decide(
    draft: Draft, unsure: I64, batch: Batch, kept: pl.DataFrame, said: Said, voters: Sequence[Paid], ask: Ask
) -> tuple[Vote, Decimal]:
    """Let the voters decide the questions at `unsure`; a voter that was a rung for a question is not asked it again.

    Args:
        draft: the answers so far, (n,); where anybody votes, the vote takes their place.
        unsure: int64 (n_unsure,), places in the batch.
        batch: the questions.
        kept: what is kept of each.
        said: what the rungs said.
        voters: who votes, the most trusted first.
        ask: asks a voter.

    Returns:
        The vote on the unsure ones, and what it cost in USD.
    """
    votes = np.full((len(unsure), len(voters)), NO_LABEL, np.uint8)
    sure = np.full((len(unsure), len(voters)), np.nan, np.float32)
    rest: list[pl.Series] = []
    usd = Decimal(0)
    for at, voter in enumerate(voters):
        asks = np.ones(len(unsure), np.bool_)
        rung = next((place for place, one in enumerate(said.rungs) if one is voter), None)
        if rung is not None:
            votes[:, at], sure[:, at] = said.label[unsure, rung], said.confidence[unsure, rung]
            asks = ~said.asked[unsure, rung]
        places, also = np.flatnonzero(asks), pl.repeat("", len(unsure), dtype=pl.String, eager=True)
        if rung is not None and rung in said.rest:
            also = said.rest[rung].gather(unsure)
        if len(places):
            here = unsure[places]
            answers = ask(voter, batch.at(here), kept[here])
            votes[places, at], sure[places, at] = answers.label, answers.confidence
            draft.pay(here, answers.cost_usd)
            usd += Decimal(answers.cost_usd.sum())
            also = also if answers.rest is None else also.scatter(places, answers.rest)
        rest.append(also.alias(f"{at}"))
    result = vote(votes, sure)
    _settle(draft, unsure, result, votes, pl.DataFrame(rest))
    return result, usd


def _settle(draft: Draft, unsure: I64, result: Vote, votes: npt.NDArray[np.uint8], rest: pl.DataFrame) -> None:
    decided = np.flatnonzero(result.label != NO_LABEL)
    here = unsure[decided]
    draft.label[here], draft.confidence[here] = result.label[decided], result.confidence[decided]
    draft.source[here], draft.outside[here] = _ENSEMBLE, False
    if draft.rest is not None:  # of the first member that voted for the label
        member = (votes == result.label[:, None]).argmax(axis=1)
        draft.rest = draft.rest.scatter(here, _rest_of(rest, member).gather(decided))
    draft.note = draft.note.scatter(here, _notes(result).gather(decided))


def _notes(result: Vote) -> pl.Series:
    words = pl.DataFrame({"disagreed": result.disagreed, "tied": result.tied}).select(
        pl.when("tied").then(pl.lit("the models disagreed, without a majority"))
        .when("disagreed").then(pl.lit("the models disagreed"))
    )  # fmt: skip
    return words.to_series().cast(pl.String)


def _rest_of(rest: pl.DataFrame, member: I64) -> pl.Series:
    """Return the other fields' answers of one member a question, String (n,)."""
    at = pl.Series("member", member).cast(pl.String)
    chosen = [pl.when(at == name).then(pl.col(name)) for name in rest.columns]
    return rest.select(pl.coalesce(*chosen, pl.lit(""))).to_series()
