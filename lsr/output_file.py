"""A file that a user names, to be written: complete or not at all where that is possible, and never something else.

a new or a regular file   written beside it under another name, which it then replaces; mode and owner stay
a link                    the file that it points to, as above: the link stays
several names (hard       written beside it, then copied into it, so that it stays one file: the names, and an owner
links), another's file    that this process cannot give away
a pipe, a device          written to
- and /dev/stdout         standard output
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

STDOUT: Final = "-"

_BUFFER: Final = 1 << 18
_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_STREAMS: Final = {STDOUT: 1, "/dev/stdout": 1, "/dev/stderr": 2}


@contextlib.contextmanager
def output_file(name: Path | str) -> Iterator[BinaryIO]:
    """Open the output that a path names, `-` for standard output; what it replaces stays as it is if the block raises.

    Raises OSError, with the path as the user wrote it.
    """
    number = _descriptor(str(name))
    try:
        if number is not None:
            with _opened_descriptor(number) as file:
                yield file
            return
        target = Path(os.path.realpath(name))
        found = _status(target)
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(21, "is a folder", str(name))
        if found is not None and not stat.S_ISREG(found.st_mode):
            with os.fdopen(os.open(target, os.O_WRONLY | os.O_CLOEXEC), "wb", _BUFFER) as file:
                yield file
            return
        with _replacement(target, found) as file:
            yield file
    except OSError as error:
        if error.filename is not None and Path(str(error.filename)).parent == Path(os.path.realpath(name)).parent:
            error.filename = str(name)  # not the name of the unfinished file
        raise


def is_stdout(name: Path | str | None) -> bool:
    """Return whether an output is standard output, by whatever name."""
    return name is not None and _descriptor(str(name)) == 1


def _descriptor(name: str) -> int | None:
    if name in _STREAMS:
        return _STREAMS[name]
    found = _DESCRIPTOR.fullmatch(name)
    return None if found is None else int(found[1])


@contextlib.contextmanager
def _opened_descriptor(number: int) -> Iterator[BinaryIO]:
    stream = {1: sys.stdout, 2: sys.stderr}.get(number)
    if stream is not None and hasattr(stream, "buffer"):
        yield cast("BinaryIO", stream.buffer)
        stream.buffer.flush()
        return
    # A copy of the descriptor: opening its path again would begin at the start of a file that the shell appends to.
    with os.fdopen(os.dup(number), "wb", _BUFFER) as file:
        yield file


@contextlib.contextmanager
def _replacement(target: Path, found: os.stat_result | None) -> Iterator[BinaryIO]:
    handle, unfinished = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".unfinished", dir=target.parent)
    try:
        with os.fdopen(handle, "wb", _BUFFER) as file:
            yield file
        if found is None:
            Path(unfinished).chmod(0o666 & ~_umask())
            Path(unfinished).replace(target)
        elif found.st_nlink == 1 and _given_to(unfinished, found):
            Path(unfinished).chmod(stat.S_IMODE(found.st_mode))
            Path(unfinished).replace(target)
        else:
            with Path(unfinished).open("rb") as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, _BUFFER)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _given_to(path: str, found: os.stat_result) -> bool:
    """Give a file the owner and group of another; return whether that was possible."""
    own = Path(path).stat()
    if (own.st_uid, own.st_gid) == (found.st_uid, found.st_gid):
        return True
    try:
        os.chown(path, found.st_uid, found.st_gid)
    except OSError:
        return False
    return True


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
