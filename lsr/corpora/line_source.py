"""The lines of a file, plain or compressed (gzip, zstd), or of an input that can be read only once (input_file.py).

Compression is detected by the first bytes, not by the name. Arrow decompresses: its memory is bounded for every
compression ratio, and unlike the usual Python readers it reports a truncated zstd file.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Literal, cast

from lsr.errors import CorpusDamaged, CorpusUnreadable
from lsr.input_file import InputFile, open_input, shown_name

MAX_LINE_BYTES: Final = 32 << 20  # the same as the service's limit on a request body

_MAGIC: Final[dict[bytes, Literal["gzip", "zstd"]]] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_BUFFER: Final = 1 << 18
_BOM: Final = b"\xef\xbb\xbf"


class LineSource:
    """An input whose lines can be read any number of times."""

    def __init__(self, file: Path | str | InputFile) -> None:
        """Raises CorpusUnreadable if the file is missing or cannot be read."""
        self.input = open_input(file)
        self.name = shown_name(self.input.name)
        self._raw: BinaryIO | None = None
        try:
            with self.input.path.open("rb") as opened:
                start = opened.read(4)
            self.size = self.input.size
        except OSError as error:
            raise CorpusUnreadable(f"{self.name}: {error.strerror or error}") from None
        self._codec = next((codec for magic, codec in _MAGIC.items() if start.startswith(magic)), None)

    @property
    def position(self) -> int:
        """Bytes of the file that the latest pass has read."""
        if self._raw is None or self._raw.closed:
            return self.size if self._raw else 0
        return self._raw.tell()

    def identity(self) -> str | None:
        """Return a string that is equal for the same unchanged file; None for what can be read only once."""
        return self.input.identity()

    def __iter__(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield (line number from 1, line with its end); None replaces a line longer than MAX_LINE_BYTES."""
        number = 0
        self._raw = self.input.path.open("rb")
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
                raise CorpusDamaged(f"{self.name}: {error}, after line {number}") from None

    def _decompressed(self, raw: BinaryIO) -> io.BufferedReader:
        if self._codec is None:
            return cast("io.BufferedReader", raw)
        import pyarrow as pa

        stream = pa.CompressedInputStream(pa.PythonFile(cast("io.IOBase", raw), mode="r"), self._codec)
        return io.BufferedReader(cast("io.RawIOBase", stream), _BUFFER)


def _skip_line(stream: io.BufferedReader, part: bytes) -> None:
    while part and not part.endswith(b"\n"):
        part = stream.readline(MAX_LINE_BYTES)


def refuse_array(source: LineSource) -> None:
    """Raise CorpusUnreadable if a file of JSON lines is one JSON array instead: no line of it is an object."""
    for _, line in source:
        start = (line or b"{").lstrip()[:1]
        if start == b"[":
            raise CorpusUnreadable(
                f"{source.name}: it is a JSON array, and JSON lines have one object on each line, without brackets and "
                f"commas; convert it, for example with: jq -c '.[]' {source.name} > lines.jsonl"
            )
        if start:
            return


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
        """Return a string that is equal for the same unchanged file; None for what can be read only once."""
        return self._source.identity()
