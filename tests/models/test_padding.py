"""Instructions that are made long enough for a vendor's prompt cache, and only where that is cheaper."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from test_chat import ENVIRONMENT, ask_about
from test_chat_prompt import REVIEW, SENTIMENT

from reviewopt import config, prices, tokens
from reviewopt.models import chat_prompt, padding
from reviewopt.models.chat import Chat, open_chat
from reviewopt.models.padding import LEAST_CACHED_TOKENS, Padding, padded
from reviewopt.prices import Price
from reviewopt.pricing import Form, form_of
from reviewopt.settings import ModelSettings, OwnPrice
from reviewopt.task import Task


def words(text: str) -> int:
    return len(text.split())


def price(cached: float | None = 0.01, *, write: float | None = None, name: str = "") -> Price:
    own = OwnPrice(input_usd=0.1, output_usd=0.4, cached_usd=cached, cache_write_usd=write)
    found = prices.find(ModelSettings(model="m", base_url="https://h.example", price=own), "mine")
    return found if not name else Price(**{**{part: getattr(found, part) for part in PARTS}, "name": name})


PARTS = ("name", "input", "cached", "cache_write", "output", "reasoning", "request")


def opened(folder: Path, pays: Price | None, task: Task = SENTIMENT, **more: Any) -> Chat:
    settings = ModelSettings(model="m", base_url="https://h.example/v1", api_key_env="MY_KEY", **more)
    given = None if pays is None else Padding(n_tokens=words, pays=pays.pays_to_pad)
    memory = folder / "models.json"
    model = open_chat("mine", settings, task, threads=1, memory=memory, environment=ENVIRONMENT, padding=given)
    model.close()
    return model


def system_of(model: Chat) -> str:
    body = json.loads(model.compose(ask_about(["good", "bad"]), random.Random(0)).body)
    content = body["messages"][0]["content"]
    assert isinstance(content, str)
    return content


# The text


@pytest.mark.parametrize("task", [SENTIMENT, REVIEW])
def test_padded_instructions_are_the_same_ones_with_more_after_them(task: Task) -> None:
    plain = chat_prompt.instructions(task, "schema")
    longer = padded(plain, words)
    assert longer.startswith(plain)
    assert LEAST_CACHED_TOKENS <= words(longer) < LEAST_CACHED_TOKENS + 100
    assert longer == padded(plain, words)


def test_long_instructions_stay_as_they_are() -> None:
    plain = "word " * 2_000
    assert padded(plain, words) == plain


@pytest.mark.parametrize("name", ["sentiment", "review", "category"])
def test_padding_names_no_label_and_no_field_of_a_packaged_task(name: str) -> None:
    task = config.load_task(name)
    added = padded(chat_prompt.instructions(task, "schema"), words).removeprefix(
        chat_prompt.instructions(task, "schema")
    )
    named = {field.name for field in task.fields} | {label for field in task.fields for label in labels_of(field)}
    assert not named & set(added.lower().replace(",", " ").replace(".", " ").split())


def labels_of(field: object) -> tuple[str, ...]:
    return tuple(label for label in getattr(field, "labels", ()) if not label.isdigit())


def test_the_rules_of_the_padding_are_all_different() -> None:
    lines = padded("x", words).splitlines()
    rules = [line.partition(". ")[2] for line in lines[3:]]
    assert len(set(rules[:15])) == 15


# Whether it pays


@pytest.mark.parametrize(
    ("cached", "n_tokens", "pays"),
    [
        (0.01, 577, True),
        (0.01, 180, True),
        (0.01, 179, False),
        (0.05, 577, False),
        (0.1, 1_400, False),
        (None, 577, False),
    ],
)
def test_padding_pays_where_cached_tokens_cost_a_fifth_less_than_the_plain_ones(
    cached: float | None, n_tokens: int, *, pays: bool
) -> None:
    assert price(cached).pays_to_pad(n_tokens, 1_440) is pays


def test_padding_never_pays_where_writing_costs_more_or_nobody_knows_how_the_vendor_caches() -> None:
    assert not price(write=0.125).pays_to_pad(577, 1_440)
    assert price(name="openai:gpt, genai-prices 1").pays_to_pad(577, 1_440)
    assert not price(name="deepseek:chat, genai-prices 1").pays_to_pad(577, 1_440)


def test_padding_never_pays_where_nothing_is_paid() -> None:
    own = OwnPrice(input_usd=0, output_usd=0, cached_usd=0)
    free = prices.find(ModelSettings(model="m", base_url="https://h.example", price=own), "mine")
    assert not free.pays_to_pad(577, 1_440)


# The requests


def test_a_prompt_is_padded_where_it_pays_and_the_answers_are_kept_apart(tmp_path: Path) -> None:
    dear, cheap = opened(tmp_path, price(0.1)), opened(tmp_path, price(0.001))
    assert system_of(dear) == system_of(opened(tmp_path, None)) == chat_prompt.instructions(SENTIMENT, "schema")
    assert words(system_of(cheap)) >= LEAST_CACHED_TOKENS
    assert dict(cheap.settings) == {**dear.settings, "padding": padding.VERSION}
    assert cheap.limits.padding_tokens == pytest.approx(words(system_of(cheap)) - words(system_of(dear)), abs=1)
    assert dear.limits.padding_tokens == 0


def test_estimates_of_a_request_leave_the_padding_out(tmp_path: Path) -> None:
    encoding = tokens.open_encoding(tmp_path)

    def n_tokens(text: str) -> int:
        return len(encoding.encode_ordinary(text))

    def form(pays: Price) -> Form:
        given = Padding(n_tokens=n_tokens, pays=pays.pays_to_pad)
        settings = ModelSettings(model="m", base_url="https://h.example/v1")
        model = open_chat("m", settings, SENTIMENT, threads=1, memory=tmp_path / "x", environment={}, padding=given)
        model.close()
        return form_of(model, encoding)

    padded_form, plain = form(price(0.001)), form(price(0.1))
    assert padded_form.bytes > plain.bytes + 2_000  # a reservation knows of it
    assert padded_form.tokens == pytest.approx(plain.tokens, rel=0.25)  # line breaks are escaped in a body
    assert padded_form.tokens_a_review == plain.tokens_a_review


def test_no_prompt_is_padded_where_the_settings_say_so(tmp_path: Path) -> None:
    model = opened(tmp_path, price(0.001), prompt_cache=False)
    assert system_of(model) == chat_prompt.instructions(SENTIMENT, "schema")
    assert "padding" not in model.settings


def test_packs_come_in_few_sizes_only_where_their_beginning_is_cached(tmp_path: Path) -> None:
    assert opened(tmp_path, price(0.1)).limits.pack_sizes == ()
    sizes = opened(tmp_path, price(0.001)).limits.pack_sizes
    assert sizes == tuple(sorted(sizes))
    assert 0 < len(sizes) <= 125


def test_the_padding_does_not_hang_on_the_form_in_which_an_endpoint_is_asked(tmp_path: Path) -> None:
    forms: Mapping[str, Chat] = {reply: opened(tmp_path, price(0.001), reply=reply) for reply in ("schema", "lines")}
    added = {
        system_of(model).removeprefix(chat_prompt.instructions(SENTIMENT, "lines" if reply == "lines" else "schema"))
        for reply, model in forms.items()
    }
    assert len(added) == 1
    assert words(added.pop()) > 500
