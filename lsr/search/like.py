"""Documents as a query: the terms, and the dense vector, that given documents have in common.

The query is the mean vector of the documents, less that of the ones to stay away from, and of it the heaviest terms.
Where the query side weighs terms by a table (BM25's idf, a learned table), so are the documents' terms here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lsr.errors import QueryError
from lsr.search.query_vectors import QueryVector, bounded
from lsr.search.request import Like
from lsr.search.rows import Rows, RowSpace
from lsr.vectors import NamedVector

MAX_LIKE_TERMS: Final = 64


def rows_of(space: RowSpace, like: Like) -> tuple[Rows, Rows]:
    """Return the rows of the documents to be near to and away from; raises QueryError naming an unknown id."""
    found = []
    for name, ids in (("ids", like.ids), ("unlike", like.unlike)):
        rows = space.find(ids)
        unknown = [identifier for identifier, row in zip(ids, rows.tolist(), strict=True) if row < 0]
        if unknown:
            raise QueryError(f"query.like: document {unknown[0]!r} does not exist", field=f"query.like.{name}")
        found.append(rows)
    return found[0], found[1]


def like_query(space: RowSpace, vector: NamedVector, near: Rows, away: Rows) -> QueryVector:
    """Return the sparse query of documents that are like `near` and unlike `away`."""
    term_ids, weights = term_weights(space, vector, near)
    if len(away):
        unwanted, less = term_weights(space, vector, away)
        _, own, others = np.intersect1d(term_ids, unwanted, return_indices=True)
        weights[own] -= less[others]
    heaviest = np.argsort(-weights, kind="stable")[:MAX_LIKE_TERMS]
    kept = np.sort(heaviest[weights[heaviest] > 0])
    return QueryVector(term_ids[kept], bounded(weights[kept]))


def term_weights(space: RowSpace, vector: NamedVector, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the mean vector of documents as a query has it: (term numbers int64, ascending; weights float64)."""
    ids, impacts = [], []
    for place in space.places(rows, sparse=[vector.name]):
        term_ids, values = place.vector(vector.name)
        ids.append(term_ids)
        impacts.append(values.astype(np.float64))
    if not ids:
        return np.empty(0, np.int64), np.empty(0, np.float64)
    every, at = np.unique(np.concatenate(ids), return_inverse=True)
    total: NDArray[np.float64] = np.zeros(len(every))
    np.add.at(total, at, np.concatenate(impacts))
    weights = total / len(rows)
    if vector.config.encoder is not None and vector.encoder.looks_queries_up:
        statistics = space.generation.statistics(vector.name)
        found = statistics.document_frequencies(every)
        count = statistics.document_count
        idf: NDArray[np.float64] = np.log1p((count - found + 0.5) / (found + 0.5))
        weights = weights * idf
    return every, weights


def mean_direction(vectors: Sequence[NDArray[np.float32]], away: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the unit vector, float32[size], of the mean of dense vectors less that of others; zeros for none."""
    total: NDArray[np.float64] = np.asarray(vectors, dtype=np.float64).mean(axis=0)
    if len(away):
        total -= np.asarray(away, dtype=np.float64).mean(axis=0)
    length = float(np.linalg.norm(total))
    direction: NDArray[np.float32] = np.asarray(total / length if length > 0 else total, dtype=np.float32)
    return direction
