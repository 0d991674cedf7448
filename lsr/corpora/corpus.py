"""The interface of all corpus readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


class JoinedCorpus:
    """Several corpora of the same unit as one, one after the other; their lines are numbered through."""

    def __init__(self, name: str, parts: Sequence[Corpus]) -> None:
        """`parts` has one corpus at least."""
        self.name = name
        self.parts = parts
        self.unit: Literal["bytes", "documents"] = parts[0].unit
        self._current = self._before = 0  # the part that is read, and the sizes of those before it

    @property
    def size(self) -> int | None:
        """The sum of the sizes; None if one is unknown."""
        sizes = [part.size for part in self.parts]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def position(self) -> int:
        """The part of `size` that the latest pass has read."""
        return self._before + self.parts[self._current].position

    def identity(self) -> str | None:
        """Return a string that is equal for the same unchanged inputs; None if one can be read only once."""
        found = [part.identity() for part in self.parts]
        return None if None in found else ";".join(map(str, found))

    def __iter__(self) -> Iterator[CorpusLine]:
        last = 0
        self._current = self._before = 0
        for at, part in enumerate(self.parts):
            self._current, first = at, last
            for number, content in part:
                last = first + number
                yield CorpusLine(last, content)
            self._before += part.position
