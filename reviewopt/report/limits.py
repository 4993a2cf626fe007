"""The settings `[gates]` -> limits; what cannot be meant is refused with what to write instead."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

from reviewopt.config import Setting
from reviewopt.errors import UsageError
from reviewopt.report.gates import Limits
from reviewopt.settings import GateSettings

FLAGS: Final[Mapping[str, str]] = {
    "min_accuracy": "--min-accuracy",
    "max_cost_usd": "--max-cost",
    "max_cost_per_1k_usd": "--max-cost-per-1k",
    "min_hit_rate": "--min-hit-rate",
    "min_throughput": "--min-throughput",
    "max_failures": "--max-failures",
    "max_p95_latency_s": "--max-p95-latency",
    "max_regression": "--max-regression",
}
_COUNT: Final = re.compile(r"\d{1,15}")


def limits(gates: GateSettings, settings: Sequence[Setting]) -> Limits:
    """Return the limits that are set.

    Args:
        gates: the settings.
        settings: all settings with their origins, for messages.

    Raises:
        UsageError: a value is no share, amount, count or time that a run can be held against.
    """
    origins = {one.name: one.origin for one in settings}

    def where(name: str) -> str:
        origin = origins.get(f"gates.{name}", "flag")
        return FLAGS[name] if origin == "flag" else f"{origin}: gates.{name} ="

    def least(name: str, value: float | str) -> float | str:
        """Return "" for a 0 that is written in a file: off, as for other settings."""
        return "" if value in {0, "0"} and origins.get(f"gates.{name}") != "flag" else value

    count, share = _failures(where("max_failures"), gates.max_failures)
    return Limits(
        min_accuracy=_share(where("min_accuracy"), least("min_accuracy", gates.min_accuracy)),
        max_cost_usd=_usd(where("max_cost_usd"), gates.max_cost_usd),
        max_cost_per_1k_usd=_usd(where("max_cost_per_1k_usd"), gates.max_cost_per_1k_usd),
        min_hit_rate=_share(where("min_hit_rate"), least("min_hit_rate", gates.min_hit_rate)),
        min_throughput=_above_0(
            where("min_throughput"), least("min_throughput", gates.min_throughput), "reviews a second"
        ),
        max_failures=count,
        max_failures_share=share,
        max_p95_latency_s=_above_0(where("max_p95_latency_s"), gates.max_p95_latency_s, "seconds"),
        max_regression=_share(where("max_regression"), gates.max_regression, is_positive=False),
    )


def _written(value: float | str) -> str:
    return f"{value:.15g}" if isinstance(value, float | int) else value.strip()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _share(where: str, value: float | str, *, is_positive: bool = True) -> float | None:
    """Read .95 or 95%."""
    if not (text := _written(value)):
        return None
    is_percent = text.endswith("%")
    number = _number(text.removesuffix("%"))
    share = float(Decimal(text.removesuffix("%").strip()) / 100) if is_percent and math.isfinite(number) else number
    if (0 < share <= 1) or (share == 0 and not is_positive):
        return share
    hint = f"; write {number / 100:g} or {number:g}%" if not is_percent and 1 < number <= 100 else ""
    kind = "a share above 0 and up to 1" if is_positive else "a share of 0 to 1"
    raise UsageError(f"{where} {text}: {kind} is needed{hint or ': .05 or 5%'}")


def _usd(where: str, value: float | str) -> Decimal | None:
    if not (text := _written(value)):
        return None
    try:
        usd = Decimal(text)
    except InvalidOperation:
        usd = Decimal("NaN")
    if usd.is_finite() and usd >= 0:
        return usd
    raise UsageError(f"{where} {text}: an amount of USD is needed, as a number: 2.50")


def _above_0(where: str, value: float | str, unit: str) -> float | None:
    if not (text := _written(value)):
        return None
    number = _number(text)
    if 0 < number < math.inf:
        return number
    hint = f"; write {text[:-1].strip()}" if unit == "seconds" and text.endswith("s") else ""
    raise UsageError(f"{where} {text}: a number of {unit} above 0 is needed{hint}")


def _failures(where: str, value: float | str) -> tuple[int | None, float | None]:
    """Read a count of reviews, or a share of them with its percent sign."""
    text = _written(value)
    if not text:
        return None, None
    if _COUNT.fullmatch(text):
        return int(text), None
    if text.endswith("%"):
        return None, _share(where, text, is_positive=False)
    number = _number(text)
    hint = f"; write {100 * number:g}%" if 0 < number < 1 else ""
    raise UsageError(f"{where} {text}: a count of reviews or a share of them is needed, 20 or 1%{hint}")
