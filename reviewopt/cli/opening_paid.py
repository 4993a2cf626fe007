"""What a paid run opens: its models, their prices, purses and answers, over one archive and one ledger."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from decimal import Decimal

from msgspec import structs

from reviewopt import budget, hardware, prices, tokens
from reviewopt.alerts import Alerts
from reviewopt.budget import Purse
from reviewopt.cache import shelf as shelf_module
from reviewopt.cache.keys import Contexts, ModelKey, canonical, digest
from reviewopt.cache.refusals import Refusals
from reviewopt.cache.shelf import FOLDER, Shelf
from reviewopt.cache.similar import Judge
from reviewopt.cache.tiers import Cache
from reviewopt.config import Setting
from reviewopt.errors import ModelError, UsageError
from reviewopt.hardware import Gpus
from reviewopt.job import OnAsked, Paid
from reviewopt.models.connect import key_variables
from reviewopt.models.kinds import open_model, parse_spec, unanswerable
from reviewopt.models.padding import Padding
from reviewopt.models.protocol import Model
from reviewopt.pricing import text_room
from reviewopt.record import ModelRecord, PackTuning
from reviewopt.runs import Home, Recorder
from reviewopt.settings import Config
from reviewopt.task import Task
from reviewopt.text.prompt_copy import PROMPT_COPY_VERSION
from reviewopt.text.sharing import Sharing
from reviewopt.tuning import Tunings


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The models that a run names: its rungs from cheap to dear, and who votes; `is_ladder`: with `--models`."""

    rungs: tuple[str, ...]
    voters: tuple[str, ...]
    is_ladder: bool


def named(config: Config, settings: tuple[Setting, ...]) -> Named:
    """Find out which models the settings name; a flag beats a file, as everywhere.

    Raises:
        UsageError: both `--model` and `--models`, or a name twice.
    """
    flags = {one.name for one in settings if one.origin == "flag" and one.value}
    if {"ask.model", "ladder.models"} <= flags:
        raise UsageError("--model asks one model alone, --models several from cheap to dear: name one of the two")
    is_ladder = bool(config.ladder.models) and "ask.model" not in flags
    rungs = _names(config.ladder.models, "--models") if is_ladder else tuple(filter(None, [config.ask.model]))
    voters = _names(config.ladder.ensemble, "--ensemble")
    if len(voters) == 1:
        raise UsageError("--ensemble needs two models at least; one alone has nobody to disagree with")
    return Named(rungs=rungs, voters=voters, is_ladder=is_ladder)


def _names(value: str, where: str) -> tuple[str, ...]:
    names = tuple(one.strip() for one in value.split(",")) if value.strip() else ()
    if not all(names) or len(set(names)) < len(names):
        raise UsageError(f"{where} {value}: name each model once, parted by commas, from cheap to dear")
    return names


class Models:
    """Opens the paid models of one run, until `opened` ends; nothing is sent yet.

    Where nothing ever `sends` (a plan), no key is needed, and nothing is begun in the home.
    """

    def __init__(
        self,
        opened: ExitStack,
        config: Config,
        task: Task,
        home: Home,
        recorder: Recorder,
        *,
        sends: bool,
        retries: bool,
        isolated: bool,
        sharing: Sharing,
        workers: int,
        is_stopping: Callable[[], bool],
        on_asked: OnAsked,
        on_warning: Callable[[str], None],
        with_given: bool = True,
        not_before_s: float = -math.inf,
    ) -> None:
        """`with_given` false: what people and labelled history say is no answer, as where it is the reference.

        What was answered or found out about packs before `not_before_s`, Unix time, is asked again.
        """
        self._with_given, self._not_before_s = with_given, not_before_s
        self._opened, self._config, self._task, self._home, self._recorder = opened, config, task, home, recorder
        self._sends, self._retries, self._isolated = sends, retries, isolated
        self._sharing, self._workers = sharing, workers
        self._is_stopping, self._on_asked, self._on_warning = is_stopping, on_asked, on_warning
        self._paid: dict[str, Paid] = {}
        archive = config.cache.archive
        self._shelf: Shelf | None = None
        if archive.enabled and (sends or shelf_module.exists(home.path)):
            self._shelf = opened.enter_context(Shelf(home.path, archive, sharing=sharing, on_warning=on_warning))
        keeps = archive.enabled
        self._refusals = Refusals(home.path / FOLDER, on_warning=on_warning) if keeps else None
        self._tunings = Tunings(home.path / FOLDER, on_warning=on_warning) if keeps else None
        self._encoding = tokens.open_encoding(home.path / "vocabulary")
        self._alerts = Alerts(
            at_percent=config.alerts.at_percent,
            webhook=config.alerts.webhook,
            command=config.alerts.command,
            run_id=recorder.run_id,
            on_line=on_warning,
        )
        opened.callback(self._alerts.close)

    def open(self, spec: str) -> Paid:
        """Open the model that a user calls by this name; the same one again where it was opened before.

        Raises:
            UsageError: there is no such model, or no price for it.
            ModelError: its key is missing, or it cannot answer the task.
        """
        if spec not in self._paid:
            self._paid[spec] = self._open(spec)
        return self._paid[spec]

    def open_reference(self, spec: str, *, is_second: bool = False) -> Paid:
        """Open a model as what others are measured against: one review a request, and no answer but its own.

        `is_second`: such as keeps its answers when it is asked a second time.
        """
        paid = self.open(spec)
        alone = _alone(_model_key(self._config, paid.model))
        # Apart from what the same model answers singly as a rung: that is tested, and may be another text's answer.
        asked = "the reference, again" if is_second else "the reference"
        alone = structs.replace(alone, settings={**alone.settings, "asked_as": asked})
        cache = self._cache(alone, is_reference=True)
        return replace(paid, cache=cache, singly=None, tuning=None, is_reference=True)

    def _n_tokens(self, text: str) -> int:
        return len(self._encoding.encode_ordinary(text))

    def _open(self, spec: str) -> Paid:
        environment: Mapping[str, str] = os.environ
        config, task, home = self._config, self._task, self._home
        name, settings = parse_spec(spec, config.models, environment)
        if not self._sends:
            environment = {**dict.fromkeys(key_variables(settings), "none"), **environment}
        if fields := unanswerable(task, settings.kind):
            raise ModelError(
                f"{name} cannot answer {', '.join(fields)} of the task {task.name}; name another model with --model"
            )
        if self._sends and settings.processing != "standard":
            raise UsageError(
                f"{name}: requests go out one by one, at the standard price: processing = {settings.processing!r} is"
                ' priced by --dry-run and `reviewopt benchmark` alone; set processing = "standard" to ask this model'
            )
        price = prices.find(settings, name)
        memory = home.path / "models.json"
        # A naive run, which is what savings are measured by, has the plain prompt.
        is_naive = config.pack.fixed == 1 and not config.cache.archive.enabled
        model = open_model(
            name,
            settings,
            task,
            threads=config.ask.threads,
            memory=memory,
            environment=environment,
            cooldown_s=config.ask.cooldown_s,
            padding=None if is_naive else Padding(n_tokens=self._n_tokens, pays=price.pays_to_pad),
            sends=self._sends,
        )
        self._opened.callback(model.close)
        gpus, no_gpus = _gpus(model)
        key = _model_key(config, model)
        of_task = digest(canonical(key.context(task, scope="", tenant=None)))
        known = budget.history(home.path / budget.FOLDER, model=model.model, endpoint=model.endpoint, task=of_task)
        is_alike = bool(model.limits.billed_characters)  # a service's documents cost and say the same in any company
        tunes = config.pack.tune != "off" and not config.pack.fixed and not is_alike
        return Paid(
            model=model,
            record=ModelRecord(name=settings.model, is_paid=True, sha256=None, languages=()),
            price=price,
            purse=self._opened.enter_context(self._purse(model, of_task)),
            cache=self._cache(key),
            singly=self._cache(_alone(key)) if tunes else None,
            digest=of_task,
            tuning=self._tuning(of_task) if tunes and not math.isfinite(self._not_before_s) else None,
            tunings=self._tunings,
            encoding=self._encoding,
            refusals=self._refusals,
            retries=self._retries,
            is_stopping=self._is_stopping,
            on_asked=self._on_asked,
            alerts=lambda: self._alerts.fired,
            usual_s=None if known is None else known.mean_s,
            gpus=gpus,
            no_gpus=no_gpus,
        )

    def _tuning(self, of_task: str) -> PackTuning | None:
        """Return the size of packs that was found before, for the loss that is allowed now and as large a sample."""
        found, settings = None if self._tunings is None else self._tunings.get(of_task), self._config.pack
        is_enough = found is not None and found.most_loss == settings.most_loss and found.n_sampled >= settings.sample
        return found if is_enough else None

    def _purse(self, model: Model, of_task: str) -> Purse:
        config = self._config
        return Purse(
            (self._home.path if self._sends else self._recorder.folder) / budget.FOLDER,
            run_id=self._recorder.run_id,
            model=model.model,
            endpoint=model.endpoint,
            task=of_task,
            run_usd=_bound(config.budget.usd),
            per_day_usd=_bound(config.budget.per_day_usd),
            tenants={
                name: Decimal(str(tenant.budget_usd))
                for name, tenant in config.tenants.items()
                if math.isfinite(tenant.budget_usd)
            },
            on_spent=lambda spent: self._alerts.see(spent.budget, spent.spent_usd, spent.budget_usd),
            on_warning=self._on_warning,
        )

    def _cache(self, key: ModelKey, *, is_reference: bool = False) -> Cache:
        settings = self._config.cache
        judge = Judge(threshold=settings.similar.threshold, sharing=self._sharing, workers=self._workers)
        scope = "isolated" if self._isolated else "shared"
        contexts = Contexts(self._task, key, scope=scope, with_given=self._with_given and not is_reference)
        is_similar = settings.similar.enabled and not is_reference
        return Cache(
            settings, contexts, self._task.labels,
            shelf=self._shelf, judge=judge if is_similar else None, not_before_s=self._not_before_s,
        )  # fmt: skip


def _gpus(model: Model) -> tuple[Gpus | None, str]:
    """Open the GPUs of this machine for a model that computes on it, or say why there are none."""
    if model.place == "remote":
        return None, "the model computes elsewhere"
    try:
        return hardware.open_gpus(), ""
    except OSError as error:
        return None, str(error)


def _bound(usd: float) -> Decimal | None:
    return Decimal(str(usd)) if math.isfinite(usd) else None


def _model_key(config: Config, model: Model) -> ModelKey:
    """Return all of a model and its prompt that decides its answers."""
    settings = {
        **model.settings,
        "copy": f"{PROMPT_COPY_VERSION}",
        "most_review_tokens": f"{min(config.prompt.most_review_tokens, text_room(model))}",
        "redact": f"{config.prompt.redact}".lower(),
    }
    packed = config.pack.fixed != 1
    return ModelKey(name=model.name, settings=settings, prompt=model.prompt_version, packed=packed)


def _alone(key: ModelKey) -> ModelKey:
    return ModelKey(name=key.name, settings=key.settings, prompt=key.prompt, packed=False)
