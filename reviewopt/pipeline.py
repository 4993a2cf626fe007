"""The story: load -> normal form -> dedup -> cache -> model -> write, chunk by chunk, and the record of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import polars as pl

from reviewopt.answer import Answering
from reviewopt.dedup.exact import ExactCopies
from reviewopt.dedup.groups import Groups
from reviewopt.dedup.spread import Answers
from reviewopt.job import Job, OnProgress
from reviewopt.ledger import Ledger
from reviewopt.load import Chunk, Table
from reviewopt.runs import Recorder, Run
from reviewopt.text import normal

# Near copies share an answer within so many rows, or so many bytes of text.
_WINDOW_ROWS: Final = 32_768
_WINDOW_BYTES: Final = 64 << 20
T = TypeVar("T")


def process(job: Job, on_progress: OnProgress) -> Run:
    """Label every row of `job.table` into `job.output`.

    Returns:
        The record of the run, as it stands in the run's folder. An error or an interrupt leaves one too, and no output.

    Raises:
        InputError: the table turns out to be damaged, or the output cannot be written.
    """
    copies, answers = ExactCopies(), Answers(job.answerer.model.labels, job.sources)
    stage = job.recorder.stage
    with (
        Ledger(job) as ledger,
        job.output as output,
        Groups(job.recorder.folder) as groups,
        Answering(job) as answering,
    ):
        chunks = _windows(job.table.chunks()) if job.near == "share" else job.table.chunks()
        for chunk, form in _ahead(_normalised(chunks, job.recorder)):
            with stage("dedup"):
                asked = copies.see(form, chunk.reviews["tenant"] if job.isolated else None)
            fresh, root = answering.answer(chunk.reviews, form, asked)
            answers.add(fresh)
            with stage("write"):
                labelled = answers.spread(asked, fresh)
                labelled = labelled.hstack(groups.name(asked, root, chunk.reviews))
                output.append(chunk.table.hstack(labelled.select(list(job.names)).rename(job.names)))
            with stage("count"):
                ledger.add(chunk.reviews, labelled, n_questions=len(copies), groups=groups)
            on_progress(ledger.n_rows, job.table.n_rows, job.recorder.wall_s)
        with stage("count"):
            ledger.close()
        with stage("write"):
            output.commit()
        return ledger.finish()


def examples(table: Table) -> pl.DataFrame:
    """Return the labelled reviews of a table as `form` and `label` (String), with one form's rows as they came.

    They are held in memory, unlike what `process` reads.
    """
    parts = [
        pl.DataFrame(
            {"form": normal.normalise(chunk.reviews["title"], chunk.reviews["text"]), "label": chunk.reviews["label"]}
        )
        for chunk in table.chunks()
    ]
    empty = pl.DataFrame(schema={"form": pl.String, "label": pl.String})
    return pl.concat([empty, *(part.drop_nulls() for part in parts)])


def _normalised(chunks: Iterator[Chunk], recorder: Recorder) -> Iterator[tuple[Chunk, pl.Series]]:
    """Give each chunk its normal forms."""
    while True:
        with recorder.stage("load"):
            chunk = next(chunks, None)
        if chunk is None:
            return
        with recorder.stage("normalise"):
            form = normal.normalise(chunk.reviews["title"], chunk.reviews["text"])
        yield chunk, form


def _windows(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Cut the rows anew: a window ends after so many rows or bytes of text, however they were read."""
    rest: Chunk | None = None
    n_windows = 0
    for chunk in chunks:
        rest = chunk if rest is None else _joined(rest, chunk)
        while (n := _window_rows(rest.reviews)) is not None:
            yield Chunk(table=rest.table[:n], reviews=rest.reviews[:n])
            rest, n_windows = Chunk(table=rest.table[n:], reviews=rest.reviews[n:]), n_windows + 1
    if rest is not None and (rest.reviews.height or not n_windows):
        yield rest


def _joined(one: Chunk, other: Chunk) -> Chunk:
    return Chunk(table=pl.concat([one.table, other.table]), reviews=pl.concat([one.reviews, other.reviews]))


def _window_rows(reviews: pl.DataFrame) -> int | None:
    """Return how many rows the next window takes, None where it is not full yet."""
    n_bytes = reviews["text"].str.len_bytes().fill_null(0).cum_sum()
    n = min(_WINDOW_ROWS, int((n_bytes < _WINDOW_BYTES).sum()) + 1)
    return n if n <= reviews.height else None


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Make the next item on a thread of its own while the caller works on this one."""
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as reader:
        following = reader.submit(next, items, None)
        while (item := following.result()) is not None:
            following = reader.submit(next, items, None)
            yield item
