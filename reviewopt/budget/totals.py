"""The sums that budgets are kept by: what counts against each scope, reserved or charged."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping
from typing import Final

from reviewopt.budget.database import DamageError

_READ: Final = "SELECT units, seal FROM totals WHERE scope = ?"
_WRITE: Final = (
    "INSERT INTO totals (scope, units, seal) VALUES (?, ?, ?)"
    " ON CONFLICT (scope) DO UPDATE SET units = excluded.units, seal = excluded.seal"
)


class Totals:
    """The totals as one connection sees them, read again only when another connection has written."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql
        self._version: int | None = None
        self._written: int | None = None
        self._units: dict[str, int] = {}
        self.last_id = 0

    def follow(self) -> None:
        """Forget what another connection has changed since; inside a write transaction, nothing changes after it."""
        version = self._sql.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._units.clear()
            self.last_id = self._sql.execute("SELECT max(id) FROM reserved").fetchone()[0] or 0
            self._version = version

    def of(self, scope: str) -> int:
        """Return what counts against a scope, in units, 0 for a new one.

        Raises:
            DamageError: it is not what was written.
        """
        if scope not in self._units:
            self._units[scope] = read(self._sql, scope)
        return self._units[scope]

    def write(self, after: Mapping[str, int]) -> None:
        """Replace the totals that are others now.

        Until `keep` says that they were committed, nothing that is known here is believed: an interruption between the
        two must not bring back totals that are too low.
        """
        changed = [(scope, units, _seal(scope, units)) for scope, units in after.items() if units != self.of(scope)]
        self._written, self._version = self._version, None
        self._sql.executemany(_WRITE, changed)

    def keep(self, after: Mapping[str, int], *, n_more: int = 0) -> None:
        """Take note that `after` was committed, with `n_more` reservations."""
        self._version = self._written
        self._units |= after
        self.last_id += n_more


def read(sql: sqlite3.Connection, scope: str) -> int:
    """Return what counts against a scope, in units, 0 for a new one.

    Raises:
        DamageError: it is not what was written.
    """
    row = sql.execute(_READ, (scope,)).fetchone()
    if row is None:
        return 0
    units, seal = row
    if type(units) is not int or seal != _seal(scope, units):
        raise DamageError("a total is not what was written")
    return units


def read_all(sql: sqlite3.Connection) -> dict[str, int]:
    """Return what counts against every scope, in units, sorted.

    Raises:
        DamageError: one is not what was written.
    """
    scopes = sql.execute("SELECT scope FROM totals ORDER BY scope").fetchall()
    return {scope: read(sql, scope) for (scope,) in scopes}


def _seal(scope: str, units: int) -> int:
    """Return the checksum of a total: SQLite does not notice a flipped bit in a number."""
    return zlib.crc32(f"{scope} {units}".encode())
