"""The reference's label is its own answer to that review alone, whatever else is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fakes import LABELS
from hypothesis import given
from hypothesis import strategies as st
from proofs import World, calibrated, opened, people_say, said_of

from reviewopt.answer import Answering
from reviewopt.cache.asked import Batch
from reviewopt.dedup.spread import NO_LABEL, answer_schema
from reviewopt.errors import ModelError, UsageError
from reviewopt.job import Job, Reference
from reviewopt.ladder import Ladder
from reviewopt.models.scripted import Scripted
from reviewopt.referring import Referring, Rows, distinct, n_again, self_agreement
from reviewopt.text import normal

N = 60


def strong_of(world: World, **options: Any) -> Scripted:
    return Scripted(world.says(world.truth), name="strong", **options)


@contextmanager
def referring(world: World, folder: Path, **options: Any) -> Iterator[tuple[Referring, Job, Ladder]]:
    """Whom to ask about the rows of a world."""
    with opened(world, folder, sizes=(0, len(world.truth), 0), **options) as job, Answering(job) as answering:
        assert job.reference is not None
        yield Referring(job, job.reference, answering.ladder), job, answering.ladder


def drawn_of(job: Job) -> pl.DataFrame:
    assert job.reference is not None
    return job.reference.drawn.frame


def truth_of(world: World, job: Job) -> list[int]:
    return [int(world.truth[row]) for row in drawn_of(job)["row"].to_list()]


def rows_of(job: Job, world: World, *, source: str = "local") -> Rows:
    """Rows as the local model leaves them."""
    (chunk,) = job.table.chunks()
    n = chunk.reviews.height
    schema = answer_schema(job.labels, job.sources, job.task.others, has_notes=bool(job.paid))
    labelled = pl.DataFrame(
        {
            **{name: pl.Series([None] * n, dtype=dtype) for name, dtype in schema.items()},
            "label": pl.Series([LABELS[code] for code in world.local.tolist()], dtype=schema["label"]),
            "confidence": pl.Series(world.confidence, dtype=pl.Float32),
            "source": pl.Series([source] * n, dtype=schema["source"]),
            "cost_usd": pl.Series(["0.25"] * n).cast(schema["cost_usd"]),
            "outside": pl.Series([True] * n),
        }
    )
    form = normal.normalise(chunk.reviews["title"], chunk.reviews["text"])
    return Rows(reviews=chunk.reviews, form=form, labelled=labelled)


def mask_of(*rows: int, n: int = N) -> np.ndarray:
    mask = np.zeros(n, np.bool_)
    mask[list(rows)] = True
    return mask


# --- labels of the sample ---------------------------------------------------------------------------------------------


def test_a_columns_label_is_the_rows_own_not_a_copys(tmp_path: Path) -> None:
    world = replace(calibrated(N, 1), text=np.zeros(N, np.int64))  # one text, and labels as they come
    with referring(world, tmp_path) as (asked, job, _):
        assert asked.labels_of(drawn_of(job)).tolist() == truth_of(world, job)


def test_people_who_skipped_a_row_or_never_saw_it_said_nothing(tmp_path: Path) -> None:
    human = {0: "negative", 1: None, 2: "positive"}
    with referring(calibrated(N, 2), tmp_path, kind="human", human=human) as (asked, job, _):
        said = dict(zip(drawn_of(job)["row"].to_list(), asked.labels_of(drawn_of(job)).tolist(), strict=True))
    assert (said.pop(0), said.pop(1), said.pop(2)) == (0, NO_LABEL, 2)
    assert set(said.values()) == {NO_LABEL}


def test_a_model_is_asked_each_text_once_and_alone(tmp_path: Path) -> None:
    texts = np.arange(N) % 40
    world = calibrated(N, 3)
    world = replace(world, text=texts, truth=world.truth[texts])
    strong = strong_of(world)
    with referring(world, tmp_path, kind="model", reference=strong) as (asked, job, _):
        assert asked.labels_of(drawn_of(job)).tolist() == truth_of(world, job)
        assert [len(one.questions) for one in strong.requests] == [1] * 40
        asked.labels_of(drawn_of(job))
        assert len(strong.requests) == 40


def test_isolated_tenants_are_asked_for_each(tmp_path: Path) -> None:
    world = replace(calibrated(N, 3), text=np.arange(N) // 2, tenant=["a", "b"] * (N // 2))
    world = replace(world, truth=world.truth[world.texts])
    strong = strong_of(world)
    settings = {"columns.tenant": "category"}
    batch = None
    with referring(world, tmp_path, kind="model", reference=strong, settings=settings, isolated=True) as (
        asked,
        job,
        _,
    ):
        drawn = drawn_of(job).with_columns(tenant=pl.col("category"))
        asked.labels_of(drawn)
        batch = Batch(form=drawn["form"], sketches=None, tenant=drawn["tenant"])
    assert len(strong.requests) == N
    assert len(distinct(batch)[0].form) == N


def test_what_a_person_said_is_never_the_models_answer(tmp_path: Path) -> None:
    world = calibrated(N, 4)
    people_say(tmp_path, world, {row: LABELS[(world.truth[row] + 1) % 3] for row in range(N)})
    with referring(world, tmp_path, kind="model") as (asked, job, _):
        assert asked.labels_of(drawn_of(job)).tolist() == truth_of(world, job)


def test_the_models_packed_answers_are_never_its_single_ones(tmp_path: Path) -> None:
    world = calibrated(N, 5)
    packs = Scripted(world.says((world.truth + 1) % 3), name="strong")
    with referring(world, tmp_path, kind="model", ladder=[packs]) as (asked, job, ladder):
        drawn = drawn_of(job)
        batch = Batch(form=drawn["form"], sketches=None, tenant=None)
        packed = ladder.known_or_said_by(job.rungs[-1], batch, drawn)
        ladder.bought.buy("strong", batch, packed)
        assert packed.label.tolist() != truth_of(world, job)
        assert asked.labels_of(drawn).tolist() == truth_of(world, job)
        assert ladder.known_or_said_by(job.rungs[-1], batch, drawn).label.tolist() == packed.label.tolist()


def test_a_text_that_is_like_another_has_an_answer_of_its_own(tmp_path: Path) -> None:
    """All texts of a world differ in a number alone."""
    world = calibrated(N, 6)
    strong = strong_of(world)
    for _ in range(2):
        with referring(world, tmp_path, kind="model", reference=strong) as (asked, job, _ladder):
            assert asked.labels_of(drawn_of(job)).tolist() == truth_of(world, job)
    assert len(strong.requests) == N


def test_a_review_that_the_model_leaves_out_has_no_label(tmp_path: Path) -> None:
    world = calibrated(N, 7)
    known = {text: label for text, label in world.says(world.truth).items() if text != said_of(7)}
    with referring(world, tmp_path, kind="model", reference=Scripted(known, name="strong")) as (asked, job, _):
        said = dict(zip(drawn_of(job)["row"].to_list(), asked.labels_of(drawn_of(job)).tolist(), strict=True))
    assert [row for row, code in said.items() if code == NO_LABEL] == [7]


def test_a_review_that_the_model_refuses_has_no_label_now_or_later(tmp_path: Path) -> None:
    world = calibrated(N, 18)
    strong = strong_of(
        world, faults=lambda _, request: "refused: no" if request.questions[0].text == said_of(7) else None
    )
    for _ in range(2):
        with referring(world, tmp_path, kind="model", reference=strong) as (asked, job, _ladder):
            label = asked.labels_of(drawn_of(job))
            assert drawn_of(job)["row"].to_numpy()[label == NO_LABEL].tolist() == [7]
            rows = rows_of(job, world)
            labelled, missing = asked.refer(rows, mask_of(7, 8))
            assert np.flatnonzero(missing).tolist() == [7]
            assert labelled["label"][7] == rows.labelled["label"][7]


# --- second answers ---------------------------------------------------------------------------------------------------


def test_second_answers_are_asked_once_and_never_become_the_first(tmp_path: Path) -> None:
    world, seen = calibrated(N, 8), set[str]()

    def fickle(text: str) -> str:
        code = world.truth[int(text.rsplit(maxsplit=1)[-1])] + (text in seen)
        seen.add(text)
        return LABELS[code % 3]

    strong = Scripted(fickle, name="strong")
    with referring(world, tmp_path, kind="model", reference=strong, with_again=True) as (asked, job, ladder):
        assert job.reference is not None
        assert job.reference.again is not None
        drawn, before = drawn_of(job), ladder.asking["reference"].cache
        first = asked.labels_of(drawn)
        second = asked.second_labels_of(drawn, job.reference.again)
        assert second.tolist() == ((first + 1) % 3).tolist()
        assert ladder.asking["reference"].cache is before
        assert len(strong.requests) == 2 * N
        assert asked.second_labels_of(drawn, job.reference.again).tolist() == second.tolist()
        assert asked.labels_of(drawn).tolist() == first.tolist()
        assert len(strong.requests) == 2 * N
    with referring(world, tmp_path, kind="model", reference=strong, with_again=True) as (asked, job, _):
        assert job.reference is not None
        assert job.reference.again is not None
        assert asked.labels_of(drawn_of(job)).tolist() == first.tolist()
        assert asked.second_labels_of(drawn_of(job), job.reference.again).tolist() == second.tolist()
    assert len(strong.requests) == 2 * N


def test_a_failing_second_question_leaves_the_first_answers_where_they_are(tmp_path: Path) -> None:
    world = calibrated(N, 9)
    strong = strong_of(world, faults=lambda number, _: "unauthorized: no" if number > N else None)
    with referring(world, tmp_path, kind="model", reference=strong, with_again=True) as (asked, job, ladder):
        assert job.reference is not None
        assert job.reference.again is not None
        before = ladder.asking["reference"].cache
        asked.labels_of(drawn_of(job))
        with pytest.raises(ModelError):
            asked.second_labels_of(drawn_of(job), job.reference.again)
        assert ladder.asking["reference"].cache is before


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Reference]:
    with opened(calibrated(N, 0), tmp_path, kind="model") as job:
        assert job.reference is not None
        yield job.reference


def codes(n_equal: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    first = np.zeros(n, np.uint8)
    second = first.copy()
    second[n_equal:] = 1
    return first, second


def test_a_target_above_the_self_agreement_is_refused_with_the_figure(model: Reference) -> None:
    with pytest.raises(UsageError, match=r"190 of 200 reviews \(91\.0 to 97\.6 %") as caught:
        self_agreement(model, *codes(190, 200), 0.98)
    assert "choose --target 0.9 or lower" in str(caught.value)


def test_a_target_within_the_interval_is_not_refused(model: Reference) -> None:
    found = self_agreement(model, *codes(190, 200), 0.97)
    assert (found.n, found.n_equal, found.share) == (200, 190, 0.95)
    assert found.low < 0.95 < found.high
    assert self_agreement(model, *codes(190, 200), found.high).high == found.high


def test_reviews_without_two_answers_do_not_count(model: Reference) -> None:
    first, second = codes(5, 10)
    first[0] = second[1] = NO_LABEL
    found = self_agreement(model, first, second, 0.5)
    assert (found.n, found.n_equal) == (8, 3)
    nothing = self_agreement(model, np.full(5, NO_LABEL, np.uint8), np.zeros(5, np.uint8), 1.0)
    assert (nothing.n, nothing.low, nothing.high) == (0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("n_rows", "most", "n_drawn", "n"),
    [(100_000, 200, 500, 200), (1_000, 200, 500, 50), (100, 200, 60, 20), (1_000, 10, 500, 10), (100_000, 200, 7, 7)],
    ids=["as many as wanted", "a twentieth", "twenty at least", "no more than wanted", "no more than drawn"],
)
def test_a_model_is_asked_so_many_reviews_twice(model: Reference, n_rows: int, most: int, n_drawn: int, n: int) -> None:
    frame = pl.DataFrame({"row": range(n_drawn)})
    assert n_again(replace(model, drawn=replace(model.drawn, frame=frame, n_rows=n_rows)), most) == n


# --- rows that it is given --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["column", "model"])
def test_rows_of_the_mask_have_its_label_and_no_others_are_touched(tmp_path: Path, kind: str) -> None:
    world = calibrated(N, 10, error=0.3)
    with referring(world, tmp_path, kind=kind) as (asked, job, _):
        rows = rows_of(job, world)
        labelled, missing = asked.refer(rows, mask_of(1, 5, 9))
        assert not missing.any()
        assert np.flatnonzero(labelled["referred"].to_numpy()).tolist() == [1, 5, 9]
        here = labelled[[1, 5, 9]]
        assert here["label"].to_list() == [LABELS[world.truth[row]] for row in (1, 5, 9)]
        assert here["source"].to_list() == ["reference"] * 3
        assert here["confidence"].null_count() == 3  # how sure the local model was says nothing of this answer
        assert not here["outside"].any()
        rest = np.flatnonzero(~mask_of(1, 5, 9))
        assert labelled[rest].select(rows.labelled.columns).equals(rows.labelled[rest])


def test_people_are_called_people(tmp_path: Path) -> None:
    world = calibrated(N, 11)
    with referring(world, tmp_path, kind="human", human={3: "neutral", 4: None}) as (asked, job, _):
        rows = rows_of(job, world)
        labelled, missing = asked.refer(rows, mask_of(3, 4, 5))
        assert (labelled["label"][3], labelled["source"][3]) == ("neutral", "human")
        assert np.flatnonzero(missing).tolist() == [4, 5]
        assert labelled["label"][4:6].to_list() == rows.labelled["label"][4:6].to_list()
        assert np.flatnonzero(labelled["referred"].to_numpy()).tolist() == [3]


@pytest.mark.parametrize("kind", ["column", "model"])
def test_a_row_of_which_it_knows_nothing_keeps_its_own_and_is_counted(tmp_path: Path, kind: str) -> None:
    world = calibrated(N, 12, error=0.3)
    known = {text: label for text, label in world.says(world.truth).items() if text not in {said_of(1), said_of(9)}}
    hidden = mask_of(1, 9)
    strong = Scripted(known, name="strong")
    with referring(world, tmp_path, kind=kind, reference=strong, hidden=hidden) as (asked, job, _):
        rows = rows_of(job, world)
        labelled, missing = asked.refer(rows, mask_of(1, 5, 9))
        assert np.flatnonzero(missing).tolist() == [1, 9]
        assert np.flatnonzero(labelled["referred"].to_numpy()).tolist() == [5]
        for name in ("label", "source", "confidence"):
            assert labelled[name][[1, 9]].to_list() == rows.labelled[name][[1, 9]].to_list()


@pytest.mark.parametrize("kind", ["column", "model"])
def test_what_people_said_outranks_the_reference_after_the_test_and_is_counted(tmp_path: Path, kind: str) -> None:
    world = calibrated(N, 13)
    people_say(tmp_path, world, {5: LABELS[(world.truth[5] + 1) % 3], 6: LABELS[world.truth[6]]})
    with referring(world, tmp_path, kind=kind, reference=strong_of(world)) as (asked, job, _):
        rows = rows_of(job, world)
        labelled, missing = asked.refer(rows, mask_of(5, 6, 7))
        assert not missing.any()
        after, changed = asked.outranked(replace(rows, labelled=labelled))
        assert np.flatnonzero(changed).tolist() == [5]
        assert asked.n_outranked == 1
        assert after["label"][5] == LABELS[(world.truth[5] + 1) % 3]
        assert after["label"][[6, 7]].to_list() == [LABELS[world.truth[6]], LABELS[world.truth[7]]]
        assert after["source"][[5, 6]].to_list() == ["l3", "l3"]
        assert after["referred"][[5, 6, 7]].to_list() == [False, False, True]


def test_nothing_is_asked_where_nothing_is_wanted(tmp_path: Path) -> None:
    world = calibrated(N, 14)
    strong = strong_of(world)
    with referring(world, tmp_path, kind="model", reference=strong) as (asked, job, _):
        labelled, missing = asked.refer(rows_of(job, world), mask_of())
        assert not labelled["referred"].any()
        assert not missing.any()
    assert not strong.requests


def test_rows_that_were_referred_before_stay_so(tmp_path: Path) -> None:
    world = calibrated(N, 15)
    with referring(world, tmp_path) as (asked, job, _):
        rows = rows_of(job, world)
        once, _ = asked.refer(rows, mask_of(1, 2))
        twice, _ = asked.refer(replace(rows, labelled=once), mask_of(8))
        assert np.flatnonzero(twice["referred"].to_numpy()).tolist() == [1, 2, 8]


def test_the_first_row_of_a_question_is_charged_and_its_copies_cost_nothing(tmp_path: Path) -> None:
    texts = np.arange(N) % 20
    world = calibrated(N, 16)
    world = replace(world, text=texts, truth=world.truth[texts], local=world.local[texts])
    strong = strong_of(world)
    with referring(world, tmp_path, kind="model", reference=strong) as (asked, job, _):
        rows = rows_of(job, world)
        labelled, _ = asked.refer(rows, mask_of(3, 23, 43, 7))
        more = (labelled["cost_usd"] - rows.labelled["cost_usd"]).cast(pl.Float64).to_list()
        assert [row for row, usd in enumerate(more) if usd] == [3, 7]
        assert len(strong.requests) == 2
        again, _ = asked.refer(replace(rows, labelled=labelled), mask_of(3, 23, 43, 7))
        assert again["cost_usd"].to_list() == labelled["cost_usd"].to_list()
    assert len(strong.requests) == 2


def test_an_exact_copy_of_a_models_answer_says_that_it_is_one(tmp_path: Path) -> None:
    world = calibrated(N, 17)
    with referring(world, tmp_path, kind="model") as (asked, job, _):
        labelled, _ = asked.refer(rows_of(job, world, source="exact"), mask_of(2))
        assert labelled["source"][2] == "exact"
        assert labelled["referred"][2]


# --- distinct questions -----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", None])), min_size=1, max_size=20))
def test_each_question_stands_once_and_every_row_finds_its_own(rows: list[tuple[str, str | None]]) -> None:
    form, tenant = (pl.Series([row[at] for row in rows], dtype=pl.String) for at in (0, 1))
    for of_tenant in (None, tenant):
        batch = Batch(form=form, sketches=None, tenant=of_tenant)
        questions, place = distinct(batch)
        names = [row if of_tenant is not None else row[0] for row in rows]
        assert len(questions.form) == len(set(names))
        assert questions.form.gather(place.of).to_list() == form.to_list()
        assert [names[first] for first in place.first] == [names[place.first[of]] for of in range(len(place.first))]
        for row, name in enumerate(names):
            assert names[place.first[place.of[row]]] == name
            assert place.first[place.of[row]] <= row
