"""Sides of a comparison to test with: rivals at a price, and a run of ours."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from reviewopt import pricelist, services
from reviewopt.accuracy import Estimate
from reviewopt.benchmark.own import Measured
from reviewopt.benchmark.record import Live, Own, Proven, Reviews
from reviewopt.benchmark.rivals import Billed, of_service, per_1000
from reviewopt.benchmark.spec import Spec
from reviewopt.benchmark.volume import Flat
from reviewopt.paired import of_counts
from reviewopt.pricelist import ServicePrice, Tier

TODAY = date(2026, 11, 22)
SIZES = services.Sizes.of([430] * 10_000)
REVIEWS = Reviews(
    names=("shop/|reviews|.csv",), n_rows=10_400, n_reviews=10_000, mean_characters=430.0, fingerprint="0" * 64
)
PROVEN = Proven(
    reference="strong", target=0.95, confidence=0.95, accuracy_low=0.9512, is_met=True, reason="met",
    n_reference_rows=2_400,
)  # fmt: skip


def service(
    tiers: tuple[tuple[int | None, str], ...] = ((1_000, "0.001"), (None, "0.0005")), **more: Any
) -> ServicePrice:
    """A service that bills every 100 characters; `more` is whatever matters."""
    given: dict[str, Any] = {
        "provider": "cloud", "sku": "sentiment", "name": "Cloud, sentiment", "measured_in": "characters", "unit": 100,
        "minimum_units": 1, "tiers": tuple(Tier(up_to_units=end, usd=usd) for end, usd in tiers),
        "source": "https://example.com/prices", "as_of": "2026-11-21",
    }  # fmt: skip
    return msgspec.convert({**given, **more, "tiers": msgspec.to_builtins(given["tiers"])}, ServicePrice)


def billed(name: str = "aws", monthly: int = 50_000) -> Billed:
    """A cloud service of the packaged price list, on 10,000 reviews of 430 characters."""
    listed = services.find(name, pricelist.read().services)
    return of_service(Spec(name=name, form="service", service=listed), listed, SIZES, monthly, today=TODAY)


def asked(rival: Billed, own: Measured, *, only_ours: int, only_theirs: int, n_mixed: int = 0, n: int = 500) -> Billed:
    """The rival once it was really asked about n reviews, of which so many only one side had right."""
    both = n * 4 // 5 - max(only_ours, only_theirs)
    paired = of_counts(n, both, n, both + only_ours, both + only_theirs, both)
    live = Live(
        run_id="20261122-120000-000000", n_sampled=n, n_answered=n, n_mixed=n_mixed, seconds=3.0, spent_usd="0.25",
        is_simulated=False, paired={own.own.name: {"dropped": paired, "neutral": paired}},
    )  # fmt: skip
    return Billed(rival=msgspec.structs.replace(rival.rival, accuracy=paired.accuracy_b, live=live), curve=rival.curve)


def measured(usd: str = "0.05", *, monthly: int = 50_000, proven: Proven | None = None, **more: Any) -> Measured:
    """A run of ours that cost so much for 10,000 reviews; `more` changes its record."""
    amount, least = Decimal(usd), 1 if proven is None else 10_000
    curve = Flat(amount, 10_000, least)
    own = Own(
        name="reviewopt" if proven is None else "reviewopt certified",
        run_id="20261122-110000-000000",
        what="local model > cheap",
        usd=usd,
        parts={"cheap": usd},
        not_comparable=None,
        labels_of_people=0,
        usd_per_1000=per_1000(amount, 10_000),
        monthly=curve.monthly(monthly),
        seconds=12.0,
        reviews_per_s=833.0,
        accuracy=Estimate(value=0.885, low=0.878, high=0.891),
        proven=proven,
        is_simulated=False,
        remarks=(),
    )
    return Measured(own=msgspec.structs.replace(own, **more), curve=curve, least=least)
