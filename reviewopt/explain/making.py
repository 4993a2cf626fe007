"""explain(): a run, a review's id and what the home keeps -> Explanation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from reviewopt import budget, runs
from reviewopt.cache.archive import Archive
from reviewopt.cache.shelf import FOLDER
from reviewopt.data import SOURCES
from reviewopt.errors import InputError
from reviewopt.explain import asked, copies, stored
from reviewopt.explain.copies import Shared
from reviewopt.explain.stored import Hit, Kept
from reviewopt.explain.table import OTHER, Labelled, open_labelled, place_of
from reviewopt.explain.values import SCHEMA_VERSION, Explained, Explanation, Failed, Sent, Stored
from reviewopt.record import Run
from reviewopt.runs import RIVALS, RUNS, Home
from reviewopt.text import normal

MOST_ROWS: Final = 10
_CACHED: Final = ("l1", "l2", "l3")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """What an explanation is made from; `folder` is the run's, `entries` are those of its requests in the ledger."""

    run: Run
    labelled: Labelled
    kept: Kept
    folder: Path
    entries: pl.DataFrame


def home_of(record: Path, home: Home) -> Home:
    """Return the home that a run's record lies in, `home` where it lies in none."""
    folder = record.resolve().parent.parent
    return Home(folder.parent) if folder.name in {RUNS, RIVALS} else home


def explain(
    record: Path, review_id: str, *, home: Home, archive: Archive | None, output: Path | None = None
) -> Explanation:
    """Say of one review of a run where its answer came from.

    Args:
        record: the run's.
        review_id: as the id column of the input says it, or the number of the row, from 0, where there is none.
        home: where the archive and the spend ledger of the run are.
        archive: the home's, None where it has none.
        output: where the labelled table is now; None: where the run wrote it.

    Raises:
        InputError: the run has no labelled table, the table is not its own, or there is no such review in it.
    """
    run = runs.read(record)
    labelled = open_labelled(output or place_of(record, run), run)
    kept = Kept(folder=home.path / FOLDER, archive=archive, spend=home.path / budget.FOLDER)
    rows = labelled.of_id(review_id)
    if not rows:
        raise InputError(_unknown(run, review_id, labelled))
    entries = budget.entries(kept.spend, run.run_id)
    opened = _Opened(run=run, labelled=labelled, kept=kept, folder=record.parent, entries=entries)
    frame = labelled.at(rows[:MOST_ROWS])
    return Explanation(
        schema_version=SCHEMA_VERSION,
        run_id=run.run_id,
        review_id=review_id,
        output=str(labelled.path),
        task=run.task,
        model=run.model.name,
        models=_models(run),
        is_paid=run.model.is_paid,
        is_simulated=run.asked is not None and run.asked.is_simulated,
        n_rows=len(rows),
        rows=tuple(_explained(opened, row) for row in frame.iter_rows(named=True)),
    )


def _models(run: Run) -> dict[str, str]:
    """Return who is behind each source of a run's answers, as far as that is not its model."""
    reference = {} if run.certificate is None else {"reference": run.certificate.reference}
    if run.ladder is None:
        return reference
    vote = () if run.ladder.ensemble is None else run.ladder.ensemble.members
    rungs = {one.name: one.model for one in run.ladder.rungs}
    return rungs | ({"ensemble": ", ".join(vote)} if vote else {}) | reference


def _unknown(run: Run, review_id: str, labelled: Labelled) -> str:
    column = run.input.columns.get("id")
    ids = f"its ids are in the column {column}"
    if column is None:
        ids = f"the input has no id column, so a review's id is its row: 0 to {labelled.n_rows - 1}"
    return f"there is no review {review_id} in {labelled.path}, the table of the run {run.run_id}; {ids}"


def _explained(opened: _Opened, row: dict[str, Any]) -> Explained:
    """Explain a row by what its source says."""
    source, run = str(row["source"]), opened.run
    title, text = (pl.Series([row[name]], dtype=pl.String) for name in ("title", "text"))
    form = normal.normalise(title, text).item() or ""
    hit = Hit(form=form, tenant=row["tenant"], label=row["label"], confidence=row["confidence"])
    shared: Shared | None = None
    kept: Stored | None = None
    sent: tuple[Sent, ...] = ()
    failure: Failed | None = None
    remarks: list[str] = []
    if source in {"exact", "near"}:
        shared = _shared(opened, row, form)
        if shared is None:
            remarks.append("the review whose answer this one took was not found again in its group")
    elif source in _CACHED:
        may_be_similar = source != "l1" and run.model.is_paid and bool(_setting(run, "cache.similar.enabled"))
        threshold = float(str(_setting(run, "cache.similar.threshold"))) if may_be_similar else None
        kept = stored.find(opened.kept, run, hit, threshold=threshold)
        if kept is None:
            remarks.append(_not_kept(opened))
    elif source == "failed":
        shared, failure = _failed(opened, row, form)
    if run.asked is not None and (source in {"failed", "ensemble"} or source not in SOURCES):
        sent = _requests(opened, row, hit, remarks.append)
    return Explained(
        **{name: row[name] for name in ("row", "review_id", "title", "text", "tenant", "label", "source", "note")},
        others={name.removeprefix(OTHER): value for name, value in row.items() if name.startswith(OTHER)},
        confidence=None if hit.confidence is None else float(f"{hit.confidence:.7g}"),
        cost_usd=row["cost_usd"],
        duplicate_of=row["duplicate_of"],
        shared_from=None if shared is None else _explained(opened, opened.labelled.at([shared.row]).row(0, named=True)),
        similarity=None if shared is None else shared.similarity,
        stored=kept,
        requests=sent,
        failure=failure,
        remarks=tuple(remarks),
    )


def _shared(opened: _Opened, row: dict[str, Any], form: str) -> Shared | None:
    if row["source"] == "near":
        return _leader(opened, row, form)
    return copies.first_asker(opened.labelled, row["row"], row["cluster"], form)


def _leader(opened: _Opened, row: dict[str, Any], form: str) -> Shared | None:
    threshold = float(str(_setting(opened.run, "dedup.threshold")))
    return copies.leader(opened.labelled, row["cluster"], form, threshold=threshold)


def _failed(opened: _Opened, row: dict[str, Any], form: str) -> tuple[Shared | None, Failed]:
    """Find the review that was asked in this one's place, if another was, and why it got no answer."""
    first = copies.first_asker(opened.labelled, row["row"], row["cluster"], form)
    followed = _leader(opened, row, form) if opened.run.near == "share" else None
    ids = [row["review_id"]]
    shared = None
    for one in (followed, first):
        if one is None:
            continue
        stands_for = opened.labelled.at([one.row]).row(0, named=True)
        if stands_for["source"] == "failed":  # else it was no leader: its own answer was that to another text
            shared = one
            ids.append(stands_for["review_id"])
    return shared, asked.failure(opened.folder, ids, row["note"])


def _requests(opened: _Opened, row: dict[str, Any], hit: Hit, remark: Callable[[str], None]) -> tuple[Sent, ...]:
    is_answered = row["source"] != "failed"
    keys = stored.keys_of(opened.kept, opened.run, hit)
    questions = budget.asked_questions(opened.kept.spend, run_id=opened.run.run_id, review_id=row["review_id"])
    sent, is_mixed = asked.requests(questions, opened.entries, keys, is_answered=is_answered)
    if is_mixed:
        remark("several different texts have this id: the requests are those of all of them")
    if not sent and is_answered:
        remark(f"the spend ledger in {opened.kept.spend} knows no request for it: it was moved, or begun anew since")
    return sent


def _not_kept(opened: _Opened) -> str:
    folder = opened.kept.folder
    if opened.kept.archive is None:
        return (
            f"there is no archive in {folder} any more, so nothing is known of the stored answer but what the row says"
        )
    return (
        f"the archive in {folder} does not hold this answer any more: it was cleared, invalidated, replaced by a newer "
        "one, or made room"
    )


def _setting(run: Run, name: str) -> str | bool | float | None:
    """Return a setting of the run."""
    return next(one.value for one in run.config if one.name == name)
