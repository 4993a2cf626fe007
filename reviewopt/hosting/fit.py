"""Whether a model fits a GPU, in which precision it would run there, and how fast. Pure.

Only what the vendor published counts as a speed. Where there is nothing, all that is known is what no chip exceeds: its
peak over the work that a token takes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from reviewopt.hosting.facts import WEIGHT_BYTES, Assumptions, Facts, Gpu, Measured, Precision, Relative, Throughput
from reviewopt.hosting.figures import Basis, Speed, Workload

# Without a published throughput: 8 bits where the chip computes in them, as the published throughputs are; then 16;
# then weights alone in fewer bits, which only saves memory. What fewer bits do to the labels nobody here has measured.
_PREFERRED: Final[tuple[tuple[Precision, str], ...]] = (
    ("fp8", "compute"), ("int8", "compute"), ("fp16", "compute"), ("fp8", "weights"), ("int4", "compute"),
    ("int4", "weights"),
)  # fmt: skip
# A throughput stands for models of half to double the size, divided by how many times larger they are.
_MOST_SCALE: Final = 2.0
# Sizes are called by round numbers: 8 stands for 8.03 billion.
_SAME_SIZE: Final = 0.05


def needed_gb(workload: Workload, precision: Precision, assumptions: Assumptions) -> Decimal:
    """Return the memory that a model takes, 1e9 bytes: its weights, and keys and values of the requests in flight.

    Parameters x bytes of one + requests x tokens of one x bytes of keys and values a token, which are interpolated
    between the published ones of 8 and 70 billion parameters.
    """
    small, large = (Decimal(one.value) for one in (assumptions.kv_bytes_a_token_8b, assumptions.kv_bytes_a_token_70b))
    size = Decimal(str(workload.model_b))
    kv_bytes = max(small, small + (large - small) * (size - 8) / (70 - 8))
    in_flight = Decimal(assumptions.requests_in_flight.value) * Decimal(str(workload.request_tokens))
    return size * WEIGHT_BYTES[precision] + in_flight * kv_bytes / Decimal(10**9)


def fits(gpu: Gpu, workload: Workload, precision: Precision, assumptions: Assumptions) -> bool:
    """Whether that is within what a server uses of the GPU's memory."""
    usable = gpu.memory_gb * Decimal(assumptions.usable_memory_share.value)
    return needed_gb(workload, precision, assumptions) <= usable


def best(gpu: Gpu, workload: Workload, facts: Facts) -> tuple[Precision, Speed | None] | None:
    """Choose the precision: one with a published throughput, else the one that `_PREFERRED` names first.

    Returns:
        The precision and how fast it is, None where nothing was published of that; None where the model does not fit.
    """
    able = [
        one for one, how in _PREFERRED
        if gpu.runs[one] == how and fits(gpu, workload, one, facts.assumptions)
    ]  # fmt: skip
    if found := _nearest(gpu.name, workload, facts, able):
        return found.precision, _as_published(found, workload)
    for one in facts.relative:
        beside = _nearest(one.beside, workload, facts, list(facts.gpu(one.beside).runs))
        if one.gpu == gpu.name and one.precision in able and beside is not None:
            return one.precision, _beside(one, _as_published(beside, workload), workload)
    return (able[0], None) if able else None


def most_reviews_a_second(gpu: Gpu, precision: Precision, workload: Workload) -> float | None:
    """Return what no GPU exceeds: its dense peak over 2 operations for each parameter and token.

    A multiplication and an addition for each weight, in reading and in writing; attention comes on top, so that the
    truth is slower still. Kaplan et al., "Scaling laws for neural language models", 2020, section 2.1.
    """
    arithmetic = gpu.arithmetic(precision)
    if arithmetic is None or arithmetic not in gpu.peak:
        return None
    tokens = Decimal(str(gpu.peak[arithmetic])) * 1000 / (2 * Decimal(str(workload.model_b)))
    return float(tokens / Decimal(str(workload.tokens)))


def _nearest(gpu: str, workload: Workload, facts: Facts, able: list[Precision]) -> Throughput | None:
    """Return the published throughput of the model nearest in size, of half to double the size."""
    published = [
        one
        for one in facts.throughputs
        if one.gpu == gpu and one.precision in able and 1 / _MOST_SCALE <= workload.model_b / one.model_b <= _MOST_SCALE
    ]
    return min(published, key=lambda one: abs(one.model_b - workload.model_b), default=None)


def _as_published(found: Throughput, workload: Workload) -> Speed:
    """Take the measurement whose requests read about as much of themselves, and scale it to the model's size."""
    share = workload.input_tokens / workload.tokens
    near: Measured = min(found.measured, key=lambda one: abs(one.input_share - share))
    is_same = abs(workload.model_b / found.model_b - 1) <= _SAME_SIZE
    tokens = near.tokens_a_second
    formula = (
        f"{found.model}, {found.precision}, {found.software}, requests of {near.input_tokens:,} + "
        f"{near.output_tokens:,} tokens"
    )
    if not is_same:
        tokens = tokens * Decimal(str(found.model_b)) / Decimal(str(workload.model_b))
        formula += f", x {found.model_b:g} / {workload.model_b:g}"
    return _speed("published" if is_same else "scaled", tokens, workload, formula, found)


def _beside(found: Relative, other: Speed, workload: Workload) -> Speed:
    """Take the other GPU's speed times what the two were beside each other, in requests that read about as much."""
    share = workload.input_tokens / workload.tokens
    near = min(found.measured, key=lambda one: abs(one.input_share - share))
    own, beside = (Decimal(str(one)) for one in (near.output_tokens_a_second, near.beside_tokens_a_second))
    formula = (
        f"{found.beside} ({other.formula}) x {own:,.0f} / {beside:,.0f}, {found.model}, {found.software}, requests of "
        f"{near.input_tokens:,} + {near.output_tokens:,} tokens"
    )
    return _speed("relative", Decimal(str(other.tokens_a_second)) * own / beside, workload, formula, found)


def _speed(basis: Basis, tokens: Decimal, workload: Workload, formula: str, of: Relative | Throughput) -> Speed:
    return Speed(
        basis=basis,
        tokens_a_second=float(tokens),
        reviews_a_second=float(tokens / Decimal(str(workload.tokens))),
        formula=formula,
        source=of.source,
        as_of=of.as_of,
        unverified=of.unverified,
    )
