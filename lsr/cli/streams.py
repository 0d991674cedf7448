"""Standard streams as a command needs them: open, and able to write every text."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Final

_ERRORS: Final = "lsr-shown"


def prepare() -> None:
    """Make the standard streams safe to use, whatever the shell and the locale made of them.

    A stream that is closed is replaced by one that drops what it gets, and its number is kept: otherwise the next file
    would get it. A character that the encoding does not have is written as an escape such as \\xe9; a byte of a file
    name that is not UTF-8, as that byte.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the lowest free number, and refuses writes
    sys.stdout = sys.stdout or _Nowhere()
    sys.stderr = sys.stderr or _Nowhere()
    codecs.register_error(_ERRORS, _shown)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def discard_stdout() -> None:
    """Drop what is still buffered for standard output: Python would try to write it again when it exits."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Nowhere(io.TextIOBase):
    """A closed stream."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def fileno(self) -> int:
        raise OSError("the stream is closed")


def _shown(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    try:
        return part.encode("ascii", "surrogateescape"), error.end
    except UnicodeEncodeError:
        return part.encode("ascii", "backslashreplace"), error.end
