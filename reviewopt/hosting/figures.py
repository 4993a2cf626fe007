"""What is worked out about hosting a model: records that print as JSON, money as decimal strings, shares 0 to 1."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Literal

from reviewopt.data import Frozen
from reviewopt.hosting.facts import Capex, Precision, Runs
from reviewopt.pricelist import GpuPrice

Urgency = Literal["low", "normal", "high"]
# Whether a throughput was published for a model of this size, or for one of about its size and is scaled by the
# parameters, or follows from that of another GPU and what was published of the two with one software.
Basis = Literal["published", "scaled", "relative"]
# Rented for as many whole hours as the reviews take, rented for the whole month, or bought.
How = Literal["hour", "month", "bought"]
State = Literal["pays", "never", "unknown"]
Verdict = Literal["host", "api", "unknown"]


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

    @property
    def worked(self) -> Decimal:
        """The utilisation, as it is written out."""
        return Decimal(str(self.utilisation))


class Speed(Frozen, frozen=True, kw_only=True):
    """How fast a GPU is with a model, by what its vendor published; `formula` says how it was found."""

    basis: Basis
    tokens_a_second: float
    reviews_a_second: float
    formula: str
    source: str
    as_of: date
    unverified: tuple[str, ...]


class Way(Frozen, frozen=True, kw_only=True):
    """A way to have a GPU, which is paid in steps: an hour or a month of `n_gpus_a_step` of them, let or sold together.

    So many reviews a month cost ceil(reviews / `step_reviews`) x `step_usd` + reviews x `own_usd_a_review`; the last is
    the energy of what is bought. `price` is the offer; null: bought. A step's parts: rent, or hardware and site.
    """

    how: How
    gpu: str
    price: GpuPrice | None
    n_gpus_a_step: int
    step_reviews: int
    step_usd: str
    hardware_usd: str | None
    site_usd: str | None
    own_usd_a_review: str


class Bill(Frozen, frozen=True, kw_only=True):
    """A month of a way at the volume asked about; of what is bought the parts add up, `low` and `high` by its price.

    `n_steps` are hours or months of a machine; `n_gpus` work at the same time, where they work all month.
    """

    way: Way
    n_steps: int
    n_gpus: int
    usd: str
    low_usd: str
    high_usd: str
    hardware_usd: str | None
    energy_usd: str | None
    site_usd: str | None


class GpuFigures(Frozen, frozen=True, kw_only=True):
    """One GPU for this workload; `excluded` says why it cannot be rented, empty where it can.

    `peak` is dense, in 1e12 operations a second; a precision without one has none, or none with a source.
    `needed_gb` is what weights and the requests in flight take at `precision`. `speed` is null where no throughput was
    published; `most_reviews_a_second` is what the peak of the chip allows, which no GPU comes near. `hour` is the
    cheapest offer that the urgency allows, at the volume asked about. Energy and emissions are of 1,000 reviews.
    """

    gpu: str
    memory_gb: int
    bandwidth_gb_s: int
    board_w: int
    peak: dict[Precision, float]
    runs: dict[Precision, Runs]
    note: str
    source: str
    as_of: date
    precision: Precision | None
    needed_gb: float | None
    speed: Speed | None
    most_reviews_a_second: float | None
    price: GpuPrice | None
    hour: Bill | None
    month: Bill | None
    bought: Bill | None
    bought_missing: str
    kwh_a_thousand: float | None
    gco2_a_thousand: float | None
    excluded: str


class Choice(Frozen, frozen=True, kw_only=True):
    """Which GPU to rent by the hour, and whether that costs less than the cheapest API at the volume asked about.

    `by_rule` is what the rule by complexity says. `gpu` is the one to take if a model is hosted; null: none can be had,
    or nothing is known of any. `verdict` is host, api (also where no GPU can be had), or unknown; `reasons` say why.
    """

    verdict: Verdict
    by_rule: str
    gpu: str | None
    is_corrected: bool
    usd: str | None
    api: str | None
    api_usd: str | None
    reasons: tuple[str, ...]


class Api(Frozen, frozen=True, kw_only=True):
    """What a model behind an API costs 1,000 reviews that are asked."""

    name: str
    usd_a_thousand: str


class Pays(Frozen, frozen=True, kw_only=True):
    """From how many reviews a month on a way always costs less than an API, and the GPU with which that begins first.

    never: it does at no number; unknown: nobody can say, and `why` names what is missing.
    """

    state: State
    from_reviews: int | None
    way: Way | None
    why: str


class BreakEven(Frozen, frozen=True, kw_only=True):
    """Beside an API: rented by the hour, rented by the month of 730 hours, and bought.

    `usd` is what the API costs for the volume asked about; `pays` names the ways that cost less there.
    """

    api: str
    api_usd_a_thousand: str
    usd: str
    hour: Pays
    month: Pays
    bought: Pays
    pays: tuple[How, ...]


class Spot(Frozen, frozen=True, kw_only=True):
    """What the GPU costs where it may be taken away at any time, beside the price that was reckoned with."""

    gpu: str
    taken: GpuPrice
    spot: GpuPrice
    saved_share: float


class Source(Frozen, frozen=True, kw_only=True):
    """What one figure is of: its kind, and the GPU, model, offer or country."""

    kind: str
    of: str


class SourceLine(Frozen, frozen=True, kw_only=True):
    """Where figures are from: `tag` stands beside them. `as_of` null: the source tells no day."""

    tag: str
    about: tuple[Source, ...]
    url: str | None
    as_of: date | None
    unverified: str


class Hosting(Frozen, frozen=True, kw_only=True):
    """All of it; `capex` is what the GPU to take is bought for, and from so many paid hours a month buying it pays."""

    workload: Workload
    gpus: tuple[GpuFigures, ...]
    choice: Choice
    break_even: tuple[BreakEven, ...]
    capex: Capex | None
    bought_from_hours: int | None
    spot: Spot | None
