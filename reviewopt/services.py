"""What cloud services for text ask for a table of reviews. All money is `Decimal` USD. Pure.

A service bills units of so many characters, rounded up document by document, with a minimum for each: the bill depends
on how the lengths spread and never on their mean. A table's lengths are therefore kept as counts of distinct lengths,
which sum over chunks and price any service exactly.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.errors import UsageError
from reviewopt.pricelist import ServicePrice

I64 = npt.NDArray[np.int64]

_USUAL: Final = "sentiment"
_SECONDS_A_DAY: Final = 86_400
_BLANK: Final = r"^\s*$"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sizes:
    """How long the documents are that would be sent.

    Attributes:
        n_rows: documents, which are the rows with a text.
        chars: int64 (n_lengths,), their distinct lengths in code points, ascending. Azure bills text elements, of which
            a text never has more than code points: its price is an upper bound.
        counts: int64 (n_lengths,), documents of each length.
    """

    n_rows: int
    chars: I64
    counts: I64

    @classmethod
    def of(cls, lengths: npt.ArrayLike) -> Sizes:
        """Count lengths in code points, (n_documents,)."""
        chars, counts = np.unique(np.asarray(lengths, dtype=np.int64), return_counts=True)
        return cls(n_rows=int(counts.sum()), chars=chars, counts=counts.astype(np.int64))

    def __add__(self, other: Sizes) -> Sizes:
        """Put the documents of two chunks together."""
        chars, at = np.unique(np.concatenate((self.chars, other.chars)), return_inverse=True)
        counts = np.zeros(len(chars), dtype=np.int64)
        np.add.at(counts, at, np.concatenate((self.counts, other.counts)))
        return Sizes(n_rows=self.n_rows + other.n_rows, chars=chars, counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The units of a bill that one tier prices."""

    n_units: int
    usd_a_unit: Decimal
    usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What so many units cost in one month; `parts` are the tiers that they reach, and add up to `list_usd`."""

    n_units: int
    list_usd: Decimal
    parts: tuple[Part, ...]
    after_free_usd: Decimal


def find(name: str, services: Sequence[ServicePrice]) -> ServicePrice:
    """Find a service by PROVIDER:SKU, or by its provider alone, which means the sentiment of a whole text.

    Raises:
        UsageError: there is none of this name; it suggests the nearest.
    """
    known = {service.key: service for service in services}
    key = name if ":" in name else f"{name}:{_USUAL}"
    if key in known:
        return known[key]
    providers = list(dict.fromkeys(service.provider for service in services))
    near = difflib.get_close_matches(name, [*providers, *known], n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    raise UsageError(f"no price is known of the service {name}; {hint}")


def sizes(title: pl.Series, text: pl.Series) -> Sizes:
    """Measure what would be sent of each row: title, a line break and the text; the text alone without a title.

    Args:
        title: String (n_rows,), null or empty where a row has none.
        text: String (n_rows,); a row whose text is null, empty or white space only is not sent.
    """
    rows = pl.DataFrame({"title": title, "text": text})
    before = pl.col("title").str.len_chars().fill_null(0)
    lengths = rows.filter(~pl.col("text").fill_null("").str.contains(_BLANK)).select(
        (pl.col("text").str.len_chars() + pl.when(before > 0).then(before + 1).otherwise(0)).alias("chars")
    )
    counted = lengths.group_by("chars").len().sort("chars")
    return Sizes(
        n_rows=len(lengths),
        chars=counted["chars"].cast(pl.Int64).to_numpy(),
        counts=counted["len"].cast(pl.Int64).to_numpy(),
    )


def n_units(service: ServicePrice, sizes: Sizes) -> int:
    """Return the units that a service bills for these documents: rounded up one by one, each at least the minimum.

    Raises:
        UsageError: the service does not bill characters.
    """
    if service.measured_in != "characters":
        raise UsageError(f"{service.key} is billed by the {service.measured_in[:-1]} and not by length: give its units")
    billed = units(sizes.chars, unit=service.unit, least=service.minimum_units)
    return int((billed * sizes.counts).sum())


def units(chars: I64, *, unit: int, least: int) -> I64:
    """Return the units of documents of so many code points, int64 (n,): rounded up one by one, at least `least`."""
    return np.maximum(-(-chars // unit), least)


def bill(service: ServicePrice, n_units: int) -> Bill:
    """Price the units of one month: each at its own tier, from the first unit on as if nothing were free.

    `after_free_usd` is what is left of that where the service's free units can be had: without the first of them where
    they are deducted; nothing or all of it where they are a plan of their own.
    """
    parts = _parts(service, n_units)
    list_usd = _total(parts)
    after_free_usd = list_usd
    if service.free_kind == "deducted":
        after_free_usd -= _total(_parts(service, min(n_units, service.free_units)))
    elif service.free_kind == "apart" and n_units <= service.free_units:
        after_free_usd = Decimal(0)
    return Bill(n_units=n_units, list_usd=list_usd, parts=parts, after_free_usd=after_free_usd)


def seconds(service: ServicePrice, n_docs: int) -> float | None:
    """Return how long so many documents take at least at the documented limits; None where none is documented."""
    if service.docs_a_second is None:
        return None
    whole_days = 0 if service.docs_a_day is None else max(0, n_docs - 1) // service.docs_a_day
    rest = n_docs - whole_days * (service.docs_a_day or 0)
    return float(whole_days * _SECONDS_A_DAY + rest / Decimal(service.docs_a_second))


def _parts(service: ServicePrice, n_units: int) -> tuple[Part, ...]:
    parts = []
    begin = 0
    for tier in service.tiers:
        end = n_units if tier.up_to_units is None else min(n_units, tier.up_to_units)
        if end <= begin:
            break
        usd = Decimal(tier.usd)
        parts.append(Part(n_units=end - begin, usd_a_unit=usd, usd=(end - begin) * usd))
        begin = end
    return tuple(parts)


def _total(parts: Sequence[Part]) -> Decimal:
    return sum((part.usd for part in parts), Decimal(0))
