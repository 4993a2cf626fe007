"""The rows that a purse adds to the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from reviewopt.budget.values import Asked, Release, Reservation, Settlement

_MOST_TOKENS: Final = 1 << 53
_MOST_CHARS: Final = 200  # of a request's id, which the endpoint chooses
OPEN: Final = "INSERT INTO openings (at, run, model, endpoint, task) VALUES (?, ?, ?, ?, ?)"
RESERVE: Final = (
    "INSERT INTO reserved (id, at, opening, day, units, shares, n_reviews, body_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
END: Final = (
    "INSERT INTO ended (reservation, at, kind, units, shares, seconds, outcome, request_id, input, cached, cache_write,"
    " output, reasoning) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
ASK: Final = "INSERT INTO questions (reservation, review_id, key, n_tokens, units, outcome) VALUES (?, ?, ?, ?, ?, ?)"
Row = tuple[Any, ...]


def reserved(at: float, opening: int | None, one: Reservation) -> Row:
    """Write a reservation as a row."""
    wanted = one.wanted
    return (one.id, at, opening, one.day, one.units, _json(one.shares), wanted.n_reviews, wanted.body_bytes)


def settled(at: float, one: Settlement, units: int, shares: Mapping[str, int]) -> Row:
    """Write a settlement as a row."""
    about = (one.reservation.id, at, "settle", units, _json(shares), one.seconds, one.outcome, _short(one.request_id))
    if (usage := one.usage) is None:
        return (*about, None, None, None, None, None)
    counts: tuple[int, ...] = (usage.input, usage.cached, usage.cache_write, usage.output, usage.reasoning)
    if max(counts) > _MOST_TOKENS or min(counts) < 0:  # an endpoint's nonsense: SQLite takes 64 bits
        counts = tuple(max(0, min(count, _MOST_TOKENS)) for count in counts)
    return about + counts


def released(at: float, one: Release, shares: Mapping[str, int]) -> Row:
    """Write a release as a row."""
    about = (one.reservation.id, at, "release", 0, _json(shares), one.seconds, one.outcome, _short(one.request_id))
    return (*about, None, None, None, None, None)


def asked(reservation: int, questions: Sequence[Asked], parts: Sequence[int]) -> list[Row]:
    """Write the questions of a request as rows, each with its part of the charge."""
    return [
        (reservation, _plain(question.review_id), question.key, question.n_tokens, part, question.outcome)
        for question, part in zip(questions, parts, strict=True)
    ]


def _short(text: str | None) -> str | None:
    return None if text is None else _plain(text[:_MOST_CHARS])


def _plain(text: str) -> str:
    """Return text that SQLite takes: half a character becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _json(shares: Mapping[str, int]) -> str:
    return msgspec.json.encode(shares).decode()
