"""All shards of a published generation as one generation of documents: what a search asks of it besides its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.documents import Document
from lsr.errors import LsrError
from lsr.sharding.asking import Inquiry, Shard
from lsr.sharding.placement import shards_of
from lsr.storage.generation import Generation


@dataclass(frozen=True)
class ShardedGeneration(Generation):
    """The documents of several shards.

    shards       in the order of their numbers
    counts       each shard's number of documents
    versions     the least version of each shard that a search may read; empty where shards are immutable
    frequencies  the document frequencies over all shards by named vector, int64[terms]: those of the publication, the
                 same for every search of this generation, also where a shard is missing
    """

    shards: tuple[Shard, ...] = ()
    counts: tuple[int, ...] = ()
    versions: tuple[int, ...] = ()
    frequencies: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def document_count(self) -> int:
        """Documents of all shards."""
        return sum(self.counts)

    def inquiry(self, **options: Any) -> Inquiry:
        """Return what asks the shards for one search."""
        return Inquiry(self.shards, self.counts, least=self.versions, **options)

    def find(self, identifier: str) -> FetchedDocument | None:  # type: ignore[override] # it is in another process
        """Return a live document, or None; raises ShardUnavailable."""
        inquiry = self.inquiry()
        at = int(shards_of([identifier], len(self.shards))[0])
        row = int(inquiry.ask("find", {at: ([identifier],)})[at][0])
        return None if row < 0 else fetch(inquiry, at, np.array([row], dtype=np.int64), (), ())[0]

    def statistics(self, name: str) -> ShardedStatistics:  # type: ignore[override]
        """Return the document frequencies of a named vector over all shards."""
        return ShardedStatistics(self.document_count, self.frequencies[name])


@dataclass(frozen=True, slots=True)
class ShardedStatistics:
    """CorpusStatistics of one named vector over all shards, as they were published."""

    document_count: int
    counts: NDArray[np.int64]

    def document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return in how many documents each term occurs, int64[len(term_ids)]; 0 for a term that none had then."""
        known = term_ids < len(self.counts)
        found: NDArray[np.int64] = np.zeros(len(term_ids), dtype=np.int64)
        found[known] = self.counts[term_ids[known]]
        return found


class FetchedDocument:
    """A document that was fetched from its shard; vectors that were not fetched with it are asked for."""

    def __init__(self, inquiry: Inquiry, at: int, row: int, document: Document) -> None:
        self._inquiry = inquiry
        self._at = at
        self._row = row
        self._document = document
        self._sparse: dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
        self._dense: dict[str, tuple[NDArray[np.int8], np.float32]] = {}

    @property
    def id(self) -> str:
        """The external id."""
        return self._document.id

    def document(self) -> Document:
        """The document, without its vectors."""
        return self._document

    def vector(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The vector: term numbers int64, ascending, and canonical impacts float32."""
        if name not in self._sparse:
            self._sparse[name] = self._ask([name], [])[0][name][0]
        return self._sparse[name]

    def dense(self, name: str) -> tuple[NDArray[np.int8], np.float32]:
        """The dense vector: a row of int8[dims] and its scale, 0 where the document has none."""
        if name not in self._dense:
            self._dense[name] = self._ask([], [name])[1][name][0]
        return self._dense[name]

    def keep(self, sparse: Mapping[str, Any], dense: Mapping[str, Any]) -> None:
        """Keep vectors that were fetched."""
        self._sparse.update(sparse)
        self._dense.update(dense)

    def _ask(self, sparse: list[str], dense: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        rows = np.array([self._row], dtype=np.int64)
        found = self._inquiry.ask("fetch", {self._at: (rows, sparse, dense)})
        if self._at not in found:
            raise LsrError(f"{self._inquiry.shards[self._at].name} does not answer any more")
        return found[self._at].sparse, found[self._at].dense


def fetch(
    inquiry: Inquiry, at: int, rows: NDArray[np.int64], sparse: tuple[str, ...], dense: tuple[str, ...]
) -> list[FetchedDocument]:
    """Return documents of one shard by their rows there."""
    return fetched(inquiry, at, rows, inquiry.ask("fetch", {at: (rows, sparse, dense)})[at])


def fetched(inquiry: Inquiry, at: int, rows: NDArray[np.int64], found: Any) -> list[FetchedDocument]:
    """Return documents from a shard's answer to `fetch`."""
    made = []
    for number, (row, document) in enumerate(zip(rows.tolist(), found.documents, strict=True)):
        one = FetchedDocument(inquiry, at, row, document)
        one.keep(
            {name: vectors[number] for name, vectors in found.sparse.items()},
            {name: vectors[number] for name, vectors in found.dense.items()},
        )
        made.append(one)
    return made
