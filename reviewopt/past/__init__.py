"""What a home's runs did, from their records: a list, series over the runs of one task, two beside each other, pruning.

`reading` finds and reads the records, `trends` and `pairs` are pure, `pruning` deletes. A record that cannot be read is
a line of the list with its reason, never an error of the whole.
"""

from __future__ import annotations

from reviewopt.past.pairs import compare
from reviewopt.past.pruning import Pruned, prune
from reviewopt.past.reading import find, list_runs, read, run_ids
from reviewopt.past.schema import json_schema
from reviewopt.past.trends import trends
from reviewopt.past.values import Comparison, Entry, RunList, State, Trends, Unread

__all__ = [
    "Comparison",
    "Entry",
    "Pruned",
    "RunList",
    "State",
    "Trends",
    "Unread",
    "compare",
    "find",
    "json_schema",
    "list_runs",
    "prune",
    "read",
    "run_ids",
    "trends",
]
