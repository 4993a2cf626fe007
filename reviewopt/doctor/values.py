"""What a check says."""

from __future__ import annotations

from typing import Final, Literal

from reviewopt.data import Frozen

SCHEMA_VERSION: Final = 1

# `skipped` is what was not looked at: it is neither well nor wrong.
Status = Literal["ok", "warn", "fail", "skipped"]
Figure = str | int | float | bool | None


class Check(Frozen, frozen=True, kw_only=True):
    """One line: what was found, and, unless all is well, what to do.

    `figures` has the same keys whatever was found, and null where that is not known: those of `libraries` are named
    after the libraries, those of `keys` after the variables. A check that could not be made has none.
    """

    name: str
    status: Status
    found: str
    advice: str = ""
    figures: dict[str, Figure]


class Diagnosis(Frozen, frozen=True, kw_only=True):
    """All checks in the order in which they are printed, and how many of them say what."""

    schema_version: int
    n_ok: int
    n_warn: int
    n_fail: int
    n_skipped: int
    checks: tuple[Check, ...]
