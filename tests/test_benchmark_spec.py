"""Who is meant by --vs: services, models of the user's, models by their address, and how each is asked."""

from __future__ import annotations

import pytest

from reviewopt import pricelist
from reviewopt.benchmark.spec import Spec, parse
from reviewopt.errors import UsageError
from reviewopt.settings import ModelSettings, OwnPrice

URL = "https://models.example/v1"
STRONG = ModelSettings(model="strong-1", base_url=URL, price="openai:gpt-4o")
SERVICES = pricelist.read().services


def read(written: str, **models: ModelSettings) -> tuple[Spec, ...]:
    return parse(written, SERVICES, models or {"strong": STRONG}, URL)


def test_rivals_come_in_the_order_in_which_they_are_written() -> None:
    specs = read(" google, aws:entities ,strong,naive:openai:gpt-4o")
    assert [one.name for one in specs] == ["google", "aws:entities", "strong", "naive:openai:gpt-4o"]
    assert [one.form for one in specs] == ["service", "service", "packs", "naive"]
    assert [one.service and one.service.sku for one in specs] == ["sentiment", "entities", None, None]


def test_a_model_of_the_users_is_asked_with_its_own_settings_whatever_it_is_called() -> None:
    [plain] = read("strong")
    assert (plain.model, plain.settings) == ("strong", None)
    [own] = read("aws", aws=STRONG)
    assert (own.form, own.service) == ("packs", None)
    [naive] = read("naive:strong")
    assert (naive.model, naive.settings) == ("strong", None), "the same model: what it answered once is not asked again"
    assert naive.what == "strong, one request a row"


@pytest.mark.parametrize(
    ("form", "kind", "processing", "words"),
    [
        ("decisions", "decisions", "standard", "typed decisions in packs, copies asked once"),
        ("batch", "chat", "batch", "one request a row, batch price"),
        ("flex", "chat", "flex", "one request a row, flex price"),
    ],
)
def test_a_model_is_asked_in_the_form_before_its_name(form: str, kind: str, processing: str, words: str) -> None:
    [spec] = read(f"{form}:openai:gpt-5-nano")
    settings = spec.settings
    assert settings is not None
    assert (settings.kind, settings.processing) == (kind, processing)
    assert (settings.model, settings.base_url, settings.api_key_env) == ("gpt-5-nano", URL, "OPENAI_API_KEY")
    assert spec.what == f"openai:gpt-5-nano, {words}"


def test_a_decision_model_of_the_price_list_can_be_priced() -> None:
    [spec] = read("decisions:typesafe:jev")
    assert spec.settings is not None
    assert (spec.settings.kind, spec.settings.model, spec.settings.price) == ("decisions", "jev", "typesafe:jev")


def test_one_rival_written_in_two_ways_is_named_twice() -> None:
    with pytest.raises(UsageError, match="aws:sentiment is named twice"):
        read("aws,aws:sentiment")
    assert len(read("openai:gpt-4o,naive:openai:gpt-4o")) == 2


def test_the_own_price_of_a_model_is_not_taken_for_that_of_a_batch() -> None:
    priced = ModelSettings(model="p", base_url=URL, price=OwnPrice(input_usd=1, output_usd=2))
    with pytest.raises(UsageError, match="its standard one, and what it costs as batch is not known"):
        read("batch:priced", priced=priced)


def test_a_models_own_name_may_hold_colons() -> None:
    [spec] = read("batch:openai:ft:gpt-4o-mini:shop::a1")
    assert spec.settings is not None
    assert spec.settings.model == "ft:gpt-4o-mini:shop::a1"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", "name rivals parted by commas"),
        ("aws,,google", "name rivals parted by commas"),
        ("aws, aws", "aws is named twice"),
        ("asw", "did you mean aws?"),
        ("aws:sentimnt", "sentiment"),
        ("strnog", "did you mean strong?"),
        ("naive:strnog", "did you mean naive:strong?"),
        ("naive:", "there is no model of no name; write naive:openai:MODEL"),
        ("batch:openai:", "there is no model openai:"),
        ("openai:", "there is no such rival"),
        ("naive", "there is no such rival"),
        ("decisions:zzz", "write decisions:openai:MODEL, or a [models.NAME] of yours"),
    ],
)
def test_what_nobody_is_called_is_refused_with_the_nearest(written: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(written)
    assert words in str(caught.value)
    assert written in str(caught.value)
