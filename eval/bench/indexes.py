"""This project's own targets: a SparseIndex built for the benchmark, and an existing collection."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from scipy.sparse import csr_array

from eval.bench.sweep import Search, Settings
from eval.bench.vectors import Truth, Vectors, row_of
from index import SparseIndex
from lsr.collection import Collection

QUERY_CUTS: Final = (3, 4, 5, 6, 8, 10, 12, 16)
HEAP_FACTORS: Final = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
RECALLS: Final = (0.9, 0.93, 0.95, 0.965, 0.975, 0.98, 0.985, 0.988, 0.99, 0.993, 0.995, 0.997, 0.998)

_TIES: Final = 50  # documents beyond k that are checked for ties in a collection


def grid() -> list[Settings]:
    """Return the default, exact search, and the grid of search parameters."""
    parameters = [{"query_cut": cut, "heap_factor": factor} for cut, factor in product(QUERY_CUTS, HEAP_FACTORS)]
    return [{}, {"exact": True}, *parameters]


class IndexTarget:
    """A SparseIndex with default parameters; its recall targets are measured on other queries, if given."""

    def __init__(
        self, vectors: Vectors, calibration: csr_array | None, truth: Truth, builds: Path, *, resident: bool
    ) -> None:
        """Build the index in `builds`, or reuse an earlier build; search it in memory, or mapped."""
        self.name = "lsr" if resident else "lsr, mapped"
        folder, note = builds / "lsr", builds / "lsr.json"
        if not note.exists():
            started = perf_counter()
            SparseIndex.build(vectors.documents, path=folder)
            seconds = perf_counter() - started
            note.write_text(json.dumps({"build_seconds": round(seconds, 2)}))
        self._index = SparseIndex.open(folder, resident=resident)
        self._calibrated, self._resident = calibration is not None, resident
        started = perf_counter()
        # The second of the two targets reuses the curve of the first.
        if calibration is not None and (resident or self._index.calibration is None):
            self._index.calibrate(calibration, source="queries that are not measured")
        self._queries = vectors.queries
        self.query_count = vectors.queries.shape[0]
        self.relevant = truth.relevant
        self.description: Mapping[str, Any] = {
            "documents": vectors.documents.shape[0],
            "queries": self.query_count,
            "terms_a_document": round(vectors.documents.nnz / max(vectors.documents.shape[0], 1), 1),
            **json.loads(note.read_text()),
            "calibration_seconds": round(perf_counter() - started, 2),
            "bytes": self._index.bytes,
            "recall_against": truth.against,
        }
        self._index.warm()

    def settings(self, k: int) -> Sequence[Settings]:
        """Return the grid, and the recall targets that the curve reaches with approximate search."""
        curve = self._index.calibration if self._calibrated else None
        targets = [{"recall": r} for r in RECALLS if curve is not None and curve.parameters(k, r) is not None]
        # Exact search reads everything sequentially, so it is measured once, in memory.
        points = [settings for settings in grid() if self._resident or "exact" not in settings]
        return [*points, *targets]

    def searcher(self, query: int, k: int, settings: Settings) -> Search:
        """Return the search of one query."""
        terms, weights = row_of(self._queries, query)
        search = self._index.search_one
        return lambda: search(terms, weights, k, **settings)[0].tolist()


class CollectionTarget:
    """A collection, searched as in the service but without fetching documents."""

    def __init__(self, collection: Collection, using: str, queries: csr_array) -> None:
        info = collection.info()
        self.name = info.name
        self._rank: Callable[..., Any] = collection.rank
        self._using = using
        self._queries = queries
        self.query_count = queries.shape[0]
        self.description: Mapping[str, Any] = {
            "documents": info.documents,
            "queries": queries.shape[0],
            "segments": info.segments,
            "bytes": info.bytes,
            "recall_against": "the collection's exact search",
        }
        collection.warm()

    def settings(self, k: int) -> Sequence[Settings]:  # noqa: ARG002
        """Return the grid."""
        return grid()

    def searcher(self, query: int, k: int, settings: Settings) -> Search:
        """Return the search of one query."""
        row = self._queries[[query]]
        exact = bool(settings.get("exact", False))
        others = {name: value for name, value in settings.items() if name != "exact"}
        rank, using = self._rank, self._using
        return lambda: rank(row, using=using, k=k, exact=exact, **others)[0][0]

    def relevant(self, query: int, k: int) -> frozenset[object]:
        """Return the ids of the exact top k, ties included."""
        ids, scores = self._rank(self._queries[[query]], using=self._using, k=k + _TIES, exact=True)[0]
        if not len(scores):
            return frozenset()
        threshold = scores[min(k, len(scores)) - 1]
        return frozenset(name for name, score in zip(ids, scores, strict=True) if score >= threshold)
