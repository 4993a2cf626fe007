"""What a person says is the first that is looked up, and can be taken back."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from archived import all_of, context, opened, put

from reviewopt.cache.keys import canonical, digest
from reviewopt.cache.people import People
from reviewopt.config import load_task

HOME = Path("home")
TASK = load_task("sentiment")


def rows(*pairs: tuple[str, str], tenant: str | None = None) -> pl.DataFrame:
    forms, labels = zip(*pairs, strict=True)
    made = {"form": forms, "tenant": [tenant] * len(forms), "review_id": ["7"] * len(forms), "label": labels}
    return pl.DataFrame(made, schema=dict.fromkeys(made, pl.String))


def test_an_answer_lies_where_any_run_of_the_task_looks_for_it() -> None:
    with opened(HOME) as archive:
        assert People(archive, TASK, isolated=False).keep(rows(("so so", "neutral")), now_s=5) == 1
        whole = all_of(archive)
    expected = {"context": digest(canonical(context("human"))), "answer": "neutral", "text": "so so", "review_id": "7"}
    assert {name: whole[name].item() for name in expected} == expected
    assert (whole["created_s"].item(), whole["confidence"].item(), float(whole["cost_usd"].item())) == (5, None, 0)


def test_isolated_tenants_have_answers_of_their_own() -> None:
    with opened(HOME) as archive:
        people = People(archive, TASK, isolated=True)
        both = pl.concat([rows(("so so", "neutral"), tenant="a"), rows(("so so", "positive"), tenant="b")])
        assert people.keep(both, now_s=5) == 2
        contexts = [context("human", scope="isolated", tenant=name) for name in ("a", "b")]
        assert set(all_of(archive)["context"]) == {digest(canonical(one)) for one in contexts}
        assert people.take_back(both[:1]) == 1
        assert all_of(archive)["tenant"].to_list() == ["b"]


def test_the_last_answer_to_a_text_counts_and_the_same_again_changes_nothing() -> None:
    with opened(HOME) as archive:
        people = People(archive, TASK, isolated=False)
        twice = rows(("so so", "neutral"), ("fine", "positive"), ("so so", "negative"))
        assert people.keep(twice, now_s=5) == 2
        epoch = archive.state
        assert people.keep(twice, now_s=9) == 0
        assert archive.state == epoch
        assert dict(all_of(archive).select("text", "answer").rows()) == {"so so": "negative", "fine": "positive"}
        assert people.keep(rows(("so so", "neutral")), now_s=9) == 1
        assert all_of(archive).filter(pl.col("text") == "so so")["answer"].to_list() == ["neutral"]


def test_only_what_people_said_of_a_text_is_taken_back() -> None:
    with opened(HOME) as archive:
        put(archive, ["so so"], context("warm"))
        people = People(archive, TASK, isolated=False)
        people.keep(rows(("so so", "neutral"), ("fine", "positive")), now_s=5)
        assert people.take_back(rows(("so so", "neutral"), ("never seen", "neutral"))) == 1
        assert sorted(all_of(archive)["text"]) == ["fine", "so so"]
        assert people.take_back(rows(("so so", "neutral"))) == 0
