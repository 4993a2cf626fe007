"""The three tiers together: what is found, where, and what never is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from fakes import settings_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt import config
from reviewopt.cache.entry import ENTRY_SCHEMA
from reviewopt.cache.keys import Contexts, ModelKey, Source, make_keys
from reviewopt.cache.shelf import Shelf
from reviewopt.cache.similar import Judge
from reviewopt.cache.tiers import Batch, Cache, Found
from reviewopt.config import CacheSettings
from reviewopt.data import COST_DTYPE
from reviewopt.text.sharing import Sharing
from reviewopt.text.sketch import sketch

TASK = config.load_task("sentiment")
MODEL = ModelKey(name="m", settings={}, prompt="1", packed=False)
TEXT = "this kettle is good and my mother uses it each day for her tea and her soup"
NEAR = TEXT.replace("soup", "broth")
DENIED = "this kettle is not good and my mother uses it each day for her tea and her soup"


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@contextmanager
def opened(
    home: Path,
    changes: Mapping[str, str | bool | int | float | None] | None = None,
    *,
    scope: str = "shared",
    model: ModelKey = MODEL,
    clock: Clock | None = None,
) -> Iterator[Cache]:
    chosen: CacheSettings = settings_of(changes).cache
    with Shelf(home, chosen.archive, sharing=Sharing(), on_warning=pytest.fail) as shelf:
        yield Cache(
            chosen,
            Contexts(TASK, model, scope=scope),
            TASK.labels,
            shelf=shelf if chosen.archive.enabled else None,
            judge=Judge(threshold=chosen.similar.threshold, sharing=Sharing(), workers=1),
            clock=clock or Clock(),
        )


def batch(texts: list[str], tenants: list[str] | None = None) -> Batch:
    form = pl.Series(texts, dtype=pl.String)
    tenant = None if tenants is None else pl.Series(tenants, dtype=pl.String)
    return Batch(form=form, sketches=sketch(form), tenant=tenant)


def store(cache: Cache, texts: list[str], labels: list[int], tenants: list[str] | None = None) -> None:
    kept = pl.DataFrame(
        {"cost_usd": ["0.001"] * len(texts), "tenant": tenants, "review_id": texts},
        schema={"cost_usd": pl.String, "tenant": pl.String, "review_id": pl.String},
    ).with_columns(pl.col("cost_usd").cast(COST_DTYPE))
    given = batch(texts, tenants)
    cache.store(given, np.array(labels, np.uint8), np.full(len(texts), 0.9, np.float32), kept)


def give(home: Path, source: Source, text: str, answer: str) -> None:
    """Put a person's or history's label into the archive."""
    side_of = Contexts(TASK, None, scope="shared")
    code = side_of.codes(None, 1)
    side = side_of.given(source)
    entry = pl.DataFrame(
        {
            "key": make_keys(side.json, code, pl.Series([text])).hex(),
            "context": side.digest,
            "answer": [answer],
            "confidence": [None],
            "cost_usd": ["0"],
            "created_s": [1_800_000_000],
            "tenant": [None],
            "review_id": [None],
            "text": [text],
        },
        schema_overrides={**ENTRY_SCHEMA, "cost_usd": pl.String},
    ).with_columns(pl.col("cost_usd").cast(COST_DTYPE))
    with Shelf(home, settings_of().cache.archive, sharing=None, on_warning=pytest.fail) as shelf:
        shelf.archive.put(entry.select(list(ENTRY_SCHEMA)), dict(zip(side.digest, side.json, strict=True)))


def summary(found: Found) -> list[tuple[int, int]]:
    """The tier and the label of each question."""
    return list(zip(found.tier.tolist(), found.label.tolist(), strict=True))


def test_a_stored_answer_is_in_memory_at_once_and_in_the_archive_for_the_next_run(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        assert summary(cache.look_up(batch(["fine", "bad"]))) == [(0, -1), (0, -1)]
        store(cache, ["fine"], [2])
        assert summary(cache.look_up(batch(["fine", "bad"]))) == [(1, 2), (0, -1)]
    with opened(tmp_path, {"cache.similar.enabled": False}) as cache:
        assert summary(cache.look_up(batch(["bad", "fine"]))) == [(0, -1), (3, 2)]
        assert summary(cache.look_up(batch(["fine"]))) == [(1, 2)]
        assert cache.n_hits.tolist() == [1, 1, 0, 1]


def test_a_hit_is_promoted_from_the_archive_to_the_popular_ones_and_to_memory(tmp_path: Path) -> None:
    texts = [f"text number {at}" for at in range(30)]
    bounded = {"cache.similar.max_entries": 5, "cache.memory.max_entries": 1}
    with opened(tmp_path, bounded) as cache:
        store(cache, texts, [0] * 30)
    with opened(tmp_path, bounded) as cache:
        assert summary(cache.look_up(batch(["text number 3"]))) == [(3, 0)]
        assert summary(cache.look_up(batch(["text number 3"]))) == [(1, 0)]
    with opened(tmp_path, bounded) as cache:
        assert summary(cache.look_up(batch(["text number 3", "text number 4"]))) == [(2, 0), (3, 0)]


@pytest.mark.parametrize("tier", ["memory", "similar", "archive"])
def test_every_tier_can_be_switched_off(tmp_path: Path, tier: str) -> None:
    number = {"memory": 1, "similar": 2, "archive": 3}[tier]
    with opened(tmp_path) as cache:
        store(cache, ["fine"], [2])
    seen = set()
    with opened(tmp_path, {f"cache.{tier}.enabled": False}) as cache:
        for _ in range(3):
            seen |= set(cache.look_up(batch(["fine"])).tier.tolist())
    assert number not in seen


def test_a_similar_text_takes_the_answer_where_the_signature_is_equal(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        store(cache, [TEXT], [2])
    for changes, tier in ((None, 2), ({"cache.similar.enabled": False}, 3)):
        with opened(tmp_path, changes) as cache:
            found = cache.look_up(batch([NEAR, DENIED, "nothing alike"]))
            assert summary(found) == [(tier, 2), (0, -1), (0, -1)]
            assert found.similar.tolist() == [True, False, False]


def test_similar_hits_can_be_switched_off_in_the_archive_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        store(cache, [TEXT], [2])
    with opened(tmp_path, {"cache.archive.similar": False, "cache.similar.enabled": False}) as cache:
        assert summary(cache.look_up(batch([NEAR, TEXT]))) == [(0, -1), (3, 2)]


def test_a_derived_answer_seeds_no_similar_hit(tmp_path: Path) -> None:
    second = TEXT.replace("kettle", "teakettle").replace("soup", "noodles")
    third = second.replace("teakettle", "whistling teakettle").replace("mother", "mother dorothy")
    with opened(tmp_path) as cache:
        store(cache, [TEXT], [2])
    with opened(tmp_path) as cache:
        assert summary(cache.look_up(batch([second]))) == [(2, 2)]
        cache.refresh()
        assert summary(cache.look_up(batch([third]))) == [(0, -1)]
    with opened(tmp_path) as cache:
        assert summary(cache.look_up(batch([third]))) == [(0, -1)]
        store(cache, [second], [0])
    with opened(tmp_path) as cache:
        assert summary(cache.look_up(batch([third]))) == [(2, 0)]


def test_similar_hits_come_from_what_was_committed_before(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        store(cache, [TEXT], [2])
        assert summary(cache.look_up(batch([NEAR]))) == [(0, -1)]
        cache.refresh()
        assert cache.look_up(batch([NEAR])).label.tolist() == [2]


def test_another_tenant_hits_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, scope="isolated") as cache:
        store(cache, [TEXT], [2], ["a"])
    for changes in (None, {"cache.similar.enabled": False}):
        with opened(tmp_path, changes, scope="isolated") as cache:
            assert cache.look_up(batch([TEXT, NEAR], ["b", "b"])).tier.tolist() == [0, 0]
            assert cache.look_up(batch([TEXT, NEAR], ["a", "a"])).label.tolist() == [2, 2]
    with opened(tmp_path) as cache:
        assert cache.look_up(batch([TEXT, NEAR])).tier.tolist() == [0, 0]


@pytest.mark.parametrize("change", [{"name": "n"}, {"settings": {"t": "1"}}, {"prompt": "2"}, {"packed": True}])
def test_another_model_hits_nothing(tmp_path: Path, change: dict[str, object]) -> None:
    with opened(tmp_path) as cache:
        store(cache, [TEXT], [2])
    with opened(tmp_path, model=msgspec.structs.replace(MODEL, **change)) as cache:
        assert cache.look_up(batch([TEXT, NEAR])).tier.tolist() == [0, 0]


def test_people_outrank_history_and_history_outranks_a_model(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        store(cache, [TEXT], [2])
    give(tmp_path, "warm", TEXT, "neutral")
    with opened(tmp_path) as cache:
        found = cache.look_up(batch([TEXT]))
        assert found.label.tolist() == [1]
        assert np.isnan(found.confidence).all()
    give(tmp_path, "human", TEXT, "negative")
    with opened(tmp_path) as cache:
        assert cache.look_up(batch([TEXT])).label.tolist() == [0]


def test_an_answer_that_is_no_label_of_the_task_is_a_miss(tmp_path: Path) -> None:
    give(tmp_path, "human", TEXT, "lukewarm")
    with opened(tmp_path) as cache:
        assert cache.look_up(batch([TEXT, NEAR])).tier.tolist() == [0, 0]


def test_an_old_answer_is_asked_again(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock=clock) as cache:
        store(cache, [TEXT], [2])
    clock.now_s += 2 * 86_400
    with opened(tmp_path, {"cache.ttl_days": 3}, clock=clock) as cache:
        assert cache.look_up(batch([TEXT])).label.tolist() == [2]
        clock.now_s += 2 * 86_400
        assert cache.look_up(batch([TEXT, NEAR])).tier.tolist() == [0, 0]
        store(cache, [TEXT], [0])
    with opened(tmp_path, {"cache.ttl_days": 3}, clock=clock) as cache:
        assert cache.look_up(batch([TEXT])).label.tolist() == [0]


def test_what_was_taken_back_is_in_no_tier(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        store(cache, [TEXT], [2])
    with opened(tmp_path) as cache:
        assert cache.look_up(batch([TEXT, NEAR])).label.tolist() == [2, 2]
        with Shelf(tmp_path, settings_of().cache.archive, sharing=None, on_warning=pytest.fail) as other:
            other.archive.delete(np.concatenate([frame["rowid"].to_numpy() for frame in other.archive.scan()]))
        cache.refresh()
        assert cache.look_up(batch([TEXT, NEAR])).tier.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("policy", "kept"), [("fifo", {4, 5, 6, 7, 8, 9}), ("lru", {0, 1, 6, 7, 8, 9}), ("lfu", {0, 1, 6, 7, 8, 9})]
)
def test_a_bounded_archive_gives_up_the_least_wanted(tmp_path: Path, policy: str, kept: set[int]) -> None:
    clock, off = (
        Clock(),
        {"cache.similar.enabled": False, "cache.memory.enabled": False, "cache.archive.similar": False},
    )
    texts = [f"a text about the number {at} and {'x' * at}" for at in range(10)]
    for at in range(10):
        with opened(tmp_path, off, clock=clock) as cache:
            store(cache, [texts[at]], [0])
        clock.now_s += 10
    with opened(tmp_path, off, clock=clock) as cache:
        assert cache.look_up(batch(texts[:2])).tier.tolist() == [3, 3]
    bounded: dict[str, str | bool | int | float | None] = {
        **off,
        "cache.archive.max_entries": 7,
        "cache.archive.eviction": policy,
    }
    with opened(tmp_path, bounded, clock=clock):
        pass
    with opened(tmp_path, off, clock=clock) as cache:
        tiers = cache.look_up(batch(texts)).tier
    assert set(np.flatnonzero(tiers).tolist()) == kept


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12, unique=True), max_size=8))
def test_hits_and_misses_are_the_questions_and_no_answer_is_lost(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[int]]
) -> None:
    home, known = tmp_path_factory.mktemp("home"), dict[str, int]()
    for numbers in rounds:
        texts = [f"text {number}" for number in numbers]
        with opened(home) as cache:
            found = cache.look_up(batch(texts))
            assert int(cache.n_hits.sum()) == cache.n_looked_up == len(texts)
            for text, tier, label, similar in zip(
                texts, found.tier.tolist(), found.label.tolist(), found.similar.tolist(), strict=True
            ):
                assert (tier > 0 and not similar) == (text in known)
                assert similar or label == known.get(text, -1)
            asked = [text for text, tier in zip(texts, found.tier.tolist(), strict=True) if tier == 0]
            labels = [len(text) % 3 for text in asked]
            store(cache, asked, labels)
            known |= dict(zip(asked, labels, strict=True))
