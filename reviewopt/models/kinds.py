"""Which kinds of model there are, and how the name that a user gives becomes an open model.

A new kind is a module of its own and one line here.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from reviewopt.data import SOURCES
from reviewopt.errors import UsageError
from reviewopt.models import cloud
from reviewopt.models.balance import COOLDOWN_S
from reviewopt.models.chat import open_chat
from reviewopt.models.cloud import Cloud
from reviewopt.models.cloud_aws import open_aws
from reviewopt.models.cloud_azure import open_azure
from reviewopt.models.cloud_google import open_google
from reviewopt.models.decisions import open_decisions
from reviewopt.models.decisions_prompt import is_answerable
from reviewopt.models.padding import Padding
from reviewopt.models.protocol import Model
from reviewopt.settings import ModelSettings
from reviewopt.task import Field, Task

_OPENAI: Final = "openai:"
OPENAI_URL: Final = "https://api.openai.com/v1"


class Opener(Protocol):
    """Opens a model of one kind."""

    def __call__(
        self,
        name: str,
        settings: ModelSettings,
        task: Task,
        *,
        threads: int,
        memory: Path,
        environment: Mapping[str, str],
        cooldown_s: float,
        padding: Padding | None,
    ) -> Model:
        """Open the model; nothing is sent yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of model; `answers` says whether it can answer a field."""

    open: Opener
    answers: Callable[[Field], bool]


KINDS: Final[dict[str, Kind]] = {
    "chat": Kind(open=open_chat, answers=lambda _: True),
    "decisions": Kind(open=open_decisions, answers=is_answerable),
    "aws-comprehend": Kind(open=open_aws, answers=cloud.is_answerable),
    "google-language": Kind(open=open_google, answers=cloud.is_answerable),
    "azure-language": Kind(open=open_azure, answers=cloud.is_answerable),
}


def parse_spec(
    spec: str, models: Mapping[str, ModelSettings], environment: Mapping[str, str]
) -> tuple[str, ModelSettings]:
    """Find the model that `--model` names; return its name and settings.

    It is a table [models.NAME], `openai:MODEL`, or `cloud:PROVIDER`, whose name is then the provider's.

    Raises:
        UsageError: there is no such model, or its name already means a source of answers.
    """
    if spec in models:
        if spec in SOURCES:
            raise UsageError(f"[models.{spec}]: {spec} already names a source of answers; call the model otherwise")
        return spec, models[spec]
    if spec.startswith(cloud.PREFIX):
        provider = spec.removeprefix(cloud.PREFIX)
        return provider, cloud.settings_of(provider)
    model = spec.removeprefix(_OPENAI)
    if model and model != spec:
        base_url = environment.get("OPENAI_BASE_URL") or OPENAI_URL
        return spec, ModelSettings(model=model, base_url=base_url, api_key_env="OPENAI_API_KEY")
    own = f"your own are: {', '.join(models)}" if models else "describe one in [models.NAME] of reviewopt.toml"
    near = difflib.get_close_matches(spec, list(models), n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; {own}; or write openai:MODEL"
    raise UsageError(f"there is no model {spec}{hint}")


def open_model(
    name: str,
    settings: ModelSettings,
    task: Task,
    *,
    threads: int,
    memory: Path,
    environment: Mapping[str, str],
    cooldown_s: float = COOLDOWN_S,
    padding: Padding | None = None,
    sends: bool = True,
) -> Model:
    """Open a model under a task; nothing is sent yet.

    Args:
        name: what the answers' source will say.
        settings: what the user says of the model.
        task: what it will be asked.
        threads: how many requests go at a time, at most.
        memory: the file that keeps what was learned about endpoints.
        environment: where the keys are.
        cooldown_s: how long one of several endpoints that keeps failing is left alone at first.
        padding: whether a longer prompt is cheaper, where the vendor caches prompts; None: it never is.
        sends: whether requests will follow; to plan, a cloud service needs neither its SDK nor credentials.

    Raises:
        UsageError: an unknown kind, or a base address that cannot be meant.
        ModelError: no key, in a variable that the message names, or no SDK.
    """
    kind = _kind(settings.kind, name)
    model = kind.open(
        name,
        settings,
        task,
        threads=threads,
        memory=memory,
        environment=environment,
        cooldown_s=cooldown_s,
        padding=padding,
    )
    if sends and isinstance(model, Cloud):
        model.connect()
    return model


def unanswerable(task: Task, kind: str) -> list[str]:
    """Return the names of the task's fields that this kind of model cannot answer.

    Raises:
        UsageError: an unknown kind.
    """
    answers = _kind(kind, task.name).answers
    return [field.name for field in task.fields if not answers(field)]


def _kind(kind: str, name: str) -> Kind:
    if kind not in KINDS:
        raise UsageError(f"{name}: there is no kind of model {kind}; known are: {', '.join(KINDS)}")
    return KINDS[kind]
