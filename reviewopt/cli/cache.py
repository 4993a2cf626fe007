"""`reviewopt cache`: see, warm, check, move and take back the answers that are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, get_args

import msgspec
import typer

from reviewopt import config, runs, write
from reviewopt.cache import erasure, exported, shelf, stats, transfer, upkeep
from reviewopt.cache.archive import Archive
from reviewopt.cache.erasure import Criteria
from reviewopt.cache.keys import Source
from reviewopt.cli import cache_warm, opening
from reviewopt.cli.output import Format, FormatOption, HomeOption, JsonOption, QuietOption, console
from reviewopt.errors import GateError, InputError, UsageError
from reviewopt.render import cache as render
from reviewopt.render import parts
from reviewopt.runs import Home

_SOURCES: Final = get_args(Source)


def group() -> typer.Typer:
    """Make the group of commands."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)
    app.callback()(_root)
    app.command("stats")(_stats)
    app.command("warm")(cache_warm.command)
    app.command("verify")(_verify)
    app.command("export")(_export)
    app.command("import")(_import)
    app.command("invalidate")(_invalidate)
    app.command("clear")(_clear)
    return app


def _root() -> None:
    """See, warm, check, move and take back the answers that are kept.

    \b
    reviewopt cache stats                            what is kept, and what it saved
    reviewopt cache warm labelled.parquet            answers that are known need no model
    reviewopt cache invalidate --text 'the review'   take an answer back
    """


def _stats(
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Print what is kept, and what it saved.

    \b
    reviewopt cache stats
    reviewopt cache stats --json
    """
    merged, _ = config.load({})
    place = runs.home_folder(home)
    with _archive(place, _notes(quiet=quiet)) as archive:
        made = stats.measure(place, place.path / shelf.FOLDER, archive, merged.cache, now_s=int(time.time()))
    if _is_table(made, format_, as_json=as_json, quiet=quiet):
        render.show_stats(console(), made)


def _verify(
    repair: Annotated[bool, typer.Option("--repair", help="Delete the damaged rows; they are asked anew.")] = False,
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Check every kept answer; exit 1 if one is damaged.

    \b
    reviewopt cache verify
    reviewopt cache verify --repair      delete what is damaged
    """
    warnings: list[str] = []
    with _archive(runs.home_folder(home), warnings.append) as archive:
        held = _existing(archive, home)
        if warnings:  # it was damaged as a whole, and what is open now is a new one
            raise GateError(warnings[0])
        with render.CountDisplay(console(stderr=True, quiet=quiet), "checking", quiet=quiet) as progress:
            made = upkeep.verify(held, repair=repair, on_progress=progress)
    if _is_table(made, format_, as_json=as_json, quiet=quiet):
        render.show_verified(console(), made)
    if not made.is_sound:
        n_left = made.n_damaged - made.n_deleted
        what = f"damaged: {n_left:,} of {made.n_rows:,} rows" if n_left else "the file is damaged"
        advice = "delete them: reviewopt cache verify --repair" if n_left else "export what can be read, clear, import"
        raise GateError(f"{what}; {advice}")


def _export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .parquet or .jsonl file.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Write every kept answer to a file.

    Each row holds the answer, its text and everything that decided it.

    \b
    reviewopt cache export answers.parquet
    reviewopt cache export answers.jsonl --force
    """
    columns = exported.schema(file.suffix)
    if file.exists() and not force:
        raise UsageError(f"{file} exists and is kept; replace it with --force or name another file")
    with _archive(runs.home_folder(home), _notes(quiet=quiet)) as archive:
        held = _existing(archive, home)
        with (
            render.CountDisplay(console(stderr=True, quiet=quiet), "exporting", quiet=quiet) as progress,
            write.open_output(file, columns, inputs=(), force=force) as output,
        ):
            made = transfer.export(held, file, output.append, progress)
            output.commit()
    if _is_table(made, format_, as_json=as_json, quiet=quiet):
        render.show_exported(console(), made)


def _import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that export has written.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace answers that are known already.")] = False,
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Take in answers from an exported file.

    Every row is checked, and no key of the file is believed.

    \b
    reviewopt cache import answers.parquet
    reviewopt cache import answers.parquet --home shared
    """
    merged, _ = config.load({})
    err = console(stderr=True, quiet=quiet)
    with render.CountDisplay(err, "checking", quiet=quiet) as progress:
        checked = transfer.check(file, progress)
    with (
        cache_warm.open_shelf(runs.home_folder(home), merged, opening.Notes(err)) as opened,
        render.CountDisplay(err, "importing", quiet=quiet) as progress,
    ):
        made = transfer.import_file(opened.archive, file, checked, force=force, on_progress=progress)
    if _is_table(made, format_, as_json=as_json, quiet=quiet):
        render.show_imported(console(), made)


def _invalidate(
    task: Annotated[str | None, typer.Option(metavar="TASK", help="Answers to this task.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Answers of this model.")] = None,
    tenant: Annotated[str | None, typer.Option(metavar="TENANT", help="Asked for this tenant's review first.")] = None,
    older: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="Older than 30d, 12h, or the UTC day 2026-01-31.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(metavar="VERSION", help="Answers to this version of a prompt.")] = None,
    source: Annotated[str | None, typer.Option(metavar="SOURCE", help="Answers of human, warm or model.")] = None,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="The answer to this text, with any title.")] = None,
    review_id: Annotated[str | None, typer.Option(metavar="ID", help="The answer asked for this review first.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Take answers back, for good.

    Those go for which everything that is given holds.

    \b
    reviewopt cache invalidate --model gpt-mini --older-than 30d --dry-run
    reviewopt cache invalidate --text 'the whole text of a review'
    reviewopt cache invalidate --source warm --task sentiment
    """
    criteria = Criteria(
        task=task,
        model=model,
        tenant=tenant,
        source=_source(source),
        prompt=prompt,
        before_s=None if older is None else erasure.older_than(older, int(time.time())),
        form=None if text is None else erasure.form_of(text),
        review_id=review_id,
    )
    place = runs.home_folder(home)
    with _archive(place, _notes(quiet=quiet)) as archive:
        made = erasure.invalidate(place, place.path / shelf.FOLDER, archive, criteria, dry_run=dry_run)
    if _is_table(made, format_, as_json=as_json, quiet=quiet):
        render.show_invalidated(console(), made)


def _clear(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it only say what would go.")] = False,
    home: HomeOption = None,
    quiet: QuietOption = False,
    format_: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Delete every kept answer.

    \b
    reviewopt cache export answers.parquet && reviewopt cache clear --yes
    """
    place = runs.home_folder(home)
    with _archive(place, _notes(quiet=quiet)) as archive:
        held = upkeep.holdings(archive)  # of no archive too: nothing
        if not yes:
            cost = parts.usd(held.cost_usd)
            raise UsageError(
                f"this deletes {held.n_entries:,} answers that cost {cost} to obtain; add --yes to do it "
                "(reviewopt cache export FILE keeps a copy)"
            )
        if archive is not None:
            upkeep.clear(archive, place.path / shelf.FOLDER)
    made = msgspec.structs.replace(held, is_cleared=True)
    if _is_table(made, format_, as_json=as_json, quiet=quiet):
        render.show_cleared(console(), made.n_entries, made.cost_usd)


@contextmanager
def _archive(home: Home, on_warning: Callable[[str], None]) -> Iterator[Archive | None]:
    """Open the archive of a home, None where there is none: nothing is made here."""
    if not shelf.exists(home.path):
        yield None
        return
    merged, _ = config.load({})
    above = merged.cache.archive.compress_above_bytes
    with Archive.open(home.path / shelf.FOLDER, compress_above_bytes=above, on_warning=on_warning) as archive:
        yield archive


def _notes(*, quiet: bool) -> Callable[[str], None]:
    return opening.Notes(console(stderr=True, quiet=quiet)).add


def _existing(archive: Archive | None, home: Path | None) -> Archive:
    if archive is None:
        folder = runs.home_folder(home).path / shelf.FOLDER
        raise InputError(f"there is no archive in {folder}; labelled history makes one: reviewopt cache warm TABLE")
    return archive


def _source(given: str | None) -> Source | None:
    if given is None or given in _SOURCES:
        return given  # type: ignore[return-value]
    raise UsageError(f"--source {given}: say {', '.join(_SOURCES[:-1])} or {_SOURCES[-1]}")


def _is_table(made: msgspec.Struct, format_: Format, *, as_json: bool, quiet: bool) -> bool:
    """Print the result as JSON where that is wanted; else say whether tables are."""
    if as_json or format_ is Format.JSON:
        print(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())
        return False
    return not quiet
