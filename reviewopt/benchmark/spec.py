"""`--vs aws,google,naive:openai:gpt-4o` -> who is compared."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from msgspec import structs

from reviewopt import pricelist
from reviewopt.errors import UsageError
from reviewopt.pricelist import ServicePrice
from reviewopt.services import find
from reviewopt.settings import ModelSettings, OwnPrice

Form = Literal["service", "packs", "naive", "decisions", "batch", "flex"]

# Of a model that is in the price list alone: it is priced, and where it answers is not known.
NO_ADDRESS: Final = "https://not-asked.invalid/v1"
_OPENAI: Final = "openai:"
_FORMS: Final[dict[str, Form]] = {one: one for one in ("naive", "decisions", "batch", "flex")}
_HOW: Final[dict[Form, str]] = {
    "packs": "in packs, copies asked once",
    "naive": "one request a row",
    "decisions": "typed decisions in packs, copies asked once",
    "batch": "one request a row, batch price",
    "flex": "one request a row, flex price",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A rival as the user wrote it: a cloud service, or a model and how it is asked.

    `settings` describes a model under the name `name`, where the user's own settings do not.
    """

    name: str
    form: Form
    service: ServicePrice | None = None
    model: str = ""
    settings: ModelSettings | None = None

    @property
    def who(self) -> tuple[str, str]:
        """The same for two ways to write one rival."""
        return self.form, self.model if self.service is None else self.service.key

    @property
    def what(self) -> str:
        """The rival in words."""
        if self.service is not None:
            return self.service.name
        return f"{self.model}, {_HOW[self.form]}"


def parse(
    written: str, offered: tuple[ServicePrice, ...], models: Mapping[str, ModelSettings], openai_url: str
) -> tuple[Spec, ...]:
    """Read the value of `--vs`.

    Args:
        written: names parted by commas.
        offered: the cloud services of the price list.
        models: the user's own, [models.NAME].
        openai_url: the base address of the models that are written openai:MODEL.

    Raises:
        UsageError: nobody is called so, or one is named twice; it suggests the nearest.
    """
    names = [one.strip() for one in written.split(",")]
    if not all(names):
        raise UsageError(f"--vs {written}: name rivals parted by commas: aws,google,azure")
    specs = tuple(_spec(name, offered, models, openai_url) for name in names)
    for at, one in enumerate(specs):
        if any(one.who == before.who for before in specs[:at]):
            raise UsageError(f"--vs {written}: {one.name} is named twice")
    return specs


def _spec(name: str, offered: tuple[ServicePrice, ...], models: Mapping[str, ModelSettings], openai_url: str) -> Spec:
    providers = {one.provider for one in offered}
    head, colon, rest = name.partition(":")
    if name in models:
        return Spec(name=name, form="packs", model=name)
    if head in providers:
        return Spec(name=name, form="service", service=find(name, offered))
    if name.startswith(_OPENAI) and rest:
        return Spec(name=name, form="packs", model=name)
    if head in _FORMS and colon:
        return _asked_otherwise(name, _FORMS[head], rest, models, openai_url)
    known = [*sorted(providers), *models, *(f"{form}:{model}" for form in _FORMS for model in models)]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ";"
    forms = "openai:MODEL, a [models.NAME] of your settings, or naive:, decisions:, batch: or flex: and one of these"
    raise UsageError(f"--vs {name}: there is no such rival{hint} known are {', '.join(sorted(providers))}, {forms}")


def _asked_otherwise(name: str, form: Form, model: str, models: Mapping[str, ModelSettings], openai_url: str) -> Spec:
    """Describe a model that is asked in another form than ours."""
    if form == "naive" and (model in models or (model.startswith(_OPENAI) and model != _OPENAI)):
        return Spec(name=name, form=form, model=model)
    if model in models:
        settings = models[model]
        if form in {"batch", "flex"} and isinstance(settings.price, OwnPrice):
            raise UsageError(
                f"--vs {name}: the price of [models.{model}] is its standard one, and what it costs as {form} is not "
                f'known; describe it once more with processing = "{form}" and that price'
            )
    elif model.startswith(_OPENAI) and model != _OPENAI:
        settings = ModelSettings(model=model.removeprefix(_OPENAI), base_url=openai_url, api_key_env="OPENAI_API_KEY")
    elif form == "decisions" and model in pricelist.read().models:
        settings = ModelSettings(model=model.partition(":")[2], base_url=NO_ADDRESS, price=model)
    else:
        near = difflib.get_close_matches(model, list(models), n=1)
        hint = f"did you mean {form}:{near[0]}?" if near else f"write {form}:openai:MODEL, or a [models.NAME] of yours"
        raise UsageError(f"--vs {name}: there is no model {model or 'of no name'}; {hint}")
    if form == "decisions":
        settings = structs.replace(settings, kind="decisions")
    if form in {"batch", "flex"}:
        settings = structs.replace(settings, processing=form)
    return Spec(name=name, form=form, model=model, settings=settings)
