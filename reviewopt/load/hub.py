"""Data sets through the `datasets` library: from the hub (`hf://owner/name`), streamed, or saved to a folder."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import polars as pl
from polars.exceptions import PanicException, PolarsError

from reviewopt.errors import InputError, UsageError
from reviewopt.load.places import HUB
from reviewopt.load.source import CHUNK_BYTES, Source, reason, shown, sliced

_ADDRESS: Final = re.compile(r"([A-Za-z0-9][\w.-]*/)?([A-Za-z0-9][\w.-]*)(?:/([\w.-]+))?(?::([\w.]+))?")
_BATCH_ROWS: Final = 1000
_DEFAULT_SPLIT: Final = "train"
_ADVICE: Final = "check the name, the network and HF_TOKEN, or download it and give its folder"


def open_hub(address: str, head_rows: int = _BATCH_ROWS) -> Source:
    """`hf://owner/name[/config][:split]` as a Source, streamed; `head_rows` are fetched at once.

    Raises:
        UsageError: The address is malformed.
        InputError: The data set cannot be opened, or the split must be named.
    """
    match = _ADDRESS.fullmatch(address.removeprefix(HUB))
    if match is None or ".." in address:
        raise UsageError(f"{shown(address)}: not a data set; write hf://owner/name, hf://owner/name/config:split")
    owner, repository, config, split = match.groups()
    if owner is None:
        raise UsageError(f"{shown(address)}: the owner is missing; write hf://owner/name")
    with _datasets(address) as datasets:
        data = datasets.load_dataset(owner + repository, config, streaming=True)
    return _source(_split(data, split, address), address, head_rows)


def open_saved(path: Path, name: str) -> Source:
    """A folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote as a Source.

    Raises:
        InputError: The folder cannot be read, or holds several splits and no train.
    """
    with _datasets(name) as datasets:
        data = datasets.load_from_disk(str(path))
    return _source(_split(data, None, name), name)


def open_arrow_stream(path: Path, name: str) -> Source:
    """An Arrow file in the stream format, memory-mapped, as a Source.

    Raises:
        InputError: The file cannot be read.
    """
    with _datasets(name) as datasets:
        data = datasets.Dataset.from_file(str(path))
    return _source(data, name)


@contextmanager
def _datasets(name: str) -> Iterator[Any]:
    """The library without its progress bars and log lines; any error of its many becomes one of ours.

    Raises:
        InputError: Whatever the library or the network raised.
    """
    import datasets

    bars, level = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    # It says each time that it tries again; the error at the end is ours.
    network = logging.getLogger("huggingface_hub")
    network_level = network.level
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    network.setLevel(logging.ERROR)
    try:
        yield datasets
    except (InputError, UsageError):
        raise
    except Exception as error:  # its network, builders and file systems raise dozens of unrelated types
        raise InputError(f"{shown(name)}: the data set cannot be read ({reason(error)}); {_ADVICE}") from error
    finally:
        network.setLevel(network_level)
        datasets.logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()


def _split(data: Any, split: str | None, name: str) -> Any:
    if not isinstance(data, dict):
        return data
    splits = list(data)
    wanted = split or (_DEFAULT_SPLIT if _DEFAULT_SPLIT in splits else splits[0] if len(splits) == 1 else None)
    if wanted not in splits:
        listed = ", ".join(shown(found, 40) for found in splits)
        what = f"no split '{shown(wanted, 40)}'" if wanted else "several splits and no train"
        raise InputError(f"{shown(name)}: {what}; splits: {listed}; name one: hf://owner/name:{shown(splits[0], 40)}")
    return data[wanted]


def _source(data: Any, name: str, head_rows: int = _BATCH_ROWS) -> Source:
    def frames(chunk_rows: int) -> Iterator[pl.DataFrame]:
        return _frames(data, name, chunk_rows)

    head = next(_frames(data, name, min(_BATCH_ROWS, head_rows)), None)
    if head is None:
        raise InputError(f"{shown(name)}: the data set is empty; a table needs at least one row")
    n_rows = len(data) if hasattr(data, "num_rows") else None
    # A streamed data set may not know its features.
    class_names = {
        column: tuple(feature.names) for column, feature in (data.features or {}).items() if hasattr(feature, "names")
    }
    return Source(
        name=name, schema=head.schema, head=lambda: head, n_rows=n_rows, frames=frames, digest=None,
        class_names=class_names,
    )  # fmt: skip


def _frames(data: Any, name: str, chunk_rows: int) -> Iterator[pl.DataFrame]:
    with _datasets(name):
        batches = iter(data.with_format("arrow").iter(batch_size=min(_BATCH_ROWS, chunk_rows)))
    pending: list[pl.DataFrame] = []
    n_rows = n_bytes = 0
    schema: pl.Schema | None = None
    while True:
        with _datasets(name):
            batch = next(batches, None)
        if batch is not None:
            frame = _from_arrow(batch, name)
            schema = schema or frame.schema
            if frame.schema != schema:
                raise InputError(_changed(frame.schema, schema, name))
            pending.append(frame)
            n_rows, n_bytes = n_rows + frame.height, n_bytes + int(frame.estimated_size())
        if pending and (batch is None or n_rows >= chunk_rows or n_bytes >= CHUNK_BYTES):
            yield from sliced(pl.concat(pending, rechunk=True), chunk_rows)
            pending, n_rows, n_bytes = [], 0, 0
        if batch is None:
            return


def _changed(found: pl.Schema, schema: pl.Schema, name: str) -> str:
    differing = [c for c in {**schema, **found} if schema.get(c) != found.get(c)]
    return (
        f"{shown(name)}: column '{shown(differing[0] if differing else '', 40)}' changes its type within the data set; "
        "download it as parquet and give its folder"
    )


def _from_arrow(batch: Any, name: str) -> pl.DataFrame:
    try:
        frame = pl.from_arrow(batch)
    except (PolarsError, PanicException, ValueError, TypeError) as error:
        raise InputError(f"{shown(name)}: rows cannot be read ({reason(error)}); {_ADVICE}") from error
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()
