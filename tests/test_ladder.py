"""Several models share the questions: where they enter, what climbs, who votes, and what is paid twice: nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from fakes import PAID, FakePrediction, make_job, price_a_request
from test_asking import APART, label_of, table_of, text_of

from reviewopt import load, pipeline
from reviewopt.config import load_task
from reviewopt.models.scripted import Scripted
from reviewopt.record import LadderRecord, Run

# Few enough reviews that all are in the sample, so that what a test says of thresholds holds for all rows.
N = 60
PRICES = {"cheap": price_a_request("0.001"), "strong": price_a_request("0.02")}
SURE, UNSURE = 0.95, 0.4
LADDER: dict[str, Any] = {**APART, "pack.fixed": 10, "ladder.strategy": "cost", "pack.sample": 20}


def number_of(text: str) -> int:
    return int(text.rpartition(" ")[2])


def wrong_label(text: str) -> str:
    return ("positive", "negative", "neutral")[number_of(text) % 3]


def is_hard(text: str) -> bool:
    return number_of(text) % 4 == 0


class HalfSure:
    """A local model: right and sure of what is easy, wrong and unsure of what is hard."""

    labels = ("negative", "neutral", "positive")

    def predict(self, form: pl.Series) -> FakePrediction:
        names = [wrong_label(text) if is_hard(text) else label_of(text) for text in form]
        label: npt.NDArray[Any] = np.array([self.labels.index(name) for name in names])
        confidence = np.array([UNSURE if is_hard(text) else SURE for text in form], np.float32)
        return FakePrediction(label, confidence, np.zeros(len(form), np.bool_))


def cheap(**options: Any) -> Scripted:
    """Right and sure but of every eighth, of which it is neither."""
    return Scripted(
        lambda text: wrong_label(text) if number_of(text) % 8 == 0 else label_of(text),
        name="cheap",
        confidence=lambda text: UNSURE if number_of(text) % 8 == 0 else SURE,
        **options,
    )


def strong(**options: Any) -> Scripted:
    return Scripted(label_of, name="strong", confidence=lambda _: SURE, **options)


def asked(model: Scripted) -> list[str]:
    return [question.text for request in model.requests for question in request.questions]


def run_ladder(
    folder: Path,
    ladder: Sequence[Scripted] = (),
    settings: Mapping[str, Any] | None = None,
    *,
    n: int = N,
    n_sample: int = 0,
    chunk_rows: int = 1000,
    columns: Mapping[str, Sequence[Any]] | None = None,
    drawn: set[str] | None = None,
    **options: Any,
) -> tuple[Run, pl.DataFrame]:
    source = table_of(folder, [text_of(at) for at in range(n)], **(columns or {}))
    made = {**LADDER, "ladder.sample": max(20, n_sample), **(settings or {})}
    with (
        load.open_table([str(source)], task=load_task("sentiment"), chunk_rows=chunk_rows) as table,
        make_job(
            table, folder, settings=made, ladder=ladder, prices=PRICES, **{**PAID, "model": HalfSure(), **options}
        ) as job,
    ):
        counted = pipeline.survey(job, lambda *_: None) if n_sample else None
        if counted is not None and drawn is not None:
            drawn.update(counted.sample["text"])
        ready = job if counted is None else replace(job, sample=counted.sample)
        run = pipeline.process(ready, lambda *_: None)
    return run, pl.read_parquet(folder / "out.parquet")


def ladder_of(run: Run) -> LadderRecord:
    assert run.ladder is not None
    return run.ladder


def test_what_a_rung_is_not_sure_of_climbs_and_what_it_is_sure_of_stays(tmp_path: Path) -> None:
    low, top, drawn = cheap(), strong(), set[str]()
    run, out = run_ladder(tmp_path, [low, top], n=240, n_sample=120, drawn=drawn)
    said = dict(zip(out["text"], out["sentiment"], strict=True))
    assert said == {text: label_of(text) for text in said}
    others = [text for text in said if text not in drawn]
    assert set(asked(low)) - drawn == {text for text in others if is_hard(text)}
    assert set(asked(top)) - drawn == {text for text in others if number_of(text) % 8 == 0}
    assert drawn <= set(asked(low)) & set(asked(top))
    rungs = {one.name: one for one in ladder_of(run).rungs}
    assert rungs["local"].threshold == rungs["cheap"].threshold == pytest.approx(SURE)
    assert rungs["local"].n_climbed == sum(1 for text in others if is_hard(text))
    assert rungs["cheap"].n_climbed == sum(1 for text in others if number_of(text) % 8 == 0)
    assert sum(one.n_stayed for one in rungs.values()) == 240


def test_a_run_without_a_sample_takes_the_top_rungs_answers_alone(tmp_path: Path) -> None:
    _, out = run_ladder(tmp_path, [cheap(), strong()])
    assert set(out["sentiment_source"].to_list()) == {"strong"}


def test_a_second_run_pays_nothing_and_says_the_same(tmp_path: Path) -> None:
    _, first = run_ladder(tmp_path, [cheap(), strong()], n_sample=40)
    low, top = cheap(), strong()
    run, second = run_ladder(tmp_path, [low, top], n_sample=40)
    assert (low.requests, top.requests) == ([], [])
    assert second["sentiment"].to_list() == first["sentiment"].to_list()
    assert run.asked is not None
    assert Decimal(run.asked.spent_usd) == 0


def test_every_cent_that_the_ledger_charged_is_in_the_cost_column(tmp_path: Path) -> None:
    run, out = run_ladder(tmp_path, [cheap(), strong()], n=200, n_sample=50)
    assert run.asked is not None
    local_usd = Decimal("0.000000000185")
    n_local = sum(1 for one in ladder_of(run).rungs if one.name == "local" for _ in range(one.n_answered))
    assert out["sentiment_cost_usd"].sum() == Decimal(run.asked.spent_usd) + n_local * local_usd
    assert sum(Decimal(one.spent_usd) for one in ladder_of(run).rungs[1:]) == Decimal(run.asked.spent_usd)


def test_the_samples_answers_are_no_hits_of_the_cache(tmp_path: Path) -> None:
    run, _ = run_ladder(tmp_path, [cheap(), strong()], n_sample=40)
    assert [run.n_by_source[tier] for tier in ("l1", "l2", "l3")] == [0, 0, 0]
    assert run.hit_rate == 0


def test_what_the_top_leaves_unanswered_keeps_the_answer_below_with_a_note(tmp_path: Path) -> None:
    top = strong(faults=lambda _, request: "refused: no" if number_of(request.questions[0].text) % 8 == 0 else None)
    _, out = run_ladder(tmp_path, [top], {"pack.fixed": 1}, n=120, n_sample=60)
    refused = out.filter(pl.Series([number_of(text) % 8 == 0 for text in out["text"]]))
    assert set(refused["sentiment_source"].to_list()) == {"local"}
    assert refused["sentiment_note"].str.starts_with("unsure, and a better model gave no answer: ").all()


def test_labels_of_the_table_are_the_reference_where_it_has_them(tmp_path: Path) -> None:
    columns = {"label": [label_of(text_of(at)) for at in range(N)]}
    run, _ = run_ladder(tmp_path, [strong()], n_sample=N, columns=columns)
    assert ladder_of(run).reference == "column:label"
    unlabelled, _ = run_ladder(tmp_path, [strong()], n_sample=N)
    assert ladder_of(unlabelled).reference == "strong"
    assert not ladder_of(run).is_certified


def test_a_rung_of_which_nothing_can_stay_is_left_out(tmp_path: Path) -> None:
    bad = Scripted(wrong_label, name="bad", confidence=lambda _: SURE)
    run, out = run_ladder(tmp_path, [bad, strong()], n=200, n_sample=60, with_local=False)
    assert len(asked(bad)) == 60, "the sample alone"
    assert set(out["sentiment_source"].to_list()) == {"strong"}
    assert {one.name: one.threshold for one in ladder_of(run).rungs}["bad"] is None


def test_performance_asks_one_rung_alone(tmp_path: Path) -> None:
    good = Scripted(label_of, name="good", confidence=lambda _: SURE, latency_s=0.001)
    top = strong(latency_s=0.02)
    _, out = run_ladder(tmp_path, [good, top], {"ladder.strategy": "performance"}, n=200, n_sample=60, with_local=False)
    assert len(asked(top)) == 60, "the sample alone"
    counts = dict(out["sentiment_source"].value_counts().iter_rows())
    assert counts == {"good": 200}


# --- the vote ---------------------------------------------------------------------------------------------------------


def voter(name: str, says: str) -> Scripted:
    return Scripted(lambda _: says, name=name, confidence=lambda _: SURE)


def test_the_majority_decides_what_stays_uncertain_and_disagreement_is_marked(tmp_path: Path) -> None:
    voters = [voter("a", "negative"), voter("b", "negative"), voter("c", "positive")]
    run, out = run_ladder(tmp_path, voters=voters, ladder=[cheap()], n_sample=20)
    voted = out.filter(pl.col("sentiment_source") == "ensemble")
    assert set(voted["sentiment"].to_list()) == {"negative"}
    assert voted["sentiment_confidence"].to_list() == pytest.approx([2 / 3] * voted.height)
    assert set(voted["sentiment_note"].to_list()) == {"the models disagreed"}
    assert sorted(asked(voters[0])) == sorted(voted["text"].to_list()), "only what was uncertain was asked"
    vote = ladder_of(run).ensemble
    assert vote is not None
    assert (vote.n_asked, vote.n_disagreed, vote.n_tied) == (voted.height, voted.height, 0)
    assert vote.members == ("a", "b", "c")


def test_without_a_majority_the_tie_is_said(tmp_path: Path) -> None:
    voters = [voter("a", "negative"), voter("b", "positive")]
    run, out = run_ladder(tmp_path, voters=voters, ladder=[cheap()])
    notes = out.filter(pl.col("sentiment_source") == "ensemble")["sentiment_note"].to_list()
    vote = ladder_of(run).ensemble
    assert vote is not None
    assert set(notes) == {"the models disagreed, without a majority"}
    assert vote.n_tied == len(notes) > 0


def test_a_vote_is_the_same_in_a_second_run_that_asks_nothing(tmp_path: Path) -> None:
    def voters() -> list[Scripted]:
        return [voter("a", "negative"), voter("b", "negative"), voter("c", "positive")]

    _, first = run_ladder(tmp_path, [cheap()], voters=voters(), n_sample=20)
    again = voters()
    _, second = run_ladder(tmp_path, [cheap()], voters=again, n_sample=20)
    assert [one.requests for one in again] == [[], [], []]
    assert second.select("sentiment", "sentiment_confidence").equals(first.select("sentiment", "sentiment_confidence"))


def test_a_voter_that_was_a_rung_is_not_asked_twice(tmp_path: Path) -> None:
    low, other = cheap(), voter("b", "negative")
    run_ladder(tmp_path, [low], voters=[low, other])
    assert max(asked(low).count(text) for text in set(asked(low))) == 1


# --- packs ------------------------------------------------------------------------------------------------------------


class Crowded(Scripted):
    """Wrong on every `every`-th review of a request beyond the first `most`."""

    def __init__(self, most: int, name: str = "cheap") -> None:
        super().__init__(label_of, name=name, confidence=lambda _: SURE)
        self._most = most

    def _values(self, request: Any) -> list[tuple[str, object]]:
        return [
            (review_id, label_of(question.text) if at < self._most else wrong_label(question.text))
            for at, (review_id, question) in enumerate(zip(request.ids, request.questions, strict=True))
        ]


TUNED = {"pack.fixed": 0, "pack.tune": "on", "pack.sample": 200, "ladder.sample": 20}


@pytest.mark.parametrize(("most", "at_least", "below"), [(500, 50, 501), (12, 1, 13)])
def test_packs_grow_while_answers_are_as_good_and_shrink_where_they_are_not(
    tmp_path: Path, most: int, at_least: int, below: int
) -> None:
    model = Crowded(most)
    run, _ = run_ladder(tmp_path, [model], TUNED, n=400, n_sample=200, with_local=False)
    assert run.asked is not None
    found = run.asked.packs
    assert found is not None
    assert at_least <= found.size < below
    assert [one.passes for one in found.steps].count(True) >= (1 if found.size > 1 else 0)


def test_a_size_that_was_found_is_remembered_and_not_looked_for_again(tmp_path: Path) -> None:
    run_ladder(tmp_path, [Crowded(500)], TUNED, n=400, n_sample=200, with_local=False)
    model = Crowded(500)
    run_ladder(tmp_path, [model], TUNED, n=400, n_sample=200, with_local=False)
    assert model.requests == []
