"""The free model: labels reviews on one core, offline, before anything is paid for.

A linear softmax over hashed words and pairs of words with int8 weights (`features.py`). It uses numpy alone. The
weights of a bucket are packed side by side in one int64, so that a single gather and a single running sum serve all
labels and, in the last place, count the words that training has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.local import modelfile
from reviewopt.local.features import Plan, Segment, counts, segments
from reviewopt.text import grams

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

BATCH_ROWS: Final = 2048  # the buffers of a batch fit the cache
_PLACE_BITS: Final = 21
_PLACES: Final = 3  # of 21 bits in an int64
_LONG: Final = ((1 << (_PLACE_BITS - 1)) - 1) // 128  # more features than this could overflow a place


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says about each row.

    Attributes:
        label: int16 (n_rows,), index into `Classifier.labels`.
        confidence: float32 (n_rows,), probability that the label is right, as `Calibration` defines it.
        known: float32 (n_rows,), share of the row's words that training has seen; 0 where there are none.
        outside: bool (n_rows,), true where so few words are known that the text is in another language, or no text.
    """

    label: npt.NDArray[np.int16]
    confidence: F32
    known: F32
    outside: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The linear model before packing.

    Attributes:
        bucket: int64 (n_features,), ascending.
        value: int8 (n_labels - 1, n_features): label k + 1 against label 0.
        seen: bool (n_features,), whether the bucket is a word that training has seen.
        scale: float32 (n_labels - 1,): a step of `value`.
    """

    bucket: I64
    value: npt.NDArray[np.int8]
    seen: npt.NDArray[np.bool_]
    scale: F32


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """From scores to a label and a probability.

    With z the scores of a row, centred: the label is argmax(z + decision); the calibrated probabilities are
    softmax(slope * z + offset) (vector scaling: Guo et al., "On calibration of modern neural networks", ICML 2017);
    p[label] goes through the rising line from `said_at` to `right_at` (isotonic regression), which gives q; and
    confidence = t * q + (1 - t) / n_labels, t = clip(2 * known / outside_below - 1, 0, 1) * m / (m + pull),
    for m known words that are the share `known` of all. So a text of which the model knows nothing gets 1 / n_labels.
    `pull` and `outside_below` are chosen on validation (the model's card has the figures).

    Attributes:
        decision: float32 (n_labels,).
        slope: float32 (n_labels,).
        offset: float32 (n_labels,).
        said_at: float32 (n_points,), ascending.
        right_at: float32 (n_points,), ascending.
        pull: in words, above 0.
        outside_below: share of known words.
    """

    decision: F32
    slope: F32
    offset: F32
    said_at: F32
    right_at: F32
    pull: float
    outside_below: float


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A trained model; holds no state that predicting changes, so threads can share it.

    Attributes:
        name: as it appears as the source of an answer.
        task: the task that it answers.
        labels: n_labels of them.
        languages: languages it was trained on, as BCP 47 tags.
        plan: its features.
        weights: as trained.
        calibration: as fitted.
        slot: int32 (n_buckets,), column of `packed` for each bucket; None where buckets are the columns themselves.
        packed: int64 (n_packs, n_columns).
    """

    name: str
    task: str
    labels: tuple[str, ...]
    languages: tuple[str, ...]
    plan: Plan
    weights: Weights
    calibration: Calibration
    slot: npt.NDArray[np.int32] | None
    packed: I64

    @staticmethod
    def load(path: Path) -> Classifier:
        """Read a model file.

        Raises:
            InputError: the file is missing, damaged, of a later version, or no model.
        """
        header, arrays = modelfile.read(path)
        bucket = np.cumsum(arrays["gap"], dtype=np.int64)
        seen = np.unpackbits(arrays["seen"], count=len(bucket)).astype(np.bool_)
        return assemble(
            name=header.name,
            task=header.task,
            labels=tuple(header.labels),
            languages=tuple(header.languages),
            plan=Plan(tuple(header.fields), header.word_bits, header.pair_bits),
            weights=Weights(bucket, arrays["weight"], seen, arrays["scale"]),
            calibration=Calibration(
                **{key: arrays[key] for key in ("decision", "slope", "offset", "said_at", "right_at")},
                pull=header.pull,
                outside_below=header.outside_below,
            ),
        )

    def save(self, path: Path) -> None:
        """Write the model; equal models give equal bytes."""
        header = modelfile.Header(
            schema_version=modelfile.SCHEMA_VERSION,
            grams_version=grams.VERSION,
            name=self.name,
            task=self.task,
            labels=list(self.labels),
            languages=list(self.languages),
            fields=list(self.plan.fields),
            word_bits=self.plan.word_bits,
            pair_bits=self.plan.pair_bits,
            pull=self.calibration.pull,
            outside_below=self.calibration.outside_below,
        )
        arrays: modelfile.Arrays = {
            "gap": np.diff(self.weights.bucket, prepend=0).astype(np.uint32),
            "weight": self.weights.value,
            "seen": np.packbits(self.weights.seen),
            "scale": self.weights.scale,
            "decision": self.calibration.decision,
            "slope": self.calibration.slope,
            "offset": self.calibration.offset,
            "said_at": self.calibration.said_at,
            "right_at": self.calibration.right_at,
        }
        modelfile.write(path, header, arrays)

    def predict(self, form: pl.Series) -> Prediction:
        """Label normal forms; a row's prediction depends on no other row.

        Args:
            form: String (n_rows,), as `reviewopt.text.normal` makes it; null counts as empty.
        """
        parts = [self._predict_batch(form[i : i + BATCH_ROWS]) for i in range(0, max(len(form), 1), BATCH_ROWS)]
        return Prediction(
            np.concatenate([part.label for part in parts]),
            np.concatenate([part.confidence for part in parts]),
            np.concatenate([part.known for part in parts]),
            np.concatenate([part.outside for part in parts]),
        )

    def scores(self, form: pl.Series) -> tuple[F32, I64, I64]:
        """Centred scores float32 (n_rows, n_labels), words int64 (n_rows,) and known words int64 (n_rows,)."""
        found = segments(grams.join(form), self.plan)
        sums = _sums(self.packed, self.slot, found, len(self.labels))
        n_features = np.maximum(counts(found), 1)
        scores = np.zeros((len(form), len(self.labels)), np.float32)
        scores[:, 1:] = sums[:, :-1] * self.weights.scale
        scores /= np.sqrt(n_features).astype(np.float32)[:, None]
        scores -= scores.mean(axis=1, keepdims=True)
        return scores, found[0].end - found[0].first, sums[:, -1]

    def _predict_batch(self, form: pl.Series) -> Prediction:
        scores, n_words, n_known = self.scores(form)
        rules = self.calibration
        label = np.argmax(scores + rules.decision, axis=1)
        probability = softmax(scores * rules.slope + rules.offset)
        chosen = probability[np.arange(len(label)), label]
        known = (n_known / np.maximum(n_words, 1)).astype(np.float32)
        sure = confidence(chosen, known, n_known, rules, len(self.labels))
        return Prediction(label.astype(np.int16), sure, known, known < np.float32(rules.outside_below))


def packaged() -> Classifier:
    """The sentiment model that comes with reviewopt.

    Raises:
        InputError: the installation is damaged.
    """
    with resources.as_file(resources.files("reviewopt.local") / "weights" / "sentiment.npz") as path:
        return Classifier.load(path)


def assemble(
    *,
    name: str,
    task: str,
    labels: tuple[str, ...],
    languages: tuple[str, ...],
    plan: Plan,
    weights: Weights,
    calibration: Calibration,
) -> Classifier:
    """Pack weights for prediction: straight into buckets where one int64 holds a bucket, else into used columns."""
    places = np.concatenate([weights.value, weights.seen[None]]).astype(np.int64)
    n_packs = -(-len(places) // _PLACES)
    direct = n_packs == 1
    packed = np.zeros((n_packs, plan.n_buckets if direct else len(weights.bucket) + 1), np.int64)
    column = weights.bucket if direct else np.arange(1, len(weights.bucket) + 1)
    for place, value in enumerate(places):
        packed[place // _PLACES, column] += value << (_PLACE_BITS * (place % _PLACES))
    slot = None
    if not direct:
        slot = np.zeros(plan.n_buckets, np.int32)
        slot[weights.bucket] = column
    return Classifier(name, task, labels, languages, plan, weights, calibration, slot, packed)


def softmax(scores: F32) -> F32:
    """Probabilities float32 (n_rows, n_labels) of scores (n_rows, n_labels)."""
    raised: F32 = np.exp(scores - scores.max(axis=1, keepdims=True))
    raised /= raised.sum(axis=1, keepdims=True)
    return raised


def confidence(said: F32, known: F32, n_known: I64, rules: Calibration, n_labels: int) -> F32:
    """Confidence float32 (n_rows,); `Calibration` has the formula.

    Args:
        said: float32 (n_rows,), softmax probability of the label.
        known: float32 (n_rows,), share of known words.
        n_known: int64 (n_rows,), known words.
        rules: how they combine.
        n_labels: of the model.
    """
    right = np.interp(said, rules.said_at, rules.right_at)
    reach = np.clip(2 * known / max(rules.outside_below, 1e-6) - 1, 0, 1)
    trust = reach * (n_known / (n_known + rules.pull))
    combined: F32 = (trust * right + (1 - trust) / n_labels).astype(np.float32)
    return combined


def _sums(packed: I64, slot: npt.NDArray[np.int32] | None, found: list[Segment], n_labels: int) -> I64:
    """Sum of each place over a row's features, int64 (n_rows, n_labels): n_labels - 1 scores, then the seen words."""
    places = np.empty((len(found[0].first), len(packed) * _PLACES), np.int64)
    columns = [segment.bucket if slot is None else slot[segment.bucket] for segment in found]
    long = np.flatnonzero(counts(found) > _LONG)
    for number, pack in enumerate(packed):
        total = np.zeros(len(places), np.int64)
        for segment, column in zip(found, columns, strict=True):
            running = np.empty(len(column) + 1, np.int64)
            running[0] = 0
            np.cumsum(pack.take(column, mode="clip"), out=running[1:])  # may wrap: only differences are used
            total += running[segment.end] - running[segment.first]
        here = places[:, number * _PLACES : (number + 1) * _PLACES]
        here[:] = _unpacked(total)
        for row in long:
            spans = zip(found, columns, strict=True)
            here[row] = sum(_unpacked(pack[column[s.first[row] : s.end[row]]]).sum(axis=0) for s, column in spans)
    return places[:, :n_labels]


def _unpacked(packed: I64) -> I64:
    """The three signed places of each value, int64 (n, 3)."""
    half = 1 << (_PLACE_BITS - 1)
    mask = (1 << _PLACE_BITS) - 1
    places = np.empty((len(packed), _PLACES), np.int64)
    for place in range(_PLACES):
        places[:, place] = ((packed + half) & mask) - half
        packed = (packed - places[:, place]) >> _PLACE_BITS
    return places
