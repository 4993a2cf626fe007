"""Whether a model fits, in which precision, and how fast it is: by what was published, else unknown."""

from __future__ import annotations

import pytest
from hosted import workload_of
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt.hosting import facts, fit

FACTS = facts.read()
KNOWN = FACTS.assumptions


@settings(max_examples=40)
@given(st.floats(0.5, 400), st.floats(0.5, 400))
def test_a_larger_model_never_takes_less_memory_and_fewer_bits_never_more(a: float, b: float) -> None:
    small, large = (workload_of(model_b=size) for size in sorted((a, b)))
    for wide, narrow in (("fp32", "fp16"), ("fp16", "int8"), ("int8", "int4")):
        assert fit.needed_gb(small, wide, KNOWN) <= fit.needed_gb(large, wide, KNOWN)  # type: ignore[arg-type]
        assert fit.needed_gb(large, narrow, KNOWN) < fit.needed_gb(large, wide, KNOWN)  # type: ignore[arg-type]


def test_memory_is_weights_and_the_requests_in_flight() -> None:
    # 8 billion bytes, and 8 requests of 4,400 tokens of 131,072 bytes each.
    assert float(fit.needed_gb(workload_of(), "fp8", KNOWN)) == pytest.approx(8 + 8 * 4400 * 131_072 / 1e9)


def test_a_model_that_just_fits_the_weights_does_not_fit() -> None:
    t4 = FACTS.gpu("T4")
    assert not fit.fits(t4, workload_of(), "fp16", KNOWN)  # 16 GB of weights in 16 GB
    assert fit.fits(t4, workload_of(), "int8", KNOWN)
    assert fit.best(t4, workload_of(model_b=70.0), FACTS) is None


def test_a_published_throughput_is_taken_as_it_stands_for_its_size() -> None:
    precision, speed = fit.best(FACTS.gpu("H100"), workload_of(), FACTS) or ("fp32", None)
    assert speed is not None
    assert (precision, speed.basis, speed.tokens_a_second) == ("fp8", "published", 58_650)
    assert speed.reviews_a_second == pytest.approx(58_650 / 192)
    assert "2,048 + 128 tokens" in speed.formula


def test_requests_that_write_as_much_as_they_read_take_the_measurement_of_such() -> None:
    even = workload_of(input_tokens=100.0, output_tokens=100.0)
    _, speed = fit.best(FACTS.gpu("H100"), even, FACTS) or ("fp32", None)
    assert speed is not None
    assert speed.tokens_a_second == 2 * 28_312


def test_a_throughput_of_a_model_of_about_the_size_is_scaled_and_says_so() -> None:
    _, speed = fit.best(FACTS.gpu("H100"), workload_of(model_b=10.0), FACTS) or ("fp32", None)
    assert speed is not None
    assert speed.basis == "scaled"
    assert speed.tokens_a_second == pytest.approx(58_650 * 8 / 10)
    assert speed.formula.endswith("x 8 / 10")


def test_an_old_figure_counts_only_beside_that_of_another_gpu_with_the_same_software() -> None:
    precision, speed = fit.best(FACTS.gpu("A100 80GB"), workload_of(), FACTS) or ("fp32", None)
    assert speed is not None
    assert (precision, speed.basis) == ("fp16", "relative")
    assert speed.tokens_a_second == pytest.approx(58_650 * 591 / 2244)
    assert speed.formula.startswith("H100 (Llama 3.1 8B")
    assert "x 591 / 2,244" in speed.formula
    assert speed.unverified == ("that it had 80 GB; its batch needs more than 40",)
    even = workload_of(input_tokens=100.0, output_tokens=100.0)
    _, other = fit.best(FACTS.gpu("A100 80GB"), even, FACTS) or ("fp32", None)
    assert other is not None
    assert other.tokens_a_second == pytest.approx(2 * 28_312 * 5586 / 19694)


@pytest.mark.parametrize("gpu", ["H100", "A100 80GB"])
@pytest.mark.parametrize("model_b", [1.0, 30.0])
def test_a_throughput_of_a_model_of_quite_another_size_is_not_used(gpu: str, model_b: float) -> None:
    found = fit.best(FACTS.gpu(gpu), workload_of(model_b=model_b), FACTS)
    assert found is not None
    assert found[1] is None


@pytest.mark.parametrize("gpu", ["T4", "L4", "L40S", "A100 40GB", "B200"])
def test_where_nothing_like_for_like_was_published_there_is_no_speed(gpu: str) -> None:
    found = fit.best(FACTS.gpu(gpu), workload_of(), FACTS)
    assert found is not None
    assert found[1] is None


def test_no_chip_exceeds_its_peak_over_the_work_of_a_token() -> None:
    found = fit.most_reviews_a_second(FACTS.gpu("T4"), "int8", workload_of())
    assert found == pytest.approx(130e12 / (2 * 8e9) / 192)
    for one in FACTS.throughputs:
        work = workload_of(model_b=one.model_b)
        most = fit.most_reviews_a_second(FACTS.gpu(one.gpu), one.precision, work)
        assert most is not None
        assert all(float(found.tokens_a_second) / work.tokens < most for found in one.measured)


def test_weights_alone_in_fewer_bits_make_no_chip_compute_faster() -> None:
    in_4, in_16 = (
        fit.most_reviews_a_second(FACTS.gpu("H100"), precision, workload_of()) for precision in ("int4", "fp16")
    )
    assert in_4 == in_16 is not None
