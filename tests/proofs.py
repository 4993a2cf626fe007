"""Small tables whose truth is known, labelled and certified in process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import archived
import numpy as np
import numpy.typing as npt
import polars as pl
from fakes import LABELS, FakePrediction, make_job

from reviewopt import certify, config, draws, load, pipeline
from reviewopt.attempts import Attempts
from reviewopt.cache import shelf as shelves
from reviewopt.cache.keys import Contexts, ModelKey
from reviewopt.cache.people import People
from reviewopt.cache.shelf import Shelf
from reviewopt.cache.tiers import Cache
from reviewopt.job import Job, Paid, Reference
from reviewopt.models.scripted import Scripted
from reviewopt.record import Run

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class World:
    """A table of n reviews: the reference's labels, and what the local model says, with its confidence, (n,) each.

    `text` is which text each row has: rows of one text are copies; -1: none. `middle` is what a model between says,
    and how sure it is of that (all of it alike, without `middle_confidence`).
    """

    truth: I64
    local: I64
    confidence: F64
    text: I64 | None = None
    middle: I64 | None = None
    middle_confidence: F64 | None = None
    tenant: list[str] | None = None

    @property
    def texts(self) -> I64:
        return np.arange(len(self.truth)) if self.text is None else self.text

    def write(self, path: Path, *, hidden: npt.NDArray[np.bool_] | None = None) -> None:
        """Write it as a table; rows that are `hidden` have no label."""
        names = [LABELS[code] for code in self.truth.tolist()]
        if hidden is not None:
            names = [None if gone else name for name, gone in zip(names, hidden.tolist(), strict=True)]  # type: ignore[misc]
        texts = [said_of(one) if one >= 0 else None for one in self.texts.tolist()]
        columns: dict[str, Any] = {"text": texts, "stars": names}
        if self.tenant is not None:
            columns["category"] = self.tenant
        pl.DataFrame(columns).write_parquet(path)

    def says(self, codes: I64) -> dict[str, str]:
        """What somebody says of each text: of its last row, where copies differ."""
        return {said_of(text): LABELS[code] for text, code in zip(self.texts.tolist(), codes.tolist(), strict=True)}


class Knowing:
    """A local model that says of each text what the world has it say."""

    labels = LABELS

    def __init__(self, world: World) -> None:
        n = int(world.texts.max()) + 1
        self._label, self._confidence = np.zeros(n, np.int64), np.zeros(n, np.float32)
        has = world.texts >= 0
        at = world.texts[has]
        self._label[at], self._confidence[at] = world.local[has], world.confidence[has]

    def predict(self, form: pl.Series) -> FakePrediction:
        at = form.str.extract(r"(\d+)$").cast(pl.Int64).to_numpy()
        return FakePrediction(self._label[at], self._confidence[at], np.zeros(len(at), np.bool_))


def calibrated(n: int, seed: int, *, error: float = 0.1) -> World:
    """Make a world whose local model is wrong as often as it says."""
    rng = np.random.default_rng(seed)
    risk = np.clip(rng.beta(0.5, 0.5 / (error / 0.6) - 0.5, n) * 0.6, 0.001, 0.6)
    truth = rng.integers(0, 3, n)
    local = np.where(rng.random(n) < risk, (truth + 1) % 3, truth)
    return World(truth=truth, local=local, confidence=1 - risk)


def prove(world: World, folder: Path, **options: Any) -> tuple[Run, pl.DataFrame]:
    """Label and certify a world; see `opened`."""
    with opened(world, folder, **options) as job:
        run = pipeline.process(job, lambda *_: None)
    return run, pl.read_parquet(folder / "out.parquet")


@contextmanager
def opened(
    world: World,
    folder: Path,
    *,
    kind: str = "column",
    target: float = 0.9,
    sizes: tuple[int, int, int] = (0, 300, 0),
    settings: Mapping[str, Any] | None = None,
    human: Mapping[int, str | None] | None = None,
    can_answer: bool | None = None,
    reference: Scripted | None = None,
    hidden: npt.NDArray[np.bool_] | None = None,
    isolated: bool = False,
    ladder: Sequence[Scripted] = (),
    with_again: bool = False,
) -> Iterator[Job]:
    """Open the job that labels and certifies a world.

    `middle` of it, where there is one, answers in packs between local and reference, as do the models of `ladder`.
    `with_again`: the reference is asked some rows twice, as many as the settings say.
    """
    path = folder / "table.parquet"
    world.write(path, hidden=hidden)
    wanted: dict[str, Any] = {
        "certificate.reference": "column:stars", "certificate.target": target, "columns.label": "stars",
        "certificate.self_agreement": 0, "dedup.near": "off", "pack.fixed": 10, **(settings or {}),
    }  # fmt: skip
    task = config.load_task("sentiment")
    options: dict[str, Any] = {}
    made: list[Paid] = []
    if world.middle is not None:
        sure = np.full(len(world.truth), 0.9) if world.middle_confidence is None else world.middle_confidence
        each = dict(zip(map(said_of, world.texts.tolist()), sure.tolist(), strict=True))
        ladder = [Scripted(world.says(world.middle), name="middle", confidence=each.__getitem__)]
    if ladder:
        options |= {"source": "gpt", "ladder": ladder}
    if kind == "model":
        strong = reference or Scripted(world.says(world.truth), name="strong")
        options |= {"reference": strong, "on_reference": made.append}
    choice = load.ColumnChoice(label="stars")
    with (
        load.open_table([str(path)], task=task, choice=choice, chunk_rows=700) as table,
        make_job(
            table, folder, model=Knowing(world), settings=wanted, isolated=isolated, price_usd="0.001", **options
        ) as job,
        ExitStack() as stack,
    ):
        able = can_answer
        if able is None:
            able = kind == "model" or (kind == "column" and not ladder)
        again = reference_cache(stack, job, folder, is_second=True) if with_again else None
        strongs = [
            replace(one, cache=reference_cache(stack, job, folder), singly=None, is_reference=True) for one in made
        ]
        made_job = _with_reference(job, folder, kind, sizes, dict(human or {}), able, *strongs, again=again)
        yield _without_history(stack, made_job, folder)


def said_of(text: int) -> str:
    """Return the text of this number."""
    return f"review number {text}"


def reference_cache(stack: ExitStack, job: Job, folder: Path, *, is_second: bool = False) -> Cache:
    """Open what keeps the reference's own answers: each to one review alone, and nothing that anybody else said."""
    settings = job.config.cache
    shelf = None
    if settings.archive.enabled:
        home = folder / "home"
        shelf = stack.enter_context(Shelf(home, settings.archive, sharing=None, on_warning=job.notes.append))
    key = ModelKey(name="strong", settings={"again": "1"} if is_second else {}, prompt="1", packed=False)
    contexts = Contexts(job.task, key, scope="isolated" if job.isolated else "shared", with_given=False)
    return Cache(settings, contexts, job.task.labels, shelf=shelf, judge=None, clock=lambda: 1_800_000_000.0)


def _without_history(stack: ExitStack, job: Job, folder: Path) -> Job:
    """Look nothing up that people or history said, but after the test."""
    settings, scope, shelf = job.config.cache, "isolated" if job.isolated else "shared", None
    if settings.archive.enabled and shelves.exists(folder / "home"):
        shelf = stack.enter_context(Shelf(folder / "home", settings.archive, sharing=None, on_warning=job.notes.append))

    def cache_of(key: ModelKey | None, *, with_given: bool) -> Cache:
        contexts = Contexts(job.task, key, scope=scope, with_given=with_given)
        return Cache(settings, contexts, job.task.labels, shelf=shelf, judge=None, clock=lambda: 1_800_000_000.0)

    def own(paid: Paid) -> Paid:
        key = ModelKey(name=paid.source, settings={}, prompt="1", packed=True)
        return replace(paid, cache=cache_of(key, with_given=False))

    assert job.reference is not None
    outranking = None if job.reference.kind == "human" else cache_of(None, with_given=True)
    return replace(
        job,
        rungs=tuple(own(one) if isinstance(one, Paid) and not one.is_reference else one for one in job.rungs),
        cache=cache_of(None, with_given=False),
        reference=replace(job.reference, outranking=outranking),
    )


def people_say(folder: Path, world: World, said: Mapping[int, str], *, tenant: str | None = None) -> None:
    """Archive what people said of some rows."""
    task = config.load_task("sentiment")
    texts = world.texts.tolist()
    forms = [said_of(texts[row]) for row in said]
    made = {"form": forms, "tenant": [tenant] * len(forms), "review_id": ["1"] * len(forms), "label": [*said.values()]}
    rows = pl.DataFrame(made, schema=dict.fromkeys(made, pl.String))
    with archived.opened(folder / "home") as archive:
        People(archive, task, isolated=tenant is not None).keep(rows, now_s=1_700_000_000)


def _with_reference(
    job: Job,
    folder: Path,
    kind: str,
    sizes: tuple[int, int, int],
    human: dict[int, str | None],
    can_answer: bool,
    strong: Paid | None = None,
    *,
    again: Cache | None = None,
) -> Job:
    """Give a job its reference."""
    name = {"column": "column:stars", "human": "human", "model": "strong"}[kind]
    parts = (job.table.fingerprint(), job.task.name, *job.task.labels, name)
    seed = certify.seed(*parts)
    drawn = draws.draw(job.table, seed, sum(sizes), per=job.config.certificate.per)
    if kind == "column":
        drawn = replace(drawn, frame=drawn.frame.drop_nulls("label"))
    return replace(
        job,
        reference=Reference(
            kind=kind,  # type: ignore[arg-type]  # one of the three
            name=name,
            fingerprint=parts[0],
            seed=seed,
            drawn=drawn,
            n_train=sizes[0],
            n_cal=sizes[1],
            n_audit=sizes[2],
            can_answer=can_answer,
            attempts=Attempts(folder / "home", *parts),
            paid=strong,
            again=again,
            human=human,
            n_gaps=drawn.n_rows - drawn.n_labelled if kind == "column" and can_answer else 0,
        ),
    )


def first_rows(world: World, folder: Path, name: str, n: int) -> I64:
    """Return the first rows of the permutation against this reference: what TRAIN and CAL will be."""
    world.write(folder / "table.parquet")
    task = config.load_task("sentiment")
    with load.open_table([str(folder / "table.parquet")], task=task, choice=load.ColumnChoice(label="stars")) as table:
        seed = certify.seed(table.fingerprint(), task.name, *task.labels, name)
        rows: I64 = draws.draw(table, seed, n).frame["row"].to_numpy()
        return rows


def n_wrong(world: World, out: pl.DataFrame) -> int:
    """Count the rows whose label is not the reference's; an unanswered one is wrong."""
    said = out["sentiment"].cast(pl.String).fill_null("").to_list()
    return sum(name != LABELS[code] for name, code in zip(said, world.truth.tolist(), strict=True))
