"""The archived answer behind a hit of the cache, found again by its key or, for a similar text, by the index."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import budget
from reviewopt.cache.archive import Archive
from reviewopt.cache.entry import head
from reviewopt.cache.keys import GIVEN, Context, canonical, group, make_keys
from reviewopt.cache.similar import Judge, Queries, Signer, SimilarArchive, sketched
from reviewopt.cache.upkeep import known_contexts
from reviewopt.data import SOURCES
from reviewopt.explain.values import Stored
from reviewopt.record import Run
from reviewopt.text.nearby import verify
from reviewopt.text.sharing import Sharing

_ORDER = {**{source: at for at, source in enumerate(GIVEN)}, "model": len(GIVEN)}
_WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """What a row says of the answer that it took: the normal form of its text, its tenant, the label and how sure."""

    form: str
    tenant: str | None
    label: str | None
    confidence: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a home keeps: the folder of the archive, the open archive or None, and the folder of the spend ledger."""

    folder: Path
    archive: Archive | None
    spend: Path


def find(kept: Kept, run: Run, hit: Hit, *, threshold: float | None) -> Stored | None:
    """Return the answer that a hit took, None where the archive does not hold it any more.

    Of several that would fit, what people said comes before labelled history and that before a model; then the newest.
    `threshold` is that of similar texts, None where the run took no answer to another text.
    """
    if kept.archive is None:
        return None
    known = known_contexts(kept.archive.contexts())
    contexts = {name: context for name, context in known.items() if _fits(context, run, hit)}
    if not contexts:
        return None
    if not (found := _same_text(kept.archive, run, hit, contexts)).height and threshold is not None:
        found = _similar_text(kept, kept.archive, run, hit, contexts, threshold)
    if not found.height:
        return None
    order = found["context"].replace_strict({name: _ORDER[one.source] for name, one in contexts.items()})
    best = found.with_columns(order.alias("order")).sort("order", "created_s", descending=[False, True])
    return _stored(kept, best.row(0, named=True), contexts, hit)


def keys_of(kept: Kept, run: Run, hit: Hit) -> pl.Series:
    """Return the keys under which the run's model may have answered a text, String (n,), as the archive knows them."""
    if kept.archive is None:
        return pl.Series("key", [], dtype=pl.String)
    known = known_contexts(kept.archive.contexts())
    models = {name: one for name, one in known.items() if one.source == "model" and _fits(one, run, hit)}
    return _keys(hit.form, models)


def _fits(context: Context, run: Run, hit: Hit) -> bool:
    """Say whether the run would have looked into this context."""
    if context.task != run.task or context.scope != run.scope:
        return False
    if run.scope == "isolated" and context.tenant != hit.tenant:
        return False
    names = {run.model.name, *run.n_by_source} - set(SOURCES)
    return context.source != "model" or (run.model.is_paid and context.model in names)


def _same_text(archive: Archive, run: Run, hit: Hit, contexts: dict[str, Context]) -> pl.DataFrame:
    found = archive.find(_keys(hit.form, contexts))
    return found.filter(_as_said(found, hit, before_s=_seconds(run.finished_at)))


def _similar_text(
    kept: Kept, archive: Archive, run: Run, hit: Hit, contexts: dict[str, Context], threshold: float
) -> pl.DataFrame:
    """Return the most similar entry that says what the row says and was there before the run began."""
    sharing = Sharing()
    index = SimilarArchive(kept.folder, archive, sharing)
    index.refresh()
    form = pl.Series("form", [hit.form], dtype=pl.String)

    def usable(entries: pl.DataFrame) -> npt.NDArray[np.bool_]:
        return _as_said(entries, hit, before_s=_seconds(run.started_at)).to_numpy()

    queries = Queries(form, sketched(form), tuple(group([name]) for name in contexts), Signer(form, sharing), usable)
    return index.match(queries, Judge(threshold=threshold, sharing=sharing, workers=_WORKERS)).entries


def _as_said(entries: pl.DataFrame, hit: Hit, *, before_s: float) -> pl.Series:
    """Say of entries whether they give the row's label, with its confidence, and are old enough; Boolean (n,)."""
    confidence = entries["confidence"]
    alike = confidence.is_null() if hit.confidence is None else (confidence == hit.confidence).fill_null(value=False)
    return (head(entries["answer"]) == hit.label) & alike & (entries["created_s"] <= before_s)


def _keys(form: str, contexts: dict[str, Context]) -> pl.Series:
    """Return the keys of a text in each context, String (n_contexts,)."""
    forms = pl.Series("form", [form], dtype=pl.String).new_from_index(0, len(contexts))
    json = [canonical(one) for one in contexts.values()]
    return make_keys(json, np.arange(len(json), dtype=np.int64), forms).hex()


def _stored(kept: Kept, entry: dict[str, object], contexts: dict[str, Context], hit: Hit) -> Stored:
    context, text, review_id = contexts[str(entry["context"])], str(entry["text"]), entry["review_id"]
    ratio = verify(pl.Series([text]), pl.Series([hit.form]), threshold=0)
    return Stored(
        source=context.source,
        made_at=datetime.fromtimestamp(int(str(entry["created_s"])), UTC).isoformat(timespec="seconds"),
        model=context.model,
        settings=context.settings,
        prompt=context.prompt,
        is_packed=context.packed,
        review_id=None if review_id is None else str(review_id),
        tenant=None if entry["tenant"] is None else str(entry["tenant"]),
        text=text,
        cost_usd=f"{entry['cost_usd']:f}",
        is_same_text=text == hit.form,
        similarity=round(float(ratio[0]), 1),
        run_id=None if review_id is None else _run_of(kept.spend, str(review_id), str(entry["key"])),
    )


def _run_of(spend: Path, review_id: str, key: str) -> str | None:
    """Return the last run that asked this question, as far as the spend ledger knows."""
    asked = budget.asked_questions(spend, review_id=review_id).filter(pl.col("key") == key)
    return str(asked["run_id"][-1]) if asked.height else None


def _seconds(time: str | None) -> float:
    return float("inf") if time is None else datetime.fromisoformat(time).timestamp()
