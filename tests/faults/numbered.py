"""Entries of the archive that are told by a number: what a test writes, and what a process of its own writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import polars as pl

from reviewopt.cache.archive import Archive
from reviewopt.cache.entry import ENTRY_SCHEMA

CONTEXTS = {"0" * 16: "{}"}


def key(n: int) -> str:
    return hashlib.sha256(b"%d" % n).hexdigest()[:32]


def answer(n: int) -> str:
    return f"answer {n}"


def entries(*numbers: int, padding: int = 0) -> pl.DataFrame:
    n = len(numbers)
    return pl.DataFrame(
        {
            "key": [key(number) for number in numbers],
            "context": ["0" * 16] * n,
            "answer": [answer(number) for number in numbers],
            "confidence": [0.5] * n,
            "cost_usd": [0] * n,
            "created_s": [1_795_000_000] * n,
            "tenant": ["acme"] * n,
            "review_id": [f"r{number}" for number in numbers],
            "text": [f"the words of review {number}" + " and more" * padding for number in numbers],
        },
        schema=ENTRY_SCHEMA,
    )


def quiet(_: str) -> None:
    pass


def opened(folder: Path, on_warning: Callable[[str], None] = quiet) -> Archive:
    return Archive.open(folder, compress_above_bytes=300, on_warning=on_warning)
