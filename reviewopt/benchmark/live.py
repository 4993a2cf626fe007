"""What a rival really answered, row by row beside our own labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from reviewopt.benchmark.record import Live
from reviewopt.paired import paired
from reviewopt.record import Run

MIXED: Final = "mixed"
NEUTRAL: Final = "neutral"


def live(run: Run, *, ours: Mapping[str, pl.Series], theirs: pl.Series, truth: pl.Series | None) -> Live:
    """Compare a rival's answers with those of our runs on the rows of the sample, under both meanings of "mixed".

    Args:
        run: the record of asking the rival.
        ours: the labels of each run of ours by its name, String (n_sampled,), null where there is none.
        theirs: the rival's answers, String (n_sampled,), as it gave them.
        truth: the labels that the table brings, String (n_sampled,), null where a row has none.
    """
    n_mixed = int((theirs == MIXED).sum())
    policies = {
        "dropped": theirs.set(theirs == MIXED, None),
        NEUTRAL: theirs.set(theirs == MIXED, NEUTRAL),
    }
    asked = run.asked
    return Live(
        run_id=run.run_id,
        n_sampled=len(theirs),
        n_answered=len(theirs) - theirs.null_count(),
        n_mixed=n_mixed,
        seconds=run.wall_s,
        spent_usd="0" if asked is None else asked.spent_usd,
        is_simulated=asked is not None and asked.is_simulated,
        paired={
            own: {name: paired(labels, said, truth) for name, said in policies.items()} for own, labels in ours.items()
        },
    )
