"""Everything that can go wrong for a user, as one tree with its exit codes.

    ReviewoptError            2   base of all; never raised itself
    ├── UsageError            2   flags or configuration that cannot be meant
    ├── InputError            2   a table, a column, a label or a model file that cannot be used
    ├── ModelError            3   a model could not be opened, or reviews stayed unanswered
    ├── BudgetError           4   a budget is spent: reviews stayed unanswered, or nothing was asked
    └── GateError             1   the work is done and written, but a gate or a target is not met

Anything else is a bug: exit 70, with the traceback. A message says what happened, where, and what to do next.
"""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_USAGE: Final = 2
EXIT_BUG: Final = 70
EXIT_INTERRUPTED: Final = 130


class ReviewoptError(Exception):
    """An error that a user can act on."""

    exit_code: ClassVar[int] = EXIT_USAGE


class UsageError(ReviewoptError):
    """Flags or configuration that cannot be meant."""


class InputError(ReviewoptError):
    """A table, a column, a label or a model file that cannot be used."""


class ModelError(ReviewoptError):
    """A model could not be opened, or reviews stayed unanswered."""

    exit_code = 3


class BudgetError(ReviewoptError):
    """A budget is spent: reviews stayed unanswered, or nothing was asked."""

    exit_code = 4


class GateError(ReviewoptError):
    """The work is done and written, but a gate or a target is not met."""

    exit_code = 1
