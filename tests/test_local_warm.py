"""reviewopt.local.warm: a sample of the reference's answers corrects the model that was there before."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from reviewopt.errors import InputError
from reviewopt.local import calibrate, solver, train, warm
from reviewopt.local.calibrate import Prior
from reviewopt.local.classifier import Classifier, softmax
from reviewopt.local.features import Plan
from reviewopt.local.held import Held, calibration_error
from reviewopt.local.warm import Fitted

KNOWN = {
    "angry": "broken refund terrible awful scam rude late",
    "happy": "love great perfect excellent wonderful fast kind",
    "puzzled": "how why manual unclear question which confusing",
}
SLANG = {
    "angry": "janky borked naff trash mid",
    "happy": "banger peng goated fire slaps",
    "puzzled": "huh wut whatnow eh hmmm",
}
LABELS = list(KNOWN)
FILLER = ["the", "it", "was", "i", "my", "phone", "box", "day", "case", "shop", "and", "for", "with", "this", "that"]


def table(n_rows: int, words: dict[str, str], seed: int = 0, noise: float = 0.1) -> pl.DataFrame:
    """Reviews of filler and one or two telling words; a share `noise` has any label."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n_rows):
        label = LABELS[i % 3]
        telling = rng.choice(words[label].split(), rng.integers(1, 3)).tolist()
        form = " ".join(rng.permutation([*rng.choice(FILLER, rng.integers(3, 12)).tolist(), *telling, f"n{i}s{seed}"]))
        rows.append((form, str(rng.choice(LABELS)) if rng.random() < noise else label))
    return pl.DataFrame(rows, schema={"form": pl.String, "label": pl.String}, orient="row")


@pytest.fixture(scope="module")
def base() -> Classifier:
    settings = train.Settings(word_bits=14, pair_bits=14, n_steps=25)
    return train.fit(table(2000, KNOWN), LABELS, task="mood", settings=settings).model


def fitted(frame: pl.DataFrame, base: Classifier | None, labels: list[str] = LABELS, seed: int = 0) -> Fitted:
    return warm.fit(frame["form"], frame["label"], labels, task="mood", base=base, seed=seed)


def accuracy(model: Classifier, frame: pl.DataFrame) -> float:
    said = np.array(model.labels)[model.predict(frame["form"]).label]
    return float((said == frame["label"].to_numpy()).mean())


def test_a_sample_teaches_the_words_of_its_table(base: Classifier) -> None:
    fresh = table(1000, SLANG, seed=9, noise=0)
    made = fitted(table(200, SLANG, seed=1), base)
    assert made.is_warm
    assert accuracy(base, fresh) < 0.5
    assert accuracy(made.model, fresh) > 0.9


def test_what_the_base_knows_is_kept_where_the_sample_does_not_speak_of_it(base: Classifier) -> None:
    fresh = table(1000, KNOWN, seed=9, noise=0)
    sample = pl.concat([table(60, KNOWN, seed=2), table(60, SLANG, seed=3)])
    warmed, cold = fitted(sample, base), fitted(sample, None)
    assert not cold.is_warm
    assert accuracy(warmed.model, fresh) > 0.97
    assert accuracy(warmed.model, fresh) > accuracy(cold.model, fresh) + 0.05


def test_a_hundred_rows_like_those_of_the_base_hardly_move_it(base: Classifier) -> None:
    fresh = table(1000, KNOWN, seed=9)
    made = fitted(table(100, KNOWN, seed=4), base)
    assert (made.model.predict(fresh["form"]).label == base.predict(fresh["form"]).label).mean() > 0.97


@pytest.mark.parametrize(
    ("is_warm", "noise"), [(True, 0.3), (False, 0.3), (False, 0.0)], ids=["warm", "cold", "cold-clear"]
)
def test_confidence_is_the_probability_that_the_reference_agrees(base: Classifier, is_warm: bool, noise: float) -> None:
    made = fitted(table(500, KNOWN, seed=5, noise=noise), base if is_warm else None)
    fresh = table(3000, KNOWN, seed=9, noise=noise)
    answer = made.model.predict(fresh["form"])
    right = np.array(LABELS)[answer.label] == fresh["label"].to_numpy()
    error = calibration_error(right, answer.confidence)
    assert error is not None
    assert error < 0.06
    assert abs(made.agreement - right.mean()) < 0.06


def test_the_surest_rows_can_be_told_apart(base: Classifier) -> None:
    fresh = table(1000, KNOWN, seed=9)
    confidence = fitted(table(300, KNOWN, seed=5), base).model.predict(fresh["form"]).confidence
    surest = np.sort(confidence)[-100:]
    assert len(np.unique(surest)) > 80


def test_a_label_that_is_rarer_here_is_answered_more_rarely(base: Classifier) -> None:
    mixed = table(900, KNOWN, seed=6, noise=0.5)
    rare = mixed.filter((pl.col("label") != "puzzled") | (pl.int_range(pl.len()) % 10 == 0))
    place = LABELS.index("puzzled")
    vague = pl.Series([" ".join(FILLER[i : i + 4]) for i in range(10)])
    line = fitted(rare, base).model
    score = softmax(line.scores(vague)[0] + line.calibration.offset)[:, place].mean()
    before = softmax(base.scores(vague)[0] * base.calibration.slope + base.calibration.offset)[:, place].mean()
    assert score < before / 2


def test_equal_calls_give_equal_models_and_rows_without_text_or_label_change_nothing(base: Classifier) -> None:
    sample = table(150, SLANG, seed=1)
    blank = pl.DataFrame({"form": ["", None, "fine phone"], "label": ["angry", "happy", None]})
    again = fitted(sample, base)
    assert fitted(sample, base).digest == again.digest
    assert fitted(pl.concat([sample, blank]), base).digest == again.digest
    assert fitted(sample, base, seed=1).digest != again.digest


def test_the_digest_changes_with_everything_that_decides_an_answer(base: Classifier) -> None:
    rules, weights, plan = base.calibration, base.weights, base.plan
    moved = weights.value.copy()
    moved[0, 0] += 1
    others = [
        replace(base, labels=tuple(reversed(base.labels))),
        replace(base, plan=replace(plan, fields=plan.fields[:-1])),
        replace(base, weights=replace(weights, value=moved)),
        replace(base, weights=replace(weights, bucket=weights.bucket + 1)),
        replace(base, weights=replace(weights, seen=~weights.seen)),
        replace(base, weights=replace(weights, scale=weights.scale * 2)),
        *(
            replace(base, calibration=replace(rules, **{name: getattr(rules, name) + 1}))
            for name in ("decision", "slope", "offset", "said_at", "right_at", "pull", "outside_below")
        ),
    ]
    digests = [warm.digest(model) for model in [base, *others]]
    assert len(set(digests)) == len(digests)
    assert warm.digest(replace(base, name="another")) == digests[0]


def test_labels_keep_the_order_of_the_run(base: Classifier) -> None:
    sample, fresh = table(150, KNOWN, seed=1), table(300, KNOWN, seed=9)
    turned = LABELS[::-1]
    one, other = fitted(sample, base).model, fitted(sample, base, turned).model
    assert other.labels == tuple(turned)
    assert accuracy(other, fresh) == pytest.approx(accuracy(one, fresh), abs=0.01)


def test_the_closest_model_answers_with_the_bases_most_probable_of_the_labels(base: Classifier) -> None:
    form = table(300, KNOWN, seed=9)["form"]
    near = warm.closest(base, ["puzzled", "angry"])
    assert near is not None
    assert near.labels == ("puzzled", "angry")
    probable = base.scores(form)[0] * base.calibration.slope + base.calibration.offset
    margin = probable[:, 2] - probable[:, 0]
    clear = np.abs(margin) > 0.3  # weights are rounded
    assert clear.mean() > 0.8
    assert (near.predict(form).label[clear] == (margin[clear] < 0)).all()


def test_a_base_in_another_order_says_the_same(base: Classifier) -> None:
    rules = base.calibration
    uneven = replace(base, calibration=replace(rules, slope=rules.slope * np.array([3, 1, 0.5], np.float32)))
    form = table(300, KNOWN, seed=9)["form"]
    turned = warm.closest(uneven, LABELS[::-1])
    assert turned is not None
    said = softmax(uneven.scores(form)[0] * uneven.calibration.slope + rules.offset)
    again = softmax(turned.scores(form)[0] * turned.calibration.slope + turned.calibration.offset)
    assert again[:, ::-1] == pytest.approx(said, abs=0.03)  # weights are rounded


def test_the_offset_and_the_words_of_the_base_are_kept(base: Classifier) -> None:
    away = replace(base, calibration=replace(base.calibration, offset=np.array([3, -3, 0], np.float32)))
    form = table(600, KNOWN, seed=7)["form"]
    probable = np.argmax(base.scores(form)[0] * away.calibration.slope + away.calibration.offset, axis=1)
    frame = pl.DataFrame({"form": form, "label": np.array(LABELS)[probable]})
    assert accuracy(fitted(frame[:100], away).model, frame[100:]) > 0.95
    known = fitted(table(100, SLANG, seed=1), base).model.predict(form).known
    assert (known >= base.predict(form).known).all()


def test_a_base_that_lacks_a_label_is_no_start(base: Classifier) -> None:
    assert warm.closest(base, LABELS) is base
    assert warm.closest(base, ["angry", "bored"]) is None
    sample = table(120, KNOWN, seed=1).with_columns(pl.col("label").str.replace("puzzled", "bored"))
    made = fitted(sample, base, ["angry", "happy", "bored"])
    assert not made.is_warm
    assert made.model.labels == ("angry", "happy", "bored")


def test_a_subset_of_the_bases_labels_is_warmed(base: Classifier) -> None:
    pair = ["happy", "angry"]
    fresh = table(900, KNOWN, seed=9, noise=0).filter(pl.col("label").is_in(pair))
    made = fitted(table(90, KNOWN, seed=1, noise=0).filter(pl.col("label").is_in(pair)), base, pair)
    assert made.is_warm
    assert accuracy(made.model, fresh) > 0.97


def test_copies_are_never_learned_by_heart() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(FILLER, 8)) + f" n{i}" for i in range(60)]
    label = rng.choice(["a", "b"], 60).tolist()
    marks = ["", " !", " .", " ...", " ?"]
    copies = pl.DataFrame({"form": [t + mark for mark in marks for t in texts], "label": label * len(marks)})
    assert fitted(copies, None, ["a", "b"]).agreement < 0.7  # a coin's, within noise


def test_each_row_counts_as_often_as_it_occurs(base: Classifier) -> None:
    clear = table(120, KNOWN, seed=1, noise=0)
    wrong = pl.DataFrame({"form": ["love great perfect excellent"] * 40, "label": ["angry"] * 40})
    assert fitted(pl.concat([clear, wrong[:1]]), base).agreement > 0.95
    assert fitted(pl.concat([clear, wrong]), base).agreement < 0.85


def test_a_sample_of_one_text_can_be_fitted(base: Classifier) -> None:
    frame = pl.DataFrame({"form": ["love it"] * 60, "label": ["happy"] * 50 + ["angry"] * 10})
    for start in (base, None):
        made = fitted(frame, start)
        assert 0 <= made.agreement <= 1
        assert np.isfinite(made.model.predict(frame["form"]).confidence).all()


def test_a_rare_or_absent_label_is_no_reason_to_refuse(base: Classifier) -> None:
    sample = table(150, KNOWN, seed=1, noise=0).filter(pl.col("label") != "puzzled")
    one = pl.concat([sample, pl.DataFrame({"form": ["how why unclear"], "label": ["puzzled"]})])
    for start in (base, None):
        assert fitted(one, start).model.labels == tuple(LABELS)
        assert fitted(sample, start).agreement > 0.8


@pytest.mark.parametrize(
    ("n_rows", "labels", "message"),
    [
        pytest.param(40, LABELS, "at least 50", id="few"),
        pytest.param(90, ["angry", "happy"], "'puzzled'", id="unknown"),
        pytest.param(90, ["angry"], "2 to 255", id="no-choice"),
    ],
)
def test_what_cannot_be_fitted_is_refused(base: Classifier, n_rows: int, labels: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fitted(table(n_rows, KNOWN), base, labels)


def test_one_label_only_is_refused(base: Classifier) -> None:
    with pytest.raises(InputError, match="1 of 3 labels"):
        fitted(table(300, KNOWN, noise=0).filter(pl.col("label") == "happy"), base)


def test_scores_that_explain_the_labels_leave_nothing_to_fit() -> None:
    frame = table(300, SLANG, seed=1, noise=0)
    label = frame["label"].replace_strict(LABELS, range(3), return_dtype=pl.Int64).to_numpy()
    matrix = solver.count_matrix(frame["form"], Plan(("pairs",), 12, 12))
    share = np.eye(3, dtype=np.float32)[label]

    def size(offset: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None) -> float:
        targets = solver.Targets(share, np.ones(300, np.float32), offset)
        made = solver.train(matrix, targets, strength=1.0, min_rows=2, max_features=10_000, n_steps=20)
        return float(np.abs(made.weight).max())

    assert size(share * 20) < 0.01 * size(None)
    assert size(np.zeros_like(share)) == size(None)


def test_few_rows_are_solved_to_the_same_weights() -> None:
    frame = pl.concat([table(200, SLANG, seed=1)] * 2)  # copies make the rows' products singular
    label = frame["label"].replace_strict(LABELS, range(3), return_dtype=pl.Int64).to_numpy()
    matrix = solver.count_matrix(frame["form"], Plan(("pairs",), 12, 12))
    rng = np.random.default_rng(0)
    offset = rng.normal(size=(400, 3)).astype(np.float32)
    targets = solver.Targets(np.eye(3, dtype=np.float32)[label], np.ones(400, np.float32), offset)
    one, other = (
        solver.train(matrix, targets, strength=1.0, min_rows=2, max_features=10_000, n_steps=200, few_rows=few)
        for few in (False, True)
    )
    assert len(one.bucket) > 400
    assert other.weight == pytest.approx(one.weight, abs=0.02 * float(np.abs(one.weight).max()))
    assert other.bias == pytest.approx(one.bias, abs=0.02)


def test_a_strong_prior_leaves_the_scores_as_they_are() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 400)
    scores = (np.eye(3)[label] * 2 + rng.normal(size=(400, 3))).astype(np.float32)
    nothing = np.zeros(400, np.int64)
    held = Held(scores, label, np.ones(400), nothing, np.ones(400, np.float32), nothing + 9)
    start = np.array([0.5, -0.5, 0.0], np.float32)
    slope, offset = calibrate.scaled(held, start, Prior(1e6, 1e6, 1e6))
    assert slope == pytest.approx(np.ones(3), abs=0.01)
    assert offset == pytest.approx(start, abs=0.01)
    slope, _ = calibrate.scaled(held, start, Prior(1e4, 0.1, 1.0))
    assert slope.mean() == pytest.approx(1, abs=0.02)
    slope, _ = calibrate.scaled(held, start, Prior(0.0, 1e6, 1.0))
    assert slope.min() > 1.5
    assert slope == pytest.approx(np.full(3, slope.mean()), abs=0.01)


def test_the_sample_grows_with_the_table_and_stays_a_small_part_of_it() -> None:
    for has_base, most in ((True, 0.04), (False, 0.25)):
        sizes = {n: warm.train_size(n, has_base=has_base) for n in (0, 100, 2_499, 2_500, 10_000, 100_000, 10**7)}
        assert list(sizes.values()) == sorted(sizes.values())
        assert all(size <= most * n for n, size in sizes.items())
        assert sizes[100_000] == sizes[10**7]
    assert warm.train_size(10_000, has_base=True) < warm.train_size(10_000, has_base=False)
    assert warm.train_size(2_499, has_base=True) == 0
