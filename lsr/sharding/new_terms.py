"""The terms of vocabularies that grow: found in documents, and numbered once for all shards.

A term must have the same number in all shards, since a query is sent as numbers. The terms of a publication are
numbered when it is built; those of documents that are written later by one `TermRegistry`, which all writers ask before
they encode. Its folder is an ordinary collection without documents; a number that it has given is on its disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from encoders.bm25 import BM25Encoder
from lsr.documents import DenseInput, Document
from lsr.errors import InvalidDocument, QueryError
from lsr.storage import layout
from lsr.storage.catalog_digest import remove_digest, write_digest
from lsr.storage.files import WriterLock
from lsr.vectors import NamedVector, VectorConfig
from lsr.writing.document_vectors import settle_vectors

Extend = Callable[[str, int, Sequence[str]], list[str]]  # see TermRegistry.extend


class TokenFinder:
    """Finds the tokens that a document brings into the vocabulary of one named vector.

    A model's vocabulary is fixed: there are none.
    """

    def __init__(self, name: str, config: VectorConfig) -> None:
        self.name = name
        self.grows = config.encoder in (None, "bm25")
        self._vector = NamedVector(name, replace(config, settings={})) if self.grows else None
        self._bm25 = BM25Encoder() if config.encoder == "bm25" else None

    def tokens(self, document: Document) -> tuple[list[str], bool]:
        """Return the tokens of the text or of the given vector, and whether they are those of the text."""
        if self._vector is None:
            return [], False
        try:
            given = settle_vectors(document, {self.name: self._vector}, {}).vectors.get(self.name)
        except InvalidDocument:
            return [], False  # the write reports it
        if given is None and self._bm25 is not None and document.full_text.strip():
            return self._bm25.terms(document.full_text), True
        if given is None or isinstance(given, DenseInput) or (self._bm25 is not None and not hasattr(given, "weights")):
            return [], False
        return self._vector.tokens_of(given), False


class TermRegistry:
    """Numbers new terms. Safe to use from many threads; one process at a time has its folder."""

    def __init__(self, folder: Path) -> None:
        """`folder` is a copy of a publication's `common`. Raises CollectionLocked, CollectionNotFound."""
        self._folder = folder
        self._lock = WriterLock(folder)
        try:
            self._catalog = layout.open_catalog(folder, "w")
        except BaseException:
            self._lock.release()
            raise
        remove_digest(folder)
        with self._catalog.reading():
            vectors = layout.read_contents(self._catalog).vectors
        self._tokens = {name: vector.dictionary() for name, vector in vectors.items()}
        self._known = {name: set(tokens) for name, tokens in self._tokens.items()}
        self._changing = threading.Lock()

    def extend(self, name: str, known: int, tokens: Sequence[str]) -> list[str]:
        """Number the new ones among `tokens`, durably, and return all terms from the number `known` on.

        Raises QueryError for a vector that does not exist or whose vocabulary is a model's, StorageFull.
        """
        if name not in self._tokens:
            raise QueryError(f"no vector {name!r}", field="using")
        with self._changing:
            own, seen = self._tokens[name], self._known[name]
            new = [token for token in dict.fromkeys(tokens) if token not in seen]
            if new:
                with self._catalog.transaction() as change:
                    change.append_terms(name, len(own), new)
                own.extend(new)
                seen.update(new)
            return own[known:]

    def close(self) -> None:
        """Close the folder."""
        self._catalog.close()
        write_digest(self._folder)
        self._lock.release()


def growing(vectors: Mapping[str, NamedVector]) -> dict[str, NamedVector]:
    """Return the vectors whose vocabulary grows."""
    return {name: vector for name, vector in vectors.items() if vector.config.encoder in (None, "bm25")}


def follow_terms(vectors: Mapping[str, NamedVector], extend: Extend) -> None:
    """Learn the terms that others have numbered."""
    for name, vector in growing(vectors).items():
        learn(vector, extend(name, len(vector.vocabulary), ()))


def learn(vector: NamedVector, tokens: Sequence[str]) -> None:
    """Append terms that the registry has numbered; those that another thread has appended meanwhile are the same."""
    vector.vocabulary.add(list(tokens))
