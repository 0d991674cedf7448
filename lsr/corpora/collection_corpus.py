"""The documents of an existing collection as a corpus: what `lsr reindex` reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from lsr.collection import Collection
from lsr.corpora.corpus import CorpusLine
from lsr.documents import SparseByToken


class CollectionCorpus:
    """The live documents of an open collection, without their vectors but for those named in `keep`."""

    unit: Literal["bytes", "documents"] = "documents"

    def __init__(self, collection: Collection, using: str, keep: Sequence[str] = ()) -> None:
        self.name = str(collection.path)
        self.position = 0
        self._collection = collection
        self._using = using
        self._keep = tuple(keep)
        info = collection.info()
        self.size: int | None = info.documents
        self._seq = info.seq

    def identity(self) -> str | None:
        """Return the collection's path and its sequence number, which every write raises."""
        return f"{self._collection.path.resolve()}:{self._seq}"

    def __iter__(self) -> Iterator[CorpusLine]:
        self.position = 0
        for document, _, _ in self._collection.scan(self._using):
            self.position += 1
            kept = {name: SparseByToken(self._collection.vector(document.id, name) or {}) for name in self._keep}
            yield CorpusLine(self.position, replace(document, vectors=kept))
