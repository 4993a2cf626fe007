"""Money: a request's worst case is reserved before it is sent, and settled once its reply is there.

`purse` is what a run holds, `database` the append-only ledger in `HOME/spend`, `entries` what reports read of it.
Three budgets are kept, and none is ever overshot, whatever other threads and processes of the home do: this run's, the
day's over all runs, and each tenant's over all runs of all time. A reservation that nobody ends (a process that was
killed, a reply that never came) stays charged at its worst case.
"""

from reviewopt.budget.database import FOLDER
from reviewopt.budget.entries import (
    History,
    asked_questions,
    entries,
    history,
    recomputed,
    spent_by_tenant,
    totals,
)
from reviewopt.budget.purse import Purse
from reviewopt.budget.requests import RunRequests, run_requests
from reviewopt.budget.values import Asked, Refusal, Release, Reservation, Settlement, Spent, Wanted

__all__ = [
    "FOLDER",
    "Asked",
    "History",
    "Purse",
    "Refusal",
    "Release",
    "Reservation",
    "RunRequests",
    "Settlement",
    "Spent",
    "Wanted",
    "asked_questions",
    "entries",
    "history",
    "recomputed",
    "run_requests",
    "spent_by_tenant",
    "totals",
]
