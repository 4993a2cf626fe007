"""Whose answer a copy took: the first review with the same text, or the leader among near copies."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from reviewopt.cache.similar import sketched
from reviewopt.dedup import near
from reviewopt.explain.table import Labelled
from reviewopt.text.nearby import verify
from reviewopt.text.sharing import Sharing

_WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The row whose answer was taken, and the rapidfuzz ratio of the two texts, 0 to 100."""

    row: int
    similarity: float


def first_asker(labelled: Labelled, row: int, cluster: int | None, form: str) -> Shared | None:
    """Return the first row with the same text as `row`, None where that is the row itself."""
    if cluster is None:
        return None
    texts = labelled.texts_of_group(cluster)
    first = texts.filter((pl.col("form") == form) & (pl.col("row") < row))["row"]
    return Shared(row=int(first[0]), similarity=100.0) if len(first) else None


def leader(labelled: Labelled, cluster: int | None, form: str, *, threshold: float) -> Shared | None:
    """Return the row whose answer a near copy took, found anew by the same rule among the texts of its group."""
    if cluster is None:
        return None
    texts = labelled.texts_of_group(cluster)
    mine = texts.with_row_index("at").filter(pl.col("form") == form)["at"]
    if not len(mine):
        return None
    forms = texts["form"]
    found = near.find(forms, sketched(forms), threshold=threshold, workers=_WORKERS, alike=Sharing())
    at = int(found.leader[mine[0]])
    if at < 0:
        return None
    ratio = verify(forms[at : at + 1], forms[mine[0] : mine[0] + 1], threshold=0)
    return Shared(row=int(texts["row"][at]), similarity=round(float(ratio[0]), 1))
