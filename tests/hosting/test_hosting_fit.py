"""Whether a model fits, in which precision, and how fast it is: published first, else no more than a bound."""

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
    _, speed = fit.best(FACTS.gpu("L40S"), workload_of(), FACTS) or ("fp32", None)
    assert speed is not None
    assert speed.basis == "scaled"
    assert speed.tokens_a_second == pytest.approx(581 * 17 * 7 / 8)
    assert speed.formula.endswith("x 7 / 8")


@pytest.mark.parametrize("model_b", [1.0, 30.0])
def test_a_throughput_of_a_model_of_quite_another_size_is_not_used(model_b: float) -> None:
    _, speed = fit.best(FACTS.gpu("H100"), workload_of(model_b=model_b), FACTS) or ("fp32", None)
    assert speed is not None
    assert speed.basis == "bound"


def test_a_t4_has_a_bound_and_nothing_else() -> None:
    precision, speed = fit.best(FACTS.gpu("T4"), workload_of(), FACTS) or ("fp32", None)
    assert speed is not None
    assert (precision, speed.basis) == ("int8", "bound")
    assert speed.tokens_a_second == pytest.approx(130e12 / (2 * 8e9))
    assert speed.formula.startswith("at most")


def test_weights_alone_in_fewer_bits_make_no_chip_compute_faster() -> None:
    h100 = FACTS.gpu("H100")
    in_4, in_16 = (fit.bound(h100, precision, workload_of()) for precision in ("int4", "fp16"))
    assert in_4 is not None
    assert in_16 is not None
    assert in_4.tokens_a_second == in_16.tokens_a_second


def test_what_was_published_is_below_the_peak_of_its_chip() -> None:
    assert 0.3 < fit.best_share(FACTS) < 1
    for one in FACTS.throughputs:
        bound = fit.bound(FACTS.gpu(one.gpu), one.precision, workload_of(model_b=one.model_b))
        assert bound is not None
        assert all(float(found.tokens_a_second) < bound.tokens_a_second for found in one.measured)
