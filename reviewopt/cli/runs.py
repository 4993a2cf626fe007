"""`reviewopt runs`: what this home's runs did, how that changes, and deleting the records of old ones."""

from __future__ import annotations

import time
from typing import Annotated, Final, get_args

import msgspec
import typer
from typer import Context
from typer.core import TyperGroup

from reviewopt import past, runs
from reviewopt.cli.output import Format, FormatOption, HomeOption, JsonOption, QuietOption, console
from reviewopt.errors import UsageError
from reviewopt.past import State
from reviewopt.render import runs as render
from reviewopt.render.trends import show_trends
from reviewopt.render.two_runs import show_two_runs

_STATES: Final = get_args(State)
_RUN: Final = "A run's id, the start of one, `latest` or `previous`."


class _Listing(TyperGroup):
    """Lists the runs where no command is named."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Put `list` before options that no command comes before."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def group() -> typer.Typer:
    """Make the group of commands."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, cls=_Listing)
    app.callback()(_root)
    app.command("list")(_list)
    app.command("compare")(_compare)
    app.command("trends")(_trends)
    app.command("prune")(_prune)
    return app


def _root() -> None:
    """List, compare and prune the runs of this home, and show how they change.

    \b
    reviewopt runs                             the latest runs, the newest first: `list` may be left out
    reviewopt runs trends                      cost, cache hits, accuracy and speed from run to run
    reviewopt runs compare previous latest     two runs side by side
    reviewopt runs prune --keep 20             what would go; --yes deletes it
    """


def _list(
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, the latest.")] = 10,
    task: Annotated[str | None, typer.Option(metavar="TASK", help="Only runs of this task.")] = None,
    state: Annotated[
        str | None,
        typer.Option(metavar="STATE", help=f"Only runs that are {', '.join(_STATES[:-1])} or {_STATES[-1]}."),
    ] = None,
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List the runs, the newest first.

    Of a run that was killed, or still works, these are the figures that it saved last.

    \b
    reviewopt runs list --limit 100
    reviewopt runs list --state killed --json
    """
    if state is not None and state not in _STATES:
        raise UsageError(f"--state {state}: say {', '.join(_STATES[:-1])} or {_STATES[-1]}")
    place = runs.home_folder(home)
    made = past.list_runs(place, limit=limit, task=task, state=state)  # type: ignore[arg-type]
    if _is_table(made, format_, as_json=as_json, quiet=quiet):
        render.show_list(console(), made, str(place.path))


def _compare(
    a: Annotated[str, typer.Argument(metavar="A", help=_RUN, show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help=_RUN, show_default=False)],
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Set two runs side by side: what B has more than A.

    For the labels row by row: reviewopt compare.

    \b
    reviewopt runs compare previous latest
    reviewopt runs compare 20260102-0304 latest --json
    """
    place = runs.home_folder(home)
    names = past.find(place, a), past.find(place, b)
    made = past.compare(*(past.read(place, name) for name in names))
    if _is_table(made, format_, as_json=as_json, quiet=quiet):
        show_two_runs(console(), made)


def _trends(
    task: Annotated[str | None, typer.Option(metavar="TASK", help="Of this task (default: the latest run's).")] = None,
    table: Annotated[str | None, typer.Option(metavar="TABLE", help="Only runs that read this table.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Only runs in which this model answered.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, the latest.")] = 100,
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Follow cost, cache hits, accuracy and speed over the runs of a task that are done.

    \b
    reviewopt runs trends
    reviewopt runs trends --table reviews.parquet --model gpt-mini
    """
    made = past.trends(past.list_runs(runs.home_folder(home)), task=task, table=table, model=model, limit=limit)
    if _is_table(made, format_, as_json=as_json, quiet=quiet):
        show_trends(console(), made)


def _prune(
    keep: Annotated[int | None, typer.Option("--keep", metavar="N", min=0, help="The latest N stay.")] = None,
    older: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="Older than 30d, 12h, or the UTC day 2026-01-31.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it only say what would go.")] = False,
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Delete the records of old runs; with both --keep and --older-than only those for which both hold.

    A run that still works stays. Kept answers, the spend ledger and the tables that runs wrote are not touched;
    `report`, `explain` and the hits of `cache stats` know a run no more that is deleted.

    \b
    reviewopt runs prune --keep 20
    reviewopt runs prune --keep 20 --older-than 30d --yes
    """
    if keep is None and older is None:
        raise UsageError("say which runs may go: all but the latest (--keep 20), or old ones (--older-than 30d)")
    now_s = time.time()
    made = past.prune(
        runs.home_folder(home),
        now_s=now_s,
        keep=keep,
        before_s=None if older is None else _before_s(older, now_s),
        is_deleting=yes,
    )
    if _is_table(made, format_, as_json=as_json, quiet=quiet):
        render.show_pruned(console(), made)


def _before_s(age: str, now_s: float) -> int:
    from reviewopt.cache.erasure import older_than  # with the archive's libraries, which the lists do without

    return older_than(age, int(now_s))


def _is_table(made: msgspec.Struct, format_: Format, *, as_json: bool, quiet: bool) -> bool:
    """Print the result as JSON where that is wanted; else say whether tables are."""
    if as_json or format_ is Format.JSON:
        print(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())
        return False
    return not quiet
