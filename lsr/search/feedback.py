"""Pseudo-relevance feedback: a sparse query moves towards the first documents that it finds (Rocchio 1971, as used on
learned sparse vectors by Lassance & Clinchant 2023, "Naver Labs Europe (SPLADE)").

    q' = alpha * q / |q|  +  (1 - alpha) * c / |c|         c: the mean vector of the first `docs` documents,
                                                           its heaviest `terms` terms only

|.| is the sum of the weights; the result is scaled to the sum of q, so that scores stay of the same order. Where the
query side weighs terms by a table, so are the documents' terms: an impact alone does not say how rare a term is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lsr.search.legs import EncodedLeg
from lsr.search.like import term_weights
from lsr.search.query_vectors import QueryVector, bounded
from lsr.search.request import Feedback
from lsr.search.rows import Rows, RowSpace


def expanded(space: RowSpace, leg: EncodedLeg, rows: Rows, feedback: Feedback) -> EncodedLeg:
    """Return the leg with its query moved towards the first `feedback.docs` of `rows`."""
    if not len(rows) or not len(leg.query.term_ids):
        return leg
    term_ids, weights = term_weights(space, leg.vector, rows[: feedback.docs])
    heaviest = np.sort(np.argsort(-weights, kind="stable")[: feedback.terms])
    term_ids, weights = term_ids[heaviest], weights[heaviest]
    if not len(term_ids) or weights.sum() <= 0:
        return leg
    total = float(leg.query.weights.sum(dtype=np.float64))
    own = leg.query.weights.astype(np.float64) * feedback.alpha
    brought = weights / weights.sum() * (1.0 - feedback.alpha) * total
    ids, merged = _add(leg.query.term_ids, own, term_ids, brought)
    kept = merged > 0
    query = QueryVector(ids[kept], bounded(merged[kept]), leg.query.unknown)
    before = set(leg.query.term_ids.tolist())
    return replace(leg, query=query, added=frozenset(query.term_ids.tolist()) - before | leg.added)


def _add(
    ids: NDArray[np.int64], weights: NDArray[np.float64], others: NDArray[np.int64], more: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    every = np.union1d(ids, others)
    total = np.zeros(len(every), dtype=np.float64)
    total[np.searchsorted(every, ids)] += weights
    total[np.searchsorted(every, others)] += more
    return every, total
