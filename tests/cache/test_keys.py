"""A key holds everything that decides the answer."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt import config
from reviewopt.cache.keys import Context, Contexts, ModelKey, canonical, digest, given_context, make_keys
from reviewopt.task import Choice, Field, Predicate, Score, Task, Text

TASK = Task(name="sentiment", instructions="Say.", fields=(Choice(name="s", labels=("bad", "good")),))
MODEL = ModelKey(name="m", settings={"temperature": "0"}, prompt="1", packed=False)
CONTEXT = MODEL.context(TASK, scope="shared", tenant=None)


def key_of(context: Context, text: str) -> bytes:
    (key,) = make_keys([canonical(context)], np.zeros(1, np.int64), pl.Series([text])).raw
    return key


@pytest.mark.parametrize(
    "change",
    [
        {"source": "human"},
        {"scope": "isolated"},
        {"tenant": "a"},
        {"task": "other"},
        {"labels": ("good", "bad")},
        {"labels": ("bad", "good", "neutral")},
        {"normaliser": 0},
        {"model": "n"},
        {"settings": {"temperature": "1"}},
        {"prompt": "2"},
        {"packed": True},
        {"others": ("quality",)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_key_changes_with_every_ingredient(change: dict[str, object]) -> None:
    changed = msgspec.structs.replace(CONTEXT, **change)
    assert key_of(changed, "fine") != key_of(CONTEXT, "fine")
    assert digest(canonical(changed)) != digest(canonical(CONTEXT))


def test_every_field_of_a_context_is_changed_above() -> None:
    assert set(Context.__struct_fields__) == {
        "source", "scope", "tenant", "task", "labels", "normaliser", "model", "settings", "prompt", "packed",
        "others",
    }  # fmt: skip


def test_a_models_key_changes_with_its_instructions_and_a_given_one_does_not() -> None:
    other = msgspec.structs.replace(TASK, instructions="Say it.")
    assert MODEL.context(other, scope="shared", tenant=None) != CONTEXT
    given = {"scope": "shared", "tenant": None}
    assert given_context(other, "human", **given) == given_context(TASK, "human", **given)  # type: ignore[arg-type]


OTHERS = (Score(name="quality", low=1, high=5), Text(name="insights"))
SEVERAL = msgspec.structs.replace(TASK, fields=(*TASK.fields, *OTHERS))


def test_a_context_of_one_field_names_no_others() -> None:
    assert "others" not in canonical(CONTEXT)


def test_the_name_and_the_type_of_the_only_field_are_part_of_the_key() -> None:
    kinds = (Choice(name="damaged", labels=("no", "yes")), Predicate(name="damaged"), Predicate(name="late"))
    tasks = [msgspec.structs.replace(TASK, fields=(kind,)) for kind in kinds]
    assert len({MODEL.context(task, scope="shared", tenant=None).prompt for task in tasks}) == len(kinds)


VARIANTS: tuple[tuple[Field, ...], ...] = (
    TASK.fields,
    SEVERAL.fields,
    (msgspec.structs.replace(TASK.field, about="The tone."),),
    (TASK.field, OTHERS[1], OTHERS[0]),
    (*TASK.fields, OTHERS[0]),
    (msgspec.structs.replace(TASK.field, name="tone"), *OTHERS),
    (msgspec.structs.replace(TASK.field, about="The tone."), *OTHERS),
    (TASK.field, Score(name="quality", low=0, high=5), OTHERS[1]),
    (TASK.field, Score(name="quality", low=1, high=4), OTHERS[1]),
    (TASK.field, Score(name="quality", low=1, high=5, about="Of the thing."), OTHERS[1]),
    (TASK.field, Predicate(name="quality"), OTHERS[1]),
    (TASK.field, Choice(name="quality", labels=("no", "yes")), OTHERS[1]),
    (TASK.field, Choice(name="quality", labels=("yes", "no")), OTHERS[1]),
    (TASK.field, OTHERS[0], Text(name="insights", most_items=2)),
    (TASK.field, OTHERS[0], Text(name="insights", most_chars=100)),
    (TASK.field, OTHERS[0], Text(name="ideas")),
)


def test_a_models_key_changes_with_everything_that_a_field_says() -> None:
    tasks = [msgspec.structs.replace(TASK, fields=fields) for fields in VARIANTS]
    keys = {key_of(MODEL.context(task, scope="shared", tenant=None), "fine") for task in tasks}
    assert len(keys) == len(VARIANTS)


def test_what_people_say_of_one_field_is_no_answer_to_several() -> None:
    one, several = (given_context(task, "human", scope="shared", tenant=None) for task in (TASK, SEVERAL))
    assert key_of(one, "fine") != key_of(several, "fine")
    assert (several.task, several.labels, several.others) == (TASK.name, TASK.labels, ("quality", "insights"))
    assert msgspec.json.decode(canonical(several), type=Context) == several
    assert msgspec.json.decode(canonical(one), type=Context) == one


@given(st.text(), st.text())
def test_two_texts_have_two_keys(one: str, other: str) -> None:
    assert (key_of(CONTEXT, one) == key_of(CONTEXT, other)) == (one == other)


def test_keys_are_the_same_on_every_machine() -> None:
    task = config.load_task("sentiment")
    context = given_context(task, "human", scope="shared", tenant=None)
    assert canonical(context) == (
        '{"labels":["negative","neutral","positive"],"model":null,"normaliser":1,"packed":null,"prompt":null,'
        '"scope":"shared","settings":null,"source":"human","task":"sentiment","tenant":null}'
    )
    assert key_of(context, "fine").hex() == "503e1446f562059e2592ba58a285abce"


def test_words_are_in_the_order_of_the_bytes() -> None:
    keys = make_keys([canonical(CONTEXT)], np.zeros(50, np.int64), pl.Series([str(n) for n in range(50)]))
    assert np.lexsort(keys.words.T[::-1]).tolist() == sorted(range(50), key=keys.raw.__getitem__)
    assert keys.hex().to_list() == [raw.hex() for raw in keys.raw]


@given(st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=20))
def test_isolated_tenants_have_keys_of_their_own(tenants: list[str | None]) -> None:
    contexts = Contexts(TASK, MODEL, scope="isolated")
    codes = contexts.codes(pl.Series(tenants, dtype=pl.String), len(tenants))
    assert contexts.own is not None
    keys = make_keys(contexts.own.json, codes, pl.Series(["fine"] * len(tenants))).raw
    assert len(set(keys)) == len(set(tenants))
    assert [keys.index(key) for key in keys] == [tenants.index(name) for name in tenants]


def test_people_are_looked_up_before_history_and_history_before_a_model() -> None:
    contexts = Contexts(TASK, MODEL, scope="shared")
    contexts.codes(None, 1)
    sources = [msgspec.json.decode(side.json[0])["source"] for side in contexts.sides]
    assert sources == ["human", "warm", "model"]
