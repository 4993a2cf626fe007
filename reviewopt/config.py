"""Settings from one place: flag > environment > file > default, each with its origin."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from reviewopt.data import Frozen, Task
from reviewopt.errors import InputError, UsageError

ENV_PREFIX: Final = "REVIEWOPT_"
HOME_ENV: Final = "REVIEWOPT_HOME"
LOCAL_FILE: Final = "reviewopt.toml"


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


class Config(Frozen, frozen=True, kw_only=True):
    """All settings of a run."""

    process: ProcessSettings
    columns: ColumnSettings
    dedup: DedupSettings
    cache: CacheSettings
    machine: MachineSettings


class Setting(Frozen, frozen=True, kw_only=True):
    """One setting as `--show-config` prints it and the run record keeps it."""

    name: str
    value: str | bool | int | float
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
    if file is not None:
        tree = _read_toml(file)
        given += [(name, value, str(file)) for name, value in _flat(tree, file)]
        _check_sections(tree, list(merged), file)
    given += list(_from_environment(os.environ if environment is None else environment, list(merged)))
    given += [(name, value, "flag") for name, value in flags.items() if value is not None]
    for name, value, origin in given:
        if name not in merged:
            raise UsageError(f"{origin}: there is no setting {name}{_nearest(name, list(merged))}")
        merged[name] = (value, origin)
    return _build(merged)


def _build(merged: Mapping[str, tuple[Any, str]]) -> tuple[Config, tuple[Setting, ...]]:
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
    settings = [Setting(name=name, value=converted[name], origin=origin) for name, (_, origin) in merged.items()]
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
    """Read a task: the name of a packaged one, or a file.

    Raises:
        UsageError: there is no such task.
        InputError: the file is not a valid task.
    """
    path = Path(name) if name.endswith(".toml") else packaged("configs", "tasks", f"{Path(name).name}.toml")
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in packaged("configs", "tasks").glob("*.toml")))
        raise UsageError(f"there is no task {name}; packaged are: {known}; or name a .toml file")
    try:
        task = msgspec.toml.decode(path.read_bytes(), type=Task)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a valid task: {error}; configs/tasks/sentiment.toml shows the form") from error
    if not task.fields or not 2 <= len(set(task.labels)) == len(task.labels) <= 255:
        raise InputError(f"{path}: a task needs a field with 2 to 255 different labels")
    return task
