"""The recipe of the packaged model: which labelled tables, how they are split and weighed, and what came of it."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from reviewopt.errors import InputError
from reviewopt.local import card
from reviewopt.local.classifier import Classifier
from reviewopt.local.held import figures, parts, share
from reviewopt.local.train import Settings, Trained, fit
from reviewopt.text.normal import normalise

_STARS = {1: "negative", 2: "negative", 3: "neutral", 4: "positive", 5: "positive"}


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One labelled table of a recipe.

    Attributes:
        file: below the data folder.
        text: its text column.
        title: its title column, where it has one.
        label: its label column, or none where stars stand in for it.
        stars: its column of 1 to 5 stars: 1-2 negative, 3 neutral, 4-5 positive.
        category: a column by which test figures are told apart.
        weight: of each review in training.
        held: of the table in choosing the rules.
        mix: the share of each label in choosing the rules; empty keeps the table's own.
    """

    file: str
    text: str = "text"
    title: str | None = None
    label: str | None = None
    stars: str | None = None
    category: str | None = None
    weight: float = 1.0
    held: float = 1.0
    mix: dict[str, float] = {}


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that decides the packaged weights.

    Attributes:
        name: of the model.
        task: that it answers.
        labels: in the order of the predictions.
        languages: of the tables.
        seed: of the split.
        n_parts: into which texts are drawn.
        test_part: the part that nothing is trained or chosen on.
        settings: of the fit.
        tables: trained on, but for their test part.
        tests: never trained on.
        notes: what a reader of the card should know about how the choices were made.
    """

    name: str
    task: str
    labels: list[str]
    languages: list[str]
    seed: int
    n_parts: int
    test_part: int
    settings: Settings
    tables: list[Table]
    tests: list[Table]
    notes: list[str] = []


def read(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        InputError: the file is missing or not a recipe.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Recipe)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InputError(f"recipe {path}: {error}") from error


def reviews(recipe: Recipe, table: Table, data: Path) -> pl.DataFrame:
    """Read a table: columns form, label, category, group, weight, held_weight and part.

    Raises:
        InputError: the file cannot be read or lacks a column of the recipe.
    """
    try:
        raw = pl.read_parquet(data / table.file)
        title = raw[table.title] if table.title else pl.Series([None] * len(raw), dtype=pl.String)
        form = normalise(title, raw[table.text])
        label = raw[table.label] if table.label else raw[table.stars or ""].cast(pl.Int64).replace_strict(_STARS)
        category = raw[table.category] if table.category else pl.Series([""] * len(raw))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"table {data / table.file}: {error}") from error
    frame = pl.DataFrame({"form": form, "label": label.cast(pl.String), "category": category}).filter(
        pl.col("form").is_not_null(), pl.col("label").is_not_null()
    )
    return frame.with_columns(
        pl.lit(table.file.partition(".")[0]).alias("group"),
        pl.lit(table.weight, pl.Float32).alias("weight"),
        _held_weight(frame["label"], table),
        pl.Series("part", parts(frame["form"], recipe.n_parts, recipe.seed)),
    )


def train(recipe: Recipe, data: Path, *, leave_out: str = "") -> Trained:
    """Train on the recipe's tables but for their test part; `leave_out` names a file that is left out wholly."""
    tables = [reviews(recipe, table, data) for table in recipe.tables if table.file != leave_out]
    learned = pl.concat(tables).filter(pl.col("part") != recipe.test_part)
    return fit(
        learned,
        recipe.labels,
        task=recipe.task,
        seed=recipe.seed,
        name=recipe.name,
        languages=recipe.languages,
        settings=recipe.settings,
    )


def rebuild(path: Path, data: Path, output: Path, results: Path) -> list[Path]:
    """Train the packaged model and write its weights, its card and the card for people.

    Args:
        path: of the recipe.
        data: folder of the tables.
        output: folder of the weights.
        results: what `tests/benchmarks/classifier.py` measured; for the card, where it measured these very weights.

    Raises:
        InputError: the recipe or a table cannot be read.
    """
    recipe = read(path)
    weights = output / f"{recipe.name}.npz"
    before = weights.read_bytes() if weights.exists() else b""
    trained = train(recipe, data)
    trained.model.save(weights)
    written = weights.read_bytes()
    digest = hashlib.sha256(written).hexdigest()
    told: dict[str, Any] = {
        **trained.card,
        "recipe": msgspec.to_builtins(recipe),
        "tables": [_origin(recipe, table, data) for table in (*recipe.tables, *recipe.tests)],
        "weights": {"bytes": len(written), "sha256": digest, "rebuilt_byte_for_byte": written == before},
        "held_out": held_out(recipe, trained.model, data),
        "benchmark": _benchmark(results, digest),
    }
    return [weights, *card.write(told, output, recipe.name)]


def held_out(recipe: Recipe, model: Classifier, data: Path) -> dict[str, Any]:
    """Figures on the test part of each table, and on the whole of the tables that were never trained on.

    Test parts are counted as distinct reviews, since some hold one text hundreds of times; `all_rows_accuracy` counts
    every row.
    """
    found = {}
    for table in recipe.tables:
        frame = reviews(recipe, table, data).filter(pl.col("part") == recipe.test_part)
        found[table.file] = evaluate(model, frame, distinct=True)
    for table in recipe.tests:
        found[table.file] = evaluate(model, reviews(recipe, table, data), distinct=False)
    return found


def evaluate(model: Classifier, rows: pl.DataFrame, *, distinct: bool) -> dict[str, Any]:
    """Figures over the rows or over their distinct reviews: all labels, without the neutral ones, by category."""
    frame = rows.unique(["form", "label"], keep="first", maintain_order=True) if distinct else rows
    answer = model.predict(frame["form"])
    label = frame["label"].replace_strict(model.labels, range(len(model.labels)), return_dtype=pl.Int64).to_numpy()
    chosen = answer.label.astype(np.int64)
    right, category = label == chosen, frame["category"].to_numpy()
    named = pl.DataFrame({"form": frame["form"], "label": frame["label"], "right": right})
    every = rows.join(named, on=["form", "label"], how="left") if distinct else named
    return {
        "distinct": distinct,
        **figures(label, chosen, answer.confidence, model.labels),
        "binary_accuracy": binary(model, frame, label),
        "all_rows_accuracy": share(float(every["right"].sum()), len(every)),
        "outside": share(answer.outside.sum(), len(label)),
        "by_category": {
            name: share(right[category == name].sum(), (category == name).sum())
            for name in sorted(set(category) - {""})
        },
    }


def binary(model: Classifier, frame: pl.DataFrame, label: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Accuracy between negative and positive alone, on rows that carry one of them."""
    negative, positive = model.labels.index("negative"), model.labels.index("positive")
    scores = np.concatenate([model.scores(frame["form"][i : i + 2048])[0] for i in range(0, len(frame), 2048)])
    scores += model.calibration.decision
    said = np.where(scores[:, positive] >= scores[:, negative], positive, negative)
    polar = (label == negative) | (label == positive)
    return share((said == label)[polar].sum(), polar.sum())


def _held_weight(label: pl.Series, table: Table) -> pl.Series:
    """Weights that sum to `held` and give each label its share of `mix`."""
    n_rows = dict(label.value_counts().rows())
    total = sum(n_rows.values())
    mix: Mapping[str, float] = table.mix or {name: count / total for name, count in n_rows.items()}
    each = {name: table.held * mix.get(name, 0.0) / count for name, count in n_rows.items()}
    return label.replace_strict(each, return_dtype=pl.Float64).alias("held_weight")


def _origin(recipe: Recipe, table: Table, data: Path) -> dict[str, Any]:
    frame = reviews(recipe, table, data)
    held = (frame["part"] == recipe.test_part).sum() if table in recipe.tables else len(frame)
    return {
        "file": table.file,
        "sha256": hashlib.sha256((data / table.file).read_bytes()).hexdigest(),
        "rows": len(frame),
        "rows_held_out": int(held),
        "labels": dict(frame["label"].value_counts().sort("label").rows()),
    }


def _benchmark(results: Path, digest: str) -> dict[str, Any] | None:
    if not results.exists():
        return None
    measured: dict[str, Any] = msgspec.json.decode(results.read_bytes())
    return measured if measured.get("weights_sha256") == digest else None
