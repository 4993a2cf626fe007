"""Settings from one place: flag > environment > file > default, each with its origin."""

from __future__ import annotations

import difflib
import hashlib
import os
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from reviewopt.data import Frozen
from reviewopt.errors import InputError, UsageError
from reviewopt.settings import Config, EndpointSettings, ModelSettings, TenantSettings, parse_duration
from reviewopt.task import Choice, Task, problem

ENV_PREFIX: Final = "REVIEWOPT_"
HOME_ENV: Final = "REVIEWOPT_HOME"
LOCAL_FILE: Final = "reviewopt.toml"
_TASK_FORM: Final = "configs/tasks/README.md shows the form"


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
    written: dict[str, Any] = {}
    if file is not None:
        tree = _read_toml(file)
        written = {section: tree.pop(section, {}) for section in _NAMED}
        named = {section: _named(section, tables, file) for section, tables in written.items()}
        given += [(name, value, str(file)) for name, value in _flat(tree, file)]
        _check_sections(tree, list(merged), file)
    given += list(_from_environment(os.environ if environment is None else environment, list(merged)))
    given += [(name, value, "flag") for name, value in flags.items() if value is not None]
    for name, value, origin in given:
        if name not in merged:
            raise UsageError(f"{origin}: there is no setting {name}{_nearest(name, list(merged))}")
        merged[name] = (value, origin)
    config, settings = _build(merged, named)
    return config, (*settings, *_named_settings(named, written, str(file)))


def _named(section: str, tables: Any, path: Path) -> dict[str, Any]:
    """Check the tables `[models.NAME]` or `[tenants.NAME]` of a file."""
    made = {}
    kind = _NAMED[section]
    for name, values in tables.items() if isinstance(tables, dict) else [("", None)]:
        if not isinstance(values, dict):
            raise UsageError(f"{path}: [{section}] holds tables with names of your own: [{section}.NAME]")
        _check_names(f"{section}.{name}", values, kind, path)
        endpoints = values.get("endpoints", [])
        if isinstance(endpoints, dict):
            raise UsageError(f"{path}: [{section}.{name}.endpoints]: write it in double brackets, once an endpoint")
        for at, endpoint in enumerate(endpoints if isinstance(endpoints, list) else [], 1):
            if isinstance(endpoint, dict):
                _check_names(f"{section}.{name}.endpoints.{at}", endpoint, EndpointSettings, path)
        try:
            made[name] = msgspec.convert(values, kind)
        except msgspec.ValidationError as error:
            raise UsageError(f"{path}: {section}.{name}: {error}") from error
    return made


def _check_names(where: str, values: Mapping[str, Any], kind: type[msgspec.Struct], path: Path) -> None:
    unknown = set(values) - set(kind.__struct_fields__)
    if "api_key" in unknown:
        raise UsageError(
            f"{path}: {where}.api_key: keys are never settings; put it into a variable of the environment "
            'and name that: api_key_env = "VARIABLE"'
        )
    if unknown:
        wrong = min(unknown)
        raise UsageError(f"{path}: there is no setting {where}.{wrong}{_nearest(wrong, list(kind.__struct_fields__))}")


def _named_settings(named: Mapping[str, Any], written: Mapping[str, Any], file: str) -> Iterator[Setting]:
    """Return the settings of named tables; what the file does not write is a default."""
    for section, tables in named.items():
        for name, table in tables.items():
            by_hand = {one for one, _ in _flat({section: {name: _numbered(written[section][name])}}, Path(file))}
            for setting, value in _flat({section: {name: _numbered(msgspec.to_builtins(table))}}, Path(file)):
                origin = file if setting in by_hand else "default"
                yield Setting(name=setting, value=_told(setting, value), origin=origin)


def _numbered(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with its lists of tables as tables named 1, 2 and so on."""
    return {
        key: {str(at): one for at, one in enumerate(value, 1)} if isinstance(value, list | tuple) else value
        for key, value in table.items()
    }


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
    parse_duration(config.ask.deadline)  # a wrong one is told before anything is opened
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
