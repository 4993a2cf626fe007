"""The local model of a certified run is one model for every row, or none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from fakes import LABELS

from reviewopt.cli import opening
from reviewopt.config import load_task
from reviewopt.local.classifier import Classifier, Prediction
from reviewopt.local.learned import Learned

FORM = pl.Series("form", ["love it", "awful and broken", "it is a lamp", "not bad at all", "returned it"])


class Says:
    """Says of each text a label of its own order."""

    def __init__(self, labels: tuple[str, ...], said: tuple[str, ...]) -> None:
        self.labels = labels
        self._said = said

    def predict(self, form: pl.Series) -> Prediction:
        n = len(form)
        label = np.array([self.labels.index(name) for name in self._said[:n]], np.int16)
        confidence = np.linspace(0.4, 0.9, n).astype(np.float32)
        return Prediction(label, confidence, np.ones(n, np.float32), np.arange(n) % 2 == 0)


@pytest.fixture(scope="module")
def base() -> Classifier:
    return opening.local_model("", load_task("sentiment"))[0]


def test_without_a_model_it_is_sure_of_nothing() -> None:
    learned = Learned(LABELS, None)
    assert not learned.is_known
    said = learned.predict(FORM)
    assert said.label.shape == said.confidence.shape == said.known.shape == said.outside.shape == (len(FORM),)
    assert not said.confidence.any()
    assert not said.outside.any()


def test_it_answers_with_its_base_until_it_is_given_another(base: Classifier) -> None:
    learned = Learned(base.labels, base)
    assert learned.is_known
    assert learned.base is base
    np.testing.assert_array_equal(learned.predict(FORM).confidence, base.predict(FORM).confidence)
    learned.use(Says(base.labels, base.labels[:1] * len(FORM)))
    assert set(learned.predict(FORM).label.tolist()) == {0}
    assert learned.base is base


def test_a_model_can_be_taken_back(base: Classifier) -> None:
    learned = Learned(base.labels, base)
    learned.use(None)
    assert not learned.is_known
    assert not learned.predict(FORM).confidence.any()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=["as they are", "turned round", "shifted"])
def test_labels_of_another_order_are_mapped_by_their_names(order: tuple[int, ...]) -> None:
    said = ("positive", "negative", "neutral", "negative", "positive")
    model = Says(tuple(LABELS[at] for at in order), said)
    learned = Learned(LABELS, None)
    learned.use(model)
    mapped, own = learned.predict(FORM), model.predict(FORM)
    assert learned.labels == LABELS
    assert tuple(learned.labels[code] for code in mapped.label.tolist()) == said
    for name in ("confidence", "known", "outside"):
        np.testing.assert_array_equal(getattr(mapped, name), getattr(own, name))


def test_an_answer_hangs_on_its_own_text_alone_to_the_last_bit(base: Classifier) -> None:
    """CAL proves the order of the confidences: a copy must not have another one because of what it stands beside."""
    learned = Learned(LABELS, base)
    texts = [
        f"{word} {at} times, it is {other}"
        for at in range(120)
        for word, other in (("great", "broken"), ("awful", "fine"))
    ]
    form = pl.Series("form", texts)
    whole = learned.predict(form)
    alone = np.concatenate([learned.predict(form[at : at + 1]).confidence for at in range(len(form))])
    turned = learned.predict(form.reverse()).confidence[::-1]
    np.testing.assert_array_equal(whole.confidence, alone)
    np.testing.assert_array_equal(whole.confidence, turned)
