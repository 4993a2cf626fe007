"""What is worked out about hosting a model: records that print as JSON, money as decimal strings, shares 0 to 1."""

from __future__ import annotations

from datetime import date
from typing import Literal

from reviewopt.data import Frozen
from reviewopt.hosting.facts import Capex, Precision, Runs
from reviewopt.pricelist import GpuPrice

Urgency = Literal["low", "normal", "high"]
# Whether a throughput was published for a model of this size, or for one of about its size and is scaled by the
# parameters, or is no more than what the chip could do at its peak: then a cost is "at least".
Basis = Literal["published", "scaled", "bound"]


class Workload(Frozen, frozen=True, kw_only=True):
    """What is to be hosted: tokens are those of a review that is asked, and of a whole request of several.

    `n_monthly` reviews are asked a month; `complexity` is the table's mean, 0 to 1; `usd_per_hour_max` null: no bound.
    """

    model_b: float
    input_tokens: float
    output_tokens: float
    request_tokens: float
    n_monthly: int
    complexity: float
    urgency: Urgency
    usd_per_hour_max: str | None
    utilisation: float
    country: str
    usd_per_kwh: str | None
    gco2_per_kwh: float | None

    @property
    def tokens(self) -> float:
        """Tokens of a review, read and written."""
        return self.input_tokens + self.output_tokens


class Speed(Frozen, frozen=True, kw_only=True):
    """How fast a GPU is with a model: at most so fast where the basis is a bound. `formula` says how it was found."""

    basis: Basis
    tokens_a_second: float
    reviews_a_second: float
    formula: str
    source: str
    as_of: date
    unverified: bool


class GpuFigures(Frozen, frozen=True, kw_only=True):
    """One GPU for this workload; `excluded` says why it cannot be taken, empty where it can.

    `peak` is dense, in 1e12 operations a second; a precision without one has none, or none with a source.
    `needed_gb` is what weights and the requests in flight take at `precision`; `price` is the one that the urgency
    allows. Costs are "at least" where the speed is a bound. Energy and emissions are of 1,000 reviews.
    """

    gpu: str
    memory_gb: int
    bandwidth_gb_s: int
    board_w: int
    peak: dict[Precision, float]
    runs: dict[Precision, Runs]
    source: str
    as_of: date
    precision: Precision | None
    needed_gb: float | None
    price: GpuPrice | None
    speed: Speed | None
    usd_a_thousand: str | None
    is_at_least: bool
    capacity_a_month: int | None
    kwh_a_thousand: float | None
    gco2_a_thousand: float | None
    excluded: str


class Choice(Frozen, frozen=True, kw_only=True):
    """Which GPU to take: what the rule says, what was taken instead where it was corrected, and why, in words."""

    by_rule: str
    gpu: str | None
    is_corrected: bool
    reasons: tuple[str, ...]


class Api(Frozen, frozen=True, kw_only=True):
    """What a model behind an API costs a review that is asked."""

    name: str
    usd_a_review: str


class Pays(Frozen, frozen=True, kw_only=True):
    """A GPU that costs less than an API from `from_reviews` a month on, up to what it manages at the utilisation.

    `usd_a_month` is what it costs whatever it does; a bought one's energy is reckoned in too. `is_at_most`: its speed
    is only a bound, so it may manage less.
    """

    gpu: str
    offer: str
    usd_a_month: str
    from_reviews: int
    capacity_a_month: int
    is_at_most: bool


class BreakEven(Frozen, frozen=True, kw_only=True):
    """The GPUs that pay first beside an API, rented by the month of 730 hours and bought; null: none ever does.

    `pays_at_n_monthly`: one of the two does at the volume that was asked about.
    """

    api: str
    api_usd_a_thousand: str
    rented: Pays | None
    bought: Pays | None
    pays_at_n_monthly: bool


class Tco(Frozen, frozen=True, kw_only=True):
    """A month of the GPU at the utilisation, rented and bought; the parts of what is bought add up.

    Null where a figure has no source. `bought_from_hours`: from so many useful hours a month buying costs less than
    renting by the hour; `capex` is what the GPU is bought for.
    """

    gpu: str
    useful_hours: float
    rented_usd: str
    capex: Capex | None
    bought_usd: str | None
    bought_low_usd: str | None
    bought_high_usd: str | None
    hardware_usd: str | None
    energy_usd: str | None
    operations_usd: str | None
    usd_a_useful_hour: str | None
    bought_usd_a_thousand: str | None
    bought_from_hours: int | None
    missing: str


class Spot(Frozen, frozen=True, kw_only=True):
    """What a GPU costs where it may be taken away at any time, beside where it may not."""

    gpu: str
    on_demand: GpuPrice
    spot: GpuPrice
    saved_share: float


class SourceLine(Frozen, frozen=True, kw_only=True):
    """Where a figure is from: `tag` stands beside it."""

    tag: str
    what: str
    url: str | None
    as_of: date | None
    unverified: str


class Hosting(Frozen, frozen=True, kw_only=True):
    """All of it."""

    workload: Workload
    gpus: tuple[GpuFigures, ...]
    choice: Choice
    break_even: tuple[BreakEven, ...]
    tco: Tco | None
    spot: Spot | None
