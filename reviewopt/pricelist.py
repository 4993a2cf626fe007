"""The packaged prices: models that genai-prices does not list, cloud services for text, and GPUs. Data, no reckoning.

`configs/prices.toml` holds them with their source and their day. What could not be checked says so itself, and whoever
prints a figure prints that too.
"""

from __future__ import annotations

import itertools
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from reviewopt.config import packaged
from reviewopt.data import Frozen
from reviewopt.errors import InputError

# Vendors change their lists a few times a year: half a year is one change missed.
MOST_AGE_DAYS: Final = 180

# USD, written out: no sign, no exponent, never infinite.
_Usd = Annotated[str, Meta(pattern=r"^\d+(\.\d+)?$")]
_Name = Annotated[str, Meta(min_length=1)]
_Source = Annotated[str, Meta(pattern=r"^https://")]
_Count = Annotated[int, Meta(ge=1)]


class ListedModel(Frozen, frozen=True, kw_only=True):
    """A model's price, USD a million tokens; `unverified`: it is somebody else's word for what the source says."""

    input_usd: _Usd
    output_usd: _Usd
    as_of: date
    source: _Source
    cached_usd: _Usd | None = None
    cache_write_usd: _Usd | None = None
    unverified: bool = False


class Tier(Frozen, frozen=True, kw_only=True):
    """What a unit costs from the tier before on and up to `up_to_units` a month, itself included; null: without end."""

    up_to_units: _Count | None = None
    usd: _Usd


class ServicePrice(Frozen, frozen=True, kw_only=True):
    """The price of one feature of a cloud service, a month, and what it takes at most.

    `tiers` are the list price from the first unit on, as if nothing were free. What is free stands apart: `deducted`
    from each month's bill, or `apart` as another plan that ends at so many units and costs nothing up to there.
    """

    provider: _Name
    sku: _Name
    name: _Name
    measured_in: Literal["characters", "seconds"]
    unit: _Count
    minimum_units: _Count
    tiers: Annotated[tuple[Tier, ...], Meta(min_length=1)]
    free_units: Annotated[int, Meta(ge=0)] = 0
    free_kind: Literal["none", "deducted", "apart"] = "none"
    free_note: str = ""
    docs_a_request: _Count | None = None
    docs_a_second: Annotated[str, Meta(pattern=r"^\d+(\.\d+)?$")] | None = None
    docs_a_day: _Count | None = None
    limits_note: str = ""
    most_bytes: _Count | None = None
    most_characters: _Count | None = None
    source: _Source
    as_of: date
    unverified: tuple[_Name, ...] = ()
    legacy: str = ""

    @property
    def key(self) -> str:
        """The name that a user gives: PROVIDER:SKU."""
        return f"{self.provider}:{self.sku}"

    def __post_init__(self) -> None:
        """Refuse tiers that do not follow each other, and free units that nobody explains."""
        ends = [tier.up_to_units for tier in self.tiers]
        if ends[-1] is not None or None in ends[:-1]:
            raise ValueError(f"{self.key}: the last tier, and only that, has no up_to_units")
        bounded = [end for end in ends if end is not None]
        if any(after <= before for before, after in itertools.pairwise(bounded)):
            raise ValueError(f"{self.key}: each tier ends later than the one before")
        if any(Decimal(after.usd) > Decimal(before.usd) for before, after in itertools.pairwise(self.tiers)):
            raise ValueError(f"{self.key}: no tier is dearer than the one before")
        if bool(self.free_units) != (self.free_kind != "none"):
            raise ValueError(f"{self.key}: free_units and free_kind are given together")
        if self.docs_a_second is not None and not Decimal(self.docs_a_second):
            raise ValueError(f"{self.key}: docs_a_second is above 0")


class GpuPrice(Frozen, frozen=True, kw_only=True):
    """What one GPU costs an hour at one offer.

    Where the source has a range, `usd_per_hour` is its upper end, so that nothing is promised too cheap, and `low_usd`
    and `high_usd` are both ends. A machine of several GPUs is divided by their number: `n_gpus_least` are let together.
    """

    gpu: _Name
    offer: _Name
    usd_per_hour: _Usd
    low_usd: _Usd | None = None
    high_usd: _Usd | None = None
    n_gpus_least: _Count = 1
    kind: Literal["on-demand", "spot", "market"]
    source: _Source
    as_of: date
    unverified: bool = False

    def __post_init__(self) -> None:
        """Refuse a range that does not hold the price, and a GPU that costs nothing."""
        if not Decimal(self.usd_per_hour):
            raise ValueError(f"{self.gpu}, {self.offer}: usd_per_hour is above 0")
        if (self.low_usd is None) != (self.high_usd is None):
            raise ValueError(f"{self.gpu}, {self.offer}: low_usd and high_usd are given together")
        if self.low_usd is not None and not (
            Decimal(self.low_usd) <= Decimal(self.usd_per_hour) <= Decimal(self.high_usd or 0)
        ):
            raise ValueError(f"{self.gpu}, {self.offer}: usd_per_hour is not from low_usd to high_usd")


class PriceList(Frozen, frozen=True, kw_only=True):
    """All that `configs/prices.toml` holds; `models` by PROVIDER:MODEL."""

    models: dict[str, ListedModel]
    services: tuple[ServicePrice, ...]
    gpus: tuple[GpuPrice, ...]

    def __post_init__(self) -> None:
        """Refuse an entry that stands there twice: the second would never be found."""
        for keys in ([one.key for one in self.services], [f"{one.gpu}, {one.offer}" for one in self.gpus]):
            if twice := {key for key in keys if keys.count(key) > 1}:
                raise ValueError(f"{min(twice)} stands there twice")


class Age(Frozen, frozen=True, kw_only=True):
    """How old an entry is; `is_stale` too where its day is still to come, as then it is wrong."""

    kind: Literal["model", "service", "gpu"]
    name: str
    as_of: date
    age_days: int
    is_stale: bool


class OtherPrices(Frozen, frozen=True, kw_only=True):
    """A list of prices that is not ours; `as_of` is null where it tells no date."""

    package: str
    version: str
    n_providers: int
    n_models: int
    as_of: date | None


class Listing(Frozen, frozen=True, kw_only=True):
    """All prices that costs are worked out from, with their ages on one day."""

    schema_version: int
    today: date
    most_age_days: int
    ages: tuple[Age, ...]
    prices: PriceList
    others: OtherPrices


def read(path: Path | None = None) -> PriceList:
    """Read the packaged prices, or those of a file of the same form.

    Raises:
        InputError: the file is damaged, or a price in it cannot be meant.
    """
    path = path or packaged("configs", "prices.toml")
    try:
        return msgspec.toml.decode(path.read_bytes(), type=PriceList)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: the packaged prices cannot be read: {error}; install reviewopt again") from error


def age_days(as_of: date, today: date) -> int:
    """Return how old a price is; negative where its day is still to come."""
    return (today - as_of).days


def ages(prices: PriceList, today: date) -> tuple[Age, ...]:
    """Return the age of each entry: models, services, GPUs, in the order of the file."""
    return (
        *(_age("model", name, one.as_of, today) for name, one in prices.models.items()),
        *(_age("service", one.key, one.as_of, today) for one in prices.services),
        *(_age("gpu", f"{one.gpu}, {one.offer}", one.as_of, today) for one in prices.gpus),
    )


def told(age: Age) -> str:
    """Say how old an entry is, for people."""
    old = f"{age.age_days} days old" if age.age_days >= 0 else "a day still to come"
    return f"{age.name}: of {age.as_of}, {old}"


def listing(prices: PriceList, today: date) -> Listing:
    """Put together what `reviewopt prices` prints; it reads genai-prices, which takes half a second."""
    from genai_prices import __version__, data_snapshot

    providers = data_snapshot.get_snapshot().providers
    theirs = OtherPrices(
        package="genai-prices",
        version=__version__,
        n_providers=len(providers),
        n_models=sum(len(provider.models) for provider in providers),
        as_of=None,
    )
    return Listing(
        schema_version=1,
        today=today,
        most_age_days=MOST_AGE_DAYS,
        ages=ages(prices, today),
        prices=prices,
        others=theirs,
    )


def _age(kind: Literal["model", "service", "gpu"], name: str, as_of: date, today: date) -> Age:
    days = age_days(as_of, today)
    return Age(kind=kind, name=name, as_of=as_of, age_days=days, is_stale=not 0 <= days <= MOST_AGE_DAYS)
