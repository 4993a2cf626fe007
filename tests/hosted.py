"""A workload and prices of GPUs that the tests of hosting share."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from reviewopt.hosting.figures import Workload
from reviewopt.pricelist import GpuPrice


def workload_of(**changed: Any) -> Workload:
    """A table of middling complexity, a model of 8 billion parameters, packs of 25."""
    given: dict[str, Any] = {
        "model_b": 8.0,
        "input_tokens": 180.0,
        "output_tokens": 12.0,
        "request_tokens": 4400.0,
        "n_monthly": 1_000_000,
        "complexity": 0.45,
        "urgency": "normal",
        "usd_per_hour_max": None,
        "utilisation": 0.5,
        "country": "US",
        "usd_per_kwh": "0.08",
        "gco2_per_kwh": 369.0,
        **changed,
    }
    return Workload(**given)


def price_of(
    gpu: str,
    usd: str,
    kind: Literal["on-demand", "spot", "market"] = "on-demand",
    offer: str = "a cloud",
    n_gpus_least: int = 1,
) -> GpuPrice:
    return GpuPrice(
        gpu=gpu, offer=f"{offer}, {kind}", usd_per_hour=usd, kind=kind, source="https://example.com/gpus",
        as_of=date(2026, 11, 1), n_gpus_least=n_gpus_least,
    )  # fmt: skip


PRICES = (
    price_of("T4", "0.526"),
    price_of("T4", "0.2", "spot"),
    price_of("L40S", "1.09", "market"),
    price_of("A100 40GB", "1.99", "market"),
    price_of("A100 80GB", "1.79", "market"),
    price_of("H100", "6.88"),
    price_of("H100", "3.99", "market"),
    price_of("H100", "3.2", "spot"),
    price_of("H200", "7.912"),
    price_of("H200", "4.59", "market"),
)
