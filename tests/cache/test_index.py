"""The arrays beside the archive: as right as the archive, never stale, and nothing lost with them."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fakes import new_sharing

from reviewopt.cache import popularity
from reviewopt.cache.archive import Archive
from reviewopt.cache.entry import ENTRY_SCHEMA
from reviewopt.cache.index import MISS, ExactIndex, answers_of, segment
from reviewopt.cache.keys import Keys
from reviewopt.cache.popularity import Popularity
from reviewopt.cache.sidecar import SMALL_TAIL, read_sealed, write_sealed
from reviewopt.cache.similar import SimilarArchive
from reviewopt.data import COST_DTYPE

LABELS = {"negative": 0, "positive": 1}
CONTEXT = "00000000000000ff"


def keys_of(first: int, n: int) -> Keys:
    rng = np.random.default_rng(7)
    raw = rng.bytes(16 * (first + n))[16 * first :]
    return Keys.of([raw[at : at + 16] for at in range(0, len(raw), 16)])


def entries(first: int, n: int, answer: str = "positive") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "key": keys_of(first, n).hex(),
            "context": [CONTEXT] * n,
            "answer": [answer if at % 2 else "negative" for at in range(first, first + n)],
            "confidence": [None if at % 3 else 0.5 for at in range(first, first + n)],
            "cost_usd": pl.Series([None] * n, dtype=pl.String).fill_null("0").cast(COST_DTYPE),
            "created_s": [1_800_000_000 + at for at in range(first, first + n)],
            "tenant": [None] * n,
            "review_id": [None] * n,
            "text": [f"a text about the number {at}" for at in range(first, first + n)],
        },
        schema=ENTRY_SCHEMA,
    )


def opened(folder: Path) -> Archive:
    return Archive.open(folder, compress_above_bytes=1024, on_warning=pytest.fail)


def labels_of(index: ExactIndex, first: int, n: int) -> list[int]:
    labels: list[int] = index.look_up(keys_of(first, n).words, LABELS).label.tolist()
    return labels


def expected(first: int, n: int) -> list[int]:
    return [at % 2 for at in range(first, first + n)]


def test_every_key_is_found_in_segments_in_the_tail_and_after_a_restart(tmp_path: Path) -> None:
    first = 0
    for n in (SMALL_TAIL, 10, SMALL_TAIL + 5, 3, 2 * SMALL_TAIL, 50):
        with opened(tmp_path) as archive:
            index = ExactIndex(tmp_path, archive)
            index.refresh()
            assert labels_of(index, 0, first) == expected(0, first)
            archive.put(entries(first, n), {})
            assert labels_of(index, first, n) == [MISS] * n
            index.refresh()
            first += n
            assert labels_of(index, 0, first + 5) == expected(0, first) + [MISS] * 5
            index.store()
            assert labels_of(index, 0, first) == expected(0, first)
    found_at = np.random.default_rng(1).permutation(first)
    with opened(tmp_path) as archive:
        index = ExactIndex(tmp_path, archive)
        index.refresh()
        hits = index.look_up(keys_of(0, first).words[found_at], LABELS)
    assert (hits.label == found_at % 2).all()
    assert (np.isnan(hits.confidence) == (found_at % 3 > 0)).all()
    assert (hits.created_s == 1_800_000_000 + found_at).all()


def test_the_index_holds_the_labels_of_whole_answers_and_no_more(tmp_path: Path) -> None:
    whole = entries(0, 4).with_columns(answer=pl.col("answer") + "\t" + pl.col("text"))
    with opened(tmp_path) as archive:
        archive.put(whole, {CONTEXT: "{}"})
        (one,) = (segment(frame) for frame in archive.scan())
        assert sorted(one.names["answer"]) == ["negative", "positive"]
        index = ExactIndex(tmp_path, archive)
        index.refresh()
        assert labels_of(index, 0, 4) == expected(0, 4)


def test_an_answer_is_read_from_the_row_of_its_own_key_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        rowid = archive.put(entries(0, 4), {CONTEXT: "{}"})
        words, found = keys_of(0, 4).words, archive.read(rowid)
        assert answers_of(found, words, rowid).to_list() == entries(0, 4)["answer"].to_list()
        assert answers_of(found, words, rowid[::-1]).to_list() == [None] * 4
        assert answers_of(found[:2], words, rowid).to_list() == [*entries(0, 2)["answer"], None, None]
        assert answers_of(found[:0], words, rowid).to_list() == [None] * 4


def test_an_unknown_label_is_a_miss_and_its_row_is_known(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        rowids = archive.put(entries(0, 4, answer="maybe"), {})
        index = ExactIndex(tmp_path, archive)
        index.refresh()
        assert labels_of(index, 0, 4) == [0, MISS, 0, MISS]
        assert sorted(index.rowids(keys_of(0, 6).words).tolist()) == rowids.tolist()


def test_a_deleted_entry_is_gone_from_every_index_of_every_process(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        rowids = archive.put(entries(0, SMALL_TAIL), {})
        mine = ExactIndex(tmp_path, archive)
        mine.refresh()
        mine.store()
        with opened(tmp_path) as other:
            other.delete(rowids[10:20])
            theirs = ExactIndex(tmp_path, other)
            theirs.refresh()
            assert labels_of(theirs, 8, 14) == [0, 1, *[MISS] * 10, 0, 1]
        mine.refresh()
        assert labels_of(mine, 8, 14) == [0, 1, *[MISS] * 10, 0, 1]


def test_a_replaced_answer_is_the_new_one(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        archive.put(entries(0, SMALL_TAIL), {})
        index = ExactIndex(tmp_path, archive)
        index.refresh()
        index.store()
        archive.put(entries(1, 1, answer="negative"), {})
        index.refresh()
        assert labels_of(index, 0, 4) == [0, 0, 0, 1]


@pytest.mark.parametrize("kind", ["index", "similar"])
def test_a_damaged_sidecar_is_made_again_and_never_believed(tmp_path: Path, kind: str) -> None:
    n, rng = SMALL_TAIL, random.Random(3)
    with opened(tmp_path) as archive:
        archive.put(entries(0, n), {})
        for made in (ExactIndex(tmp_path, archive), SimilarArchive(tmp_path, archive, new_sharing())):
            made.refresh()
            made.store()
    sound = tmp_path.with_name(f"{tmp_path.name}-sound")
    shutil.copytree(tmp_path / kind, sound)
    files = sorted(path.relative_to(sound) for path in sound.rglob("*") if path.is_file())
    for turn in range(30):
        shutil.rmtree(tmp_path / kind)
        shutil.copytree(sound, tmp_path / kind)
        path = tmp_path / kind / files[turn % len(files)]
        data = bytearray(path.read_bytes())
        if turn % 3:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        else:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(data)
        with opened(tmp_path) as archive:
            index, similar = ExactIndex(tmp_path, archive), SimilarArchive(tmp_path, archive, new_sharing())
            index.refresh()
            similar.refresh()
            assert labels_of(index, 0, n) == expected(0, n)
    shutil.rmtree(sound)


def test_a_manifest_of_another_version_or_epoch_is_not_used(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        archive.put(entries(0, SMALL_TAIL), {})
        index = ExactIndex(tmp_path, archive)
        index.refresh()
        index.store()
    manifest = tmp_path / "index" / "manifest"
    text = read_sealed(manifest).decode()
    for old, new in (
        ('"version":1', '"version":2'),
        ('"epoch":', '"epoch":9'),
        (f'"last_rowid":{SMALL_TAIL}', '"last_rowid":9999999'),
    ):
        assert old in text
        write_sealed(manifest, text.replace(old, new).encode())
        with opened(tmp_path) as archive:
            index = ExactIndex(tmp_path, archive)
            index.refresh()
            assert labels_of(index, 0, 50) == expected(0, 50)


def test_popularity_adds_up_over_processes_and_survives_damage(tmp_path: Path) -> None:
    words = keys_of(0, 5).words
    for _ in range(2):
        one, other = Popularity(tmp_path), Popularity(tmp_path)
        one.add(words[[0, 1]], 100)
        one.add(words[[0]], 200)
        other.add(words[[0, 2]], 300)
        one.store()
        other.store()
    uses = Popularity(tmp_path).of(words)
    assert uses["n_hits"].tolist() == [6, 2, 2, 0, 0]
    assert uses["used_s"].tolist() == [300, 100, 300, 0, 0]
    assert Popularity(tmp_path).top(2).tolist() == words[[0, 2]].tolist()
    (tmp_path / popularity.FILE).write_bytes(b"rubbish and more of it")
    assert Popularity(tmp_path).of(words)["n_hits"].tolist() == [0] * 5
    assert Popularity(tmp_path).top(3).tolist() == []
