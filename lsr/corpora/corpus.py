"""The interface of all corpus readers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol

from lsr.documents import Document
from lsr.errors import InvalidDocument


class CorpusLine(NamedTuple):
    """One line (or row) of the input, numbered from 1: the document, or the reason why it is invalid."""

    line_number: int
    content: Document | InvalidDocument


class Corpus(Protocol):
    """A corpus that can be read more than once, and that knows the progress of the latest pass."""

    @property
    def name(self) -> str:
        """The user's argument: a path, `-`, `ir-datasets:…`."""
        ...

    @property
    def unit(self) -> Literal["bytes", "documents"]:
        """The unit of `size` and `position`. Bytes are those on disk, before decompression."""
        ...

    @property
    def size(self) -> int | None:
        """The length of a whole pass; None if unknown."""
        ...

    @property
    def position(self) -> int:
        """The part of `size` that the latest pass has read."""
        ...

    def identity(self) -> str | None:
        """Return a string that is equal for the same unchanged input; None if that cannot be determined (stdin)."""
        ...

    def __iter__(self) -> Iterator[CorpusLine]:
        """Start a pass. Raises CorpusDamaged at the point where a compressed file is truncated."""
        ...


class WrappedCorpus:
    """A corpus with changed documents; everything else comes from the wrapped corpus."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    @property
    def inner(self) -> Corpus:
        """The wrapped corpus."""
        return self._corpus

    @property
    def name(self) -> str:
        """The wrapped corpus's name."""
        return self._corpus.name

    @property
    def unit(self) -> Literal["bytes", "documents"]:
        """The wrapped corpus's unit."""
        return self._corpus.unit

    @property
    def size(self) -> int | None:
        """The wrapped corpus's size."""
        return self._corpus.size

    @property
    def position(self) -> int:
        """The wrapped corpus's position."""
        return self._corpus.position

    def identity(self) -> str | None:
        """Return the wrapped corpus's identity: correct if the documents are always changed in the same way."""
        return self._corpus.identity()
