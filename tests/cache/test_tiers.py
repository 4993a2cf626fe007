"""The three tiers together: what is found, where, and what never is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from archived import all_of
from fakes import new_sharing, settings_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt import config
from reviewopt.cache.asked import Batch, Found, Kept
from reviewopt.cache.entry import ENTRY_SCHEMA
from reviewopt.cache.keys import Contexts, ModelKey, Source, make_keys
from reviewopt.cache.shelf import Shelf
from reviewopt.cache.similar import Judge
from reviewopt.cache.tiers import Cache
from reviewopt.data import COST_DTYPE
from reviewopt.settings import CacheSettings
from reviewopt.task import Score, Task, Text, rest_json
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
    task: Task = TASK,
) -> Iterator[Cache]:
    chosen: CacheSettings = settings_of(changes).cache
    with Shelf(home, chosen.archive, sharing=new_sharing(), on_warning=pytest.fail) as shelf:
        yield Cache(
            chosen,
            Contexts(task, model, scope=scope),
            task.labels,
            shelf=shelf if chosen.archive.enabled else None,
            judge=Judge(threshold=chosen.similar.threshold, sharing=new_sharing(), workers=1),
            clock=clock or Clock(),
        )


def batch(texts: list[str], tenants: list[str] | None = None) -> Batch:
    form = pl.Series(texts, dtype=pl.String)
    tenant = None if tenants is None else pl.Series(tenants, dtype=pl.String)
    return Batch(form=form, sketches=sketch(form), tenant=tenant)


def store(
    cache: Cache,
    texts: list[str],
    labels: list[int],
    tenants: list[str] | None = None,
    rest: list[str] | None = None,
) -> None:
    kept = pl.DataFrame(
        {"tenant": tenants, "review_id": texts}, schema={"tenant": pl.String, "review_id": pl.String}, height=len(texts)
    )
    keeper = cache.keeper(batch(texts, tenants), kept)
    assert keeper is not None
    rests = [""] * len(texts) if rest is None else rest
    cache.store(
        keeper,
        [
            Kept(at=at, label=label, confidence=0.9, rest=rests[at], cost_usd=Decimal("0.001"))
            for at, label in enumerate(labels)
        ],
    )


def give(home: Path, source: Source, text: str, answer: str, task: Task = TASK) -> None:
    """Put a person's or history's label into the archive."""
    side_of = Contexts(task, None, scope="shared")
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


# Tasks of several fields

SEVERAL = msgspec.structs.replace(TASK, fields=(*TASK.fields, Score(name="quality", low=1, high=5), Text(name="why")))
EXACT_ONLY = {"cache.similar.enabled": False, "cache.archive.similar": False}


def rest_of(quality: int, why: str = "it is\tcheap") -> str:
    return rest_json({"quality": quality, "why": why})


def rests(found: Found) -> list[str]:
    assert found.rest is not None
    return found.rest.to_list()


def plant(home: Path, text: str, answer: str) -> None:
    """Put an answer of the model's own into the archive that was never checked, with a right checksum."""
    with opened(home, task=SEVERAL) as cache:
        store(cache, [text], [0], rest=[rest_of(1)])
        assert cache._shelf is not None
        archive = cache._shelf.archive
        (frame,) = archive.scan()
        archive.put(frame.with_columns(answer=pl.lit(answer)), {})


def test_a_whole_answer_comes_back_from_every_tier(tmp_path: Path) -> None:
    texts, given_rests = [TEXT, "bad"], [rest_of(4), rest_of(1, "")]
    with opened(tmp_path, task=SEVERAL) as cache:
        assert rests(cache.look_up(batch(texts))) == ["", ""]
        store(cache, texts, [2, 0], rest=given_rests)
        assert rests(cache.look_up(batch([*texts, "new"]))) == [*given_rests, ""]
    for changes, tier in ((EXACT_ONLY, 3), (None, 2), ({"cache.memory.enabled": False}, 2)):
        with opened(tmp_path, changes, task=SEVERAL) as cache:
            found = cache.look_up(batch(["new", *texts]))
            assert summary(found) == [(0, -1), (tier, 2), (tier, 0)]
            assert rests(found) == ["", *given_rests]
            again = cache.look_up(batch(texts))
            assert rests(again) == given_rests
            assert again.tier.tolist() == [1 if changes is None or changes is EXACT_ONLY else 2] * 2


def test_a_similar_text_takes_the_whole_answer(tmp_path: Path) -> None:
    with opened(tmp_path, task=SEVERAL) as cache:
        store(cache, [TEXT], [2], rest=[rest_of(4)])
    for changes, tier in ((None, 2), ({"cache.similar.enabled": False}, 3)):
        with opened(tmp_path, changes, task=SEVERAL) as cache:
            found = cache.look_up(batch([NEAR, DENIED]))
            assert summary(found) == [(tier, 2), (0, -1)]
            assert rests(found) == [rest_of(4), ""]


def test_the_archive_holds_the_label_and_the_rest(tmp_path: Path) -> None:
    with opened(tmp_path, task=SEVERAL) as cache:
        store(cache, ["fine"], [2], rest=[rest_of(4)])
        assert cache._shelf is not None
        assert all_of(cache._shelf.archive)["answer"].to_list() == ["positive\t" + rest_of(4)]


def test_a_task_of_one_field_has_no_rest(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        store(cache, ["fine"], [2])
        assert cache.look_up(batch(["fine"])).rest is None
        with pytest.raises(ValueError, match="fields after the first"):
            store(cache, ["fine"], [2], rest=[rest_of(4)])
    with opened(tmp_path, task=SEVERAL) as cache, pytest.raises(ValueError, match="fields after the first"):
        store(cache, ["fine"], [2])


@pytest.mark.parametrize("source", ["human", "warm"])
def test_a_label_alone_is_no_answer_to_several_fields(tmp_path: Path, source: Source) -> None:
    give(tmp_path, source, TEXT, "negative", SEVERAL)
    with opened(tmp_path, task=SEVERAL) as cache:
        assert cache.look_up(batch([TEXT, NEAR])).tier.tolist() == [0, 0]
        store(cache, [TEXT], [2], rest=[rest_of(4)])
    for changes in (None, EXACT_ONLY):
        with opened(tmp_path, changes, task=SEVERAL) as cache:
            found = cache.look_up(batch([TEXT]))
            assert (found.label.tolist(), rests(found)) == ([2], [rest_of(4)])
            assert cache.n_given == 0
    give(tmp_path, source, TEXT, "negative\t" + rest_of(2), SEVERAL)
    with opened(tmp_path, task=SEVERAL) as cache:
        found = cache.look_up(batch([TEXT]))
        assert (found.label.tolist(), rests(found), cache.n_given) == ([0], [rest_of(2)], 1)


@pytest.mark.parametrize("rest", [rest_of(6), rest_json({"quality": 4}), "", "{", "[1]"])
@pytest.mark.parametrize("changes", [None, {"cache.similar.enabled": False}])
def test_a_rest_that_the_task_does_not_allow_is_a_miss(
    tmp_path: Path, rest: str, changes: dict[str, str | bool | int | float | None] | None
) -> None:
    plant(tmp_path, TEXT, f"positive\t{rest}")
    with opened(tmp_path, changes, task=SEVERAL) as cache:
        found = cache.look_up(batch([TEXT, NEAR]))
        assert found.tier.tolist() == [0, 0]
        assert rests(found) == ["", ""]


def test_an_answer_that_was_replaced_since_is_whole_or_a_miss(tmp_path: Path) -> None:
    with opened(tmp_path, task=SEVERAL) as cache:
        store(cache, ["fine", "last"], [2, 2], rest=[rest_of(4), rest_of(4)])
    with opened(tmp_path, {**EXACT_ONLY, "cache.memory.enabled": False}, task=SEVERAL) as cache:
        with Shelf(tmp_path, settings_of().cache.archive, sharing=None, on_warning=pytest.fail) as other:
            keys = cache.keys(batch(["last"]))
            assert keys is not None
            entry = other.archive.find(keys.hex())
            other.archive.delete(entry["rowid"].to_numpy())
            other.archive.put(entry.with_columns(answer=pl.lit("negative\t" + rest_of(1))), {})
            assert other.archive.find(keys.hex())["rowid"].to_list() == entry["rowid"].to_list()
        assert summary(cache.look_up(batch(["fine", "last"]))) == [(3, 2), (0, -1)]
        cache.refresh()
        assert rests(cache.look_up(batch(["fine", "last"]))) == [rest_of(4), rest_of(1)]


def test_a_row_that_cannot_be_read_is_a_miss(tmp_path: Path) -> None:
    with opened(tmp_path, task=SEVERAL) as cache:
        store(cache, ["fine", "bad"], [2, 0], rest=[rest_of(4), rest_of(1)])
    with opened(tmp_path, EXACT_ONLY, task=SEVERAL) as cache:
        with closing(sqlite3.connect(tmp_path / "cache" / "cache.db")) as sql:
            sql.execute("UPDATE Cache SET value = value || x'00' WHERE key = ?", (cache.keys(batch(["bad"])).hex()[0],))  # type: ignore[union-attr]
            sql.commit()
        with pytest.raises(pytest.fail.Exception, match="1 row is damaged"):
            cache.look_up(batch(["fine", "bad"]))
        found = cache.look_up(batch(["fine", "bad"]))  # it warns but once
        assert summary(found) == [(3, 2), (0, -1)]


def test_memory_is_bounded_and_forgets_with_the_archive_for_several_fields_too(tmp_path: Path) -> None:
    texts = [f"text number {at}" for at in range(10)]
    with opened(tmp_path, {**EXACT_ONLY, "cache.memory.max_entries": 3}, task=SEVERAL) as cache:
        store(cache, texts, [0] * 10, rest=[rest_of(at % 5 + 1, str(at)) for at in range(10)])
        found = cache.look_up(batch(texts))
        assert found.tier.tolist() == [0] * 7 + [1] * 3
        cache.refresh()
        assert rests(cache.look_up(batch(texts))) == [rest_of(at % 5 + 1, str(at)) for at in range(10)]


def test_isolated_tenants_have_their_own_rest(tmp_path: Path) -> None:
    with opened(tmp_path, scope="isolated", task=SEVERAL) as cache:
        store(cache, [TEXT, TEXT], [2, 0], ["a", "b"], [rest_of(5), rest_of(1)])
    with opened(tmp_path, scope="isolated", task=SEVERAL) as cache:
        found = cache.look_up(batch([TEXT, TEXT, TEXT], ["b", "c", "a"]))
        assert rests(found) == [rest_of(1), "", rest_of(5)]


def test_another_task_hits_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        store(cache, [TEXT], [2])
    other = msgspec.structs.replace(SEVERAL, fields=(*TASK.fields, Score(name="quality", low=0, high=5)))
    with opened(tmp_path, task=SEVERAL) as cache:
        assert cache.look_up(batch([TEXT, NEAR])).tier.tolist() == [0, 0]
        store(cache, [TEXT], [2], rest=[rest_of(4)])
    with opened(tmp_path, task=other) as cache:
        assert cache.look_up(batch([TEXT, NEAR])).tier.tolist() == [0, 0]


# Looking up for a plan


@pytest.mark.parametrize("task", [TASK, SEVERAL], ids=["one field", "several"])
def test_a_plan_finds_the_same_and_changes_nothing(tmp_path: Path, task: Task) -> None:
    texts, rest = [TEXT, "fine"], None if task is TASK else [rest_of(4), rest_of(5)]
    with opened(tmp_path, task=task) as cache:
        store(cache, texts, [2, 1], rest=rest)
    give(tmp_path, "human", "fine", "neutral" if rest is None else "neutral\t" + rest_of(2), task)
    asked = batch([TEXT, NEAR, "fine", "new"])
    for changes in (None, EXACT_ONLY):
        with opened(tmp_path, changes, task=task) as cache:
            plans = [cache.look_up(asked, count=False) for _ in range(2)]
            assert (cache.n_looked_up, cache.n_given, int(cache.n_hits.sum())) == (0, 0, 0)
            assert cache._memory is not None
            assert len(cache._memory) == 0
            assert cache._n_unseen == 0
            assert cache._shelf is not None
            assert len(cache._shelf.popularity._new) == 0
            real = cache.look_up(asked)
            for plan in plans:
                assert summary(plan) == summary(real)
                assert plan.similar.tolist() == real.similar.tolist()
                assert rest is None or rests(plan) == rests(real)
            assert cache.n_looked_up == 4
            assert cache.n_given == 1
    assert max(real.tier) == 3


def test_a_plan_keeps_nothing_longer_in_memory(tmp_path: Path) -> None:
    with opened(tmp_path, {**EXACT_ONLY, "cache.memory.max_entries": 2}) as cache:
        store(cache, ["a", "b"], [0, 1])
        assert cache.look_up(batch(["a"]), count=False).tier.tolist() == [1]
        store(cache, ["c"], [2])
        assert cache.look_up(batch(["a", "b", "c"]), count=False).tier.tolist() == [0, 1, 1]


# Keys of the model's own answers


def test_the_keys_are_those_of_the_models_own_answers(tmp_path: Path) -> None:
    texts, tenants = ["fine", "bad", "fine"], ["a", "b", "b"]
    with opened(tmp_path, scope="isolated") as cache:
        store(cache, texts, [2, 0, 2], tenants)
        keys = cache.keys(batch(texts, tenants))
        assert keys is not None
        assert len(set(keys.raw)) == 3
        assert cache._shelf is not None
        assert sorted(all_of(cache._shelf.archive)["key"]) == sorted(keys.hex())
        assert cache.keys(batch([])) is not None
    free = Cache(settings_of().cache, Contexts(TASK, None, scope="shared"), TASK.labels, shelf=None, judge=None)
    assert free.keys(batch(texts)) is None
