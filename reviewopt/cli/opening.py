"""What the commands open before the work begins."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from reviewopt.config import Config
from reviewopt.data import ROLES, Task
from reviewopt.errors import InputError, ModelError
from reviewopt.load import ColumnChoice, Table, open_table
from reviewopt.local.classifier import Classifier
from reviewopt.runs import ModelRecord


def table(config: Config, names: Sequence[str], task: Task, *, stdin_format: str | None = None) -> Table:
    """Open the tables with the columns that the settings name; the other columns are found by name.

    Raises:
        InputError: a table cannot be read, or has no text column.
        UsageError: the settings name a column that is not there, or a wrong mapping.
    """
    return open_table(
        names,
        task=task,
        choice=ColumnChoice(**{role: getattr(config.columns, role) or None for role in ROLES}),
        label_map=config.columns.label_map or None,
        stdin_format=stdin_format,
        chunk_rows=config.process.chunk_rows,
        limit=config.process.limit or None,
    )


def local_model(name: str, task: Task) -> tuple[Classifier, ModelRecord]:
    """Open the model file `name`, or the packaged model where it is empty.

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
    if model.task != task.name or set(model.labels) != set(task.labels):
        raise ModelError(
            f"the model {model.name} answers the task {model.task} ({', '.join(model.labels)}), not {task.name} "
            f"({', '.join(task.labels)}); make one: reviewopt train TABLE --task {task.name} -o MODEL, "
            "then process with --local-model MODEL"
        )
    return model, ModelRecord(name=model.name, sha256=sha256, languages=model.languages)
