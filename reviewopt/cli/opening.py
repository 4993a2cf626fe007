"""What the commands open before the work begins."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.text import Text

from reviewopt.cache import shelf as shelf_module
from reviewopt.cache.keys import Contexts
from reviewopt.cache.tiers import Cache
from reviewopt.data import ROLES
from reviewopt.errors import InputError, ModelError, UsageError
from reviewopt.load import ColumnChoice, Table, open_table
from reviewopt.local.classifier import Classifier
from reviewopt.record import ModelRecord
from reviewopt.runs import Home
from reviewopt.settings import Config
from reviewopt.task import Task

STDIN: Final = "-"

if TYPE_CHECKING:
    from rich.console import Console


def table(config: Config, names: Sequence[str], task: Task, *, stdin_format: str | None = None) -> Table:
    """Open the tables with the columns that the settings name; the other columns are found by name.

    Raises:
        InputError: a table cannot be read, or has no text column.
        UsageError: the settings name a column that is not there, or a wrong mapping.
    """
    if STDIN in names:  # polars takes Ctrl-C for itself, which would leave a pipe that never ends
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return open_table(
        names,
        task=task,
        choice=ColumnChoice(**{role: getattr(config.columns, role) or None for role in ROLES}),
        label_map=config.columns.label_map or None,
        stdin_format=stdin_format,
        chunk_rows=config.process.chunk_rows,
        limit=config.process.limit or None,
    )


def local_model(name: str, task: Task, *, is_base: bool = False) -> tuple[Classifier, ModelRecord]:
    """Open the model file `name`, or the packaged model where it is empty.

    `is_base`: one that only begins the training of another, whose labels it may have more than.

    Raises:
        ModelError: there is no such file, it is damaged, or its model answers another task.
    """
    with as_file(files("reviewopt.local").joinpath("weights", "sentiment.npz")) as packaged:
        path = Path(name) if name else packaged
        if not path.is_file():
            raise ModelError(
                f"there is no model file {path}; make one: reviewopt train TABLE --task {task.name} -o {path}"
            )
        try:
            model = Classifier.load(path)
        except InputError as error:
            raise ModelError(str(error)) from error
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    is_same = model.task == task.name and set(model.labels) == set(task.labels)
    if is_base and set(model.labels) >= set(task.labels):
        is_same = True
    if not is_same or task.others:
        raise ModelError(_cannot_answer(model, task, can_answer_first=is_same))
    return model, ModelRecord(name=model.name, is_paid=False, sha256=sha256, languages=model.languages)


def _cannot_answer(model: Classifier, task: Task, *, can_answer_first: bool) -> str:
    """Say which fields of a task a local model does not know, and what to do."""
    fields = task.others if can_answer_first else task.fields
    unknown = ", ".join(f"{field.name} ({type(field).__name__.lower()})" for field in fields)
    train = (
        ""
        if task.others
        else f", or make a local one: reviewopt train TABLE --task {task.name} -o MODEL, then process with "
        "--local-model MODEL"
    )
    return (
        f"no model is named that can answer {unknown} of the task {task.name}: the local model {model.name} answers "
        f"the task {model.task} ({', '.join(model.labels)}) alone; ask another one: --model openai:gpt-5-nano, or a "
        f"[models.NAME] of reviewopt.toml{train}"
    )


class Notes:
    """What the user should know before the result: printed at once, and kept for the record."""

    def __init__(self, console: Console) -> None:
        self.lines: list[str] = []
        self._console = console

    def add(self, line: str) -> None:
        """Take one more."""
        self.lines.append(line)
        self._console.print(Text(line), soft_wrap=True)


def is_isolated(config: Config, table: Table) -> bool:
    """Say whether the tenants of the table share nothing.

    Without a setting they do where the user named the tenant column, or its own name says tenant. A column that was
    only found, as `brand`, keeps the tenants' figures apart, not their answers.

    Raises:
        UsageError: isolation is asked for, but no column tells tenants apart.
    """
    column = table.columns.tenant
    if config.cache.scope == "isolated" and column is None:
        raise UsageError("cache.scope = isolated: the table has no tenant column; name it with --tenant-column")
    if config.cache.scope:
        return config.cache.scope == "isolated"
    return column is not None and (bool(config.columns.tenant) or column.lower().startswith("tenant"))


def cache(
    opened: ExitStack,
    config: Config,
    home: Home,
    task: Task,
    labels: tuple[str, ...],
    *,
    isolated: bool,
    on_warning: Callable[[str], None],
) -> Cache:
    """Open what can be used again of earlier answers to a task, until `opened` ends.

    The local model asks for exact hits alone, among what people and labelled history say: its own answers are not
    kept. So a home without an archive gets none.
    """
    shelf = None
    if config.cache.archive.enabled and shelf_module.exists(home.path):
        shelf = opened.enter_context(
            shelf_module.Shelf(home.path, config.cache.archive, sharing=None, on_warning=on_warning)
        )
    contexts = Contexts(task, None, scope="isolated" if isolated else "shared")
    return Cache(config.cache, contexts, labels, shelf=shelf, judge=None)
