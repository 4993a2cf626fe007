"""A rival's bill, and what it really answered: no document is billed by an average, and "mixed" is told both ways."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from fakes import process
from hypothesis import given
from hypothesis import strategies as st
from sides import SIZES, TODAY, billed, service

from reviewopt import benchmark, pricelist
from reviewopt.benchmark.live import live
from reviewopt.benchmark.rivals import of_model, of_service, per_1000, with_live
from reviewopt.benchmark.spec import Spec
from reviewopt.record import Plan, Range, Run, UsdRange
from reviewopt.services import Sizes

LABELS = ("negative", "neutral", "positive")
CLOUD = Spec(name="cloud", form="service", service=service())


# --- services ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "units", "usd", "after_free"),
    [("aws", 50_000, "5", "0"), ("google", 10_000, "10", "5"), ("azure", 10_000, "10", "10")],
)
def test_ten_thousand_reviews_of_430_characters_are_billed_as_the_lists_say(
    name: str, units: int, usd: str, after_free: str
) -> None:
    rival = billed(name).rival
    assert (rival.n_units, Decimal(rival.usd), Decimal(rival.after_free_usd or 0)) == (
        units,
        Decimal(usd),
        Decimal(after_free),
    )
    assert Decimal(rival.usd_per_1000) == Decimal(usd) / 10
    assert Decimal(rival.monthly.usd) == 5 * Decimal(usd)  # 50,000 reviews, all in the first tier
    assert rival.accuracy is None


@given(st.lists(st.integers(0, 1_500), min_size=1, max_size=30), st.integers(1, 3))
def test_each_document_is_rounded_up_by_itself(lengths: list[int], least: int) -> None:
    offered = service(minimum_units=least)
    rival = of_service(CLOUD, offered, Sizes.of(np.array(lengths)), monthly=len(lengths), today=TODAY).rival
    assert rival.n_units == sum(max(least, -(-n // 100)) for n in lengths)
    assert Decimal(rival.monthly.usd) == Decimal(rival.usd)
    assert ("at least" in rival.billing) == (least > 1)


def test_without_a_free_tier_nothing_is_said_to_be_free() -> None:
    rival = of_service(CLOUD, service(free_kind="none"), SIZES, monthly=10, today=TODAY).rival
    assert (rival.after_free_usd, rival.monthly.after_free_usd, rival.free) == (None, None, "")


def test_a_price_per_1000_of_nothing_is_nothing() -> None:
    assert Decimal(per_1000(Decimal(3), 0)) == 0
    assert per_1000(Decimal(1), 3_000) == "0.333333333334"


# --- models -----------------------------------------------------------------------------------------------------------


def test_a_model_is_billed_as_its_plan_expects_and_the_range_is_kept() -> None:
    usd = UsdRange(low="0.5", expected="1.25", high="2")
    one = Range(low=1, expected=1234.5, high=2000)
    plan = Plan(
        schema_version=1, n_rows=520, n_by_source={}, n_asked=500, n_requests=1_000, input_tokens=one,
        output_tokens=one, usd=usd, seconds=Range(low=1, expected=60, high=90), naive_usd="9", naive_requests=520,
        basis="a sample", rungs=(), tunes=(), deadline_s=None, meets_deadline=None, proof=None,
    )  # fmt: skip
    made = of_model(Spec(name="strong", form="packs", model="strong"), plan, 500, 1_000, "list price of strong-1")
    rival = made.rival
    assert (rival.usd, rival.usd_range, rival.seconds, rival.n_units) == ("1.25", usd, 60, None)
    assert rival.billing == "1,000 requests, 1,234 tokens in, 1,234 out: a sample"
    assert (Decimal(rival.usd_per_1000), Decimal(rival.monthly.usd)) == (Decimal("2.5"), Decimal("2.5"))
    assert (rival.after_free_usd, rival.free, rival.as_of, rival.accuracy) == (None, "", None, None)
    assert made.curve.at(1_000) == Decimal("2.5")


# --- what it really answered ------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "in.csv").write_text("text\ngood\nbad\n")
    return process(tmp_path / "in.csv", tmp_path)[0]


def strings(*values: str | None) -> pl.Series:
    return pl.Series(values, dtype=pl.String)


def test_mixed_is_left_out_under_one_policy_and_neutral_under_the_other(run: Run) -> None:
    theirs = strings("mixed", "mixed", "positive", None, "negative")
    truth = strings("neutral", "positive", "positive", "positive", None)
    ours = strings("neutral", "positive", "negative", "positive", "negative")
    said = live(run, labels=LABELS, ours={"reviewopt": ours}, theirs=theirs, truth=truth)
    assert (said.n_sampled, said.n_answered, said.n_mixed) == (5, 4, 2)
    dropped, neutral = said.paired["reviewopt"]["dropped"], said.paired["reviewopt"]["neutral"]
    assert (dropped.n, dropped.n_labelled, dropped.accuracy_b.value) == (2, 1, 1.0)
    assert (neutral.n, neutral.n_labelled) == (4, 3)
    assert neutral.accuracy_b.value == pytest.approx(2 / 3)
    assert (neutral.n_only_a_right, neutral.n_only_b_right) == (1, 1)


def test_an_answer_that_is_no_label_of_the_task_is_dropped_or_wrong_and_never_an_answer_of_ours(run: Run) -> None:
    theirs, truth = strings("neutral", "mixed", "positive"), strings("positive", "positive", "positive")
    said = live(run, labels=("negative", "positive"), ours={"reviewopt": truth}, theirs=theirs, truth=truth)
    dropped, neutral = said.paired["reviewopt"]["dropped"], said.paired["reviewopt"]["neutral"]
    assert (dropped.n, dropped.accuracy_b.value) == (1, 1.0)
    assert (neutral.n, neutral.n_only_a_right) == (3, 2)


def test_every_run_of_ours_is_compared_with_the_same_answers(run: Run) -> None:
    theirs = strings("positive", "negative")
    sides = {"reviewopt": theirs, "reviewopt certified": strings("positive", "positive")}
    said = live(run, labels=LABELS, ours=sides, theirs=theirs, truth=None)
    assert {name: one["neutral"].n_agree for name, one in said.paired.items()} == {
        "reviewopt": 2,
        "reviewopt certified": 1,
    }
    assert {one["dropped"].p_value for one in said.paired.values()} == {None}
    assert (said.run_id, said.seconds, said.spent_usd, said.is_simulated) == (run.run_id, run.wall_s, "0", False)


def test_the_accuracy_of_a_rival_is_that_of_the_sample_and_its_bill_stays(run: Run) -> None:
    rival = billed("aws")
    theirs, truth = strings("mixed", "negative"), strings("neutral", "positive")
    asked = with_live(rival, live(run, labels=LABELS, ours={"reviewopt": theirs}, theirs=theirs, truth=truth))
    assert asked.rival.accuracy is not None
    assert asked.rival.accuracy.value == 0.5  # "mixed" counts as neutral
    assert msgspec.structs.replace(asked.rival, accuracy=None, live=None) == rival.rival
    unknown = with_live(rival, live(run, labels=LABELS, ours={"reviewopt": theirs}, theirs=theirs, truth=None))
    assert unknown.rival.accuracy is None
    assert unknown.curve == rival.curve


def test_the_schema_demands_every_key() -> None:
    for definition in benchmark.json_schema()["$defs"].values():  # type: ignore[attr-defined]
        assert set(definition["required"]) == set(definition["properties"])


def test_a_price_that_is_too_old_says_so() -> None:
    of_aws = pricelist.read().services[0]
    spec = Spec(name="aws", form="service", service=of_aws)
    told = {
        days: of_service(spec, of_aws, SIZES, 1, today=of_aws.as_of + timedelta(days=days)).rival.remark
        for days in (180, 181)
    }
    assert told == {180: "", 181: "its price is 181 days old: look it up"}
