"""The requests that a review was in, from the spend ledger, and why it stayed unanswered, from the run's failures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from reviewopt import runs
from reviewopt.errors import InputError
from reviewopt.explain.values import Failed, Sent

_FAILURE_SCHEMA: Final = {
    "review_id": pl.String(),
    "tenant": pl.String(),
    "reason": pl.String(),
    "n_tries": pl.Int64(),
    "is_of_text": pl.Boolean(),
}
_AGAIN: Final = "run the same command again with --force: only what is missing is asked"
_RETRY: Final = "later runs leave it alone; ask it again with --force --retry-failures"


def requests(
    asked: pl.DataFrame, entries: pl.DataFrame, keys: pl.Series, *, is_answered: bool
) -> tuple[tuple[Sent, ...], bool]:
    """Return the settled requests of a run that a review was in, oldest first.

    Args:
        asked: what the run asked of the review's id, as `budget.asked_questions` says.
        entries: the run's, as `budget.entries` says.
        keys: String (n,), keys that its answer may have, which tell reviews with one id apart.
        is_answered: whether the last of them brought an answer.

    Returns:
        The requests, and whether they are those of several texts with this id.
    """
    of_text = asked.filter(asked["key"].is_in(keys.to_list()))
    asked = of_text if of_text.height else asked
    if not asked.height:
        return (), False
    ended = entries.filter(pl.col("kind") == "settle")
    named = asked.rename({"usd": "share_usd"}).drop("run_id", "model", "outcome")
    joined = named.join(ended, on="reservation", how="inner", maintain_order="left")
    # A question is asked anew of the same model only where its reply brought nothing valid; each key is a way to ask.
    is_last = joined.select(pl.struct("model", "key").is_last_distinct()).to_series()
    made = tuple(
        _sent(row, is_answer=is_answered and last)
        for row, last in zip(joined.iter_rows(named=True), is_last, strict=True)
    )
    n_keys = asked.group_by("model").agg(pl.col("key").n_unique())["key"].to_list()
    return made, not of_text.height and max(n_keys, default=0) > 1


def failure(folder: Path, review_ids: Sequence[str], note: str | None) -> Failed:
    """Say why a review stayed unanswered.

    Args:
        folder: the run's.
        review_ids: the reviews that stand for its question: its own id, and those of which it is a copy.
        note: what its row says.

    Raises:
        InputError: the run's file of failures is damaged.
    """
    found = _failures(folder / runs.FAILURES, review_ids)
    if note is not None and note in found["reason"]:
        found = found.filter(pl.col("reason") == note)
    if not found.height:
        reason = note or "not recorded"
        return Failed(reason=reason, was_asked=False, n_tries=None, is_of_text=True, advice=_RETRY)
    last = found.row(-1, named=True)
    advice = _RETRY if last["is_of_text"] else _AGAIN
    if last["reason"].startswith("the budget"):
        advice = f"raise the budget and {_AGAIN}"
    return Failed(
        reason=last["reason"],
        was_asked=True,
        n_tries=last["n_tries"],
        is_of_text=last["is_of_text"],
        advice=advice,
    )


def _failures(path: Path, review_ids: Sequence[str]) -> pl.DataFrame:
    if not path.is_file() or not path.stat().st_size:
        return pl.DataFrame(schema=_FAILURE_SCHEMA)
    try:
        lines = pl.scan_ndjson(path, schema=_FAILURE_SCHEMA)
        return lines.filter(pl.col("review_id").is_in(list(review_ids))).collect()
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: not the failures of a run: {error}; the note of each row says why too") from error


def _sent(row: dict[str, Any], *, is_answer: bool) -> Sent:
    return Sent(
        settled_at=row["at"].isoformat(timespec="seconds"),
        model=row["model"],
        endpoint=row["endpoint"],
        outcome=row["outcome"],
        is_answer=is_answer,
        n_reviews=row["n_reviews"],
        share_tokens=row["n_tokens"],
        share_usd=f"{row['share_usd']:f}",
        cost_usd=f"{row['usd']:f}",
        input_tokens=row["input_tokens"],
        cached_tokens=row["cached_tokens"],
        output_tokens=row["output_tokens"],
        reasoning_tokens=row["reasoning_tokens"],
        seconds=row["seconds"],
        request_id=row["request_id"],
    )
