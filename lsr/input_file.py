"""A file that a user names, as one that can be read any number of times, from the start, also by several readers.

A corpus is read more than once: its first bytes show the compression, BM25 measures it first, a file in another format
has its index at the end. A pipe, a FIFO (`<(…)` of a shell, /dev/stdin) or a terminal can be read only once. Such an
input is copied to a temporary file, once, before anything else reads it; a regular file is used as it is.

Within `shared_copies` a second reader of the same pipe gets the same copy; otherwise it would wait for ever.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from lsr.errors import CorpusUnreadable

STDIN: Final = "-"

_BUFFER: Final = 1 << 18

_shared: dict[tuple[int, int], InputFile] | None = None  # by device and inode


class InputFile:
    """An input: `name` as the user wrote it, `path` a regular file with its content; a copy goes with the object."""

    def __init__(self, name: str, path: Path, *, copied: bool) -> None:
        """Internal: use `open_input` or `copy_of`."""
        self.name = name
        self.path = path
        self.copied = copied
        if copied:
            weakref.finalize(self, path.unlink, missing_ok=True)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    def identity(self) -> str | None:
        """Return the file's size and modification time; None for a copy: its source cannot be recognised later."""
        if self.copied:
            return None
        found = self.path.stat()
        return f"{found.st_size}:{found.st_mtime_ns}"


def open_input(file: Path | str | InputFile) -> InputFile:
    """Return the input that a path names, `-` for standard input; copies what can be read only once.

    Raises CorpusUnreadable if it is missing, a folder, or cannot be read.
    """
    if isinstance(file, InputFile):
        return file
    name, path = str(file), Path(file)
    try:
        if name == STDIN and sys.stdin is None:
            raise CorpusUnreadable("stdin: it is closed")
        found = os.fstat(sys.stdin.fileno()) if name == STDIN else path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise CorpusUnreadable(f"{name}: is a folder, not a file")
        if name != STDIN and stat.S_ISREG(found.st_mode):
            with path.open("rb"):  # says at once that it may not be read
                return InputFile(name, path, copied=False)
        key = (found.st_dev, found.st_ino)
        if _shared is not None and key in _shared:
            return _shared[key]
        if name == STDIN:
            copied = copy_of(sys.stdin.buffer, name)
        else:
            with path.open("rb") as stream:
                copied = copy_of(stream, name)
    except (OSError, ValueError) as error:  # ValueError: standard input is closed, or not a file
        reason = getattr(error, "strerror", None) or str(error)
        raise CorpusUnreadable(f"{shown_name(name)}: {reason}") from None
    if _shared is not None:
        _shared[key] = copied
    return copied


def copy_of(stream: BinaryIO, name: str = STDIN) -> InputFile:
    """Return the rest of a stream as an input; raises OSError."""
    handle, copy = tempfile.mkstemp(prefix="lsr-stdin-")
    try:
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(stream, file, _BUFFER)
    except BaseException:
        Path(copy).unlink(missing_ok=True)
        raise
    return InputFile(name, Path(copy), copied=True)


def is_read_once(path: Path | str) -> bool:
    """Return whether a path names something that can be read only once: a pipe, a device, standard input."""
    if str(path) == STDIN:
        return True
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


@contextlib.contextmanager
def shared_copies() -> Iterator[None]:
    """Keep each copy until the end of the block, for further readers of the same pipe: a command runs inside."""
    global _shared
    before, _shared = _shared, {}
    try:
        yield
    finally:
        _shared = before


def arrow_path(path: Path) -> Any:
    """Return a path as pyarrow accepts every one: as bytes, since it writes strings as UTF-8."""
    return os.fsencode(path)


def shown_name(name: str) -> str:
    """Return an input's name for messages."""
    return "stdin" if name == STDIN else name
