"""A local model from labelled reviews: the packaged one, or a user's own.

`python -m reviewopt.local.train` rebuilds the packaged weights from the recipe in `configs/local/sentiment.toml`;
`reviewopt train` calls `fit` with a user's table. scikit-learn is not needed: the solver is SciPy's L-BFGS.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.errors import ReviewoptError
from reviewopt.local import examples, solver
from reviewopt.local.calibrate import calibrate
from reviewopt.local.classifier import Calibration, Classifier, Weights, assemble, confidence, softmax
from reviewopt.local.examples import Examples
from reviewopt.local.features import Plan, segments
from reviewopt.local.held import Held, figures
from reviewopt.local.modelfile import SCHEMA_VERSION
from reviewopt.text import grams

if TYPE_CHECKING:
    from scipy import sparse

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

MAX_WEIGHTS: Final = 4_000_000  # of all labels together; bounds the solver to about 1 GB
_INT8: Final = 127


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a model is trained; the defaults are those that measured best for the packaged one.

    Attributes:
        fields: features besides the words.
        word_bits: log2 of the buckets for words.
        pair_bits: log2 of the buckets for other features.
        strength: of the fit, like C of scikit-learn.
        balance: 0 keeps the classes' weights, 1 gives every class of a table the same; between by power.
        min_rows: a bucket in fewer distinct reviews is dropped.
        n_steps: of the solver at most.
        clip: weights above this share of the largest one are cut to it, which makes the steps of int8 finer.
    """

    fields: tuple[str, ...] = ("pairs", "title", "negated")
    word_bits: int = 18
    pair_bits: int = 20
    strength: float = 0.15
    balance: float = 0.7
    min_rows: int = 2
    n_steps: int = 45
    clip: float = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A model and what is known about it; `card` is JSON-able."""

    model: Classifier
    card: dict[str, Any]


def fit(
    reviews: pl.DataFrame,
    labels: Sequence[str],
    *,
    task: str,
    seed: int = 0,
    name: str = "local",
    languages: Sequence[str] = (),
    settings: Settings | None = None,
) -> Trained:
    """Train a model and describe it.

    Up to 5,000 distinct reviews, each is scored for calibration by a model of the other four fifths; above, one tenth
    is held out. The weights that are returned come from all reviews. Above 1,000,000 reviews or 400 MB of text, a
    seeded sample of that size is used, and the card says so.

    Args:
        reviews: columns form (String, normal form) and label (String); may have weight (Float32, in training),
            held_weight (Float64, in calibration) and group (String: rules are chosen as a mean over groups).
        labels: 2 to 255 names; all labels of the table are among them.
        task: the task that the model answers.
        seed: of the split and of the sample. Equal calls give equal models.
        name: as it appears as the source of an answer.
        languages: BCP 47 tags of the table's languages, where known.
        settings: None for the defaults.

    Raises:
        InputError: unknown labels, one label only, or too few labelled reviews.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    settings = settings or Settings()
    usable = examples.usable(reviews, labels)
    sampled = examples.sampled(usable, seed)
    learned = examples.examples(sampled, labels, seed, settings.balance)
    plan = Plan(settings.fields, settings.word_bits, settings.pair_bits)
    matrix = solver.count_matrix(learned.form, plan)
    with threadpool_limits(1):  # threads would add up in another order elsewhere, and only slow this down
        held, bias = _held_out(matrix, learned, plan, len(labels), settings)
        rules = calibrate(held, bias)
        linear = _solve(matrix, learned, np.arange(len(learned.label)), len(labels), settings)
    model = assemble(
        name=name,
        task=task,
        labels=tuple(labels),
        languages=tuple(languages),
        plan=plan,
        weights=quantised(linear, plan, settings.clip),
        calibration=rules,
    )
    told = _told(model, settings, learned, seed)
    told["data"] = {
        "rows": len(reviews),
        "labelled": len(usable),
        "sampled": len(sampled),
        "distinct": len(learned.form),
    }
    return Trained(model, {**told, "rules": _rules(rules), "validation": _validation(held, rules, labels)})


def quantised(linear: solver.Linear, plan: Plan, clip: float) -> Weights:
    """Round weights to int8, label k + 1 against label 0, and drop the buckets that no longer say anything."""
    against = (linear.weight[:, 1:] - linear.weight[:, :1]).T
    scale = np.maximum(np.abs(against).max(axis=1, initial=0) * clip / _INT8, 1e-9).astype(np.float32)
    value = np.clip(np.rint(against / scale[:, None]), -_INT8, _INT8).astype(np.int8)
    seen = linear.common & (linear.bucket < (1 << plan.word_bits))
    keep = seen | value.any(axis=0)
    return Weights(linear.bucket[keep], np.ascontiguousarray(value[:, keep]), seen[keep], scale)


def _solve(
    matrix: sparse.csr_matrix[np.float32], learned: Examples, rows: I64, n_labels: int, settings: Settings
) -> solver.Linear:
    targets = solver.Targets(np.eye(n_labels, dtype=np.float32)[learned.label[rows]], learned.weight[rows])
    return solver.train(
        matrix[rows],
        targets,
        strength=settings.strength,
        min_rows=settings.min_rows,
        max_features=MAX_WEIGHTS // n_labels,
        n_steps=settings.n_steps,
    )


def _held_out(
    matrix: sparse.csr_matrix[np.float32], learned: Examples, plan: Plan, n_labels: int, settings: Settings
) -> tuple[Held, F32]:
    """Score each held-out review by a model that did not see it; with the mean bias of these models."""
    rows, scores, words, biases = [], [], [], []
    for fold in range(learned.n_folds):
        out = np.flatnonzero(learned.part == fold)
        linear = _solve(matrix, learned, np.flatnonzero(learned.part != fold), n_labels, settings)
        raw = matrix[out][:, linear.bucket] @ linear.weight
        rows.append(out)
        scores.append(raw - raw.mean(axis=1, keepdims=True))
        words.append(_known_words(learned.form.gather(out), linear.bucket[linear.common], plan))
        biases.append(linear.bias)
    row = np.concatenate(rows)
    n_words, n_known = np.concatenate(words, axis=1)
    share = (n_known / np.maximum(n_words, 1)).astype(np.float32)
    held = Held(
        np.concatenate(scores), learned.label[row], learned.held_weight[row], learned.group[row], share, n_known
    )
    return held, np.mean(biases, axis=0).astype(np.float32)


def _known_words(form: pl.Series, bucket: I64, plan: Plan) -> I64:
    """Distinct words and known words of each row, int64 (2, n_rows)."""
    seen = np.zeros(plan.n_buckets, np.int64)
    seen[bucket] = 1
    words = segments(grams.join(form), plan)[0]
    running = np.concatenate([[0], np.cumsum(seen[words.bucket])])
    return np.stack([words.end - words.first, running[words.end] - running[words.first]])


def _told(model: Classifier, settings: Settings, learned: Examples, seed: int) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "name": model.name,
        "task": model.task,
        "labels": list(model.labels),
        "languages": list(model.languages),
        "data": None,
        "split": {"seed": seed, "unit": "letters and digits of the text", "held_out": _share_held(learned)},
        "settings": msgspec.to_builtins(settings),
    }


def _validation(held: Held, rules: Calibration, labels: Sequence[str]) -> dict[str, Any]:
    """Figures of the held-out reviews under the rules that were chosen on them."""
    chosen = np.argmax(held.scores + rules.decision, axis=1)
    said = softmax(held.scores * rules.slope + rules.offset)[np.arange(len(chosen)), chosen]
    return figures(held.label, chosen, confidence(said, held.known, held.n_known, rules, len(labels)), labels)


def _rules(rules: Calibration) -> dict[str, Any]:
    lists = {"decision": rules.decision, "slope": rules.slope, "offset": rules.offset}
    points = {"said_at": rules.said_at, "right_at": rules.right_at}
    return {
        **{key: [round(float(value), 5) for value in values] for key, values in {**lists, **points}.items()},
        "pull": rules.pull,
        "outside_below": rules.outside_below,
    }


def _share_held(learned: Examples) -> str:
    return "each fifth in turn" if learned.n_folds > 1 else "a tenth"


def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuild the packaged model from a recipe; prints what it wrote."""
    from reviewopt.local import recipe

    parser = argparse.ArgumentParser(prog="python -m reviewopt.local.train", description=main.__doc__)
    parser.add_argument("--recipe", type=Path, default=Path("configs/local/sentiment.toml"), metavar="FILE")
    parser.add_argument("--data", type=Path, default=Path("data/labelled"), metavar="DIR", help="folder of the tables")
    parser.add_argument("-o", "--output", type=Path, default=Path("reviewopt/local/weights"), metavar="OUT")
    parser.add_argument(
        "--figures", type=Path, default=Path("tests/benchmarks/results/classifier.json"), metavar="FILE"
    )
    given = parser.parse_args(arguments)
    try:
        written = recipe.rebuild(given.recipe, given.data, given.output, given.figures)
    except ReviewoptError as error:
        print(error, file=sys.stderr)  # noqa: T201  # a program of its own
        return error.exit_code
    print("\n".join(map(str, written)))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
