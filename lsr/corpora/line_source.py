"""The lines of a file, plain or compressed (gzip, zstd), or of standard input.

Compression is detected by the first bytes, not by the name. Arrow decompresses: its memory is bounded for every
compression ratio, and unlike the usual Python readers it reports a truncated zstd file. Standard input is first copied
to a temporary file, because a corpus may be read more than once.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Literal, cast

from lsr.errors import CorpusDamaged, CorpusUnreadable

MAX_LINE_BYTES: Final = 32 << 20  # the same as the service's limit on a request body

_MAGIC: Final[dict[bytes, Literal["gzip", "zstd"]]] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_BUFFER: Final = 1 << 18
_BOM: Final = b"\xef\xbb\xbf"


class LineSource:
    """A file whose lines can be read any number of times."""

    def __init__(self, path: Path) -> None:
        """Raises CorpusUnreadable if the file is missing or cannot be read."""
        self.path = path
        self.size = 0
        self._raw: BinaryIO | None = None
        try:
            with path.open("rb") as file:
                start = file.read(4)
            self.size = path.stat().st_size
        except OSError as error:
            raise CorpusUnreadable(f"{path}: {error.strerror or error}") from None
        self._codec = next((codec for magic, codec in _MAGIC.items() if start.startswith(magic)), None)

    @property
    def position(self) -> int:
        """Bytes of the file that the latest pass has read."""
        if self._raw is None or self._raw.closed:
            return self.size if self._raw else 0
        return self._raw.tell()

    def identity(self) -> str | None:
        """Return the file's size and modification time as a string."""
        stat = self.path.stat()
        return f"{stat.st_size}:{stat.st_mtime_ns}"

    def __iter__(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield (line number from 1, line with its end); None replaces a line longer than MAX_LINE_BYTES."""
        number = 0
        self._raw = self.path.open("rb")
        with self._raw as raw:
            stream = self._decompressed(raw)
            try:
                while line := stream.readline(MAX_LINE_BYTES + 1):
                    number += 1
                    if len(line) > MAX_LINE_BYTES:
                        _skip_line(stream, line)
                        yield number, None
                        continue
                    yield number, line.removeprefix(_BOM) if number == 1 else line
            except OSError as error:
                raise CorpusDamaged(f"{self.path}: {error}, after line {number}") from None

    def _decompressed(self, raw: BinaryIO) -> io.BufferedReader:
        if self._codec is None:
            return cast("io.BufferedReader", raw)
        import pyarrow as pa

        stream = pa.CompressedInputStream(pa.PythonFile(cast("io.IOBase", raw), mode="r"), self._codec)
        return io.BufferedReader(cast("io.RawIOBase", stream), _BUFFER)


class SpooledInput(LineSource):
    """Standard input, copied to a temporary file that is deleted with this object."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        handle, name = tempfile.mkstemp(prefix="lsr-stdin-")
        self._spool = Path(name)
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(stream or sys.stdin.buffer, file, _BUFFER)
        super().__init__(self._spool)

    def identity(self) -> None:
        """Return None: input from a pipe cannot be recognised later."""
        return

    def __del__(self) -> None:
        self._spool.unlink(missing_ok=True)


def _skip_line(stream: io.BufferedReader, part: bytes) -> None:
    while part and not part.endswith(b"\n"):
        part = stream.readline(MAX_LINE_BYTES)


class LineCorpus:
    """A corpus whose documents are lines; a subclass iterates over `_source`."""

    unit: Literal["bytes", "documents"] = "bytes"

    def __init__(self, name: str, source: LineSource) -> None:
        self.name = name
        self._source = source

    @property
    def size(self) -> int | None:
        """Bytes on disk."""
        return self._source.size

    @property
    def position(self) -> int:
        """Bytes read by the latest pass."""
        return self._source.position

    def identity(self) -> str | None:
        """Return the file's size and modification time."""
        return self._source.identity()
