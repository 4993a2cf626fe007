"""reviewopt.local.classifier and its model file."""

import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewopt.errors import InputError
from reviewopt.local import classifier, modelfile
from reviewopt.local.classifier import Calibration, Classifier, Prediction, Weights, assemble
from reviewopt.local.features import Plan, segments
from reviewopt.text import grams

WORDS = [
    "good",
    "bad",
    "great",
    "awful",
    "not",
    "fine",
    "the",
    "it",
    "!",
    "?",
    "zzz",
    "很",
    "好",
    "\n",
    "’",
    "\0",
    "😀",
    "",
]
ROW = st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join) | st.text(max_size=40)
ROWS = st.lists(ROW, max_size=10)


def random_model(n_labels: int, fields: tuple[str, ...] = modelfile.FIELDS, n_features: int = 4000) -> Classifier:
    """Weights without sense in a small table, so that most features are known and many collide."""
    rng = np.random.default_rng(n_labels)
    plan = Plan(fields, 11, 12)
    bucket = np.sort(rng.choice(plan.n_buckets, n_features, replace=False))
    value = rng.integers(-127, 128, (n_labels - 1, n_features)).astype(np.int8)
    scale = np.full(n_labels - 1, 0.05, np.float32)
    flat = np.zeros(n_labels, np.float32)
    line = np.array([0, 1], np.float32)
    return assemble(
        name="local",
        task="mood",
        labels=tuple(f"label {i}" for i in range(n_labels)),
        languages=("en",),
        plan=plan,
        weights=Weights(bucket, value, bucket < (1 << plan.word_bits), scale),
        calibration=Calibration(flat, flat + 1, flat, line, line, 0.5, 0.5),
    )


def rows_of(prediction: Prediction) -> list[tuple[int, float, float, bool]]:
    columns = (prediction.label, prediction.confidence, prediction.known, prediction.outside)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def predicted(model: Classifier, rows: list[str]) -> list[tuple[int, float, float, bool]]:
    return rows_of(model.predict(pl.Series(rows, dtype=pl.String)))


def assert_plain_sum(model: Classifier, rows: list[str]) -> None:
    """The scores are what adding up weights one by one gives."""
    form = pl.Series(rows, dtype=pl.String)
    value = np.zeros((len(model.labels), model.plan.n_buckets))
    value[1:, model.weights.bucket] = model.weights.value * model.weights.scale[:, None]
    found = segments(grams.join(form), model.plan)
    for i, score in enumerate(model.scores(form)[0]):
        bucket = np.concatenate([segment.bucket[segment.first[i] : segment.end[i]] for segment in found])
        expected = value[:, bucket].sum(axis=1) / np.sqrt(max(len(bucket), 1))
        np.testing.assert_allclose(score, expected - expected.mean(), rtol=1e-4, atol=2e-3)


MODELS = {n: random_model(n) for n in (2, 3, 5, 255)}
SHIPPED = classifier.packaged()


@pytest.mark.parametrize("n_labels", MODELS)
@given(rows=ROWS, cut=st.integers(0, 10))
@settings(max_examples=25, deadline=None)
def test_a_row_is_predicted_alike_in_any_company_and_order(n_labels: int, rows: list[str], cut: int) -> None:
    model = MODELS[n_labels]
    together = predicted(model, rows)
    assert together == predicted(model, rows[:cut]) + predicted(model, rows[cut:])
    assert together == predicted(model, rows[::-1])[::-1]
    assert together == [predicted(model, [row])[0] for row in rows]


def test_batches_are_invisible() -> None:
    rows = [f"{WORDS[i % len(WORDS)]} word{i} great\nnot it{i % 7}" for i in range(2 * classifier.BATCH_ROWS + 5)]
    whole = predicted(SHIPPED, rows)
    assert whole == [row for i in range(0, len(rows), 999) for row in predicted(SHIPPED, rows[i : i + 999])]


@pytest.mark.parametrize("n_labels", MODELS)
@given(rows=ROWS)
@settings(max_examples=12, deadline=None)
def test_scores_are_the_plain_sum_of_the_weights(n_labels: int, rows: list[str]) -> None:
    assert_plain_sum(MODELS[n_labels], rows)


@pytest.mark.parametrize("n_labels", MODELS)
def test_a_very_long_text_does_not_overflow_its_place(n_labels: int) -> None:
    rng = np.random.default_rng(0)
    long = " ".join(rng.choice(["good", "bad", "great"], 30_000, p=[0.9, 0.05, 0.05]))
    assert_plain_sum(MODELS[n_labels], ["short", long, "it", long])


def test_no_rows_give_no_predictions() -> None:
    assert predicted(SHIPPED, []) == []


@pytest.mark.parametrize("text", ["", " ", "\0", "..."])
def test_a_text_of_which_nothing_is_known_is_as_sure_as_a_guess(text: str) -> None:
    ((_, confidence, known, outside),) = predicted(SHIPPED, [text])
    assert confidence == pytest.approx(1 / 3)
    assert known == 0
    assert outside


def test_null_counts_as_empty() -> None:
    assert rows_of(SHIPPED.predict(pl.Series([None], dtype=pl.String))) == predicted(SHIPPED, [""])


@given(ROWS)
@settings(max_examples=30, deadline=None)
def test_confidence_is_a_probability(rows: list[str]) -> None:
    for _, confidence, known, _ in predicted(SHIPPED, rows):
        assert 0 <= confidence <= 1
        assert 0 <= known <= 1


def test_unknown_words_lower_the_confidence() -> None:
    sure, unsure = predicted(SHIPPED, ["great product, works perfectly", "great qzxv wqjx zzvq xqwz vkqj qqzx"])
    assert sure[1] > unsure[1]
    assert sure[2] > unsure[2]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("great product\nworks perfectly and i love it", "positive"),
        ("waste of money\nbroke after two days, would not buy again", "negative"),
        ("not good at all", "negative"),
        ("terrible service, never again!!", "negative"),
        ("excellent quality, highly recommended", "positive"),
    ],
)
def test_the_packaged_model_knows_plain_cases(text: str, label: str) -> None:
    ((index, confidence, _, outside),) = predicted(SHIPPED, [text])
    assert SHIPPED.labels[index] == label
    assert confidence > 0.6
    assert not outside


ENGLISH = [
    "i bought this for my son and he loves it, the sound is clear and the battery lasts long",
    "the book was a bit slow in the middle but the ending made up for it",
    "arrived late and the box was damaged, customer service did not answer my emails",
    "nice", "worth every penny", "it is ok", "do not waste your money on this cheap cable",
]  # fmt: skip
FOREIGN = [
    "商品の到着が遅くて、箱も壊れていました。もう買いません。", "とても使いやすくて気に入りました。音も良いです。",
    "质量很差，用了两天就坏了，不建议购买", "非常好用，物流也很快，下次还会再来",
    "배송이 빠르고 품질이 아주 좋아요", "Отличный товар, быстро доставили, рекомендую".casefold(),
    "המוצר מצוין ואני ממליץ עליו", "المنتج ممتاز وأنصح به الجميع", "สินค้าดีมาก ส่งเร็ว",
]  # fmt: skip


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_inside_the_packaged_languages(text: str) -> None:
    assert not predicted(SHIPPED, [text])[0][3]


@pytest.mark.parametrize("text", FOREIGN)
def test_other_scripts_are_outside_and_unsure(text: str) -> None:
    _, confidence, _, outside = predicted(SHIPPED, [text])[0]
    assert outside
    assert confidence < 0.7


@pytest.mark.parametrize("n_labels", MODELS)
def test_a_saved_model_is_the_same_and_so_are_its_bytes(n_labels: int, tmp_path: Path) -> None:
    model = MODELS[n_labels]
    model.save(tmp_path / "a.npz")
    again = Classifier.load(tmp_path / "a.npz")
    again.save(tmp_path / "b.npz")
    rows = ["good it great", "", "awful zzz\nnot fine"]
    assert predicted(again, rows) == predicted(model, rows)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_the_packaged_file_is_small() -> None:
    path = Path(classifier.__file__).parent / "weights" / "sentiment.npz"
    assert path.stat().st_size <= 2_500_000


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def stored(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=True, **arrays)
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        Classifier.load(path)
    return str(caught.value)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    random_model(3).save(tmp_path / "model.npz")
    return tmp_path / "model.npz"


class Trap:
    """Unpickling this fails the test."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("a model file was unpickled",)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.npz")


@pytest.mark.parametrize("body", [b"", b"PK", b"not a model", b"\x80\x04N.", pickle.dumps(Trap())])
def test_foreign_files_are_refused(body: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.npz").write_bytes(body)
    assert "not a reviewopt model" in refused(tmp_path / "model.npz")


def test_pickled_arrays_are_refused_and_never_run(saved: Path) -> None:
    trapped = np.array([Trap()], dtype=object)
    for name in arrays_of(saved):
        assert "model" in refused(stored(saved.with_name(f"{name}.npz"), arrays_of(saved) | {name: trapped}))


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_refused_or_without_effect(saved: Path, place: float, bit: int) -> None:
    whole = saved.read_bytes()
    broken = bytearray(whole)
    broken[int(place * len(whole))] ^= 1 << bit
    other = saved.with_name("broken.npz")
    other.write_bytes(broken)
    try:
        model = Classifier.load(other)
    except InputError:
        return
    assert predicted(model, ["good it", "awful"]) == predicted(MODELS[3], ["good it", "awful"])


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_file_is_refused(saved: Path, share: float) -> None:
    other = saved.with_name("cut.npz")
    other.write_bytes(saved.read_bytes()[: int(share * saved.stat().st_size)])
    refused(other)


@pytest.mark.parametrize("name", ["gap", "weight", "seen", "scale", "decision", "slope", "offset"])
def test_wrong_shapes_and_types_are_refused(name: str, saved: Path) -> None:
    arrays = arrays_of(saved)
    assert f"array {name}" in refused(stored(saved, arrays | {name: arrays[name][..., :-1]})) or name == "gap"
    assert f"array {name}" in refused(stored(saved, arrays | {name: arrays[name].astype(np.float64)}))


def test_buckets_out_of_range_and_values_that_are_not_finite_are_refused(saved: Path) -> None:
    arrays = arrays_of(saved)
    assert "out of range" in refused(stored(saved, arrays | {"gap": arrays["gap"] * 99}))
    assert "not rise" in refused(stored(saved, arrays | {"right_at": arrays["right_at"][::-1]}))
    assert "not finite" in refused(stored(saved, arrays | {"offset": arrays["offset"] * np.float32(np.nan)}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 2}, "schema version 2"),
        ({"grams_version": 9}, "hashes of version 9"),
        ({"labels": ["a", "a", "b"]}, "distinct labels"),
        ({"labels": "abc"}, "header"),
        ({"fields": ["smell"]}, "unknown features"),
        ({"word_bits": 63}, "unknown features"),
        ({"surprise": 1}, "header"),
    ],
)
def test_headers_from_elsewhere_are_refused(change: dict[str, object], reason: str, saved: Path) -> None:
    arrays = arrays_of(saved)
    header = msgspec.json.decode(arrays["header"].tobytes()) | change
    arrays["header"] = np.frombuffer(msgspec.json.encode(header), np.uint8)
    assert reason in refused(stored(saved, arrays))


NAMES = ("header", "gap", "weight", "seen", "scale", "decision", "slope", "offset", "said_at", "right_at")


def test_a_bomb_is_refused_before_it_is_unpacked(saved: Path) -> None:
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NAMES:
            body = io.BytesIO(bytes(150_000_000)) if name in {"gap", "weight"} else io.BytesIO()
            archive.writestr(f"{name}.npy", body.getvalue())
    assert "not a reviewopt model" in refused(saved)


def test_predicting_imports_neither_scipy_nor_scikit_learn() -> None:
    code = (
        "import sys, polars as pl\n"
        "from reviewopt.local.classifier import packaged\n"
        "packaged().predict(pl.Series(['good']))\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'scipy', 'sklearn', 'rich', 'typer', 'pandas'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
