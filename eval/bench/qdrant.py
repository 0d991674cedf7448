"""Qdrant's sparse index as a peer of `lsr bench`, in this process through qdrant-edge-py. Exact, without parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from eval.bench.sweep import Search, Settings
from eval.bench.vectors import Truth, Vectors, row_of
from lsr.errors import QueryError

_BATCH: Final = 1000
_VECTOR: Final = "sparse"


class QdrantTarget:
    """One shard with the same vectors, its index in memory, searched by one thread."""

    name = "qdrant"

    def __init__(self, vectors: Vectors, truth: Truth, folder: Path) -> None:
        """Load the vectors into a new shard in `folder`. Raises QueryError if the package is not installed."""
        try:
            import qdrant_edge as qdrant
        except ImportError:
            raise QueryError(
                "the peer qdrant needs the package qdrant-edge-py: pip install qdrant-edge-py", field="peers"
            ) from None
        self._qdrant = qdrant
        folder.mkdir()
        parameters = {_VECTOR: qdrant.EdgeSparseVectorParams(on_disk=False)}
        started = perf_counter()
        self._shard = qdrant.EdgeShard.create(
            str(folder), qdrant.EdgeConfig(sparse_vectors=parameters, max_search_threads=1)
        )
        n = vectors.documents.shape[0]
        for first in range(0, n, _BATCH):
            rows = ((number, row_of(vectors.documents, number)) for number in range(first, min(n, first + _BATCH)))
            points = [
                qdrant.Point(number, {_VECTOR: qdrant.SparseVector(terms.tolist(), weights.tolist())})
                for number, (terms, weights) in rows
            ]
            self._shard.update(qdrant.UpdateOperation.upsert_points(points))
        self._shard.optimize()
        self._queries = vectors.queries
        self.query_count = vectors.queries.shape[0]
        self.relevant = truth.relevant
        self.description: Mapping[str, Any] = {
            "documents": n,
            "queries": self.query_count,
            "build_seconds": round(perf_counter() - started, 2),
            "recall_against": truth.against,
        }

    def settings(self, k: int) -> Sequence[Settings]:  # noqa: ARG002
        """Return the only setting."""
        return [{"exact": True}]

    def searcher(self, query: int, k: int, settings: Settings) -> Search:  # noqa: ARG002
        """Return the search of one query; the construction of its vector is not timed."""
        terms, weights = row_of(self._queries, query)
        vector = self._qdrant.SparseVector(terms.tolist(), weights.tolist())
        request = self._qdrant.SearchRequest(self._qdrant.Query.Nearest(vector, _VECTOR), k)
        search = self._shard.search
        return lambda: [hit.id for hit in search(request)]
