"""The JSON Schema of what `reviewopt runs` prints for programs."""

from __future__ import annotations

from reviewopt.data import schema_of
from reviewopt.past.pruning import Pruned
from reviewopt.past.values import Comparison, RunList, Trends


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of a list, trends, a comparison or a pruning; `configs/runs.schema.json` is its file."""
    return schema_of(RunList, Trends, Comparison, Pruned)
