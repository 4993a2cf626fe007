"""A run's record -> Report: the record, what became of the run, what it cost, and whether it is good enough.

`values` is what a report holds, `making` reads it, `gates` holds it against limits, `baseline` against an earlier run.
Every figure that any format shows comes from one Report.
"""

from reviewopt.report.gates import Limits, accuracy_breach, breaches, called
from reviewopt.report.making import make, of_read, of_run, read
from reviewopt.report.values import (
    SCHEMA_VERSION,
    Bill,
    Comparison,
    Difference,
    Figure,
    Gate,
    Latency,
    Report,
    State,
    figures,
    json_schema,
    to_json,
)

__all__ = [
    "SCHEMA_VERSION",
    "Bill",
    "Comparison",
    "Difference",
    "Figure",
    "Gate",
    "Latency",
    "Limits",
    "Report",
    "State",
    "accuracy_breach",
    "breaches",
    "called",
    "figures",
    "json_schema",
    "make",
    "of_read",
    "of_run",
    "read",
    "to_json",
]
