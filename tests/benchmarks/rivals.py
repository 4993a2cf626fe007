"""What the packaged classifier is compared with: VADER, TextBlob and fastText, each behind the same two functions.

How scores become labels. VADER: positive from a compound score of .05, negative to -.05, neutral between, as its README
says ("About the Scoring"). TextBlob documents a polarity from -1 to 1 and no thresholds: VADER's are used. Without
neutral (binary) both go by the sign, 0 is positive. fastText: the most probable label; binary, the more probable one of
positive and negative.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata, resources
from pathlib import Path
from typing import Any

import machine
import numpy as np
import numpy.typing as npt
import polars as pl

LABELS = ("negative", "neutral", "positive")
NEGATIVE, NEUTRAL, POSITIVE = range(3)
THRESHOLD = 0.05
# Of five settings the best on 10,000 held-out rows of the Amazon tables (accuracy / macro-F1): these .922 / .746;
# fastText's defaults .904 / .690; dim=50 and 200,000 buckets .921 / .742; its tutorial's lr=1.0, epoch=25 .920 / .748.
FASTTEXT = {"wordNgrams": 2, "lr": 0.5, "epoch": 5, "dim": 20, "bucket": 1_000_000, "seed": 0}
FASTTEXT_CUTOFF = 100_000

Reviews = tuple[pl.Series, pl.Series]
Labels = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Peer:
    """One classifier, ready to label reviews given as title and text, both String (n_reviews,).

    Attributes:
        name: as in the table.
        version: of its package.
        size_bytes: of the files that its answers come from.
        trained_on: in words.
        label: to int64 (n_reviews,), places in LABELS.
        positive: to bool (n_reviews,), whether it would say positive if it could not say neutral.
    """

    name: str
    version: str
    size_bytes: int
    trained_on: str
    label: Callable[[Reviews], Labels]
    positive: Callable[[Reviews], Flags]


def joined(reviews: Reviews) -> list[str]:
    """Title and text as one sentence after the other, as a person would paste them."""
    both = pl.DataFrame(dict(zip(("title", "text"), reviews, strict=True)))
    return both.select(pl.concat_str(pl.col("title") + ". ", "text", ignore_nulls=True)).to_series().to_list()


def lexicon(name: str, package: str, files: tuple[str, ...], polarity: Callable[[str], float]) -> Peer:
    """A peer that gives a text a polarity from -1 to 1."""

    def polarities(reviews: Reviews) -> npt.NDArray[np.float64]:
        return np.array([polarity(text) for text in joined(reviews)])

    def label(reviews: Reviews) -> Labels:
        found = polarities(reviews)
        return np.where(found >= THRESHOLD, POSITIVE, np.where(found <= -THRESHOLD, NEGATIVE, NEUTRAL))

    size = package_bytes(package, files)
    return Peer(name, metadata.version(package), size, "nothing", label, lambda reviews: polarities(reviews) >= 0)


def package_bytes(package: str, files: tuple[str, ...]) -> int:
    """Size of data files inside an installed package."""
    return sum(len(resources.files(package).joinpath(name).read_bytes()) for name in files)


def vader() -> Iterator[Peer]:
    """VADER: a lexicon and rules."""
    analyzer = import_module("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()
    files = ("vader_lexicon.txt", "emoji_utf8_lexicon.txt")
    yield lexicon("VADER", "vaderSentiment", files, lambda text: float(analyzer.polarity_scores(text)["compound"]))


def textblob() -> Iterator[Peer]:
    """TextBlob with its default analyzer, which needs no corpora."""
    blob = import_module("textblob").TextBlob
    yield lexicon("TextBlob", "textblob", ("en/en-sentiment.xml",), lambda text: float(blob(text).sentiment.polarity))


def fasttext_lines(reviews: Reviews) -> list[str]:
    """One line a review as fastText's tutorial prepares it: small letters, punctuation apart."""
    one = pl.Series(joined(reviews), dtype=pl.String).str.to_lowercase()
    return one.str.replace_all(r"([.!?,'/()])", " ${1} ").str.replace_all(r"\s+", " ").to_list()


def fasttext(name: str, examples: list[tuple[Reviews, Labels]], trained_on: str, scratch: Path) -> Iterator[Peer]:
    """FastText trained on labelled tables, first as it is, then quantised."""
    package = import_module("fasttext")
    lines: list[str] = []
    for reviews, truth in examples:
        labelled = zip(truth, fasttext_lines(reviews), strict=True)
        lines += [f"__label__{LABELS[place]} {line}" for place, line in labelled]
    # It learns in the order of the file, and not every table has neutral reviews.
    random.Random(0).shuffle(lines)
    file = scratch / "train.txt"
    file.write_text("\n".join(lines), encoding="utf-8")
    model = package.train_supervised(str(file), thread=1, verbose=0, **FASTTEXT)
    model.save_model(str(scratch / "model.bin"))
    yield fasttext_peer(name, model, scratch / "model.bin", trained_on)
    model.quantize(str(file), qnorm=True, cutoff=FASTTEXT_CUTOFF, retrain=True, thread=1, verbose=0)
    model.save_model(str(scratch / "model.ftz"))
    yield fasttext_peer(f"{name}, quantised", model, scratch / "model.ftz", trained_on)


def fasttext_peer(name: str, model: Any, file: Path, trained_on: str) -> Peer:
    """A trained fastText model as a peer."""

    # Lists of lines only: with a single line, fastText 0.9 fails under numpy 2.
    def label(reviews: Reviews) -> Labels:
        found, _ = model.predict(fasttext_lines(reviews))
        return np.array([LABELS.index(labels[0].removeprefix("__label__")) for labels in found])

    def positive(reviews: Reviews) -> Flags:
        found, _ = model.predict(fasttext_lines(reviews), k=len(LABELS))
        outer = [[one for one in labels if one != "__label__neutral"] for labels in found]
        return np.array([labels[0] == "__label__positive" for labels in outer])

    installed = machine.versions(("fasttext", "fasttext-wheel"))
    version = installed["fasttext"] or installed["fasttext-wheel"] or "unknown"
    return Peer(name, version, file.stat().st_size, trained_on, label, positive)
