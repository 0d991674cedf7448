"""scipy as a peer of `lsr bench`: the product of all documents with the query, then the k largest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from eval.bench.sweep import Search, Settings
from eval.bench.vectors import Truth, Vectors


class BruteForceTarget:
    """Search without an index: the sum of the columns of the query's terms."""

    name = "scipy"

    def __init__(self, vectors: Vectors, truth: Truth) -> None:
        started = perf_counter()
        self._by_term = vectors.documents.T.tocsr()
        self._queries = vectors.queries
        self.query_count = vectors.queries.shape[0]
        self.relevant = truth.relevant
        self.description: Mapping[str, Any] = {
            "documents": vectors.documents.shape[0],
            "queries": self.query_count,
            "build_seconds": round(perf_counter() - started, 2),
            "recall_against": truth.against,
        }

    def settings(self, k: int) -> Sequence[Settings]:  # noqa: ARG002
        """Return the only setting."""
        return [{"exact": True}]

    def searcher(self, query: int, k: int, settings: Settings) -> Search:  # noqa: ARG002
        """Return the search of one query."""
        row = self._queries[[query]]
        by_term = self._by_term
        n = min(k, by_term.shape[1])
        return lambda: np.argpartition(-(row @ by_term).toarray()[0], n - 1)[:n].tolist()
