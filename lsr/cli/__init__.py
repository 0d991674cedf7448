"""The `lsr` command. One file a command; what a command needs is imported when it runs, so that `--help` is quick."""

from __future__ import annotations

import sys

INTERRUPTED = 130  # ExitCode.INTERRUPTED, without importing the error trees for it


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    try:
        from lsr.cli.running import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while still importing
        code = INTERRUPTED
    sys.exit(code)
