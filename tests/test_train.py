"""reviewopt.local.train: a model from labelled reviews, small or large, the same every time."""

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from reviewopt.errors import InputError
from reviewopt.local import card, examples, recipe, train
from reviewopt.local.classifier import Classifier
from reviewopt.local.held import calibration_error, parts
from reviewopt.local.train import Settings, Trained, fit

MOODS = {
    "angry": "broken refund terrible awful scam rude late",
    "happy": "love great perfect excellent wonderful fast kind",
    "puzzled": "how why manual unclear question which confusing",
    "bored": "okay average fine meh ordinary usual plain",
    "sad": "disappointed sorry miss regret unfortunately cry lost",
}
FILLER = ["the", "it", "was", "i", "my", "phone", "box", "day", "case", "shop", "and", "for", "with", "this", "that"]
QUICK = Settings(word_bits=14, pair_bits=14, n_steps=25)


def table(n_rows: int, labels: list[str], seed: int = 0, noise: float = 0.1) -> pl.DataFrame:
    """Synthetic reviews: filler, one or two telling words, and some labels that contradict them."""
    rng = np.random.default_rng(seed)
    forms, said = [], []
    for i in range(n_rows):
        label = labels[i % len(labels)]
        telling = rng.choice(MOODS[label].split(), rng.integers(1, 3)).tolist()
        words = rng.permutation([*rng.choice(FILLER, rng.integers(3, 12)).tolist(), *telling, f"n{i}"])
        forms.append(" ".join(words))
        said.append(rng.choice(labels) if rng.random() < noise else label)
    return pl.DataFrame({"form": forms, "label": said}, schema={"form": pl.String, "label": pl.String})


def trained(n_rows: int, labels: list[str], **settings: object) -> Trained:
    return fit(table(n_rows, labels), labels, task="mood", settings=QUICK, **settings)  # type: ignore[arg-type]


def accuracy(model: Classifier, frame: pl.DataFrame) -> float:
    said = np.array(model.labels)[model.predict(frame["form"]).label]
    return float((said == frame["label"].to_numpy()).mean())


@pytest.mark.parametrize("n_labels", [2, 3, 5])
def test_three_hundred_rows_make_a_sensible_model(n_labels: int) -> None:
    labels = list(MOODS)[:n_labels]
    made = trained(300, labels)
    fresh = table(1000, labels, seed=9, noise=0)
    assert accuracy(made.model, fresh) > 0.85
    assert made.model.labels == tuple(labels)
    assert made.card["validation"]["n"] == 300
    assert made.card["validation"]["accuracy"]["value"] > 0.6


def test_confidence_of_a_small_model_is_calibrated() -> None:
    labels = list(MOODS)[:3]
    fresh = table(3000, labels, seed=9)
    model = trained(600, labels).model
    answer = model.predict(fresh["form"])
    right = np.array(model.labels)[answer.label] == fresh["label"].to_numpy()
    error = calibration_error(right, answer.confidence)
    assert error is not None
    assert error < 0.1
    assert abs(answer.confidence.mean() - right.mean()) < 0.08


def test_equal_calls_give_equal_bytes_and_another_seed_another_split(tmp_path: Path) -> None:
    labels = ["angry", "happy"]
    for name in ("a", "b"):
        trained(300, labels).model.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    form = table(300, labels)["form"]
    assert (parts(form, 5, 0) != parts(form, 5, 1)).any()


def test_copies_never_fall_into_different_parts() -> None:
    form = pl.Series(["great phone", "wow!\ngreat phone", "great phone!!", "great  phone.", "other\ngreat-phone"])
    assert len(set(parts(form, 1000, 0).tolist())) == 1
    assert len(set(parts(pl.Series([f"text {i}" for i in range(50)]), 1000, 0).tolist())) > 40


def test_copies_with_one_label_count_once() -> None:
    frame = table(200, ["angry", "happy"])
    assert fit(pl.concat([frame] * 3), ["angry", "happy"], task="mood", settings=QUICK).card["data"]["distinct"] == 200


def test_a_label_without_rows_is_never_more_likely_than_chance() -> None:
    model = fit(table(300, ["angry", "happy"]), ["angry", "happy", "puzzled"], task="mood", settings=QUICK).model
    assert not (model.predict(table(100, ["angry", "happy"], seed=3)["form"]).label == 2).any()


def test_many_labels() -> None:
    labels = [f"topic{i:03}" for i in range(255)]
    form = [f"{label} {FILLER[i]} n{i}" for i in range(6) for label in labels]
    frame = pl.DataFrame({"form": form, "label": labels * 6})
    made = fit(frame, labels, task="topic", settings=Settings(word_bits=14, pair_bits=12, n_steps=8, fields=()))
    assert accuracy(made.model, frame) > 0.9


def test_rows_above_the_limit_are_sampled_by_the_seed() -> None:
    reviews = pl.DataFrame({"form": [f"review {at}" for at in range(300)], "label": ["a", "b"] * 150})
    kept = examples.sampled(reviews, 0, max_rows=150)
    assert (len(kept), kept["form"].n_unique()) == (150, 150)
    assert kept.equals(examples.sampled(reviews, 0, max_rows=150))
    assert not kept.equals(examples.sampled(reviews, 1, max_rows=150))
    assert examples.sampled(reviews, 0, max_rows=300).equals(reviews)


@pytest.mark.parametrize(
    ("frame", "labels", "message"),
    [
        (table(60, ["angry", "happy"]), ["angry", "sad"], "'happy'"),
        (table(60, ["angry", "happy"]), ["angry"], "labels: 1; a local model needs 2 to 255"),
        (table(60, ["angry", "happy"]), ["angry", "angry"], "distinct"),
        (table(60, ["angry"]), ["angry", "happy"], "holds 1 of 2 labels"),
        (table(20, ["angry", "happy"]), ["angry", "happy"], "labelled reviews: 20; training needs at least 50"),
        (table(60, ["angry", "happy"]).with_columns(form=pl.lit("")), ["angry", "happy"], "holds 0 of 2 labels"),
        (
            pl.concat([table(60, ["angry"]), table(2, ["happy"])]),
            ["angry", "happy"],
            "label 'happy': 2 reviews; each label in use needs at least 5",
        ),
    ],
)
def test_tables_that_cannot_be_learned_from_are_refused(frame: pl.DataFrame, labels: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        fit(frame, labels, task="mood", settings=QUICK)
    assert message in str(caught.value)


def test_null_labels_and_empty_texts_are_left_out() -> None:
    frame = pl.concat(
        [table(100, ["angry", "happy"]), pl.DataFrame({"form": ["x", "", None], "label": [None, "angry", "happy"]})]
    )
    assert fit(frame, ["angry", "happy"], task="mood", settings=QUICK).card["data"]["labelled"] == 100


RECIPE = """
name = "mood"
task = "mood"
labels = ["negative", "neutral", "positive"]
languages = ["en"]
seed = 0
n_parts = 10
test_part = 9

[settings]
word_bits = 14
pair_bits = 14
n_steps = 15

[[tables]]
file = "shop.parquet"
title = "title"
stars = "rating"
category = "category"
mix = { negative = 0.3, neutral = 0.1, positive = 0.6 }

[[tests]]
file = "fresh.parquet"
label = "label"
"""
STARS = {"angry": 1, "sad": 2, "bored": 3, "happy": 5}
NAMES = {"angry": "negative", "bored": "neutral", "happy": "positive"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    shop = table(800, list(STARS)).with_row_index()
    shop.select(
        text="form",
        title=pl.when(pl.col("index") % 2 == 0).then(pl.lit("My title")),
        rating=pl.col("label").replace_strict(STARS, return_dtype=pl.Int8),
        category=pl.lit("toys"),
    ).write_parquet(tmp_path / "shop.parquet")
    fresh = table(90, list(NAMES), seed=5).select(text="form", label=pl.col("label").replace_strict(NAMES))
    fresh.write_parquet(tmp_path / "fresh.parquet")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def test_the_program_rebuilds_the_same_weights_and_tells_what_it_did(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["--recipe", str(data / "recipe.toml"), "--data", str(data), "-o", str(data / "out"), "--figures", "none"]
    assert train.main(call) == 0
    weights = data / "out" / "mood.npz"
    before = weights.read_bytes()
    assert train.main(call) == 0
    assert weights.read_bytes() == before
    assert str(weights) in capsys.readouterr().out
    told = msgspec.json.decode((data / "out" / "mood.card.json").read_bytes())
    assert told["schema_version"] == 1
    assert told["weights"]["rebuilt_byte_for_byte"] is True
    assert told["held_out"]["fresh.parquet"]["n"] == 90
    assert told["held_out"]["shop.parquet"]["by_category"]["toys"]["n"] == told["tables"][0]["rows_held_out"]
    assert told["benchmark"] is None
    assert "rebuilt byte for byte" in (data / "out" / "MODEL_CARD.md").read_text()
    assert Classifier.load(weights).labels == ("negative", "neutral", "positive")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seed = 0", "sead = 0"), "sead"),
        (('file = "shop.parquet"', 'file = "none.parquet"'), "none.parquet"),
        (('stars = "rating"', 'stars = "sterne"'), "sterne"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(
    change: tuple[str, str], message: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "recipe.toml").write_text(RECIPE.replace(*change))
    assert train.main(["--recipe", str(data / "recipe.toml"), "--data", str(data), "-o", str(data / "out")]) == 2
    assert message in capsys.readouterr().err


def test_the_committed_recipe_and_card_belong_together() -> None:
    root = Path(train.__file__).parents[2]
    written = recipe.read(root / "configs" / "local" / "sentiment.toml")
    told = msgspec.json.decode((root / "reviewopt" / "local" / "weights" / "sentiment.card.json").read_bytes())
    assert told["labels"] == written.labels
    assert told["settings"]["strength"] == written.settings.strength
    assert [table["file"] for table in told["tables"]] == [t.file for t in (*written.tables, *written.tests)]
    assert card.rendered(told) == (root / "reviewopt" / "local" / "weights" / "MODEL_CARD.md").read_text()
