"""The local model of one run: what the reference said of a small sample corrects a model that was there before.

The certificate sends the least sure rows to the reference, so what counts here is the order of the confidences: that a
row which the model gets wrong stands below one that it gets right. A few hundred labels cannot teach the language, but
they do teach what this table's own words are worth, and how often each label occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.local import examples, solver
from reviewopt.local.calibrate import Prior, scaled, shrunk
from reviewopt.local.classifier import Calibration, Classifier, assemble
from reviewopt.local.examples import Examples
from reviewopt.local.features import Plan
from reviewopt.local.held import Held
from reviewopt.local.train import MAX_WEIGHTS, Settings, quantised

if TYPE_CHECKING:
    from scipy import sparse

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

# Chosen on amazon_10k and flipkart_205k with 100 to 1,000 rows, by the share that perfect knowledge of the errors would
# send to the reference. Strengths of .01 to .5 taught flipkart's words more slowly, 2 won there what it lost on amazon;
# 12 steps ordered the rows as 30 did; priors of 10 to 50 before and of 5 to 50 after moved the share by less than .005.
_STRENGTH: Final = 1.0
_N_STEPS: Final = 12
_MIN_TABLE: Final = 2500  # rows
_MIN_ROWS: Final = 2  # a word of one review alone says nothing of another one
_CLIP: Final = 1.0  # nothing is cut: cutting at .6 of the largest weight cost more order than the finer steps gave
_BEFORE: Final = Prior(level=5.0, spread=5.0, offset=5.0)  # of the base's scores, before words are corrected
_AFTER: Final = Prior(level=1.0, spread=20.0, offset=10.0)  # of the corrected scores, held out


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model for one run, and what is known about it.

    Attributes:
        model: its labels are those of the run, in their order.
        is_warm: it began from a model that was there before.
        agreement: share of the sample's rows that a model of the other four fifths answers as the reference does; an
            estimate, which nothing is promised on.
        digest: SHA-256 in hex of everything that decides an answer: equal digests, equal answers.
    """

    model: Classifier
    is_warm: bool
    agreement: float
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """Scores that are log-probabilities up to a constant of each row: counts @ weight + offset.

    Attributes:
        bucket: int64 (n_features,), ascending.
        weight: float32 (n_features, n_labels).
        offset: float32 (n_labels,).
        seen: bool (n_features,), a word that training has seen.
    """

    bucket: I64
    weight: F32
    offset: F32
    seen: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """The labelled reviews, and what the base says of them.

    Attributes:
        matrix: (n_rows, n_buckets), from `solver.count_matrix`.
        scores: float32 (n_rows, n_labels), the base's; 0 without one.
        learned: the reviews; each counts as often as it occurs.
        base: None without one.
        n_labels: of the run.
    """

    matrix: sparse.csr_matrix[np.float32]
    scores: F32
    learned: Examples
    base: _Line | None
    n_labels: int


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """What a part of the sample taught: the base's scores times `slope`, plus `offset`, plus the words' own weights."""

    slope: F32
    offset: F32
    words: solver.Linear


def fit(
    form: pl.Series, label: pl.Series, labels: Sequence[str], *, task: str, base: Classifier | None, seed: int
) -> Fitted:
    """Fit a model to what the reference said of a sample, from the base's weights where its labels include the run's.

    The base's scores are scaled first, with few and strongly pulled parameters; then a weight for each word that at
    least two reviews hold is fitted on top. Both are done again without each fifth in turn, and the confidence is
    calibrated on the fifths held out. Copies share a fifth. Equal calls give equal models.

    Args:
        form: String (n_rows,), normal forms; null or empty rows are left out.
        label: String (n_rows,), the reference's; null rows are left out.
        labels: 2 to 255 of the task; some may be absent from `label`.
        task: the task that the model answers.
        base: a model to begin from; ignored where its labels lack one of `labels`.
        seed: of the split.

    Raises:
        InputError: unknown labels, one label only, or fewer than 50 labelled reviews.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    learned = _examples(form, label, labels, seed)
    start = None if base is None else _restricted(base, labels)
    plan = base.plan if base is not None and start is not None else _plan()
    with threadpool_limits(1):  # threads would add up in another order elsewhere, and only slow this down
        sample = _sample(learned, plan, start, len(labels))
        held = _held_out(sample, plan)
        rules = shrunk(held, _AFTER)
        line = _joined(sample, _step(sample, np.arange(len(learned.label))), rules, plan)
    languages = base.languages if base is not None and start is not None else ()
    model = _assembled("local", task, labels, languages, plan, line, rules)
    right = np.argmax(held.scores * rules.slope + rules.offset, axis=1) == held.label
    return Fitted(model, start is not None, float(np.average(right, weights=held.weight)), digest(model))


def closest(base: Classifier, labels: Sequence[str]) -> Classifier | None:
    """Return the base restricted to these labels in this order, or None where it lacks one of them."""
    if tuple(labels) == base.labels:
        return base
    line = _restricted(base, labels)
    if line is None:
        return None
    points = np.array([1 / len(labels), 1], np.float32)
    level = np.zeros(len(labels), np.float32)
    rules = Calibration(level, level, level, points, points, base.calibration.pull, base.calibration.outside_below)
    return _assembled(base.name, base.task, labels, base.languages, base.plan, line, rules)


def train_size(n_rows: int, *, has_base: bool) -> int:
    """Choose how many rows of a table to fit on; 0 where a base is better taken as it is.

    Every such row is the reference's, so it must save more rows than it costs. The figures are shares of the rows that
    went to the reference in all, for a target of .95 at 95 % confidence and the best of four sizes of CAL
    (`tests/benchmarks/results/warm.json`).

    With a base, a hundredth of the rows, 100 to 1,000. On reviews as the packaged model was trained on, the sample is
    not worth its rows, but costs little: at 10,000 rows of amazon_10k, no sample 25.2 %, 100 rows 25.4, 300 rows
    26.0, 1,000 rows 29.9. On others it is worth far more: at 50,000 rows of flipkart_205k, which had little weight in
    that training, 16.8 % without, 12.1 with 100 rows, 5.9 with 500, 5.0 with 1,000. Of 2,500 rows, 100 would be 4 %,
    about what they saved there.

    Without a base, a tenth, 300 to 2,000, and never more than a quarter: at 10,000 rows and three categories, 39.0 %
    with 300 rows, 30.9 with 500, 25.1 with 1,000, 27.5 with 2,000. Fewer than 300 were not measured.
    """
    if has_base:
        return 0 if n_rows < _MIN_TABLE else min(max(n_rows // 100, 100), 1000)
    return min(max(n_rows // 10, 300), 2000, n_rows // 4)


def digest(model: Classifier) -> str:
    """SHA-256 in hex of everything that decides an answer: labels, features, weights and calibration."""
    rules, weights, plan = model.calibration, model.weights, model.plan
    told = [model.labels, plan.fields, plan.word_bits, plan.pair_bits, rules.pull, rules.outside_below]
    found = sha256(msgspec.json.encode(told))
    arrays: list[npt.NDArray[Any]] = [weights.bucket, weights.value, weights.seen, weights.scale]
    arrays += [rules.decision, rules.slope, rules.offset, rules.said_at, rules.right_at]
    for array in arrays:
        found.update(msgspec.json.encode([array.dtype.str, array.shape]))
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _plan() -> Plan:
    settings = Settings()
    return Plan(settings.fields, settings.word_bits, settings.pair_bits)


def _examples(form: pl.Series, label: pl.Series, labels: Sequence[str], seed: int) -> Examples:
    """The distinct reviews, each as heavy as it occurs: the promise is about rows.

    A label of fewer than five rows is no reason to refuse the sample, as it is in `examples.usable` for a training
    table: its rows are answered wrongly out of fold, so that the confidence already counts with it.
    """
    usable = examples.usable(pl.DataFrame({"form": form, "label": label}), labels, min_rows_a_label=1)
    counted = usable.group_by("form", "label", maintain_order=True).agg(held_weight=pl.len().cast(pl.Float64))
    weighted = counted.with_columns(weight=pl.col("held_weight").cast(pl.Float32))
    return examples.examples(weighted, labels, seed, balance=0.0)


def _sample(learned: Examples, plan: Plan, base: _Line | None, n_labels: int) -> _Sample:
    matrix = solver.count_matrix(learned.form, plan)
    scores = np.zeros((len(learned.label), n_labels), np.float32)
    if base is not None:
        scores = _centred(matrix[:, base.bucket] @ base.weight + base.offset)
    return _Sample(matrix, scores, learned, base, n_labels)


def _restricted(base: Classifier, labels: Sequence[str]) -> _Line | None:
    """The base's calibrated scores of these labels as weights: its slopes are multiplied in."""
    if not set(labels) <= set(base.labels):
        return None
    against = base.weights.value * base.weights.scale[:, None]
    weight = _centred(np.concatenate([np.zeros_like(against[:1]), against]).T) * base.calibration.slope
    kept = [base.labels.index(name) for name in labels]
    offset = base.calibration.offset[kept]
    return _Line(base.weights.bucket, _centred(weight[:, kept]), offset - offset.mean(), base.weights.seen)


def _step(sample: _Sample, rows: I64) -> _Step:
    """Learn from some rows: int64 (n,)."""
    learned, n_labels = sample.learned, sample.n_labels
    slope, offset, scores = np.ones(n_labels, np.float32), np.zeros(n_labels, np.float32), sample.scores[rows]
    if sample.base is not None and len(rows):
        nothing = np.zeros(len(rows), np.int64)
        known = Held(scores, learned.label[rows], learned.held_weight[rows], nothing, scores[:, 0], nothing)
        slope, offset = scaled(known, offset, _BEFORE)
    said = np.eye(n_labels, dtype=np.float32)[learned.label[rows]]
    words = solver.train(
        sample.matrix[rows],
        solver.Targets(said, learned.weight[rows], scores * slope + offset),
        strength=_STRENGTH,
        min_rows=_MIN_ROWS,
        max_features=MAX_WEIGHTS // n_labels,
        n_steps=_N_STEPS,
        few_rows=True,
    )
    if sample.base is None:
        offset = words.bias  # nothing else says how often each label occurs; above, the pulled offset does it better
    return _Step(slope, offset, words)


def _held_out(sample: _Sample, plan: Plan) -> Held:
    """Score each review by what the other parts taught."""
    learned = sample.learned
    out = np.flatnonzero(learned.part < learned.n_folds)
    scores = np.zeros((len(learned.label), sample.n_labels), np.float32)
    n_known = np.zeros(len(learned.label), np.int64)
    words = sample.matrix[:, : 1 << plan.word_bits].astype(np.bool_).astype(np.int64)
    for fold in range(learned.n_folds):
        here = np.flatnonzero(learned.part == fold)
        step = _step(sample, np.flatnonzero(learned.part != fold))
        corrected = sample.matrix[here][:, step.words.bucket] @ step.words.weight
        scores[here] = _centred(sample.scores[here] * step.slope + step.offset + corrected)
        known: Any = words[here] @ _seen(sample.base, step.words, plan)
        n_known[here] = known
    n_words = np.asarray(words.sum(axis=1)).ravel()
    share = (n_known / np.maximum(n_words, 1)).astype(np.float32)
    group = np.zeros(len(out), np.int64)
    return Held(scores[out], learned.label[out], learned.held_weight[out], group, share[out], n_known[out])


def _seen(base: _Line | None, words: solver.Linear, plan: Plan) -> I64:
    """1 for each bucket of a word that the base or the sample knows, int64 (2**word_bits,)."""
    seen = np.zeros(plan.n_buckets, np.int64)
    seen[words.bucket[words.common]] = 1
    if base is not None:
        seen[base.bucket[base.seen]] = 1
    return seen[: 1 << plan.word_bits]


def _joined(sample: _Sample, step: _Step, rules: Calibration, plan: Plan) -> _Line:
    """Everything that was learned as one set of weights."""
    base, words = sample.base, step.words
    bucket, weight, offset = words.bucket, words.weight, step.offset
    if base is not None:
        either = np.zeros(plan.n_buckets, np.bool_)
        either[base.bucket] = either[words.bucket] = True
        bucket = np.flatnonzero(either)
        weight = np.zeros((len(bucket), sample.n_labels), np.float32)
        weight[np.searchsorted(bucket, base.bucket)] = base.weight * step.slope
        weight[np.searchsorted(bucket, words.bucket)] += words.weight
        offset = base.offset * step.slope + offset
    seen = bucket < (1 << plan.word_bits)
    seen[seen] = _seen(base, words, plan)[bucket[seen]] > 0
    return _Line(bucket, _centred(weight) * rules.slope, (offset - offset.mean()) * rules.slope + rules.offset, seen)


def _assembled(
    name: str, task: str, labels: Sequence[str], languages: tuple[str, ...], plan: Plan, line: _Line, rules: Calibration
) -> Classifier:
    """The model of these weights; of the rules, what lies behind the probabilities."""
    offset = (line.offset - line.offset.mean()).astype(np.float32)
    return assemble(
        name=name,
        task=task,
        labels=tuple(labels),
        languages=languages,
        plan=plan,
        weights=quantised(solver.Linear(line.bucket, line.weight, line.offset, line.seen), plan, _CLIP),
        calibration=Calibration(
            decision=offset,
            slope=np.ones(len(labels), np.float32),
            offset=offset,
            said_at=rules.said_at,
            right_at=rules.right_at,
            pull=rules.pull,
            outside_below=rules.outside_below,
        ),
    )


def _centred(scores: F32) -> F32:
    centred: F32 = (scores - scores.mean(axis=-1, keepdims=True)).astype(np.float32)
    return centred
