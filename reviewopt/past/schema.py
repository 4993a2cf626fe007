"""The JSON Schema of what `reviewopt runs` prints for programs."""

from __future__ import annotations

import inspect

import msgspec

from reviewopt.past.pruning import Pruned
from reviewopt.past.values import Comparison, RunList, Trends


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of a list, trends, a comparison or a pruning; `configs/runs.schema.json` is its file."""
    forms, definitions = msgspec.json.schema_components(
        (RunList, Trends, Comparison, Pruned), ref_template="#/$defs/{name}"
    )
    for definition in definitions.values():  # Python 3.13 strips the indentation of docstrings, earlier ones do not
        definition["description"] = inspect.cleandoc(definition.get("description", ""))
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "anyOf": list(forms), "$defs": definitions}
    plain: dict[str, object] = msgspec.json.decode(msgspec.json.encode(whole))
    return plain
