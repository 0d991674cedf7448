"""What corpora made of lines have in common: JSON lines and tab-separated ones differ only in how a line is read."""

from __future__ import annotations

from typing import Literal

from lsr.corpora.line_source import LineSource


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
        """Return size and time of the file."""
        return self._source.identity()
