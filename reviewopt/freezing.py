"""Labels that somebody made, frozen as they stand: a digest of all rows, from which the sample follows.

Beside `job`: what `certifying` tests. The sample hangs on the labels, so that labels which were mended after a look at
one sample are tested on another, as a further attempt; `attempts` are counted by the texts alone.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import certify, draws
from reviewopt.attempts import Promise
from reviewopt.dedup.spread import NO_LABEL
from reviewopt.draws import Drawn
from reviewopt.errors import InputError
from reviewopt.load import Chunk, Table
from reviewopt.settings import CertificateSettings
from reviewopt.text import normal
from reviewopt.text.prompt_copy import blank

# Where rows are left out, as many more are drawn that enough remain; too few would only weaken the test.
_ROOM: Final = 1.2
_MORE_ROWS: Final = 100

Flags = npt.NDArray[np.bool_]
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The labels of a table as they are.

    Attributes:
        answer: uint8 (n_rows,): their codes, NO_LABEL for none.
        has_no_test: bool (n_rows,): rows that are never drawn, as they have no answer, or no label of the reference's.
        n_texts: rows with a text: those that the certificate is about.
        n_unanswered: of them, rows without an answer.
        n_gaps: of the others, rows without a label of the reference's, where these count as wrong.
        n_unlabelled: of the others, rows without a label of the reference's, whether they count as wrong or not.
        n_differ: of the rest, rows whose answer is not the label of a column that is the reference.
        n_of: rows with a text of each tenant or category, the largest first, where these are counted.
        n_wrong_of: how many of them count as wrong without a test.
        n_differ_of: how many of the rest differ.
        content: SHA-256 in hex of the texts, in whatever order they come.
        texts: that of the texts in their order.
        frozen: that of the rows in their order: texts, answers, and the labels of a column that is the reference.
    """

    answer: U8
    has_no_test: Flags
    n_texts: int
    n_unanswered: int
    n_gaps: int
    n_unlabelled: int
    n_differ: int
    n_of: dict[str, int]
    n_wrong_of: dict[str, int]
    n_differ_of: dict[str, int]
    content: str
    texts: str
    frozen: str

    @property
    def n_wrong(self) -> int:
        """Rows that count as wrong without a test."""
        return self.n_unanswered + self.n_gaps

    @property
    def n_left(self) -> int:
        """Rows that the test is about: AUDIT is drawn from them."""
        return self.n_texts - self.n_wrong


def read(
    answers: Table,
    reference: Table | None,
    labels: Sequence[str],
    *,
    as_sent: bool = False,
    missing_at_random: bool = False,
    per: str = "",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Labels:
    """Read all rows once, and freeze their labels.

    Args:
        answers: the table, whose label column are the answers.
        reference: the same table, whose label column is the reference; None where no column is.
        labels: those of the task, in the order of their codes.
        as_sent: whether a text of which nothing is left in a prompt counts as none.
        missing_at_random: whether rows without a label of the reference's are left out, and not wrong.
        per: `tenant` or `category`, for whose sake rows are counted; empty: neither.
        on_rows: told how many rows have been read.

    Raises:
        InputError: a row cannot be read or labelled, or the table changes meanwhile.
    """
    digest, dtype = _Digest(), pl.Enum(labels)
    answer, untested = [np.zeros(0, np.uint8)], [np.zeros(0, np.bool_)]
    n_read, counts, n_of = 0, Counter[str](), {name: Counter[str]() for name in ("all", "wrong", "differ")}
    for chunk, other in _together(answers, reference):
        form = normal.normalise(chunk["title"], chunk["text"])
        if as_sent:
            form = form.scatter(blank(chunk["text"]), None)
        said, truth = _codes(chunk["label"], dtype), None if other is None else _codes(other["label"], dtype)
        digest.add(form, said, truth)
        has_text: Flags = form.is_not_null().to_numpy()
        unanswered = has_text & (said == NO_LABEL)
        gap = np.zeros(len(said), np.bool_) if truth is None else has_text & ~unanswered & (truth == NO_LABEL)
        is_wrong = unanswered if missing_at_random else unanswered | gap
        differs = np.zeros(len(said), np.bool_) if truth is None else has_text & ~(unanswered | gap) & (truth != said)
        counts.update(texts=int(has_text.sum()), unanswered=int(unanswered.sum()), gaps=int(gap.sum()))
        counts.update(differ=int(differs.sum()))
        for name, rows in (("all", has_text), ("wrong", is_wrong), ("differ", differs)) if per else ():
            n_of[name].update(dict(chunk.filter(rows)[per].fill_null("").value_counts().rows()))
        answer.append(said)
        untested.append(unanswered | gap)
        n_read += len(said)
        on_rows(n_read)
    return Labels(
        answer=np.concatenate(answer),
        has_no_test=np.concatenate(untested),
        n_texts=counts["texts"],
        n_unanswered=counts["unanswered"],
        n_gaps=0 if missing_at_random else counts["gaps"],
        n_unlabelled=counts["gaps"],
        n_differ=counts["differ"],
        n_of=dict(n_of["all"].most_common()),
        n_wrong_of=dict(n_of["wrong"]),
        n_differ_of=dict(n_of["differ"]),
        content=digest.content(),
        texts=digest.texts(),
        frozen=digest.frozen(),
    )


def _together(answers: Table, reference: Table | None) -> Iterator[tuple[pl.DataFrame, pl.DataFrame | None]]:
    """Read the same rows of a table that was opened twice; both come in the same chunks."""
    if reference is None:
        yield from ((chunk.reviews, None) for chunk in answers.chunks())
        return
    others: Iterator[Chunk] = reference.chunks()
    for chunk in answers.chunks():
        other = next(others, None)
        if other is None or other.reviews.height != chunk.reviews.height:
            raise InputError(changed(answers))
        yield chunk.reviews, other.reviews
    if next(others, None) is not None or answers.fingerprint() != reference.fingerprint():
        raise InputError(changed(answers))


def changed(table: Table) -> str:
    """Say that a table is no longer what was frozen."""
    return f"{', '.join(table.inputs)} changed while it was read: what was drawn is no sample of it; run it again"


def _codes(label: pl.Series, dtype: pl.Enum) -> U8:
    """Turn label names into codes, uint8 (n,), NO_LABEL for none."""
    codes: U8 = label.cast(dtype).to_physical().cast(pl.UInt8).fill_null(NO_LABEL).to_numpy()
    return codes


class _Digest:
    """SHA-256 of rows, however they were cut into chunks and whatever file they lie in.

    Lengths, texts, answers and the reference's labels run into a hash each, and these into one. For the content the
    hashes of the texts are added up: nobody gets another sample as a first attempt by shuffling the rows.
    """

    def __init__(self) -> None:
        self._lengths, self._forms, self._answers, self._truths = (hashlib.sha256() for _ in range(4))
        self._sum = np.zeros(4, np.uint64)

    def add(self, form: pl.Series, answer: U8, truth: U8 | None) -> None:
        """Take the next rows: normal forms, null for a row without a text, and codes of labels."""
        texts = form.drop_nulls()
        self._lengths.update(form.str.len_bytes().cast(pl.Int64).fill_null(-1).to_numpy().astype("<i8").tobytes())
        self._forms.update("".join(texts).encode())
        self._answers.update(answer.tobytes())
        self._truths.update(b"" if truth is None else truth.tobytes())
        each = b"".join(hashlib.sha256(text.encode()).digest() for text in texts)
        self._sum += np.frombuffer(each, "<u8").reshape(-1, 4).sum(axis=0, dtype=np.uint64)

    def content(self) -> str:
        """Return the digest of the texts in any order."""
        return hashlib.sha256(self._sum.astype("<u8").tobytes()).hexdigest()

    def texts(self) -> str:
        """Return the digest of the texts in their order."""
        return hashlib.sha256(self._lengths.digest() + self._forms.digest()).hexdigest()

    def frozen(self) -> str:
        """Return the digest of all."""
        parts = (self._lengths, self._forms, self._answers, self._truths)
        return hashlib.sha256(b"".join(part.digest() for part in parts)).hexdigest()


def is_counted(kind: str, settings: CertificateSettings, labels: Labels) -> bool:
    """Whether all rows are compared and none is drawn: a column's labels cost nothing."""
    return kind == "column" and not settings.audit and labels.n_unlabelled == labels.n_gaps


def promise(settings: CertificateSettings, labels: Labels, *, seed: int, model: str = "") -> Promise:
    """Return what is promised of frozen labels; `model` is the digest of the reference, where it is one.

    The labels belong to it: other ones of the same texts, or the same rows in another order, are a further attempt.
    """
    told = ("labels as they are", labels.frozen, f"{seed:016x}", model)
    digest = hashlib.sha256(msgspec.json.encode(told)).hexdigest()
    return Promise(target=settings.target, confidence=settings.confidence, per=settings.per, policy=digest)


def allowed(settings: CertificateSettings, attempt: int) -> float:
    """Return the chance of a false certificate that this attempt may have."""
    return certify.target_delta(float(1 - Fraction(str(settings.confidence))), attempt)


def sample(
    table: Table,
    seed: int,
    n: int,
    labels: Labels,
    *,
    as_sent: bool = False,
    per: str = "",
    on_rows: Callable[[int], None] = lambda _: None,
) -> Drawn:
    """Draw n of the rows that are tested, in the order of the permutation; see `draws.draw`.

    Raises:
        InputError: the table is not the one whose labels were frozen.
    """
    n_tested = labels.n_texts - labels.n_unanswered - labels.n_unlabelled
    more = n
    if n_tested < labels.n_texts:
        more = round(_ROOM * n * labels.n_texts / max(1, n_tested)) + _MORE_ROWS
    drawn = draws.draw(table, seed, min(more, labels.n_texts), as_sent=as_sent, per=per, on_rows=on_rows)
    if drawn.n_rows != labels.n_texts:
        raise InputError(changed(table))
    return tested(drawn, labels, n)


def tested(drawn: Drawn, labels: Labels, n: int) -> Drawn:
    """Leave the rows out that are not tested, and keep the first n of the others."""
    keeps = ~labels.has_no_test[drawn.frame["row"].to_numpy()]
    return replace(drawn, frame=drawn.frame.filter(keeps).head(n))
