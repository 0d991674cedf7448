"""The `lsr` command. Each command has a file and imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

import sys

INTERRUPTED = 130  # ExitCode.INTERRUPTED, without importing the error trees for it


def main() -> None:
    """Run this process's command line and exit with its code."""
    try:
        from lsr.cli.running import run
        from lsr.cli.streams import prepare

        prepare()

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # during the imports
        code = INTERRUPTED
    _leave(code)


def _leave(code: int) -> None:
    """Exit at once, where no thread works any more: Python would free every object of numba and LLVM first, 0.3 s."""
    import atexit
    import os
    import threading

    if threading.active_count() == 1:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)
    sys.exit(code)
