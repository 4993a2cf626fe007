"""A run beside an earlier one: noise is no regression, a real one is, and what cannot be judged says so."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import comb
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import found, run_of

from reviewopt.paired import holm
from reviewopt.report import Comparison, Difference, Limits, making
from reviewopt.report.baseline import LEVEL
from reviewopt.report.chance import fisher, slower

FIVE_PERCENT = Limits(max_regression=0.05)
ID = "20260101-000000-000000"


def compared(before: making.Read, now: making.Read) -> Comparison:
    made = making.of_read(now, baseline=before).baseline
    assert made is not None
    return made


def of(name: str, before: making.Read, now: making.Read) -> Difference:
    return next(one for one in compared(before, now).differences if one.name == name)


def broken(before: making.Read, now: making.Read, limits: Limits = FIVE_PERCENT) -> set[str | None]:
    return {gate.of for gate in making.of_read(now, baseline=before, limits=limits).gates if not gate.is_met}


@given(n=st.tuples(st.integers(0, 60), st.integers(0, 60)), data=st.data())
def test_the_exact_test_is_the_hypergeometric_tail(n: tuple[int, int], data: st.DataObject) -> None:
    a, b = n
    x, y = data.draw(st.integers(0, a)), data.draw(st.integers(0, b))
    ways = [comb(x + y, at) * comb(a + b - x - y, b - at) for at in range(b + 1) if at <= x + y]
    expected = sum(ways[y:]) / comb(a + b, b) if a and b else 1.0
    assert fisher(x, a, y, b) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_exact_test_holds_for_millions_of_rows() -> None:
    # scipy.stats.hypergeom.sf(5199, 2_000_000, 10_200, 1_000_000) of scipy 1.17.1
    assert fisher(5000, 1_000_000, 5200, 1_000_000) == pytest.approx(0.024106636487761995, rel=1e-6)
    assert fisher(9_000_000, 10_000_000, 9_000_000, 10_000_000) == pytest.approx(0.5, abs=0.01)
    assert fisher(0, 10_000_000, 5_000_000, 10_000_000) == pytest.approx(0)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_adjusted_p_values_are_never_smaller_keep_their_order_and_stay_below_one(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    in_order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    assert [adjusted[at] for at in in_order] == sorted(adjusted)
    assert not p_values or min(adjusted) == pytest.approx(min(1.0, len(p_values) * min(p_values)))


def test_the_adjustment_is_holms() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def drawn(chance: np.random.Generator, **worse: float) -> making.Read:
    """A run of 400 rows and 200 requests; what is `worse` changes its shares and times."""
    n = 400
    right = int(chance.binomial(n, 0.8 - worse.get("accuracy", 0)))
    hits = int(chance.binomial(n, 0.4 - worse.get("hit_rate", 0)))
    failed = int(chance.binomial(n, 0.03 + worse.get("failures", 0)))
    seconds = chance.lognormal(0, 0.6, 200) * (1 + worse.get("latency", 0))
    run = run_of(
        n_rows=2 * n, n_failed=failed, n_hits=hits, n_looked_up=n, n_right=right, n_labelled=n,
        wall_s=20 * float(chance.uniform(1, 1.5)),
    )  # fmt: skip
    return found(run, seconds.tolist())


def test_noise_fails_no_build() -> None:
    """Two runs of the same kind: at most .05 of the pairs may breach at all, however many figures are compared."""
    chance = np.random.default_rng(7)
    n_pairs = 300
    anything = Limits(max_regression=0.0)  # so that the test alone decides
    n_broken = sum(bool(broken(drawn(chance), drawn(chance), anything)) for _ in range(n_pairs))
    # 25 of 300 or more have a chance of 1 % where the rate is .05 (binomial).
    assert n_broken <= 24
    assert n_broken > 0, "a test that never rejects is no test"


@pytest.mark.parametrize(
    ("worse", "figure"),
    [
        ({"accuracy": 0.15}, "accuracy"),
        ({"hit_rate": 0.2}, "hit rate"),
        ({"failures": 0.08}, "failures"),
        ({"latency": 3.0}, "p95 latency"),
    ],
)
def test_a_real_regression_is_found(worse: dict[str, float], figure: str) -> None:
    chance = np.random.default_rng(11)
    pairs = [(drawn(chance), drawn(chance, **worse)) for _ in range(10)]
    assert sum(figure in broken(*pair) for pair in pairs) >= 9
    assert not any(figure in broken(now, before) for before, now in pairs), "better is no regression"


def test_a_difference_that_is_sure_but_small_is_within_the_limit_and_a_large_one_by_chance_is_too() -> None:
    sure = found(run_of(n_right=900_000, n_labelled=1_000_000)), found(run_of(n_right=890_000, n_labelled=1_000_000))
    one = of("accuracy", *sure)
    assert one.is_worse
    assert one.loss == pytest.approx(0.01 / 0.9)
    assert "accuracy" not in broken(*sure)
    assert "accuracy" in broken(*sure, Limits(max_regression=0.01))
    by_chance = found(run_of(n_right=9, n_labelled=10)), found(run_of(n_right=7, n_labelled=10))
    assert of("accuracy", *by_chance).loss == pytest.approx(2 / 9)
    assert "accuracy" not in broken(*by_chance)


def test_a_first_failure_is_chance_and_many_are_a_breach_though_there_is_no_ratio_to_none() -> None:
    clean = found(run_of())
    assert "failures" not in broken(clean, found(run_of(n_failed=1)))
    many = found(run_of(n_failed=30))
    assert of("failures", clean, many).loss is None
    assert broken(clean, many, Limits(max_regression=1.0)) == {"failures"}


def test_what_was_charged_holds_no_chance() -> None:
    name = "models' cost per 1,000 reviews"
    assert of(name, found(run_of()), found(run_of(spent_usd="1.04"))).p_value is None
    assert name not in broken(found(run_of()), found(run_of(spent_usd="1.05")))
    assert name in broken(found(run_of()), found(run_of(spent_usd="1.0500001")))
    assert name in broken(found(run_of(spent_usd="0")), found(run_of(spent_usd="0.01")))


def test_the_machines_price_for_a_slower_hour_is_no_regression_of_the_cost() -> None:
    slow = run_of(wall_s=39.0)
    slow = msgspec.structs.replace(slow, cost=msgspec.structs.replace(slow.cost, machine_usd="5"))
    assert broken(found(run_of()), found(slow)) == set()


@pytest.mark.parametrize(
    ("wall_before_s", "wall_now_s", "is_worse"),
    [(20.0, 39.9, False), (20.0, 40.1, True), (0.5, 4.9, False), (0.5, 5.1, True), (40.0, 20.0, False)],
)
def test_throughput_is_a_regression_only_beyond_what_a_shared_machine_does(
    wall_before_s: float, wall_now_s: float, is_worse: bool
) -> None:
    before, now = found(run_of(wall_s=wall_before_s)), found(run_of(wall_s=wall_now_s))
    assert ("throughput" in broken(before, now)) is is_worse
    assert of("throughput", before, now).p_value is None


def test_a_loss_of_throughput_within_the_limit_is_none_even_beyond_the_band() -> None:
    before, now = found(run_of(wall_s=20)), found(run_of(wall_s=50))
    assert "throughput" in broken(before, now, Limits(max_regression=0.59))
    assert "throughput" not in broken(before, now, Limits(max_regression=0.61))


def test_the_slowest_requests_are_tested_and_not_the_middle() -> None:
    chance = random.Random(3)
    base = [chance.uniform(0.9, 1.1) for _ in range(400)]
    shifted = [one * 1.02 for one in base]  # surely slower, by 2 %
    tail = [*base[:360], *(one * 3 for one in base[360:])]
    assert slower(base, tail, 0.95) < 1e-6
    assert broken(found(run_of(), base), found(run_of(), shifted)) == set()
    assert broken(found(run_of(), base), found(run_of(), tail)) == {"p95 latency"}
    assert slower(base, base, 0.95) > LEVEL
    assert slower([], base, 0.95) == slower(base, [], 0.95) == slower([1.0] * 50, [1.0] * 50, 0.95) == 1


def replaced(read: making.Read, **changes: Any) -> making.Read:
    return found(msgspec.structs.replace(read.run, **changes))


def with_table(read: making.Read, fingerprint: str | None) -> making.Read:
    return replaced(read, input=msgspec.structs.replace(read.run.input, fingerprint=fingerprint))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda read: replaced(read, task="other"), "not the baseline's task: sentiment then, other now"),
        (lambda read: replaced(read, n_by_label={"a": 1, "b": 2}), "not the baseline's labels: "),
        (lambda read: with_table(read, "x"), "the tables of the two runs are not the same"),
        (lambda read: read, "`reviewopt compare` tells more"),
        (
            lambda read: replaced(read, model=msgspec.structs.replace(read.run.model, name="large")),
            "not the baseline's model: ",
        ),
    ],
)
def test_what_is_not_alike_is_noted(change: Callable[[making.Read], making.Read], words: str) -> None:
    base = with_table(found(run_of()), "y")
    assert [note for note in compared(base, change(base)).notes if words in note]


def test_a_certified_bound_that_the_run_lacks_is_a_breach_and_another_bound_is_not_judged_here() -> None:
    from certificates import AUDITED, PROVEN

    sure, unsure = found(run_of(certificate=PROVEN)), found(run_of(certificate=AUDITED))
    assert broken(sure, unsure) == {"certified accuracy"}
    lower = found(run_of(certificate=msgspec.structs.replace(PROVEN, accuracy_low=0.5)))
    assert broken(sure, lower) == set()
    assert "certified accuracy" not in {one.name for one in compared(found(run_of()), found(run_of())).differences}
