"""What the requests of one run took, for its report; read from the ledger without a Python object a field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from reviewopt.budget import database
from reviewopt.budget.values import usd_of

# `reserved` has no index on its opening: one pass over it finds the run's, and each end is then found by its key.
_REQUESTS: Final = """
    SELECT e.kind, e.seconds, coalesce(e.units, r.units) FROM reserved r LEFT JOIN ended e ON e.reservation = r.id
    WHERE r.opening IN (SELECT id FROM openings WHERE run = ?) ORDER BY r.id"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequests:
    """Seconds of a run's settled requests, (n_settled,) in their order, and what counts against the run in USD."""

    seconds: tuple[float, ...]
    charged_usd: Decimal


def run_requests(folder: Path, run_id: str) -> RunRequests | None:
    """Read what a run's requests took; None where there is no ledger.

    What has no end yet is charged at its worst case and has no seconds.

    Raises:
        InputError: the ledger is damaged.
    """
    with database.reading(folder) as sql:
        if sql is None:
            return None
        found = sql.execute(_REQUESTS, (run_id,)).fetchall()
    seconds = tuple(one for kind, one, _ in found if kind == "settle")
    with database.explained(folder):
        if not all(type(one) is float and 0 <= one < math.inf for one in seconds):
            raise database.DamageError("a request's seconds are not what was written")
    return RunRequests(seconds=seconds, charged_usd=usd_of(sum(units for *_, units in found)))
