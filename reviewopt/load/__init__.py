"""Any table of reviews -> frames of exactly REVIEW_SCHEMA, with the untouched input beside them."""

from reviewopt.load.columns import ColumnChoice, Columns
from reviewopt.load.reviews import REVIEW_SCHEMA
from reviewopt.load.table import Chunk, Table, open_table

__all__ = ["REVIEW_SCHEMA", "Chunk", "ColumnChoice", "Columns", "Table", "open_table"]
