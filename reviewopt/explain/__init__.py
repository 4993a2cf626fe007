"""One review of a run -> where its answer came from: who gave it, when, in which requests, and what it cost.

`table` reads the few rows that are wanted of the labelled table, `copies` finds whose answer a copy took, `stored` the
archived answer, `asked` the requests and the failures; `making` puts them together.
"""

from reviewopt.explain.making import explain, home_of
from reviewopt.explain.values import Explained, Explanation, Failed, Sent, Stored

__all__ = ["Explained", "Explanation", "Failed", "Sent", "Stored", "explain", "home_of"]
