"""The command line: arguments in, exit code out. A command's module is imported only when the command is called."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Final

import typer
from typer import Context
from typer.core import TyperCommand, TyperGroup

from reviewopt import __version__
from reviewopt.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_USAGE, ReviewoptError

# The only text that is needed before a command's module is loaded.
_COMMANDS: Final = {
    "process": "Label a table of reviews.",
    "plan": "Say what labelling a table would cost with each strategy, and on hardware of your own.",
    "benchmark": "Compare a run of yours with cloud services and other models, on the same reviews.",
    "report": "Print what a run did, cost and found.",
    "runs": "List, compare and prune the runs of this home, and show how they change.",
    "explain": "Say where the answer to a review came from, and what it cost.",
    "certify": "Prove how accurate the labels of a table are, whoever made them.",
    "compare": "Compare the labels of two outputs of the same reviews.",
    "review": "Answer a sample of a table yourself, as the reference of a certificate.",
    "train": "Make a local model from a labelled table of your own.",
    "cache": "See, warm, check, move and take back the answers that are kept.",
    "prices": "List the prices that costs are worked out from, with their age and source.",
    "doctor": "Check what could keep a run from going well here.",
}


class _LazyGroup(TyperGroup):
    """Lists the commands without importing them. Typer vendors Click, so nothing here imports `click`."""

    def list_commands(self, ctx: Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002 - the group's interface
        """Name the commands in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        """Load a command or a group of them, or only its line of help while the commands are listed."""
        if cmd_name not in _COMMANDS:
            return None
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        if ctx.meta.get("listing"):
            app.command(cmd_name, help=_COMMANDS[cmd_name])(lambda: None)
            return typer.main.get_command(app)  # type: ignore[return-value]
        module = importlib.import_module(f"reviewopt.cli.{cmd_name}")
        if hasattr(module, "group"):
            return typer.main.get_command(module.group())  # type: ignore[return-value]
        app.command(cmd_name)(module.command)
        return typer.main.get_command(app)  # type: ignore[return-value]

    def format_commands(self, ctx: Context, formatter: object) -> None:  # type: ignore[override]
        """Write the list of commands."""
        ctx.meta["listing"] = True
        super().format_commands(ctx, formatter)  # type: ignore[arg-type]

    def invoke(self, ctx: Context) -> object:  # type: ignore[override]
        """Typer turns a broken pipe into exit 1, which is the gates' code, and any EOFError into an abort."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _mute_stdout()
            return None
        except EOFError as error:
            raise RuntimeError(f"unexpected end of a file: {error}") from error


def _app() -> typer.Typer:
    app = typer.Typer(
        cls=_LazyGroup,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )

    @app.callback()
    def root(
        version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    ) -> None:
        """Label huge tables of reviews for a small, known fraction of the naive bill.

        \b
        Label a table, offline and without a key:
            reviewopt process reviews.parquet
        See what the last run did:
            reviewopt report
        """
        if version:
            print(f"reviewopt {__version__}")
            raise typer.Exit

    return app


def run(arguments: list[str]) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done; 1 a gate is not met; 2 usage, config or input; 3 a model; 70 a bug; 130 interrupted.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        result = typer.main.get_command(_app()).main(args=arguments, prog_name="reviewopt", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the one broad except: whatever is not foreseen is a bug
        return _exit_code(error)
    return result if isinstance(result, int) else 0


def _exit_code(error: BaseException) -> int:
    """Say what happened, and give it its exit code."""
    code = EXIT_BUG
    if isinstance(error, typer.Exit):
        code = error.exit_code
    elif isinstance(error, ReviewoptError):
        code = error.exit_code
        print(f"reviewopt: {error}", file=sys.stderr)
    elif isinstance(error, typer.TyperException):
        code = EXIT_USAGE
        error.show()  # type: ignore[attr-defined]
    elif isinstance(error, (KeyboardInterrupt, typer.Abort)):
        code = EXIT_INTERRUPTED
        print("interrupted; `reviewopt report` says how far it came", file=sys.stderr)
    elif any(isinstance(cause, BrokenPipeError) for cause in (error, error.__context__)):  # rich makes it a SystemExit
        code = 0
        _mute_stdout()
    elif isinstance(error, OSError) and error.errno is not None:  # a full disk or the like: no bug of ours
        code = EXIT_USAGE
        print(f"reviewopt: {error}", file=sys.stderr)
        _mute_stdout()
    else:
        traceback.print_exception(error)
        print("this is a bug in reviewopt; please report it with the lines above", file=sys.stderr)
    return code


def _mute_stdout() -> None:
    """Keep the interpreter from failing again when it flushes what cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
