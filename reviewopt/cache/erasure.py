"""Taking answers back: by what they answer, who answered, when, or whose text it is. Deleting is erasure.

The bytes of a text are gone from the archive's files and from the indexes beside it. Answers derived from it (those of
copies and of similar texts) are never archived, so nothing of it is left there; other processes forget it with the
epoch of the archive. The user's own files (outputs, exports, backups) are not touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import runs
from reviewopt.cache.archive import Archive
from reviewopt.cache.keys import Context, Source
from reviewopt.cache.upkeep import drop_sidecars, known_contexts
from reviewopt.data import Frozen
from reviewopt.errors import UsageError
from reviewopt.runs import Home
from reviewopt.text import normal

SCHEMA_VERSION: Final = 1
_AGE: Final = re.compile(r"(\d{1,6})\s*([dh])")
_EXAMPLE_CHARS: Final = 200  # of a review's text in a run record
# The last characters of an example that was cut may fold differently than the whole text (a letter without its accent).
_CUT_CHARS: Final = 4

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """Which answers to take back; what is given must all hold.

    Attributes:
        task: the task's name.
        model: the model's name.
        tenant: whose review was asked, or whose alone the answer is.
        source: who answered.
        prompt: the prompt's version, with or without the digest of the instructions.
        before_s: made before this Unix time.
        form: the normal form of one field, as `form_of` makes it.
        review_id: the id of the review that was asked first.
    """

    task: str | None = None
    model: str | None = None
    tenant: str | None = None
    source: Source | None = None
    prompt: str | None = None
    before_s: int | None = None
    form: str | None = None
    review_id: str | None = None

    def __post_init__(self) -> None:
        """Refuse to take back everything by oversight.

        Raises:
            UsageError: nothing is given.
        """
        if all(getattr(self, field.name) is None for field in fields(self)):
            raise UsageError(
                "say which answers: --task, --model, --tenant, --older-than, --prompt, --source, --text or "
                "--review-id; `reviewopt cache clear` removes all of them"
            )

    @property
    def is_personal(self) -> bool:
        """Whether it is about one review."""
        return self.form is not None or self.review_id is not None


class Invalidated(Frozen, frozen=True, kw_only=True):
    """What was taken back, or would be: answers, the USD they cost as a decimal string, examples in run records.

    `n_running` records could not be changed, because their runs still write them.
    """

    schema_version: int
    is_dry_run: bool
    n_answers: int
    cost_usd: str
    n_examples: int
    n_running: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The rows of the archive that criteria hold for, int64 (n,), what they cost, and their texts if one is meant."""

    rowids: I64
    cost_usd: Decimal
    forms: frozenset[str]


_NOTHING: Final = Selected(rowids=np.empty(0, np.int64), cost_usd=Decimal(0), forms=frozenset())


def form_of(text: str) -> str:
    """Return the normal form of a text as the user typed it.

    Raises:
        UsageError: nothing is left of it.
    """
    form: str = normal.normalise_field(pl.Series([text], dtype=pl.String)).item()
    if not form:
        raise UsageError("--text is empty; give the whole text of the review")
    return form


def older_than(age: str, now_s: int) -> int:
    """Return the Unix time that `30d`, `12h` or the UTC day `2026-01-31` means.

    Raises:
        UsageError: it is none of these.
    """
    if match := _AGE.fullmatch(age.strip()):
        length = timedelta(days=int(match[1])) if match[2] == "d" else timedelta(hours=int(match[1]))
        return now_s - int(length.total_seconds())
    try:
        return int(datetime.strptime(age.strip(), "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise UsageError(f"--older-than {age}: say 30d, 12h or a day as 2026-01-31") from None


def select(archive: Archive, criteria: Criteria) -> Selected:
    """Find the rows that `criteria` hold for, reading the archive once."""
    contexts = known_contexts(archive.contexts())
    digests = [name for name, context in contexts.items() if _holds(context, criteria)]
    rowids, cost_usd, forms = [np.empty(0, np.int64)], Decimal(0), set[str]()
    test = _test(criteria, digests, contexts)
    for frame in archive.scan():
        found = frame.filter(test)
        rowids.append(found["rowid"].to_numpy())
        cost_usd += Decimal(found["cost_usd"].sum())
        if criteria.is_personal:
            forms.update(found["text"])
    return Selected(rowids=np.concatenate(rowids), cost_usd=cost_usd, forms=frozenset(forms))


def _holds(context: Context, criteria: Criteria) -> bool:
    prompts = {context.prompt, (context.prompt or "").partition(":")[0]}
    return (
        criteria.task in {None, context.task}
        and criteria.model in {None, context.model}
        and criteria.source in {None, context.source}
        and (criteria.prompt is None or criteria.prompt in prompts)
    )


def _test(criteria: Criteria, digests: list[str], contexts: Mapping[str, Context]) -> pl.Expr:
    tests = [pl.lit(value=True)]
    if any(getattr(criteria, name) is not None for name in ("task", "model", "source", "prompt")):
        tests.append(pl.col("context").is_in(digests))
    if criteria.tenant is not None:
        its = [name for name, context in contexts.items() if context.tenant == criteria.tenant]
        tests.append(pl.col("tenant").eq_missing(pl.lit(criteria.tenant)) | pl.col("context").is_in(its))
    if criteria.before_s is not None:
        tests.append(pl.col("created_s") < criteria.before_s)
    if criteria.review_id is not None:
        tests.append(pl.col("review_id").eq_missing(pl.lit(criteria.review_id)))
    if criteria.form is not None:
        text, body = pl.col("text"), pl.col("text").str.split("\n").list.last()
        whole = text.str.replace("\n", " ", literal=True)  # the title and the text, given as one
        tests.append((body == criteria.form) | (whole == criteria.form))
    return pl.all_horizontal(tests)


def invalidate(home: Home, folder: Path, archive: Archive | None, criteria: Criteria, *, dry_run: bool) -> Invalidated:
    """Delete the answers that `criteria` hold for, for good, with the indexes beside the archive of `folder`.

    Where one review is meant, its text goes out of the run records of `home` too. `dry_run` only counts.

    Raises:
        InputError: the disk is full or may not be written.
    """
    selected = _NOTHING if archive is None else select(archive, criteria)
    n_answers = len(selected.rowids)
    if archive is not None and n_answers and not dry_run:
        n_answers = archive.delete(selected.rowids)
        drop_sidecars(folder)
    n_examples, n_running = blank_examples(home, criteria, selected.forms, dry_run=dry_run)
    return Invalidated(
        schema_version=SCHEMA_VERSION,
        is_dry_run=dry_run,
        n_answers=n_answers,
        cost_usd=f"{selected.cost_usd:f}",
        n_examples=n_examples,
        n_running=n_running,
        notes=_notes(criteria, n_answers),
    )


def _notes(criteria: Criteria, n_answers: int) -> tuple[str, ...]:
    notes = []
    if criteria.review_id is not None and not n_answers:
        notes.append(
            "no answer is kept under this review id; that of a copy is kept under the id of the review that was asked "
            "first: give the text with --text"
        )
    if criteria.is_personal:
        notes.append("outputs, exports and backups are files of yours: this does not change them")
    return tuple(notes)


def blank_examples(home: Home, criteria: Criteria, forms: Iterable[str], *, dry_run: bool) -> tuple[int, int]:
    """Take a review's text out of this home's run records, which show the start of the most frequent texts.

    Returns:
        How many examples were blanked, and how many records could not be: their runs still write them.
    """
    if not criteria.is_personal:
        return 0, 0
    bodies = {form.rpartition("\n")[2] for form in forms} | ({criteria.form} if criteria.form else set())
    n_blanked = n_alive = 0
    for record in home.records():
        data, n = _without_examples(record, bodies, criteria.review_id)
        if n and runs.is_alive(record):
            n_alive += 1
            continue
        n_blanked += n
        if n and not dry_run:
            partial = record.with_suffix(".partial")
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n")
            partial.replace(record)
    return n_blanked, n_alive


def _without_examples(record: Path, bodies: set[str], review_id: str | None) -> tuple[Any, int]:
    """Return a record, of any version, with the examples of those texts blank, and their number."""
    try:
        data = msgspec.json.decode(record.read_bytes())
        largest = data["groups"]["largest"]
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return None, 0
    n = 0
    for group in largest:
        example = group["example"]
        if example and (group["review_id"] == review_id or _starts_one(example, bodies)):
            group["example"] = ""
            n += 1
    return data, n


def _starts_one(example: str, bodies: set[str]) -> bool:
    form: str = normal.normalise_field(pl.Series([example], dtype=pl.String)).item()
    if len(example) < _EXAMPLE_CHARS:
        return form in bodies
    start = form[:-_CUT_CHARS]
    return any(body.startswith(start) for body in bodies)
