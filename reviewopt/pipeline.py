"""The story: load -> normal form -> dedup -> cache -> model -> proof -> write, chunk by chunk, and the record of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import numpy as np
import polars as pl

from reviewopt.ahead import Ahead
from reviewopt.answer import Answering
from reviewopt.dedup.exact import Asked, EveryRow, ExactCopies
from reviewopt.dedup.groups import Groups
from reviewopt.dedup.spread import Answers
from reviewopt.foretold import foretell
from reviewopt.job import Job, OnProgress
from reviewopt.ledger import Ledger
from reviewopt.load import Chunk, Table
from reviewopt.priority import bands
from reviewopt.proof import Answered, Proof
from reviewopt.record import Run
from reviewopt.surveyed import Surveyed
from reviewopt.text import normal
from reviewopt.text.prompt_copy import blank

# Near copies share an answer within so many rows, or so many bytes of text.
_WINDOW_ROWS: Final = 32_768
_WINDOW_BYTES: Final = 64 << 20
T = TypeVar("T")


def process(job: Job, on_progress: OnProgress, on_line: Callable[[str], None] = lambda _: None) -> Run:
    """Label every row of `job.table` into `job.output`; `on_line` is told what the sample said of the models.

    Returns:
        The record of the run, as it stands in the run's folder. An error or an interrupt leaves one too, and no output.

    Raises:
        InputError: the table turns out to be damaged, or the output cannot be written.
    """
    copies, stage = _copies(job), job.recorder.stage
    with (
        Answering(job) as answering,
        Ledger(job, answering) as ledger,
        job.output as output,
        Groups(job.recorder.folder) as groups,
        Answers(job.labels, job.sources, job.task.others, job.recorder.folder, has_notes=bool(job.paid)) as answers,
    ):
        proof = Proof(job, answering.ladder)
        answering.begin(on_line)
        proof.begin(on_line)
        rows = _answered(job, answering, copies, groups, answers, _asked_ahead(job, answering, on_line))
        for chunk, labelled in proof.proven(rows, lambda: _forms(job)):
            with stage("write"):
                output.append(chunk.table.hstack(labelled.select(list(job.names)).rename(job.names)))
            with stage("count"):
                ledger.add(chunk.reviews, labelled, n_questions=len(copies), groups=groups)
            on_progress(ledger.n_rows, job.table.n_rows, job.recorder.wall_s)
        with stage("count"):
            ledger.close(proof.certificate())
        with stage("write"):
            output.commit()
        return ledger.finish()


def _answered(
    job: Job, answering: Answering, copies: ExactCopies | EveryRow, groups: Groups, answers: Answers, ahead: Ahead
) -> Iterator[Answered]:
    """Answer the table chunk by chunk: each row has a label, as far as there is one, and says where it came from."""
    for chunk, form in _forms(job):
        tenant = chunk.reviews["tenant"] if job.isolated else None
        with job.recorder.stage("dedup"):
            asked = copies.see(form, tenant)
        fresh, root = answering.answer(chunk.reviews, form, asked, ahead.take(*_new(form, tenant, asked)))
        answers.add(fresh)
        with job.recorder.stage("write"):
            labelled = answers.spread(asked, fresh).hstack(groups.name(asked, root, chunk.reviews))
        yield Answered(chunk=chunk, form=form, labelled=labelled, question=asked.question)


def _asked_ahead(job: Job, answering: Answering, on_line: Callable[[str], None]) -> Ahead:
    """Ask the highest priorities of a table of several windows first; without the archive nothing would be kept."""
    ahead = Ahead()
    ends_early = job.config.ask.deadline or job.has_budget  # else the order changes nothing in the end
    if job.table.columns.priority is None or not (job.paid and job.config.cache.archive.enabled and ends_early):
        return ahead
    if job.table.n_rows is not None and job.table.n_rows <= min(_WINDOW_ROWS, job.config.process.chunk_rows):
        return ahead
    parts = bands(chunk.reviews["priority"].to_numpy() for chunk in job.table.chunks())
    copies = _copies(job)
    for band in range(len(parts) - 1):
        on_line(f"asking the reviews of priority {parts.floors[band]:g} and above first")
        for chunk, forms in _forms(job):
            rows = np.flatnonzero(parts.of(chunk.reviews["priority"].to_numpy()) == band)
            reviews, form = chunk.reviews[rows], forms.gather(rows)
            tenant = reviews["tenant"] if job.isolated else None
            asked = copies.see(form, tenant)
            fresh, _ = answering.answer(reviews, form, asked)
            ahead.add(*_new(form, tenant, asked), fresh)
            if answering.is_late:
                return ahead
    return ahead


def _new(form: pl.Series, tenant: pl.Series | None, asked: Asked) -> tuple[pl.Series, pl.Series | None]:
    """Return the normal forms of a chunk's new questions, and their tenants where these are isolated."""
    return form.gather(asked.new_rows), None if tenant is None else tenant.gather(asked.new_rows)


def survey(job: Job, on_progress: OnProgress) -> Surveyed:
    """Go over the table as `process` does, asking and writing nothing, and count what it would ask."""
    n_sample = max(job.config.ladder.sample, job.config.pack.sample)
    copies, total = _copies(job), Surveyed(job.sources, n_sample=0 if job.is_naive else n_sample)
    with Answering(job) as answering:
        for chunk, form in _forms(job):
            asked = copies.see(form, chunk.reviews["tenant"] if job.isolated else None)
            by_source, reached = answering.survey(chunk.reviews, form, asked)
            total.add(asked, by_source, reached, n_bytes=answering.text_bytes(chunk.reviews, asked))
            total.draw(chunk.reviews, form, asked.new_rows)
            on_progress(total.n_rows, job.table.n_rows, job.recorder.wall_s)
        if job.reference is None:
            total.sampling = answering.sampling(total.sample)
        else:
            total.foretold(
                foretell(answering.ladder, job.reference, n_questions=len(copies)), local=job.rungs[0].source
            )
        total.overhead_tokens = {name: asking.form.tokens for name, asking in answering.ladder.asking.items()}
        if answering.naive is not None:
            total.naive_usd = answering.naive.usd(total.n_asking_rows, total.n_bytes)
    return total


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


def _copies(job: Job) -> ExactCopies | EveryRow:
    return EveryRow() if job.is_naive else ExactCopies()


def _forms(job: Job) -> Iterator[tuple[Chunk, pl.Series]]:
    """Read the table's chunks, or windows where near copies share, with their normal forms."""
    chunks = _windows(job.table.chunks()) if job.near == "share" else job.table.chunks()
    for each in _ahead(_normalised(chunks, job)):
        if job.is_stopping:
            raise KeyboardInterrupt
        yield each


def _normalised(chunks: Iterator[Chunk], job: Job) -> Iterator[tuple[Chunk, pl.Series]]:
    """Give each chunk its normal forms; null too where nothing is left of a text in the form in which it is sent."""
    while True:
        with job.recorder.stage("load"):
            chunk = next(chunks, None)
        if chunk is None:
            return
        with job.recorder.stage("normalise"):
            form = normal.normalise(chunk.reviews["title"], chunk.reviews["text"])
            if job.paid:
                form = form.scatter(blank(chunk.reviews["text"]), None)
        yield chunk, form


def _windows(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Cut the rows anew: a window ends after so many rows or bytes of text, however they were read."""
    parts: list[Chunk] = []
    n_rows = n_bytes = n_windows = 0
    for chunk in chunks:
        parts.append(chunk)
        n_rows += chunk.reviews.height
        n_bytes += int(chunk.reviews["text"].str.len_bytes().sum())
        if n_rows < _WINDOW_ROWS and n_bytes < _WINDOW_BYTES:
            continue
        rest = _joined(parts)
        while (n := _window_rows(rest.reviews)) is not None:
            yield Chunk(table=rest.table[:n], reviews=rest.reviews[:n])
            rest, n_windows = Chunk(table=rest.table[n:], reviews=rest.reviews[n:]), n_windows + 1
        parts, n_rows = [rest], rest.reviews.height
        n_bytes = int(rest.reviews["text"].str.len_bytes().sum())
    if parts and (n_rows or not n_windows):
        yield _joined(parts)


def _joined(parts: list[Chunk]) -> Chunk:
    if len(parts) == 1:
        return parts[0]
    return Chunk(table=pl.concat([one.table for one in parts]), reviews=pl.concat([one.reviews for one in parts]))


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
