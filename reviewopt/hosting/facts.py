"""What is known of GPUs and of running them: `configs/gpus.toml`, read and checked. Data, no reckoning."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from reviewopt.config import packaged
from reviewopt.data import Frozen
from reviewopt.errors import InputError

Precision = Literal["fp32", "fp16", "int8", "fp8", "int4"]
PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "fp16", "int8", "fp8", "int4")
# Bytes that a weight takes; int4 stands for FP4 too. The scales of quantised weights, a few percent, are left out.
WEIGHT_BYTES: Final = {
    "fp32": Decimal(4), "fp16": Decimal(2), "int8": Decimal(1), "fp8": Decimal(1), "int4": Decimal("0.5")
}  # fmt: skip
# How a server for language models runs a precision: weights and arithmetic, only weights that small, or not at all.
Runs = Literal["compute", "weights", "no"]

_Usd = Annotated[str, Meta(pattern=r"^\d+(\.\d+)?$")]
_Name = Annotated[str, Meta(min_length=1)]
_Source = Annotated[str, Meta(pattern=r"^https://")]
_Above = Annotated[float, Meta(gt=0)]
_Count = Annotated[int, Meta(ge=1)]


class Capex(Frozen, frozen=True, kw_only=True):
    """What one GPU is bought for, USD, from and to; `n_gpus_least` are sold together, on one board."""

    low_usd: _Usd
    high_usd: _Usd
    n_gpus_least: _Count = 1
    note: str = ""
    source: _Source
    as_of: date
    unverified: tuple[_Name, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a range that ends before it begins."""
        if not Decimal(0) < Decimal(self.low_usd) <= Decimal(self.high_usd):
            raise ValueError(f"a GPU's price from {self.low_usd} to {self.high_usd} USD is no range")

    @property
    def mean_usd(self) -> Decimal:
        """The middle of the range."""
        return (Decimal(self.low_usd) + Decimal(self.high_usd)) / 2


class Gpu(Frozen, frozen=True, kw_only=True):
    """One GPU: dense `peak` in 1e12 operations a second by precision, memory in 1e9 bytes, bandwidth in 1e9 bytes/s.

    A precision without a peak has none, or none with a source. `board_w` is the most that the board takes.
    """

    name: _Name
    architecture: _Name
    memory_gb: _Count
    bandwidth_gb_s: _Count
    board_w: _Count
    peak: dict[Precision, _Above]
    runs: dict[Precision, Runs]
    note: str = ""
    source: _Source
    as_of: date
    unverified: tuple[_Name, ...] = ()
    capex: Capex | None = None

    def __post_init__(self) -> None:
        """Refuse a GPU of which it is not said how it runs each precision."""
        if missing := set(PRECISIONS) - set(self.runs):
            raise ValueError(f"{self.name}: runs says nothing of {min(missing)}")

    def arithmetic(self, precision: Precision) -> Precision | None:
        """Return the precision in which it computes with such weights; None where it cannot have them."""
        how = self.runs[precision]
        return None if how == "no" else precision if how == "compute" else "fp16"


class Measured(Frozen, frozen=True, kw_only=True):
    """Tokens written a second under full load, by requests of so many tokens each."""

    input_tokens: _Count
    output_tokens: _Count
    output_tokens_a_second: _Above

    @property
    def tokens_a_second(self) -> Decimal:
        """Tokens read and written a second: labelling reads far more than it writes, and both take time."""
        both = Decimal(self.input_tokens + self.output_tokens) / self.output_tokens
        return Decimal(str(self.output_tokens_a_second)) * both

    @property
    def input_share(self) -> float:
        """How much of a request is read."""
        return self.input_tokens / (self.input_tokens + self.output_tokens)


class Throughput(Frozen, frozen=True, kw_only=True):
    """How fast one GPU serves a model of `model_b` billion parameters, as its vendor published it."""

    gpu: _Name
    model: _Name
    model_b: _Above
    precision: Precision
    software: _Name
    measured: Annotated[tuple[Measured, ...], Meta(min_length=1)]
    source: _Source
    as_of: date
    unverified: tuple[_Name, ...] = ()


class Beside(Frozen, frozen=True, kw_only=True):
    """Tokens written a second by a GPU and by the one beside it, in requests of so many tokens each."""

    input_tokens: _Count
    output_tokens: _Count
    output_tokens_a_second: _Above
    beside_tokens_a_second: _Above

    @property
    def input_share(self) -> float:
        """How much of a request is read."""
        return self.input_tokens / (self.input_tokens + self.output_tokens)


class Relative(Frozen, frozen=True, kw_only=True):
    """How fast a GPU is beside another, both with one model and one software, each in its best precision.

    Newer figures of the other tell then about how fast this one is: software speeds up both.
    """

    gpu: _Name
    beside: _Name
    model: _Name
    precision: Precision
    software: _Name
    measured: Annotated[tuple[Beside, ...], Meta(min_length=1)]
    source: _Source
    as_of: date
    unverified: tuple[_Name, ...] = ()


class Assumption(Frozen, frozen=True, kw_only=True):
    """A figure that the reckoning needs; `chosen`: no measurement stands behind it, the note says why this much."""

    value: _Usd
    note: _Name
    source: _Source | None = None
    as_of: date | None = None
    chosen: bool = False

    def __post_init__(self) -> None:
        """Refuse a figure with neither a source nor the word that it was chosen."""
        if (self.source is None and not self.chosen) or (self.source is None) != (self.as_of is None):
            raise ValueError(f"{self.note}: an assumption has a source and its day, or is chosen")


class Assumptions(Frozen, frozen=True, kw_only=True):
    """All of them; shares are 0 to 1."""

    usable_memory_share: Assumption
    requests_in_flight: Assumption
    kv_bytes_a_token_8b: Assumption
    kv_bytes_a_token_70b: Assumption
    server_overhead: Assumption
    server_power: Assumption
    residual_share: Assumption
    years: Assumption
    load: Assumption
    site_usd_per_kw_month: Assumption
    pue: Assumption

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name in ("usable_memory_share", "residual_share", "load"):
            if Decimal(getattr(self, name).value) > 1:
                raise ValueError(f"{name} is a share of 0 to 1")
        if min(Decimal(self.pue.value), Decimal(self.server_power.value)) < 1 or not Decimal(self.years.value):
            raise ValueError("a PUE and the power of a server are from 1 on, and years are above 0")


class Electricity(Frozen, frozen=True, kw_only=True):
    """What a kWh costs in a country."""

    usd_per_kwh: _Usd
    year: int
    note: str
    source: _Source
    as_of: date


class Grids(Frozen, frozen=True, kw_only=True):
    """Grams of CO2-equivalents a kWh, by country, of one year."""

    year: int
    gco2_per_kwh: dict[str, _Above]
    source: _Source
    as_of: date
    unverified: tuple[_Name, ...] = ()


class Support(Frozen, frozen=True, kw_only=True):
    """Where it is said which GPU runs which precision."""

    note: str
    source: _Source
    as_of: date
    unverified: tuple[_Name, ...] = ()


class Facts(Frozen, frozen=True, kw_only=True):
    """All that `configs/gpus.toml` holds."""

    support: Annotated[tuple[Support, ...], Meta(min_length=1)]
    gpus: Annotated[tuple[Gpu, ...], Meta(min_length=1)]
    throughputs: tuple[Throughput, ...]
    relative: tuple[Relative, ...]
    assumptions: Assumptions
    electricity: dict[str, Electricity]
    grids: Grids

    def __post_init__(self) -> None:
        """Refuse a GPU that stands there twice, and a throughput of none that is there."""
        names = [one.name for one in self.gpus]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{min(twice)} stands there twice")
        told = {one.gpu for one in self.throughputs} | {name for one in self.relative for name in (one.gpu, one.beside)}
        if unknown := told - set(names):
            raise ValueError(f"a throughput of {min(unknown)}, which is none of the GPUs")
        computed = [(one.gpu, one.precision) for one in self.throughputs]
        for gpu, precision in (*computed, *((one.gpu, one.precision) for one in self.relative)):
            if self.gpu(gpu).runs[precision] != "compute" or precision not in self.gpu(gpu).peak:
                raise ValueError(f"a throughput of {gpu} in {precision}, in which it does not compute")

    def gpu(self, name: str) -> Gpu:
        """Return the GPU of this name."""
        return next(one for one in self.gpus if one.name == name)


def read(path: Path | None = None) -> Facts:
    """Read the packaged facts, or those of a file of the same form.

    Raises:
        InputError: the file is damaged, or a figure in it cannot be meant.
    """
    path = path or packaged("configs", "gpus.toml")
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Facts)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: the packaged facts cannot be read: {error}; install reviewopt again") from error
