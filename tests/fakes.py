"""Stand-ins that implement our protocols."""

from __future__ import annotations

import atexit
import copy
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt import config, load, pipeline, write
from reviewopt.budget import Purse
from reviewopt.cache import shelf as shelves
from reviewopt.cache.keys import Contexts, ModelKey
from reviewopt.cache.refusals import Refusals
from reviewopt.cache.similar import Judge
from reviewopt.cache.tiers import Cache
from reviewopt.dedup.spread import answer_schema
from reviewopt.job import Job, Local, Paid, Predictor, source_names
from reviewopt.models.scripted import Scripted
from reviewopt.prices import Price, Rate
from reviewopt.record import ModelRecord, Run
from reviewopt.runs import Home
from reviewopt.settings import Config
from reviewopt.task import Task
from reviewopt.text import normal
from reviewopt.text.sharing import Sharing
from reviewopt.tokens import open_encoding
from reviewopt.tuning import Tunings

LABELS = ("negative", "neutral", "positive")


@dataclass(frozen=True)
class FakePrediction:
    label: npt.NDArray[Any]
    confidence: npt.NDArray[Any]
    outside: npt.NDArray[np.bool_]


class FakeModel:
    """Answers by the length of the text, and counts what it was asked."""

    labels = LABELS

    def __init__(self, fail_after: int | None = None, error: BaseException | None = None) -> None:
        self.asked: list[str] = []
        self._fail_after = fail_after
        self._error = error

    def predict(self, form: pl.Series) -> FakePrediction:
        self.asked += form.to_list()
        if self._fail_after is not None and len(self.asked) > self._fail_after and self._error is not None:
            raise self._error
        size = form.str.len_bytes().to_numpy().astype(np.int64)
        return FakePrediction(size % 3, (size % 7 / 7).astype(np.float32), size % 5 == 0)


def settings_of(values: Mapping[str, str | bool | int | float | None] | None = None) -> Config:
    """The settings that a run would have, with these changed."""
    return config.load(values or {}, environment={})[0]


# What a (simulated) paid model is called in the tests, and what a request to it costs.
PAID: dict[str, Any] = {"source": "gpt", "price_usd": "0.001"}


@contextmanager
def make_job(
    table: load.Table,
    folder: Path,
    *,
    model: Predictor | None = None,
    scripted: Scripted | None = None,
    task: Task | None = None,
    output: str = "out.parquet",
    settings: Mapping[str, str | bool | int | float | None] | None = None,
    source: str = "local",
    price_usd: str = "0.000000000185",
    price: Price | None = None,
    isolated: bool = False,
    is_naive: bool = False,
    retries: bool = False,
    is_stopping: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = lambda: 1_800_000_000.0,
    ladder: Sequence[Scripted] = (),
    voters: Sequence[Scripted] = (),
    prices: Mapping[str, Price] = MappingProxyType({}),
    with_local: bool = True,
    reference: Scripted | None = None,
    on_reference: Callable[[Paid], None] = lambda _: None,
) -> Iterator[Job]:
    """Make a job over `table` that writes into `folder`.

    Any source but `local` is a simulated paid model: it answers what `model` predicts, or as `scripted` says, one
    review a request unless the settings say otherwise, and each request costs `price_usd`, or what `price` says.
    `on_reference` is given the model that is only to be measured against.
    """
    is_paid = source != "local" or reference is not None
    singly: dict[str, str | bool | int | float | None] = {"pack.fixed": 1} if is_paid else {}
    merged, origins = config.load({**singly, **(settings or {})}, environment={})
    model = model or FakeModel()
    task = task or config.load_task("sentiment")
    home, sharing, notes = Home(folder / "home"), new_sharing(), list(table.notes)
    with ExitStack() as opened:
        shelf = None
        if merged.cache.archive.enabled and (is_paid or shelves.exists(home.path)):
            shelf = opened.enter_context(
                shelves.Shelf(
                    home.path, merged.cache.archive, sharing=sharing if is_paid else None, on_warning=notes.append
                )
            )
        recorder = home.new_run()
        record = ModelRecord(name="fake", is_paid=is_paid, sha256="0" * 64, languages=("en",))
        judge = Judge(threshold=merged.cache.similar.threshold, sharing=sharing, workers=2) if is_paid else None

        def cache_of(key: ModelKey | None) -> Cache:
            contexts = Contexts(task, key, scope="isolated" if isolated else "shared")
            return Cache(merged.cache, contexts, task.labels, shelf=shelf, judge=judge, clock=clock)

        def paid_of(asked: Scripted, price: Price) -> Paid:
            purse = opened.enter_context(
                Purse(home.path / "spend", run_id=recorder.run_id, model=asked.model, endpoint=asked.endpoint,
                      run_usd=Decimal(str(merged.budget.usd)))
            )  # fmt: skip
            key = ModelKey(name=asked.name, settings={}, prompt="1", packed=True)
            return Paid(
                model=asked,
                record=record,
                price=price,
                purse=purse,
                cache=cache_of(key),
                singly=cache_of(msgspec.structs.replace(key, packed=False)),
                digest=asked.name,
                tuning=tunings.get(asked.name),
                tunings=tunings,
                encoding=open_encoding(vocabulary()),
                refusals=Refusals(home.path / shelves.FOLDER) if merged.cache.archive.enabled else None,
                retries=retries,
                is_stopping=is_stopping,
                on_asked=lambda *_: None,
                alerts=tuple,
            )

        tunings = Tunings(home.path / shelves.FOLDER)
        rungs: list[Local | Paid] = []
        if not is_paid or ladder or reference is not None:
            rungs.append(
                Local(predictor=model, record=record, price_usd=Decimal("0.000000000185" if is_paid else price_usd))
            )
        if is_paid:
            alone = () if reference is not None else (scripted or Scripted(predicted(model), name=source),)
            asked = (*(ladder or alone), *voters)
            usual = price or price_a_request(price_usd)
            each = {one.name: paid_of(one, prices.get(one.name) or usual) for one in asked}
            if reference is not None:
                on_reference(paid_of(reference, usual))
            rungs += [paid for name, paid in each.items() if name in {one.name for one in ladder} or not ladder]
            if not with_local and len(rungs) > 1:
                rungs = rungs[1:]
        caches = [one.cache for one in rungs if isinstance(one, Paid)] or [cache_of(None)]
        sources = source_names(*(one.source for one in rungs), *(one.name for one in voters))
        others = [field.name for field in task.others]
        names = write.answer_names(task.field.name, list(table.schema), others, has_notes=is_paid)
        answer = answer_schema(task.labels, sources, task.others, has_notes=is_paid)
        schema = {**table.schema, **{names[key_]: dtype for key_, dtype in answer.items()}}
        yield Job(
            table=table,
            task=task,
            rungs=tuple(rungs),
            voters=tuple(each[one.name] for one in voters) if is_paid else (),
            cache=caches[-1],
            near=merged.dedup.near or ("share" if is_paid else "report"),
            sharing=sharing,
            isolated=isolated,
            output=write.open_output(folder / output, pl.Schema(schema), inputs=table.names, force=True),
            names=names,
            recorder=recorder,
            config=merged,
            settings=origins,
            notes=notes,
            is_naive=is_naive,
        )


@functools.cache
def vocabulary() -> Path:
    """A folder of this process alone, in which the vocabulary is unpacked once for all tests."""
    folder = Path(tempfile.mkdtemp(prefix="reviewopt-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def new_sharing() -> Sharing:
    """A rule that has refused nothing yet; its word lists, which nothing changes, are read once for all tests."""
    return copy.copy(_read_sharing())


@functools.cache
def _read_sharing() -> Sharing:
    made = Sharing()
    made.sign(pl.Series(["good"]))
    return made


def price_a_request(usd: str) -> Price:
    """A price that does not depend on the tokens."""
    free, units = Rate(((-1, 0),)), int(Decimal(usd).scaleb(18))
    return Price(name="test", input=free, cached=free, cache_write=free, output=free, reasoning=free, request=units)


def predicted(model: Predictor) -> Callable[[str], object]:
    """A script that says of a text what a predictor says of its normal form."""

    def script(text: str) -> object:
        title, has_title, body = text.partition("\n")
        fields = (title, body) if has_title else (None, text)
        form = normal.normalise(*(pl.Series([field], dtype=pl.String) for field in fields))
        return model.labels[int(model.predict(form).label[0])]

    return script


def process(source_table: Path, folder: Path, *, chunk_rows: int = 1000, **options: Any) -> tuple[Run, pl.DataFrame]:
    """Label a table with the fake model; return the record and the labelled table."""
    task = options.get("task") or config.load_task("sentiment")
    with (
        load.open_table([str(source_table)], task=task, chunk_rows=chunk_rows) as table,
        make_job(table, folder, **options) as job,
    ):
        run = pipeline.process(job, lambda *_: None)
    return run, pl.read_parquet(folder / "out.parquet")
