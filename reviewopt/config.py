"""Settings from one place: flag > environment > file > default, each with its origin."""

from __future__ import annotations

import difflib
import hashlib
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from reviewopt.data import Frozen
from reviewopt.errors import InputError, UsageError
from reviewopt.task import Choice, Task, problem

ENV_PREFIX: Final = "REVIEWOPT_"
HOME_ENV: Final = "REVIEWOPT_HOME"
LOCAL_FILE: Final = "reviewopt.toml"
_TASK_FORM: Final = "configs/tasks/README.md shows the form"


class ProcessSettings(Frozen, frozen=True, kw_only=True):
    """How a table is labelled."""

    task: str
    local_model: str
    chunk_rows: Annotated[int, Meta(ge=1)]
    threads: Annotated[int, Meta(ge=0)]
    limit: Annotated[int, Meta(ge=0)]


class ColumnSettings(Frozen, frozen=True, kw_only=True):
    """Which column plays which role: a name, `none`, or empty for "find it"."""

    text: str
    title: str
    id: str
    label: str
    tenant: str
    category: str
    label_map: str


class MachineSettings(Frozen, frozen=True, kw_only=True):
    """What this machine costs in USD an hour, and how many local answers a second that buys on one core."""

    usd_per_hour: Annotated[float, Meta(ge=0, le=1e6)]
    local_reviews_per_s: Annotated[int, Meta(ge=1)]


class DedupSettings(Frozen, frozen=True, kw_only=True):
    """What is done with near copies; `threshold` is a rapidfuzz ratio, 0 to 100."""

    near: Literal["", "off", "report", "share"]
    threshold: Annotated[float, Meta(ge=70, le=100)]


class MemorySettings(Frozen, frozen=True, kw_only=True):
    """The first tier: exact, in memory."""

    enabled: bool
    max_entries: Annotated[int, Meta(ge=1)]


class SimilarSettings(Frozen, frozen=True, kw_only=True):
    """The second tier, and how similar a text must be in any tier; `threshold` is a rapidfuzz ratio, 0 to 100."""

    enabled: bool
    max_entries: Annotated[int, Meta(ge=1)]
    threshold: Annotated[float, Meta(ge=70, le=100)]


class ArchiveSettings(Frozen, frozen=True, kw_only=True):
    """The third tier, on disk. 0 entries: unbounded."""

    enabled: bool
    max_entries: Annotated[int, Meta(ge=0)]
    eviction: Literal["lru", "lfu", "fifo"]
    similar: bool
    compress_above_bytes: Annotated[int, Meta(ge=0)]


class CacheSettings(Frozen, frozen=True, kw_only=True):
    """Which answers are kept, for how long (0 days: for ever), and who shares them."""

    scope: Literal["", "shared", "isolated"]
    ttl_days: Annotated[float, Meta(ge=0, le=36_500)]
    memory: MemorySettings
    similar: SimilarSettings
    archive: ArchiveSettings


class AskSettings(Frozen, frozen=True, kw_only=True):
    """How a model is asked: which, over how many threads, and how long and how often it is tried."""

    model: str
    threads: Annotated[int, Meta(ge=1, le=1024)]
    deadline_s: Annotated[float, Meta(gt=0, le=3600)]
    most_tries: Annotated[int, Meta(ge=1, le=20)]
    most_attempts: Annotated[int, Meta(ge=1, le=100)]
    cooldown_s: Annotated[float, Meta(ge=0, le=600)]


class PackSettings(Frozen, frozen=True, kw_only=True):
    """How many reviews go into a request; `fixed` 0: by their complexity, about `size`."""

    size: Annotated[int, Meta(ge=10, le=500)]
    fixed: Annotated[int, Meta(ge=0, le=500)]


class PromptSettings(Frozen, frozen=True, kw_only=True):
    """What of a review goes into the prompt."""

    most_review_tokens: Annotated[int, Meta(ge=50)]
    redact: bool


class BudgetSettings(Frozen, frozen=True, kw_only=True):
    """What may be spent, in USD; infinite: no bound."""

    usd: Annotated[float, Meta(ge=0)]
    per_day_usd: Annotated[float, Meta(ge=0)]
    ask_above_usd: Annotated[float, Meta(ge=0)]


class AlertSettings(Frozen, frozen=True, kw_only=True):
    """At which percentages of a budget somebody is told, and how."""

    at_percent: str
    webhook: str
    command: str


class OwnPrice(Frozen, frozen=True, kw_only=True):
    """USD a million tokens."""

    input_usd: Annotated[float, Meta(ge=0, le=1e6)]
    output_usd: Annotated[float, Meta(ge=0, le=1e6)]
    cached_usd: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    cache_write_usd: Annotated[float, Meta(ge=0, le=1e6)] | None = None


# Of capitals alone, so that a key that was put where its variable's name belongs is refused, and never repeated.
_VARIABLE: Final = r"^([A-Z_][A-Z0-9_]*)?$"


class ModelSettings(Frozen, frozen=True, kw_only=True):
    """A model of the user's, `[models.NAME]`. The key itself is never a setting: `api_key_env` names its variable."""

    kind: str = "chat"
    model: Annotated[str, Meta(min_length=1)]
    base_url: Annotated[str, Meta(min_length=1)]
    api_key_env: Annotated[str, Meta(pattern=_VARIABLE)] = ""
    api_key_header: str = "authorization"
    price: OwnPrice | str = ""
    context_tokens: Annotated[int, Meta(ge=1000)] = 128_000
    most_output_tokens: Annotated[int, Meta(ge=64)] = 8_192
    reasoning_tokens: Annotated[int, Meta(ge=0)] = 0
    reasoning_effort: str = ""
    rpm: Annotated[float, Meta(ge=0)] = 0.0
    tpm: Annotated[float, Meta(ge=0)] = 0.0
    temperature: Literal["default"] | Annotated[float, Meta(ge=0, le=2)] = 0.0
    reply: Literal["", "schema", "json", "lines"] = ""
    logprobs: bool = True
    allow_address: bool = False
    simulated: bool = False


class TenantSettings(Frozen, frozen=True, kw_only=True):
    """What is particular to a tenant, `[tenants.NAME]`; an infinite budget: no bound of its own."""

    budget_usd: Annotated[float, Meta(ge=0)] = math.inf


class Config(Frozen, frozen=True, kw_only=True):
    """All settings of a run."""

    process: ProcessSettings
    columns: ColumnSettings
    dedup: DedupSettings
    cache: CacheSettings
    ask: AskSettings
    pack: PackSettings
    prompt: PromptSettings
    budget: BudgetSettings
    alerts: AlertSettings
    machine: MachineSettings
    models: dict[str, ModelSettings] = msgspec.field(default_factory=dict)
    tenants: dict[str, TenantSettings] = msgspec.field(default_factory=dict)


# Sections whose tables carry names of the user's own.
_NAMED: Final[dict[str, type[ModelSettings | TenantSettings]]] = {"models": ModelSettings, "tenants": TenantSettings}


class Setting(Frozen, frozen=True, kw_only=True):
    """One setting as `--show-config` prints it and the run record keeps it."""

    name: str
    value: str | bool | int | float | None
    origin: str


def packaged(*parts: str) -> Path:
    """Return a file that ships with the tool: in the package once installed, beside it in a source checkout."""
    package = Path(str(files("reviewopt")))
    inside = package.joinpath("packaged", *parts)
    return inside if inside.exists() else package.parent.joinpath(*parts)


def load(
    flags: Mapping[str, str | bool | int | float | None],
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Config, tuple[Setting, ...]]:
    """Merge the settings.

    Args:
        flags: values from the command line by dotted name (`process.task`); None is "not given".
        file: the file named with `--config`; without it `reviewopt.toml` of the current folder, where there is one.
        environment: `REVIEWOPT_PROCESS_TASK=...`; the process's own when None.

    Raises:
        UsageError: a file that cannot be read, an unknown name, or a value of the wrong type.
    """
    defaults = packaged("configs", "default.toml")
    merged = {name: (value, "default") for name, value in _flat(_read_toml(defaults), defaults)}
    file = file or (Path(LOCAL_FILE) if Path(LOCAL_FILE).exists() else None)
    given: list[tuple[str, Any, str]] = []
    named: dict[str, Any] = {}
    if file is not None:
        tree = _read_toml(file)
        named = {section: _named(section, tree.pop(section, {}), file) for section in _NAMED}
        given += [(name, value, str(file)) for name, value in _flat(tree, file)]
        _check_sections(tree, list(merged), file)
    given += list(_from_environment(os.environ if environment is None else environment, list(merged)))
    given += [(name, value, "flag") for name, value in flags.items() if value is not None]
    for name, value, origin in given:
        if name not in merged:
            raise UsageError(f"{origin}: there is no setting {name}{_nearest(name, list(merged))}")
        merged[name] = (value, origin)
    config, settings = _build(merged, named)
    return config, (*settings, *_named_settings(named, str(file)))


def _named(section: str, tables: Any, path: Path) -> dict[str, Any]:
    """Check the tables `[models.NAME]` or `[tenants.NAME]` of a file."""
    made = {}
    kind = _NAMED[section]
    for name, values in tables.items() if isinstance(tables, dict) else [("", None)]:
        if not isinstance(values, dict):
            raise UsageError(f"{path}: [{section}] holds tables with names of your own: [{section}.NAME]")
        unknown = set(values) - set(kind.__struct_fields__)
        if "api_key" in unknown:
            raise UsageError(
                f"{path}: {section}.{name}.api_key: keys are never settings; put it into a variable of the environment "
                'and name that: api_key_env = "VARIABLE"'
            )
        if unknown:
            wrong = min(unknown)
            near = _nearest(wrong, list(kind.__struct_fields__))
            raise UsageError(f"{path}: there is no setting {section}.{name}.{wrong}{near}")
        try:
            made[name] = msgspec.convert(values, kind)
        except msgspec.ValidationError as error:
            raise UsageError(f"{path}: {section}.{name}: {error}") from error
    return made


def _named_settings(named: Mapping[str, Any], origin: str) -> Iterator[Setting]:
    for section, tables in named.items():
        for name, table in tables.items():
            for setting, value in _flat({section: {name: msgspec.to_builtins(table)}}, Path(origin)):
                yield Setting(name=setting, value=_told(setting, value), origin=origin)


def _told(name: str, value: Any) -> Any:
    """Return a value as it may be printed and recorded: what follows the host of an address can be a secret."""
    is_webhook = name == "alerts.webhook"
    if not value or not (is_webhook or name.endswith(".base_url")):
        return value
    parts = urlsplit(str(value))
    path = "/..." if is_webhook else f"{parts.path}{'?...' if parts.query else ''}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"


def _build(merged: Mapping[str, tuple[Any, str]], named: Mapping[str, Any]) -> tuple[Config, tuple[Setting, ...]]:
    nested: dict[str, Any] = {}
    for name, (value, _) in merged.items():
        *sections, key = name.split(".")
        section = nested
        for part in sections:
            section = section.setdefault(part, {})
        section[key] = value
    try:
        config = msgspec.convert(nested, Config, strict=False)
    except msgspec.ValidationError as error:
        where = str(error).rpartition("$.")[2].rstrip("`")
        value, origin = merged.get(where, (None, "settings"))
        raise UsageError(f"{origin}: {where} = {value}: {str(error).partition(' - at')[0]}") from error
    converted = dict(_flat(msgspec.to_builtins(config), Path(LOCAL_FILE)))
    config = msgspec.structs.replace(config, **named)
    settings = [
        Setting(name=name, value=_told(name, converted[name]), origin=origin) for name, (_, origin) in merged.items()
    ]
    return config, tuple(settings)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error


def _flat(sections: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
    for section, values in sections.items():
        if not isinstance(values, dict):
            raise UsageError(f"{path}: '{section}' stands outside a section; write it under [process] or another one")
        for key, value in values.items():
            if isinstance(value, dict):
                yield from ((f"{section}.{name}", inner) for name, inner in _flat({key: value}, path))
            else:
                yield f"{section}.{key}", value


def _check_sections(tree: Mapping[str, Any], names: list[str], path: Path) -> None:
    """Refuse a section that holds no setting, which `_flat` would pass over where it is empty."""
    known = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    for section in _sections(tree):
        if section not in known:
            raise UsageError(f"{path}: there is no section [{section}]{_nearest(section, known)}")


def _sections(tree: Mapping[str, Any]) -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield name
            yield from (f"{name}.{inner}" for inner in _sections(value))


def _from_environment(environment: Mapping[str, str], names: list[str]) -> Iterator[tuple[str, str, str]]:
    variables = {ENV_PREFIX + name.replace(".", "_").upper(): name for name in names}
    for variable, value in environment.items():
        if variable in variables:
            yield variables[variable], value, variable
        elif variable.startswith(ENV_PREFIX) and variable != HOME_ENV:
            raise UsageError(f"{variable}: there is no such setting{_nearest(variable, list(variables))}")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else "; --show-config lists them all"


def load_task(name: str) -> Task:
    """Read a task: the name of a packaged one, or a file whose name ends in `.toml`.

    Raises:
        UsageError: there is no such task.
        InputError: the file is not a valid task.
    """
    folder = packaged("configs", "tasks")
    is_file = name.endswith(".toml")
    path = Path(name) if is_file else folder / f"{name}.toml"
    if not path.is_file() or not (is_file or Path(name).name == name):
        known = [file.stem for file in folder.glob("*.toml")]
        near = difflib.get_close_matches(name, known, n=1)
        known.sort(key=lambda each: (each not in near, each))
        meant = f"; did you mean {near[0]}?" if near else ";"
        raise UsageError(f"there is no task {name}{meant} packaged are: {', '.join(known)}; or name a .toml file")
    try:
        task = msgspec.toml.decode(path.read_bytes(), type=Task)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a valid task: {error}; {_TASK_FORM}") from error
    if wrong := problem(task):
        raise InputError(f"{path}: not a valid task: {wrong}; {_TASK_FORM}")
    return task


def inline_task(question: str, labels: str) -> Task:
    """Make a task of a question and its labels, parted by commas, as they are typed: one choice, named `answer`.

    Its name holds a hash of both, so that each question has runs and stored answers of its own.

    Raises:
        UsageError: no question, or not two different labels.
    """
    question, names = question.strip(), tuple(label.strip() for label in labels.split(","))
    example = "example: --ask 'What is the complaint about?' --labels billing,shipping,quality,other"
    if not all(names):
        raise UsageError(f"--labels '{labels}': there is an empty label; {example}")
    digest = hashlib.sha256("\n".join((question, *names)).encode()).hexdigest()[:8]
    task = Task(name=f"ask-{digest}", instructions=question, fields=(Choice(name="answer", labels=names),))
    if not question:
        raise UsageError(f"--ask: there is no question; {example}")
    if wrong := problem(task):
        raise UsageError(f"--ask with --labels '{labels}': {wrong}; {example}")
    return task
