"""The local model of a certified run: not known before the sample is, and then the same for every row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import polars as pl

from reviewopt.local.classifier import Classifier, Prediction


class Answerer(Protocol):
    """A model that answers normal forms with labels in an order of its own."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the predictions' indices."""

    def predict(self, form: pl.Series) -> Prediction:
        """Answer normal forms, String (n,)."""


class Learned:
    """Answers with `base` until `use` gives it a better one; without either it is sure of nothing.

    Its labels are the task's, in the task's order, whatever order the models have them in.
    """

    def __init__(self, labels: Sequence[str], base: Classifier | None) -> None:
        self.labels: Final = tuple(labels)
        self.base: Final = base
        self._model: Answerer | None = base

    @property
    def is_known(self) -> bool:
        """Whether there is a model to answer with."""
        return self._model is not None

    def use(self, model: Answerer | None) -> None:
        """Answer with another model from now on; None: with none."""
        self._model = model

    def predict(self, form: pl.Series) -> Prediction:
        """Answer normal forms, String (n,); confidence 0 where no model is known."""
        if self._model is None:
            n = len(form)
            nothing = np.zeros(n, np.float32)
            return Prediction(np.zeros(n, np.int16), nothing, nothing, np.zeros(n, np.bool_))
        said = self._model.predict(form)
        if self._model.labels == self.labels:
            return said
        places = np.array([self.labels.index(name) for name in self._model.labels], np.int16)
        return Prediction(places[said.label], said.confidence, said.known, said.outside)
