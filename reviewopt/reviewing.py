"""A person's way through the sample of a table: what comes next, and where each answer is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import polars as pl

from reviewopt.cache.people import People
from reviewopt.data import Frozen
from reviewopt.human import Answers, answered_prefix

SCHEMA_VERSION: Final = 1
_KEPT: Final = ("form", "tenant", "review_id")


class Reviewed(Frozen, frozen=True, kw_only=True):
    """How far the answers have come: of `n_sample` rows `n_answered` have a label, and `n_skipped` were skipped.

    Only the first `n_in_order` of the sample, of which none is open, count as a uniform sample.
    """

    schema_version: int
    n_sample: int
    n_answered: int
    n_skipped: int
    n_in_order: int
    next_command: str


class Review:
    """The rows of a sample in its order, each answered, skipped or open; every answer is kept at once.

    Attributes:
        drawn: the sample, as `draws.draw` gives it.
        labels: what an answer may be.
    """

    def __init__(
        self, drawn: pl.DataFrame, answers: Answers, people: People | None, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Archive what was answered and is not there: a kill can stand between the file and the archive."""
        self.drawn: Final = drawn
        self.labels: Final = answers.labels
        self._answers = answers
        self._people = people
        self._clock = clock
        self._rows: Final[list[int]] = drawn["row"].to_list()
        self._place: Final = {row: at for at, row in enumerate(self._rows)}
        self._again: int | None = None
        self._archive(self._rows)

    @property
    def n_done(self) -> int:
        """Rows of the sample that were answered or skipped."""
        return sum(row in self._answers.given for row in self._rows)

    def following(self) -> int | None:
        """Return the place of the row that comes next: the one last taken back, else the first open one, or None."""
        if self._again is not None:
            return self._again
        return next((at for at, row in enumerate(self._rows) if row not in self._answers.given), None)

    def answer(self, at: int, label: str | None) -> None:
        """Keep the answer to the row at a place of the sample, None for a skipped one.

        Raises:
            InputError: it cannot be written.
        """
        self.take([(self._rows[at], label)])

    def take(self, answers: Iterable[tuple[int, str | None]]) -> int:
        """Keep answers by row, those of all rows or of none; return how many say something new.

        Raises:
            InputError: they cannot be written.
        """
        given = self._answers.given
        fresh = [(row, label) for row, label in answers if row not in given or given[row] != label]
        changed = [row for row, label in fresh if row in given]
        self._withdraw(changed)
        self._answers.append(fresh)
        self._archive([*(row for row, _ in fresh), *self._copies(changed)])
        self._again = None
        return len(fresh)

    def undo(self) -> int | None:
        """Take the last answer back, and return its place; None where the sample has none.

        What a person said of that text before, about another table, is gone from the archive with it.

        Raises:
            InputError: that cannot be written.
        """
        last = next(reversed(self._answers.given), None)
        if last is None or last not in self._place:
            return None
        self._withdraw([last])
        self._answers.undo()
        self._archive(self._copies([last]))
        self._again = self._place[last]
        return self._again

    def result(self, next_command: str) -> Reviewed:
        """Return how far the answers have come."""
        said = [self._answers.given[row] for row in self._rows if row in self._answers.given]
        rows, _ = answered_prefix(self.drawn, self._answers.given, self.labels)
        return Reviewed(
            schema_version=SCHEMA_VERSION,
            n_sample=len(self._rows),
            n_answered=sum(label is not None for label in said),
            n_skipped=sum(label is None for label in said),
            n_in_order=len(rows),
            next_command=next_command,
        )

    def _copies(self, rows: Sequence[int]) -> list[int]:
        """Return the rows with the text of one of these: what was withdrawn there is still said of the others."""
        forms = self.drawn["form"].gather([self._place[row] for row in rows])
        copies: list[int] = self.drawn.filter(pl.col("form").is_in(forms.implode()))["row"].to_list()
        return copies

    def _archive(self, rows: Iterable[int]) -> None:
        """Put the labels that these rows have into the archive, in the order in which they were given."""
        wanted = set(rows)
        if self._people is None:
            return
        said = [(self._place[row], label) for row, label in self._answers.given.items() if label and row in wanted]
        if said:
            places, labels = zip(*said, strict=True)
            kept = self.drawn.select(_KEPT)[list(places)].with_columns(pl.Series("label", labels, dtype=pl.String))
            self._people.keep(kept, now_s=int(self._clock()))

    def _withdraw(self, rows: Iterable[int]) -> None:
        """Take the labels of these rows out of the archive, before the file forgets them."""
        places = [self._place[row] for row in rows if self._answers.given[row] is not None]
        if self._people is not None and places:
            self._people.take_back(self.drawn.select(_KEPT)[places])
