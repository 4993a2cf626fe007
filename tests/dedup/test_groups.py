"""Groups over the whole table, and the files that hold what is known of each question."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt.data import GroupCounts
from reviewopt.dedup.exact import ExactCopies
from reviewopt.dedup.groups import N_LARGEST, Groups
from reviewopt.dedup.spool import Spool, TextSpool

SAME_FOLDER = [HealthCheck.function_scoped_fixture]
TEXTS = st.lists(st.none() | st.sampled_from("abcdefghijklmnop"), min_size=1, max_size=60)


def named(
    texts: list[str | None], cuts: list[int], folder: Path, near: dict[str, str]
) -> tuple[pl.DataFrame, GroupCounts]:
    copies, parts, first = ExactCopies(), [], {}
    bounds = sorted({0, len(texts), *(cut for cut in cuts if cut < len(texts))})
    with Groups(folder) as groups:
        for start, end in itertools.pairwise(bounds):
            form = pl.Series(texts[start:end], dtype=pl.String)
            asked = copies.see(form)
            for row in asked.new_rows.tolist():
                first[form[row]] = int(asked.question[row])
            root = [first.get(near.get(form[row], form[row]), first[form[row]]) for row in asked.new_rows.tolist()]
            rows = np.arange(start, end)
            reviews = pl.DataFrame({"row": rows, "review_id": [f"id{row}" for row in rows], "text": form})
            parts.append(groups.name(asked, np.array(root, np.int64), reviews))
        return pl.concat(parts), groups.counts()


@settings(max_examples=40, suppress_health_check=SAME_FOLDER, deadline=None)
@given(TEXTS, st.lists(st.integers(1, 59), max_size=5))
def test_a_copy_names_the_first_review_of_its_group(tmp_path: Path, texts: list[str | None], cuts: list[int]) -> None:
    frame, counts = named(texts, cuts, tmp_path, {})
    first = {text: row for row, text in reversed(list(enumerate(texts))) if text is not None}
    assert frame["cluster"].to_list() == [first.get(text) if text else None for text in texts]
    assert frame["duplicate_of"].to_list() == [
        f"id{first[text]}" if text and first[text] != row else None for row, text in enumerate(texts)
    ]
    sizes = sorted((texts.count(text) for text in first if texts.count(text) > 1), reverse=True)
    assert counts.n_groups == len(sizes)
    assert counts.n_rows == sum(sizes)
    assert [group.n_rows for group in counts.largest] == sizes[:N_LARGEST]
    assert all(group.example == texts[int(group.review_id[2:])] for group in counts.largest)


def test_near_copies_are_in_the_group_of_the_first_and_counted_apart(tmp_path: Path) -> None:
    frame, counts = named(["a", "b", "c", "b", "a"], [2], tmp_path, {"b": "a"})
    assert frame["duplicate_of"].to_list() == [None, "id0", None, "id0", "id0"]
    assert frame["cluster"].to_list() == [0, 0, 2, 0, 0]
    assert (counts.n_groups, counts.n_near, counts.n_rows) == (1, 1, 4)
    assert (counts.largest[0].n_rows, counts.largest[0].n_questions) == (4, 2)


@settings(max_examples=30, suppress_health_check=SAME_FOLDER, deadline=None)
@given(st.lists(st.lists(st.text(max_size=5), max_size=40), max_size=5), st.data())
def test_a_text_spool_gives_back_what_it_took(tmp_path: Path, parts: list[list[str]], data: st.DataObject) -> None:
    flat = list(itertools.chain.from_iterable(parts))
    with TextSpool(tmp_path) as spool:
        for part in parts:
            spool.append(pl.Series(part, dtype=pl.String))
        at = data.draw(st.lists(st.integers(0, len(flat) - 1), max_size=50)) if flat else []
        assert spool.take(np.array(at, np.int64)).to_list() == [flat[place] for place in at]
    assert list(tmp_path.iterdir()) == []


def test_a_spool_grows_and_adds(tmp_path: Path) -> None:
    with Spool(np.uint32, tmp_path) as spool:
        for part in np.array_split(np.arange(100_000, dtype=np.uint32), 7):
            spool.append(part)
        assert (spool.take(np.arange(100_000)) == np.arange(100_000)).all()
        assert spool.add(np.array([5, 99_999]), np.array([10, 1])).tolist() == [15, 100_000]
        assert spool.take(np.array([5])).tolist() == [15]
