"""Pack sizes: exact limits, the error rates that are promised, a search that asks nothing twice, a sound file."""

from __future__ import annotations

import math
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, multinomial

from reviewopt import tuning
from reviewopt.paired import mcnemar
from reviewopt.record import PackStep, PackTuning
from reviewopt.tuning import FILE, U8, Tunings, judge, loss_limit, search, worth_it

NONE = 255
N = 200


def answers(n_worse: int, n_better: int, n: int = N) -> tuple[U8, U8, U8]:
    """Single and packed answers and the truth, which is 0: so many packed answers are worse, and so many better."""
    single, packed, truth = (np.zeros(n, np.uint8) for _ in range(3))
    packed[:n_worse] = 1
    single[n_worse : n_worse + n_better] = 1
    return single, packed, truth


def step(n_worse: int, n_better: int, n: int = N, most_loss: float = 0.03) -> PackStep:
    return judge(*answers(n_worse, n_better, n), size=25, most_loss=most_loss)


def outcomes(loss: float, better: float, most: int = 60) -> dict[tuple[int, int], float]:
    """The probability of each (n_worse, n_better) of N, as far as it counts."""
    worse, gained = np.meshgrid(np.arange(most), np.arange(most if better else 1), indexing="ij")
    counts = np.stack([worse, gained, N - worse - gained], axis=-1)
    chance = np.asarray(multinomial.pmf(counts, N, [better + loss, better, 1 - loss - 2 * better]))
    return {(int(w), int(b)): float(chance[w, b]) for w, b in np.argwhere(chance > 1e-8)}


def step_without_truth(n_differ: int, n: int = N) -> PackStep:
    single, packed, _ = answers(n_differ, 0, n)
    return judge(single, packed, None, size=25, most_loss=0.03)


# --- one size --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("better", [0.0, 0.02, 0.05])
@pytest.mark.parametrize("loss", [0.0, 0.01, 0.03, 0.1])
def test_the_limit_of_the_loss_holds_in_95_percent_of_the_samples(loss: float, better: float) -> None:
    chances = outcomes(loss, better)
    assert sum(chances.values()) > 0.9999
    held = sum(p for (w, b), p in chances.items() if loss_limit(w, b, N) >= loss)
    assert held >= 0.95


def test_the_limit_without_anything_better_is_that_of_clopper_and_pearson() -> None:
    for n_worse in (0, 3, 20):
        high = loss_limit(n_worse, 0, N, can_be_better=False)
        assert binom.cdf(n_worse, N, high) == pytest.approx(0.05)
    assert loss_limit(N, 0, N, can_be_better=False) == 1
    assert loss_limit(0, 0, 0) == 1


def test_a_limit_knows_that_the_pairs_that_differ_are_a_sample_too() -> None:
    assert loss_limit(0, 0, N) == pytest.approx(1 - 0.05 ** (1 / N))
    assert loss_limit(4, 0, N) > 4 / N


@pytest.mark.parametrize(
    ("n_worse", "n_better", "passes"),
    [
        (0, 0, True),
        (5, 0, True),  # p = .0625
        (6, 0, False),  # a loss of 3 %, but p = .03: packing makes it worse, and maybe by more than 3 %
        (16, 10, True),  # a loss of 3 %, as chance makes one in three times
        (17, 10, False),
        (0, 30, True),
    ],
)
def test_a_size_passes_within_the_loss_unless_it_is_shown_to_be_worse(
    n_worse: int, n_better: int, passes: bool
) -> None:
    found = step(n_worse, n_better)
    assert found.passes == passes
    assert (found.n, found.n_worse, found.n_better) == (N, n_worse, n_better)
    assert found.loss == pytest.approx((n_worse - n_better) / N)
    assert found.p_value == mcnemar(n_worse, n_better)


def test_a_loss_that_is_shown_passes_where_it_is_shown_to_be_small() -> None:
    found = step(60, 0, n=10_000)
    assert found.p_value < 1e-10
    assert found.loss_high < 0.03
    assert found.passes
    assert not step(280, 0, n=10_000).passes  # 2.8 %, maybe 3.1


@pytest.mark.parametrize(
    ("better", "loss", "at_least", "at_most"),
    [(0, 0, 1, 1), (0, 0.02, 0.78, 0.79), (0, 0.05, 0.06, 0.07), (0.05, 0, 0.92, 0.93), (0.05, 0.1, 0, 0.014)],
)
def test_a_size_passes_as_often_as_promised(better: float, loss: float, at_least: float, at_most: float) -> None:
    passed = sum(p for (w, b), p in outcomes(loss, better).items() if step(w, b).passes)
    assert at_least - 1e-4 <= passed <= at_most


def test_without_truth_every_difference_counts_against_packing() -> None:
    assert step_without_truth(6).passes
    assert not step_without_truth(7).passes
    found = step_without_truth(6)
    assert (found.n_worse, found.n_better, found.loss) == (6, 0, 0.03)
    assert found.loss_high == loss_limit(6, 0, N, can_be_better=False)


def test_where_both_are_wrong_nothing_got_worse() -> None:
    single, packed, truth = (np.full(N, code, np.uint8) for code in (1, 2, 0))
    assert judge(single, packed, truth, size=25, most_loss=0).passes
    assert not judge(single, packed, None, size=25, most_loss=0.5).passes


def test_only_reviews_with_all_that_is_compared_count() -> None:
    single, packed, truth = answers(10, 4)
    single[0] = packed[1] = truth[2] = NONE
    single[-1] = packed[-1] = truth[-1] = NONE
    found = judge(single, packed, truth, size=25, most_loss=0.03)
    assert (found.n, found.n_worse, found.n_better) == (N - 4, 7, 4)
    assert judge(single, packed, None, size=25, most_loss=0.03).n == N - 3


@pytest.mark.parametrize(("n_missing", "passes"), [(N // 2, True), (N // 2 + 1, False), (N, False)])
def test_a_size_at_which_most_answers_are_missing_fails(n_missing: int, passes: bool) -> None:
    single, packed, truth = answers(0, 0)
    packed[:n_missing] = NONE
    for reference in (truth, None):
        assert judge(single, packed, reference, size=25, most_loss=0.03).passes == passes


def test_where_nothing_can_be_compared_no_size_passes() -> None:
    nothing = np.full(N, NONE, np.uint8)
    found = judge(nothing, nothing, None, size=25, most_loss=1)
    assert (found.n, found.loss, found.loss_high, found.passes) == (0, 1, 1, False)
    assert not judge(*answers(0, 0)[:2], nothing, size=25, most_loss=1).passes


# --- the search ------------------------------------------------------------------------------------------------------


class Worsening:
    """A model whose probability to be right falls with every further review of a request."""

    def __init__(self, penalty: float, n: int = 400, right: float = 0.95) -> None:
        self.asked: list[int] = []
        self._luck = np.random.default_rng(7).random(n)
        self._penalty, self._right = penalty, right

    def answers(self, size: int) -> U8:
        return (self._luck > self._right - self._penalty * (size - 1)).astype(np.uint8)

    def __call__(self, size: int) -> U8:
        self.asked.append(size)
        return self.answers(size)


def found_by(model: Worsening, *, most: int, most_loss: float = 0.03, has_truth: bool = True) -> PackTuning:
    single = model.answers(1)
    truth = np.zeros(len(single), np.uint8) if has_truth else None
    return search(model, single, truth, most=most, most_loss=most_loss, reference="column:label")


@given(st.floats(0, 0.2), st.integers(1, 300), st.booleans())
@settings(deadline=None)
def test_the_search_ends_at_the_largest_size_that_passes(penalty: float, most: int, has_truth: bool) -> None:
    model = Worsening(penalty)
    found = found_by(model, most=most, has_truth=has_truth)
    assert len(set(model.asked)) == len(model.asked)
    assert all(1 < size <= min(most, 200) for size in model.asked)
    assert [one.size for one in found.steps] == model.asked
    truth = np.zeros(400, np.uint8) if has_truth else None
    first = min(25, most)
    tried = {1, min(most, 200), *(first // 2**k for k in range(5)), *(25 * 2**k for k in range(4))} - {0}
    passing = [
        size
        for size in tried
        if size <= min(most, 200)
        and judge(model.answers(1), model.answers(size), truth, size=size, most_loss=0.03).passes
    ]
    assert found.size == max(passing)


@pytest.mark.parametrize(
    ("penalty", "most", "asked", "size"),
    [
        (0, 300, [25, 50, 100, 200], 200),
        (0, 70, [25, 50, 70], 70),
        (0, 25, [25], 25),
        (0, 10, [10], 10),
        (0, 1, [], 1),
        (0.0003, 300, [25, 50, 100], 50),
        (0.5, 300, [25, 12, 6, 3], 1),
        (0.5, 4, [4, 2], 1),
    ],
)
def test_sizes_are_tried_upward_by_doubling_and_downward_by_halving(
    penalty: float, most: int, asked: list[int], size: int
) -> None:
    model = Worsening(penalty)
    found = found_by(model, most=most)
    assert model.asked == asked
    assert found.size == size
    assert (found.reference, found.most_loss, found.is_remembered) == ("column:label", 0.03, False)


def test_no_size_is_tried_that_makes_a_single_pack_of_the_sample() -> None:
    for n in (0, 1, 3, 4, 60):
        model = Worsening(0, n=n)
        assert found_by(model, most=500).size == max(1, n // 2)
        assert all(2 * size <= n for size in model.asked)


def test_a_larger_size_after_one_that_failed_is_not_asked() -> None:
    def ask(size: int) -> U8:
        return np.full(N, size == 50, np.uint8)

    right = np.zeros(N, np.uint8)
    found = search(ask, right, right, most=100, most_loss=0.03, reference="column:label")
    assert (found.size, [one.size for one in found.steps]) == (25, [25, 50])


# --- whether it pays -------------------------------------------------------------------------------------------------


def test_tuning_pays_below_five_percent_of_the_run() -> None:
    prices: Any = {"single_usd": Decimal("0.0005"), "packed_usd": Decimal("0.0001")}
    # 200 x (.0005 + 3 x .0001) = .16 USD, 5 % of 3.2 USD: 32,000 reviews
    assert not worth_it(32_000, 200, **prices)
    assert worth_it(32_001, 200, **prices)
    assert worth_it(24_001, 200, **prices, n_steps=1)


def test_tuning_never_pays_where_asking_costs_nothing() -> None:
    assert not worth_it(10**9, 200, single_usd=Decimal(0), packed_usd=Decimal(0))
    assert not worth_it(10**9, 0, single_usd=Decimal(0), packed_usd=Decimal(0))


# --- what is remembered ----------------------------------------------------------------------------------------------


def made(size: int = 50) -> PackTuning:
    return PackTuning(
        size=size, reference="gpt", most_loss=0.03, n_sampled=200, steps=(step(3, 1),), is_remembered=False
    )


def test_a_tuning_is_remembered_exactly(tmp_path: Path) -> None:
    tunings = Tunings(tmp_path / "cache", on_warning=pytest.fail)
    assert tunings.get("a") is None
    assert not (tmp_path / "cache").exists()
    tunings.put("a", made(50))
    tunings.put("b", made(12))
    tunings.put("a", made(100))
    for one in (tunings, Tunings(tmp_path / "cache", on_warning=pytest.fail)):
        assert one.get("a") == msgspec.structs.replace(made(100), is_remembered=True)
        assert one.get("b") == msgspec.structs.replace(made(12), is_remembered=True)
        assert one.get("c") is None
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [FILE]
    assert (tmp_path / "cache" / FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_two_that_are_open_see_what_the_other_puts(tmp_path: Path) -> None:
    one, other = Tunings(tmp_path), Tunings(tmp_path)
    one.put("a", made(50))
    other.put("b", made(12))
    assert one.get("b") is not None
    assert other.get("a") is not None


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_a_damaged_file_holds_nothing_and_says_so(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("tunings")
    Tunings(folder).put("a", made())
    whole = (folder / FILE).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.sampled_from(["cut", "flip"]))
    broken = whole[:at] if damage == "cut" else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    (folder / FILE).write_bytes(broken)
    warnings: list[str] = []
    tunings = Tunings(folder, on_warning=warnings.append)
    assert tunings.get("a") is None
    assert len(warnings) == 1
    tunings.put("a", made())
    assert len(warnings) == 1  # the same is not said twice
    assert Tunings(folder, on_warning=pytest.fail).get("a") is not None


def test_a_file_of_another_form_with_a_sound_checksum_holds_nothing(tmp_path: Path) -> None:
    for payload in (b"[]", b'{"version":1,"tunings":{"a":{"size":1}}}', b"\xff"):
        (tmp_path / FILE).write_bytes(b"%08x %s" % (zlib.crc32(payload), payload))
        warnings: list[str] = []
        assert Tunings(tmp_path, on_warning=warnings.append).get("a") is None
        assert len(warnings) == 1


def test_a_place_that_cannot_be_written_forgets_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    warnings: list[str] = []
    tunings = Tunings(tmp_path / "cache", on_warning=warnings.append)
    tunings.put("a", made())
    assert warnings
    assert all(str(tmp_path / "cache") in one for one in warnings)


def test_a_planted_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FILE).symlink_to(elsewhere)
    tunings = Tunings(tmp_path / "cache")
    tunings.put("a", made())
    assert elsewhere.read_bytes() == b"mine"
    assert tunings.get("a") is not None


def test_the_sizes_grow_to_the_most() -> None:
    assert list(tuning.sizes(25, 500)) == [25, 50, 100, 200, 400, 500]
    assert list(tuning.sizes(25, 100)) == [25, 50, 100]
    assert list(tuning.sizes(25, 7)) == [7]
    assert math.prod(tuning.sizes(1, 1)) == 1
