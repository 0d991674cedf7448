"""Scoring documents from the forward index: the canonical dot product, and what everything else is measured by.

A document's score is the sum over its terms, by rising term id, of weight * impact in float64, rounded once to
float32. Each product is exact in float64 (24 bits times 24), so the result depends on nothing but the numbers.

Rows are stored by rising collection term id, while the ids in them are the segment's own: the query's weights lie
in a table over those, with zeros elsewhere. Adding zero changes no sum.

Impacts are float32, or float16 as its bits in uint16: Numba's CPU target knows no float16.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload

_TWO_TO_112 = np.float32(2.0**112)


def impact_value(stored):
    """Return a stored impact as a float32. Oracle: numpy's view as float16.

    A float16's bits, moved to where float32 has its exponent, read as the value times 2**-112, subnormals included.
    """
    if isinstance(stored, np.uint16):
        return np.uint32(np.uint32(stored) << np.uint32(13)).view(np.float32) * _TWO_TO_112
    return np.float32(stored)


@overload(impact_value, inline="always")
def _impact_value(stored):
    if stored == types.uint16:
        return lambda stored: np.uint32(np.uint32(stored) << np.uint32(13)).view(np.float32) * _TWO_TO_112
    return lambda stored: np.float32(stored)


@njit(cache=True, nogil=True)
def score_documents(doc_ids, indptr, terms, impacts, table, scores):
    """Write the canonical score of each document of `doc_ids` to `scores`; -1 for one that shares no term.

    doc_ids  int64[n], each < n_docs        indptr  int64[n_docs + 1]
    terms    uint16|uint32[nnz]             impacts uint16 (float16 bits)|float32[nnz]
    table    float32[power of two above every term]; the query's weights by segment term id
    scores   float32[n]

    A damaged term id reads a wrong weight, never past the table. Oracle: oracle.canonical_scores.
    """
    mask = np.int64(len(table) - 1)
    for i in range(len(doc_ids)):
        doc = doc_ids[i]
        total = 0.0
        for j in range(indptr[doc], indptr[doc + 1]):
            total += np.float64(table[np.int64(terms[j]) & mask]) * np.float64(impact_value(impacts[j]))
        scores[i] = np.float32(total) if total > 0.0 else np.float32(-1.0)


@njit(cache=True, nogil=True)
def score_range(start, indptr, terms, impacts, table, allowed, scores):
    """Write the canonical scores of the documents start .. start + len(scores) to `scores`; -1 for no match.

    allowed  bool[n_docs], or bool[0] for every document; the rest as in `score_documents`, whose oracle it shares.
    """
    mask = np.int64(len(table) - 1)
    everything = len(allowed) == 0
    for i in range(len(scores)):
        doc = start + i
        total = 0.0
        if everything or allowed[doc]:
            for j in range(indptr[doc], indptr[doc + 1]):
                total += np.float64(table[np.int64(terms[j]) & mask]) * np.float64(impact_value(impacts[j]))
        scores[i] = np.float32(total) if total > 0.0 else np.float32(-1.0)


@njit(cache=True, nogil=True)
def rank_candidates(
    query_start, query_terms, query_weights, candidates, n_candidates, indptr, terms, impacts, table, ids, scores, found
):
    """Score each query's candidates canonically and write the best, ranked, to its row of `ids` and `scores`.

    query_start   int64[n + 1] into query_terms, uint32[], the segment's numbers, and query_weights, float32[], above 0
    candidates    uint32[n, m], of which n_candidates, int64[n], are used; each document once in a row
    table         float32[power of two above every term], zeroed, and left so
    ids           int64[n, k], scores float32[n, k]: as many as match, the rest is left as it is
    found         int64[n], how many those are; by falling score, then rising id

    Oracle: oracle.brute_force over oracle.canonical_scores.
    """
    mask = np.int64(len(table) - 1)
    k = ids.shape[1]
    keys = np.empty(candidates.shape[1], dtype=np.int64)
    for q in range(len(query_start) - 1):
        for i in range(query_start[q], query_start[q + 1]):
            table[query_terms[i]] = query_weights[i]
        matching = 0
        for c in range(n_candidates[q]):
            doc = np.int64(candidates[q, c])
            total = 0.0
            for j in range(indptr[doc], indptr[doc + 1]):
                total += np.float64(table[np.int64(terms[j]) & mask]) * np.float64(impact_value(impacts[j]))
            if total > 0.0:
                # Falling score, then rising id: a positive float32's bits compare as it does.
                keys[matching] = ((np.int64(0x7FFFFFFF) - np.int64(np.float32(total).view(np.uint32))) << 32) | doc
                matching += 1
        for i in range(query_start[q], query_start[q + 1]):
            table[query_terms[i]] = 0
        keys[:matching].sort()
        found[q] = min(matching, k)
        for i in range(found[q]):
            ids[q, i] = keys[i] & 0xFFFFFFFF
            scores[q, i] = np.uint32(0x7FFFFFFF - (keys[i] >> 32)).view(np.float32)
