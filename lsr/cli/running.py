"""Runs a command line and returns its exit code. Only this module turns errors into messages.

Data goes to stdout and everything else to stderr. The exit codes come from `lsr.errors.describe`: 0 success, 1 failure,
2 usage, 3 corrupt data, 4 partial success, 130 interrupted. Tracebacks appear only with LSR_DEBUG=1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from lsr.cli import INTERRUPTED
from lsr.cli.output import say
from lsr.cli.streams import discard_stdout


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        from lsr.cli.commands import app
        from lsr.input_file import shared_copies

        with shared_copies():
            code = app(args=list(arguments), prog_name="lsr", standalone_mode=False)
        _flush()
    except typer.TyperException as error:
        return _usage(error)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        discard_stdout()  # the reader, such as `head`, has closed the pipe
        return 1
    except Exception as error:
        return _failure(error)
    if code == INTERRUPTED:
        say("interrupted")
    return int(code or 0)


def _flush() -> None:
    """Write what is buffered for standard output; raises OSError, which names it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_stdout()
        raise OSError(error.errno, error.strerror, "stdout") from None


def _usage(error: typer.TyperException) -> int:
    from typer.core import TyperCommand

    context = getattr(error, "ctx", None)
    message = getattr(error, "format_message", lambda: str(error))()
    command = context.command_path if context and isinstance(context.command, TyperCommand) else "lsr"
    if near := getattr(error, "possibilities", None):
        message = f"{getattr(error, 'message', message)} Did you mean {' or '.join(sorted(near))}?"
    message = message.replace("Value error, ", "").rstrip(".")
    say(f"{message}\nTry '{command} --help'.")
    return int(getattr(error, "exit_code", 2))


def _failure(error: Exception) -> int:
    """Print the error; return the exit code."""
    from lsr.errors import EXPECTED_ERRORS, describe

    if os.environ.get("LSR_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    elif isinstance(error, EXPECTED_ERRORS):
        say(str(error))
    elif isinstance(error, OSError):
        say(f"{error.filename or 'writing'}: {error.strerror}" if error.strerror else str(error))
    elif isinstance(error, UnicodeEncodeError):
        say(f"{error.object[:200]}: a name that is not valid UTF-8 cannot be used here; rename the file or folder")
        return 2
    else:
        say(f"unexpected {type(error).__name__}: {error}\nThis is a bug; LSR_DEBUG=1 prints the traceback.")
    return int(describe(error).exit_code)
