"""What every reader of a corpus offers, whatever the format behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol

from lsr.documents import Document
from lsr.errors import InvalidDocument


class CorpusLine(NamedTuple):
    """One line (or row) of the input, numbered from 1: the document, or why there is none."""

    line_number: int
    content: Document | InvalidDocument


class Corpus(Protocol):
    """A corpus that can be gone over more than once, and that knows how far the latest pass has come."""

    @property
    def name(self) -> str:
        """What the user asked for: a path, `-`, `ir-datasets:…`."""
        ...

    @property
    def unit(self) -> Literal["bytes", "documents"]:
        """What `size` and `position` count. Bytes are those on disk, before decompression."""
        ...

    @property
    def size(self) -> int | None:
        """The length of a whole pass, None when it is unknown."""
        ...

    @property
    def position(self) -> int:
        """How much of `size` the latest pass has read."""
        ...

    def identity(self) -> str | None:
        """Return a text that is equal for the same unchanged input, None when that cannot be told (stdin)."""
        ...

    def __iter__(self) -> Iterator[CorpusLine]:
        """Start a pass. Raises CorpusDamaged at the place where a compressed file breaks off."""
        ...


class WrappedCorpus:
    """Another corpus whose documents are changed on their way; everything else is that corpus's own."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    @property
    def name(self) -> str:
        """The other corpus's."""
        return self._corpus.name

    @property
    def unit(self) -> Literal["bytes", "documents"]:
        """The other corpus's."""
        return self._corpus.unit

    @property
    def size(self) -> int | None:
        """The other corpus's."""
        return self._corpus.size

    @property
    def position(self) -> int:
        """The other corpus's."""
        return self._corpus.position

    def identity(self) -> str | None:
        """Return the other corpus's identity: right where the change is always the same."""
        return self._corpus.identity()
