"""Groups over the whole table, and the files that hold what is known of each question."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt.data import GroupCounts
from reviewopt.dedup.exact import ExactCopies
from reviewopt.dedup.groups import N_LARGEST, Groups
from reviewopt.dedup.spool import Spool, TextSpool
from reviewopt.errors import InputError

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


class Interrupting(np.ndarray[Any, np.dtype[np.uint32]]):
    def astype(self, *_: Any, **__: Any) -> NoReturn:  # stands for Ctrl-C inside `add`
        raise KeyboardInterrupt


def test_an_interrupt_inside_a_spool_stays_an_interrupt_and_closes_its_file(tmp_path: Path) -> None:
    spool = Spool(np.uint32, tmp_path)

    def add() -> None:
        with spool:
            spool.append(np.zeros(3, np.uint32))
            spool.add(np.array([0]), np.ones(1, np.uint32).view(Interrupting))

    with pytest.raises(KeyboardInterrupt):
        add()
    assert spool._file.closed


@pytest.mark.skipif(sys.platform != "linux", reason="counts the blocks of a file as Linux does")
@pytest.mark.parametrize("has_fallocate", [True, False])
def test_a_spool_writes_only_to_space_that_it_took_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_fallocate: bool
) -> None:
    if not has_fallocate:
        monkeypatch.delattr(os, "posix_fallocate")  # as on macOS
    with Spool(np.uint8, tmp_path) as spool:
        for n_rows in (0, 1 << 16, 300_000):
            spool.append(np.zeros(n_rows, np.uint8))
            made = os.fstat(spool._file.fileno())
            assert made.st_blocks * 512 >= made.st_size >= len(spool)


def test_a_folder_that_takes_no_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"in .*none: .*; free some space or name another place with --home"):
        Groups(tmp_path / "none")


_LIMITED = """
import os, resource, sys
from pathlib import Path
import numpy as np
from reviewopt.dedup.groups import Groups
from reviewopt.dedup.spool import Spool
from reviewopt.errors import InputError

def n_open():
    return len(os.listdir("/dev/fd"))

folder, before = Path(sys.argv[1]), n_open()
try:
    {work}
except InputError as error:
    print(error)
assert n_open() == before, (n_open(), before)
"""
_GROW = """with Spool(np.uint8, folder) as spool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        spool.append(np.zeros(200_000, np.uint8))"""
_OPEN = """resource.setrlimit(resource.RLIMIT_NOFILE, (before + {more}, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    Groups(folder)"""


@pytest.mark.parametrize("work", [_GROW, *(_OPEN.format(more=more) for more in range(0, 12, 3))])
def test_a_disk_or_a_process_without_room_is_an_error_and_leaves_no_file_open(tmp_path: Path, work: str) -> None:
    script = _LIMITED.format(work=work)
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path)]
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (made.returncode, made.stderr) == (0, "")
    assert f"cannot keep the groups of reviews in {tmp_path}: " in made.stdout
    assert list(tmp_path.iterdir()) == []
