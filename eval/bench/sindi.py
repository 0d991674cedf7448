"""SINDI, the sparse index of VSAG, as a peer of `lsr bench`, through its Python package pyvsag, on one thread."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, Final

import numpy as np

from eval.bench.sweep import Search, Settings
from eval.bench.vectors import Truth, Vectors, row_of
from lsr.errors import QueryError

DOC_PRUNE_RATIOS: Final = (0.0, 0.4)
QUERY_PRUNE_RATIOS: Final = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8)
_WINDOW: Final = 60_000


class SindiTarget:
    """One SINDI index over the same vectors, with one ratio of pruned document terms; it rescores by full vectors."""

    def __init__(self, vectors: Vectors, truth: Truth, doc_prune_ratio: float) -> None:
        """Build it; it is not saved. Raises QueryError if the package is not installed."""
        try:
            import pyvsag  # type: ignore[import-untyped, import-not-found, unused-ignore]
        except ImportError:
            raise QueryError("the peer sindi needs the package pyvsag: pip install pyvsag", field="peers") from None
        documents = vectors.documents
        parameters = {
            "dtype": "sparse",
            "metric_type": "ip",
            "dim": documents.shape[1],
            "index_param": {
                "use_reorder": True,
                "term_id_limit": documents.shape[1],
                "doc_prune_ratio": doc_prune_ratio,
                "window_size": _WINDOW,
            },
        }
        started = perf_counter()
        self._index = pyvsag.Index("sindi", json.dumps(parameters))
        self._index.build(
            documents.indptr.astype(np.uint32),
            documents.indices.astype(np.uint32),
            documents.data.astype(np.float32),
            np.arange(documents.shape[0], dtype=np.int64),
        )
        self.name = f"sindi {doc_prune_ratio:g}"
        self._queries = vectors.queries
        self.query_count = vectors.queries.shape[0]
        self.relevant = truth.relevant
        self.description: Mapping[str, Any] = {
            "documents": documents.shape[0],
            "queries": self.query_count,
            "doc_prune_ratio": doc_prune_ratio,
            "build_seconds": round(perf_counter() - started, 2),
            "recall_against": truth.against,
        }

    def settings(self, k: int) -> Sequence[Settings]:
        """Return the ratios of pruned query terms, each with few and with many candidates to rescore."""
        return [
            {"query_prune_ratio": ratio, "n_candidate": candidates}
            for ratio in QUERY_PRUNE_RATIOS
            for candidates in sorted({max(2 * k, 50), max(5 * k, 100)})
        ]

    def searcher(self, query: int, k: int, settings: Settings) -> Search:
        """Return the search of one query; the conversion of its arrays is not timed."""
        terms, weights = row_of(self._queries, query)
        pointers, numbers = np.array([0, len(terms)], dtype=np.uint32), terms.astype(np.uint32)
        parameters = json.dumps({"sindi": dict(settings)})
        search = self._index.knn_search
        return lambda: np.ravel(search(pointers, numbers, weights, k, parameters)[0]).tolist()
