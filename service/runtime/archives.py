"""Files as a tar stream, without a copy on the disk: headers and contents are made while they are sent."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

_PIECE: Final = 1 << 20


class TarStream:
    """A tar archive of regular files. The files are opened at once: what is removed later is still sent."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """`files` by their names in the archive."""
        self._stack = ExitStack()
        self._members: list[tuple[bytes, int, IO[bytes]]] = []
        with ExitStack() as opening:
            for name, path in files.items():
                content = opening.enter_context(path.open("rb"))
                size = path.stat().st_size
                member = tarfile.TarInfo(name)
                member.size = size
                member.mtime = int(path.stat().st_mtime)
                self._members.append((member.tobuf(tarfile.PAX_FORMAT), size, content))
            self._stack = opening.pop_all()

    @property
    def size(self) -> int:
        """Bytes of the whole archive."""
        blocks = sum(len(header) + size + _padding(size) for header, size, _ in self._members)
        return blocks + 2 * tarfile.BLOCKSIZE

    def pieces(self) -> Iterator[bytes]:
        """Yield the archive; the files are closed at the end. Raises OSError for a file that has become shorter."""
        with self._stack:
            for header, size, content in self._members:
                yield header
                left = size
                while left:
                    piece = content.read(min(left, _PIECE))
                    if not piece:
                        raise OSError(f"a file of the archive has {left} bytes less than before")
                    left -= len(piece)
                    yield piece
                yield bytes(_padding(size))
            yield bytes(2 * tarfile.BLOCKSIZE)

    def close(self) -> None:
        """Close the files."""
        self._stack.close()


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE
