"""What the sample was asked: whose answer it is, who is measured by it, what of it is remembered, and what it cost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fakes import PAID, make_job, settings_of
from test_asking import APART, label_of, table_of, text_of
from test_ladder import (
    LADDER,
    PRICES,
    SURE,
    UNSURE,
    HalfSure,
    asked,
    cheap,
    ladder_of,
    number_of,
    run_ladder,
    strong,
    voter,
    wrong_label,
)

from reviewopt import load, pipeline
from reviewopt.cache import shelf as shelves
from reviewopt.cache.entry import Entry
from reviewopt.cache.keys import Contexts, canonical, digest, given_context, make_keys
from reviewopt.config import load_task
from reviewopt.models.scripted import Scripted
from reviewopt.plan import Known, make
from reviewopt.text import normal
from reviewopt.tuning import Tunings

TUNING: dict[str, Any] = {"pack.fixed": 0, "pack.tune": "on", "pack.sample": 60, "ladder.sample": 20}


def answers(model: Scripted, out: pl.DataFrame) -> list[bool]:
    """Whether each row that names a model has what that model says."""
    rows = out.filter(pl.col("sentiment_source") == model.name)
    return [model._script(text) == label for text, label in zip(rows["text"], rows["sentiment"], strict=True)]  # type: ignore[operator]


def test_a_row_names_the_rung_whose_answer_it_has_not_the_highest_that_the_sample_asked(tmp_path: Path) -> None:
    low = cheap()
    doubting = Scripted(label_of, name="strong", confidence=lambda _: UNSURE)
    voters = [voter("a", "negative"), voter("b", "negative"), voter("c", "positive")]
    _, out = run_ladder(tmp_path, [low, doubting], n=120, n_sample=60, voters=voters, with_local=False)
    assert "strong" not in out["sentiment_source"].to_list(), "it is never sure, so the vote decides"
    assert all(answers(low, out))


@pytest.mark.parametrize("settings", [{"budget.usd": 0.02}, {"pack.sample": 200}])
def test_a_tuning_that_was_cut_short_or_had_too_few_reviews_is_not_remembered(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    run, _ = run_ladder(tmp_path, [cheap()], {**TUNING, **settings}, n=100, n_sample=20, with_local=False)
    assert run.asked is not None
    assert run.asked.packs is None
    assert Tunings(tmp_path / "home" / shelves.FOLDER).get("cheap") is None


def warm(folder: Path, texts: list[str]) -> None:
    """Let a person have said the right label of these texts."""
    task = load_task("sentiment")
    json = canonical(given_context(task, "human", scope="shared", tenant=None))
    form = normal.normalise(pl.Series([None] * len(texts), dtype=pl.String), pl.Series(texts))
    keys = make_keys([json], pl.zeros(len(texts), dtype=pl.Int64, eager=True).to_numpy(), form)
    with shelves.Shelf(folder / "home", settings_of().cache.archive, sharing=None, on_warning=print) as shelf:
        shelf.archive.put_few(
            [
                Entry(
                    key=key.hex(), context=digest(json), answer=label_of(text), confidence=None, cost=0,
                    created_s=1_700_000_000, tenant=None, review_id=None, text=one,
                )
                for key, text, one in zip(keys.raw, texts, form, strict=True)
            ],
            {digest(json): json},
        )  # fmt: skip


def test_what_people_said_is_no_proof_of_a_model(tmp_path: Path) -> None:
    warm(tmp_path, [text_of(at) for at in range(150)])
    bad = Scripted(
        lambda text: wrong_label(text) if number_of(text) % 4 == 0 else label_of(text), name="cheap",
        confidence=lambda _: SURE,
    )  # fmt: skip
    run, out = run_ladder(tmp_path, [bad, strong()], n=200, n_sample=200, with_local=False)
    assert out["sentiment"].to_list() == [label_of(text) for text in out["text"]]
    assert ladder_of(run).rungs[0].n_sampled == 50


def test_what_people_said_is_not_kept_as_the_answer_of_a_model_that_was_tuned(tmp_path: Path) -> None:
    warm(tmp_path, [text_of(at) for at in range(30)])
    model = cheap()
    run_ladder(tmp_path, [model], TUNING, n=120, n_sample=60, with_local=False)
    task = load_task("sentiment")
    with shelves.Shelf(tmp_path / "home", settings_of().cache.archive, sharing=None, on_warning=print) as shelf:
        entries = shelf.most_popular(1000)
    contexts = Contexts(task, None, scope="shared")
    contexts.codes(None, 1)
    given = [one for side in contexts.sides for one in side.digest]
    of_people = set(entries.filter(pl.col("context").is_in(given))["text"])
    of_models = set(entries.filter(~pl.col("context").is_in(given))["text"])
    assert len(of_people) == 30
    assert not of_people & of_models


def test_what_the_sample_cost_is_charged_also_where_a_near_copy_or_nobody_answers(tmp_path: Path) -> None:
    bad = Scripted(label_of, name="cheap", faults=lambda _, request: _refusing(request))
    run, out = run_ladder(tmp_path, [bad], {**TUNING, "pack.sample": 60}, n=100, n_sample=60, with_local=False)
    assert run.asked is not None
    assert out["sentiment_cost_usd"].sum() == Decimal(run.asked.spent_usd)
    assert run.n_by_source["failed"] > 0


def _refusing(request: Any) -> str | None:
    return "refused: no" if any(number_of(one.text) % 30 == 0 for one in request.questions) else None


def test_a_voter_that_was_a_rung_is_not_asked_again_for_a_task_of_several_fields(tmp_path: Path) -> None:
    task = load_task("review")

    def says(_: str) -> object:
        values: dict[str, object] = {}
        for field in task.fields:
            labels = getattr(field, "labels", None)
            values[field.name] = "good" if labels is None else (3 if hasattr(field, "low") else labels[0])
        return values

    low = Scripted(says, name="cheap", confidence=lambda _: UNSURE)
    other = Scripted(says, name="b", confidence=lambda _: SURE)
    off = {f"cache.{tier}.enabled": False for tier in ("memory", "similar", "archive")}
    source = table_of(tmp_path, [text_of(at) for at in range(40)])
    with (
        load.open_table([str(source)], task=task, chunk_rows=1000) as table,
        make_job(
            table, tmp_path, task=task, settings={**APART, **off, "pack.fixed": 10}, ladder=[low], voters=[low, other],
            with_local=False, **PAID,
        ) as job,
    ):  # fmt: skip
        run = pipeline.process(job, lambda *_: None)
    assert run.n_by_source["ensemble"] == 40
    assert len(asked(low)) == 40


def test_a_plan_counts_the_sample_also_where_the_local_model_is_sure_of_all(tmp_path: Path) -> None:
    source = table_of(tmp_path, [f"easy {4 * at + 1}" for at in range(60)])
    with (
        load.open_table([str(source)], task=load_task("sentiment"), chunk_rows=1000) as table,
        make_job(
            table, tmp_path, settings={**LADDER, "ladder.sample": 20}, ladder=[strong()], prices=PRICES,
            **{**PAID, "model": HalfSure()},
        ) as job,
    ):  # fmt: skip
        counted = pipeline.survey(job, lambda *_: None)
        made = make(counted, [Known(paid=one, history=None) for one in job.paid], threads=4)
        run = pipeline.process(replace(job, sample=counted.sample), lambda *_: None)
    assert run.asked is not None
    assert made.n_asked == 20
    assert Decimal(made.usd.low) == Decimal(made.usd.expected) == Decimal(run.asked.spent_usd) > 0


def test_each_question_is_looked_up_once_whatever_rungs_there_are(tmp_path: Path) -> None:
    run, _ = run_ladder(tmp_path, [cheap(), strong()], n_sample=40)
    again, _ = run_ladder(tmp_path, [cheap(), strong()], n_sample=40)
    assert run.n_looked_up == again.n_looked_up == 60
