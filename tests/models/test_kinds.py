"""From the name that a user gives to an open model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_chat_prompt import REVIEW, SENTIMENT

from reviewopt.errors import ModelError, UsageError
from reviewopt.models import kinds
from reviewopt.models.protocol import Model
from reviewopt.settings import ModelSettings
from reviewopt.task import Choice, Predicate, Score, Task

# Kinds that are found at an address of the user's; cloud services are in test_cloud.py.
ADDRESSED = ("chat", "decisions")
SMALL = ModelSettings(model="small-1", base_url="https://h.example/v1", api_key_env="MY_KEY")


def open_it(folder: Path, environment: dict[str, str], **changes: Any) -> Model:
    given = {"model": "small-1", "base_url": "https://h.example/v1", "api_key_env": "MY_KEY", **changes}
    return kinds.open_model(
        "small", ModelSettings(**given), SENTIMENT, threads=2, memory=folder / "m.json", environment=environment
    )


def test_a_table_of_the_users_own_is_found_by_its_name() -> None:
    assert kinds.parse_spec("small", {"small": SMALL}, {}) == ("small", SMALL)


def test_openai_models_need_no_table() -> None:
    name, settings = kinds.parse_spec("openai:gpt-5-nano", {}, {})
    assert name == "openai:gpt-5-nano"
    assert (settings.model, settings.base_url) == ("gpt-5-nano", "https://api.openai.com/v1")
    assert (settings.api_key_env, settings.price, settings.kind) == ("OPENAI_API_KEY", "", "chat")


def test_the_environment_can_name_another_openai_address() -> None:
    _, settings = kinds.parse_spec("openai:x", {}, {"OPENAI_BASE_URL": "http://localhost:8000/v1"})
    assert settings.base_url == "http://localhost:8000/v1"


@pytest.mark.parametrize("spec", ["smal", "openai:", "gpt-5", ""])
def test_an_unknown_model_is_refused_with_what_there_is(spec: str) -> None:
    with pytest.raises(UsageError, match="small"):
        kinds.parse_spec(spec, {"small": SMALL}, {})
    with pytest.raises(UsageError, match="openai:MODEL"):
        kinds.parse_spec(spec, {}, {})


def test_a_model_may_not_be_called_as_a_source_of_answers() -> None:
    with pytest.raises(UsageError, match="source of answers"):
        kinds.parse_spec("human", {"human": SMALL}, {})


def test_an_open_model_tells_who_answers(tmp_path: Path) -> None:
    model = open_it(tmp_path, {"MY_KEY": "k"}, rpm=60.0, context_tokens=9000, simulated=True)
    model.close()
    assert (model.name, model.model, model.endpoint) == ("small", "small-1", "https://h.example/v1")
    assert (model.limits.rpm, model.limits.context_tokens) == (60.0, 9000)
    assert model.is_simulated
    assert model.prompt_version


@pytest.mark.parametrize("environment", [{}, {"MY_KEY": ""}, {"MY_KEY": " \n"}])
def test_a_missing_key_names_its_variable(tmp_path: Path, environment: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="set the variable MY_KEY"):
        open_it(tmp_path, environment)


@pytest.mark.parametrize("key", ["canary\r\nX-Evil: 1", "canary\x00", "canaryé", "canary\ud800"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    with pytest.raises(ModelError, match="MY_KEY") as raised:
        open_it(tmp_path, {"MY_KEY": key})
    assert "canary" not in str(raised.value)


def test_a_line_break_after_a_key_is_no_part_of_it(tmp_path: Path) -> None:
    open_it(tmp_path, {"MY_KEY": "key\n"}).close()


def test_no_variable_means_no_key(tmp_path: Path) -> None:
    open_it(tmp_path, {}, api_key_env="").close()


@pytest.mark.parametrize("header", ["", "api key", "x:y", "a\r\nb", "host", "Content-Length"])
def test_a_header_that_cannot_carry_a_key_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(UsageError, match="api_key_header"):
        open_it(tmp_path, {"MY_KEY": "k"}, api_key_header=header)


def test_an_unknown_kind_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="known are: chat, decisions"):
        open_it(tmp_path, {"MY_KEY": "k"}, kind="oracle")
    with pytest.raises(UsageError, match="known are: chat"):
        kinds.unanswerable(SENTIMENT, "oracle")


@pytest.mark.parametrize("base_url", ["http://h.example/v1", "https://169.254.169.254/", "h.example"])
def test_a_base_address_that_cannot_be_meant_is_refused(tmp_path: Path, base_url: str) -> None:
    with pytest.raises(UsageError, match="the base_url of small"):
        open_it(tmp_path, {"MY_KEY": "k"}, base_url=base_url)


def test_chat_answers_every_kind_of_field() -> None:
    assert kinds.unanswerable(REVIEW, "chat") == []


def test_typed_decisions_answer_all_but_free_text_and_long_scores() -> None:
    assert kinds.unanswerable(REVIEW, "decisions") == ["insights", "summary"]
    task = Task(
        name="t",
        instructions="x",
        fields=(
            Choice(name="one", labels=tuple(f"label {at}" for at in range(255))),
            Score(name="ten", low=0, high=9),
            Score(name="eleven", low=0, high=10),
            Predicate(name="truth"),
        ),
    )
    assert kinds.unanswerable(task, "decisions") == ["eleven"]
    assert kinds.unanswerable(task, "chat") == []


@pytest.mark.parametrize("kind", ADDRESSED)
def test_every_kind_opens_alike_and_says_who_answers(tmp_path: Path, kind: str) -> None:
    model = open_it(tmp_path, {"MY_KEY": "k"}, kind=kind, rpm=60.0, simulated=True)
    model.close()
    assert (model.name, model.model, model.endpoint) == ("small", "small-1", "https://h.example/v1")
    assert (model.limits.rpm, model.is_simulated, model.place) == (60.0, True, "remote")
    with pytest.raises(ModelError, match="set the variable MY_KEY"):
        open_it(tmp_path, {}, kind=kind)
    with pytest.raises(UsageError, match="the base_url of small"):
        open_it(tmp_path, {"MY_KEY": "k"}, kind=kind, base_url="http://h.example/v1")


def test_two_kinds_never_share_an_answer(tmp_path: Path) -> None:
    made = [open_it(tmp_path, {"MY_KEY": "k"}, kind=kind) for kind in ADDRESSED]
    for model in made:
        model.close()
    assert len({model.prompt_version for model in made}) == len(made)
    assert len({str(sorted(model.settings.items())) for model in made}) == len(made)
