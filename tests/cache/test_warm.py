"""Labelled history into the archive: which label a text takes, which texts are taken, and who finds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from archived import all_of, context, entries, opened, put, silent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt import config
from reviewopt.cache import warm
from reviewopt.cache.archive import Archive
from reviewopt.cache.history import NOT_OWN, History
from reviewopt.cache.keys import Contexts, canonical, digest, make_keys
from reviewopt.cache.popularity import Popularity
from reviewopt.cache.recurrence import Hits
from reviewopt.cache.shelf import Shelf
from reviewopt.cache.tiers import Batch, Cache
from reviewopt.cache.warm import Warmed
from reviewopt.data import REVIEW_COLUMNS
from reviewopt.errors import InputError
from reviewopt.task import Score

HOME = Path("home")
NOW_S = 2_000_000
TASK = config.load_task("sentiment")
ANSWERS = {"label": "sentiment", "confidence": "sentiment_confidence", "source": "sentiment_source"}


@dataclass(frozen=True)
class FakeChunk:
    table: pl.DataFrame
    reviews: pl.DataFrame


class FakeTable:
    """Rows of text, label and more, in chunks."""

    def __init__(self, rows: Sequence[dict[str, Any]], *, chunk_rows: int = 2) -> None:
        self.rows = list(rows)
        self._chunk_rows = chunk_rows

    def chunks(self) -> Iterator[FakeChunk]:
        for first in range(0, len(self.rows), self._chunk_rows):
            part = self.rows[first : first + self._chunk_rows]
            reviews = [
                {"row": first + at, "review_id": f"{first + at}", **dict.fromkeys(REVIEW_COLUMNS[2:]), **row}
                for at, row in enumerate(part)
            ]
            schema = {name: pl.Int64 if name == "row" else pl.String for name in REVIEW_COLUMNS}
            columns = {ANSWERS["label"]: pl.String, ANSWERS["confidence"]: pl.Float64, ANSWERS["source"]: pl.String}
            yield FakeChunk(
                pl.DataFrame(part, schema={**columns, "source_file": pl.String}),
                pl.DataFrame([{name: row[name] for name in REVIEW_COLUMNS} for row in reviews], schema=schema),
            )


def history(table: FakeTable, *, isolated: bool = False, files: bool = False, answers: bool = False) -> History:
    return History(
        chunks=table.chunks,
        answers=ANSWERS if answers else None,
        file_column="source_file" if files else None,
        isolated=isolated,
    )


def warmed(
    archive: Archive, *histories: History, n_most: int | None = None, popularity: Popularity | None = None
) -> Warmed:
    popularity = popularity or Popularity(HOME / "cache")
    return warm.warm(archive, histories, TASK, n_most=n_most, popularity=popularity, now_s=NOW_S, on_progress=silent)


def labelled(*pairs: tuple[str | None, str | None], **more: Any) -> list[dict[str, Any]]:
    return [{"text": text, "label": label, **more} for text, label in pairs]


def held(archive: Archive) -> dict[str, str]:
    return dict(all_of(archive).select("text", "answer").iter_rows())


def test_the_most_frequent_label_counts_and_a_tie_is_left_out() -> None:
    rows = labelled(
        ("Good", "positive"), ("good ", "positive"), ("good", "neutral"), ("so", "neutral"), ("so", "negative"),
        ("alone", "negative"), (None, "negative"), ("bare", None),
    )  # fmt: skip
    with opened(HOME) as archive:
        made = warmed(archive, history(FakeTable(rows)))
        assert held(archive) == {"good": "positive", "alone": "negative"}
        assert (made.n_rows, made.n_texts, made.n_conflicts, made.n_ties) == (8, 3, 2, 1)
        assert (made.n_kept, made.n_new, made.n_changed) == (2, 2, 0)
        assert (made.rows_left_out.empty, made.rows_left_out.unlabelled) == (1, 1)
        frame = all_of(archive)
        assert frame["confidence"].null_count() == 2
        assert set(frame["cost_usd"].cast(pl.Float64)) == {0.0}
        assert set(frame["review_id"]) == {"0", "5"}


LABEL = st.sampled_from([*TASK.labels, None])
ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d"]), LABEL), min_size=1, max_size=25)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.integers(1, 7))
def test_chunks_change_nothing(rows: list[tuple[str, str | None]], chunk_rows: int) -> None:
    votes: dict[str, Counter[str]] = {}
    for text, label in rows:
        if label is not None:
            votes.setdefault(text, Counter())[label] += 1
    expected: dict[str, str] = {}
    for text, counts in votes.items():
        best = [label for label, n in counts.items() if n == max(counts.values())]
        expected |= {text: best[0]} if len(best) == 1 else {}
    with opened(HOME) as archive:
        archive.clear()
        made = warmed(archive, history(FakeTable(labelled(*rows), chunk_rows=chunk_rows)))
        assert held(archive) == expected
        assert made.n_texts - made.n_ties == made.n_kept == len(expected)


def test_an_outputs_own_answers_are_taken_with_their_confidence_and_no_others() -> None:
    own = [("good", "positive", 0.75, "local"), ("bad", "negative", 7.0, "gpt-x"), ("so", "neutral", None, None)]
    rows = [
        {"text": text, "label": "neutral", **dict(zip(ANSWERS.values(), answer, strict=True))}
        for text, *answer in [*own, ("odd", "great", 0.5, "local"), ("none", None, None, "local")]
    ]
    rows += [{"text": name, **dict(zip(ANSWERS.values(), ("positive", 0.9, name), strict=True))} for name in NOT_OWN]
    with opened(HOME) as archive:
        made = warmed(archive, history(FakeTable(rows), answers=True))
        assert held(archive) == {"good": "positive", "bad": "negative", "so": "neutral"}
        confidence = dict(all_of(archive).select("text", "confidence").iter_rows())
        assert confidence == {"good": 0.75, "bad": None, "so": None}
        assert made.rows_left_out.copies == len(NOT_OWN)
        assert (made.rows_left_out.foreign, made.rows_left_out.unlabelled) == (1, 1)
        assert made.n_by_source == {"gpt-x": 1, "local": 1, "unknown": 1}


def found(texts: list[str], tenants: list[str | None] | None = None) -> list[str | None]:
    """Look texts up as a run does."""
    merged, _ = config.load({}, environment={})
    scope = "shared" if tenants is None else "isolated"
    with Shelf(HOME, merged.cache.archive, sharing=None, on_warning=pytest.fail) as shelf:
        cache = Cache(merged.cache, Contexts(TASK, None, scope=scope), TASK.labels, shelf=shelf, judge=None)
        tenant = None if tenants is None else pl.Series(tenants, dtype=pl.String)
        batch = Batch(form=pl.Series("form", texts), sketches=None, tenant=tenant)
        label = cache.look_up(batch).label.tolist()
    return [TASK.labels[one] if one >= 0 else None for one in label]


def test_a_run_finds_what_was_warmed_in_its_own_scope_alone() -> None:
    rows = [{"text": "good", "label": "positive", "tenant": "shop"}, {"text": "good", "label": "neutral"}]
    with opened(HOME) as archive:
        warmed(archive, history(FakeTable(rows), isolated=True))
        assert all_of(archive).height == 2
    assert found(["good", "good", "good"], ["shop", None, "other"]) == ["positive", "neutral", None]
    assert found(["good"]) == [None]
    with opened(HOME) as archive:
        warmed(archive, history(FakeTable(labelled(("bad", "negative")))))
    assert found(["bad", "good"]) == ["negative", None]
    assert found(["bad"], [None]) == [None]


def test_what_says_the_same_again_is_left_as_it_is_and_another_label_takes_its_place() -> None:
    with opened(HOME) as archive:
        put(archive, ["good", "bad"], answer=["positive", "positive"])
        epoch = archive.state.epoch
        made = warmed(archive, history(FakeTable(labelled(("good", "positive")))))
        assert (made.n_kept, made.n_new, made.n_changed, archive.state.epoch) == (1, 0, 0, epoch)
        made = warmed(archive, history(FakeTable(labelled(("bad", "negative")))))
        assert (made.n_kept, made.n_new, made.n_changed) == (1, 0, 1)
        assert held(archive) == {"good": "positive", "bad": "negative"}


def test_a_whole_answer_that_says_the_same_stays_whole() -> None:
    several = msgspec.structs.replace(TASK, fields=(*TASK.fields, Score(name="quality", low=1, high=5)))
    table = FakeTable(labelled(("good", "positive"), ("bad", "negative")))
    with opened(HOME) as archive:
        whole = 'positive\t{"quality":4}'
        put(archive, ["good", "bad"], context(others=("quality",)), answer=whole)
        popularity = Popularity(HOME / "cache")
        made = warm.warm(
            archive, [history(table)], several, n_most=None, popularity=popularity, now_s=NOW_S, on_progress=silent
        )
        assert (made.n_kept, made.n_new, made.n_changed) == (2, 0, 1)
        assert held(archive) == {"good": whole, "bad": "negative"}


def files(*texts: str) -> list[dict[str, Any]]:
    """Return rows of several files: each string holds the texts of one, a letter each."""
    return [
        {"text": text, "label": "positive", "source_file": f"{number}"}
        for number, file in enumerate(texts)
        for text in file
    ]


@pytest.mark.parametrize(
    ("rows", "n", "expected"),
    [
        (files("ab", "a"), 1, "a"),  # a occurred in two files
        (files("bbb", "a", "a"), 1, "a"),  # occasions come before rows
        (files("abb"), 1, "b"),  # then rows
        (files("ab"), 1, "b"),  # then the most recent
        (files("ab", "c"), 2, "cb"),
        (files("ab"), 9, "ab"),
    ],
)
def test_texts_are_ranked_by_occasions_then_rows_then_the_last(
    rows: list[dict[str, Any]], n: int, expected: str
) -> None:
    with opened(HOME) as archive:
        made = warmed(archive, history(FakeTable(rows), files=True), n_most=n)
        assert set(held(archive)) == set(expected)
        assert (made.n_predicted, made.n_kept) == (n, len(expected))


def test_tables_are_occasions_too_and_a_file_over_several_chunks_is_one() -> None:
    first, second = FakeTable(files("bb" * 4 + "a")), FakeTable(files("a"))
    with opened(HOME) as archive:
        made = warmed(archive, history(first), history(second), n_most=1)
        assert (set(held(archive)), made.n_tables) == ({"a"}, 2)


def test_hits_count_like_occasions_whoever_had_answered() -> None:
    with opened(HOME) as archive:
        for of in (context("model"), context("human"), context(task="other")):
            put(archive, ["a"], of)
        popularity = Popularity(HOME / "cache")
        rows = files("abb", "b")

        def best() -> set[str]:
            made = warmed(archive, history(FakeTable(rows), files=True), n_most=1, popularity=popularity)
            assert made.n_kept == 1
            kept = set(all_of(archive).filter(pl.col("created_s") == NOW_S)["text"])
            rowids = pl.concat(archive.scan()).filter(pl.col("created_s") == NOW_S)["rowid"].to_numpy()
            archive.delete(rowids)
            return kept

        def hit(key: str) -> None:
            popularity.add(np.frombuffer(bytes.fromhex(key), ">u8").astype(np.uint64).reshape(1, 2), 5)

        assert best() == {"b"}
        for _ in range(9):
            hit(entries(["a"], context(task="other"))["key"].item())
        assert best() == {"b"}
        hit(entries(["a"], context("model"))["key"].item())
        hit(entries(["a"], context("human"))["key"].item())
        assert best() == {"a"}


def test_hits_of_another_scope_tenant_or_field_do_not_count() -> None:
    form, tenant = pl.Series("form", ["a", "a", "b"]), pl.Series("tenant", ["shop", None, "shop"])
    popularity = Popularity(HOME / "cache")
    contexts = [context(scope="isolated", tenant=name) for name in ("shop", None)] + [context()]
    contexts += [context(others=("quality",)), context(labels=("negative", "positive"))]
    for n, of in enumerate(contexts, start=1):
        words = make_keys([canonical(of)], np.zeros(1, np.int64), form[:1]).words
        for _ in range(n):
            popularity.add(words, 5)
    hits = Hits({digest(canonical(of)): canonical(of) for of in contexts}, popularity, TASK)
    assert hits.of(form, tenant, isolated=True).tolist() == [1, 2, 0]
    assert hits.of(form, tenant, isolated=False).tolist() == [3, 3, 0]


def test_a_text_whose_label_is_not_settled_is_not_predicted() -> None:
    rows = labelled(("so", "positive"), ("so", "negative"), ("good", "positive"))
    with opened(HOME) as archive:
        assert warmed(archive, history(FakeTable(rows)), n_most=1).n_kept == 1
        assert held(archive) == {"good": "positive"}


def test_a_table_that_changes_between_the_two_readings_is_refused() -> None:
    class Changing(FakeTable):
        def chunks(self) -> Iterator[FakeChunk]:
            yield from super().chunks()
            self.rows.reverse()

    with opened(HOME) as archive, pytest.raises(InputError, match="changed while it was read"):
        warmed(archive, history(Changing(labelled(("good", "positive"), ("bad", "negative")))))


class CountingArchive:
    """An archive that remembers how many entries each transaction held."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)

    def put(self, frame: pl.DataFrame, contexts: dict[str, str]) -> Any:
        self.sizes.append(frame.height)
        return self._archive.put(frame, contexts)


def test_many_texts_go_in_transactions_of_ten_thousand() -> None:
    rows = labelled(*((f"text {number}", "positive") for number in range(10_500)))
    with opened(HOME) as archive:
        counting: Any = CountingArchive(archive)
        assert warmed(counting, history(FakeTable(rows, chunk_rows=4000))).n_new == 10_500
        assert archive.state.n_entries == 10_500
    assert counting.sizes == [10_000, 500]
