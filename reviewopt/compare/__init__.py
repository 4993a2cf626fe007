"""Two outputs of the same reviews beside each other: which is right more often, what each cost, where they differ most.

Beside `plan` and `report`: it reads labelled tables, whoever made them, and writes nothing.

    rows        a labelled table -> one small frame of what is compared, and what its labels cost
    matching    two of them -> the rows that are the same review in both
    making      these -> the Comparison
    values      the Comparison, and its JSON
"""

from reviewopt.compare.making import compare
from reviewopt.compare.rows import Labelled, Rows, read
from reviewopt.compare.values import Comparison, json_schema, to_json

__all__ = ["Comparison", "Labelled", "Rows", "compare", "json_schema", "read", "to_json"]
