"""The same reviews at a rival's price, speed and quality, beside runs of our own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Final

import msgspec

from reviewopt import runs
from reviewopt.benchmark.own import Measured, name_of, of_run
from reviewopt.benchmark.record import SCHEMA_VERSION, Benchmark, Reviews, json_schema
from reviewopt.benchmark.rivals import Billed, of_model, of_service, with_live
from reviewopt.benchmark.spec import Spec, parse
from reviewopt.benchmark.verdict import saving, verdict
from reviewopt.benchmark.volume import scale
from reviewopt.benchmark.words import summary

__all__ = [
    "Benchmark",
    "Billed",
    "Measured",
    "Reviews",
    "Spec",
    "json_schema",
    "make",
    "name_of",
    "of_model",
    "of_run",
    "of_service",
    "parse",
    "to_json",
    "with_live",
]

_INDENT: Final = 2


def make(
    reviews: Reviews,
    measured: Sequence[Measured],
    billed: Sequence[Billed],
    notes: Sequence[str] = (),
    *,
    monthly: int | None = None,
) -> Benchmark:
    """Put runs of ours and rivals side by side.

    Args:
        reviews: what everybody is priced on.
        measured: runs of ours, the plain one first.
        billed: rivals with their bills.
        notes: what else the reader should know.
        monthly: reviews of a month of the user's, where they said how many.
    """
    curves = {one.own.name: one.curve for one in measured} | {one.rival.name: one.curve for one in billed}
    pairs = list(product(measured, billed))
    judged = [(ours, theirs, verdict(ours, theirs)) for ours, theirs in pairs]
    return Benchmark(
        schema_version=SCHEMA_VERSION,
        made_at=runs.now(),
        reviews=reviews,
        own=tuple(one.own for one in measured),
        rivals=tuple(one.rival for one in billed),
        savings=tuple(saving(ours, theirs.rival) for ours, theirs in pairs),
        scale=scale(curves, monthly),
        notes=tuple(notes),
        verdicts=tuple(made for _, _, made in judged),
        summary=summary(judged),
    )


def to_json(made: Benchmark) -> str:
    """Return the comparison as indented JSON: every key, in a stable order."""
    return msgspec.json.format(msgspec.json.encode(made), indent=_INDENT).decode()
