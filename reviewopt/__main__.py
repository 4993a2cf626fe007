"""The program. Answers `--version` before anything heavy is imported."""

from __future__ import annotations

import sys

from reviewopt import __version__


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:
        print(f"reviewopt {__version__}")
        return
    from reviewopt.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
