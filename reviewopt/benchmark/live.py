"""What a rival really answered, row by row beside our own labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from reviewopt.benchmark.record import POLICIES, Live
from reviewopt.paired import paired
from reviewopt.record import Run

_MIXED: Final = "mixed"
_DROPPED, _NEUTRAL = POLICIES


def live(
    run: Run, *, labels: Sequence[str], ours: Mapping[str, pl.Series], theirs: pl.Series, truth: pl.Series | None
) -> Live:
    """Compare a rival's answers with those of our runs on the rows of the sample, under both meanings of "mixed".

    Args:
        run: the record of asking the rival.
        labels: those of the task; an answer that is none of them is no answer where such rows are dropped, and wrong
            where they count.
        ours: the labels of each run of ours by its name, String (n_sampled,), null where there is none.
        theirs: the rival's answers, String (n_sampled,), as it gave them.
        truth: the labels that the table brings, String (n_sampled,), null where a row has none.
    """
    policies = {
        _DROPPED: theirs.set(~theirs.is_in(list(labels)).fill_null(value=True), None),
        _NEUTRAL: theirs.set(theirs == _MIXED, _NEUTRAL),
    }
    asked = run.asked
    return Live(
        run_id=run.run_id,
        n_sampled=len(theirs),
        n_answered=len(theirs) - theirs.null_count(),
        n_mixed=int((theirs == _MIXED).sum()),
        seconds=run.wall_s,
        spent_usd="0" if asked is None else asked.spent_usd,
        is_simulated=asked is not None and asked.is_simulated,
        paired={
            own: {name: paired(mine, said, truth) for name, said in policies.items()} for own, mine in ours.items()
        },
    )
